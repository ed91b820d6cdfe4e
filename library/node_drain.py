#!/usr/bin/python
"""Drain a reporting node, or put it back, without interrupting a call."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.fleet.module import FleetModule, telling
from ansible.module_utils.fleet.nodes import DrainError, drain, known_nodes, undrain

DOCUMENTATION = r"""
module: node_drain
short_description: The router sends a reporting node no more calls, or sends them again
description:
  - The router checks a file for each node at each report call, so nothing is reloaded.
  - Draining waits until the node has answered its last call. Each call has one established
    connection from the router to the node's web port, and these are counted.
options:
  node: {description: Name of the node in the inventory., type: str, required: true}
  drained: {description: Whether it should get no calls., type: bool, required: true}
  waiting:
    description:
      - Whether that is because it waits for apps of the sites. A node that was drained by hand
        stays drained, also when site.yml runs.
    type: bool
    default: false
  state_dir: {description: Directory of Benchfleet's state., type: path, required: true}
  nodes_file: {description: The nodes that the router knows., type: path, required: true}
  seconds: {description: How long to wait for its calls., type: int}
  known_only:
    description: Do nothing for a node that the router does not know.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Node rep1 has no calls and gets no more
  node_drain:
    node: rep1
    drained: true
    state_dir: "{{ fleet_state_dir }}"
    nodes_file: /etc/nginx/benchfleet/nodes
    seconds: 150
"""

RETURN = r"""
words: {description: What was done and what it means., returned: always, type: str}
reason:
  description: "Why a node that was put back still gets no calls: drained, waiting or empty."
  type: str
calls: {description: Calls that the node had when it was drained., type: int}
waited: {description: Seconds until the last of them was answered., type: float}
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "node": {"type": "str", "required": True},
            "drained": {"type": "bool", "required": True},
            "waiting": {"type": "bool", "default": False},
            "state_dir": {"type": "path", "required": True},
            "nodes_file": {"type": "path", "required": True},
            "seconds": {"type": "int"},
            "known_only": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    params = module.params
    if not params["drained"]:
        module.exit_json(**undrain(params, module.check_mode))
    nodes_file = Path(params["nodes_file"])
    nodes = known_nodes(nodes_file.read_text()) if nodes_file.exists() else {}
    with telling(module, DrainError):
        module.exit_json(**drain(params, nodes, module.check_mode))


if __name__ == "__main__":
    main()
