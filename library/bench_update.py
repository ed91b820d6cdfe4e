#!/usr/bin/python
"""Bring a running primary bench to other commits of its apps, resumably, phase by phase."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import pwd
import re
import shlex
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ansible.module_utils.fleet.bench import apps as of_app
from ansible.module_utils.fleet.bench import code as its_code
from ansible.module_utils.fleet.bench import needs
from ansible.module_utils.fleet.bench.account import (
    BenchError,
    app_version,
    checked,
    cli_releases,
    drop_git_locks,
    exclusive,
    frappe_command,
    git,
    git_said,
    installed_apps,
    read_json,
    run_as,
    run_frappe,
    user_environment,
    without_password,
)
from ansible.module_utils.fleet.bench.staging import Staging
from ansible.module_utils.fleet.calls import held, listens
from ansible.module_utils.fleet.foreign import read_bytes, replace, sync_folder
from ansible.module_utils.fleet.http import Visitor
from ansible.module_utils.fleet.kept import (
    DUMPS,
    Thing,
    existing,
    is_whole_dump,
    lack_of_room,
    things,
    tidy,
    tree_bytes,
)
from ansible.module_utils.fleet.mariadb.server import LARGEST_PACKET, SYSTEM_SCHEMAS, client
from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.redis.client import Redis, RedisError
from ansible.module_utils.fleet.redis.users import redis_admin
from ansible.module_utils.fleet.sites.folders import Folders, SiteError, is_name, parse_site
from ansible.module_utils.fleet.supervisor.control import (
    RUNNING,
    control,
    control_each,
    doing,
    programs,
    start,
    stop,
    together,
)
from ansible.module_utils.fleet.supervisor.programs import JOBS

DOCUMENTATION = r"""
module: bench_update
short_description: Update the apps of a running bench, phase by phase
description:
  - Every phase may be run again; what is done is kept in C(state_dir)/update.json, so a run that
    was killed is continued by the same command. While that file is there, its commits are the
    wanted ones, and those of C(commits) win over them.
  - C(judge) names all that stands in the way, and what would be done. It brings commits into the
    apps' repositories, and changes nothing else.
  - C(begin) makes code, environment and web assets of the new commits in a folder beside the
    running bench, and notes the update. C(quiet) has jobs wait, and waits for those that run.
    C(migrate) stops the workers, has users see the maintenance page, backs the sites' databases up,
    puts in place what was made, migrates each site, restarts the web workers, starts the others and
    lets users in. C(finish) tries each site, and lets jobs in.
  - Where the new commits need no migration, users see no page. C(migrate) restarts the web workers
    with the new code then, while calls wait at the router.
  - C(back) undoes what was done before users were let in; databases are restored only when their
    migration had begun. C(open) lets users and jobs in again. C(tell) says where a failed update
    stands, and C(forget) ends an update, and removes
    backups of former ones and outputs of former sites that are no longer kept.
options:
  phase:
    description: What is to be done.
    choices: [judge, begin, quiet, migrate, finish, back, open, tell, forget]
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
      backup_dir: {description: Where backups are put., type: path, required: true}
      keep:
        description: How many backups of former updates are kept, C({number, days}).
        type: dict
        required: true
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
      redis: {description: Folder of Redis' settings., type: path, required: true}
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
    "keep": {"type": "dict", "required": True},
    "sites": {"type": "list", "elements": "str", "required": True},
    "commits": {"type": "dict", "required": True},
    "apps": {"type": "list", "elements": "dict", "required": True},
    "build": {"type": "bool", "required": True},
    "web_port": {"type": "int", "required": True},
    "web_workers": {"type": "int", "required": True},
    "report_port": {"type": "int", "required": True},
    "job_seconds": {"type": "int", "required": True},
    "back": {"type": "bool", "required": True},
    "redis": {"type": "path", "required": True},
    "pythons": {"type": "dict", "default": {}},
    "socket": {"type": "path", "default": "/run/mysqld/mysqld.sock"},
}

REMOTES = ("upstream", "origin")
REFERENCE = re.compile(r"[\w][\w./+@-]*")
SHOWN_SUBJECTS = 12
LAST_LINES = 25
# Frappe 16 reads its configuration anew after a minute at the latest, and new processes at once.
KEEPS_CONFIG = 16
SETTLE_SECONDS = 90
QUIET_LOOKS, LOOK_SECONDS = 3, 0.3
# So long the web workers may take to listen after a start.
START_SECONDS = 60
# Processes of the pool for reports; see roles/bench_processes.
POOL_WORKERS = 2
# Longer than gunicorn lets a call take.
CALL_SECONDS = 150
SUSPENDED = "rq:suspended"
# A worker says every 2 s that it is there; see roles/jobs.
SILENT_SECONDS = 10.0
SWITCH = "maintenance_mode"
# Beside the dumps of an update: how large the databases were, {site: bytes}.
SIZES = "bytes.json"
# A dump may grow by more than its database since the last one, and other things write meanwhile.
GROWTH, SPARE_BYTES = 1.2, 64 * 2**20
# Of the server, for who connects while a database is dumped or restored; seconds, and see client().
PATIENT = {
    "max_allowed_packet": LARGEST_PACKET,
    "net_read_timeout": 3600,
    "net_write_timeout": 3600,
}
# Of the names of phases: what users are out for, and what of it is Frappe's own.
OUT, MIGRATION = "users out: ", "migration"


def new_stamp() -> str:
    """Name of an update, and of the folder of its backups: the time in which it begins."""
    return time.strftime("%Y%m%d-%H%M%S")


def sites_of(folders: Folders, named: list[str]) -> list[str]:
    """Sites of a bench: those of the inventory first, then those that somebody made besides.

    A folder whose name no host can have is no site to anybody, see docs/sites.md.
    """
    there = [site for site in folders.names() if is_name(site)]
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
        self.environment = user_environment(self.user, params["cli_dir"])
        self.staging = Staging(self.path, self.run)
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
        """Root's connection to the bench's Redis of that name."""
        with redis_admin(f"{self.params['redis']}/{name}.conf") as redis:
            yield redis

    def mariadb(self, statement: str) -> str:
        """Answer of the server's root on its socket."""
        argv = client("mariadb", self.params["socket"], "-BN", "-e", statement)
        done = subprocess.run(argv, text=True, capture_output=True, check=False)
        if done.returncode != 0:
            raise BenchError(f"MariaDB refused a statement: {done.stderr.strip()}")
        return done.stdout.strip()

    def database(self, site: str) -> str:
        """Name of a site's database; BenchError for one that cannot be backed up."""
        path = self.folders.config(site)
        if self.folders.unfinished(site):
            raise BenchError(
                f"{site} is still being made: wait until new-site has ended, and run site.yml where"
                f" that began it; what is left of one that was cut off, `drop-site {site}` removes"
                " (docs/sites.md)"
            )
        try:
            name = parse_site(site, read_bytes(path).decode(), path).database
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
                dumps = not self.state.get("backups") or self.state.get("opened")
                self.judge_disk(databases if dumps else {})
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
        if going and not self.state.get("finished"):
            self.words.append(self.outage_in_words({a: s["to"] for a, s in plan.items()}, plan))
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

    def data_bytes(self, database: str) -> int:
        """How large a database is on disk, or by its statistics, which lag behind large rows."""
        asked = self.mariadb(
            "SELECT GREATEST((SELECT COALESCE(SUM(data_length), 0) FROM information_schema.TABLES"
            f" WHERE TABLE_SCHEMA = '{database}'), (SELECT COALESCE(SUM(ALLOCATED_SIZE), 0) FROM"
            " information_schema.INNODB_SYS_TABLESPACES"
            f" WHERE SUBSTRING_INDEX(NAME, '/', 1) = '{database}'))"
        )
        return int(float(asked))

    def dumps(self) -> list[Thing]:
        """Folders of backups: those of this update while it stands are needed."""
        needed = list(self.state.get("backups", {}).values())
        needed += [f"{self.params['backup_dir']}/{self.state.get('stamp')}"] * bool(self.state)
        return things(self.params["backup_dir"], DUMPS, needed, is_whole_dump)

    def dump_bytes(self, site: str, now: int) -> int:
        """What a dump may take: by the last one and how the database has grown since, or all of it.

        now: bytes of the database.
        """
        for folder in sorted((thing.path for thing in self.dumps() if thing.whole), reverse=True):
            then = read_json(f"{folder}/{SIZES}").get(site)
            with suppress(FileNotFoundError):
                if then:
                    last = os.stat(f"{folder}/{site}.sql.gz").st_size
                    return int(min(now, last * now / then * GROWTH)) + SPARE_BYTES
        return now + SPARE_BYTES

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

    def outage_in_words(self, to: dict[str, str], plan: dict[str, Any]) -> str:
        """Whether users will be out, and why."""
        reasons = self.reasons({app: step["from"] for app, step in plan.items()}, to)
        if reasons:
            more = f" and {len(reasons) - 3} more" * (len(reasons) > 3)
            return f"users are out for a migration, which is for {', '.join(reasons[:3])}{more}"
        if self.state.get("migrates"):
            return "users are out for the migration that was begun"
        return "users stay in: no patch, DocType or hook has changed, so nothing is migrated"

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
        """Make what the update brings beside the running bench, and note the update."""
        judged = self.judge()
        if self.state:
            self.retarget({app: judged["to"][app] for app in self.state["to"]})
            self.prepare()
            self.save()
            return
        self.state = {key: judged[key] for key in ("from", "to")}
        # Noted once it is whole: what is left of one that was cut off goes with the next.
        self.prepare()
        self.save(
            stamp=new_stamp(),
            drained=self.params["drained"],
            asked=self.params["commits"],
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
        migrates = self.migrates() or self.reasons(self.state["from"], to) != []
        self.save(
            to=to, asked=asked, tried=tried, coded=False, migrated=[], migrates=migrates, **anew
        )

    def prepare(self) -> None:
        """Make code, environment and web assets beside the running bench, unless they are there."""
        made, to = self.state.get("made", {}), self.state["to"]
        if self.state.get("coded") or self.state.get("finished"):
            return
        known = self.state.get("items", {})
        if made.get("for") == to and (known or self.staging.is_whole(made["items"])):
            return
        if known and not self.state.get("touched") and not self.state.get("opened"):
            self.take_back()
        here = {app: apps["commit"] for app, apps in installed_apps(self.path).items()}
        old = self.state["from"]
        moved = [app for app, commit in to.items() if {old[app], here.get(app)} != {commit}]
        try:
            with self.phase("new code and packages, beside the running bench"):
                self.staging.make_code(to, moved)
            if self.params["build"]:
                with self.phase("web assets, beside the running bench"):
                    self.staging.make_assets()
            items = self.staging.end(moved, self.params["build"])
            self.judge_owners(items)
        except BaseException:
            with suppress(BenchError):
                self.staging.drop(to, keep_old=True)
            raise
        self.state["made"] = {"for": to, "items": items}
        self.state.setdefault("migrates", self.reasons(self.state["from"], to) != [])

    def judge_owners(self, items: list[str]) -> None:
        """BenchError for folders that the bench's account cannot move away."""
        mine = os.stat(self.path).st_uid
        folders = [f"{self.path}/{item}" for item in items]
        wrong = [f for f in folders if os.path.isdir(f) and os.lstat(f).st_uid != mine]
        if wrong:
            raise BenchError(
                f"{', '.join(wrong[:5])} belongs to another account, and {self.user} must put"
                f" another in its place: chown -R {self.user}: {' '.join(wrong[:5])}"
            )

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

    def migrates(self) -> bool:
        """Whether this update migrates the sites, for which users are out."""
        return bool(self.state.get("migrates", True))

    @contextmanager
    def phase(self, words: str) -> Iterator[None]:
        """Note how many seconds a phase takes, for the outcome."""
        begun = time.monotonic()
        try:
            yield
        finally:
            took = time.monotonic() - begun
            self.state.setdefault("phases", []).append([words, round(took, 1)])

    # --- new code -----------------------------------------------------------------------------

    def quiet(self) -> None:
        """Jobs wait, those that run have ended, and users notice nothing yet."""
        if self.state.get("coded"):
            return
        with self.phase("jobs that ran were waited for"):
            self.suspend_jobs()
        self.save()

    def code(self) -> None:
        """The bench has the new code; users are out from here on where sites are to be migrated."""
        if self.state.get("coded"):
            return
        self.suspend_jobs()
        stop(self.name, doing(self.name, *JOBS))
        if self.migrates():
            self.code_behind_closed_doors()
            self.save(coded=True)
        else:
            self.save(renewed=True)
            words = "restart with the new code, for which calls waited at the router"
            self.restart_web(words, self.bring_code, self.see_answers)
            self.settle()
            self.save(coded=True, opened=True, restarted=True)

    def code_behind_closed_doors(self) -> None:
        """Users see the maintenance page; backups are made, and the new code is put in place."""
        backed_up = bool(self.state.get("backups"))
        with self.phase(f"{OUT}closing the sites"):
            self.close()
            if not backed_up:
                self.wait_for_calls()
            # A worker that was waiting took what the last calls queued, switch or not.
            self.wait_for_jobs()
        if not backed_up:
            with self.phase(f"{OUT}backup"):
                self.back_up()
        with self.phase(f"{OUT}new code in place"):
            self.bring_code()
            self.settle()

    def bring_code(self) -> None:
        """Put code, environment and web assets in place."""
        for app, commit in self.state["to"].items():
            self.reset(app, commit)
        known = self.state.get("items", {})
        items = self.state.get("made", {}).get("items", [])
        replaced = {item: os.path.lexists(f"{self.path}/{item}") for item in items}
        # Of a try before this one: what that has replaced is what there was.
        self.save(items={**replaced, **known})
        self.staging.put(items)
        self.forget_asset_list()

    def take_back(self) -> None:
        """Put environment and web assets of the old code back in place."""
        self.staging.take(self.state.get("items", {}))
        self.save(items={})
        self.forget_asset_list()

    def forget_asset_list(self) -> None:
        """The shared cache names no web assets that are not there."""
        with self.redis("redis_cache") as redis:
            redis.ask("DEL", "assets_json")

    def see_answers(self) -> None:
        """Nothing cached is of the old code, and each site answers with the new one."""
        for site in self.sites:
            words = ["--site", site, "clear-cache"]
            frappe_command(self.path, self.user, self.environment, words, " ".join(words))
        self.wait_until_it_listens()
        self.wait_for_answer(200)

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
                time.sleep(LOOK_SECONDS)

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
        if not self.state.get("closed"):
            self.save(closed=time.time())
        self.switch(1)
        if int((app_version(self.path, "frappe") or "0").split(".")[0]) >= KEEPS_CONFIG:
            known = list(programs(self.name))
            control("signal", "HUP", *together(doing(self.name, "web")(known), known))
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
        replace(path, text.encode(), owner=self.owner())

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
            database = self.database(site)
            sizes = {**read_json(f"{folder}/{SIZES}"), site: self.data_bytes(database)}
            self.dump(database, target)
            with open(f"{folder}/{SIZES}", "w", encoding="utf-8") as out:
                json.dump(sizes, out)
            config = f"{self.path}/sites/{site}/site_config.json"
            replace(f"{folder}/{site}.site_config.json", read_bytes(config), 0o600)
            files[site] = target
        # The databases are changed next, and the note of the backups may lie on another disk.
        os.sync()
        self.save(backups=files)

    def without_backup(self) -> list[str]:
        """Sites that this update has not backed up: all, or those made since it was begun."""
        return [site for site in self.sites if site not in self.state.get("backups", {})]

    def dump(self, database: str, target: str) -> None:
        """Write a dump that brings a database back as it was, tables that are new later dropped."""
        argv = client("mariadb-dump", self.params["socket"])
        argv += ["--single-transaction", "--quick", "--routines", "--triggers", "--events"]
        argv += ["--default-character-set=utf8mb4", "--add-drop-database", "--databases", database]
        try:
            with self.patient_server():
                status, words = self.written(argv, f"{target}.new", f"{target}.errors")
        except OSError as error:
            status, words = 1, f"{target}.new: {error.strerror}"
        for path in (f"{target}.errors", *[f"{target}.new"] * (status != 0)):
            with suppress(FileNotFoundError):
                os.unlink(path)
        if status != 0:
            raise BenchError(f"the backup of {database} failed: {words[-500:]}")
        os.replace(f"{target}.new", target)

    def written(self, argv: list[str], target: str, errors: str) -> tuple[int, str]:
        """Write a command's output to a file, packed; its exit status and last words.

        The words go to a file of their own meanwhile: a pipe that nobody reads would fill up.
        """
        with (
            open(errors, "w+", encoding="utf-8") as said,
            open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as raw,
            subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=said) as process,
        ):
            assert process.stdout is not None
            with gzip.open(raw, "wb", compresslevel=3) as packed:
                shutil.copyfileobj(process.stdout, packed, 1 << 20)
            raw.flush()
            os.fsync(raw.fileno())
            process.wait()
            said.seek(0)
            return process.returncode, said.read().strip()

    def built(self, app: str) -> str:
        """Folder of an app's built assets."""
        return f"{self.folder(app)}/{app}/public/dist"

    def check_out(self, app: str, commit: str) -> None:
        """Bring an app's files to a commit; they are on disk when this ends."""
        self.reset(app, commit)
        self.settle()

    def reset(self, app: str, commit: str) -> None:
        """Bring an app's files to a commit; until they are on disk it counts as moving."""
        moving = self.state.get("moving", [])
        if git(self.folder(app), "rev-parse", "HEAD") == commit and app not in moving:
            return
        if app in moving:
            drop_git_locks(self.folder(app))
        self.save(moving=sorted({*moving, app}))
        what = f"checking out {app} at {commit[:10]}"
        self.run(["git", "reset", "--quiet", "--hard", commit], what, cwd=self.folder(app))

    def settle(self) -> None:
        """Have the disk hold what git leaves to the kernel.

        A commit of which some files are empty after a power cut would seem whole.
        """
        if self.state.get("moving"):
            os.sync()
            self.save(moving=[])

    # --- migration ----------------------------------------------------------------------------

    def migrate(self) -> None:
        """Bring the new code, migrate each site, restart all programs, and let users in.

        In one go: who is out waits for no further step of Ansible's.
        """
        self.code()
        if not self.migrates():
            return
        # New code was built meanwhile, in this run or in one that was killed.
        self.suspend_jobs()
        stop(self.name, doing(self.name, *JOBS))
        if self.without_backup():
            self.back_up()
        migrated = self.state.get("migrated", [])
        for site in self.sites:
            if site in migrated:
                continue
            touched = self.state.get("touched", [])
            self.save(touched=touched if site in touched else [*touched, site], restarted=False)
            with self.phase(f"{OUT}{MIGRATION} of {site}"):
                self.migrate_site(site)
            migrated = [*migrated, site]
            self.save(migrated=migrated)
        if not self.state.get("restarted"):
            self.restart_web(f"{OUT}restart", then=self.let_in)
            self.save(restarted=True)
            try:
                if not self.state.get("former"):
                    self.wait_for_answer(200)
            except BenchError:
                self.switch(1)
                raise

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
        log = self.log(site)
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

    def restart_web(
        self,
        words: str,
        between: Callable[[], None] | None = None,
        then: Callable[[], None] | None = None,
    ) -> None:
        """Restart what users are connected to, while their calls wait at the router.

        words: name of the phase. between: what is done while nothing runs. then: what is done once
        all is started, while calls still wait.
        """
        known = list(programs(self.name))
        serving = together(doing(self.name, "web")(known), known)
        pool = self.params["report_port"]
        hold = f"{self.params['state_dir']}/hold"
        waits = held(hold, "127.0.0.1", self.params["web_port"], pool=pool)
        with self.phase(words), waits:
            control_each("stop", serving)
            if between:
                between()
            control_each("start", serving)
            if then:
                then()
            self.wait_until_it_listens()
        control_each("restart", doing(self.name, "socketio")(known))

    def wait_until_it_listens(self) -> None:
        """Wait for the web workers; BenchError when they do not come."""
        deadline = time.monotonic() + START_SECONDS
        while self.params["web_workers"] and not listens("127.0.0.1", self.params["web_port"]):
            if time.monotonic() > deadline:
                raise BenchError(
                    f"the web workers do not listen on port {self.params['web_port']} within"
                    f" {START_SECONDS} s; {self.path}/logs/web.error.log has their last words"
                )
            time.sleep(0.05)

    def let_in(self) -> None:
        """All programs run the new code, and users are let in.

        No call has come yet: no process has seen, and keeps for a while, that the sites are closed.
        """
        self.wait_until_it_listens()
        start(self.name)
        # From here on users may have written, and no backup holds that.
        self.save(opened=True, out=round(time.time() - self.state.pop("closed", time.time())))
        self.switch(self.state.get("former"))

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
        self.save(finished=True)
        self.drop_staging()
        self.words += self.outcome()

    def outcome(self) -> list[str]:
        """What an update that is done took, phase by phase."""
        phases = [(words, seconds) for words, seconds in self.state.get("phases", [])]
        lines = [f"backup: {', '.join(self.state.get('backups', {}).values()) or 'none'}"]
        lines += [f"{seconds:.0f} s {words}" for words, seconds in phases]
        if "out" not in self.state:
            return [*lines, "users were not out: nothing was to be migrated"]
        own = sum(s for words, s in phases if words.startswith(f"{OUT}{MIGRATION}"))
        out = self.state["out"]
        return [*lines, f"users were out for {out} s, {own:.0f} s of them for the migration"]

    def drop_staging(self) -> None:
        """Nobody goes back any more."""
        if os.path.lexists(self.staging.path):
            self.staging.drop(self.staging.folders())

    def forget(self) -> None:
        """End the update; what nobody goes back to any more is removed."""
        self.drop_staging()
        if os.path.exists(self.file):
            os.unlink(self.file)
        self.state = {}
        gone = tidy(self.dumps(), self.params["keep"])
        self.words += [f"removed {path}, the backup of a former update" for path in gone]
        for site in set(self.logs()) - set(self.sites):
            os.unlink(self.log(site))

    def log(self, site: str) -> str:
        """File with the output of a site's last migration."""
        return f"{self.params['state_dir']}/update-{site}.log"

    def logs(self) -> list[str]:
        """Sites, former ones among them, of which such a file is there."""
        names = [re.fullmatch(r"update-(.+)\.log", n) for n in os.listdir(self.params["state_dir"])]
        return [name.group(1) for name in names if name]

    # --- the way back -------------------------------------------------------------------------

    def back(self) -> None:
        """Undo databases, code, requirements and assets. Users and jobs still wait."""
        if not self.state:
            return
        touched = self.state.get("touched", [])
        if touched:
            self.save(back=True)
            stop(self.name, doing(self.name, *JOBS))
        else:
            self.save(coded=False)
        here = [site for site in touched if site in self.sites]
        for site in here:
            if site not in self.state.get("restored", []):
                self.restore(site)
                self.save(restored=[*self.state.get("restored", []), site])
        for app, commit in self.state["from"].items():
            self.check_out(app, commit)
        self.take_back()
        for site in here:
            self.run(["bench", "--site", site, "clear-cache"], f"clear-cache of {site}")
        if touched or self.state.get("renewed"):
            self.restart_web("restart with the old code")
        if not touched:
            start(self.name)
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
        """Bring a site's database back to its backup.

        BenchError before anything is dropped where it finds no room. The binary log beside the data
        gets all of it, too.
        """
        backup = self.state["backups"][site]
        size = read_json(f"{os.path.dirname(backup)}/{SIZES}").get(site, 0)
        if lack := lack_of_room(self.mariadb("SELECT @@datadir"), size, f"restoring {site}"):
            raise BenchError(
                f"{lack}, as all of it goes through MariaDB's binary log: make room there, and run"
                " the same command again"
            )
        # Else the log would hold each statement beside its rows; and a limit of time that somebody
        # has set for all could cut off what drops the database, at which replicas stop.
        first = "SET binlog_annotate_row_events = OFF, max_statement_time = 0"
        words = client("mariadb", self.params["socket"], f"--init-command={first}")
        with self.patient_server():
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", 'gunzip -c "$0" | "$@"', backup, *words],
                text=True,
                errors="replace",
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode != 0:
            # The client may repeat the statement that failed, and that is the site's data.
            told = re.findall(r"^(?:ERROR|bash:|gzip:|mariadb:).{0,300}", done.stdout, re.MULTILINE)
            raise BenchError(
                f"restoring {site} (gunzip -c '{backup}' | {shlex.join(words)}) failed:"
                f" {'; '.join(told[-5:]) or f'exit status {done.returncode}'}"
            )

    @contextmanager
    def patient_server(self) -> Iterator[None]:
        """Who connects meanwhile may send and get packets of any size, and stop for an hour.

        Else a disk that stalls for a minute would end a dump. Where this is cut off, the settings
        stay so until MariaDB is restarted, or the next run of site.yml.
        """
        former = self.mariadb(f"SELECT {', '.join(f'@@GLOBAL.{name}' for name in PATIENT)}")
        self.mariadb(f"SET GLOBAL {', '.join(f'{n} = {value}' for n, value in PATIENT.items())}")
        try:
            yield
        finally:
            values = zip(PATIENT, former.split(), strict=False)
            with suppress(BenchError):
                self.mariadb(f"SET GLOBAL {', '.join(f'{n} = {value}' for n, value in values)}")

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


PHASES = ("judge", "begin", "quiet", "migrate", "finish", "back", "open", "tell", "forget")


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
