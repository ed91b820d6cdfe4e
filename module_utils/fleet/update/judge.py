"""Whether an update may begin or continue, and what it would do."""

from __future__ import annotations

import os
import re
from typing import Any

from ..bench import code as its_code
from ..bench import needs
from ..bench.cli import cli_releases
from ..bench.files import without_password
from ..bench.look import REMOTES, git_said, installed_apps
from ..kept import existing, lack_of_room
from ..preflight.problems import Problem
from . import problems
from .backups import Backups
from .problems import UpdateRefusedError
from .report import commit_lines, stage_text
from .room import code_bytes

REFERENCE = re.compile(r"[\w][\w./+@-]*")


MISSING, ELSEWHERE, CHANGED = "missing", "elsewhere", "changed"


def out_of_step(
    nodes: dict[str, dict[str, Any]], allowed: dict[str, set[str]]
) -> dict[str, list[tuple[str, str, str]]]:
    """Reporting benches whose apps are not as an update may find them.

    allowed: the commits at which each app may be. Returns {node: [(app, how it differs, commit)]}.
    """
    wrong: dict[str, list[tuple[str, str, str]]] = {}
    for node, apps in nodes.items():
        found = [(app, MISSING, "") for app in allowed if app not in apps]
        for app, state in apps.items():
            if app in allowed and state["commit"] not in allowed[app]:
                found.append((app, ELSEWHERE, state["commit"][:10]))
            if state["changes"]:
                found.append((app, CHANGED, state["commit"][:10]))
        if found:
            wrong[node] = found
    return wrong


def difference_text(app: str, kind: str, commit: str) -> str:
    """How an app of a reporting bench differs, as a text."""
    if kind == ELSEWHERE:
        return f"{app} is at {commit}"
    return f"{app} is missing" if kind == MISSING else f"{app} has changes that are in no commit"


class Judge(Backups):
    """Judges an update."""

    def judge(self) -> dict[str, Any]:
        """What is to be done: {going, code, to, from, migration}.

        migration: the changed files for which the sites are migrated, [] where they are not. Raises
        UpdateRefusedError with all problems at once.
        """
        if self.params["back"]:
            return self.judge_back()
        if self.state.get("back"):
            raise UpdateRefusedError([problems.BACK_BEGUN.found(stamp=self.state["stamp"])])
        apps = installed_apps(self.path)
        self.problems: list[Problem] = self.unknown_apps(apps)
        to = {app: self.target(app, apps[app]) for app in apps}
        known = self.state.get("from", {})
        old = {app: known.get(app, apps[app]["commit"]) for app in apps if to[app]}
        going = bool(self.state) or any(commit != to[app] for app, commit in old.items())
        if going or self.problems:
            self.judge_all(apps, old, to)
        if self.problems:
            head = "The update was not begun. Nothing was changed on any host."
            if self.state:
                head = f"The update is unfinished, {stage_text(self.state)}, and was not continued."
            raise UpdateRefusedError(self.problems, head)
        code = going and not self.state.get("finished")
        reasons = self.reasons(old, to) if code else []
        self.report += self.plan_lines(apps, old, to, going, reasons)
        return {"going": going, "code": code, "to": to, "from": old, "migration": reasons}

    def unknown_apps(self, apps: dict[str, Any]) -> list[Problem]:
        """Problems for apps that are named, or are part of the update, and are not on the bench."""
        found = [
            problems.APP_UNKNOWN.found(app=app, apps=sorted(apps))
            for app in self.params["commits"]
            if app not in apps
        ]
        if self.state.get("finished"):
            return found
        return found + [
            problems.APP_GONE.found(app=app, folder=self.folder(app))
            for app in self.state.get("to", {})
            if app not in apps
        ]

    def judge_all(self, apps: dict[str, Any], old: dict[str, str], to: dict[str, str]) -> None:
        """Add the problems of the hosts, the code, the sites and the disk."""
        self.judge_trees(apps, to)
        self.judge_nodes(apps, old, to)
        self.judge_runtime(to)
        if not self.state.get("finished"):
            self.judge_assets(apps)
            databases = self.judge_sites()
            dumps = not self.state.get("backups") or self.state.get("opened")
            self.judge_disk(databases if dumps else {})

    def plan_lines(
        self,
        apps: dict[str, Any],
        old: dict[str, str],
        to: dict[str, str],
        going: bool,
        reasons: list[str],
    ) -> list[str]:
        """What would be done, in lines; reasons: the files for which the sites are migrated."""
        if not going:
            here = (f"{app} {state['commit'][:10]}" for app, state in apps.items())
            return [f"nothing to do: {', '.join(here)}"]
        lines = []
        if self.state:
            lines.append(
                f"the update of {self.state['stamp']} is unfinished, {stage_text(self.state)}; it"
                " continues"
            )
        for app, commit in old.items():
            if commit != to[app]:
                lines += commit_lines(self.folder(app), app, commit, to[app])
        return lines if self.state.get("finished") else [*lines, self.outage_text(reasons)]

    def judge_back(self) -> dict[str, Any]:
        """Whether there is an update to take back. UpdateRefusedError if it is too late."""
        if self.state.get("finished") or self.state.get("opened"):
            ended = self.state.get("finished")
            kind = problems.BACK_AFTER_END if ended else problems.BACK_TOO_LATE
            raise UpdateRefusedError([kind.found(stamp=self.state["stamp"])])
        if not self.state:
            self.report.append("no update is unfinished: there is nothing to take back")
        else:
            self.report.append(
                f"the update of {self.state['stamp']} is unfinished, {stage_text(self.state)}; it"
                " is taken back"
            )
        going = bool(self.state)
        return {"going": going, "code": going, "to": {}, "from": {}, "migration": []}

    def target(self, app: str, here: dict[str, Any]) -> str:
        """The commit that an app is to be updated to; "" after a problem."""
        named = self.params["commits"].get(app)
        known = self.state.get("to", {}).get(app)
        if known and named in (None, self.state["asked"].get(app)):
            return str(known)
        if self.state and not known:
            # It was added after this update began, and is not part of it.
            return str(here["commit"])
        if self.state.get("finished"):
            self.problems.append(problems.NODES_BEHIND.found(app=app, commit=str(known)[:10]))
            return ""
        wanted: dict[str, Any] = next((a for a in self.params["apps"] if a["name"] == app), {})
        pin = wanted.get("commit")
        if named is None and here["commit"].startswith(str(pin or "")) and not self.remote(app):
            # An app that was made on this bench: there are no newer commits elsewhere.
            self.report.append(
                f"{app} has no remote {' or '.join(REMOTES)} and stays at {here['commit'][:10]}"
            )
            return str(here["commit"])
        branch = here["branch"] or wanted.get("branch")
        ref = named or pin or branch
        if not ref:
            self.problems.append(problems.BRANCH_UNKNOWN.found(app=app, folder=self.folder(app)))
            return ""
        if not REFERENCE.fullmatch(str(ref)):
            self.problems.append(problems.REFERENCE_INVALID.found(app=app, reference=str(ref)))
            return ""
        commit = self.fetched(app, str(ref), branch)
        if commit and pin and named and not commit.startswith(str(pin)):
            self.problems.append(
                problems.PIN_DIFFERS.found(app=app, commit=commit[:10], pin=str(pin))
            )
        held = ["merge-base", "--is-ancestor", here["commit"], commit]
        if commit and not named and not pin and self.app_git(app, *held).returncode == 1:
            self.problems.append(
                problems.COMMIT_NOT_IN_BRANCH.found(
                    app=app,
                    here=here["commit"][:10],
                    branch=str(ref),
                    commit=commit[:10],
                    folder=self.folder(app),
                )
            )
        return commit

    def fetched(self, app: str, ref: str, branch: str | None) -> str:
        """The commit of a reference, fetched from the app's remote; "" after a problem."""
        remote = self.remote(app)
        if not remote:
            self.problems.append(
                problems.REMOTE_MISSING.found(
                    app=app,
                    reference=ref,
                    remotes=" or ".join(REMOTES),
                    folder=self.folder(app),
                )
            )
            return ""
        fetch = ["fetch", "--quiet", "--no-tags", "--refmap=", remote]
        done = self.app_git(app, *fetch, ref)
        name = "FETCH_HEAD"
        if done.returncode != 0 and re.fullmatch(r"[0-9a-f]{4,40}", ref):
            # A short commit, or one that the remote does not serve by its name.
            if branch:
                self.app_git(app, *fetch, branch)
            name = ref
        elif done.returncode != 0:
            last = (done.stdout.strip().splitlines() or ["no output"])[-1]
            self.problems.append(
                problems.REFERENCE_UNKNOWN.found(
                    app=app,
                    reference=ref,
                    remote=remote,
                    url=self.url(app, remote),
                    message=without_password(last),
                )
            )
            return ""
        found = self.app_git(app, "rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        if found.returncode != 0:
            self.problems.append(
                problems.COMMIT_UNKNOWN.found(
                    app=app, reference=ref, remote=remote, url=self.url(app, remote)
                )
            )
            return ""
        return found.stdout.strip()

    def remote(self, app: str) -> str:
        """Name of the remote from which an app's commits are fetched, "" when it has none."""
        remotes = self.app_git(app, "remote").stdout.split()
        return next((name for name in REMOTES if name in remotes), "")

    def url(self, app: str, remote: str) -> str:
        """Address of a remote, without the password in it."""
        url = self.app_git(app, "remote", "get-url", remote).stdout.strip()
        return without_password(url)

    def judge_trees(self, apps: dict[str, Any], targets: dict[str, str]) -> None:
        """Problems for files that the checkout would overwrite."""
        for app, state in apps.items():
            # What an interrupted checkout of ours has left is not work of the operator.
            if targets[app] in ("", state["commit"]) or app in self.state.get("moving", []):
                continue
            folder = self.folder(app)
            mine = ["diff", "--name-only", "HEAD", "--", ".", ":!yarn.lock"]
            lost = git_said(folder, *mine).split("\n")
            # Without renames: a file that is moved is a new one in its new place.
            come = ["diff", "--name-only", "--no-renames", "--diff-filter=A", "HEAD"]
            added = git_said(folder, *come, targets[app])
            strange = git_said(folder, "ls-files", "--others")
            lost += sorted({*added.split("\n")} & {*strange.split("\n")})
            names = [name for name in lost if name]
            if names:
                more = f" and {len(names) - 10} more" * (len(names) > 10)
                self.problems.append(
                    problems.CHANGES_LOST.found(app=app, files=names[:10], more=more, folder=folder)
                )

    def judge_nodes(self, apps: dict[str, Any], old: dict[str, str], to: dict[str, str]) -> None:
        """Problems for reporting benches whose apps differ from the primary's."""
        allowed = {app: {state["commit"]} for app, state in apps.items()}
        if self.state:
            for app, commit in old.items():
                allowed[app] |= {commit, to[app], *self.state.get("tried", {}).get(app, [])}
        for node, found in out_of_step(self.params["nodes"], allowed).items():
            differences = [difference_text(*one) for one in found]
            self.problems.append(
                problems.NODE_OUT_OF_STEP.found(
                    node=node, apps=[app for app, _, _ in found], differences=differences
                )
            )

    def judge_runtime(self, targets: dict[str, str]) -> None:
        """Problems for a Python or a Node.js that the wanted commits do not accept."""
        asked = {
            app: its_code.of_folder(self.folder(app), commit)
            for app, commit in targets.items()
            if commit
        }
        for host, version in self.params["pythons"].items():
            if version and (out := needs.misfits(asked, "python", version)):
                self.problems.append(
                    problems.PYTHON_UNFIT.found(
                        host=host, version=version, apps=list(out), asked=needs.asked_words(out)
                    )
                )
        node = cli_releases(self.params["cli_dir"]).get("node", "")
        if node and (out := needs.misfits(asked, "node", node)):
            self.problems.append(
                problems.NODEJS_UNFIT.found(
                    version=node, apps=list(out), asked=needs.asked_words(out)
                )
            )

    def judge_assets(self, apps: dict[str, Any]) -> None:
        """Problems for folders of assets that the bench's account cannot replace."""
        if not self.params["build"]:
            return
        for app in apps:
            for folder, _, _ in os.walk(self.built(app)):
                if os.lstat(folder).st_uid != self.owner()[0]:
                    self.problems.append(
                        problems.FOLDER_OWNER.found(
                            folders=[folder], user=self.user, path=self.built(app)
                        )
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
                        problems.DATABASE_MISSING.found(
                            site=site,
                            database=database,
                            config=self.folders.config(site),
                            sites=self.folders.sites,
                        )
                    )
            except UpdateRefusedError as error:
                self.problems += error.problems
        return databases

    def judge_disk(self, databases: dict[str, str]) -> None:
        """A problem when there may be no room for the backups, or for the new code.

        databases: {site: database} of those that are to be backed up.
        """
        dumps = sum(
            self.dump_bytes(site, self.data_bytes(name)) for site, name in databases.items()
        )
        place = existing(self.params["backup_dir"])
        beside = 0
        if not self.state.get("made"):
            beside = code_bytes(self.path)
        backups, code = "the backups of the databases", "the new code beside the bench"
        kind = problems.FORMER_BACKUPS_NO_ROOM if any(self.dumps()) else problems.BACKUPS_NO_ROOM
        if os.stat(place).st_dev == os.stat(self.path).st_dev:
            backups, dumps, beside = f"{backups} and {code}", dumps + beside, 0
        for folder, need, what, found in (
            (place, dumps, backups, kind),
            (self.path, beside, code, problems.CODE_NO_ROOM),
        ):
            if lack := lack_of_room(folder, need, what):
                self.problems.append(found.found(folder=folder, lack=lack, bytes=need))

    def outage_text(self, reasons: list[str]) -> str:
        """Whether users will be out, and why."""
        if reasons:
            more = f" and {len(reasons) - 3} more" * (len(reasons) > 3)
            return f"users are out for a migration, which is for {', '.join(reasons[:3])}{more}"
        if self.state.get("migrates"):
            return "users are out for the migration that was begun"
        return "users stay in: no patch, DocType or hook has changed, so nothing is migrated"
