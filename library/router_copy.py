#!/usr/bin/python
"""Read on the primary what its router has beside templates, and bring it to the standby."""

from __future__ import annotations

from ansible.module_utils.fleet.files import FileError
from ansible.module_utils.fleet.module import FleetModule, new_lines, telling
from ansible.module_utils.fleet.nginx.certificates import OPTIONS
from ansible.module_utils.fleet.nginx.standby import Copy, CopyError, read
from ansible.module_utils.fleet.sites.folders import SiteError

DOCUMENTATION = r"""
module: router_copy
short_description: Certificates and rules of the primary's router are on the standby, too
description:
  - C(state=read) reads, on the primary, certificates with their keys, the operator's own rules, the
    names of the sites, and which nodes get no calls. Its result carries keys; use C(no_log).
  - C(state=present) brings these to this host. Nothing is removed but rules and marks that are gone
    on the primary.
options:
  state: {description: Which half., type: str, choices: [read, present], required: true}
  state_dir: {description: The fleet's state on this host., type: path, required: true}
  listed: {description: "Sites of the inventory, for a host without a list.", type: dict}
  certificates:
    description: Those that the inventory names, {site, certificate, key} each.
    type: list
    elements: dict
    default: []
  acme:
    description: Requests for others from a CA, see module_utils/fleet/nginx/certificates.py.
    type: dict
    suboptions:
      email: {description: Of the account; "" for no CA., type: str, required: true}
      server: {description: Address of the CA's directory., type: str, required: true}
      webroot: {description: Folder for its challenges., type: path, required: true}
      environment: {description: Variables for certbot., type: dict, default: {}}
  host: {description: This host's name; its own marks are not made., type: str}
  loaded_file: {description: That of the module nginx_files., type: path}
  files: {description: As C(state=read) returned them., type: list, elements: dict}
  marks: {description: Likewise., type: dict}
"""

EXAMPLES = r"""
- name: Router of the primary is read
  router_copy:
    state: read
    state_dir: "{{ fleet_state_dir }}"
    listed: {erp.example.com: []}
    acme: "{{ fleet_acme }}"
  delegate_to: erp1
  no_log: true
"""

RETURN = r"""
names: {description: "{site: [further name]}, with state=read.", type: dict}
files: {description: "{path, mode, content} or {path, link} each, with state=read.", type: list}
marks: {description: "{reason: [node]}, with state=read.", type: dict}
changed_paths: {description: What was changed, with state=present., type: list}
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "state": {"type": "str", "choices": ["read", "present"], "required": True},
            "state_dir": {"type": "path", "required": True},
            "listed": {"type": "dict"},
            "certificates": OPTIONS["certificates"],
            "acme": {**OPTIONS["acme"], "required": False},
            "host": {"type": "str"},
            "loaded_file": {"type": "path"},
            "files": {"type": "list", "elements": "dict"},
            "marks": {"type": "dict"},
        },
        required_if=[
            ("state", "read", ["listed", "acme"]),
            ("state", "present", ["host", "loaded_file", "files", "marks"]),
        ],
        supports_check_mode=True,
    )
    with telling(module, CopyError, FileError, OSError, SiteError):
        if module.params["state"] == "read":
            module.exit_json(changed=False, **read(module.params))
        changed = Copy(module.params, module.run_command, module.check_mode).bring()
        module.exit_json(changed=bool(changed), changed_paths=changed, diff=new_lines(changed))


if __name__ == "__main__":
    main()
