"""Files of the sites that only a former primary has: found, and kept before a copy removes them.

A file is named by its path below the bench's sites folder: `erp.example.com/private/files/a.pdf`.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..foreign import as_owner, open_plain

PLACES = ("public/files", "private/files")


def recent(sites: str, since: float) -> dict[str, int]:
    """Files that came into the sites' files folders at or after a time: {name: bytes}.

    since: seconds since 1970. The time is that of the file's entry, not the one that its owner set.
    Links are left out.
    """
    found: dict[str, int] = {}
    with as_owner(sites):
        for site in sorted(os.listdir(sites)) if os.path.isdir(sites) else []:
            for place in PLACES:
                for folder, _inner, names in os.walk(f"{sites}/{site}/{place}"):
                    for name in names:
                        info = os.lstat(f"{folder}/{name}")
                        if stat.S_ISREG(info.st_mode) and info.st_ctime >= since:
                            found[os.path.relpath(f"{folder}/{name}", sites)] = info.st_size
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


def keep(sites: str, files: Iterable[str], folder: str) -> list[str]:
    """Copy files into a folder that only root can read; returns those that were not there yet."""
    kept = []
    for name in files:
        target = Path(folder, name)
        if ".." in Path(name).parts or target.exists():
            continue
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = target.with_name(f".{target.name}.part")
        with open(open_plain(f"{sites}/{name}", follow=False), "rb") as source:
            handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with open(handle, "wb") as copy:
                shutil.copyfileobj(source, copy)
        part.rename(target)
        kept.append(name)
    return kept


def work(step: str, asked: Mapping[str, Any], dry: bool) -> dict[str, Any]:
    """Do a step of module site_files; returns its result."""
    if step == "recent":
        return {"changed": False, "files": recent(asked["sites"], float(asked["since"]))}
    if step == "lacking":
        return {"changed": False, "lacking": lacking(asked["sites"], asked["files"])}
    names = sorted(asked["files"])
    kept = names if dry else keep(asked["sites"], names, asked["folder"])
    return {"changed": bool(kept), "kept": names}
