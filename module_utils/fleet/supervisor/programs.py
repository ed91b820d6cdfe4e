"""Programs of supervisor's configuration: what each does, and all that supervisord itself reads.

Loaded on the controller too, so it needs the standard library alone.
"""

from __future__ import annotations

import contextlib
import glob
import hashlib
import json
import os
import pwd
import re
import shlex
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

# What a bench's program does, as task() names it.
JOBS = ("worker", "schedule")
# Commands of Frappe's command line that go on until they are stopped.
COMMANDS = {
    "worker": "worker",
    "worker-pool": "worker",
    "schedule": "schedule",
    "socketio": "socketio",
    "serve": "web",
    "start": "web",
}
LAUNCHERS = ("bench", "frappe", "frappe.utils.bench_helper", "bench_helper.py", "benchfleet_guard")
WITH_VALUE = ("--site",)
REDIS = ("redis-server", "valkey-server", "keydb-server")
BENCH_REDIS = re.compile(r"redis_(cache|queue|socketio)\.conf")
# Debian's unit names the first of these.
CONFIGURATIONS = ("/etc/supervisor/supervisord.conf", "/etc/supervisord.conf")
# Of root's calls of supervisor's programs, whatever folder and account a run came from:
# supervisorctl takes a configuration, and code that it names, from the folder that it is called in.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
}
# supervisord opens the programs' logs as root, so they lie where the bench's account cannot put
# links.
LOGS = "/var/log/benchfleet-programs"
KEPT_HEADER = (
    "; Programs of your own, from files of supervisor's that went out of service: yours to change."
)
DECIDE = ("command", "environment", "numprocs", "process_name", "directory", "user")
PROGRAM = ("program:", "fcgi-program:", "eventlistener:")
# What of a file that others than root can write may get into one of root's: programs and groups,
# with options by which supervisord opens no file and loads no code for them.
OWN_SECTIONS = ("program:", "eventlistener:", "group:")
OWN_OPTIONS = frozenset(
    {
        *("command", "process_name", "numprocs", "numprocs_start", "priority", "autostart"),
        *("autorestart", "startsecs", "startretries", "exitcodes", "stopsignal", "stopwaitsecs"),
        *("stopasgroup", "killasgroup", "user", "directory", "umask", "environment", "events"),
        *("buffer_size", "redirect_stderr", "programs"),
        *(
            f"{stream}_{end}"
            for stream in ("stdout", "stderr")
            for end in (
                *("logfile", "logfile_maxbytes", "logfile_backups", "syslog"),
                *("capture_maxbytes", "events_enabled"),
            )
        ),
    }
)
# Of links on the way to a file, as the kernel follows them.
MOST_LINKS = 40
# Values of the options for logs that name no file.
NO_FILE = ("AUTO", "NONE", "SYSLOG")

# Runs supervisor's own reader with the interpreter of supervisord. Its messages quote values, which
# may be secrets: only the option is named here.
READER = r"""
import fnmatch, glob, io, json, os, pwd, sys, types
from supervisor import options

asked = json.load(sys.stdin)
key = lambda path: os.path.join(os.path.realpath(os.path.dirname(path)), os.path.basename(path))
instead = {key(path): text for path, text in asked["instead"].items()}
files, processes, failures = [], [], []


def found(pattern):
    there = [path for path in glob.glob(pattern) if key(path) not in instead]
    folder, name = os.path.split(pattern)
    folders = {key(os.path.join(f, "x")): f for f in glob.glob(folder)}
    for path, text in instead.items():
        inside = folders.get(key(os.path.join(os.path.dirname(path), "x")))
        last = os.path.basename(path)
        if text is not None and inside is not None and fnmatch.fnmatch(last, name):
            there.append(os.path.join(inside, last))
    return there


def note(path, parser):
    files.append({"path": path, "sections": {s: dict(parser.items(s)) for s in parser.sections()}})


Parser = options.UnhosedConfigParser


def take(parser, text, name, here):
    alone = Parser()
    try:
        for each in (alone, parser):
            options.ConfigParser.RawConfigParser.read_file(each, io.StringIO(text), name)
    except options.ConfigParser.ParsingError as error:
        line = getattr(error, "lineno", None) or [number for number, _ in error.errors][0]
        fail("line %s is none of an option or a section" % line, "", [name])
        raise
    if here:
        alone.expand_here(os.path.dirname(os.path.abspath(name)))
    note(name, alone)


def read_one(self, name):
    text = instead.get(key(name))
    if text is None:
        with open(name) as source:
            text = source.read()
    take(self, text, name, True)


def read_main(self, source):
    take(self, source.read(), source.name, False)


def fail(what, section="", holders=()):
    failures.append({"what": what, "section": section, "files": list(holders) or [asked["path"]]})


def holders_of(section, option=""):
    holders = [f["path"] for f in files if section in f["sections"]]
    return [f["path"] for f in files if option in f["sections"].get(section, {})][-1:] or holders


def expand(value, names, where, whole=options.expand):
    try:
        return whole(value, names, where)
    except ValueError as error:
        word = "a name after % that supervisor does not know"
        if "badly formatted" in str(error):
            word = "a % that begins none of supervisor's names: a plain one is written %%"
        # An environment is named without its section there.
        section, _, option = where.rpartition(".")
        section = section or (now[-1] if now else "")
        fail("its option %s has %s" % (option, word), section, holders_of(section, option))
        raise


def pairs(value, whole=options.dict_of_key_value_pairs):
    try:
        return whole(value)
    except ValueError:
        section = now[-1] if now else "supervisord"
        what = 'its environment is not NAME="value",NAME="value"'
        fail(what, section, holders_of(section, "environment"))
        raise


now, whole_section = [], options.ServerOptions._processes_from_section


def processes_of(self, parser, section, group, klass=None):
    now.append(section)
    try:
        made = whole_section(self, parser, section, group, klass)
    except ValueError as error:
        lacks = "does not specify a command" in str(error)
        fail("it has no command" if lacks else str(error), section, holders_of(section))
        raise
    now.pop()
    for one in made:
        logs = [one.stdout_logfile, one.stderr_logfile]
        processes.append({
            "section": section, "group": group, "name": one.name, "command": one.command,
            "directory": one.directory or "", "environment": sorted(one.environment),
            "user": pwd.getpwuid(one.uid or 0).pw_name,
            "logs": [path for path in logs if isinstance(path, str)],
        })
    return made


# Code that a file names is loaded by supervisord alone.
options.ServerOptions.import_spec = lambda self, spec: None
options.glob = types.SimpleNamespace(glob=found)
Parser.read, Parser.read_file = read_one, read_main
options.expand, options.dict_of_key_value_pairs = expand, pairs
options.ServerOptions._processes_from_section = processes_of
reader = options.ServerOptions()
reader.configfile = asked["path"]
reader.here = os.path.dirname(os.path.abspath(asked["path"]))
try:
    reader.read_config(asked["path"])
except Exception as error:
    fail(str(error) or type(error).__name__)
trouble = failures[0] if failures else None
json.dump({"trouble": trouble, "files": files, "processes": processes}, sys.stdout)
"""


class ConfigurationError(Exception):
    """supervisor's configuration cannot be read, or taken over; the message says what mends it."""


def words_of(command: str) -> list[str]:
    """The words of a command; those of a shell's script (`sh -c "..."`) as well."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    return [part for word in words for part in ([word] if " " not in word else words_of(word))]


def task(command: str) -> str:
    """What a program of a bench does by its command: web, worker, schedule, socketio or redis.

    "" is everything else: a program of the operator's own.
    """
    # As its process calls itself, or a script of the operator's starts it.
    if re.search(r"^rq: ?worker\b|\b(start_worker|start_worker_pool)\b", command):
        return "worker"
    if re.search(r"\bstart_scheduler\b", command):
        return "schedule"
    words = [word.strip(";[]") for word in words_of(command)]
    names = [os.path.basename(word) for word in words]
    if any(name in REDIS for name in names):
        # Another Redis is somebody else's.
        return "redis" if any(BENCH_REDIS.fullmatch(name) for name in names) else ""
    if any(re.fullmatch(r"(frappe\.app|benchfleet_guard\.wsgi)(:\w+)?", word) for word in words):
        return "web"
    if any(re.search(r"/socketio\.js$|\bfrappe/realtime\b", word) for word in words):
        return "socketio"
    if any(name in ("rq", "rqworker") for name in names) and "worker" in " ".join(names):
        return "worker"
    for at, name in enumerate(names):
        if name in LAUNCHERS and (found := COMMANDS.get(first_command(words[at + 1 :]))):
            return found
    return ""


def does(process: Mapping[str, Any]) -> str:
    """What a process does: by its command, else by what that has started; see task()."""
    commands = [process["command"], *process.get("runs", [])]
    return next((found for found in map(task, commands) if found), "")


def first_command(words: list[str]) -> str:
    """The first word that is neither an option nor the value of one."""
    rest = iter(words)
    for word in rest:
        if word in WITH_VALUE:
            next(rest, None)
        elif not word.startswith("-"):
            return word
    return ""


def queues_of(command: str) -> str:
    """Queues of a worker, as its command names them; "" for those that are Frappe's default."""
    found = re.search(r"--queue[ =](\S+)", command)
    return (
        ",".join(word for word in found.group(1).strip("\"'").split(",") if word) if found else ""
    )


def concerns(bench: str, *texts: str) -> bool:
    """Whether one of the texts names a bench's folder; ``bench`` is its path, or its name alone."""
    start = "" if bench.startswith("/") else "/"
    return any(re.search(rf"{start}{re.escape(bench)}(?![\w.-])", text) for text in texts)


def control_file() -> str:
    """The configuration by which supervisorctl reaches supervisord: of two, the one that does."""
    there = [path for path in CONFIGURATIONS if os.path.exists(path)]
    if len(there) > 1:
        there = [path for path in there if reaches(path)] + there
    return (there or CONFIGURATIONS)[0]


def reaches(path: str) -> bool:
    """Whether supervisord answers by a configuration."""
    try:
        return run(["supervisorctl", "-c", path, "pid"]).stdout.strip().isdigit()
    except (OSError, subprocess.TimeoutExpired):
        return False


def control_words(*words: str) -> list[str]:
    """A call of supervisorctl that reads no file but supervisor's own."""
    return ["supervisorctl", "-c", control_file(), *words]


def run(
    command: list[str], timeout: float | None = 30, seen: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command as root does, in ``/`` and with ENVIRONMENT; ``timeout`` is in seconds.

    ``seen``: its output goes where ours does, and is not kept.
    """
    return subprocess.run(
        command,
        cwd="/",
        env=ENVIRONMENT,
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=not seen,
        timeout=timeout,
        check=False,
    )


def supervisord() -> tuple[list[str], str, dict[str, str]]:
    """Interpreter and configuration of supervisord, and its environment: of the one that runs, or
    of the one that would; ([], "", {}) where it is not installed.
    """
    try:
        said = run(control_words("pid")).stdout.strip()
        words = read_words(f"/proc/{int(said)}/cmdline")
        environment = dict(
            word.split("=", 1) for word in read_words(f"/proc/{int(said)}/environ") if "=" in word
        )
        folder = os.readlink(f"/proc/{int(said)}/cwd")
        # Where supervisord itself looks when its command line names no file.
        usual = CONFIGURATIONS[::-1]
    except (OSError, ValueError, subprocess.TimeoutExpired):
        script = shutil.which("supervisord", path=ENVIRONMENT["PATH"])
        if not script:
            return [], "", {}
        with open(script, encoding="utf-8", errors="replace") as source:
            interpreter = source.readline().removeprefix("#!").split()
        words = [interpreter["env" in interpreter[0] and len(interpreter) > 1], script]
        environment, folder, usual = ENVIRONMENT, "/", CONFIGURATIONS
    path = option_of(words) or next((name for name in usual if os.path.exists(name)), "")
    return words[:1], os.path.join(folder, path) if path else "", environment


def read_words(path: str) -> list[str]:
    """Words of one of the kernel's lists that end with a zero byte."""
    with open(path, "rb") as source:
        return [word.decode(errors="replace") for word in source.read().split(b"\0") if word]


def option_of(words: list[str]) -> str:
    """The file that supervisord's own command line names with -c, "" where it names none."""
    for at, word in enumerate(words):
        if word in ("-c", "--configuration"):
            return words[at + 1] if at + 1 < len(words) else ""
        found = re.match(r"(?:-c|--configuration=)(.+)", word)
        if found and at > 1:
            return found.group(1)
    return ""


def configuration(instead: Mapping[str, str | None] | None = None) -> dict[str, Any]:
    """All that supervisord would read now, by its own reader: {path, trouble, files, processes}.

    ``instead`` has texts in place of files' own, {path: text}, None for a file that is gone.
    trouble is None, or {what, section, files} without any value of an option; a file is {path,
    sections: {section: {option: value}}}, values as written; a process {section, group, name,
    command, directory, environment: names, user, logs: paths}, and runs, what it has started, where
    its command says nothing.
    Without supervisord all is empty. Raises ConfigurationError where its reader cannot be run.
    """
    interpreter, path, environment = supervisord()
    empty: dict[str, Any] = {"path": path, "trouble": None, "files": [], "processes": []}
    if not interpreter or not path:
        return empty
    asked = json.dumps({"path": path, "instead": dict(instead or {})})
    try:
        done = subprocess.run(
            [*interpreter, "-I", "-c", READER],
            input=asked,
            env=environment,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        told: dict[str, Any] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(
            f"supervisor's own reader did not read {path} ({type(error).__name__}); see"
            f" `{' '.join(interpreter)} -c 'import supervisor.options'` on this host"
        ) from error
    # The command of a script of the operator's says nothing.
    unknown = [process for process in told["processes"] if not task(process["command"])]
    started = started_by(unknown)
    for process in unknown:
        process["runs"] = started.get(full_name(process), [])
    return {**told, "path": path}


def full_name(process: Mapping[str, Any]) -> str:
    """A process as supervisorctl names it: alone in a group of its name it has that name only."""
    name, group = process["name"], process["group"]
    return str(name if name == group else f"{group}:{name}")


def started_by(processes: list[dict[str, Any]]) -> dict[str, list[str]]:
    """What processes of supervisor's are now, and what they have started: {name: command lines}."""
    if not processes:
        return {}
    try:
        said = run(control_words("status")).stdout
    except (OSError, subprocess.TimeoutExpired):
        return {}
    children: dict[str, list[str]] = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as source:
            parent = source.read().rpartition(")")[2].split()[1]
            children.setdefault(parent, []).append(path.split("/")[2])
    found = {}
    for name, first in re.findall(r"^(\S+)\s.*\bpid (\d+)", said, re.MULTILINE):
        tree, lines = [first], []
        for pid in tree:
            tree += children.get(pid, [])
            with contextlib.suppress(OSError):
                lines.append(shlex.join(read_words(f"/proc/{pid}/cmdline")))
        found[name] = lines
    return found


def trouble_words(trouble: Mapping[str, Any]) -> str:
    """What keeps supervisord from reading its configuration, and the remedy."""
    files, section = " and ".join(trouble["files"]), trouble["section"]
    place = f"[{section}] in {files}" if section else files
    remedy = "mend it there"
    if trouble["what"] == "it has no command":
        remedy = (
            "take these lines out, or rename the program: they were for a program that is no more"
            " there. bench_environment sets variables of the bench's programs"
        )
    return (
        f"supervisord cannot read its configuration: {place}: {trouble['what']}. At the next start"
        f" it would run no program at all; {remedy}"
    )


def tasks(bench: str, read: Mapping[str, Any]) -> dict[str, str]:
    """What each of a bench's processes does: {"group:process": task()}, "" for an own program's.

    ``bench`` is the bench's path or name; ``read`` as of configuration().
    """
    raw = values(read)
    found = {}
    for process in read["processes"]:
        words = [process["command"], process["directory"], *process.get("runs", [])]
        words += raw.get(process["section"], {}).values()
        if process["group"].startswith(f"{os.path.basename(bench)}-") or concerns(bench, *words):
            found[full_name(process)] = does(process)
    return found


def overridden(path: str, read: Mapping[str, Any]) -> list[str]:
    """Options of a file's programs that other files set anew and win, as `FILE: SECTION, OPTIONS`.

    Those alone by which a program is another than the file says.
    """
    paths = [file["path"] for file in read["files"]]
    after = read["files"][paths.index(path) + 1 :] if path in paths else []
    ours = next((f["sections"] for f in read["files"] if f["path"] == path), {})
    found = []
    for file in after:
        for section, options in file["sections"].items():
            known = ours.get(section, {})
            names = [n for n in DECIDE if n in options and options[n] != known.get(n)]
            if section in ours and names:
                found.append(f"{file['path']}: [{section}] {', '.join(names)}")
    return found


def bench_sections(bench: str, read: Mapping[str, Any]) -> dict[str, str]:
    """Sections of the programs that do a bench's own work, and of their groups: {section: task}.

    ``bench`` is its path. A group's task is "group".
    """
    raw = values(read)
    processes = {process["section"]: process for process in read["processes"]}
    found = {}
    for section, options in raw.items():
        process = processes.get(section, {"command": options.get("command", "")})
        words = [process["command"], *process.get("runs", []), *options.values()]
        if section.startswith(PROGRAM) and does(process) and concerns(bench, *words):
            found[section] = does(process)
    names = {section.partition(":")[2] for section in found}
    groups = {
        section: "group"
        for section, options in raw.items()
        if section.startswith("group:") and names & set(members_of(options))
    }
    return found | groups


def members_of(options: Mapping[str, str]) -> list[str]:
    """Programs of a group."""
    return [name for name in re.split(r"[,\s]+", options.get("programs", "")) if name]


def kept_text(
    bench: str, read: Mapping[str, Any], paths: Iterable[str], account: str = "root"
) -> str:
    """A file with all that stands in files that go out of service and is none of the bench's own
    work; "" where there is nothing.

    A program that shared a group with the bench's gets into the group BENCH-own, as the name of
    that group is the bench's. What others than root can write runs as ``account``, and its logs lie
    in LOGS. Raises ConfigurationError for what own_troubles() says.
    """
    for what, place, remedy in own_troubles(bench, read, paths, account):
        raise ConfigurationError(f"{place}: {what}; {remedy}")
    work = bench_sections(bench, read)
    sections: dict[str, dict[str, str]] = {}
    apart: list[str] = []
    for file in read["files"]:
        if file["path"] not in paths:
            continue
        foreign = writer(file["path"])
        for section, options in file["sections"].items():
            if work.get(section) == "group":
                programs = {name.partition(":")[2] for name in work if name.startswith(PROGRAM)}
                apart += [name for name in members_of(options) if name not in programs]
            elif section not in work:
                confined = foreign and section.startswith(PROGRAM)
                known = confined_options(section, options, account) if confined else options
                sections.setdefault(section, {}).update(known)
    if apart:
        sections[f"group:{os.path.basename(bench)}-own"] = {
            "programs": ",".join(dict.fromkeys(apart))
        }
    lines: list[str] = []
    for section, options in sections.items():
        lines += ["", f"[{section}]"]
        lines += [f"{name}={value}".replace("\n", "\n  ") for name, value in options.items()]
    return "\n".join([KEPT_HEADER, *lines, ""]) if lines else ""


def confined_options(section: str, options: Mapping[str, str], account: str) -> dict[str, str]:
    """Options of a program, with its account, and its logs where the account puts no links."""
    known = {**options, "user": account}
    for name, end in (("stdout_logfile", ".log"), ("stderr_logfile", ".error.log")):
        if name in known and known[name].upper() not in NO_FILE:
            known[name] = f"{LOGS}/{section.partition(':')[2]}{end}"
    return known


def own_troubles(
    bench: str, read: Mapping[str, Any], paths: Iterable[str], account: str
) -> list[tuple[str, str, str]]:
    """What of files that go out of service cannot get into a file of root's: (what, file, remedy).

    Those alone that others than root can write: whoever does could have anything run as root, or
    any file written.
    """
    work = bench_sections(bench, read)
    users: dict[str, set[str]] = {}
    for process in read["processes"]:
        users.setdefault(process["section"], set()).add(process["user"])
    move = "move it to a file of root's in /etc/supervisor/conf.d"
    found = []
    for file in read["files"]:
        path = file["path"]
        if path not in paths or not (who := writer(path)):
            continue
        place = f"{path}, which {who} can write"
        for section, options in file["sections"].items():
            name = section.partition(":")[2]
            if section in work:
                continue
            if not section.startswith(OWN_SECTIONS) or not re.fullmatch(r"[\w.-]+", name):
                found.append((f"[{section}] is no program", place, f"{move}, or take it out"))
                continue
            if strange := sorted(set(options) - OWN_OPTIONS):
                what = f"[{section}] has {', '.join(strange)}"
                found.append((what, place, f"take that out, or {move}"))
            if section.startswith(PROGRAM) and (others := users.get(section, set()) - {account}):
                what = f"the program {name} runs as {', '.join(sorted(others))}"
                found.append((what, place, f"set user={account} there, or {move}"))
    return found


def digest(text: str) -> str:
    """By what a text is known again, without its secrets."""
    return hashlib.sha256(text.encode()).hexdigest()


def writer(path: str) -> str:
    """Who else than root can change what lies at a path, or put something else there; "" if nobody.

    Root is whoever asks: every folder on the way is looked at, those of links, too.
    """
    ways = [os.path.abspath(path)]
    for way in ways:
        place, parts = "/", way.split("/")
        for at, part in enumerate(parts):
            # No link is in it so far.
            place = os.path.normpath(os.path.join(place, part))
            try:
                info = os.lstat(place)
                target = os.readlink(place) if stat.S_ISLNK(info.st_mode) else ""
            except OSError:
                return ""
            if who := other_writer(place, info):
                return who
            if target and len(ways) < MOST_LINKS:
                ways.append(os.path.join(os.path.dirname(place), target, *parts[at + 1 :]))
                break
    return ""


def other_writer(path: str, info: os.stat_result) -> str:
    """Who else than root can write a file, or into a folder; "" if nobody."""
    if info.st_uid not in (0, os.geteuid()):
        with contextlib.suppress(KeyError):
            return pwd.getpwuid(info.st_uid).pw_name
        return f"account {info.st_uid}"
    # What is root's in a folder such as /tmp stays there.
    if stat.S_ISLNK(info.st_mode) or info.st_mode & stat.S_ISVTX:
        return ""
    if info.st_mode & stat.S_IWOTH:
        return "everybody"
    listed = info.st_mode & stat.S_IWGRP and "system.posix_acl_access" in os.listxattr(path)
    if listed or (info.st_mode & stat.S_IWGRP and info.st_gid != 0):
        return f"group {info.st_gid}"
    return ""


def own_names(read: Mapping[str, Any], paths: Iterable[str], bench: str) -> list[str]:
    """Programs in files that are none of the bench's own work, in their order."""
    work = bench_sections(bench, read)
    return [
        section.partition(":")[2]
        for file in read["files"]
        if file["path"] in paths
        for section in file["sections"]
        if section.startswith(PROGRAM) and section not in work
    ]


def values(read: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Options of each section, those of a later file in place of an earlier one's."""
    merged: dict[str, dict[str, str]] = {}
    for file in read["files"]:
        for section, options in file["sections"].items():
            merged.setdefault(section, {}).update(options)
    return merged


def try_out(path: str, new: str) -> None:
    """Ends with what supervisord could not read if the file ``path`` had the content of ``new``."""
    with open(new, encoding="utf-8") as source:
        told = configuration({path: source.read()})
    if told["trouble"]:
        raise SystemExit(trouble_words(told["trouble"]))


if __name__ == "__main__":
    try_out(*sys.argv[1:])
