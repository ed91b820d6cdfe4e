#!/usr/bin/python
"""Give a MariaDB server back its own settings, accounts and databases."""

from __future__ import annotations

import glob
import json
import os
from pathlib import Path
from typing import Any

from ansible.module_utils.fleet.adoption.database import (
    OUR_ACCOUNTS,
    OUR_DATABASE,
    look_at_database,
    sql,
)
from ansible.module_utils.fleet.mariadb.server import DEFINERS, account
from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.snapshot import SnapshotError, load

DOCUMENTATION = r"""
module: mariadb_release
short_description: A server that the fleet adopted is its own again
description:
  - Drops what the fleet made - accounts that it noted in benchfleet.account, its own ones, the
    twins of local accounts, the database benchfleet - and nothing that was there before. An
    account that views, triggers, routines or events run as is locked instead.
  - Restarts the server once, when it still runs with the fleet's option file, and removes the
    binary logs where there was none before.
  - Refuses while a replica is connected.
options:
  state_file: {description: Notes which record is the host's., type: path, required: true}
  file: {description: The fleet's option file., type: path, required: true}
  log_bin: {description: Name of the fleet's binary logs., type: str, required: true}
  look_only:
    description: Only refuse where it has to be refused.
    type: bool
    default: false
"""


class ReleaseError(Exception):
    """The server does not do what it must; the message says what and what to do."""


def asked(statements: str) -> list[str]:
    """Lines that the server answers."""
    done = sql(statements)
    if done.returncode != 0:
        raise ReleaseError(f"MariaDB refused a statement: {done.stderr.strip()}")
    return done.stdout.splitlines()


def ours(accounts: list[str], before: list[str], noted: list[str]) -> list[str]:
    """Of the accounts that are there, those that the fleet made: none that was there before."""
    local = (who.rpartition("@") for who in before)
    twins = {f"{user}@127.0.0.1" for user, _, host in local if host == "localhost"}
    return [
        who
        for who in accounts
        if who not in before
        and (who.rpartition("@")[0] in OUR_ACCOUNTS or who in noted or who in twins)
    ]


class Releaser:
    """What is to be done on one server, and its doing."""

    def __init__(self, module: FleetModule, manifest: dict[str, Any]) -> None:
        self.module = module
        self.before: dict[str, Any] = manifest["database"]
        self.did: list[str] = []

    def refuse_replicas(self) -> None:
        """Nobody may follow this server: he would lose it without a word.

        A node that was taken out may look connected for a quarter of an hour, as the firewall
        keeps its farewell away; but its account is gone.
        """
        dumps = asked(
            "SELECT HOST FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'"
            " AND USER IN (SELECT user FROM mysql.user)"
        )
        if dumps:
            raise ReleaseError(
                f"replicas still follow this server: {', '.join(sorted(set(dumps)))}. Take the"
                " reporting nodes out first (docs/nodes.md)"
            )

    def drop(self) -> None:
        """Drop what the fleet made; after the restart, until which the sites need the twins."""
        here = look_at_database()
        if here["trouble"]:
            raise ReleaseError(f"MariaDB does not let root in by its socket: {here['trouble']}")
        own = OUR_DATABASE in here["databases"] and OUR_DATABASE not in self.before["databases"]
        noted = []
        if own:
            noted = asked(f"SELECT CONCAT(user, '@', host) FROM {OUR_DATABASE}.account")
        gone = ours(here["accounts"], self.before["accounts"], noted)
        needed = set(asked(DEFINERS)) & set(gone)
        gone = [who for who in gone if who not in needed]
        names = {who: account(*who.rsplit("@", 1)) for who in (*needed, *gone)}
        statements = [f"ALTER USER {names[who]} ACCOUNT LOCK;" for who in sorted(needed)]
        statements += [f"DROP USER IF EXISTS {names[who]};" for who in gone]
        # Last: the notes in it say which accounts are ours.
        statements += [f"DROP DATABASE IF EXISTS {OUR_DATABASE};"] * own
        if statements and not self.module.check_mode:
            asked("\n".join(statements))
        self.did += [f"lock account {who}: something runs as it" for who in sorted(needed)]
        self.did += [f"drop account {who}" for who in gone] + ["drop database benchfleet"] * own

    def restart(self) -> None:
        """Restart the server if it was started with our file; then the logs are nobody's."""
        path = self.module.params["file"].replace("'", "''")
        from_us = asked(
            "SELECT COUNT(*) FROM information_schema.SYSTEM_VARIABLES"
            f" WHERE GLOBAL_VALUE_PATH = '{path}'"
        )
        if from_us != ["0"]:
            self.did.append("restart mariadb")
            if not self.module.check_mode:
                for words in (["daemon-reload"], ["restart", "mariadb.service"]):
                    code, out, err = self.module.run_command(["systemctl", *words])
                    if code != 0:
                        raise ReleaseError(
                            f"systemctl {' '.join(words)} failed: {(out + err).strip()}; see"
                            " `journalctl -u mariadb`"
                        )
        if self.before["log_bin"]:
            return
        folder, log_bin = asked("SELECT @@GLOBAL.datadir; SELECT @@GLOBAL.log_bin")
        name = self.module.params["log_bin"]
        logs = glob.glob(f"{folder.rstrip('/')}/{name}.[0-9]*")
        logs += glob.glob(f"{folder.rstrip('/')}/{name}.index")
        logs += glob.glob(f"{folder.rstrip('/')}/{name}.state")
        if logs and (log_bin == "0" or self.module.check_mode):
            self.did.append(f"remove {len(logs)} files of the binary log")
            for log in [] if self.module.check_mode else logs:
                os.unlink(log)


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "state_file": {"type": "path", "required": True},
            "file": {"type": "path", "required": True},
            "log_bin": {"type": "str", "required": True},
            "look_only": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    try:
        state = json.loads(Path(module.params["state_file"]).read_text(encoding="utf-8"))
        releaser = Releaser(module, load(state["snapshot"]))
        releaser.refuse_replicas()
        if not module.params["look_only"]:
            releaser.restart()
            releaser.drop()
    except (ReleaseError, SnapshotError, OSError, ValueError) as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(releaser.did),
        did=releaser.did,
        diff={"before": "", "after": "".join(f"{words}\n" for words in releaser.did)},
    )


if __name__ == "__main__":
    main()
