"""The state of one update, kept in update.json, and what every phase uses."""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from .. import atomic
from ..bench import apps as of_app
from ..bench.account import Bench, BenchError, read_json
from ..bench.look import git, git_said
from ..bench.staging import Staging
from ..foreign import read_bytes
from ..mariadb.server import SYSTEM_SCHEMAS, client
from ..redis.client import Redis
from ..redis.users import redis_admin
from ..sites.folders import Folders, SiteError, is_name, parse_site
from . import problems
from .problems import UpdateRefusedError


def new_stamp() -> str:
    """Name of an update, and of the folder of its backups: the time at which it begins."""
    return time.strftime("%Y%m%d-%H%M%S")


def sites_of(folders: Folders, named: list[str]) -> list[str]:
    """Sites of a bench: those of the inventory first, then those that were made by hand.

    A folder whose name cannot be a host's is not a site, see docs/sites.md.
    """
    there = [site for site in folders.names() if is_name(site)]
    return [site for site in named if site in there] + [s for s in there if s not in named]


class State(Bench):
    """The state of one update of a bench."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params = {**params, **params["about"]}
        super().__init__(params["path"], params["user"], params["cli_dir"])
        self.name = os.path.basename(self.path)
        self.folders = Folders(f"{self.path}/sites", params["state_dir"])
        self.sites = sites_of(self.folders, params["sites"])
        self.file = f"{params['state_dir']}/update.json"
        self.staging = Staging(self.path, self.run)
        self.state: dict[str, Any] = read_json(self.file)
        self.report: list[str] = []

    def save(self, **changes: Any) -> None:
        """Keep changes of the state in update.json; they survive a power cut."""
        self.state.update(changes)
        atomic.write(self.file, json.dumps(self.state, indent=1, sort_keys=True))

    def folder(self, app: str) -> str:
        """Folder of an app."""
        return f"{self.path}/apps/{app}"

    def app_git(self, app: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run git in an app's folder as the bench's account."""
        quiet = ["git", "-c", "gc.auto=0", "-c", "maintenance.auto=false", *arguments]
        return self.tried(quiet, self.folder(app))

    def common(self) -> dict[str, Any]:
        """The bench's common configuration."""
        return read_json(f"{self.path}/sites/common_site_config.json")

    @contextmanager
    def redis(self, name: str) -> Iterator[Redis]:
        """Root's connection to the bench's Redis of that name."""
        with redis_admin(f"{self.params['redis']}/{name}.conf") as redis:
            yield redis

    def mariadb(self, statement: str) -> str:
        """Output of a statement that root runs on the server's socket."""
        argv = client("mariadb", "-BN", "-e", statement)
        done = subprocess.run(argv, text=True, capture_output=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"MariaDB refused a statement: {done.stderr.strip()}")
        return done.stdout.strip()

    def database(self, site: str) -> str:
        """Name of a site's database; UpdateRefusedError for one that cannot be backed up."""
        path = self.folders.config(site)
        if self.folders.unfinished(site):
            raise UpdateRefusedError([problems.SITE_UNFINISHED.found(site=site, config=path)])
        try:
            name = parse_site(site, read_bytes(path).decode(), path).database
        except (SiteError, OSError, UnicodeDecodeError) as error:
            found = problems.SITE_UNREADABLE.found(
                site=site, message=str(error), config=path, sites=self.folders.sites
            )
            raise UpdateRefusedError([found]) from error
        if not re.fullmatch(r"\w+", name) or name.lower() in SYSTEM_SCHEMAS | {"benchfleet"}:
            found = problems.DATABASE_RESERVED.found(
                site=site, database=name, config=path, sites=self.folders.sites
            )
            raise UpdateRefusedError([found])
        return name

    def owner(self) -> tuple[int, int]:
        """User and group id of the bench's account."""
        account = pwd.getpwnam(self.user)
        return account.pw_uid, account.pw_gid

    def built(self, app: str) -> str:
        """Folder of an app's built assets."""
        return f"{self.folder(app)}/{app}/public/dist"

    def migrates(self) -> bool:
        """Whether this update migrates the sites, for which users are out."""
        return bool(self.state.get("migrates", True))

    def reasons(self, old: dict[str, str], new: dict[str, str]) -> list[str]:
        """Changed files for which the sites need a migration, as APP/PATH."""
        found = []
        for app, commit in new.items():
            if commit == old[app]:
                continue
            folder = self.folder(app)
            changed = git_said(folder, "diff", "--name-only", "--no-renames", old[app], commit)
            hooks = git(folder, "show", f"{commit}:{app}/hooks.py") or ""
            found += [f"{app}/{p}" for p in of_app.migrates(app, changed.split("\n"), hooks)]
        return found

    @contextmanager
    def phase(self, phase: str, *site: str) -> Iterator[None]:
        """Note how many seconds a phase takes, for the outcome; its ids are in report.PHASES."""
        begun = time.monotonic()
        try:
            yield
        finally:
            took = time.monotonic() - begun
            self.state.setdefault("phases", []).append([phase, round(took, 1), *site])

    def drop_staging(self) -> None:
        """Remove what was kept for the way back, once there is none."""
        if os.path.lexists(self.staging.path):
            self.staging.drop(self.staging.folders())

    def log(self, site: str) -> str:
        """File with the output of a site's last migration."""
        return f"{self.params['state_dir']}/update-{site}.log"
