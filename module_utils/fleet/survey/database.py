"""A host's database server: what it is, what it holds, and how it is set."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from ..adoption.database import sql
from ..kept import tree_bytes
from ..mariadb.conflicts import REFUSED, running_rows
from ..mariadb.options import RUNNING, look
from ..mariadb.server import MEMORY_TABLES
from ..processes import run
from ..verify.answers import READ_SHARED, SHARED

# What role mariadb writes.
SETTINGS = "/etc/mysql/mariadb.conf.d/99-benchfleet.cnf"


def read_database(data_dir: str, state_dir: str) -> dict[str, Any]:
    """Product and version of an installed server, whether its data folder holds data, names of the
    tables that a restart empties, and the settings by which its answers come about (answers), which
    of them are MariaDB's defaults (usual), and those that the fleet has set (taken); of a server
    that does not answer none are known, and the settings are None. options: see read_options.
    """
    found: dict[str, Any] = {"product": None, "version": None, "data_dir": data_dir}
    for program in ("/usr/sbin/mariadbd", "/usr/sbin/mysqld", "/usr/local/bin/mariadbd"):
        answer = run([program, "--no-defaults", "--version"], seconds=20).stdout
        version = re.search(r"Ver\s+(\d+(?:\.\d+)+)", answer)
        if version:
            found["product"] = "MariaDB" if "mariadb" in answer.lower() else "MySQL"
            found["version"] = version.group(1)
            found["program"] = program
            break
    # Any of these is written at a server's first start, never by the package alone.
    kept = [
        name for name in ("ibdata1", "mysql", "aria_log_control") if Path(data_dir, name).exists()
    ]
    found["holds_data"] = bool(kept)
    found["bytes"] = tree_bytes(data_dir) if kept else 0
    told = [
        sql(words).stdout.splitlines() if kept and found["product"] else []
        for words in (MEMORY_TABLES, READ_SHARED)
    ]
    found["memory_tables"] = told[0]
    rows = [row.split("\t") for row in told[1]]
    found["answers"] = dict.fromkeys(SHARED) | {name: value for name, value, _ in rows}
    found["usual"] = [name for name, value, default in rows if value == default]
    try:
        lines = re.findall(r"^(\w+) = (.*)$", Path(SETTINGS).read_text(), re.MULTILINE)
    except OSError:
        lines = []
    found["taken"] = {name: value for name, value in lines if name in SHARED}
    found["options"] = None
    if found["product"] == "MariaDB":
        found["options"] = read_options(bool(kept), Path(state_dir, "adopted.json").exists())
    return found


def read_options(runs: bool, adopted: bool) -> dict[str, Any]:
    """What MariaDB's option files and command line say, as mariadb/options.py's look() tells it.

    With running, the server's variables: of what they name, of what is refused and, where it was
    adopted, of what needs a restart. adopted says whether it was.
    """
    told = {**look(SETTINGS), "adopted": adopted}
    rows = running_rows(
        *(
            sql(words).stdout.splitlines() if runs else []
            for words in (RUNNING, "SHOW MASTER STATUS")
        )
    )
    named = {entry.name for entry in told["said"]} | set(REFUSED)
    told["running"] = {
        name: row
        for name, row in rows.items()
        if name in named or (adopted and row.get("fixed") == "YES")
    }
    return told
