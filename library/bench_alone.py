#!/usr/bin/python
"""Prove that a bench works without a fleet, and that nothing of the fleet is left."""

from __future__ import annotations

from ansible.module_utils.fleet.alone import Proof
from ansible.module_utils.fleet.module import FleetModule, required

DOCUMENTATION = r"""
module: bench_alone
short_description: A bench works without a fleet, of which nothing is left
description:
  - Each site answers through nginx and does a job, the programs and one scheduler run, MariaDB
    takes writes. No file, unit, account or packet filter of Benchfleet is left but what is kept.
  - Fails with the checks that do not hold.
options:
  bench: {description: Directory of the bench., type: path, required: true}
  user: {description: The bench's account., type: str, required: true}
  cli_dir: {description: Directory of the bench CLI., type: path, required: true}
  seed_user: {description: Account that sent copies., type: str, required: true}
  state_dir: {description: Where the state of Benchfleet was., type: path, required: true}
  besides: {description: "Further paths that stay, and what each is.", type: dict, default: {}}
"""

EXAMPLES = r"""
- name: Bench works without the fleet
  bench_alone:
    bench: "{{ fleet_bench_dir }}"
    user: frappe
    cli_dir: "{{ bench_cli_dir }}"
    seed_user: "{{ fleet_seed_user }}"
    state_dir: "{{ fleet_state_dir }}"
"""

RETURN = r"""
kept: {description: "What stays because the bench uses it, by path.", returned: always, type: dict}
checks: {description: "Each check: what, ok, saw.", returned: always, type: list}
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            **required("path", "bench", "cli_dir", "state_dir"),
            **required("str", "user", "seed_user"),
            "besides": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    proof = Proof(module.params)
    if module.check_mode:
        module.exit_json(changed=False, checks=[], kept=proof.kept)
    checks = proof.made()
    if wrong := [f"{check['what']}: {check['saw']}" for check in checks if not check["ok"]]:
        module.fail_json(msg="; ".join(wrong), checks=checks)
    module.exit_json(changed=False, checks=checks, kept=proof.kept)


if __name__ == "__main__":
    main()
