"""A controller on Debian 13, with the newest ansible-core of the lock, makes the fleet.

It is a host with git and python3, as README requires, and has the lab's files of this machine.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from nodes import Node
from plays import RECAP, ROOT, changes

from benchfleet.lab import state

NAME, SUBNET = "molctl", "10.203.17.0/24"
PROJECT = "/srv/benchfleet"
NOT_COPIED = (".git", ".venv*", "__pycache__", ".*_cache", ".ansible", ".cache")
# The files that a controller needs of the lab, in the lab's folder.
KNOWN = ("lab.json", "known_hosts", "ssh", "secrets")
LOCKED = re.compile(r"^ansible-core==(\S+) ; python_full_version >= '3.12'", re.MULTILINE)
RUN_SECONDS = 600


def fleet(*words: str) -> None:
    """Run ./fleet on this machine, which must succeed."""
    command = [str(ROOT / "fleet"), *words, "--name", NAME]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def copy(source: Path, target: Path) -> None:
    """Copy those of the lab's files that exist."""
    target.mkdir(parents=True, exist_ok=True)
    for name in KNOWN:
        if (source / name).is_dir():
            shutil.copytree(source / name, target / name, dirs_exist_ok=True)
        elif (source / name).exists():
            shutil.copy2(source / name, target / name)


@pytest.fixture(scope="module")
def controller(lab: state.Lab) -> Iterator[Node]:
    """The controller; the secrets that it makes are this machine's afterwards."""
    fleet("lab", "down")
    try:
        fleet("lab", "up", "--bare", "--nodes", "0", "--release", "trixie", "--subnet", SUBNET)
        there = state.load(NAME)
        assert there is not None
        root = there.disk(there.hosts[0]) / "root"
        shutil.copytree(
            ROOT, f"{root}{PROJECT}", ignore=shutil.ignore_patterns(*NOT_COPIED), symlinks=True
        )
        copy(lab.path, Path(f"{root}{lab.path}"))
        node = Node(there, there.hosts[0])
        node.run(f"mkdir -p {lab.run_path}; apt-get update -qq; apt-get install -qq git")
        node.run(f"{PROJECT}/fleet --help", RUN_SECONDS)
        yield node
        copy(Path(f"{root}{lab.path}"), lab.path)
    finally:
        fleet("lab", "down")


def site(controller: Node, lab: state.Lab, folder: str, *words: str) -> tuple[str, Any]:
    """Run site.yml from a folder, with an ansible-playbook that is not in PATH.

    Returns its output and its recap's numbers by host.
    """
    program = f"{PROJECT}/.venv/bin/ansible-playbook"
    settings = f"ANSIBLE_CONFIG={PROJECT}/ansible.cfg BENCHFLEET_LAB={lab.name} ANSIBLE_NOCOLOR=1"
    command = f"cd {folder} && {settings} {program} {' '.join(words)} {PROJECT}/site.yml 2>&1"
    output = controller.run(command, RUN_SECONDS)
    recap = {
        host: {key: int(value) for key, value in (part.split("=") for part in text.split())}
        for host, text in RECAP.findall(output)
    }
    assert {host.name for host in lab.hosts} <= set(recap)
    return output, recap


def test_units_pass_on_the_newest(controller: Node):
    locked = LOCKED.search((ROOT / "requirements.txt").read_text())
    assert locked
    version = controller.run(f"{PROJECT}/.venv/bin/ansible --version")
    assert version.startswith(f"ansible [core {locked[1]}]")
    # What the unit tests import: with its locked version, but without the linters beside it.
    controller.run(
        f"cd {PROJECT}; grep -o '^[^ #]*==[^ ]*' requirements-dev.txt > /tmp/locked.txt;"
        " .venv/bin/python -m pip install -q -c /tmp/locked.txt pytest redis"
    )
    units = "pytest -q -p no:cacheprovider -p tests.first_cases tests/unit"
    print(controller.run(f"cd {PROJECT}; .venv/bin/python -m {units} 2>&1", RUN_SECONDS))


def test_every_playbook_is_understood(controller: Node):
    words = ".venv/bin/ansible-playbook --syntax-check site.yml playbooks/*.yml"
    assert "DEPRECATION" not in controller.run(f"cd {PROJECT}; {words} 2>&1").upper()


def test_it_makes_the_fleet_and_then_changes_nothing(controller: Node, lab: state.Lab):
    # By an absolute path from another folder, and by a relative one.
    first, recap = site(controller, lab, "/", "-i", f"{PROJECT}/inventory/lab")
    assert all(numbers["failed"] == numbers["unreachable"] == 0 for numbers in recap.values())
    second, recap = site(controller, lab, f"{PROJECT}/docs", "-i", "../inventory/lab")
    assert changes(second) == []
    assert all(numbers["changed"] == numbers["failed"] == 0 for numbers in recap.values()), second
    for output in (first, second):
        assert "DEPRECATION" not in output.upper()


def test_fleet_commands_work_there(controller: Node, lab: state.Lab):
    verify = f"{PROJECT}/fleet verify -i {PROJECT}/inventory/lab --json"
    said = controller.run(f"BENCHFLEET_LAB={lab.name} {verify}", RUN_SECONDS)
    told = json.loads(said)
    assert told["ok"]
    assert told["checks"]
