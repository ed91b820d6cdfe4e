"""Files in folders of another account, which root reads and writes with that account's rights.

The owner of a folder can put a link, a pipe or an endless file into it at any moment, also between
a check by root and its use. So root takes on the account's rights meanwhile: through a link it
reaches no more than the account itself. The content that was read is not trusted.

Only the standard library is imported, because programs on the hosts use this, too.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .atomic import write

# No configuration, list or source file is larger, in bytes.
MOST = 16 * 1024**2
# The number of links that the kernel follows.
MOST_LINKS = 40


class NotPlainError(OSError):
    """A path exists but is not a plain file, or is too large."""


def way(path: str) -> Iterator[tuple[str, os.stat_result, bool]]:
    """Each folder, link and file on the way to an absolute path, as the kernel resolves it.

    With its own state, and whether it is the last. Ends where nothing exists.
    """
    here, links = "/", 0
    todo = os.path.abspath(path).split("/")[:0:-1]
    yield here, os.lstat(here), False
    while todo:
        name = todo.pop()
        if name in ("", "."):
            continue
        if name == "..":
            here = os.path.dirname(here)
            continue
        place = os.path.join(here, name)
        try:
            info = os.lstat(place)
            target = os.readlink(place) if stat.S_ISLNK(info.st_mode) else ""
        except OSError:
            return
        yield place, info, not todo
        if not target:
            here = place
            continue
        links += 1
        if links > MOST_LINKS:
            return
        here = "/" if target.startswith("/") else here
        todo += target.split("/")[::-1]


def owner_of(path: str, follow: bool = True) -> int:
    """User id of the account that controls an absolute path; 0 where only root does.

    It is the owner of the first folder, or link, on the way that does not belong to root. follow:
    whether the last name also counts where it is a link.
    """
    for _, info, last in way(path):
        if last and not (follow and stat.S_ISLNK(info.st_mode)):
            return 0
        if info.st_uid != 0:
            return info.st_uid
    return 0


def writer(path: str) -> str:
    """The account, besides root, that can change or replace the file at a path; "" for none.

    The account of this process counts as root.
    """
    return next((who for place, info, _ in way(path) if (who := other_writer(place, info))), "")


def other_writer(path: str, info: os.stat_result) -> str:
    """The account, besides root, that can write a file or into a folder; "" for none."""
    if info.st_uid not in (0, os.geteuid()):
        with suppress(KeyError):
            return pwd.getpwuid(info.st_uid).pw_name
        return f"account {info.st_uid}"
    # In a folder such as /tmp other accounts cannot replace root's files.
    if stat.S_ISLNK(info.st_mode) or info.st_mode & stat.S_ISVTX:
        return ""
    if info.st_mode & stat.S_IWOTH:
        return "everybody"
    listed = info.st_mode & stat.S_IWGRP and "system.posix_acl_access" in os.listxattr(path)
    if listed or (info.st_mode & stat.S_IWGRP and info.st_gid != 0):
        return f"group {info.st_gid}"
    return ""


@contextmanager
def acting_as(number: int) -> Iterator[None]:
    """Take on an account's rights for files, by its user id; afterwards root has its own again.

    Only root can do so. It applies to the whole process, so no other thread may work on files
    meanwhile. Commands are run by run_as, never inside this: a child could get root's rights back.
    """
    if number == 0 or os.geteuid() != 0:
        yield
        return
    try:
        account = pwd.getpwuid(number)
        group, groups = account.pw_gid, os.getgrouplist(account.pw_name, account.pw_gid)
    except KeyError:
        # A user id without an account has no group.
        group, groups = 65534, [65534]
    own_group, own_groups, umask = os.getegid(), os.getgroups(), os.umask(0o022)
    try:
        os.setgroups(groups)
        os.setegid(group)
        os.seteuid(number)
        yield
    finally:
        os.seteuid(0)
        os.setegid(own_group)
        os.setgroups(own_groups)
        os.umask(umask)


@contextmanager
def as_owner(path: str, follow: bool = True) -> Iterator[None]:
    """Act as the account that controls a path; see owner_of."""
    with acting_as(owner_of(path, follow) if os.geteuid() == 0 else 0):
        yield


def open_plain(path: str, follow: bool = True) -> int:
    """A handle to read a plain file. Raises NotPlainError, and OSError as open() does.

    follow: whether the name itself may be a link.
    """
    with as_owner(path, follow):
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
        handle = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        # Reading a pipe, for example, could wait forever.
        os.close(handle)
        raise NotPlainError(f"{path} is not a plain file; put one there and run again")
    return handle


def read_bytes(path: str, most: int = MOST, follow: bool = True) -> bytes:
    """Content of a plain file of at most ``most`` bytes. Raises as open_plain does."""
    with open(open_plain(path, follow), "rb") as source:
        data = source.read(most + 1)
    if len(data) > most:
        raise NotPlainError(f"{path} is larger than {most // 1024} KiB; correct it and run again")
    return data


def replace(
    path: str, data: bytes, mode: int | None = None, owner: tuple[int, int] | None = None
) -> None:
    """Put a file in place as atomic.write does.

    owner: for a file in a folder of root; in others it belongs to the folder's owner.
    """
    with as_owner(path, follow=False):
        write(path, data, mode, owner)


def unlink(path: str) -> None:
    """Remove a file, or a link; it is no error when it does not exist."""
    with as_owner(path, follow=False), suppress(FileNotFoundError):
        os.unlink(path)
