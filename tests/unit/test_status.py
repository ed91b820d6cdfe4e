"""The status of a host: what is wrong has an id, and is in its state as a text."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fleet.record import FILE, Record
from fleet.redis.users import redis_admin
from fleet.status import database, disks, file, jobs, questions
from fleet.status import fleet as fleet_status
from fleet.status import host as node_status
from fleet.status.troubles import trouble
from fleet.update import room

OWN = Record("f1", 7, "erp1", "2026-11-30T10:00:00+00:00", {"erp1": "10.0.0.1"}, True)
RUNS = {"Master_Host": "10.0.0.1", "Slave_IO_Running": "Yes", "Slave_SQL_Running": "Yes"}


class Server:
    """A local MariaDB; status is that of a replica, None for none."""

    def __init__(self, status: dict[str, str] | None, read_only: int, waits: int = 0) -> None:
        self.status, self.read_only, self.waits = status, read_only, waits

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: Any) -> None:
        return None

    def value(self, question: str) -> Any:
        answers = {
            "VERSION": "10.11.6-MariaDB",
            "read_only": self.read_only,
            "PROCESSLIST": self.waits,
        }
        return next(answer for name, answer in answers.items() if name in question)

    def replica_status(self) -> dict[str, str] | None:
        return self.status


@pytest.mark.parametrize(
    ("role", "status", "read_only", "ids"),
    [
        ("primary", None, 0, []),
        ("primary", None, 1, ["primary_closed"]),
        ("primary", RUNS, 0, ["primary_follows"]),
        ("reporting", RUNS, 1, []),
        ("reporting", RUNS, 0, ["read_only"]),
        ("reporting", None, 1, ["threads"]),
        ("reporting", {**RUNS, "Slave_SQL_Running": "No"}, 0, ["threads", "read_only"]),
    ],
)
def test_a_server_does_what_its_role_wants(
    monkeypatch: pytest.MonkeyPatch,
    role: str,
    status: dict[str, str] | None,
    read_only: int,
    ids: list[str],
) -> None:
    monkeypatch.setattr(database, "local", lambda: Server(status, read_only))
    monkeypatch.setattr(database, "heartbeat_age", lambda _: 0.21)
    found = database.replication(role)
    assert [one["id"] for one in found["troubles"]] == ids
    assert (database.server()["mariadb"], found["lag_seconds"]) == ("10.11.6", 0.2)
    assert ("10.0.0.1" in found["replication"]) is bool(status)


def test_an_id_that_no_page_explains_is_an_error() -> None:
    assert trouble("units", "x") == {"id": "units", "what": "x", "level": "red"}
    assert trouble("falls_back", "x")["level"] == "amber"
    assert trouble("lag", "x", "amber")["level"] == "amber"
    with pytest.raises(ValueError, match="no_such_id"):
        trouble("no_such_id", "x")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """The status of a reporting node on which all is well."""

    def parts(**found: Any) -> None:
        for name, value in found.items():
            monkeypatch.setattr(node_status, name, lambda *_, value=value: value)

    monkeypatch.setattr(database, "server", lambda: {"mariadb": "10.11.6"})
    monkeypatch.setattr(database, "replication", lambda _: {"lag_seconds": 0.2, "troubles": []})
    monkeypatch.setattr(database, "why_down", lambda: "its service is down")
    parts(certificates={"troubles": []}, disk="", versions={}, kept=[], services=[])
    parts(installed_apps={}, sync_age=1.0, workers={"web": 1, "scheduler": 0})
    parts(memory={"memory_free": "1 of 2 GiB", "troubles": []}, stopped_programs=[])
    parts(places={}, reads={}, unit_troubles={}, waits=[])
    parts(record_state={"host": "rep1", "open": False, "why": "", "alone": False, "checked": 1e99})
    OWN.write(str(tmp_path))
    # Only what hangs takes so long, also on a busy machine.
    monkeypatch.setattr(node_status, "LIMIT", 60.0)
    monkeypatch.setattr(node_status, "LIMIT_WHY", 60.0)
    names = ("bench", "certificates", "mark", "cli_dir", "guard_state", "queue")
    params = {"host": "rep1", "role": "reporting", "state_dir": str(tmp_path)}
    return lambda *more: node_status.status({**dict.fromkeys(names, "/none"), **params}, *more)


def test_a_host_without_troubles_is_up(host: Callable[..., dict[str, Any]]) -> None:
    found = host()
    assert (found["state"], found["troubles"], found["level"]) == ("up", [], "ok")
    assert found["memory_free"] == "1 of 2 GiB"


def test_each_trouble_has_an_id_in_the_text_and_beside_it(
    host: Callable[..., dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(node_status, "memory", broken)
    monkeypatch.setattr(node_status, "unit_troubles", lambda _: {"a.timer": "x", "b.timer": "y"})
    (tmp_path / "contract.json").write_text('{"misfits": ["guard: z"]}')
    found = host()
    assert [one["id"] for one in found["troubles"]] == ["not_known", "units", "units", "contract"]
    assert found["memory_free"] is None
    for one in found["troubles"]:
        assert f"{one['what']} (id: {one['id']})" in found["state"]
    assert "a.timer" in found["state"]


@pytest.mark.parametrize(
    ("role", "state", "ids"),
    [
        ("primary", {}, []),
        ("primary", {"alone": True}, ["opened_alone"]),
        ("primary", {"open": None, "why": "MariaDB refused"}, ["record"]),
        ("primary", {"open": False}, []),
        ("reporting", {}, ["record"]),
        ("primary", {"host": "rep1"}, ["record"]),
        ("reporting", {"host": "rep1", "open": False}, []),
        ("primary", {"checked": 0}, ["record"]),
    ],
)
def test_the_record_and_the_role_agree(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    role: str,
    state: dict[str, Any],
    ids: list[str],
) -> None:
    OWN.write(str(tmp_path))
    known = {"host": "erp1", "open": True, "why": "", "alone": False, "checked": time.time()}
    monkeypatch.setattr(node_status, "record_state", lambda: {**known, **state})
    found = node_status.record(role, str(tmp_path))
    assert [one["id"] for one in found["troubles"]] == ids
    assert (found["record"]["primary"], found["record"]["epoch"]) == ("erp1", 7)


@pytest.mark.parametrize("text", [None, "{}"])
def test_a_host_without_a_record_is_in_trouble(tmp_path: Path, text: str | None) -> None:
    if text:
        (tmp_path / FILE).write_text(text)
    found = node_status.record("primary", str(tmp_path))
    assert [one["id"] for one in found["troubles"]] == ["record"]
    assert found["record"] is None


def test_a_program_that_does_not_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(node_status, "stopped", lambda _: {"bench-web": "FATAL"})
    (found,) = node_status.stopped_programs("/home/frappe/bench")
    assert found["id"] == "program_stopped"
    assert "bench-web" in found["what"]


def test_lists_of_hosts_get_tables_of_their_own() -> None:
    rows = [{"host": "erp1", "kept": [{"id": "dumps"}]}, {"host": "rep1"}]
    assert fleet_status.taken_out(rows, "kept") == [{"host": "erp1", "id": "dumps"}]
    assert "kept" not in rows[0]


# Time limits


def forever() -> None:
    """A question without an answer, which ignores requests to end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    while True:
        time.sleep(60)


def test_a_question_that_hangs_is_given_up_and_hides_no_other(tmp_path: Path) -> None:
    def hangs() -> None:
        """As supervisorctl does, for example."""
        with subprocess.Popen(["sleep", "600"]) as program:
            (tmp_path / "program").write_text(str(program.pid))
            forever()

    def fails() -> None:
        raise OSError(5, "Input/output error")

    found = questions.ask(
        {"good": lambda: {"a": [1, None]}, "hangs": hangs, "fails": fails, "slow": forever},
        60,
        {"hangs": 3, "slow": 1},
    )
    assert found["good"].value == {"a": [1, None]}
    assert (found["hangs"].late, found["hangs"].seconds, found["hangs"].stuck) == (True, 3, None)
    assert (found["slow"].late, found["slow"].seconds) == (True, 1)
    assert "(5)" in found["fails"].trouble
    assert not found["fails"].late
    # Nor is a program left that the question started.
    program = int((tmp_path / "program").read_text())
    deadline = time.monotonic() + 5
    while questions.start_of(program) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not Path(f"/proc/{program}/exe").exists()


def test_a_large_answer_and_a_process_that_dies() -> None:
    found = questions.ask({"large": lambda: "x" * 2**20, "dies": lambda: os._exit(3)}, 5)
    assert len(found["large"].value) == 2**20
    assert found["dies"].trouble


@pytest.mark.parametrize("hangs", [False, True])
def test_a_program_that_leaves_its_group_and_its_parent_is_ended(
    hangs: bool, tmp_path: Path
) -> None:
    """As a program that git runs for the bench's account may do."""
    note = tmp_path / "pid"

    def leaves() -> None:
        daemon = f"setsid sh -c 'echo $$ >{note}.new; mv {note}.new {note}; exec sleep 600' &"
        subprocess.run(["sh", "-c", daemon], check=True, stdout=subprocess.DEVNULL)
        while not note.exists():
            time.sleep(0.01)
        if hangs:
            forever()

    found = questions.ask({"git": leaves}, 5 if hangs else 60)
    assert found["git"].late == hangs
    assert not Path(f"/proc/{int(note.read_text())}/exe").exists()


def test_many_programs_that_leave_are_ended(tmp_path: Path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    loop = f"for n in $(seq 300); do setsid sh -c ': >{many}/$$; exec sleep 600' & done"

    def leaves() -> None:
        subprocess.run(["sh", "-c", loop], check=True, stdout=subprocess.DEVNULL)
        while len(list(many.iterdir())) < 300:
            time.sleep(0.01)

    assert not questions.ask({"git": leaves}, 30)["git"].late
    assert not [one for one in many.iterdir() if Path(f"/proc/{one.name}/exe").exists()]


def test_a_question_has_limits_of_memory_and_of_its_answer() -> None:
    def endless() -> int:
        """As git's difference may be, where the bench's account chose the program that makes it."""
        words = ["head", "-c", str(2 * questions.MEMORY), "/dev/zero"]
        return len(subprocess.run(words, capture_output=True, check=False).stdout)

    asked = {"endless": endless, "long": lambda: "x" * 2 * questions.LONGEST, "good": lambda: 1}
    found = questions.ask(asked, 30)
    assert "MemoryError" in found["endless"].trouble
    assert found["long"].trouble
    assert found["good"].value == 1


def test_a_question_is_not_asked_again_while_its_process_cannot_be_killed(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    killed: list[int] = []
    with monkeypatch.context() as patch:
        # As the kernel does with a process that waits for a dead disk.
        patch.setattr(questions.os, "killpg", lambda pid, _: killed.append(pid))
        stuck = questions.ask({"disk": forever}, 0.1)["disk"].stuck
    assert stuck
    assert [stuck[0]] == killed
    again = json.loads(json.dumps({"disk": stuck}))
    asked = tmp_path / "asked"
    found = questions.ask({"disk": asked.touch, "good": lambda: 1}, 30, stuck=again)
    assert (found["disk"].late, found["disk"].stuck, found["good"].value) == (True, stuck, 1)
    assert not asked.exists()
    os.killpg(stuck[0], signal.SIGKILL)
    os.waitpid(stuck[0], 0)
    found = questions.ask({"disk": asked.touch}, 60, stuck=again)
    assert not found["disk"].late
    assert asked.exists()


def test_what_hangs_is_named_with_its_seconds(
    host: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(node_status, "LIMIT", 4.0)
    monkeypatch.setattr(node_status, "stopped_programs", lambda _: forever())
    monkeypatch.setattr(database, "replication", lambda _: forever())
    found = host()
    assert [one["id"] for one in found["troubles"]] == ["no_answer", "no_answer"]
    assert all("4 s" in one["what"] for one in found["troubles"])
    assert (found["level"], found["mariadb"], found["lag_seconds"]) == ("red", "10.11.6", None)
    monkeypatch.setattr(database, "server", forever)
    (one,) = [one for one in host()["troubles"] if one["id"] == "mariadb_down"]
    assert "its service is down" in one["what"]


def test_an_answer_that_still_waits_on_the_server_is_not_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(database, "local", lambda: Server(RUNS, 1, waits=77))
    found = database.replication("reporting")
    assert found["replication"] is None
    (one,) = found["troubles"]
    assert one["id"] == "no_answer"
    assert "77 s" in one["what"]


# Levels


@pytest.mark.parametrize(
    ("role", "age", "levels"),
    [
        ("reporting", 60, []),
        ("reporting", 61, ["amber"]),
        ("primary", 61, ["amber"]),
        ("reporting", 301, ["red"]),
        ("reporting", None, ["red"]),
    ],
)
def test_lag_has_two_levels(role: str, age: float | None, levels: list[str]) -> None:
    found = database.behind(role, age)
    assert [(one["id"], one["level"]) for one in found] == [("lag", level) for level in levels]


@pytest.mark.parametrize(
    ("age", "levels"), [(180, []), (181, ["amber"]), (601, ["red"]), (None, ["red"])]
)
def test_an_old_copy_of_the_sites_has_two_levels(age: float | None, levels: list[str]) -> None:
    assert [one["level"] for one in node_status.copied(age)] == levels


@pytest.mark.parametrize(
    ("role", "web", "scheduler", "ids"),
    [
        ("primary", 4, 1, []),
        ("primary", 4, 2, ["one_scheduler"]),
        ("primary", 0, 0, ["no_web_workers", "one_scheduler"]),
        ("reporting", 4, 0, []),
        ("reporting", 4, 1, ["no_scheduler"]),
    ],
)
def test_processes_are_as_the_role_wants(
    role: str, web: int, scheduler: int, ids: list[str]
) -> None:
    found = node_status.processes_wanted(
        role, {"web": web, "background": 1, "scheduler": scheduler}
    )
    assert [one["id"] for one in found] == ids


def test_little_memory_is_amber(tmp_path: Path) -> None:
    path = tmp_path / "meminfo"
    path.write_text("MemTotal: 1000000 kB\nMemAvailable: 49000 kB\n")
    (one,) = node_status.memory(str(path))["troubles"]
    assert (one["id"], one["level"]) == ("memory_low", "amber")
    path.write_text("MemTotal: 1000000 kB\nMemAvailable: 51000 kB\n")
    assert node_status.memory(str(path))["troubles"] == []


def test_jobs_that_nobody_takes_are_red() -> None:
    rows = [
        {"queue": "short", "waiting": 2, "oldest_seconds": 121, "workers": 0},
        {"queue": "long", "waiting": 2, "oldest_seconds": 601, "workers": 1},
        {"queue": "default", "waiting": 2, "oldest_seconds": 600, "workers": 1},
        {"queue": "new", "waiting": 2, "oldest_seconds": 120, "workers": 0},
        {"queue": "idle", "waiting": 0, "oldest_seconds": None, "workers": 0},
    ]
    found = [(one["id"], one["level"]) for one in jobs.waiting({"by_queue": rows})]
    assert found == [("waiting", "red"), ("jobs_old", "amber")]


def test_a_redis_that_cannot_write_is_named() -> None:
    good = {"rdb_last_bgsave_status": "ok", "aof_last_write_status": "ok"}
    assert jobs.no_writes("queue", good) == []
    (one,) = jobs.no_writes("queue", {**good, "rdb_last_bgsave_status": "err"})
    assert one["id"] == "redis_no_writes"
    assert "rdb_last_bgsave_status" in one["what"]


LOG = """\
2026-11-30  7:01:02 0 [ERROR] InnoDB: preallocating 10 bytes failed with error 28
2026-11-30  7:01:03 0 [ERROR] Aborting
"""


def test_the_error_that_explains_a_dead_mariadb_is_found() -> None:
    assert "error 28" in database.last_error(LOG, runs=False)
    assert "error 28" in database.last_error(LOG, runs=True)
    other = LOG.splitlines()[1]
    assert "Aborting" in database.last_error(other, runs=False)
    assert database.last_error(other, runs=True) == ""


# Disks


@pytest.mark.parametrize(
    ("used", "free", "needed", "level"),
    [
        (0.79, 100, 0, "ok"),
        (0.80, 100, 0, "amber"),
        (0.94, 100, 100, "amber"),
        (0.95, 100, 0, "red"),
        (0.10, 100, 101, "red"),
    ],
)
def test_a_disk_is_red_when_it_is_full_or_an_update_needs_more(
    used: float, free: int, needed: int, level: str
) -> None:
    one = {"device": 7, "path": "/", "holds": ["a"], "bytes": 1000, "free": free}
    one |= {"files_free": 5, "used": used, "level": "ok"}
    need = [{"device": 7, "bytes": needed, "what": "dumps"}, {"device": 8, "bytes": 999}]
    (found,) = disks.merged([[one], [{**one, "holds": ["b", "a"]}]], need)
    assert (found["level"], found["holds"], found["full"]) == (level, ["a", "b"], level == "red")
    assert [entry["level"] for entry in disks.full([found])] == [level] * (level != "ok")


# The status file


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What a new measurement finds, and how often one was made."""
    about = SimpleNamespace(number=0, troubles=[])

    def status(*_: Any) -> dict[str, Any]:
        about.number += 1
        level = "red" if about.troubles else "ok"
        row = {"state": "up", "level": level, "role": "primary", "host": "erp1"}
        return {**row, "troubles": about.troubles, "measured": time.time(), "stuck": {}}

    monkeypatch.setattr(node_status, "status", status)
    return about


PARAMS = {"host": "erp1", "role": "primary"}


def test_a_young_file_is_taken(tmp_path: Path, measured: SimpleNamespace) -> None:
    path = str(tmp_path / "status.json")
    found = file.current(PARAMS, path)
    assert (found["level"], found["age_seconds"], measured.number) == ("ok", 0, 1)
    file.write(PARAMS, path)
    assert os.stat(path).st_mode & 0o777 == 0o600
    assert measured.number == 2
    run = {"begun": 5.0, "account": "ann", "controller": "desk", "playbook": "site.yml"}
    ended = {**run, "run": "1", "result": "ok", "seconds": 3.0}
    (tmp_path / "runs.jsonl").write_text(json.dumps(ended) + "\n")
    found = file.current({**PARAMS, "state_dir": str(tmp_path)}, path)
    assert (measured.number, found["troubles"], "stuck" in found) == (2, [], False)
    assert 0 <= found["age_seconds"] < 5
    # It ended after the file was written.
    assert (found["last_run"]["who"], found["last_run"]["result"]) == ("ann", "ok")


@pytest.mark.parametrize("broken", [False, True])
def test_an_old_file_is_a_trouble_and_not_taken(
    tmp_path: Path, measured: SimpleNamespace, broken: bool
) -> None:
    path = tmp_path / "status.json"
    path.write_text(json.dumps({**PARAMS, "measured": time.time() - 91, "troubles": []}))
    if broken:
        measured.troubles = [trouble("units", "benchfleet-status.timer is inactive")]
    found = file.current(PARAMS, str(path))
    assert (measured.number, found["age_seconds"]) == (1, 0)
    level = "red" if broken else "amber"
    assert (found["troubles"][-1]["id"], found["troubles"][-1]["level"]) == ("status_old", level)
    assert "91 s" in found["state"]
    assert found["level"] == level
    path.write_text("{")
    assert file.current(PARAMS, str(path))["troubles"][-1]["id"] == "status_old"


def test_slow_questions_are_asked_every_ten_minutes(host: Callable[..., dict[str, Any]]) -> None:
    first = host()
    assert first["kept"] == []
    later = host({**first, "kept": ["known"]})
    assert (later["kept"], later["asked"]) == (["known"], first["asked"])
    old = dict.fromkeys(first["asked"], time.time() - 601)
    assert host({**first, "kept": ["known"], "asked": old})["kept"] == []


def test_errors_of_replication_are_shown_without_their_statements() -> None:
    text = "Error 'x' on query. Default database: ''. Query: 'CREATE USER a IDENTIFIED BY 'secret''"
    status = {"Last_SQL_Errno": 1396, "Last_SQL_Error": text}
    shown = database.errors(status)
    assert "secret" not in shown
    assert "1396" in shown


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can act as somebody else")
def test_a_bench_that_is_a_link_is_measured_as_its_account(tmp_path: Path) -> None:
    os.chmod(tmp_path, 0o755)
    for parent in list(tmp_path.parents)[:2]:
        os.chmod(parent, 0o755)
    hidden, bench = tmp_path / "hidden", tmp_path / "bench"
    hidden.mkdir(mode=0o700)
    (hidden / "apps").mkdir()
    (hidden / "apps/large").write_bytes(b"x" * 2**20)
    bench.symlink_to(hidden)
    os.chown(bench, 65534, 65534, follow_symlinks=False)
    assert room.code_bytes(str(bench)) == 0


def test_names_and_counts_that_the_bench_s_account_writes_are_limited(tmp_path: Path) -> None:
    names = {f"method{number}" + "x" * 1000: {"count": number} for number in range(1000)}
    (tmp_path / "counts.json").write_text(json.dumps({"writes": names, "fallbacks": {}}))
    (tmp_path / "replica-x.json").write_text(json.dumps({"away": 1, "reason": "y" * 10**6}))
    found = node_status.reads(str(tmp_path))
    assert len(json.dumps(found)) < 20000
    assert max(found["write_under_read_only"].values()) == 999
    assert found["reports_read"].startswith("primary")


@pytest.mark.skipif(not shutil.which("redis-server"), reason="redis-server is not installed")
def test_queues_are_limited_and_those_with_workers_come_first(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    conf = tmp_path / "redis_queue.conf"
    conf.write_text(f'bind 127.0.0.1\nport {port}\nrequirepass word\nsave ""\ndir {tmp_path}\n')
    with subprocess.Popen(["redis-server", str(conf)], stdout=subprocess.DEVNULL) as server:
        try:
            deadline = time.monotonic() + 10
            while True:
                try:
                    client = redis_admin(str(conf))
                    break
                except OSError:
                    assert time.monotonic() < deadline
                    time.sleep(0.05)
            with client:
                many = [f"rq:queue:b:{number:04}" + "x" * 1000 for number in range(1000)]
                client.ask("SADD", "rq:queues", *many, "rq:queue:b:short")
                client.ask("RPUSH", "rq:queue:b:short", "job")
                client.ask("SADD", "rq:workers", "rq:worker:1")
                client.ask("HSET", "rq:worker:1", "hostname", "erp1", "queues", "b:short")
            found = jobs.queues(str(conf))
        finally:
            server.kill()
    assert len(json.dumps(found)) < 20000
    assert found["waiting"] == 1
    assert [row["workers"] for row in found["by_queue"] if row["queue"] == "short"] == [1]
