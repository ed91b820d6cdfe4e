#!/usr/bin/python
"""Request certificates from a CA, by ACME, for names of the sites without one."""

from __future__ import annotations

from ansible.module_utils.fleet.bench.account import BenchError
from ansible.module_utils.fleet.module import FleetModule, new_lines, telling
from ansible.module_utils.fleet.nginx.certificates import OPTIONS, Asking
from ansible.module_utils.fleet.sites.folders import SiteError, read_state, served_names

DOCUMENTATION = r"""
module: certificates_asked
short_description: Names without a certificate get one from a CA
description:
  - Requests a certificate for each name with certbot, and has nginx serve it. For a name that gets
    none there is a warning with the reason; it is served by http until it has one.
options:
  state_dir: {description: The fleet's state on this host., type: path, required: true}
  listed:
    description: Sites of the inventory with their names, for a host without a list.
    type: dict
    required: true
extends_documentation_fragment: site_settings.asked
"""

EXAMPLES = r"""
- name: Names without a certificate have one
  certificates_asked:
    settings:
      acme: "{{ fleet_acme }}"
    state_dir: "{{ fleet_state_dir }}"
    listed: {erp.example.com: [erp.example.com]}
"""

RETURN = r"""
made:
  description: Names that got a certificate, or would get one in check mode.
  returned: always
  type: list
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "settings": {"type": "dict", "required": True, "options": OPTIONS},
            "state_dir": {"type": "path", "required": True},
            "listed": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    asking = Asking(module.params["settings"], module.params["state_dir"])
    with telling(module, SiteError):
        known = read_state(asking.state_dir)
    names = module.params["listed"] if known is None else served_names(known)
    made = asking.missing(names)
    if made and not module.check_mode:
        with telling(module, BenchError):
            asking.ask(names, now=True)
        made = asking.made
        for name, why in asking.failed.items():
            module.warn(f"{name} has no certificate, and is served by http: {why}")
        if made:
            code, out, err = module.run_command(["systemctl", "start", "benchfleet-sites.service"])
            if code != 0:
                module.fail_json(msg=f"nginx could not take the certificates: {err or out}")
    diff = new_lines(f"certificate for {name}" for name in made)
    module.exit_json(changed=bool(made), made=made, diff=diff)


if __name__ == "__main__":
    main()
