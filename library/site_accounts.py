#!/usr/bin/python
"""The primary's sites, and accounts by which reporting benches reach their databases."""

from __future__ import annotations

from ansible.module_utils.fleet.bench.account import BenchError
from ansible.module_utils.fleet.mariadb.server import (
    MariaDBError,
    ServerAbsentError,
    describe,
    local,
    pymysql,
)
from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.sites.accounts import SETTINGS, Line, Outcome
from ansible.module_utils.fleet.sites.folders import SiteError

DOCUMENTATION = r"""
module: site_accounts
short_description: Reporting benches know the sites and can sign in to their databases
description:
  - The sites are those of the inventory and all others that are on the bench. Per site and
    reporting host the site's own account (it writes, on the primary) and a second one that can
    only read. Both are made on the primary and replicate.
  - Accounts this module made are remembered in benchfleet.account; those of hosts that have left
    the fleet, and those whose database is gone, are dropped, accounts it did not make never.
  - The sites are written down on the host, for the web server, and in the sites folder, for the
    reporting hosts.
options:
  require_tls:
    description: Whether every bench that uses the accounts comes over TLS by now. Accounts that
      have asked for it once go on doing so.
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
sites:
  description: Names of the fleet's sites.
  returned: always
  type: list
"""


def refuse_lost(listed: list[str], outcome: Outcome) -> None:
    """Raise SiteError when a site of the inventory is not there."""
    for name in listed:
        if name in outcome.lost or name not in outcome.sites:
            raise SiteError(
                f"site {name} of fleet_sites does not exist on this bench; restore it, or take it"
                " out of fleet_sites when it was dropped, and run again"
            )


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "settings": {"type": "dict", "required": True, "options": SETTINGS},
            "require_tls": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    settings = module.params["settings"]
    line = Line(settings, module.check_mode, module.params["require_tls"])
    try:
        with line.lock(), local() as server:
            if not module.check_mode:
                refuse_lost(settings["listed"], line.look(server)[1])
            outcome = line.bring(server)
    except ServerAbsentError as nothing:
        if not module.check_mode:
            module.fail_json(msg=str(nothing))
        module.exit_json(
            changed=True,
            sites=settings["listed"],
            msg="would make the sites' accounts",
            diff={"before": f"{nothing}\n", "after": "accounts of the sites\n"},
        )
    except (BenchError, MariaDBError, SiteError) as error:
        module.fail_json(msg=str(error))
    except pymysql.MySQLError as error:
        module.fail_json(msg=f"MariaDB refused a statement: {describe(error)}")
    for note in outcome.notes:
        module.warn(note)
    absent = [name for name in settings["listed"] if name not in outcome.sites]
    after = outcome.after + [f"site {name}" for name in absent]
    module.exit_json(
        changed=outcome.before != after,
        gtid=outcome.gtid,
        sites=sorted({*outcome.sites, *absent}),
        diff={
            "before": "".join(f"{text}\n" for text in outcome.before),
            "after": "".join(f"{text}\n" for text in after),
        },
    )


if __name__ == "__main__":
    main()
