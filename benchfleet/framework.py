"""The framework under test, as a git repository: the demo, a path here, or an address passed on."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from pathlib import Path

from benchfleet.shell import FleetError, run, succeeds
from benchfleet.state import Lab

DEMO = Path(__file__).resolve().parent.parent / "demo"
# The bench CLI names an app after its repository's folder, and cannot read a bare one.
IN_HOST = "/srv/lab/frappe"
BRANCH = "main"
ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://|[^/]+@[^/]+:")
# The shape of the demo that Frappe has since 16: the lab's branch of that name, and what of the
# demo's files is another there. Everything else follows from the version.
VERSION_16 = "version-16"
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


def repository(lab: Lab) -> Path:
    """Return the repository's folder; it is bound into the primary from its first boot on."""
    return lab.path / "frappe"


def is_address(source: str) -> bool:
    """Say whether a repository is named by a URL, not by a path on this machine."""
    return bool(ADDRESS.match(source))


def choose(lab: Lab, former: Lab | None, source: str | None, branch: str | None) -> None:
    """Settle which framework the lab runs; without options it stays what it was.

    Raises FleetError where an option does not fit: nothing has been made then.
    """
    if source is None:
        lab.frappe_source = former.frappe_source if former else None
        if branch is not None and (lab.frappe_source or branch not in (BRANCH, VERSION_16)):
            raise FleetError(f"--frappe-branch {branch} needs --frappe-repo URL|PATH beside it")
        lab.frappe_branch = branch or (former.frappe_branch if former else None) or BRANCH
    elif is_address(source):
        if branch is None:
            raise FleetError(f"--frappe-repo {source} needs --frappe-branch: version-15, say")
        lab.frappe_source, lab.frappe_branch = source, branch
    else:
        path = Path(source).expanduser().resolve()
        if not path.is_dir():
            raise FleetError(f"--frappe-repo {source}: there is no such folder")
        lab.frappe_source = str(path)
        lab.frappe_branch = branch or (head_of(path) if is_repository(path) else BRANCH)
        has = ["git", "-c", "safe.directory=*", "-C", path, "rev-parse", "--verify", "-q"]
        if is_repository(path) and not succeeds([*has, f"refs/heads/{lab.frappe_branch}"]):
            raise FleetError(f"--frappe-repo {source} has no branch {lab.frappe_branch}")
    passed_on = lab.frappe_source is not None and is_address(lab.frappe_source)
    lab.frappe_repo = lab.frappe_source if passed_on else IN_HOST
    lab.build_assets = lab.frappe_source is None


def is_repository(path: Path) -> bool:
    """Say whether a folder is a git repository itself, bare or with a work tree."""
    return (path / ".git").exists() or (path / "HEAD").is_file()


def head_of(path: Path) -> str:
    """Return the branch a repository is on."""
    git = ["git", "-c", "safe.directory=*", "-C", path]
    return run([*git, "symbolic-ref", "--short", "HEAD"]).strip()


def provide(lab: Lab) -> None:
    """Bring the lab's repository up to date with its source; an address needs none.

    Its work tree stays empty: all that is asked of it is to be cloned.
    """
    store = repository(lab) / ".git"
    if not (store / "HEAD").is_file():
        run(["git", "init", "--quiet", f"--initial-branch={BRANCH}", store.parent])
    source = Path(lab.frappe_source) if lab.frappe_source else DEMO
    if lab.frappe_source and is_address(lab.frappe_source):
        return
    if not source.is_dir():
        raise FleetError(f"the framework's folder {source} is gone: name another (--frappe-repo)")
    if is_repository(source) and source != DEMO:
        fetch = ["git", "-c", "safe.directory=*", f"--git-dir={store}", "fetch"]
        refs = "+refs/heads/*:refs/heads/*"
        # A shallow clone is as good a source as any; without the word git leaves its branches out
        # and says so to nobody.
        options = ["--quiet", "--prune", "--tags", "--update-head-ok", "--update-shallow"]
        run([*fetch, *options, source, refs])
    elif source == DEMO and lab.frappe_branch == VERSION_16:
        with tempfile.TemporaryDirectory() as folder:
            commit_tree(store, shape_16(Path(folder) / "demo"), VERSION_16)
    else:
        commit_tree(store, source, lab.frappe_branch or BRANCH)
    run(["git", f"--git-dir={store}", "symbolic-ref", "HEAD", f"refs/heads/{lab.frappe_branch}"])


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
    (store / "info/exclude").write_text("__pycache__/\n*.pyc\nnode_modules/\n")
    run([*git, "-C", folder, "add", "--all", "."], env=env)
    tree = run([*git, "write-tree"], env=env).strip()
    commit = run([*git, "commit-tree", tree, "-m", "The lab's framework"], env=env).strip()
    run([*git, "update-ref", f"refs/heads/{branch}", commit], env=env)
    index.unlink(missing_ok=True)
