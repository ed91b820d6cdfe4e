"""Programs of the operator's own in files that go out of service: kept, in a file of root's."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Mapping
from typing import Any

from ..foreign import writer
from .configuration import ConfigurationError
from .programs import LOGS, PROGRAM, bench_sections, members_of

KEPT_HEADER = (
    "; Programs of your own, from files of supervisor's that went out of service: yours to change."
)
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
# Values of the options for logs that name no file.
NO_FILE = ("AUTO", "NONE", "SYSLOG")


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


def digest(text: str) -> str:
    """By what a text is known again, without its secrets."""
    return hashlib.sha256(text.encode()).hexdigest()
