"""Checks of what the sites' accounts of a reporting node may do on both servers."""

from __future__ import annotations

import itertools
from contextlib import AbstractContextManager
from typing import Any

from ..mariadb.server import describe, pymysql
from ..sites.folders import own_account
from .answers import ask_server
from .bench import BenchChecks
from .results import message_of
from .sites import key_problems, reading_account, site_connection, write_attempt

REFUSALS = {1044, 1142, 1290}
LOOK = "SELECT COUNT(*) FROM tabSingles WHERE doctype = 'fleet-verify'"


class AccountChecks(BenchChecks):
    """Checks with the accounts of the sites."""

    def signed_in(
        self, host: str, account: tuple[str, str], database: str, *, tls: bool = True
    ) -> AbstractContextManager[Any]:
        """Sign in with a user and password at a server of the fleet; see site_connection."""
        ca = self.params["ca"] if tls else ""
        return site_connection(host, self.ports["mariadb"], *account, database, ca)

    def check_refusals(self) -> None:
        """Try to write as each account that a bench here uses."""
        saw: dict[str, list[str]] = {"refused_replica": [], "refused_primary": []}
        good = {"refused_replica": True, "refused_primary": True}
        major = self.frappe_major()
        primary = self.params["primary_ip"]
        for site in self.all_sites:
            config = self.config(site)
            database = str(config["db_name"])
            replica = str(config.get("replica_host") or self.params["lan_ip"])
            main, reader = own_account(config), reading_account(config, major)
            for name, host, account in (
                ("refused_replica", replica, reader),
                ("refused_replica", replica, main),
                ("refused_primary", primary, reader),
            ):
                if name == "refused_primary" and account == main:
                    # Frappe 14 has no reading account: the server's read_only refuses writes.
                    saw[name].append(f"{site}: this Frappe version has no reading account")
                    continue
                try:
                    with self.signed_in(host, account, database) as connection:
                        number = write_attempt(connection, self.params["token"])
                except pymysql.MySQLError as error:
                    saw[name].append(f"{account[0]} cannot sign in at {host}: {describe(error)}")
                    good[name] = False
                    continue
                saw[name].append(f"{account[0]}: {f'refused, {number}' if number else 'ACCEPTED'}")
                good[name] = good[name] and number in REFUSALS
            rows = self.leftover_rows(config)
            if any(rows):
                saw["refused_replica"].append(f"rows found (replica, primary): {rows}")
                good["refused_replica"] = False
        for name, parts in saw.items():
            self.gathering.add(name, good[name], "; ".join(parts))

    def leftover_rows(self, config: dict[str, Any]) -> tuple[int, int]:
        """The number of rows of such attempts on this server and on the primary."""
        found = []
        for host in (self.params["lan_ip"], self.params["primary_ip"]):
            with (
                self.signed_in(host, own_account(config), str(config["db_name"])) as connection,
                connection.cursor() as cursor,
            ):
                cursor.execute(LOOK)
                found.append(int(cursor.fetchone()[0]))
        return found[0], found[1]

    def check_sites_tls(self) -> None:
        """Sign in without TLS as each account that a bench here uses, on both servers."""
        if "tls" in self.unfit_parts:
            self.gathering.skip("sites_tls", "not applicable: TLS does not fit (see contract)")
            return
        saw, good = [], True
        for site in self.all_sites:
            config = self.config(site)
            accounts = {own_account(config), reading_account(config, self.frappe_major())}
            places = {self.params["primary_ip"], config.get("replica_host") or ""} - {""}
            for host, account in itertools.product(sorted(places), sorted(accounts)):
                answer = "SIGNED IN"
                try:
                    with self.signed_in(host, account, str(config["db_name"]), tls=False):
                        good = False
                except pymysql.MySQLError as error:
                    answer = f"refused, {error.args[0]}"
                    good = good and error.args[0] == 1045
                saw.append(f"{account[0]} at {host}: {answer}")
        self.gathering.add("sites_tls", good, "; ".join(saw))

    def check_keys(self) -> None:
        """Compare the keys in force with those that this Frappe version needs."""
        major = self.frappe_major()
        wrong = []
        for site in self.all_sites:
            found = key_problems(
                self.config(site),
                major,
                self.params["primary_ip"],
                self.params["lan_ip"],
                self.ports["mariadb"],
            )
            wrong += [f"{site}: {problem}" for problem in found]
        right = "all keys are right, for " + ", ".join(self.all_sites)
        saw = f"Frappe {major}: {'; '.join(wrong) or right}"
        self.gathering.add("keys", not wrong, saw)

    def answers(self) -> dict[str, Any]:
        """The answers of every host, and those of both MariaDB servers to the reading account.

        servers: {here, primary}, each setting → answer; {} where one could not be asked.
        """
        found: dict[str, Any] = {**super().answers(), "servers": {}}
        try:
            config = self.config(self.all_sites[0])
            account = reading_account(config, self.frappe_major())
            places = {
                "here": str(config.get("replica_host") or self.params["lan_ip"]),
                "primary": self.params["primary_ip"],
            }
            servers = {}
            for name, host in places.items():
                with self.signed_in(host, account, str(config["db_name"])) as connection:
                    servers[name] = ask_server(connection)
            found["servers"] = servers
        except Exception as error:
            found["trouble"] = "; ".join(filter(None, (found["trouble"], message_of(error))))
        return found
