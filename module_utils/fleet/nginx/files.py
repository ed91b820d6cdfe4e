"""nginx's files: written, tested and loaded by nginx, or put back as they were."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path

from .. import atomic
from .syntax import NginxError, default_listens, included, read_configuration

PROGRAM = "/usr/sbin/nginx"
# Debian's own site: the link, its target, and the only page that it has.
DEBIAN_LINK = "etc/nginx/sites-enabled/default"
DEBIAN_FILE = "etc/nginx/sites-available/default"
DEBIAN_ROOT, DEBIAN_PAGE = "var/www/html", "index.nginx-debian.html"
# Files that Debian's nginx reads.
READ_BY_DEBIAN = ("nginx.conf", "conf.d/*.conf", "sites-enabled/*")

# Runs a command: exit status, standard output, standard error.
Run = Callable[[list[str]], tuple[int, str, str]]


def read(path: Path) -> bytes | Path | None:
    """Content of a file, or the target of a link; None where there is neither."""
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
    atomic.write(path, data, 0o644)


def digest(wanted: Mapping[Path, bytes | None]) -> bytes:
    """Digests of files with a content, a line for each file."""
    return b"".join(
        f"{hashlib.sha256(data).hexdigest()} {path}\n".encode()
        for path, data in sorted(wanted.items())
        if data is not None
    )


def digest_with(before: bytes | None, wanted: dict[Path, bytes]) -> bytes:
    """The digests before, with the lines of some files replaced by those of a new content."""
    lines = {line.split(b" ", 1)[-1]: line for line in (before or b"").splitlines(keepends=True)}
    lines |= {line.split(b" ", 1)[-1]: line for line in digest(wanted).splitlines(keepends=True)}
    return b"".join(line for _, line in sorted(lines.items()))


def contents(paths: Iterable[str]) -> dict[Path, bytes]:
    """Content of files that nginx reads and the fleet does not write; of a link, its target's."""
    return {Path(path): Path(path).read_bytes() for path in paths if Path(path).is_file()}


def shown(data: bytes | Path | None) -> str:
    """Content for a diff."""
    if isinstance(data, Path):
        return f"link to {data}\n"
    return (data or b"").decode(errors="replace")


def complaint(output: str) -> str:
    """The errors in the output of ``nginx -t``, without its warnings and its last line."""
    lines = [line for line in output.splitlines() if "[emerg]" in line or "[alert]" in line]
    # Once nginx has read where its log is, it writes lines as in the log.
    errors = (re.sub(r"^nginx: |^[\d/]+ [\d:]+ (?=\[)|\d+#\d+: ", "", line) for line in lines)
    return " ".join(dict.fromkeys(errors)) or output.strip()


def tested(run: Run) -> str:
    """Why nginx refuses the configuration on disk; "" where it accepts it."""
    code, out, err = run([PROGRAM, "-t"])
    return "" if code == 0 else complaint(err or out)


def parts(shown_by_nginx: str) -> dict[str, str]:
    """Files and their content in the output of ``nginx -T``."""
    split = re.split(r"^# configuration file (/.+):$", shown_by_nginx, flags=re.MULTILINE)
    return {path: text[1:] for path, text in zip(split[1::2], split[2::2], strict=True)}


def configuration(run: Run, root: Path = Path("/")) -> dict[str, str]:
    """Files that nginx reads and their content; {} where nginx is not installed.

    For a broken configuration, the files that Debian's configuration reads.
    """
    if not (root / PROGRAM[1:]).exists():
        return {}
    code, out, _ = run([PROGRAM, "-T"])
    if code == 0:
        return parts(out)
    found = (path for mask in READ_BY_DEBIAN for path in (root / "etc/nginx").glob(mask))
    return {str(path): path.read_text(errors="replace") for path in found if path.is_file()}


def stands_without(
    run: Run, files: Mapping[str, str], without: Collection[str], within: str
) -> str:
    """Why nginx would refuse its configuration without some of its files; "" if it would not.

    within: a pattern of files, ``/folder/*.conf``, that will then be included in a server. nginx
    itself tests a copy.
    """
    main = next(iter(files))
    home = os.path.dirname(main)
    with tempfile.TemporaryDirectory(prefix="benchfleet-nginx-") as folder:
        copy, there = f"{folder}/files", f"{folder}/home"
        # Relative paths, of certificates for instance, begin there.
        Path(there).mkdir()
        for entry in Path(home).iterdir():
            if str(entry) != main:
                Path(there, entry.name).symlink_to(entry)
        for path, text in files.items():
            changed = text
            read = read_configuration(text, path)
            for http in (d for d in read if d.name == "http" and path == main):
                server = (
                    f"\nserver {{ listen unix:{folder}/socket; set $benchfleet_site x;"
                    f' include "{within}"; }}\n'
                )
                changed = changed[: http.close] + server + changed[http.close :]
            directives = (d for outer in read for d in outer.walk())
            includes = [d for d in directives if d.name == "include" and len(d.words) == 2]
            for found in sorted(includes, key=lambda d: -d.start):
                # A missing file is an error if it is included by its name, not by a pattern.
                named = not re.search(r"[*?\[]", found.words[1])
                paths = [p for p in included(found, files, home) if named or p not in without]
                lines = " ".join(f'include "{copy}{path}";' for path in paths)
                changed = changed[: found.start] + lines + changed[found.end :]
            if path not in without:
                place = Path(there, "nginx.conf") if path == main else Path(copy + path)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(changed)
        code, out, err = run([PROGRAM, "-t", "-c", f"{there}/nginx.conf"])
        error = complaint(err or out).replace(copy, "").replace(f"{there}/nginx.conf", main)
        return "" if code == 0 else error.replace(there, home)


def other_defaults(files: Mapping[str, str], ours: str, without: Collection[Path]) -> list[str]:
    """Files of nginx with another default server for the addresses of ours.

    without: files that will be gone, or are ours.
    """
    wanted = default_listens(ours)
    left = {path: text for path, text in files.items() if Path(path) not in without}
    return sorted(path for path, text in left.items() if default_listens(text) & wanted)


def debians_site(run: Run, root: Path = Path("/")) -> Path | None:
    """The link to Debian's own site; None where it is not in use, or was changed."""
    link, file = root / DEBIAN_LINK, root / DEBIAN_FILE
    pages = root / DEBIAN_ROOT
    if not link.is_symlink() or link.resolve() != file.resolve() or not file.is_file():
        return None
    shows = {page.name for page in pages.iterdir()} if pages.is_dir() else set()
    code, out, _ = run(["dpkg-query", "--show", "--showformat", "${Conffiles}", "nginx-common"])
    made = hashlib.md5(file.read_bytes(), usedforsecurity=False).hexdigest()
    known = code == 0 and f"/{DEBIAN_FILE} {made}" in out
    return link if known and shows <= {DEBIAN_PAGE} else None


def put(
    run: Run, wanted: Mapping[Path, bytes | None], old: Mapping[Path, bytes | Path | None]
) -> None:
    """Write, test, reload. On failure puts the old files back and raises NginxError."""

    def go_back() -> None:
        for path, data in old.items():
            write(path, data)

    try:
        for path, new in wanted.items():
            if old[path] != new:
                write(path, new)
        problem = tested(run)
        if not problem:
            reload_nginx(run)
            return
    except (OSError, NginxError):
        go_back()
        raise
    go_back()
    ours = any(str(path) in problem for path in wanted)
    before = tested(run)
    if before and not ours:
        raise NginxError(
            f"nginx's configuration on this host is broken without Benchfleet's files, too:"
            f" {before}. Nothing was changed: correct that file"
        )
    raise NginxError(
        f"nginx refuses the new configuration: {problem}. The old files are back, and nginx still"
        " uses them"
    )


def reload_nginx(run: Run) -> None:
    """Have a running nginx load the new configuration; a stopped one reads it when it starts."""
    code, _, _ = run(["systemctl", "is-active", "--quiet", "nginx.service"])
    if code != 0:
        return
    code, out, err = run(["systemctl", "reload", "nginx.service"])
    if code != 0:
        raise NginxError(
            f"nginx could not be reloaded: {(err or out).strip()}. The old files are back: see"
            " `journalctl -u nginx`"
        )


def run_here(command: list[str]) -> tuple[int, str, str]:
    """Run a command outside of Ansible."""
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    return done.returncode, done.stdout, done.stderr
