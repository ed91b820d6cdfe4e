"""Making a site: root makes its database, the bench's account everything else.

Used by site.yml (module bench_sites) and by the command new-site on the primary (site_by_hand).
"""

from __future__ import annotations

import hashlib
import os
import secrets
import subprocess
from typing import Any

from .. import atomic
from ..bench.account import Bench, BenchError, read_text
from ..foreign import as_owner
from ..mariadb.server import client
from ..mariadb.statements import account, database_pattern, password_hash
from ..units import wait_until_started
from .folders import making_note

# An account with all rights, left by an earlier Benchfleet that was killed while it made a site.
FORMER_SETUP_USER = "benchfleet_setup"
# The benches reach the primary's server there; it resolves no names.
HOST = "127.0.0.1"


def database_name(site: str) -> str:
    """Name of a site's database: the same for the same site, so that a rerun finds it."""
    return "_" + hashlib.sha256(site.encode()).hexdigest()[:16]


class SiteMaker(Bench):
    """Makes a site, and removes what an interrupted run has left.

    params: {path, user, cli_dir, state_dir}, as the module bench_sites has them.
    """

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params["path"], params["user"], params["cli_dir"])
        self.state_dir: str = params["state_dir"]

    def new_site(self, arguments: list[str], database_made: bool) -> None:
        """Run Frappe's new-site; ``arguments`` begin with the site's name. Raises BenchError.

        database_made: as in run_frappe.
        """
        what = f"new-site {arguments[0]}"
        self.frappe(["new-site", *arguments], what, modules_anew=True, database_made=database_made)

    def folder(self, site: str) -> str:
        """The folder of a site."""
        return f"{self.path}/sites/{site}"

    def note(self, site: str) -> str:
        """Path of the file that exists until a site is finished."""
        return making_note(self.state_dir, site)

    def phase(self, site: str) -> str:
        """The phase of a site: "" (not begun, or finished), "making" or "made"."""
        return (read_text(self.note(site)) or "").strip()

    def enter(self, site: str, phase: str) -> None:
        """Write the phase of a site."""
        atomic.write(self.note(site), phase)

    def sql(self, statements: str) -> str:
        """Run statements as the server's root, on its socket."""
        result = subprocess.run(
            client("mariadb", "--batch", "-N"),
            input=statements,
            text=True,
            capture_output=True,
            check=False,
        )
        if result.returncode != 0:
            raise BenchError(f"MariaDB refused a statement: {result.stderr.strip()}")
        return result.stdout

    def has_database(self, site: str) -> bool:
        """Whether the server holds the site's database."""
        name = database_name(site)
        question = "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = "
        return self.sql(f"{question}'{name}'").strip() != "0"

    def remove_remains(self, site: str) -> None:
        """Remove an unfinished site: its database, accounts and folder."""
        name = database_name(site)
        accounts = self.sql(
            f"SELECT CONCAT(QUOTE(user), '@', QUOTE(host)) FROM mysql.user WHERE user = '{name}'"
        ).split("\n")
        drops = "".join(f"DROP USER IF EXISTS {one};\n" for one in accounts if one)
        self.sql(f"DROP DATABASE IF EXISTS `{name}`;\n{drops}")
        if os.path.lexists(self.folder(site)):
            # Not by root: a folder on the way there may have become a link.
            self.run(["rm", "-rf", "--", self.folder(site)], f"rm of {site}")

    def refuse_existing(self, site: str) -> None:
        """Raise BenchError where the site, or a part of it, exists."""
        folder = self.folder(site)
        with as_owner(folder):
            has_config = os.path.lexists(f"{folder}/site_config.json")
        if has_config:
            raise BenchError(f"the site {site} is there already; nothing was changed")
        if os.path.lexists(folder):
            raise BenchError(
                f"{folder} exists without a site_config.json, and was not made by this fleet;"
                " nothing was removed. Restore the file, or move the folder away, and run again"
            )
        if self.has_database(site):
            raise BenchError(
                f"the folder of the site {site} is missing, but its database"
                f" {database_name(site)} is there; nothing was removed. Restore the folder from a"
                " backup, or drop the database if the site shall be made again, and run again"
            )

    def begin(self, site: str) -> None:
        """Note that a site is being made, where no part of it exists. Raises BenchError.

        Only a folder or database made after this note is ever removed: one that existed before
        was not made here.
        """
        wait_until_started("mariadb.service")
        if self.sql("SELECT @@GLOBAL.read_only").strip() == "1":
            raise BenchError(
                "MariaDB on this host is read-only, so sites cannot be made here; see"
                " `./fleet status` on the controller"
            )
        if self.phase(site) == "making":
            self.remove_remains(site)
        else:
            self.refuse_existing(site)
        self.enter(site, "making")

    def make(self, site: str, options: list[str]) -> None:
        """Make the site that was begun; ``options`` are further ones of new-site.

        Root makes the database and the site's account; the bench's account uses no other one. An
        account that already has this name was left behind by a dropped site of the same name.
        """
        name, password = database_name(site), secrets.token_hex(16)
        who = account(name, HOST)
        self.sql(
            f"DROP USER IF EXISTS {account(FORMER_SETUP_USER, HOST)};"
            f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci;"
            f"CREATE OR REPLACE USER {who} IDENTIFIED BY PASSWORD '{password_hash(password)}';"
            f"GRANT ALL PRIVILEGES ON {database_pattern(name)} TO {who};"
        )
        own = ["--db-name", name, "--db-password", password]
        made = not self.leaves_database()
        own += ["--db-root-username", name, "--db-root-password", password] * made
        own += ["--no-setup-db"] * (not made)
        self.new_site([site, *own, *options], database_made=made)

    def leaves_database(self) -> bool:
        """Whether this Frappe's new-site can leave the database alone; 14 and early 15 cannot."""
        return "--no-setup-db" in self.frappe(["new-site", "--help"], "new-site --help")
