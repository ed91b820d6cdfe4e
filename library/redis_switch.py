#!/usr/bin/python
"""Do one step of a change of the primary with the queue's Redis of this host."""

from __future__ import annotations

from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.redis.switch import WORK

DOCUMENTATION = r"""
module: redis_switch
short_description: Hands the queue over to the standby's Redis, or makes it a copy
description:
  - What Redis is after a restart follows from the host's record; nothing is configured here.
  - A step that was done before changes nothing.
options:
  step:
    description:
      - C(look) only reads.
      - C(failover), on the primary, hands the queue over to the copy on C(host). No job is lost;
        writes wait meanwhile. If it does not succeed in time, the primary stays as it was.
      - C(takeover), on the standby at the same time, waits for that. Then it empties the cache of
        this host, which is of the time when it was last the primary.
      - C(promote), on the standby of a primary that is lost, goes on with the jobs that have
        arrived, and empties the cache.
      - C(follow) makes this host's Redis a copy of that on C(host), which its record has to name.
        The queue of a former primary is moved into a folder C(former-) with the date, beside
        Redis' files, with a list of its jobs.
    choices: [look, failover, takeover, promote, follow]
    required: true
  config_dir: {description: The fleet's settings on this host., type: path, required: true}
  state_dir: {description: The fleet's state on this host., type: path, required: true}
  host: {description: "LAN address of the other host, for C(failover) and C(follow).", type: str}
  seconds: {description: How long the step may take., type: float, default: 5}
"""

EXAMPLES = r"""
- name: Queue is handed over to the standby
  redis_switch:
    step: "{{ 'failover' if inventory_hostname == fleet_primary else 'takeover' }}"
    config_dir: "{{ fleet_config_dir }}"
    state_dir: "{{ fleet_state_dir }}"
    host: 10.0.0.12
"""

RETURN = r"""
role: {description: primary or copy., returned: success, type: str}
source: {description: "Address of the Redis that it copies.", returned: success, type: str}
link: {description: "Of a copy: up or down.", returned: success, type: str}
offset:
  description: Bytes of changes that it has; those of the primary and of a copy can be compared.
  returned: success
  type: int
lag: {description: "Of a copy: seconds since the primary was last heard.", type: int}
copies:
  description: "The copies that it sends to, {address, port, state, offset, lag}."
  returned: success
  type: list
working:
  description: >-
    Jobs that were begun and have not ended, {id, queue, method, site, since, worker}. After a
    failover it is not known which of them were done; none is repeated.
  returned: success
  type: list
"""


def main() -> None:
    WORK.end(FleetModule(**WORK.options))


if __name__ == "__main__":
    main()
