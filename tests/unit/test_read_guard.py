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
from benchfleet_guard import health, session, statements, watch
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
        "drop temporary table filled; drop table tabX",
        "use another",
        "handler tabX open",
        "prepare p from 'select 1'",
        "execute immediate 'select 1'",
        "flush tables",
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
        "INSERT IGNORE INTO `filled` values (1)",
        "update filled set a = 1",
        "delete from filled where a = 1",
        "truncate table filled",
        "alter table filled add index (a)",
        "drop table if exists filled",
        "SET STATEMENT max_statement_time = 3 FOR insert into filled values (1)",
        "create /* a */ temporary -- b\n table filled (a int, key `k` (`a`))",
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
        "insert into FILLED values (1)",
        "create temporary table other.filled (a int)",
        "create temporary sequence filled",
        "alter table filled add index (a), rename to another",
        "rename table filled to another",
        "insert into filled select get_lock('a', 1)",
        "insert into filled select nextval(todo_id_seq)",
    ],
)
def test_what_may_touch_another_table_is_a_write(text: str) -> None:
    assert statements.kind(text, {"filled"}) == statements.WRITE


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("create temporary table a as select 1", {"a"}),
        ("create temporary table a (b int)", set()),
        ("insert into a select 1", set()),
        ("drop temporary table c", set()),
        ("drop table c", {"a", "b"}),
        ("alter table a add index (b)", {"a", "b"}),
        ("truncate a", {"a", "b"}),
    ],
)
def test_rows_that_a_rollback_leaves_are_known(text: str, kept: set[str]) -> None:
    assert statements.kept(text, {"a", "b"}) == kept


def test_a_semicolon_in_a_text_or_at_the_end_is_none() -> None:
    assert statements.kind("select 'a; b' ;  ") == statements.READ


def test_dropped_tables_are_forgotten_by_name() -> None:
    assert statements.dropped("DROP TEMPORARY TABLE IF EXISTS `A b`, c") == {"A b", "c"}
    assert statements.dropped("drop table x") == {"x"}
    assert statements.dropped("SET STATEMENT lock_wait_timeout = 1 FOR drop table x") == {"x"}
    assert statements.dropped("delete from x") == set()


def test_a_new_temporary_table_is_known_by_its_name() -> None:
    assert statements.made("create temporary table `My Table` (a int)") == "My Table"
    assert statements.made("create temporary table `a``b` (a int)") == "a`b"
    assert statements.made(
        "SET STATEMENT lock_wait_timeout = 1 FOR create temporary table x like y"
    )
    assert statements.made("create table x (a int)") is None


@pytest.mark.parametrize(
    "text",
    [
        "set session max_statement_time = %s",
        "SET LOCAL group_concat_max_len = 1000",
        "SET @@session.group_concat_max_len := 1000",
        "SET @@local . group_concat_max_len = 1000",
        "SET @@group_concat_max_len = 1000",
        "SET /* a */ group_concat_max_len # b\n = 1000",
        "SET sql_mode = DEFAULT",
        "SET sql_mode = 'ANSI_QUOTES', group_concat_max_len = 1000",
        "SET group_concat_max_len = @@global.group_concat_max_len",
        "SET SESSION sql_mode = (SELECT REPLACE(@@sql_mode, 'ONLY_FULL_GROUP_BY', ''))",
        "SET NAMES utf8mb4 COLLATE utf8mb4_bin",
        "SET NAMES DEFAULT",
        "SET CHARACTER SET latin1",
        "SET CHARSET latin1",
        "SET character_set_results = NULL",
        "SET time_zone = '+05:30'",
        "SET timestamp = 1000",
        "SET timestamp = DEFAULT",
        "SET last_insert_id = 5",
        "SET @a = 'global'",
        "SET @a := 1, @b = @a + 1",
        "SET @a = %s, @`b c` = %(b)s",
        "SET @timestamp = 5, @autocommit = 0",
    ],
)
def test_a_set_of_this_connection_is_run_again_on_another(text: str) -> None:
    assert statements.kind(text) == statements.SESSION


@pytest.mark.parametrize(
    "text",
    [
        "SET GLOBAL max_connections = 1",
        "SET sql_mode = '', GLOBAL max_connections = 1",
        "SET @@global.max_connections = 1",
        "SET @@GLOBAL . max_connections = 1",
        "SET PASSWORD = 'a(b'",
        "SET PASSWORD FOR a = 'b'",
        "SET ROLE NONE",
        "SET DEFAULT ROLE a",
        "SET TRANSACTION ISOLATION LEVEL READ COMMITTED",
        "SET SESSION TRANSACTION READ ONLY",
        "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED, READ ONLY",
        "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET tx_isolation = 'SERIALIZABLE'",
        "SET transaction_isolation = 'READ-COMMITTED'",
        "SET @@session.tx_read_only = 1",
        "SET autocommit = 1",
        "SET `autocommit` = 1",
        "SET completion_type = 1",
        "SET insert_id = 5",
        "SET rand_seed1 = 1, rand_seed2 = 2",
        "SET profiling = 1",
        "SET timestamp = UNIX_TIMESTAMP()",
        "SET timestamp = @@timestamp",
        "SET max_statement_time = (SELECT a FROM tabX)",
        "SET sql_mode = (SELECT a FROM tabX)",
        "SET time_zone = @zone",
        "SET @a = 1, sql_mode = ''",
        "SET @a = get_lock('x', 1)",
        # What these do to a statement's text, the next statement would be misread by.
        "SET sql_mode = 'NO_BACKSLASH_ESCAPES'",
        "SET sql_mode = 'oracle'",
        "SET sql_mode = 1048576",
        "SET sql_mode = %s",
        "SET STATEMENT sql_mode = 'NO_BACKSLASH_ESCAPES' FOR SELECT 1",
        "SET STATEMENT max_statement_time = 3 FOR delete from tabX",
        "SET /* a */ STATEMENT max_statement_time = 3 FOR select get_lock('a', 1)",
    ],
)
def test_a_set_that_no_other_connection_can_repeat_goes_to_the_primary(text: str) -> None:
    assert statements.kind(text) == statements.WRITE


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("SET @a = (SELECT COUNT(*) FROM tabX)", statements.READ),
        ("SET @a = NOW()", statements.READ),
        ("SET @a = current_timestamp", statements.READ),
        ("SET @a = @@sql_mode", statements.READ),
        ("SELECT 1 INTO @a", statements.READ),
        ("select 1 into@a", statements.READ),
        ("(select a, b from tabX limit 1 into @a, @`b c`)", statements.READ),
        ("select @row := @row + 1 from tabX", statements.READ),
        ("select a from tabX where (@row := @row + 1) < 3", statements.READ),
        ("SELECT LAST_INSERT_ID(42)", statements.READ),
        ("GET DIAGNOSTICS @n = NUMBER", statements.WARNINGS),
        ("SET @n = ROW_COUNT()", statements.ROW_COUNT),
        ("SET @n = FOUND_ROWS()", statements.FOUND_ROWS),
    ],
)
def test_what_is_left_on_the_connection_is_seen(text: str, kind: str) -> None:
    assert statements.kind(text) == kind
    assert statements.leaves(text)


@pytest.mark.parametrize(
    "text", ["select ':=' from tabX", "select last_insert_id()", "select @a", "show tables"]
)
def test_a_read_leaves_nothing_on_the_connection(text: str) -> None:
    assert statements.kind(text) == statements.READ
    assert not statements.leaves(text)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("begin", statements.TRANSACTION),
        ("BEGIN WORK", statements.TRANSACTION),
        ("START TRANSACTION", statements.TRANSACTION),
        ("START TRANSACTION READ ONLY", statements.TRANSACTION),
        ("start transaction with consistent snapshot, read only;", statements.TRANSACTION),
        ("commit", statements.TRANSACTION),
        ("commit and chain", statements.TRANSACTION),
        ("rollback work", statements.TRANSACTION),
        ("SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED", statements.ISOLATION),
        ("set local transaction isolation level repeatable read", statements.ISOLATION),
        ("commit release", statements.WRITE),
        ("begin not atomic insert into tabX values (1); end", statements.WRITE),
        ("begin not atomic end", statements.WRITE),
        ("start slave", statements.WRITE),
        ("xa start 'a'", statements.WRITE),
        ("savepoint a", statements.SAVEPOINT),
        ("release savepoint a", statements.SAVEPOINT),
        ("rollback to savepoint a", statements.SAVEPOINT),
        ("rollback work to `a b`", statements.SAVEPOINT),
    ],
)
def test_statements_on_transactions(text: str, kind: str) -> None:
    assert statements.kind(text) == kind


def test_a_rollback_is_told_from_a_commit() -> None:
    assert statements.rolls_back("/* a */ ROLLBACK WORK")
    assert not statements.rolls_back("commit")


def test_savepoints_are_told_by_name() -> None:
    assert statements.savepoint("SAVEPOINT `a 1`") == ("savepoint", "a 1")
    assert statements.savepoint("release savepoint B") == ("release", "b")
    assert statements.savepoint("rollback to savepoint b;") == ("rollback", "b")
    assert statements.savepoint("ROLLBACK WORK TO b") == ("rollback", "b")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("SELECT ROW_COUNT()", statements.ROW_COUNT),
        ("SELECT FOUND_ROWS()", statements.FOUND_ROWS),
        ("SHOW WARNINGS LIMIT 1", statements.WARNINGS),
        ("show count(*) errors", statements.WARNINGS),
        ("SELECT @@session.warning_count", statements.WARNINGS),
        ("get current diagnostics condition 1 @a = message_text", statements.WARNINGS),
        # These read data, too, which must not be old.
        ("select found_rows(), name from tabX", statements.READ),
        ("get anything", statements.WRITE),
    ],
)
def test_questions_about_the_statement_before_are_told(text: str, kind: str) -> None:
    assert statements.kind(text) == kind


@pytest.mark.parametrize(
    "text",
    [
        "select get_lock ('a', 1)",
        "select `GET_LOCK`('a', 1)",
        "select get_lock/* a */('a', 1)",
        "select /*! get_lock('a', 1) */",
        "select /*M!100100 get_lock('a', 1) */",
        "select 1, -- it's\n get_lock('a', 1) -- it's",
        "select 1, # it's\n get_lock('a', 1) # it's",
        "select is_used_lock('a')",
        "select is_free_lock('a')",
        "select release_all_locks()",
        "select connection_id()",
        "select @@pseudo_thread_id",
        "select @@session.last_gtid",
        "show full processlist",
        "select lastval(todo_id_seq)",
        "select previous value for todo_id_seq",
        "select sql_calc_found_rows name from tabX limit 1",
        "select 1 /*! for update */",
        "select 1 for /* a */ update",
        "/*!40101 SET sql_mode = '' */",
    ],
)
def test_what_needs_the_primary_s_own_connection_is_seen_however_it_is_written(text: str) -> None:
    assert statements.kind(text) == statements.WRITE


@pytest.mark.parametrize(
    "text",
    [
        "select 'a\\', get_lock(', `get_lock`, \"for update\" -- get_lock('a')",
        "select 1 -- /*! get_lock('a', 1) */",
        "select 5--1 as `a;b`",
        "with `x`(`a`) as (select 1) select `a` from `x`",
    ],
)
def test_texts_names_and_comments_are_not_read_as_statements(text: str) -> None:
    assert statements.kind(text) == statements.READ


@pytest.mark.parametrize(
    ("kind", "value", "collation", "literal"),
    [
        ("INT", "-5", "binary", "-5"),
        ("INT UNSIGNED", "5", "binary", "CAST(5 AS UNSIGNED)"),
        ("DOUBLE", "0.1", "binary", "0.1e0"),
        ("DOUBLE", "1e300", "binary", "1e300"),
        ("DECIMAL", "1.50", "binary", "1.50"),
        ("DECIMAL", "5", "binary", "5."),
        ("VARCHAR", "it's", "latin1_bin", "_latin1 X'69742773' COLLATE `latin1_bin`"),
        ("VARCHAR", "", "binary", "_binary X'' COLLATE `binary`"),
        ("VARCHAR", None, "binary", "NULL"),
    ],
)
def test_a_user_variable_keeps_its_type(
    kind: str, value: str | None, collation: str, literal: str
) -> None:
    digits = None if value is None else value.encode().hex()
    assert session.literal(kind, digits, collation) == literal


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

    with pytest.raises(watch.HungError, match=r"0\.05"):
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
