"""Which statements may run on a replica: pure functions on their text.

Doubt sends a statement to the primary, where it is right in any case, only not as cheap.
"""

from __future__ import annotations

import re

READ = "read"
WRITE = "write"
# Makes, fills or drops a table that only this connection sees.
TEMPORARY = "temporary"
SAVEPOINT = "savepoint"
# Sets something for this connection alone.
SESSION = "session"
# Begins or ends a transaction.
TRANSACTION = "transaction"

_BEFORE = re.compile(
    r"(?:\s+|\(|/\*(?![!M]).*?\*/|--[ \t\n].*?(?:\n|\Z)|#.*?(?:\n|\Z))*", re.DOTALL
)
_WORD = re.compile(r"[a-z]+", re.IGNORECASE)
_NAME = r"(?:`(?P<quoted>[^`]+)`|(?P<bare>[\w$]+)(?![\w$]))"
_MAKES = re.compile(
    rf"create\s+(?:or\s+replace\s+)?temporary\s+table\s+(?:if\s+not\s+exists\s+)?{_NAME}", re.I
)
_DROPS = re.compile(r"drop\s+temporary\s+table\b", re.I)
_DROPPED = re.compile(r"drop\s+(?:temporary\s+)?table\s+(?:if\s+exists\s+)?(?P<names>[^;]+)", re.I)
# A driver may run a second statement that follows the first.
_SECOND = re.compile(r";\s*\S")
_CHANGES = re.compile(
    r"(?:insert\s+(?:(?:low_priority|delayed|high_priority|ignore)\s+)*(?:into\s+)?"
    r"|replace\s+(?:low_priority\s+|delayed\s+)?(?:into\s+)?"
    r"|update\s+(?:low_priority\s+)?(?:ignore\s+)?"
    r"|delete\s+(?:(?:low_priority|quick|ignore)\s+)*from\s+"
    r"|truncate\s+(?:table\s+)?"
    r"|alter\s+(?:ignore\s+)?table\s+(?:if\s+exists\s+)?"
    rf"|drop\s+table\s+(?:if\s+exists\s+)?){_NAME}(?!\s*[.,])",
    re.I,
)
_SAVEPOINT = re.compile(r"(?P<what>savepoint|release\s+savepoint)\s+`?(?P<name>[\w$]+)`?", re.I)
_STATEMENT_VARIABLES = re.compile(r"set\s+statement\b.*?\bfor\b", re.I | re.S)
_SERVER_VARIABLES = re.compile(r"\b(?:global|password|persist|role|default)\b|@@global", re.I)
_TEXTS = re.compile(r"'(?:[^'\\]|\\.|'')*'|\"(?:[^\"\\]|\\.|\"\")*\"|`[^`]*`|/\*.*?\*/", re.S)
# Reads that lock rows, count something up, wait for a lock of the server's, or write a file.
_ACTS = re.compile(
    r"\bfor\s+update\b|\block\s+in\s+share\s+mode\b|\bnext\s+value\s+for\b"
    r"|\b(?:nextval|setval|get_lock|release_lock|release_all_locks)\s*\("
    r"|\binto\s+(?:outfile|dumpfile)\b|\bprocedure\s+analyse\b",
    re.I,
)
_READERS = {"select", "with", "show", "explain", "describe", "desc", "values", "use", "help"}
_TRANSACTIONS = {"start", "begin", "commit", "rollback"}


def _body(text: str) -> str:
    """The statement without what stands before its first word."""
    found = _BEFORE.match(text)
    return text[found.end() :] if found else text


def kind(text: str, temporary: frozenset[str] | set[str] = frozenset()) -> str:
    """What a statement does: READ, WRITE, TEMPORARY, SAVEPOINT, SESSION or TRANSACTION.

    ``temporary`` holds the names of the connection's temporary tables, in lower case.
    """
    body = _body(text)
    word = _WORD.match(body)
    first = word.group().lower() if word else ""
    plain = _TEXTS.sub("''", body) if first in _READERS or ";" in body or first == "set" else ""
    if _SECOND.search(plain):
        return WRITE
    if first in _READERS:
        return WRITE if _ACTS.search(plain) else READ
    if first in ("savepoint", "release"):
        return SAVEPOINT
    if first in _TRANSACTIONS:
        return TRANSACTION
    if first == "set":
        if inner := _STATEMENT_VARIABLES.match(body):
            return kind(body[inner.end() :], temporary)
        return WRITE if _SERVER_VARIABLES.search(plain) or _ACTS.search(plain) else SESSION
    if _MAKES.match(body) or _DROPS.match(body):
        return TEMPORARY
    return TEMPORARY if (target(body) or "") in temporary else WRITE


def target(text: str) -> str | None:
    """The table that a statement changes, in lower case; None when it names none or several."""
    found = _CHANGES.match(_body(text))
    return (found["quoted"] or found["bare"]).lower() if found else None


def made(text: str) -> str | None:
    """The temporary table that a statement makes, in lower case."""
    found = _MAKES.match(_body(text))
    return (found["quoted"] or found["bare"]).lower() if found else None


def dropped(text: str) -> set[str]:
    """The tables that a DROP TABLE names, in lower case."""
    found = _DROPPED.match(_body(text))
    listed = re.finditer(rf"\s*{_NAME}\s*(?:,|$|\s)", found["names"]) if found else ()
    return {(name["quoted"] or name["bare"]).lower() for name in listed}


def savepoint(text: str) -> tuple[str, str] | None:
    """("savepoint" or "release", its name) of a statement of kind SAVEPOINT."""
    found = _SAVEPOINT.match(_body(text))
    return (found["what"].split()[0].lower(), found["name"]) if found else None
