#!/usr/bin/python
"""Open the fleet's confirmed primary for writes, now and after each start of the server."""

from __future__ import annotations

from ansible.module_utils.fleet.mariadb.server import (
    MariaDBError,
    ServerAbsentError,
    local,
    read_json,
    root_takes_password,
    write_json,
)
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: mariadb_open
short_description: The confirmed primary accepts writes, also after a restart
description:
  - Writes the marker that the server's unit looks for after each start, and opens the running
    server.
  - Refuses on a host of another fleet and on a server that follows another one.
options:
  marker:
    description: The marker's path.
    type: path
    required: true
  fleet_file:
    description: The file that says whose host this is.
    type: path
    required: true
  fleet_id:
    description: The fleet that confirms this primary.
    type: str
    required: true
"""

EXAMPLES = r"""
- name: Primary accepts writes, also after a restart
  mariadb_open:
    marker: "{{ fleet_state_dir }}/mariadb-primary"
    fleet_file: "{{ fleet_config_dir }}/fleet.json"
    fleet_id: "{{ fleet_secrets.fleet_id }}"
"""

RETURN = r"""
read_only:
  description: Whether the server was closed before.
  returned: when there is a server
  type: bool
root_takes_password:
  description: Whether somebody can be root there by a password, as C(bench new-site) asks for it.
  returned: when there is a server
  type: bool
"""


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "marker": {"type": "path", "required": True},
            "fleet_file": {"type": "path", "required": True},
            "fleet_id": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    marker, fleet_id = module.params["marker"], module.params["fleet_id"]
    before: list[str] = []
    after: list[str] = []
    try:
        with local() as server:
            status = server.replica_status()
            if status is not None:
                raise MariaDBError(
                    f"this host is the inventory's primary, but its server follows"
                    f" {status['Master_Host']}; it stays read-only. Name the real primary in the"
                    " inventory, or switch over first"
                )
            owner = read_json(module.params["fleet_file"]) or {}
            if owner.get("fleet_id") != fleet_id and not module.check_mode:
                raise MariaDBError(
                    f"{module.params['fleet_file']} does not name this fleet; run the whole"
                    " site.yml"
                )
            marked = (read_json(marker) or {}).get("fleet_id") == fleet_id
            closed = bool(int(server.value("SELECT @@GLOBAL.read_only")))
            by_password = root_takes_password(server)
            events = str(server.value("SELECT @@GLOBAL.event_scheduler")).upper() in ("ON", "1")
            if not marked:
                before.append("not marked as primary")
                after.append("marked as primary")
                if not module.check_mode:
                    write_json(marker, {"fleet_id": fleet_id})
            if closed:
                before.append("read_only")
                after.append("open for writes")
            if not events:
                before.append("events rest")
                after.append("events run")
            if not module.check_mode:
                if closed:
                    server.run("SET GLOBAL read_only = 0")
                if not events:
                    server.run("SET GLOBAL event_scheduler = 1")
    except ServerAbsentError as absent:
        if not module.check_mode:
            module.fail_json(msg=str(absent))
        module.exit_json(
            changed=True,
            msg="would open the server as primary",
            diff={"before": f"{absent}\n", "after": "open for writes\n"},
        )
    except MariaDBError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(after),
        read_only=closed,
        root_takes_password=by_password,
        diff={
            "before": "".join(f"{line}\n" for line in before),
            "after": "".join(f"{line}\n" for line in after),
        },
    )


if __name__ == "__main__":
    main()
