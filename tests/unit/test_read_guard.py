"""What the guard of the read path decides, and what the bench's processes share."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from benchfleet_guard import health, statements, watch
from benchfleet_guard.shared import Replica, State, lookout


@pytest.mark.parametrize(
    "text",
    [
        "SELECT name FROM `tabToDo`",
        "  /* a remark */ select 1",
        "-- a remark\nselect 1",
        "# a remark\nselect 1",
        "((select 1) union (select 2))",
        "WITH x AS (SELECT 1) SELECT * FROM x",
        "select * from tabX where a = 'for update'",
        "select `for update` from tabX",
        "select * from tabX where a = 'it''s \\' nextval('",
        "show tables",
        "EXPLAIN select 1",
        "select @row := @row + 1",
        "SET STATEMENT max_statement_time=3 FOR SELECT 1",
    ],
)
def test_reads_stay_on_the_replica(text: str) -> None:
    assert statements.kind(text) == statements.READ


@pytest.mark.parametrize(
    "text",
    [
        "insert into `tabToDo` (name) values ('x')",
        "/* select */ UPDATE tabX SET a = 1",
        "delete from tabX",
        "replace into tabX values (1)",
        "select name from tabX for  update",
        "select name from tabX lock in share mode",
        "select nextval(`todo_id_seq`)",
        "select next value for todo_id_seq",
        "select get_lock('a', 1)",
        "select 1 into outfile '/tmp/x'",
        "WITH x AS (SELECT 1) SELECT * FROM x FOR UPDATE",
        "/*! insert into tabX values (1) */",
        "create table x (a int)",
        "create index i on tabX (a)",
        "alter table tabX add column b int",
        "truncate tabX",
        "lock tables tabX read",
        "call something()",
        "analyze table tabX",
        "SET GLOBAL max_connections = 1",
        "SET STATEMENT max_statement_time=3 FOR delete from tabX",
        "insert into filled select * from tabX",
        "update filled, tabX set tabX.a = 1",
        "delete filled from filled join tabX",
        "update other.filled set a = 1",
        "select 1; insert into tabX values (1)",
        "set @a = get_lock('x', 1)",
        "drop temporary table filled; drop table tabX",
        "",
        "gibberish",
    ],
)
def test_writes_and_doubts_go_to_the_primary(text: str) -> None:
    assert statements.kind(text) == statements.WRITE


@pytest.mark.parametrize(
    "text",
    [
        "CREATE TEMPORARY TABLE IF NOT EXISTS `Filled` (a int)",
        "create or replace temporary table filled as select * from tabX",
        "drop temporary table filled",
        "insert into filled select * from tabX",
        "INSERT IGNORE INTO `FILLED` values (1)",
        "update filled set a = 1",
        "delete from filled where a = 1",
        "truncate table filled",
        "alter table filled add index (a)",
        "drop table if exists filled",
    ],
)
def test_temporary_tables_live_on_the_replica(text: str) -> None:
    assert statements.kind(text, {"filled"}) == statements.TEMPORARY


@pytest.mark.parametrize(
    "text",
    [
        "update filled, tabX set tabX.a = 1",
        "delete filled from filled join tabX",
        "update other.filled set a = 1",
        "insert into tabX select * from filled",
        "insert into filled2 values (1)",
        "insert into fille.d values (1)",
    ],
)
def test_what_may_touch_another_table_is_a_write(text: str) -> None:
    assert statements.kind(text, {"filled"}) == statements.WRITE


def test_a_semicolon_in_a_text_or_at_the_end_is_none() -> None:
    assert statements.kind("select 'a; b' ;  ") == statements.READ


def test_dropped_tables_are_forgotten_by_name() -> None:
    assert statements.dropped("DROP TEMPORARY TABLE IF EXISTS `A b`, c") == {"a b", "c"}
    assert statements.dropped("drop table x") == {"x"}
    assert statements.dropped("delete from x") == set()


def test_a_new_temporary_table_is_known_by_its_name() -> None:
    assert statements.made("create temporary table `My Table` (a int)") == "my table"
    assert statements.made("create table x (a int)") is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("START TRANSACTION READ ONLY", statements.TRANSACTION),
        ("commit", statements.TRANSACTION),
        ("rollback to savepoint a", statements.TRANSACTION),
        ("savepoint a", statements.SAVEPOINT),
        ("release savepoint a", statements.SAVEPOINT),
        ("set session max_statement_time = %s", statements.SESSION),
        ("SET @a = 'global'", statements.SESSION),
    ],
)
def test_what_is_neither_read_nor_write(text: str, kind: str) -> None:
    assert statements.kind(text) == kind


def test_savepoints_are_told_by_name() -> None:
    assert statements.savepoint("SAVEPOINT `a1`") == ("savepoint", "a1")
    assert statements.savepoint("release savepoint b") == ("release", "b")


def test_a_long_statement_is_judged_in_one_pass() -> None:
    """Rules that read a text more often than a fixed number of times would take hours for it."""
    text = "select name from tabX where name in (" + ", ".join(["'o''k'"] * 50_000) + ")"
    assert statements.kind(text) == statements.READ


def test_a_full_disk_costs_no_call_its_answer(tmp_path: Path) -> None:
    gone = State(tmp_path / "gone")
    gone.set_replica("a", Replica(5.0, "unreachable"))
    assert gone.count("writes", "a.b") == 0


def test_threads_of_a_process_do_not_trip_over_each_other(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = State(tmp_path)

    def work(_number: int) -> None:
        for number in range(100):
            state.set_replica("a", Replica(float(number), "x"))

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(4)))
    # A state that is lost costs no call its answer: it is said in the log.
    assert caplog.messages == []
    assert state.replica("a") == Replica(99.0, "x")
    assert [path.name for path in tmp_path.iterdir()] == ["replica-a.json"]


def test_an_account_does_not_show_its_password() -> None:
    account = watch.Account("x_ro", "pymysql", (("password", "s3cret"),))
    assert "s3cret" not in repr(account)


def test_state_of_a_replica_is_shared_and_a_torn_file_is_harmless(tmp_path: Path) -> None:
    one, two = State(tmp_path), State(tmp_path)
    assert one.replica("a/b") == Replica()
    one.set_replica("a/b", Replica(5.0, "unreachable"))
    assert two.replica("a/b") == Replica(5.0, "unreachable")
    assert two.replica("other") == Replica()
    (tmp_path / "replica-other.json").write_text('{"away"')
    assert two.replica("other") == Replica()


def test_places_are_as_many_as_there_are_and_come_back(tmp_path: Path) -> None:
    state = State(tmp_path)
    first, second = state.take_place(2, 0), state.take_place(2, 0)
    assert first is not None
    assert second is not None
    assert state.take_place(2, 0.05) is None
    timer = threading.Timer(0.05, state.give_place, [first])
    timer.start()
    third = state.take_place(2, 60)
    assert third is not None
    state.give_place(second)
    state.give_place(third)


def test_a_place_comes_back_when_its_process_dies(tmp_path: Path) -> None:
    state = State(tmp_path)
    if (child := os.fork()) == 0:
        state.take_place(1, 0)
        os._exit(0)
    os.waitpid(child, 0)
    place = state.take_place(1, 0)
    assert place is not None
    state.give_place(place)


def test_counts_of_several_processes_add_up(tmp_path: Path) -> None:
    children = []
    for _ in range(3):
        if (child := os.fork()) == 0:
            for _ in range(20):
                State(tmp_path).count("writes", "a.b", code="x:1")
            os._exit(0)
        children.append(child)
    for child in children:
        os.waitpid(child, 0)
    entry = json.loads((tmp_path / "counts.json").read_text())["writes"]["a.b"]
    assert (entry["count"], entry["code"]) == (60, "x:1")


def test_one_process_alone_looks_for_a_return(tmp_path: Path) -> None:
    with State(tmp_path).sole("return-a") as first, State(tmp_path).sole("return-a") as second:
        assert (first, second) == (True, False)
    with State(tmp_path).sole("return-a") as third:
        assert third


def test_work_that_hangs_is_left_behind_and_disposed_of() -> None:
    go, disposed = threading.Event(), threading.Event()

    def work() -> str:
        go.wait(60)
        return "late"

    with pytest.raises(watch.HungError, match=r"0\.05 s"):
        watch.bounded(work, 0.05, lambda late: disposed.set() if late == "late" else None)
    go.set()
    assert disposed.wait(60)


def test_work_in_time_gives_its_value_or_its_error() -> None:
    assert watch.bounded(lambda: 5, 60, print) == 5
    with pytest.raises(ZeroDivisionError):
        watch.bounded(lambda: 1 // 0, 60, print)


def test_a_severed_connection_fails_its_reader_at_once() -> None:
    ours, theirs = socket.socketpair()
    ours.settimeout(60)

    class Connection:
        _sock = ours

    with watch.handle_of(Connection) as handle:
        threading.Timer(0.05, watch.sever, [handle]).start()
        # Where nothing severs it, this ends with a TimeoutError.
        assert ours.recv(1) == b""
    theirs.close()
    ours.close()


def test_a_replica_that_is_away_is_trouble(tmp_path: Path) -> None:
    state = State(tmp_path)
    assert not state.troubled()
    state.set_replica("a", Replica())
    state.set_replica("b", Replica(away=5.0, reason="behind"))
    # Left behind by a process that is gone: the next call finds out.
    assert not state.troubled()
    with state.sole(lookout("b")):
        assert state.troubled()
    assert not state.troubled()


def heard(pipe: int, count: int) -> bytes:
    """What comes out of a pipe, b"" where nothing does."""
    return os.read(pipe, count) if select.select([pipe], [], [], 60)[0] else b""


def test_a_worker_answers_for_its_health_and_a_stopped_one_does_not(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    said, say = os.pipe()
    if (master := os.fork()) == 0:
        # gunicorn's master listens and forks one worker.
        try:
            health.listen("127.0.0.1", port, State(tmp_path))
            if (worker := os.fork()) == 0:
                signal.pause()
            os.write(say, struct.pack("i", worker))
            os.waitpid(worker, os.WUNTRACED)
            os.write(say, b"stopped")
            signal.pause()
        finally:
            os._exit(0)
    os.close(say)
    pids = [master]
    try:
        pids += struct.unpack("i", heard(said, 4))
        with socket.create_connection(("127.0.0.1", port), timeout=60) as asked:
            assert asked.recv(8) == health.ANSWER
        os.kill(pids[-1], signal.SIGSTOP)
        assert heard(said, 8) == b"stopped"
        asked = socket.create_connection(("127.0.0.1", port), timeout=0.2)
        with asked, pytest.raises(TimeoutError):
            asked.recv(8)
    finally:
        for pid in reversed(pids):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(master, 0)
        os.close(said)
