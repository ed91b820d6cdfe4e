#!/usr/bin/python
"""Give a replica its first copy of the primary's data: decide, start, and show the progress."""

from __future__ import annotations

from ansible.module_utils.fleet.mariadb.module import answer
from ansible.module_utils.fleet.mariadb.seed import Seeder
from ansible.module_utils.fleet.module import FleetModule, required

DOCUMENTATION = r"""
module: mariadb_seed
short_description: A replica holds a copy of the primary's data
description:
  - Starts the seed as a unit of its own and returns; the action plugin of the same name follows it.
  - Seeds only a server on a host of this fleet that was not seeded before, does not replicate, and
    holds no databases but the system's. Goes on with a seed that was cut off. Refuses the rest.
options:
  step:
    description: C(begin) decides and starts; C(poll) only returns the state.
    choices: [begin, poll]
    default: begin
    type: str
  sources:
    description: Servers that may send the copy, each as name=address, in the order in which they
      are asked; the primary last.
    type: list
    elements: str
    required: true
  ssh_port: {description: Their ssh port., type: int, required: true}
  seed_user: {description: Unix account that sends copies there., type: str, required: true}
  fleet_id: {description: This fleet., type: str, required: true}
  fleet_file: {description: The file with the id of this host's fleet., type: path, required: true}
  state_file: {description: The seed's phase and figures., type: path, required: true}
  script: {description: The receiving script., type: path, required: true}
  memory_mb: {description: MiB for applying the log., type: int, default: 128}
  reseed:
    description: Replace the data of this server in any case; the old folder is kept.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Replica holds a copy of the primary's data
  mariadb_seed:
    sources: [rep1=192.0.2.21, erp1=192.0.2.11]
    ssh_port: 22
    seed_user: "{{ fleet_seed_user }}"
    fleet_id: "{{ fleet_secrets.fleet_id }}"
    fleet_file: "{{ fleet_config_dir }}/fleet.json"
    state_file: "{{ fleet_state_dir }}/mariadb-seed.json"
    script: "{{ fleet_lib_dir }}/mariadb-seed-receive"
"""

RETURN = r"""
running: {description: Whether the seed is running., returned: always, type: bool}
finished: {description: Whether the server runs on a seeded copy., returned: always, type: bool}
state: {description: Phase and figures of the seed., returned: always, type: dict}
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            **required("path", "fleet_file", "state_file", "script"),
            "step": {"choices": ["begin", "poll"], "default": "begin"},
            "sources": {"type": "list", "elements": "str", "required": True},
            "ssh_port": {"type": "int", "required": True},
            "seed_user": {"type": "str", "required": True},
            "fleet_id": {"type": "str", "required": True},
            "memory_mb": {"type": "int", "default": 128},
            "reseed": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    seeder = Seeder(module)
    answer(
        module,
        seeder.begin if module.params["step"] == "begin" else seeder.poll,
        would={
            "running": False,
            "finished": False,
            "state": {},
            "msg": "would seed the new server",
            "diff": {"before": "no server\n", "after": "a copy of the primary's data\n"},
        },
    )


if __name__ == "__main__":
    main()
