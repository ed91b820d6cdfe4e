"""The service that shows a host's record to the others, and opens or closes its MariaDB by it."""

from __future__ import annotations

import ipaddress
import json
import signal
import socket
import ssl
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import atomic, record
from .mariadb.server import MariaDBError, ServerAbsentError, local, pymysql
from .record import Record, RecordError, Verdict, decide

# Seconds between two looks, and for one peer's answer.
LOOK_SECONDS, ASK_SECONDS = 2.0, 2.0
# A host that is not the primary asks the others at every so many looks, to learn of a newer record.
SELDOM = 5
# Connections at a time, of all and of one address, seconds for each, and bytes of an answer.
MOST_CLIENTS, MOST_OF_ONE, CLIENT_SECONDS, LONGEST = 32, 8, 5.0, 64 * 1024
# Seconds for an answer of this host's MariaDB, and for one try to close it.
ANSWER_SECONDS, CLOSE_SECONDS = 5, 1
CLOSE_TRIES = 10

# Sessions that a closed server does not keep: not root's, and not those of replication.
CLIENTS = (
    "SELECT ID AS id FROM information_schema.PROCESSLIST WHERE ID <> CONNECTION_ID()"
    " AND USER NOT IN ('root', 'system user', 'event_scheduler')"
    " AND COMMAND NOT IN ('Binlog Dump', 'Daemon', 'Killed')"
)


@dataclass(frozen=True)
class Place:
    """Where a host's service listens, and where its files are.

    tls: the folder of ca.crt, server.crt and server.key. state: the fleet's state folder. run: that
    of what a reboot removes. socket: MariaDB's, by default the system's.
    """

    host: str
    address: str
    port: int
    tls: str
    state: str
    run: str = record.FOLDER
    socket: str = ""


def client_context(tls: str) -> ssl.SSLContext:
    """How a peer is called: its certificate is of the fleet, and names its address."""
    context = ssl.create_default_context(cafile=f"{tls}/ca.crt")
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def server_context(tls: str) -> ssl.SSLContext:
    """How this host is shown; read for each connection, as certificates are renewed."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(f"{tls}/server.crt", f"{tls}/server.key")
    return context


def ask(address: str, port: int, context: ssl.SSLContext, seconds: float) -> Record:
    """The record of another host. Raises OSError, ValueError where it gives none in time."""
    until = time.monotonic() + seconds

    def left() -> float:
        return max(0.001, until - time.monotonic())

    answer = b""
    with socket.create_connection((address, port), timeout=seconds) as plain:
        plain.settimeout(left())
        with context.wrap_socket(plain, server_hostname=address) as way:
            while not answer.endswith(b"\n"):
                if time.monotonic() > until or len(answer) > LONGEST:
                    raise TimeoutError(f"no whole record in {seconds:g} s or {LONGEST} bytes")
                way.settimeout(left())
                if not (part := way.recv(LONGEST)):
                    break
                answer += part
    return Record.of(json.loads(answer))


def ask_all(own: Record, place: Place, pool: ThreadPoolExecutor) -> dict[str, Record]:
    """The records of the peers that answer, by name. Raises OSError without a CA's certificate."""
    context = client_context(place.tls)

    def answer(peer: tuple[str, str]) -> Record | None:
        try:
            return ask(peer[1], place.port, context, ASK_SECONDS)
        except (OSError, ValueError):
            return None

    peers = [peer for peer in own.hosts.items() if peer[0] != place.host]
    found = zip(peers, pool.map(answer, peers), strict=True)
    return {name: there for (name, _), there in found if there is not None}


class Listener:
    """Shows the record of this host to each client that connects: a line of JSON over TLS."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.callers: Counter[str] = Counter()
        self.lock = threading.Lock()
        self.fault = ""

    def listen(self) -> socket.socket:
        """The socket. Raises OSError while this host does not have the address yet."""
        address = self.place.address
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
        return socket.create_server((address, self.place.port), family=family, backlog=64)

    def serve(self) -> None:
        """Serve for ever; tries again where it cannot listen, as before the network is up."""
        while True:
            try:
                with self.listen() as door:
                    self.say("")
                    self.accept(door)
            except OSError as error:
                self.say(f"cannot listen on {self.place.address} port {self.place.port}: {error}")
                time.sleep(LOOK_SECONDS)

    def accept(self, door: socket.socket) -> None:
        """Take connections; one too many is closed at once."""
        while True:
            plain, (caller, *_) = door.accept()
            if not self.admits(caller):
                plain.close()
                continue
            threading.Thread(target=self.answer, args=(plain, caller), daemon=True).start()

    def admits(self, caller: str) -> bool:
        """Count a connection, unless there are too many: no host keeps the others out."""
        with self.lock:
            free = self.callers[caller] < MOST_OF_ONE and self.callers.total() < MOST_CLIENTS
            self.callers[caller] += free
        return free

    def answer(self, plain: socket.socket, caller: str) -> None:
        """Send the record to a client."""
        try:
            with plain:
                plain.settimeout(CLIENT_SECONDS)
                with server_context(self.place.tls).wrap_socket(plain, server_side=True) as way:
                    own = Record.read(self.place.state)
                    way.sendall(own.line().encode() if own else b"null\n")
        except (OSError, RecordError):
            # The client counts it as no answer.
            pass
        finally:
            with self.lock:
                self.callers[caller] -= 1
                self.callers += Counter()

    def say(self, fault: str) -> None:
        """Write a fault into the journal, once."""
        if fault not in ("", self.fault):
            print(f"benchfleet: {fault}", flush=True)
        self.fault = fault


class Keeper:
    """Looks at the records, opens or closes this host's MariaDB, and writes down its state."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.pool = ThreadPoolExecutor(16)
        self.looks = 0
        self.answers: dict[str, Record] = {}
        self.answered_at = time.monotonic()
        self.said: tuple[Any, ...] = ()
        self.since = time.time()
        # Whether MariaDB was opened without an answer from the other of two hosts.
        self.alone = bool(record.state(place.run).get("alone"))

    def look(self) -> dict[str, Any]:
        """One look; returns the state, see record.state."""
        began = time.time()
        is_open = None
        own = None
        try:
            own = Record.read(self.place.state)
            if own is None:
                verdict = Verdict(None, "this host has no record yet")
            else:
                own, verdict = self.judge(own)
            is_open, why = self.act(verdict, own)
        except (RecordError, MariaDBError, OSError) as error:
            why = str(error)
        except pymysql.MySQLError as error:
            why = f"MariaDB refused a statement: {error}"
        self.looks += 1
        self.alone = is_open is not False and self.alone
        return self.note(
            {
                "host": self.place.host,
                "primary": own.primary if own else "",
                "epoch": own.epoch if own else 0,
                "open": is_open,
                "why": f"{why}; opened alone" if self.alone else why,
                "since": self.since,
                "answered": sorted(self.answers),
                "alone": self.alone,
                "checked": began,
            }
        )

    def judge(self, own: Record) -> tuple[Record, Verdict]:
        """The verdict by the records of all; a newer one becomes that of this host first."""
        host = self.place.host
        if own.primary == host or self.looks % SELDOM == 0:
            self.answers = ask_all(own, self.place, self.pool)
            if self.answers:
                self.answered_at = time.monotonic()
        alone = time.monotonic() - self.answered_at
        verdict = decide(own, host, self.answers, alone)
        if verdict.newer is None:
            return own, verdict
        # Not over one that a promotion has stored meanwhile.
        newer = verdict.newer
        try:
            _, stored = record.update(self.place.state, lambda there: record.newest(there, newer))
        except OSError as error:
            # The disk may be full: that keeps no server open.
            why = f"{verdict.why}; that cannot be stored: {error}"
            return own, Verdict(verdict.open, why)
        own = stored or newer
        return own, decide(own, host, self.answers, alone)

    def act(self, verdict: Verdict, own: Record | None) -> tuple[bool, str]:
        """Open or close MariaDB as the verdict wants; returns whether it is open, and why.

        own: the record that the verdict is about.
        """
        way = (self.place.socket,) if self.place.socket else ()
        try:
            with local(*way, seconds=ANSWER_SECONDS) as server:
                closed = bool(int(server.value("SELECT @@GLOBAL.read_only")))
                if verdict.open and not verdict.alone:
                    self.alone = False
                # The lock is read after the server: who closes it has written the lock before.
                if verdict.open and (closed or not server.runs_events()):
                    if record.is_closing(self.place.run):
                        return not closed, "a switch is under way"
                    if found := server.rows("SHOW ALL SLAVES STATUS"):
                        return not closed, f"MariaDB follows {found[0]['Master_Host']}"
                    # The others were asked for seconds.
                    if Record.read(self.place.state) != own:
                        return not closed, "this host's record has just changed"
                    server.run("SET GLOBAL read_only = 0")
                    server.run("SET GLOBAL event_scheduler = 1")
                    self.alone = verdict.alone
                    return True, verdict.why
                if verdict.open is False and not closed:
                    close(server)
                    return False, verdict.why
                return not closed, verdict.why
        except ServerAbsentError:
            return False, verdict.why

    def note(self, found: dict[str, Any]) -> dict[str, Any]:
        """Write the state into its file, and each change of it into the journal.

        The router's mark comes first: who sees that MariaDB is open lets users in.
        """
        said = tuple(found[name] for name in ("open", "why", "primary", "epoch"))
        if said != self.said:
            self.said, self.since = said, time.time()
            word = {True: "open", False: "closed", None: "not known"}[found["open"]]
            print(f"benchfleet: {word}: {found['why']}", flush=True)
        found["since"] = self.since
        with suppress(FileExistsError):
            Path(self.place.run).mkdir(mode=0o755)
        mark = Path(self.place.run, record.CLOSED)
        if found["open"] is False:
            until = round(time.time() + record.FRESH_SECONDS)
            atomic.write(mark, f"{until}\n", mode=0o644, durable=False)
        else:
            mark.unlink(missing_ok=True)
        path = Path(self.place.run, record.STATE)
        atomic.write(path, json.dumps(found) + "\n", mode=0o644, durable=False)
        return found

    def keep(self, wake: threading.Event) -> None:
        """Look for ever: every LOOK_SECONDS, and at once when woken."""
        while True:
            self.look()
            wake.wait(LOOK_SECONDS)
            wake.clear()


def close(server: Any) -> None:
    """Close a server for writes and end its clients. Raises pymysql.MySQLError.

    What writes is ended first: read_only waits for statements that write.
    """
    server.run("SET GLOBAL event_scheduler = 0")
    server.run("SET SESSION lock_wait_timeout = %s", (CLOSE_SECONDS,))
    for tries in range(CLOSE_TRIES):
        end_clients(server)
        try:
            server.run("SET GLOBAL read_only = 1")
            break
        except pymysql.MySQLError:
            if tries == CLOSE_TRIES - 1:
                raise
    end_clients(server)


def end_clients(server: Any) -> None:
    """End the sessions of clients."""
    for row in server.rows(CLIENTS):
        # It may have ended by itself.
        with suppress(pymysql.MySQLError):
            server.run("KILL CONNECTION %s", (row["id"],))


def serve(place: Place) -> None:
    """Run the service."""
    wake = threading.Event()
    signal.signal(signal.SIGHUP, lambda *_: wake.set())
    threading.Thread(target=Listener(place).serve, daemon=True).start()
    Keeper(place).keep(wake)
