"""What a verb asks before it changes something, what it runs, and how it ends."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from benchfleet import checked, cli, inventories, operations
from benchfleet.runner import Outcome
from benchfleet.shell import INTERRUPTED, NOT_ASKED, NOT_FINE, USAGE, Interrupted

HOSTS = """# ours
primary:
  hosts:
    erp1:
      ansible_host: 10.0.0.11
reporting:
  hosts:
    rep1:
      ansible_host: 10.0.0.21
"""
FINE = {"ok": 1, "changed": 2, "failures": 0, "dark": 0, "skipped": 0}
SILENT = {**FINE, "dark": 1}
asked_for = inventories.Asking.listed
# What ansible-inventory lists, by the text of hosts.yml and its own words.
lists: dict[tuple[str, ...], dict[str, Any]] = {}


def listed(of: inventories.Asking, *words: str) -> dict[str, Any]:
    """Ask ansible-inventory once for each text."""
    known = ((of.inventory / "hosts.yml").read_text(), *words)
    if known not in lists:
        lists[known] = asked_for(of, *words)
    return lists[known]


@pytest.fixture
def inventory(tmp_path, monkeypatch):
    monkeypatch.delenv("BENCHFLEET_INVENTORY", raising=False)
    # Programs of the environment, as the launcher has them.
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr(inventories.Asking, "listed", listed)
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "hosts.yml").write_text(HOSTS)
    return folder


class Runs:
    """Stands in for the runner: what was run, and how it ends."""

    def __init__(self) -> None:
        self.asked = []
        self.outcome = Outcome(True, 1.0, Path("log"), [], {"erp1": FINE})

    def play(self, playbook, inventory, **options):
        self.asked.append(SimpleNamespace(playbook=playbook, inventory=inventory, **options))
        return self.outcome


@pytest.fixture
def runs(monkeypatch):
    found = Runs()
    monkeypatch.setattr(operations.runner, "play", found.play)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return found


@pytest.fixture
def typed(monkeypatch):
    """A terminal on which this is typed."""

    def on(text):
        monkeypatch.setattr(operations, "on_terminal", lambda: True)
        monkeypatch.setattr(sys, "stdin", io.StringIO(text))

    return on


def fleet(inventory, *words):
    return cli.main(["-i", str(inventory), *words])


@pytest.mark.parametrize(
    ("words", "playbook", "extra", "arguments"),
    [
        (["apply"], "site.yml", {}, []),
        (["plan"], "site.yml", {}, ["--check", "--diff"]),
        (["apply", "--limit", "rep1", "-vv"], "site.yml", {}, ["--limit", "rep1", "-vv"]),
        (["apply", "-e", "a=b", "-e", "@c"], "site.yml", {}, ["-e", "a=b", "-e", "@c"]),
        (["drain", "rep1"], "playbooks/drain.yml", {"node": "rep1"}, []),
        (["undrain", "rep1"], "playbooks/undrain.yml", {"node": "rep1"}, []),
        (
            ["remove", "rep1", "--check", "--data", "delete"],
            "playbooks/remove_node.yml",
            {"node": "rep1", "data": "delete", "confirm": "rep1"},
            ["--check"],
        ),
        (["update", "--diff"], "playbooks/update.yml", {}, ["--diff"]),
        (
            ["update", "--app", "a=1", "--app", "b=v2"],
            "playbooks/update.yml",
            {"update_commits": {"a": "1", "b": "v2"}},
            [],
        ),
        (["rollback", "--yes"], "playbooks/update.yml", {"update_back": True}, []),
        (["renew"], "playbooks/renew.yml", {}, []),
        (
            ["end-query", "rep1", "5071"],
            "playbooks/end_query.yml",
            {"node": "rep1", "query_id": 5071},
            ["--limit", "rep1"],
        ),
        (["doctor"], "playbooks/doctor.yml", {}, []),
        (["doctor", "rep1"], "playbooks/doctor.yml", {}, ["--limit", "rep1"]),
        (
            ["doctor", "rep1", "--fix", "--check"],
            "playbooks/doctor.yml",
            {"doctor_fix": True},
            ["--check", "--limit", "rep1"],
        ),
        (["logs", "rep1"], "playbooks/logs.yml", {}, ["--limit", "rep1"]),
        (
            ["logs", "rep1", "web", "-n", "9"],
            "playbooks/logs.yml",
            {"logs_what": "web", "logs_lines": 9},
            ["--limit", "rep1"],
        ),
        (["log"], "playbooks/log.yml", {}, []),
        (["rotate"], "playbooks/rotate.yml", {}, []),
        (
            ["remove-app", "shop", "--confirm", "shop"],
            "playbooks/remove_app.yml",
            {"app": "shop", "confirm": "shop"},
            [],
        ),
        (["release", "--check"], "playbooks/release.yml", {"confirm": "erp1"}, ["--check"]),
        (
            ["uninstall", "--yes"],
            "playbooks/uninstall.yml",
            {"data": "keep", "confirm": "erp1"},
            [],
        ),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_verb_is_a_name_for_a_playbook(
    inventory, runs, monkeypatch, words, playbook, extra, arguments
):
    monkeypatch.setattr(operations, "shown", lambda *_: 0)
    assert fleet(inventory, *words) == 0
    (run,) = runs.asked
    assert (run.playbook, run.inventory) == (playbook, inventory)
    assert (run.extra, sorted(run.arguments)) == (extra, sorted(arguments))


def test_what_is_touched_is_shown_first(inventory, runs, capsys):
    assert fleet(inventory, "apply", "--limit", "rep1") == 0
    told = capsys.readouterr()
    assert str(inventory) in told.err
    assert "rep1 (reporting)" in told.err
    assert "erp1 (primary)" not in told.err
    assert "erp1: ok, 2 changes" in told.out


@pytest.mark.parametrize(
    ("words", "answer"),
    [
        (["apply"], "yes"),
        (["rollback"], "yes"),
        (["remove", "rep1"], "rep1"),
        (["remove-app", "shop"], "shop"),
        (["release"], "erp1"),
    ],
)
def test_a_word_is_typed_on_a_terminal(inventory, runs, typed, words, answer):
    for wrong in ("", "no\n", "YES\n", f"{answer}x\n"):
        typed(wrong)
        assert fleet(inventory, *words) == NOT_FINE
    assert runs.asked == []
    typed(f"{answer}\n")
    assert fleet(inventory, *words) == 0
    assert len(runs.asked) == 1
    assert runs.asked[0].extra.get("confirm") == (None if answer == "yes" else answer)


@pytest.mark.parametrize(
    "words", [["apply", "--yes"], ["apply", "--check"], ["remove", "rep1", "--yes"]]
)
def test_it_is_not_typed_twice(inventory, runs, typed, words):
    typed("")
    assert fleet(inventory, *words) == 0
    assert len(runs.asked) == 1


@pytest.mark.parametrize(
    "words",
    [["remove", "rep1"], ["remove-app", "shop"], ["release"], ["rollback"], ["uninstall"]],
)
def test_without_a_terminal_nothing_is_lost_unasked(inventory, runs, capsys, words):
    assert fleet(inventory, *words) == USAGE
    assert runs.asked == []
    assert "--yes" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["drain", "rep9"],
        ["remove", "rep9", "--yes"],
        ["logs", "rep9"],
        ["apply", "--limit", "rep9"],
        ["status", "--limit", "rep9"],
        ["status", "--watch", "--json"],
        ["remove", "rep1", "--confirm", "rep2"],
        ["update", "--app", "frappe"],
        ["add", "rep9"],
        ["add", "erp1", "10.0.0.11"],
        ["add", "rep1", "10.0.0.99"],
        ["add", "rep 9", "10.0.0.99"],
        ["add", "rep9", "10.0.0.99 # x"],
    ],
)
def test_wrong_usage_touches_nothing(inventory, runs, words):
    assert fleet(inventory, *words) == USAGE
    assert runs.asked == []
    assert (inventory / "hosts.yml").read_text() == HOSTS


def test_an_inventory_that_cannot_be_read_is_shown(inventory, runs, capsys):
    (inventory / "hosts.yml").write_text("reporting: [\n")
    assert fleet(inventory, "apply") == USAGE
    assert "hosts.yml" in capsys.readouterr().err
    (inventory / "hosts.yml").write_text("primary:\n")
    assert fleet(inventory, "apply") == USAGE
    assert runs.asked == []


def test_a_node_is_added(inventory, runs, typed, capsys):
    typed("no\n")
    assert fleet(inventory, "add", "rep2", "10.0.0.22") == NOT_FINE
    assert (inventory / "hosts.yml").read_text() == HOSTS
    assert "+    rep2:" in capsys.readouterr().err
    typed("yes\n")
    (inventory / "hosts.yml").chmod(0o640)
    assert fleet(inventory, "add", "rep2", "10.0.0.22") == 0
    assert (inventory / "hosts.yml").read_text() == HOSTS + (
        "    rep2:\n      ansible_host: 10.0.0.22\n"
    )
    assert (inventory / "hosts.yml").stat().st_mode & 0o777 == 0o640
    # The same command goes on.
    assert fleet(inventory, "add", "rep2", "10.0.0.22", "--yes") == 0
    assert [run.playbook for run in runs.asked] == ["site.yml", "site.yml"]


@pytest.mark.parametrize("text", ["reporting: {hosts: {rep1: {}}}\nprimary: {hosts: {erp1: {}}}\n"])
def test_lines_to_add_are_shown_where_the_file_is_left_alone(inventory, runs, capsys, text):
    (inventory / "hosts.yml").write_text(text)
    assert fleet(inventory, "add", "rep2", "10.0.0.22") == USAGE
    assert "ansible_host: 10.0.0.22" in capsys.readouterr().err
    assert (inventory / "hosts.yml").read_text() == text
    assert runs.asked == []


def test_a_node_that_has_left_is_taken_out(inventory, runs, capsys):
    assert fleet(inventory, "remove", "rep1", "--check") == 0
    assert (inventory / "hosts.yml").read_text() == HOSTS
    runs.outcome.ok = False
    assert fleet(inventory, "remove", "rep1", "--yes") == NOT_FINE
    assert (inventory / "hosts.yml").read_text() == HOSTS
    runs.outcome.ok = True
    capsys.readouterr()
    assert fleet(inventory, "remove", "rep1", "--yes") == 0
    assert yaml.safe_load((inventory / "hosts.yml").read_text())["reporting"] == {"hosts": None}
    assert "-    rep1:" in capsys.readouterr().err


def test_a_file_that_somebody_changes_meanwhile_is_left_alone(inventory):
    path = inventory / "hosts.yml"
    with pytest.raises(operations.FleetError):
        operations.rewrite(path, "older\n", "newer\n")
    assert path.read_text() == HOSTS


@pytest.mark.parametrize(
    ("ok", "stats", "status"),
    [
        (True, {"erp1": FINE}, 0),
        (False, {"erp1": {**FINE, "failures": 1}}, NOT_FINE),
        (False, {"erp1": FINE, "rep1": SILENT}, NOT_FINE),
        (False, {"erp1": SILENT, "rep1": SILENT, "localhost": FINE}, NOT_ASKED),
        (False, {}, NOT_FINE),
    ],
)
def test_the_status_of_a_change(inventory, runs, ok, stats, status):
    runs.outcome = Outcome(ok, 1.0, Path("log"), [], stats)
    assert fleet(inventory, "apply") == status


def test_an_interrupted_run_ends_with_its_status(inventory, runs, monkeypatch):
    def stopped(*_: object, **__: object) -> None:
        raise Interrupted("stopped")

    monkeypatch.setattr(operations.runner, "play", stopped)
    assert fleet(inventory, "apply") == INTERRUPTED


def test_a_look_at_an_inventory_that_cannot_be_read_is_wrong_usage(inventory, runs):
    (inventory / "hosts.yml").write_text("primary: [")
    runs.outcome = Outcome(False, 1.0, Path("log"), [], {})
    assert fleet(inventory, "status") == USAGE


def test_one_host_is_touched_by_the_end_of_a_query(inventory, runs, capsys):
    assert fleet(inventory, "end-query", "rep1", "7") == 0
    told = capsys.readouterr().err
    assert "rep1 (reporting)" in told
    assert "erp1" not in told


def test_messages_of_playbooks_are_shown(inventory, runs, capsys):
    runs.outcome.results += [
        {"changed": False, "msg": ["WARNING: one", "two"]},
        {"changed": False, "update_judged.report": ["frappe: a -> b"]},
        {"changed": False, "msg": {"nodes": {"rep1": "cleared"}, "left": []}},
        {"words": "rep1 gets no more calls", "node": "rep1", "waited": 0},
        {"failed": True, "msg": "no", "rc": 1},
        {"changed": False, "msg": ["two"]},
    ]
    assert fleet(inventory, "apply") == 0
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "WARNING: one",
        "two",
        "frappe: a -> b",
        "nodes: rep1: cleared",
        "rep1 gets no more calls",
        "error: no",
        "erp1: ok, 2 changes",
    ]


def verdict(problems, warnings=()):
    return {"ansible_facts": {"preflight_verdict": {"problems": problems, "warnings": warnings}}}


@pytest.mark.parametrize(
    ("ok", "results", "status", "last"),
    [
        (True, [verdict([])], 0, "no problems"),
        (True, [verdict([], ["w"])], 0, "1 warning"),
        (
            False,
            [verdict([{"id": "a"}, {"id": "b"}]), {"msg": "t"}],
            1,
            "2 problems",
        ),
        (False, [verdict([]), {"msg": "rep1 is silent"}], 1, "1 problem"),
        (False, [], NOT_ASKED, "log"),
    ],
)
def test_the_verdict_of_check(capsys, ok, results, status, last):
    outcome = Outcome(ok, 1.0, Path("log"), results, {})
    assert checked.show(outcome, as_json=False, wide=False) == status
    assert last in capsys.readouterr().out.splitlines()[-1]
