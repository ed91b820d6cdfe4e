"""nginx's files: brought to their content, tested, and taken by nginx, or left as they were."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

# Runs a command: exit status, standard output, standard error.
Run = Callable[[list[str]], tuple[int, str, str]]


class NginxError(Exception):
    """nginx refused; the message names file and line, and what to do."""


def read(path: Path) -> bytes | Path | None:
    """Content of a file, None when there is none; of a link, where it leads."""
    try:
        return path.readlink() if path.is_symlink() else path.read_bytes()
    except FileNotFoundError:
        return None


def write(path: Path, data: bytes | Path | None) -> None:
    """Replace a file in one rename, or make a link; None removes it."""
    if data is None or isinstance(data, Path):
        path.unlink(missing_ok=True)
        if data is not None:
            path.symlink_to(data)
        return
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".benchfleet-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
            # By its handle: in a folder of another account the name may be a link by now.
            os.fchmod(out.fileno(), 0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def digest(wanted: Mapping[Path, bytes | None]) -> bytes:
    """What stands for these files with this content: a line for each."""
    return b"".join(
        f"{hashlib.sha256(data).hexdigest()} {path}\n".encode()
        for path, data in sorted(wanted.items())
        if data is not None
    )


def digest_with(before: bytes | None, wanted: dict[Path, bytes]) -> bytes:
    """The digest of more files, some of which have a new content."""
    lines = {line.split(b" ", 1)[-1]: line for line in (before or b"").splitlines(keepends=True)}
    lines |= {line.split(b" ", 1)[-1]: line for line in digest(wanted).splitlines(keepends=True)}
    return b"".join(line for _, line in sorted(lines.items()))


def shown(data: bytes | Path | None) -> str:
    """Content for a diff."""
    if isinstance(data, Path):
        return f"link to {data}\n"
    return (data or b"").decode(errors="replace")


def complaint(words: str) -> str:
    """What nginx -t says against a configuration, without its warnings and its last line."""
    lines = [line for line in words.splitlines() if "[emerg]" in line or "[alert]" in line]
    return " ".join(re.sub(r"^nginx: ", "", line) for line in lines) or words.strip()


def tested(run: Run) -> str:
    """Empty when nginx accepts the configuration on disk, else its complaint."""
    code, out, err = run(["/usr/sbin/nginx", "-t"])
    return "" if code == 0 else complaint(err or out)


def put(
    run: Run, wanted: Mapping[Path, bytes | None], old: Mapping[Path, bytes | Path | None]
) -> None:
    """Write, test, reload. Raises NginxError after the old files are back."""
    try:
        for path, data in wanted.items():
            if old[path] != data:
                write(path, data)
        problem = tested(run)
        if not problem:
            reload_nginx(run)
            return
    except (OSError, NginxError):
        for path, data in old.items():
            write(path, data)
        raise
    for path, data in old.items():
        write(path, data)
    ours = any(str(path) in problem for path in wanted)
    before = tested(run)
    if before and not ours:
        raise NginxError(
            f"nginx's configuration on this host is broken already, before Benchfleet's part:"
            f" {before}. Correct that file; nothing was changed"
        )
    raise NginxError(
        f"nginx refuses the new configuration: {problem}. The old files are back and nginx runs on"
        " with them"
    )


def reload_nginx(run: Run) -> None:
    """Tell a running nginx to take the new configuration; one that is stopped reads it at start."""
    code, _, _ = run(["systemctl", "is-active", "--quiet", "nginx.service"])
    if code != 0:
        return
    code, out, err = run(["systemctl", "reload", "nginx.service"])
    if code != 0:
        raise NginxError(
            f"nginx could not be reloaded: {(err or out).strip()}; the old files are back. See"
            " `journalctl -u nginx`"
        )


def run_here(words: list[str]) -> tuple[int, str, str]:
    """Run a command outside of Ansible."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout, done.stderr
