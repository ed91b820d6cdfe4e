#!/usr/bin/python
"""The last lines of the logs of a host."""

from __future__ import annotations

from ansible.module_utils.fleet.logs import MOST, SUMMARY, WHAT, read
from ansible.module_utils.fleet.module import FleetModule, required

DOCUMENTATION = r"""
module: host_logs
short_description: Last lines of the logs that matter
description:
  - Only reads, and only the end of each log. No link is followed. Control characters are escaped,
    and what looks like a password is replaced.
options:
  host: {description: Name of the host in the inventory., type: str, required: true}
  bench: {description: Directory of the bench., type: path, required: true}
  what:
    description:
      - One of web, workers, scheduler, copies, mariadb, nginx, redis, timers, update. Empty for
        the last errors and warnings of each.
    type: str
    default: ""
  lines: {description: "Lines of each log, from 1 to 1000.", type: int, default: 40}
"""

EXAMPLES = r"""
- name: Last lines of the web workers
  host_logs:
    host: "{{ inventory_hostname }}"
    bench: "{{ fleet_bench_dir }}"
    what: web
"""

RETURN = r"""
logs:
  description: "What was read: host, what, and logs, a list of source, lines (at, text), trouble."
  returned: success
  type: list
summary: {description: Whether these are errors and warnings alone., returned: success, type: bool}
refused: {description: Whether such lines cannot be asked for., returned: failure, type: bool}
known: {description: What can be asked for., returned: always, type: list}
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            **required("str", "host"),
            **required("path", "bench"),
            "what": {"type": "str", "default": ""},
            "lines": {"type": "int", "default": 40},
        },
        supports_check_mode=True,
    )
    what, lines = module.params["what"], module.params["lines"]
    if what and what not in WHAT:
        message = f"there is no log {what!r}; ask for one of {', '.join(WHAT)}"
        module.fail_json(msg=message, known=list(WHAT), refused=True)
    if not 1 <= lines <= MOST:
        message = f"lines is {lines}; it is from 1 to {MOST}"
        module.fail_json(msg=message, known=list(WHAT), refused=True)
    found = [
        read(one, module.params["bench"], lines if what else SUMMARY, troubles=not what)
        for one in ([what] if what else WHAT)
    ]
    module.exit_json(
        changed=False,
        logs=[{"host": module.params["host"], **one} for one in found],
        summary=not what,
        known=list(WHAT),
    )


if __name__ == "__main__":
    main()
