"""Making and dropping a site for an operator on the primary: commands new-site and drop-site.

Frappe's own ask for the password of MariaDB's root. On the server's host root needs none, and has
none.
"""

from __future__ import annotations

import os

from ..bench.account import BenchError, read_foreign, run_frappe
from ..mariadb.server import Server, local
from ..mariadb.statements import account, quote_name
from .accounts import is_foreign, not_let_in, rights_of
from .folders import is_name, parse_site
from .making import Maker

# Options of new-site that name the database, its account, or somebody who makes them; --force would
# overwrite a site.
OURS = ("--db-", "--mariadb-", "--no-mariadb-", "--setup-db", "--no-setup-db", "--force")


class ByHand(Maker):
    """Makes and drops sites as an operator asks for it, who sees what Frappe says and answers it.

    params: as Maker has them.
    """

    def new_site(self, words: list[str], database_made: bool) -> None:
        """Run Frappe's new-site on the terminal; ``words`` begin with the site's name."""
        done = run_frappe(
            self.path,
            self.user,
            self.environment,
            ["new-site", *words],
            modules_anew=True,
            timeout=None,
            seen=True,
            database_made=database_made,
        )
        if done.returncode != 0:
            raise BenchError(f"Frappe's new-site failed with exit status {done.returncode}")

    def bring(self, site: str, words: list[str]) -> None:
        """Make a site, or leave nothing of it; ``words`` are options of new-site.

        Raises BenchError.
        """
        if not is_name(site):
            raise BenchError(f"{site!r} is no host name, so nobody could ask for such a site")
        for word in words:
            if word.startswith(OURS):
                raise BenchError(
                    f"{word.split('=')[0]} is not for this command, which makes the database and"
                    " its account itself, and only where there is none"
                )
        self.begin(site)
        try:
            self.make(site, words)
        except BaseException:
            self.remove_remains(site)
            os.unlink(self.note(site))
            raise
        os.unlink(self.note(site))

    def drop(self, site: str, words: list[str]) -> None:
        """Drop a site's database and accounts, and archive its folder, as Frappe's drop-site does.

        words: --no-backup, --force (go on after a failed backup). Raises BenchError, SiteError.

        The configuration of the site is the bench account's. It counts only where root has given
        the site's account that very database, which the account could drop as well.
        """
        if unknown := set(words) - {"--no-backup", "--force"}:
            raise BenchError(f"{min(unknown)} is not for this command")
        path = f"{self.folder(site)}/site_config.json"
        if is_name(site) and self.phase(site) == "making":
            # A making that was cut off, by a loss of power, say.
            self.remove_remains(site)
            os.unlink(self.note(site))
            return
        # A link would be another name of a site.
        is_own = is_name(site) and not os.path.islink(self.folder(site))
        text = read_foreign(path) if is_own else None
        if text is None:
            raise BenchError(
                f"there is no site {site}: {path} is not there, is no plain file, or is in a linked"
                " folder"
            )
        about = parse_site(site, text, path)
        with local() as server:
            problem = is_foreign(server, about)
            if problem or not rights_of(server, about):
                raise BenchError(f"{site} is not dropped: {problem or not_let_in(about)}")
            if "--no-backup" not in words:
                self.back_up(site, force="--force" in words)
            server.run(f"DROP DATABASE IF EXISTS {quote_name(about.database)}")
            self.archive(site)
            drop_local_accounts(server, about.user)

    def back_up(self, site: str, force: bool) -> None:
        """Back the site up with its files; ``force`` goes on where that fails."""
        try:
            self.frappe(["--site", site, "backup", "--with-files"], f"backup of {site}")
        except BenchError as error:
            if not force:
                raise BenchError(f"{error}\nNothing was dropped; --force does so") from error

    def archive(self, site: str) -> None:
        """Move a site's folder to archived/sites of the bench, by a name that is free there."""
        archive, name, count = f"{self.path}/archived/sites", site, 0
        while os.path.lexists(f"{archive}/{name}"):
            count += 1
            name = f"{site}{count}"
        script = 'mkdir -p "$0" && mv -T "$1" "$0/$2"'
        words = ["sh", "-c", script, archive, self.folder(site), name]
        self.run(words, f"archiving {site}")


def drop_local_accounts(server: Server, user: str) -> None:
    """Drop a site's accounts for its own bench, unless one has rights on another database, too.

    Those for the reporting nodes are the timer's.
    """
    rows = server.rows(
        "SELECT Host FROM mysql.db WHERE User = %s AND Host IN ('127.0.0.1', 'localhost', '%%')"
        " GROUP BY Host HAVING COUNT(*) = 1",
        (user,),
    )
    for row in rows:
        server.run(f"DROP USER IF EXISTS {account(user, row['Host'])}")
