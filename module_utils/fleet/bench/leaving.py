"""Removes an app from the sites and the bench while users work; see the module bench_app_gone."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import Any

from ..calls import held
from .account import Bench, BenchError, exclusive, read_foreign
from .apps import required
from .cli import remove_app
from .look import installed_apps


class Leaving(Bench):
    """Removes one app."""

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params["path"], params["user"], params["cli_dir"])
        self.app: str = params["app"]
        self.hold: dict[str, Any] | None = params["hold"]
        self.state_dir: str = params["state_dir"]
        self.keep: dict[str, Any] = params["keep"]

    def on_site(self, site: str, *arguments: str, then: str | None = None) -> str:
        """Run a framework command for a site, and another one right after it; see run_frappe."""
        first, second = ["--site", site, *arguments], ["--site", site, then] if then else None
        what = f"{' '.join(arguments)} of {site}"
        # Frappe's own backup takes hours where the database is large.
        return self.frappe(first, what, then=second, timeout=24 * 3600)

    def note(self, site: str) -> str:
        """Path of the note that exists until a site has nothing of the app any more."""
        return f"{self.state_dir}/uninstalling-{self.app}-on-{site}"

    def sites_with(self, sites: list[str]) -> list[str]:
        """Sites that have the app, or parts of it.

        Raises BenchError where another app of a site needs it.
        """
        found = []
        for site in sites:
            apps = self.installed_on(site)
            for other in apps:
                hooks = read_foreign(f"{self.path}/apps/{other}/{other}/hooks.py") or ""
                if self.app in required(hooks):
                    raise BenchError(
                        f"{other} on {site} needs {self.app}; nothing was changed. Remove {other}"
                        " first, or keep both"
                    )
            if self.app in apps or os.path.exists(self.note(site)):
                found.append(site)
        return found

    def uninstall(self, site: str) -> None:
        """Remove the app from a site: from its list first, then its DocTypes and their data."""
        with open(self.note(site), "w", encoding="utf-8"):
            pass
        with held(**self.hold) if self.hold else nullcontext():
            # Frappe clears the cache before it commits, and a call may have read in between.
            self.on_site(site, "remove-from-installed-apps", self.app, then="clear-cache")
        # Frappe makes its own backup first.
        self.on_site(site, "uninstall-app", self.app, "--yes", "--force", then="clear-cache")
        if self.app in self.installed_on(site):
            command = f"bench --site {site} uninstall-app {self.app} --force"
            raise BenchError(
                f"{self.app} is still installed on {site}, although `bench uninstall-app` reported"
                f" success; run `{command}` to see why"
            )
        os.unlink(self.note(site))

    def leave(self, served: list[str], dry: bool) -> list[str]:
        """Remove the app from the served sites, then from the bench; returns the steps, in lines.

        dry: do nothing. Raises BenchError.
        """
        sites, here = self.sites_with(served), self.app in installed_apps(self.path)
        steps = [f"{self.app} leaves {site} with its data" for site in sites]
        steps += [f"{self.app} leaves the bench"] * here
        if steps and not dry:
            with exclusive(f"{self.state_dir}/bench.lock", 1800):
                for site in sites:
                    self.uninstall(site)
                if here:
                    remove_app(self, self.app, keep=self.keep)
        return steps
