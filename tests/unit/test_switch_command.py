"""What ./fleet does around the playbooks that change the primary."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from benchfleet import cli, inventories, switching
from benchfleet.runner import Outcome
from benchfleet.shell import NOT_FINE, USAGE

HOSTS = {
    "primary": {"hosts": {"erp1": {"ansible_host": "10.0.0.11"}}},
    "reporting": {"hosts": {"rep1": {"ansible_host": "10.0.0.21"}, "rep2": {}}},
}
FINE = {"ok": 1, "changed": 2, "failures": 0, "dark": 0, "skipped": 0}
FOUND = {
    "problems": [],
    "verb": "switchover",
    "primary": "erp1",
    "to": "rep1",
    "new": "rep1",
    "former": "erp1",
    "inventory": "erp1",
    "moved": False,
    "done": False,
}


class Runs:
    """Stands in for the runner: what was run, and how each run ends."""

    def __init__(self) -> None:
        self.asked: list[SimpleNamespace] = []
        self.ends: list[tuple[bool, dict[str, Any]]] = []

    def play(self, playbook: str, inventory: Path, **options: Any) -> Outcome:
        moved = options["besides"]
        options["primary"] = yaml.safe_load(moved.read_text())["primary"] if moved else ""
        self.asked.append(SimpleNamespace(playbook=playbook, inventory=inventory, **options))
        ok, facts = self.ends.pop(0) if self.ends else (True, {})
        stats = {"erp1": FINE if ok else {**FINE, "failures": 1}}
        return Outcome(ok, 1.0, Path("log"), [{"ansible_facts": facts}], stats)

    @property
    def told(self) -> list[tuple[str, str]]:
        """Each playbook with the primary that its groups have, "" as in the inventory."""
        return [(run.playbook, run.primary) for run in self.asked]


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    found = Runs()
    monkeypatch.setattr(switching.runner, "play", found.play)
    monkeypatch.setattr(switching.reports, "show_status", lambda *_, **__: 0)
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    return found


@pytest.fixture
def inventory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("BENCHFLEET_INVENTORY", raising=False)
    (tmp_path / "hosts.yml").write_text(yaml.safe_dump(HOSTS))

    def listed(of: inventories.Asking, *_words: str) -> dict[str, Any]:
        groups = yaml.safe_load((of.inventory / "hosts.yml").read_text())
        hosts = {name: list(group["hosts"]) for name, group in groups.items()}
        return {"_meta": {"hostvars": {}}, **{g: {"hosts": h} for g, h in hosts.items()}}

    monkeypatch.setattr(inventories.Asking, "listed", listed)
    return tmp_path


def fleet(inventory: Path, *words: str) -> int:
    return cli.main(["-i", str(inventory), *words])


SWITCH, SITE, STATUS = "playbooks/switchover.yml", "site.yml", "playbooks/status.yml"


def test_a_switchover_ends_with_site_yml_for_the_groups_as_they_are(
    inventory: Path, runs: Runs, capsys: pytest.CaptureFixture[str]
):
    runs.ends = [(True, {"switch": FOUND})]
    before = (inventory / "hosts.yml").read_text()
    assert fleet(inventory, "switchover", "--yes") == 0
    assert runs.told == [(SWITCH, ""), (SITE, "rep1"), (STATUS, "rep1")]
    assert runs.asked[-1].extra == {"anew": True}
    assert (inventory / "hosts.yml").read_text() == before
    assert "+    rep1:" in capsys.readouterr().err
    runs.ends = [(True, {"switch": FOUND})]
    assert fleet(inventory, "switchover", "--yes", "--write-inventory") == 0
    found = yaml.safe_load((inventory / "hosts.yml").read_text())
    assert found["primary"]["hosts"] == {"rep1": {"ansible_host": "10.0.0.21"}}
    assert set(found["reporting"]["hosts"]) == {"erp1", "rep2"}


def test_a_refused_change_is_followed_by_nothing(inventory: Path, runs: Runs):
    for facts in ({}, {"switch": {**FOUND, "problems": [{"id": "switch_lag"}]}}):
        runs.ends = [(False, facts)]
        runs.asked.clear()
        assert fleet(inventory, "switchover", "--yes", "--write-inventory") == NOT_FINE
        assert runs.told == [(SWITCH, "")]
    assert yaml.safe_load((inventory / "hosts.yml").read_text()) == HOSTS


def test_a_dry_run_is_followed_by_nothing(inventory: Path, runs: Runs):
    runs.ends = [(True, {"switch": FOUND})]
    assert fleet(inventory, "switchover", "--check", "--write-inventory") == 0
    assert runs.told == [(SWITCH, "")]
    assert "--check" in runs.asked[0].arguments
    assert yaml.safe_load((inventory / "hosts.yml").read_text()) == HOSTS


def test_a_killed_command_goes_on_with_the_groups_as_they_are(inventory: Path, runs: Runs):
    moved = {**FOUND, "primary": "rep1", "moved": True, "done": True}
    runs.ends = [(False, {"switch": moved}), (True, {"switch": {**moved, "moved": False}})]
    assert fleet(inventory, "switchover", "--yes") == 0
    assert runs.told == [(SWITCH, ""), (SWITCH, "rep1"), (SITE, "rep1"), (STATUS, "rep1")]
    assert runs.asked[1].extra == {"to": "rep1", "former": "erp1"}


def test_another_node_is_made_the_standby_first(inventory: Path, runs: Runs):
    problem = {"id": switching.NOT_STANDBY}
    other = {**FOUND, "to": "rep2", "new": "rep2"}
    runs.ends = [(False, {"switch": {**other, "problems": [problem]}}), (True, {})]
    runs.ends += [(True, {"switch": other})]
    assert fleet(inventory, "switchover", "--to", "rep2", "--yes") == 0
    assert runs.told == [(SWITCH, ""), (SITE, ""), (SWITCH, ""), (SITE, "rep2"), (STATUS, "rep2")]
    assert [run.extra.get("fleet_standby") for run in runs.asked] == [
        *(None, "rep2", "rep2"),
        *(None, None),
    ]


def test_a_failover_leaves_the_lost_primary_alone(inventory: Path, runs: Runs):
    assert fleet(inventory, "failover") == USAGE
    assert runs.asked == []
    runs.ends = [(True, {"switch": {**FOUND, "verb": "failover"}})]
    assert fleet(inventory, "failover", "--accept-loss", "60", "--confirm", "erp1") == 0
    switch, site, _status = runs.asked
    assert switch.extra == {"accept_loss": 60, "confirm": "erp1"}
    assert site.arguments == ["--limit", "all:!erp1"]


def test_a_host_that_was_ahead_gets_a_new_copy(inventory: Path, runs: Runs):
    back = {**FOUND, "verb": "rejoin", "new": "erp1", "to": "rep1", "former": "rep1"}
    runs.ends = [(True, {"switch": back, "switch_reseed": "rep1"})]
    assert fleet(inventory, "rejoin", "rep1", "--yes") == 0
    switch, site, _status = runs.asked
    assert (switch.playbook, switch.extra) == ("playbooks/rejoin.yml", {"node": "rep1"})
    assert site.extra == {"mariadb_replica_reseed": "rep1"}


def test_the_inventory_is_told_of_although_site_yml_fails(inventory: Path, runs: Runs):
    runs.ends = [(True, {"switch": FOUND}), (False, {})]
    assert fleet(inventory, "switchover", "--yes", "--write-inventory") == NOT_FINE
    assert runs.told == [(SWITCH, ""), (SITE, "rep1")]
    found = yaml.safe_load((inventory / "hosts.yml").read_text())
    assert list(found["primary"]["hosts"]) == ["rep1"]


def test_ansibles_own_output_is_not_to_be_had(inventory: Path, runs: Runs):
    assert fleet(inventory, "switchover", "--yes", "--raw") == USAGE
    assert runs.asked == []


def test_a_file_that_cannot_be_changed_is_named(
    inventory: Path, runs: Runs, capsys: pytest.CaptureFixture[str]
):
    text = yaml.safe_dump(HOSTS, default_flow_style=True)
    (inventory / "hosts.yml").write_text(text)
    runs.ends = [(True, {"switch": FOUND})]
    assert fleet(inventory, "switchover", "--yes", "--write-inventory") == 0
    assert (inventory / "hosts.yml").read_text() == text
    assert "rep1" in capsys.readouterr().err
