#!/usr/bin/python
"""Bring a running primary bench to other commits of its apps, resumably, phase by phase."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

from ansible.module_utils import code as its_code
from ansible.module_utils import needs
from ansible.module_utils.bench import (
    ASSET_LISTS,
    BenchError,
    checked,
    cli_releases,
    drop_git_locks,
    exclusive,
    git,
    installed_apps,
    read_json,
    requirement_steps,
    run_as,
    run_frappe,
    sync_folder,
    user_environment,
    without_password,
)
from ansible.module_utils.calls import held
from ansible.module_utils.fleet import FleetModule
from ansible.module_utils.mariadb import SYSTEM_SCHEMAS
from ansible.module_utils.sites import NAME, Folders, SiteError, parse_site
from ansible.module_utils.supervisor import (
    RUNNING,
    control,
    job_programs,
    programs,
    stop,
    web_programs,
)
from ansible.module_utils.verify_look import Redis, RedisError, Visitor

DOCUMENTATION = r"""
module: bench_update
short_description: Update the apps of a running bench, phase by phase
description:
  - Every phase may be run again; what is done is kept in C(state_dir)/update.json, so a run that
    was killed is continued by the same command. While that file is there, its commits are the
    wanted ones, and those of C(commits) win over them.
  - C(judge) names all that stands in the way, and what would be done. It brings commits into the
    apps' repositories, and changes nothing else.
  - C(begin) tries the requirements of the new commits beside the running bench, and notes the
    update. C(code) has jobs wait and users see the maintenance page, backs the sites' databases up,
    and brings code, requirements and web assets to the new commits; the processes stay as they are.
    C(migrate) stops the workers, migrates each site and restarts the web workers. C(finish) lets
    users and jobs in, and tries each site.
  - C(back) undoes what was done before C(finish) let users in; databases are restored only when
    their migration had begun. C(open) lets users and jobs in again. C(tell) says where a failed
    update stands, and C(forget) ends an update.
options:
  phase:
    description: What is to be done.
    choices: [judge, begin, code, migrate, finish, back, open, tell, forget]
    required: true
  about:
    description: The bench, and what is wanted of it.
    type: dict
    required: true
    suboptions:
      path: {description: Directory of the bench., type: path, required: true}
      user: {description: The bench's account., type: str, required: true}
      cli_dir: {description: Virtual environment of the bench CLI., type: path, required: true}
      state_dir: {description: Directory of Benchfleet's state., type: path, required: true}
      backup_dir: {description: Where backups are put; never emptied., type: path, required: true}
      sites:
        description: Names of the sites. Others that are on the bench are updated after them.
        type: list
        elements: str
        required: true
      commits:
        description: Wanted commit, tag or branch of an app, by its name; of the others the newest
          of their branch.
        type: dict
        required: true
      apps:
        description: The apps as the inventory has them, keys name, branch, commit.
        type: list
        elements: dict
        required: true
      build: {description: Whether web assets are built., type: bool, required: true}
      web_port: {description: Port of the bench's gunicorn., type: int, required: true}
      web_workers: {description: Its number of processes., type: int, required: true}
      report_port: {description: Port of the pool for reports., type: int, required: true}
      job_seconds: {description: How long jobs that run are waited for., type: int, required: true}
      back: {description: Whether the way back is wanted., type: bool, required: true}
      pythons: {description: "Python of each bench, {host: version}.", type: dict, default: {}}
      socket: {description: MariaDB's socket., type: path, default: /run/mysqld/mysqld.sock}
  nodes:
    description: "With judge and begin: apps of the reporting benches, {host: {app: {commit,
      changes}}}."
    type: dict
    default: {}
  drained:
    description: "With begin: reporting nodes that this update takes out of service, and puts back."
    type: list
    elements: str
    default: []
  reason: {description: "With tell: what failed.", type: str}
"""

RETURN = r"""
going: {description: Whether there is something to do., type: bool}
code: {description: Whether the primary's part is still to be done., type: bool}
touched: {description: Whether the migration of a site had begun., type: bool}
told: {description: "With tell: where the update stands, and the ways on.", type: str}
drained: {description: Nodes that this update took out of service., type: list, elements: str}
words: {description: What would be done, or was., type: list, elements: str}
"""

ABOUT: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "user": {"type": "str", "required": True},
    "cli_dir": {"type": "path", "required": True},
    "state_dir": {"type": "path", "required": True},
    "backup_dir": {"type": "path", "required": True},
    "sites": {"type": "list", "elements": "str", "required": True},
    "commits": {"type": "dict", "required": True},
    "apps": {"type": "list", "elements": "dict", "required": True},
    "build": {"type": "bool", "required": True},
    "web_port": {"type": "int", "required": True},
    "web_workers": {"type": "int", "required": True},
    "report_port": {"type": "int", "required": True},
    "job_seconds": {"type": "int", "required": True},
    "back": {"type": "bool", "required": True},
    "pythons": {"type": "dict", "default": {}},
    "socket": {"type": "path", "default": "/run/mysqld/mysqld.sock"},
}

REMOTES = ("upstream", "origin")
REFERENCE = re.compile(r"[\w][\w./+@-]*")
SHOWN_SUBJECTS = 12
LAST_LINES = 25
# Frappe 16 reads its configuration anew after a minute at the latest.
SETTLE_SECONDS = 90
QUIET_LOOKS = 3
# Processes of the pool for reports; see roles/bench_processes.
POOL_WORKERS = 2
# Longer than gunicorn lets a call take.
CALL_SECONDS = 150
SUSPENDED = "rq:suspended"
# A worker says every 2 s that it is there; see roles/jobs.
SILENT_SECONDS = 10.0
SWITCH = "maintenance_mode"


def new_stamp() -> str:
    """Name of an update, and of the folder of its backups: the time in which it begins."""
    return time.strftime("%Y%m%d-%H%M%S")


def sites_of(folders: Folders, named: list[str]) -> list[str]:
    """Sites of a bench: those of the inventory first, then those that somebody made besides.

    A folder whose name no host can have is no site to anybody, see docs/sites.md.
    """
    there = [site for site in folders.names() if NAME.fullmatch(site)]
    return [site for site in named if site in there] + [s for s in there if s not in named]


def job_words(description: str) -> str:
    """A job's own name in what RQ says of it, as Frappe has one function do all jobs."""
    found = re.search(r"\b(?:method|job_name)='([^']+)'", description)
    return found.group(1) if found else description[:80]


def last_patch(output: str) -> str:
    """The patch that a migration was at when it ended, "" when it was at none.

    Frappe says ``Executing PATCH in SITE (DATABASE)`` before each.
    """
    found = re.findall(r"^Executing (\S+)", output, re.MULTILINE)
    return str(found[-1]) if found else ""


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


def standing(state: dict[str, Any]) -> str:
    """Where an unfinished update stands, in a few words."""
    if state.get("back"):
        return "on its way back to the old commits"
    if state.get("finished"):
        return "done on the primary; reporting nodes are to follow"
    if state.get("touched"):
        done, touched = state.get("migrated", []), state["touched"]
        left = [site for site in touched if site not in done]
        if left:
            return f"in the migration of {left[0]}"
        return f"after the migration of {touched[-1]}" + (
            ", letting users in" if state.get("opened") else ""
        )
    if state.get("coded"):
        return "at the new code, before the first migration"
    return "before the first migration"


class Update:
    """One update of a bench, and what is known of it."""

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params = {**params, **params["about"]}
        self.path: str = params["path"]
        self.name = os.path.basename(self.path)
        self.user: str = params["user"]
        self.folders = Folders(f"{self.path}/sites", params["state_dir"])
        self.sites = sites_of(self.folders, params["sites"])
        self.file = f"{params['state_dir']}/update.json"
        self.kept_assets = f"{params['state_dir']}/update-assets"
        self.environment = user_environment(self.user, params["cli_dir"])
        self.state: dict[str, Any] = read_json(self.file)
        self.words: list[str] = []

    # --- state and small things ----------------------------------------------------------------

    def save(self, **changes: Any) -> None:
        """Note something of the update; survives a power cut."""
        self.state.update(changes)
        with open(f"{self.file}.new", "w", encoding="utf-8") as out:
            json.dump(self.state, out, indent=1, sort_keys=True)
            out.flush()
            os.fsync(out.fileno())
        os.replace(f"{self.file}.new", self.file)
        sync_folder(os.path.dirname(self.file))

    def run(self, argv: list[str], what: str, cwd: str | None = None) -> str:
        """Run as the bench's account; BenchError with its last lines when it fails."""
        return checked(run_as(self.user, argv, cwd or self.path, self.environment), what)

    def folder(self, app: str) -> str:
        """Folder of an app."""
        return f"{self.path}/apps/{app}"

    def app_git(self, app: str, *words: str) -> subprocess.CompletedProcess[str]:
        """Run git in an app's folder as the bench's account."""
        quiet = ["git", "-c", "gc.auto=0", "-c", "maintenance.auto=false", *words]
        return run_as(self.user, quiet, self.folder(app), self.environment)

    def common(self) -> dict[str, Any]:
        """The bench's common configuration."""
        return read_json(f"{self.path}/sites/common_site_config.json")

    @contextmanager
    def redis(self, name: str) -> Iterator[Redis]:
        """The bench's Redis of that key of the configuration."""
        url = urlsplit(str(self.common()[name]))
        with Redis(url.hostname or "127.0.0.1", url.port or 6379, url.password) as redis:
            yield redis

    def mariadb(self, statement: str) -> str:
        """Answer of the server's root on its socket."""
        argv = ["mariadb", "--no-defaults", f"--socket={self.params['socket']}", "-BN"]
        done = subprocess.run([*argv, "-e", statement], text=True, capture_output=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"MariaDB refused a statement: {done.stderr.strip()}")
        return done.stdout.strip()

    def database(self, site: str) -> str:
        """Name of a site's database; BenchError for one that cannot be backed up."""
        path = self.folders.config(site)
        if self.folders.unfinished(site):
            raise BenchError(
                f"{site} is still being made: wait until `bench new-site` has ended, and run"
                " site.yml where that began it; what is left of one that was cut off,"
                f" `bench drop-site {site}` removes"
            )
        try:
            with open(path, encoding="utf-8") as source:
                name = parse_site(site, source.read(), path).database
        except (SiteError, OSError, UnicodeDecodeError) as error:
            raise BenchError(
                f"{site} cannot be backed up: {error}. Mend it, or move its folder out of"
                f" {self.folders.sites}"
            ) from error
        if not re.fullmatch(r"\w+", name) or name.lower() in SYSTEM_SCHEMAS | {"benchfleet"}:
            raise BenchError(
                f"{path}: db_name is {name!r}, which is no site's database; mend it, or move the"
                f" folder out of {self.folders.sites}"
            )
        return name

    # --- judging ------------------------------------------------------------------------------

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
        self.problems: list[str] = []
        for app in self.params["commits"]:
            if app not in apps:
                self.problems.append(
                    f"update_commits names {app}; the bench has {', '.join(sorted(apps))}"
                )
        for app in self.state.get("to", {}):
            if app not in apps and not self.state.get("finished"):
                self.problems.append(
                    f"{app} is part of the update that stands, and no repository in"
                    f" {self.folder(app)} any more: put it back there"
                )
        targets = {app: self.target(app, apps[app]) for app in apps}
        plan = {
            app: {"from": self.state.get("from", {}).get(app, apps[app]["commit"]), "to": target}
            for app, target in targets.items()
            if target
        }
        going = bool(self.state) or any(step["from"] != step["to"] for step in plan.values())
        if going or self.problems:
            self.judge_trees(apps, targets)
            self.judge_nodes(apps, plan)
            self.judge_runtime(targets)
            if not self.state.get("finished"):
                self.judge_assets(apps)
                databases = self.judge_sites()
                if not self.state.get("backups") or self.state.get("opened"):
                    self.judge_disk(databases)
        if self.problems:
            lines = [f"{number}. {words}" for number, words in enumerate(self.problems, 1)]
            raise BenchError(
                "The update was not begun, nothing was touched:\n" + "\n".join(lines)
                if not self.state
                else f"The update stands {standing(self.state)} and was not continued:\n"
                + "\n".join(lines)
            )
        if self.state:
            self.words.append(
                f"the update of {self.state['stamp']} stands {standing(self.state)}; it goes on"
            )
        for app, step in plan.items():
            if step["from"] != step["to"]:
                self.words += self.step_in_words(app, step["from"], step["to"])
        if not going:
            self.words.append(
                "nothing to do: "
                + ", ".join(f"{app} {state['commit'][:10]}" for app, state in apps.items())
            )
        return {
            "going": going,
            "code": going and not self.state.get("finished"),
            "to": targets,
            "from": {app: step["from"] for app, step in plan.items()},
        }

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
        wanted = next((a for a in self.params["apps"] if a["name"] == app), {})
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
        ahead = commit and not word and not pin and self.not_in(app, here["commit"], commit)
        if ahead:
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

    def not_in(self, app: str, old: str, new: str) -> bool:
        """Whether a commit is no ancestor of another."""
        return self.app_git(app, "merge-base", "--is-ancestor", old, new).returncode == 1

    def judge_trees(self, apps: dict[str, Any], targets: dict[str, str]) -> None:
        """Problems for files that the checkout would overwrite."""
        for app, state in apps.items():
            # What a checkout of ours that was cut off has left is nobody's work.
            if targets[app] in ("", state["commit"]) or app in self.state.get("moving", []):
                continue
            folder = self.folder(app)
            lost = (
                git(folder, "diff", "--name-only", "HEAD", "--", ".", ":!yarn.lock") or ""
            ).split("\n")
            # Without renames: a file that moves is a new one where it comes to lie.
            come = ["diff", "--name-only", "--no-renames", "--diff-filter=A", "HEAD"]
            added = git(folder, *come, targets[app]) or ""
            strange = git(folder, "ls-files", "--others") or ""
            lost += sorted({*added.split("\n")} & {*strange.split("\n")})
            names = [name for name in lost if name]
            if names:
                shown = ", ".join(names[:10]) + (f" and {len(names) - 10} more" * (len(names) > 10))
                self.problems.append(
                    f"{folder} has changes that are in no commit and would be lost: {shown}."
                    " Commit them, `git stash` them, or remove them"
                )

    def judge_nodes(self, apps: dict[str, Any], plan: dict[str, Any]) -> None:
        """Problems for reporting benches that are not in step."""
        allowed = {app: {state["commit"]} for app, state in apps.items()}
        if self.state:
            for app, step in plan.items():
                allowed[app] |= {
                    step["from"],
                    step["to"],
                    *self.state.get("tried", {}).get(app, []),
                }
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
                if os.stat(folder).st_uid != self.owner()[0]:
                    self.problems.append(
                        f"{folder} belongs to another account, and {self.user} must build and put"
                        f" back the assets in it: chown -R {self.user}: {self.built(app)}"
                    )
                    break

    def judge_sites(self) -> list[str]:
        """Problems for sites that cannot be backed up; returns the databases of the others."""
        databases = []
        listing = "SELECT LOWER(SCHEMA_NAME) FROM information_schema.SCHEMATA"
        there = self.mariadb(listing).splitlines() if self.sites else []
        for site in self.sites:
            try:
                database = self.database(site)
                if database.lower() in there:
                    databases.append(database)
                else:
                    self.problems.append(
                        f"the database {database} of {site} ({self.folders.config(site)}) is not"
                        " on this server, and cannot be backed up: restore it, or move the folder"
                        f" out of {self.folders.sites}"
                    )
            except BenchError as error:
                self.problems.append(str(error))
        return databases

    def judge_disk(self, databases: list[str]) -> None:
        """A problem when the backups of these databases may not find room."""
        names = ", ".join(f"'{name}'" for name in databases) or "''"
        size = "SELECT COALESCE(SUM(data_length), 0) FROM information_schema.TABLES WHERE"
        need = int(float(self.mariadb(f"{size} TABLE_SCHEMA IN ({names})")))
        place = self.params["backup_dir"]
        while not os.path.exists(place):
            place = os.path.dirname(place)
        numbers = os.statvfs(place)
        free = numbers.f_bavail * numbers.f_frsize
        if free < need:
            self.problems.append(
                f"{place} has {free // 2**20} MiB free and the backups may take {need // 2**20}:"
                " make room, or name another update_backup_dir"
            )

    def step_in_words(self, app: str, old: str, new: str) -> list[str]:
        """What an app's update brings, in lines."""
        folder = self.folder(app)
        forth = int(git(folder, "rev-list", "--count", f"{old}..{new}") or 0)
        back = int(git(folder, "rev-list", "--count", f"{new}..{old}") or 0)
        counts = [f"{forth} new commit{'s' * (forth != 1)}"] * bool(forth)
        counts += [f"{back} left out"] * bool(back)
        subjects = git(folder, "log", "--format=%h %s", "-n", str(SHOWN_SUBJECTS), f"{old}..{new}")
        lines = [f"    {line}" for line in (subjects or "").split("\n") if line]
        if forth > SHOWN_SUBJECTS:
            lines.append(f"    … and {forth - SHOWN_SUBJECTS} more")
        return [f"{app}: {old[:10]} -> {new[:10]}, {', '.join(counts) or 'unrelated'}", *lines]

    # --- before anything runs new code --------------------------------------------------------

    def begin(self) -> None:
        """Note the update, and try the requirements of its commits beside the running bench."""
        judged = self.judge()
        if self.state:
            self.retarget({app: judged["to"][app] for app in self.state["to"]})
        else:
            self.try_requirements(judged)
            self.save(
                stamp=new_stamp(),
                drained=self.params["drained"],
                asked=self.params["commits"],
                **{key: judged[key] for key in ("from", "to")},
            )

    def retarget(self, to: dict[str, str]) -> None:
        """Other commits for an unfinished update: code and migrations are to be done again."""
        if to == self.state["to"]:
            return
        tried = self.state.get("tried", {})
        for app, commit in self.state["to"].items():
            tried.setdefault(app, []).append(commit)
        asked = {**self.state["asked"], **self.params["commits"]}
        # Users have written since the backups were made: those of these commits are new ones.
        anew = {"backups": {}, "stamp": new_stamp()} if self.state.get("opened") else {}
        self.save(to=to, asked=asked, tried=tried, coded=False, migrated=[], **anew)

    def try_requirements(self, judged: dict[str, Any]) -> None:
        """Resolve the new requirements, and have their packages cached, before users wait."""
        python = f"{self.path}/env/bin/python"
        for app, commit in judged["to"].items():
            if commit == judged["from"][app]:
                continue
            trial = f"{self.path}/.update-{app}"
            self.drop_trial(app, trial)
            try:
                self.run(
                    ["git", "worktree", "add", "--quiet", "--detach", trial, commit],
                    f"reading {app} at {commit[:10]}",
                    cwd=self.folder(app),
                )
                told = self.run(
                    ["uv", "pip", "install", "--dry-run", "-e", trial, "--python", python],
                    f"resolving the requirements of {app} at {commit[:10]}",
                )
                packages = re.findall(r"^ \+ ([A-Za-z0-9._-]+==\S+)$", told, re.MULTILINE)
                if packages:
                    target = ["--target", f"{trial}/.packages", "--python", python]
                    self.run(
                        ["uv", "pip", "install", "--quiet", "--no-deps", *target, *packages],
                        f"fetching the requirements of {app} at {commit[:10]}",
                    )
                old = judged["from"][app]
                differs = git(trial, "diff", "--name-only", old, "--", "package.json", "yarn.lock")
                if differs:
                    self.run(
                        ["yarn", "install"], f"yarn install of {app} at {commit[:10]}", cwd=trial
                    )
            finally:
                self.drop_trial(app, trial)

    def drop_trial(self, app: str, trial: str) -> None:
        """Remove the second work tree of an app, whoever left it."""
        if os.path.lexists(trial):
            shutil.rmtree(trial)
        self.app_git(app, "worktree", "prune")

    # --- new code -----------------------------------------------------------------------------

    def code(self) -> None:
        """Jobs and users wait; backups are made; code, requirements and assets are the new ones."""
        if self.state.get("coded"):
            return
        self.suspend_jobs()
        self.close()
        backed_up = bool(self.state.get("backups"))
        if not backed_up:
            self.wait_for_calls()
        # A worker that was waiting took what the last calls queued, switch or not.
        self.wait_for_jobs()
        if not backed_up:
            self.back_up()
        self.keep_assets()
        for app, commit in self.state["to"].items():
            self.check_out(app, commit)
        if self.params["build"]:
            self.run(["bench", "build"], "bench build")
            os.sync()
        self.save(coded=True)

    def suspend_jobs(self) -> None:
        """No worker of any node takes a job, by RQ's own switch: the processes stay."""
        if not self.state.get("suspended"):
            with self.redis("redis_queue") as redis:
                self.save(suspended=True, held=bool(redis.ask("EXISTS", SUSPENDED)))
        self.suspend()
        self.wait_for_jobs()

    def suspend(self) -> None:
        """Set RQ's switch; survives a power cut, after which the workers start by themselves."""
        with self.redis("redis_queue") as redis:
            redis.ask("SET", SUSPENDED, "1")
            redis.write_down()

    def wait_for_jobs(self) -> None:
        """Wait for the jobs that run; BenchError when one runs for too long.

        A worker that was waiting for a job when the switch was set may still take one, so they are
        looked at more than once.
        """
        since, quiet = time.monotonic(), 0
        with self.redis("redis_queue") as redis:
            while quiet < QUIET_LOOKS:
                busy = self.busy_workers(redis)
                quiet = 0 if busy else quiet + 1
                if busy and time.monotonic() - since > self.params["job_seconds"]:
                    raise BenchError(
                        f"after {self.params['job_seconds']} s (update_job_seconds) these jobs"
                        f" still run, and they would meet two versions: {'; '.join(busy)}."
                        " `./fleet jobs` shows the queues"
                    )
                time.sleep(0.5)

    def wait_for_calls(self) -> None:
        """Wait for the calls that began before the sites were closed; none writes after that.

        Frappe has a connection for the time of a call; who only holds one open does not count.
        """
        names = ", ".join(f"'{self.database(site)}'" for site in self.sites) or "''"
        question = (
            "SELECT CONCAT(p.user, '@', p.host, ': ', p.command)"
            " FROM information_schema.PROCESSLIST p LEFT JOIN information_schema.INNODB_TRX t"
            " ON t.trx_mysql_thread_id = p.id"
            f" WHERE p.db IN ({names}) AND (p.command <> 'Sleep' OR t.trx_id IS NOT NULL)"
        )
        deadline = time.monotonic() + CALL_SECONDS
        while working := self.mariadb(question):
            if time.monotonic() > deadline:
                raise BenchError(
                    f"{CALL_SECONDS} s after the sites were closed somebody still works on their"
                    f" databases: {'; '.join(working.splitlines())}. `SHOW PROCESSLIST` on the"
                    " primary shows what they do; end them"
                )
            time.sleep(0.5)

    def busy_workers(self, redis: Redis) -> list[str]:
        """Jobs that run now, with the nodes that do them."""
        beats = redis.ask("HGETALL", f"{self.common()['bench_id']}:fleet:beats") or []
        now = float(redis.ask("TIME")[0])
        busy = []
        for worker, told in zip(beats[::2], beats[1::2], strict=True):
            at, _, node = told.partition(" ")
            if now - float(at) > SILENT_SECONDS:
                continue
            state, job = redis.ask("HMGET", f"rq:worker:{worker}", "state", "current_job")
            if state == "busy" or job:
                text = redis.ask("HGET", f"rq:job:{job}", "description") if job else None
                busy.append(f"{job_words(text or job or 'a job')} on {node}")
        return busy

    def close(self) -> None:
        """Users of all sites see the maintenance page; waits until every web worker shows it."""
        if "former" not in self.state:
            self.save(former=self.common().get(SWITCH))
        for site in self.sites:
            # As `set-maintenance-mode off` leaves it. It says nothing more than its absence, but it
            # would keep the site open.
            if not read_json(self.folders.config(site)).get(SWITCH, 1):
                words = ["bench", "--site", site, "set-config", SWITCH, "None"]
                self.run(words, f"taking {SWITCH} out of the configuration of {site}")
        self.switch(1)
        self.wait_for_answer(503)

    def switch(self, value: Any) -> None:
        """Set maintenance_mode for all sites; None takes the key out."""
        path = f"{self.path}/sites/common_site_config.json"
        content = read_json(path, follow=False)
        if content.get(SWITCH) == value and (value is not None or SWITCH not in content):
            return
        content[SWITCH] = value
        if value is None:
            del content[SWITCH]
        text = json.dumps(content, indent=1, sort_keys=True)
        mode = os.stat(path).st_mode & 0o777
        # This is root, and the folder is the bench account's: no name in it can be trusted.
        handle, temporary = tempfile.mkstemp(prefix=".benchfleet-", dir=os.path.dirname(path))
        with os.fdopen(handle, "w", encoding="utf-8") as out:
            out.write(text)
            out.flush()
            os.fsync(handle)
            os.fchmod(handle, mode)
            os.fchown(handle, *self.owner())
        os.replace(temporary, path)

    def owner(self) -> tuple[int, int]:
        """User and group id of the bench's account."""
        account = pwd.getpwnam(self.user)
        return account.pw_uid, account.pw_gid

    def doors(self) -> list[tuple[int, int]]:
        """Ports at which this host serves the sites, and the number of processes behind each.

        While the nodes are drained, reports go to the pool.
        """
        doors = [(self.params["web_port"], self.params["web_workers"])]
        pool = f"{self.name}-report-web"
        if any(
            name.split(":")[0] == pool and state == RUNNING
            for name, state in programs(self.name).items()
        ):
            doors.append((self.params["report_port"], POOL_WORKERS))
        return [(port, processes) for port, processes in doors if processes]

    def wait_for_answer(self, status: int) -> None:
        """Wait until every site answers so, often enough that each web process was asked."""
        doors = self.doors()
        deadline = time.monotonic() + SETTLE_SECONDS
        for site in self.sites:
            own = read_json(self.folders.config(site))
            if {**self.common(), **own}.get("allow_reads_during_maintenance"):
                # It answers in both states.
                continue
            if status == 200 and own.get(SWITCH):
                # Somebody has closed it by itself, and it stays closed.
                continue
            for port, processes in doors:
                self.wait_at(port, processes, site, status, deadline)

    def wait_at(self, port: int, processes: int, site: str, status: int, deadline: float) -> None:
        """The same at one port, for one site."""
        visitor = Visitor("127.0.0.1", port, site, timeout=20)
        good, saw = 0, "no answer"
        while good < 3 * processes:
            try:
                answer = visitor.call("GET", "/api/method/ping")
                saw = answer.said()
                good = good + 1 if answer.status == status else 0
            except (OSError, http.client.HTTPException) as error:
                saw, good = str(error), 0
            if not good:
                if time.monotonic() > deadline:
                    raise BenchError(
                        f"{site} does not answer {status} on port {port} within"
                        f" {SETTLE_SECONDS} s, but: {saw}"
                    )
                time.sleep(0.5)

    def back_up(self) -> None:
        """Dump the database of every site that has no backup into a folder of this update's own."""
        folder = f"{self.params['backup_dir']}/{self.state['stamp']}"
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.chmod(folder, 0o700)
        files = dict(self.state.get("backups", {}))
        for site in self.without_backup():
            target = f"{folder}/{site}.sql.gz"
            self.dump(self.database(site), target)
            config = f"{self.path}/sites/{site}/site_config.json"
            shutil.copy(config, f"{folder}/{site}.site_config.json")
            os.chmod(f"{folder}/{site}.site_config.json", 0o600)
            files[site] = target
        # The databases are changed next, and the note of the backups may lie on another disk.
        os.sync()
        self.save(backups=files)

    def without_backup(self) -> list[str]:
        """Sites that this update has not backed up: all, or those made since it was begun."""
        return [site for site in self.sites if site not in self.state.get("backups", {})]

    def dump(self, database: str, target: str) -> None:
        """Write a dump that brings a database back as it was, tables that are new later dropped."""
        argv = ["mariadb-dump", "--no-defaults", f"--socket={self.params['socket']}"]
        argv += ["--single-transaction", "--quick", "--routines", "--triggers", "--events"]
        argv += ["--default-character-set=utf8mb4", "--add-drop-database", "--databases", database]
        # The words of the server go to a file: a pipe that nobody reads would fill up.
        with (
            open(f"{target}.errors", "w+", encoding="utf-8") as said,
            subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=said) as process,
            open(
                os.open(f"{target}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
            ) as raw,
        ):
            assert process.stdout is not None
            with gzip.open(raw, "wb", compresslevel=3) as packed:
                shutil.copyfileobj(process.stdout, packed, 1 << 20)
            raw.flush()
            os.fsync(raw.fileno())
            process.wait()
            said.seek(0)
            words = said.read().strip()
        os.unlink(f"{target}.errors")
        if process.returncode != 0:
            os.unlink(f"{target}.new")
            raise BenchError(f"the backup of {database} failed: {words[-500:]}")
        os.replace(f"{target}.new", target)

    def keep_assets(self) -> None:
        """Keep a copy of the assets of the old code, for the way back."""
        if os.path.exists(self.kept_assets) or not self.params["build"]:
            return
        making = f"{self.kept_assets}.new"
        shutil.rmtree(making, ignore_errors=True)
        os.mkdir(making)
        os.chown(making, *self.owner())
        for app in self.state["from"]:
            built = self.built(app)
            if os.path.isdir(built):
                self.copy(built, f"{making}/{app}")
        for name in ASSET_LISTS:
            if os.path.exists(f"{self.path}/sites/assets/{name}"):
                self.copy(f"{self.path}/sites/assets/{name}", f"{making}/{name}")
        # What they are a copy of is replaced next.
        os.sync()
        os.rename(making, self.kept_assets)

    def built(self, app: str) -> str:
        """Folder of an app's built assets."""
        return f"{self.folder(app)}/{app}/public/dist"

    def copy(self, source: str, target: str) -> None:
        """Copy a file or folder with modes and times, as the bench's account.

        The places are that account's, and a link in them would lead root elsewhere.
        """
        self.run(["cp", "-a", "--remove-destination", source, target], f"copying {source}")

    def check_out(self, app: str, commit: str) -> None:
        """Bring an app to a commit, with its requirements."""
        moving = self.state.get("moving", [])
        if git(self.folder(app), "rev-parse", "HEAD") == commit and app not in moving:
            return
        if app in moving:
            drop_git_locks(self.folder(app))
        self.save(moving=sorted({*moving, app}))
        what = f"checking out {app} at {commit[:10]}"
        self.run(["git", "reset", "--quiet", "--hard", commit], what, cwd=self.folder(app))
        for argv, what, cwd in requirement_steps(self.path, app):
            self.run(argv, what, cwd=cwd)
        # git leaves the files to the kernel, and a commit of which some are empty would seem whole.
        os.sync()
        self.save(moving=[name for name in self.state["moving"] if name != app])

    # --- migration ----------------------------------------------------------------------------

    def migrate(self) -> None:
        """Stop the workers, migrate each site, and restart the web workers."""
        # New code was built meanwhile, in this run or in one that was killed.
        self.suspend_jobs()
        stop(self.name, job_programs)
        if self.without_backup():
            self.back_up()
        migrated = self.state.get("migrated", [])
        for site in self.sites:
            if site in migrated:
                continue
            touched = self.state.get("touched", [])
            self.save(touched=touched if site in touched else [*touched, site], restarted=False)
            self.migrate_site(site)
            migrated = [*migrated, site]
            self.save(migrated=migrated)
        if not self.state.get("restarted"):
            self.restart_web()
            self.save(restarted=True)

    def migrate_site(self, site: str) -> None:
        """Frappe's own migration of one site; its output is kept in a file."""
        # Modules that an app has since this commit are in no cache yet.
        done = run_frappe(
            self.path,
            self.user,
            self.environment,
            ["--site", site, "migrate"],
            modules_anew=True,
            timeout=24 * 3600,
        )
        log = f"{self.params['state_dir']}/update-{site}.log"
        with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            out.write(done.stdout)
        if done.returncode != 0:
            patch = last_patch(done.stdout)
            last = without_password(done.stdout).splitlines()[-LAST_LINES:]
            tail = "\n".join(f"    {line}" for line in last)
            raise BenchError(
                f"the migration of {site} failed with exit status {done.returncode}"
                f"{f', in the patch {patch}' if patch else ''}; the end of its output ({log}):\n"
                f"{tail}"
            )

    def restart_web(self) -> None:
        """Restart what users are connected to, while their calls wait at the router."""
        with held(f"{self.params['state_dir']}/hold", "127.0.0.1", self.params["web_port"]):
            for name in web_programs(list(programs(self.name))):
                control("restart", name)

    # --- the end ------------------------------------------------------------------------------

    def open(self) -> None:
        """Let users and jobs in, and see that each site answers."""
        if "former" in self.state:
            self.switch(self.state["former"])
            if not self.state["former"]:
                self.wait_for_answer(200)
        if self.state.get("held"):
            self.words.append(
                f"jobs go on waiting: somebody held them ({SUSPENDED} in the queue's Redis, as `rq"
                " suspend` sets it) before the update"
            )
        elif self.state.get("suspended"):
            with self.redis("redis_queue") as redis:
                redis.ask("DEL", SUSPENDED)
                # Else a power cut could bring the switch back, and no job would be done any more.
                redis.write_down()

    def finish(self) -> None:
        """Let users and jobs in, and try each site; what does not answer is closed again."""
        if self.state.get("finished"):
            return
        down = [name for name, state in programs(self.name).items() if state != RUNNING]
        if down:
            raise BenchError(f"these programs should run and do not: {', '.join(down)}")
        # From here on users may have written, and no backup holds that.
        self.save(opened=True)
        try:
            self.open()
        except (BenchError, OSError, RedisError):
            self.switch(1)
            with suppress(OSError, RedisError):
                self.suspend()
            raise
        shutil.rmtree(self.kept_assets, ignore_errors=True)
        self.save(finished=True)
        self.words.append(f"backup: {', '.join(self.state['backups'].values()) or 'no site'}")

    def forget(self) -> None:
        """End the update."""
        shutil.rmtree(self.kept_assets, ignore_errors=True)
        if os.path.exists(self.file):
            os.unlink(self.file)

    # --- the way back -------------------------------------------------------------------------

    def back(self) -> None:
        """Undo databases, code, requirements and assets. Users and jobs still wait."""
        if not self.state:
            return
        touched = self.state.get("touched", [])
        if touched:
            self.save(back=True)
            stop(self.name, job_programs)
        else:
            self.save(coded=False)
        here = [site for site in touched if site in self.sites]
        for site in here:
            if site not in self.state.get("restored", []):
                self.restore(site)
                self.save(restored=[*self.state.get("restored", []), site])
        for app, commit in self.state["from"].items():
            self.check_out(app, commit)
        self.put_assets_back()
        if touched:
            for site in here:
                self.run(["bench", "--site", site, "clear-cache"], f"clear-cache of {site}")
            self.restart_web()
        else:
            # Users are let in next. Should the same command go on from there, it begins whole: with
            # a backup of what they did, beside this one.
            self.save(backups={}, stamp=new_stamp())
        self.words.append("the old commits are checked out")
        self.words += [
            f"{site} was restored from {self.state['backups'][site]}"
            if site in here
            else f"{site} is gone from the bench and was not restored; its backup is"
            f" {self.state['backups'][site]}"
            for site in touched
        ]

    def restore(self, site: str) -> None:
        """Bring a site's database back to its backup."""
        command = f"gunzip -c '{self.state['backups'][site]}' | {self.client()}"
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command],
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        checked(done, f"restoring {site} ({command})")

    def client(self) -> str:
        """The MariaDB client on this server, as a line of shell."""
        return f"mariadb --no-defaults --socket={self.params['socket']}"

    def put_assets_back(self) -> None:
        """The assets of the old code, and no listing of others in the shared cache."""
        if not os.path.isdir(self.kept_assets):
            return
        for app in self.state["from"]:
            if os.path.isdir(f"{self.kept_assets}/{app}"):
                self.run(["rm", "-rf", self.built(app)], f"removing {self.built(app)}")
                self.copy(f"{self.kept_assets}/{app}", self.built(app))
        for name in ASSET_LISTS:
            if os.path.exists(f"{self.kept_assets}/{name}"):
                self.copy(f"{self.kept_assets}/{name}", f"{self.path}/sites/assets/{name}")
        with self.redis("redis_cache") as redis:
            redis.ask("DEL", "assets_json")

    # --- words for a failure ------------------------------------------------------------------

    def tell(self) -> dict[str, Any]:
        """Where a failed update stands, and the ways on."""
        apps = installed_apps(self.path)
        lines = [self.params["reason"] or "the update was not finished", "", "Where it stands:"]
        lines.append(f"  the update of {self.state.get('stamp')} stands {standing(self.state)}")
        for app, commit in self.state.get("to", {}).items():
            here = apps.get(app, {}).get("commit", "none")
            lines.append(
                f"  {app} is at {here[:10]} (old {self.state['from'][app][:10]}, new {commit[:10]})"
            )
        begun, done = self.state.get("touched", []), self.state.get("migrated", [])
        words = dict.fromkeys(self.sites, "migration not begun")
        words |= dict.fromkeys(begun, "migration begun, not ended")
        words |= dict.fromkeys(done, "migrated")
        lines += [f"  {site}: {word}" for site, word in words.items()]
        if self.common().get(SWITCH):
            lines.append(
                f"  {SWITCH} is on for all sites ({', '.join(self.sites)}): users see that page;"
                " jobs wait"
            )
        drained = self.state.get("drained", [])
        if drained:
            lines.append(f"  {', '.join(drained)}: out of service, programs stopped")
        lines += [f"  backup of {s}: {file}" for s, file in self.state.get("backups", {}).items()]
        forth = (
            "mend what failed, and run the same command again; it goes on from there. Where a newer"
            " commit mends it, name that with update_commits"
        )
        back = (
            "the same command with -e update_back=true: the old commits, and the backup of each"
            " site whose migration had begun. Nobody has written to the sites since it was made"
        )
        if self.state.get("opened"):
            lines += [
                "",
                "Users had been let in, and may have written since the backups were made: there is"
                " no way back by them. The way on:",
                f"  {forth}",
            ]
        else:
            lines += ["", "Two ways on:", f"  forth: {forth}", f"  back:  {back}"]
        return {"going": True, "told": "\n".join(lines)}


PHASES = ("judge", "begin", "code", "migrate", "finish", "back", "open", "tell", "forget")


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "phase": {"type": "str", "choices": list(PHASES), "required": True},
            "about": {"type": "dict", "required": True, "options": ABOUT},
            "nodes": {"type": "dict", "default": {}},
            "drained": {"type": "list", "elements": "str", "default": []},
            "reason": {"type": "str"},
        },
        supports_check_mode=True,
    )
    phase = module.params["phase"]
    reads = phase in ("judge", "tell")
    if module.check_mode and not reads:
        module.exit_json(changed=True)
    try:
        with exclusive(f"{module.params['about']['state_dir']}/bench.lock", 1800):
            update = Update(module.params)
            # Judged, there is what would be done; told, what failed.
            outcome = getattr(update, phase)() or {}
            known = {
                "drained": update.state.get("drained", []),
                "touched": bool(update.state.get("touched")),
            }
    except (BenchError, OSError, RedisError, subprocess.TimeoutExpired) as error:
        module.fail_json(msg=str(error))
    changed = module.check_mode and outcome["going"] if reads and outcome else not reads
    module.exit_json(changed=changed, words=update.words, **known, **outcome)


if __name__ == "__main__":
    main()
