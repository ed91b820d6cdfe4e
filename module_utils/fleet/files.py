"""Files and folders that are brought to their wanted state, one after the other."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shlex
import stat
from collections.abc import Callable
from typing import Any

from . import atomic
from .foreign import acting_as, owner_of, read_bytes

# As the module files has it.
Entry = dict[str, Any]
Run = Callable[[list[str]], tuple[int, str, str]]
# Whether anything was changed, or would be, and a diff without headers.
Change = tuple[bool, dict[str, str]]


class FileError(Exception):
    """An entry cannot be brought to its state; the message has the path and a remedy."""


class OwnerError(FileError):
    """The folder belongs to another account than the entry shall."""


class LinkError(FileError):
    """The path is a link to another account's folder."""


class ClosedError(FileError):
    """The account whose folder it is cannot read or write the path."""


def wanted_ids(entry: Entry, dry: bool) -> tuple[int, int, list[str]]:
    """Numeric owner and group of an entry, -1 for "leave as it is", and missing names.

    In a dry run a name that does not exist yet, because the same run would make it, is returned as
    missing. Raises FileError for it in a real run.
    """
    missing: list[str] = []
    uid = gid = -1
    if entry["owner"] is not None:
        try:
            uid = pwd.getpwnam(entry["owner"]).pw_uid
        except KeyError:
            missing.append(f"owner {entry['owner']}")
    if entry["group"] is not None:
        try:
            gid = grp.getgrnam(entry["group"]).gr_gid
        except KeyError:
            missing.append(f"group {entry['group']}")
    if missing and not dry:
        raise FileError(f"{entry['path']}: no such {' and no such '.join(missing)} on this host")
    return uid, gid, missing


def attribute_changes(path: str, entry: Entry, uid: int, gid: int) -> dict[str, Any]:
    """Attributes of an existing path that differ from the wanted ones: {name: (old, new)}."""
    info = os.lstat(path)
    changes: dict[str, Any] = {}
    if uid != -1 and info.st_uid != uid:
        changes["owner"] = (info.st_uid, uid)
    if gid != -1 and info.st_gid != gid:
        changes["group"] = (info.st_gid, gid)
    if entry["mode"] is not None and not stat.S_ISLNK(info.st_mode):
        mode = int(entry["mode"], 8)
        if stat.S_IMODE(info.st_mode) != mode:
            changes["mode"] = (oct(stat.S_IMODE(info.st_mode)), oct(mode))
    return changes


def attribute_lines(changes: dict[str, Any]) -> tuple[str, str]:
    """Attributes before and after for a diff."""
    before, after = (
        "".join(f"{name} {pair[at]}\n" for name, pair in changes.items()) for at in (0, 1)
    )
    return before, after


def with_block(text: str, marker: str, block: str) -> str:
    """The text with this block between the two markers, at the end where it had none."""
    begin, end = (marker.replace("{mark}", word) for word in ("BEGIN", "END"))
    found = re.search(rf"^{re.escape(begin)}\n.*?^{re.escape(end)}(?:\n|\Z)", text, re.M | re.S)
    lines = f"{begin}\n{block.rstrip()}\n{end}\n" if block.strip() else ""
    if found:
        return text[: found.start()] + lines + text[found.end() :]
    return text + ("\n" if text and not text.endswith("\n") else "") + lines


def apply_attributes(path: str, entry: Entry, uid: int, gid: int) -> None:
    """Set owner, group and mode; mode last, as chown clears set-id bits."""
    if uid != -1 or gid != -1:
        os.chown(path, uid, gid, follow_symlinks=False)
    if entry["mode"] is not None and not os.path.islink(path):
        os.chmod(path, int(entry["mode"], 8))


def new_attributes(
    handle: int, old: os.stat_result | None, entry: Entry, uid: int, gid: int
) -> None:
    """Set owner, group and mode of a new file, as the old file had them where the entry has none.

    By its handle: in a folder of another account its name may have become a link.
    """
    if old is not None:
        uid, gid = (uid if uid != -1 else old.st_uid), (gid if gid != -1 else old.st_gid)
    os.fchown(handle, uid, gid)
    usual = stat.S_IMODE(old.st_mode) if old is not None else 0o644
    os.fchmod(handle, usual if entry["mode"] is None else int(entry["mode"], 8))


def write_file(run: Run, entry: Entry, data: bytes, uid: int, gid: int) -> None:
    """Write the content beside its path, validate it, then rename it into place."""
    path = entry["path"]
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise FileError(f"{path}: the directory {folder} does not exist on this host")
    if entry["validate"] and os.geteuid() != os.getuid():
        raise FileError(f"{path}: a file in a folder of another account cannot be validated")
    with atomic.new_file(path) as out:
        out.write(data)
        out.flush()
        old = os.lstat(path) if os.path.lexists(path) else None
        if old is not None and not stat.S_ISREG(old.st_mode):
            old = None
        new_attributes(out.fileno(), old, entry, uid, gid)
        if entry["validate"]:
            command = [word.replace("%s", out.name) for word in shlex.split(entry["validate"])]
            code, output, errors = run(command)
            if code != 0:
                raise FileError(
                    f"{path}: `{entry['validate']}` refuses the new content (exit {code}):"
                    f" {(errors or output).strip()}; the old file is untouched"
                )


def bring_file(run: Run, dry: bool, entry: Entry, uid: int, gid: int) -> Change:
    """Bring a file to its content and attributes."""
    path = entry["path"]
    if os.path.isdir(path):
        raise FileError(f"{path}: is a directory, but a file is wanted; move it away first")
    exists = os.path.lexists(path)
    if entry["content"] is None and entry["marker"] is None:
        # Ansible passes an empty template on as no content. If that meant "keep the content", keys
        # that should go would stay.
        raise FileError(
            f"{path}: no content is given; a file that shall be empty needs a comment line"
        )
    old = read_bytes(path) if os.path.exists(path) else b""
    content = entry["content"] or ""
    data = None if exists and entry["keep"] else content.encode()
    if entry["marker"] is not None:
        text = old.decode(errors="surrogateescape")
        data = with_block(text, entry["marker"], content).encode(errors="surrogateescape")
    attributes = attribute_changes(path, entry, uid, gid) if exists else {}
    if "owner" in attributes and os.geteuid() != 0:
        # An account cannot take over another one's file, but it can replace it.
        data = old if data is None else data
    different = data is not None and (
        not exists or old != data or os.path.islink(path) or "owner" in attributes
    )
    if not different and not attributes:
        return False, {}
    if not dry:
        if different:
            write_file(run, entry, data or b"", uid, gid)
        else:
            apply_attributes(path, entry, uid, gid)
    before, after = old.decode(errors="replace"), (data or old).decode(errors="replace")
    if entry["hides"]:
        before, after = (re.sub(entry["hides"], "(secret)", text) for text in (before, after))
    if entry["secret"]:
        before, after = "(secret)\n" if exists else "", "(secret, changed)\n"
    if not different:
        before, after = attribute_lines(attributes)
    return True, {"before": before, "after": after}


def bring_directory(dry: bool, entry: Entry, uid: int, gid: int) -> Change:
    """Bring a directory to its attributes."""
    path = entry["path"]
    if os.path.lexists(path) and not os.path.isdir(path):
        raise FileError(f"{path}: exists and is not a directory; move it away first")
    exists = os.path.isdir(path)
    if os.geteuid() != 0 and os.path.islink(path) and os.stat(path).st_uid != os.geteuid():
        raise LinkError(
            f"{path} is a link of the account {entry['owner']} to a folder of another account:"
            " remove the link and run again"
        )
    attributes = attribute_changes(path, entry, uid, gid) if exists else {}
    if exists and not attributes:
        return False, {}
    if "owner" in attributes and os.geteuid() != 0:
        whose = f"{entry['owner']}:{entry['group'] or ''}"
        raise FileError(
            f"{path} belongs to another account: `chown -h {whose} {path}`, then run again"
        )
    if not dry:
        if not exists:
            os.mkdir(path, 0o755)
        apply_attributes(path, entry, uid, gid)
    before, after = attribute_lines(attributes) if exists else ("absent\n", "directory\n")
    return True, {"before": before, "after": after}


def bring(entry: Entry, run: Run, dry: bool) -> Change:
    """Bring one entry to its state; returns whether it changed, and a diff.

    entry: an element of the option ``files`` of the module files. run: AnsibleModule.run_command.
    dry: nothing is changed. Raises FileError, OSError.
    """
    if not os.path.isabs(entry["path"]):
        raise FileError(f"{entry['path']}: an absolute path is needed")
    uid, gid, missing = wanted_ids(entry, dry)
    owner = owner_of(entry["path"], follow=False)
    if owner and uid not in (-1, owner):
        raise OwnerError(
            f"{entry['path']} is in a folder of user id {owner}, which can change every file there:"
            f" no file of {entry['owner']} is put there"
        )
    try:
        with acting_as(owner):
            if entry["state"] == "file":
                changed, diff = bring_file(run, dry, entry, uid, gid)
            else:
                changed, diff = bring_directory(dry, entry, uid, gid)
    except PermissionError as error:
        if not owner:
            raise
        raise ClosedError(
            f"{error.filename or entry['path']} cannot be read or written by user id {owner}, the"
            f" owner of its folder ({error.strerror}): change its owner to that account or, where a"
            " link leads to another account's file, remove the link, and run again"
        ) from error
    if missing and not changed:
        changed, diff = True, {"before": "", "after": ", ".join(missing) + "\n"}
    return changed, diff
