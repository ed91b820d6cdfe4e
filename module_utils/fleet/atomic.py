"""Files are replaced in one step: a reader finds either the old content or the new.

foreign.replace writes files in folders of another account, with the rights of that account.

Only the standard library is imported, because programs on the hosts use this, too.
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
    """A file beside a path, for root only, that replaces the path when the block succeeds.

    durable: the file and its name survive a power cut; otherwise there is no wait for the disk. Set
    owner and mode by its handle: in a folder of another account its name may have become a link.
    """
    # Not at the top: the sites' timer seldom needs it.
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
    """Replace a file by one rename; durable: see new_file.

    mode: by default that of the former file, or 0644. owner: user and group id, which only root can
    set; by default those of this process.
    """
    with new_file(path, durable) as out:
        out.write(data.encode() if isinstance(data, str) else data)
        if owner is not None and os.geteuid() == 0:
            os.fchown(out.fileno(), *owner)
        os.fchmod(out.fileno(), mode_of(path) if mode is None else mode)


def mode_of(path: Path) -> int:
    """Mode of the plain file at a path, 0644 where there is none."""
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
