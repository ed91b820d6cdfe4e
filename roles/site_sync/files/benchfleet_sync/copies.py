"""Copies of the sites' files, with deletion, without files that open transactions have touched."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor

from benchfleet_sync.locks import standstill
from benchfleet_sync.mark import Outcome, in_step_since, read_mark, write_mark
from benchfleet_sync.names import FOLDERS, NEVER_COPIED, STAGING
from benchfleet_sync.primary import SyncError, parse_stats, rsync
from benchfleet_sync.settings import Settings

IN_STEP = "already in step with the primary"


def copy_folder(settings: Settings, site: str, name: str, outcome: Outcome) -> None:
    """Copy one folder of a site, with deletion, and add to the counts. Raises SyncError."""
    try:
        with standstill(settings) as touched:
            copied = copy_around(settings, site, name, touched)
    except SyncError as error:
        raise SyncError(f"{site}/{name}: {error}") from error
    outcome.files += copied.files
    outcome.sent += copied.sent
    outcome.deleted += copied.deleted
    outcome.kept += copied.kept


def copy_around(settings: Settings, site: str, name: str, touched: list[bytes]) -> Outcome:
    """Copy one folder without the files in it that open transactions have touched."""
    inside = f"{site}/{name}".encode()
    kept = sorted(
        {exclusion(t.removeprefix(inside)) for t in touched if t.startswith(inside + b"/")}
    )
    options = ["-l", "--safe-links", "--delete-delay", "--delay-updates"]
    # Fractions of seconds count: a file can change in the second in which it was copied.
    options.append("--modify-window=-1")
    options.append(f"--exclude=/{STAGING}/")
    # Hidden, not excluded, so that copies of them here are deleted.
    options += [f"--filter=hide {pattern}" for pattern in NEVER_COPIED]
    given = None
    if kept:
        options += ["--from0", "--exclude-from=-"]
        given = b"".join(path + b"\0" for path in kept)
    stats = rsync(settings, f"{site}/{name}/", settings.folder / site / name, options, given)
    return Outcome(*parse_stats(stats), kept=len(kept))


def exclusion(path: bytes) -> bytes:
    """rsync's pattern for one path below the copied folder; the path begins with a slash."""
    # In a pattern without wildcards a backslash is literal; with wildcards it escapes.
    return re.sub(rb"([*?\[\\])", rb"\\\1", path) if re.search(rb"[*?\[]", path) else path


def pull(settings: Settings, site: str, asked: float) -> str:
    """Copy one site's files now, unless that was done since ``asked``. Raises SyncError."""
    mark = read_mark(settings.mark)
    if in_step_since(mark, site) >= asked:
        return f"{site}: {IN_STEP}"
    started = time.time()
    done = copy_site(settings, site)
    mark["pulled"] = {**(mark.get("pulled") or {}), site: round(started, 3)}
    write_mark(settings, mark)
    return f"{site}: {done}"


def copy_site(settings: Settings, site: str) -> str:
    """Copy one site's files now; returns the counts. Raises SyncError."""
    started = time.monotonic()
    with standstill(settings) as touched, ThreadPoolExecutor(len(FOLDERS)) as pool:
        copies = list(pool.map(lambda name: copy_around(settings, site, name, touched), FOLDERS))
    sent, deleted = sum(c.sent for c in copies), sum(c.deleted for c in copies)
    return f"sent={sent} deleted={deleted} in {time.monotonic() - started:.2f}s"
