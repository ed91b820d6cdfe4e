"""The groups of an inventory whose primary has changed, as Ansible sees them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
HOSTS = (ROOT / "inventory/example/hosts.yml").read_text()
THIRD = "    rep2:\n      ansible_host: rep2.example.com\n"


def listed(folder: Path, primary: str) -> subprocess.CompletedProcess[str]:
    """What ansible-inventory says with the plugin as the last source."""
    (folder / "moved.yml").write_text(f"plugin: primary_moved\nprimary: {primary}\n")
    sources = ["-i", str(folder / "mine"), "-i", str(folder / "moved.yml")]
    return subprocess.run(
        [str(Path(sys.executable).parent / "ansible-inventory"), *sources, "--list"],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_LOCAL_TEMP": str(folder / "tmp")},
        text=True,
        capture_output=True,
        check=False,
    )


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """A copy of the example with a third host."""
    shutil.copytree(ROOT / "inventory/example", tmp_path / "mine")
    text = HOSTS.replace(
        "  vars:\n    bench_web_workers: 4\n    # For", f"{THIRD}  vars:\n    # For"
    )
    (tmp_path / "mine/hosts.yml").write_text(text)
    (tmp_path / "mine/group_vars/primary.yml").write_text("fleet_memory_mb: 4096\n")
    return tmp_path


def test_two_hosts_change_their_groups(mine: Path):
    done = listed(mine, "rep1")
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["primary"]["hosts"] == ["rep1"]
    assert found["reporting"]["hosts"] == ["erp1", "rep2"]
    variables = found["_meta"]["hostvars"]
    # A host's own stay with it, those of its group do not.
    assert variables["erp1"]["lan_ip"] == "10.0.0.11"
    assert variables["rep1"]["fleet_memory_mb"] == 4096
    assert "fleet_memory_mb" not in variables["erp1"]
    assert variables["rep1"]["bench_background_workers"] == 6
    assert variables["erp1"]["bench_background_workers"] == 0


def test_an_inventory_that_has_followed_is_left_alone(mine: Path):
    assert json.loads(listed(mine, "erp1").stdout)["primary"]["hosts"] == ["erp1"]


@pytest.mark.parametrize("primary", ["rep9", "inner"])
def test_what_cannot_be_exchanged_is_refused(mine: Path, primary: str):
    hosts = mine / "mine/hosts.yml"
    hosts.write_text(hosts.read_text() + "  children:\n    far:\n      hosts:\n        inner:\n")
    done = listed(mine, primary)
    assert done.returncode != 0
    assert primary in done.stderr
