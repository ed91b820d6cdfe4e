"""Tables of verify and status."""

import re

import pytest

from benchfleet import reports
from benchfleet.lab import disks

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


def numbers(line: str) -> list[int]:
    """The numbers that a line names."""
    return [int(number) for number in re.findall(r"\d+", line)]


def test_a_verdict_shows_the_remedy_of_what_is_broken():
    *lines, last = reports.verdict_table([HELD, BROKEN])
    assert lines == [
        "ok    S1   rep1  A row arrives",
        "      saw: after 0.1 s",
        "FAIL  S10  rep1  No scheduler",
        "      saw: pid 12",
        "      wanted: none",
        "      remedy: stop it",
    ]
    assert numbers(last) == [1, 2]
    assert reports.verdict_table([]) == []


def test_status_shows_how_full_disks_are_and_what_is_kept():
    disk = {"host": "erp1", "path": "/", "holds": ["the bench", "logs"], "bytes": 2**40}
    disks = [
        {**disk, "free": 2**39, "files_free": 9, "used": 0.5, "full": False},
        {**disk, "path": "/var", "free": 5 * 2**20, "files_free": 9, "used": 0.9, "full": True},
    ]
    kept = {"host": "erp1", "what": "dumps of updates", "path": "/b", "number": 3, "bytes": 2**31}
    assert reports.space_tables(disks, [{**kept, "oldest": "2026-01-01"}]) == [
        "",
        "host  file system of  holds            size        free       used",
        "erp1  /               the bench, logs  1024.0 GiB  512.0 GiB  50%",
        "erp1  /var            the bench, logs  1024.0 GiB  5 MiB      90%, too full",
        "",
        "host  kept              in  number  size     oldest",
        "erp1  dumps of updates  /b  3       2.0 GiB  2026-01-01",
    ]
    assert reports.space_tables([], []) == []


def test_a_check_that_is_not_applicable_neither_holds_nor_fails():
    printing = {"row": "S16", "check": "Prints", "host": "erp1", "ok": True, "saw": "a demo"}
    *lines, last = reports.verdict_table([HELD, {**printing, "applicable": False}])
    assert lines == [
        "ok    S1   rep1  A row arrives",
        "      saw: after 0.1 s",
        "n/a   S16  erp1  Prints",
        "      saw: a demo",
    ]
    assert numbers(last) == [1, 1, 1]


def test_checks_that_could_not_be_made_are_counted_alone():
    silent = {**BROKEN, "asked": False}
    assert numbers(reports.verdict_table([HELD, silent])[-1]) == [1, 1, 1]
    assert "remedy" not in "".join(reports.verdict_table([HELD, silent]))
    [line] = reports.verdict_table([silent, silent])
    assert numbers(line) == [2]


def test_why_hosts_could_not_be_asked_is_shown():
    results = [{"problems": [{"what": "x"}], "text": "rep1 could not be asked.\n\n1. x"}]
    assert reports.unasked(results) == ["", "rep1 could not be asked.", "", "1. x", ""]
    assert reports.unasked([{"problems": [], "text": ""}, {}]) == []


def test_a_table_aligns_whatever_its_rows_hold():
    rows = [{"host": "erp1", "up": True}, {"host": "r", "lag": 0.5, "up": None}]
    assert reports.table(rows) == ["host  up   lag", "erp1  yes", "r          0.5"]


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


def test_each_check_shows_its_id():
    held, broken = {**HELD, "id": "row"}, {**BROKEN, "id": "no_scheduler"}
    lines = reports.verdict_table([held, broken])
    assert [line.strip() for line in lines if "id:" in line] == ["id: row", "id: no_scheduler"]


def test_status_shows_troubles_once():
    row = {"host": "erp1", "state": "x (id: units)", "troubles": [{"id": "units", "what": "x"}]}
    assert reports.status_table([row]) == ["host  state", "erp1  x (id: units)"]
