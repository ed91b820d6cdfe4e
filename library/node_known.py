#!/usr/bin/python
"""What the primary still lacks of a node: asked where a run leaves the primary out."""

from __future__ import annotations

import re

from ansible.module_utils.fleet.foreign import read_bytes
from ansible.module_utils.fleet.mariadb.server import MariaDBError, local
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: node_known
short_description: Whether the primary lets a reporting node in, and sends it calls
description:
  - Runs on the primary and only reads.
options:
  name: {description: The node's name in the inventory., type: str, required: true}
  address: {description: Its LAN address., type: str, required: true}
  replication_user: {description: Account by which replicas follow., type: str, default: repl}
  authorized_keys:
    description: "What each ssh key of the node is for, in words: the key, without its comment, and
      the file that must hold it."
    type: dict
    required: true
  nodes_file: {description: The router's list of nodes., type: path, required: true}
"""

EXAMPLES = r"""
- name: Primary is asked what it knows of rep1
  node_known:
    name: rep1
    address: 192.0.2.21
    authorized_keys:
      site files: {key: ssh-ed25519 AAAA, file: "{{ fleet_bench_home }}/.ssh/authorized_keys"}
    nodes_file: /etc/nginx/benchfleet/nodes
"""

RETURN = r"""
entrance:
  description: What the node needs before it can be set up, and the primary lacks, in words.
  returned: success
  type: list
router:
  description: The same of what sends it calls.
  returned: success
  type: list
"""


def read(path: str) -> str:
    """Text of a file, "" when there is none."""
    try:
        return read_bytes(path).decode(errors="replace")
    except OSError:
        return ""


def lets_through(ruleset: str, address: str) -> bool:
    """Whether an nft ruleset names an address, as a whole word."""
    return re.search(rf"(?<![\w.:]){re.escape(address)}(?![\w.:])", ruleset) is not None


def router_lists(nodes: str, name: str) -> bool:
    """Whether the router's list has a node."""
    return any(line.split()[:2] == ["node", name] for line in nodes.splitlines())


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "address": {"type": "str", "required": True},
            "replication_user": {"type": "str", "default": "repl"},
            "authorized_keys": {"type": "dict", "required": True, "no_log": False},
            "nodes_file": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    address = params["address"]
    entrance = []
    _, ruleset, _ = module.run_command(["nft", "list", "table", "inet", "benchfleet"])
    if not lets_through(ruleset, address):
        entrance.append(f"its firewall does not let {address} in")
    try:
        with local() as server:
            found = server.value(
                "SELECT COUNT(*) FROM mysql.global_priv WHERE User = %s AND Host = %s",
                (params["replication_user"], address),
            )
    except MariaDBError as error:
        module.fail_json(msg=str(error))
    if not found:
        entrance.append(f"its MariaDB has no account {params['replication_user']}@{address}")
    entrance += [
        f"{entry['file']} lacks the node's key for {purpose}"
        for purpose, entry in params["authorized_keys"].items()
        if entry["key"] not in read(entry["file"])
    ]
    router = []
    if not router_lists(read(params["nodes_file"]), params["name"]):
        router.append("its router sends the node no calls")
    module.exit_json(changed=False, entrance=entrance, router=router)


if __name__ == "__main__":
    main()
