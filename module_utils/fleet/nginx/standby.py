"""What a router has that no template makes, read on the primary and brought to the standby.

Certificates with their keys, the operator's own rules, the names of the sites, and which nodes get
no calls. With these the standby's router serves at once when the standby becomes the primary.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from .. import atomic, files
from ..foreign import owner_of, read_bytes, replace, unlink
from ..nodes import REASONS
from ..sites.folders import read_state, served_names
from .certificates import FOLDER, Certificates
from .look import OWN

# Paths of the files that were brought: they go when this host leaves the fleet, and a rule of the
# operator's when it is gone on the primary.
BROUGHT = "router-brought"
# Folders that certbot closes to others than root.
CLOSED = ("accounts", "archive", "live")


class CopyError(Exception):
    """A file cannot be read or written; the message says which, and what to do."""


def read(settings: Mapping[str, Any], folder: str = FOLDER, own: str = OWN) -> dict[str, Any]:
    """What the standby gets from this host: {names, marks, files}.

    settings: the options of the module router_copy. names: {site: [further name]}. marks: the nodes
    without calls, {reason: [node]}. files: {path, mode, content} each, or {path, link}; keys are
    among them. Raises CopyError, SiteError.
    """
    known = read_state(settings["state_dir"])
    names = settings["listed"] if known is None else served_names(known)
    named = Certificates.by(settings, folder)
    paths = [path for entry in named.named for path in (entry["certificate"], entry["key"])]
    paths += sorted(map(str, Path(own).glob("*.conf")))
    try:
        found = [text_of(path) for path in dict.fromkeys(paths)]
        if wanted := named.wanted(names):
            found += certbots(Path(folder), wanted)
    except (OSError, UnicodeDecodeError) as error:
        raise CopyError(f"what the standby's router needs cannot be read: {error}") from error
    marks = {
        reason: sorted(mark.name for mark in Path(settings["state_dir"], reason).glob("*"))
        for reason in REASONS
    }
    return {"names": names, "marks": marks, "files": found}


def text_of(path: str | Path) -> dict[str, str]:
    """A file, or what a link leads to, as a file."""
    content, mode = read_bytes(str(path)).decode(), os.stat(path).st_mode & 0o777
    return {"path": str(path), "mode": f"{mode:04o}", "content": content}


def certbots(folder: Path, names: Iterable[str]) -> list[dict[str, str]]:
    """certbot's files for names that have a certificate, and its accounts at the CAs."""
    found = []
    for name in names:
        renewal = folder / "renewal" / f"{name}.conf"
        if not renewal.exists():
            continue
        found.append(text_of(renewal))
        for link in sorted((folder / "live" / name).glob("*.pem")):
            found += [text_of(link.resolve()), {"path": str(link), "link": str(link.readlink())}]
    accounts = sorted((folder / "accounts").rglob("*.json"))
    return found + [text_of(path) for path in accounts if not path.is_symlink()]


class Copy:
    """Brings to this host what ``read`` returned on the primary.

    asked: the options of the module router_copy. run: a function such as AnsibleModule.run_command.
    """

    def __init__(
        self,
        asked: Mapping[str, Any],
        run: files.Run,
        dry: bool,
        own: str = OWN,
        folder: str = FOLDER,
    ) -> None:
        self.asked, self.run, self.dry, self.own, self.folder = asked, run, dry, own, folder
        self.changed: list[str] = []
        self.noted = self.noted_before = brought(self.asked["state_dir"])
        # Paths that were replaced, each with its content and state; None where there was nothing.
        self.before: list[tuple[str, tuple[bytes, os.stat_result] | None]] = []

    def bring(self) -> list[str]:
        """Write what differs; returns the paths. Raises CopyError, FileError, OSError."""
        for entry in self.asked["files"]:
            if "link" in entry:
                self.link(entry)
            else:
                self.write(entry["path"], entry["content"], entry["mode"])
        self.forget({entry["path"] for entry in self.asked["files"]})
        self.mark()
        return self.changed

    def is_own(self, path: str) -> bool:
        """Whether it is a file of the operator's rules."""
        return os.path.dirname(path) == self.own

    def note(self, noted: set[str]) -> None:
        """Write down which files were brought."""
        self.noted = noted
        text = "".join(f"{path}\n" for path in sorted(noted))
        atomic.write(f"{self.asked['state_dir']}/{BROUGHT}", text, 0o644)

    def change(self, path: str, act: Callable[[], object]) -> None:
        """Change a path, unless this is a dry run."""
        self.changed.append(path)
        if self.dry:
            return
        if self.is_own(path):
            # nginx_files then has nginx load them, also in a later run if this one is killed.
            Path(self.asked["loaded_file"]).unlink(missing_ok=True)
        act()

    def write(self, named: str, content: str, mode: str | None) -> None:
        """Bring a file. mode: None leaves it as it is.

        A link, such as certbot's, stays, and its target is written. Not a link that an account can
        set: root would write wherever it leads to.
        """
        path = named if owner_of(named) else os.path.realpath(named)
        self.make_folder(path)
        wanted: files.Entry = {"path": path, "state": "file", "content": content, "mode": mode}
        wanted |= {"owner": None, "group": None, "secret": True}
        wanted |= {"marker": None, "hides": None, "keep": False, "validate": None}
        if files.bring(wanted, self.run, True)[0]:
            was = (read_bytes(path), os.stat(path)) if os.path.exists(path) else None
            self.before.append((path, was))
            self.bring_noted(named, partial(files.bring, wanted, self.run, False))

    def put_back(self) -> None:
        """Give the files that were written the content that they had before. Raises OSError."""
        for path, was in reversed(self.before):
            if was is None:
                unlink(path)
            else:
                data, info = was
                replace(path, data, stat.S_IMODE(info.st_mode), (info.st_uid, info.st_gid))
        if self.noted != self.noted_before:
            self.note(self.noted_before)

    def bring_noted(self, path: str, act: Callable[[], object]) -> None:
        """Bring a file or link, which is noted before it is there."""
        if not self.dry and path not in self.noted:
            self.note({*self.noted, path})
        self.change(path, act)

    def link(self, entry: Mapping[str, str]) -> None:
        """Bring a link, in one rename."""
        path = Path(entry["path"])
        if path.is_symlink() and str(path.readlink()) == entry["link"]:
            return

        def act() -> None:
            self.make_folder(str(path))
            beside = path.with_name(f".benchfleet-{path.name}")
            beside.unlink(missing_ok=True)
            beside.symlink_to(entry["link"])
            beside.replace(path)

        self.bring_noted(str(path), act)

    def make_folder(self, path: str) -> None:
        """Make the missing folders of a path. Raises CopyError where they would be an account's."""
        missing = [folder for folder in Path(path).parents if not folder.exists()]
        if not missing or self.dry:
            return
        if owner := owner_of(str(missing[-1]), follow=False):
            raise CopyError(
                f"{path}: its folder is missing on this host, and is in a folder of user id"
                f" {owner}: make it, with the owner that it has on the primary, and run again"
            )
        for folder in reversed(missing):
            closed = any(folder.is_relative_to(Path(self.folder, name)) for name in CLOSED)
            folder.mkdir(0o700 if closed else 0o755)

    def forget(self, wanted: set[str]) -> None:
        """Remove rules that were brought earlier and are gone on the primary."""
        gone = {path for path in self.noted if self.is_own(path)} - wanted
        for path in sorted(gone):
            if os.path.lexists(path):
                self.change(path, Path(path).unlink)
        if gone and not self.dry:
            self.note(self.noted - gone)

    def mark(self) -> None:
        """Have the same nodes get no calls."""
        for reason in REASONS:
            folder = Path(self.asked["state_dir"], reason)
            wanted = set(self.asked["marks"][reason]) - {self.asked["host"]}
            there = {mark.name for mark in folder.glob("*")}
            for name in sorted(wanted - there):
                self.change(str(folder / name), partial(marked, folder / name))
            for name in sorted(there - wanted):
                self.change(str(folder / name), (folder / name).unlink)


def brought(state_dir: str) -> set[str]:
    """The files on this host that came from the primary's router."""
    try:
        return set(Path(state_dir, BROUGHT).read_text(encoding="utf-8").splitlines())
    except FileNotFoundError:
        return set()


def marked(place: Path) -> None:
    """Make the mark of a node, see nodes.py."""
    place.parent.mkdir(mode=0o755, exist_ok=True)
    place.touch(mode=0o644)
