"""What the code of the apps asks for, read on a bench or from the repositories."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from typing import Any

from ansible.module_utils.bench import git, run_as, without_password
from ansible.module_utils.needs import ASKED, FILES

# How long a repository may take to answer.
SECONDS = 60
# A repository is read by whoever shall have no rights, where the bench's account is not there yet.
NOBODY = "nobody"

# An app in the options of a module. The address may hold a password.
APP_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "repo": {"type": "str", "required": True, "no_log": True},
    "branch": {"type": "str"},
    "commit": {"type": "str"},
}

Read = Callable[[str], str | None]


def asked(read: Read) -> dict[str, str]:
    """What an app asks for; ``read`` gives the text of a file at its root, None without one."""
    return {kind: ASKED[kind](read(name) or "") for kind, name in FILES.items()}


def of_checkout(folder: str) -> dict[str, str] | None:
    """What an app's checkout asks for at its commit, None where there is no commit."""
    if git(folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}") is None:
        return None
    return asked(lambda name: git(folder, "cat-file", "blob", f"HEAD:{name}"))


def of_folder(folder: str, ref: str) -> dict[str, str]:
    """What a repository on this host asks for at a commit, branch or tag."""
    if git(folder, "rev-parse", "--verify", "--quiet", f"{ref}^{{commit}}") is None:
        return {"trouble": f"it has no {ref}, or git may not read it"}
    return asked(lambda name: git(folder, "cat-file", "blob", f"{ref}:{name}"))


def of_address(address: str, ref: str, user: str) -> dict[str, str]:
    """What a repository elsewhere asks for at a commit, branch or tag: one commit, without files.

    The address may hold a password, so it is on none of our command lines: it stands in the
    configuration of a repository that is removed again.
    """
    account = pwd.getpwnam(user)
    place = tempfile.mkdtemp(prefix="benchfleet-code-")
    try:
        if os.geteuid() == 0:
            os.chown(place, account.pw_uid, account.pw_gid)
        home = account.pw_dir if os.path.isdir(account.pw_dir) else place
        environment = {
            "HOME": home,
            "USER": user,
            "LANG": "C.UTF-8",
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_SSH_COMMAND": "ssh -o BatchMode=yes -o ConnectTimeout=10",
        }
        for name in ("http_proxy", "https_proxy", "no_proxy"):
            if os.environ.get(name):
                environment[name] = os.environ[name]

        def run(*words: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
            return run_as(user, [*words], place, environment, stdin=stdin, timeout=SECONDS)

        run("git", "init", "--quiet", "--bare", place)
        quoted = address.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "")
        remote = f'[remote "origin"]\n\turl = "{quoted}"\n'
        run("sh", "-c", "cat >>config", stdin=remote)
        fetch = ["git", "fetch", "--quiet", "--depth", "1", "--filter=blob:none", "origin"]
        done = run(*fetch, "--end-of-options", ref)
        if done.returncode != 0:
            last = (done.stdout.strip().splitlines() or ["no word from git"])[-1]
            return {"trouble": without_password(last)}

        def read(name: str) -> str | None:
            blob = run("git", "cat-file", "blob", f"FETCH_HEAD:{name}")
            return blob.stdout if blob.returncode == 0 else None

        return asked(read)
    except subprocess.TimeoutExpired:
        return {"trouble": f"no answer within {SECONDS} s"}
    finally:
        shutil.rmtree(place, ignore_errors=True)


def of_repository(app: dict[str, Any], user: str) -> dict[str, str]:
    """What an app will ask for once it is got; ``trouble`` says why that is not known."""
    if not shutil.which("git"):
        return {"trouble": "git is not installed"}
    ref = str(app.get("commit") or app.get("branch") or "HEAD")
    if os.path.isdir(app["repo"]):
        return of_folder(app["repo"], ref)
    found = of_address(app["repo"], ref, user)
    if "trouble" in found and app.get("commit") and app.get("branch"):
        # A short commit, or one that the server gives to nobody who asks for it by name.
        return of_address(app["repo"], str(app["branch"]), user)
    return found


def look(bench: str, apps: list[dict[str, Any]], user: str) -> dict[str, dict[str, str]]:
    """What the code at hand asks for: {app: {python, node}}, or {trouble} where it is not known.

    Of the apps of the bench, and of those that ``apps`` adds to them: {name, repo, branch, commit}.
    """
    try:
        pwd.getpwnam(user)
    except KeyError:
        user = NOBODY
    found = {}
    folder = f"{bench}/apps"
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else []:
        there = of_checkout(f"{folder}/{name}") if os.path.exists(f"{folder}/{name}/.git") else None
        if there is not None:
            found[name] = there
    for app in apps:
        if app["name"] not in found:
            found[app["name"]] = of_repository(app, user)
    return found
