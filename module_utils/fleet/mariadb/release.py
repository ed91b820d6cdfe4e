"""Release of an adopted server: it gets its own settings, accounts and databases back."""

from __future__ import annotations

import glob
import json
import os
from pathlib import Path
from typing import Any

from ..adoption.database import OUR_ACCOUNTS, OUR_DATABASE, look_at_database, sql
from ..changes import diff
from ..module import FleetModule
from ..snapshot import load
from .server import DEFINERS, MariaDBError
from .statements import account


def asked(statements: str) -> list[str]:
    """The lines of the server's answer."""
    done = sql(statements)
    if done.returncode != 0:
        raise MariaDBError(f"MariaDB refused a statement: {done.stderr.strip()}")
    return done.stdout.splitlines()


def ours(accounts: list[str], before: list[str], noted: list[str]) -> list[str]:
    """The existing accounts that the fleet made: none that existed before the adoption."""
    local = (who.rpartition("@") for who in before)
    copies = {f"{user}@127.0.0.1" for user, _, host in local if host == "localhost"}
    return [
        who
        for who in accounts
        if who not in before
        and (who.rpartition("@")[0] in OUR_ACCOUNTS or who in noted or who in copies)
    ]


class Releaser:
    """Releases one server."""

    def __init__(self, module: FleetModule, manifest: dict[str, Any]) -> None:
        self.module = module
        self.before: dict[str, Any] = manifest["database"]
        self.did: list[str] = []

    def refuse_replicas(self) -> None:
        """Raise MariaDBError while replicas follow this server.

        A node that was removed may look connected for a quarter of an hour, because the firewall
        blocks the end of its connection; but its account is gone.
        """
        dumps = asked(
            "SELECT HOST FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'"
            " AND USER IN (SELECT user FROM mysql.user)"
        )
        if dumps:
            raise MariaDBError(
                f"replicas still follow this server: {', '.join(sorted(set(dumps)))}."
                " Remove the reporting nodes first (docs/nodes.md)"
            )

    def drop(self) -> None:
        """Drop what the fleet made; after the restart, as sites need its accounts until then."""
        here = look_at_database()
        if here["trouble"]:
            raise MariaDBError(f"MariaDB does not let root in by its socket: {here['trouble']}")
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
        # Last: a table in it lists the accounts that are ours.
        statements += [f"DROP DATABASE IF EXISTS {OUR_DATABASE};"] * own
        if statements and not self.module.check_mode:
            asked("\n".join(statements))
        self.did += [f"lock account {who}: something runs as it" for who in sorted(needed)]
        self.did += [f"drop account {who}" for who in gone] + ["drop database benchfleet"] * own

    def restart(self) -> None:
        """Restart the server if it runs with our file, and remove our binary logs."""
        path = self.module.params["file"].replace("'", "''")
        from_us = asked(
            "SELECT COUNT(*) FROM information_schema.SYSTEM_VARIABLES"
            f" WHERE GLOBAL_VALUE_PATH = '{path}'"
        )
        if from_us != ["0"]:
            self.did.append("restart mariadb")
            if not self.module.check_mode:
                for arguments in (["daemon-reload"], ["restart", "mariadb.service"]):
                    code, out, err = self.module.run_command(["systemctl", *arguments])
                    if code != 0:
                        raise MariaDBError(
                            f"`systemctl {' '.join(arguments)}` failed: {(out + err).strip()}; see"
                            " `journalctl -u mariadb`"
                        )
        if self.before["log_bin"]:
            return
        folder, log_bin = asked("SELECT @@GLOBAL.datadir; SELECT @@GLOBAL.log_bin")
        name = self.module.params["log_bin"]
        kinds = ("[0-9]*", "index", "state")
        logs = [log for kind in kinds for log in glob.glob(f"{folder.rstrip('/')}/{name}.{kind}")]
        if logs and (log_bin == "0" or self.module.check_mode):
            self.did.append(f"remove {len(logs)} files of the binary log")
            for log in [] if self.module.check_mode else logs:
                os.unlink(log)


def release(module: FleetModule) -> dict[str, Any]:
    """Result of the module mariadb_release. Raises MariaDBError, SnapshotError."""
    note = Path(module.params["state_file"])
    releaser = Releaser(module, load(json.loads(note.read_text(encoding="utf-8"))["snapshot"]))
    releaser.refuse_replicas()
    if not module.params["look_only"]:
        releaser.restart()
        releaser.drop()
    did = releaser.did
    return {"changed": bool(did), "did": did, "diff": diff([], did)}
