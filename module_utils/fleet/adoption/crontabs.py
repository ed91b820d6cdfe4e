"""Commands of cron or of a timer that change or stop the bench."""

from __future__ import annotations

import glob
import os
import re
import shlex
import stat
from collections.abc import Iterable, Iterator

from ..preflight.problems import Host, Kind, Problem, Settings
from .files import read
from .host import Found
from .notices import Notice, NoticeKind

# Crontabs, and units that a timer may start.
FILES = (
    *("/etc/crontab", "/etc/cron.d/*", "/etc/cron.*ly/*", "/var/spool/cron/crontabs/*"),
    *("/etc/systemd/system/*.service", "/etc/systemd/system/*.service.d/*.conf"),
)
# Commands of the bench CLI that change or stop a bench; options may come before the command.
BENCH_COMMAND = re.compile(
    r"(?:(?:^|[\s;&|'\"`(=/])bench|bench_helper\s+frappe)"
    r"(?:\s+(?:--site[ =]\S+|--use-feature[ =]\S+|-\S+))*\s+"
    r"(update|migrate|restart|switch-to-branch|switch-to-develop|get-app|get|remove-app|"
    r"uninstall-app|install-app|build|setup\s+(?:production|supervisor|nginx|redis|requirements))"
    r"(?![\w-])"
)
GIT_PULL = re.compile(r"(?:^|[\s;&|'\"`(/])git\b[^;&|\n]*?\s(pull|checkout|reset|merge)(?![\w-])")


def scripts_of(line: str) -> list[str]:
    """Small files that a command line names: they may be scripts that it runs."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        words = line.split()
    found = []
    for word in words:
        for path in re.findall(r"(?<![\w.])/[\w./+-]+", word):
            try:
                info = os.stat(path)
                if stat.S_ISREG(info.st_mode) and info.st_size < 65536:
                    found.append(path)
            except OSError:
                continue
    return found


def commands_in(text: str, bench: str) -> list[tuple[int, str]]:
    """Lines of a crontab or script that change or stop a bench: (number, the command in short).

    The rest of a line is left out: it may hold a password.
    """
    found = []
    begun = ""
    for number, line in enumerate(text.splitlines(), start=1):
        whole = begun + line
        begun = whole[:-1] if line.endswith("\\") else ""
        if begun or whole.lstrip().startswith("#"):
            continue
        found += [(number, f"bench {m[1]}") for m in BENCH_COMMAND.finditer(whole)]
        if bench in text:
            found += [(number, f"git {m[1]}") for m in GIT_PULL.finditer(whole)]
    return list(dict.fromkeys(found))


def look_at_crontabs(bench: str, masks: Iterable[str] = FILES) -> list[dict[str, str]]:
    """Commands of cron or of a timer that change or stop the bench.

    {place, command, through}: ``path:line`` in the crontab or unit, the command in short, and
    ``path:line`` in the script that the line runs, "" without one.
    """
    found = []
    for mask in masks:
        for path in sorted(glob.glob(mask)):
            text = read(path)
            if "benchfleet" in os.path.basename(path) or "Made by Benchfleet" in text:
                continue
            for number, command in commands_in(text, bench):
                found.append({"place": f"{path}:{number}", "command": command, "through": ""})
            for number, line in enumerate(text.splitlines(), start=1):
                if line.lstrip().startswith("#"):
                    continue
                for script in scripts_of(line):
                    if script == path or script.endswith("/bench"):
                        continue
                    found += [
                        {
                            "place": f"{path}:{number}",
                            "command": command,
                            "through": f"{script}:{there}",
                        }
                        for there, command in commands_in(read(script), bench)
                    ]
    return found


# Commands that a crontab may keep.
HARMLESS_COMMANDS = frozenset({"bench restart", "bench build"})

COMMAND_BY_CRON = "cron or a timer runs {command} on {host}"
COMMAND_IN_CRONTAB = Kind(
    "adopt_command_in_crontab",
    f"{COMMAND_BY_CRON}: the reporting benches would then have other apps and settings",
    "{place} on {host}",
    "take the line out, or put a # before it. `./fleet update` updates the fleet (docs/update.md)",
)
COMMAND_IN_SCRIPT = Kind(
    "adopt_command_in_script",
    COMMAND_IN_CRONTAB.what,
    "{place}, by {through} on {host}",
    COMMAND_IN_CRONTAB.remedy,
)
COMMAND_STAYS = NoticeKind(
    "command_stays",
    f"{COMMAND_BY_CRON} ({{place}}), and still will: let it call /usr/local/bin/bench, so that"
    " users' calls wait meanwhile",
)


def check_crontabs(host: Host, found: Found, _settings: Settings) -> Iterator[Problem]:
    """No crontab or timer changes the bench: the reporting benches would not follow."""
    for line in found["crontabs"]:
        if line["command"] not in HARMLESS_COMMANDS:
            kind = COMMAND_IN_SCRIPT if line["through"] else COMMAND_IN_CRONTAB
            yield kind.found(host=host["name"], **line)


def crontab_notices(host: Host, found: Found) -> Iterator[Notice]:
    """Commands of crontabs that stay, and that users notice."""
    for line in found["crontabs"]:
        if line["command"] in HARMLESS_COMMANDS:
            yield COMMAND_STAYS.found(
                command=line["command"], place=line["place"], host=host["name"]
            )
