"""The secrets file: read, locked, and replaced in one rename."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from .. import atomic
from .contents import Wish

HEADER = (
    "# Secrets of this fleet, made by Benchfleet. Keep this file, and keep it secret: without it\n"
    "# the hosts can no longer be managed. It may be encrypted with ansible-vault.\n"
)


class SecretsError(Exception):
    """The secrets cannot be read or written; the message has the path and a remedy."""


class EncryptedError(SecretsError):
    """The file is encrypted."""


class OpenToOthersError(SecretsError):
    """Other accounts can read the file."""


class ContentError(SecretsError):
    """The file does not hold secrets of a fleet."""


class FolderError(SecretsError):
    """The file's folder cannot be used."""


class TextDumper(yaml.SafeDumper):
    """Writes texts of several lines as such, so that keys and certificates stay readable."""


TextDumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style="|" if "\n" in text else None
    ),
)


def to_yaml(content: dict[str, Any]) -> str:
    """The secrets file's text."""
    body = yaml.dump(content, Dumper=TextDumper, sort_keys=False, allow_unicode=True, width=10000)
    return f"{HEADER}---\n{body}"


def read_file(path: Path) -> dict[str, Any] | None:
    """Content of the secrets file, None when there is no file.

    Raises SecretsError where it cannot be read, or as EncryptedError, OpenToOthersError or
    ContentError.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise SecretsError(
            f"{path} cannot be read ({reason}): run as its owner, or restore it from a backup"
        ) from error
    if text.startswith("$ANSIBLE_VAULT;"):
        raise EncryptedError(
            f"{path} is encrypted: pass `--vault-password-file FILE` or `--ask-vault-pass`"
        )
    if mode & 0o077:
        raise OpenToOthersError(
            f"{path} can be read by other accounts (mode {mode:04o}): `chmod 0600 {path}`"
        )
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        # The error's own text would quote the line, and the line may be a password.
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise ContentError(
            f"{path} is not valid YAML{line}: restore it from a backup; it is never overwritten"
        ) from None
    if not isinstance(content, dict) or not content.get("fleet_id"):
        raise ContentError(
            f"{path} has no `fleet_id`: restore it from a backup; if it was never used, remove it"
        )
    return content


def write_file(path: Path, content: dict[str, Any]) -> None:
    """Replace the secrets file atomically, with mode 0600.

    Raises SecretsError where it cannot be written; the old file is then untouched.
    """
    try:
        atomic.write(path, to_yaml(content), 0o600)
    except OSError as error:
        raise SecretsError(
            f"{path} cannot be written ({error.strerror}): make its folder writable for the user"
            " who runs this, and check that the disk is not full"
        ) from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a secrets folder, made with mode 0700 when missing; a second run waits.

    Raises FolderError where the folder cannot be made or used.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise FolderError(
            f"{folder} cannot be made or opened ({error.strerror}): make it writable for the user"
            " who runs this"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def ensure(
    path: Path, wish: Wish, decrypted: dict[str, Any] | None, check_mode: bool
) -> tuple[dict[str, Any], list[str]]:
    """Make the secrets as wished; returns them, and what was added, changed or removed.

    Raises SecretsError where the file cannot be used as it is.
    """
    if decrypted is not None:
        return wish.applied(decrypted)
    if check_mode:
        return wish.applied(read_file(path) or {})
    with locked(path.parent):
        content, added = wish.applied(read_file(path) or {})
        if added:
            write_file(path, content)
    return content, added
