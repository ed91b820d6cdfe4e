"""Commands that cron or a timer runs by itself, and that change or stop the bench."""

from __future__ import annotations

import glob
import os
import re
import shlex
import stat
from collections.abc import Iterable, Iterator

from ..preflight.problems import Host, Problem, Settings, problem
from ..surroundings import read
from .host import Found

CRON_FILES = ("/etc/crontab", "/etc/cron.d/*", "/etc/cron.*ly/*", "/var/spool/cron/crontabs/*")
UNIT_FILES = ("/etc/systemd/system/*.service", "/etc/systemd/system/*.service.d/*.conf")
# What changes a bench, or stops it, as somebody would let it run by itself. Options may stand
# between.
BENCH_COMMAND = re.compile(
    r"(?:(?:^|[\s;&|'\"`(=/])bench|bench_helper\s+frappe)"
    r"(?:\s+(?:--site[ =]\S+|--use-feature[ =]\S+|-\S+))*\s+"
    r"(update|migrate|restart|switch-to-branch|switch-to-develop|get-app|get|remove-app|"
    r"uninstall-app|install-app|build|setup\s+(?:production|supervisor|nginx|redis|requirements))"
    r"(?![\w-])"
)
GIT_PULL = re.compile(r"(?:^|[\s;&|'\"`(/])git\b[^;&|\n]*?\s(pull|checkout|reset|merge)(?![\w-])")


def scripts_of(line: str) -> list[str]:
    """Files that a command line names, small ones of text: what it runs may stand in them."""
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

    What else stands there is left out: it may hold a password.
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


def look_at_crontabs(
    bench: str,
    masks: Iterable[str] = CRON_FILES,
    units: Iterable[str] = UNIT_FILES,
) -> list[dict[str, str]]:
    """Commands that cron or a timer runs by itself and that change or stop the bench.

    {place, command, through}: ``path:line`` in the crontab or unit, the command in short, and
    ``path:line`` in the script that the line runs, "" without one.
    """
    found = []
    for mask in (*masks, *units):
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


# Commands that a crontab may go on with.
HARMLESS_COMMANDS = frozenset({"bench restart", "bench build"})


def check_crontabs(host: Host, found: Found, _settings: Settings) -> Iterator[Problem]:
    """Nothing changes the bench by itself: the reporting benches would not follow."""
    for line in found["crontabs"]:
        if line["command"] in HARMLESS_COMMANDS:
            continue
        through = f", by {line['through']}" if line["through"] else ""
        yield problem(
            f"{line['command']} is run by itself on {host['name']}: the reporting benches would "
            "not have the same apps and settings",
            f"{line['place']}{through} on {host['name']}",
            "take the line out, or put a # before it. playbooks/update.yml updates the fleet "
            "(docs/update.md)",
        )


def crontab_words(host: Host, found: Found) -> Iterator[str]:
    """Commands of crontabs that are allowed, and that users notice."""
    for line in found["crontabs"]:
        if line["command"] in HARMLESS_COMMANDS:
            yield (
                f"{line['command']} stands in {line['place']} on {host['name']} and goes on: let "
                "it call /usr/local/bin/bench, so that calls are held meanwhile"
            )
