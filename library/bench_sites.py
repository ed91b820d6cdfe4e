#!/usr/bin/python
"""Make the sites of the primary bench."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import subprocess
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.bench import (
    BenchError,
    asset_state,
    checked,
    encryption_key,
    exclusive,
    frappe_command,
    installed_apps,
    read_json,
    read_text,
    run_as,
    sync_folder,
    user_environment,
)
from ansible.module_utils.sites import made_note, making_note

DOCUMENTATION = r"""
module: bench_sites
short_description: Sites with their apps, scheduler, encryption key and assets
description:
  - Runs Frappe's own C(new-site). Its words, passwords among them, reach the framework on
    standard input, so that no process of the host shows them on its command line.
  - The administrative database account that C(new-site) wants exists only while it runs.
  - A site that was there once and is gone is not made again, empty, until somebody says so.
  - A site whose making was interrupted is recognised by a note, removed, and made anew. What was
    there before the note, or after C(new-site) succeeded, is never removed.
options:
  path: {description: Directory of the bench., type: path, required: true}
  user: {description: The bench's account., type: str, required: true}
  cli_dir: {description: Virtual environment of the bench CLI., type: path, required: true}
  sites:
    description: Wanted sites with keys name, apps, admin_password.
    type: list
    elements: dict
    required: true
  build:
    description: Whether web assets are built after an app has come.
    type: bool
    default: true
  state_dir: {description: Where it is noted what is being made., type: path, required: true}
  socket: {description: MariaDB's socket., type: path, default: /run/mysqld/mysqld.sock}
"""

SETUP_USER = "benchfleet_setup"


def database_name(site: str) -> str:
    """Name of a site's database: the same for the same site, so that a rerun finds it."""
    return "_" + hashlib.sha256(site.encode()).hexdigest()[:16]


class Sites:
    """Makes what is missing of the wanted sites."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.path: str = params["path"]
        self.user: str = params["user"]
        self.state_dir: str = params["state_dir"]
        self.socket: str = params["socket"]
        self.environment = user_environment(self.user, params["cli_dir"])

    def frappe(self, words: list[str], what: str) -> str:
        """Run a framework command with ``words`` as its command line."""
        return frappe_command(self.path, self.user, self.environment, words, what)

    def config(self, site: str) -> dict[str, Any]:
        """A site's own configuration, {} when there is none."""
        return read_json(f"{self.path}/sites/{site}/site_config.json")

    def note(self, site: str) -> str:
        """Path of the note that stands until a site is finished."""
        return making_note(self.state_dir, site)

    def phase(self, site: str) -> str:
        """Where the making of a site stands: "" (not begun or finished), "making" or "made"."""
        return (read_text(self.note(site)) or "").strip()

    def enter(self, site: str, phase: str) -> None:
        """Note a phase."""
        self.write(self.note(site), phase)

    def write(self, path: str, text: str) -> None:
        """Write a small file that survives a power cut."""
        with open(f"{path}.new", "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(out.fileno())
        os.replace(f"{path}.new", path)
        sync_folder(os.path.dirname(path))

    def installing(self, site: str, app: str) -> str:
        """Path of the note that stands while an app is being installed on a site."""
        return f"{self.state_dir}/installing-{app}-on-{site}"

    def sql(self, statements: str) -> str:
        """Run statements as the server's root, on its socket."""
        result = subprocess.run(
            ["mariadb", "--no-defaults", f"--socket={self.socket}", "--batch", "-N"],
            input=statements,
            text=True,
            capture_output=True,
            check=False,
        )
        if result.returncode != 0:
            raise BenchError(f"MariaDB refused a statement: {result.stderr.strip()}")
        return result.stdout

    def remove_remains(self, site: str) -> None:
        """Take an interrupted making of ``site`` away: its database, accounts and folder."""
        name = database_name(site)
        accounts = self.sql(
            f"SELECT CONCAT(QUOTE(user), '@', QUOTE(host)) FROM mysql.user WHERE user = '{name}'"
        ).split("\n")
        drops = "".join(f"DROP USER IF EXISTS {account};\n" for account in accounts if account)
        self.sql(f"DROP DATABASE IF EXISTS `{name}`;\n{drops}")
        folder = f"{self.path}/sites/{site}"
        if os.path.exists(folder):
            shutil.rmtree(folder)

    def make(self, site: dict[str, Any]) -> None:
        """``new-site`` with a throwaway administrative account.

        Only what this run is about to make is ever removed again: a folder or a database that
        is there before the note is written belongs to somebody.
        """
        name = site["name"]
        if self.phase(name) == "making":
            self.remove_remains(name)
        elif os.path.exists(f"{self.path}/sites/{name}"):
            raise BenchError(
                f"{self.path}/sites/{name} exists without a site_config.json and was not made by"
                " this fleet; nothing was removed. Restore the file, or move the folder away, and"
                " run again"
            )
        elif os.path.exists(made_note(self.state_dir, name)):
            raise BenchError(
                f"the site {name} was here and is gone, and fleet_sites still names it; it is not"
                " made anew, for it would be empty. If it was dropped, take it out of fleet_sites;"
                " if it was lost, restore its folder and database from a backup; to make it anew,"
                f" empty, remove {made_note(self.state_dir, name)} on this host. Then run again"
            )
        elif self.has_database(name):
            raise BenchError(
                f"the folder of the site {name} is missing and its database"
                f" {database_name(name)} is there; nothing was removed. Restore the folder from a"
                " backup, or drop the database if the site shall begin anew, and run again"
            )
        self.enter(name, "making")
        password = secrets.token_hex(24)
        account = f"'{SETUP_USER}'@'127.0.0.1'"
        self.sql(
            f"DROP USER IF EXISTS {account};"
            f"CREATE USER {account} IDENTIFIED BY '{password}';"
            f"GRANT ALL ON *.* TO {account} WITH GRANT OPTION;"
        )
        try:
            words = ["new-site", name, "--db-name", database_name(name)]
            words += ["--db-root-username", SETUP_USER, "--db-root-password", password]
            words += ["--admin-password", site["admin_password"]]
            self.frappe(words, f"new-site {name}")
        finally:
            self.sql(f"DROP USER IF EXISTS {account};")
        self.enter(name, "made")

    def has_database(self, site: str) -> bool:
        """Whether the server holds the site's database."""
        name = database_name(site)
        question = "SELECT COUNT(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = "
        return self.sql(f"{question}'{name}'").strip() != "0"

    def set_config(self, site: str, key: str, value: str) -> None:
        """Set a key of a site's configuration through the framework."""
        self.frappe(["--site", site, "set-config", key, value], f"set-config {key} of {site}")

    def apps_of(self, site: str) -> list[str]:
        """Apps that are installed on a site."""
        output = self.frappe(["--site", site, "list-apps"], f"list-apps of {site}")
        return [line.split()[0] for line in output.splitlines() if line.split()]

    def missing_apps(self, site: dict[str, Any]) -> list[str]:
        """Apps that the site shall have and has not, or not wholly."""
        here = self.apps_of(site["name"]) if site["apps"] else []
        return [
            app
            for app in site["apps"]
            if app not in here or os.path.exists(self.installing(site["name"], app))
        ]

    def differences(self, site: dict[str, Any]) -> list[str]:
        """What is missing of a site, in words."""
        name = site["name"]
        config = self.config(name)
        if not config or self.phase(name):
            return [f"site {name}"]
        missing = [] if config.get("encryption_key") else [f"encryption key of {name}"]
        return missing + [f"app {app} on {name}" for app in self.missing_apps(site)]

    def bring(self, site: dict[str, Any]) -> None:
        """Do what ``differences`` names; the note goes last."""
        name = site["name"]
        if not self.config(name) or self.phase(name) == "making":
            self.make(site)
        if not self.config(name).get("encryption_key"):
            self.set_config(name, "encryption_key", encryption_key())
        for app in self.missing_apps(site):
            note = self.installing(name, app)
            # An interrupted installation has left rows behind at which a plain one stumbles.
            force = ["--force"] if os.path.exists(note) else []
            self.write(note, app)
            words = ["--site", name, "install-app", app, *force]
            self.frappe(words, f"install-app {app} on {name}")
            os.unlink(note)
        if self.phase(name):
            self.frappe(["--site", name, "enable-scheduler"], f"enable-scheduler of {name}")
            os.unlink(self.note(name))

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
    module = AnsibleModule(
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
            "build": {"type": "bool", "default": True},
            "state_dir": {"type": "path", "required": True},
            "socket": {"type": "path", "default": "/run/mysqld/mysqld.sock"},
        },
        supports_check_mode=True,
    )
    wanted = module.params["sites"]
    if not os.path.exists(f"{module.params['path']}/env/bin/python") and module.check_mode:
        differences = [f"site {site['name']}" for site in wanted]
        module.exit_json(changed=bool(differences), differences=differences, assets={})
    try:
        maker = Sites(module.params)
        differences = [line for site in wanted for line in maker.differences(site)]
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
