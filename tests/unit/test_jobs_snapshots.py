"""Snapshot reports and their job, as a node's process meets them: left to the primary."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
from benchfleet_jobs import beats, contract, presence, snapshots


class Report:
    """As Frappe 16.32 has it; an Error Log of what goes wrong is kept around it."""

    def execute_snapshot_report(self, filters: Any) -> str:
        return f"rows of {filters}"


@pytest.fixture
def report() -> Report:
    """A report of a class that was changed as on a node."""
    cls = type("Report", (Report,), dict(vars(Report)))
    snapshots._leave_reports(SimpleNamespace(Report=cls))  # type: ignore[arg-type]
    return cls()


def run(report: Report) -> str:
    """What Frappe's code does with any report."""
    try:
        return report.execute_snapshot_report("x")
    except Exception:
        return "logged as an error"


def test_a_call_leaves_a_snapshot_report_to_the_primary(report: Report) -> None:
    assert snapshots.or_elsewhere(lambda: run(report), lambda: "elsewhere") == "elsewhere"
    assert snapshots.or_elsewhere(lambda: "here", lambda: "elsewhere") == "here"


def test_where_nobody_takes_it_over_it_is_run_as_ever(report: Report) -> None:
    snapshots.or_elsewhere(lambda: run(report), lambda: "elsewhere")
    assert run(report) == "rows of x"


def test_a_frappe_without_snapshot_reports_stays_as_it_is() -> None:
    module = SimpleNamespace(Report=type("Report", (), {}))
    snapshots._leave_reports(module)  # type: ignore[arg-type]
    assert not hasattr(module.Report, "execute_snapshot_report")
    looks = [r.look for r in contract.REQUIREMENTS if r.part == "snapshots"]
    assert [look(module) for look in looks] == [None]  # type: ignore[arg-type]
    module.Report.execute_snapshot_report = lambda self: None  # type: ignore[attr-defined]
    assert "takes other arguments" in str(looks[0](module))  # type: ignore[arg-type]


@pytest.fixture
def job(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The job that a worker of a node has taken, and what was given to the primary."""
    found = SimpleNamespace(given=[])
    rq = SimpleNamespace(get_current_job=lambda: found)
    monkeypatch.setitem(sys.modules, "rq", rq)  # type: ignore[arg-type]
    monkeypatch.setattr(snapshots, "_give_to_primary", found.given.append)
    return found


def test_a_job_that_comes_to_a_snapshot_report_is_given_to_the_primary(
    report: Report, job: Any
) -> None:
    module = SimpleNamespace(execute_job=lambda method, is_async=True: run(report))
    snapshots._leave_jobs(module)  # type: ignore[arg-type]
    module.execute_job(method="frappe.x.generate_report")
    assert job.given == [job]


def test_the_job_that_copies_is_not_even_begun(job: Any) -> None:
    begun: list[str] = []
    module = SimpleNamespace(execute_job=lambda **options: begun.append(options["method"]))
    snapshots._leave_jobs(module)  # type: ignore[arg-type]
    module.execute_job(method=snapshots.JOB)
    module.execute_job(method="frappe.ping")
    assert (begun, job.given) == (["frappe.ping"], [job])


def test_what_no_worker_runs_is_given_to_nobody(report: Report, job: Any) -> None:
    module = SimpleNamespace(execute_job=lambda method, is_async=True: run(report))
    snapshots._leave_jobs(module)  # type: ignore[arg-type]
    assert module.execute_job(method=snapshots.JOB, is_async=False) == "rows of x"
    sys.modules["rq"].get_current_job = lambda: None  # type: ignore[attr-defined]
    assert module.execute_job(method=snapshots.JOB) == "rows of x"
    assert job.given == []


def test_the_primarys_workers_serve_what_is_given_to_them() -> None:
    class Queue:
        def __init__(self, name: str, connection: Any = None) -> None:
            self.name = name

    worker = SimpleNamespace(queues=[Queue("b:c:long"), Queue("b:c:short")], connection=None)
    for _ in "ab":
        presence._serve_on_primary(worker)
        assert [q.name for q in worker.queues] == ["b:c:at-primary", "b:c:long", "b:c:short"]
        assert worker._ordered_queues == worker.queues
    assert beats.own_queues([q.name for q in worker.queues]) == {"b:c": ["at-primary"]}
