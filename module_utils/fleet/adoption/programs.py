"""The programs of the bench that supervisor runs, and what an adoption changes of them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..bench.account import read_text
from ..bench.config import common_config
from ..bench.files import without_password
from ..bench.jobs import custom_queues
from ..bench.queues import PLACED, shape_troubles, worker_programs
from ..foreign import writer
from ..preflight.problems import Host, Kind, Problem, Settings, grouped
from ..supervisor.configuration import ConfigurationError, configuration, trouble_text
from ..supervisor.own import digest, kept_text, own_names, refused_sections
from ..supervisor.programs import (
    bench_sections,
    queues_of,
    task,
    tasks,
    values,
    words_of,
)
from .host import Found, set_aside
from .notices import Notice, NoticeKind

PROGRAMS_FOLDER = "/etc/supervisor/conf.d"
# A file that is never written: would supervisor read it there?
PROBE = f"{PROGRAMS_FOLDER}/benchfleet-probe.conf"
# Queues of a worker whose command names none.
EVERY_QUEUE = "short,default,long"
# The bench CLI's.
DEFAULT_MAX_REQUESTS = 5000
# Long names of gunicorn's options.
SHORT = {"--bind": "-b", "--workers": "-w", "--timeout": "-t", "--worker-class": "-k"}
# Options that `bench setup supervisor` writes; the fleet's file has its own values for them.
WRITTEN = (
    *("command", "priority", "autostart", "autorestart", "stdout_logfile", "stderr_logfile"),
    *("stopwaitsecs", "killasgroup", "user", "directory", "startretries", "numprocs"),
    *("process_name", "environment"),
)


def supervisor_files(bench: str, read: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Files of supervisor's that run the bench: {path, ours, programs, kept}.

    ``read`` as of configuration(). programs are those that do the bench's own work, and their
    groups; kept are the other programs of the file. A file that others than root can write is not
    ours, whatever its text says.
    """
    work = bench_sections(bench, read)
    found = []
    for file in read["files"]:
        mine = [section.partition(":")[2] for section in file["sections"] if section in work]
        if mine:
            path = file["path"]
            ours = not writer(path) and "Made by Benchfleet" in (read_text(path) or "")
            kept = own_names(read, [path], bench)
            found.append({"path": path, "ours": ours, "programs": mine, "kept": kept})
    return found


def look_at_programs(bench: str, account: str) -> dict[str, Any]:
    """What supervisor runs of a bench: {trouble, unread, files, work, own, queues, kept, refused,
    digest}.

    trouble: why supervisord cannot read its configuration, "" when it can. unread: whether it does
    not read the folder that the fleet writes to. queues: as of custom_queues(). files: as of
    supervisor_files(). kept: the operator's programs {name, user, command} in files that go out of
    service; digest: that of the file they will be kept in; refused: those that cannot be kept, as
    of refused_sections(). own: processes of the operator's programs that work with the bench. work:
    each program of the bench's own work, {name, file, task, processes, queues, environment,
    arguments, options}: names of variables, and options that `bench setup supervisor` does not
    write so. No value of a variable is in it.
    """
    found: dict[str, Any] = {"trouble": "", "unread": False, "files": [], "work": [], "own": []}
    found |= {"queues": custom_queues(bench), "kept": [], "refused": [], "digest": ""}
    try:
        read = configuration()
        probe = configuration({PROBE: "[program:benchfleet-probe]\ncommand=/bin/true\n"})
    except ConfigurationError as error:
        return {**found, "trouble": str(error)}
    files = supervisor_files(bench, read)
    going = [file for file in files if not file["ours"]]
    paths = [file["path"] for file in going]
    raw = values(read)
    processes = {process["section"].partition(":")[2]: process for process in read["processes"]}
    kept = [
        {
            "name": name,
            "user": processes[name]["user"],
            # As written in the file: the value of a variable in it may be a secret.
            "command": without_password(raw[processes[name]["section"]].get("command", "")),
        }
        for name in dict.fromkeys(name for file in going for name in file["kept"])
        if name in processes
    ]
    refused = refused_sections(bench, read, paths, account)
    return {
        **found,
        "trouble": trouble_text(read["trouble"]) if read["trouble"] else "",
        "unread": bool(read["path"]) and PROBE not in [file["path"] for file in probe["files"]],
        "files": files,
        "work": [
            work_of(bench, section, does, read, raw[section])
            for section, does in bench_sections(bench, read).items()
            if does != "group"
        ],
        "own": [name for name, does in tasks(bench, read).items() if not does],
        "kept": kept,
        "refused": refused,
        "digest": "" if refused else digest(kept_text(bench, read, paths, account)),
    }


def work_of(
    bench: str, section: str, does: str, read: Mapping[str, Any], options: Mapping[str, str]
) -> dict[str, Any]:
    """A program of the bench's own work, as in work of look_at_programs()."""
    config = common_config(bench)
    processes = [process for process in read["processes"] if process["section"] == section]
    command = processes[0]["command"] if processes else options.get("command", "")
    number = len(processes) or 1
    if does == "web":
        number = int(flags_of(command).get("-w", "1"))
    elif pool := re.search(r"--num-workers[ =](\d+)", command):
        number *= int(pool.group(1))
    return {
        "name": section.partition(":")[2],
        "file": [file["path"] for file in read["files"] if section in file["sections"]][-1],
        "task": does,
        "processes": number,
        "queues": (queues_of(command) or EVERY_QUEUE) if does == "worker" else "",
        "environment": processes[0]["environment"] if processes else [],
        "arguments": own_arguments(command, config) if does == "web" else [],
        "options": own_options(does, command, options, config),
    }


def flags_of(command: str) -> dict[str, str]:
    """gunicorn's options of a web program's command, by their short names; "" for a bare one."""
    found: dict[str, str] = {}
    words = words_of(command)
    start = next((at for at, word in enumerate(words) if word.endswith("gunicorn")), len(words))
    last = ""
    for word in words[start + 1 :]:
        if word.startswith("-"):
            name, _, value = word.partition("=")
            if not word.startswith("--") and len(word) > 2:
                name, value = word[:2], word[2:].removeprefix("=")
            last = SHORT.get(name, name)
            found[last] = value
        elif last and not found[last] and task(word) != "web":
            found[last] = word
        else:
            last = ""
    return found


def own_arguments(command: str, config: Mapping[str, Any]) -> list[str]:
    """gunicorn's options that `bench setup supervisor` would not write for this bench."""
    flags = flags_of(command)
    usual = {
        "-b": flags.get("-b"),
        "-w": flags.get("-w"),
        "-t": str(config.get("http_timeout", 120)),
        "--graceful-timeout": "30",
        "--preload": "",
    }
    requests = str(config.get("gunicorn_max_requests", DEFAULT_MAX_REQUESTS))
    if flags.get("--max-requests") in (requests, "0"):
        usual |= {name: flags.get(name) for name in ("--max-requests", "--max-requests-jitter")}
    return [
        f"{name} {value}".strip()
        for name, value in flags.items()
        if name not in usual or usual[name] != value
    ]


def own_options(
    does: str, command: str, options: Mapping[str, str], config: Mapping[str, Any]
) -> list[str]:
    """Options of a program's section that `bench setup supervisor` would not write so.

    Numbers with their value, others by name alone.
    """
    workers = config.get("workers")
    asked = (workers if isinstance(workers, dict) else {}).get(queues_of(command))
    usual = {str(asked.get("timeout"))} if isinstance(asked, dict) else {"360", "1560"}
    strange = [name for name in options if name not in WRITTEN]
    if options.get("stopwaitsecs", "40") not in (usual if does == "worker" else {"40"}):
        strange.append("stopwaitsecs")
    return [f"{name}={options[name]}" if options[name].isdigit() else name for name in strange]


# How supervisor gets to run a bench: the bench CLI writes the bench's own file alone.
BY_SUPERVISOR = (
    "`bench setup supervisor --user {owner}`, then link config/supervisor.conf of the bench into"
    " {folder}, then `supervisorctl update`"
)
IN_FILE = "{file} on {host}"
WRITTEN_BY = "{file}, which {writer} can write, on {host}"
FOLDER_UNREAD = Kind(
    "adopt_folder_unread",
    "supervisord of {host} does not read {folder}/*.conf",
    "[include] in supervisord's configuration on {host}",
    "add {folder}/*.conf to its files, and restart supervisor",
)
NO_PROGRAM = Kind(
    "adopt_no_program",
    "supervisor of {host} runs no program of the bench",
    "{folder} on {host}",
    f"let supervisor run the bench first: {BY_SUPERVISOR}. Or begin with a new server",
)
OTHER_SECTION = Kind(
    "adopt_other_section",
    "[{section}] is not a program; the fleet cannot keep it",
    WRITTEN_BY,
    "move it to a file of root's in {folder}, or take it out",
)
OTHER_OPTIONS = Kind(
    "adopt_other_options",
    "[{section}] has {names}; the fleet cannot keep such options",
    WRITTEN_BY,
    "take them out, or move the section to a file of root's in {folder}",
)
OTHER_ACCOUNT = Kind(
    "adopt_other_account",
    "[{section}] runs as {names}; the fleet cannot keep it so",
    WRITTEN_BY,
    "set user={account} there, or move the section to a file of root's in {folder}",
)
# By the reasons of refused_sections().
REFUSED = {"section": OTHER_SECTION, "options": OTHER_OPTIONS, "account": OTHER_ACCOUNT}
PREFIX_MISSING = Kind(
    "adopt_prefix_missing",
    "names of the bench's programs and groups do not begin with {prefix}: {programs}",
    IN_FILE,
    f"let the bench CLI write that file again: {BY_SUPERVISOR}",
)
OTHER_FOLDER = Kind(
    "adopt_other_folder",
    "supervisor runs the bench from a file that is not in {folder}",
    IN_FILE,
    "move its programs to a file in {folder}, or link it there, and take it out of [include] in"
    " supervisord's configuration; then `supervisorctl update`",
)
PROGRAM_NAMES_TAKEN = Kind(
    "adopt_program_names_taken",
    "programs of your own have names that programs of the fleet may get: {programs}",
    IN_FILE,
    "give them other names, then `supervisorctl update`",
)


def check_programs(host: Host, found: Found, _settings: Settings) -> Iterator[Problem]:
    """supervisor runs the bench, from files that the fleet can replace."""
    name, programs = host["name"], found["programs"]
    # A supervisord that cannot read its files is reported by preflight, on every host.
    if programs["trouble"]:
        return
    place = {"host": name, "folder": PROGRAMS_FOLDER, "owner": found["bench"]["owner"]}
    if programs["unread"]:
        yield FOLDER_UNREAD.found(**place)
    files = [file for file in found["supervisor"] if not file["ours"]]
    if not files:
        yield NO_PROGRAM.found(**place)
    prefix = f"{host['bench_dir'].rstrip('/').rsplit('/', 1)[-1]}-"
    for refused in programs["refused"]:
        yield REFUSED[refused["reason"]].found(account=host["bench_user"], **refused, **place)
    for file in files:
        path = file["path"]
        if strange := [name for name in file["programs"] if not name.startswith(prefix)]:
            yield PREFIX_MISSING.found(prefix=prefix, programs=strange, file=path, **place)
        if path.rpartition("/")[0] != PROGRAMS_FOLDER:
            yield OTHER_FOLDER.found(file=path, **place)
        ours = rf"{re.escape(prefix)}(frappe-.*(web|schedule|worker)|redis-\w+|node-socketio)"
        if taken := [name for name in file["kept"] if re.fullmatch(ours, name)]:
            yield PROGRAM_NAMES_TAKEN.found(programs=taken, file=path, **place)


PROGRAMS_STAY = NoticeKind("programs_stay", "programs of your own stay, in {file}: {programs}")
PROGRAMS_RESTART = NoticeKind(
    "programs_restart",
    "programs of your own that work with the bench are restarted once, because the bench's"
    " addresses and passwords change: {programs}",
)
VARIABLE_GOES = NoticeKind(
    "variable_goes",
    "the variable {variable} of {programs} goes; bench_environment sets a variable for all programs"
    " of the bench",
)
OPTIONS_GO = NoticeKind(
    "options_go",
    "options of {program} go: {options}. To keep them: once the fleet runs, write these lines below"
    " [program:{program}] in a file of your own in {folder}, with a name after the bench's",
)
WEB_WORKERS = NoticeKind(
    "web_workers", "web workers: {yours} -> {ours}; `bench_web_workers: {yours}` keeps yours"
)
WEB_ARGUMENTS_GO = NoticeKind(
    "web_arguments_go",
    "gunicorn of {program} runs without {lost}; `bench_web_arguments: '{arguments}'` keeps them",
)
WORKERS_BEGIN = NoticeKind("workers_begin", "background workers: none -> {ours}")
WORKERS_CHANGE = NoticeKind(
    "workers_change",
    "background workers by queues: {yours} -> {ours}; `bench_background_workers: {setting}` keeps"
    " yours",
)


def program_notices(host: Host, found: Found) -> Iterator[Notice]:
    """Programs that stop or run in another way, each with the setting that keeps it."""
    programs, aside = found["programs"], set_aside(host)["supervisor"]
    goes = [program for program in programs["work"] if program["file"] in aside]
    kept = [f"{one['name']} ({one['user']} runs {one['command']})" for one in programs["kept"]]
    if kept:
        bench = host["bench_dir"].rstrip("/").rsplit("/", 1)[-1]
        yield PROGRAMS_STAY.found(file=f"{PROGRAMS_FOLDER}/{bench}-own.conf", programs=kept)
    if programs["own"]:
        yield PROGRAMS_RESTART.found(programs=programs["own"])
    variables = grouped(
        (variable, program["name"])
        for program in goes
        for variable in program["environment"]
        if variable not in host["environment"]
    )
    for variable, names in variables.items():
        yield VARIABLE_GOES.found(variable=variable, programs=names)
    for program in goes:
        if program["task"] == "web":
            yield from web_notices(host, program)
        if program["options"]:
            yield OPTIONS_GO.found(
                program=program["name"], options=program["options"], folder=PROGRAMS_FOLDER
            )
    if goes:
        yield from worker_notices(host, programs["queues"], goes)


def web_notices(host: Host, program: Mapping[str, Any]) -> Iterator[Notice]:
    """Differences between a web program that goes and the fleet's."""
    if program["processes"] != host["web_workers"]:
        yield WEB_WORKERS.found(yours=program["processes"], ours=host["web_workers"])
    lost = [a for a in program["arguments"] if a not in host["web_arguments"]]
    if lost:
        yield WEB_ARGUMENTS_GO.found(
            program=program["name"], lost=" ".join(lost), arguments=" ".join(program["arguments"])
        )


def worker_notices(
    host: Host, custom: Mapping[str, Any], goes: Iterable[Mapping[str, Any]]
) -> Iterator[Notice]:
    """Differences between the workers that go and the fleet's; custom: the bench's own queues."""
    theirs: dict[str, int] = {}
    for program in goes:
        if program["task"] == "worker":
            theirs[program["queues"]] = theirs.get(program["queues"], 0) + program["processes"]
    asked = host["background_workers"]
    placed = [PLACED] if isinstance(asked, Mapping) else []
    # A malformed setting is reported by preflight.
    programs = [] if any(shape_troubles(asked)) else worker_programs(asked, placed, custom)
    ours = {",".join(program["queues"]): program["processes"] for program in programs}
    # The order of a worker's queues matters little.
    mine, yours = (
        {",".join(sorted(q.split(","))): n for q, n in x.items()} for x in (ours, theirs)
    )
    if mine == yours:
        return
    shown, now = ("; ".join(f"{q}: {n}" for q, n in x.items()) or "none" for x in (theirs, ours))
    if not theirs:
        yield WORKERS_BEGIN.found(ours=now)
        return
    entries = ", ".join(f"'{queues}': {number}" for queues, number in theirs.items())
    yield WORKERS_CHANGE.found(yours=shown, ours=now, setting=f"{{{entries}}}")
