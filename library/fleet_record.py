#!/usr/bin/python
"""Make, store or read this host's record of who is the fleet's primary."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.fleet import record
from ansible.module_utils.fleet.changes import diff
from ansible.module_utils.fleet.module import FleetModule, telling

DOCUMENTATION = r"""
module: fleet_record
short_description: This host's record of who is primary
description:
  - The record has an epoch, which only grows. The service benchfleet-record, which this module has
    look at once, opens or closes MariaDB by it.
options:
  state:
    description:
      - C(present) makes the first record, of epoch 1, or brings hosts and C(open_alone) up to date.
        It refuses where the record names another primary.
      - C(stored) stores a record of a higher epoch, as a switch does, or one of the same epoch and
        primary with other hosts. It refuses any other one.
      - C(known) only reads.
    type: str
    choices: [present, stored, known]
    default: present
  state_dir: {description: The fleet's state folder., type: path, required: true}
  fleet_id: {description: The fleet's id., type: str}
  primary: {description: Name of the primary., type: str}
  hosts:
    description:
      - LAN addresses of the fleet's hosts, by name. For C(stored), those that the new primary asks;
        a failover leaves out the former primary.
    type: dict
  here:
    description:
      - For C(present), names of the hosts that take part in the run. The others of C(hosts) stay
        out of the record, unless they are in it.
    type: list
    elements: str
    default: []
  newest:
    description: For C(present), the record of the highest epoch that the fleet has. {} for none.
    type: dict
    default: {}
  epoch: {description: For C(stored)., type: int}
  since:
    description: For C(stored), when the primary became that, as an ISO time. By default now.
    type: str
  while_closed:
    description:
      - For C(stored), on the former primary. It refuses unless a switch keeps MariaDB closed at
        this moment. So a command that was held up cannot replace a primary that works again.
    type: bool
    default: false
  open_alone:
    description: Whether one of two hosts opens when the other does not answer for a minute.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Host has a record of who is primary
  fleet_record:
    state_dir: "{{ fleet_state_dir }}"
    fleet_id: "{{ fleet_secrets.fleet_id }}"
    primary: erp1
    hosts: {erp1: 10.0.0.11, rep1: 10.0.0.12}
    here: [erp1, rep1]

- name: Host knows the new primary
  fleet_record:
    state: stored
    state_dir: "{{ fleet_state_dir }}"
    fleet_id: "{{ fleet_secrets.fleet_id }}"
    primary: rep1
    hosts: {erp1: 10.0.0.11, rep1: 10.0.0.12}
    epoch: 2
"""

RETURN = r"""
record:
  description: >-
    The host's record, {fleet_id, epoch, primary, since, hosts, open_alone}; null without one.
  returned: success
  type: dict
live:
  description: >-
    What the service found before this, {host, primary, epoch, open, why, since, answered, alone,
    checked}; {} where it does not run. See fleet/record.py.
  returned: success
  type: dict
"""


def lines(own: record.Record | None) -> list[str]:
    """A record as lines of a diff."""
    return [] if own is None else own.line().splitlines()


def wanted(own: record.Record | None, asked: Mapping[str, Any]) -> record.Record:
    """The record that the options ask for, where the host has ``own``. Raises RecordError."""
    about = {name: asked[name] for name in ("fleet_id", "primary", "hosts", "open_alone")}
    if asked["state"] == "present":
        known = record.Record.of(asked["newest"]) if asked["newest"] else None
        return record.present(own, known, here=asked["here"], **about)
    if asked["while_closed"] and not record.is_closing():
        raise record.RecordError(
            "the switch took longer than it keeps MariaDB of this host closed, so the primary does"
            " not change any more. Run the same command again"
        )
    since = asked["since"] or record.now()
    return record.accept(own, record.Record(epoch=asked["epoch"], since=since, **about))


def main() -> None:
    module = FleetModule(
        argument_spec={
            "state": {
                "type": "str",
                "choices": ["present", "stored", "known"],
                "default": "present",
            },
            "state_dir": {"type": "path", "required": True},
            "fleet_id": {"type": "str"},
            "primary": {"type": "str"},
            "hosts": {"type": "dict"},
            "here": {"type": "list", "elements": "str", "default": []},
            "newest": {"type": "dict", "default": {}},
            "epoch": {"type": "int"},
            "since": {"type": "str"},
            "while_closed": {"type": "bool", "default": False},
            "open_alone": {"type": "bool", "default": True},
        },
        required_if=[
            ("state", "present", ["fleet_id", "primary", "hosts"]),
            ("state", "stored", ["fleet_id", "primary", "hosts", "epoch"]),
        ],
        supports_check_mode=True,
    )
    asked, state_dir = module.params, module.params["state_dir"]
    with telling(module, record.RecordError, ValueError, OSError):
        if asked["state"] == "known":
            own = new = record.Record.read(state_dir)
        elif module.check_mode:
            own = record.Record.read(state_dir)
            new = wanted(own, asked)
        else:
            own, new = record.update(state_dir, lambda there: wanted(there, asked))
        found = record.state()
        if new != own and not module.check_mode:
            record.kick()
    module.exit_json(
        changed=new != own,
        record=record.asdict(new) if new else None,
        live=found,
        diff=diff(lines(own), lines(new)),
    )


if __name__ == "__main__":
    main()
