#!/usr/bin/python
"""Return the state of one server of the fleet, from its status file or measured anew."""

from __future__ import annotations

from ansible.module_utils.fleet.module import FleetModule, required
from ansible.module_utils.fleet.status.file import current

DOCUMENTATION = r"""
module: node_status
short_description: MariaDB, replication, bench, site files, disk and memory of this host
description:
  - Only reads, and never fails because something does not run; C(state) says what.
  - A file that is younger than 90 s is returned. Otherwise the host is asked, with a limit for
    each question, so that nothing that hangs there hangs this.
options:
  host: {description: Name of the host in the inventory., type: str, required: true}
  role: {description: Its task., choices: [primary, reporting], required: true}
  file: {description: The host's own status file., type: path, required: true}
  bench: {description: Directory of the bench., type: path, required: true}
  guard_state: {description: State folder of the read path's guard., type: path, required: true}
  cli_dir: {description: Directory of the bench CLI., type: path, required: true}
  certificates: {description: Folder of the fleet's own ones., type: path, required: true}
  mark: {description: The fleet's mark on the host., type: path, required: true}
  state_dir: {description: The fleet's state on this host., type: path, required: true}
  queue: {description: Settings of the queue's Redis., type: path, required: true}
  backups: {description: Where updates put their dumps., type: path, required: true}
  adopted: {description: Where the records of adoptions are., type: path, required: true}
  places:
    description: Further folders in which something of the fleet's is written, C({path, holds}).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Status is read
  node_status:
    host: rep1
    role: reporting
    file: "{{ fleet_state_dir }}/status.json"
    bench: "{{ fleet_bench_dir }}"
    guard_state: "{{ fleet_state_dir }}/read-guard"
    cli_dir: "{{ bench_cli_dir }}"
    certificates: "{{ fleet_config_dir }}/tls"
    mark: "{{ fleet_config_dir }}/fleet.json"
    state_dir: "{{ fleet_state_dir }}"
    queue: "{{ fleet_config_dir }}/redis/redis_queue.conf"
    backups: "{{ update_backup_dir }}"
    adopted: "{{ adopt_backup_dir }}"
    places:
      - {path: /var/log, holds: logs}
"""

RETURN = r"""
status:
  description: >-
    {host, role, measured, age_seconds, level, state, troubles [{id, what, level}], mariadb,
    replication, lag_seconds, apps, sync_age_seconds, workers, certificate_days {authority, server}
    that are left, disk_free, memory_free}, and of a reporting node {reports_read, fallbacks,
    write_under_read_only}, of the primary {drained, sites, sites_not_served, queues {waiting,
    oldest_seconds, by_queue [{queue, waiting, oldest_seconds, workers}]}}. record is {primary,
    epoch, since, open, why, alone}, who is primary by this host. C(measured) is in
    seconds since the epoch. C(level), that of the worst trouble, is ok, amber or red. What could
    not be found out is null, and C(state) says why. With file_systems [{path, holds, bytes, free,
    files_free, used, full, needed, level}], update_needs [{device, bytes, what}], kept [{id, what,
    path, number, bytes, oldest}], and versions {format, recorded, tools, mariadb,
    mariadb_candidate}. slow and waits are those of module fleet_status.
  returned: always
  type: dict
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            **required("path", "file", "bench", "guard_state", "cli_dir", "certificates", "mark"),
            **required("path", "state_dir", "queue", "backups", "adopted"),
            "host": {"type": "str", "required": True},
            "role": {"type": "str", "choices": ["primary", "reporting"], "required": True},
            "places": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    module.exit_json(changed=False, status=current(module.params, module.params["file"]))


if __name__ == "__main__":
    main()
