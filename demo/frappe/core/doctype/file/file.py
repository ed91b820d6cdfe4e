"""Files: a row in the shared database, the content on the disk of the bench that stored it."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from functools import partial
from pathlib import Path

import frappe
from frappe.model import Document
from frappe.utils import cint


class File(Document):
    """One file. Given `content`, its insert stores it, and a rollback takes it away again."""

    def before_insert(self) -> None:
        """Store the content where there is one; else the URL says where a file lies."""
        content = self.pop("content", None)
        if content is not None:
            self.save_file(content)
        elif self.file_url:
            self.is_private = int(self._url_is_private)

    def validate(self) -> None:
        """Follow a change of is_private."""
        if self.file_url and bool(cint(self.is_private)) != self._url_is_private:
            self.handle_is_private_changed()

    def on_trash(self) -> None:
        """Delete what no other row has. Kept fault: a rollback brings no file back."""
        others = {"file_url": self.file_url, "name": ["!=", self.name]}
        path = self.get_full_path()
        if path.exists() and not frappe.get_all("File", filters=others, limit=1):
            os.remove(path)

    @property
    def _url_is_private(self) -> bool:
        return self.file_url.startswith("/private/")

    def get_full_path(self) -> Path:
        """Return where the file lies, or would lie, on this bench."""
        return self._path(self._url_is_private, Path(self.file_url).name)

    def get_content(self) -> bytes:
        """Return what lies on this bench's disk; FileNotFoundError if nothing does."""
        return self.get_full_path().read_bytes()

    def save_file(self, content: bytes | str) -> None:
        """Choose a name that is free on this bench's disk and write the content there.

        Kept fault: two benches can choose the same name at the same time.
        """
        data = content.encode() if isinstance(content, str) else content
        private = bool(cint(self.is_private))
        name = re.sub(r"[^\w.\- ]", "_", Path(self.file_name or "").name).lstrip(".") or "file"
        digest = hashlib.md5(data, usedforsecurity=False).hexdigest()
        if self._path(private, name).exists():
            name = str(Path(name).with_stem(Path(name).stem + digest[:6]))
        self.update(
            file_name=name,
            file_url=f"{'/private' if private else ''}/files/{name}",
            is_private=int(private),
            file_size=len(data),
            content_hash=digest,
        )
        self.write_file(data)

    def write_file(self, content: bytes) -> None:
        """Write to the disk at once, before the row is there and long before it is committed."""
        path = self.get_full_path()
        if not path.exists():
            frappe.db.after_rollback.add(partial(path.unlink, missing_ok=True))
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())

    def handle_is_private_changed(self) -> None:
        """Move to where the row says; FileNotFoundError or FileExistsError if that cannot be."""
        private = bool(cint(self.is_private))
        name = Path(self.file_url).name
        source, target = self.get_full_path(), self._path(private, name)
        if not source.exists():
            frappe.throw(f"Cannot find file {source} on disk", FileNotFoundError)
        if target.exists():
            frappe.throw(f"A file with same name {target} already exists", FileExistsError)
        shutil.move(source, target)
        frappe.db.after_rollback.add(partial(shutil.move, target, source))
        self.file_url = f"{'/private' if private else ''}/files/{name}"

    @staticmethod
    def _path(private: bool, name: str) -> Path:
        return Path(frappe.get_site_path("private" if private else "public", "files", name))
