#!/usr/bin/python
"""Bring a set of files and directories to their wanted state in one execution."""

from __future__ import annotations

import grp
import os
import pwd
import re
import shlex
import stat
import tempfile
from typing import Any

from ansible.module_utils.fleet.foreign import acting_as, owner_of, read_bytes
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: files
short_description: Many files and directories in one execution
description:
  - Every C(template) or C(copy) task costs several SSH executions per host, changed or not. This
    module takes the finished contents of all files of a role and needs one.
  - Replaces are atomic (temporary file in the same directory, fsync, rename).
  - Missing parent directories are an error, so that a typo does not grow a tree.
  - In a folder of another account's this module acts as that account, so that a link there leads no
    further than the account itself gets. Nothing of anybody else's can be made there.
options:
  files:
    description: The wanted entries, in order.
    type: list
    elements: dict
    required: true
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      state:
        description: Kind of entry.
        choices: [file, directory]
        default: file
        type: str
      content: {description: "The whole content of a file, or its block, see C(marker).", type: str}
      marker:
        description: "Line before and after the block of a file that is not all ours; C({mark}) in
          it becomes BEGIN and END. The block of an empty content goes."
        type: str
      owner: {description: Owner's name; unchanged when omitted., type: str}
      group: {description: Group's name; unchanged when omitted., type: str}
      mode: {description: Octal mode as a string., type: str}
      secret: {description: Keep the content out of the diff., type: bool, default: false}
      hides: {description: Pattern of what the diff shows as C((secret))., type: str}
      keep: {description: Leave an existing file's content as it is., type: bool, default: false}
      validate:
        description: Command that must succeed on the new file, C(%s) is its temporary path.
        type: str
"""

EXAMPLES = r"""
- name: Settings and their folder are in place
  files:
    files:
      - {path: /etc/example, state: directory, owner: root, group: root, mode: "0755"}
      - {path: /etc/example/settings.json, content: "{}", mode: "0600", secret: true}
"""

RETURN = r"""
changed_paths:
  description: Paths that were changed, or would be in check mode.
  returned: always
  type: list
"""

ENTRY_SPEC: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "state": {"choices": ["file", "directory"], "default": "file"},
    "content": {"type": "str"},
    "marker": {"type": "str"},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "mode": {"type": "str"},
    "secret": {"type": "bool", "default": False},
    "hides": {"type": "str"},
    "keep": {"type": "bool", "default": False},
    "validate": {"type": "str"},
}


class FileError(Exception):
    """An entry cannot be brought to its state; the message names path and remedy."""


def wanted_ids(entry: dict[str, Any], check_mode: bool) -> tuple[int, int, list[str]]:
    """Numeric owner and group of an entry, -1 for "leave as it is".

    In check mode a name that does not exist yet (its package or account comes in the same
    run) is returned in the third element instead of failing.
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
    if missing and not check_mode:
        raise FileError(f"{entry['path']}: no such {' and no such '.join(missing)} on this host")
    return uid, gid, missing


def attribute_changes(path: str, entry: dict[str, Any], uid: int, gid: int) -> dict[str, Any]:
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


def with_block(text: str, marker: str, block: str) -> str:
    """A text whose lines between the two markers are these, at its end where it had none."""
    begin, end = (marker.replace("{mark}", word) for word in ("BEGIN", "END"))
    found = re.search(rf"^{re.escape(begin)}\n.*?^{re.escape(end)}(?:\n|\Z)", text, re.M | re.S)
    lines = f"{begin}\n{block.rstrip()}\n{end}\n" if block.strip() else ""
    if found:
        return text[: found.start()] + lines + text[found.end() :]
    return text + ("\n" if text and not text.endswith("\n") else "") + lines


def apply_attributes(path: str, entry: dict[str, Any], uid: int, gid: int) -> None:
    """Set owner, group and mode; mode last, as chown clears set-id bits."""
    if uid != -1 or gid != -1:
        os.chown(path, uid, gid, follow_symlinks=False)
    if entry["mode"] is not None and not os.path.islink(path):
        os.chmod(path, int(entry["mode"], 8))


def new_attributes(
    handle: int, old: os.stat_result | None, entry: dict[str, Any], uid: int, gid: int
) -> None:
    """Owner, group and mode of a new file, those of the old one where the entry names none.

    By its handle: in a folder of another account its name may be a link by now.
    """
    if old is not None:
        uid, gid = (uid if uid != -1 else old.st_uid), (gid if gid != -1 else old.st_gid)
    os.fchown(handle, uid, gid)
    usual = stat.S_IMODE(old.st_mode) if old is not None else 0o644
    os.fchmod(handle, usual if entry["mode"] is None else int(entry["mode"], 8))


def write_file(module: FleetModule, entry: dict[str, Any], data: bytes, uid: int, gid: int) -> None:
    """Write the content beside its path, validate it, then rename it into place."""
    path = entry["path"]
    folder = os.path.dirname(path)
    if not os.path.isdir(folder):
        raise FileError(f"{path}: the directory {folder} does not exist on this host")
    if entry["validate"] and os.geteuid() != os.getuid():
        raise FileError(f"{path}: a file in a folder of another account's is not validated")
    handle, temporary = tempfile.mkstemp(prefix=".benchfleet-", dir=folder)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(handle)
            old = os.lstat(path) if os.path.lexists(path) else None
            if old is not None and not stat.S_ISREG(old.st_mode):
                old = None
            new_attributes(handle, old, entry, uid, gid)
        if entry["validate"]:
            command = [word.replace("%s", temporary) for word in shlex.split(entry["validate"])]
            code, out_text, err_text = module.run_command(command)
            if code != 0:
                raise FileError(
                    f"{path}: the new content is refused by `{entry['validate']}` (exit {code}):"
                    f" {(err_text or out_text).strip()}; the old file is untouched"
                )
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.unlink(temporary)


def bring_file(
    module: FleetModule, entry: dict[str, Any], uid: int, gid: int
) -> tuple[bool, dict[str, str]]:
    """State ``file``: content and attributes. Returns (changed, diff)."""
    path = entry["path"]
    if os.path.isdir(path):
        raise FileError(f"{path}: is a directory, a file is wanted; move it away first")
    exists = os.path.lexists(path)
    if entry["content"] is None and entry["marker"] is None:
        # Ansible hands an empty template over as nothing at all; taking that for "leave the
        # content alone" would keep keys that were meant to go.
        raise FileError(
            f"{path}: no content is given; a file meant to be empty needs a comment line"
        )
    old = read_bytes(path) if os.path.exists(path) else b""
    content = entry["content"] or ""
    data = None if exists and entry["keep"] else content.encode()
    if entry["marker"] is not None:
        text = old.decode(errors="surrogateescape")
        data = with_block(text, entry["marker"], content).encode(errors="surrogateescape")
    attributes = attribute_changes(path, entry, uid, gid) if exists else {}
    if "owner" in attributes and os.geteuid() != 0:
        # No account can make another one's file its own, but it can put one in its place.
        data = old if data is None else data
    different = data is not None and (
        not exists or old != data or os.path.islink(path) or "owner" in attributes
    )
    if not different and not attributes:
        return False, {}
    if not module.check_mode:
        if different:
            write_file(module, entry, data or b"", uid, gid)
        else:
            apply_attributes(path, entry, uid, gid)
    before, after = old.decode(errors="replace"), (data or old).decode(errors="replace")
    if entry["hides"]:
        before, after = (re.sub(entry["hides"], "(secret)", text) for text in (before, after))
    if entry["secret"]:
        before, after = "(secret)\n" if exists else "", "(secret, changed)\n"
    if not different:
        before = "".join(f"{name} {pair[0]}\n" for name, pair in attributes.items())
        after = "".join(f"{name} {pair[1]}\n" for name, pair in attributes.items())
    return True, {"before": before, "after": after}


def bring_directory(
    module: FleetModule, entry: dict[str, Any], uid: int, gid: int
) -> tuple[bool, dict[str, str]]:
    """State ``directory``. Returns (changed, diff)."""
    path = entry["path"]
    if os.path.lexists(path) and not os.path.isdir(path):
        raise FileError(f"{path}: exists and is not a directory; move it away first")
    exists = os.path.isdir(path)
    if os.geteuid() != 0 and os.path.islink(path) and os.stat(path).st_uid != os.geteuid():
        raise FileError(
            f"{path} is a link of {entry['owner']}'s to a folder that is not its own: take the link"
            " away, and run again"
        )
    attributes = attribute_changes(path, entry, uid, gid) if exists else {}
    if exists and not attributes:
        return False, {}
    if "owner" in attributes and os.geteuid() != 0:
        whose = f"{entry['owner']}:{entry['group'] or ''}"
        raise FileError(
            f"{path} belongs to another account: chown -h {whose} {path}, and run again"
        )
    if not module.check_mode:
        if not exists:
            os.mkdir(path, 0o755)
        apply_attributes(path, entry, uid, gid)
    before = "".join(f"{name} {pair[0]}\n" for name, pair in attributes.items())
    after = "".join(f"{name} {pair[1]}\n" for name, pair in attributes.items())
    return True, {
        "before": before if exists else "absent\n",
        "after": after if exists else "directory\n",
    }


def bring(module: FleetModule, entry: dict[str, Any]) -> tuple[bool, dict[str, str]]:
    """Bring one entry to its state. Returns (changed, diff without headers)."""
    if not os.path.isabs(entry["path"]):
        raise FileError(f"{entry['path']}: an absolute path is needed")
    uid, gid, missing = wanted_ids(entry, module.check_mode)
    owner = owner_of(entry["path"], follow=False)
    if owner and uid not in (-1, owner):
        raise FileError(
            f"{entry['path']} is in a folder of the user id {owner}, who can change all that is"
            f" there: nothing of {entry['owner']}'s is put there"
        )
    bring_one = bring_file if entry["state"] == "file" else bring_directory
    try:
        with acting_as(owner):
            changed, diff = bring_one(module, entry, uid, gid)
    except PermissionError as error:
        if not owner:
            raise
        raise FileError(
            f"{error.filename or entry['path']} cannot be read or written by the user id {owner},"
            f" whose folder it is in ({error.strerror}): give it back to that account, or take a"
            " link away that leads to somebody else's, and run again"
        ) from error
    if missing and not changed:
        changed, diff = True, {"before": "", "after": ", ".join(missing) + "\n"}
    return changed, diff


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": ENTRY_SPEC,
            }
        },
        supports_check_mode=True,
    )
    changed_paths: list[str] = []
    diffs: list[dict[str, str]] = []
    for entry in module.params["files"]:
        try:
            changed, diff = bring(module, entry)
        except (FileError, OSError) as error:
            module.fail_json(msg=str(error), changed_paths=changed_paths)
        if changed:
            changed_paths.append(entry["path"])
            diffs.append(
                {
                    **diff,
                    "before_header": entry["path"],
                    "after_header": entry["path"],
                }
            )
    module.exit_json(changed=bool(changed_paths), changed_paths=changed_paths, diff=diffs)


if __name__ == "__main__":
    main()
