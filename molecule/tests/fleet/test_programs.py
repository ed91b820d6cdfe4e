"""The unit tests that need real programs, on a host that has them: a controller may lack some."""

from __future__ import annotations

import subprocess
from typing import Any

from nodes import Node
from plays import ROOT

from benchfleet.lab.machines import ssh_command

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
    # The fleet's own filter is nftables' alone, and its hosts need no curl.
    primary.run("apt-get install -qq --no-install-recommends curl iptables >/dev/null 2>&1")
    uv = "/opt/bench-cli/bin/uv"
    told = primary.run(
        f"trap 'rm -rf {FOLDER}' EXIT; cd {FOLDER}; {uv} venv -q --python /usr/bin/python3;"
        f" {uv} pip install -q --no-cache -r requirements.txt -r requirements-dev.txt;"
        " .venv/bin/python -m pytest -q -rs -p no:cacheprovider -p tests.may_skip tests/unit",
        SECONDS,
    )
    assert " passed" in told
    assert " skipped" not in told, told
