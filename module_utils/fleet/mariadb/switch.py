"""The steps of a change of primary on one server; each can be run again after it was done.

Measured with MariaDB 10.11 (tests/unit/test_mariadb_switch.py):

- SET GLOBAL read_only waits for statements that write, not for open transactions: their COMMIT
  fails then with 1290, and nothing of them is in the binary log.
- RESET SLAVE ALL keeps gtid_slave_pos; it deletes relay logs that were not applied.
- CHANGE MASTER with MASTER_DEMOTE_TO_SLAVE=1 takes the end of the server's own binary log as
  gtid_slave_pos. Where the new primary does not have that transaction, the server stops with 1236.
- Events in a physical copy stay ENABLED; of those that came by replication, SLAVESIDE_DISABLED, the
  new primary would run none.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from .. import atomic, record
from ..changes import Changes
from ..record_service import close
from ..work import Work
from . import ahead, received
from .moving import move, probed
from .replica import Replica
from .seed import FINISHED
from .server import (
    EVER,
    LAST,
    MariaDBError,
    Server,
    local,
    pymysql,
    read_json,
    refusal,
    write_json,
)

# Transactions that have changed rows: what has to end before a closed server is at rest.
WRITING = (
    "SELECT p.USER AS user FROM information_schema.INNODB_TRX t"
    " JOIN information_schema.PROCESSLIST p ON p.ID = t.trx_mysql_thread_id"
    " WHERE t.trx_rows_modified > 0 AND t.trx_state <> 'ROLLING BACK' AND p.USER <> 'system user'"
)
# A lock that is valid for less than this is no proof that the server stays closed.
LEFT_SECONDS = 10
HEARTBEAT = "benchfleet.heartbeat"


class Switch(Changes):
    """One server, and the step that is done on it.

    params: those of the module mariadb_switch. run_dir: where the lock of a switch is.
    """

    def __init__(
        self,
        server: Server,
        params: dict[str, Any],
        check_mode: bool = False,
        run_dir: str = record.FOLDER,
    ) -> None:
        super().__init__()
        self.server, self.params, self.check_mode = server, params, check_mode
        self.closing = Path(run_dir, record.CLOSING)
        self.run_dir = run_dir

    def is_closed(self) -> bool:
        """Whether the server is read-only."""
        return bool(int(self.server.value("SELECT @@GLOBAL.read_only")))

    def position(self) -> str:
        """The end of this server's binary log."""
        return str(self.server.value(LAST) or "")

    def look(self) -> dict[str, Any]:
        """What a switch is judged by; see the module's documentation."""
        seen = Replica(self.server, self.params, check_mode=True)
        found, status = seen.look(), self.server.replica_status()
        datadir = str(self.server.value("SELECT @@datadir"))
        beat: list[dict[str, Any]] = []
        with suppress(pymysql.MySQLError):
            beat = self.server.rows("SELECT server_id FROM benchfleet.heartbeat WHERE id = 1")
        state = str(found["gtid_binlog_state"] or "")
        slave_pos = str(found["gtid_slave_pos"] or "")
        holds = slave_pos if status is None else received.received(self.server, status)
        return {
            "changed": False,
            "read_only": found["read_only"],
            "binlog_pos": str(found["gtid_binlog_pos"] or ""),
            "slave_pos": slave_pos,
            "binlog_state": state,
            "follows": found.get("primary", ""),
            "io": found.get("io", ""),
            "sql": found.get("sql", ""),
            "io_error": found.get("io_error", [0, ""]),
            "sql_error": found.get("sql_error", [0, ""]),
            "received": holds,
            "drained": received.reaches(slave_pos, holds),
            "heartbeat_age": seen.heartbeat(),
            "heartbeat_server_id": int(beat[0]["server_id"]) if beat else None,
            "server_id": int(self.server.value("SELECT @@GLOBAL.server_id")),
            "data_free_mb": shutil.disk_usage(datadir).free // 1024**2,
            "version": str(self.server.value("SELECT VERSION()")),
            "domain_ids": sorted({int(part.split("-")[0]) for part in state.split(",") if part}),
        }

    def close(self) -> dict[str, Any]:
        """Close the primary until the lock runs out, and wait until no client writes."""
        seconds = self.params["seconds"]
        if status := self.server.replica_status():
            raise MariaDBError(f"this server follows {status['Master_Host']}: it is no primary")
        if not self.is_closed():
            self.note("open for writes", f"closed for {seconds} s, unless the switch is done")
        if self.check_mode:
            return self.result(gtid=self.position())
        self.closing.parent.mkdir(mode=0o755, exist_ok=True)
        until = time.time() + seconds
        # The lock is there before: the service opens no server that a switch is closing.
        atomic.write(self.closing, json.dumps({"until": until}), mode=0o644, durable=False)
        close(self.server)
        while writers := self.server.rows(WRITING):
            if time.time() > until - LEFT_SECONDS:
                names = ", ".join(sorted({str(row["user"]) for row in writers}))
                raise MariaDBError(f"{names} still writes, {seconds - LEFT_SECONDS} s after this")
            time.sleep(0.05)
        return self.result(gtid=self.position())

    def closed(self) -> dict[str, Any]:
        """Prove that the primary wrote nothing since it was closed, and stays so for a while."""
        now = self.position()
        if not self.is_closed():
            raise MariaDBError("the primary is open for writes again")
        if now != self.params["gtid"]:
            raise MariaDBError(f"the primary was at {self.params['gtid']}, and wrote up to {now}")
        left = self.lock_seconds()
        if left < LEFT_SECONDS:
            raise MariaDBError(
                f"the primary may open again in {left:.0f} s; at least {LEFT_SECONDS} are needed"
            )
        return self.result(gtid=now)

    def lock_seconds(self) -> float:
        """For how long the lock of a switch keeps this server closed; 0 without one."""
        try:
            until = float(json.loads(self.closing.read_text(encoding="utf-8"))["until"])
        except (OSError, ValueError, KeyError, TypeError):
            return 0
        return max(0, until - time.time())

    def reopen(self) -> dict[str, Any]:
        """The way back: the lock is removed, and the record opens the primary."""
        if not self.closing.exists() and not self.is_closed():
            return self.result(read_only=False)
        self.note("closed by a switch", "open for writes")
        if not self.check_mode:
            self.closing.unlink(missing_ok=True)
            self.wait_open()
        return self.result(read_only=self.is_closed())

    def wait_open(self) -> None:
        """Wait until the service has opened this server. Raises MariaDBError with its reason."""
        found = record.wait(self.params["timeout"], self.run_dir)
        if self.is_closed():
            why = found.get("why") or f"{record.UNIT} does not run"
            raise MariaDBError(f"MariaDB is not open for writes: {why}")

    def reach(self) -> dict[str, Any]:
        """Wait until this replica has a position."""
        gtid, seconds = str(self.params["gtid"]), self.params["timeout"]
        until = time.monotonic() + seconds
        while not received.reaches(self.has(), gtid):
            status = received.status_of(self.server)
            if str(status["Slave_SQL_Running"]) == "No":
                raise MariaDBError(
                    f"this replica cannot reach {gtid}: it does not apply"
                    f" ({status['Last_SQL_Errno']}: {status['Last_SQL_Error'] or 'stopped'})"
                )
            if time.monotonic() > until:
                raise MariaDBError(
                    f"this replica did not reach {gtid} in {seconds} s; it is at {self.slave_pos()}"
                )
            self.server.value("SELECT MASTER_GTID_WAIT(%s, 0.5)", (gtid,))
        return self.result(gtid=self.position())

    def has(self) -> str:
        """The position whose transactions can be read here.

        A replica writes them to its binary log a moment before it commits them.
        """
        return self.slave_pos() if self.server.replica_status() else self.position()

    def slave_pos(self) -> str:
        """The position up to which this server has applied another one's transactions."""
        return str(self.server.value("SELECT @@GLOBAL.gtid_slave_pos") or "")

    def drain(self) -> dict[str, Any]:
        """Apply all that was received; nothing to do on a server that follows none."""
        before = self.slave_pos()
        if self.server.replica_status() is None or self.check_mode:
            return self.result(gtid=self.position())
        if (now := received.drain(self.server, self.params["timeout"])) != before:
            self.note(f"at {before}", f"at {now}")
        return self.result(gtid=now)

    def fetch(self) -> dict[str, Any]:
        """Get from another replica what it has, and then follow none any more."""
        source = str(self.params["from"])
        with probed(source, self.params) as there:
            wanted = str(there.value(LAST) or "")
        if received.reaches(self.has(), wanted):
            return self.result(gtid=self.position())
        self.note(f"at {self.position()}", f"at {wanted}, from {source}")
        if self.check_mode:
            return self.result(gtid=wanted)
        if own := move(self.server, self.params, source):
            raise MariaDBError(
                f"this server has {', '.join(own)}, which {source} has not: their histories differ"
            )
        self.params["gtid"] = wanted
        self.reach()
        self.server.run("STOP SLAVE")
        return self.result(gtid=self.position())

    def promote(self) -> dict[str, Any]:
        """Follow none any more; with wait_open, until the record has opened the server."""
        status = self.server.replica_status()
        if status is not None:
            self.note(f"follows {status['Master_Host']}", "follows no other server")
            if not self.check_mode:
                if not received.rests(status):
                    self.server.run("STOP SLAVE IO_THREAD")
                received.drain(self.server, self.params["timeout"])
                self.server.run("STOP SLAVE")
                self.server.run("RESET SLAVE ALL")
        if not self.check_mode:
            self.enable_heartbeat()
            if self.params["wait_open"]:
                self.wait_open()
                self.write_once()
        return self.result(gtid=self.position())

    def enable_heartbeat(self) -> None:
        """Enable the event of the heartbeat where it is not."""
        schema, name = HEARTBEAT.split(".")
        found = self.server.value(
            "SELECT STATUS FROM information_schema.EVENTS WHERE EVENT_SCHEMA = %s"
            " AND EVENT_NAME = %s",
            (schema, name),
        )
        if found not in (None, "ENABLED"):
            self.note(f"event {HEARTBEAT}: {found}", f"event {HEARTBEAT}: ENABLED")
            self.server.run(f"ALTER EVENT {HEARTBEAT} ENABLE")

    def write_once(self) -> None:
        """Write a row and remove it again."""
        mark = f"promoted-{time.time():.6f}"
        self.server.run("INSERT INTO benchfleet.probe (id) VALUES (%s)", (mark,))
        self.server.run("DELETE FROM benchfleet.probe WHERE id = %s", (mark,))

    def follow(self) -> dict[str, Any]:
        """Follow another primary; ``ahead`` is what stands against it: then nothing changes."""
        primary, status = str(self.params["primary"]), self.server.replica_status()
        before = str(status["Master_Host"]) if status else "no other server"
        if before == primary and status and not received.rests(status):
            self.mark_as_seeded()
            return self.result(ahead=[])
        if self.check_mode:
            self.note(f"follows {before}", f"follows {primary}")
            return self.result(ahead=[])
        found = move(self.server, self.params, primary)
        if not found:
            self.note(f"follows {before}", f"follows {primary}")
            self.mark_as_seeded()
        return self.result(ahead=found)

    def mark_as_seeded(self) -> None:
        """Have role mariadb_replica take this host for one that has its copy of the data."""
        path, fleet_id = self.params["state_file"], self.params["fleet_id"]
        state = read_json(path)
        if self.check_mode or (
            state.get("fleet_id") == fleet_id and state.get("phase") in FINISHED
        ):
            return
        write_json(path, {"fleet_id": fleet_id, "phase": "done", "updated": time.time()})

    def export(self) -> dict[str, Any]:
        """Write what the new primary does not have as SQL; see ahead.export."""
        with probed(str(self.params["primary"]), self.params) as there:
            theirs = str(there.value(EVER) or "")
            own = received.strange(self.server, there)
        if not own or self.check_mode:
            return {"changed": bool(own), "folder": "", "transactions": 0, "ahead": own}
        return ahead.export(self.server, theirs, self.params["state_dir"], own)

    def semi_sync(self) -> dict[str, Any]:
        """Have the primary wait for a replica at each commit, from when one can acknowledge it."""
        wanted = self.params["mode"] != "off"
        now = bool(int(self.server.value("SELECT @@GLOBAL.rpl_semi_sync_master_enabled")))
        if wanted != now:
            self.note(f"semi-sync: {now}", f"semi-sync: {wanted}")
            if not self.check_mode:
                if wanted:
                    self.wait_for_replica()
                self.server.run(f"SET GLOBAL rpl_semi_sync_master_enabled = {int(wanted)}")
        return self.result()

    def wait_for_replica(self) -> None:
        """Wait for a replica that acknowledges: without one, each save would wait for it."""
        until = time.monotonic() + self.params["timeout"]
        while not int(
            self.server.rows("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_master_clients'")[0]["Value"]
        ):
            if time.monotonic() > until:
                raise MariaDBError(
                    "no replica acknowledges transactions, so `mariadb_semi_sync` would make each"
                    " save wait: let a reporting node replicate first, or set it to off"
                )
            time.sleep(0.2)


STEPS = (
    *("look", "close", "closed", "reopen", "reach", "drain", "fetch", "promote", "follow"),
    *("export", "semi_sync"),
)


CONNECTION = ("port", "password", "probe_password", "ca")


def do(module: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Result of the module mariadb_switch. Raises MariaDBError and OSError."""
    try:
        with local() as server:
            step: Callable[[], dict[str, Any]] = getattr(
                Switch(server, params, module.check_mode), params["step"]
            )
            return step()
    except pymysql.MySQLError as error:
        raise MariaDBError(refusal(error)) from error


WORK = Work(
    {
        "step": {"choices": list(STEPS), "required": True},
        "seconds": {"type": "int", "default": 60},
        "gtid": {"type": "str"},
        "timeout": {"type": "int", "default": 30},
        "wait_open": {"type": "bool", "default": False},
        "primary": {"type": "str"},
        "from": {"type": "str"},
        "port": {"type": "int"},
        "password": {"type": "str", "no_log": True},
        "probe_password": {"type": "str", "no_log": True},
        "ca": {"type": "path"},
        "fleet_id": {"type": "str"},
        "state_file": {"type": "path"},
        "state_dir": {"type": "path"},
        "mode": {"choices": ["off", "available", "strict"]},
    },
    do,
    (MariaDBError, OSError),
    required_if=(
        ("step", "closed", ["gtid"]),
        ("step", "reach", ["gtid"]),
        ("step", "fetch", ["from", *CONNECTION]),
        ("step", "follow", ["primary", *CONNECTION, "fleet_id", "state_file"]),
        ("step", "export", ["primary", "port", "probe_password", "ca", "state_dir"]),
        ("step", "semi_sync", ["mode"]),
    ),
)
