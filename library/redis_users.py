#!/usr/bin/python
"""Make a user for each host of the fleet, and one for root, in the bench's Redis."""

from __future__ import annotations

from ansible.module_utils.fleet.module import FleetModule, new_lines, telling
from ansible.module_utils.fleet.redis.client import RedisError
from ansible.module_utils.fleet.redis.users import (
    Users,
    UsersError,
)

DOCUMENTATION = r"""
module: redis_users
short_description: Users of the bench's Redis, in its files and in the running Redis
description:
  - What a user may do is in fleet/redis/users.py. The files have hashes of passwords.
  - A running Redis is changed without a restart. Only the connections of a removed user end.
options:
  path: {description: Folder of Redis' settings; made when missing., type: path, required: true}
  group: {description: Group of the account that runs Redis., type: str, required: true}
  primary: {description: The host whose bench is the primary's., type: str, required: true}
  hosts: {description: "Benches: host → password.", type: dict, required: true}
  admin: {description: Password of root's user., type: str, required: true}
  keep:
    description: Whether Redis still accepts the former passwords. A rotation needs this, because
      some benches use the former password and some the new one. A host that is not in C(hosts) is
      removed at once.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Each host's bench has a Redis password of its own
  redis_users:
    path: "{{ fleet_config_dir }}/redis"
    group: frappe
    primary: erp1
    hosts: {erp1: "{{ password }}", rep1: "{{ other_password }}"}
    admin: "{{ fleet_secrets.redis_admin_password }}"
"""

RETURN = r"""
former: {description: Whether Redis still accepts a former password., returned: success, type: bool}
did:
  description: What was changed, without any secret.
  returned: success
  type: list
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "group": {"type": "str", "required": True},
            "primary": {"type": "str", "required": True},
            "hosts": {"type": "dict", "required": True, "no_log": True},
            "admin": {"type": "str", "required": True, "no_log": True},
            "keep": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    wanted = Users(module.params, module.check_mode)
    with telling(module, UsersError, OSError, RedisError):
        wanted.bring()
    module.exit_json(
        changed=bool(wanted.did),
        did=wanted.did,
        former=wanted.former,
        diff=new_lines(wanted.did),
    )


if __name__ == "__main__":
    main()
