#!/usr/bin/python
"""Take an app off the sites and the bench of the primary while users work."""

from __future__ import annotations

import os
from contextlib import nullcontext
from typing import Any

from ansible.module_utils.fleet.bench.account import (
    BenchError,
    checked,
    exclusive,
    installed_apps,
    read_foreign,
    remove_app,
    run_frappe,
    user_environment,
)
from ansible.module_utils.fleet.bench.apps import required
from ansible.module_utils.fleet.calls import held
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: bench_app_gone
short_description: An app leaves the sites of a fleet, with its data, and then the primary's bench
description:
  - The app is taken off a site's list first, while calls wait at the router. From then on nothing
    of it runs for users, so they do not notice that its DocTypes and tables go.
  - Its code leaves the bench when no site has it, and no cache names it, any more. The bench CLI
    keeps it in C(archived/apps).
  - A run that was killed is made good by the next one, which finds what is left.
options:
  path: {description: Directory of the bench., type: path, required: true}
  user: {description: The bench's account., type: str, required: true}
  cli_dir: {description: Virtual environment of the bench CLI., type: path, required: true}
  state_dir: {description: Where it is noted what is going on., type: path, required: true}
  app: {description: Name of the app., type: str, required: true}
  sites: {description: The sites that are served., type: list, elements: str, required: true}
  keep:
    description: How much of the app's code of former times is kept, C({number, days}).
    type: dict
    required: true
  hold:
    description: How calls wait at the router, C({path, host, port}) as in fleet/calls.py.
    type: dict
"""

EXAMPLES = r"""
- name: App shop is off the sites, then off the bench
  bench_app_gone:
    path: "{{ fleet_bench_dir }}"
    user: frappe
    cli_dir: "{{ bench_cli_dir }}"
    state_dir: "{{ fleet_state_dir }}"
    app: shop
    sites: [erp.example.com]
    keep: {number: 3, days: 30}
"""

RETURN = r"""
words: {description: What was done, in sentences., returned: success, type: list, elements: str}
"""


class Leaving:
    """One app on its way out."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.path: str = params["path"]
        self.user: str = params["user"]
        self.app: str = params["app"]
        self.hold: dict[str, Any] | None = params["hold"]
        self.state_dir: str = params["state_dir"]
        self.environment = user_environment(self.user, params["cli_dir"])

    def frappe(self, site: str, *words: str, then: str | None = None) -> str:
        """Run a framework command for a site, and another one right after it; see run_frappe."""
        first, second = ["--site", site, *words], ["--site", site, then] if then else None
        # Frappe's own backup takes hours where the database is large.
        done = run_frappe(
            self.path, self.user, self.environment, first, then=second, timeout=24 * 3600
        )
        return checked(done, f"{' '.join(words)} of {site}")

    def apps_of(self, site: str) -> list[str]:
        """Apps that are installed on a site."""
        lines = self.frappe(site, "list-apps").splitlines()
        return [line.split()[0] for line in lines if line.split()]

    def note(self, site: str) -> str:
        """Path of the note that stands until a site has nothing of the app any more."""
        return f"{self.state_dir}/uninstalling-{self.app}-on-{site}"

    def sites_with(self, sites: list[str]) -> list[str]:
        """Sites that have the app, or a rest of it.

        Raises BenchError where another app of a site needs it.
        """
        found = []
        for site in sites:
            apps = self.apps_of(site)
            for other in apps:
                hooks = read_foreign(f"{self.path}/apps/{other}/{other}/hooks.py") or ""
                if self.app in required(hooks):
                    raise BenchError(
                        f"{other} on {site} needs {self.app}; nothing was touched. Take {other} off"
                        " first, or keep both"
                    )
            if self.app in apps or os.path.exists(self.note(site)):
                found.append(site)
        return found

    def uninstall(self, site: str) -> None:
        """Take the app off a site: off its list first, then its DocTypes and all their data."""
        with open(self.note(site), "w", encoding="utf-8"):
            pass
        with held(**self.hold) if self.hold else nullcontext():
            # Frappe clears the cache before it commits, and somebody may have read in between.
            self.frappe(site, "remove-from-installed-apps", self.app, then="clear-cache")
        # Frappe makes its own backup first.
        self.frappe(site, "uninstall-app", self.app, "--yes", "--force", then="clear-cache")
        if self.app in self.apps_of(site):
            command = f"bench --site {site} uninstall-app {self.app} --force"
            raise BenchError(
                f"{self.app} is still installed on {site} after `bench uninstall-app`, which"
                f" reported success; see what `{command}` says"
            )
        os.unlink(self.note(site))


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "user": {"type": "str", "required": True},
            "cli_dir": {"type": "path", "required": True},
            "state_dir": {"type": "path", "required": True},
            "app": {"type": "str", "required": True},
            "sites": {"type": "list", "elements": "str", "required": True},
            "hold": {"type": "dict"},
            "keep": {"type": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        leaving = Leaving(module.params)
        sites = leaving.sites_with(module.params["sites"])
        here = leaving.app in installed_apps(leaving.path)
        words = [f"{leaving.app} leaves {site} with its data" for site in sites]
        words += [f"{leaving.app} leaves the bench"] if here else []
        if words and not module.check_mode:
            with exclusive(f"{leaving.state_dir}/bench.lock", 1800):
                for site in sites:
                    leaving.uninstall(site)
                if here:
                    remove_app(
                        leaving.path,
                        leaving.user,
                        leaving.environment,
                        leaving.app,
                        keep=module.params["keep"],
                    )
        module.exit_json(changed=bool(words), words=words or [f"{leaving.app} is not here"])
    except BenchError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
