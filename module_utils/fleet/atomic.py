"""The one way to write a file whole: whoever reads it finds the old content or the new.

Files in folders of another account are written by foreign.replace, which acts as that account.

No imports but the standard library's: the programs on the hosts run this, too.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import IO

Path = str | os.PathLike[str]


@contextmanager
def new_file(path: Path, durable: bool = True) -> Iterator[IO[bytes]]:
    """A file beside a path, for root alone, that takes the path's place when the block ends well.

    durable: it and its name survive a power cut; otherwise it costs no wait for the disk. Owner and
    mode are set by its handle: in a folder of another account its name may be a link by now.
    """
    # Not at the top: nearly every look of the sites' timer ends before it is needed.
    import tempfile

    folder = os.path.dirname(os.path.abspath(path))
    with tempfile.NamedTemporaryFile(prefix=".benchfleet-", dir=folder, delete=False) as out:
        try:
            yield out
            out.flush()
            if durable:
                os.fsync(out.fileno())
            os.replace(out.name, path)
        except BaseException:
            with suppress(OSError):
                os.unlink(out.name)
            raise
    if durable:
        sync_folder(folder)


def write(
    path: Path,
    data: bytes | str,
    mode: int | None = None,
    owner: tuple[int, int] | None = None,
    durable: bool = True,
) -> None:
    """Put a file in place in one rename; durable: see new_file.

    mode: without it that of the file that is there, or 0644. owner: user and group id, which only
    root can give; without it whoever writes.
    """
    with new_file(path, durable) as out:
        out.write(data.encode() if isinstance(data, str) else data)
        if owner is not None and os.geteuid() == 0:
            os.fchown(out.fileno(), *owner)
        os.fchmod(out.fileno(), mode_of(path) if mode is None else mode)


def mode_of(path: Path) -> int:
    """Mode of the plain file that is at a path, 0644 where none is."""
    with suppress(FileNotFoundError):
        info = os.lstat(path)
        if stat.S_ISREG(info.st_mode):
            return stat.S_IMODE(info.st_mode)
    return 0o644


def sync_folder(folder: Path) -> None:
    """Make renames in a folder survive a power cut."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
