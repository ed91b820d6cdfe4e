"""A host's database server: its version, its data and its settings."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..adoption.database import answers
from ..kept import tree_bytes
from ..mariadb.conflicts import REFUSED, running_rows
from ..mariadb.options import RUNNING, Program, Row, look
from ..mariadb.server import MEMORY_TABLES
from ..processes import run
from ..verify.answers import READ_SHARED, SHARED

# The option file that role mariadb writes.
SETTINGS = "/etc/mysql/mariadb.conf.d/99-benchfleet.cnf"


def read_database(data_dir: str, state_dir: str, about: Program) -> dict[str, Any]:
    """State of a host's database server. about: what program() says of it.

    product, version, program   of the installed server; product and version None without one
    data_dir, holds_data, bytes its data folder, whether there is data in it, and how much
    memory_tables               names of the tables that a restart empties
    answers                     {setting that changes results of queries: value}; None where unknown
    usual                       those of them that have MariaDB's default
    taken                       {setting: value} of those that the fleet has set
    options                     see read_options; None without MariaDB

    Of a server that does not answer, memory_tables, answers and usual are unknown.
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
    # The server writes these at its first start; the package alone does not.
    kept = [
        name for name in ("ibdata1", "mysql", "aria_log_control") if Path(data_dir, name).exists()
    ]
    found["holds_data"] = bool(kept)
    found["bytes"] = tree_bytes(data_dir) if kept else 0
    asked = (MEMORY_TABLES, READ_SHARED, RUNNING, "SHOW MASTER STATUS")
    found["memory_tables"], shared, *running = (
        answers(*asked) if kept and found["product"] else [[] for _ in asked]
    )
    rows = [row.split("\t") for row in shared]
    found["answers"] = dict.fromkeys(SHARED) | {name: value for name, value, _ in rows}
    found["usual"] = [name for name, value, default in rows if value == default]
    try:
        lines = re.findall(r"^(\w+) = (.*)$", Path(SETTINGS).read_text(), re.MULTILINE)
    except OSError:
        lines = []
    found["taken"] = {name: value for name, value in lines if name in SHARED}
    found["options"] = None
    if found["product"] == "MariaDB":
        adopted = Path(state_dir, "adopted.json").exists()
        found["options"] = read_options(about, running_rows(*running), adopted)
    return found


def read_options(about: Program, rows: Mapping[str, Row], adopted: bool) -> dict[str, Any]:
    """MariaDB's options by its files and command line: the result of look() in mariadb/options.py.

    adopted is added, and running: of the server's variables, rows, those that are named there,
    those that may be refused, and, on an adopted server, those that need a restart.
    """
    options = {**look(SETTINGS, about), "adopted": adopted}
    named = {entry.name for entry in options["said"]} | set(REFUSED)
    options["running"] = {
        name: row
        for name, row in rows.items()
        if name in named or (adopted and row.get("fixed") == "YES")
    }
    return options
