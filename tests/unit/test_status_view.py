"""The screen of `./fleet status`: what it shows of each state, in 80 columns."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from fleet.status import fleet as fleet_status

from benchfleet import reports, screen, status_view
from benchfleet.runner import Outcome
from benchfleet.shell import Interrupted

NOW = 1.9e9
DISK = {"path": "/", "holds": ["the bench"], "bytes": 2**37, "free": 53 * 2**30, "files_free": 9}


def a_host(name: str, role: str, *troubles: dict[str, str], **about: Any) -> dict[str, Any]:
    """What node_status returns of a host in order, with some troubles."""
    primary = role == "primary"
    levels = [one["level"] for one in troubles]
    found: dict[str, Any] = {
        "host": name,
        "role": role,
        "level": fleet_status.worst(levels),
        "troubles": list(troubles),
        "lag_seconds": 0.2,
        "sync_age_seconds": None if primary else 3.1,
        "workers": {"web": 4, "background": 6 if primary else 0, "scheduler": int(primary)},
        "certificate_days": {"authority": 3000, "server": 300 if primary else 290},
        "file_systems": [{**DISK, "used": 0.5, "full": False, "level": "ok"}],
        "kept": [],
    }
    if primary:
        found |= {"drained": [], "waiting": [], "sites": ["a.example.com"], "sites_not_served": []}
        found["queues"] = {"waiting": 0, "oldest_seconds": None, "by_queue": []}
    else:
        found["reports_read"] = "replica"
    return {**found, **about}


def trouble(name: str, level: str, what: str) -> dict[str, str]:
    """A trouble of a host."""
    return {"id": name, "level": level, "what": what}


def outcome_of(
    *hosts: dict[str, Any], dead: str = "", inventory: str = "mine/hosts.yml"
) -> Outcome:
    """A run of playbooks/status.yml over hosts; the one named could not be asked."""
    asked = {
        host["host"]: {
            "role": host["role"],
            "status": {} if host["host"] == dead else host,
            "trouble": "left out by --limit",
        }
        for host in hosts
    }
    _, found = fleet_status.status(inventory, asked, {}, {"problems": [], "text": ""})
    return Outcome(True, 1.0, Path("log"), [found], {})


ERP1 = a_host("erp1", "primary")
REP1 = a_host("rep1", "reporting")
STOPPED = trouble("threads", "red", "replication stopped: 1950, a write on the replica" * 3)
FULL = trouble("disk_full", "amber", "the file system of /var is 84% full")
LONG = "a-host-whose-name-goes-on-and-on.in.a.long.example.com"
# Hosts, the one that is dead, the exit status, and words of the states in order.
SCREENS: dict[str, tuple[list[dict[str, Any]], str, int, list[str]]] = {
    "ok": ([ERP1, REP1], "", 0, ["ok", "ok"]),
    "amber": ([ERP1, a_host("rep1", "reporting", FULL)], "", 0, ["ok", "disk"]),
    "red": ([ERP1, a_host("rep1", "reporting", FULL, STOPPED)], "", 1, ["ok", "STOPPED +1"]),
    "dead node": ([ERP1, REP1], "rep1", 1, ["ok", "NO ANSWER"]),
    "dead primary": ([ERP1, REP1], "erp1", 1, ["NO ANSWER", "ok"]),
    "none": ([ERP1], "erp1", 3, ["NO ANSWER"]),
    "ten": ([ERP1, *(a_host(f"rep{n}", "reporting") for n in range(9))], "rep4", 1, []),
    "unknown": (
        [ERP1, a_host("rep1", "reporting", trouble("new_id", "red", "x"))],
        "",
        1,
        ["ok", "PROBLEM"],
    ),
    "long": ([a_host(LONG, "primary", FULL), a_host(f"r{LONG}", "reporting", STOPPED)], "", 1, []),
}


def shown(outcome: Outcome, capsys: pytest.CaptureFixture[str], **how: bool) -> tuple[int, str]:
    """The exit status, and what standard output shows."""
    status = reports.show_status(outcome, **{"as_json": False, "wide": False, **how})
    return status, capsys.readouterr().out


@pytest.mark.parametrize("name", SCREENS)
def test_each_state_has_its_screen_of_80_columns(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    hosts, dead, wanted, words = SCREENS[name]
    status, text = shown(outcome_of(*hosts, dead=dead), capsys)
    lines = text.splitlines()
    assert status == wanted
    assert max(map(len, lines)) <= screen.WIDTH
    rows = lines[2 : 2 + len(hosts)]
    at = lines[1].index("STATE")
    assert [row[at:].split("  ")[0].strip() for row in rows][: len(words)] == words
    # A mark for each trouble, and no line for people who only see colours.
    assert "\033" not in text
    marks = [line[0] for line in lines if line[:2] in ("! ", "~ ")]
    assert ("!" in marks) is (wanted != 0)
    assert marks == sorted(marks)


def test_a_row_has_the_numbers_of_its_host(capsys: pytest.CaptureFixture[str]) -> None:
    full = {**DISK, "used": 0.97, "free": 2 * 2**30, "full": True, "level": "red"}
    lame = a_host("rep1", "reporting", lag_seconds=130, reports_read="primary for 3 s: replica lag")
    lame["file_systems"].append(full)
    text = shown(outcome_of(ERP1, lame), capsys)[1]
    head, erp1, rep1 = (line.split() for line in text.splitlines()[1:4])
    assert head == ["HOST", "ROLE", "STATE", "LAG", "WORKERS", "FILES", "DISK", "IN", "SERVICE"]
    assert erp1 == ["erp1", "primary", "ok", "-", "4+6+s", "-", "53G", "yes"]
    cells = ["rep1", "report", "ok", "2m", "4+0", "3s", "2G", "97%!"]
    assert (rep1[:8], rep1[-1]) == (cells, "erp1")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "?"), (0.2, "0s"), (99, "99s"), (100, "2m"), (5999, "100m"), (6000, "2h"), (2e5, "2d")],
)
def test_durations_are_short(seconds: float | None, text: str) -> None:
    assert status_view.span(seconds) == text


def test_nothing_on_the_screen_steers_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    bad = trouble("threads", "red", "\033]0;title\007 then\nmore")
    text = shown(outcome_of(ERP1, a_host("rep\0331", "reporting", bad)), capsys, wide=True)[1]
    assert "\033" not in text
    assert "\007" not in text


def test_colours_are_for_terminals_that_want_them(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    red = outcome_of(ERP1, a_host("rep1", "reporting", STOPPED))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    assert screen.coloured()
    coloured = status_view.lines_of(status_view.gathered(red) or {}, wide=False, now=NOW)
    monkeypatch.setenv("NO_COLOR", "1")
    without = status_view.lines_of(status_view.gathered(red) or {}, wide=False, now=NOW)
    assert coloured != without
    assert [re.sub("\033\\[[0-9]+m", "", line) for line in coloured] == without


def test_an_id_is_not_torn_from_its_label() -> None:
    lines = screen.paragraph("! ", f"{'x' * 74} (id: threads) and more", 80)
    assert [line for line in lines if "(id: threads)" in line]


def test_hosts_with_the_same_trouble_share_its_lines(capsys: pytest.CaptureFixture[str]) -> None:
    hosts = [a_host(f"rep{n}", "reporting", FULL) for n in (1, 2)]
    text = shown(outcome_of(ERP1, *hosts), capsys)[1]
    assert text.count("disk_full") == 1
    assert "rep1, rep2" in text


def test_what_is_under_the_table_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    queue = {"queue": "long", "waiting": 3, "oldest_seconds": 50, "workers": 2}
    queues = {"waiting": 3, "oldest_seconds": 50, "by_queue": [queue, {**queue, "waiting": 0}]}
    run = {"when": NOW, "who": "ann", "controller": "ctl", "playbook": "site.yml"}
    runs = [{**run, "result": "ok", "seconds": 61}, {**run, "when": NOW - 9, "who": "bob"}]
    wait = {"waiting_id": 7, "blocking_id": 9, "seconds": 34, "query": "UPDATE t", "user": "_a"}
    wait |= {"blocking_user": "_b", "blocking_query": ""}
    slow = {"name": "Stock Ledger", "host": "rep1", "seconds": 84.2, "at": NOW}
    kept = {"id": "dumps", "what": "dumps", "path": "/b", "number": 3, "bytes": 2**31, "oldest": ""}
    hosts = [
        a_host("erp1", "primary", queues=queues, last_run=runs[0], waits=[wait], slow=[slow]),
        a_host("rep1", "reporting", last_run=runs[1], age_seconds=95, kept=[kept]),
    ]
    text = shown(outcome_of(*hosts), capsys)[1]
    lines = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    for label, facts in {
        "reports": ["rep1"],
        "queues": ["3", "50s", "long 3"],
        "scheduler": ["erp1"],
        "certificates": ["290", "rep1"],
        "last run": ["site.yml", "ann", "ctl", "ok", "61s"],
        "old state": ["rep1", "95s"],
        "slow report": ["Stock Ledger", "84s", "rep1"],
        "waits": ["7", "34s", "9", "_b", "erp1"],
        "kept": ["3", "2G"],
    }.items():
        assert [fact for fact in facts if fact not in lines[label]] == [], label
    assert "./fleet end-query erp1 9 -i" in text


def test_versions_are_in_force_and_only_newer_ones_are_upgrades() -> None:
    row = {"software": "uv", "hosts": ["erp1"], "in_force": "0.13.9", "upgrade": ""}
    newer = {**row, "software": "MariaDB", "in_force": "1.0", "available": "1.1", "upgrade": "x"}
    assert dict(status_view.versions_texts([row])) == {"versions": "uv 0.13.9"}
    both = dict(status_view.versions_texts([row, newer, {**newer, "hosts": ["rep1"]}]))
    assert both["upgrades"] == "MariaDB 1.0 (erp1) to 1.1, MariaDB 1.0 (rep1) to 1.1"


def test_long_tables_are_for_wide(capsys: pytest.CaptureFixture[str]) -> None:
    outcome = outcome_of(ERP1, a_host("rep1", "reporting", memory_free="1 of 2 GiB"))
    narrow, wide = (shown(outcome, capsys, wide=wide)[1] for wide in (False, True))
    for fact in ("FILE SYSTEM OF", "1 of 2 GiB"):
        assert (fact in narrow, fact in wide) == (False, True)


def test_programs_get_every_part(capsys: pytest.CaptureFixture[str]) -> None:
    red = outcome_of(ERP1, a_host("rep1", "reporting", STOPPED))
    status, text = shown(red, capsys, as_json=True)
    found = json.loads(text)
    keys = {"ok", "level", "benchfleet", "fleet", *status_view.LISTS}
    assert (status, set(found), found["ok"], found["level"]) == (1, keys, False, "red")
    amber = outcome_of(ERP1, a_host("rep1", "reporting", FULL))
    assert json.loads(shown(amber, capsys, as_json=True)[1])["ok"] is True


def test_without_a_result_the_status_is_not_known(capsys: pytest.CaptureFixture[str]) -> None:
    nothing = Outcome(False, 1.0, Path("log"), [], {})
    assert shown(nothing, capsys) == (3, "")
    status, text = shown(nothing, capsys, as_json=True)
    assert (status, json.loads(text)["ok"]) == (3, False)


def one_after_the_other(
    *outcomes: Outcome, end: Callable[[], BaseException] = KeyboardInterrupt
) -> Callable[[], Outcome]:
    """Give one outcome at each call, then Ctrl-C."""
    left = list(outcomes)

    def ask() -> Outcome:
        if not left:
            raise end()
        return left.pop(0)

    return ask


def test_a_watch_ends_with_the_last_exit_status(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(time, "sleep", slept.append)
    red = outcome_of(ERP1, a_host("rep1", "reporting", STOPPED))
    assert status_view.watch(one_after_the_other(outcome_of(ERP1), red), wide=False) == 1
    assert slept == [5, 5]
    assert capsys.readouterr().out.count("HOST") == 2
    with pytest.raises(KeyboardInterrupt):
        status_view.watch(one_after_the_other(), wide=False)
    # The runner's own end of a run that Ctrl-C has stopped.
    asked = one_after_the_other(outcome_of(ERP1), end=partial(Interrupted, "stopped"))
    assert status_view.watch(asked, wide=False) == 0


@pytest.mark.parametrize(
    ("hosts", "dead", "ids"),
    [
        ([ERP1, REP1], "", []),
        ([ERP1], "", []),
        ([a_host("erp1", "primary", drained=["rep1"]), REP1], "", ["reports_on_primary"]),
        ([ERP1, REP1], "rep1", ["reports_on_primary"]),
        ([ERP1, a_host("rep1", "reporting", reports_read="primary for 1 s: replica lag")], "", []),
        (
            [ERP1, a_host("rep1", "reporting", trouble("read_only", "red", "x"))],
            "",
            ["two_primaries"],
        ),
        # Each host says of its own schedulers that they are none, or too many.
        (
            [
                a_host("erp1", "primary", workers={"web": 4, "background": 1, "scheduler": 0}),
                a_host("rep1", "reporting", workers={"web": 4, "background": 1, "scheduler": 1}),
            ],
            "",
            [],
        ),
        (
            [
                a_host("erp1", "primary", workers={"web": 0, "background": 1, "scheduler": 1}),
                a_host("rep1", "reporting", workers={"web": 0, "background": 0, "scheduler": 0}),
            ],
            "",
            ["reports_unanswered"],
        ),
        # What an unasked primary would say is not known.
        ([ERP1, REP1], "erp1", []),
    ],
)
def test_only_the_comparison_of_hosts_shows_some_troubles(
    hosts: list[dict[str, Any]], dead: str, ids: list[str]
) -> None:
    whole = outcome_of(*hosts, dead=dead).results[0]["fleet"]
    assert [one["id"] for one in whole["troubles"]] == ids
    levels = {one["level"] for one in whole["troubles"]}
    assert levels <= {"amber", "red"}
    assert fleet_status.LEVELS.index(whole["level"]) >= max(
        map(fleet_status.LEVELS.index, levels), default=0
    )


def test_whether_a_node_is_in_service() -> None:
    primary = a_host("erp1", "primary", drained=["rep1", "rep2"], waiting=["rep2"])
    nodes = [a_host(f"rep{n}", "reporting") for n in (1, 2, 3, 4)]
    nodes[3]["workers"] = {"web": 0, "background": 1, "scheduler": 0}
    rows = outcome_of(primary, *nodes).results[0]["status"]
    states = [row["in_service"] for row in rows]
    assert states == ["yes", "drained", "waiting", "yes", "no_web"]
    assert "waiting" not in rows[0]


def test_what_the_next_update_needs_is_beside_its_disk(capsys: pytest.CaptureFixture[str]) -> None:
    needing = {**DISK, "used": 0.5, "full": False, "level": "ok", "needed": 3 * 2**30}
    needs = [{"device": 2049, "bytes": 3 * 2**30, "what": "its new code"}]
    host = a_host("erp1", "primary", file_systems=[needing], update_needs=needs)
    text = shown(outcome_of(host), capsys, wide=True)[1]
    row = next(line for line in text.splitlines() if line.endswith(" 3G"))
    assert row.startswith("erp1 ")
    assert "2049" not in text


def test_a_fleet_is_named_after_its_inventorys_folder(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    for path in (f"{folder}", f"{folder}/", f"{folder}/hosts.yml"):
        assert fleet_status.fleet_name(path) == "mine"
    assert fleet_status.fleet_name("") == "fleet"


def test_commands_name_the_inventory_where_the_environment_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("BENCHFLEET_INVENTORY", raising=False)
    mine = str(tmp_path / "inventory/mine")
    assert status_view.inventory_option(mine) == " -i inventory/mine"
    assert status_view.inventory_option("/else/where") == " -i /else/where"
    monkeypatch.setenv("BENCHFLEET_INVENTORY", "inventory/mine")
    assert status_view.inventory_option(mine) == ""
    assert status_view.commands_for("`./fleet undrain a` or `b`", " -i x") == (
        "`./fleet undrain a -i x` or `b`"
    )
    assert status_view.commands_for("`./fleet undrain a`", " -i x") == "./fleet undrain a -i x"


def test_a_remedy_of_a_host_that_was_not_asked_is_its_own() -> None:
    hosts = {"rep1": {"role": "reporting", "status": {}, "trouble": "x"}}
    problem = {"id": "no_key", "what": "rep1, rep2: its key is unknown", "remedy": "accept its key"}
    problem["facts"] = {"hosts": ["rep1", "rep2"]}
    why, found = fleet_status.status("", hosts, {}, {"problems": [problem], "text": "rep1"})
    assert why == "rep1"
    (one,) = found["status"][0]["troubles"]
    assert one["remedy"] == "accept its key"
    assert "no_key" in one["what"]
    assert "rep2" not in one["what"]


RECORD = {"primary": "erp1", "epoch": 7, "since": "2026-11-30T10:00:00+00:00"}
RECORD |= {"open": True, "why": "", "alone": False}


@pytest.mark.parametrize(
    ("of_erp1", "of_rep1", "shown"),
    [
        (None, None, []),
        ({}, {"open": False}, ["erp1", "7", "30 Nov"]),
        ({"open": False, "why": "rep1 is silent"}, None, ["erp1", "rep1 is silent"]),
        ({}, {"epoch": 8, "primary": "rep1"}, ["rep1", "8"]),
    ],
)
def test_it_is_shown_who_is_primary(
    of_erp1: dict[str, Any] | None, of_rep1: dict[str, Any] | None, shown: list[str]
) -> None:
    rows = [
        {"host": host, "record": None if of is None else {**RECORD, **of}}
        for host, of in (("erp1", of_erp1), ("rep1", of_rep1))
    ]
    text = status_view.primary_text(rows)
    assert bool(text) is bool(shown)
    assert all(words in text for words in shown)


def test_a_primary_that_opened_alone_is_shown_as_such() -> None:
    row = {"host": "erp1", "record": RECORD}
    alone = {"host": "erp1", "record": {**RECORD, "alone": True}}
    usual = status_view.primary_text([row])
    assert status_view.primary_text([alone]).startswith(f"{usual};")


def test_records_that_differ_are_red() -> None:
    hosts = [{**ERP1, "record": RECORD}, {**REP1, "record": {**RECORD, "epoch": 8}}]
    (found,) = outcome_of(*hosts).results
    assert [one["id"] for one in found["fleet"]["troubles"]] == ["records_alike"]
    assert found["level"] == "red"
    same = [{**one, "record": RECORD} for one in hosts]
    assert outcome_of(*same).results[0]["fleet"]["troubles"] == []
