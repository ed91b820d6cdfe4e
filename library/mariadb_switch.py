#!/usr/bin/python
"""One step of a change of primary on one MariaDB server."""

from __future__ import annotations

from ansible.module_utils.fleet.mariadb.switch import WORK
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: mariadb_switch
short_description: One step of a change of primary on one MariaDB server
description:
  - Each step can be run again after it was done; it says then that nothing has changed.
  - C(look) returns what a switch is judged by.
  - C(close), on the primary, makes it read-only, ends its clients, and waits until none writes. It
    opens again by itself after C(seconds), unless another host is primary by then.
  - C(closed) proves that the primary has written nothing since, and stays closed for 10 s more.
  - C(reopen) is the way back; on a primary that is open it does nothing.
  - C(reach), on a replica, waits until it has C(gtid).
  - C(drain), on a replica whose primary is dead, applies all that it received, also where its
    threads were stopped or the server was restarted. Nothing is discarded.
  - C(fetch) gets from another replica what that one has; this server then follows none.
  - C(promote) makes a replica follow none any more. It is opened by the record of who is primary;
    with C(wait_open) the step waits for that, and writes a row.
  - C(follow) makes a server, also a former primary, follow C(primary), and notes it as seeded.
  - C(export) writes the transactions of a former primary that C(primary) has not, as SQL.
  - C(semi_sync) has the primary wait for a replica at each commit, or not, by C(mode).
options:
  step:
    description: What to do.
    type: str
    required: true
    choices: [look, close, closed, reopen, reach, drain, fetch, promote, follow, export, semi_sync]
  seconds:
    description: For C(close), how long the primary stays closed by it.
    type: int
    default: 60
  gtid: {description: A position., type: str}
  timeout:
    description: Seconds that the step may take.
    type: int
    default: 30
  wait_open: {description: For C(promote)., type: bool, default: false}
  primary: {description: LAN address of the primary to follow., type: str}
  from: {description: LAN address of the replica to C(fetch) from., type: str}
  port: {description: Their MariaDB port., type: int}
  password: {description: Password of the replication account., type: str}
  probe_password:
    description: Password of the account that may read a server's state.
    type: str
  ca: {description: The fleet's CA certificate on this host., type: path}
  fleet_id: {description: This fleet., type: str}
  state_file: {description: The seed's state file., type: path}
  state_dir: {description: The fleet's state folder, for C(export)., type: path}
  mode:
    description: For C(semi_sync).
    type: str
    choices: ["off", available, strict]
"""

EXAMPLES = r"""
- name: Primary is closed
  mariadb_switch:
    step: close
    seconds: 60
"""

RETURN = r"""
gtid:
  description: The end of this server's history after the step.
  returned: for close, closed, reach, drain, fetch and promote
  type: str
ahead:
  description: The last transactions here that the new primary has not; [] when it follows.
  returned: for follow and export
  type: list
folder:
  description: Where the SQL is, "" where there is nothing to export.
  returned: for export
  type: str
transactions: {description: Their number., returned: for export, type: int}
read_only: {description: Whether the server is., returned: for look and reopen, type: bool}
binlog_pos: {description: The end of its history., returned: for look, type: str}
slave_pos: {description: What it has applied of others., returned: for look, type: str}
binlog_state: {description: The last GTID of each server., returned: for look, type: str}
follows: {description: "The address that it follows, or ''.", returned: for look, type: str}
io: {description: Its receiving thread., returned: for look, type: str}
sql: {description: Its applying thread., returned: for look, type: str}
io_error: {description: "[number, text], 0 for none.", returned: for look, type: list}
sql_error: {description: The same of the other thread., returned: for look, type: list}
received: {description: What it holds, applied or not., returned: for look, type: str}
drained: {description: Whether all of that is applied., returned: for look, type: bool}
heartbeat_age: {description: In seconds; none without one., returned: for look, type: float}
heartbeat_server_id: {description: The server that wrote it., returned: for look, type: int}
server_id: {description: That of this server., returned: for look, type: int}
data_free_mb: {description: MiB free for its data., returned: for look, type: int}
version: {description: Of MariaDB., returned: for look, type: str}
domain_ids: {description: Domains in its history., returned: for look, type: list}
"""


def main() -> None:
    WORK.end(FleetModule(**WORK.options))


if __name__ == "__main__":
    main()
