#!/usr/bin/python
"""Find out what the primary still needs for a node, in a run without the primary."""

from __future__ import annotations

from ansible.module_utils.fleet.mariadb.module import answer
from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.nodes import lacks

DOCUMENTATION = r"""
module: node_known
short_description: Whether the primary accepts a reporting node and sends it calls
description:
  - Runs on the primary and only reads.
options:
  name: {description: The node's name in the inventory., type: str, required: true}
  address: {description: Its LAN address., type: str, required: true}
  authorized_keys:
    description: "Purpose of each ssh key of the node: the key without its comment, and the file
      that must have it."
    type: dict
    required: true
  nodes_file: {description: The router's list of nodes., type: path, required: true}
"""

EXAMPLES = r"""
- name: What the primary needs for rep1 is known
  node_known:
    name: rep1
    address: 192.0.2.21
    authorized_keys:
      site files: {key: ssh-ed25519 AAAA, file: "{{ fleet_bench_home }}/.ssh/authorized_keys"}
    nodes_file: /etc/nginx/benchfleet/nodes
"""

RETURN = r"""
entrance:
  description: What the primary needs before the node can be set up, as sentences.
  returned: success
  type: list
router:
  description: What it needs before it sends the node calls.
  returned: success
  type: list
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "authorized_keys": {"type": "dict", "required": True, "no_log": False},
            "nodes_file": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    _, ruleset, _ = module.run_command(["nft", "list", "table", "inet", "benchfleet"])
    answer(module, lambda: {"changed": False, **lacks(module.params, ruleset)})


if __name__ == "__main__":
    main()
