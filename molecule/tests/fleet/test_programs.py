"""The unit tests that run real programs, on a host that has them: the controller has none."""

from __future__ import annotations

import subprocess
from typing import Any

from nodes import Node
from plays import ROOT

from benchfleet.lab.machines import ssh_command

MODULES = (
    *("ages", "foreign", "jobs_tls", "mariadb_options", "nginx_look", "redis_users"),
    *("remedies", "site_rights", "site_sync", "supervisor", "surroundings"),
)
FOLDER = "/root/project"
SECONDS = 900


def test_our_readers_agree_with_the_programs(nodes: dict[str, Node], lab: Any):
    primary = nodes["erp1"]
    packed = subprocess.run(
        ["tar", "-c", "--exclude", "./.git", "--exclude", "./.venv", "--exclude", "*.pyc", "."],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    install = f"rm -rf {FOLDER}; mkdir {FOLDER}; cd {FOLDER}; tar -x --no-same-owner"
    subprocess.run([*ssh_command(lab, primary.host), "--", install], input=packed, check=True)
    files = " ".join(f"tests/unit/test_{name}.py" for name in MODULES)
    # The fleet's own filter is nftables' alone.
    primary.run("apt-get install -qq --no-install-recommends iptables >/dev/null 2>&1")
    told = primary.run(
        f"trap 'rm -rf {FOLDER}' EXIT; cd {FOLDER}; python3 -m venv .venv;"
        " .venv/bin/pip install -q -r requirements.txt -r requirements-dev.txt 2>/dev/null;"
        f" .venv/bin/python -m pytest -q -rs -p no:cacheprovider {files}",
        SECONDS,
    )
    assert " passed" in told
    assert " skipped" not in told, told
