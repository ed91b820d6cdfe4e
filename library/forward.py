#!/usr/bin/python
"""Have a router pass every call on to another host's router, or serve them itself."""

from __future__ import annotations

import ipaddress
from dataclasses import asdict

from ansible.module_utils.fleet.changes import diff
from ansible.module_utils.fleet.forward import Forward, bring, is_held, read, release
from ansible.module_utils.fleet.module import FleetModule, telling

DOCUMENTATION = r"""
module: forward
short_description: A router passes every call on to another host's router, or serves them itself
description:
  - Writes or removes the router's forward file, which nginx reads for each call; nginx is not
    reloaded. Then, if wanted, it ends a hold, so that calls that waited go where the file says.
options:
  state:
    description: C(present) to pass calls on, C(absent) to serve them.
    type: str
    choices: [present, absent]
    required: true
  state_dir: {description: The fleet's state on this host., type: path, required: true}
  host: {description: The host that gets the calls., type: str}
  address: {description: Its LAN address., type: str}
  port: {description: The port where its router takes calls of other routers., type: int}
  hold:
    description: Whether a hold, for which calls wait at this router, stays or ends.
    type: str
    choices: [keep, "off"]
    default: keep
"""

EXAMPLES = r"""
- name: Calls that waited here go to the new primary
  forward:
    state: present
    state_dir: "{{ fleet_state_dir }}"
    host: rep1
    address: 10.0.0.12
    port: "{{ fleet_forward_port }}"
    hold: "off"
"""

RETURN = r"""
was:
  description: Where calls went before, C({host, address, port}); null for this host.
  returned: always
  type: dict
held: {description: Whether there was a hold., returned: always, type: bool}
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "required": True},
            "state_dir": {"type": "path", "required": True},
            "host": {"type": "str"},
            "address": {"type": "str"},
            "port": {"type": "int"},
            "hold": {"type": "str", "choices": ["keep", "off"], "default": "keep"},
        },
        required_if=[("state", "present", ["host", "address", "port"])],
        supports_check_mode=True,
    )
    asked, state_dir = module.params, module.params["state_dir"]
    wanted = None
    with telling(module, OSError, ValueError):
        if asked["state"] == "present":
            address = ipaddress.ip_address(asked["address"]).compressed
            wanted = Forward(asked["host"], address, asked["port"])
            if Forward.of(wanted.line()) != wanted:
                raise ValueError(f"{asked['host']!r} is not the name of a host")
    try:
        was, spoilt = read(state_dir), False
    except ValueError:
        was, spoilt = None, True
    with telling(module, OSError):
        held = is_held(state_dir)
        moves = spoilt or was != wanted
        ends = held and asked["hold"] == "off"
        if not module.check_mode:
            # In this order: a call that waits looks for the file when its wait ends.
            if moves:
                bring(state_dir, wanted)
            if ends:
                release(state_dir)
    lines = [[one.line().strip()] if one else [] for one in (was, wanted)]
    module.exit_json(
        changed=moves or ends, was=asdict(was) if was else None, held=held, diff=diff(*lines)
    )


if __name__ == "__main__":
    main()
