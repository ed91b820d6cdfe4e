"""Tables of verify and status, and the tests' closing lines."""

import threading
from collections import Counter

import pytest

from benchfleet import lab, reports, testing

HELD = {"row": "S1", "check": "A row arrives", "host": "rep1", "ok": True, "saw": "after 0.1 s"}
BROKEN = {
    "row": "S10",
    "check": "No scheduler",
    "host": "rep1",
    "ok": False,
    "saw": ["pid 12"],
    "wanted": "none",
    "remedy": "stop it",
}


def test_a_verdict_shows_the_remedy_of_what_is_broken():
    assert reports.verdict_table([HELD, BROKEN]) == [
        "ok    S1   rep1  A row arrives",
        "      saw: after 0.1 s",
        "FAIL  S10  rep1  No scheduler",
        "      saw: pid 12",
        "      wanted: none",
        "      remedy: stop it",
        "1 of 2 checks hold",
    ]
    assert reports.verdict_table([]) == []


def test_a_check_that_is_not_applicable_neither_holds_nor_fails():
    printing = {"row": "S16", "check": "Prints", "host": "erp1", "ok": True, "saw": "a demo"}
    assert reports.verdict_table([HELD, {**printing, "applicable": False}]) == [
        "ok    S1   rep1  A row arrives",
        "      saw: after 0.1 s",
        "n/a   S16  erp1  Prints",
        "      saw: a demo",
        "1 of 1 checks hold, 1 not applicable",
    ]


def test_a_table_aligns_whatever_its_rows_hold():
    rows = [{"host": "erp1", "up": True}, {"host": "r", "lag": 0.5, "up": None}]
    assert reports.table(rows) == ["host  up   lag", "erp1  yes", "r          0.5"]


def test_lists_of_several_results_are_joined():
    assert reports.collected([{"checks": [1]}, {}, {"checks": [2, 3]}], "checks") == [1, 2, 3]


@pytest.mark.parametrize(
    ("line", "counts"),
    [
        ("===== 12 passed in 0.31s =====", {"passed": 12}),
        ("\x1b[31m=== 1 failed, 2 passed, 3 errors in 61.00s (0:01:01) ===\x1b[0m", None),
        ("12 passed in 0.31s", {}),
        ("== unit: pytest", {}),
    ],
)
def test_closing_lines_are_counted(line, counts):
    expected = {"failed": 4, "passed": 2} if counts is None else counts
    assert testing.closing_counts(line) == Counter(expected)


@pytest.mark.parametrize(
    ("line", "red"),
    [
        ("FAILED a/test_x.py::test_y[z] - assert 1 == 2", True),
        ("\x1b[2m│\x1b[0m ERROR ../tests/test_x.py::test_y - OSError", True),
        ("FAILED molecule jobs (13:35): 1 failed, 19 passed", False),
        ("FAILED (errors=1)", False),
    ],
)
def test_red_tests_are_named_at_the_end(line, red):
    found = testing.red_test(line)
    assert (found is not None) == red
    if found:
        closing = testing.closing([testing.Result("unit", False, 1.0, red=[found])], 1.0)
        assert closing[1] == f"    {found}"
        assert "test_x.py::test_y" in found


def test_the_closing_line_sums_up():
    results = [
        testing.Result("unit", True, 2.0, Counter(passed=10)),
        testing.Result("ruff check", True, 1.0),
        testing.Result("molecule default", False, 61.0, Counter(passed=3)),
    ]
    *lines, last = testing.closing(results, 64.0)
    assert lines == [
        "PASSED unit (00:02): 10 passed",
        "PASSED ruff check (00:01)",
        "FAILED molecule default (01:01): 3 passed",
    ]
    assert last.strip("= ") == "1 failed, 14 passed in 64.00s"
    assert len(last) == 80


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
    assert lab.is_server(line) is server


def test_scenarios_that_measure_time_run_alone(monkeypatch):
    at_work, most = set(), {}

    def run_one(title, words, at_once=False):
        at_work.add(title)
        most[title] = set(at_work)
        if at_once:
            barrier.wait(10)
        at_work.discard(title)
        return testing.Result(title, True, 1.0)

    barrier = threading.Barrier(2)
    monkeypatch.setattr(testing, "run_one", run_one)
    monkeypatch.setattr(testing, "is_alone", lambda name: name in ("b", "d"))
    programs = [(name, ["molecule", "test", "-s", name]) for name in "abcdef"]
    others = [(name, [name]) for name in ("pytest", "ruff")]
    results = testing.run_all([*others, *programs])
    assert {result.title for result in results} == {"pytest", "ruff", *"abcdef"}
    for name in ("b", "d"):
        assert most[name] == {name}
    # One scenario asked for is shown as it goes.
    barrier = threading.Barrier(1)
    assert len(testing.run_all(programs[:1])) == 1


def test_every_scenario_that_is_alone_is_there():
    alone = [name for name in testing.scenarios(None) if testing.is_alone(name)]
    assert alone == ["jobs", "read_path"]
