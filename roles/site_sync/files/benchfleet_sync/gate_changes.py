"""The primary tells the standby in which sites files have changed, on one connection.

After a line of JSON ``{"ready": true}`` come lines ``{"changed": [site, ...]}``: first with all
sites, then one for each batch of changes. One without sites says that the primary is still there.
No name of a file is sent. It ends with the node's connection, and when this package is replaced.

A change is noticed when a file is closed after it was written, moved or deleted, not when it is
made or is still being written. So a link that is made in place waits for the copy of each minute.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import select
import struct
import time
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from typing import IO

import benchfleet_sync
from benchfleet_sync.gate_fetch import tell
from benchfleet_sync.names import CONFIG, FOLDERS, NEVER_COPIED, SITE, STAGING

# Seconds for which changes are collected, and after which a line without any is sent.
BATCH_SECONDS = 0.2
ALIVE_SECONDS = 5.0
# Of inotify(7).
CLOSE_WRITE, MOVED_FROM, MOVED_TO, CREATE, DELETE = 0x8, 0x40, 0x80, 0x100, 0x200
OVERFLOW, IGNORED, IS_FOLDER = 0x4000, 0x8000, 0x40000000
ONLY_FOLDERS, NOT_UNLINKED = 0x01000000, 0x04000000
WANTED = CLOSE_WRITE | MOVED_FROM | MOVED_TO | CREATE | DELETE | ONLY_FOLDERS | NOT_UNLINKED
EVENT = struct.Struct("iIII")
# Bytes of events that are read at a time.
EVENTS = 1 << 16


class Watch:
    """Watches the two folders of each site, and all below but for the one of pushes."""

    def __init__(self, sites: str) -> None:
        self.folder = sites
        self.libc = ctypes.CDLL(None, use_errno=True)
        self.descriptor = self.call("inotify_init1", os.O_CLOEXEC | os.O_NONBLOCK)
        self.sites: set[str] = set()
        # {number of a watch: site}; a folder that is renamed keeps its number.
        self.watched: dict[int, str] = {}

    def close(self) -> None:
        """End all watches."""
        os.close(self.descriptor)

    def call(self, name: str, *arguments: int | bytes) -> int:
        """Call a function of libc. Raises OSError."""
        result: int = getattr(self.libc, name)(*arguments)
        if result < 0:
            number = ctypes.get_errno()
            used_up = {errno.ENOSPC: "watches", errno.EMFILE: "instances"}
            if number in used_up:
                setting = f"fs.inotify.max_user_{used_up[number]}"
                raise OSError(number, f"{setting} (sysctl) of the primary is too low")
            raise OSError(number, os.strerror(number))
        return result

    def add(self, sites: Iterable[str]) -> None:
        """Watch the folders of sites; those that are watched already stay so."""
        for site in sites:
            self.sites.add(site)
            # The operator may have moved one of the two to another volume, and put a link there.
            paths = [f"{self.folder}/{site}/{name}" for name in FOLDERS]
            while paths:
                # It may be gone by now.
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    path = paths.pop()
                    arguments = self.descriptor, os.fsencode(path), WANTED
                    # First: folders that are made from now on are noticed.
                    self.watched[self.call("inotify_add_watch", *arguments)] = site
                    with os.scandir(path) as entries:
                        paths += [
                            entry.path
                            for entry in entries
                            if entry.is_dir(follow_symlinks=False) and entry.name != STAGING
                        ]

    def add_new(self) -> set[str]:
        """Watch sites that were made since; returns them."""
        with os.scandir(self.folder) as entries:
            found = {
                entry.name
                for entry in entries
                if SITE.fullmatch(entry.name)
                and entry.is_dir(follow_symlinks=False)
                and os.path.isfile(f"{entry.path}/{CONFIG}")
            }
        new = found - self.sites
        self.sites &= found
        self.add(new)
        return new

    def batch(self) -> set[str]:
        """Sites with changes, from those that have come until BATCH_SECONDS later."""
        changed: set[str] = set()
        until = time.monotonic() + BATCH_SECONDS
        while select.select([self.descriptor], [], [], max(0.0, until - time.monotonic()))[0]:
            changed |= self.read()
            if time.monotonic() > until:
                break
        return changed

    def read(self) -> set[str]:
        """Sites with changes in the events that have come; new folders are watched from now on."""
        changed, grown = set(), set()
        for number, mask, name in events(os.read(self.descriptor, EVENTS)):
            site = self.watched.get(number)
            if mask & OVERFLOW:
                changed |= self.sites
                grown |= self.sites
            elif mask & IGNORED:
                self.watched.pop(number, None)
            elif site and is_change(mask, name):
                changed.add(site)
                if mask & IS_FOLDER and mask & (CREATE | MOVED_TO):
                    grown.add(site)
        self.add(grown)
        return changed


def is_change(mask: int, name: str) -> bool:
    """Whether an event may be about a file that is copied, and that is complete."""
    if mask & IS_FOLDER:
        return name != STAGING
    return not mask & CREATE and not any(fnmatchcase(name, never) for never in NEVER_COPIED)


def events(data: bytes) -> Iterator[tuple[int, int, str]]:
    """(number of the watch, mask, name) of each of inotify's events."""
    place = 0
    while place < len(data):
        number, mask, _, length = EVENT.unpack_from(data, place)
        place += EVENT.size
        yield number, mask, os.fsdecode(data[place : place + length].rstrip(b"\0"))
        place += length


def tell_changes(sites: str, node: IO[bytes], out: IO[bytes]) -> None:
    """Tell of changes until the node ends the connection. Raises OSError."""
    with contextlib.closing(Watch(sites)) as watch:
        changed = watch.add_new()
        tell(out, {"ready": True})
        while benchfleet_sync.version() == benchfleet_sync.BEGAN:
            tell(out, {"changed": sorted(changed)})
            wanted = [watch.descriptor, node.fileno()]
            ready, _, _ = select.select(wanted, [], [], ALIVE_SECONDS)
            # The node sends nothing: this is the end of its connection.
            if node.fileno() in ready:
                return
            changed = watch.batch() | watch.add_new()
