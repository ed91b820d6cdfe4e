"""The runs of a fleet as a table."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchfleet import runlog, runner, screen


def entry(run: str, host: str, begun: float, **more: Any) -> dict[str, Any]:
    """A run as a host knows it."""
    return {
        "run": run,
        "host": host,
        "account": "ann",
        "controller": "desk.example.com",
        "address": "192.0.2.1",
        "version": "0.2.0",
        "playbook": "site.yml",
        "arguments": "--limit rep1",
        "begun": begun,
        "result": "did not end",
        **more,
    }


RUNS = [
    entry("a", "erp1", 100.0, result="ok, nothing changed", seconds=184.0),
    entry("b", "erp1", 200.0),
    entry("a", "rep1", 101.0),
    entry(
        "c",
        "erp1",
        300.0,
        account="a-very-long-name",
        result="failed on erp1, rep1, rep2 at 'mariadb : MariaDB runs with the fleet settings'",
        seconds=9.4,
    ),
]


def outcome(results: list[dict[str, Any]]) -> runner.Outcome:
    """The outcome of playbooks/log.yml."""
    return runner.Outcome(ok=True, seconds=1.0, log=Path("log"), results=results, stats={})


def test_a_run_is_one_row_with_all_its_hosts() -> None:
    """The newest run is first; one host that knows its end is enough."""
    found = runlog.merged(RUNS)
    assert [run["run"] for run in found] == ["c", "b", "a"]
    assert found[2]["hosts"] == ["erp1", "rep1"]
    assert (found[2]["result"], found[2]["seconds"]) == (RUNS[0]["result"], 184.0)
    assert found[1].get("seconds") is None
    assert runlog.merged(reversed(RUNS))[2]["seconds"] == 184.0


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0.4, "0s"), (59.6, "1m00s"), (184.0, "3m04s")]
)
def test_durations(seconds: float | None, text: str) -> None:
    """Seconds, and minutes from one on."""
    assert runlog.duration(seconds) == text


def test_the_table_has_80_columns_and_the_whole_result() -> None:
    """A result that is too long for its line goes on in the next."""
    lines = runlog.log_table(runlog.merged(RUNS), wide=False)
    assert max(map(len, lines)) <= screen.WIDTH
    column = lines[0].index("RESULT")
    result = " ".join(line[column:] for line in lines[1 : lines.index(lines[-2])])
    assert str(RUNS[3]["result"]) in " ".join(result.split())


def test_wide_tells_all() -> None:
    """Names of all hosts, the options, the controller's address and the version."""
    text = "\n".join(runlog.log_table(runlog.merged(RUNS), wide=True))
    for word in ("erp1 rep1", "--limit rep1", "192.0.2.1", "0.2.0", "a-very-long-name@desk"):
        assert word in text


def test_json_and_status(capsys: pytest.CaptureFixture[str]) -> None:
    """0 where a host answered, also without runs; 3 where none did."""
    assert runlog.show(outcome([{"runs": RUNS}]), as_json=True, wide=False) == 0
    assert [run["run"] for run in json.loads(capsys.readouterr().out)["runs"]] == ["c", "b", "a"]
    assert runlog.show(outcome([{"runs": []}]), as_json=False, wide=False) == 0
    assert capsys.readouterr().out
    assert runlog.show(outcome([{"unreachable": True}]), as_json=False, wide=False) == 3
    assert not capsys.readouterr().out
