"""The steps of a change of primary, on three real servers."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pymysql
import pytest
from fleet import record
from fleet.mariadb import ahead
from fleet.mariadb.moving import change_statement
from fleet.mariadb.replica import Replica
from fleet.mariadb.server import MariaDBError
from fleet.mariadb.switch import Switch
from fleet.secrets import certificates

from tests.mariadb import ACCOUNTS, PORT, Member, needs_mariadb, wait_until


class Three:
    """A primary p and its replicas n and r, each with the folders of a host."""

    def __init__(self, installed: Path, folder: Path) -> None:
        authority = certificates.make_authority("f")
        self.folder = folder
        self.members: dict[str, Member] = {}
        for number, name in enumerate("pnr", 31):
            (folder / name / "state").mkdir(parents=True)
            self.members[name] = Member(installed, folder / name, number, authority)
        self.p, self.n, self.r = self.members.values()
        for member in self.members.values():
            member.up()
        self.p.run("SET GLOBAL read_only = 0", *ACCOUNTS)
        for member in (self.n, self.r):
            member.run(change_statement(self.p.address, member.connection()), "START SLAVE")
            self.arrived(member, self.p)

    def switch(self, name: str, **params: Any) -> Switch:
        """The steps on one server."""
        member = self.members[name]
        state = member.folder / "state"
        every = {
            **member.connection(),
            "seconds": 60,
            "timeout": 20,
            "wait_open": True,
            "gtid": "",
            "fleet_id": "f",
            "state_file": f"{state}/mariadb-seed.json",
            "state_dir": f"{state}",
            **params,
        }
        return Switch(member.server(), every, run_dir=f"{member.folder}/run")

    def arrived(self, member: Member, source: Member) -> None:
        """Wait until a server has applied what another one has."""
        gtid = source.value("SELECT @@gtid_binlog_pos")
        wait_until(f"{gtid} applied", lambda: gtid == member.value("SELECT @@gtid_slave_pos"))

    def rows(self, name: str) -> int:
        """How many saves a server has."""
        return int(self.members[name].value("SELECT COUNT(*) FROM erp.save"))


@pytest.fixture
def three(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Three]:
    found: list[Three] = []

    def wait(seconds: float, folder: str) -> dict[str, Any]:
        """In place of the service: opens the server, unless a switch has it closed."""
        name = Path(folder).parent.name
        if not record.is_closing(folder) and not found[0].members[name].status():
            found[0].members[name].run("SET GLOBAL read_only = 0", "SET GLOBAL event_scheduler = 1")
        return {"open": True, "why": "of the test"}

    monkeypatch.setattr(record, "wait", wait)
    try:
        found.append(Three(installed, tmp_path))
        yield found[0]
    finally:
        for one in found:
            for member in one.members.values():
                member.stop()


class Writer:
    """Saves numbers on whichever server is open, until stopped; ``done`` are those acknowledged."""

    def __init__(self, members: list[Member]) -> None:
        self.members, self.done, self.going = members, [0], True
        self.thread = threading.Thread(target=self.write, daemon=True)
        self.thread.start()

    def write(self) -> None:
        way: dict[str, Any] = {"user": "erp", "password": "e", "autocommit": True}
        while self.going:
            for member in self.members:
                with (
                    suppress(pymysql.MySQLError),
                    pymysql.connect(host=member.address, port=PORT, **way) as connection,
                    connection.cursor() as cursor,
                ):
                    while self.going:
                        number = self.done[-1] + 1
                        cursor.execute("REPLACE INTO erp.save VALUES (%s, 'x')", (number,))
                        self.done.append(number)
            time.sleep(0.01)

    def stop(self) -> list[int]:
        """The numbers of the saves that were acknowledged."""
        self.going = False
        self.thread.join()
        return self.done[1:]


@needs_mariadb
def test_a_planned_switch_loses_nothing_and_all_follow(three: Three) -> None:
    three.p.run(
        "CREATE EVENT benchfleet.heartbeat ON SCHEDULE EVERY 1 SECOND DO"
        " REPLACE INTO benchfleet.heartbeat VALUES (1, NOW(6), @@GLOBAL.server_id)"
    )
    writer = Writer([three.p, three.n])
    wait_until("saves", lambda: len(writer.done) > 50)
    began = time.monotonic()
    gtid = three.switch("p").close()["gtid"]
    # Again: nothing changes.
    assert not (again := three.switch("p").close())["changed"]
    assert again["gtid"] == gtid
    assert three.switch("n", gtid=gtid).reach()["gtid"] == gtid
    assert three.switch("p", gtid=gtid).closed()["gtid"] == gtid
    # What came by replication would not run on its own.
    assert three.n.value("SELECT STATUS FROM information_schema.EVENTS") == "SLAVESIDE_DISABLED"
    assert three.switch("n").promote()["changed"]
    paused = time.monotonic() - began
    assert three.n.value("SELECT STATUS FROM information_schema.EVENTS") == "ENABLED"
    before = len(writer.done)
    wait_until("saves again", lambda: len(writer.done) > before + 50)
    for name in "rp":
        assert three.switch(name, primary=three.n.address).follow()["ahead"] == []
        again = three.switch(name, primary=three.n.address).follow()
        assert not again["changed"]
        seed = json.loads((three.folder / name / "state/mariadb-seed.json").read_text())
        assert (seed["fleet_id"], seed["phase"]) == ("f", "done")
    assert not three.switch("n").promote()["changed"]
    saved = writer.stop()
    three.n.run("SET GLOBAL event_scheduler = 0")
    for name in "rp":
        three.arrived(three.members[name], three.n)
    kept = "SELECT GROUP_CONCAT(id ORDER BY id SEPARATOR ' ') FROM erp.save"
    lists = []
    for member in three.members.values():
        member_server = member.server()
        member_server.run("SET group_concat_max_len = 10000000")
        lists.append([int(number) for number in member_server.value(kept).split()])
    assert lists[0] == lists[1] == lists[2]
    assert set(saved) <= set(lists[0])
    assert three.p.value("SELECT @@read_only") == 1
    look = three.switch("p").look()
    assert look["follows"] == three.n.address
    assert (look["drained"], look["read_only"]) == (True, True)
    assert look["heartbeat_server_id"] == three.n.number
    assert paused < 20


@needs_mariadb
def test_a_closed_primary_opens_again_and_nothing_of_it_is_left(three: Three) -> None:
    assert not three.switch("p").reopen()["changed"]
    three.switch("p").close()
    assert three.p.value("SELECT @@read_only") == 1
    found = three.switch("p").reopen()
    assert (found["changed"], found["read_only"]) == (True, False)
    assert three.p.value("SELECT @@read_only") == 0
    assert not (three.folder / "p/run/closing.json").exists()
    assert not three.switch("p").reopen()["changed"]


@needs_mariadb
def test_closing_ends_what_writes(three: Three) -> None:
    way: dict[str, Any] = {"host": three.p.address, "port": PORT, "user": "erp", "password": "e"}
    three.p.run("INSERT INTO erp.save VALUES (1, 'x'), (2, 'x')")
    idle, slow = (pymysql.connect(**way) for _ in range(2))
    idle.cursor().execute("UPDATE erp.save SET text = 'idle' WHERE id = 1")
    ended: list[Exception] = []

    def update() -> None:
        try:
            slow.cursor().execute("UPDATE erp.save SET text = SLEEP(600) WHERE id = 2")
        except pymysql.MySQLError as error:
            ended.append(error)

    running = threading.Thread(target=update)
    running.start()
    sleeping = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE STATE = 'User sleep'"
    wait_until("slow", lambda: three.p.value(sleeping))
    began = time.monotonic()
    gtid = three.switch("p").close()["gtid"]
    assert time.monotonic() - began < 20
    running.join()
    assert ended
    with pytest.raises(pymysql.MySQLError):
        idle.commit()
    three.arrived(three.n, three.p)
    assert gtid == three.n.value("SELECT @@gtid_binlog_pos")
    assert three.p.value("SELECT GROUP_CONCAT(text) FROM erp.save") == "x,x"


@needs_mariadb
def test_the_proof_that_a_primary_is_closed(three: Three) -> None:
    gtid = three.switch("p").close()["gtid"]
    three.p.run("INSERT INTO erp.save VALUES (1, 'root')")
    with pytest.raises(MariaDBError, match=gtid):
        three.switch("p", gtid=gtid).closed()
    gtid = three.switch("p", seconds=12).close()["gtid"]
    lock = three.folder / "p/run/closing.json"
    lock.write_text(json.dumps({"until": time.time() + 5}))
    with pytest.raises(MariaDBError, match="10"):
        three.switch("p", gtid=gtid).closed()
    lock.write_text(json.dumps({"until": time.time() + 50}))
    three.switch("p", gtid=gtid).closed()
    three.p.run("SET GLOBAL read_only = 0")
    with pytest.raises(MariaDBError):
        three.switch("p", gtid=gtid).closed()


@needs_mariadb
def test_a_replica_is_not_closed_and_a_position_out_of_reach_is_said(three: Three) -> None:
    with pytest.raises(MariaDBError, match=three.p.address):
        three.switch("n").close()
    with pytest.raises(MariaDBError, match="0-31-999999"):
        three.switch("n", gtid="0-31-999999", timeout=1).reach()
    three.n.run("STOP SLAVE")
    with pytest.raises(MariaDBError, match="0-31-999999"):
        three.switch("n", gtid="0-31-999999", timeout=600).reach()


@needs_mariadb
def test_after_a_failover_all_that_any_replica_had_is_there(three: Three) -> None:
    """r has received more than n, and applied none of it; then the primary dies."""
    three.n.run("STOP SLAVE")
    three.r.run("STOP SLAVE SQL_THREAD")
    for number in range(20):
        three.p.run(f"INSERT INTO erp.save VALUES ({number}, 'x')")
    gtid = three.p.value("SELECT @@gtid_binlog_pos")
    wait_until("received", lambda: three.r.status()["Gtid_IO_Pos"] == gtid)
    three.p.kill()
    three.r.run("STOP SLAVE")
    assert (look := three.switch("r").look())["received"] == gtid
    assert not look["drained"]
    for name in "nr":
        three.switch(name).drain()
    assert three.switch("r").look()["drained"]
    assert (three.rows("n"), three.rows("r")) == (0, 20)
    assert three.switch("n", **{"from": three.r.address}).fetch()["gtid"] == gtid
    assert not three.switch("n", **{"from": three.r.address}).fetch()["changed"]
    three.switch("n").promote()
    assert three.rows("n") == 20
    assert three.switch("r", primary=three.n.address).follow()["ahead"] == []
    three.n.run("INSERT INTO erp.save VALUES (100, 'n')")
    three.arrived(three.r, three.n)
    # The former primary has nothing that the new one has not: it follows without a copy.
    three.p.up()
    assert three.switch("p", primary=three.n.address).follow()["ahead"] == []
    three.arrived(three.p, three.n)
    assert three.rows("p") == 21
    # And back. A server that was a replica before begins where its own history ends, not where it
    # was when it became the primary: that is no longer in the binary log of the other.
    gtid = three.switch("n").close()["gtid"]
    three.switch("p", gtid=gtid).reach()
    three.p.run("FLUSH BINARY LOGS")
    three.switch("p").promote()
    three.p.run("INSERT INTO erp.save VALUES (101, 'p')")

    def purged() -> bool:
        logs = three.p.server().rows("SHOW BINARY LOGS")
        three.p.run(f"PURGE BINARY LOGS TO '{logs[-1]['Log_name']}'")
        return len(logs) == 1

    # A log stays until InnoDB has written what is in it.
    wait_until("purged", purged)
    assert three.switch("n", primary=three.p.address).follow()["ahead"] == []
    three.arrived(three.r, three.p)
    assert (three.rows("n"), three.rows("r")) == (22, 22)


@needs_mariadb
def test_what_only_the_former_primary_has_is_exported(three: Three) -> None:
    three.p.run("INSERT INTO erp.save VALUES (1, 'both')")
    for name in "nr":
        three.arrived(three.members[name], three.p)
        three.members[name].run("STOP SLAVE")
    three.p.run(
        "FLUSH BINARY LOGS",
        "INSERT INTO erp.save VALUES (2, 'only the old one')",
        "FLUSH BINARY LOGS",
        "UPDATE erp.save SET text = 'changed' WHERE id = 1",
    )
    three.p.kill()
    three.switch("n").promote()
    three.n.run("INSERT INTO erp.save VALUES (3, 'new')")
    three.p.up()
    own = three.p.value("SELECT @@gtid_binlog_pos")
    for _ in range(2):
        assert three.switch("p", primary=three.n.address).follow()["ahead"] == [own]
    assert three.p.status() == {}
    assert not (three.folder / "p/state/mariadb-seed.json").exists()
    found = three.switch("p", primary=three.n.address).export()
    again = three.switch("p", primary=three.n.address).export()
    assert (found["transactions"], found["ahead"]) == (2, [own])
    assert (found["changed"], again["changed"]) == (True, False)
    assert found["folder"] == again["folder"]
    folder = Path(found["folder"])
    assert folder.stat().st_mode & 0o777 == 0o700
    readable = (folder / "readable.sql").read_text()
    assert "only the old one" in readable
    assert "'both'" in readable.partition("UPDATE `erp`.`save`")[2]
    assert not three.switch("r", primary=three.n.address).follow()["ahead"]
    # On the new primary they become transactions of its own.
    with (folder / "again.sql").open() as text:
        words = ["mariadb", "--no-defaults", f"--socket={three.n.socket}", "--binary-mode"]
        subprocess.run(words, stdin=text, check=True)
    rows = "SELECT GROUP_CONCAT(text ORDER BY id) FROM erp.save"
    assert three.n.value(rows) == "changed,only the old one,new"
    three.arrived(three.r, three.n)


def test_the_point_up_to_which_two_servers_agree() -> None:
    assert ahead.point("0-3-500,0-1-905", "0-3-500,0-1-900,0-2-950") == "0-1-900"
    # A write of a replica's own, after what it got.
    assert ahead.point("0-1-900,0-2-901", "0-1-950") == "0-1-900"
    assert ahead.point("0-1-900,5-1-7", "0-1-950,5-1-3") == "0-1-900,5-1-3"


@needs_mariadb
def test_a_replica_with_a_write_of_its_own_does_not_follow(three: Three) -> None:
    three.r.run("INSERT INTO erp.save VALUES (7, 'own')")
    gtid = three.switch("p").close()["gtid"]
    three.switch("n", gtid=gtid).reach()
    three.switch("n").promote()
    own = three.r.value("SELECT @@gtid_binlog_pos")
    assert three.switch("r", primary=three.n.address).follow()["ahead"] == [own]
    assert three.r.status()["Master_Host"] == three.p.address
    assert three.r.status()["Slave_IO_Running"] != "No"


@needs_mariadb
def test_promotion_and_following_discard_nothing_that_was_received(three: Three) -> None:
    three.n.run("STOP SLAVE SQL_THREAD")
    three.p.run("INSERT INTO erp.save VALUES (1, 'x')")
    gtid = three.p.value("SELECT @@gtid_binlog_pos")
    wait_until("received", lambda: three.n.status()["Gtid_IO_Pos"] == gtid)
    three.p.kill()
    three.switch("n").promote()
    assert three.rows("n") == 1


@needs_mariadb
def test_a_replica_follows_the_inventorys_primary_where_the_record_names_it(three: Three) -> None:
    gtid = three.switch("p").close()["gtid"]
    three.switch("n", gtid=gtid).reach()
    three.switch("n").promote()
    three.n.run("REPLACE INTO benchfleet.heartbeat VALUES (1, NOW(6), @@server_id)")
    state = three.folder / "r/state"
    params = {
        **three.r.connection(),
        "primary": three.n.address,
        "fleet_id": "f",
        "heartbeat_max_age": 600,
        "timeout": 20,
        "state_file": f"{state}/mariadb-seed.json",
        "keep": {},
    }

    def run(check_mode: bool = False) -> dict[str, Any]:
        replica = Replica(three.r.server(), params, check_mode)
        return replica.result(found=replica.following())

    kept = record.Record("f", 1, "p", record.now(), {"p": three.p.address}, True)
    for wrong in (None, kept):
        if wrong:
            wrong.write(str(state))
        with pytest.raises(MariaDBError, match=three.n.address):
            run()
        assert three.r.status()["Master_Host"] == three.p.address
    record.Record("f", 2, "n", record.now(), {"n": three.n.address}, True).write(str(state))
    assert run(check_mode=True)["changed"]
    assert three.r.status()["Master_Host"] == three.p.address
    assert run()["changed"]
    assert three.r.status()["Master_Host"] == three.n.address
    assert not run()["changed"]


@needs_mariadb
def test_saves_wait_for_a_replica_only_when_one_acknowledges(three: Three) -> None:
    with pytest.raises(MariaDBError):
        three.switch("p", mode="strict", timeout=1).semi_sync()
    for member in three.members.values():
        member.run(
            "SET GLOBAL rpl_semi_sync_slave_enabled = 1",
            "SET GLOBAL rpl_semi_sync_master_timeout = 18446744073709551615",
        )
    replica = Replica(three.n.server(), {}, False)
    replica.acknowledge()
    assert replica.result()["changed"]
    wait_until("connected", lambda: three.n.status()["Slave_IO_Running"] == "Yes")
    again = Replica(three.n.server(), {}, False)
    again.acknowledge()
    assert not again.result()["changed"]
    assert three.switch("p", mode="strict").semi_sync()["changed"]
    assert not three.switch("p", mode="strict").semi_sync()["changed"]
    three.p.run("INSERT INTO erp.save VALUES (1, 'received')")
    three.n.run("STOP SLAVE IO_THREAD")
    done = threading.Event()

    def save() -> None:
        three.p.run("INSERT INTO erp.save VALUES (2, 'waits')")
        done.set()

    waiting = threading.Thread(target=save)
    waiting.start()
    assert not done.wait(2)
    three.n.run("START SLAVE IO_THREAD")
    assert done.wait(30)
    waiting.join()
    # A former primary would wait for a replica of its own at each transaction.
    gtid = three.switch("p").close()["gtid"]
    three.switch("n", gtid=gtid).reach()
    three.switch("n").promote()
    assert three.switch("p", primary=three.n.address).follow()["ahead"] == []
    three.n.run("INSERT INTO erp.save VALUES (3, 'new')")
    three.arrived(three.p, three.n)
