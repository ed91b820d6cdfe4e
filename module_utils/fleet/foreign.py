"""Files in folders of another account, which root touches as that account alone.

Whoever owns a folder can put a link, a pipe or a file without end into it at any moment, and turn
it between root's look and root's deed. So root takes on the account's rights for that long: a link
leads no further than the account itself gets. What was read is input and no more.

No imports but the standard library's: the programs on the hosts run this, too.
"""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from .atomic import sync_folder as sync_folder
from .atomic import write

# No configuration, list or source file is larger, in bytes.
MOST = 16 * 1024**2
# As many links follow each other as the kernel allows.
MOST_LINKS = 40


class NotPlainError(OSError):
    """A path is there and is no plain file, or a larger one than anybody needs."""


def owner_of(path: str, follow: bool = True) -> int:
    """User id of the account that decides what lies at an absolute path; 0 where root alone does.

    It is the owner of the first folder, or link, on the way that is not root's. follow: whether
    the last name counts as part of the way, too, where it is a link.
    """
    here, links = "/", 0
    todo = os.path.abspath(path).split("/")[:0:-1]
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
        except OSError:
            return 0
        is_link = stat.S_ISLNK(info.st_mode)
        if not todo and not (is_link and follow):
            return 0
        if info.st_uid != 0:
            return info.st_uid
        if is_link:
            links += 1
            target = os.readlink(place)
            if links > MOST_LINKS:
                return 0
            here = "/" if target.startswith("/") else here
            todo += target.split("/")[::-1]
        else:
            here = place
    return 0


@contextmanager
def acting_as(number: int) -> Iterator[None]:
    """Have the rights of an account, by its user id, for files; root has its own back afterwards.

    Nothing but root can take on others. It is for the whole process, so no other thread works on
    files meanwhile. Commands are run by run_as and never in here: a child could get root's rights
    back.
    """
    if number == 0 or os.geteuid() != 0:
        yield
        return
    try:
        account = pwd.getpwuid(number)
        group, groups = account.pw_gid, os.getgrouplist(account.pw_name, account.pw_gid)
    except KeyError:
        # A number that is nobody's has no group either.
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
    """Act as the account that decides what lies at a path; see owner_of."""
    with acting_as(owner_of(path, follow) if os.geteuid() == 0 else 0):
        yield


def open_plain(path: str, follow: bool = True) -> int:
    """Handle of a plain file, for reading. Raises NotPlainError, and OSError as open() does.

    follow: whether the name itself may be a link.
    """
    with as_owner(path, follow):
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | (0 if follow else os.O_NOFOLLOW)
        handle = os.open(path, flags)
    if not stat.S_ISREG(os.fstat(handle).st_mode):
        # A pipe, say, would be waited for without end.
        os.close(handle)
        raise NotPlainError(f"{path} is not a plain file; put one there and run again")
    return handle


def read_bytes(path: str, most: int = MOST, follow: bool = True) -> bytes:
    """Content of a plain file of at most ``most`` bytes. Raises as open_plain does."""
    with open(open_plain(path, follow), "rb") as source:
        data = source.read(most + 1)
    if len(data) > most:
        raise NotPlainError(f"{path} is larger than {most // 1024} KiB; mend it and run again")
    return data


def replace(
    path: str, data: bytes, mode: int | None = None, owner: tuple[int, int] | None = None
) -> None:
    """Put a file in place as atomic.write does.

    owner: of a file in a folder of root's; in others it is the folder's owner's.
    """
    with as_owner(path, follow=False):
        write(path, data, mode, owner)


def unlink(path: str) -> None:
    """Remove a file, or a link; one that is not there is no error."""
    with as_owner(path, follow=False), suppress(FileNotFoundError):
        os.unlink(path)
