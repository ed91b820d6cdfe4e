"""Machines of a lab: what keeps the services of one apart from those of another."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchfleet.lab import machines


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
