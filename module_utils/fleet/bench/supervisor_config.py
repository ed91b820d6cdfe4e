"""supervisor's configuration of a bench, made from what `bench setup supervisor` wrote.

The forms read here are those of the bench CLI 5.31; anything else is an error. Used on the
controller alone.
"""

from __future__ import annotations

import configparser
import io
import posixpath
import re
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from ..supervisor.programs import LOGS, task
from .program_settings import environment_text, program_problems

HEADER = (
    "; Made by Benchfleet from the output of `bench setup supervisor`; changes here are undone.\n"
)
# Programs that `bench setup supervisor` writes: what follows the bench's name, and what each does.
# Below, their options. The bench's account owns the file, and root's supervisord reads the result,
# so only known lines pass, and account, folder and logs are set here, whatever the file says.
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


def empty_parser() -> configparser.RawConfigParser:
    """A parser that treats a section DEFAULT like any other."""
    parser = configparser.RawConfigParser(default_section="", inline_comment_prefixes=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    return parser


def read_supervisor(text: str) -> configparser.RawConfigParser:
    """Parse a supervisor configuration. Raises AnsibleFilterError with the parser's message."""
    parser = empty_parser()
    try:
        parser.read_string(text)
    except configparser.Error as error:
        raise AnsibleFilterError(
            f"the generated supervisor.conf cannot be read: {error}"
        ) from error
    return parser


def programs_of(parser: configparser.RawConfigParser) -> list[str]:
    """The sections of a configuration's programs, in its order."""
    return [section for section in parser.sections() if section.startswith("program:")]


def supervisor_programs(text: str) -> list[str]:
    """Names of the programs of a supervisor configuration, in its order."""
    return [section.removeprefix("program:") for section in programs_of(read_supervisor(text))]


def supervisor_groups(text: str) -> list[str]:
    """Names of the groups of a supervisor configuration, in its order."""
    sections = read_supervisor(text).sections()
    return [s.removeprefix("group:") for s in sections if s.startswith("group:")]


def generated_programs(text: str, bench: str, user: str) -> configparser.RawConfigParser:
    """The programs that `bench setup supervisor` wrote for a bench, run by the account ``user``.

    Raises AnsibleFilterError for a section or an option that it does not write.
    """
    parser, name = read_supervisor(text), posixpath.basename(bench)
    made = empty_parser()
    for section in parser.sections():
        if section.startswith("group:"):
            # Each program gets a group of its own.
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
                f"[{section}] of the generated supervisor.conf is not as the bench CLI writes it"
                + (f" ({', '.join(wrong)})" if wrong else "")
                + f". Run this again. If that does not help, find out who changes"
                f" {bench}/config/supervisor.conf.bench, and whether the bench CLI is the pinned"
                " one. To set variables of the programs, use bench_environment"
            )
        made.add_section(section)
        for option, value in (options | settings_of(short, does[0], bench, user)).items():
            made.set(section, option, value)
    return made


def settings_of(short: str, does: str, bench: str, user: str) -> dict[str, str]:
    """Options of a program that root's supervisord acts on: account, folder, logs."""
    log = "worker" if does == "worker" else short.removeprefix("frappe-")
    return {
        "user": user,
        "directory": f"{bench}/sites" if does in ("web", "redis") else bench,
        "stdout_logfile": f"{LOGS}/{log}.log",
        "stderr_logfile": f"{LOGS}/{log}.error.log",
    }


def set_environment(
    parser: configparser.RawConfigParser, section: str, environment: Mapping[str, Any]
) -> None:
    """Add variables to those of a program, which win where both have one.

    Both values of PYTHONPATH are kept, the program's first.
    """
    own = dict(environment)
    text = parser.get(section, "environment", fallback="")
    for name, value in re.findall(r'(\w+)="([^"]*)"', text):
        further = own.pop(name, "")
        own[name] = f"{value}:{further}" if name == "PYTHONPATH" and further else value
    if own:
        parser.set(section, "environment", environment_text(own))


def set_groups(parser: configparser.RawConfigParser, prefix: str) -> None:
    """Give every program a group of its own, but both Redis programs one together.

    For a changed program, supervisor stops and starts its whole group, and a worker may need an
    hour to finish its job before it stops. In one group, a changed number of processes of one
    program would stop all the others for that time.
    """
    for section in [s for s in parser.sections() if s.startswith("group:")]:
        parser.remove_section(section)
    groups: dict[str, list[str]] = {}
    for section in programs_of(parser):
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
    """Write the given worker programs and no others.

    ``programs``: {name, queues, processes} each. A custom queue keeps the bench CLI's own program.
    The others are made from its short or long worker, whichever gives jobs of these queues enough
    time to finish at a stop.
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
                "the generated supervisor.conf has no worker program from which"
                f" {program['name']!r} can be made; check that the bench CLI is the pinned one"
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
    """Set the variables by which a program finds the guard and its settings."""
    parser.set(
        section,
        "environment",
        f'PYTHONPATH="{package_dir}",BENCHFLEET_READ_GUARD="{settings}"',
    )


def guard_web(
    parser: configparser.RawConfigParser, section: str, package_dir: str, settings: str
) -> None:
    """Make gunicorn serve Frappe's application through the guard."""
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

    It is separate from the ordinary web workers, so that such reports do not keep these from other
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
    """Make supervisor start a program that ends at once again and again.

    By default it gives up after ten times (FATAL), so programs that need the queue would not come
    back after a pause of Redis. It waits a second longer each time.
    """
    for section in programs_of(parser):
        parser.set(section, "startretries", "1000000")


def set_web(
    parser: configparser.RawConfigParser, section: str, bind: list[str], workers: int, further: str
) -> None:
    """Set gunicorn's addresses, number of processes and further options."""
    command = parser.get(section, "command")
    binds = " ".join(f"-b {address}" for address in bind)
    command, replaced = re.subn(r"-b \S+", lambda _: binds, command, count=1)
    command, counted = re.subn(r"-w \d+", f"-w {workers}", command, count=1)
    if not (replaced and counted):
        raise AnsibleFilterError(f"the web program's command has no -b and -w to set: {command}")
    if further:
        options = further.replace("%", "%%")
        command = re.sub(r"(?=frappe\.app:application\b)", lambda _: f"{options} ", command)
    parser.set(section, "command", command)


def guard_workers(
    parser: configparser.RawConfigParser, bench: str, package_dir: str, settings: str
) -> None:
    """Make the workers run in the guard."""
    for section in programs_of(parser):
        command = parser.get(section, "command")
        if task(command) == "worker":
            argv = [f"{bench}/env/bin/python", "-m", "benchfleet_guard", *command.split(" ")[1:]]
            parser.set(section, "command", " ".join(argv))
            parser.set(section, "directory", f"{bench}/sites")
            set_guard(parser, section, package_dir, settings)


def set_redis(
    parser: configparser.RawConfigParser, prefix: str, folder: str | None, start_queue: str
) -> None:
    """Make the Redis programs use the configurations of a folder; None removes the programs."""
    for kind, first in (("cache", []), ("queue", [start_queue])):
        section = f"program:{prefix}-redis-{kind}"
        if folder is None:
            parser.remove_section(section)
            continue
        if not parser.has_section(section):
            raise AnsibleFilterError(f"the generated supervisor.conf lacks [{section}]")
        server = parser.get(section, "command").split()[0]
        parser.set(section, "command", " ".join([*first, server, f"{folder}/redis_{kind}.conf"]))


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

    text: what ``bench setup supervisor`` wrote for the folder ``bench`` and its account ``user``.
    web_bind: each HOST:PORT on which gunicorn listens. web_workers: its number of processes; 0
    drops the program. workers: the worker programs, {name, queues, processes} each (see
    queues.worker_programs). bench_command: runs the bench CLI with its tools in its path.
    schedule, socketio: whether there are these programs.
    redis_config_dir: the folder of the configurations of the Redis programs; None drops them.
    start_queue: the command that starts the queue's Redis. guard: {package_dir, settings}; the web
    and worker programs load the guard of the read path. report_pool: {bind, workers, package_dir,
    settings}; adds a separate web program with the guard. environment: variables of all programs
    but Redis. web_arguments: further options of gunicorn, which win over those before them.

    Each program gets a group of its own. Raises AnsibleFilterError for what cannot be written.
    """
    for problem in program_problems(environment or {}, web_arguments, "this host"):
        raise AnsibleFilterError(f"{problem['what']}: {problem['remedy']}")
    parser = generated_programs(text, bench, user)
    prefix = posixpath.basename(bench)
    web = f"{prefix}-frappe-web"
    if not parser.has_section(f"program:{web}"):
        raise AnsibleFilterError(
            f"the generated supervisor.conf has no program {web}; check that the bench CLI is the"
            " pinned one"
        )
    if not schedule:
        parser.remove_section(f"program:{prefix}-frappe-schedule")
    if not socketio:
        parser.remove_section(f"program:{prefix}-node-socketio")
    set_workers(parser, prefix, workers)
    for section in programs_of(parser):
        program, *arguments = parser.get(section, "command").split(" ")
        if program.endswith("/bench"):
            parser.set(section, "command", " ".join([bench_command, *arguments]))
    if web_workers:
        set_web(parser, f"program:{web}", web_bind, web_workers, web_arguments)
        if report_pool:
            add_report_pool(parser, prefix, **report_pool)
        if guard:
            guard_web(parser, f"program:{web}", **guard)
    else:
        parser.remove_section(f"program:{web}")
    if guard:
        guard_workers(parser, bench, **guard)
    set_redis(parser, prefix, redis_config_dir, start_queue)
    for section in programs_of(parser):
        if task(parser.get(section, "command")) != "redis":
            set_environment(parser, section, environment or {})
    keep_trying(parser)
    set_groups(parser, prefix)
    out = io.StringIO()
    parser.write(out, space_around_delimiters=False)
    return HEADER + out.getvalue().strip() + "\n"


def stock_config(
    text: str,
    bench: str,
    user: str,
    bench_command: str,
    environment: Mapping[str, Any] | None = None,
) -> str:
    """The supervisor configuration of a bench without a fleet, with the bench CLI's own groups.

    text, bench, user, bench_command, environment: as for ``supervisor_config``. The logs are in the
    bench's folder, as the bench CLI has them. Raises AnsibleFilterError as generated_programs does.
    """
    parser, written = generated_programs(text, bench, user), read_supervisor(text)
    for section in programs_of(parser):
        for option, value in parser.items(section):
            parser.set(section, option, value.replace(f"{LOGS}/", f"{bench}/logs/"))
        command = re.sub(
            r"^\S*/bench(?= )", lambda _: bench_command, parser.get(section, "command")
        )
        parser.set(section, "command", command)
        if task(command) != "redis":
            set_environment(parser, section, environment or {})
    known = {section.removeprefix("program:") for section in programs_of(parser)}
    prefix = re.escape(f"group:{posixpath.basename(bench)}-")
    for section in written.sections():
        members = written.get(section, "programs", fallback="").split(",")
        inside = [name.strip() for name in members if name.strip() in known]
        if re.fullmatch(prefix + r"[\w-]+", section) and inside:
            parser.add_section(section)
            parser.set(section, "programs", ",".join(inside))
    out = io.StringIO()
    parser.write(out, space_around_delimiters=False)
    return out.getvalue()
