"""What apps ask for of Python and Node, and where it is read."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from pathlib import Path

import pytest
from fleet.bench import code, look, needs
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from tests.repositories import git

PYTHONS = [f"3.{minor}.{patch}" for minor in (9, 10, 12, 13, 14) for patch in (0, 4, 17)]
BOUNDS = ("3", "3.10", "3.13", "3.12.4")
CLAUSES = [
    f"{operator}{bound}{rest}"
    for operator in (">=", "<=", ">", "<", "==", "!=", "~=")
    for bound in BOUNDS
    for rest in ("", ".*")
]
ME = pwd.getpwuid(os.geteuid()).pw_name


def test_python_is_judged_as_packaging_judges_it() -> None:
    pairs = [",".join(pair) for pair in zip(CLAUSES, reversed(CLAUSES), strict=True)]
    for specifier in [*CLAUSES, *pairs]:
        try:
            judge = SpecifierSet(specifier)
        except InvalidSpecifier:
            assert needs.python_fits(specifier, "3.12") is None
            continue
        for version in PYTHONS:
            assert needs.python_fits(specifier, version) is judge.contains(version), specifier


@pytest.mark.parametrize(
    ("asked", "takes", "refuses"),
    [
        ("", "18.0.0 24.12.0", ""),
        ("*", "18.0.0 24.12.0", ""),
        (">=18", "18.0.0 20.18.0 24.12.0", "16.20.2"),
        (">= 24", "24.0.0", "22.20.0"),
        (">18", "19.0.0", "18.20.4 17.0.0"),
        ("<=20", "20.18.0 18.0.0", "21.0.0"),
        ("<21.0.0", "20.18.0", "21.0.0"),
        (">=18 <21", "18.0.0 20.18.0", "16.0.0 21.0.0 24.0.0"),
        ("18.x", "18.0.0 18.20.4", "20.0.0"),
        ("18", "18.20.4", "20.0.0"),
        ("=18.2", "18.2.9", "18.3.0"),
        ("v18.2.1", "18.2.1", "18.2.2"),
        ("^20 || >=22", "20.18.0 22.0.0 24.0.0", "18.0.0 21.0.0"),
        ("^18.12.0 || ^20.9.0", "18.12.0 20.9.1", "18.11.0 20.8.0 22.0.0"),
        ("~18.2", "18.2.9", "18.3.0"),
        ("18 - 20", "18.0.0 20.18.0", "21.0.0"),
        ("^0.12", "0.12.4", "0.13.0 1.0.0"),
    ],
)
def test_node_is_judged_as_npm_judges_it(asked: str, takes: str, refuses: str) -> None:
    assert all(needs.node_fits(asked, version) is True for version in takes.split())
    assert all(needs.node_fits(asked, version) is False for version in refuses.split())


@pytest.mark.parametrize("asked", ["lts/*", ">=18.0.0-rc.1", "18 || new", "18.2.1.1", ">=18,<21"])
def test_a_range_that_cannot_be_read_is_not_judged(asked: str) -> None:
    assert needs.node_fits(asked, "18.0.0") is None
    assert needs.misfits({"frappe": {"node": asked}}, "node", "1.0") == {}
    assert needs.unread({"frappe": {"node": asked}}) == [("frappe", "node", asked)]


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ('[project]\nname = "frappe"\nrequires-python = ">=3.10,<3.13"\n', ">=3.10,<3.13"),
        ('[project]\nname = "frappe"\n', ""),
        ("project = 3", ""),
        ("[project", ""),
        ("", ""),
        ('[project]\nrequires-python = "a\\nb"\n', "a b"),
        ("x = " + "1" * 5000, ""),
    ],
)
def test_pyproject_is_read(text: str, asked: str) -> None:
    assert needs.python_asked(text) == asked


@pytest.mark.parametrize(
    ("text", "asked"),
    [
        ('{"engines": {"node": ">=18"}}', ">=18"),
        ('{"engines": {"node": 18}}', "18"),
        ('{"engines": ">=18"}', ""),
        ("[]", ""),
        ("{", ""),
        ('{"engines": {"node": "' + "9" * 300 + '"}}', "9" * needs.LONGEST + "…"),
    ],
)
def test_package_json_is_read(text: str, asked: str) -> None:
    assert needs.node_asked(text) == asked


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository whose branches ask for other things; no test changes it."""
    folder = tmp_path_factory.mktemp("repository") / "frappe"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=version-15")
    (folder / "pyproject.toml").write_text('[project]\nrequires-python = ">=3.10,<3.13"\n')
    (folder / "package.json").write_text('{"engines": {"node": ">=18"}}')
    (folder / "frappe").mkdir()
    (folder / "frappe/hooks.py").write_text('required_apps = ["erpnext"]\n')
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "15")
    git(folder, "checkout", "--quiet", "-b", "develop")
    (folder / "pyproject.toml").write_text('[project]\nrequires-python = ">=3.14"\n')
    (folder / "package.json").unlink()
    git(folder, "commit", "--quiet", "--all", "--message", "17")
    return folder


@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_repository_is_asked_without_a_clone(repository, scheme) -> None:
    app = {"name": "frappe", "repo": f"{scheme}{repository}", "commit": None}
    for branch, python, node in (
        ("version-15", ">=3.10,<3.13", ">=18"),
        ("develop", ">=3.14", ""),
        (None, ">=3.14", ""),
    ):
        told = code.of_repository({**app, "branch": branch}, ME)
        assert (told["python"], told["node"]) == (python, node)
        assert told["requires"] == ["erpnext"]
        assert not told["here"]
    app["commit"] = git(repository, "rev-parse", "version-15")
    assert code.of_repository(app, ME)["python"] == ">=3.10,<3.13"
    # A server gives a short commit to nobody: its branch is asked then.
    app |= {"commit": app["commit"][:9], "branch": "version-15"}
    assert code.of_repository(app, ME)["python"] == ">=3.10,<3.13"


def test_a_commit_that_is_not_there_is_trouble(repository) -> None:
    """The branch would be asked in its place, and the bench would find out too late."""
    app = {"name": "frappe", "repo": f"file://{repository}", "branch": "develop"}
    found = code.of_repository({**app, "commit": "f" * 40}, ME)
    assert "not our ref" in found["trouble"]


def test_a_name_that_is_no_address_says_nothing() -> None:
    assert code.of_repository({"name": "hrms", "repo": ""}, ME) == {"python": "", "node": ""}


@pytest.mark.parametrize("ref", ["version-99", "--upload-pack=true", "-h"])
@pytest.mark.parametrize("scheme", ["", "file://"])
def test_a_branch_that_is_not_there_is_trouble(repository, scheme, ref) -> None:
    app = {"name": "frappe", "repo": f"{scheme}{repository}", "branch": ref}
    assert set(code.of_repository(app, ME)) == {"trouble"}


def test_the_trouble_of_an_address_shows_no_password(monkeypatch, tmp_path: Path) -> None:
    said = "fatal: unable to access 'https://me:secret@127.0.0.1/x/': refused"
    seen: list[list[str]] = []

    def run_as(_user, argv, cwd, _environment, stdin=None, timeout=0):
        seen.append(argv)
        failed = "fetch" in argv
        return subprocess.CompletedProcess(argv, int(failed), said if failed else "")

    monkeypatch.setattr(code, "run_as", run_as)
    app = {"name": "x", "repo": "https://me:secret@127.0.0.1/x", "branch": ""}
    assert code.of_repository(app, ME) == {
        "trouble": "fatal: unable to access 'https://127.0.0.1/x/': refused"
    }
    assert not any("secret" in word for argv in seen for word in argv)


def test_what_a_server_says_beside_a_file_is_not_taken_for_it(
    monkeypatch, repository, tmp_path: Path
) -> None:
    """As the greeting of an ssh server, for each file that is fetched."""
    repository = shutil.copytree(repository, tmp_path / "frappe")
    git(repository, "config", "uploadpack.allowFilter", "true")
    git(repository, "config", "uploadpack.allowAnySHA1InWant", "true")
    run_as = code.run_as

    def noisy(user, argv, cwd, environment, **options):
        return run_as(user, argv, cwd, {**environment, "GIT_TRACE": "1"}, **options)

    monkeypatch.setattr(code, "run_as", noisy)
    app = {"name": "frappe", "repo": f"file://{repository}", "branch": "version-15"}
    assert code.of_repository(app, ME)["python"] == ">=3.10,<3.13"
    found = code.of_repository({**app, "branch": "none"}, ME)
    assert found["trouble"].endswith("fatal: couldn't find remote ref none")


def test_a_folder_with_a_name_of_no_app_is_left_alone(tmp_path: Path) -> None:
    """The bench's account names folders as it likes, and what is found is shown."""
    for name in ("notes", "no\x1b[31mtes", "-notes"):
        folder = tmp_path / "apps" / name
        folder.mkdir(parents=True)
        git(folder, "init", "--quiet")
        git(folder, "commit", "--quiet", "--allow-empty", "--message", "x")
    assert set(code.look(str(tmp_path), [], ME)) == {"notes"}


def test_a_checkout_in_which_git_waits_is_trouble(monkeypatch, tmp_path: Path) -> None:
    folder = tmp_path / "apps/notes"
    folder.mkdir(parents=True)
    git(folder, "init", "--quiet")
    (folder / ".git/config").unlink()
    os.mkfifo(folder / ".git/config")
    monkeypatch.setattr(look, "GIT_SECONDS", 0.05)
    found = code.look(str(tmp_path), [], ME)
    assert str(folder) in found["notes"]["trouble"]
    assert "0.05" in found["notes"]["trouble"]


def test_a_bench_is_asked_before_the_repositories(repository: Path, tmp_path: Path) -> None:
    bench = tmp_path / "bench"
    (bench / "apps/notes").mkdir(parents=True)
    git(
        tmp_path, "clone", "--quiet", "--branch", "version-15", str(repository), "bench/apps/frappe"
    )
    # What is not committed is not at hand.
    (bench / "apps/frappe/pyproject.toml").write_text("")
    hrms = {"name": "hrms", "repo": str(repository), "branch": "develop"}
    gone = {"name": "gone", "repo": f"{tmp_path}/gone"}
    found = code.look(str(bench), [{"name": "frappe", "repo": "/nowhere"}, hrms, gone], ME)
    needs_of = {app: (told.get("python"), told.get("node")) for app, told in found.items()}
    assert needs_of["frappe"] == (">=3.10,<3.13", ">=18")
    assert needs_of["hrms"] == (">=3.14", "")
    assert found["frappe"]["here"]
    assert not found["hrms"]["here"]
    assert set(found["gone"]) == {"trouble"}
    assert set(found) == {"frappe", "hrms", "gone"}


def test_without_git_nothing_is_known(monkeypatch, repository: Path) -> None:
    monkeypatch.setattr(code.shutil, "which", lambda _: None)
    app = {"name": "frappe", "repo": str(repository)}
    assert code.look("/nowhere", [app], ME) == {"frappe": {"trouble": code.NO_GIT}}
