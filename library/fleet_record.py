#!/usr/bin/python
"""Make, store or read this host's record of who is the fleet's primary."""

from __future__ import annotations

from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.record import WORK

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


def main() -> None:
    WORK.end(FleetModule(**WORK.options))


if __name__ == "__main__":
    main()
