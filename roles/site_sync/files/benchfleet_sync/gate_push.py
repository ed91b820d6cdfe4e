"""The primary takes the files that a transaction on a node has touched: all of them or none.

A push is a line of JSON ``{"put": [[name, size, mtime in ns]], "link": [[name, target]],
"gone": [name]}`` and the files one after another. Only when all of them are here and on disk, they
are put in place by renames; then the ``gone`` ones are removed. When anything fails, everything is
undone. No symlink is followed anywhere below SITES.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import stat
import time
from collections.abc import Callable
from typing import IO, Any

from benchfleet_sync.names import CHUNK, CONFIG, STAGING, RefusedError, place_of

# Files older than this were left by a power cut; no push takes that long.
STALE_SECONDS = 24 * 3600
MAX_HEADER = 64 << 20
FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Folders:
    """Open folders of a site, each opened from the one above it, without following links."""

    def __init__(self, sites: str, site: str) -> None:
        self.opened: dict[tuple[str, ...], int] = {}
        # The operator sets SITES, so it may be a link.
        self.opened[()] = os.open(sites, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.site = site
        try:
            os.stat(CONFIG, dir_fd=self.of(()), follow_symlinks=False)
        except OSError:
            self.close()
            raise

    def of(self, parts: tuple[str, ...], make: int | None = None) -> int:
        """Descriptor of a folder below the site's; make: the mode of one that is not there yet."""
        return self._reach((self.site, *parts), make)

    def _reach(self, path: tuple[str, ...], make: int | None) -> int:
        if path not in self.opened:
            above = self._reach(path[:-1], make)
            # A push may not make the site and its two folders.
            if make is not None and len(path) > 3:
                with contextlib.suppress(FileExistsError):
                    os.mkdir(path[-1], make, dir_fd=above)
            # The operator may have moved the site's files to another volume.
            flags = FOLDER & ~os.O_NOFOLLOW if len(path) <= 3 else FOLDER
            self.opened[path] = os.open(path[-1], flags, dir_fd=above)
        return self.opened[path]

    def staging(self, folder: str) -> int:
        """Descriptor of the staging folder in one of the two."""
        return self.of((*folder.split("/"), STAGING), make=0o700)

    def parent(self, name: str, make: int | None = None) -> tuple[int, str]:
        """Descriptor of the folder a name is in, and its last part."""
        parts = name.split("/")
        return self.of(tuple(parts[:-1]), make), parts[-1]

    def close(self) -> None:
        """Close all folders: a process that fetches runs for long."""
        while self.opened:
            os.close(self.opened.popitem()[1])

    def flush(self) -> None:
        """Write all changes of folders to disk."""
        for path, descriptor in self.opened.items():
            if len(path) >= 3 and path[-1] != STAGING:
                os.fsync(descriptor)


def check_link(name: str, target: Any) -> None:
    """Raise RefusedError unless the text of a link's target stays in its folder."""
    _, below = place_of(name)
    if not isinstance(target, str) or not target or "\0" in target:
        raise RefusedError(f"{name!r} links to nothing")
    # Upwards first, then down by plain names: after another link, ".." could lead anywhere.
    steps = target.split("/")
    down = list(itertools.dropwhile(lambda step: step == "..", steps))
    plain = not any(step in ("", ".", "..") for step in down)
    if not plain or len(steps) - len(down) > len(below) - 1:
        raise RefusedError(f"{name!r} links out of its folder, to {target!r}")


def read_header(stream: IO[bytes]) -> dict[str, list[Any]]:
    """The line of JSON, with every name checked. Raises RefusedError."""
    line = stream.readline(MAX_HEADER)
    if not line.endswith(b"\n"):
        raise RefusedError("the push ended in its header")
    try:
        data = json.loads(line)
        header: dict[str, list[Any]] = {key: list(data[key]) for key in ("put", "link", "gone")}
        for name, size, mtime in header["put"]:
            place_of(name)
            if not (isinstance(size, int) and size >= 0 and isinstance(mtime, int)):
                raise RefusedError(f"{name!r} has no size or time")
        for name, target in header["link"]:
            check_link(name, target)
        for name in header["gone"]:
            place_of(name)
    except (ValueError, KeyError, TypeError) as error:
        raise RefusedError(f"the push has an unreadable header ({error})") from error
    return header


class Push:
    """One push: staged, then put in place or undone."""

    def __init__(self, folders: Folders) -> None:
        self.folders = folders
        self.staged: list[tuple[int, str]] = []
        self.undo: list[Callable[[], None]] = []

    def take(self, stream: IO[bytes]) -> int:
        """Take all files of the stream; returns their number. On any error, nothing is taken."""
        header = read_header(stream)
        try:
            puts = [(entry[0], self._receive(stream, *entry)) for entry in header["put"]]
            puts += [(name, self._link(name, target)) for name, target in header["link"]]
            for name, staged in puts:
                self._place(name, staged)
            for name in header["gone"]:
                self._remove(name)
            self.folders.flush()
        except BaseException:
            for step in reversed(self.undo):
                with contextlib.suppress(OSError):
                    step()
            raise
        finally:
            for staging, own in self.staged:
                with contextlib.suppress(OSError):
                    os.unlink(own, dir_fd=staging)
        return sum(len(names) for names in header.values())

    def _own(self, name: str) -> tuple[int, str]:
        """A name of our own in the staging folder beside a pushed name."""
        staging = self.folders.staging(place_of(name)[0])
        if not self.staged:
            _sweep(staging)
        self.staged.append((staging, f"{os.getpid()}-{time.monotonic_ns()}-{len(self.staged)}"))
        return self.staged[-1]

    def _receive(self, stream: IO[bytes], name: str, size: int, mtime: int) -> tuple[int, str]:
        staging, own = self._own(name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with open(os.open(own, flags, 0o600, dir_fd=staging), "wb") as out:
            while size:
                chunk = stream.read(min(CHUNK, size))
                if not chunk:
                    raise RefusedError(f"the push ended in {name!r}")
                out.write(chunk)
                size -= len(chunk)
            out.flush()
            # The mode that Frappe uses: the web server reads the public ones.
            os.fchmod(out.fileno(), 0o644)
            # The next copy to the reporting hosts must find nothing to do.
            os.utime(out.fileno(), ns=(time.time_ns(), mtime))
            os.fsync(out.fileno())
        return staging, own

    def _link(self, name: str, target: str) -> tuple[int, str]:
        staging, own = self._own(name)
        os.symlink(target, own, dir_fd=staging)
        return staging, own

    def _place(self, name: str, staged: tuple[int, str]) -> None:
        staging, own = staged
        folder, last = self.folders.parent(name, make=0o755)
        _, former = self._own(name)
        try:
            os.link(last, former, src_dir_fd=folder, dst_dir_fd=staging, follow_symlinks=False)
        except FileNotFoundError:
            self.undo.append(lambda: os.unlink(last, dir_fd=folder))
        else:
            self.undo.append(lambda: _rename(staging, former, folder, last))
        _rename(staging, own, folder, last)

    def _remove(self, name: str) -> None:
        try:
            folder, last = self.folders.parent(name)
            kind = os.stat(last, dir_fd=folder, follow_symlinks=False).st_mode
        except (FileNotFoundError, NotADirectoryError):
            return
        if stat.S_ISDIR(kind):
            # One that is not empty has other files in it.
            with contextlib.suppress(OSError):
                os.rmdir(last, dir_fd=folder)
            return
        staging, former = self._own(name)
        _rename(folder, last, staging, former)
        self.undo.append(lambda: _rename(staging, former, folder, last))


def _rename(source: int, old: str, target: int, new: str) -> None:
    os.rename(old, new, src_dir_fd=source, dst_dir_fd=target)


def _sweep(staging: int) -> None:
    """Remove files of pushes that were cut off."""
    for entry in os.listdir(staging):
        with contextlib.suppress(OSError):
            if os.lstat(entry, dir_fd=staging).st_ctime < time.time() - STALE_SECONDS:
                os.unlink(entry, dir_fd=staging)


def take(sites: str, site: str, stream: IO[bytes]) -> int:
    """Take a push for a site; returns the number of files. On RefusedError or OSError, none."""
    os.umask(0o022)
    try:
        folders = Folders(sites, site)
    except FileNotFoundError as error:
        raise RefusedError(f"there is no site {site} here") from error
    return Push(folders).take(stream)
