"""Slow reports from the router's log, and who waits in a MariaDB of the test's own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pymysql
import pytest
from fleet.mariadb import ending, texts
from fleet.mariadb import server as mariadb
from fleet.mariadb.server import MariaDBError
from fleet.sites.accounts import names_of_accounts
from fleet.status import slow

from tests.mariadb import MariaDB, needs_mariadb

ROOT = Path(__file__).parents[2]
NGINX = shutil.which("nginx", path="/usr/sbin")
needs_nginx = pytest.mark.skipif(not NGINX, reason="no nginx here")
RUN = "/api/method/frappe.desk.query_report.run"


def call(seconds: float, ago: float, name: str = "", **about: Any) -> str:
    """A line of the router's log."""
    found = {"at": time.time() - ago, "seconds": seconds, "host": "rep1", "path": RUN, "name": name}
    return json.dumps({**found, **about}) + "\n"


def slowest(log: Path, role: str = "primary") -> list[tuple[str, str, float]]:
    """Name, host and seconds of the slow reports in a log."""
    found = slow.slow({"role": role}, str(log))
    return [(one["name"], one["host"], one["seconds"]) for one in found]


def test_the_slowest_reports_of_the_last_day_are_named(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text(
        call(84.25, 60, "Stock%20Ledger")
        + call(20, 60, "Stock%20Ledger")
        + call(30, 60, host="rep2")
        + call(500, 2 * slow.DAY, "Yesterday")
        + call(99, 5, "Elsewhere", host="")
        + 'not json\n{"seconds": []}\n[]\n'
        + '{"seconds": 9, "at": "nan", "host": "x", "path": 1}\n'
    )
    (tmp_path / "log.1").write_text(call(40, 3600, "Rotated"))
    wanted = [("Stock Ledger", "rep1", 84.2), ("Rotated", "rep1", 40.0)]
    assert slowest(log) == [*wanted, ("frappe.desk.query_report.run", "rep2", 30.0)]
    assert slowest(log, "reporting") == []
    assert slowest(tmp_path / "none") == []


def test_only_the_end_of_a_large_log_is_read_and_no_link(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    lines = [call(seconds, 60, f"n{seconds}") for seconds in range(10, 50)]
    log.write_text("".join(lines))
    monkeypatch.setattr(slow, "MOST_BYTES", len(lines[-1]) * 2 + 5)
    assert [one[2] for one in slowest(log)] == [49, 48]
    link = tmp_path / "link"
    link.symlink_to(log)
    assert slowest(link) == []
    os.mkfifo(tmp_path / "pipe")
    assert slowest(tmp_path / "pipe") == []


@pytest.mark.parametrize(
    ("query", "shown"),
    [
        ("UPDATE `tab'1` SET a = 'it''s', b=12.5", "UPDATE `tab'1` SET a = ?, b=?"),
        ("INSERT t1 VALUES ('a\\'b', \"c\",  0xFF, 1e5)", "INSERT t1 VALUES (?, ?, ?, ?)"),
        ("UPDATE t SET p = 'cut of", "UPDATE t SET p = ?"),
        ("UPDATE t SET p = 'cut\\", "UPDATE t SET p = ?"),
        ("SELECT 1 -- don't\n, 'secret', 'x'", "SELECT ? , ?, ?"),
        ("SELECT 1 # don't\n, 'secret', 'x'", "SELECT ? , ?, ?"),
        ("/* it's */ SELECT 'secret' /* it's", "SELECT ?"),
        (None, ""),
    ],
)
def test_values_of_a_query_are_not_shown(query: str | None, shown: str) -> None:
    assert texts.statement(query, slow.SHOWN) == shown
    assert len(texts.statement("SELECT " + "a, " * 90, slow.SHOWN)) == slow.SHOWN


@pytest.fixture(scope="module")
def socket(installed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The socket of a running server with a site's account, and one of replication."""
    server = MariaDB(installed, tmp_path_factory.mktemp("db"))
    with server.running("--no-defaults", "--skip-networking"):
        with mariadb.local(server.socket) as root:
            root.run("CREATE DATABASE _site")
            root.run("CREATE TABLE _site.t (id INT PRIMARY KEY, v INT) ENGINE=InnoDB")
            root.run("INSERT INTO _site.t VALUES (1, 1), (2, 2)")
            for user, right in (
                ("_site", "ALL ON `_site`.*"),
                ("repl", "REPLICATION SLAVE ON *.*"),
            ):
                root.run(f"CREATE USER {user}@localhost IDENTIFIED BY 'x'")
                root.run(f"GRANT {right} TO {user}@localhost")
        yield server.socket


def until(holds: Callable[[], Any], seconds: float = 30) -> None:
    """Wait until something holds."""
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        # MariaDB renews what it tells of locks once it was not asked for 0.1 s.
        time.sleep(0.15)


def wait_for(socket: str, blocking: int) -> dict[str, Any]:
    """Who waits for a connection, once that is shown; others may still be shown, too."""
    found: list[dict[str, Any]] = []

    def shown() -> bool:
        found[:] = [wait for wait in slow.waits(socket) if wait["blocking_id"] == blocking]
        return bool(found)

    until(shown)
    (wait,) = found
    return wait


@contextmanager
def signed_in(socket: str, user: str = "_site") -> Iterator[Any]:
    """A connection of an account."""
    way = {"unix_socket": socket, "user": user, "password": "x" if user != "root" else ""}
    with closing(pymysql.connect(**way)) as connection:
        yield connection


@contextmanager
def running(connection: Any, query: str) -> Iterator[list[Any]]:
    """While a connection runs a query; afterwards the list has its rows, or its error's number."""
    result: list[Any] = []

    def run() -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute(query)
                result.append(cursor.fetchall())
        except pymysql.MySQLError as error:
            result.append(error.args[0])

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield result
    finally:
        thread.join(30)


def end(socket: str, number: int, seconds: int = 0, *, check_mode: bool = False) -> dict[str, Any]:
    """The outcome of the module query_end."""
    with mariadb.local(socket) as server:
        return ending.end(server, number, {"_site", "repl", "root"}, seconds, check_mode)


@needs_mariadb
def test_who_waits_for_whom_is_known_and_the_blocker_can_be_ended(socket: str) -> None:
    assert slow.waits(socket) == []
    with signed_in(socket) as holder, signed_in(socket) as waiter, signed_in(socket) as last:
        holder.begin()
        with holder.cursor() as cursor:
            cursor.execute("UPDATE _site.t SET v = 77 WHERE id = 1")
        waiter.begin()
        with waiter.cursor() as cursor:
            cursor.execute("UPDATE _site.t SET v = 7 WHERE id = 2")
        blocked = running(waiter, "UPDATE _site.t SET v = 8 WHERE id = 1")
        with blocked as result, running(last, "UPDATE _site.t SET v = 9 WHERE id = 2"):
            wait = wait_for(socket, holder.thread_id())
            assert wait["waiting_id"] == waiter.thread_id()
            assert wait["query"] == "UPDATE _site.t SET v = ? WHERE id = ?"
            assert (wait["user"], wait["blocking_user"], wait["blocking_query"]) == (
                *("_site", "_site"),
                "",
            )
            # Not for long enough; then only told; then ended.
            with pytest.raises(MariaDBError):
                end(socket, holder.thread_id(), 3600)
            told = end(socket, holder.thread_id(), check_mode=True)
            assert (told["changed"], told["ended"]) == (True, "transaction")
            ended = end(socket, holder.thread_id())
            assert (ended["changed"], ended["ended"]) == (True, "transaction")
            until(lambda: result)
            # Rows, and not an error's number.
            assert list(result[0]) == []
            waiter.rollback()
        gone = end(socket, holder.thread_id())
        assert (gone["changed"], gone["ended"]) == (False, "")


@needs_mariadb
def test_a_long_query_is_ended_and_its_session_goes_on(
    socket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slow, "LONG", slow.LONG.replace(f"TIME > {slow.LONG_SECONDS}", "TIME >= 1"))
    query = "SELECT SLEEP(30) FROM _site.t WHERE v <> 'secret'"
    with signed_in(socket) as session, running(session, query) as result:
        wait = wait_for(socket, session.thread_id())
        assert wait["waiting_id"] is None
        assert "secret" not in wait["blocking_query"]
        with pytest.raises(MariaDBError):
            end(socket, session.thread_id(), 3600)
        assert end(socket, session.thread_id(), 1)["ended"] == "query"
        until(lambda: result)
        # 1317: the query was interrupted; or SLEEP returned 1 for each row.
        assert result[0] in (1317, ((1,), (1,)))
        with session.cursor() as cursor:
            assert cursor.execute("SELECT 1") == 1


@needs_mariadb
@pytest.mark.parametrize("user", ["root", "repl"])
def test_accounts_with_rights_on_the_whole_server_are_left_alone(socket: str, user: str) -> None:
    # Even where a site's configuration names them.
    with (
        signed_in(socket, user) as session,
        running(session, "SELECT SLEEP(1)") as result,
        pytest.raises(MariaDBError, match=user),
    ):
        end(socket, session.thread_id())
    assert result == [((0,),)]


@needs_mariadb
@pytest.mark.parametrize("user", ["system user", "event_scheduler", "", "nobody"])
def test_a_name_that_is_no_account_is_no_sites(socket: str, user: str) -> None:
    # A site's configuration may name a thread of replication, which has no rights at all.
    with mariadb.local(socket) as server:
        assert not ending.is_sites(server, user, {user})
        assert ending.is_sites(server, "_site", {"_site"})


@needs_mariadb
def test_a_query_that_came_meanwhile_is_not_ended(socket: str) -> None:
    with signed_in(socket) as session, mariadb.local(socket) as server:

        def now() -> dict[str, Any]:
            return server.rows(ending.PROCESS, (session.thread_id(),))[0]

        with running(session, "SELECT SLEEP(0.5)"):
            until(lambda: now()["query"])
            _, statement = ending.what_to_end(server, session.thread_id(), now(), 0)
        # The session idles, then runs another query.
        with suppress(pymysql.MySQLError):
            server.run(statement)
        with running(session, "SELECT SLEEP(0.6)") as result:
            until(lambda: "0.6" in (now()["query"] or ""))
            with pytest.raises(pymysql.MySQLError) as error:
                server.run(statement)
        assert error.value.args[0] in ending.GONE
        assert result == [((0,),)]


def test_accounts_of_the_sites_are_read_from_their_folders(tmp_path: Path) -> None:
    for site, text in {
        "a": '{"db_name": "_a", "db_password": "x"}',
        "b": '{"db_name": "_b", "db_user": "bee", "db_password": "x"}',
        "c": "[]",
    }.items():
        (tmp_path / site).mkdir()
        (tmp_path / site / "site_config.json").write_text(text)
    assert names_of_accounts(str(tmp_path), "/none") == {"_a", "_a_ro", "bee", "_b_ro"}


@needs_nginx
def test_the_router_logs_reports_and_their_names_alone(tmp_path: Path) -> None:
    template = (ROOT / "roles/router/templates/benchfleet.conf.j2").read_text()
    first = template.index('map "$benchfleet_report_path')
    ours = template[first : template.index("{% endif %}", first)].replace(
        "/var/log/nginx/", f"{tmp_path}/"
    )
    # How long a call took is its argument here.
    ours = ours.replace("$request_time", "$arg_seconds")
    path = f"unix:{tmp_path}/s"
    (tmp_path / "nginx.conf").write_text(
        f"""error_log {tmp_path}/error; pid {tmp_path}/pid; daemon off;
        events {{}} http {{
        access_log {tmp_path}/access;
        map $uri $benchfleet_report_path {{ default ""; "~^{RUN}$" heavy; "~light$" light; }}
        map $uri $benchfleet_bench {{ default rep1; }}
        {ours}
        server {{ listen {path}; set $benchfleet_forward $arg_to;
        location / {{ return 200 ok; }} }} }}"""
    )
    words = [str(NGINX), "-c", f"{tmp_path}/nginx.conf", "-e", f"{tmp_path}/error"]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until((tmp_path / "s").exists)
        slow_call = f"{RUN}?seconds=12.345&report_name=Stock%20Ledger%22&token=secret"
        others = (f"{RUN}?seconds=4.999", "/light?seconds=9.1", "/app?seconds=9.1")
        # The last one is answered, and noted, by another router.
        for asked in (slow_call, *others, f"{RUN}?seconds=9.1&to=10.0.0.2:8003"):
            curl = ["curl", "-s", "--unix-socket", f"{tmp_path}/s", f"http://x{asked}"]
            subprocess.run(curl, check=True, capture_output=True)
    finally:
        process.terminate()
        process.wait(10)
    (line,) = (tmp_path / "benchfleet-reports.log").read_text().splitlines()
    told = json.loads(line)
    assert (told["host"], told["path"], slow.report_name(told)) == ("rep1", RUN, 'Stock Ledger"')
    assert told["seconds"] == 12.345
    assert "secret" not in line
    # The operator's own log has all of them, as before.
    assert len((tmp_path / "access").read_text().splitlines()) == 5
