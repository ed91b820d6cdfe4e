"""Transactions that a former primary has and the new one has not, as SQL for a person."""

from __future__ import annotations

import json
import os
import re
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from .. import atomic
from .received import GTID, highest, reaches, reading
from .server import MariaDBError, Server, parse_gtids

# What gives the transactions their old GTIDs, which a primary would refuse as out of order.
OWN_GTID = re.compile(r"^/\*M?!100001 SET @@session\.(gtid_domain_id|server_id|gtid_seq_no)=")
NOTE = "ahead.json"


def point(own_state: str, known: str) -> str:
    """The last position that both servers have.

    own_state: gtid_binlog_state of this server; known: that of the other, with its gtid_slave_pos.
    """
    theirs = parse_gtids(known)
    both = [
        f"{domain}-{server}-{min(n, theirs[domain, server])}"
        for (domain, server), n in parse_gtids(own_state).items()
        if (domain, server) in theirs
    ]
    return highest(*both)


def logs_after(server: Server, position: str) -> list[str]:
    """The binary logs with the transactions after a position, in order."""
    folder = os.path.dirname(str(server.value("SELECT @@log_bin_basename")))
    found: list[str] = []
    for row in reversed(server.rows("SHOW BINARY LOGS")):
        found.insert(0, f"{folder}/{row['Log_name']}")
        if reaches(position, server.value("SELECT BINLOG_GTID_POS(%s, 4)", (row["Log_name"],))):
            return found
    raise MariaDBError(
        f"the binary logs of this server no longer reach back to {position}; its data folder has"
        " what it wrote"
    )


def export(server: Server, known: str, state_dir: str, ahead: list[str]) -> dict[str, Any]:
    """Write the transactions after the last common one; returns {folder, after, transactions}.

    The folder has readable.sql, each row with its values, and again.sql, which `mariadb` runs on
    the primary, where they become new transactions. Both are for root only: rows are people's data.
    A folder that has the same transactions already is returned.
    """
    after = point(str(server.value("SELECT @@GLOBAL.gtid_binlog_state")), known)
    about = {"after": after, "ahead": ahead}
    for note in sorted(Path(state_dir).glob(f"ahead-*/{NOTE}")):
        found: dict[str, Any] = json.loads(note.read_text(encoding="utf-8"))
        if about.items() <= found.items():
            return {"changed": False, "folder": str(note.parent), **found}
    logs = logs_after(server, after)
    folder = Path(state_dir, time.strftime("ahead-%Y%m%d-%H%M%S"))
    folder.mkdir(mode=0o700)
    number = write_sql(folder / "readable.sql", after, logs, "--base64-output=decode-rows", "-v")
    write_sql(folder / "again.sql", after, logs)
    found = {**about, "transactions": number}
    atomic.write(folder / NOTE, json.dumps(found), mode=0o600)
    return {"changed": True, "folder": str(folder), **found}


def write_sql(path: Path, after: str, logs: list[str], *form: str) -> int:
    """Write the transactions of binary logs as SQL; returns their number. Raises MariaDBError."""
    begin = [f"--start-position={after}"] if after else []
    command = reading(*form, *begin, *logs)
    number = 0
    with (
        atomic.new_file(path) as out,
        # To a file: a pipe that nobody reads meanwhile would be full one day.
        tempfile.TemporaryFile() as words,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=words) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            text = line.decode(errors="replace")
            number += bool(GTID.match(text))
            if not OWN_GTID.match(text):
                out.write(line)
        if process.wait():
            words.seek(0)
            said = words.read().decode(errors="replace").strip()
            raise MariaDBError(f"the binary logs cannot be read: {said[-600:]}")
    return number
