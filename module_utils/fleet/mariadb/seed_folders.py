"""A copy's files on their way into the data folder: staged, moved, and their position."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from pathlib import Path

from ..atomic import sync_folder
from .seed_stream import PositionError


def work_folder(datadir: Path) -> Path:
    """Where the copy is staged: on the data folder's own filesystem, so that moving is renaming.

    Beside the data folder or, where that is a filesystem of its own, in a hidden folder inside
    it, which the server does not take for a database.
    """
    if datadir.parent.stat().st_dev == datadir.stat().st_dev:
        return datadir.with_name(datadir.name + "-benchfleet")
    return datadir / ".benchfleet"


def empty(folder: Path) -> None:
    """Remove a folder of ours with everything in it."""
    if folder.exists():
        shutil.rmtree(folder)


def move(source: Path, target: Path) -> None:
    """Rename; where that is not possible (a layered filesystem) copy completely, then rename."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        partial = target.with_name(target.name + ".benchfleet-partial")
        if partial.is_dir():
            shutil.rmtree(partial)
        if source.is_dir():
            shutil.copytree(source, partial, symlinks=True, copy_function=copy_with_owner)
            shutil.copystat(source, partial)
            os.chown(partial, source.stat().st_uid, source.stat().st_gid)
        else:
            copy_with_owner(str(source), str(partial))
        subprocess.run(["sync", "-f", str(partial)], check=True)
        partial.rename(target)
        if source.is_dir():
            shutil.rmtree(source)
        else:
            source.unlink()


def copy_with_owner(source: str, target: str) -> None:
    """Copy a file with mode, times and owner."""
    shutil.copy2(source, target, follow_symlinks=False)
    info = os.lstat(source)
    os.chown(target, info.st_uid, info.st_gid, follow_symlinks=False)


def move_all(source: Path, target: Path, spared: Path) -> None:
    """Move every entry of a folder except ``spared``; what was moved before a kill stays moved."""
    for entry in sorted(source.iterdir()):
        if entry == spared or entry.name.endswith(".benchfleet-partial"):
            continue
        if (target / entry.name).exists():
            # A copy that was completed before the kill, its source not yet removed.
            if entry.is_dir():
                shutil.rmtree(entry)
            else:
                entry.unlink()
            continue
        move(entry, target / entry.name)
    sync_folder(target)
    sync_folder(source)


def gtid_of(staged: Path) -> str:
    """The GTID position of a copy, from the file that the backup tool leaves in it.

    Raises PositionError where there is none.
    """
    for name in ("mariadb_backup_binlog_info", "xtrabackup_binlog_info"):
        path = staged / name
        if path.exists():
            words = path.read_text().split()
            if len(words) >= 3:
                return "".join(words[2:])
    raise PositionError(
        "the copy has no GTID, because the primary has not yet written to its binary log: run"
        " site.yml on the primary first"
    )
