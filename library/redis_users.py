#!/usr/bin/python
"""Let the bench's Redis know a user for each host of the fleet, and one for root."""

from __future__ import annotations

import grp
import os

from ansible.module_utils.fleet.bench.account import read_text
from ansible.module_utils.fleet.foreign import replace
from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.redis.users import (
    ADMIN_FILE,
    INSTANCES,
    UsersError,
    apply,
    conf_of,
    file_of,
    former_hashes,
    hashed,
    live_changes,
    passwords_of,
    port_of,
    sign_in,
    text,
    users,
)
from ansible.module_utils.fleet.verify.look import RedisError

DOCUMENTATION = r"""
module: redis_users
short_description: Users of the bench's Redis, in its files and in the one that runs
description:
  - What a user may do stands in fleet/redis/users.py. The files have hashes of passwords.
  - A Redis that runs is told and goes on running. The connections of a user that goes end with it,
    and no other.
options:
  path: {description: Folder of Redis' settings; made when missing., type: path, required: true}
  group: {description: Group of the account that runs Redis., type: str, required: true}
  primary: {description: The host whose bench is the primary's., type: str, required: true}
  hosts: {description: "Benches: host → password.", type: dict, required: true}
  admin: {description: Root's own password., type: str, required: true}
  keep:
    description: Whether passwords that Redis takes so far are good for longer. So a new password is
      known before a bench comes with it, and a former one until no bench does. A host that is not
      among C(hosts) is out at once.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Redis knows each host's bench by a password of its own
  redis_users:
    path: "{{ fleet_config_dir }}/redis"
    group: frappe
    primary: erp1
    hosts: {erp1: "{{ password }}", rep1: "{{ other_password }}"}
    admin: "{{ fleet_secrets.redis_admin_password }}"
"""

RETURN = r"""
did:
  description: What was changed, without any secret.
  returned: success
  type: list
"""


class Users:
    """The users of both instances, as they shall be."""

    def __init__(self, module: FleetModule) -> None:
        self.params = module.params
        self.check: bool = module.check_mode
        self.folder: str = self.params["path"]
        self.did: list[str] = []

    def bring(self) -> None:
        """Both instances, and root's file. Raises UsersError, OSError, RedisError."""
        try:
            group = grp.getgrnam(self.params["group"]).gr_gid
        except KeyError:
            if not self.check:
                raise UsersError(f"there is no group {self.params['group']} on this host") from None
            group = 0
        if not os.path.isdir(self.folder):
            self.did.append(f"make {self.folder}")
            if not self.check:
                os.mkdir(self.folder, 0o750)
                os.chown(self.folder, 0, group)
        file = os.path.join(self.folder, ADMIN_FILE)
        admins = [self.params["admin"], (read_text(file) or "").strip()]
        for instance in INSTANCES:
            self.instance(instance, group, admins)
        # Last: until both know the new one, the former one may be needed.
        self.put(file, self.params["admin"] + "\n", 0, 0o600)

    def put(self, path: str, content: str, group: int, mode: int) -> None:
        """Have a file say this."""
        if read_text(path) != content:
            self.did.append(f"write {path}")
            if not self.check:
                replace(path, content.encode(), mode, (0, group))

    def instance(self, instance: str, group: int, admins: list[str]) -> None:
        """One of the two: the Redis that runs, then its file, by which the next run judges.

        admins: root's passwords, the new one first.
        """
        path = file_of(self.folder, instance)
        conf = read_text(conf_of(self.folder, instance))
        former = former_hashes(read_text(path), conf)
        passwords = passwords_of(self.params["hosts"], former, self.params["keep"])
        wanted = users(instance, self.params["primary"], passwords, hashed(self.params["admin"]))
        # Without settings of ours, whoever listens there is not ours.
        if conf is not None and not self.check:
            redis = sign_in(port_of(conf), admins, conf)
            if redis is not None:
                with redis:
                    changed = live_changes(redis, wanted)
                    apply(redis, wanted, changed)
                self.did += [f"{instance}: {name}" for name in changed]
        self.put(path, text(wanted), group, 0o640)


def main() -> None:
    """Module entry point."""
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
    wanted = Users(module)
    try:
        wanted.bring()
    except (UsersError, OSError, RedisError) as error:
        module.fail_json(msg=str(error))
    diff = {"before": "", "after": "".join(f"{line}\n" for line in wanted.did)}
    module.exit_json(changed=bool(wanted.did), did=wanted.did, diff=diff)


if __name__ == "__main__":
    main()
