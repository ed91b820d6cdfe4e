"""Replication on a replica: connect it, repair what is safe, report the rest."""

from __future__ import annotations

import os
import shutil
import time
from typing import Any

from ..changes import Changes
from ..kept import REPLACED, things, tidy
from ..record import Record, RecordError
from . import received
from .moving import USER, change_statement, close_for_writes, move, probed
from .remedies import FOREIGN, RESEED, passing, remedy
from .server import (
    MariaDBError,
    Server,
    all_of,
    local,
    memory_tables,
    pymysql,
    read_json,
    stored_password,
    write_json,
)
from .statements import quote_text


def connection_settings(status: dict[str, Any]) -> dict[str, str]:
    """The replica's connection settings from its status, in the form of wanted_settings."""
    return {
        "port": str(status["Master_Port"]),
        "user": str(status["Master_User"]),
        "ssl": str(status["Master_SSL_Allowed"]).lower(),
        "ca": str(status["Master_SSL_CA_File"]),
        "verify": str(status["Master_SSL_Verify_Server_Cert"]).lower(),
        "gtid": str(status["Using_Gtid"]).lower(),
    }


def wanted_settings(port: int, ca: str) -> dict[str, str]:
    """The connection settings that a replica shall have."""
    about = {"port": str(port), "user": USER, "ca": ca}
    return about | {"ssl": "yes", "verify": "yes", "gtid": "slave_pos"}


class Replica(Changes):
    """One replica's server, and the changes to it.

    params: those of the module mariadb_replication.
    """

    def __init__(self, server: Server, params: dict[str, Any], check_mode: bool) -> None:
        super().__init__()
        self.server = server
        self.params = params
        self.check_mode = check_mode

    def act(self, *statements: str) -> None:
        """Run statements unless in check mode."""
        if not self.check_mode:
            for statement in statements:
                self.server.run(statement)

    def seed_state(self) -> dict[str, Any]:
        """The seed's state file, {} when it is not this fleet's."""
        found = read_json(self.params["state_file"])
        return found if found.get("fleet_id") == self.params["fleet_id"] else {}

    def heartbeat(self) -> float | None:
        """Age of the newest heartbeat here in seconds, None without one."""
        try:
            age = self.server.value(
                "SELECT TIMESTAMPDIFF(MICROSECOND, MAX(at), NOW(6)) / 1000000"
                " FROM benchfleet.heartbeat"
            )
        except pymysql.MySQLError:
            return None
        return None if age is None else float(age)

    def remedy(self, number: int) -> str:
        """What the operator can do about a replication error of this replica."""
        return remedy(number, memory_tables(self.server))

    def broken(self, what: str, found: dict[str, Any], error: list[Any]) -> MariaDBError:
        """The exception for an error of a replication thread, with its remedy."""
        return MariaDBError(f"{what}: {self.seen(found)}. {self.remedy(error[0])}")

    def look(self) -> dict[str, Any]:
        """The state of this replica."""
        status = self.server.replica_status()
        state = self.server.value("SELECT @@GLOBAL.gtid_binlog_state")
        found: dict[str, Any] = {
            "configured": status is not None,
            "read_only": bool(int(self.server.value("SELECT @@GLOBAL.read_only"))),
            "gtid_slave_pos": self.server.value("SELECT @@GLOBAL.gtid_slave_pos"),
            "gtid_binlog_pos": self.server.value("SELECT @@GLOBAL.gtid_binlog_pos"),
            "gtid_binlog_state": state,
            "heartbeat_age": self.heartbeat() if status is not None else None,
        }
        if status is not None:
            found.update(
                primary=str(status["Master_Host"]),
                io=str(status["Slave_IO_Running"]),
                sql=str(status["Slave_SQL_Running"]),
                io_error=[int(status["Last_IO_Errno"]), str(status["Last_IO_Error"])],
                sql_error=[int(status["Last_SQL_Errno"]), str(status["Last_SQL_Error"])],
                seconds_behind=status["Seconds_Behind_Master"],
            )
        return found

    def seen(self, found: dict[str, Any]) -> str:
        """The state of a replica in one line."""
        if not found["configured"]:
            return "follows no primary"
        age = found["heartbeat_age"]
        parts = [
            f"follows {found['primary']}",
            f"receiving: {found['io']}",
            f"applying: {found['sql']}",
            "no heartbeat" if age is None else f"heartbeat {age:.1f} s old",
        ]
        errors = {"receive": found["io_error"], "apply": found["sql_error"]}
        parts += [f"{which} error {no}: {text}" for which, (no, text) in errors.items() if no]
        return ", ".join(parts)

    def connect_seeded(self, state: dict[str, Any]) -> None:
        """Connect a seeded server for the first time, from the position of its copy."""
        gtid = str(state["gtid"])
        self.note("follows no primary", f"follows {self.params['primary']} from {gtid}")
        self.act(
            "STOP ALL SLAVES",
            "RESET SLAVE ALL",
            f"SET GLOBAL gtid_slave_pos = {quote_text(gtid)}",
            change_statement(self.params["primary"], self.params),
            "START SLAVE",
        )

    def follow_the_new(self, former: str) -> None:
        """Follow the inventory's primary, not a former one, where the record names it, too."""
        primary = self.params["primary"]
        try:
            record = Record.read(os.path.dirname(self.params["state_file"]))
        except RecordError as error:
            raise MariaDBError(str(error)) from error
        if (
            record is None
            or record.fleet_id != self.params["fleet_id"]
            or record.hosts.get(record.primary) != primary
        ):
            raise MariaDBError(
                f"this replica follows {former}, but the primary in the inventory is {primary}."
                f" Correct the inventory, or {RESEED}"
            )
        self.note(f"follows {former}", f"follows {primary}")
        if not self.check_mode and (ahead := move(self.server, self.params, primary)):
            self.refuse_errant(ahead)

    def refuse_errant(self, found: list[str]) -> None:
        """Raise MariaDBError for transactions that the primary never had."""
        number = self.server.value("SELECT @@GLOBAL.server_id")
        what = self.remedy(1950) if all_of(found, number) else FOREIGN
        raise MariaDBError(
            f"this replica has transactions that the primary never had: {', '.join(found)}; {what}"
        )

    def repoint(self, status: dict[str, Any]) -> None:
        """Correct the settings of the connection; the position stays."""
        if str(status["Master_Host"]) != self.params["primary"]:
            self.follow_the_new(str(status["Master_Host"]))
            return
        have = connection_settings(status)
        want = wanted_settings(self.params["port"], self.params["ca"])
        changed = {name for name in want if have[name] != want[name]}
        password = stored_password(str(self.server.value("SELECT @@datadir")))
        if password is not None and password != self.params["password"]:
            changed.add("password")
        if not changed:
            return
        secret = {"password": "another"}
        self.note(
            f"connection: { ({name: have.get(name, 'this') for name in sorted(changed)}) }",
            f"connection: { ({name: {**want, **secret}[name] for name in sorted(changed)}) }",
        )
        if not self.check_mode and str(status["Slave_SQL_Running"]) == "Yes":
            # Else the relay logs would go with what is not applied.
            self.server.run("STOP SLAVE IO_THREAD")
            received.drain(self.server, self.params["timeout"])
        self.act("STOP SLAVE", change_statement(None, self.params), "START SLAVE")

    def start_stopped(self) -> None:
        """Start threads that stopped without an error. Raises MariaDBError for others."""
        found = self.look()
        if not found["configured"]:
            return
        stopped = [name for name in ("io", "sql") if found[name] == "No"]
        if not stopped:
            return
        for error in (found["sql_error"], found["io_error"]):
            if error[0] and not passing(error[0]):
                raise self.broken("replication has stopped", found, error)
        self.note(f"stopped: {', '.join(stopped)}", "both threads run")
        if not self.check_mode:
            received.start(self.server)

    def close_for_writes(self) -> None:
        """Make the replica read-only: a write on it would make its data differ."""
        if not int(self.server.value("SELECT @@GLOBAL.read_only")):
            self.note("open for writes", "read_only")
        if self.server.runs_events():
            self.note("events run", "events do not run")
        if not self.check_mode:
            close_for_writes(self.server)

    def acknowledge(self) -> None:
        """Have the primary told of what is received, where semi-sync replication is on.

        A replica offers that when its receiving thread connects.
        """
        wanted = int(self.server.value("SELECT @@GLOBAL.rpl_semi_sync_slave_enabled"))
        row = self.server.rows("SHOW GLOBAL STATUS LIKE 'Rpl_semi_sync_slave_status'")[0]
        if bool(wanted) != (row["Value"] == "ON"):
            words = ("not acknowledged", "acknowledged")
            self.note(f"transactions: {words[not wanted]}", f"transactions: {words[bool(wanted)]}")
            self.act("STOP SLAVE IO_THREAD", "START SLAVE IO_THREAD")

    def wait_until_following(self) -> dict[str, Any]:
        """Wait until both threads run and the heartbeat is fresh. Raises MariaDBError otherwise.

        While the heartbeat advances, the replica is catching up and gets the whole time; without a
        connection, or with a heartbeat that does not change, the wait ends sooner.
        """
        began = moved = time.monotonic()
        last_gtid = None
        while True:
            found = self.look()
            if not found["configured"]:
                raise MariaDBError("replication was reset during this check; run again")
            limit = float(self.params["heartbeat_max_age"])
            age = found["heartbeat_age"]
            running = found["io"] == "Yes" and found["sql"] == "Yes"
            if running and age is not None and abs(age) <= limit:
                return found
            now = time.monotonic()
            if found["gtid_slave_pos"] != last_gtid:
                last_gtid, moved = found["gtid_slave_pos"], now
            if found["sql_error"][0]:
                raise self.broken("replication stopped", found, found["sql_error"])
            number = found["io_error"][0]
            if found["io"] == "No" and number and not passing(number):
                raise self.broken("replication stopped", found, found["io_error"])
            if now - moved > 30 or now - began > self.params["timeout"]:
                what = (
                    self.remedy(number)
                    if number
                    else "the heartbeat does not arrive: check the primary's event_scheduler, and"
                    " the clocks of both hosts, which must agree"
                    if now - moved > 30
                    else "it is still catching up: run again later, or raise"
                    " mariadb_replica_catch_up_timeout"
                )
                raise MariaDBError(f"not replicating: {self.seen(found)}. {what}")
            time.sleep(0.5)

    def errant_transactions(self) -> list[str] | None:
        """Transactions here that the primary never had; None where it does not answer."""
        try:
            with probed(self.params["primary"], self.params) as primary:
                return received.strange(self.server, primary)
        except MariaDBError as error:
            if self.check_mode:
                return None
            raise MariaDBError(f"{error}: run site.yml on the primary, too") from error

    def finish_seed(self, state: dict[str, Any]) -> None:
        """Remove the replaced data, as the copy works, unless it shall be kept.

        Data that earlier reseeds replaced is removed by number and age.
        """
        if state.get("phase") != "seeded" or self.check_mode:
            return
        old = state.get("old")
        if old and not state.get("keep_old") and os.path.isdir(old):
            shutil.rmtree(old)
            if not os.listdir(os.path.dirname(old)):
                os.rmdir(os.path.dirname(old))
        write_json(self.params["state_file"], {**state, "phase": "done"})
        if old:
            tidy(things(os.path.dirname(old), REPLACED), self.params["keep"])

    def following(self) -> dict[str, Any]:
        """Bring the replica to state ``following``; returns its state."""
        state = self.seed_state()
        status = self.server.replica_status()
        if status is None:
            if state.get("phase") == "seeded":
                self.connect_seeded(state)
            elif self.check_mode and state.get("phase") != "done":
                self.note("follows no primary", f"follows {self.params['primary']}")
            else:
                raise MariaDBError(
                    "this replica follows no primary"
                    + (", although it was seeded before" if state else ", and was never seeded")
                    + f": {RESEED}"
                )
        else:
            self.repoint(status)
        self.close_for_writes()
        self.start_stopped()
        if self.check_mode:
            return self.look()
        found = self.wait_until_following()
        self.acknowledge()
        found["errant"] = self.errant_transactions()
        if found["errant"]:
            self.refuse_errant(found["errant"])
        self.finish_seed(state)
        return found

    def caught_up(self) -> dict[str, Any]:
        """Wait until the replica has reached a GTID; returns its state."""
        gtid, timeout = self.params["gtid"], self.params["timeout"]
        if self.check_mode or not gtid:
            return self.look()
        ends = time.monotonic() + timeout
        while True:
            left = ends - time.monotonic()
            reached = self.server.value("SELECT MASTER_GTID_WAIT(%s, %s)", (gtid, min(2.0, left)))
            found = self.look()
            if reached is not None and int(reached) == 0:
                return found
            if not found["configured"] or found["sql"] == "No":
                raise MariaDBError(
                    f"the replica cannot reach {gtid}: {self.seen(found)}. Repair replication"
                    " first: `./fleet apply` shows the error"
                )
            if ends - time.monotonic() <= 0:
                raise MariaDBError(
                    f"the replica did not reach {gtid} within {timeout} s: {self.seen(found)}."
                    " Run again later, or raise site_accounts_timeout"
                )


def bring(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Result of the module mariadb_replication. Raises MariaDBError."""
    with local() as server:
        replica = Replica(server, params, check_mode)
        found = replica.following() if params["state"] == "following" else replica.caught_up()
    return replica.result(replication=found, msg=replica.seen(found))
