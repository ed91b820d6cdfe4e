"""What the bench CLI generates, turned into what a fleet needs: pure functions on text.

The shapes read here are those of the bench CLI 5.31 (``bench setup supervisor``,
``bench setup redis``). Anything that is not recognised is an error, not a guess.
"""

from __future__ import annotations

import configparser
import io
import posixpath
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from fleet.bench import files as bench_files
from fleet.supervisor import programs

HEADER = (
    "; Made by Benchfleet from the output of `bench setup supervisor`; changes here are undone.\n"
)
REDIS_HEADER = (
    "# Made by Benchfleet from the output of `bench setup redis`; changes here are undone.\n"
)


# What a variable's value cannot hold in supervisor's files, and why.
UNWRITABLE = (
    (r"[\r\n\0]", "a line break"),
    (r"\".*'|'.*\"", "both kinds of quotes"),
    (r"^[\"']|[\"']$", "a quote at its beginning or end"),
    (r"\s[;#]", "a blank before ; or #, where supervisor begins a remark"),
)
# Options of gunicorn that other settings have, or that the fleet needs as they are.
TAKEN = re.compile(r"(-[bwcD]\S*|--(bind|workers|config|daemon|preload|pythonpath)(=.*)?)")


task = programs.task

# Programs that `bench setup supervisor` writes, by what follows the bench's name, and what each
# does; and what it writes of each. The file is the bench account's, and what comes of it is read by
# root's supervisord: no line passes that is not known, and what root does by itself (account,
# folder, logs) is set here, whatever the file says.
WRITTEN_PROGRAMS = {
    "frappe-web": "web",
    "frappe-schedule": "schedule",
    r"frappe-[\w.-]+-worker": "worker",
    "redis-(cache|queue)": "redis",
    "node-socketio": "socketio",
}
NUMBER = r"[0-9]{1,7}"
WRITTEN_OPTIONS = {
    "command": r"[\w@+=:,./-]+( [\w@+=:,./-]+)*",
    "process_name": re.escape("%(program_name)s-%(process_num)d"),
    "autostart": "true|false",
    "autorestart": "true|false|unexpected",
    "killasgroup": "true|false",
    **dict.fromkeys(("priority", "stopwaitsecs", "numprocs", "startretries"), NUMBER),
    # Set anew.
    **dict.fromkeys(("user", "directory", "stdout_logfile", "stderr_logfile"), "(?s:.*)"),
}


def program_troubles(environment: Any, arguments: Any) -> list[tuple[str, str]]:
    """What is wrong with bench_environment and bench_web_arguments, and the remedy: pairs of text.

    No value of a variable is in it.
    """
    found: list[tuple[str, str]] = []
    if not isinstance(environment, Mapping):
        found.append(("bench_environment is no map", 'write {NAME: "value"}'))
        environment = {}
    for name, value in environment.items():
        if not re.fullmatch(r"[A-Za-z_]\w*", str(name)) or str(name).startswith("BENCHFLEET_"):
            found.append(
                (
                    f"bench_environment has the name {name!r}",
                    "a name has letters, digits and _ alone; those that begin with BENCHFLEET_ are"
                    " the fleet's",
                )
            )
        if isinstance(value, (Mapping, list)) or value is None:
            found.append((f"bench_environment has no text for {name}", "write a text"))
            continue
        found += [
            (
                f"the value of {name} in bench_environment has {what}",
                "supervisor's files cannot hold it: give the program a file to read it from",
            )
            for pattern, what in UNWRITABLE
            if re.search(pattern, str(value))
        ][:1]
    words = str(arguments).split()
    if taken := [word for word in words if TAKEN.fullmatch(word)]:
        found.append(
            (
                f"bench_web_arguments has {' '.join(taken)}",
                "the fleet sets it: bench_web_workers is the number of workers",
            )
        )
    if re.search(r"[\r\n]|\s[;#]", str(arguments)) or (words and not words[0].startswith("-")):
        found.append(
            (
                "bench_web_arguments are no options of gunicorn",
                'write such as "-k gthread --threads 8"',
            )
        )
    return found


def environment_text(environment: Mapping[str, Any]) -> str:
    """Variables as supervisor's option ``environment`` has them."""
    parts = []
    for name, value in environment.items():
        text = str(value).replace("%", "%%")
        quote = "'" if '"' in text else '"'
        parts.append(f"{name}={quote}{text}{quote}")
    return ",".join(parts)


def set_environment(
    parser: configparser.RawConfigParser, section: str, environment: Mapping[str, Any]
) -> None:
    """Add variables to a program's; where both have one, the program's own wins.

    Folders of Python's modules are looked into one after the other.
    """
    own = dict(environment)
    text = parser.get(section, "environment", fallback="")
    for name, value in re.findall(r'(\w+)="([^"]*)"', text):
        further = own.pop(name, "")
        own[name] = f"{value}:{further}" if name == "PYTHONPATH" and further else value
    if own:
        parser.set(section, "environment", environment_text(own))


def empty_parser() -> configparser.RawConfigParser:
    """A parser to which a section DEFAULT is one like others."""
    parser = configparser.RawConfigParser(default_section="", inline_comment_prefixes=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    return parser


def read_supervisor(text: str) -> configparser.RawConfigParser:
    """Parse a supervisor configuration. Raises AnsibleFilterError with the parser's words."""
    parser = empty_parser()
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise AnsibleFilterError(
            f"the generated supervisor.conf cannot be read: {error}"
        ) from error
    return parser


def generated_programs(text: str, bench: str, user: str) -> configparser.RawConfigParser:
    """The programs that `bench setup supervisor` wrote for a bench, as its account.

    Raises AnsibleFilterError with the section and the option of what it does not write.
    """
    parser, name = read_supervisor(text), posixpath.basename(bench)
    made = empty_parser()
    for section in parser.sections():
        if section.startswith("group:"):
            # Each program gets one of its own.
            continue
        prefix = f"program:{name}-"
        short = section.removeprefix(prefix) if section.startswith(prefix) else ""
        does = [what for known, what in WRITTEN_PROGRAMS.items() if re.fullmatch(known, short)]
        options = dict(parser.items(section))
        if does == ["redis"] and options.get("command", "").startswith("None "):
            # No Redis is installed on this node.
            continue
        wrong = [
            f"the option {option}"
            for option, value in options.items()
            if not re.fullmatch(WRITTEN_OPTIONS.get(option, "(?!)"), value)
        ]
        if does and not wrong and task(options.get("command", "")) not in does:
            wrong = ["the option command"]
        if wrong or not does:
            raise AnsibleFilterError(
                f"the generated supervisor.conf has {', '.join(wrong) or 'a section'} that the"
                f" bench CLI does not write so, in [{section}]: run this again. If that does not"
                f" help, see who changes {bench}/config/supervisor.conf.bench, and whether the"
                " bench CLI is the pinned one; bench_environment sets variables of the programs"
            )
        made.add_section(section)
        for option, value in (options | settings_of(short, does[0], bench, user)).items():
            made.set(section, option, value)
    return made


def settings_of(short: str, does: str, bench: str, user: str) -> dict[str, str]:
    """What root's supervisord does for a program: its account, its folder, its logs."""
    log = "worker" if does == "worker" else short.removeprefix("frappe-")
    return {
        "user": user,
        "directory": f"{bench}/sites" if does in ("web", "redis") else bench,
        "stdout_logfile": f"{programs.LOGS}/{log}.log",
        "stderr_logfile": f"{programs.LOGS}/{log}.error.log",
    }


def set_groups(parser: configparser.RawConfigParser, prefix: str) -> None:
    """Give every program a group of its own, but both Redis programs one.

    Supervisor takes a changed program over by stopping and starting its whole group, and a worker
    may finish an hour's job before it stops: in one group, a changed count of one program would
    keep all the others away for as long.
    """
    for section in [s for s in parser.sections() if s.startswith("group:")]:
        parser.remove_section(section)
    groups: dict[str, list[str]] = {}
    for section in [s for s in parser.sections() if s.startswith("program:")]:
        program = section.removeprefix("program:")
        short = program.removeprefix(f"{prefix}-").removeprefix("frappe-").removeprefix("node-")
        redis = task(parser.get(section, "command")) == "redis"
        groups.setdefault("redis" if redis else short, []).append(program)
    for name, members in groups.items():
        parser.add_section(f"group:{prefix}-{name}")
        parser.set(f"group:{prefix}-{name}", "programs", ",".join(members))


def set_workers(
    parser: configparser.RawConfigParser, prefix: str, programs: list[dict[str, Any]]
) -> None:
    """Have the given worker programs and no others.

    ``programs``: {name, queues, processes} each. A custom queue has the bench CLI's own program;
    the others are made from the one that leaves a job, at a stop, the time which these queues need.
    """
    suffix = "-worker"
    stock = {
        section.removeprefix(f"program:{prefix}-frappe-").removesuffix(suffix): dict(
            parser.items(section)
        )
        for section in parser.sections()
        if section.startswith(f"program:{prefix}-frappe-") and section.endswith(suffix)
    }
    for name in stock:
        parser.remove_section(f"program:{prefix}-frappe-{name}{suffix}")
    for program in programs:
        quick = set(program["queues"]) <= {"short", "default"}
        own = stock.get(program["name"]) if program["name"] not in ("short", "long") else None
        template = own or stock.get("short" if quick else "long")
        if template is None:
            raise AnsibleFilterError(
                f"the generated supervisor.conf has no worker program to make"
                f" {program['name']!r} from; is the bench CLI the pinned one?"
            )
        section = f"program:{prefix}-frappe-{program['name']}{suffix}"
        parser.add_section(section)
        for key, value in template.items():
            parser.set(section, key, value)
        command, found = re.subn(
            r"--queue \S+", f"--queue {','.join(program['queues'])}", template["command"], count=1
        )
        if not found:
            raise AnsibleFilterError(
                f"the worker program's command has no --queue to set: {template['command']}"
            )
        parser.set(section, "command", command)
        parser.set(section, "numprocs", str(program["processes"]))


def set_guard(
    parser: configparser.RawConfigParser, section: str, package_dir: str, settings: str
) -> None:
    """Let a program find the guard and its settings."""
    parser.set(
        section,
        "environment",
        f'PYTHONPATH="{package_dir}",BENCHFLEET_READ_GUARD="{settings}"',
    )


def guard_web(
    parser: configparser.RawConfigParser, section: str, package_dir: str, settings: str
) -> None:
    """Let gunicorn serve Frappe's application through the guard."""
    command, found = re.subn(
        r"\bfrappe\.app:application\b",
        "benchfleet_guard.wsgi:application",
        parser.get(section, "command"),
    )
    if found != 1:
        raise AnsibleFilterError(
            f"the web program's command does not name frappe.app:application once: {command}"
        )
    parser.set(section, "command", command)
    set_guard(parser, section, package_dir, settings)


def add_report_pool(
    parser: configparser.RawConfigParser,
    prefix: str,
    bind: str,
    workers: int,
    package_dir: str,
    settings: str,
) -> None:
    """Add the small web program for reports that no reporting bench can answer.

    It is apart from the ordinary web workers, which such reports would keep from everybody else's
    calls.
    """
    name = f"{prefix}-frappe-report-web"
    section = f"program:{name}"
    parser.add_section(section)
    for key, value in parser.items(f"program:{prefix}-frappe-web"):
        parser.set(section, key, re.sub(r"/web(?=(?:\.error)?\.log$)", "/report-web", value))
    command = re.sub(r"-b \S+", lambda _: f"-b {bind}", parser.get(section, "command"), count=1)
    parser.set(section, "command", re.sub(r"-w \d+", f"-w {workers}", command, count=1))
    guard_web(parser, section, package_dir, settings)


def keep_trying(parser: configparser.RawConfigParser) -> None:
    """Have supervisor start each program again for as long as it ends at once.

    It would give up after ten times (FATAL): what needs the queue would stay away after a pause of
    Redis. It waits a second longer each time.
    """
    for section in [s for s in parser.sections() if s.startswith("program:")]:
        parser.set(section, "startretries", "1000000")


def supervisor_config(
    text: str,
    bench: str,
    user: str,
    web_bind: list[str],
    web_workers: int,
    workers: list[dict[str, Any]],
    bench_command: str,
    schedule: bool = True,
    socketio: bool = True,
    redis_config_dir: str | None = None,
    start_queue: str = "",
    guard: dict[str, str] | None = None,
    report_pool: dict[str, Any] | None = None,
    environment: Mapping[str, Any] | None = None,
    web_arguments: str = "",
) -> str:
    """The supervisor configuration of one node of the fleet.

    ``text`` is what ``bench setup supervisor`` wrote for the folder ``bench``, whose account is
    ``user``. ``web_bind`` lists the HOST:PORT on which
    gunicorn listens; ``web_workers`` is its number of processes (0 drops the program);
    ``workers`` are the worker programs, {name, queues, processes} each (see worker_programs);
    ``bench_command`` is what runs the bench CLI with its tools in its path.
    Without ``schedule`` the scheduler's program is gone. Each program is a group of its own, named
    as it is.
    ``redis_config_dir`` is the folder of the Redis configurations that the programs shall use;
    None drops the Redis programs. ``start_queue`` is what starts the queue's. ``guard``
    ({package_dir, settings}) makes the web and worker programs load the guard of the read path.
    ``report_pool`` ({bind, workers, package_dir, settings}) adds a web program of its own, with the
    guard. ``environment`` has variables of all programs but Redis; ``web_arguments`` are further
    options of gunicorn, which win over those before them.
    """
    for what, remedy in program_troubles(environment or {}, web_arguments):
        raise AnsibleFilterError(f"{what}: {remedy}")
    parser = generated_programs(text, bench, user)
    prefix = posixpath.basename(bench)
    web = f"{prefix}-frappe-web"
    if not parser.has_section(f"program:{web}"):
        raise AnsibleFilterError(
            f"the generated supervisor.conf has no program {web}; is the bench CLI the pinned one?"
        )
    dropped: set[str] = set()
    if not schedule:
        dropped.add(f"{prefix}-frappe-schedule")
    if not socketio:
        dropped.add(f"{prefix}-node-socketio")
    if redis_config_dir is None:
        dropped |= {f"{prefix}-redis-cache", f"{prefix}-redis-queue"}
    if web_workers == 0:
        dropped.add(web)
    for name in dropped:
        parser.remove_section(f"program:{name}")
    set_workers(parser, prefix, workers)
    for section in [s for s in parser.sections() if s.startswith("program:")]:
        words = parser.get(section, "command").split(" ")
        if words[0].endswith("/bench"):
            parser.set(section, "command", " ".join([bench_command, *words[1:]]))
    if web_workers:
        section = f"program:{web}"
        command = parser.get(section, "command")
        binds = " ".join(f"-b {address}" for address in web_bind)
        command, replaced = re.subn(r"-b \S+", lambda _: binds, command, count=1)
        command, counted = re.subn(r"-w \d+", f"-w {web_workers}", command, count=1)
        if not (replaced and counted):
            raise AnsibleFilterError(
                f"the web program's command has no -b and -w to set: {command}"
            )
        if web_arguments:
            further = web_arguments.replace("%", "%%")
            command = re.sub(r"(?=frappe\.app:application\b)", lambda _: f"{further} ", command)
        parser.set(section, "command", command)
        if report_pool:
            add_report_pool(parser, prefix, **report_pool)
        if guard:
            guard_web(parser, section, **guard)
    if guard:
        sites, python = f"{bench}/sites", f"{bench}/env/bin/python"
        for section in [s for s in parser.sections() if s.startswith("program:")]:
            if task(parser.get(section, "command")) != "worker":
                continue
            _, *words = parser.get(section, "command").split(" ")
            parser.set(section, "command", " ".join([python, "-m", "benchfleet_guard", *words]))
            parser.set(section, "directory", sites)
            set_guard(parser, section, **guard)
    if redis_config_dir is not None:
        for kind in ("cache", "queue"):
            section = f"program:{prefix}-redis-{kind}"
            if not parser.has_section(section):
                raise AnsibleFilterError(f"the generated supervisor.conf lacks [{section}]")
            server = parser.get(section, "command").split()[0]
            words = [start_queue] if kind == "queue" else []
            words += [server, f"{redis_config_dir}/redis_{kind}.conf"]
            parser.set(section, "command", " ".join(words))
    for section in [s for s in parser.sections() if s.startswith("program:")]:
        if task(parser.get(section, "command")) != "redis":
            set_environment(parser, section, environment or {})
    keep_trying(parser)
    set_groups(parser, prefix)
    out = io.StringIO()
    parser.write(out, space_around_delimiters=False)
    return HEADER + out.getvalue().strip() + "\n"


def supervisor_programs(text: str) -> list[str]:
    """Names of the programs of a supervisor configuration, in its order."""
    sections = read_supervisor(text).sections()
    return [s.removeprefix("program:") for s in sections if s.startswith("program:")]


def supervisor_groups(text: str) -> list[str]:
    """Names of the groups of a supervisor configuration, in its order."""
    sections = read_supervisor(text).sections()
    return [s.removeprefix("group:") for s in sections if s.startswith("group:")]


def redis_config(
    text: str, bind: list[str], acl_file: str, max_memory_mb: int, queue: bool = False
) -> str:
    """The configuration of one Redis of the bench.

    ``text`` is what ``bench setup redis`` wrote, and what the operator made of it; ``bind`` the
    addresses to listen on; ``acl_file`` has the users, each with a password, and the operator's own
    users and password go; ``max_memory_mb`` in MiB. The ``queue`` drops no job and is on the disk
    after a second; the operator's own limit and a stricter ``appendfsync`` stay. That it is
    append-only is not said here: see module_utils/fleet/redis/store.py.
    """
    try:
        settings = bench_files.redis_settings(text)
    except ValueError as error:
        raise AnsibleFilterError(f"the bench's Redis configuration: {error}") from error
    if settings.get("port", "0") == "0":
        raise AnsibleFilterError("the bench's Redis configuration names no port")
    own = {
        "bind": " ".join(bind),
        "protected-mode": "yes",
        "aclfile": f'"{acl_file}"',
        "maxmemory": f"{max_memory_mb}mb",
    }
    if queue:
        own |= {
            "maxmemory-policy": "noeviction",
            "appendfsync": "everysec",
            "aof-load-truncated": "yes",
        }
        kept = {"maxmemory": r"[1-9]\w*", "appendfsync": "always"}
        for name, wanted in kept.items():
            if re.fullmatch(wanted, settings.get(name, ""), re.IGNORECASE):
                del own[name]
    lines = bench_files.redis_without(text, {"requirepass", *own, *bench_files.REDIS_GONE})
    lines += [f"{name} {value}" for name, value in own.items()]
    return REDIS_HEADER + "\n".join(lines) + "\n"


def config_keys(kind: str) -> list[str]:
    """Keys of common_site_config.json: those ``out`` of it on the primary, those ``absent`` on a
    reporting node, or those put ``back`` at a release; see module_utils/fleet/bench/files.py.
    """
    files = bench_files
    kinds = {
        "out": (files.OUT,),
        "absent": (files.OUT, files.PRIMARY, files.REFUSED),
        "back": (files.SET, files.OWN, files.OUT),
    }
    found: list[str] = files.keys_that_are(*kinds[kind])
    return found


def host_port(address: str, port: int) -> str:
    """HOST:PORT with the brackets that an IPv6 address needs."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def bench_id(path: str) -> str:
    """The queue prefix that Frappe derives from a bench's path, made explicit.

    Setting exactly this value keeps the jobs that already wait in the queue.
    """
    return path.strip("/").replace("/", "-")


def known_host(address: str, port: int) -> str:
    """A host as ssh looks it up in known_hosts: with brackets and port unless that is 22."""
    return address if int(port) == 22 else f"[{address}]:{int(port)}"


def lockstep_apps(
    apps: dict[str, Any], user: str, address: str, port: int, bench: str
) -> list[dict[str, Any]]:
    """Where a reporting bench gets its apps from: the primary's, over the LAN, at its commits.

    ``apps`` as the module bench_info tells them of the primary; ``port`` is its sshd's; frappe
    comes first.
    """
    host = f"[{address}]" if ":" in address else address
    if int(port) != 22:
        host = host_port(address, int(port))
    names = sorted(apps, key=lambda name: (name != "frappe", name))
    return [
        {
            "name": name,
            "repo": f"ssh://{user}@{host}{bench}/apps/{name}",
            "branch": None,
            "commit": apps[name]["commit"],
        }
        for name in names
    ]


def repo_logins(apps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Apps whose repository's URL and the account in it, ``//USER:PASSWORD@``, are apart.

    The account is a secret option of the module bench_init. Ansible strikes the value of such an
    option out of everything that the module returns: a whole ``repo``, which may be the name of the
    app alone, would be missing in messages and paths.
    """
    apart = []
    for app in apps:
        found = bench_files.ACCOUNT.search(app["repo"])
        login = found.group() if found else ""
        repo = app["repo"].replace(login, "//", 1) if login else app["repo"]
        apart.append({**app, "repo": repo, "login": login})
    return apart


def secret_part(config: dict[str, Any]) -> dict[str, Any]:
    """The keys of a configuration that must never be shown."""
    return {key: value for key, value in config.items() if bench_files.is_secret(key, value)}


def public_part(config: dict[str, Any]) -> dict[str, Any]:
    """The keys of a configuration that may be shown."""
    return {key: value for key, value in config.items() if not bench_files.is_secret(key, value)}


def proxy_environment(proxy: str) -> dict[str, str]:
    """Environment of what downloads on a host: {} without a proxy.

    Apt, pip, uv, npm, yarn, git and Frappe all read these variables.
    """
    if not proxy:
        return {}
    return {"http_proxy": proxy, "https_proxy": proxy, "no_proxy": "localhost,127.0.0.1"}


class FilterModule:
    """Filters for benches."""

    def filters(self) -> dict[str, Any]:
        """Names under which Ansible finds the functions."""
        return {
            "supervisor_config": supervisor_config,
            "supervisor_programs": supervisor_programs,
            "supervisor_groups": supervisor_groups,
            "program_troubles": program_troubles,
            "redis_config": redis_config,
            "config_keys": config_keys,
            "host_port": host_port,
            "bench_id": bench_id,
            "known_host": known_host,
            "lockstep_apps": lockstep_apps,
            "repo_logins": repo_logins,
            "secret_part": secret_part,
            "public_part": public_part,
            "proxy_environment": proxy_environment,
        }
