"""A lab's framework and apps as git repositories: the demo, a path here, or an address."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchfleet.lab.state import Lab
from benchfleet.runner import ROOT
from benchfleet.shell import FleetError, run, succeeds

DEMO = ROOT / "demo"
# The bench CLI names an app after its repository's folder, and cannot read a bare one.
REPOSITORIES = "/srv/lab"
IN_HOST = f"{REPOSITORIES}/frappe"
BRANCH = "main"
APP = re.compile(r"[a-z][a-z0-9_]*")
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://|[^/]+@[^/]+:")
# The demo has the shape of Frappe 15. The lab's branch version-16 has that of Frappe 16: these are
# the changes to the demo's files; the rest follows from the version.
VERSION_15, VERSION_16 = "version-15", "version-16"
CHANGES_16 = {
    "frappe/__init__.py": {'"15.44.0+demo"': '"16.0.0+demo"'},
    "pyproject.toml": {
        '"rq==1.16.2"': '"rq==2.6.1"',
        '"PyMySQL==1.1.1",': '"PyMySQL==1.1.1",\n    "mysqlclient==2.2.7",',
    },
}
# The same tree has to give the same commit, whenever and wherever it is made.
FIXED = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in {
        "NAME": "Benchfleet lab",
        "EMAIL": "lab@benchfleet.invalid",
        "DATE": "2024-01-01T00:00:00+0000",
    }.items()
}


def repositories(lab: Lab) -> Path:
    """Return the folder of all repositories, bound into the primary from its first boot on."""
    return lab.path / "repositories"


def repository(lab: Lab, app: str = "frappe") -> Path:
    """Return the folder of one app's repository."""
    return repositories(lab) / app


def trusted(lab: Lab) -> list[str]:
    """Return the folders on the primary that git reads although they belong to root."""
    places = [f"{REPOSITORIES}/{name}" for name in ("frappe", *(a["name"] for a in lab.apps))]
    return [folder for place in places for folder in (place, f"{place}/.git")]


def is_address(source: str) -> bool:
    """Say whether a repository is named by a URL, not by a path on this machine."""
    return bool(ADDRESS.match(source))


def choose(
    lab: Lab,
    former: Lab | None,
    source: str | None,
    branch: str | None,
    *,
    apps: Sequence[str] = (),
    assets: bool = False,
) -> None:
    """Settle which framework and apps the lab runs; without options they stay what they were.

    apps: each NAME=URL#BRANCH; one that the lab has already is replaced, the others stay.
    Raises FleetError where an option does not fit: nothing has been made then.
    """
    if source is None:
        lab.frappe_source = former.frappe_source if former else None
        if branch is not None and (
            lab.frappe_source or branch not in (BRANCH, VERSION_15, VERSION_16)
        ):
            raise FleetError(f"`--frappe-branch {branch}` needs `--frappe-repo URL|PATH`")
        lab.frappe_branch = branch or (former.frappe_branch if former else None) or BRANCH
    elif is_address(source):
        if branch is None:
            raise FleetError("`--frappe-repo URL` needs `--frappe-branch`, such as version-15")
        lab.frappe_source, lab.frappe_branch = source, branch
    else:
        lab.frappe_source, lab.frappe_branch = local(source, branch, f"`--frappe-repo {source}`")
    passed_on = lab.frappe_source is not None and is_address(lab.frappe_source)
    lab.frappe_repo = lab.frappe_source if passed_on else IN_HOST
    same = former is not None and former.frappe_source == lab.frappe_source
    built = former.build_assets if former and same else lab.frappe_source is None
    lab.build_assets = assets or built
    wanted = [chosen_app(option) for option in apps]
    names = [app["name"] for app in wanted]
    if twice := {name for name in names if names.count(name) > 1}:
        raise FleetError(f"`--app {min(twice)}` is given twice")
    kept = former.apps if former else []
    given = {app["name"]: app for app in wanted}
    lab.apps = [given.pop(app["name"], app) for app in kept] + list(given.values())


def chosen_app(option: str) -> dict[str, Any]:
    """Return an app as the lab keeps it, from NAME=URL#BRANCH; #BRANCH may be left out."""
    name, separator, where = option.partition("=")
    source, _, branch = where.partition("#")
    if not separator or not source or not APP.fullmatch(name):
        # Without the rest: a URL may hold a password.
        raise FleetError(
            f"`--app {name}`: write `NAME=URL#BRANCH`. NAME is the app's package (a-z, 0-9, _), URL"
            " an address or a path on this machine; without #BRANCH the repository's head is taken"
        )
    if name == "frappe":
        raise FleetError("`--app frappe`: give the framework with `--frappe-repo`")
    if is_address(source):
        return {"name": name, "source": source, "repo": source, "branch": branch or None}
    place = f"`--app {name}={source}`"
    source, branch = local(source, branch or None, place)
    if not holds(Path(source), branch, f"{name}/hooks.py"):
        raise FleetError(f"{place}: there is no app {name}, as it has no `{name}/hooks.py`")
    repo = f"{REPOSITORIES}/{name}"
    return {"name": name, "source": source, "repo": repo, "branch": branch}


def local(source: str, branch: str | None, place: str) -> tuple[str, str]:
    """Return a folder's whole path, and the branch to take of it.

    place: the option, for the FleetError where there is no such folder or branch.
    """
    path = Path(source).expanduser().resolve()
    if not path.is_dir():
        raise FleetError(f"{place}: there is no folder `{path}`")
    if not is_repository(path):
        return str(path), branch or BRANCH
    branch = branch or head_of(path, place)
    if not succeeds([*git(path), "rev-parse", "--verify", "-q", f"refs/heads/{branch}"]):
        raise FleetError(f"{place}: there is no branch `{branch}`")
    return str(path), branch


def git(path: Path) -> list[str]:
    """Return how a git command in a folder begins, whoever owns it."""
    return ["git", "-c", "safe.directory=*", "-C", str(path)]


def holds(path: Path, branch: str, file: str) -> bool:
    """Say whether a branch of a repository, or a plain folder, has a file."""
    if not is_repository(path):
        return (path / file).is_file()
    return succeeds([*git(path), "cat-file", "-e", f"refs/heads/{branch}:{file}"])


def is_repository(path: Path) -> bool:
    """Say whether a folder is a git repository itself, bare or with a work tree."""
    return (path / ".git").exists() or (path / "HEAD").is_file()


def head_of(path: Path, place: str) -> str:
    """Return the branch a repository is on; FleetError, with the option's place, where on none."""
    ask = [*git(path), "symbolic-ref", "--short", "HEAD"]
    if not succeeds(ask):
        raise FleetError(f"{place}: `HEAD` is on no branch there; name the branch to take")
    return run(ask).strip()


def provide(lab: Lab) -> None:
    """Bring the lab's repositories up to date with their sources; addresses need none."""
    refresh(lab, "frappe", lab.frappe_source or str(DEMO), lab.frappe_branch or BRANCH)
    for app in lab.apps:
        refresh(lab, app["name"], app["source"], app["branch"])


def refresh(lab: Lab, name: str, address: str, branch: str) -> None:
    """Bring the repository of one app up to date with the folder that it comes from.

    Its work tree stays empty: all that is asked of it is to be cloned.
    """
    repositories(lab).mkdir(parents=True, exist_ok=True)
    if is_address(address):
        return
    source = Path(address)
    if not source.is_dir():
        option = "--frappe-repo" if name == "frappe" else f"--app {name}=…"
        raise FleetError(f"the folder {source} of {name} is gone: name another with `{option}`")
    store = repository(lab, name) / ".git"
    if not (store / "HEAD").is_file():
        run(["git", "init", "--quiet", f"--initial-branch={BRANCH}", store.parent])
    if is_repository(source) and source != DEMO:
        fetch = ["git", "-c", "safe.directory=*", f"--git-dir={store}", "fetch"]
        refs = "+refs/heads/*:refs/heads/*"
        # Without --update-shallow, git silently leaves out the branches of a shallow clone.
        options = ["--quiet", "--prune", "--tags", "--update-head-ok", "--update-shallow"]
        run([*fetch, *options, source, refs])
    elif source == DEMO and branch == VERSION_16:
        with tempfile.TemporaryDirectory() as folder:
            commit_tree(store, shape_16(Path(folder) / "demo"), VERSION_16)
    else:
        commit_tree(store, source, branch)
    run(["git", f"--git-dir={store}", "symbolic-ref", "HEAD", f"refs/heads/{branch}"])


def shape_16(folder: Path) -> Path:
    """Make a copy of the demo that is like Frappe 16, and return its folder."""
    shutil.copytree(DEMO, folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name, changes in CHANGES_16.items():
        text = (folder / name).read_text()
        for old, new in changes.items():
            if old not in text:
                raise FleetError(f"demo/{name} has no {old} to make {VERSION_16} from")
            text = text.replace(old, new)
        (folder / name).write_text(text)
    return folder


def commit_tree(store: Path, folder: Path, branch: str) -> None:
    """Make a branch of one commit that holds a plain folder's files."""
    index = store / "lab-index"
    index.unlink(missing_ok=True)
    # Neither the index nor the ignore rules may come from the repository that the folder lies in.
    env = {**os.environ, **FIXED, "GIT_INDEX_FILE": str(index)}
    git = ["git", f"--git-dir={store}", f"--work-tree={folder}", "-c", "core.autocrlf=false"]
    # Git makes this folder from a template, which may be without it.
    (store / "info").mkdir(exist_ok=True)
    (store / "info/exclude").write_text("__pycache__/\n*.pyc\nnode_modules/\n")
    run([*git, "-C", folder, "add", "--all", "."], env=env)
    tree = run([*git, "write-tree"], env=env).strip()
    commit = run([*git, "commit-tree", tree, "-m", "The lab's copy"], env=env).strip()
    run([*git, "update-ref", f"refs/heads/{branch}", commit], env=env)
    index.unlink(missing_ok=True)
