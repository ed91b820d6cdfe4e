"""What a host had before the fleet changed it: recorded once, and put back at its release.

A record is a folder with manifest.json and the files themselves below files/. Each entry of the
manifest is one path: {path, how, kind, mode, owner, group, acl, sha256, target, keys, marker}.

how says what becomes of the path at a release:
    file    it is as it was; removed when it was not there
    tree    a folder of ours with all that is in it: removed when it was not there
    folder  owner, mode and ACL are as they were; removed when it was not there and is empty
    keys    a JSON object: the named keys are as they were, all others stay
    block   lines of ours between two markers: these lines go, all others stay
    kept    a copy is kept and nothing is put back
"""

from __future__ import annotations

import grp
import hashlib
import json
import os
import pwd
import re
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import atomic
from .bench.files import OUT, keys_that_are
from .foreign import as_owner, read_bytes
from .processes import SLOW_SECONDS, run

Entry = dict[str, Any]

HOWS = ("file", "tree", "folder", "keys", "block", "kept")
ACL = "system.posix_acl_access"


class SnapshotError(Exception):
    """A record cannot be made or used; the message has the reason."""


def acl_of(path: str | int) -> str:
    """ACL of a path as the kernel keeps it, in hexadecimal digits; "" without one."""
    try:
        return os.getxattr(path, ACL).hex()
    except OSError:
        return ""


def names_of(info: os.stat_result) -> tuple[str, str]:
    """Owner and group by name; by number where there is no name."""
    owner, group = str(info.st_uid), str(info.st_gid)
    with suppress(KeyError):
        owner = pwd.getpwuid(info.st_uid).pw_name
    with suppress(KeyError):
        group = grp.getgrgid(info.st_gid).gr_name
    return owner, group


def record(path: str, how: str) -> Entry:
    """The present state of a path: kind is absent, file, link or folder."""
    with as_owner(path, follow=False):
        return look({"path": path, "how": how, "kind": "absent"})


def look(entry: Entry) -> Entry:
    """The same, with the rights that this process has now."""
    path = entry["path"]
    if not os.path.lexists(path):
        return entry
    info = os.lstat(path)
    entry["owner"], entry["group"] = names_of(info)
    if stat.S_ISLNK(info.st_mode):
        return {**entry, "kind": "link", "target": os.readlink(path)}
    entry |= {"mode": f"{stat.S_IMODE(info.st_mode):04o}", "acl": acl_of(path)}
    if stat.S_ISDIR(info.st_mode):
        return {**entry, "kind": "folder"}
    if not stat.S_ISREG(info.st_mode):
        raise SnapshotError(f"{path} is neither a file nor a folder; move it away")
    data = read_bytes(path, follow=False)
    return {**entry, "kind": "file", "sha256": hashlib.sha256(data).hexdigest()}


def copy_of(folder: str, path: str) -> Path:
    """Path of a file's copy in a record."""
    return Path(f"{folder}/files{path}")


def take(folder: str, wanted: list[Entry], facts: dict[str, Any]) -> dict[str, Any]:
    """Make a complete record at folder, or none; returns its manifest.

    wanted: {path, how} and, for keys and block, keys, prefixes or marker. facts are kept beside
    the entries.
    """
    making = f"{folder}.making"
    if os.path.lexists(making):
        shutil.rmtree(making)
    Path(making).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.mkdir(making, 0o700)
    entries = []
    for item in wanted:
        entry = {**item, **record(item["path"], item["how"])}
        if entry["kind"] == "file":
            copy = copy_of(making, entry["path"])
            copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with open(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
                out.write(read_bytes(entry["path"], follow=False))
        entries.append(entry)
    manifest = {**facts, "entries": entries}
    write_note(f"{making}/manifest.json", manifest)
    # The originals are changed next: after a power cut the copies must be complete.
    os.sync()
    os.rename(making, folder)
    atomic.sync_folder(os.path.dirname(folder))
    return manifest


def write_note(path: str, content: dict[str, Any]) -> None:
    """Write a JSON file that only root can read, in one step."""
    atomic.write(path, json.dumps(content, indent=1, sort_keys=True), 0o600)


def load(folder: str) -> dict[str, Any]:
    """The manifest of a record."""
    path = f"{folder}/manifest.json"
    try:
        with open(path, encoding="utf-8") as source:
            manifest: dict[str, Any] = json.load(source)
    except (OSError, ValueError) as error:
        raise SnapshotError(
            f"{path} cannot be read ({error}), and without it nothing can be restored: put it back"
            " from a backup of the host"
        ) from error
    return manifest


def is_recorded(note: str, path: str) -> bool:
    """Whether a release of this host would restore a path; True on a host that was not adopted.

    note: the file that says which record is the host's.
    """
    try:
        with open(note, encoding="utf-8") as source:
            folder = json.load(source)["snapshot"]
    except FileNotFoundError:
        return True
    return path in {entry["path"] for entry in load(folder)["entries"]}


def without_block(text: str, marker: str) -> str:
    """A text without the lines between the two markers, and without the markers."""
    begin, end = (re.escape(marker.replace("{mark}", word)) for word in ("BEGIN", "END"))
    return re.sub(rf"^{begin}\n.*?^{end}\n?", "", text, flags=re.MULTILINE | re.DOTALL)


def with_old_keys(
    now: dict[str, Any], old: dict[str, Any], keys: list[str], prefixes: dict[str, str]
) -> dict[str, Any]:
    """A JSON object with the named keys as they were and all others as they are.

    prefixes: of an object at that key, only the entries with that prefix are ours and go.
    """
    wanted = {key: value for key, value in now.items() if key not in keys}
    wanted |= {key: old[key] for key in keys if key in old}
    for key, prefix in prefixes.items():
        entries = wanted.get(key)
        if isinstance(entries, dict):
            wanted[key] = {k: v for k, v in entries.items() if not k.startswith(prefix)}
            if not wanted[key] and key not in old:
                del wanted[key]
    return wanted


def set_attributes(path: str | int, entry: Entry) -> None:
    """Restore owner, group, mode and ACL; a name that no longer exists becomes root's.

    path may be the handle of an open file. A file in an account's own folder stays the account's:
    only root could change that.
    """
    number = {}
    for key, find in (("owner", pwd.getpwnam), ("group", grp.getgrnam)):
        try:
            number[key] = find(entry[key])[2]
        except KeyError:
            number[key] = int(entry[key]) if entry[key].isdigit() else 0
    if os.geteuid() != 0:
        number["owner"] = -1
        number["group"] = number["group"] if number["group"] in os.getgroups() else -1
    if isinstance(path, int):
        os.fchown(path, number["owner"], number["group"])
    else:
        os.chown(path, number["owner"], number["group"], follow_symlinks=False)
    if entry["kind"] == "link":
        return
    os.chmod(path, int(entry["mode"], 8))
    if entry["acl"]:
        os.setxattr(path, ACL, bytes.fromhex(entry["acl"]))
    elif acl_of(path):
        os.removexattr(path, ACL)
        os.chmod(path, int(entry["mode"], 8))


def write(path: str, data: bytes, entry: Entry) -> None:
    """A file as it was, in one rename."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with atomic.new_file(path) as out:
        out.write(data)
        set_attributes(out.fileno(), entry)


def wanted_data(entry: Entry, old: bytes) -> bytes:
    """The content of a file after the release; old: its former content."""
    path = Path(entry["path"])
    if entry["how"] != "keys" or not path.is_file() or path.is_symlink():
        return old
    before = json.loads(old)
    now = json.loads(read_bytes(entry["path"], follow=False))
    # A record of an earlier Benchfleet has fewer keys than were removed since.
    keys = [*(entry.get("keys") or []), *(key for key in keys_that_are(OUT) if key not in now)]
    wanted = with_old_keys(now, before, keys, entry.get("prefixes") or {})
    return old if wanted == before else json.dumps(wanted, indent=1, sort_keys=True).encode()


def put_back_block(entry: Entry, dry: bool) -> str:
    """Remove our lines from a file; returns a line on what was done, "" for nothing."""
    path = Path(entry["path"])
    if not path.is_file():
        return ""
    text = read_bytes(entry["path"], follow=False).decode()
    wanted = without_block(text, entry["marker"])
    if entry["kind"] == "absent" and not wanted.strip():
        if not dry:
            path.unlink()
        return f"removed {path}"
    if wanted == text:
        return ""
    if not dry:
        here = {**record(str(path), "block")}
        write(str(path), wanted.encode(), here)
    return f"took our lines out of {path}"


def remove(entry: Entry, dry: bool) -> str:
    """Remove a path that did not exist before; returns a line on what was done, "" for nothing."""
    path = entry["path"]
    if not os.path.lexists(path):
        return ""
    is_folder = os.path.isdir(path) and not os.path.islink(path)
    if is_folder and entry["how"] != "tree":
        # In a dry run it still has the files that a real run would have removed before.
        if not dry:
            try:
                os.rmdir(path)
            except OSError:
                return ""
        return f"removed {path}"
    if not dry:
        if is_folder:
            shutil.rmtree(path)
        else:
            os.unlink(path)
    return f"removed {path}"


def put_back(entry: Entry, folder: str, dry: bool = False) -> str:
    """Restore one path; returns a line on what was done, "" for nothing."""
    path, how = entry["path"], entry["how"]
    if how == "kept":
        return ""
    old = copy_of(folder, path).read_bytes() if entry["kind"] == "file" and how != "block" else b""
    with as_owner(path, follow=False):
        return bring_back(entry, old, dry)


def bring_back(entry: Entry, old: bytes, dry: bool) -> str:
    """The same, with the rights that this process has now; old: a file's former content."""
    path, how = entry["path"], entry["how"]
    if how == "block":
        return put_back_block(entry, dry)
    if entry["kind"] == "absent":
        return remove(entry, dry)
    now = record(path, how) if os.path.lexists(path) else {"kind": "absent"}
    same = all(now.get(key) == entry.get(key) for key in ("kind", "owner", "group", "mode", "acl"))
    if entry["kind"] == "folder":
        if same or now["kind"] != "folder":
            return ""
        if not dry:
            set_attributes(path, entry)
        return f"gave {path} its owner, mode and ACL"
    if entry["kind"] == "link":
        if same and now["target"] == entry["target"]:
            return ""
        if not dry:
            if now["kind"] != "absent":
                os.unlink(path)
            os.symlink(entry["target"], path)
            set_attributes(path, entry)
        return f"put the link {path} back"
    data = wanted_data(entry, old)
    if same and now.get("sha256") == hashlib.sha256(data).hexdigest():
        return ""
    if not dry:
        write(path, data, entry)
    return f"put {path} back"


def unit_states(names: list[str]) -> dict[str, dict[str, str]]:
    """Whether each systemd unit is enabled and runs, in systemd's terms.

    Raises SnapshotError where systemctl fails.
    """
    found = {}
    for name in names:
        done = run(
            ["systemctl", "show", name, "-p", "LoadState,UnitFileState,ActiveState"],
            seconds=SLOW_SECONDS,
        )
        if done.returncode != 0:
            raise SnapshotError(f"`systemctl show {name}` failed: {done.stderr.strip()}")
        state = dict(line.split("=", 1) for line in done.stdout.splitlines() if "=" in line)
        if state.get("LoadState") == "loaded":
            found[name] = {
                "enabled": state.get("UnitFileState", ""),
                "active": state.get("ActiveState", ""),
            }
    return found


def packages() -> list[str]:
    """Names of the packages that dpkg has installed. Raises SnapshotError where it fails."""
    done = run(
        ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\\n"], seconds=SLOW_SECONDS
    )
    if done.returncode != 0:
        raise SnapshotError(f"`dpkg-query -W` failed: {done.stderr.strip()}")
    lines = done.stdout.splitlines()
    return sorted({line.split(" ", 1)[1] for line in lines if line.startswith("installed ")})
