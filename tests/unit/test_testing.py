"""The runner of the project's tests: what it chooses, how it runs that, and what it says of it."""

from __future__ import annotations

import sys
import threading
from collections import Counter

import pytest
import yaml

from benchfleet.runner import ROOT
from benchfleet.shell import FleetError
from benchfleet.testing import programs, results, run
from benchfleet.testing.programs import Program


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
    assert results.closing_counts(line) == Counter(expected)


@pytest.mark.parametrize(
    ("line", "red"),
    [
        ("FAILED a/test_x.py::test_y[z] - assert 1 == 2", True),
        ("\x1b[2m│\x1b[0m ERROR ../tests/test_x.py::test_y - OSError", True),
        ("FAILED jobs (13:35): 1 failed, 19 passed", False),
        ("FAILED (errors=1)", False),
    ],
)
def test_red_tests_are_named_at_the_end(line, red):
    found = results.red_test(line)
    assert (found is not None) == red
    if found:
        closing = results.closing([results.Result("unit", False, 1.0, red=[found])], 1.0)
        assert closing[1] == f"    {found}"
        assert "test_x.py::test_y" in found


def test_the_closing_line_sums_up():
    ended = [
        results.Result("unit", True, 2.0, Counter(passed=10)),
        results.Result("ruff check", True, 1.0),
        results.Result("default", False, 61.0, Counter(passed=3)),
    ]
    *lines, last = results.closing(ended, 64.0)
    assert lines == [
        "PASSED unit (00:02): 10 passed",
        "PASSED ruff check (00:01)",
        "FAILED default (01:01): 3 passed",
    ]
    assert last.strip("= ") == "1 failed, 14 passed in 64.00s"
    assert len(last) == 80


def titles(*wanted):
    return [program.title for program in programs.chosen(wanted)]


def test_everything_is_chosen_but_what_takes_long():
    assert titles() == ["unit", *(title for title, _ in programs.LINTERS), *programs.scenarios()]
    assert titles("jobs", "unit") == ["unit", "jobs"]
    assert titles("molecule") == programs.scenarios()


def test_an_unknown_test_is_refused_with_the_names_there_are():
    with pytest.raises(FleetError, match=r"'job'.*\bunit, .*, jobs, "):
        programs.chosen(["unit", "job"])


def test_the_fleet_that_others_copy_is_begun_first():
    first, second, *_ = programs.ordered(programs.chosen([]))
    assert (first.title, second.title) == ("default", "unit")


def test_the_order_has_only_scenarios_that_exist():
    for name in programs.scenarios():
        assert (ROOT / "molecule" / name / "molecule.yml").exists(), name


def test_each_scenario_has_a_lab_of_its_own():
    labs = [program.lab for program in programs.chosen(["molecule"])]
    assert len(set(labs)) == len(labs)


def test_copies_are_all_of_the_fleet_that_the_first_scenario_saves():
    def options(name):
        return programs.settings(name)["env"]["BENCHFLEET_TEST_LAB"]

    copies = {options(name) for name in programs.scenarios() if "--copy" in options(name)}
    assert copies == {options("default").replace("--bare", "--copy")}


def test_a_step_of_molecule_is_known_by_its_line():
    line = "\x1b[36mINFO    \x1b[0m jobs ➜ verify ../tests/jobs: \x1b[36mExecuting\x1b[0m\n"
    assert results.stage_of(line) == "verify ../tests/jobs"
    assert results.stage_of("INFO jobs ➜ verify: Executed: Successful") is None


def python(title, code, **options):
    return Program(title, [sys.executable, "-c", code], **options)


def test_programs_are_counted_and_their_output_is_kept(tmp_path, capfd):
    good = python("good", "print('=== 3 passed in 0.1s ===')")
    bad = python("bad one", "print('why it failed'); raise SystemExit(1)")
    results = run.Run(tmp_path).all([good, bad])
    assert [(result.title, result.ok) for result in results] == [("good", True), ("bad one", False)]
    assert results[0].counts == Counter(passed=3)
    assert (tmp_path / "bad-one.log").read_text() == "why it failed\n"
    shown = capfd.readouterr().out
    assert "why it failed" in shown
    assert "3 passed" not in shown


def test_of_each_step_only_the_last_closing_line_counts(tmp_path, monkeypatch):
    # A failed test shows the output of a pytest that it ran itself.
    monkeypatch.setattr(run, "settings", lambda name: {"steps": ["verify", "verify ../again"]})
    lines = ["=== 900 passed in 9.0s ===", "=== 1 failed, 2 passed in 9.9s ==="]
    step = ["INFO jobs ➜ verify: Executing", *lines]
    program = python("jobs", f"print({chr(10).join(step * 2)!r})", scenario=True)
    result = run.Run(tmp_path).play(program)
    assert result.counts == Counter(failed=2, passed=4)
    assert [name for name, _ in result.stages] == ["verify", "verify ../again"]


def test_what_needs_a_copy_begins_after_the_fleet_is_saved(tmp_path):
    tests = run.Run(tmp_path)
    tests.saved.clear()
    waiting = [python("copy", "", copies=True), python("bare", ""), python("last", "")]
    assert tests.take(waiting).title == "bare"
    tests.saved.set()
    assert [tests.take(waiting).title for _ in range(2)] == ["copy", "last"]


def test_nothing_is_left_to_a_scenario_of_an_earlier_run(tmp_path, monkeypatch):
    monkeypatch.setattr(run, "settings", lambda name: {"steps": []})
    code = "import os; print(os.environ['MOLECULE_EPHEMERAL_DIRECTORY'])"
    run.Run(tmp_path).play(python("jobs", code, scenario=True))
    assert (tmp_path / "jobs.log").read_text() == f"{tmp_path}/jobs.molecule\n"


def test_an_accepted_status_is_no_failure(tmp_path):
    nothing = python("none", "raise SystemExit(5)", accepted=(0, 5))
    assert run.Run(tmp_path).one(nothing).ok


@pytest.mark.usefixtures("two_lanes")
def test_the_first_failure_ends_the_rest_where_that_is_wished(tmp_path):
    endless = python("endless", "import signal; print('up', flush=True); signal.pause()")
    tests = run.Run(tmp_path, fail_fast=True)
    started = threading.Event()
    play = tests.play

    def watched(program):
        if program.title == "failing":
            assert started.wait(60)
        else:
            started.set()
        return play(program)

    tests.play = watched
    failing, never = python("failing", "raise SystemExit(1)"), python("never", "")
    results = tests.all([endless, failing, never])
    assert {result.title: result.ok for result in results} == {"endless": False, "failing": False}


def test_hooks_of_commits_are_the_linters():
    settings = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = [hook for repo in settings["repos"] for hook in repo["hooks"]]
    commands = [hook["entry"].removeprefix(".venv/bin/").split() for hook in hooks]
    # It takes minutes, too long for each commit.
    linters = [words for title, words in programs.LINTERS if title != "ansible-lint"]
    assert commands == linters
    assert {hook["language"] for hook in hooks} == {"system"}


@pytest.fixture
def two_lanes(monkeypatch):
    monkeypatch.setattr(run, "lanes", lambda: 2)
