#!/usr/bin/python
"""Have a router pass every call on to another host's router, or serve them itself."""

from __future__ import annotations

from ansible.module_utils.fleet.forward import WORK
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: forward
short_description: A router passes every call on to another host's router, or serves them itself
description:
  - Writes or removes the router's forward file, which nginx reads for each call; nginx is not
    reloaded. Then, if wanted, it ends a hold, so that calls that waited go where the file says.
  - While another host takes the place of the one that the file names, calls can wait here.
options:
  state:
    description:
      - C(present) to pass calls on, C(absent) to serve them.
      - C(held) leaves the file as it is. Calls wait here if the router that it names does not
        answer; they would get an error at once otherwise.
    type: str
    choices: [present, absent, held]
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
  hold_seconds:
    description: For how long calls wait, at most, with C(held). 0 ends it.
    type: int
    default: 120
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
  returned: with present and absent
  type: dict
held:
  description: Whether there was a hold; with C(held), whether there is one now.
  returned: always
  type: bool
"""


def main() -> None:
    WORK.end(FleetModule(**WORK.options))


if __name__ == "__main__":
    main()
