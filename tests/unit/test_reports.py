"""Tables of verify, routes and jobs."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benchfleet import reports
from benchfleet.lab import disks
from benchfleet.runner import Outcome

HELD = {
    "row": "S1",
    "about": "Replication",
    "check": "A row arrives",
    "host": "rep1",
    "id": "row",
    "ok": True,
    "state": "ok",
    "because": "",
    "saw": "after 0.1 s",
}
BROKEN = {
    **HELD,
    "row": "S10",
    "about": "One scheduler",
    "check": "No scheduler",
    "id": "no_scheduler",
    "ok": False,
    "state": "failed",
    "saw": ["pid 12"],
    "wanted": "none",
    "remedy": "stop it",
}
SILENT = {**BROKEN, "state": "unknown", "asked": False, "because": "disk_room on rep1"}


def numbers(line: str) -> list[int]:
    """The numbers that a line names."""
    return [int(number) for number in re.findall(r"\d+", line)]


def test_a_verdict_has_a_line_for_each_row_and_the_remedy_of_what_is_broken():
    *lines, _, last = reports.verdict_table([HELD, BROKEN])
    assert lines == [
        "ROW  WHAT           RESULT",
        "S1   Replication    ok",
        "S10  One scheduler  FAIL 1",
        "",
        "FAIL  S10  rep1  No scheduler",
        "      saw: pid 12",
        "      wanted: none",
        "      remedy: stop it",
        "      id: no_scheduler",
    ]
    assert numbers(last) == [1, 1]
    assert reports.verdict_table([]) == []


def test_all_checks_are_shown_where_there_is_room_for_them():
    printing = {**HELD, "row": "S16", "id": "pdf", "check": "Prints", "applicable": False}
    lines = reports.verdict_table([HELD, printing, SILENT], wide=True)
    ids = [line.strip() for line in lines if "id:" in line]
    assert ids == ["id: row", "id: pdf", "id: no_scheduler"]
    marks = [line.split("  ")[0] for line in lines if line.endswith((" arrives", " Prints"))]
    assert marks == ["ok", "n/a"]
    # Neither ok nor failed: one not asked, one not applicable.
    assert numbers(lines[-1]) == [1, 0, 1, 1]


def test_checks_that_were_not_asked_are_one_line_for_each_cause():
    lines = reports.verdict_table([HELD, SILENT, SILENT, {**SILENT, "because": "x on erp1"}])
    causes = [line for line in lines if " on " in line]
    assert [numbers(line)[0] for line in causes] == [2, 1]
    assert "disk_room on rep1" in causes[0]
    assert "stop it" not in "".join(lines)


def test_a_verdict_has_at_most_80_columns():
    long = {**BROKEN, "saw": "a word " * 60, "remedy": "do this " * 40}
    assert max(map(len, reports.verdict_table([long, {**SILENT, "because": "a b " * 40}]))) <= 80


@pytest.mark.parametrize(
    ("checks", "ok", "status"),
    [
        ([HELD], True, 0),
        ([HELD, BROKEN, SILENT], False, 1),
        ([HELD, SILENT], False, 3),
        ([], False, 3),
        # Something of verify's could not be removed.
        ([HELD], False, 1),
    ],
)
@pytest.mark.parametrize("as_json", [True, False])
def test_verify_ends_with_a_status_of_its_own(
    capsys: pytest.CaptureFixture[str], checks: list, ok: bool, status: int, as_json: bool
):
    left = [] if ok else ["erp1: a ToDo"]
    found = {"checks": checks, "problems": [], "left": left}
    outcome = Outcome(ok, 1.0, Path("/log"), [found], {})
    assert reports.show_verify(outcome, as_json=as_json, wide=False) == status
    shown = capsys.readouterr()
    assert shown.err == ""
    if as_json:
        found = json.loads(shown.out)
        assert (found["ok"], found["checks"], found["left"]) == (status == 0, checks, left)


def test_why_hosts_could_not_be_asked_is_shown():
    results = [{"problems": [{"what": "x"}], "text": "rep1 could not be asked.\n\n1. x"}]
    assert reports.unasked(results) == ["", "rep1 could not be asked.", "", "1. x", ""]
    assert reports.unasked([{"problems": [], "text": ""}, {}]) == []


def test_lists_of_several_results_are_joined():
    assert reports.collected([{"checks": [1]}, {}, {"checks": [2, 3]}], "checks") == [1, 2, 3]


@pytest.mark.parametrize(
    ("line", "server"),
    [
        ("nameserver 10.0.0.2", True),
        ("nameserver 127.0.0.53", False),
        ("nameserver ::1", False),
        ("search example.com", False),
        ("nameserver", False),
        ("", False),
    ],
)
def test_resolvers_that_a_host_can_reach(line, server):
    assert disks.is_server(line) is server


ROUTE = {"method": f"{'long_app.' * 12}run", "bench": "reporting", "why": "it reads " * 9}
ROUTES = [{**ROUTE, "where": "apps/long_app", "light": True}, {**ROUTE, "bench": "primary"}]
QUEUE = {"queue": "at-rep1", "length": 2, "oldest_seconds": 12.4, "running": 1, "workers": 3}
JOBS = {
    "placement": [{"job": f"{'long_app.' * 12}run", "server": "rep1", "queue": "at-rep1"}],
    "queues": [{**QUEUE, "hosts": [f"rep{n}" for n in range(12)], "state": "served " * 9}],
}


def outcome(ok: bool, *results: dict[str, Any]) -> Outcome:
    """A run of a playbook."""
    return Outcome(ok, 1.0, Path("log"), list(results), {})


@pytest.mark.parametrize(
    ("show", "result", "facts"),
    [
        (reports.show_routes, {"routes": [dict(ROUTES[0]), {**ROUTES[1], "where": ""}]}, ["1"]),
        (reports.show_jobs, {"jobs": JOBS}, ["at-rep1", "12s"]),
    ],
)
def test_tables_go_to_standard_output_and_fit(
    show: Callable[..., int],
    result: dict[str, Any],
    facts: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = outcome(True, result)
    assert show(found, as_json=False, wide=False) == 0
    narrow = capsys.readouterr().out
    assert max(map(len, narrow.splitlines())) <= 80
    assert [fact for fact in facts if fact not in narrow] == []
    assert show(found, as_json=False, wide=True) == 0
    wide = capsys.readouterr().out
    long = f"{'long_app.' * 12}run"
    assert (long in narrow, long in wide) == (False, True)
    assert show(found, as_json=True, wide=False) == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True


@pytest.mark.parametrize("show", [reports.show_routes, reports.show_jobs])
def test_nothing_found_out_is_an_exit_status_of_its_own(
    show: Callable[..., int], capsys: pytest.CaptureFixture[str]
) -> None:
    failed = outcome(False, {"failed": True, "msg": "no bench"})
    assert show(failed, as_json=False, wide=False) == 3
    told = capsys.readouterr()
    assert (told.out, "no bench" in told.err) == ("", True)
    assert show(failed, as_json=True, wide=False) == 3
    assert json.loads(capsys.readouterr().out)["ok"] is False
