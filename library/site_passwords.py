#!/usr/bin/python
"""New passwords of the sites' own database accounts, while both are accepted."""

from __future__ import annotations

import json
import secrets

from ansible.module_utils.fleet.bench.account import BenchError, run_as
from ansible.module_utils.fleet.mariadb.accounts import AccountKeeper
from ansible.module_utils.fleet.mariadb.server import (
    MariaDBError,
    Server,
    account,
    describe,
    identified,
    local,
    parse_create_user,
    password_hash,
    pymysql,
)
from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.sites.accounts import SETTINGS, Line
from ansible.module_utils.fleet.sites.folders import Site, SiteError

DOCUMENTATION = r"""
module: site_passwords
short_description: Sites get new passwords for their databases
description:
  - A site's account, on every host that it signs in from, first accepts a new password besides its
    own; then the new one is written to C(db_password) in site_config.json. So no process of the
    bench is refused, whichever of the two it has read. C(end) takes the former one away.
  - Nothing is kept anywhere else. Where an account accepts two, the second one is the new one; what
    was interrupted goes on from there.
options:
  step:
    description: C(begin) gives every site a new password, C(resume) those that were interrupted.
    choices: [begin, resume, end]
    required: true
extends_documentation_fragment: site_settings
"""

EXAMPLES = r"""
- name: Sites have new passwords, and accounts that accept both
  site_passwords:
    settings: "{{ settings }}"
    step: begin
"""

RETURN = r"""
sites: {description: Sites whose password was changed., returned: always, type: list}
"""

# Run as the bench's account, whose file it is. Written as Frappe writes it.
WRITE = """
import json, os, stat, sys, tempfile
path, former, password = json.load(sys.stdin)
handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
mode = stat.S_IMODE(os.fstat(handle).st_mode)
with open(handle, encoding="utf-8") as source:
    config = json.load(source)
if config.get("db_password") != former:
    sys.exit("db_password was changed meanwhile")
config["db_password"] = password
handle, own = tempfile.mkstemp(prefix=".site_config-", dir=os.path.dirname(path))
with os.fdopen(handle, "w", encoding="utf-8") as out:
    json.dump(config, out, indent=1, sort_keys=True)
    out.flush()
    os.fchmod(handle, mode)
    os.fsync(handle)
os.replace(own, path)
"""


def hashes_of(server: Server, user: str) -> dict[str, list[str]]:
    """Hashes of the passwords that an account accepts, by the host it signs in from."""
    rows = server.rows("SELECT Host AS host FROM mysql.global_priv WHERE User = %s", (user,))
    return {
        row["host"]: parse_create_user(
            str(server.value(f"SHOW CREATE USER {account(user, row['host'])}"))
        )["hashes"]
        for row in rows
    }


class Passwords:
    """Brings sites to new passwords, and away from the former ones."""

    def __init__(self, server: Server, line: Line) -> None:
        self.server = server
        self.line = line
        self.keeper = AccountKeeper(server, line.check_mode)
        self.changed: list[str] = []

    def run(self, step: str) -> None:
        """One step for all sites, see the module's option. Raises SiteError, MariaDBError."""
        found, _ = self.line.look(self.server)
        by_user: dict[str, list[Site]] = {}
        for site in found.values():
            by_user.setdefault(site.user, []).append(site)
        for user, sites in sorted(by_user.items()):
            accepted = hashes_of(self.server, user)
            known = {one for hashes in accepted.values() for one in hashes}
            # A copied folder may have an old password, by which nobody signs in.
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
        """Have the account accept these on all hosts where it accepts one; whether any did not."""
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
        """Give the sites of an account a new password, unless they have it already."""
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
        done = run_as(
            self.line.settings["user"],
            ["/usr/bin/python3", "-I", "-c", WRITE],
            "/",
            {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"},
            stdin=json.dumps([str(path), site.password, password]),
            timeout=60,
        )
        if done.returncode != 0:
            words = (done.stdout or "").strip().splitlines()[-1:]
            raise SiteError(f"{path} could not be written ({''.join(words)}): run this again")

    def end(self, user: str, sites: list[Site], accepted: dict[str, list[str]]) -> None:
        """Take away what no site of an account uses any more."""
        former = {hashes[0] for hashes in accepted.values() if len(hashes) > 1}
        for site in sites:
            if password_hash(site.password) in former:
                raise SiteError(
                    f"{self.line.folders.config(site.name)} has the former db_password again:"
                    " something wrote it back meanwhile. Run this again"
                )
        wanted = [password_hash(sites[0].password)]
        if self.accept(user, accepted, wanted):
            self.changed += [site.name for site in sites]


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "settings": {"type": "dict", "required": True, "options": SETTINGS},
            "step": {"type": "str", "required": True, "choices": ["begin", "resume", "end"]},
        },
        supports_check_mode=True,
    )
    line = Line(module.params["settings"], module.check_mode)
    try:
        with line.lock(), local() as server:
            passwords = Passwords(server, line)
            passwords.run(module.params["step"])
    except (BenchError, MariaDBError, SiteError) as error:
        module.fail_json(msg=str(error))
    except pymysql.MySQLError as error:
        module.fail_json(msg=f"MariaDB refused a statement: {describe(error)}")
    module.exit_json(changed=bool(passwords.changed), sites=sorted(passwords.changed))


if __name__ == "__main__":
    main()
