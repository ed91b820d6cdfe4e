"""The commands that a reporting host's code key may run here: git fetch from an app of the bench.

Forced command of the key in authorized_keys: ``code-gate BENCH``. The only commands are
``git-upload-pack BENCH/apps/NAME``, also with a trailing slash or ``/.git``, and ``assets``, which
sends the apps' built web assets, ``APP/...``, and the lists of them as a tar archive.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from pathlib import Path
from typing import IO, TYPE_CHECKING, NoReturn

from benchfleet_sync.names import ASSET_LISTS, RefusedError

if TYPE_CHECKING:
    import tarfile

APP = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]*")


def repository(command: str, bench: Path) -> Path:
    """The app's folder in a command of git's.

    Raises RefusedError for any other command, a folder outside ``bench``/apps, and an app whose
    folder is a symlink that leads out of it.
    """
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise RefusedError(f"unreadable command ({error})") from error
    if words[:2] == ["git", "upload-pack"]:
        words = ["git-upload-pack", *words[2:]]
    if len(words) != 2 or words[0] != "git-upload-pack":
        raise RefusedError("this key may only fetch with git")
    prefix = f"{bench}/apps/"
    name = words[1].removeprefix(prefix).removesuffix("/").removesuffix("/.git")
    if not words[1].startswith(prefix) or not APP.fullmatch(name):
        raise RefusedError(f"{words[1]} is not an app of {bench}")
    folder = bench / "apps" / name
    if folder.resolve() != (bench / "apps").resolve() / name:
        raise RefusedError(f"{folder} leads out of the bench")
    if not (folder / ".git").exists():
        raise RefusedError(f"there is no git repository in {folder}")
    return folder


def plain(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
    """Only folders and files are sent: a link could lead to any file of this host."""
    return member if member.isdir() or member.isreg() else None


def send_assets(bench: Path, stream: IO[bytes]) -> None:
    """Write the archive of the built assets."""
    # Not at the top: git's fetch does not need it.
    import tarfile

    with tarfile.open(fileobj=stream, mode="w|") as archive:
        for folder in sorted((bench / "apps").iterdir()):
            built = folder / folder.name / "public/dist"
            inside = built.resolve().is_relative_to((bench / "apps").resolve())
            if APP.fullmatch(folder.name) and built.is_dir() and inside:
                archive.add(built, folder.name, filter=plain)
        for name in ASSET_LISTS:
            listing = bench / "sites" / name
            if listing.is_file() and not listing.is_symlink():
                archive.add(listing, listing.name, filter=plain)


def main() -> NoReturn:
    """Check the command, then become git; exits with 1 when it is refused."""
    if len(sys.argv) != 2:
        sys.exit("usage: code-gate BENCH")
    if os.environ.get("SSH_ORIGINAL_COMMAND") == "assets":
        send_assets(Path(sys.argv[1]), sys.stdout.buffer)
        sys.exit(0)
    try:
        folder = repository(os.environ.get("SSH_ORIGINAL_COMMAND", ""), Path(sys.argv[1]))
    except RefusedError as refusal:
        sys.exit(f"code-gate: {refusal}")
    environment = {
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": os.environ.get("HOME", "/"),
    }
    # Protocol 2 sends fewer refs; sshd passes the variable on only where it accepts it.
    if "GIT_PROTOCOL" in os.environ:
        environment["GIT_PROTOCOL"] = os.environ["GIT_PROTOCOL"]
    os.execve("/usr/bin/git", ["git", "upload-pack", "--strict", str(folder / ".git")], environment)
