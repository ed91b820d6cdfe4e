"""A bench with its apps at the wanted commits, made by the bench CLI; see the module bench_init."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from typing import Any

from .. import atomic
from ..foreign import as_owner
from .account import Bench, BenchError, NotOursError, read_foreign, read_text
from .apps import ADDRESS
from .cli import remove_app, requirement_steps
from .files import without_password
from .look import REMOTES, drop_git_locks, installed_apps, installed_packages, upstream

MARK = ".benchfleet-complete"
# A line in it is run by the environment's Python at each start.
STARTUP_FILE = "benchfleet.pth"


class BenchMaker(Bench):
    """The steps that bring one bench to its wanted state."""

    def __init__(self, params: dict[str, Any], dry: bool = False) -> None:
        super().__init__(params["path"], params["user"], params["cli_dir"], params["ssh_command"])
        self.python: str = params["python"]
        self.apps: list[dict[str, Any]] = [
            {**app, "repo": app["repo"].replace("//", app["login"] or "//", 1)}
            for app in params["apps"]
        ]
        self.moves: bool = params["moves"]
        self.keep: dict[str, Any] = params["keep"]
        self.packages: dict[str, str] = params["packages"]
        self.startup: str = params["startup"].strip() + "\n"
        self.state_dir: str = params["state_dir"]
        self.taken_for_complete: bool = dry and params["adopted"]

    def complete(self) -> bool:
        """Whether ``bench init`` has ended here once."""
        return self.taken_for_complete or os.path.exists(f"{self.path}/{MARK}")

    def note(self, what: str) -> str:
        """Path of the note that exists while something is being made."""
        return f"{self.state_dir}/making-{what}"

    def begin(self, what: str, path: str) -> None:
        """Note that we are about to make ``path``."""
        atomic.write(self.note(what), path)

    def begun(self, what: str, path: str) -> bool:
        """Whether the note says that what is at ``path`` is unfinished, and ours."""
        return read_text(self.note(what)) == path

    def forget(self, what: str) -> None:
        """Remove the note: what it names is finished."""
        if os.path.exists(self.note(what)):
            os.unlink(self.note(what))

    def clear_the_way(self) -> None:
        """Remove an unfinished bench of ours; anything else in its place is left alone."""
        with as_owner(self.path, follow=False):
            if os.path.isdir(self.path) and not os.listdir(self.path):
                os.rmdir(self.path)
        if not os.path.lexists(self.path):
            return
        if not self.begun("bench", self.path):
            raise NotOursError(
                f"{self.path} exists, and this fleet did not make it; nothing was removed. Move it"
                " away, or set another fleet_bench_dir, and run again"
            )
        self.remove(self.path)

    def remove(self, path: str) -> None:
        """Remove what was begun, as the bench's account: a folder above it may be a link now."""
        self.run(["rm", "-rf", "--", path], f"removing {path}", cwd="/")

    def initialise(self) -> None:
        """``bench init`` with the first app, then pkg_resources if it is missing."""
        frappe = self.apps[0]
        # fleet_bench_dir may be in a folder that does not exist yet.
        self.run(["mkdir", "-p", os.path.dirname(self.path)], "making its folder", cwd="/")
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

        git refuses those until its user names them, and does not pass such a setting to the process
        that serves a clone; so it must be in the account's own configuration.
        """
        if not os.path.isdir(repo):
            return
        config, cwd = ["git", "config", "--global"], os.path.dirname(self.path)
        for folder in (repo, f"{repo}/.git"):
            known = [*config, "--fixed-value", "--get", "safe.directory", folder]
            if self.tried(known, cwd).returncode != 0:
                add = [*config, "--add", "safe.directory", folder]
                self.run(add, "trusting the repository", cwd=cwd)

    def ensure_pkg_resources(self) -> None:
        """Install pkg_resources if it is missing: Frappe imports it; newer setuptools lack it."""
        python = f"{self.path}/env/bin/python"
        if self.tried([python, "-c", "import pkg_resources"]).returncode != 0:
            self.run(
                ["uv", "pip", "install", "--quiet", "--python", python, "setuptools<81"],
                "installing setuptools",
            )

    def folder(self, app: dict[str, Any]) -> str:
        """Folder of an app."""
        return f"{self.path}/apps/{app['name']}"

    def getting(self, app: dict[str, Any]) -> bool:
        """Whether an interrupted run left a part of this app."""
        return self.begun(f"app-{app['name']}", self.folder(app))

    def moving(self, app: dict[str, Any]) -> bool:
        """Whether an interrupted run left this app without its requirements."""
        return self.begun(f"requirements-{app['name']}", self.folder(app))

    def get_app(self, app: dict[str, Any]) -> None:
        """``bench get-app`` of one app, after removing what an interrupted run left of it."""
        self.trust(app["repo"])
        if os.path.lexists(self.folder(app)):
            if not self.getting(app):
                raise NotOursError(
                    f"{self.folder(app)} exists and is not a git repository; nothing was removed."
                    " Make it one, or move it away, and run again"
                )
            self.remove(self.folder(app))
        self.begin(f"app-{app['name']}", self.folder(app))
        argv = ["bench", "get-app", "--skip-assets"]
        if app["branch"]:
            argv += ["--branch", app["branch"]]
        self.run([*argv, app["repo"]], f"bench get-app {app['name']}")
        state = installed_apps(self.path).get(app["name"])
        if state and self.elsewhere(app, state["commit"]):
            # Until its commit is checked out, what the branch brought may be replaced.
            self.begin(f"requirements-{app['name']}", self.folder(app))
        # git leaves writing to the kernel: after a power cut, files may be empty.
        os.sync()
        self.forget(f"app-{app['name']}")

    def check_out(self, app: dict[str, Any]) -> None:
        """Check out an app's commit, then install its requirements."""
        folder = self.folder(app)
        if self.moving(app):
            drop_git_locks(folder)
        self.begin(f"requirements-{app['name']}", folder)
        commit = app["commit"]
        there = ["git", "cat-file", "-e", f"{commit}^{{commit}}"]
        if self.tried(there, folder).returncode != 0:
            fetch = ["git", "fetch", "--quiet", "--depth", "1", app["repo"]]
            if self.tried([*fetch, commit], folder).returncode != 0:
                self.run([*fetch, "HEAD"], f"fetching {app['name']}", cwd=folder)
        self.run(
            ["git", "reset", "--quiet", "--hard", commit],
            f"checking out {app['name']} at {commit}",
            cwd=folder,
        )
        for argv, what, cwd in requirement_steps(self.path, app["name"]):
            self.run(argv, what, cwd=cwd)
        # git leaves writing to the kernel: after a power cut, files may be empty.
        os.sync()
        self.forget(f"requirements-{app['name']}")

    def startup_files(self) -> list[str]:
        """Files of the environment with the line that its Python runs at each start."""
        folders = glob.glob(f"{self.path}/env/lib/python3*/site-packages")
        return [f"{folder}/{STARTUP_FILE}" for folder in sorted(folders)]

    def starts(self) -> bool:
        """Whether the environment has that line; a new environment lacks it."""
        found = [read_foreign(path) for path in self.startup_files()]
        return all(text == self.startup for text in found)

    def elsewhere(self, app: dict[str, Any], commit: str) -> bool:
        """Whether an app that is here is not at its wanted commit."""
        return bool(app["commit"]) and not commit.startswith(app["commit"])

    def remote(self, app: dict[str, Any]) -> tuple[str, str] | None:
        """Name and address of the remote that an app is to have; None where its own is right.

        On a bench that follows another one it is the other's, for the day on which this one is the
        primary's. On the primary's it is the operator's; only one that a following bench has is
        replaced.
        """
        name, here = upstream(self.folder(app))
        if self.moves:
            wanted = app.get("upstream") or here
        else:
            other_bench = here.startswith(f"ssh://{self.user}@") and here.endswith(self.folder(app))
            # Written on a bench that followed: without the account. An adopted bench has its own.
            bare = here == without_password(app["repo"])
            bare = bare and not os.path.exists(f"{self.state_dir}/adopted.json")
            wanted = app["repo"] if ADDRESS.match(app["repo"]) and (other_bench or bare) else here
        return (name or REMOTES[0], wanted) if wanted != here else None

    def set_remote(self, app: dict[str, Any]) -> None:
        """Give an app the remote that it is to have."""
        if found := self.remote(app):
            folder, (name, url) = self.folder(app), found
            known = self.tried(["git", "remote"], folder).stdout.split()
            verb = ["set-url"] if name in known else ["add"]
            what = f"setting the repository of {app['name']}"
            self.run(["git", "remote", *verb, name, url], what, cwd=folder)

    def differences(self) -> list[str]:
        """What is missing or at another commit than wanted, in lines; [] means nothing to do.

        Raises BenchError for an app in use that is at another commit.
        """
        if not self.complete():
            return [f"bench {self.path}"]
        here = installed_apps(self.path)
        wrong = [] if self.starts() else [f"{STARTUP_FILE} of the environment"]
        for app in self.apps:
            name, state = app["name"], here.get(app["name"])
            if state is None or self.getting(app):
                wrong.append(f"app {name}")
            elif self.elsewhere(app, state["commit"]):
                step = f"{state['commit'][:12]} -> {app['commit'][:12]}"
                if not self.moves and not self.moving(app):
                    raise BenchError(
                        f"{name} is at {state['commit'][:12]} and the inventory wants"
                        f" {app['commit'][:12]}: site.yml does not change the commit of an app in"
                        " use, as its sites may need a migration. Run `./fleet update`, which"
                        " migrates them, then this again"
                    )
                wrong.append(f"app {name}: {step}")
            elif self.moving(app):
                wrong.append(f"requirements of {name}")
            if state and self.remote(app):
                wrong.append(f"repository of {name}")
        wrong += [f"app {name}: gone" for name in self.leaving(here)]
        return [*wrong, *self.other_packages().values()]

    def other_packages(self) -> dict[str, str]:
        """Packages that are missing or at another version: {requirement: what differs}."""
        here = installed_packages(self.path)
        return {
            f"{name}=={version}": f"package {name}: {here.get(name, 'none')} -> {version}"
            for name, version in self.packages.items()
            if here.get(name) != version
        }

    def match_packages(self) -> None:
        """Install such packages: all at once, or each alone if one of them cannot be installed."""
        wanted = list(self.other_packages())
        install = ["uv", "pip", "install", "--quiet", "--no-deps"]
        install += ["--python", f"{self.path}/env/bin/python"]
        for names in [wanted, *([name] for name in wanted)] if wanted else []:
            if self.tried([*install, *names]).returncode == 0 and names is wanted:
                break

    def leaving(self, here: Iterable[str]) -> list[str]:
        """Apps of the bench that are not wanted, where it follows another bench."""
        wanted = [app["name"] for app in self.apps]
        return [name for name in here if name not in wanted] if self.moves else []

    def make(self) -> None:
        """Do what ``differences`` names."""
        fresh = not self.complete()
        if not fresh:
            self.forget("bench")
        else:
            self.clear_the_way()
            self.begin("bench", self.path)
            self.initialise()
        for app in self.apps:
            here = installed_apps(self.path)
            if app["name"] not in here or self.getting(app):
                self.get_app(app)
                here = installed_apps(self.path)
                if app["name"] not in here:
                    raise BenchError(
                        f"`bench get-app {without_password(app['repo'])}` brought no app named"
                        f" {app['name']}; the bench has {', '.join(sorted(here))}. Correct the"
                        " name in bench_apps"
                    )
            if self.elsewhere(app, here[app["name"]]["commit"]) or self.moving(app):
                self.check_out(app)
            self.set_remote(app)
        for name in self.leaving(installed_apps(self.path)):
            # No site has it: it was removed from the sites before it left the other bench.
            remove_app(self, name, "--force", keep=self.keep)
        self.match_packages()
        if not self.starts():
            # Written by the account that owns the environment.
            for path in self.startup_files():
                self.write(path, self.startup)
        if fresh:
            self.run(["touch", f"{self.path}/{MARK}"], "marking the bench complete")
            self.forget("bench")
