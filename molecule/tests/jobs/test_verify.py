"""verify proves the row of jobs where jobs are placed, and sees when it does not hold."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conftest import BENCH, PLACEMENT
from nodes import Node

from benchfleet.runner import ROOT

GATE = "/usr/local/lib/benchfleet/sync-gate"


@pytest.fixture
def proved(tmp_path: Path) -> Callable[[], dict[tuple[str, str], dict[str, Any]]]:
    """Run ./fleet verify with an inventory that has the placement; its checks by (id, host)."""
    for name in ("hosts.py", "groups.yml"):
        (tmp_path / name).symlink_to(ROOT / "inventory/lab" / name)
    variables = tmp_path / "group_vars/all"
    variables.mkdir(parents=True)
    (variables / "lab.yml").symlink_to(ROOT / "inventory/lab/group_vars/all.yml")
    (variables / "placement.yml").symlink_to(PLACEMENT)

    def run() -> dict[tuple[str, str], dict[str, Any]]:
        words = [str(ROOT / "fleet"), "verify", "-i", str(tmp_path), "--json"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return {(c["id"], c["host"]): c for c in json.loads(done.stdout)["checks"]}

    return run


def test_the_row_holds_and_turns_red_when_it_does_not(
    proved: Callable[[], Any], nodes: dict[str, Node]
):
    checks = proved()
    assert {place: c["saw"] for place, c in checks.items() if not c["ok"]} == {}
    assert "frappe.demo.close_books: done on rep2" in checks["placed", "erp1"]["saw"]

    startup = f"{BENCH}/env/lib/python3*/site-packages/benchfleet.pth"
    nodes["erp1"].run(f"for f in {startup}; do mv $f $f.away; done; chmod -x {GATE}")
    try:
        checks = proved()
    finally:
        nodes["erp1"].run(f"for f in {startup}.away; do mv $f ${{f%.away}}; done; chmod +x {GATE}")
    red = {place for place, check in checks.items() if not check["ok"]}
    assert {("placed", "erp1"), ("file_kept", "rep1"), ("file_kept", "rep2")} <= red
    assert "frappe.demo.count_stock: done on erp1" in checks["placed", "erp1"]["saw"]
    assert "could not be taken from rep1" in checks["file_kept", "rep1"]["saw"]
