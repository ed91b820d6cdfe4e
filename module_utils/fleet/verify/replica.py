"""Checks of a replica: what it receives, and what it refuses."""

from __future__ import annotations

import time
from typing import Any

from ..mariadb import texts
from ..mariadb.server import (
    EVER,
    LAST,
    Server,
    all_of,
    describe,
    errant,
    memory_tables,
    pymysql,
    remote,
)
from .host import Host, local
from .sites import site_connection

ROW_SECONDS = 1.0
HEARTBEAT_SECONDS = 5.0


def heartbeat_age(server: Server) -> float | None:
    """The age of the newest heartbeat on a server, in seconds; None without one."""
    age = server.value(
        "SELECT TIMESTAMPDIFF(MICROSECOND, MAX(at), NOW(6)) / 1000000 FROM benchfleet.heartbeat"
    )
    return None if age is None else float(age)


class ReplicaChecks(Host):
    """Checks of MariaDB on a reporting node."""

    def primary_probe(self) -> Any:
        """The primary as fleet_probe, over the LAN and TLS."""
        return remote(
            self.params["primary_ip"],
            self.ports["mariadb"],
            "fleet_probe",
            self.params["probe_password"],
            self.params["ca"],
        )

    def check_replication(self) -> None:
        """Read the threads, the heartbeat and read_only from the server."""
        with local() as server:
            status = server.replica_status()
            closed = int(server.value("SELECT @@GLOBAL.read_only"))
            events = str(server.value("SELECT @@GLOBAL.event_scheduler"))
            age = heartbeat_age(server)
        add = self.gathering.add
        saw = f"@@read_only = {closed}, @@event_scheduler = {events}"
        add("read_only", closed == 1 and events != "ON", saw)
        if status is None:
            add("threads", False, "this server is not a replica")
        else:
            threads = {name: str(status[f"Slave_{name}_Running"]) for name in ("IO", "SQL")}
            saw = ", ".join(f"{name} {state}" for name, state in threads.items())
            for name in threads:
                if int(status[f"Last_{name}_Errno"]):
                    saw += f"; {name}: {texts.error(status[f'Last_{name}_Error'])}"
            # The IO thread also stops where the primary cannot be reached.
            proved = threads["SQL"] != "Yes"
            add("threads", set(threads.values()) == {"Yes"}, saw, proved=proved)
        good = age is not None and abs(age) < HEARTBEAT_SECONDS
        add("heartbeat", good, "no heartbeat" if age is None else f"{age:.1f} s old")

    def check_row(self) -> None:
        """Write a row on the primary over the LAN, and measure when it is on this server."""
        mark = f"verify-{self.params['token']}-{self.params['lan_ip']}"[:64]
        with self.primary_probe() as primary, local() as server:
            try:
                primary.run("INSERT INTO benchfleet.probe (id) VALUES (%s)", (mark,))
                took = self.arrival(server, mark)
            finally:
                primary.run("DELETE FROM benchfleet.probe WHERE id = %s", (mark,))
        if took is None:
            self.gathering.add("row", False, "not there after 10 s")
        else:
            self.gathering.add("row", took <= ROW_SECONDS, f"there after {took * 1000:.0f} ms")

    @staticmethod
    def arrival(server: Server, mark: str) -> float | None:
        """Seconds until a row is here; None when it is not there after 10 s."""
        began = time.monotonic()
        while time.monotonic() - began < 10:
            if server.value("SELECT COUNT(*) FROM benchfleet.probe WHERE id = %s", (mark,)):
                return time.monotonic() - began
            time.sleep(0.005)
        return None

    def check_errant(self) -> None:
        """Compare the last GTIDs of this server with all of the primary's, this one's first."""
        with local() as server:
            own = server.value("SELECT @@GLOBAL.server_id")
            here = server.value(LAST)
        with self.primary_probe() as primary:
            there = primary.value(EVER)
        strange = errant(here, there)
        # With its own server id it is a write on this server; with another's, this server may have
        # what the primary has lost.
        self.gathering.add(
            "errant", not strange, ", ".join(strange) or "none", proved=all_of(strange, own)
        )

    def check_memory_tables(self) -> None:
        """Look for tables that a restart of this server empties, after which its data differs."""
        with local() as server:
            found = memory_tables(server)
        self.gathering.add(
            "memory_tables", not found, ", ".join(found) or "none", proved=bool(found)
        )

    def check_tls(self) -> None:
        """Try to sign in as repl without TLS, and look at how the replica connects."""
        with local() as server:
            status = server.replica_status() or {}
        checked = {
            name: str(status.get(name))
            for name in ("Master_SSL_Allowed", "Master_SSL_Verify_Server_Cert")
        }
        saw = ", ".join(f"{name} {value}" for name, value in checked.items())
        try:
            with site_connection(
                self.params["primary_ip"],
                self.ports["mariadb"],
                "repl",
                self.params["replication_password"],
                "",
            ):
                refused = False
        except pymysql.MySQLError as error:
            refused = error.args[0] == 1045
            saw += f"; without TLS: {describe(error)}"
        else:
            saw += "; repl can sign in at the primary without TLS"
        self.gathering.add("tls", refused and set(checked.values()) == {"Yes"}, saw)
