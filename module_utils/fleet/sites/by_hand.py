"""The commands new-site and drop-site for an operator on the primary.

Frappe's own commands ask for the password of MariaDB's root. On the server's host root needs no
password, and has none.
"""

from __future__ import annotations

import os

from ..bench.account import BenchError, read_foreign, run_frappe
from ..mariadb.server import Server, local
from ..mariadb.statements import account, quote_name
from .accounts import is_foreign, not_let_in, rights_of
from .folders import is_name, parse_site
from .making import SiteMaker

# Options of new-site for the database, its account, or an account that makes them; --force would
# overwrite a site.
OURS = ("--db-", "--mariadb-", "--no-mariadb-", "--setup-db", "--no-setup-db", "--force")


class ByHand(SiteMaker):
    """Makes and drops sites for an operator, who sees Frappe's output and answers its questions.

    params: as SiteMaker has them.
    """

    def new_site(self, arguments: list[str], database_made: bool) -> None:
        """Run Frappe's new-site on the terminal; ``arguments`` begin with the site's name."""
        done = run_frappe(
            self.path,
            self.user,
            self.environment,
            ["new-site", *arguments],
            modules_anew=True,
            timeout=None,
            seen=True,
            database_made=database_made,
        )
        if done.returncode != 0:
            raise BenchError(f"Frappe's new-site failed with exit status {done.returncode}")

    def bring(self, site: str, options: list[str]) -> None:
        """Make a site, or leave nothing of it; ``options`` are those of new-site.

        Raises BenchError.
        """
        if not is_name(site):
            raise BenchError(f"{site!r} is no host name, so it cannot be called")
        for option in options:
            if option.startswith(OURS):
                raise BenchError(
                    f"{option.split('=')[0]} is not for this command, which makes the database and"
                    " its account itself, and only where they do not exist"
                )
        self.begin(site)
        try:
            self.make(site, options)
        except BaseException:
            self.remove_remains(site)
            os.unlink(self.note(site))
            raise
        os.unlink(self.note(site))

    def drop(self, site: str, options: list[str]) -> None:
        """Drop a site's database and accounts, and archive its folder, as Frappe's drop-site does.

        options: --no-backup, --force (go on after a failed backup). Raises BenchError, SiteError.

        The bench's account can write the site's configuration. It counts only where the site's
        account has rights on that database, so that it could drop the database itself.
        """
        if unknown := set(options) - {"--no-backup", "--force"}:
            raise BenchError(f"{min(unknown)} is not for this command")
        path = f"{self.folder(site)}/site_config.json"
        if is_name(site) and self.phase(site) == "making":
            # It was being made when the host lost power, for example.
            self.remove_remains(site)
            os.unlink(self.note(site))
            return
        # A link would be another name for a site.
        is_own = is_name(site) and not os.path.islink(self.folder(site))
        text = read_foreign(path) if is_own else None
        if text is None:
            raise BenchError(
                f"there is no site {site}: {path} is missing, is not a plain file, or is in a"
                " linked folder"
            )
        about = parse_site(site, text, path)
        with local() as server:
            problem = is_foreign(server, about)
            if problem or not rights_of(server, about):
                raise BenchError(f"{site} is not dropped: {problem or not_let_in(about)}")
            if "--no-backup" not in options:
                self.back_up(site, force="--force" in options)
            server.run(f"DROP DATABASE IF EXISTS {quote_name(about.database)}")
            self.archive(site)
            drop_local_accounts(server, about.user)

    def back_up(self, site: str, force: bool) -> None:
        """Back the site up with its files; ``force`` goes on where that fails."""
        try:
            self.frappe(["--site", site, "backup", "--with-files"], f"backup of {site}")
        except BenchError as error:
            if not force:
                raise BenchError(
                    f"{error}\nNothing was dropped; `--force` drops the site anyway"
                ) from error

    def archive(self, site: str) -> None:
        """Move a site's folder to archived/sites of the bench, under a name that is free there."""
        archive, name, count = f"{self.path}/archived/sites", site, 0
        while os.path.lexists(f"{archive}/{name}"):
            count += 1
            name = f"{site}{count}"
        script = 'mkdir -p "$0" && mv -T "$1" "$0/$2"'
        command = ["sh", "-c", script, archive, self.folder(site), name]
        self.run(command, f"archiving {site}")


def drop_local_accounts(server: Server, user: str) -> None:
    """Drop a site's accounts for its own bench, except those with rights on another database.

    The timer drops those for the reporting nodes.
    """
    rows = server.rows(
        "SELECT Host FROM mysql.db WHERE User = %s AND Host IN ('127.0.0.1', 'localhost', '%%')"
        " GROUP BY Host HAVING COUNT(*) = 1",
        (user,),
    )
    for row in rows:
        server.run(f"DROP USER IF EXISTS {account(user, row['Host'])}")
