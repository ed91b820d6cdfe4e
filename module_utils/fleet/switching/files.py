"""Files of the sites that only a former primary has: found, and kept before a copy removes them.

A file is named by its path below the bench's sites folder: `erp.example.com/private/files/a.pdf`.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import atomic
from ..foreign import as_owner, open_plain

PLACES = ("public/files", "private/files")


def recent(sites: str, since: float) -> dict[str, int]:
    """Files that came into the sites' files folders at or after a time: {name: bytes}.

    since: seconds since 1970. The time is that of the file's entry, not the one that its owner set.
    Links are left out, and names that are no UTF-8: no document can name these.
    """
    found: dict[str, int] = {}
    with as_owner(sites):
        for site in sorted(os.listdir(sites)) if os.path.isdir(sites) else []:
            for place in PLACES:
                for folder, _inner, names in os.walk(f"{sites}/{site}/{place}"):
                    for name in names:
                        path = f"{folder}/{name}"
                        with suppress(FileNotFoundError, UnicodeEncodeError):
                            info = os.lstat(path)
                            if stat.S_ISREG(info.st_mode) and info.st_ctime >= since:
                                path.encode()
                                found[os.path.relpath(path, sites)] = info.st_size
    return found


def lacking(sites: str, files: Mapping[str, int]) -> list[str]:
    """Those of the files that are not here, or have another size here."""
    missing = []
    with as_owner(sites):
        for name, size in files.items():
            try:
                info = os.lstat(f"{sites}/{name}")
            except OSError:
                missing.append(name)
                continue
            if not stat.S_ISREG(info.st_mode) or info.st_size != int(size):
                missing.append(name)
    return sorted(missing)


def keep(sites: str, files: Mapping[str, int], folder: str) -> dict[str, list[str]]:
    """Copy files into a folder that only root can read; returns {new, kept}.

    new: those that were not there yet; kept: all that are there. What is gone meanwhile, or is no
    plain file any more, is left out. Raises OSError where there is no room.
    """
    wanted = [name for name in sorted(files) if is_below(name) and not Path(folder, name).exists()]
    Path(folder).parent.mkdir(mode=0o700, exist_ok=True)
    Path(folder).mkdir(mode=0o700, exist_ok=True)
    needed, free = sum(int(files[name]) for name in wanted), shutil.disk_usage(folder).free
    if needed > free:
        raise OSError(
            f"{len(wanted)} files that only this host has need {needed // 1024**2} MiB, and the"
            f" file system of {folder} has {free // 1024**2} free: make room there"
        )
    new = []
    for name in wanted:
        try:
            handle = open_plain(f"{sites}/{name}", follow=False)
        except OSError:
            continue
        target = Path(folder, name)
        target.parent.mkdir(parents=True, exist_ok=True)
        with open(handle, "rb") as source, atomic.new_file(target) as copy:
            shutil.copyfileobj(source, copy)
        new.append(name)
    kept = [name for name in sorted(files) if is_below(name) and Path(folder, name).exists()]
    return {"new": new, "kept": kept}


def is_below(name: str) -> bool:
    """Whether a name leads to a file in the folder that it is joined to."""
    return not os.path.isabs(name) and ".." not in Path(name).parts


def work(step: str, asked: Mapping[str, Any], dry: bool) -> dict[str, Any]:
    """Do a step of module site_files; returns its result."""
    if step == "recent":
        return {"changed": False, "files": recent(asked["sites"], float(asked["since"]))}
    if step == "lacking":
        return {"changed": False, "lacking": lacking(asked["sites"], asked["files"])}
    if dry:
        return {"changed": bool(asked["files"]), "kept": sorted(asked["files"])}
    found = keep(asked["sites"], asked["files"], asked["folder"])
    return {"changed": bool(found["new"]), "kept": found["kept"]}
