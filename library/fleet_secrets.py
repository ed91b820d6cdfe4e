#!/usr/bin/python
"""Make the secrets of a fleet, or extend them when a host or site is new."""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

from ansible.module_utils.fleet.module import FleetModule, telling

# ansible-core needs yaml and cryptography, so they are missing only where another Python than
# Ansible's own runs the module.
MISSING = ""
try:
    from ansible.module_utils.fleet.secrets.contents import Wish, module_result
    from ansible.module_utils.fleet.secrets.file import SecretsError, ensure, to_yaml
except ImportError as import_error:
    MISSING = str(import_error)

DOCUMENTATION = r"""
module: fleet_secrets
short_description: Make the secrets of a fleet, or extend them
description:
  - Runs on the controller. Existing secrets are never changed, except that certificates are renewed
    (a host's also when its address changed), and by a rotation.
  - The file is replaced atomically, under a lock. In check mode nothing is written; missing secrets
    are made in memory only.
  - Every task that uses this module needs C(no_log), since it returns the secrets.
options:
  path:
    description: The secrets file.
    type: path
    required: true
  hosts:
    description: "Hosts of the fleet: inventory name → LAN address."
    type: dict
    required: true
  sites:
    description: Names of the sites.
    type: list
    elements: str
    default: []
  decrypted:
    description: Content of a file encrypted with ansible-vault, which the action plugin of this
      name decrypts and writes. The new content is returned as C(text).
    type: dict
  forget:
    description: Hosts that have left the fleet. Their entries are removed.
    type: list
    elements: str
    default: []
  fleet:
    description: Names of all hosts of the fleet; needed with C(trusting) and C(showing).
    type: list
    elements: str
    default: []
  trusting:
    description: Hosts that already trust the next CA. Once all of C(fleet) do, it signs.
    type: list
    elements: str
  showing:
    description: Hosts whose server already uses its certificate of this file. Once all of C(fleet)
      do, former CAs are no longer trusted.
    type: list
    elements: str
  rotation:
    description:
      - C(begin) makes new passwords and keys, which the servers then accept besides those in force;
        a rotation that was begun goes on. C(take) puts them in force, and the former ones are
        accepted besides. C(end) removes the former ones.
    choices: [begin, take, end]
"""

EXAMPLES = r"""
- name: Secrets of the fleet exist
  fleet_secrets:
    path: "{{ preflight_secrets_file }}"
    hosts: {erp1: 192.0.2.11, rep1: 192.0.2.21}
    sites: [erp.example.com]
  delegate_to: localhost
  no_log: true
"""

RETURN = r"""
secrets:
  description: The whole content of the file, and what is derived from it, C(site_key), C(trusted)
    (certificates of all CAs that a host trusts) and C(besides) (what servers accept besides the
    passwords and keys in force; {} outside a rotation).
  returned: success
  type: dict
addresses:
  description: "Hosts that have a certificate: inventory name → LAN address in it."
  returned: success
  type: dict
days:
  description: Days until the CA in force and each host's certificate end.
  returned: success
  type: dict
added:
  description: What was added, renewed or removed, as place and reason, without any secret.
  returned: success
  type: list
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "hosts": {"type": "dict", "required": True},
            "sites": {"type": "list", "elements": "str", "default": []},
            "decrypted": {"type": "dict", "no_log": False},
            "forget": {"type": "list", "elements": "str", "default": []},
            "fleet": {"type": "list", "elements": "str", "default": []},
            "trusting": {"type": "list", "elements": "str"},
            "showing": {"type": "list", "elements": "str"},
            "rotation": {"type": "str", "choices": ["begin", "take", "end"]},
        },
        supports_check_mode=True,
    )
    asked = module.params
    if MISSING:
        module.fail_json(
            msg=f"{MISSING} in {sys.executable}, which runs this on the controller: do not set"
            " ansible_python_interpreter for localhost or on the command line"
        )
    with telling(module, SecretsError):
        wish = Wish(**{one.name: asked[one.name] for one in fields(Wish)})
        content, added = ensure(Path(asked["path"]), wish, asked["decrypted"], module.check_mode)
    encrypted = asked["decrypted"] is not None
    module.exit_json(
        changed=bool(added),
        text=to_yaml(content) if encrypted and added and not module.check_mode else "",
        added=added,
        **module_result(content),
    )


if __name__ == "__main__":
    main()
