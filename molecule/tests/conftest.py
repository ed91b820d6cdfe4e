"""What the tests on real hosts share: the lab, its secrets, and the project's own commands."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

import pytest
import testinfra
import yaml
from calls import Somebody
from fleet.http import Visitor
from nodes import Node, wait_until
from plays import INVENTORY, RECAP, ROOT, Hidden, Run, changes, environment, make_inventory

from benchfleet.lab import state


@pytest.fixture(scope="session")
def lab() -> state.Lab:
    """The lab of this scenario."""
    found = state.load(state.name_from_environment())
    assert found is not None
    return found


@pytest.fixture(scope="session")
def nodes(lab: state.Lab) -> dict[str, Node]:
    """The hosts by their names."""
    return {host.name: Node(lab, host) for host in lab.hosts}


@pytest.fixture(scope="session")
def secrets(lab: state.Lab) -> Hidden:
    """The fleet's secrets."""
    return Hidden(yaml.safe_load((lab.path / "secrets/fleet.yml").read_text()))


def on(name: str) -> Any:
    """A host of the lab, on which commands can be run."""
    return testinfra.get_host(f"ansible://{name}", ansible_inventory=str(INVENTORY))


@pytest.fixture
def primary(lab: state.Lab) -> Any:
    """The primary."""
    return on(lab.hosts[0].name)


@pytest.fixture
def replica(lab: state.Lab) -> Any:
    """The first reporting node."""
    return on(lab.hosts[1].name)


@pytest.fixture(scope="session")
def play() -> Callable[..., Run]:
    """Run ansible-playbook, on the lab's inventory or another.

    It must succeed, whatever it changes; with `fails` it must fail; with None both is allowed.
    """

    def run(*words: str, inventory: Path = INVENTORY, fails: bool | None = False) -> Run:
        done = subprocess.run(
            ["ansible-playbook", "-i", str(inventory), *words],
            cwd=ROOT,
            env={**environment(), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        output = done.stdout + done.stderr
        assert fails is None or (done.returncode != 0) is fails, output
        recap = {
            host: {key: int(value) for key, value in (part.split("=") for part in text.split())}
            for host, text in RECAP.findall(output)
        }
        return Run(output, recap, changes(output))

    return run


@pytest.fixture(scope="session")
def verify(
    lab: state.Lab, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., dict[tuple[str, str], dict[str, Any]]]:
    """Run ./fleet verify, with further variables of the inventory; its checks by (id, host)."""

    def run(**variables: Any) -> dict[tuple[str, str], dict[str, Any]]:
        inventory = INVENTORY
        if variables:
            folder = tmp_path_factory.mktemp("verified") / "inventory"
            inventory = make_inventory(folder, [host.name for host in lab.hosts], variables)
        done = subprocess.run(
            [str(ROOT / "fleet"), "verify", "-i", str(inventory), "--json"],
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.stdout, done.stderr
        told = json.loads(done.stdout)
        assert told["checks"], done.stderr
        assert told["ok"] == (done.returncode == 0)
        return {(check["id"], check["host"]): check for check in told["checks"]}

    return run


@pytest.fixture
def fleet_command() -> Callable[..., str]:
    """Run ./fleet on the lab; returns its standard output.

    It must succeed; without `fine`, it may also find that something is not as it should be.
    """

    def run(*words: str, fine: bool = True) -> str:
        done = subprocess.run(
            [str(ROOT / "fleet"), *words],
            env={**environment(), "BENCHFLEET_INVENTORY": str(INVENTORY)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert done.returncode in ((0,) if fine else (0, 1)), done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def anybody(lab: state.Lab, secrets: Any) -> Callable[..., Somebody]:
    """Sign another user in, once the site is served: the hosts of a copy have just been started."""
    stranger = Visitor(lab.hosts[0].ip, 80, state.SITE)

    def is_served() -> bool:
        try:
            return stranger.call("GET", "/api/method/ping").status == 200
        except (OSError, HTTPException):
            return False

    wait_until("the site is served", is_served)

    def sign_in(timeout: float = 20, address: str = lab.hosts[0].ip) -> Somebody:
        password = secrets["sites"][state.SITE]["admin_password"]
        return Somebody(address, state.SITE, "Administrator", password, timeout)

    return sign_in
