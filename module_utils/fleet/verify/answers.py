"""Questions for two servers of a fleet: the answers are the same where reports are the same.

A setting that differs raises no error: the report only has another result. So each setting is
compared by a question whose answer depends on it, and not by its value.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..mariadb.server import pymysql

# For MariaDB: setting → statements; the answer is the rows of the last one, or its error. The
# account that reads for reports runs them in a site's database.
QUESTIONS: dict[str, tuple[str, ...]] = {
    "time_zone": ("SELECT FROM_UNIXTIME(1767225600), FROM_UNIXTIME(1782864000)",),
    # NULL where MariaDB's time zone tables are empty.
    "time zone tables": (
        "SELECT CONVERT_TZ('2026-07-01 12:00', 'UTC', 'Europe/Berlin'),"
        " CONVERT_TZ('2026-07-01 12:00', 'UTC', 'Asia/Kolkata')",
    ),
    "lc_time_names": ("SELECT DATE_FORMAT('2026-03-01', '%M %b %W')",),
    # No two of the eight formats give these days the same weeks.
    "default_week_format": (
        "SELECT WEEK('2022-01-01'), WEEK('2026-01-04'), WEEK('2028-12-31'), WEEK('2029-01-07'),"
        " WEEK('2024-12-30')",
    ),
    "div_precision_increment": ("SELECT CAST(1 / 3 AS CHAR)",),
    "group_concat_max_len": (
        "SELECT LENGTH(GROUP_CONCAT(a)) FROM (SELECT REPEAT('a', 4194304) AS a) AS t",
    ),
    # Longer texts come first as far as MariaDB compares them; beyond that, the number decides.
    "max_sort_length": (
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 100)"
        " SELECT i FROM n ORDER BY CONCAT(REPEAT('a', 64 * i), 'b'), i LIMIT 1",
    ),
    "max_recursive_iterations": (
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 20000)"
        " SELECT MAX(i) FROM n",
    ),
    "sql_select_limit": ("SELECT 1 UNION ALL SELECT 2 UNION ALL SELECT 3",),
    "collation of the connection": ("SELECT 'a' = 'A', 'ß' = 's', 'ß' = 'ss', 'é' = 'e'",),
    "sql_mode (operators)": (
        "SELECT 'a' || 'b', NOT 1 BETWEEN -5 AND 5, LENGTH('\\n'), '' IS NULL,"
        " CAST('10:00:00.9' AS TIME)",
    ),
    "sql_mode (quotes)": ('SELECT "a"',),
    "sql_mode (spaces)": ("SELECT COUNT (*) FROM (SELECT 1) AS t",),
    "sql_mode (groups)": ("SELECT a, MAX(b) FROM (SELECT 1 AS a, 2 AS b) AS t",),
    "sql_mode (unsigned)": ("SELECT CAST(1 AS UNSIGNED) - 2",),
    "sql_mode (strict)": (
        "CREATE TEMPORARY TABLE fleet_verify_strict AS SELECT CAST('x' AS INT) AS a",
        "SELECT 'taken'",
    ),
    "old_mode": (
        "SELECT CAST(CURRENT_DATE() AS DATETIME) = CAST(CAST('00:00:00' AS TIME) AS DATETIME),"
        " CHARSET(CONVERT('a' USING utf8))",
    ),
    "lower_case_table_names": ("SELECT t.a FROM (SELECT 1 AS a) AS T",),
    "ft_min_word_len": (
        "CREATE TEMPORARY TABLE fleet_verify_words (a VARCHAR(40), FULLTEXT (a)) ENGINE=MyISAM"
        " SELECT 'a bc def ghij klmno pqrstu hello' AS a",
        "SELECT MATCH (a) AGAINST ('+bc' IN BOOLEAN MODE) > 0,"
        " MATCH (a) AGAINST ('+def' IN BOOLEAN MODE) > 0,"
        " MATCH (a) AGAINST ('+ghij' IN BOOLEAN MODE) > 0,"
        " MATCH (a) AGAINST ('+klmno' IN BOOLEAN MODE) > 0,"
        " MATCH (a) AGAINST ('+hello' IN BOOLEAN MODE) > 0 FROM fleet_verify_words",
    ),
}

# Settings of MariaDB that the reporting nodes take from the primary. default_time_zone is not among
# them: a server whose time zone tables are empty does not start with the name of a zone.
SHARED = (
    "character_set_client_handshake",
    "default_week_format",
    "div_precision_increment",
    "ft_max_word_len",
    "ft_min_word_len",
    "group_concat_max_len",
    "innodb_ft_enable_stopword",
    "innodb_ft_max_token_size",
    "innodb_ft_min_token_size",
    "lc_time_names",
    "lower_case_table_names",
    "max_recursive_iterations",
    "max_sort_length",
    "old_mode",
    "sql_mode",
)
# For a client that uses utf8mb4: name, value and default on each line. No variable shows
# character_set_client_handshake, and older servers do not have character_set_collations: both are
# read from their effect.
READ_SHARED = (
    "SET @handshake = @@collation_connection; SET NAMES utf8mb4;"
    " SELECT LOWER(VARIABLE_NAME), GLOBAL_VALUE, DEFAULT_VALUE"
    " FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_NAME IN ("
    + ", ".join(f"'{name}'" for name in (*SHARED, "time_zone"))
    + ") UNION SELECT 'character_set_collations', CONCAT('utf8mb4=', @@collation_connection), ''"
    " UNION SELECT 'character_set_client_handshake',"
    " IF(@handshake = @@collation_connection, 'ON', 'OFF'), 'ON'"
)


def ask_server(connection: Any) -> dict[str, str]:
    """The answers of a server: setting → rows as text, or the error's number."""
    found = {}
    for name, statements in QUESTIONS.items():
        try:
            with connection.cursor() as cursor:
                for statement in statements:
                    cursor.execute(statement)
                rows = [" ".join(map(str, row)) for row in cursor.fetchall()]
            found[name] = ", ".join(rows)
        except pymysql.MySQLError as error:
            found[name] = f"error {error.args[0]}"
    return found


def different(here: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """The questions with different answers; those that only one side was asked are among them."""
    return [name for name in sorted({*here, *there}) if here.get(name) != there.get(name)]


def unlike(here: Mapping[str, str], there: Mapping[str, str]) -> list[str]:
    """A sentence for each question with different answers."""
    return [
        f"{name}: {here.get(name, 'none')} here, {there.get(name, 'none')} on the primary"
        for name in different(here, there)
    ]
