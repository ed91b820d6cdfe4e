"""The last lines of what matters on a host, safe to show on a terminal.

The bench's account writes into some of the folders, so files there are opened as that account would
open them, and no link is followed. Of each file only the end is read.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from .bench.files import without_password
from .bench.output import LOG_DIR
from .foreign import NotPlainError, open_plain
from .mariadb.options import data_folder, server_options
from .processes import run
from .supervisor.programs import LOGS

# What can be asked for, in the order in which it is shown.
WHAT = ("web", "workers", "scheduler", "copies", "mariadb", "nginx", "redis", "timers", "update")
# Names of the logs of programs that supervisor starts, and of logs that are in the bench alone.
PROGRAMS = {
    "web": ("web.error.log", "web.log", "report-web.error.log"),
    "workers": ("worker.error.log", "worker.log"),
    "scheduler": ("schedule.error.log", "schedule.log"),
    "redis": ("redis-queue.log", "redis-cache.log"),
}
BENCH = {"web": ("frappe.log",), "scheduler": ("scheduler.log",), "copies": ("rsync.log",)}
UNITS = {
    "mariadb": ("mariadb.service",),
    "nginx": ("nginx.service",),
    "timers": ("benchfleet-*",),
    "copies": ("benchfleet-files.*", "benchfleet-changes.*"),
}
NGINX = "/var/log/nginx/error.log"
# Bytes at the end of a file that are read, characters of a line that are shown, and lines.
END, LONGEST, MOST = 256 * 1024, 1000, 1000
# In a summary: lines that are looked at, and lines that are shown.
LOOKED_AT, SUMMARY = 400, 5
JOURNAL_SECONDS = 15
# What journalctl says where no unit has such a name.
NO_UNITS = "No data available"
# The beginning of a line of the journal: time, host, program.
ENTRY = re.compile(r"^([\d-]+)T([\d:]+)\S* \S+ ([^\s:\[]+)(?:\[\d+\])?: ")
TROUBLE = re.compile(
    r"\b(?:\w*error|\w*exception|traceback|warn(?:ing)?|crit(?:ical)?|fatal|emerg|alert|panic"
    r"|fail(?:ed|ure)?|aborted|denied|refused|timed? ?out|killed|misconf|out of memory)\b",
    re.IGNORECASE,
)
# Of a log's own words about a level that is none of trouble.
CALM = re.compile(r"\[(?:notice|info|debug|note)\]|\b0 errors?\b", re.IGNORECASE)
TIME = re.compile(
    r"\d{4}[-/]\d\d[-/]\d\d[T ]+\d?\d:\d\d:\d\d"
    r"|\d\d? (?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) \d{4} \d\d:\d\d:\d\d"
    r"|^\d\d:\d\d:\d\d\b"
)
# What is or may be a password, with the words before it; also one whose quotation mark stays open.
SECRET = re.compile(
    r"((?:\b|_)(?:passw(?:or)?d|passwd|pwd|passphrase|secret|token|api_?key|encryption_key|sid)"
    r"[\"']?\s*[=:]\s*(?:(?:bearer|basic|token) )?|\bpassword\(\s*|\bbearer "
    r"|\bauthorization[\"']?\s*[=:]\s*(?:\w+ )?|\bidentified (?:by|via \w+ using)(?: password)? "
    r"|--[\w-]{0,40}password[= ]|\b(?:mysql|mariadb)[\w-]{0,20}\s[^|;]{0,200}?\s-p(?=\S))"
    r"(?:\"(?:[^\"\\]|\\.|\"\")*(?:\"|\\?$)|'(?:[^'\\]|\\.|'')*(?:'|\\?$)|[^\s\"',;&)}\]]+)",
    re.IGNORECASE,
)

Line = dict[str, str]


class Source(NamedTuple):
    """A file, or a unit in the journal."""

    path: str = ""
    unit: str = ""


def sources(what: str, bench: str) -> list[Source]:
    """The files and units of one of WHAT, on this host."""
    found = []
    for name in PROGRAMS.get(what, ()):
        # A bench without a fleet has them in its own folder.
        place = LOGS if os.path.lexists(f"{LOGS}/{name}") else f"{bench}/logs"
        found.append(Source(f"{place}/{name}"))
    found += [Source(f"{bench}/logs/{name}") for name in BENCH.get(what, ())]
    if what == "mariadb" and (path := error_log()):
        found.append(Source(path))
    if what == "nginx":
        found.append(Source(NGINX))
    if what == "update":
        found += [Source(path) for path in newest(LOG_DIR)]
    return [*found, *(Source(unit=unit) for unit in UNITS.get(what, ()))]


def error_log() -> str:
    """The file into which MariaDB writes its errors, "" where it writes them to the journal."""
    options = server_options()
    path = options.get("log_error", "")
    return os.path.join(data_folder(options), path) if path else ""


def newest(folder: str) -> list[str]:
    """The newest file of a folder, [] where there is none."""
    try:
        entries = [one for one in os.scandir(folder) if one.is_file(follow_symlinks=False)]
    except OSError:
        return []
    entries.sort(key=lambda one: one.stat(follow_symlinks=False).st_mtime)
    return [one.path for one in entries[-1:]]


def shown(text: str) -> str:
    """A line as it can be shown: nothing that moves a cursor, no password, not too long."""
    line = masked(text[: 4 * LONGEST])
    line = "".join(c if c.isprintable() or c == "\t" else escaped(c) for c in line)
    return line if len(line) <= LONGEST else f"{line[:LONGEST]}…"


def masked(text: str) -> str:
    """A text with *** for what is or may be a password."""
    return SECRET.sub(r"\1***", without_password(text))


def escaped(character: str) -> str:
    """A character that is not printable, as Python writes it."""
    return character.encode("unicode_escape").decode()


def end_of(path: str, most: int = END) -> list[str]:
    """The lines in the last ``most`` bytes of a plain file. Raises OSError."""
    with open(open_plain(path, follow=False), "rb") as source:
        size = os.fstat(source.fileno()).st_size
        source.seek(max(0, size - most))
        data = source.read(most)
    lines = data.decode(errors="replace").split("\n")
    if size > most:
        # Its beginning was not read.
        lines = lines[1:] or lines
    return [line.rstrip("\r") for line in lines if line.strip("\r \0")]


def journal(unit: str, number: int) -> list[str]:
    """The last lines of units in the journal. Raises OSError."""
    words = ["journalctl", "--no-pager", "--quiet", "--output", "short-iso", "--unit", unit]
    done = run([*words, "--lines", str(number)], seconds=JOURNAL_SECONDS)
    if done.returncode != 0 and NO_UNITS not in done.stderr:
        raise OSError(errno.EIO, done.stderr.strip()[:200] or "journalctl failed")
    lines = [line for line in done.stdout.split("\n") if line and not line.startswith("-- ")]
    return [ENTRY.sub(r"\1 \2 \3: ", line) for line in lines]


def dated(lines: Iterable[str]) -> Iterator[Line]:
    """Lines as {at, text}; at is the time in the line, or in the last one before that had one."""
    at = ""
    for line in lines:
        if found := TIME.search(line[:80]):
            at = found.group()
        yield {"at": at, "text": shown(line)}


def is_trouble(line: str) -> bool:
    """Whether a line reports an error or a warning."""
    head = line[: 4 * LONGEST]
    return bool(TROUBLE.search(head)) and not CALM.search(head)


def why_not(error: OSError) -> str:
    """Why a log was not read; "" where it does not exist."""
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return ""
    if error.errno == errno.ELOOP:
        return "is a link, which is not followed"
    if isinstance(error, NotPlainError):
        return "is not a plain file"
    return error.strerror or str(error)


def read(what: str, bench: str, number: int, *, troubles: bool) -> dict[str, Any]:
    """The last lines of one of WHAT: {what, logs: [{source, lines: [{at, text}], trouble}]}.

    number: of lines, for each log. troubles: only errors and warnings. Logs without such lines are
    left out, unless they could not be read.
    """
    logs = []
    for source in sources(what, bench):
        trouble, lines = "", []
        try:
            found = (
                end_of(source.path)
                if source.path
                else journal(source.unit, LOOKED_AT if troubles else number)
            )
            if troubles:
                found = [line for line in found[-LOOKED_AT:] if is_trouble(line)]
            lines = list(dated(found))[-number:]
        except OSError as error:
            trouble = why_not(error)
        if lines or trouble:
            name = source.path or f"journal of {source.unit}"
            logs.append({"source": shown(name), "lines": lines, "trouble": shown(trouble)})
    return {"what": what, "logs": logs}
