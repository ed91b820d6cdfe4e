"""Modules on a host that is lost in the middle: a failure that is rescued."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from fleet import steps
from fleet.work import Work

from plugins.action.at_host import executions

ROOT = Path(__file__).parents[2]
LOCAL = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
# No program listens there.
LOST = {"ansible_connection": "ssh", "ansible_host": "127.0.0.1", "ansible_port": 1}


def played(folder: Path, *tasks: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    """Run tasks on erp1; returns the exit status, and what `found` holds after them."""
    hosts = {"all": {"hosts": {"erp1": LOCAL, "rep1": LOST}}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(hosts))
    said = folder / "said.json"
    last = {"copy": {"dest": str(said), "content": "{{ found | default({}) | to_json }}"}}
    play = {"hosts": "erp1", "gather_facts": False, "tasks": [*tasks, last]}
    (folder / "play.yml").write_text(yaml.safe_dump([play]))
    done = subprocess.run(
        [str(Path(sys.executable).parent / "ansible-playbook"), "-i", "hosts.yml", "play.yml"],
        cwd=folder,
        env={
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_LOCAL_TEMP": str(folder / "local"),
            "ANSIBLE_REMOTE_TEMP": str(folder / "remote"),
        },
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    return done.returncode, json.loads(said.read_text()) if said.exists() else {"out": done.stdout}


def command(*argv: str, name: str = "") -> dict[str, Any]:
    step = {"module": "ansible.builtin.command", "arguments": {"argv": list(argv)}}
    return {**step, "name": name} if name else step


def at(*steps: dict[str, Any], **task: Any) -> dict[str, Any]:
    return {"at_host": {"steps": list(steps)}, "register": "found", **task}


def test_modules_run_one_after_another(tmp_path: Path):
    status, found = played(tmp_path, at(command("echo", "a", name="one"), command("echo", "b")))
    assert status == 0, found
    said = {name: result["stdout"] for name, result in found["said"].items()}
    assert said == {"one": "a", "ansible.builtin.command": "b"}
    assert (found["at"], found["changed"]) == ("", True)


def test_the_first_that_fails_ends_it(tmp_path: Path):
    later = tmp_path / "later"
    status, found = played(
        tmp_path,
        at(command("false", name="one"), command("touch", str(later)), failed_when=False),
    )
    assert (status, found["at"], found["away"]) == (0, "one", False)
    assert not later.exists()


def test_a_host_that_is_lost_is_rescued_as_a_failure(tmp_path: Path):
    block = {
        "block": [at(command("true"), delegate_to="rep1")],
        "rescue": [{"set_fact": {"rescued": True}}],
    }
    status, found = played(tmp_path, block, {"assert": {"that": "rescued"}})
    assert status == 0, found
    assert found["away"] is True
    assert "rep1" in found["msg"]


def test_a_task_that_takes_too_long_is_a_failure_that_says_no_step(tmp_path: Path):
    status, found = played(tmp_path, at(command("sleep", "30"), timeout=2, ignore_errors=True))
    assert status == 0, found
    assert "at" not in found
    assert found["msg"]


def stored(folder: Path, epoch: int, **more: Any) -> dict[str, Any]:
    about = {"state": "stored", "state_dir": str(folder), "fleet_id": "f", "epoch": epoch}
    about |= {"primary": "rep1", "hosts": {"erp1": "10.0.0.11", "rep1": "10.0.0.21"}}
    return {"module": "fleet_record", "arguments": {**about, **more}, "name": f"epoch {epoch}"}


def known(folder: Path) -> dict[str, Any]:
    return {"module": "fleet_record", "arguments": {"state": "known", "state_dir": str(folder)}}


def test_steps_that_follow_each_other_are_one_execution(tmp_path: Path):
    own = {"state": "present", "state_dir": str(tmp_path), "host": "rep1", "port": 8003}
    passes = {"module": "forward", "arguments": {**own, "address": "10.0.0.21"}}
    status, found = played(
        tmp_path,
        at(stored(tmp_path, 2), passes, known(tmp_path), command("echo", "b"), timeout=60),
    )
    assert status == 0, found
    assert list(found["said"]) == ["epoch 2", "forward", "fleet_record", "ansible.builtin.command"]
    assert found["said"]["fleet_record"]["record"]["epoch"] == 2
    assert (tmp_path / "forward").read_text() == "rep1 10.0.0.21 8003\n"
    assert (found["at"], found["changed"]) == ("", True)


def test_in_one_execution_too_the_first_that_fails_ends_it(tmp_path: Path):
    steps = [stored(tmp_path, 3), stored(tmp_path, 2), stored(tmp_path, 4)]
    status, found = played(tmp_path, at(*steps, ignore_errors=True))
    assert (status, found["at"], list(found["said"])) == (0, "epoch 2", ["epoch 3", "epoch 2"])
    assert found["said"]["epoch 3"]["changed"]
    missing = {"module": "fleet_record", "arguments": {"state": "stored"}}
    _, found = played(tmp_path, at(missing, stored(tmp_path, 5), ignore_errors=True))
    assert (found["at"], "epoch 5" in found["said"]) == ("fleet_record", False)
    assert "state_dir" in found["msg"]


def test_only_modules_that_can_be_are_joined():
    names = ["forward", "fleet_record", "fence", "fence", "mariadb_switch"]
    found = executions([{"module": name} for name in names])
    assert [len(one) for one in found] == [2, 1, 1, 1]


class Host:
    """What a step knows of the module that it is part of."""

    check_mode = False

    def __init__(self) -> None:
        self.no_log_values: set[str] = set()


def test_no_step_is_begun_when_the_controller_may_have_given_up(monkeypatch: pytest.MonkeyPatch):
    slow = Work({"word": {"no_log": True}}, lambda *_: time.sleep(0.2) or {"changed": True}, ())
    monkeypatch.setattr(steps, "work_of", lambda _: slow)
    asked = [{"module": "slow", "name": n, "arguments": {"word": "secret"}} for n in "ab"]
    found = steps.do(host := Host(), asked, 0.1)
    assert (found["failed"], found["at"], list(found["said"])) == (True, "b", ["a"])
    assert host.no_log_values == {"secret"}
    assert steps.do(Host(), asked, 0)["at"] == ""
