"""Programs of the operator's own in files that go out of service: kept in a file of root's."""

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
# Sections and options that may move from a file that others than root can write to one of root's:
# programs and groups, with options for which supervisord opens no file and loads no code.
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
    """The text of a file with all sections, of files that go out of service, that are not of the
    bench's own work; "" where there are none.

    A program that shared a group with the bench's programs gets into the group BENCH-own. A program
    from a file that others than root can write runs as ``account``, with its logs in LOGS. Raises
    ConfigurationError for the first of refused_sections().
    """
    for refused in refused_sections(bench, read, paths, account):
        raise ConfigurationError(
            f"{refused['file']}, which {refused['writer']} can write: [{refused['section']}] cannot"
            f" be kept because of its {refused['reason']}"
            f" {', '.join(refused['names'])}. `./fleet check` shows the remedy"
        )
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
    """Options of a program, with its account, and logs in a folder where that can make no links."""
    known = {**options, "user": account}
    for name, end in (("stdout_logfile", ".log"), ("stderr_logfile", ".error.log")):
        if name in known and known[name].upper() not in NO_FILE:
            known[name] = f"{LOGS}/{section.partition(':')[2]}{end}"
    return known


def refused_sections(
    bench: str, read: Mapping[str, Any], paths: Iterable[str], account: str
) -> list[dict[str, Any]]:
    """Sections of files that go out of service that cannot move to a file of root's:
    {reason, section, file, writer, names}.

    Only those of files that others than root can write: by such a section the writer could have any
    command run, or any file written, as root. reason: "section" (no program or group), "options"
    (names: the options) or "account" (names: the accounts that it runs as).
    """
    work = bench_sections(bench, read)
    users: dict[str, set[str]] = {}
    for process in read["processes"]:
        users.setdefault(process["section"], set()).add(process["user"])
    found = []
    for file in read["files"]:
        path = file["path"]
        if path not in paths or not (who := writer(path)):
            continue
        for section, options in file["sections"].items():
            name = section.partition(":")[2]
            if section in work:
                continue
            place = {"section": section, "file": path, "writer": who}
            if not section.startswith(OWN_SECTIONS) or not re.fullmatch(r"[\w.-]+", name):
                found.append({"reason": "section", "names": [section], **place})
                continue
            if strange := sorted(set(options) - OWN_OPTIONS):
                found.append({"reason": "options", "names": strange, **place})
            if section.startswith(PROGRAM) and (others := users.get(section, set()) - {account}):
                found.append({"reason": "account", "names": sorted(others), **place})
    return found


def own_names(read: Mapping[str, Any], paths: Iterable[str], bench: str) -> list[str]:
    """Names of the programs in files that are not of the bench's own work, in their order."""
    work = bench_sections(bench, read)
    return [
        section.partition(":")[2]
        for file in read["files"]
        if file["path"] in paths
        for section in file["sections"]
        if section.startswith(PROGRAM) and section not in work
    ]


def digest(text: str) -> str:
    """A digest by which a text is recognised, without its secrets."""
    return hashlib.sha256(text.encode()).hexdigest()
