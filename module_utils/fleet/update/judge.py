"""Whether an update may begin or go on, and what it would do."""

from __future__ import annotations

import os
import re
from typing import Any

from ..bench import code as its_code
from ..bench import needs
from ..bench.account import BenchError
from ..bench.cli import cli_releases
from ..bench.files import without_password
from ..bench.look import git_said, installed_apps
from ..kept import existing, lack_of_room, tree_bytes
from .backups import Backups
from .words import standing, step_in_words

REMOTES = ("upstream", "origin")
REFERENCE = re.compile(r"[\w][\w./+@-]*")


def out_of_step(
    nodes: dict[str, dict[str, Any]], allowed: dict[str, set[str]]
) -> dict[str, list[str]]:
    """Reporting benches whose apps are not as an update may find them, and why, in words.

    allowed: the commits at which each app may be.
    """
    wrong: dict[str, list[str]] = {}
    for node, apps in nodes.items():
        words = [f"{app} is missing" for app in allowed if app not in apps]
        for app, state in apps.items():
            if app in allowed and state["commit"] not in allowed[app]:
                words.append(f"{app} is at {state['commit'][:10]}")
            if state["changes"]:
                words.append(f"{app} has changes that are in no commit")
        if words:
            wrong[node] = words
    return wrong


class Judge(Backups):
    """Judges an update."""

    def judge(self) -> dict[str, Any]:
        """What is to be done; BenchError that names all that stands in the way."""
        if self.params["back"]:
            return self.judge_back()
        if self.state.get("back"):
            raise BenchError(
                f"the update of {self.state['stamp']} stands on its way back to the old commits;"
                " end that first: the same command with -e update_back=true"
            )
        apps = installed_apps(self.path)
        self.problems = self.unknown_apps(apps)
        to = {app: self.target(app, apps[app]) for app in apps}
        known = self.state.get("from", {})
        old = {app: known.get(app, apps[app]["commit"]) for app in apps if to[app]}
        going = bool(self.state) or any(commit != to[app] for app, commit in old.items())
        if going or self.problems:
            self.judge_all(apps, old, to)
        if self.problems:
            lines = [f"{number}. {words}" for number, words in enumerate(self.problems, 1)]
            first = "The update was not begun, nothing was touched:"
            if self.state:
                first = f"The update stands {standing(self.state)} and was not continued:"
            raise BenchError("\n".join([first, *lines]))
        self.words += self.plan_in_words(apps, old, to, going)
        code = going and not self.state.get("finished")
        return {"going": going, "code": code, "to": to, "from": old}

    def unknown_apps(self, apps: dict[str, Any]) -> list[str]:
        """Problems for apps that are named, or part of the update, and not on the bench."""
        found = [
            f"update_commits names {app}; the bench has {', '.join(sorted(apps))}"
            for app in self.params["commits"]
            if app not in apps
        ]
        if self.state.get("finished"):
            return found
        return found + [
            f"{app} is part of the update that stands, and no repository in"
            f" {self.folder(app)} any more: put it back there"
            for app in self.state.get("to", {})
            if app not in apps
        ]

    def judge_all(self, apps: dict[str, Any], old: dict[str, str], to: dict[str, str]) -> None:
        """Add the problems of all that the update will meet."""
        self.judge_trees(apps, to)
        self.judge_nodes(apps, old, to)
        self.judge_runtime(to)
        if not self.state.get("finished"):
            self.judge_assets(apps)
            databases = self.judge_sites()
            dumps = not self.state.get("backups") or self.state.get("opened")
            self.judge_disk(databases if dumps else {})

    def plan_in_words(
        self, apps: dict[str, Any], old: dict[str, str], to: dict[str, str], going: bool
    ) -> list[str]:
        """What would be done, in lines."""
        if not going:
            here = (f"{app} {state['commit'][:10]}" for app, state in apps.items())
            return [f"nothing to do: {', '.join(here)}"]
        lines = []
        if self.state:
            lines.append(
                f"the update of {self.state['stamp']} stands {standing(self.state)}; it goes on"
            )
        for app, commit in old.items():
            if commit != to[app]:
                lines += step_in_words(self.folder(app), app, commit, to[app])
        return lines if self.state.get("finished") else [*lines, self.outage_in_words(old, to)]

    def judge_back(self) -> dict[str, Any]:
        """Whether the way back is open."""
        if self.state.get("finished") or self.state.get("opened"):
            others = (
                "; another update can bring other commits then"
                if self.state.get("finished")
                else ", or name other commits with update_commits"
            )
            raise BenchError(
                f"the update of {self.state['stamp']} stands {standing(self.state)}, and users have"
                " been let in: restoring the backup would lose what they did since. Run the same"
                f" command without update_back to end it{others}"
            )
        if not self.state:
            self.words.append("no update stands unfinished: there is nothing to take back")
        else:
            self.words.append(
                f"the update of {self.state['stamp']} stands {standing(self.state)}; it is taken"
                " back"
            )
        return {"going": bool(self.state), "code": bool(self.state), "to": {}, "from": {}}

    def target(self, app: str, here: dict[str, Any]) -> str:
        """The commit that an app shall come to; "" after a problem."""
        word = self.params["commits"].get(app)
        known = self.state.get("to", {}).get(app)
        if known and word in (None, self.state["asked"].get(app)):
            return str(known)
        if self.state and not known:
            # It came meanwhile, and is no part of this update.
            return str(here["commit"])
        if self.state.get("finished"):
            self.problems.append(
                f"{app}: the update to {str(known)[:10]} is not finished on the reporting nodes;"
                " run the command without update_commits first"
            )
            return ""
        wanted: dict[str, Any] = next((a for a in self.params["apps"] if a["name"] == app), {})
        pin = wanted.get("commit")
        if word is None and here["commit"].startswith(str(pin or "")) and not self.remote(app):
            # An app that was made on this bench: nobody has newer commits of it.
            self.words.append(
                f"{app} has no remote {' or '.join(REMOTES)} and stays at {here['commit'][:10]}"
            )
            return str(here["commit"])
        branch = here["branch"] or wanted.get("branch")
        ref = word or pin or branch
        if not ref:
            self.problems.append(
                f"{app} is on no branch and the inventory names none: name its branch there, or a"
                f' commit with -e \'{{"update_commits": {{"{app}": "COMMIT"}}}}\''
            )
            return ""
        if not REFERENCE.fullmatch(str(ref)):
            self.problems.append(f"{app}: {ref!r} cannot be the name of a commit, tag or branch")
            return ""
        commit = self.fetched(app, str(ref), branch)
        if commit and pin and word and not commit.startswith(str(pin)):
            self.problems.append(
                f"{app}: update_commits wants {commit[:10]}, and the inventory pins {pin}: change"
                " the commit there, or take it out"
            )
        held = ["merge-base", "--is-ancestor", here["commit"], commit]
        if commit and not word and not pin and self.app_git(app, *held).returncode == 1:
            self.problems.append(
                f"{app} is at {here['commit'][:10]}, which {ref} of its remote does not hold"
                f" (a commit of your own, or a branch that was rewritten); to leave it for"
                f" {commit[:10]} all the same, name that with update_commits"
            )
        return commit

    def fetched(self, app: str, ref: str, branch: str | None) -> str:
        """The commit of a reference, brought here from the app's remote; "" after a problem."""
        remote = self.remote(app)
        if not remote:
            self.problems.append(
                f"{app} shall come to {ref}, and has no remote {' or '.join(REMOTES)} in"
                f" {self.folder(app)} that could give it: add one with `git remote add"
                f" {REMOTES[0]} URL`, or let {app} stay where it is"
            )
            return ""
        fetch = ["fetch", "--quiet", "--no-tags", "--refmap=", remote]
        done = self.app_git(app, *fetch, ref)
        name = "FETCH_HEAD"
        if done.returncode != 0 and re.fullmatch(r"[0-9a-f]{4,40}", ref):
            # A short commit, or one that the remote gives to nobody who asks for it by name.
            if branch:
                self.app_git(app, *fetch, branch)
            name = ref
        elif done.returncode != 0:
            last = (done.stdout.strip().splitlines() or ["no word from git"])[-1]
            self.problems.append(
                f"{app}: {ref} is no commit, tag or branch that {remote}"
                f" ({self.url(app, remote)}) has: {without_password(last)}"
            )
            return ""
        found = self.app_git(app, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        if found.returncode != 0:
            self.problems.append(
                f"{app}: there is no commit {ref} at {remote} ({self.url(app, remote)})"
            )
            return ""
        return found.stdout.strip()

    def remote(self, app: str) -> str:
        """The remote that an app's commits come from, "" when it has none."""
        remotes = self.app_git(app, "remote").stdout.split()
        return next((name for name in REMOTES if name in remotes), "")

    def url(self, app: str, remote: str) -> str:
        """Address of a remote, without a password that may be in it."""
        url = self.app_git(app, "remote", "get-url", remote).stdout.strip()
        return without_password(url)

    def judge_trees(self, apps: dict[str, Any], targets: dict[str, str]) -> None:
        """Problems for files that the checkout would overwrite."""
        for app, state in apps.items():
            # What a checkout of ours that was cut off has left is nobody's work.
            if targets[app] in ("", state["commit"]) or app in self.state.get("moving", []):
                continue
            folder = self.folder(app)
            mine = ["diff", "--name-only", "HEAD", "--", ".", ":!yarn.lock"]
            lost = git_said(folder, *mine).split("\n")
            # Without renames: a file that moves is a new one where it comes to lie.
            come = ["diff", "--name-only", "--no-renames", "--diff-filter=A", "HEAD"]
            added = git_said(folder, *come, targets[app])
            strange = git_said(folder, "ls-files", "--others")
            lost += sorted({*added.split("\n")} & {*strange.split("\n")})
            names = [name for name in lost if name]
            if names:
                shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" * (len(names) > 10))
                self.problems.append(
                    f"{folder} has changes that are in no commit and would be lost: {shown}."
                    " Commit them, `git stash` them, or remove them"
                )

    def judge_nodes(self, apps: dict[str, Any], old: dict[str, str], to: dict[str, str]) -> None:
        """Problems for reporting benches that are not in step."""
        allowed = {app: {state["commit"]} for app, state in apps.items()}
        if self.state:
            for app, commit in old.items():
                allowed[app] |= {commit, to[app], *self.state.get("tried", {}).get(app, [])}
        for node, words in out_of_step(self.params["nodes"], allowed).items():
            self.problems.append(
                f"{node} is not in step with the primary: {', '.join(words)}. Run site.yml, or take"
                " the node out of the inventory"
            )

    def judge_runtime(self, targets: dict[str, str]) -> None:
        """Problems for a Python or a Node that the wanted commits do not take."""
        asked = {
            app: its_code.of_folder(self.folder(app), commit)
            for app, commit in targets.items()
            if commit
        }
        for host, version in self.params["pythons"].items():
            if version and (out := needs.misfits(asked, "python", version)):
                self.problems.append(
                    f"the bench of {host} runs on Python {version}, and {needs.asked_words(out)} at"
                    " the wanted commits. An update does not change a bench's Python: choose"
                    " commits that accept this one (update_commits), or build a new fleet on other"
                    " hosts for these commits and restore the sites there"
                )
        node = cli_releases(self.params["cli_dir"]).get("node", "")
        if node and (out := needs.misfits(asked, "node", node)):
            self.problems.append(
                f"the fleet's Node is {node}, and {needs.asked_words(out)} at the wanted commits:"
                " set bench_node_version to one that fits and run site.yml, then this again"
            )

    def judge_assets(self, apps: dict[str, Any]) -> None:
        """Problems for folders of assets in which the bench's account can put nothing back."""
        if not self.params["build"]:
            return
        for app in apps:
            for folder, _, _ in os.walk(self.built(app)):
                if os.lstat(folder).st_uid != self.owner()[0]:
                    self.problems.append(
                        f"{folder} belongs to another account, and {self.user} must build and put"
                        f" back the assets in it: chown -R {self.user}: {self.built(app)}"
                    )
                    break

    def judge_sites(self) -> dict[str, str]:
        """Problems for sites that cannot be backed up; returns the databases of the others."""
        databases = {}
        listing = "SELECT LOWER(SCHEMA_NAME) FROM information_schema.SCHEMATA"
        there = self.mariadb(listing).splitlines() if self.sites else []
        for site in self.sites:
            try:
                database = self.database(site)
                if database.lower() in there:
                    databases[site] = database
                else:
                    self.problems.append(
                        f"the database {database} of {site} ({self.folders.config(site)}) is not"
                        " on this server, and cannot be backed up: restore it, or move the folder"
                        f" out of {self.folders.sites}"
                    )
            except BenchError as error:
                self.problems.append(str(error))
        return databases

    def judge_disk(self, databases: dict[str, str]) -> None:
        """A problem when backups, or what is made beside the bench, may not find room.

        databases: {site: database} of those that are to be backed up.
        """
        dumps = sum(
            self.dump_bytes(site, self.data_bytes(name)) for site, name in databases.items()
        )
        place = existing(self.params["backup_dir"])
        beside = 0
        if not self.state.get("made"):
            beside = sum(tree_bytes(f"{self.path}/{name}", ".git") for name in ("env", "apps"))
        backups, code = "the backups of the databases", "the new code beside the bench"
        former = ", or name another update_backup_dir"
        if any(self.dumps()):
            former += f"; `./fleet status` shows the backups of former updates in {place}"
        if os.stat(place).st_dev == os.stat(self.path).st_dev:
            backups, dumps, beside = f"{backups} and {code}", dumps + beside, 0
        for folder, need, what, remedy in (
            (place, dumps, backups, f"make room there{former}"),
            (self.path, beside, code, "make room there"),
        ):
            if lack := lack_of_room(folder, need, what):
                self.problems.append(f"{lack}: {remedy}")

    def outage_in_words(self, old: dict[str, str], to: dict[str, str]) -> str:
        """Whether users will be out, and why."""
        reasons = self.reasons(old, to)
        if reasons:
            more = f" and {len(reasons) - 3} more" * (len(reasons) > 3)
            return f"users are out for a migration, which is for {', '.join(reasons[:3])}{more}"
        if self.state.get("migrates"):
            return "users are out for the migration that was begun"
        return "users stay in: no patch, DocType or hook has changed, so nothing is migrated"
