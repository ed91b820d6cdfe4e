"""The next state of a bench: made beside it, put in place, taken back, interrupted anywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fleet.bench import staging

from tests.repositories import git

BenchError = staging.BenchError

# Finds the apps as Python does, by the .pth files beside it.
PYTHON = f"""#!/bin/sh
folder=$(dirname "$(dirname "$0")")
export PYTHONDONTWRITEBYTECODE=1 PYTHONPATH="$(cat "$folder"/lib/site-packages/*.pth | paste -sd:)"
exec {sys.executable} "$@"
"""
# Builds as Frappe does: below each app, by the links, and with a list.
BUILDS = """
import importlib, os
for app in open("apps.txt").read().split():
    public = os.path.join(os.path.dirname(importlib.import_module(app).__file__), "public")
    link = f"assets/{app}"
    if os.path.lexists(link):
        os.unlink(link)
    os.symlink(public, link)
    os.makedirs(f"{link}/dist", exist_ok=True)
    with open(f"{link}/dist/built", "w") as out:
        out.write(importlib.import_module(app).VERSION)
with open("assets/assets.json", "w") as out:
    out.write("new")
"""
FILES = {
    "frappe/__init__.py": 'VERSION = "old"\n',
    "frappe/app.py": "",
    "frappe/utils/__init__.py": "",
    "frappe/utils/background_jobs.py": "",
    "frappe/utils/bench_helper.py": BUILDS,
    "frappe/public/desk.js": "",
    ".gitignore": "node_modules\ndist\n__pycache__\n",
}


def write(folder: Path, files: dict[str, str]) -> None:
    """Write files below a folder."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def run(argv: list[str], what: str, cwd: str | None) -> str:
    """Run a command; BenchError when it fails."""
    pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    done = subprocess.run(argv, cwd=cwd, text=True, check=False, **pipe)
    if done.returncode:
        raise BenchError(f"{what}: {done.stdout}")
    return done.stdout


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A bench with frappe, which is updated, an app with local changes, and one without git."""
    path = tmp_path / "a.bench"
    for app, files in (
        ("frappe", FILES),
        ("mine", {"mine/__init__.py": 'VERSION = "old"\n', ".gitignore": "dist\nnode_modules\n"}),
    ):
        write(path / "apps" / app, files)
        git(path / "apps" / app, "init", "--quiet")
        git(path / "apps" / app, "add", "--all")
        git(path / "apps" / app, "commit", "--quiet", "--message", "old")
    for app in ("mine", "plain"):
        write(
            path / "apps" / app,
            {f"{app}/__init__.py": 'VERSION = "changed"\n', f"{app}/public/x": ""},
        )
    for app in ("frappe", "mine"):
        write(
            path / "apps" / app, {"node_modules/module": "old", f"{app}/public/dist/built": "old"}
        )
        (path / "sites/assets").mkdir(parents=True, exist_ok=True)
        (path / f"sites/assets/{app}").symlink_to(path / f"apps/{app}/{app}/public")
    write(path / "sites", {"apps.txt": "frappe\nmine\nplain\n", "common_site_config.json": "{}"})
    write(path / "sites/assets", {"assets.json": "old"})
    write(path / "env", {"bin/python": PYTHON, "bin/tool": f"#!{path}/env/bin/python\n"})
    (path / "env/bin/python").chmod(0o755)
    for app in ("frappe", "mine", "plain"):
        write(path / "env/lib/site-packages", {f"{app}.pth": f"{path}/apps/{app}\n"})

    def steps(bench: str, app: str) -> list[tuple[list[str], str, str]]:
        installs = (
            f"echo new >{bench}/env/package; echo '#!{bench}/env/bin/python' >{bench}/env/bin/new"
        )
        yarn = "echo new >node_modules/module; ln -sf module node_modules/link"
        return [
            (["sh", "-c", installs], "uv", bench),
            (["sh", "-c", yarn], "yarn", f"{bench}/apps/{app}"),
        ]

    monkeypatch.setattr(staging, "requirement_steps", steps)
    return path


@pytest.fixture
def new(bench: Path) -> str:
    """A new commit of frappe, which is in its repository and not checked out."""
    app = bench / "apps/frappe"
    write(app, {"frappe/__init__.py": 'VERSION = "new"\n'})
    git(app, "commit", "--quiet", "--all", "--message", "new")
    commit = git(app, "rev-parse", "HEAD")
    git(app, "reset", "--quiet", "--hard", "HEAD~1")
    return commit


def state(bench: Path) -> dict[str, str]:
    """The files and links of a bench and their contents, without git's and what lies beside."""
    found = {}
    for place, folders, files in os.walk(bench):
        folders[:] = [name for name in folders if name not in (".git", ".update", "__pycache__")]
        for name in [*files, *(f for f in folders if os.path.islink(f"{place}/{f}"))]:
            path = Path(place, name)
            text = os.readlink(path) if path.is_symlink() else path.read_text()
            found[str(path.relative_to(bench))] = text
    return found


def make(bench: Path, new: str) -> tuple[staging.Staging, list[str]]:
    """Make the new commit beside the bench; returns what is to be put in place."""
    made = staging.Staging(str(bench), run)
    heads = {app: git(bench / "apps" / app, "rev-parse", "HEAD") for app in ("frappe", "mine")}
    made.make_code({**heads, "frappe": new}, ["frappe"])
    made.make_assets()
    return made, made.end(["frappe"], True)


def check_out(bench: Path, commit: str) -> None:
    """What an update does with the files that git knows."""
    git(bench / "apps/frappe", "reset", "--quiet", "--hard", commit)


def test_all_is_made_beside_a_bench_in_which_nothing_changes(bench: Path, new: str):
    before = state(bench)
    _, items = make(bench, new)
    assert state(bench) == before
    assert sorted(items) == [
        "apps/frappe/frappe/public/dist",
        "apps/frappe/node_modules",
        "apps/mine/mine/public/dist",
        "apps/plain/plain/public/dist",
        "env",
        "sites/assets/assets.json",
        "sites/assets/plain",
    ]


def test_what_is_in_place_names_nothing_of_where_it_was_made(bench: Path, new: str):
    made, items = make(bench, new)
    check_out(bench, new)
    made.put(items)
    now = state(bench)
    assert {name: text for name, text in now.items() if ".update" in text} == {}
    assert now["env/lib/site-packages/frappe.pth"] == f"{bench}/apps/frappe\n"
    assert now["env/bin/new"] == now["env/bin/tool"] == f"#!{bench}/env/bin/python\n"
    assert now["sites/assets/plain"] == f"{bench}/apps/plain/plain/public"
    built = {app: now[f"apps/{app}/{app}/public/dist/built"] for app in ("frappe", "mine", "plain")}
    # Uncommitted changes are built, and stay.
    assert built == {"frappe": "new", "mine": "changed", "plain": "changed"}
    assert now["apps/mine/mine/__init__.py"] == 'VERSION = "changed"\n'
    assert now["apps/mine/node_modules/module"] == "old"
    assert now["apps/frappe/node_modules/module"] == now["env/package"] == "new\n"
    made.drop(["frappe", "mine", "plain"])
    assert not (bench / ".update").exists()
    assert git(bench / "apps/frappe", "worktree", "list").count("\n") == 0


def replaced(bench: Path, items: list[str]) -> dict[str, bool]:
    """The items, and whether each takes the place of something."""
    return {item: os.path.lexists(bench / item) for item in items}


class CutOffError(BaseException):
    """The run was killed."""


def cut_after(number: int) -> Callable[..., str]:
    """Runs commands until so many have ended."""
    left = [number]

    def limited(argv: list[str], what: str, cwd: str | None) -> str:
        if not left[0]:
            raise CutOffError
        left[0] -= 1
        # A script that renames twice is cut between, too.
        script = argv[5] if argv[0] == "bash" else ""
        if left[0] == 0 and script.count("; mv") == 2:
            run([*argv[:5], script.rpartition(";")[0], *argv[6:]], what, cwd)
            raise CutOffError
        return run(argv, what, cwd)

    return limited


def test_it_is_put_in_place_and_taken_back_wherever_it_was_cut_off(bench: Path, new: str):
    before = state(bench)
    made, items = make(bench, new)
    known = replaced(bench, items)

    def cut_off(number: int, way: Callable[[], None]) -> None:
        made.run = cut_after(number)
        with pytest.raises(CutOffError):
            way()
        made.run = run

    check_out(bench, new)
    made.put(items)
    after = state(bench)
    made.take(known)
    for number in range(7):
        check_out(bench, new)
        cut_off(number, lambda: made.put(items))
        # Once the one way, from there ...
        made.take(known)
        check_out(bench, "HEAD~1")
        assert state(bench) == before, number
        assert made.is_whole(items)
        # ... and once the other, after a way back that was cut off, too.
        check_out(bench, new)
        made.put(items)
        cut_off(number, lambda: made.take(known))
        made.put(items)
        assert state(bench) == after, number
        made.take(known)
        check_out(bench, "HEAD~1")
        assert state(bench) == before, number


def test_after_a_second_try_the_way_back_restores_the_first_state(bench: Path, new: str):
    before = state(bench)
    made, items = make(bench, new)
    known = replaced(bench, items)
    check_out(bench, new)
    made.put(items)
    write(bench / "apps/frappe", {"frappe/__init__.py": 'VERSION = "newer"\n'})
    git(bench / "apps/frappe", "commit", "--quiet", "--all", "--message", "newer")
    newer = git(bench / "apps/frappe", "rev-parse", "HEAD")
    check_out(bench, new)
    made, items = make(bench, newer)
    known = {**replaced(bench, items), **known}
    check_out(bench, newer)
    made.put(items)
    assert state(bench)["apps/frappe/frappe/public/dist/built"] == "newer"
    made.take(known)
    check_out(bench, "HEAD~2")
    assert state(bench) == before


def test_what_is_kept_and_gone_is_named(bench: Path, new: str):
    made, items = make(bench, new)
    known = replaced(bench, items)
    made.put(items)
    now = state(bench)
    shutil.rmtree(bench / ".update/old/env")
    with pytest.raises(BenchError, match=r"\.update/old/env "):
        made.take(known)
    assert state(bench) == now


def test_code_that_cannot_be_imported_is_seen_beside(bench: Path, new: str):
    before = state(bench)
    app = bench / "apps/frappe"
    check_out(bench, new)
    write(app, {"frappe/app.py": "import nobody_has_this\n"})
    git(app, "commit", "--quiet", "--all", "--message", "broken")
    broken = git(app, "rev-parse", "HEAD")
    check_out(bench, "HEAD~2")
    with pytest.raises(BenchError, match="nobody_has_this"):
        make(bench, broken)
    assert state(bench) == before


def test_a_link_for_a_folder_beside_leads_nowhere(bench: Path, new: str, tmp_path: Path):
    precious = tmp_path / "precious"
    write(precious, {"apps/file": "precious"})
    (bench / ".update").symlink_to(precious)
    staging.Staging(str(bench), run).drop([])
    assert (precious / "apps/file").read_text() == "precious"
