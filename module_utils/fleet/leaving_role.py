"""What a host's former role left there goes, so that the host is only what it is now.

A host that was a reporting node and is the primary, or the other way round, or was the standby.
Each step may have been done before, by a run that was killed: in each phase, what the survey of
preflight can see goes last, so that the next run calls this again until all is gone.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from glob import glob, iglob
from pathlib import Path
from typing import Any

from . import atomic
from .bench.account import run_as
from .bench.assets import asset_state
from .bench.look import installed_apps
from .bench.switch import PrimaryConfig
from .foreign import as_owner
from .imports import surplus
from .leaving import COPIES, UNITS, Leaver, remove
from .units import CERTIFICATES, CHANGES

NGINX, WEB_USER = "/etc/nginx", "www-data"
# Of a standby alone: it fetches the primary's certificates.
FETCHING = (
    f"{UNITS}/{CERTIFICATES}",
    f"{UNITS}/{CERTIFICATES.replace('.timer', '.service')}",
    "{lib}/standby-certificates",
    "{config}/standby-certificates.json",
)
# Of a reporting node, of a primary, and of the primary and its standby. {config}, {lib} and {state}
# are the fleet's folders. `first`: what works by itself, or lets others in. `last`: what programs
# of the bench use until they run as those of its present role.
LEFT: dict[str, dict[str, tuple[str, ...]]] = {
    "reporting": {
        "first": (
            *COPIES,
            f"{UNITS}/benchfleet-files.socket",
            f"{UNITS}/benchfleet-files.service",
            *FETCHING,
            *(f"{{state}}/mariadb-seed.{end}" for end in ("json", "lock")),
            *(f"{{state}}/seed-{step}.log" for step in ("ssh", "unpack", "prepare")),
            "{lib}/mariadb-seed-receive",
            "{config}/site-sync.json",
            "{config}/ssh",
        ),
        "last": ("{lib}/site-sync",),
    },
    "primary": {
        "first": (
            f"{UNITS}/benchfleet-sites.timer",
            f"{UNITS}/benchfleet-sites.service",
            *(f"{{lib}}/{name}" for name in ("fleet-sites", "new-site", "drop-site")),
            *(f"{{state}}/{name}" for name in ("sites.json", "assets-built")),
            "{state}/made-site-*",
            "{config}/sites.json",
        ),
        "last": ("{lib}/code-gate", "{lib}/sync-gate"),
    },
    "standby": {
        "first": (f"{UNITS}/{CHANGES}", *FETCHING),
        "last": (
            f"{UNITS}/benchfleet-address.service",
            f"{UNITS}/certbot.service.d/benchfleet.conf",
            f"{UNITS}/nginx.service.d/benchfleet.conf",
            *(f"{{state}}/{name}" for name in ("router-loaded", "drained", "waiting", "forward")),
            *(f"{{state}}/{name}" for name in ("hold", "acme", "redis-server-rested")),
            *(f"{{state}}/{name}" for name in ("router-brought", "sites.lock")),
            *(f"{{lib}}/{name}" for name in ("fleet-address", "start-queue")),
            "{config}/address.json",
            "{config}/redis",
        ),
    },
}
# In the bench, of a reporting node: the state of its copies.
COPIED = (
    *(f"sites/.site-sync.{end}" for end in ("json", "lock", "next", "copy")),
    "sites/.site-files",
)
STAGED = (".site-sync", ".assets")


def patterns(asked: Mapping[str, Any]) -> list[str]:
    """Paths, and patterns of paths, that this host must not have after a phase.

    asked: the options of the module gone.
    """
    places = {name: asked[f"{name}_dir"] for name in ("config", "lib", "state")}
    others = ["primary"] if asked.get("standby") else ["primary", "standby"]
    roles = ["reporting"] if asked["role"] == "primary" else others
    return [entry.format(**places) for role in roles for entry in LEFT[role][asked["phase"]]]


def is_left(asked: Mapping[str, Any], files: Iterable[str]) -> bool:
    """Whether one of these paths of a host, as its survey lists them, must not be there."""
    wrong = patterns(asked)
    return any(fnmatchcase(path, pattern) for path in files for pattern in wrong)


class RoleLeaver(Leaver):
    """The steps of a phase; asked: the options of the module gone."""

    def leave(self) -> str:
        """Do the steps. Raises BenchError, LeaveError, OSError."""
        getattr(self, f"{self.asked['phase']}_of_{self.asked['role']}")()
        units = [path for path in self.wrong() if path.startswith(UNITS)]
        # Timers and sockets first: they would start their services again.
        for path in sorted(units, key=lambda path: (path.endswith(".service"), path)):
            if os.path.dirname(path) == UNITS:
                self.unit(os.path.basename(path))
        for path in self.wrong():
            if f"remove {path}" not in self.did:
                self.drop(path)
        if units and not self.dry:
            self.run("systemctl", "daemon-reload")
        return ""

    def wrong(self) -> list[str]:
        """Paths of the phase that are there."""
        return [path for pattern in patterns(self.asked) for path in sorted(iglob(pattern))]

    def first_of_primary(self) -> None:
        """No copy changes the sites any more, and their configurations are a primary's."""
        self.copies()
        config = PrimaryConfig(self.asked["bench"], self.asked["state_dir"])
        self.did += config.bring(self.dry)
        built = f"{self.asked['state_dir']}/assets-built"
        if not os.path.exists(built) and asset_state(self.asked["bench"]):
            # They were copied from the bench that built them.
            self.did.append(f"write {built}")
            if not self.dry:
                atomic.write(built, "\n".join(installed_apps(self.asked["bench"])))

    def last_of_primary(self) -> None:
        """The bench has no state of its copies."""
        for name in (*COPIED, *STAGED):
            self.drop(f"{self.asked['bench']}/{name}")
        for path in sorted(glob(f"{self.asked['bench']}/logs/rsync.log*")):
            self.drop(path)
        self.modules()

    def first_of_reporting(self) -> None:
        """No key opens the sites and the code of this host any more."""
        self.keys()

    def last_of_reporting(self) -> None:
        """No program of the primary's is left."""
        # The lock of Frappe's scheduler.
        self.drop(f"{self.asked['bench']}/config/scheduler_process")
        if not self.asked["standby"]:
            self.router()
            self.queue()
        self.modules()

    def router(self) -> None:
        """Have nginx serve no site of the fleet; without another one of the operator's, stop it."""
        ours = (f"{NGINX}/conf.d/benchfleet.conf", f"{NGINX}/benchfleet")
        if not any(map(os.path.lexists, ours)):
            return
        noted = Path(self.asked["state_dir"], "router-brought")
        brought = noted.read_text(encoding="utf-8").splitlines() if noted.exists() else []
        for path in (*ours, *brought):
            self.drop(path)
        others = {*glob(f"{NGINX}/conf.d/*.conf"), *glob(f"{NGINX}/sites-enabled/*")} - {*ours}
        if others - {f"{NGINX}/sites-enabled/default"}:
            self.must("reload nginx", "systemctl", "reload", "nginx.service")
        else:
            self.unit("nginx.service")
        if os.path.isdir(f"{self.asked['state_dir']}/acme"):
            self.unit("certbot.timer")
        self.entrance()

    def queue(self) -> None:
        """The bench has no queue of its own: of a copy it goes, of a former primary it is kept.

        The latter may have jobs that the other Redis never got.
        """
        folder = f"{self.asked['bench']}/config/pids"
        with as_owner(f"{folder}/-"):
            files = [*glob(f"{folder}/*.rdb"), *glob(f"{folder}/appendonlydir")]
        copy = f"{folder}/copy-of"
        if not files or os.path.lexists(copy):
            for path in (*files, copy):
                self.drop(path)
            return
        place = f"{folder}/former-{time.strftime('%Y%m%d-%H%M%S')}"
        self.did += [f"move {path} to {folder}/former-..." for path in sorted(files)]
        with as_owner(f"{folder}/-"):
            if not self.dry:
                os.mkdir(place, 0o700)
            for path in [] if self.dry else files:
                shutil.move(path, place)

    def entrance(self) -> None:
        """Take back the web server's way to the sites; see the module path_access."""
        sites = Path(self.asked["bench"], "sites").resolve()
        for folder in (sites, *sites.parents):
            _, text = self.run("getfacl", "--omit-header", "--absolute-names", str(folder))
            if f"user:{WEB_USER}:" not in text:
                continue
            words = ["setfacl", "-x", f"u:{WEB_USER}", str(folder)]
            if os.stat(folder).st_uid == 0 or self.dry:
                self.must(f"close {folder} to {WEB_USER}", *words)
            else:
                # The name may have become a link.
                run_as(self.asked["user"], words, "/", {"PATH": os.defpath}, timeout=60)
                self.did.append(f"close {folder} to {WEB_USER}")

    def modules(self) -> None:
        """Remove modules that no program on this host imports any more."""
        lib, gone = Path(self.asked["lib_dir"]), {*self.wrong()}
        package = lib / "python/fleet"
        if not package.is_dir():
            return
        programs = [p for p in lib.iterdir() if p.is_file() and str(p) not in gone]
        programs += [p for p in package.parent.rglob("*.py") if package not in p.parents]
        unused = surplus(package, programs)
        self.did += [f"remove {path}" for path in unused]
        for path in [] if self.dry else unused:
            path.unlink()
            for compiled in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
                compiled.unlink()
        for folder in sorted(package.rglob("*"), reverse=True):
            # Programs that run write into __pycache__ at any time.
            if folder.name == "__pycache__" or self.dry or not folder.is_dir():
                continue
            if not any(folder.rglob("*.py")):
                remove(str(folder))
