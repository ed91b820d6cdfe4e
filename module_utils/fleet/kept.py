"""Dumps and replaced data that are kept for a way back, and removed by number and age.

Each kind is in a folder whose entries are named after the time at which they were made. Code that
makes a new entry also removes those that are no longer kept. Only Python is needed, because the
program that starts the queue's Redis uses this, too.
"""

from __future__ import annotations

import os
import re
import shutil
import stat
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

# Names of entries: dumps of updates, data that reseeds replaced, files that the queue's Redis
# refused, and the queue of a former primary. The group is the time.
DUMPS = re.compile(r"(\d{8}-\d{6})")
REPLACED = re.compile(r"replaced-(\d{8}-\d{6})")
REFUSED = re.compile(r"refused-(\d{8}-\d{6})")
FORMER = re.compile(r"former-(\d{8}-\d{6})")
# Records of adoptions, which a release needs; they are never removed.
ADOPTED = re.compile(r"(\d{4}-\d\d-\d\dT\d{6})Z")
DAY = 86400.0
# Shares of its blocks or files from which a file system is filling up, and is full.
AMBER, RED = 0.8, 0.95


@dataclass(frozen=True)
class Thing:
    """An entry that is kept: its path, and when it was made (seconds since the epoch).

    whole: it is complete and can be restored. needed: an unfinished operation may restore it.
    """

    path: str
    made: float
    whole: bool = True
    needed: bool = False


def surplus(things: Iterable[Thing], number: int, days: float, now: float) -> list[Thing]:
    """Entries to remove, oldest first.

    The newest ``number`` stay until they are ``days`` old. The newest complete one always stays,
    and so do needed ones. Incomplete ones do not count, and are removed after a newer complete one.
    """
    ordered = sorted(things, key=lambda thing: (thing.made, thing.path))
    whole = [thing for thing in ordered if thing.whole]
    stay = {thing.path for thing in ordered if thing.needed}
    stay |= {thing.path for thing in whole[-number:] if now - thing.made <= days * DAY}
    if whole:
        stay.add(whole[-1].path)
    stay |= {
        thing.path
        for thing in ordered
        if not thing.whole and (not whole or thing.made >= whole[-1].made)
    }
    return [thing for thing in ordered if thing.path not in stay]


def archived(app: str = ".+") -> re.Pattern[str]:
    """The names that the bench CLI gives to the archived code of an app; app: a pattern."""
    return re.compile(rf"{app}-(\d{{4}}-\d\d-\d\d)(?:_\d+)?")


def moment(digits: str) -> float:
    """A date, or a date and a time, in the host's time zone as seconds since the epoch.

    Raises ValueError for an impossible one.
    """
    digits = re.sub(r"\D", "", digits)
    return time.mktime(time.strptime(digits, "%Y%m%d%H%M%S" if len(digits) > 8 else "%Y%m%d"))


def things(
    folder: str,
    names: re.Pattern[str],
    needed: Collection[str] = (),
    is_whole: Callable[[str], bool] = lambda _: True,
) -> list[Thing]:
    """The folders in a folder whose names match; links are left out.

    needed: paths of such folders, or of files in them.
    """
    found = []
    try:
        entries = [entry for entry in os.scandir(folder) if entry.is_dir(follow_symlinks=False)]
    except OSError:
        return []
    for entry in entries:
        named = names.fullmatch(entry.name)
        with suppress(ValueError, OSError):
            if named:
                made, path = moment(named.group(1)), entry.path
                wanted = any(f"{one}/".startswith(f"{path}/") for one in needed)
                found.append(Thing(path, made, is_whole(path), wanted))
    return found


def is_whole_dump(folder: str) -> bool:
    """Whether a folder of dumps has some, and none that was cut off."""
    names = os.listdir(folder)
    return any(name.endswith(".sql.gz") for name in names) and not any(
        name.endswith(".new") for name in names
    )


def tidy(
    found: Iterable[Thing],
    keep: Mapping[str, Any],
    remove: Callable[[str], Any] = shutil.rmtree,
) -> list[str]:
    """Remove entries that are no longer kept; returns their paths.

    keep: {number, days}, see fleet_keep. One that cannot be removed is tried again the next time.
    """
    gone = []
    for thing in surplus(found, int(keep["number"]), float(keep["days"]), time.time()):
        with suppress(OSError):
            remove(thing.path)
            gone.append(thing.path)
    return gone


def tree_bytes(path: str, without: str = "") -> int:
    """Bytes on disk of a file, or of a folder with its content; vanished files are left out.

    without: the name of folders that are left out.
    """
    total = 0
    with suppress(OSError):
        info = os.lstat(path)
        if not stat.S_ISDIR(info.st_mode):
            return info.st_blocks * 512
    for folder, inside, files in os.walk(path):
        inside[:] = [name for name in inside if name != without]
        for name in files:
            with suppress(OSError):
                total += os.lstat(f"{folder}/{name}").st_blocks * 512
    return total


def existing(path: str) -> str:
    """A path, or the nearest folder above it that exists."""
    while not os.path.exists(path):
        path = os.path.dirname(path) or "/"
    return path


def level_of(used: float, free: int, needed: int) -> str:
    """ok, amber or red: by the used share of a file system, and by what will be written there.

    free, needed: bytes.
    """
    if used >= RED or free < needed:
        return "red"
    return "amber" if used >= AMBER else "ok"


def file_systems(places: Iterable[tuple[str, str]]) -> list[dict[str, Any]]:
    """The file systems on which paths are, or will be, each once.

    places: path and its use. Returns {device, path, holds, bytes, free, files_free, used, level}:
    the first path and all uses; bytes that accounts other than root may use; the used share of
    blocks or of files, whichever is greater, the level by that,
    and whether it is red.
    """
    found: dict[int, dict[str, Any]] = {}
    for path, use in places:
        there = existing(path)
        device = os.stat(there).st_dev
        if device in found:
            holds = found[device]["holds"]
            holds += [use] if use not in holds else []
            continue
        numbers = os.statvfs(there)
        taken = numbers.f_blocks - numbers.f_bfree
        used = taken / max(1, taken + numbers.f_bavail)
        if numbers.f_files:
            used = max(used, 1 - numbers.f_favail / numbers.f_files)
        free = numbers.f_bavail * numbers.f_frsize
        found[device] = {
            "device": device,
            "path": there,
            "holds": [use],
            "bytes": (taken + numbers.f_bavail) * numbers.f_frsize,
            "free": free,
            "files_free": numbers.f_favail if numbers.f_files else None,
            "used": round(used, 3),
            "level": level_of(used, free, 0),
            "full": level_of(used, free, 0) == "red",
        }
    return list(found.values())


def lack_of_room(path: str, need: int, what: str) -> str:
    """Why there is not enough free space; "" where there is. need: bytes."""
    there = existing(path)
    numbers = os.statvfs(there)
    free = numbers.f_bavail * numbers.f_frsize
    if free >= need:
        return ""
    return f"{there} has {free // 2**20} MiB free, and {what} may take {need // 2**20}"
