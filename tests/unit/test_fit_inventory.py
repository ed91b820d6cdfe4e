"""A run without an inventory, or with one that cannot be decrypted, ends before anything else."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
CLOSED_PORT = 1
HOSTS = f"""
primary:
  hosts:
    erp1:
      ansible_host: 127.0.0.1
      ansible_port: {CLOSED_PORT}
"""


def run(*argv: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command, *others = argv
    return subprocess.run(
        [str(BIN / command), *others],
        cwd=ROOT,
        env={
            **{k: v for k, v in os.environ.items() if not k.startswith("ANSIBLE_")},
            **environment,
            "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"),
            "ANSIBLE_NOCOLOR": "1",
        },
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )


def ids(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The ids of the problems that a run lists."""
    return re.findall(r"^ +id: +(\w+)$", done.stdout, re.MULTILINE)


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """An inventory, beside a file with a vault's password and one with another's."""
    folder = tmp_path / "mine"
    (folder / "group_vars/all").mkdir(parents=True)
    (folder / "hosts.yml").write_text(HOSTS)
    (tmp_path / "password").write_text("right\n")
    (tmp_path / "other").write_text("wrong\n")
    return folder


# What `--vault-password-file password` opens.
VAULT = VaultLib([("default", VaultSecret(b"right"))])


def sealed(name: str) -> str:
    """A variable with an encrypted value."""
    lines = VAULT.encrypt("s3cret").decode().splitlines()
    return "\n  ".join([f"{name}: !vault |", *lines]) + "\n"


def test_no_playbook_guesses_an_inventory(tmp_path: Path):
    done = run("ansible-playbook", "site.yml", folder=tmp_path)
    assert done.returncode != 0
    assert ids(done) == ["inventory_missing"]
    assert "-i inventory/mine" in done.stdout
    assert "PLAY" not in done.stdout


def test_all_encrypted_files_are_named_with_the_remedy(mine: Path):
    tmp = mine.parent
    for name in ("one", "two"):
        (mine / f"group_vars/all/{name}.yml").write_bytes(VAULT.encrypt(f"v_{name}: 1\n"))
    done = run("ansible-playbook", "-i", str(mine), "playbooks/status.yml", folder=tmp)
    assert done.returncode != 0
    assert ids(done) == ["vault_password_missing"] * 2
    for name in ("one", "two"):
        assert f"place:  {mine}/group_vars/all/{name}.yml" in done.stdout
    assert "--ask-vault-pass" in done.stdout


def test_encrypted_variables_that_the_run_needs_are_named_with_their_line(mine: Path):
    tmp = mine.parent
    text = (
        'ansible_become_password: "{{ vault_sudo }}"\n'
        + sealed("vault_sudo")
        + sealed("verify_passwords")
        + sealed("monitoring_key")
    )
    (mine / "group_vars/all/main.yml").write_text(text)
    line = 1 + text.splitlines().index("vault_sudo: !vault |")
    password = ("--vault-password-file", str(tmp / "other"))
    argv = ("ansible-playbook", "-i", str(mine))
    judged = run(*argv, "playbooks/preflight.yml", *password, folder=tmp)
    assert ids(judged) == ["vault_password_wrong"] * 2
    assert f"place:  {mine}/group_vars/all/main.yml:{line} (erp1)" in judged.stdout
    assert "1. vault_sudo " in judged.stdout
    assert "2. verify_passwords " in judged.stdout
    # No variable of the fleet's needs it.
    assert "monitoring_key" not in judged.stdout
    # Only the connection's are needed where nothing else is read.
    asked = run(*argv, "playbooks/status.yml", folder=tmp)
    assert ids(asked) == ["vault_password_missing"]
    assert "1. vault_sudo " in asked.stdout
    assert "verify_passwords" not in asked.stdout
    right = run(
        *argv, "playbooks/status.yml", "--vault-password-file", str(tmp / "password"), folder=tmp
    )
    assert "vault_" not in right.stdout
    assert "ssh_refused" in ids(right)
    assert "erp1: 127.0.0.1 port 1 " in right.stdout


def test_what_a_host_says_of_itself_overrides_nothing(mine: Path):
    (mine / "liar.py").write_text(
        "#!/usr/bin/python3\n# WANT_JSON\n"
        'print(\'{"ansible_facts": {"fleet_bench_dir": "/etc", "other": "/etc"}}\')\n'
    )
    (mine / "hosts.yml").write_text("all: {hosts: {erp1: {fleet_bench_dir: /home}}}\n")
    tasks = [{"liar": {}}, {"ansible.builtin.debug": {"msg": "{{ fleet_bench_dir }}"}}]
    about = {"hosts": "all", "connection": "local", "gather_facts": False, "tasks": tasks}
    (mine.parent / "play.yml").write_text(json.dumps([about]))
    argv = ("ansible-playbook", "-i", str(mine / "hosts.yml"), str(mine.parent / "play.yml"))
    done = run(*argv, folder=mine, ANSIBLE_LIBRARY=str(mine))
    assert '"msg": "/home"' in done.stdout, done.stdout
