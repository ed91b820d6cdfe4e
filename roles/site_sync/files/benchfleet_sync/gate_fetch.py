"""The primary sends single files of its sites, one after another on one connection.

A fetch is a line of JSON ``{"site": site, "name": name}`` for each file. The answer to each is a
line of JSON, too: ``{"file": [size, mtime in ns]}``, then so many bytes and a line ``whole`` or
``torn``; ``{"link": target}``; ``{"lacks": true}`` where there is no such file, or none that may be
read; or ``{"changes": true}`` for one that is being written.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import time
from fnmatch import fnmatchcase
from typing import IO, Any

import benchfleet_sync
from benchfleet_sync.gate_push import Folders, check_link
from benchfleet_sync.names import CHUNK, NEVER_COPIED, SITE, RefusedError, place_of

MAX_REQUEST = 1 << 16
# A file that was written within so many seconds may still be written; how often to check again.
SETTLING_SECONDS = 0.02
SETTLING_LOOKS = 25
# There is no such file, or a part of its path is a link or a file.
LACKING = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG}


def found(sites: str, site: Any, name: Any) -> IO[bytes] | str | None:
    """An opened file of a site, or the target of a link; None for what may not be read.

    Raises OSError, also for a missing file.
    """
    if not isinstance(site, str) or not SITE.fullmatch(site):
        return None
    if any(fnmatchcase(part, never) for part in place_of(name)[1] for never in NEVER_COPIED):
        return None
    with contextlib.closing(Folders(sites, site)) as folders:
        folder, last = folders.parent(name)
        kind = os.stat(last, dir_fd=folder, follow_symlinks=False).st_mode
        if stat.S_ISLNK(kind):
            target = os.readlink(last, dir_fd=folder)
            check_link(name, target)
            return target
        # O_NONBLOCK, as a pipe may have replaced the file at this moment.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        descriptor = os.open(last, flags, dir_fd=folder)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        return None
    return open(descriptor, "rb", buffering=0)


def settled(source: IO[bytes]) -> os.stat_result | None:
    """The state of an open file once it is no longer written; None when writing goes on."""
    for _ in range(SETTLING_LOOKS):
        state = os.fstat(source.fileno())
        if abs(time.time() - state.st_mtime) > SETTLING_SECONDS:
            return state
        time.sleep(SETTLING_SECONDS)
    return None


def give(sites: str, line: bytes, out: IO[bytes]) -> None:
    """Answer a request for one file."""
    try:
        request = json.loads(line)
        source = found(sites, request["site"], request["name"])
    except (ValueError, KeyError, TypeError, RefusedError):
        source = None
    except OSError as error:
        if error.errno not in LACKING:
            tell(out, {"changes": True})
            return
        source = None
    if source is None:
        tell(out, {"lacks": True})
        return
    if isinstance(source, str):
        tell(out, {"link": source})
        return
    with source:
        state = settled(source)
        if state is None:
            tell(out, {"changes": True})
            return
        tell(out, {"file": [state.st_size, state.st_mtime_ns]})
        left = state.st_size
        while left and (chunk := source.read(min(CHUNK, left))):
            out.write(chunk)
            left -= len(chunk)
        now = os.fstat(source.fileno())
        whole = (now.st_size, now.st_mtime_ns) == (state.st_size, state.st_mtime_ns) and not left
        while left:
            left -= out.write(bytes(min(CHUNK, left)))
        out.write(b"whole\n" if whole else b"torn\n")
        out.flush()


def tell(out: IO[bytes], answer: dict[str, Any]) -> None:
    """Write a line of JSON."""
    out.write(json.dumps(answer).encode() + b"\n")
    out.flush()


def give_all(sites: str, requests: IO[bytes], out: IO[bytes]) -> None:
    """Answer requests until there are no more, or until this package has been replaced."""
    tell(out, {"ready": True})
    while line := requests.readline(MAX_REQUEST):
        if benchfleet_sync.version() != benchfleet_sync.BEGAN:
            # The node sends an unanswered request again, to the new version.
            return
        give(sites, line, out)
