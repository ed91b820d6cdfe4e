#!/usr/bin/python
"""Keep a host that is taken for dead away from this one, until it rejoins the fleet."""

from __future__ import annotations

from pathlib import Path

from ansible.module_utils.fleet import atomic
from ansible.module_utils.fleet.changes import diff
from ansible.module_utils.fleet.fence import TABLE, hosts_of, removal, rules
from ansible.module_utils.fleet.module import FleetModule, telling

DOCUMENTATION = r"""
module: fence
short_description: A host that is taken for dead is kept away by the packet filter
description:
  - Drops what the host sends, and refuses what is sent to it, also on connections that exist. It
    can still ask for the record of who is primary, show its own, and be reached by ssh from here.
  - The rules are a table of their own. They are kept in a file, which benchfleet-firewall.service
    loads at every boot, until C(state=absent).
options:
  state: {description: Fenced or not., type: str, choices: [present, absent], required: true}
  host: {description: Name of the host., type: str, required: true}
  address: {description: Its LAN address; needed with C(state=present)., type: str}
  file: {description: Where the rules are kept., type: path, required: true}
  ssh_port: {description: Port of sshd on that host., type: int, required: true}
  record_port: {description: Port at which hosts show their record., type: int, required: true}
"""

EXAMPLES = r"""
- name: The former primary is kept away
  fence:
    state: present
    host: erp1
    address: 10.0.0.11
    file: "{{ fleet_fence_file }}"
    ssh_port: 22
    record_port: "{{ fleet_record_port }}"
"""

RETURN = r"""
fenced: {description: "The hosts that are kept away, {name: address}.", type: dict}
"""


class NftError(Exception):
    """nft refused; the message has its output."""


def load(module: FleetModule, text: str) -> None:
    """Load rules in one transaction. Raises NftError."""
    code, _, err = module.run_command(["nft", "-f", "-"], data=text)
    if code != 0:
        raise NftError(f"nft refuses the rules about {module.params['host']}: {err.strip()}")


def main() -> None:
    module = FleetModule(
        argument_spec={
            "state": {"type": "str", "choices": ["present", "absent"], "required": True},
            "host": {"type": "str", "required": True},
            "address": {"type": "str"},
            "file": {"type": "path", "required": True},
            "ssh_port": {"type": "int", "required": True},
            "record_port": {"type": "int", "required": True},
        },
        required_if=[("state", "present", ["address"])],
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    asked, path = module.params, Path(module.params["file"])
    with telling(module, NftError, OSError, ValueError):
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        fenced = hosts_of(before)
        if asked["state"] == "present":
            fenced[asked["host"]] = asked["address"]
        else:
            fenced.pop(asked["host"], None)
        if asked["state"] == "absent" and asked["host"] not in hosts_of(before):
            module.exit_json(changed=False, fenced=fenced)
        after = rules(fenced, asked["ssh_port"], asked["record_port"]) if fenced else ""
        code, _, _ = module.run_command(["nft", "list", "table", "inet", TABLE])
        changed = after != before or (code == 0) != bool(fenced)
        if changed and not module.check_mode:
            # The file first: a reboot in between does not let the host in.
            if fenced:
                atomic.write(path, after, 0o644)
            load(module, after or removal())
            if not fenced:
                path.unlink(missing_ok=True)
    lines = (before.splitlines(), after.splitlines())
    module.exit_json(changed=changed, fenced=fenced, diff=diff(*lines))


if __name__ == "__main__":
    main()
