"""Everything that prevents access to a host is in one list, before anything is changed."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import SSH_PORT, Stranger, ssh_settings

from benchfleet.lab import machines

PREFLIGHT = "./fleet check -i inventory/asked"
PROBLEMS = re.compile(r"Preflight found (\d+) problems?\. Nothing was touched on any host\.")
NO_PASSWORD = {"ANSIBLE_BECOME_PASSWORD_FILE": ""}


@pytest.fixture(scope="module", autouse=True)
def inventory(stranger: Stranger) -> None:
    """A copy of the example for this file's tests."""
    places = "inventory/asked/hosts.yml inventory/asked/group_vars/all.yml"
    stranger.does(f"./fleet --help; cp -r inventory/example inventory/asked; $EDITOR {places}")


def problems(stranger: Stranger, number: int, script: str = PREFLIGHT, **other: str) -> str:
    """Run a command that lists this many problems; returns its output."""
    said = stranger.fails(script, **other)
    counts = PROBLEMS.findall(said)
    assert counts, said
    assert set(counts) == {str(number)}, said
    return said


def test_a_host_key_that_nobody_knows(stranger: Stranger, tmp_path: Path):
    nobody = ssh_settings(stranger.lab, tmp_path, "")
    # One problem for each host, as each needs its own command.
    said = problems(stranger, 2, ANSIBLE_SSH_COMMON_ARGS=nobody)
    assert "ssh_host_key_unknown" in said
    assert f"ssh-keyscan -p {SSH_PORT} -t ed25519" in said


def test_a_password_of_sudo_that_is_missing_or_wrong(stranger: Stranger, tmp_path: Path):
    said = problems(stranger, 1, **NO_PASSWORD)
    assert "sudo_password_missing" in said
    assert "-K" in said
    (tmp_path / "wrong").write_text("by-the-cook\n")
    said = problems(stranger, 1, ANSIBLE_BECOME_PASSWORD_FILE=str(tmp_path / "wrong"))
    assert "sudo_password_wrong" in said
    assert "by-the-cook" not in said


@pytest.mark.parametrize("command", ["verify", "status"])
def test_who_cannot_ask_says_so(stranger: Stranger, command: str):
    said = stranger.fails(f"./fleet {command} -i inventory/asked", **NO_PASSWORD)
    assert re.search(r"id: +sudo_password_missing", said)


def test_a_changed_host_key_is_seen_behind_an_open_connection(stranger: Stranger, tmp_path: Path):
    stranger.does(PREFLIGHT)
    erp1, rep1 = (stranger.lab.host(name) for name in ("erp1", "rep1"))
    keys = {
        host.name: (stranger.lab.disk(host) / "keys/ssh_host_ed25519_key.pub").read_text().split()
        for host in (erp1, rep1)
    }
    changed = "".join(
        f"[{host.ip}]:{SSH_PORT} ssh-ed25519 {keys['rep1'][1]}\n" for host in (erp1, rep1)
    )
    # erp1's former key is now rep1's.
    somebody = ssh_settings(stranger.lab, tmp_path, changed)
    said = problems(stranger, 1, ANSIBLE_SSH_COMMON_ARGS=somebody)
    assert "ssh_host_key_changed" in said
    assert said.count("SHA256:") >= 2
    assert "ssh-keygen" in said
    assert "ssh-keyscan" not in said


@pytest.fixture
def without_rep1(stranger: Stranger) -> Iterator[None]:
    """The network cable of rep1 is pulled."""
    host = stranger.lab.host("rep1")
    machines.cut(stranger.lab, host)
    yield
    machines.heal(stranger.lab, host)


def test_a_dead_host_is_in_the_list_with_other_problems(stranger: Stranger, without_rep1: None):
    said = problems(stranger, 2, **NO_PASSWORD)
    assert "rep1" in said
    # This problem alone does not stop the run.
    assert "(id: host_silent)" in stranger.fails(PREFLIGHT)


def test_without_an_inventory_nothing_is_guessed(stranger: Stranger):
    # Plain Ansible, as the launcher has it.
    plain = ".venv/bin/ansible-playbook site.yml"
    assert "inventory_missing" in stranger.fails(plain, LC_ALL="")
    for verb in ("status", "apply", "drain rep1"):
        status, said = stranger.run(f"./fleet {verb}")
        assert (status, "-i inventory/mine" in said) == (2, True), said
