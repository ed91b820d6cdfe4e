"""Reads a bench: its apps with their commits, its packages and its DocTypes."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import pwd
import re
import subprocess
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

from ..foreign import as_owner
from .account import BenchError, read_foreign
from .apps import version
from .files import without_password

# How long git may take to read in a checkout.
GIT_SECONDS = 120
# Names of the remote from which an app's commits come; the first is the bench CLI's.
REMOTES = ("upstream", "origin")


def git(folder: str, *arguments: str) -> str | None:
    """Output of a read-only git command in ``folder``, None when it fails.

    It runs as the folder's owner: a repository's configuration may name programs that git runs. For
    folders of root, git's own rule is kept, that it reads no repository of another account: the
    folder may be a link, made by the bench's account, to a folder of root in which all accounts may
    make a repository, as /tmp. The folder is opened once, so that the link cannot be changed after
    its owner was read.

    Raises BenchError where git does not end, for example one that waits for a pipe.
    """
    if os.getuid() != os.geteuid():
        raise RuntimeError("git is run while root acts as another account")
    try:
        place = os.open(folder, os.O_PATH | os.O_DIRECTORY)
    except OSError:
        return None
    try:
        owner = os.fstat(place)
        account = pwd.getpwuid(owner.st_uid)
        identity: dict[str, Any] = {}
        trust = ["-c", "safe.directory=*"]
        if os.geteuid() == 0 and owner.st_uid != 0:
            identity = {"user": owner.st_uid, "group": owner.st_gid, "extra_groups": []}
        elif os.geteuid() == 0:
            trust = []
        result = subprocess.run(
            ["git", *trust, *arguments],
            cwd=f"/proc/self/fd/{place}",
            env={**os.environ, "HOME": account.pw_dir},
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=GIT_SECONDS,
            check=False,
            # Programs of that account must not have root's terminal: they could type into it.
            start_new_session=True,
            **identity,
        )
    except KeyError:
        return None
    except subprocess.TimeoutExpired as error:
        raise BenchError(
            f"`git {arguments[0]}` in {folder} did not end within {GIT_SECONDS} s; run it there, as"
            " the bench's account, to see why"
        ) from error
    finally:
        os.close(place)
    return result.stdout.strip() if result.returncode == 0 else None


def git_said(folder: str, *arguments: str) -> str:
    """Output of a read-only git command that has to succeed; "" is a possible output.

    Raises BenchError where it fails: what cannot be read must not count as unchanged.
    """
    said = git(folder, *arguments)
    if said is None:
        command = " ".join(arguments)
        raise BenchError(
            f"`git {arguments[0]}` failed in {folder}: run `git {command}` there, as the bench's"
            " account, to see why"
        )
    return said


def drop_git_locks(folder: str) -> None:
    """Remove the locks that an interrupted git leaves in a repository; later ones fail on them.

    Only for a repository in which a git of ours was interrupted, and no other one runs now.
    """
    for name in ("index.lock", "shallow.lock"):
        path = f"{folder}/.git/{name}"
        with suppress(FileNotFoundError), as_owner(path, follow=False):
            os.unlink(path)


def app_version(bench: str, app: str) -> str | None:
    """``__version__`` of an app's package, read without importing it."""
    return version(read_foreign(f"{bench}/apps/{app}/{app}/__init__.py") or "") or None


def installed_apps(bench: str) -> dict[str, dict[str, Any]]:
    """Apps of a bench: {name: {commit, branch, version, changes}}.

    ``changes`` is a short hash over what differs from the commit, "" when nothing does.
    """
    apps: dict[str, dict[str, Any]] = {}
    folder = f"{bench}/apps"
    with as_owner(folder):
        if not os.path.isdir(folder):
            return apps
        names = [name for name in os.listdir(folder) if os.path.isdir(f"{folder}/{name}/.git")]
    for name in sorted(names):
        path = f"{folder}/{name}"
        commit = git(path, "rev-parse", "HEAD")
        if commit is None:
            continue
        # `yarn install` completes the lock file of a checkout by itself.
        changes = git_said(path, "diff", "HEAD", "--", ".", ":!yarn.lock")
        apps[name] = {
            "commit": commit,
            "branch": git(path, "symbolic-ref", "--short", "-q", "HEAD"),
            "version": app_version(bench, name),
            "changes": hashlib.sha256(changes.encode()).hexdigest()[:10] if changes else "",
        }
    return apps


def upstream(folder: str) -> tuple[str, str]:
    """Name and address of the remote from which an app's commits come; ("", "") for none."""
    found = ((name, git(folder, "remote", "get-url", name)) for name in REMOTES)
    return next(((name, url) for name, url in found if url), ("", ""))


def upstreams(bench: str, apps: Iterable[str]) -> dict[str, str]:
    """Address from which each app's commits come, without a password; apps without one are out."""
    found = {app: without_password(upstream(f"{bench}/apps/{app}")[1]) for app in apps}
    return {app: url for app, url in found.items() if url}


# Part of each new environment; no app requires them.
ENVIRONMENT_TOOLS = frozenset({"pip", "setuptools", "uv", "wheel"})


def installed_packages(bench: str) -> dict[str, str]:
    """Packages of a bench's environment that came from an index: name → version.

    The apps are not among them: they are known by their commits.
    """
    found: dict[str, str] = {}
    folders = f"{glob.escape(bench)}/env/lib/python3*/site-packages/*.dist-info"
    with as_owner(f"{bench}/env"):
        paths = [p for p in glob.glob(folders) if not os.path.lexists(f"{p}/direct_url.json")]
    for path in paths:
        # Other names, which the account may have made, must not become arguments of a command.
        about = re.fullmatch(r"([A-Za-z0-9][\w.]*)-(\d[\w.+!]*)\.dist-info", os.path.basename(path))
        if about:
            name = re.sub(r"[-_.]+", "-", about.group(1)).lower()
            found[name] = about.group(2)
    return {name: found[name] for name in sorted(found) if name not in ENVIRONMENT_TOOLS}


def scrub(name: str) -> str:
    """Name of the folder of a module or DocType, as Frappe forms it."""
    return name.replace(" ", "_").replace("-", "_").lower()


def doctype_files(bench: str, app: str) -> list[str]:
    """The files of an app's DocTypes, where Frappe looks: in the folders of its modules."""
    package = f"{bench}/apps/{app}/{app}"
    modules = (read_foreign(f"{package}/modules.txt") or "").splitlines()
    found: list[str] = []
    for module in {scrub(line.strip()) for line in modules if line.strip()}:
        folder = f"{package}/{module}/doctype"
        with suppress(OSError), as_owner(folder):
            files = [f"{folder}/{name}/{name}.json" for name in os.listdir(folder)]
            found += filter(os.path.isfile, files)
    return sorted(found)


def lacking_doctypes(files: list[str], singles: dict[str, bool], tables: set[str]) -> list[str]:
    """DocTypes of an app that a site's database lacks, with their tables or the tables alone.

    files: see doctype_files. singles: the DocTypes of the database and whether each is a single,
    which has no table. tables: the tables of the database.
    """
    whole = {scrub(name) for name, single in singles.items() if single or f"tab{name}" in tables}
    lacking = []
    for path in files:
        if os.path.basename(path).removesuffix(".json") in whole:
            continue
        try:
            content = json.loads(read_foreign(path) or "")
        except (ValueError, RecursionError):
            continue
        if not isinstance(content, dict) or content.get("doctype") != "DocType":
            continue
        name = str(content.get("name"))
        bare = content.get("issingle") or content.get("is_virtual")
        if name not in singles or not (bare or f"tab{name}" in tables):
            lacking.append(name)
    return lacking
