"""MariaDB's option files, read as MariaDB reads them and judged; its programs are the proof."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql
import pytest
from fleet.mariadb import apply as module
from fleet.mariadb import conflicts
from fleet.mariadb import options as mariadb_options
from fleet.mariadb import server as mariadb
from fleet.verify import system
from fleet.verify.results import Gathering

from filter_plugins import mariadb_settings as plan
from tests.mariadb import MariaDB, needs_mariadb

GROUPS = "mysqld server mysqld-10.11 mariadb mariadb-10.11 mariadbd mariadbd-10.11 client-server"
M = "[mysqld]\n"
# {D} is the folder of the test.
MAIN_FILES = [
    *(f"{group}\na=1\n" for group in ("[MYSQLD]", "[ mysqld ]", "[mysqld ]", "[mysqld] # x")),
    *(f"{group}\na=1\n" for group in ("[server]", "[mariadb-10.11]", "[mysqld-10.6]", "[galera]")),
    *(f"{group}\na=1\n" for group in ("[client-server]", "[mysqld_safe]", "[mysql]", "[mysqld]]")),
    *(
        f"{M}{line}\n"
        for line in ("a=b#c", "a='b#c' # d", "a=b ; c", "a= # none", "a=", "a", "a#c")
    ),
    *(
        f"{M}{line}\n"
        for line in ("#a=1", ";a=1", "  # a", "\ta = 1", "a =\t'x'\t", "a='x", "a b=c")
    ),
    *(
        f"{M}{line}\n"
        for line in (r"a='it\'s # x' # y", r"a=\x", r"a=\\", r"a=x\sy", r"a='\'", "a=''")
    ),
    *(f"{M}{line}\n" for line in ("A_B-c=D", "--a=1", "=x", "a==b", "a='b' 'c'", "a=x\r", "'a'=1")),
    *(
        f"{M}{line}\n"
        for line in ("!include", "!includedir /nope", "! include /nope", "!foo", "a=é")
    ),
    "a=1\n" + M,
    "[mysqld\na=1\n",
    M + "a=1",
    "[mysqld]\r\na=1\r\nb\r\n",
    M + "a=" + "x" * 5000 + "\nb=1\n#" + "y" * 5000 + "\n",
    M + "a=1\n!includedir {D}/d\nb=2\n[client]\n!include {D}/d/x.conf\na=3\n",
    "!includedir {D}/d/ \n[mysqld]\nb=2\n",
    M + "!include {D}/my.cnf\na=1\n",
    M + "a=1\n!include\t{D}/d/wrong\nb=1\n",
    "!include ~/d/x.conf\n",
]


def options_of(folder: Path, **words: Any) -> mariadb_options.Reader:
    """A reader below a folder, as MariaDB's programs are told to read."""
    return mariadb_options.Reader(GROUPS.split(), str(folder), **words)


@pytest.mark.skipif(not shutil.which("my_print_defaults"), reason="MariaDB is not installed here")
@pytest.mark.parametrize("text", MAIN_FILES)
def test_files_are_read_as_mariadb_reads_them(tmp_path: Path, text: str) -> None:
    main, folder = tmp_path / "my.cnf", tmp_path / "d"
    folder.mkdir()
    main.write_bytes(text.replace("{D}", str(tmp_path)).encode())
    for name in ("b.cnf", "Z.cnf", "x.conf", ".h.cnf", "y.CNF", "w.x.cnf"):
        (folder / name).write_text(f"{M}from={name}\n")
    (folder / "wrong").write_text("c=1\n")
    (folder / "open.cnf").write_text(f"{M}ignored\n")
    (folder / "open.cnf").chmod(0o666)
    (folder / "link.cnf").symlink_to(folder / "x.conf")
    (folder / "to-nothing.cnf").symlink_to(folder / "none")
    done = subprocess.run(
        ["my_print_defaults", f"--defaults-file={main}", *GROUPS.split()],
        capture_output=True,
        env={**os.environ, "HOME": str(tmp_path)},
        check=False,
    )
    try:
        words = "".join(f"{option.word}\n" for option in options_of(tmp_path).read(str(main)))
    except mariadb_options.OptionsError:
        assert done.returncode != 0
    else:
        assert (words.encode(), done.returncode) == (done.stdout, 0), done.stderr


@pytest.mark.skipif(not shutil.which("my_print_defaults"), reason="MariaDB is not installed here")
def test_the_home_of_whoever_asks_is_not_the_servers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".my.cnf").write_text(f"{M}datadir=/of/somebody\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    # The server's own account could not reach into the test's folder.
    monkeypatch.setattr(mariadb_options, "ACCOUNT", "nobody-of-the-kind")
    assert "/of/somebody" not in mariadb_options.server_options().values()


def test_each_option_has_its_place_and_ours_a_mark(tmp_path: Path) -> None:
    folder, main = tmp_path / "d", tmp_path / "my.cnf"
    folder.mkdir()
    (folder / "60-a.cnf").write_text(f"# c\n{M}\na=1\n")
    (folder / "zz.cnf").write_text(f"{M}b\n")
    main.write_text(f"!includedir {folder}\n{M}c=2\n")
    # Ours is not there yet, and named by another way to the same folder.
    (tmp_path / "link").symlink_to(folder)
    reader = options_of(tmp_path, ours=f"{tmp_path}/link/99-benchfleet.cnf")
    assert [(o.spelled, o.place.removeprefix(f"{tmp_path}/")) for o in reader.read(str(main))] == [
        ("a", "d/60-a.cnf:4"),
        ("", "d/99-benchfleet.cnf"),
        ("b", "d/zz.cnf:2"),
        ("c", "my.cnf:3"),
    ]


NAMES = {
    "log_bin",
    "log_bin_index",
    "skip_networking",
    "innodb_flush_log_at_trx_commit",
    "read_only",
}


@pytest.mark.parametrize(
    ("option", "means"),
    [
        ("log-bin=x", ("log_bin", "x")),
        ("log_bin", ("log_bin", "1")),
        ("LOG-BIN=X", ("log_bin", "X")),
        ("skip-log-bin", ("log_bin", "0")),
        ("disable_log_bin", ("log_bin", "0")),
        ("loose-skip-log-bin", ("log_bin", "0")),
        ("enable-read-only", ("read_only", "1")),
        ("skip-read-only=1", ("read_only", "0")),
        ("skip-networking", ("skip_networking", "1")),
        ("skip-networking=0", ("skip_networking", "0")),
        # A unique beginning of a name is the name, for MariaDB.
        ("innodb-flush-log-at-trx=2", ("innodb_flush_log_at_trx_commit", "2")),
        ("slave-parallel-workers=2", ("slave_parallel_threads", "2")),
        ("table_cache=9", ("table_open_cache", "9")),
        ("expire_logs_days=3", ("binlog_expire_logs_seconds", "259200")),
        ("expire-logs-days = 0.5", ("binlog_expire_logs_seconds", "43200")),
    ],
)
def test_what_an_option_means(option: str, means: tuple[str, str]) -> None:
    name, separator, value = option.partition("=")
    known = NAMES | {"expire_logs_days", *mariadb_options.ALIASES}
    assert mariadb_options.meaning(name.strip(), value if separator else None, known) == means


def test_what_only_mariadbs_reader_sees_has_no_line_and_the_rest_keeps_its_own() -> None:
    found = [
        (mariadb_options.Option("a", "1", "f:1"), False),
        (mariadb_options.Option("b", None, "f:2"), True),
    ]
    agreed = mariadb_options.agreed(found, ["--new=3", "--b"])
    assert [(option.word, option.place, after) for option, after in agreed] == [
        ("--new=3", mariadb_options.NO_LINE, True),
        ("--b", "f:2", True),
    ]
    assert mariadb_options.agreed(found, []) == found


@pytest.mark.parametrize(
    ("name", "value", "refused"),
    [
        ("innodb_data_file_path", "ibdata1:12M:autoextend", False),
        ("innodb_data_file_path", "./ibdata1:1G:autoextend:max:50G", False),
        # Each tried: a copy of it on a server with the default.
        ("innodb_data_file_path", "ibdata1:10M:autoextend", True),
        ("innodb_data_file_path", "ibdata1:12M;ibdata2:12M:autoextend", True),
        ("innodb_data_file_path", "own:12M:autoextend", True),
        ("slave_max_allowed_packet", "1G", False),
        ("slave_max_allowed_packet", "64M", True),
        ("innodb_page_size", "16k", False),
        ("innodb_page_size", "32k", True),
        ("slave_skip_errors", "OFF", False),
        ("slave_skip_errors", "1062,1032", True),
        ("replicate_events_marked_for_skip", "REPLICATE", False),
        ("wsrep_provider", "none", False),
        ("plugin_load_add", "server_audit", False),
        ("plugin_load_add", "ha_rocksdb.so", True),
        ("plugin_load", "cracklib_password_check", True),
        ("init_connect", "", False),
        ("read_only", "ON", True),
    ],
)
def test_values_that_do_no_harm_are_not_refused(name: str, value: str, refused: bool) -> None:
    assert conflicts.is_refused(name, value) is refused


def test_a_remedy_leaves_a_server_that_starts() -> None:
    said = [
        mariadb_options.Said(name, value, "/f:1", False)
        for name, value in (
            ("innodb_page_size", "32k"),
            ("innodb_undo_directory", "/undo"),
            ("innodb_encrypt_tables", "ON"),
            ("skip_networking", "ON"),
        )
    ]
    files = {"trouble": "", "own": "/o", "said": said}
    cures = [one.remedy for one in conflicts.conflicts_of({}, files, {}, "/o")]
    removed = conflicts.remedy("/f:1")
    assert cures[0] == conflicts.EVERYWHERE
    assert cures[1].startswith(conflicts.MOVED)
    assert removed in cures[1]
    assert "INNODB_TABLESPACES_ENCRYPTION" in cures[2]
    assert cures[3].startswith(removed)
    assert cures[3].endswith(conflicts.RESTART)


def test_the_page_names_what_is_refused() -> None:
    page = (Path(__file__).parents[2] / "docs/adopt.md").read_text().replace("-", "_")
    # The others are told by their kind.
    kinds = re.compile("^replicate_|encrypt|^plugin_load")
    names = [name for name in conflicts.REFUSED if not kinds.search(name)]
    assert [name for name in names if name not in page] == []


# --- on a real server --------------------------------------------------------------------------

FRAPPE = """[mysqld]
innodb_flush_log_at_trx_commit = 2
innodb_buffer_pool_size = 256M
bind-address = 0.0.0.0
skip-log-bin
"""
BOTTOM = "\n[mysqld]\ncharacter-set-server = utf8mb4\nexpire_logs_days = 3\nsync_bin = 0\n"
OWN = {"server_id": 5, "bind_address": "127.0.0.1"}


class Host:
    """A MariaDB server of the test's own, and what the module needs of Ansible's."""

    def __init__(self, installed: Path, folder: Path) -> None:
        self.server = MariaDB(installed, folder)
        self.folder, self.my, self.included = folder, folder / "my.cnf", folder / "d"
        self.plan = plan.mariadb_settings(1024, "primary", 2, OWN)
        self.check_mode, self.restarts = False, 0
        self.included.mkdir()
        self.my.write_text(f"[client-server]\n!includedir {self.included}/\n")
        self.ours = self.included / "99-benchfleet.cnf"
        self.ours.write_text(plan.mariadb_cnf(self.plan))
        self.params: dict[str, Any] = {
            "settings": plan.mariadb_values(self.plan),
            "file": str(self.ours),
            "runtime": ["read_only", "event_scheduler"],
            "restart_confirmed": False,
            "adopted": str(folder / "adopted.json"),
        }
        self.words = [f"--defaults-file={self.my}"]

    def start(self, *words: str) -> None:
        """Start the server, and wait until it answers."""
        self.words = [f"--defaults-file={self.my}", *words]
        self.server.start(*self.words)

    @contextmanager
    def local(self) -> Iterator[mariadb.Server]:
        """The server, as the modules ask it."""
        rows = pymysql.cursors.DictCursor
        connection = pymysql.connect(unix_socket=self.server.socket, user="root", cursorclass=rows)
        try:
            yield mariadb.Server(connection)
        finally:
            connection.close()

    def run_command(self, words: list[str]) -> tuple[int, str, str]:
        """As systemctl restarts the server."""
        assert words == ["systemctl", "restart", "mariadb"]
        self.restarts += 1
        self.server.stop()
        self.start(*self.words[1:])
        return 0, "", ""

    def settle(self) -> tuple[str | mariadb.MariaDBError, int]:
        """Run the module: its error or what it changed, and how often it restarted the server."""
        before, keeper = self.restarts, module.Keeper(self)  # type: ignore[arg-type]
        outcome: str | mariadb.MariaDBError
        try:
            keeper.settle()
            outcome = " ".join((*keeper.applied, *keeper.restarted_for))
        except mariadb.MariaDBError as error:
            outcome = error
        return outcome, self.restarts - before

    def conflicts(self) -> list[conflicts.Conflict]:
        """Run the module: what it cannot work with; it must not restart the server for that."""
        outcome, restarts = self.settle()
        assert restarts == 0
        assert isinstance(outcome, module.ConflictError), outcome
        assert all(one.what in str(outcome) for one in outcome.conflicts)
        return outcome.conflicts


@pytest.fixture
def host(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host whose server has been started with the fleet's file."""
    here = Host(installed, tmp_path)
    monkeypatch.setattr(mariadb_options, "arguments", lambda *_: here.words)
    monkeypatch.setattr(mariadb_options, "ACCOUNT", "nobody-of-the-kind")
    monkeypatch.setattr(module, "local", here.local)
    yield here
    here.server.stop()


def put_frappe(host: Host) -> None:
    """A file that sorts after ours."""
    (host.included / "99-frappe.cnf").write_text(FRAPPE)


def put_bottom(host: Host) -> None:
    """A block below the includes."""
    host.my.write_text(host.my.read_text() + BOTTOM)


@needs_mariadb
@pytest.mark.parametrize(
    ("put", "winners"),
    [
        (
            put_frappe,
            {
                ("innodb_flush_log_at_trx_commit", "2", "99-frappe.cnf:2"),
                ("log_bin", "0", "99-frappe.cnf:5"),
            },
        ),
        (
            put_bottom,
            {
                ("sync_binlog", "0", "my.cnf:7"),
                ("binlog_expire_logs_seconds", "259200", "my.cnf:6"),
            },
        ),
    ],
)
def test_what_wins_over_ours_is_reported_with_its_line_and_never_restarted_for(
    host: Host, put: Callable[[Host], None], winners: set[tuple[str, str, str]]
) -> None:
    put(host)
    host.start()
    for _ in range(2):
        found = host.conflicts()
        assert {one.id for one in found} == {"option_wins"}
        assert {(one.name, one.value, os.path.basename(one.place)) for one in found} >= winners
    # The remedy that it gives, followed.
    (host.included / "99-frappe.cnf").unlink(missing_ok=True)
    host.my.write_text(host.my.read_text().replace(BOTTOM, ""))
    outcome, restarts = host.settle()
    assert isinstance(outcome, str), outcome
    assert restarts <= 1
    assert host.settle() == ("", 0)


@needs_mariadb
def test_what_comes_after_the_start_or_by_the_command_line_is_reported(host: Host) -> None:
    host.start("--innodb-flush-log-at-trx-commit=2")
    assert [one.place for one in host.conflicts()] == [mariadb_options.COMMAND_LINE]
    host.server.stop()
    host.start()
    assert host.settle() == ("", 0)
    with host.local() as server:
        server.run("SET GLOBAL sync_binlog = 0")
    assert host.settle() == ("sync_binlog", 0)
    put_frappe(host)
    assert f"{host.included}/99-frappe.cnf:2" in [one.place for one in host.conflicts()]


@needs_mariadb
def test_a_server_that_was_adopted_restarts_once_and_with_consent(host: Host) -> None:
    content = host.ours.read_text()
    host.ours.unlink()
    host.start()
    host.ours.write_text(content)
    Path(host.params["adopted"]).touch()
    for _ in range(2):
        outcome, restarts = host.settle()
        assert (type(outcome), restarts) == (module.ConsentError, 0)
        assert "log_bin" in str(outcome)
        assert "`-e adopt_restart_confirmed=true`" in str(outcome)
    host.params["restart_confirmed"] = True
    outcome, restarts = host.settle()
    assert isinstance(outcome, str), outcome
    assert ("log_bin" in outcome, restarts) == (True, 1)
    host.params["restart_confirmed"] = False
    assert host.settle() == ("", 0)


@needs_mariadb
def test_a_restart_that_did_not_help_is_reported_and_not_repeated(host: Host) -> None:
    host.start()
    # The server makes another path of it.
    host.params["settings"]["log_error"] = "other.err"
    host.ours.write_text(
        host.ours.read_text().replace("[mariadbd]", "[mariadbd]\nlog_error = other.err", 1)
    )
    first, again = host.settle(), host.settle()
    assert (first[1], again[1]) == (1, 0)
    for outcome, _ in (first, again):
        assert isinstance(outcome, module.UnchangedError), outcome
        assert re.search(r" log_error \w+ \./other\.err \(", str(outcome))


@needs_mariadb
def test_a_replica_that_becomes_the_primary_is_not_restarted(host: Host) -> None:
    ours = host.ours.read_text()
    shared = {"div_precision_increment": 7, "group_concat_max_len": 4096}
    replica = plan.mariadb_settings(1024, "reporting", 2, OWN, {}, shared)
    host.ours.write_text(plan.mariadb_cnf(replica))
    host.start()
    time.sleep(2 * module.START_SECONDS)
    host.ours.write_text(ours)
    outcome, restarts = host.settle()
    assert isinstance(outcome, str), outcome
    assert {"innodb_strict_mode", "max_connections", *shared} <= {*outcome.split()}
    assert restarts == 0
    with host.local() as server:
        names = ("innodb_strict_mode", *shared)
        values = [server.value(f"SELECT @@GLOBAL.{name}") for name in names]
    assert values == [1, 4, 1024**2]
    assert host.settle() == ("", 0)


@needs_mariadb
def test_a_dry_run_says_that_it_would_restart(host: Host) -> None:
    host.start()
    host.check_mode = True
    assert host.settle() == ("", 0)
    # Only a real run writes the file.
    host.params["settings"]["back_log"] = 99
    host.params["settings"]["sync_binlog"] = 2
    assert host.settle() == ("sync_binlog back_log", 0)
    del host.params["settings"]["relay_log"]
    assert host.settle() == ("sync_binlog back_log relay_log", 0)


@needs_mariadb
def test_with_what_no_fleet_can_live_is_refused(host: Host) -> None:
    file = host.included / "60-backup.cnf"
    lines = ["binlog-do-db = _one", "loose-replicate_wild_do_table=_one%.%", "slave-skip-err=1062"]
    lines += ["wsrep_on", "init_connect='SET NAMES latin1'", "expire_logs_days = 3", "server-id=9"]
    file.write_text("\n".join(["[mysqld]", *lines]))
    host.start()
    found = host.conflicts()
    assert {one.id for one in found} == {"value_refused"}
    # The last two are before ours, which wins.
    assert [one.name for one in found] == [
        "binlog_do_db",
        "replicate_wild_do_table",
        "slave_skip_errors",
        "wsrep_on",
        "init_connect",
    ]
    assert [one.place for one in found] == [f"{file}:{number}" for number in range(2, 7)]
    # Out of the file, and not yet out of the server.
    file.unlink()
    left = host.conflicts()
    assert [one.place for one in left] == [conflicts.NO_FILE] * 5
    assert all(conflicts.RESTART in one.remedy for one in left)
    values = {one.name: one.value for one in left}
    assert values["binlog_do_db"] == "_one"
    assert values["replicate_wild_do_table"] == "_one%.%"
    host.server.stop()
    host.start()
    assert host.settle() == ("", 0)


@needs_mariadb
def test_verify_shows_what_wins(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "local", host.local)
    checks = object.__new__(system.EveryHost)
    settings = host.params["settings"]
    checks.seen, checks.gathering = {}, Gathering("erp1")
    checks.params = {
        "settings": {"innodb_buffer_pool_size": settings["innodb_buffer_pool_size"]},
        "plan": {name: value for name, value in settings.items() if name not in OWN},
        "option_file": str(host.ours),
        "lan_ip": "10.0.0.1",
        "ports": {"mariadb": host.server.port},
    }
    host.start()
    checks.check_settings()
    with host.local() as server:
        server.run("SET GLOBAL sync_binlog = 0")
    (host.included / "zz.cnf").write_text("[mysqld]\nbind-address = 0.0.0.0\n")
    checks.check_settings()
    sound, red = checks.gathering.results
    assert (sound["ok"], red["ok"]) == (True, False)
    assert re.search(r"sync_binlog \w+ 0\b.*\b1\b", red["saw"])
    assert re.search(r"bind_address \w+ 0\.0\.0\.0\b", red["saw"])
    assert "zz.cnf:2" in red["remedy"]


@needs_mariadb
def test_nothing_is_refused_of_a_server_as_it_comes(host: Host) -> None:
    host.start()
    with host.local() as server:
        rows = mariadb.running_variables(server)
    assert conflicts.refused(host.params["settings"], [], rows) == []
