"""New passwords for the sites' own database accounts; both are accepted meanwhile."""

from __future__ import annotations

import json
import secrets

from ..foreign import read_bytes, replace
from ..mariadb.accounts import AccountKeeper
from ..mariadb.server import Server
from ..mariadb.statements import account, identified, parse_create_user, password_hash
from .folders import Site, SiteError
from .reconcile import Line


def hashes_of(server: Server, user: str) -> dict[str, list[str]]:
    """Hashes of the passwords that an account accepts, by the host from which it signs in."""
    rows = server.rows("SELECT Host AS host FROM mysql.global_priv WHERE User = %s", (user,))
    return {
        row["host"]: parse_create_user(
            str(server.value(f"SHOW CREATE USER {account(user, row['host'])}"))
        )["hashes"]
        for row in rows
    }


class Passwords:
    """Gives sites new passwords, and removes the former ones."""

    def __init__(self, server: Server, line: Line) -> None:
        self.server = server
        self.line = line
        self.keeper = AccountKeeper(server, line.check_mode)
        self.changed: list[str] = []

    def run(self, step: str) -> None:
        """Take one step for all sites (see the module's option). Raises SiteError, MariaDBError."""
        found, _ = self.line.look(self.server)
        by_user: dict[str, list[Site]] = {}
        for site in found.values():
            by_user.setdefault(site.user, []).append(site)
        for user, sites in sorted(by_user.items()):
            accepted = hashes_of(self.server, user)
            known = {one for hashes in accepted.values() for one in hashes}
            # A copied folder may have an old password, which no longer works.
            own = [site for site in sites if password_hash(site.password) in known]
            if not own:
                raise SiteError(
                    f"db_password in {self.line.folders.config(sites[0].name)} is not the password"
                    f" of the account {user}: correct it, or drop the site's folder"
                )
            if step == "end":
                self.end(user, own, accepted)
            else:
                self.renew(user, own, accepted, step == "begin")

    def accept(self, user: str, accepted: dict[str, list[str]], wanted: list[str]) -> bool:
        """Have an account accept all of these where it accepts one; returns whether any changed."""
        statements = [
            f"ALTER USER {account(user, host)} {identified(wanted)}"
            for host, hashes in accepted.items()
            if hashes != wanted and set(hashes) & set(wanted)
        ]
        self.keeper.write(statements)
        return bool(statements)

    def renew(
        self, user: str, sites: list[Site], accepted: dict[str, list[str]], anew: bool
    ) -> None:
        """Give the sites of an account a new password, unless they already have it."""
        seconds = {hashes[-1] for hashes in accepted.values() if len(hashes) > 1}
        done = {site.password for site in sites if password_hash(site.password) in seconds}
        left = [site for site in sites if site.password not in done]
        if not left or not (anew or seconds):
            return
        former = left[0].password
        new = done.pop() if done else secrets.token_urlsafe(24)
        self.accept(user, accepted, [password_hash(former), password_hash(new)])
        for site in left:
            if not self.line.check_mode:
                self.write(site, new)
            self.changed.append(site.name)

    def write(self, site: Site, password: str) -> None:
        """Put a password into a site's configuration. Raises SiteError."""
        path = self.line.folders.config(site.name)
        try:
            config = json.loads(read_bytes(path, follow=False))
            if config.get("db_password") != site.password:
                raise ValueError("`db_password` was changed meanwhile")
            config["db_password"] = password
            # As Frappe writes it.
            replace(path, json.dumps(config, indent=1, sort_keys=True).encode())
        except (OSError, ValueError, RecursionError, AttributeError) as error:
            raise SiteError(f"{path} could not be written ({error}): run this again") from error

    def end(self, user: str, sites: list[Site], accepted: dict[str, list[str]]) -> None:
        """Remove passwords that no site of an account uses any more."""
        former = {hashes[0] for hashes in accepted.values() if len(hashes) > 1}
        for site in sites:
            if password_hash(site.password) in former:
                raise SiteError(
                    f"{self.line.folders.config(site.name)} has the former db_password again:"
                    " another program wrote it back meanwhile. Run this again"
                )
        wanted = [password_hash(sites[0].password)]
        if self.accept(user, accepted, wanted):
            self.changed += [site.name for site in sites]
