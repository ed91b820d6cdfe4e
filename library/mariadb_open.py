#!/usr/bin/python
"""Wait until the service has opened the primary's MariaDB for writes."""

from __future__ import annotations

from ansible.module_utils.fleet.mariadb.module import answer
from ansible.module_utils.fleet.mariadb.primary import open_for_writes
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: mariadb_open
short_description: The primary accepts writes
description:
  - Has the service benchfleet-record look at once, and waits until it has opened the server by the
    record of who is primary. Fails with the service's reason where it does not.
options:
  seconds:
    description: How long to wait. Of two hosts, one opens alone after a minute.
    type: int
    default: 90
"""

EXAMPLES = r"""
- name: Primary accepts writes
  mariadb_open:
"""

RETURN = r"""
read_only:
  description: Whether the server was read-only before.
  returned: when there is a server
  type: bool
root_takes_password:
  description: Whether root can sign in there with a password, for which C(bench new-site) asks.
  returned: when there is a server
  type: bool
"""


def main() -> None:
    module = FleetModule(
        argument_spec={"seconds": {"type": "int", "default": 90}}, supports_check_mode=True
    )
    answer(
        module,
        lambda: open_for_writes(module.params["seconds"], module.check_mode),
        would={
            "msg": "would wait until the server is open as primary",
            "diff": {"after": "open for writes\n"},
        },
    )


if __name__ == "__main__":
    main()
