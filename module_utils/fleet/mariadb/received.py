"""What a replica has received and not yet applied: it survives restarts, and a dead primary.

Measured with MariaDB 10.11, replication by GTID (tests/unit/test_mariadb_received.py):

- When both threads have stopped, or the server was restarted, the next START SLAVE of either thread
  deletes the relay logs. What they held is fetched again, if the primary is still there.
- A server that starts its threads by itself does that at each start. One that was started with
  skip_slave_start keeps the relay logs of before, also after kill -9, and also with
  relay_log_recovery, and begins a new one; Gtid_IO_Pos is empty then.
- `mariadb-binlog --start-position=<GTID> relay.*` has exactly the transactions after that position,
  with their GTIDs, also where one spans two files. What is incomplete at the end is rolled back.
  It ends with an error where that is cut off in an event, and where nothing is after the position.
- Applied by a client, they move gtid_binlog_pos but not gtid_slave_pos, which is set afterwards.

Hence the servers of a fleet start with skip_slave_start, and the program mariadb-received starts
the threads.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .server import (
    EVER,
    LAST,
    MariaDBError,
    Server,
    client,
    describe,
    errant,
    parse_gtids,
    pymysql,
    remote,
    stored_password,
)
from .statements import quote_text

# Only one program at a time applies what was received.
LOCK = "benchfleet_received"
# A transaction in mariadb-binlog's text, and what shows that one is whole: its end, or the one
# statement that it is.
GTID = re.compile(r"^#.*\tGTID (\d+-\d+-\d+)(.*)$")
WHOLE = re.compile(r"^COMMIT|^#.*\tQuery\t")


def highest(*positions: str | None) -> str:
    """One position of several: for each domain the GTID with the highest number."""
    found: dict[int, tuple[int, int]] = {}
    for position in positions:
        for (domain, server), sequence in parse_gtids(position).items():
            found[domain] = max((sequence, server), found.get(domain, (0, 0)))
    return ",".join(f"{domain}-{server}-{n}" for domain, (n, server) in sorted(found.items()))


def reaches(position: str | None, wanted: str | None) -> bool:
    """Whether a position is at, or behind, another one in each domain of that one."""
    numbers = {domain: n for (domain, _), n in parse_gtids(highest(position)).items()}
    return all(n <= numbers.get(domain, 0) for (domain, _), n in parse_gtids(wanted).items())


def applied(server: Server) -> str:
    """The position that this replica has reached, by its threads or by a client that applied.

    Raises MariaDBError where the last transaction is one of its own.
    """
    row = server.rows(
        "SELECT @@GLOBAL.gtid_slave_pos AS slave, @@GLOBAL.gtid_binlog_pos AS log,"
        " @@GLOBAL.server_id AS id"
    )[0]
    own = [
        gtid
        for gtid in str(row["log"] or "").split(",")
        if gtid and gtid.split("-")[1] == str(row["id"]) and not reaches(row["slave"], gtid)
    ]
    if own:
        raise MariaDBError(
            f"this replica has a write of its own, {', '.join(own)}: what it received is not"
            " applied over it"
        )
    return highest(row["slave"], row["log"])


def relay_logs(server: Server) -> list[str]:
    """The files of the relay log, in order; [] without."""
    datadir = Path(str(server.value("SELECT @@datadir")))
    index = datadir / str(server.value("SELECT @@relay_log_index") or "")
    if not index.is_file():
        return []
    names = index.read_text(encoding="utf-8").split("\n")
    paths = [datadir / name for name in names if name]
    return [str(path) for path in paths if path.exists()]


def reading(*words: str) -> list[str]:
    """The command that shows logs as statements."""
    return ["mariadb-binlog", "--no-defaults", "--verify-binlog-checksum", *words]


def last_of(files: list[str], position: str = "") -> str:
    """The position of the last whole transaction in logs, "" without one.

    position: what is not after it is not read.
    """
    after = [f"--start-position={position}"] if position else []
    command = reading("--base64-output=decode-rows", *after, *files)
    found, begun = "", ""
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, errors="replace"
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if begins := GTID.match(line):
                begun = begins[1]
            elif begun and WHOLE.match(line):
                found, begun = highest(found, begun), ""
    return found


def status_of(server: Server) -> dict[str, Any]:
    """The row of SHOW SLAVE STATUS. Raises MariaDBError on a server that follows none."""
    status = server.replica_status()
    if status is None:
        raise MariaDBError("this server follows no other one")
    return status


def rests(status: dict[str, Any]) -> bool:
    """Whether both threads have stopped."""
    return str(status["Slave_IO_Running"]) == str(status["Slave_SQL_Running"]) == "No"


def received(server: Server, status: dict[str, Any]) -> str:
    """The position of the last transaction that this replica holds, applied or not."""
    if not rests(status):
        return str(status["Gtid_IO_Pos"])
    position = applied(server)
    files = relay_logs(server)
    return highest(position, last_of(files, position) if files else "")


@contextmanager
def alone(server: Server, seconds: float) -> Iterator[None]:
    """While this is the one program that applies or starts. Raises MariaDBError after seconds."""
    if not int(server.value("SELECT GET_LOCK(%s, %s)", (LOCK, seconds)) or 0):
        raise MariaDBError(
            "this replica is applying what it received before its restart (`journalctl -u"
            " benchfleet-received`): run again when that has ended"
        )
    try:
        yield
    finally:
        server.value("SELECT RELEASE_LOCK(%s)", (LOCK,))


def apply(server: Server) -> str:
    """Apply what was received, while both threads rest; returns the position then.

    By MariaDB's own client, one transaction after the other: 16,000 of one row took 7.4 s, and four
    threads of a replica 1.4 s. It goes on where it was cut off. Raises MariaDBError
    where a transaction is refused, or where a damage of the relay logs has whole transactions
    behind it: what was received stays then, as long as neither thread is started.
    """
    began = applied(server)
    files = relay_logs(server)
    if files:
        socket = str(server.value("SELECT @@socket"))
        # To a file: a pipe that nobody reads meanwhile would be full one day.
        with tempfile.TemporaryFile() as words:
            read = subprocess.Popen(
                reading(*([f"--start-position={began}"] if began else []), *files),
                stdout=subprocess.PIPE,
                stderr=words,
            )
            done = subprocess.run(
                [*client("mariadb"), f"--socket={socket}", "--binary-mode"],
                stdin=read.stdout,
                capture_output=True,
                text=True,
                errors="replace",
                check=False,
            )
            assert read.stdout is not None
            read.stdout.close()
            code = read.wait()
            words.seek(0)
            said = words.read().decode(errors="replace").strip()
        if done.returncode:
            raise MariaDBError(
                f"what this replica has received cannot be applied: {done.stderr.strip()[-600:]}"
            )
        if code and damaged_before_the_end(files):
            raise MariaDBError(f"the relay logs of this replica are damaged: {said[-600:]}")
    now = applied(server)
    if now != str(server.value("SELECT @@GLOBAL.gtid_slave_pos")):
        server.run(f"SET GLOBAL gtid_slave_pos = {quote_text(now)}")
    return now


def damaged_before_the_end(files: list[str]) -> bool:
    """Whether a log that cannot be read has one with whole transactions behind it.

    The end of the last one may be incomplete: a killed server, or a power cut.
    """
    for number, file in enumerate(files, 1):
        nowhere = subprocess.DEVNULL
        if subprocess.run(reading(file), stdout=nowhere, stderr=nowhere, check=False).returncode:
            return any(last_of([later]) for later in files[number:])
    return False


def primary_answers(server: Server, status: dict[str, Any]) -> bool:
    """Whether the primary lets this replica in, so that it can fetch again what it received."""
    where = (str(status["Master_Host"]), int(status["Master_Port"]), str(status["Master_User"]))
    password = stored_password(str(server.value("SELECT @@datadir")))
    if password is None:
        return False
    try:
        with remote(*where, password, str(status["Master_SSL_CA_File"])) as primary:
            return bool(primary.value("SELECT 1"))
    except (pymysql.MySQLError, OSError) as error:
        print(f"benchfleet: {where[0]} does not let this replica in: {describe(error)}", flush=True)
        return False


def start(server: Server) -> str:
    """Start the threads of a replica; nothing that it received is lost. Returns what was done.

    A primary that answers has all of it, and the replica's own threads are quicker; so it is
    applied from the relay logs only where the primary does not answer. Raises MariaDBError.
    """
    status = server.replica_status()
    if status is None:
        return "follows no primary"
    with alone(server, 0):
        if rests(status) and not primary_answers(server, status):
            before = str(server.value("SELECT @@GLOBAL.gtid_slave_pos"))
            if (now := apply(server)) != before:
                print(f"benchfleet: applied what was received: {before} to {now}", flush=True)
        server.run("START SLAVE")
    return f"follows {status['Master_Host']}"


def drain(server: Server, seconds: float) -> str:
    """Have all applied that this replica has received; returns its position.

    Raises MariaDBError where that fails, or takes longer. Nothing is discarded.
    """
    until = time.monotonic() + seconds
    status = status_of(server)
    if rests(status):
        with alone(server, seconds):
            return apply(server)
    wanted = str(status["Gtid_IO_Pos"])
    if str(status["Slave_SQL_Running"]) == "No":
        server.run("START SLAVE SQL_THREAD")
    while not reaches(position := str(server.value("SELECT @@GLOBAL.gtid_slave_pos")), wanted):
        status = status_of(server)
        if str(status["Slave_SQL_Running"]) == "No" and int(status["Last_SQL_Errno"]):
            raise MariaDBError(
                f"this replica has received {wanted}, is at {position} and cannot go on (error"
                f" {status['Last_SQL_Errno']}): {status['Last_SQL_Error']}"
            )
        if time.monotonic() > until:
            raise MariaDBError(
                f"this replica has received {wanted} and is at {position} after {seconds:g} s"
            )
        server.value("SELECT MASTER_GTID_WAIT(%s, 0.5)", (wanted,))
    return position


def strange(server: Server, there: Server) -> list[str]:
    """The last transactions of this server, one a domain, that another one never had."""
    return errant(server.value(LAST), there.value(EVER))
