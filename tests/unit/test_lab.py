"""Machines of a lab: what keeps the services of one apart from those of another."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from benchfleet.lab import machines, state
from benchfleet.shell import FleetError


@pytest.fixture
def groups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the kernel would group processes, beside the older hierarchies."""
    root = tmp_path / "unified"
    root.mkdir()
    monkeypatch.setattr(machines, "CGROUPS", (root, tmp_path))
    return root


def test_machines_have_control_groups_of_their_own(groups: Path, tmp_path: Path):
    (groups / "cgroup.procs").touch()
    one, other = machines.group("bf-a-erp1"), machines.group("bf-b-erp1")
    assert one
    assert other
    assert one != other
    assert one.parent == groups
    # Where it is the only hierarchy.
    (groups / "cgroup.procs").rename(tmp_path / "cgroup.procs")
    assert machines.group("bf-a-erp1") == tmp_path / one.name


def test_a_group_goes_with_its_machine(groups: Path):
    machines.remove_group("bf-a-erp1")
    (groups / "cgroup.procs").touch()
    found = machines.group("bf-a-erp1")
    assert found
    (found / "payload/system.slice/nginx.service").mkdir(parents=True)
    machines.remove_group("bf-a-erp1")
    assert not found.exists()


def test_a_lab_of_a_newer_version_blocks_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "LABS", tmp_path)
    made = state.Lab(name="mine", subnet="10.203.7.0/24", release="bookworm", base="")
    (tmp_path / "mine").mkdir()
    settings = {**dataclasses.asdict(made), "of_a_newer_version": 1}
    (tmp_path / "mine/lab.json").write_text(json.dumps(settings))
    assert state.all_labs() == [made]
    (tmp_path / "mine/lab.json").write_text("[]")
    with pytest.raises(FleetError, match="lab down --name mine"):
        state.load("mine")
