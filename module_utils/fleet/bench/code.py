"""Which Python and Node.js the code of the apps requires, read on a bench or in repositories."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from typing import Any

from . import apps as of_app
from .account import BenchError, run_as, user_environment
from .files import without_password
from .look import git
from .needs import ASKED, FILES, shown

# How long a repository may take to answer.
SECONDS = 60
# Reads a repository while the bench's account does not exist yet: an account without rights.
NOBODY = "nobody"

# Why nothing is known on a new host.
NO_GIT = "git is not installed"
# What git says of a commit that a repository does not have.
NOT_THERE = "not our ref"
# What it adds to every failure.
ADVICE = re.compile(r"\s*$|Please make sure you have the correct|and the repository exists")
WHOLE_COMMIT = 40
# Of what git says, in characters.
LONGEST = 500

# An app in the options of a module. The address may hold a password.
APP_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "repo": {"type": "str", "required": True, "no_log": True},
    "branch": {"type": "str"},
    "commit": {"type": "str"},
}

Read = Callable[[str], str | None]


def asked(read: Read) -> dict[str, Any]:
    """What an app requires; ``read`` gives the text of a file of its repository, None without."""
    return {kind: ASKED[kind](read(name) or "") for kind, name in FILES.items()}


def of_checkout(folder: str) -> dict[str, Any] | None:
    """What an app's checkout requires at its commit, None where there is no commit.

    Whether it fits the other apps is not read again: it is installed.
    """
    try:
        if git(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}") is None:
            return None
    except BenchError as error:
        return {"trouble": str(error)}

    def read(name: str) -> str | None:
        return git(folder, "cat-file", "blob", f"HEAD:{name}")

    package = read(f"{os.path.basename(folder)}/__init__.py") or ""
    return {**asked(read), "version": of_app.version(package), "here": True}


def of_folder(folder: str, ref: str, to_get: str = "") -> dict[str, Any]:
    """What a repository on this host requires at a commit, branch or tag.

    to_get: the app that is to be installed from it.
    """
    if git(folder, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}") is None:
        return {"trouble": f"it has no {ref}, or git may not read it"}

    def read(name: str) -> str | None:
        return git(folder, "cat-file", "blob", f"{ref}:{name}")

    return to_come(to_get, read) if to_get else asked(read)


def to_come(app: str, read: Read) -> dict[str, Any]:
    """What an app that is to be installed requires, of other apps, too."""
    return {**asked(read), **of_app.says(app, read)}


def of_address(app: str, address: str, ref: str, user: str) -> dict[str, Any]:
    """What a repository elsewhere requires at a commit, branch or tag; fetches only that commit.

    The address may hold a password, so it is not on a command line: it is written to the
    configuration of a temporary repository.
    """
    account = pwd.getpwnam(user)
    place = tempfile.mkdtemp(prefix="benchfleet-code-")
    try:
        if os.geteuid() == 0:
            os.chown(place, account.pw_uid, account.pw_gid)
        home = account.pw_dir if os.path.isdir(account.pw_dir) else place
        ssh = "ssh -o BatchMode=yes -o ConnectTimeout=10"
        environment = {**user_environment(user, "/usr/local", ssh), "HOME": home}

        def run(*argv: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
            return run_as(user, [*argv], place, environment, stdin=stdin, timeout=SECONDS)

        run("git", "init", "--quiet", "--bare", place)
        quoted = address.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "")
        remote = f'[remote "origin"]\n\turl = "{quoted}"\n'
        run("sh", "-c", "cat >>config", stdin=remote)
        fetch = ["git", "fetch", "--quiet", "--depth", "1", "--filter=blob:none", "origin"]
        done = run(*fetch, "--end-of-options", ref)
        if done.returncode != 0:
            lines = [line for line in done.stdout.splitlines() if not ADVICE.match(line)]
            # An ssh server's greeting comes first.
            message = without_password("; ".join(lines[-3:]) or "git gave no reason")
            return {"trouble": shown(message, LONGEST)}

        def read(name: str) -> str | None:
            # The file is fetched now; messages of ssh are not part of it.
            script = 'exec git cat-file blob "$1" 2>/dev/null'
            blob = run("sh", "-c", script, "sh", f"FETCH_HEAD:{name}")
            return blob.stdout if blob.returncode == 0 else None

        return to_come(app, read)
    except subprocess.TimeoutExpired:
        return {"trouble": f"no answer within {SECONDS} s"}
    finally:
        shutil.rmtree(place, ignore_errors=True)


def of_repository(app: dict[str, Any], user: str) -> dict[str, Any]:
    """What an app that is to be installed requires; ``trouble`` says why that is not known."""
    name, repo, commit = app["name"], app["repo"], app.get("commit") or ""
    if not shutil.which("git"):
        return {"trouble": NO_GIT}
    ref = str(commit or app.get("branch") or "HEAD")
    if os.path.isdir(repo):
        return of_folder(repo, ref, name)
    if not repo:
        # A name that the bench CLI looks up at GitHub. What it finds there is not known.
        return asked(lambda _: None)
    found = of_address(name, repo, ref, user)
    gone = NOT_THERE in found.get("trouble", "") and len(commit) == WHOLE_COMMIT
    if "trouble" in found and not gone and commit and app.get("branch"):
        # A short commit, or one that the server does not serve by its name.
        return of_address(name, repo, str(app["branch"]), user)
    return found


def reader(user: str) -> str:
    """The bench's account, or one without rights while that does not exist."""
    try:
        return pwd.getpwnam(user).pw_name
    except KeyError:
        return NOBODY


def look(bench: str, apps: list[dict[str, Any]], user: str) -> dict[str, dict[str, Any]]:
    """What the code of the apps requires: {app: {python, node, …}}, or {trouble} if not known.

    These are the apps of the bench, and those that ``apps`` adds: {name, repo, branch, commit}.
    It also has which apps they require of each other: see apps.py.
    """
    user = reader(user)
    found = {}
    folder = f"{bench}/apps"
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        if not of_app.NAME.fullmatch(name) or not os.path.exists(f"{folder}/{name}/.git"):
            continue
        there = of_checkout(f"{folder}/{name}")
        if there is not None:
            found[name] = there
    for app in apps:
        if app["name"] not in found:
            found[app["name"]] = of_repository(app, user)
    return found
