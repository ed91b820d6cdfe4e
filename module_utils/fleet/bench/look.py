"""Reading a bench: its apps and their commits, packages, web assets, and DocTypes."""

from __future__ import annotations

import glob
import hashlib
import json
import os
import pwd
import re
import subprocess
from contextlib import suppress
from typing import Any

from ..foreign import as_owner
from .account import BenchError, read_foreign
from .apps import version

# How long git may take to read in a checkout.
GIT_SECONDS = 120


def git(folder: str, *arguments: str) -> str | None:
    """Output of a read-only git command in ``folder``, None when it fails.

    As the folder's owner: a repository's own configuration names programs that git runs. Root
    leaves git its own rule, that nobody else's repository is read: the folder may be a link of the
    bench's account to one of root's in which everybody may make a repository, as /tmp. It is opened
    once, so that the link cannot be turned after the owner was asked.

    Raises BenchError where git gives no answer, as one that waits for a pipe.
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
            **identity,
        )
    except KeyError:
        return None
    except subprocess.TimeoutExpired as error:
        words = f"`git {arguments[0]}` in {folder} gave no answer within {GIT_SECONDS} s; look why"
        raise BenchError(words) from error
    finally:
        os.close(place)
    return result.stdout.strip() if result.returncode == 0 else None


def git_said(folder: str, *arguments: str) -> str:
    """Output of a read-only git command that has to succeed; "" is an answer of git's own.

    Raises BenchError where it fails: what could not be read is not unchanged.
    """
    said = git(folder, *arguments)
    if said is None:
        words = " ".join(arguments)
        raise BenchError(
            f"`git {arguments[0]}` failed in {folder}: run `git {words}` there, as the bench's"
            " account, to see why"
        )
    return said


def drop_git_locks(folder: str) -> None:
    """Remove what git leaves in a repository when it is cut off, and stumbles at ever after.

    Only for a repository in which a run of ours was cut off, and nobody else's works now.
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


# Came with the tools that made an environment, and no app asks for them.
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
        # Whatever else the account may have put there is no argument for a command.
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
