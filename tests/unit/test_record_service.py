"""The service of the record: real TLS between addresses of loopback, and a real MariaDB."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pymysql
import pytest
from fleet import record, record_service
from fleet.mariadb import primary
from fleet.mariadb.server import MariaDBError, Server, local
from fleet.record import Record
from fleet.record_service import Keeper, Listener, Place, ask, ask_all, client_context
from fleet.secrets.certificates import make_authority, make_certificate

from tests.mariadb import MariaDB, needs_mariadb

HOSTS = {"erp1": "127.0.0.1", "rep1": "127.0.0.2", "rep2": "127.0.0.3"}
OLD = Record("f1", 7, "erp1", "2026-11-30T10:00:00+00:00", HOSTS, True)
NEW = replace(OLD, epoch=8, primary="rep1")


@pytest.fixture(scope="session")
def authority() -> dict[str, str]:
    """The fleet's certificate authority."""
    return make_authority("f1")


class Fleet:
    """Hosts that show their records, each on an address of its own."""

    def __init__(self, folder: Path, authority: dict[str, str]) -> None:
        self.folder, self.authority = folder, authority
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.doors: dict[str, socket.socket] = {}

    def place(self, host: str, issuer: dict[str, str] | None = None, name: str = "") -> Place:
        """A host's place, with its certificate; name: another host's, for which that is."""
        tls, state = self.folder / host / "tls", self.folder / host / "state"
        if issuer or name or not tls.exists():
            for path in (tls, state):
                path.mkdir(parents=True, exist_ok=True)
            by = issuer or self.authority
            pair = make_certificate(by, name or host, HOSTS[name or host])
            (tls / "ca.crt").write_text(self.authority["certificate"])
            (tls / "server.crt").write_text(pair["certificate"])
            (tls / "server.key").write_text(pair["key"])
        run = str(self.folder / host / "run")
        return Place(host, HOSTS[host], self.port, str(tls), str(state), run, "")

    def serve(self, host: str, own: Record | None, **about: Any) -> None:
        """Have a host show a record."""
        place = self.place(host, **about)
        if own:
            own.write(place.state)
        if host not in self.doors:
            listener = Listener(place)
            self.doors[host] = listener.listen()
            threading.Thread(target=self.accept, args=(listener, host), daemon=True).start()

    def accept(self, listener: Listener, host: str) -> None:
        """Serve until the door is shut."""
        with contextlib.suppress(OSError):
            listener.accept(self.doors[host])

    def stop(self, host: str) -> None:
        """The host is down."""
        if door := self.doors.pop(host, None):
            door.shutdown(socket.SHUT_RDWR)
            door.close()

    def ask(self, host: str) -> Record:
        """What a host answers to erp1."""
        return ask(HOSTS[host], self.port, client_context(self.place("erp1").tls), 2)


@pytest.fixture
def hosts(tmp_path: Path, authority: dict[str, str]) -> Iterator[Fleet]:
    """Three hosts that do not run yet."""
    fleet = Fleet(tmp_path, authority)
    yield fleet
    for host in list(fleet.doors):
        fleet.stop(host)


def test_a_host_shows_its_record(hosts: Fleet) -> None:
    hosts.serve("rep1", OLD)
    assert hosts.ask("rep1") == OLD
    hosts.serve("rep1", NEW)
    assert hosts.ask("rep1") == NEW


def test_a_host_without_a_record_gives_none(hosts: Fleet) -> None:
    hosts.serve("rep1", None)
    with pytest.raises(ValueError, match="JSON"):
        hosts.ask("rep1")


def test_only_a_certificate_of_the_fleet_for_that_address_counts(hosts: Fleet) -> None:
    hosts.serve("rep1", OLD, issuer=make_authority("f1"))
    hosts.serve("rep2", OLD, name="rep1")
    for host in ("rep1", "rep2"):
        with pytest.raises(ssl.SSLCertVerificationError):
            hosts.ask(host)


def test_a_renewed_certificate_is_shown_at_once(hosts: Fleet) -> None:
    hosts.serve("rep1", OLD)

    def shown() -> bytes | None:
        context = client_context(hosts.place("erp1").tls)
        with (
            socket.create_connection((HOSTS["rep1"], hosts.port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname=HOSTS["rep1"]) as way,
        ):
            return way.getpeercert(binary_form=True)

    first = shown()
    hosts.place("rep1", issuer=hosts.authority)
    assert first != shown()


@pytest.mark.parametrize("answer", [b"", b"x" * 200_000, b"{}\n"])
def test_a_peer_that_says_something_else_is_bounded(hosts: Fleet, answer: bytes) -> None:
    place = hosts.place("rep1")
    context = record_service.server_context(place.tls)
    door = Listener(place).listen()

    def serve() -> None:
        with contextlib.suppress(OSError):
            plain, _ = door.accept()
            with context.wrap_socket(plain, server_side=True) as way:
                way.sendall(answer)
                time.sleep(3 if not answer else 0)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    began = time.monotonic()
    with door, pytest.raises((OSError, ValueError)):
        ask(place.address, place.port, client_context(place.tls), 0.5)
    assert time.monotonic() - began < 2
    thread.join(5)


def test_an_answer_that_is_too_long_is_none(hosts: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    hosts.serve("rep1", OLD)
    monkeypatch.setattr(record_service, "LONGEST", 50)
    with pytest.raises(TimeoutError):
        hosts.ask("rep1")


def test_clients_that_say_nothing_use_up_no_more_than_the_slots(
    hosts: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(record_service, "MOST_CLIENTS", 3)
    monkeypatch.setattr(record_service, "CLIENT_SECONDS", 2)
    hosts.serve("rep1", OLD)
    with contextlib.ExitStack() as silent:
        for _ in range(4):
            way = socket.create_connection((HOSTS["rep1"], hosts.port), timeout=1)
            silent.enter_context(way)
        # One too many is sent away, and there is room again once the others' time is up.
        assert way.recv(1) == b""
        assert until(lambda: hosts.ask("rep1"), 10) == OLD


def test_one_host_cannot_keep_the_others_out(hosts: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_service, "MOST_OF_ONE", 2)
    hosts.serve("rep1", OLD)
    with contextlib.ExitStack() as silent:
        for _ in range(3):
            there = (HOSTS["rep1"], hosts.port)
            way = socket.create_connection(there, 1, source_address=("127.0.0.9", 0))
            silent.enter_context(way)
        assert way.recv(1) == b""
        assert hosts.ask("rep1") == OLD


def until(question: Callable[[], Any], seconds: float = 20) -> Any:
    """The first answer that is not None; errors of the network count as none."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError, ValueError):
            if (found := question()) is not None:
                return found
        time.sleep(0.05)
    raise AssertionError("no answer in time")


@pytest.fixture
def database(installed: Path, tmp_path: Path) -> Iterator[MariaDB]:
    """A server that starts read-only, as each of the fleet does."""
    folder = tmp_path / "mariadb"
    folder.mkdir()
    server = MariaDB(installed, folder)
    with server.running("--no-defaults", "--read-only=1", "--log-bin", "--server-id=1"):
        yield server


class Watched:
    """A keeper of erp1 with a server, and what it finds at its looks."""

    def __init__(self, fleet: Fleet, server: MariaDB, own: Record = OLD) -> None:
        self.place = replace(fleet.place("erp1"), socket=server.socket)
        own.write(self.place.state)
        self.server = server
        self.keeper = Keeper(self.place)

    def look(self) -> dict[str, Any]:
        """One look."""
        return self.keeper.look()

    def silent_for(self, seconds: float) -> None:
        """Nobody has answered for so long."""
        self.keeper.answered_at = time.monotonic() - seconds

    def is_open(self) -> tuple[int, str]:
        """read_only and event_scheduler of the server, asked by another session."""
        with self.session() as way:
            return (
                int(way.value("SELECT @@read_only")),
                str(way.value("SELECT @@event_scheduler")),
            )

    @contextlib.contextmanager
    def session(self, user: str = "root", **about: Any) -> Iterator[Server]:
        """A session on the server."""
        about |= {"unix_socket": self.server.socket, "cursorclass": pymysql.cursors.DictCursor}
        with contextlib.closing(pymysql.connect(user=user, **about)) as connection:
            yield Server(connection)


OPEN, CLOSED = (0, "ON"), (1, "OFF")


@pytest.fixture
def watched(hosts: Fleet, database: MariaDB) -> Watched:
    """A primary after its boot, whose peers are down."""
    return Watched(hosts, database)


@needs_mariadb
def test_a_primary_opens_as_soon_as_a_majority_answers(hosts: Fleet, watched: Watched) -> None:
    found = watched.look()
    assert (found["open"], found["answered"], watched.is_open()) == (False, [], CLOSED)
    hosts.serve("rep1", OLD)
    found = watched.look()
    assert (found["open"], found["answered"], watched.is_open()) == (True, ["rep1"], OPEN)
    assert record.state(watched.place.run) == found
    assert (found["host"], found["primary"], found["epoch"]) == ("erp1", "erp1", 7)
    assert Path(watched.place.run, record.STATE).stat().st_mode & 0o777 == 0o644


@needs_mariadb
def test_the_router_is_told_for_some_seconds_that_the_server_is_closed(
    hosts: Fleet, watched: Watched
) -> None:
    mark = Path(watched.place.run, record.CLOSED)
    watched.look()
    assert 0 < float(mark.read_text()) - time.time() <= record.FRESH_SECONDS + 1
    hosts.serve("rep1", OLD)
    watched.look()
    assert not mark.exists()


@needs_mariadb
def test_silence_closes_nothing(hosts: Fleet, watched: Watched) -> None:
    hosts.serve("rep1", OLD)
    watched.look()
    hosts.stop("rep1")
    watched.silent_for(3600)
    assert watched.look()["open"]
    assert watched.is_open() == OPEN
    # A service that was started again finds it open, too.
    watched.keeper = Keeper(watched.place)
    assert watched.look()["open"]


@needs_mariadb
def test_a_higher_epoch_closes_an_open_primary_and_is_stored(
    hosts: Fleet, watched: Watched
) -> None:
    hosts.serve("rep1", OLD)
    watched.look()
    with watched.session() as root:
        root.run("CREATE DATABASE shop")
        root.run("CREATE TABLE shop.t (id INT PRIMARY KEY)")
        root.run("CREATE USER shop IDENTIFIED BY 'p'")
        root.run("GRANT ALL ON shop.* TO shop")
        with watched.session("shop", password="p", database="shop") as client:
            client.run("BEGIN")
            client.run("INSERT INTO t VALUES (1)")
            hosts.serve("rep2", NEW)
            found = watched.look()
            assert (found["open"], found["primary"], found["epoch"]) == (False, "rep1", 8)
            assert watched.is_open() == CLOSED
            assert Record.read(watched.place.state) == NEW
            with pytest.raises(pymysql.MySQLError):
                client.run("COMMIT")
        assert root.rows("SELECT * FROM shop.t") == []
        # Whoever comes again is refused.
        with (
            watched.session("shop", password="p", database="shop") as client,
            pytest.raises(pymysql.MySQLError),
        ):
            client.run("INSERT INTO t VALUES (2)")


@needs_mariadb
def test_a_higher_epoch_that_cannot_be_stored_closes_it_nevertheless(
    hosts: Fleet, watched: Watched
) -> None:
    hosts.serve("rep1", OLD)
    watched.look()
    # As on a disk that is full, the file cannot be made.
    Path(watched.place.state, record.LOCK).mkdir()
    hosts.serve("rep2", NEW)
    found = watched.look()
    assert (found["open"], watched.is_open()) == (False, CLOSED)
    assert record.LOCK in found["why"]


@needs_mariadb
def test_a_statement_that_writes_for_long_does_not_keep_it_open(
    hosts: Fleet, watched: Watched
) -> None:
    hosts.serve("rep1", OLD)
    watched.look()
    with watched.session() as root:
        root.run("CREATE DATABASE shop")
        root.run("CREATE TABLE shop.t (id INT, s INT)")
        root.run("CREATE USER shop IDENTIFIED BY 'p'")
        root.run("GRANT ALL ON shop.* TO shop")
    failed: list[Exception] = []

    def write() -> None:
        try:
            with watched.session("shop", password="p", database="shop") as client:
                client.run("INSERT INTO t SELECT 1, SLEEP(60)")
        except pymysql.MySQLError as error:
            failed.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    with watched.session() as root:
        until(
            lambda: root.value(
                "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE 'INSERT%'"
            )
        )
    hosts.serve("rep2", NEW)
    began = time.monotonic()
    assert not watched.look()["open"]
    writer.join(20)
    assert time.monotonic() - began < 10
    assert failed


@needs_mariadb
def test_two_records_of_one_epoch_close_it(hosts: Fleet, watched: Watched) -> None:
    hosts.serve("rep1", OLD)
    watched.look()
    hosts.serve("rep2", replace(OLD, primary="rep2"))
    assert not watched.look()["open"]
    assert watched.is_open() == CLOSED
    assert Record.read(watched.place.state) == OLD


@needs_mariadb
def test_one_of_two_hosts_opens_alone_and_says_so(hosts: Fleet, database: MariaDB) -> None:
    pair = {name: HOSTS[name] for name in ("erp1", "rep1")}
    watched = Watched(hosts, database, replace(OLD, hosts=pair))
    assert not watched.look()["open"]
    watched.silent_for(record.ALONE_SECONDS + 1)
    found = watched.look()
    assert (found["open"], found["alone"], watched.is_open()) == (True, True, OPEN)
    watched.keeper = Keeper(watched.place)
    assert watched.look()["alone"]
    hosts.serve("rep1", replace(OLD, hosts=pair))
    found = watched.look()
    assert (found["open"], found["alone"]) == (True, False)
    # It was open before the other one fell silent.
    hosts.stop("rep1")
    watched.silent_for(record.ALONE_SECONDS + 1)
    found = watched.look()
    assert (found["open"], found["alone"]) == (True, False)


@needs_mariadb
def test_a_node_is_closed_and_learns_of_a_newer_record(hosts: Fleet, database: MariaDB) -> None:
    watched = Watched(hosts, database, replace(OLD, primary="rep2"))
    with watched.session() as root:
        root.run("SET GLOBAL read_only = 0")
        root.run("SET GLOBAL event_scheduler = 1")
    found = watched.look()
    assert (found["open"], found["primary"], watched.is_open()) == (False, "rep2", CLOSED)
    hosts.serve("rep1", NEW)
    epochs = [watched.look()["epoch"] for _ in range(record_service.SELDOM)]
    assert epochs[-1] == 8
    assert Record.read(watched.place.state) == NEW


@needs_mariadb
def test_a_switch_that_closes_the_primary_keeps_it_closed_until_its_lock_runs_out(
    hosts: Fleet, watched: Watched
) -> None:
    hosts.serve("rep1", OLD)
    Path(watched.place.run).mkdir()
    lock = Path(watched.place.run, record.CLOSING)
    lock.write_text(json.dumps({"until": time.time() + 60}))
    assert not watched.look()["open"]
    lock.write_text(json.dumps({"until": time.time() - 1}))
    assert watched.look()["open"]
    # It closes nothing by itself.
    lock.write_text(json.dumps({"until": time.time() + 60}))
    assert watched.look()["open"]


@needs_mariadb
def test_a_server_that_follows_another_one_is_not_opened(hosts: Fleet, watched: Watched) -> None:
    hosts.serve("rep1", OLD)
    with watched.session() as root:
        root.run("CHANGE MASTER TO MASTER_HOST='10.0.0.9', MASTER_USER='repl'")
        found = watched.look()
        assert not found["open"]
        assert "10.0.0.9" in found["why"]
        root.run("RESET SLAVE ALL")
    assert watched.look()["open"]


@needs_mariadb
def test_a_promotion_that_is_stored_while_the_others_are_asked_counts(
    hosts: Fleet, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    hosts.serve("rep1", OLD)

    def asked(*about: Any) -> dict[str, Record]:
        answers = ask_all(*about)
        NEW.write(watched.place.state)
        return answers

    monkeypatch.setattr(record_service, "ask_all", asked)
    assert not watched.look()["open"]
    assert watched.is_open() == CLOSED


@needs_mariadb
def test_a_promoted_host_opens_once_a_majority_has_its_record(
    hosts: Fleet, database: MariaDB
) -> None:
    new = replace(OLD, epoch=8)
    before = replace(OLD, primary="rep1")
    hosts.serve("rep1", before)
    hosts.serve("rep2", before)
    watched = Watched(hosts, database, new)
    assert not watched.look()["open"]
    hosts.serve("rep2", new)
    assert watched.look()["open"]


@needs_mariadb
def test_a_server_that_is_down_is_not_open_and_opens_after_its_restart(
    hosts: Fleet, watched: Watched
) -> None:
    hosts.serve("rep1", OLD)
    assert watched.look()["open"]
    watched.server.stop()
    assert not watched.look()["open"]
    watched.server.start("--no-defaults", "--read-only=1", "--log-bin", "--server-id=1")
    assert watched.look()["open"]


@needs_mariadb
def test_a_record_that_cannot_be_read_changes_nothing(hosts: Fleet, watched: Watched) -> None:
    hosts.serve("rep1", OLD)
    watched.look()
    Path(watched.place.state, record.FILE).write_text("")
    found = watched.look()
    # So that nobody takes it for closed, and the users' address off.
    assert (found["primary"], found["open"]) == ("", None)
    assert watched.is_open() == OPEN
    Path(watched.place.state, record.FILE).unlink()
    watched.look()
    assert watched.is_open() == OPEN


def test_each_change_is_said_once(
    hosts: Fleet, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a host that has no MariaDB yet."""
    monkeypatch.setattr(record_service, "local", nothing)
    place = hosts.place("erp1")
    OLD.write(place.state)
    keeper = Keeper(place)
    first = keeper.look()
    assert keeper.look()["since"] == first["since"]
    assert len(capsys.readouterr().out.splitlines()) == 1
    NEW.write(place.state)
    assert keeper.look()["since"] > first["since"]
    assert len(capsys.readouterr().out.splitlines()) == 1


def nothing(*_socket: str, seconds: int) -> Any:
    """No server is installed."""
    raise record_service.ServerAbsentError


def test_the_service_looks_at_once_when_it_is_woken(
    hosts: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a process: it serves, writes its state, and takes SIGHUP."""
    place = hosts.place("rep1")
    OLD.write(place.state)
    run = hosts.folder / "rep1/run"
    pid = os.fork()
    if pid == 0:
        try:
            record_service.LOOK_SECONDS = 3600
            record_service.serve(replace(place, socket=str(hosts.folder / "none")))
        finally:
            os._exit(1)
    try:
        until(lambda: record.state(str(run)) or None)
        assert until(lambda: hosts.ask("rep1")) == OLD
        NEW.write(place.state)
        os.kill(pid, 1)
        assert until(lambda: record.state(str(run))["epoch"] == 8 or None)
        assert hosts.ask("rep1") == NEW
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)


@needs_mariadb
def test_a_run_waits_until_the_primary_is_open(
    hosts: Fleet, watched: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(primary, "local", partial(local, watched.server.socket))
    waits = partial(record.wait, folder=watched.place.run)
    monkeypatch.setattr(primary.record, "wait", lambda seconds: waits(seconds))
    with pytest.raises(MariaDBError, match=record.UNIT):
        primary.open_for_writes(0.1, check_mode=False)
    # A service in another thread, as it cannot be kicked here.
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(0.1):
            watched.look()

    keeper = threading.Thread(target=keep)
    keeper.start()
    try:
        with pytest.raises(MariaDBError, match="rep1, rep2"):
            primary.open_for_writes(1, check_mode=False)
        assert primary.open_for_writes(1, check_mode=True)["changed"]
        hosts.serve("rep1", OLD)
        found = primary.open_for_writes(10, check_mode=False)
        assert found["root_takes_password"] is False
        assert watched.is_open() == OPEN
        assert not primary.open_for_writes(10, check_mode=False)["changed"]
    finally:
        ended.set()
        keeper.join(20)
