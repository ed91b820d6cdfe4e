"""Which Python and Node.js the code of the apps requires, judged without changing anything.

Pure functions that need nothing but Python: modules use them on the hosts, preflight/runtimes.py
on the controller. needs is {app: {python, node}} with what the app's pyproject.toml
(``requires-python``) and package.json (``engines.node``) say, "" where they say nothing.

Both languages are read as far as apps use them, with releases of numbers alone: of PEP 440 all
operators but ``===``, of npm's ranges everything but pre-releases. A text that cannot be read
excludes nothing, and ``unread`` names it.
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping

Needs = Mapping[str, Mapping[str, str]]
Numbers = tuple[int, ...]
# From the first release that is meant up to one that is not; None: no end.
Interval = tuple[Numbers, Numbers | None]

KINDS = ("python", "node")
FILES = {"python": "pyproject.toml", "node": "package.json"}
KEYS = {"python": "requires-python", "node": "engines.node"}
PYTHON_CLAUSE = re.compile(r"(~=|==|!=|<=|>=|<|>)\s*v?(\d+(?:\.\d+)*)(\.\*)?")
NODE_HYPHEN = re.compile(r"(\S+)\s+-\s+(\S+)")
NODE_COMPARATOR = re.compile(r"(\^|~>?|>=|<=|>|<|=)?\s*v?(\d+|[xX*])((?:\.(?:\d+|[xX*]))*)(?!\S)")
LONGEST = 100


def numbers(release: str) -> Numbers:
    """The numbers of a release: (3, 12, 1) of 3.12.1 and of 3.12.1rc2."""
    return tuple(int(part) for part in re.findall(r"\d+", str(release))[:3])


def shown(text: object, longest: int = LONGEST) -> str:
    """A text of foreign code as one printable line of limited length."""
    line = " ".join("".join(c if c.isprintable() else " " for c in str(text)).split())
    return line if len(line) <= longest else f"{line[:longest]}…"


def python_asked(text: str) -> str:
    """``requires-python`` of a pyproject.toml, "" where it names none or cannot be read."""
    try:
        project = tomllib.loads(text).get("project")
    except (ValueError, RecursionError):
        # A number of thousands of digits is a ValueError, too.
        return ""
    return shown(project.get("requires-python") or "") if isinstance(project, dict) else ""


def node_asked(text: str) -> str:
    """``engines.node`` of a package.json, "" where it names none or cannot be read."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return ""
    engines = content.get("engines") if isinstance(content, dict) else None
    return shown(engines.get("node") or "") if isinstance(engines, dict) else ""


ASKED: dict[str, Callable[[str], str]] = {"python": python_asked, "node": node_asked}


# --- PEP 440 -----------------------------------------------------------------------------------


def holds(operator: str, bound: Numbers, prefix: bool, release: Numbers) -> bool | None:
    """Whether a release meets one clause of a specifier; None for a clause of no meaning."""
    if prefix and operator not in ("==", "!="):
        return None
    if prefix:
        return (release[: len(bound)] == bound) is (operator == "==")
    if operator == "~=" and len(bound) < 2:
        return None
    width = max(len(bound), len(release))
    one, other = (part + (0,) * (width - len(part)) for part in (release, bound))
    if operator == "~=":
        return one >= other and one[: len(bound) - 1] == bound[:-1]
    return {
        "==": one == other,
        "!=": one != other,
        "<=": one <= other,
        ">=": one >= other,
        "<": one < other,
        ">": one > other,
    }[operator]


def python_fits(asked: str, version: str) -> bool | None:
    """Whether a Python meets a version specifier (PEP 440); None where that cannot be read."""
    verdicts = []
    for clause in filter(None, (part.strip() for part in asked.split(","))):
        found = PYTHON_CLAUSE.fullmatch(clause)
        if not found:
            return None
        bound = tuple(map(int, found[2].split(".")))
        verdict = holds(found[1], bound, bool(found[3]), numbers(version))
        if verdict is None:
            return None
        verdicts.append(verdict)
    return all(verdicts)


# --- npm's ranges ------------------------------------------------------------------------------


def after(part: Numbers) -> Numbers:
    """The first release behind all that begin with ``part``: (19,) of (18,)."""
    return (*part[:-1], part[-1] + 1)


def node_interval(operator: str, part: Numbers) -> Interval:
    """What one comparator of a range means; part is a release or the beginning of one."""
    if not part:
        # <* and >* match no release, the others match all.
        return ((), ()) if operator in ("<", ">") else ((), None)
    if operator == "^":
        first = next((n for n, number in enumerate(part) if number), len(part) - 1)
        return part, after(part[: first + 1])
    return {
        "": (part, after(part)),
        "=": (part, after(part)),
        "~": (part, after(part[:2])),
        "~>": (part, after(part[:2])),
        ">=": (part, None),
        ">": (after(part), None),
        "<": ((), part),
        "<=": ((), after(part)),
    }[operator]


def partial(head: str, rest: str) -> Numbers | None:
    """The numbers before the first x or * of a release; None for more than three parts."""
    parts = [head, *rest.split(".")[1:]]
    known = []
    for part in parts:
        if not part.isdigit():
            break
        known.append(int(part))
    return tuple(known) if len(parts) <= 3 else None


def node_intervals(alternative: str) -> list[Interval] | None:
    """One alternative of a range as intervals that all must hold; None where it cannot be read."""
    text = alternative.strip()
    hyphen = NODE_HYPHEN.fullmatch(text)
    if hyphen:
        text = f">={hyphen[1]} <={hyphen[2]}"
    found = []
    while text:
        comparator = NODE_COMPARATOR.match(text)
        if not comparator:
            return None
        part = partial(comparator[2], comparator[3])
        if part is None:
            return None
        found.append(node_interval(comparator[1] or "", part))
        text = text[comparator.end() :].lstrip()
    return found


def node_fits(asked: str, version: str) -> bool | None:
    """Whether a Node.js meets a range of npm's; None where that cannot be read."""
    alternatives = [node_intervals(part) for part in asked.split("||")]
    release = numbers(version)
    if any(intervals is None for intervals in alternatives):
        return None
    return any(
        all(release >= low and (high is None or release < high) for low, high in intervals or [])
        for intervals in alternatives
    )


FITS: dict[str, Callable[[str, str], bool | None]] = {"python": python_fits, "node": node_fits}


# --- judgement ---------------------------------------------------------------------------------


def misfits(needs: Needs, kind: str, version: str) -> dict[str, str]:
    """The apps that exclude a Python or Node, each with what it asks for."""
    return {
        app: asked[kind]
        for app, asked in needs.items()
        if asked.get(kind) and FITS[kind](asked[kind], version) is False
    }


def unread(needs: Needs) -> list[tuple[str, str, str]]:
    """What cannot be judged: app, kind and its text."""
    return [
        (app, kind, asked[kind])
        for app, asked in needs.items()
        for kind in KINDS
        if asked.get(kind) and FITS[kind](asked[kind], "1") is None
    ]


def first_fit(needs: Needs, kind: str, releases: Iterable[str]) -> str:
    """The first of the releases that no app excludes, "" when there is none."""
    return next((release for release in releases if not misfits(needs, kind, release)), "")


def asked_words(asked: Mapping[str, str]) -> str:
    """Apps with what they require, as a text: frappe asks for >=3.14."""
    return ", ".join(f"{app} asks for {text}" for app, text in asked.items())
