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
from fleet.preflight.record import check_record

from benchfleet import runner, switching

ROOT = Path(__file__).parents[2]
HOSTS = (ROOT / "inventory/example/hosts.yml").read_text()
THIRD = "    rep2:\n      ansible_host: rep2.example.com\n"
ENABLED = "ANSIBLE_INVENTORY_ENABLED"


def listed(folder: Path, primary: str, **settings: str) -> subprocess.CompletedProcess[str]:
    """What ansible-inventory says with the plugin as the last source, under Ansible's settings."""
    (folder / "moved.yml").write_text(f"plugin: primary_moved\nprimary: {primary}\n")
    sources = ["-i", str(folder / "mine"), "-i", str(folder / "moved.yml")]
    return subprocess.run(
        [str(Path(sys.executable).parent / "ansible-inventory"), *sources, "--list"],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_LOCAL_TEMP": str(folder / "tmp"), **settings},
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


@pytest.mark.parametrize("enabled", ["yaml", "yaml, ini", "host_list,ini,yaml"])
def test_it_is_read_whatever_plugins_the_user_has_enabled(
    mine: Path, enabled: str, monkeypatch: pytest.MonkeyPatch
):
    done = listed(mine, "rep1", **{ENABLED: enabled})
    assert done.returncode != 0
    assert "moved.yml" in done.stderr
    monkeypatch.setenv(ENABLED, enabled)
    found = json.loads(listed(mine, "rep1", **switching.readable()).stdout)
    assert found["primary"]["hosts"] == ["rep1"]


def test_plugins_that_ansible_cfg_enables_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(ENABLED, raising=False)
    # The default of Ansible has `auto`, which finds it.
    assert switching.readable() == {}
    settings = tmp_path / "ansible.cfg"
    monkeypatch.setitem(runner.VARIABLES, "ANSIBLE_CONFIG", str(settings))
    settings.write_text("[inventory]\nenable_plugins = yaml, script ; not auto\n")
    assert switching.readable() == {ENABLED: "yaml, script,primary_moved"}


def test_groups_of_a_source_that_was_dropped_are_refused(mine: Path, settings: dict[str, Any]):
    dropped = {"ANSIBLE_INVENTORY_ANY_UNPARSED_IS_FAILED": "False", ENABLED: "yaml"}
    found = json.loads(listed(mine, "rep1", **dropped).stdout)
    assert found["primary"]["hosts"] == ["erp1"]
    record = {"fleet_id": "f1", "epoch": 2, "primary": "rep1", "hosts": {}, "open_alone": True}
    survey = {"record": {**record, "since": "2026-11-30T18:00:00+00:00"}}
    hosts = [{"name": name, "survey": survey} for name in ("erp1", "rep1", "rep2")]
    groups = {name: found[name]["hosts"] for name in ("primary", "reporting")}
    settings |= {"fleet_id": "f1", "groups": groups}
    (problem,) = check_record(hosts, settings)
    assert (problem["id"], problem["facts"]["moved"]) == ("primary_moved", "rep1")
