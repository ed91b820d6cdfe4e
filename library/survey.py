#!/usr/bin/python
"""Gather all that preflight needs to know of one host, in one execution."""

from __future__ import annotations

from ansible.module_utils.fleet.bench.account import BenchError
from ansible.module_utils.fleet.bench.code import APP_SPEC
from ansible.module_utils.fleet.module import FleetModule, required, telling
from ansible.module_utils.fleet.survey.host import survey

DOCUMENTATION = r"""
module: survey
short_description: Gather all that preflight needs to know of a host
description:
  - Changes nothing. fleet/preflight on the controller finds the problems.
  - An action plugin of the same name adds C(clock), the host's offset from the controller.
options:
  bench_dir: {description: Directory of the bench., type: path, required: true}
  bench_home: {description: Home of the bench account., type: path, required: true}
  cli_dir: {description: Directory of the bench CLI., type: path, required: true}
  config_dir: {description: Folder of the fleet's mark., type: path, required: true}
  lib_dir: {description: Folder of the fleet's programs., type: path, required: true}
  state_dir: {description: Folder of the fleet's state on this host., type: path, required: true}
  adopt:
    description: Whether to look at a bench that no fleet made, to adopt it.
    type: bool
    default: false
  ports:
    description: TCP ports whose listeners are reported.
    type: list
    elements: int
    default: []
  pythons:
    description: Python interpreters whose versions are reported, besides those of the system.
    type: list
    elements: str
    default: []
  apps:
    description: Apps of the bench; the versions of Python and Node that they need are reported.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name of the app's package., type: str, required: true}
      repo: {description: Its repository., type: str, required: true}
      branch: {description: Branch or tag., type: str}
      commit: {description: Commit., type: str}
  bench_user: {description: The bench's account., type: str, required: true}
  jobs:
    description: Names of jobs, and patterns for them, to search in the bench.
    type: list
    elements: str
    default: []
  certificates:
    description: Certificates of the router, C({of, certificate, key}) each.
    type: list
    elements: dict
    default: []
  connect_to: {description: Address to open a TCP connection to., type: str}
  connect_port: {description: Port of that address., type: int}
  ways:
    description:
      - Addresses and ports of other hosts to which this host will connect, C({address, port})
        each. Those that a packet filter drops are reported.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Host is surveyed
  survey:
    bench_dir: "{{ fleet_bench_dir }}"
    bench_home: "{{ fleet_bench_home }}"
    cli_dir: "{{ bench_cli_dir }}"
    config_dir: "{{ fleet_config_dir }}"
    lib_dir: "{{ fleet_lib_dir }}"
    state_dir: "{{ fleet_state_dir }}"
    bench_user: frappe
"""

RETURN = r"""
survey:
  description: The survey of the host, see fleet/survey/host.py.
  returned: success
  type: dict
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            **required("path", "bench_dir", "bench_home", "cli_dir"),
            **required("path", "config_dir", "lib_dir", "state_dir"),
            "adopt": {"type": "bool", "default": False},
            "ports": {"type": "list", "elements": "int", "default": []},
            "pythons": {"type": "list", "elements": "str", "default": []},
            "apps": {"type": "list", "elements": "dict", "default": [], "options": APP_SPEC},
            "bench_user": {"type": "str", "required": True},
            "jobs": {"type": "list", "elements": "str", "default": []},
            "certificates": {"type": "list", "elements": "dict", "default": []},
            "connect_to": {"type": "str"},
            "connect_port": {"type": "int"},
            "ways": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    with telling(module, BenchError):
        found = survey(module.params)
    module.exit_json(changed=False, survey=found)


if __name__ == "__main__":
    main()
