"""The sites of the inventory, with their apps; see the module bench_sites."""

from __future__ import annotations

import os
from typing import Any

from .. import atomic
from ..bench.account import BenchError, encryption_key, exclusive, read_json, read_text
from ..bench.look import doctype_files, installed_apps, lacking_doctypes, scrub
from ..bench.needs import shown
from ..mariadb.server import MariaDBError, describe, local, pymysql
from .folders import made_note, own_account
from .making import SiteMaker


def unmade(site: dict[str, Any], apps_only: bool) -> list[str]:
    """What is missing of a site that does not exist; with apps_only, for a dry run, its apps."""
    name = site["name"]
    return [f"app {app} on {name}" for app in site["apps"]] if apps_only else [f"site {name}"]


class Sites(SiteMaker):
    """Makes what is missing of the wanted sites."""

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params)
        self.builds: bool = params["build"]

    def config(self, site: str) -> dict[str, Any]:
        """A site's own configuration, {} when there is none."""
        return read_json(f"{self.folder(site)}/site_config.json")

    def has_key(self, site: str) -> bool:
        """Whether a site has an encryption key, its own or one common to all sites."""
        common = read_json(f"{self.path}/sites/common_site_config.json")
        return bool(self.config(site).get("encryption_key") or common.get("encryption_key"))

    def installing(self, site: str, app: str) -> str:
        """Path of the file that exists while an app is being installed on a site."""
        return f"{self.state_dir}/installing-{app}-on-{site}"

    def refuse_existing(self, site: str) -> None:
        """Raise BenchError where the site exists, or existed before and is gone."""
        gone = not os.path.lexists(self.folder(site))
        if gone and os.path.exists(made_note(self.state_dir, site)):
            raise BenchError(
                f"the site {site} existed and is gone, but is still in fleet_sites; it is not made"
                " again, because it would be empty. If it was dropped, take it out of fleet_sites;"
                " if it was lost, restore its folder and database from a backup; to make it again,"
                f" empty, remove {made_note(self.state_dir, site)} on this host. Then run again"
            )
        super().refuse_existing(site)

    def database_content(self, site: str) -> tuple[dict[str, bool], set[str]]:
        """DocTypes in a site's database, with whether each is a single, and its tables."""
        config = self.config(site)
        name = str(config.get("db_name") or "")
        who = (*own_account(config), name)
        try:
            with local() as server, server.signed_in(*who) as theirs:
                if theirs is None:
                    raise BenchError(
                        f"MariaDB does not let {who[0]} in to the database {name} with the password"
                        f" in the site_config.json of {site}; correct that, and run again"
                    )
                singles = theirs.rows("SELECT name, issingle FROM tabDocType")
                tables = theirs.rows(
                    "SELECT TABLE_NAME AS name FROM information_schema.TABLES"
                    " WHERE TABLE_SCHEMA = DATABASE()"
                )
        except (MariaDBError, pymysql.MySQLError) as error:
            why = str(error) if isinstance(error, MariaDBError) else describe(error)
            raise BenchError(f"the DocTypes of {site} cannot be read: {why}") from error
        return (
            {str(row["name"]): bool(row["issingle"]) for row in singles},
            {str(row["name"]) for row in tables},
        )

    def lacking(self, site: str, app: str) -> tuple[list[str], bool]:
        """DocTypes of an app that a site lacks, and whether it lacks all of them."""
        files = doctype_files(self.path, app)
        if not files:
            # Without DocTypes, there is nothing to look for in the database.
            return [], False
        singles, tables = self.database_content(site)
        lacking = lacking_doctypes(files, singles, tables)
        there = {f"{scrub(name)}.json" for name in singles}
        return lacking, bool(lacking) and not any(os.path.basename(f) in there for f in files)

    def missing_apps(self, site: dict[str, Any]) -> dict[str, bool]:
        """Wanted apps that the site lacks, or has only in part; whether each was begun before.

        An app that lacks some of its DocTypes is not returned: it may wait for a migration, and
        installing it again would mark that migration's patches as done.
        """
        here = self.installed_on(site["name"]) if site["apps"] else []
        missing = {}
        for app in site["apps"]:
            begun = os.path.exists(self.installing(site["name"], app))
            damaged = app in here and not begun and self.lacking(site["name"], app)[1]
            if app not in here or begun or damaged:
                missing[app] = begun or damaged
        return missing

    def lacking_apps(self, site: dict[str, Any]) -> list[str]:
        """Wanted apps that a site lacks, as lines."""
        unready = not self.config(site["name"]) or self.phase(site["name"])
        missing = site["apps"] if unready else self.missing_apps(site)
        return [f"app {app} on {site['name']}" for app in missing]

    def differences(self, site: dict[str, Any], apps_only: bool = False) -> list[str]:
        """What is missing of a site, as lines."""
        name = site["name"]
        if not self.config(name) or self.phase(name):
            return unmade(site, apps_only)
        missing = [] if self.has_key(name) else [f"encryption key of {name}"]
        return missing + self.lacking_apps(site)

    def bring(self, site: dict[str, Any]) -> None:
        """Make what ``differences`` lists; the note is removed last."""
        name = site["name"]
        if not self.config(name) or self.phase(name) == "making":
            self.begin(name)
            self.make(name, ["--admin-password", site["admin_password"]])
            self.enter(name, "made")
        if not self.has_key(name):
            command = ["--site", name, "set-config", "encryption_key", encryption_key()]
            self.frappe(command, f"set-config encryption_key of {name}")
        for app, begun in self.missing_apps(site).items():
            atomic.write(self.installing(name, app), app)
            self.install(name, app, again=begun)
            # A call that began before may have cached the site's former apps.
            self.frappe(["--site", name, "clear-cache"], f"clear-cache of {name}")
            os.unlink(self.installing(name, app))
        if self.phase(name):
            self.frappe(["--site", name, "enable-scheduler"], f"enable-scheduler of {name}")
            os.unlink(self.note(name))

    def install(self, site: str, app: str, again: bool) -> None:
        """Run ``install-app``, if need be twice, until the app's DocTypes exist.

        again: whether one was begun before. It may have left rows with which a plain one fails, or
        the app listed as installed.
        """
        for force in [["--force"]] if again else [[], ["--force"]]:
            command = ["--site", site, "install-app", app, *force]
            self.frappe(command, f"install-app {app} on {site}", modules_anew=True)
            lacking, _ = self.lacking(site, app)
            if not lacking:
                return
        names = ", ".join(map(shown, lacking[:10]))
        names += f" and {len(lacking) - 10} more" * (len(lacking) > 10)
        raise BenchError(
            f"install-app {app} on {site} reported success, but the site's database lacks these"
            f" DocTypes or their tables: {names}. Run `bench --site {site} install-app"
            f" {app} --force` to see why, and check that modules.txt of the app has their modules;"
            " then run again"
        )

    def note_made(self, site: str) -> None:
        """Note that a site exists, in whatever way it was made, so that it is never made again."""
        if self.config(site) and not os.path.exists(made_note(self.state_dir, site)):
            atomic.write(made_note(self.state_dir, site), "")

    def unbuilt(self) -> list[str]:
        """Why the assets have to be built: apps that are newer than the last build."""
        built = (read_text(f"{self.state_dir}/assets-built") or "").split()
        return [f"web assets of {app}" for app in installed_apps(self.path) if app not in built]

    def build(self) -> None:
        """``bench build`` of all apps."""
        self.run(["bench", "build"], "bench build")
        apps = "\n".join(installed_apps(self.path))
        atomic.write(f"{self.state_dir}/assets-built", apps)

    def ensure(self, wanted: list[dict[str, Any]], apps_only: bool, dry: bool) -> list[str]:
        """Make the wanted sites, and the web assets; returns lines on what was missing.

        dry: change nothing.
        """
        differences = [line for site in wanted for line in self.differences(site, apps_only)]
        unbuilt = self.unbuilt() if self.builds else []
        if dry:
            return differences + unbuilt
        if differences or unbuilt:
            with exclusive(f"{self.state_dir}/bench.lock", 1800):
                for site in wanted:
                    if self.differences(site):
                        self.bring(site)
                if unbuilt:
                    self.build()
        for site in wanted:
            self.note_made(site["name"])
        return differences + unbuilt
