#!/usr/bin/python
"""Do a step of a change of the primary on a host's bench."""

from __future__ import annotations

from ansible.module_utils.fleet.bench.switch import WORK
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: bench_switch
short_description: A bench's part in a change of the primary
description:
  - Each step can be done again, and changes nothing then. C(site.yml) does what is not in a hurry.
options:
  step:
    description:
      - C(quiet), on the primary first, then on all others, stops scheduler and workers; the primary
        also has all workers of the fleet take no job, by RQ's switch, and waits for their jobs.
      - C(ready), on the new primary, starts web workers that answer as a primary's, beside those of
        the node.
      - C(files), on the new primary, copies the sites' files, as its timer does each minute.
      - C(close), on the primary, has calls wait at the router and stops what answers them. Should
        neither C(back) nor another record come, systemd starts it all again.
      - C(take), on the new primary, when its MariaDB and its Redis are the fleet's, makes its
        configurations a primary's, removes the copy of the sites, and lets jobs run again.
      - C(back) starts all programs of the host and takes back what C(quiet) and C(close) did.
      - C(left), on a host that does not become the primary, ends what C(ready) has started.
    type: str
    choices: [quiet, ready, files, close, take, back, left]
    required: true
  host: {description: Inventory name of this host., type: str, required: true}
  address: {description: LAN address of this host., type: str, required: true}
  bench: {description: Directory of the bench., type: path, required: true}
  cli_dir: {description: Virtual environment of the bench CLI., type: path, required: true}
  config_dir: {description: Settings of Benchfleet., type: path, required: true}
  lib_dir: {description: Programs of Benchfleet., type: path, required: true}
  state_dir: {description: State of Benchfleet., type: path, required: true}
  configuration: {description: The bench's file of supervisor., type: path, required: true}
  web_port: {description: Port of a bench's web workers., type: int, required: true}
  report_port: {description: Port of the primary's pool for reports., type: int, required: true}
  seconds:
    description:
      - How long jobs (C(quiet)), or calls (C(close)), may take to end; for C(files), how long a
        copy that runs already is waited for.
    type: int
    default: 20
  hold_seconds:
    description: For how long calls wait at the router, at most, from C(close) on.
    type: int
    default: 30
  nodes:
    description: Reporting nodes to which the router of this host sends no calls from C(quiet) on.
    type: list
    elements: str
    default: []
  drained:
    description: Nodes that were drained at the former primary, for C(take).
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Primary answers no calls
  bench_switch:
    step: close
    host: "{{ inventory_hostname }}"
    address: "{{ fleet_lan_ip }}"
    bench: "{{ fleet_bench_dir }}"
    cli_dir: "{{ bench_cli_dir }}"
    config_dir: "{{ fleet_config_dir }}"
    lib_dir: "{{ fleet_lib_dir }}"
    state_dir: "{{ fleet_state_dir }}"
    configuration: "{{ fleet_supervisor_conf }}"
    web_port: "{{ fleet_web_port }}"
    report_port: "{{ fleet_report_port }}"
"""

RETURN = r"""
did: {description: What was done, or would be., returned: always, type: list}
stopped: {description: Programs that were stopped., returned: with quiet and close, type: list}
drained: {description: Nodes that are drained by hand here., returned: with quiet, type: list}
held_until:
  description: Until when calls wait, in seconds of the epoch.
  returned: with close, except in check mode
  type: int
late:
  description: Programs that are still ending and were not started again.
  returned: with back
  type: list
"""


def main() -> None:
    WORK.end(FleetModule(**WORK.options))


if __name__ == "__main__":
    main()
