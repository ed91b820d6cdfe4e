"""nginx's files: brought to their content, tested, and taken by nginx, or left as they were."""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from .. import atomic

PROGRAM = "/usr/sbin/nginx"
# Debian's own site: the link, where it leads, and all that it shows.
DEBIAN_LINK = "etc/nginx/sites-enabled/default"
DEBIAN_FILE = "etc/nginx/sites-available/default"
DEBIAN_ROOT, DEBIAN_PAGE = "var/www/html", "index.nginx-debian.html"
# Files that Debian's nginx reads.
READ_BY_DEBIAN = ("nginx.conf", "conf.d/*.conf", "sites-enabled/*")

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
    atomic.write(path, data, 0o644)


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


def contents(paths: Iterable[str]) -> dict[Path, bytes]:
    """What files hold that nginx reads and we do not write; a link's is its target's."""
    return {Path(path): Path(path).read_bytes() for path in paths if Path(path).is_file()}


def shown(data: bytes | Path | None) -> str:
    """Content for a diff."""
    if isinstance(data, Path):
        return f"link to {data}\n"
    return (data or b"").decode(errors="replace")


def complaint(words: str) -> str:
    """What nginx -t says against a configuration, without its warnings and its last line."""
    lines = [line for line in words.splitlines() if "[emerg]" in line or "[alert]" in line]
    # Once it has read where its log is, nginx says it as it stands there.
    said = (re.sub(r"^nginx: |^[\d/]+ [\d:]+ (?=\[)|\d+#\d+: ", "", line) for line in lines)
    return " ".join(dict.fromkeys(said)) or words.strip()


def tested(run: Run) -> str:
    """Empty when nginx accepts the configuration on disk, else its complaint."""
    code, out, err = run([PROGRAM, "-t"])
    return "" if code == 0 else complaint(err or out)


def parts(shown_by_nginx: str) -> dict[str, str]:
    """Files and their content in what ``nginx -T`` shows."""
    split = re.split(r"^# configuration file (/.+):$", shown_by_nginx, flags=re.MULTILINE)
    return {path: text[1:] for path, text in zip(split[1::2], split[2::2], strict=True)}


def configuration(run: Run, root: Path = Path("/")) -> dict[str, str]:
    """Files that nginx reads and their content; of a broken configuration those that Debian reads.

    Nothing where nginx is not installed.
    """
    if not (root / PROGRAM[1:]).exists():
        return {}
    code, out, _ = run([PROGRAM, "-T"])
    if code == 0:
        return parts(out)
    found = (path for mask in READ_BY_DEBIAN for path in (root / "etc/nginx").glob(mask))
    return {str(path): path.read_text(errors="replace") for path in found if path.is_file()}


@dataclass(frozen=True)
class Directive:
    """A directive as nginx reads it: its words without quotes, and what is between its braces.

    block is None where it has none; place is ``path:line``; start and end are its offsets in the
    text of its file, without its block, and close is that of the block's end.
    """

    words: tuple[str, ...]
    block: tuple[Directive, ...] | None
    path: str
    line: int
    start: int = 0
    end: int = 0
    close: int = 0

    @property
    def name(self) -> str:
        """Its first word."""
        return self.words[0]

    @property
    def place(self) -> str:
        """Where it stands."""
        return f"{self.path}:{self.line}"

    def __str__(self) -> str:
        """On one line, so that two that say the same are equal."""
        inside = "" if self.block is None else f" {{ {' '.join(map(str, self.block))} }}"
        return " ".join(self.words) + (inside or ";")

    def walk(self) -> Iterator[Directive]:
        """Itself, and all that is inside."""
        yield self
        for inner in self.block or ():
            yield from inner.walk()


# A word, by the rules of ngx_conf_read_token: braces need quotes, but for ${name}; a quote, a hash
# or a closing brace within a word is a character like any other.
TOKEN = re.compile(
    r"""(?P<space>\s+|\#[^\n]*)
      | (?P<end>[;{}])
      | "(?P<double>(?:\\.|[^"\\])*)"
      | '(?P<single>(?:\\.|[^'\\])*)'
      | (?P<word>(?!["'])(?:\$\{|\\.|[^\s;{\\])+)""",
    re.VERBOSE | re.DOTALL,
)
ESCAPED = {r"\t": "\t", r"\r": "\r", r"\n": "\n", r"\"": '"', r"\'": "'", r"\\": "\\"}
# Lua between braces is read by the rules of Lua: comments, strings, braces.
LUA = re.compile(
    r"--\[(=*)\[.*?\]\1\]|--[^\n]*|\[(=*)\[.*?\]\2\]|\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*'|[{}]",
    re.DOTALL,
)


def lua_end(text: str, position: int) -> int:
    """Where the closing brace of a block of Lua stands that begins at position."""
    depth = 1
    for found in LUA.finditer(text, position):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if not depth:
            return found.start()
    raise NginxError("a block of Lua has no end")


def read_configuration(text: str, path: str = "") -> tuple[Directive, ...]:
    """The directives of one file, as nginx itself takes them apart; includes stay as they are.

    Raises NginxError that names the line where nginx would not read on.
    """
    open_blocks: list[tuple[list[Directive], tuple[str, ...], int, int, int]] = []
    found: list[Directive] = []
    words: list[str] = []
    position = start = 0
    while position < len(text):
        token = TOKEN.match(text, position)
        if token is None:
            line = text.count("\n", 0, position) + 1
            raise NginxError(f"{path}:{line}: a quote has no end")
        position = token.end()
        if token["space"] is not None:
            continue
        if token["end"] is None:
            start = start if words else token.start()
            raw = next(part for part in token.group("double", "single", "word") if part is not None)
            words.append(re.sub(r"\\[trn\"'\\]", lambda escape: ESCAPED[escape[0]], raw))
            continue
        start = start if words else token.start()
        line = text.count("\n", 0, start) + 1
        if token["end"] == "{" and words:
            open_blocks.append((found, tuple(words), line, start, position))
            found = []
            if words[0].endswith("_by_lua_block"):
                position = lua_end(text, position)
        elif token["end"] == ";" and words:
            found.append(Directive(tuple(words), None, path, line, start, position))
        elif token["end"] == "}" and open_blocks and not words:
            inside = tuple(found)
            found, whose, line, start, end = open_blocks.pop()
            found.append(Directive(whose, inside, path, line, start, end, token.start()))
        else:
            raise NginxError(f"{path}:{line}: {token['end']} has no place here")
        words = []
    if open_blocks or words:
        raise NginxError(f"{path}: its end comes too early")
    return tuple(found)


def included(directive: Directive, files: Iterable[str], folder: str) -> list[str]:
    """Of the files that nginx reads those that an include names; folder is that of nginx.conf."""
    mask = os.path.normpath(os.path.join(folder, directive.words[1])).split("/")
    return [
        path
        for path in files
        if len(names := os.path.normpath(path).split("/")) == len(mask)
        and all(
            fnmatchcase(name, part) and name.startswith(".") <= part.startswith(".")
            for name, part in zip(names, mask, strict=True)
        )
    ]


def whole_configuration(files: Mapping[str, str]) -> tuple[Directive, ...]:
    """What nginx serves by: its first file, with those that it includes in their places."""
    read = {path: read_configuration(text, path) for path, text in files.items()}
    main = next(iter(files))

    def with_included(directives: Iterable[Directive], depth: int) -> Iterator[Directive]:
        for directive in directives:
            if directive.name == "include" and len(directive.words) == 2 and depth < 20:
                for path in included(directive, files, os.path.dirname(main)):
                    yield from with_included(read[path], depth + 1)
            elif directive.block is None:
                yield directive
            else:
                inside = tuple(with_included(directive.block, depth))
                yield Directive(directive.words, inside, directive.path, directive.line)

    return tuple(with_included(read[main], 0))


def listen_address(words: Iterable[str]) -> tuple[str, str]:
    """Host and port of a listen line without its name: ("0.0.0.0", "80").

    A socket has no port; of a range the port is as it stands: "8090-8099".
    """
    address = next(iter(words))
    if address.startswith("unix:"):
        return address, ""
    host, port = ("", address) if re.fullmatch(r"\d+(-\d+)?", address) else (address, "80")
    if named := re.fullmatch(r"(.*):(\d+(?:-\d+)?)", address):
        host, port = named.groups()
    return ("0.0.0.0" if host in ("", "*") else host), port


def default_listens(text: str) -> set[str]:
    """Addresses, as ``0.0.0.0:80``, for which a configuration names the default server."""
    found = set()
    try:
        read = read_configuration(text)
    except NginxError:
        # nginx says so itself, when it is asked to take the files.
        return set()
    for directive in (inner for outer in read for inner in outer.walk()):
        if directive.name == "listen" and {"default_server", "default"} & {*directive.words[2:]}:
            found.add(":".join(listen_address(directive.words[1:])))
    return found


def stands_without(
    run: Run, files: Mapping[str, str], without: Collection[str], within: str
) -> str:
    """What nginx says against its configuration once some of its files are gone; "" if nothing.

    within: files, as ``/folder/*.conf``, that will be read inside of a server then. nginx itself
    is asked, about a copy.
    """
    main = next(iter(files))
    home = os.path.dirname(main)
    with tempfile.TemporaryDirectory(prefix="benchfleet-nginx-") as folder:
        copy, there = f"{folder}/files", f"{folder}/home"
        # Certificates and the like may be named by their way from there.
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
                # A file that is named by no pattern is missed where it is gone.
                named = not re.search(r"[*?\[]", found.words[1])
                paths = [p for p in included(found, files, home) if named or p not in without]
                lines = " ".join(f'include "{copy}{path}";' for path in paths)
                changed = changed[: found.start] + lines + changed[found.end :]
            if path not in without:
                place = Path(there, "nginx.conf") if path == main else Path(copy + path)
                place.parent.mkdir(parents=True, exist_ok=True)
                place.write_text(changed)
        code, out, err = run([PROGRAM, "-t", "-c", f"{there}/nginx.conf"])
        said = complaint(err or out).replace(copy, "").replace(f"{there}/nginx.conf", main)
        return "" if code == 0 else said.replace(there, home)


def other_defaults(files: Mapping[str, str], ours: str, without: Collection[Path]) -> list[str]:
    """Of nginx's files those that name another default server for the addresses of ours.

    without: files that will be gone, or are ours.
    """
    wanted = default_listens(ours)
    left = {path: text for path, text in files.items() if Path(path) not in without}
    return sorted(path for path, text in left.items() if default_listens(text) & wanted)


def debians_site(run: Run, root: Path = Path("/")) -> Path | None:
    """The link to Debian's own site, None where it is not in use, or not as Debian made it."""
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
    done = subprocess.run(words, capture_output=True, text=True, errors="replace", check=False)
    return done.returncode, done.stdout, done.stderr
