"""A host that an earlier release wrote is brought up to date."""

from __future__ import annotations

import json
from collections.abc import Callable

from fleet.release import version
from nodes import Node
from plays import Run

MARK = "/etc/benchfleet/fleet.json"
PACKAGE = "/usr/local/lib/benchfleet/python/ansible"
# The file as 0.1.0 wrote it.
OLDER = f"""
import json, pathlib
path = pathlib.Path("{MARK}")
mark = json.loads(path.read_text())
mark.pop("version")
path.write_text(json.dumps(mark | {{"format": 1}}, indent=4, sort_keys=True))
"""
WRITTEN = "rep1: fleet : Host is marked as part of this fleet and knows its other hosts"
MIGRATED = "rep1: fleet : Host has this release's format"
# The parts of site.yml that write the mark and migrate.
PARTS = [f"playbooks/{name}.yml" for name in ("preflight", "hosts", "migrate")]


def test_a_host_of_format_1_is_migrated(nodes: dict[str, Node], play: Callable[..., Run]):
    node = nodes["rep1"]
    before = node.run(f"cat {MARK}")
    assert json.loads(before)["version"] == version()
    node.run(f"python3 -c '{OLDER}'; mkdir -p {PACKAGE}/module_utils; touch {PACKAGE}/__init__.py")
    assert play("--check", "--limit", "rep1", *PARTS).changes == [WRITTEN, MIGRATED]
    assert node.run(f"ls {PACKAGE}")
    assert play("--limit", "rep1", *PARTS).changes == [WRITTEN, MIGRATED]
    assert node.run(f"cat {MARK}") == before
    assert node.says(f"ls -d {PACKAGE}") == ""
