#!/usr/bin/python
"""Make a bench with the bench CLI and keep its apps at the wanted commits."""

from __future__ import annotations

import os
import shutil
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.bench import (
    BenchError,
    checked,
    exclusive,
    installed_apps,
    run_as,
    user_environment,
)

DOCUMENTATION = r"""
module: bench_init
short_description: A bench with its apps, at given commits
description:
  - Runs C(bench init) and C(bench get-app) as the bench's account. An interrupted run is
    recognised by a missing mark in the bench and done again; a bench that holds sites is never
    removed.
  - An app whose C(commit) is given is brought to it, with its requirements; an app without one
    is left at the commit that it has.
options:
  path: {description: Directory of the bench., type: path, required: true}
  user: {description: The bench's account., type: str, required: true}
  cli_dir: {description: Virtual environment of the bench CLI., type: path, required: true}
  python: {description: Python for the bench's environment., type: path, required: true}
  apps:
    description: frappe first, then the others. Keys name, repo, branch, commit.
    type: list
    elements: dict
    required: true
  ssh_command: {description: GIT_SSH_COMMAND for the repositories., type: str}
  lock: {description: Lock file against two runs at once., type: path, required: true}
"""

APP_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "repo": {"type": "str", "required": True},
    "branch": {"type": "str"},
    "commit": {"type": "str"},
}

MARK = ".benchfleet-complete"


class Maker:
    """The steps by which one bench comes to its wanted state."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.path: str = params["path"]
        self.user: str = params["user"]
        self.cli_dir: str = params["cli_dir"]
        self.python: str = params["python"]
        self.apps: list[dict[str, Any]] = params["apps"]
        self.environment = user_environment(self.user, self.cli_dir, params["ssh_command"])

    def run(self, argv: list[str], what: str, cwd: str | None = None) -> str:
        """Run as the bench's account, in the bench unless told otherwise."""
        return checked(run_as(self.user, argv, cwd or self.path, self.environment), what)

    def complete(self) -> bool:
        """Whether ``bench init`` once came to its end here."""
        return os.path.exists(f"{self.path}/{MARK}")

    def remove_remains(self) -> None:
        """Take an interrupted ``bench init`` away, unless it holds anything of a user's."""
        if not os.path.exists(self.path):
            return
        sites = f"{self.path}/sites"
        held = [
            name
            for name in (os.listdir(sites) if os.path.isdir(sites) else [])
            if os.path.exists(f"{sites}/{name}/site_config.json")
        ]
        if held:
            raise BenchError(
                f"{self.path} is not a bench that this fleet finished, and it holds the site"
                f" {held[0]}; move the directory away and run again"
            )
        shutil.rmtree(self.path)

    def initialise(self) -> None:
        """``bench init`` with the first app, then what Debian's Python needs besides."""
        frappe = self.apps[0]
        self.trust(frappe["repo"])
        argv = ["bench", "init", "--frappe-path", frappe["repo"], "--python", self.python]
        if frappe["branch"]:
            argv += ["--frappe-branch", frappe["branch"]]
        argv += ["--no-procfile", "--no-backups", "--skip-redis-config-generation"]
        argv += ["--skip-assets", self.path]
        self.run(argv, "bench init", cwd=os.path.dirname(self.path))
        self.ensure_pkg_resources()

    def trust(self, repo: str) -> None:
        """Let git read a repository on this host that another account owns.

        git refuses those until its user names them, and hands no such setting to the process
        that it starts on the other side of a clone; so it must stand in the account's own file.
        """
        if not os.path.isdir(repo):
            return
        for folder in (repo, f"{repo}/.git"):
            known = run_as(
                self.user,
                ["git", "config", "--global", "--fixed-value", "--get", "safe.directory", folder],
                os.path.dirname(self.path),
                self.environment,
            )
            if known.returncode != 0:
                self.run(
                    ["git", "config", "--global", "--add", "safe.directory", folder],
                    "trusting the repository",
                    cwd=os.path.dirname(self.path),
                )

    def ensure_pkg_resources(self) -> None:
        """Frappe imports pkg_resources, which newer setuptools no longer brings."""
        python = f"{self.path}/env/bin/python"
        probe = run_as(
            self.user, [python, "-c", "import pkg_resources"], self.path, self.environment
        )
        if probe.returncode != 0:
            self.run(
                ["uv", "pip", "install", "--quiet", "--python", python, "setuptools<81"],
                "installing setuptools",
            )

    def half_made(self, app: dict[str, Any]) -> str:
        """Path of the mark that stands while an app is being got."""
        return f"{self.path}/.benchfleet-getting-{app['name']}"

    def get_app(self, app: dict[str, Any]) -> None:
        """``bench get-app`` of one app; what an interrupted run left of it is removed first."""
        self.trust(app["repo"])
        shutil.rmtree(f"{self.path}/apps/{app['name']}", ignore_errors=True)
        self.run(["touch", self.half_made(app)], "marking the app as begun")
        argv = ["bench", "get-app", "--skip-assets"]
        if app["branch"]:
            argv += ["--branch", app["branch"]]
        self.run([*argv, app["repo"]], f"bench get-app {app['name']}")
        os.unlink(self.half_made(app))

    def check_out(self, app: dict[str, Any]) -> None:
        """Bring an app that is here to its commit, then its requirements."""
        folder = f"{self.path}/apps/{app['name']}"
        python = f"{self.path}/env/bin/python"
        commit = app["commit"]
        found = run_as(
            self.user, ["git", "cat-file", "-e", f"{commit}^{{commit}}"], folder, self.environment
        )
        if found.returncode != 0:
            fetch = ["git", "fetch", "--quiet", "--depth", "1", app["repo"]]
            if run_as(self.user, [*fetch, commit], folder, self.environment).returncode != 0:
                self.run([*fetch, "HEAD"], f"fetching {app['name']}", cwd=folder)
        self.run(
            ["git", "reset", "--quiet", "--hard", commit],
            f"checking out {app['name']} at {commit}",
            cwd=folder,
        )
        self.run(
            ["uv", "pip", "install", "--quiet", "-e", folder, "--python", python],
            f"installing the requirements of {app['name']}",
        )
        if os.path.exists(f"{folder}/package.json"):
            self.run(
                ["yarn", "install", "--check-files", "--silent"],
                f"yarn install of {app['name']}",
                cwd=folder,
            )

    def differences(self) -> list[str]:
        """What is missing or elsewhere than wanted, in words; [] means nothing to do."""
        if not self.complete():
            return [f"bench {self.path}"]
        here = installed_apps(self.path)
        wrong = []
        for app in self.apps:
            state = here.get(app["name"])
            if state is None or os.path.exists(self.half_made(app)):
                wrong.append(f"app {app['name']}")
            elif app["commit"] and not state["commit"].startswith(app["commit"]):
                wrong.append(f"app {app['name']}: {state['commit'][:12]} -> {app['commit'][:12]}")
        return wrong

    def make(self) -> None:
        """Do what ``differences`` names."""
        if not self.complete():
            self.remove_remains()
            self.initialise()
        for app in self.apps:
            here = installed_apps(self.path)
            if app["name"] not in here or os.path.exists(self.half_made(app)):
                self.get_app(app)
                here = installed_apps(self.path)
                if app["name"] not in here:
                    raise BenchError(
                        f"the repository {app['repo']} holds the apps"
                        f" {', '.join(sorted(here))} but none named {app['name']}; correct the"
                        " name in bench_apps"
                    )
            if app["commit"] and not here[app["name"]]["commit"].startswith(app["commit"]):
                self.check_out(app)
        if not self.complete():
            self.run(["touch", f"{self.path}/{MARK}"], "marking the bench complete")


def main() -> None:
    """Module entry point."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "user": {"type": "str", "required": True},
            "cli_dir": {"type": "path", "required": True},
            "python": {"type": "path", "required": True},
            "apps": {"type": "list", "elements": "dict", "required": True, "options": APP_SPEC},
            "ssh_command": {"type": "str"},
            "lock": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    try:
        if not os.path.exists(module.params["path"]) and module.check_mode:
            module.exit_json(changed=True, differences=[f"bench {module.params['path']}"])
        maker = Maker(module.params)
        differences = maker.differences()
        if differences and not module.check_mode:
            with exclusive(module.params["lock"], 1800):
                maker.make()
        module.exit_json(
            changed=bool(differences),
            differences=differences,
            diff={"before": "", "after": "".join(f"{line}\n" for line in differences)},
        )
    except BenchError as error:
        module.fail_json(msg=str(error))


if __name__ == "__main__":
    main()
