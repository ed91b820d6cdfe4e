"""Times of earlier runs."""

from pathlib import Path

import pytest

from benchfleet import timing
from benchfleet.timing import Last, Times


@pytest.fixture
def times(tmp_path):
    return Times(tmp_path / "times.json", "site.yml", tmp_path / "mine")


def test_a_run_is_found_again(times):
    assert times.last() == Last()
    times.note(62.34, {"One": 60.0, "Two": 2.34}, {"MariaDB": 3.21})
    assert times.last() == Last(62.3, {"One": 60.0, "Two": 2.3})
    assert times.restarts() == {"MariaDB": 3.2}


def test_restarts_that_a_run_had_not_are_kept(times):
    times.note(1, {}, {"MariaDB": 3.0})
    times.note(1, {}, {"Redis": 1.0})
    assert times.restarts() == {"MariaDB": 3.0, "Redis": 1.0}


@pytest.mark.parametrize(
    "arguments", [["--check"], ["-C"], ["--limit", "rep1"], ["--limit=rep1"], ["-t", "x"]]
)
def test_runs_that_do_less_are_kept_apart(times, arguments):
    other = Times(times.file, times.playbook, times.inventory, arguments)
    other.note(1, {}, {})
    assert times.last() == Last()
    assert other.last().seconds == 1


def test_another_inventory_has_its_own_times(times):
    times.note(5, {}, {"Redis": 1.0})
    other = Times(times.file, times.playbook, Path("/elsewhere"))
    assert other.last() == Last()
    assert other.restarts() == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "7",
        '{"runs": [], "restarts": 4}',
        '{"runs": {"a": 3}}',
        "\0\xff",
        '{"runs": {"site.yml": {"seconds": "x"}}}',
    ],
)
def test_garbage_counts_as_nothing_known(times, text):
    times.file.write_text(text)
    assert times.last() == Last()
    assert times.restarts() == {}
    times.note(5, {"One": 5}, {})
    assert times.last().seconds == 5


def test_the_oldest_runs_are_dropped(times, monkeypatch):
    for number in range(timing.RUNS_KEPT + 5):
        monkeypatch.setattr(timing.time, "time", lambda number=number: 1000.0 + number)
        Times(times.file, f"{number}.yml", times.inventory).note(1, {}, {})
    kept = times.read()["runs"]
    assert len(kept) == timing.RUNS_KEPT
    assert not any(name.startswith("4.yml") for name in kept)


@pytest.mark.parametrize(
    ("play", "began", "now", "later", "expected"),
    [("One", 0, 10, ["Two"], 50), ("One", 0, 45, ["Two"], 65), ("Two", 33, 40, [], 53)],
)
def test_expected_follows_the_plays(play, began, now, later, expected):
    last = Last(50, {"One": 30.0, "Two": 20.0})
    assert last.expected(play, began, now, later) == expected


def test_nothing_is_expected_of_an_unknown_run():
    assert Last().expected("One", 0, 3, []) is None
