"""Modules on a host that is lost in the middle: a failure that is rescued."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

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
