"""Files of the queue's Redis: what is reported of them, and that none is lost when moved."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

import pytest
from fleet.redis import store as queue_store
from fleet.redis.store import Store

GOOD = {
    "aof_enabled": "1",
    "aof_last_write_status": "ok",
    "aof_last_bgrewrite_status": "ok",
    "maxmemory": str(100 * 1024**2),
    "used_memory": str(80 * 1024**2),
    "maxmemory_policy": "noeviction",
}
JOB = "erp.lab.test||0f1e2d3c-1b0a-4f5e-8d7c-9b8a7f6e5d4c"


def changes(*words: str) -> bytes:
    """A command as Redis writes it into its file of changes."""
    parts = [word.encode() for word in words]
    return b"*%d\r\n" % len(parts) + b"".join(b"$%d\r\n%s\r\n" % (len(p), p) for p in parts)


def queued(job: str = JOB, method: str = "frappe.ping") -> bytes:
    """A job as rq queues it."""
    call = f"frappe.utils.background_jobs.execute_job(event=None, method='{method}', site='s')"
    return changes("HSET", f"rq:job:{job}", "data", "\r\nx", "description", call)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    conf = tmp_path / "queue.conf"
    conf.write_text(f'dir "{tmp_path}"\ndbfilename q.rdb\nport 1\nPort 2\n')
    (tmp_path / "appendonlydir").mkdir()
    return Store("/usr/bin/redis-server", str(conf))


def test_the_last_setting_of_a_name_counts():
    known = queue_store.settings('port 1\ndir /a\nDIR "/b"\n# dir /c\nrequirepass "x"\n')
    assert (known["dir"], known["port"], known["requirepass"]) == ("/b", "1", "x")
    assert known["appenddirname"] == "appendonlydir"


def test_a_queue_that_keeps_its_jobs_and_has_room_is_fine(tmp_path: Path):
    assert queue_store.safety_problems(GOOD, str(tmp_path / "none")) == []
    assert queue_store.room_problems(GOOD) == []


@pytest.mark.parametrize(
    ("name", "value", "figures"),
    [
        ("aof_enabled", "0", ["0"]),
        ("aof_last_write_status", "err", []),
        ("aof_last_bgrewrite_status", "err", []),
        ("maxmemory", "0", ["0"]),
        ("maxmemory_policy", "allkeys-lru", []),
        ("used_memory", str(81 * 1024**2), ["81", "100"]),
    ],
)
def test_a_queue_that_may_lose_jobs_is_reported(
    tmp_path: Path, name: str, value: str, figures: list[str]
):
    info = {**GOOD, name: value}
    problems = queue_store.safety_problems(info, str(tmp_path)) + queue_store.room_problems(info)
    (problem,) = problems
    assert problem.startswith(f"`{name}` ")
    assert value in problem or figures
    assert re.findall(r"\d+", problem) == figures


def test_refused_files_are_reported_until_they_are_removed(tmp_path: Path):
    (tmp_path / "refused-20260101-000000").mkdir()
    (problem,) = queue_store.safety_problems(GOOD, str(tmp_path))
    assert f"{tmp_path}/refused-20260101-000000" in problem


def test_info_is_read_as_redis_and_as_its_client_write_it():
    for end in ("\r\n", "\n"):
        text = end.join(["# Memory", "used_memory:5", "aof_enabled:1", ""])
        assert queue_store.parse_info(text) == {"used_memory": "5", "aof_enabled": "1"}


def test_jobs_are_named_in_changes_with_their_methods():
    data = (
        b"garbage rq:job:x" + queued() + changes("DEL", f"rq:job:{JOB}") + queued("a b::c", "m.n")
    )
    assert queue_store.jobs_in(data) == {JOB: "frappe.ping", "a b::c": "m.n"}
    assert queue_store.jobs_in(b"") == queue_store.jobs_in(b"rq:job:") == {}


@pytest.mark.parametrize("job", ["short::id", JOB, "x" * 300])
def test_jobs_are_named_in_a_file_of_all_data(job: str):
    key = f"rq:job:{job}".encode()
    size = bytes([len(key)]) if len(key) < 64 else bytes([64 | len(key) >> 8, len(key) & 255])
    # Type of the value, key, and a value whose first bytes could be more of the key.
    assert queue_store.jobs_in(b"\x04" + size + key + b"ab\x00\xffcd") == {job: ""}


def test_what_is_lost_is_little_by_its_dates_and_else_by_its_size():
    early, late = b"#TS:1795918139\r\n", b"#TS:1795918150\r\n"
    assert queue_store.is_little(late + queued(), queued() + late, 0)
    assert not queue_store.is_little(early + queued(), queued() + late, 0)
    # The file was begun when the others ended.
    assert queue_store.is_little(b"", late, 1795918145)
    assert not queue_store.is_little(b"", late, 1795918100)
    assert queue_store.is_little(early, b"\0" * 1000, 0)
    assert not queue_store.is_little(early, b"\0" * 2 * 1024**2, 0)


def test_the_last_error_of_the_log_is_the_reason():
    log = (
        "7:M 29 Nov 2026 02:14:51.967 * RDB age 7 seconds\n"
        "7:M 29 Nov 2026 02:14:51.968 # Bad file format of x.aof: make a backup of your AOF file\n"
        "[info] 0 expires\n"
    )
    assert queue_store.last_error(log) == "Bad file format of x.aof"
    assert queue_store.last_error("cannot execute\n") == "cannot execute"


def test_a_refused_file_is_kept_beside_the_names_of_its_jobs(store: Store, tmp_path: Path):
    key = f"rq:job:{JOB}".encode()
    (tmp_path / "q.rdb").write_bytes(b"REDIS\x04" + bytes([64, len(key)]) + key)
    report = store.set_aside(store.rdb, "a reason")
    (place,) = queue_store.refused(str(tmp_path))
    assert report == queue_store.SetAside(f"{tmp_path}/q.rdb", "a reason", place, "", 1)
    assert all(fact in str(report) for fact in ("q.rdb (a reason)", f"{place}/jobs.txt", " 1 "))
    assert Path(place, "jobs.txt").read_text() == f"# {report}\n{JOB}\n"
    assert os.stat(place).st_mode & 0o777 == 0o700
    assert Path(place, "q.rdb").exists()
    assert not (tmp_path / "q.rdb").exists()


def test_refused_files_go_by_number_when_others_were_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    names = [f"refused-2020010{day}-000000" for day in (1, 2, 3)]
    former = [name.replace("refused", "former") for name in names]
    for name in (*names, *former, "refused", "mine"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(queue_store.folders, "FILE", tmp_path / "folders.json")
    # Redis starts also where an update of Benchfleet has not written that file yet.
    queue_store.let_go(str(tmp_path))
    (tmp_path / "folders.json").write_text("{}")
    queue_store.let_go(str(tmp_path))
    assert len(queue_store.refused(str(tmp_path))) == 3
    (tmp_path / "folders.json").write_text('{"keep": {"number": 2, "days": 30}}')
    queue_store.let_go(str(tmp_path))
    # All are too old, and the newest one stays: verify is red until the operator removes it.
    assert queue_store.refused(str(tmp_path)) == [f"{tmp_path}/{names[-1]}"]
    assert [path.name for path in tmp_path.glob("former-*")] == [former[-1]]
    assert (tmp_path / "mine").exists()


def test_the_snapshot_is_gone_on_with_where_it_is_as_new_as_the_changes(
    store: Store, tmp_path: Path
):
    snapshot, aof = tmp_path / "q.rdb", tmp_path / "appendonlydir/a.1.incr.aof"
    snapshot.write_bytes(b"REDIS")
    aof.write_bytes(queued())
    os.utime(snapshot, (1795918140, 1795918140))
    os.utime(aof, (1795918145, 1795918145))
    report = store.set_aside(store.changes, "a reason")
    assert report.until == time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(1795918140))
    assert report.until in str(report)
    assert snapshot.exists()
    assert not aof.exists()


def test_an_older_snapshot_does_not_come_back(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    snapshot, aof = tmp_path / "q.rdb", tmp_path / "appendonlydir/a.1.incr.aof"
    snapshot.write_bytes(b"REDIS")
    aof.write_bytes(queued())
    os.utime(snapshot, (1795910000, 1795910000))
    # Killed after the first of two renames, what is left must not be the snapshot alone.
    renamed: list[str] = []
    rename = os.rename

    def killed(old: str, new: str) -> None:
        if renamed:
            raise KeyboardInterrupt
        renamed.append(old)
        rename(old, new)

    with monkeypatch.context() as patch:
        patch.setattr(queue_store.os, "rename", killed)
        with pytest.raises(KeyboardInterrupt):
            store.set_aside(store.changes, "a reason")
    assert not snapshot.exists()
    assert aof.exists()


def test_mended_changes_come_into_their_place_after_a_kill(store: Store, tmp_path: Path):
    mended = Path(store.mended)
    mended.mkdir()
    store.finish()
    assert mended.exists()
    os.rename(store.changes, tmp_path / "refused-1")
    store.finish()
    assert not mended.exists()
    assert Path(store.changes).is_dir()
