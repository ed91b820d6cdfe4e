"""Reads nginx's files as nginx itself does."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase


class NginxError(Exception):
    """nginx refused; the message names file and line, and what to do."""


@dataclass(frozen=True)
class Directive:
    """A directive: its words without quotes, and the directives between its braces.

    block is None where it has no braces; place is ``path:line``; start and end are its offsets in
    the text of its file, without its block, and close is that of the block's end.
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
        """Its file and line."""
        return f"{self.path}:{self.line}"

    def __str__(self) -> str:
        """The directive on one line, whatever its layout in the file."""
        inside = "" if self.block is None else f" {{ {' '.join(map(str, self.block))} }}"
        return " ".join(self.words) + (inside or ";")

    def walk(self) -> Iterator[Directive]:
        """Itself, and all directives inside."""
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


def read_configuration(text: str, path: str = "") -> tuple[Directive, ...]:
    """The directives of one file; includes are not followed.

    Raises NginxError with the line where nginx would stop.
    """
    open_blocks: list[tuple[list[Directive], tuple[str, ...], int, int, int]] = []
    found: list[Directive] = []
    words: list[str] = []
    position = start = 0
    while position < len(text):
        token = TOKEN.match(text, position)
        if token is None:
            line = text.count("\n", 0, position) + 1
            raise NginxError(f"{path}:{line}: a quote is not closed")
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
            raise NginxError(f"{path}:{line}: unexpected {token['end']}")
        words = []
    if open_blocks or words:
        raise NginxError(f"{path}: a directive or block is not closed")
    return tuple(found)


def lua_end(text: str, position: int) -> int:
    """Position of the closing brace of a block of Lua that begins at position."""
    depth = 1
    for found in LUA.finditer(text, position):
        depth += {"{": 1, "}": -1}.get(found[0], 0)
        if not depth:
            return found.start()
    raise NginxError("a block of Lua is not closed")


def included(directive: Directive, files: Iterable[str], folder: str) -> list[str]:
    """The files, of those that nginx reads, that an include names; folder: that of nginx.conf."""
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
    """All directives of nginx: those of its first file, with included files in their places."""
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
    """Host and port of the words of a listen line: ("0.0.0.0", "80").

    A socket has no port; a range of ports stays as written: "8090-8099".
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
        # nginx reports it when it loads the files.
        return set()
    for directive in (inner for outer in read for inner in outer.walk()):
        if directive.name == "listen" and {"default_server", "default"} & {*directive.words[2:]}:
            found.add(":".join(listen_address(directive.words[1:])))
    return found
