#!/usr/bin/python
"""Make the sites of the primary bench."""

from __future__ import annotations

import os
import subprocess
from typing import Any

from ansible.module_utils.fleet.bench.account import (
    BenchError,
    asset_state,
    checked,
    doctype_files,
    encryption_key,
    exclusive,
    installed_apps,
    lacking_doctypes,
    read_json,
    read_text,
    run_as,
    scrub,
)
from ansible.module_utils.fleet.bench.needs import shown
from ansible.module_utils.fleet.mariadb.server import MariaDBError, describe, local, pymysql
from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.sites.folders import made_note, own_account
from ansible.module_utils.fleet.sites.making import Maker

DOCUMENTATION = r"""
module: bench_sites
short_description: Sites with their apps, scheduler, encryption key and assets
description:
  - Runs Frappe's own C(new-site). Its words, passwords among them, reach the framework on
    standard input, so that no process of the host shows them on its command line.
  - Root makes the database and the site's account, which has rights on that database alone. The
    C(new-site) of a Frappe that cannot leave that to others (14) is run with what would make them
    taken out.
  - A site that was there once and is gone is not made again, empty, until somebody says so.
  - A site whose making was interrupted is recognised by a note, removed, and made anew. What was
    there before the note, or after C(new-site) succeeded, is never removed.
  - An app counts as installed when its DocTypes and their tables are in the site's database. One
    that is listed as installed, and of which no DocType is there, is installed again.
options:
  path: {description: Directory of the bench., type: path, required: true}
  user: {description: The bench's account., type: str, required: true}
  cli_dir: {description: Virtual environment of the bench CLI., type: path, required: true}
  sites:
    description: Wanted sites.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {description: Name of the site., type: str, required: true}
      apps: {description: Its apps besides frappe., type: list, elements: str, default: []}
      admin_password: {description: Its administrator's., type: str, required: true}
  apps_only:
    description:
      - Whether the sites are made by then, and get their apps. An app is installed once all benches
        that answer for the sites have it.
    type: bool
    default: false
  build:
    description: Whether web assets are built after an app has come.
    type: bool
    default: true
  state_dir: {description: Where it is noted what is being made., type: path, required: true}
  socket: {description: MariaDB's socket., type: path, default: /run/mysqld/mysqld.sock}
"""

EXAMPLES = r"""
- name: Sites exist
  bench_sites:
    path: "{{ fleet_bench_dir }}"
    user: frappe
    cli_dir: "{{ bench_cli_dir }}"
    state_dir: "{{ fleet_state_dir }}"
    sites:
      - {name: erp.example.com, admin_password: "{{ password }}"}
"""


def unmade(site: dict[str, Any], apps_only: bool) -> list[str]:
    """What is missing of a site that is not there, in words; a dry run meets it with apps_only."""
    name = site["name"]
    return [f"app {app} on {name}" for app in site["apps"]] if apps_only else [f"site {name}"]


class Sites(Maker):
    """Makes what is missing of the wanted sites."""

    def config(self, site: str) -> dict[str, Any]:
        """A site's own configuration, {} when there is none."""
        return read_json(f"{self.folder(site)}/site_config.json")

    def has_key(self, site: str) -> bool:
        """Whether a site has an encryption key; that of all sites is one, too."""
        common = read_json(f"{self.path}/sites/common_site_config.json")
        return bool(self.config(site).get("encryption_key") or common.get("encryption_key"))

    def installing(self, site: str, app: str) -> str:
        """Path of the note that stands while an app is being installed on a site."""
        return f"{self.state_dir}/installing-{app}-on-{site}"

    def refuse_existing(self, site: str) -> None:
        """Also one that was here and is gone."""
        gone = not os.path.lexists(self.folder(site))
        if gone and os.path.exists(made_note(self.state_dir, site)):
            raise BenchError(
                f"the site {site} was here and is gone, and fleet_sites still names it; it is not"
                " made anew, for it would be empty. If it was dropped, take it out of fleet_sites;"
                " if it was lost, restore its folder and database from a backup; to make it anew,"
                f" empty, remove {made_note(self.state_dir, site)} on this host. Then run again"
            )
        super().refuse_existing(site)

    def set_config(self, site: str, key: str, value: str) -> None:
        """Set a key of a site's configuration through the framework."""
        self.frappe(["--site", site, "set-config", key, value], f"set-config {key} of {site}")

    def apps_of(self, site: str) -> list[str]:
        """Apps that are installed on a site."""
        output = self.frappe(["--site", site, "list-apps"], f"list-apps of {site}")
        return [line.split()[0] for line in output.splitlines() if line.split()]

    def database_content(self, site: str) -> tuple[dict[str, bool], set[str]]:
        """DocTypes of a site's database, and whether each is a single; its tables."""
        config = self.config(site)
        name = str(config.get("db_name") or "")
        who = (*own_account(config), name)
        try:
            with local(self.socket) as server, server.signed_in(*who) as theirs:
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
            words = str(error) if isinstance(error, MariaDBError) else describe(error)
            raise BenchError(f"the DocTypes of {site} cannot be read: {words}") from error
        return (
            {str(row["name"]): bool(row["issingle"]) for row in singles},
            {str(row["name"]) for row in tables},
        )

    def lacking(self, site: str, app: str) -> tuple[list[str], bool]:
        """DocTypes of an app that a site lacks, and whether it has none of them at all."""
        files = doctype_files(self.path, app)
        if not files:
            # Of an app without any, nothing is asked of the database.
            return [], False
        singles, tables = self.database_content(site)
        lacking = lacking_doctypes(files, singles, tables)
        there = {f"{scrub(name)}.json" for name in singles}
        return lacking, bool(lacking) and not any(os.path.basename(f) in there for f in files)

    def missing_apps(self, site: dict[str, Any]) -> dict[str, bool]:
        """Apps that the site shall have and has not, or not wholly; whether each was begun before.

        One that lacks a part of its DocTypes is not among them: it waits for a migration, say,
        and installing it again would mark the patches of that as done.
        """
        here = self.apps_of(site["name"]) if site["apps"] else []
        missing = {}
        for app in site["apps"]:
            begun = os.path.exists(self.installing(site["name"], app))
            damaged = app in here and not begun and self.lacking(site["name"], app)[1]
            if app not in here or begun or damaged:
                missing[app] = begun or damaged
        return missing

    def differences(self, site: dict[str, Any], apps_only: bool = False) -> list[str]:
        """What is missing of a site, in words."""
        name = site["name"]
        config = self.config(name)
        if not config or self.phase(name):
            return unmade(site, apps_only)
        missing = [] if self.has_key(name) else [f"encryption key of {name}"]
        return missing + [f"app {app} on {name}" for app in self.missing_apps(site)]

    def bring(self, site: dict[str, Any]) -> None:
        """Do what ``differences`` names; the note goes last."""
        name = site["name"]
        if not self.config(name) or self.phase(name) == "making":
            self.begin(name)
            self.make(name, ["--admin-password", site["admin_password"]])
            self.enter(name, "made")
        if not self.has_key(name):
            self.set_config(name, "encryption_key", encryption_key())
        for app, begun in self.missing_apps(site).items():
            self.write(self.installing(name, app), app)
            self.install(name, app, again=begun)
            # A call that had begun before may have written down the site's former apps meanwhile.
            self.frappe(["--site", name, "clear-cache"], f"clear-cache of {name}")
            os.unlink(self.installing(name, app))
        if self.phase(name):
            self.frappe(["--site", name, "enable-scheduler"], f"enable-scheduler of {name}")
            os.unlink(self.note(name))

    def install(self, site: str, app: str, again: bool) -> None:
        """``install-app``, until the app's DocTypes are there; a second time if need be.

        ``again``: whether one was begun before. It has left rows behind at which a plain one
        stumbles, or the app listed as installed.
        """
        for force in [["--force"]] if again else [[], ["--force"]]:
            words = ["--site", site, "install-app", app, *force]
            self.frappe(words, f"install-app {app} on {site}", modules_anew=True)
            lacking, _ = self.lacking(site, app)
            if not lacking:
                return
        names = ", ".join(map(shown, lacking[:10]))
        names += f" and {len(lacking) - 10} more" * (len(lacking) > 10)
        raise BenchError(
            f"install-app {app} on {site} reported success, but the site's database lacks these"
            f" DocTypes or their tables: {names}. Read what `bench --site {site} install-app {app}"
            " --force` says, and check that modules.txt of the app names their modules; then run"
            " again"
        )

    def note_made(self, site: str) -> None:
        """Remember that a site is there, whoever made it, so that it is never made twice."""
        if self.config(site) and not os.path.exists(made_note(self.state_dir, site)):
            self.write(made_note(self.state_dir, site), "")

    def unbuilt(self) -> list[str]:
        """What says that the assets are to be built: apps that came since the last build."""
        built = (read_text(f"{self.state_dir}/assets-built") or "").split()
        return [f"web assets of {app}" for app in installed_apps(self.path) if app not in built]

    def build(self) -> None:
        """``bench build`` of all apps."""
        result = run_as(self.user, ["bench", "build"], self.path, self.environment)
        checked(result, "bench build")
        self.write(f"{self.state_dir}/assets-built", "\n".join(installed_apps(self.path)))


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "user": {"type": "str", "required": True},
            "cli_dir": {"type": "path", "required": True},
            "sites": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "apps": {"type": "list", "elements": "str", "default": []},
                    "admin_password": {"type": "str", "required": True, "no_log": True},
                },
            },
            "apps_only": {"type": "bool", "default": False},
            "build": {"type": "bool", "default": True},
            "state_dir": {"type": "path", "required": True},
            "socket": {"type": "path", "default": "/run/mysqld/mysqld.sock"},
        },
        supports_check_mode=True,
    )
    wanted, apps_only = module.params["sites"], module.params["apps_only"]
    if not os.path.exists(f"{module.params['path']}/env/bin/python") and module.check_mode:
        differences = [line for site in wanted for line in unmade(site, apps_only)]
        module.exit_json(changed=bool(differences), differences=differences, assets={})
    try:
        maker = Sites(module.params)
        differences = [line for site in wanted for line in maker.differences(site, apps_only)]
        unbuilt = maker.unbuilt() if module.params["build"] else []
        differences += unbuilt
        if differences and not module.check_mode:
            with exclusive(f"{maker.state_dir}/bench.lock", 1800):
                for site in wanted:
                    if maker.differences(site):
                        maker.bring(site)
                if unbuilt:
                    maker.build()
        if not module.check_mode:
            for site in wanted:
                maker.note_made(site["name"])
        module.exit_json(
            changed=bool(differences),
            differences=differences,
            assets=asset_state(maker.path),
            diff={"before": "", "after": "".join(f"{line}\n" for line in differences)},
        )
    except (BenchError, subprocess.TimeoutExpired) as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
