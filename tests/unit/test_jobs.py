"""Where a job goes by its name, and what is told of queues: the parts that need no Redis."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import types
from pathlib import Path
from typing import Any

import benchfleet_jobs
import pytest
from benchfleet_jobs import __main__ as tool
from benchfleet_jobs import away, beats, hooks, placement, presence, settings


def test_a_job_is_known_by_its_method_and_a_scheduled_one_by_its_own() -> None:
    scheduled = "frappe.core.doctype.scheduled_job_type.scheduled_job_type.run_scheduled_job"
    assert placement.job_name({"method": "a.b"}) == "a.b"
    assert placement.job_name({"method": json.dumps}) == "json.dumps"
    assert placement.job_name({"method": scheduled, "kwargs": {"job_type": "x.y"}}) == "x.y"
    assert placement.job_name({"method": scheduled, "kwargs": {}}) == scheduled


def test_a_job_is_told_from_what_else_is_queued_by_name_or_function() -> None:
    def execute_job() -> None: ...

    execute_job.__module__ = "frappe.utils.background_jobs"
    execute_job.__qualname__ = "execute_job"
    assert placement.is_entry("frappe.utils.background_jobs.execute_job")
    assert placement.is_entry(execute_job)
    assert not placement.is_entry("frappe.ping")
    assert not placement.is_entry(json.dumps)


def test_a_job_is_found_by_name_or_pattern() -> None:
    where = {"erpnext.stock.*": "at-rep1", "frappe.ping": "at-rep2", "a.[bc].d": "at-all"}
    assert placement.queue_of("erpnext.stock.x.y", where) == "at-rep1"
    assert placement.queue_of("frappe.ping", where) == "at-rep2"
    assert placement.queue_of("a.c.d", where) == "at-all"
    assert placement.queue_of("frappe.pong", where) is None
    assert placement.queue_of("Erpnext.stock.x", where) is None


@pytest.mark.parametrize("pattern", ["a.b", "a.*", "*", "a?c.*.[xyz]", "[!a-z].b"])
def test_an_example_matches_its_pattern(pattern: str) -> None:
    assert placement.queue_of(tool.example(pattern), {pattern: "q"}) == "q"


def test_a_workers_queues_of_ours_are_told_from_frappes() -> None:
    names = ["home-b:at-rep1", "home-b:long", "other:short"]
    assert beats.own_queues(names) == {"home-b": ["at-rep1"], "other": []}


def test_settings_are_read_again_when_they_changed_and_missing_ones_stop_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "jobs.json"
    assert settings.load(str(path)) is None
    path.write_text("{")
    assert settings.load(str(path)) is None
    values = {
        "node": "rep1",
        "primary": False,
        "bench": "/b",
        "placement": {},
        "away_seconds": 60,
        "when_away": "wait",
        "drained": [],
        "site_sync": "",
    }

    def write(**changes: object) -> None:
        new = tmp_path / "new"
        new.write_text(json.dumps({**values, **changes}))
        os.replace(new, path)

    write()
    first = settings.load(str(path))
    assert first
    assert settings.load(str(path)) is first
    write(away_seconds=5)
    again = settings.load(str(path))
    assert again
    assert (first.away_seconds, again.away_seconds) == (60, 5)


@pytest.fixture
def python(tmp_path: Path) -> Path:
    """The Python of a bench's environment that starts with us."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "env"], check=True)
    settings = {"node": "n", "primary": True, "bench": str(tmp_path), "placement": {}}
    settings |= {"away_seconds": 60, "when_away": "wait", "drained": [], "site_sync": ""}
    (tmp_path / "jobs.json").write_text(json.dumps(settings))
    (packages,) = tmp_path.glob("env/lib/python3*/site-packages")
    package = Path(benchfleet_jobs.__file__).parents[1]
    line = f"import sys; sys.path.append({str(package)!r}); import benchfleet_jobs; "
    line += f"benchfleet_jobs.start({str(tmp_path / 'jobs.json')!r})"
    (packages / "benchfleet.pth").write_text(f"{line}\n")
    return tmp_path / "env/bin/python"


def test_a_process_starts_with_us_once_though_its_environment_says_so_twice(python: Path) -> None:
    ask = "import json; from benchfleet_jobs.hooks import _wanted as wanted; "
    ask += "print(json.dumps({name: len(changes) for name, changes in wanted.items()}))"
    done = subprocess.run([python, "-c", ask], capture_output=True, text=True, check=True)
    wanted = json.loads(done.stdout)
    assert set(wanted.values()) == {1}, done.stdout + done.stderr
    assert {"rq.queue", "rq.worker"} <= set(wanted)


def test_a_process_finds_an_app_that_comes_to_the_bench_later(python: Path, tmp_path: Path) -> None:
    ask = """
import importlib, pathlib
def tried(name):
    try:
        return importlib.import_module(name).__name__
    except ModuleNotFoundError as error:
        return str(error)
print(tried("shop.hooks"))
package = pathlib.Path("apps/shop/shop")
package.mkdir(parents=True)
(package / "__init__.py").touch()
(package / "hooks.py").touch()
print(tried("shop.hooks"), tried("shop.none"), tried("apps"), sep="; ")
"""
    done = subprocess.run(
        [python, "-P", "-c", ask], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines() == [
        "No module named 'shop'",
        "shop.hooks; No module named 'shop.none'; No module named 'apps'",
    ]


def test_a_module_is_changed_when_it_is_imported_and_only_then(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "hooked_example.py").write_text("value = 1\ndef read(): return value\n")
    seen: list[str] = []

    def change(module: object) -> None:
        seen.append("changed")
        module.value = 2  # type: ignore[attr-defined]

    def fail(_module: object) -> None:
        raise RuntimeError("not what was expected")

    hooks.when_imported("hooked_example", fail)
    hooks.when_imported("hooked_example", change)
    assert seen == []
    import hooked_example

    assert (hooked_example.read(), seen) == (2, ["changed"])
    reported = capsys.readouterr().err
    assert "hooked_example" in reported.splitlines()[0]
    assert "RuntimeError: not what was expected" in reported
    hooks.when_imported("hooked_example", change)
    assert seen == ["changed", "changed"]


class Redis:
    """The few commands that forgetting a node needs, on two dictionaries."""

    def __init__(self) -> None:
        self.sets = {"rq:queues": {"rq:queue:b:at-rep2", "rq:queue:b:short"}}
        self.hashes = {
            beats.beats_key("b"): {b"w1": b"10.0 rep1", b"w2": b"10.0 rep2"},
            beats.seen_key("b"): {"at-rep2": b"10.0", "at-rep1": b"10.0"},
        }

    def hgetall(self, key: str) -> dict:
        """A whole hash."""
        return self.hashes[key]

    def hexists(self, key: str, field: str) -> bool:
        """Whether a hash has a field."""
        return field in self.hashes[key]

    def hdel(self, key: str, *fields: object) -> None:
        """Remove fields of a hash."""
        for field in fields:
            self.hashes[key].pop(field, None)

    def sismember(self, key: str, member: str) -> bool:
        """Whether a set has a member."""
        return member in self.sets[key]

    def srem(self, key: str, member: str) -> None:
        """Remove a member of a set."""
        self.sets[key].discard(member)

    def llen(self, _key: str) -> int:
        """Jobs that wait."""
        return 0

    def delete(self, *keys: str) -> None:
        """Neither of these was ever there."""
        assert keys == (beats.given_key("b", "at-rep2"), f"{keys[0]}:missed")


class Job:
    """What a worker is given."""

    key, id = "rq:job:j", "j"


@pytest.mark.parametrize(
    ("queue", "status", "origin", "done"),
    [
        ("b:at-rep1", b"queued", b"b:at-rep1", True),
        # Moved to the primary's queue, begun there, done there, gone.
        ("b:at-rep1", b"queued", b"b:short", False),
        ("b:at-rep1", b"started", b"b:short", False),
        ("b:at-rep1", b"finished", b"b:at-rep1", False),
        ("b:at-rep1", None, None, False),
        # Not ours: nothing is asked.
        ("b:short", b"started", b"b:long", True),
    ],
)
def test_a_worker_does_no_job_that_was_done_elsewhere(
    queue: str, status: bytes | None, origin: bytes | None, done: bool
) -> None:
    removed: list[Any] = []
    connection = types.SimpleNamespace(
        hmget=lambda *_: [status, origin], lrem=lambda *words: removed.append(words)
    )
    log = types.SimpleNamespace(warning=lambda *_: None)
    worker = types.SimpleNamespace(connection=connection, log=log)
    began: list[str] = []
    execute = presence._unless_taken(lambda _self, job, _queue: began.append(job.id))
    execute(worker, Job(), types.SimpleNamespace(name=queue, key=f"rq:queue:{queue}"))
    assert began == (["j"] if done else [])
    ours = queue == "b:at-rep1"
    assert removed == ([("rq:queue:b:at-rep1", 0, "j")] if done and ours else [])


def test_nothing_is_kept_of_a_node_that_left(monkeypatch: pytest.MonkeyPatch) -> None:
    redis, ended = Redis(), []
    monkeypatch.setitem(sys.modules, "rq", types.SimpleNamespace(Queue=a_queue))
    monkeypatch.setattr(away, "take_over", lambda *_words: 3)
    monkeypatch.setattr(away, "collect_given", lambda *words: ended.append(words[3]))
    monkeypatch.setattr(away, "end_abandoned", lambda *words: ended.append(words[2]))
    would = away.forget(redis, "b", "rep2", "at-rep2", pretend=True)
    assert (would["kept"], ended, len(redis.hashes[beats.beats_key("b")])) == (True, [], 2)
    assert away.forget(redis, "b", "rep2", "at-rep2", pretend=False) == {
        "moved": 3,
        "kept": True,
    }
    assert ended == ["at-rep2", 0]
    assert redis.sets["rq:queues"] == {"rq:queue:b:short"}
    assert list(redis.hashes[beats.beats_key("b")]) == [b"w1"]
    assert list(redis.hashes[beats.seen_key("b")]) == ["at-rep1"]
    again = away.forget(redis, "b", "rep2", "at-rep2", pretend=False)
    assert again == {"moved": 0, "kept": False}


def a_queue(name: str, connection: object) -> types.SimpleNamespace:
    """An RQ queue, of which its key is all that is asked."""
    return types.SimpleNamespace(key=f"rq:queue:{name}", connection=connection)
