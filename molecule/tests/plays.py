"""Playbooks as tests run them: their inventories and their output."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
INVENTORY = ROOT / "inventory/lab"
# The part of site.yml for benches: a change of their settings needs no more.
BENCHES = "molecule/benches.yml"
TASK = re.compile(r"^TASK \[(.*)\] \*+$|^(changed): \[(\S+)[ \]]", re.MULTILINE)
RECAP = re.compile(r"^(\S+)\s+: (ok=.*)$", re.MULTILINE)

# The tasks that only name the fleet's hosts: the only changes on the others for a new node.
NAMING = {
    "preflight : Secrets of the fleet exist",
    "fleet : Host is marked as part of this fleet and knows its other hosts",
    "firewall : Rules for the fleet's ports are in place for every boot",
    "firewall : Fleet's ports are open to the fleet alone",
    "record : Host has a record of who is primary",
    "mariadb_primary : Replication and probe accounts and the heartbeat exist",
    "mariadb_seed_source : Reporting hosts can fetch a copy and do nothing else",
    "redis : Each host's bench has its own Redis password",
    "site_sync : Reporting hosts may read the sites folder and the apps' code, write the sites'"
    " files, and nothing else",
    "site_accounts : Program has its settings and the fleet's key for sites (sites.json)",
    "site_accounts : Reporting nodes know the sites and have accounts for them",
    "router : Calls are routed",
}


class Hidden(dict[str, Any]):
    """A dictionary that a failing test does not show."""

    def __repr__(self) -> str:
        return "<secrets>"


class Run(NamedTuple):
    """A finished ansible-playbook: its output, its recap's numbers by host, and what it changed."""

    output: str
    recap: dict[str, dict[str, int]]
    changes: list[str]


def environment() -> dict[str, str]:
    """This process's environment, without the counting of ssh executions."""
    return {k: v for k, v in os.environ.items() if k != "ANSIBLE_SSH_EXECUTABLE"}


def changes(output: str) -> list[str]:
    """The tasks that changed something, and where, from the output of ansible-playbook."""
    found, task = [], ""
    for title, changed, host in TASK.findall(output):
        task = title or task
        if changed:
            found.append(f"{host}: {task}")
    return found


def make_inventory(folder: Path, names: Iterable[str], variables: dict[str, Any]) -> Path:
    """Make an inventory of some of the lab's hosts, else like the lab's own; returns its folder.

    variables: further ones, for all hosts.
    """
    done = subprocess.run([str(INVENTORY / "hosts.py")], capture_output=True, check=True)
    told = json.loads(done.stdout)
    hostvars, common = told.pop("_meta")["hostvars"], told.pop("all")["vars"]
    wanted = set(names)
    groups = {
        group: {"hosts": {name: hostvars[name] for name in about["hosts"] if name in wanted}}
        for group, about in told.items()
    }
    folder.mkdir(parents=True)
    for shared in ("group_vars", "groups.yml"):
        (folder / shared).symlink_to(INVENTORY / shared)
    content = {"all": {"vars": {**common, **variables}, "children": groups}}
    (folder / "hosts.yml").write_text(yaml.safe_dump(content))
    return folder
