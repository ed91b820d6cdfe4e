"""What a replica has received survives its restart while the primary is dead: real servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fleet.mariadb import received
from fleet.mariadb.moving import change_statement
from fleet.mariadb.server import MariaDBError, Server
from fleet.secrets import certificates

from tests.mariadb import ACCOUNTS, Member, needs_mariadb, wait_until

SAVES = 30


@pytest.mark.parametrize(
    ("positions", "highest"),
    [
        (["0-1-5", "0-2-6"], "0-2-6"),
        (["0-2-6", "0-1-5,1-1-3"], "0-2-6,1-1-3"),
        ([None, ""], ""),
    ],
)
def test_of_positions_the_highest_counts(positions: list[str | None], highest: str) -> None:
    assert received.highest(*positions) == highest


@pytest.mark.parametrize(
    ("position", "wanted", "reached"),
    [
        ("0-1-5", "0-1-5", True),
        ("0-2-6", "0-1-5", True),
        ("0-1-4", "0-1-5", False),
        ("0-1-9", "0-1-5,1-1-1", False),
        ("", "", True),
        (None, "0-1-1", False),
    ],
)
def test_a_position_is_reached_in_each_domain(
    position: str | None, wanted: str, reached: bool
) -> None:
    assert received.reaches(position, wanted) is reached


class Pair:
    """A primary, and a replica that has received transactions and not applied them."""

    def __init__(self, installed: Path, folder: Path) -> None:
        authority = certificates.make_authority("f")
        for name in ("primary", "replica"):
            (folder / name).mkdir()
        self.primary = Member(installed, folder / "primary", 21, authority)
        self.replica = Member(installed, folder / "replica", 22, authority)
        self.primary.up()
        # Transactions then span two relay logs.
        self.replica.up("--max-relay-log-size=8192")
        self.primary.run("SET GLOBAL read_only = 0", *ACCOUNTS)
        self.replica.run(
            change_statement(self.primary.address, self.replica.connection()), "START SLAVE"
        )
        self.arrived(self.replica)

    def arrived(self, member: Member) -> None:
        """Wait until a member has applied what the primary has."""
        gtid = self.primary.value("SELECT @@gtid_binlog_pos")
        assert member.value(f"SELECT MASTER_GTID_WAIT('{gtid}', 30)") == 0

    def save(self, *numbers: int) -> None:
        """One transaction of several rows for each number."""
        self.primary.run(
            *(
                f"INSERT INTO erp.save VALUES ({n}, REPEAT('a', 900)), ({-n}, REPEAT('b', 900))"
                for n in numbers
            )
        )

    def receive(self) -> str:
        """Have the replica receive transactions, but apply none; then the primary dies."""
        self.replica.run("STOP SLAVE SQL_THREAD")
        self.save(*range(1, SAVES + 1))
        gtid = str(self.primary.value("SELECT @@gtid_binlog_pos"))
        wait_until("received", lambda: self.replica.status()["Gtid_IO_Pos"] == gtid)
        self.primary.kill()
        return gtid

    def rows(self) -> int:
        """How many rows the replica has."""
        return int(self.replica.value("SELECT COUNT(*) FROM erp.save"))

    def server(self) -> Server:
        return self.replica.server()


@pytest.fixture
def pair(installed: Path, tmp_path: Path) -> Iterator[Pair]:
    made: list[Pair] = []
    try:
        made.append(Pair(installed, tmp_path))
        yield made[0]
    finally:
        for one in made:
            one.primary.stop()
            one.replica.stop()


@needs_mariadb
@pytest.mark.parametrize("how", ["stop", "kill"])
def test_a_restart_loses_nothing_while_the_primary_is_dead(pair: Pair, how: str) -> None:
    gtid = pair.receive()
    getattr(pair.replica, how)()
    pair.replica.up()
    server = pair.server()
    status = received.status_of(server)
    assert received.rests(status)
    assert status["Gtid_IO_Pos"] == ""
    assert received.received(server, status) == gtid
    assert pair.rows() == 0
    received.start(server)
    assert pair.rows() == 2 * SAVES
    assert server.value("SELECT @@gtid_slave_pos") == gtid
    assert server.value("SELECT @@gtid_binlog_pos") == gtid
    # The primary comes back, and nothing is applied twice.
    pair.primary.up()
    pair.primary.run("SET GLOBAL read_only = 0")
    pair.save(SAVES + 1)
    pair.arrived(pair.replica)
    assert pair.rows() == 2 * SAVES + 2


@needs_mariadb
def test_a_server_that_starts_its_threads_by_itself_has_lost_it(pair: Pair) -> None:
    """The reason for skip_slave_start."""
    pair.receive()
    pair.replica.stop()
    pair.replica.up("--skip-slave-start=0")
    wait_until("started", lambda: pair.replica.status()["Slave_SQL_Running"] == "Yes")
    assert received.drain(pair.server(), 30) == pair.replica.value("SELECT @@gtid_slave_pos")
    assert pair.rows() == 0


@needs_mariadb
def test_a_primary_that_answers_sends_it_again(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    gtid = pair.receive()
    pair.replica.stop()
    pair.primary.up()
    pair.replica.up()
    monkeypatch.setattr(received, "apply", lambda server: pytest.fail("applied by the client"))
    received.start(pair.server())
    pair.arrived(pair.replica)
    assert pair.rows() == 2 * SAVES
    assert pair.replica.value("SELECT @@gtid_slave_pos") == gtid


@needs_mariadb
@pytest.mark.parametrize("stopped", ["SQL_THREAD", ""])
def test_a_dead_primarys_replica_is_drained(pair: Pair, stopped: str) -> None:
    gtid = pair.receive()
    pair.replica.run(f"STOP SLAVE {stopped}")
    server = pair.server()
    assert not received.reaches(server.value("SELECT @@gtid_slave_pos"), gtid)
    assert received.drain(server, 30) == gtid
    assert pair.rows() == 2 * SAVES
    # Again: nothing is left.
    assert received.drain(server, 30) == gtid


@needs_mariadb
def test_draining_ends_with_the_error_of_the_thread(pair: Pair) -> None:
    pair.replica.run("INSERT INTO erp.save VALUES (1, 'own')")
    pair.receive()
    with pytest.raises(MariaDBError, match="0-22-"):
        received.drain(pair.server(), 30)
    pair.replica.run("STOP SLAVE")
    with pytest.raises(MariaDBError, match="0-22-"):
        received.drain(pair.server(), 30)


@needs_mariadb
def test_applying_goes_on_where_it_was_cut_off(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    gtid = pair.receive()
    pair.replica.run("STOP SLAVE")
    whole = received.relay_logs
    monkeypatch.setattr(received, "relay_logs", lambda server: whole(server)[:-2])
    run = Server.run
    monkeypatch.setattr(Server, "run", lambda *_: (_ for _ in ()).throw(MariaDBError("killed")))
    with pytest.raises(MariaDBError, match="killed"):
        received.apply(pair.server())
    monkeypatch.setattr(Server, "run", run)
    monkeypatch.setattr(received, "relay_logs", whole)
    assert 0 < pair.rows() < 2 * SAVES
    assert received.apply(pair.server()) == gtid
    assert pair.rows() == 2 * SAVES


@needs_mariadb
@pytest.mark.parametrize("cut", [5, 200])
def test_an_incomplete_end_of_the_relay_log_is_left_out(pair: Pair, cut: int) -> None:
    pair.receive()
    pair.replica.kill()
    pair.replica.up()
    server = pair.server()
    *_, last, _ = received.relay_logs(server)
    content = Path(last).read_bytes()
    Path(last).write_bytes(content[:-cut])
    expected = received.last_of(received.relay_logs(server))
    received.start(server)
    assert server.value("SELECT @@gtid_slave_pos") == expected
    assert pair.rows() == 2 * (SAVES - 1)


@needs_mariadb
def test_a_damage_with_transactions_behind_it_is_not_passed_over(pair: Pair) -> None:
    pair.receive()
    pair.replica.kill()
    pair.replica.up()
    server = pair.server()
    files = received.relay_logs(server)
    Path(files[1]).write_bytes(Path(files[1]).read_bytes()[:-200])
    before = [Path(file).read_bytes() for file in files]
    with pytest.raises(MariaDBError):
        received.start(server)
    assert received.rests(received.status_of(server))
    assert [Path(file).read_bytes() for file in files] == before


@needs_mariadb
def test_only_one_applies(pair: Pair) -> None:
    pair.receive()
    pair.replica.run("STOP SLAVE")
    first, second = pair.server(), pair.server()
    with received.alone(first, 0), pytest.raises(MariaDBError):
        received.start(second)
    assert received.rests(received.status_of(second))
