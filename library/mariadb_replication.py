#!/usr/bin/python
"""A replica follows its primary: connect it, repair what is safe, report the rest."""

from __future__ import annotations

from ansible.module_utils.fleet.mariadb.module import answer
from ansible.module_utils.fleet.mariadb.replica import bring
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: mariadb_replication
short_description: A replica follows its primary
description:
  - C(following) connects a seeded server, updates a changed password or CA, and starts stopped
    threads without an error. Then both threads have to run, the heartbeat has to be fresh, and
    there may be no errant transaction.
  - C(caught_up) waits until the replica has a GTID.
options:
  state:
    description: The wanted state.
    choices: [following, caught_up]
    default: following
    type: str
  primary: {description: LAN address of the primary., type: str}
  port: {description: Its MariaDB port., type: int}
  password: {description: Password of the replication account., type: str}
  ca: {description: The fleet's CA certificate on this host., type: path}
  probe_password:
    description: Password of the account that may read the primary's state.
    type: str
  fleet_id: {description: This fleet., type: str}
  state_file: {description: The seed's state file., type: path}
  keep:
    description: How much of the data that reseeds replaced is kept, C({number, days}).
    type: dict
  heartbeat_max_age:
    description: Seconds after which a heartbeat is stale.
    type: float
  timeout:
    description: Seconds to wait until the replica has the wanted state.
    type: int
  gtid: {description: Position to reach (C(caught_up))., type: str}
"""

EXAMPLES = r"""
- name: Replica has what the primary had
  mariadb_replication:
    state: caught_up
    gtid: 0-1-4711
    timeout: 120
"""

RETURN = r"""
replication:
  description: The state of the replica.
  returned: when there is a server
  type: dict
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "state": {"choices": ["following", "caught_up"], "default": "following"},
            "primary": {"type": "str"},
            "port": {"type": "int"},
            "password": {"type": "str", "no_log": True},
            "ca": {"type": "path"},
            "probe_password": {"type": "str", "no_log": True},
            "fleet_id": {"type": "str"},
            "state_file": {"type": "path"},
            "keep": {"type": "dict"},
            "heartbeat_max_age": {"type": "float"},
            "timeout": {"type": "int"},
            "gtid": {"type": "str"},
        },
        required_if=[
            (
                "state",
                "following",
                [
                    *("primary", "port", "password", "ca", "probe_password", "fleet_id"),
                    *("state_file", "keep", "heartbeat_max_age", "timeout"),
                ],
            ),
            ("state", "caught_up", ["gtid", "timeout"]),
        ],
        supports_check_mode=True,
    )
    following = module.params["state"] == "following"
    answer(
        module,
        lambda: bring(module.params, module.check_mode),
        would={
            "changed": following,
            "msg": "would make the new server follow the primary",
            "diff": {"before": "no server\n", "after": "follows the primary\n"},
        },
    )


if __name__ == "__main__":
    main()
