"""The plays of an update, and of a release, with stand-ins for the modules that work on hosts."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
COUNTED_FILTER = """
with open(LOG, "a") as log:
    log.write(".")

class FilterModule:
    def filters(self):
        return {}
"""
# Reaches the host as a module would, notes what it was asked for, and answers as the test says. An
# action of Ansible's own process: a module would be one more Python for each host and task.
STAND_IN = """
import json
from pathlib import Path
from ansible.plugins.action import ActionBase

class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        asked, name = self._task.args, Path(__file__).stem
        which = str(asked.get("phase") or asked.get("every") or asked.get("drained") or "")
        self._connection.exec_command("true")
        with open(LOG, "a") as log:
            log.write(json.dumps([name, which, asked.get("node", "")]) + "\\n")
        answer = ANSWERS.get(f"{name} {which}".strip(), ANSWERS.get(name, {}))
        return {"changed": True, **answer}
"""
ANSWERS: dict[str, Any] = {
    # Nothing of a release goes on from there.
    "snapshot_restore": {"failed": True, "msg": "no record"},
    "supervisor_programs": {"did": []},
    "bench_update judge": {"going": True, "code": True, "drained": ["rep1", "rep2"], "report": []},
    "bench_update status": {"touched": False, "message": "told"},
    "bench_update back": {"touched": False, "drained": ["rep1", "rep2"], "report": ["old commits"]},
    "bench_update finish": {"drained": ["rep1", "rep2"], "report": []},
}


@dataclass
class Played:
    """A run of ansible-playbook: its exit status, what it said, and what the modules were asked.

    loads: how often the filters were loaded.
    """

    status: int
    output: str
    asked: list[list[str]]
    loads: int


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., Played]:
    """Plays one play of a playbook on a primary that is this machine; rep1 cannot be reached."""
    for folder in ("actions", "filters"):
        (tmp_path / folder).mkdir()
    log, loads = tmp_path / "log", tmp_path / "loads"
    log.touch()
    loads.touch()
    (tmp_path / "filters/counted.py").write_text(COUNTED_FILTER.replace("LOG", repr(str(loads))))
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    lost = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}
    groups: dict[str, Any] = {
        "primary": {"hosts": {"erp1": local}},
        "reporting": {"hosts": {"rep1": lost, "rep2": local}},
        "bench_primary": {"children": {"primary": None}},
        "router": {"children": {"primary": None}},
        "bench_reporting": {"children": {"reporting": None}},
    }

    def run(playbook: str, name: str, nodes: bool = True, **variables: Any) -> Played:
        if not nodes:
            del groups["reporting"]["hosts"]
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups}}))
        text = STAND_IN.replace("LOG", repr(str(log))).replace("ANSWERS", repr(ANSWERS))
        for module in (ROOT / "library").glob("*.py"):
            (tmp_path / "actions" / module.name).write_text(text)
        plays = yaml.safe_load((ROOT / "playbooks" / playbook).read_text())
        chosen = {**next(p for p in plays if p["name"] == name), "become": False}
        later = {"hosts": "all", "tasks": [{"ansible.builtin.debug": {"msg": "the run went on"}}]}
        (tmp_path / "play.yml").write_text(yaml.safe_dump([chosen, later]))
        known = {"fleet_state_dir": str(tmp_path), **variables}
        command = str(Path(sys.executable).parent / "ansible-playbook")
        done = subprocess.run(
            [command, "-i", "hosts.yml", "play.yml", "-e", json.dumps(known)],
            cwd=tmp_path,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_ACTION_PLUGINS": str(tmp_path / "actions"),
                "ANSIBLE_FILTER_PLUGINS": f"{ROOT}/filter_plugins:{tmp_path}/filters",
                "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
                "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
            },
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        asked = [json.loads(line) for line in log.read_text().splitlines()]
        return Played(done.returncode, done.stdout, asked, len(loads.read_text()))

    return run


def test_a_node_that_is_lost_on_the_way_ends_in_the_way_back(play: Callable[..., Played]):
    done = play("update.yml", "Primary is updated", __update_apps={})
    assert done.status == 2, done.output
    assert "the run went on" not in done.output
    phases = [which for module, which, _ in done.asked if module == "bench_update"]
    # Users have not been out for it.
    assert phases == ["judge", "begin", "quiet", "status", "back", "open", "forget"], done.output
    # The other one is in service again; the lost one is named and stays as it is.
    assert [
        node for module, which, node in done.asked if (module, which) == ("node_drain", "")
    ] == ["rep2"]
    # How Ansible words it depends on its settings, and on whether this machine has ssh at all.
    assert re.search(r"rep1: Task failed: .*; it stays out of service", done.output), done.output
    assert "The update was taken back" in done.output
    assert "./fleet undrain rep1" in done.output
    assert "undrain rep2" not in done.output
    assert done.loads == 1


def test_a_node_that_is_away_does_not_stop_the_way_back(play: Callable[..., Played]):
    done = play("update.yml", "Primary is updated", update_back=True)
    assert done.status == 0, done.output
    phases = [which for module, which, _ in done.asked if module == "bench_update"]
    assert phases == ["judge", "back", "open", "forget"], done.output
    assert "the run went on" in done.output
    assert "./fleet undrain rep1" in done.output


def test_a_release_waits_for_the_end_of_an_update(play: Callable[..., Played], tmp_path: Path):
    (tmp_path / "update.json").write_text("{}")
    done = play("release.yml", "Primary is released", nodes=False, confirm="erp1")
    assert done.status == 2, done.output
    assert "An update of the apps is not finished" in done.output
    assert done.asked == []
