#!/usr/bin/python
"""A replica follows its primary: connect a seeded one, mend what is safe, name the rest."""

from __future__ import annotations

import os
import shutil
import time
from typing import Any

from ansible.module_utils.fleet.kept import REPLACED, things, tidy
from ansible.module_utils.fleet.mariadb.server import (
    MEMORY_CURE,
    MariaDBError,
    Server,
    ServerAbsentError,
    describe,
    errant,
    local,
    memory_tables,
    pymysql,
    quote_text,
    read_json,
    remote,
    write_json,
)
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: mariadb_replication
short_description: A replica follows its primary
description:
  - C(following) connects a freshly seeded server, points a changed password or CA anew, starts
    stopped threads
    that carry no error, and then demands both threads, a fresh heartbeat and no errant transaction.
  - C(caught_up) waits until the replica has a GTID.
  - C(status) only reports.
options:
  state:
    description: What to bring about.
    choices: [following, caught_up, status]
    default: following
    type: str
  primary: {description: LAN address of the primary., type: str}
  port: {description: Its MariaDB port., type: int}
  user: {description: Replication account., type: str, default: repl}
  password: {description: Its password., type: str}
  ca: {description: The fleet's CA certificate on this host., type: path}
  probe_user:
    description: Account that may read the primary's state.
    type: str
    default: fleet_probe
  probe_password: {description: Its password., type: str}
  fleet_id: {description: This fleet., type: str}
  state_file: {description: What the seed left., type: path}
  keep:
    description: How much of the data that reseeds have replaced is kept, C({number, days}).
    type: dict
  heartbeat_max_age:
    description: Seconds after which a heartbeat is stale.
    type: float
  timeout:
    description: Seconds to wait for the replica to be where it should be.
    type: int
  gtid: {description: Position to reach (C(caught_up))., type: str}
"""

EXAMPLES = r"""
- name: Replica has what the primary had
  mariadb_replication:
    state: caught_up
    gtid: 0-1-4711
    timeout: 120
"""

RETURN = r"""
replication:
  description: What was seen.
  returned: when there is a server
  type: dict
"""

RESEED = "-e mariadb_replica_reseed=<host> takes a new copy and keeps the old folder"

# Error number -> what it means for an operator.
REMEDIES = {
    1045: "the primary refuses the replication account: run site.yml on the primary too",
    2026: "TLS between the servers fails: the certificates are the fleet's, run site.yml on all",
    2003: "the primary does not answer: is it up, does its firewall let this host in",
    2013: "the primary does not answer: is it up, does its firewall let this host in",
    1236: f"the primary has not, or no longer, what this replica stands on: {RESEED}",
    1005: "a table that the primary took is refused here: compare innodb_strict_mode, which is OFF"
    " on a replica",
    1118: "a table that the primary took is refused here: compare innodb_strict_mode, which is OFF"
    " on a replica",
    1146: "a table is missing here, or the primary renamed a temporary table by RENAME TABLE, which"
    f" is logged as if all had it (ALTER TABLE ... RENAME TO is not): {RESEED}",
    1418: "a function that the primary took is refused here: compare"
    " log_bin_trust_function_creators, which is ON in the fleet",
    1950: "a write was made on this replica itself, by somebody, or by MariaDB for a table that a"
    f" restart had emptied (ENGINE=MEMORY): {RESEED}",
    1032: f"a row to change is missing here, the data differs from the primary's: {RESEED}",
    1062: f"a row to insert exists here already, the data differs from the primary's: {RESEED}",
}


def remedy(number: int, emptied: list[str]) -> str:
    """What to do about a replication error.

    emptied: the tables here that a restart empties, as memory_tables has them; of an error that
    they can lead to they are the likely cause.
    """
    if emptied and number in (1032, 1950):
        return restart_words(emptied)
    return REMEDIES.get(number, f"see the server's log; if in doubt {RESEED}")


def restart_words(emptied: list[str]) -> str:
    """Why a replica with such tables breaks, and what ends it for good."""
    return (
        f"a restart of MariaDB empties tables of ENGINE=MEMORY, here {', '.join(emptied)}, and the"
        " server writes that to its own binary log; a new copy has them empty, too. First, on the"
        f" primary, for each of them (its rows go, as at each restart): {MEMORY_CURE} Then {RESEED}"
    )


def passing(number: int) -> bool:
    """Whether trying again can do no harm: the primary was not reached, or what it took was refused
    here before this server had the fleet's settings.
    """
    unreached = (1040, 1045, 1129, 1130, 1158, 1159, 1160, 1161)
    return number >= 2000 or number in (*unreached, 1005, 1118, 1418)


def connection_settings(status: dict[str, Any]) -> dict[str, str]:
    """How the replica connects, from its status row, in the form wanted_settings returns."""
    return {
        "port": str(status["Master_Port"]),
        "user": str(status["Master_User"]),
        "ssl": str(status["Master_SSL_Allowed"]).lower(),
        "ca": str(status["Master_SSL_CA_File"]),
        "verify": str(status["Master_SSL_Verify_Server_Cert"]).lower(),
        "gtid": str(status["Using_Gtid"]).lower(),
    }


def wanted_settings(port: int, user: str, ca: str) -> dict[str, str]:
    """How it should connect."""
    return {
        "port": str(port),
        "user": user,
        "ssl": "yes",
        "ca": ca,
        "verify": "yes",
        "gtid": "slave_pos",
    }


def change_statement(primary: str | None, params: dict[str, Any]) -> str:
    """CHANGE MASTER TO; without an address the one it follows stays."""
    parts = [f"MASTER_HOST={quote_text(primary)}"] if primary else []
    parts += [
        f"MASTER_PORT={int(params['port'])}",
        f"MASTER_USER={quote_text(params['user'])}",
        f"MASTER_PASSWORD={quote_text(params['password'])}",
        "MASTER_USE_GTID=slave_pos",
        "MASTER_SSL=1",
        f"MASTER_SSL_CA={quote_text(params['ca'])}",
        "MASTER_SSL_VERIFY_SERVER_CERT=1",
        "MASTER_CONNECT_RETRY=5",
    ]
    return "CHANGE MASTER TO " + ", ".join(parts)


def stored_password(datadir: str) -> str | None:
    """The password the replica connects with, None when it cannot be read.

    The server shows it nowhere; its own file has it on the sixth line.
    """
    try:
        with open(os.path.join(datadir, "master.info"), encoding="utf-8") as source:
            lines = source.read().splitlines()
    except OSError:
        return None
    return lines[5] if len(lines) > 5 else None


class Replica:
    """One replica's server and what is done to it."""

    def __init__(self, module: FleetModule, server: Server) -> None:
        self.module = module
        self.params: dict[str, Any] = module.params
        self.server = server
        self.before: list[str] = []
        self.after: list[str] = []

    def note(self, before: str, after: str) -> None:
        """One line of the diff."""
        self.before.append(before)
        self.after.append(after)

    def act(self, *statements: str) -> None:
        """Run statements unless in check mode."""
        if not self.module.check_mode:
            for statement in statements:
                self.server.run(statement)

    def seed_state(self) -> dict[str, Any]:
        """What the seed left, empty when it is not this fleet's."""
        found = read_json(self.params["state_file"]) if self.params["state_file"] else None
        if not found or found.get("fleet_id") != self.params["fleet_id"]:
            return {}
        return found

    def heartbeat(self) -> float | None:
        """Age of the newest heartbeat here in seconds, None without one."""
        try:
            age = self.server.value(
                "SELECT TIMESTAMPDIFF(MICROSECOND, MAX(at), NOW(6)) / 1000000"
                " FROM benchfleet.heartbeat"
            )
        except pymysql.MySQLError:
            return None
        return None if age is None else float(age)

    def remedy(self, number: int) -> str:
        """What to do about a replication error of this replica."""
        return remedy(number, memory_tables(self.server))

    def look(self) -> dict[str, Any]:
        """Everything worth saying about this replica."""
        status = self.server.replica_status()
        state = self.server.value("SELECT @@GLOBAL.gtid_binlog_state")
        found: dict[str, Any] = {
            "configured": status is not None,
            "read_only": bool(int(self.server.value("SELECT @@GLOBAL.read_only"))),
            "gtid_slave_pos": self.server.value("SELECT @@GLOBAL.gtid_slave_pos"),
            "gtid_binlog_pos": self.server.value("SELECT @@GLOBAL.gtid_binlog_pos"),
            "gtid_binlog_state": state,
            "heartbeat_age": self.heartbeat() if status is not None else None,
        }
        if status is not None:
            found.update(
                primary=str(status["Master_Host"]),
                io=str(status["Slave_IO_Running"]),
                sql=str(status["Slave_SQL_Running"]),
                io_error=[int(status["Last_IO_Errno"]), str(status["Last_IO_Error"])],
                sql_error=[int(status["Last_SQL_Errno"]), str(status["Last_SQL_Error"])],
                seconds_behind=status["Seconds_Behind_Master"],
            )
        return found

    def seen(self, found: dict[str, Any]) -> str:
        """What was seen, in a line."""
        if not found["configured"]:
            return "follows nobody"
        age = found["heartbeat_age"]
        words = [
            f"follows {found['primary']}",
            f"receiving: {found['io']}",
            f"applying: {found['sql']}",
            "no heartbeat" if age is None else f"heartbeat {age:.1f} s old",
        ]
        words += [
            f"{which} error {error[0]}: {error[1]}"
            for which, error in (("receive", found["io_error"]), ("apply", found["sql_error"]))
            if error[0]
        ]
        return ", ".join(words)

    def connect_seeded(self, state: dict[str, Any]) -> None:
        """First connection of a seeded server, from the position its copy stands for."""
        gtid = str(state["gtid"])
        self.note("follows nobody", f"follows {self.params['primary']} from {gtid}")
        self.act(
            "STOP ALL SLAVES",
            "RESET SLAVE ALL",
            f"SET GLOBAL gtid_slave_pos = {quote_text(gtid)}",
            change_statement(self.params["primary"], self.params),
            "START SLAVE",
        )

    def repoint(self, status: dict[str, Any]) -> None:
        """Bring a connection's settings to those wanted; the position is the server's own."""
        if str(status["Master_Host"]) != self.params["primary"]:
            raise MariaDBError(
                f"this replica follows {status['Master_Host']}, the inventory's primary is"
                f" {self.params['primary']}: which of the two is right is not guessed. Correct the"
                f" inventory, or {RESEED}"
            )
        have = connection_settings(status)
        want = wanted_settings(self.params["port"], self.params["user"], self.params["ca"])
        changed = {name for name in want if have[name] != want[name]}
        password = stored_password(str(self.server.value("SELECT @@datadir")))
        if password is not None and password != self.params["password"]:
            changed.add("password")
        if not changed:
            return
        secret = {"password": "another"}
        self.note(
            f"connection: { ({name: have.get(name, 'this') for name in sorted(changed)}) }",
            f"connection: { ({name: {**want, **secret}[name] for name in sorted(changed)}) }",
        )
        self.act("STOP SLAVE", change_statement(None, self.params), "START SLAVE")

    def start_stopped(self) -> None:
        """Start threads that are stopped without an error; refuse those that carry one."""
        found = self.look()
        if not found["configured"]:
            return
        stopped = [name for name in ("io", "sql") if found[name] == "No"]
        if not stopped:
            return
        for error in (found["sql_error"], found["io_error"]):
            if error[0] and not passing(error[0]):
                raise MariaDBError(
                    f"replication stands still: {self.seen(found)}. {self.remedy(error[0])}"
                )
        self.note(f"stopped: {', '.join(stopped)}", "both threads run")
        self.act("START SLAVE")

    def close_for_writes(self) -> None:
        """A replica that takes writes is one mistake away from diverging."""
        if not int(self.server.value("SELECT @@GLOBAL.read_only")):
            self.note("open for writes", "read_only")
            self.act("SET GLOBAL read_only = 1")
        if str(self.server.value("SELECT @@GLOBAL.event_scheduler")).upper() in ("ON", "1"):
            self.note("events run", "events rest")
            self.act("SET GLOBAL event_scheduler = 0")

    def wait_until_following(self) -> dict[str, Any]:
        """Both threads run and the heartbeat is fresh. Raises MariaDBError when that stays out.

        While the heartbeat moves the replica is catching up and gets the whole time; a connection
        that does not come about, or a heartbeat that stands still, is given up on sooner.
        """
        began = moved = time.monotonic()
        last_gtid = None
        while True:
            found = self.look()
            if not found["configured"]:
                raise MariaDBError("replication was reset while it was being checked; run again")
            limit = float(self.params["heartbeat_max_age"])
            age = found["heartbeat_age"]
            running = found["io"] == "Yes" and found["sql"] == "Yes"
            if running and age is not None and abs(age) <= limit:
                return found
            now = time.monotonic()
            if found["gtid_slave_pos"] != last_gtid:
                last_gtid, moved = found["gtid_slave_pos"], now
            if found["sql_error"][0]:
                number = found["sql_error"][0]
                raise MariaDBError(f"replication broke: {self.seen(found)}. {self.remedy(number)}")
            if found["io"] == "No" and found["io_error"][0] and not passing(found["io_error"][0]):
                number = found["io_error"][0]
                raise MariaDBError(f"replication broke: {self.seen(found)}. {self.remedy(number)}")
            if now - moved > 30 or now - began > self.params["timeout"]:
                number = found["io_error"][0]
                what = (
                    self.remedy(number)
                    if number
                    else "the heartbeat does not arrive: look at the primary's event_scheduler,"
                    " and at the clocks of both hosts (they are compared)"
                    if now - moved > 30
                    else "it is still catching up: run again later, or raise"
                    " mariadb_replica_catch_up_timeout"
                )
                raise MariaDBError(f"not replicating: {self.seen(found)}. {what}")
            time.sleep(0.5)

    def errant_transactions(self, found: dict[str, Any]) -> list[str] | None:
        """Transactions of this replica that the primary never had; None when it cannot be asked."""
        try:
            with remote(
                self.params["primary"],
                self.params["port"],
                self.params["probe_user"],
                self.params["probe_password"],
                self.params["ca"],
            ) as primary:
                theirs = primary.value("SELECT @@GLOBAL.gtid_binlog_state")
        except (pymysql.MySQLError, OSError) as error:
            if self.module.check_mode:
                return None
            raise MariaDBError(
                f"the primary {self.params['primary']} does not let fleet_probe in from here"
                f" ({describe(error)}): run site.yml on the primary too"
            ) from error
        return errant(found["gtid_binlog_state"], theirs)

    def finish_seed(self, state: dict[str, Any]) -> None:
        """The copy proved itself: what it replaced is no longer needed, unless asked to be kept.

        What reseeds before it have replaced goes by number and age.
        """
        if state.get("phase") != "seeded" or self.module.check_mode:
            return
        old = state.get("old")
        if old and not state.get("keep_old") and os.path.isdir(old):
            shutil.rmtree(old)
            if not os.listdir(os.path.dirname(old)):
                os.rmdir(os.path.dirname(old))
        write_json(self.params["state_file"], {**state, "phase": "done"})
        if old:
            tidy(things(os.path.dirname(old), REPLACED), self.params["keep"])

    def following(self) -> dict[str, Any]:
        """The whole of state ``following``."""
        state = self.seed_state()
        status = self.server.replica_status()
        if status is None:
            if state.get("phase") == "seeded":
                self.connect_seeded(state)
            elif self.module.check_mode and state.get("phase") != "done":
                self.note("follows nobody", f"follows {self.params['primary']}")
            else:
                raise MariaDBError(
                    "this server follows nobody although it is a replica"
                    + (" that was seeded before" if state else " and was never seeded")
                    + f": {RESEED}"
                )
        else:
            self.repoint(status)
        self.close_for_writes()
        self.start_stopped()
        if self.module.check_mode:
            return self.look()
        found = self.wait_until_following()
        found["errant"] = self.errant_transactions(found)
        if found["errant"]:
            raise MariaDBError(
                "this replica holds transactions the primary never had:"
                f" {', '.join(found['errant'])}; {self.remedy(1950)}"
            )
        self.finish_seed(state)
        return found

    def caught_up(self) -> dict[str, Any]:
        """Wait for a GTID."""
        gtid, timeout = self.params["gtid"], self.params["timeout"]
        if self.module.check_mode or not gtid:
            return self.look()
        ends = time.monotonic() + timeout
        while True:
            left = ends - time.monotonic()
            reached = self.server.value("SELECT MASTER_GTID_WAIT(%s, %s)", (gtid, min(2.0, left)))
            found = self.look()
            if reached is not None and int(reached) == 0:
                return found
            if not found["configured"] or found["sql"] == "No":
                raise MariaDBError(
                    f"the replica cannot reach {gtid}: {self.seen(found)}. See to it first:"
                    " ansible-playbook -i INVENTORY playbooks/database.yml says what is wrong"
                )
            if ends - time.monotonic() <= 0:
                raise MariaDBError(
                    f"the replica did not reach {gtid} within {timeout} s: {self.seen(found)}."
                    " Run again later, or raise site_accounts_timeout"
                )


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "state": {"choices": ["following", "caught_up", "status"], "default": "following"},
            "primary": {"type": "str"},
            "port": {"type": "int"},
            "user": {"type": "str", "default": "repl"},
            "password": {"type": "str", "no_log": True},
            "ca": {"type": "path"},
            "probe_user": {"type": "str", "default": "fleet_probe"},
            "probe_password": {"type": "str", "no_log": True},
            "fleet_id": {"type": "str"},
            "state_file": {"type": "path"},
            "keep": {"type": "dict"},
            "heartbeat_max_age": {"type": "float"},
            "timeout": {"type": "int"},
            "gtid": {"type": "str"},
        },
        required_if=[
            (
                "state",
                "following",
                [
                    *("primary", "port", "password", "ca", "probe_password", "fleet_id"),
                    *("state_file", "keep", "heartbeat_max_age", "timeout"),
                ],
            ),
            ("state", "caught_up", ["gtid", "timeout"]),
        ],
        supports_check_mode=True,
    )
    wanted = module.params["state"]
    try:
        with local() as server:
            replica = Replica(module, server)
            if wanted == "following":
                found = replica.following()
            elif wanted == "caught_up":
                found = replica.caught_up()
            else:
                found = replica.look()
    except ServerAbsentError as absent:
        if not module.check_mode:
            module.fail_json(msg=str(absent))
        module.exit_json(
            changed=wanted == "following",
            msg="would make the new server follow the primary",
            diff={"before": "no server\n", "after": "follows the primary\n"},
        )
    except MariaDBError as error:
        module.fail_json(msg=str(error))
    except pymysql.MySQLError as error:
        module.fail_json(msg=f"MariaDB refused a statement: {describe(error)}")
    module.exit_json(
        changed=bool(replica.after),
        replication=found,
        msg=replica.seen(found),
        diff={
            "before": "".join(f"{line}\n" for line in replica.before),
            "after": "".join(f"{line}\n" for line in replica.after),
        },
    )


if __name__ == "__main__":
    main()
