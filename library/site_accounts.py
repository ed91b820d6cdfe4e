#!/usr/bin/python
"""The primary's sites, and accounts by which reporting benches reach their databases."""

from __future__ import annotations

from ansible.module_utils.fleet.bench.account import BenchError
from ansible.module_utils.fleet.mariadb.module import answer
from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.sites.folders import SiteError
from ansible.module_utils.fleet.sites.reconcile import SETTINGS, Line, bring

DOCUMENTATION = r"""
module: site_accounts
short_description: Reporting benches know the sites and can sign in to their databases
description:
  - The sites are those of the inventory and all others on the bench. For each site and reporting
    host, the site's own account (which writes, on the primary) and a second one that can only read
    are made on the primary, and replicate.
  - The table benchfleet.account lists the accounts that this module made. Those of hosts that have
    left the fleet, and those whose database is gone, are dropped; other accounts never are.
  - The list of sites is written on the host, for the web server, and to the sites folder, for the
    reporting hosts.
options:
  require_tls:
    description: Whether every bench that uses the accounts now connects over TLS. Accounts that
      require it once keep doing so.
    type: bool
    default: false
extends_documentation_fragment: site_settings
"""

EXAMPLES = r"""
- name: Reporting nodes know the sites and have accounts for them
  site_accounts:
    settings: "{{ settings }}"
"""

RETURN = r"""
gtid:
  description: What a replica must have before its bench uses the accounts.
  returned: with a server
  type: str
tls:
  description: Whether the accounts require TLS.
  returned: always
  type: bool
sites:
  description: Names of the fleet's sites.
  returned: always
  type: list
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "settings": {"type": "dict", "required": True, "options": SETTINGS},
            "require_tls": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    settings = module.params["settings"]
    line = Line(settings, module.check_mode, module.params["require_tls"])
    answer(
        module,
        lambda: bring(line, module.warn),
        BenchError,
        SiteError,
        would={
            "sites": settings["listed"],
            "tls": False,
            "msg": "would make the sites' accounts",
            "diff": {"after": "accounts of the sites\n"},
        },
    )


if __name__ == "__main__":
    main()
