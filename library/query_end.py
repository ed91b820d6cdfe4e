#!/usr/bin/python
"""End a query of a site, or a transaction for which others wait."""

from __future__ import annotations

from ansible.module_utils.fleet.mariadb.ending import end
from ansible.module_utils.fleet.mariadb.server import MariaDBError, local
from ansible.module_utils.fleet.module import FleetModule, required, telling
from ansible.module_utils.fleet.sites.accounts import names_of_accounts

DOCUMENTATION = r"""
module: query_end
short_description: Ends what a connection to this host's MariaDB runs, if it is a site's
description:
  - A query that has run for O(seconds) is ended with KILL QUERY; its session goes on, and the user
    sees an error.
  - Where no query runs, but others wait for the connection's transaction, its connection is ended,
    and MariaDB undoes what the transaction had changed.
  - Connections of replication, of root and of others that are no site's are refused.
options:
  connection:
    description: Number of the connection, as C(./fleet status) shows it.
    type: int
    required: true
  seconds:
    description: How long the query must have run, or another must have waited for it.
    type: int
    default: 10
  bench: {description: Directory of the bench., type: path, required: true}
  state_dir: {description: Directory of Benchfleet's state., type: path, required: true}
"""

EXAMPLES = r"""
- name: Query is ended
  query_end:
    connection: 1234
    bench: "{{ fleet_bench_dir }}"
    state_dir: "{{ fleet_state_dir }}"
"""

RETURN = r"""
ended:
  description: query, transaction, or nothing where it was over already.
  returned: success
  type: str
words: {description: What was done., returned: success, type: str}
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            **required("int", "connection"),
            **required("path", "bench", "state_dir"),
            "seconds": {"type": "int", "default": 10},
        },
        supports_check_mode=True,
    )
    params = module.params
    with telling(module, MariaDBError), local() as server:
        accounts = names_of_accounts(f"{params['bench']}/sites", params["state_dir"])
        found = end(server, params["connection"], accounts, params["seconds"], module.check_mode)
    module.exit_json(**found)


if __name__ == "__main__":
    main()
