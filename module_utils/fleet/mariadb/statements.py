"""Statements on MariaDB's accounts: names and hashes in them, and the results of SHOW."""

from __future__ import annotations

import hashlib
import re
from typing import Any


def quote_name(name: str) -> str:
    """An identifier in backticks."""
    return "`" + name.replace("`", "``") + "`"


def quote_text(text: str) -> str:
    """A string literal, for statements that take no parameters."""
    escaped = text.replace("\\", "\\\\").replace("'", "''")
    return f"'{escaped}'"


def database_pattern(name: str) -> str:
    """A database as GRANT names it: ``_`` and ``%`` are wildcards there and are escaped."""
    return quote_name(name.replace("_", "\\_").replace("%", "\\%")) + ".*"


def account(user: str, host: str) -> str:
    """``user@host`` as statements name it."""
    return f"{quote_name(user)}@{quote_name(host)}"


def password_hash(password: str) -> str:
    """The hash of mysql_native_password, computed here to compare passwords with the server's."""
    inner = hashlib.sha1(password.encode()).digest()
    return "*" + hashlib.sha1(inner).hexdigest().upper()


def identified(hashes: list[str]) -> str:
    """The clause with which an account accepts passwords, by their hashes; without one, none."""
    if len(hashes) == 1:
        return f"IDENTIFIED BY PASSWORD {quote_text(hashes[0])}"
    ways = [f"mysql_native_password USING {quote_text(one)}" for one in hashes or ["invalid"]]
    return f"IDENTIFIED VIA {' OR '.join(ways)}"


def parse_create_user(text: str) -> dict[str, Any]:
    """An account from SHOW CREATE USER: hashes, TLS, limits, lock.

    ``hashes``: those of the accepted passwords, in their order; [] for an account that signs in in
    another way.
    """
    hashed = re.findall(
        r"(?:IDENTIFIED BY PASSWORD|mysql_native_password (?:USING|AS)) '(\*[0-9A-F]{40})'", text
    )
    connections = re.search(r"MAX_USER_CONNECTIONS (\d+)", text)
    statement_time = re.search(r"MAX_STATEMENT_TIME ([\d.]+)", text)
    return {
        "hashes": hashed,
        "require_ssl": bool(re.search(r"\bREQUIRE SSL\b", text)),
        "max_user_connections": int(connections.group(1)) if connections else 0,
        "max_statement_time": float(statement_time.group(1)) if statement_time else 0.0,
        "locked": "ACCOUNT LOCK" in text,
    }


def parse_grants(lines: list[str]) -> dict[str, set[str]]:
    """Grants from SHOW GRANTS: object -> privileges. USAGE (no privilege) is left out."""
    found: dict[str, set[str]] = {}
    for line in lines:
        match = re.match(r"GRANT (.+?) ON (\S.*?) TO [`']", line)
        if not match:
            continue
        privileges = {part.strip().upper() for part in match.group(1).split(",")}
        if "WITH GRANT OPTION" in line:
            privileges.add("GRANT OPTION")
        privileges.discard("USAGE")
        if "ALL" in privileges:
            privileges = privileges - {"ALL"} | {"ALL PRIVILEGES"}
        if privileges:
            found.setdefault(match.group(2), set()).update(privileges)
    return found


def grant_statements(who: str, have: dict[str, set[str]], want: dict[str, set[str]]) -> list[str]:
    """Statements that change the grants of an account from those it has to those it shall have."""
    statements: list[str] = []
    for place in sorted(set(have) | set(want)):
        had, wanted = have.get(place, set()), want.get(place, set())
        surplus, missing = had - wanted, wanted - had
        if surplus:
            statements.append(f"REVOKE {', '.join(sorted(surplus))} ON {place} FROM {who}")
            if "ALL PRIVILEGES" in surplus:
                missing = wanted
        if missing:
            statements.append(f"GRANT {', '.join(sorted(missing))} ON {place} TO {who}")
    return statements
