"""Which statements may run on a replica: pure functions on their text.

In doubt a statement goes to the primary, where it is always correct, but costs more.
"""

from __future__ import annotations

import functools
import re

READ = "read"
WRITE = "write"
# Makes, fills or drops a table that only this connection sees.
TEMPORARY = "temporary"
SAVEPOINT = "savepoint"
# Sets something for this connection alone, to the same value whenever it is run again.
SESSION = "session"
# Sets how this connection's next transactions see what others write.
ISOLATION = "isolation"
# Begins or ends a transaction.
TRANSACTION = "transaction"
# Asks how many rows the statement before it changed, which warnings it got, or how many rows the
# last SELECT found.
ROW_COUNT = "row count"
WARNINGS = "warnings"
FOUND_ROWS = "found rows"

# Texts, quoted names, and comments. What is in /*! … */ or /*M! … */ is run.
_PARTS = re.compile(
    r"'[^'\\]*(?:(?:\\.|'')[^'\\]*)*'"
    r"|\"[^\"\\]*(?:(?:\\.|\"\")[^\"\\]*)*\""
    r"|`(?P<name>[^`]*(?:``[^`]*)*)`"
    r"|(?P<comment>/\*(?!M?!).*?\*/|(?:--(?=[\0-\x20]|\Z)|#)[^\n]*)",
    re.S,
)
# In a plain statement, quoted names are hexadecimal digits, so no rule matches by mistake.
_NAME = r"(?:`(?P<quoted>[0-9a-f]*)`|(?P<bare>[\w$]+)(?![\w$]))"
_ALONE = r"(?!\s*\.)"
_CALLED = re.compile(r"`(?P<quoted>[0-9a-f]*)`\s*\(")
_STATEMENT_VARIABLES = re.compile(r"set\s+statement\b.*?\bfor\b[\s(]*", re.I | re.S)
_WORD = re.compile(r"[a-z]+", re.I)
# A driver may run a second statement that follows the first.
_SECOND = re.compile(r";\s*\S")

_MAKES = re.compile(
    r"create\s+(?:or\s+replace\s+)?temporary\s+table\s+(?:if\s+not\s+exists\s+)?" + _NAME + _ALONE,
    re.I,
)
_DROPS = re.compile(r"drop\s+temporary\s+table\b", re.I)
_DROPPED = re.compile(r"drop\s+(?:temporary\s+)?table\s+(?:if\s+exists\s+)?(?P<names>[^;]+)", re.I)
_CHANGES = re.compile(
    r"(?:insert\s+(?:(?:low_priority|delayed|high_priority|ignore)\s+)*(?:into\s+)?"
    r"|replace\s+(?:low_priority\s+|delayed\s+)?(?:into\s+)?"
    r"|update\s+(?:low_priority\s+)?(?:ignore\s+)?"
    r"|delete\s+(?:(?:low_priority|quick|ignore)\s+)*from\s+"
    r"|truncate\s+(?:table\s+)?"
    r"|alter\s+(?:ignore\s+)?table\s+(?:if\s+exists\s+)?(?!.*\brename\b)"
    rf"|drop\s+table\s+(?:if\s+exists\s+)?){_NAME}(?!\s*[.,])",
    re.I | re.S,
)

_END = r"\s*;?\s*\Z"
_SAVEPOINT = re.compile(
    r"(?P<what>savepoint|release\s+savepoint|rollback\s+(?:work\s+)?to(?:\s+savepoint)?)\s+"
    + _NAME
    + _END,
    re.I,
)
_TRANSACTION = re.compile(
    r"(?:(?:commit|rollback)(?:\s+work)?(?:\s+and(?:\s+no)?\s+chain)?(?:\s+no\s+release)?"
    r"|begin(?:\s+work)?"
    r"|start\s+transaction(?:[\s,]+(?:read\s+(?:only|write)|with\s+consistent\s+snapshot))*)"
    + _END,
    re.I,
)
# SERIALIZABLE locks what it reads, and locks on a replica protect nothing.
_ISOLATION = re.compile(
    r"set\s+(?:session|local)\s+transaction\s+isolation\s+level"
    r"\s+(?:read\s+(?:un)?committed|repeatable\s+read)" + _END,
    re.I,
)

# What a SET may begin with that is more than this connection's; then variables that govern the
# transactions, or that a statement uses up.
_ITEM = r"(?:^set\b|,)\s*"
_SETS_ELSEWHERE = re.compile(
    rf"{_ITEM}(?:global\b|@@global\b|password\b|role\b|default\s+role\b"
    r"|(?:(?:session|local)\s+)?transaction\b|(?:@@)?(?:\w[\w\s.]*)?`[0-9a-f]*`\s*:?=)"
    # Not a user variable of that name.
    r"|(?<![^@]@)\b(?:(?:autocommit|insert_id|rand_seed\d|(?:tx|transaction)_(?:isolation|read_only)"
    r"|completion_type|profiling)\s*:?="
    r"|timestamp\s*:?=(?!\s*(?:default|[\d.%])))",
    re.I,
)
# These change how a statement's text is parsed. A number or a value from elsewhere may do so.
_LANGUAGES = re.compile(r"no_backslash_escapes|oracle|%|sql_mode\s*:?=\s*\d", re.I)
_SETS_SYSTEM = re.compile(
    rf"{_ITEM}(?:names\b|char|(?:(?:session|local)\s+|@@(?:(?:session|local)\s*\.\s*)?)?[a-z_]\w*\s*:?=)",
    re.I,
)
_USER_VARIABLE = r"(?<!@)@(?!@)"
_VALUE = rf"(?:[-+]?\d[\w.]*|''|%s|%\(\w+\)s|null|true|false|{_USER_VARIABLE}[\w$.`]+)"
_ASSIGNS = rf"@[\w$.`]+\s*:?=\s*{_VALUE}(?:\s*[-+*/]\s*{_VALUE})*"
_SETS_PLAINLY = re.compile(rf"set\s+{_ASSIGNS}(?:\s*,\s*{_ASSIGNS})*{_END}", re.I)
# The rules from here to _READERS look everywhere in a statement, in lower case. They begin with
# plain letters and without \b, which makes them twenty times as fast.
# Leaves state on the connection that may differ when the statement is run again.
_LEAVES = re.compile(r":=|into\s*@|last_insert_id\s*\(\s*[^\s)]")
# Reads that lock rows, count something up, need the primary's locks or its connection, write a
# file, or leave what cannot be brought to the primary.
_ACTS = re.compile(
    r"for\s+update\b|lock\s+in\s+share\s+mode\b|next\s+value\s+for\b|previous\s+value\s+for\b"
    r"|nextval\s*\(|setval\s*\(|lastval\s*\(|get_lock\s*\(|release_lock\s*\("
    r"|release_all_locks\s*\(|is_used_lock\s*\(|is_free_lock\s*\(|connection_id\s*\("
    r"|pseudo_thread_id\b|last_gtid\b|processlist\b|into\s+outfile\b|into\s+dumpfile\b"
    r"|procedure\s+analyse\b|sql_calc_found_rows\b"
)
_ASKED = re.compile(r"row_count\s*\(|found_rows\s*\(|warning_count\b|error_count\b")
_FROM = re.compile(r"from\b")
_SAID = re.compile(
    r"get\s+(?:current\s+)?diagnostics\b|show\s+(?:count\s*\(\s*\*\s*\)\s*)?(?:warnings|errors)\b"
)
_READERS = {"select", "with", "show", "explain", "describe", "desc", "values", "help"}


def _named(found: re.Match[str]) -> str:
    quoted = found["quoted"]
    return found["bare"] if quoted is None else bytes.fromhex(quoted).decode()


@functools.lru_cache(maxsize=8)
def _plain(text: str) -> str:
    """The statement from its first word on, without comments and the content of its strings."""

    def shorten(part: re.Match[str]) -> str:
        if part["comment"]:
            return " "
        if part["name"] is None:
            return "''"
        return f"`{part['name'].replace('``', '`').encode(errors='replace').hex()}`"

    return _PARTS.sub(shorten, text).lstrip(" \t\r\n\f\v(")


def _body(text: str) -> str:
    """The plain statement without the variables that are set for it alone."""
    plain = _plain(text)
    found = _STATEMENT_VARIABLES.match(plain)
    return plain[found.end() :] if found else plain


def _first(body: str) -> str:
    word = _WORD.match(body)
    return word.group().lower() if word else ""


def kind(text: str, temporary: frozenset[str] | set[str] = frozenset()) -> str:
    """What a statement does: one of this module's constants.

    ``temporary`` holds the names of the connection's temporary tables.
    """
    plain, body = _plain(text), _body(text)
    low = plain.lower()
    if "/*" in plain or _SECOND.search(plain) or _acts(low):
        return WRITE
    if body is not plain and "sql_mode" in low:
        return WRITE
    first = _first(body)
    if first in _READERS or first == "get":
        return _asked(body) or (READ if first in _READERS else WRITE)
    if _SAVEPOINT.match(body):
        return SAVEPOINT
    if _TRANSACTION.match(body):
        return TRANSACTION
    if _ISOLATION.match(body):
        return ISOLATION
    if first == "set":
        return _kind_of_set(text, body)
    if _MAKES.match(body) or _DROPS.match(body):
        return TEMPORARY
    return TEMPORARY if (target(text) or "") in temporary else WRITE


def _acts(low: str) -> bool:
    """Whether a statement does what only the primary can, also by a function's quoted name."""
    if _ACTS.search(low):
        return True
    return any(_ACTS.match(f"{_named(found).lower()}(") for found in _CALLED.finditer(low))


def _asked(body: str) -> str | None:
    """What a statement asks about those before it, if it reads nothing else."""
    low = body.lower()
    if _SAID.match(low):
        return WARNINGS
    found = _ASKED.search(low)
    if not found or _FROM.search(low):
        return None
    return {"r": ROW_COUNT, "f": FOUND_ROWS}.get(found.group()[0], WARNINGS)


def _kind_of_set(text: str, body: str) -> str:
    if _SETS_ELSEWHERE.search(body):
        return WRITE
    system = _SETS_SYSTEM.search(body)
    if re.search(_USER_VARIABLE, body):
        # The value that was read on the replica is brought to the primary, not the statement.
        if system:
            return WRITE
        return SESSION if _SETS_PLAINLY.match(body) else _asked(body) or READ
    mode = "sql_mode" in body.lower()
    if mode and _LANGUAGES.search(text):
        return WRITE
    if "(" in body and (not mode or _FROM.search(body.lower())):
        return WRITE
    return SESSION if system else WRITE


def target(text: str) -> str | None:
    """The table that a statement changes; None when it names none or several."""
    found = _CHANGES.match(_body(text))
    return _named(found) if found else None


def made(text: str) -> str | None:
    """The temporary table that a statement makes."""
    found = _MAKES.match(_body(text))
    return _named(found) if found else None


def dropped(text: str) -> set[str]:
    """The tables that a DROP TABLE names."""
    found = _DROPPED.match(_body(text))
    listed = re.finditer(rf"\s*{_NAME}\s*(?:,|$|\s)", found["names"]) if found else ()
    return {_named(name) for name in listed}


def kept(text: str, temporary: set[str]) -> set[str]:
    """Those of the temporary tables whose rows outlast a rollback after this statement.

    MariaDB commits by itself for what is not called TEMPORARY, and at once what it makes and fills.
    """
    body = _body(text)
    if _first(body) in ("alter", "truncate", "drop") and not _DROPS.match(body):
        return set(temporary)
    table = made(text)
    return {table} if table and "select" in body.lower() else set()


def savepoint(text: str) -> tuple[str, str] | None:
    """("savepoint", "release" or "rollback", its name) of a statement of kind SAVEPOINT."""
    found = _SAVEPOINT.match(_body(text))
    return (found["what"].split()[0].lower(), _named(found).lower()) if found else None


def rolls_back(text: str) -> bool:
    """Whether a statement of kind TRANSACTION undoes what was written."""
    return _first(_body(text)) == "rollback"


def selects(text: str) -> bool:
    """Whether FOUND_ROWS() refers to this statement from now on."""
    return _first(_body(text)) in _READERS


def leaves(text: str) -> bool:
    """Whether a statement leaves state on the connection that may differ when it is run again."""
    body = _body(text)
    return _first(body) in ("set", "get") or bool(_LEAVES.search(body.lower()))
