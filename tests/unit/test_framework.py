"""The framework's repository in a lab: the same tree, the same commit."""

import subprocess

import pytest

from benchfleet import framework, state
from benchfleet.shell import FleetError
from benchfleet.state import Lab


def git(*words):
    done = subprocess.run(["git", *map(str, words)], capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def lab(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "LABS", tmp_path / "labs")
    return Lab("lab", state.DEFAULT_SUBNET, "bookworm", "")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "framework"
    (folder / "frappe/__pycache__").mkdir(parents=True)
    (folder / "frappe/__init__.py").write_text("__version__ = '1'\n")
    (folder / "frappe/__pycache__/x.pyc").write_text("")
    return folder


def provide(lab, source, branch=None):
    framework.choose(lab, None, str(source), branch)
    framework.provide(lab)
    return git(f"--git-dir={framework.repository(lab)}/.git", "rev-parse", "HEAD")


def test_a_folder_s_commit_follows_its_content_alone(lab, folder, tmp_path):
    first = provide(lab, folder)
    (folder / "frappe/__init__.py").touch()
    assert provide(lab, folder) == first
    (folder / "frappe/__init__.py").write_text("__version__ = '2'\n")
    assert provide(lab, folder) != first
    names = git("clone", "-q", framework.repository(lab), tmp_path / "clone") or sorted(
        str(path.relative_to(tmp_path / "clone")) for path in (tmp_path / "clone/frappe").rglob("*")
    )
    assert names == ["frappe/__init__.py"]


def test_a_repository_keeps_its_commits(lab, folder):
    git("init", "-q", "-b", "develop", folder)
    git("-C", folder, "add", ".")
    who = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    git("-C", folder, *who, "commit", "-qm", "x")
    assert provide(lab, folder) == git("-C", folder, "rev-parse", "HEAD")
    assert lab.frappe_branch == "develop"
    assert provide(lab, folder, "develop") == git("-C", folder, "rev-parse", "HEAD")


def test_a_shallow_clone_is_a_source_too(lab, folder, tmp_path):
    git("init", "-q", "-b", "develop", folder)
    who = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    for message in ("one", "two"):
        git("-C", folder, *who, "commit", "-q", "--allow-empty", "-m", message)
    shallow = tmp_path / "shallow"
    git("clone", "-q", "--depth", "1", f"file://{folder}", shallow)
    assert provide(lab, shallow, "develop") == git("-C", folder, "rev-parse", "HEAD")


@pytest.mark.parametrize(
    ("source", "address"),
    [
        ("https://git.example.com/frappe", True),
        ("git@git.example.com:frappe/frappe.git", True),
        ("ssh://git@git.example.com/frappe", True),
        ("/srv/frappe", False),
        ("../frappe", False),
        ("frappe.git", False),
    ],
)
def test_addresses_and_paths(source, address):
    assert framework.is_address(source) is address


def test_the_demo_has_the_shape_of_either_release(lab, tmp_path):
    with pytest.raises(FleetError, match="--frappe-branch version-15 needs --frappe-repo"):
        framework.choose(lab, None, None, "version-15")
    for branch, version, driver in (("main", "15", False), ("version-16", "16", True)):
        framework.choose(lab, None, None, branch)
        framework.provide(lab)
        git("clone", "-q", framework.repository(lab), tmp_path / branch)
        text = (tmp_path / branch / "frappe/__init__.py").read_text()
        assert f'\n__version__ = "{version}.' in text
        assert ("mysqlclient" in (tmp_path / branch / "pyproject.toml").read_text()) is driver
