"""Texts of programs and servers, made fit to be shown: short, on one line, without values."""

from __future__ import annotations

import re
from collections.abc import Iterable

# Names in backticks, which stay; comments; texts, also those that are cut off; numbers. A quotation
# mark in a name or a comment begins no text.
PART = re.compile(
    r"""(?P<name>`[^`]*`)|(?P<comment>(?:--(?=\s|$)|\#)[^\n]*|/\*.*?(?:\*/|$))"""
    r"""|'(?:[^'\\]|\\.|'')*(?:'|\\?$)|"(?:[^"\\]|\\.|"")*(?:"|\\?$)"""
    r"""|\b0x[0-9a-fA-F]+\b|\b[0-9][0-9.]*(?:e[+-]?[0-9]+)?\b""",
    re.DOTALL | re.IGNORECASE,
)


def statement(text: str | None, most: int = 160) -> str:
    """A statement with ? for each value and without comments, cut to ``most`` characters.

    Values may be secrets, or people's data. "" for no statement.
    """
    plain = PART.sub(
        lambda found: found["name"] or (" " if found["comment"] else "?"), str(text or "")
    )
    plain = "".join(sign if sign.isprintable() else "?" for sign in " ".join(plain.split()))
    return plain if len(plain) <= most else f"{plain[: most - 2]} …"


def error(text: str, most: int = 300) -> str:
    """A replication error without its statement and without the row's values."""
    plain = " ".join(text.split())
    plain = re.split(r"\.? ?(Default database: .*)?Query: ", plain)[0]
    plain = re.sub(r"(Duplicate entry )'.*?'( for key)", r"\1…\2", plain)
    plain = re.sub(r", Error_code: \d+; handler error \w+", "", plain)
    return (plain if len(plain) <= most else f"{plain[: most - 2]} …").rstrip(".")


def last_lines(text: str, number: int = 3, most: int = 200) -> str:
    """The last lines that are not empty, for people; "none" without one."""
    lines = [" ".join(line.split()) for line in text.splitlines() if line.strip()]
    return "; ".join(line[:most] for line in lines[-number:]) or "none"


def errors_in(lines: Iterable[str], number: int = 3) -> str:
    """The last lines of MariaDB's log that are errors, without their time; else its last lines."""
    wanted = list(lines)
    wrong = [line.partition("[ERROR]")[2] for line in wanted if "[ERROR]" in line]
    return last_lines("\n".join(wrong or wanted), number)
