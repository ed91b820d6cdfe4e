"""Saved fleets: when one is the same as another, and which ones are kept."""

from __future__ import annotations

import dataclasses
import json
import os

import pytest

from benchfleet.lab import snapshot, state
from benchfleet.lab.state import Lab
from benchfleet.shell import FleetError

LAB = Lab("trial", "10.210.7.0/24", "bookworm", "/base", nodes=2, frappe_branch="main")


@pytest.fixture
def project(tmp_path):
    (tmp_path / "roles/web/tasks").mkdir(parents=True)
    (tmp_path / "roles/web/tasks/main.yml").write_text("- name: One\n")
    (tmp_path / "site.yml").write_text("---\n")
    return tmp_path


def test_any_change_of_what_makes_a_fleet_has_another_name(project):
    names = [snapshot.digest(LAB, project)]
    task = project / "roles/web/tasks/main.yml"
    for change in (
        lambda: task.write_text("- name: Two\n"),
        lambda: task.rename(task.with_name("other.yml")),
        lambda: task.with_name("other.yml").chmod(0o755),
        lambda: (project / "site.yml").unlink(),
    ):
        change()
        names.append(snapshot.digest(LAB, project))
    for changes in ({"subnet": "10.1.1.0/24"}, {"nodes": 1}, {"base": "/b"}, {"release": "trixie"}):
        names.append(snapshot.digest(dataclasses.replace(LAB, **changes), project))
    assert len(set(names)) == len(names)


def test_what_makes_no_difference_keeps_the_name(project):
    name = snapshot.digest(LAB, project)
    (project / "roles/web/__pycache__").mkdir()
    (project / "roles/web/__pycache__/x.pyc").write_text("")
    (project / "README.md").write_text("")
    assert snapshot.digest(dataclasses.replace(LAB, name="other"), project) == name


def test_every_part_of_it_is_there():
    assert [part for part in snapshot.PARTS if not (snapshot.runner.ROOT / part).exists()] == []


def test_only_the_demo_has_one(project):
    for changes in ({"frappe_source": "/x"}, {"apps": [{"name": "x"}]}, {"prepare": "/x"}):
        with pytest.raises(FleetError, match="`--app`, `--prepare`"):
            snapshot.digest(dataclasses.replace(LAB, **changes), project)


@pytest.fixture
def saved(tmp_path, monkeypatch):
    """Snapshots by name, the oldest first; a lab stands on the first one."""
    monkeypatch.setattr(snapshot, "SNAPSHOTS", tmp_path)
    on_first = dataclasses.replace(LAB, snapshot=str(tmp_path / "s0"))
    monkeypatch.setattr(state, "all_labs", lambda: [LAB, on_first])
    for number in range(5):
        folder = tmp_path / f"s{number}"
        folder.mkdir()
        nodes = 1 if number == 4 else 2
        made = dataclasses.replace(LAB, name="other", nodes=nodes)
        (folder / "lab.json").write_text(json.dumps(dataclasses.asdict(made)))
        for path in (folder / "lab.json", folder):
            os.utime(path, (1000 + number, 1000 + number))
    return tmp_path


def test_old_ones_go_unless_a_lab_stands_on_them(saved):
    snapshot.sweep(saved / "s1")
    assert sorted(path.name for path in saved.iterdir()) == ["s0", "s1", "s4"]


def test_the_newest_one_alike_is_found(saved):
    assert snapshot.newest_like(LAB) == saved / "s3"
    assert snapshot.newest_like(dataclasses.replace(LAB, release="trixie")) is None
