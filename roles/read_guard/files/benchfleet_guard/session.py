"""State that exists only within a connection, read from one and restored on another."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

NO_SUCH_TABLE = 1146
# Values are read and written under the same settings, whatever the code has set for itself.
_SETTINGS = "sql_mode = 'NO_AUTO_VALUE_ON_ZERO', time_zone = '+00:00'"
_FOR_READING = (
    f"SET NAMES utf8mb4, {_SETTINGS}, sql_select_limit = DEFAULT, sql_quote_show_create = 1,"
    " max_statement_time = 0"
)
# How a column is read whose value the driver, or Frappe's settings of it, would change: by the
# protocol's types. DECIMAL, TIMESTAMP, DATE, TIME, DATETIME and NEWDECIMAL; FLOAT; BIT.
_READ_AS = {
    **dict.fromkeys((0, 7, 10, 11, 12, 246), "CAST({} AS CHAR)"),
    4: "CAST({} AS DOUBLE)",
    16: "{} + 0",
}


@dataclass(frozen=True)
class Table:
    """A temporary table: the statements that make it and insert a row, and its rows."""

    name: str
    create: str
    insert: str
    rows: list[Any]


@dataclass(frozen=True)
class Session:
    """tables: the temporary ones; settings: a SET statement for the rest, "" for none."""

    tables: list[Table]
    settings: str


def read(connection: Any, tables: Iterable[str]) -> Session:
    """The state of a DB-API connection, with those of the temporary tables that still exist.

    The connection cannot be used for other statements afterwards. Raises the driver's errors.
    """
    cursor = connection.cursor()
    cursor.execute(_FOR_READING)
    cursor.execute("SELECT LAST_INSERT_ID()")
    last = cursor.fetchall()[0][0]
    settings = _variables(cursor) + ([f"last_insert_id = {last}"] if last else [])
    found = [_table(cursor, name) for name in sorted(tables)]
    return Session(
        [table for table in found if table], f"SET {', '.join(settings)}" if settings else ""
    )


def fill(cursor: Any, tables: Iterable[Table]) -> None:
    """Make temporary tables on another connection. Raises the driver's errors."""
    cursor.execute("SELECT @@sql_mode, @@time_zone")
    former = cursor.fetchall()[0]
    cursor.execute(f"SET {_SETTINGS}")
    for table in tables:
        cursor.execute(table.create)
        if table.rows:
            cursor.executemany(table.insert, table.rows)
    cursor.execute("SET sql_mode = %s, time_zone = %s", former)


def quoted(name: str) -> str:
    """A name as it is written in a statement."""
    return f"`{name.replace('`', '``')}`"


def literal(kind: str, digits: str | None, collation: str) -> str:
    """A user variable's value as SQL.

    kind: as information_schema.user_variables has it; digits: the hexadecimal ones of its text,
    None for NULL; collation: of that text.
    """
    if digits is None:
        return "NULL"
    if kind == "VARCHAR":
        return f"_{collation.split('_')[0]} X'{digits}' COLLATE `{collation}`"
    text = bytes.fromhex(digits).decode()
    if kind == "DOUBLE":
        return text if "e" in text else f"{text}e0"
    if kind == "DECIMAL":
        return text if "." in text else f"{text}."
    return f"CAST({text} AS UNSIGNED)" if kind.endswith("UNSIGNED") else text


def _variables(cursor: Any) -> list[str]:
    """The assignments of a SET that restores the user variables with their types."""
    cursor.execute("SELECT variable_name, variable_type FROM information_schema.user_variables")
    kinds = dict(cursor.fetchall())
    if not kinds:
        return []
    names = [f"@{quoted(name)}" for name in kinds]
    asked = ", ".join(f"HEX(CONCAT({name})), COLLATION({name})" for name in names)
    cursor.execute(f"SELECT {asked}")
    told = cursor.fetchall()[0]
    values = zip(names, kinds.values(), told[::2], told[1::2], strict=True)
    return [f"{name} = {literal(*value)}" for name, *value in values]


def _table(cursor: Any, name: str) -> Table | None:
    """A temporary table; None where it is gone, even if another table has its name."""
    table = quoted(name)
    try:
        cursor.execute(f"SHOW CREATE TABLE {table}")
    except Exception as error:
        if error.args and error.args[0] == NO_SUCH_TABLE:
            return None
        raise
    create = cursor.fetchall()[0][1]
    if not create.startswith("CREATE TEMPORARY TABLE"):
        return None
    cursor.execute(f"SHOW COLUMNS FROM {table}")
    columns = [quoted(row[0]) for row in cursor.fetchall() if "GENERATED" not in row[5]]
    cursor.execute(f"SELECT {', '.join(columns)} FROM {table} LIMIT 0")
    kinds = [field[1] for field in cursor.description]
    asked = [
        _READ_AS.get(kind, "{}").format(column) for kind, column in zip(kinds, columns, strict=True)
    ]
    cursor.execute(f"SELECT {', '.join(asked)} FROM {table}")
    listed = ", ".join(columns).replace("%", "%%")
    marks = ", ".join(["%s"] * len(columns))
    insert = f"INSERT INTO {table.replace('%', '%%')} ({listed}) VALUES ({marks})"
    return Table(name, create, insert, list(cursor.fetchall()))
