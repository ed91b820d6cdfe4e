"""The framework's repository in a lab: the same tree, the same commit."""

import shutil

import pytest

from benchfleet.lab import framework, state
from benchfleet.lab.state import Lab
from benchfleet.shell import FleetError
from tests.repositories import git


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
    return git(framework.repository(lab), "rev-parse", "HEAD")


def test_a_folder_s_commit_follows_its_content_alone(lab, folder, tmp_path):
    first = provide(lab, folder)
    (folder / "frappe/__init__.py").touch()
    assert provide(lab, folder) == first
    (folder / "frappe/__init__.py").write_text("__version__ = '2'\n")
    assert provide(lab, folder) != first
    names = git(tmp_path, "clone", "-q", framework.repository(lab), "clone") or sorted(
        str(path.relative_to(tmp_path / "clone")) for path in (tmp_path / "clone/frappe").rglob("*")
    )
    assert names == ["frappe/__init__.py"]


def test_a_repository_keeps_its_commits(lab, folder):
    git(folder, "init", "-q", "-b", "develop")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "x")
    assert provide(lab, folder) == git(folder, "rev-parse", "HEAD")
    assert lab.frappe_branch == "develop"
    assert provide(lab, folder, "develop") == git(folder, "rev-parse", "HEAD")


def test_a_shallow_clone_is_a_source_too(lab, folder, tmp_path):
    git(folder, "init", "-q", "-b", "develop")
    for message in ("one", "two"):
        git(folder, "commit", "-q", "--allow-empty", "-m", message)
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{folder}", shallow)
    assert provide(lab, shallow, "develop") == git(folder, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """An app's repository with a branch main and a branch next, on next; no test changes it."""
    shop = tmp_path_factory.mktemp("somewhere")
    (shop / "shop").mkdir()
    git(shop, "init", "-q", "-b", "main")
    git(shop, "commit", "-q", "--allow-empty", "-m", "empty")
    git(shop, "checkout", "-q", "-b", "next")
    (shop / "shop/hooks.py").write_text("")
    git(shop, "add", ".")
    git(shop, "commit", "-q", "-m", "app")
    return shop


def choose(lab, *apps, former=None, **options):
    framework.choose(lab, former, None, None, apps=apps, **options)
    return lab.apps


def test_an_app_s_repository_is_provided_under_the_app_s_name(lab, shop):
    assert choose(lab, f"shop={shop}") == [
        {"name": "shop", "source": str(shop), "repo": "/srv/lab/shop", "branch": "next"}
    ]
    framework.provide(lab)
    provided = framework.repository(lab, "shop")
    assert provided.name == "shop"
    assert git(provided, "rev-parse", "HEAD") == git(shop, "rev-parse", "next")
    assert "/srv/lab/shop/.git" in framework.trusted(lab)


def test_an_app_in_a_plain_folder_is_a_source_too(lab, tmp_path):
    (tmp_path / "plain/shop").mkdir(parents=True)
    (tmp_path / "plain/shop/hooks.py").write_text("")
    choose(lab, f"shop={tmp_path}/plain#stable")
    framework.provide(lab)
    store = framework.repository(lab, "shop") / ".git"
    assert git(store, "ls-tree", "-r", "--name-only", "stable") == "shop/hooks.py"


def test_an_app_s_address_is_passed_on_with_or_without_a_branch(lab):
    url = "https://user:word@git.example.com/shop"
    assert choose(lab, f"shop={url}", f"hrms={url}#version-15") == [
        {"name": "shop", "source": url, "repo": url, "branch": None},
        {"name": "hrms", "source": url, "repo": url, "branch": "version-15"},
    ]
    framework.provide(lab)
    assert not framework.repository(lab, "shop").exists()


def test_apps_are_added_to_those_there_are_and_replace_their_own_entry(lab):
    choose(lab, "one=ssh://git@a/one", "two=ssh://git@a/two")
    later = Lab("lab", state.DEFAULT_SUBNET, "bookworm", "")
    found = choose(later, "three=ssh://git@a/three", "one=ssh://git@b/one#x", former=lab)
    assert [(app["name"], app["branch"]) for app in found] == [
        ("one", "x"),
        ("two", None),
        ("three", None),
    ]
    assert choose(Lab("lab", state.DEFAULT_SUBNET, "bookworm", ""), former=later) == found


@pytest.mark.parametrize(
    ("option", "named"),
    [
        ("shop", "NAME=URL#BRANCH"),
        ("shop=", "NAME=URL#BRANCH"),
        ("My-Shop=https://me:secret@git.example.com/shop", "NAME=URL#BRANCH"),
        ("frappe=https://git.example.com/frappe", "--frappe-repo"),
        ("shop=/no/such/folder", "/no/such/folder"),
        ("shop={shop}#gone", "gone"),
        ("shop={shop}#main", "shop/hooks.py"),
        ("other={shop}", "other/hooks.py"),
        ("shop={shop}/shop", "shop/hooks.py"),
    ],
)
def test_an_app_that_cannot_be_is_refused_before_anything_is_made(lab, shop, option, named):
    with pytest.raises(FleetError, match=rf"^`--app .*`.*`{named}`") as error:
        choose(lab, option.format(shop=shop))
    assert "secret" not in str(error.value)
    assert not lab.path.exists()


def test_an_app_named_twice_is_refused(lab):
    with pytest.raises(FleetError, match=r"^`--app shop`"):
        choose(lab, "shop=ssh://git@a/shop", "shop=ssh://git@b/shop")


def test_a_detached_head_wants_a_branch(lab, shop, tmp_path):
    shop = shutil.copytree(shop, tmp_path / "shop")
    git(shop, "checkout", "-q", "--detach")
    with pytest.raises(FleetError, match=r"`HEAD`"):
        choose(lab, f"shop={shop}")
    assert choose(lab, f"shop={shop}#next")[0]["branch"] == "next"


def test_assets_are_built_of_the_demo_and_where_wanted(lab, folder):
    def built(source, former=None, assets=False):
        found = Lab("lab", state.DEFAULT_SUBNET, "bookworm", "")
        framework.choose(found, former, source, None, assets=assets)
        return found

    assert built(None).build_assets
    assert not built(str(folder)).build_assets
    with_assets = built(str(folder), assets=True)
    assert with_assets.build_assets
    assert built(None, with_assets).build_assets
    assert built(str(folder), with_assets).build_assets
    assert not built(str(folder.parent), with_assets).build_assets


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
    with pytest.raises(FleetError, match=r"`--frappe-branch version-14`.*`--frappe-repo "):
        framework.choose(lab, None, None, "version-14")
    shapes = (("main", "15", False), ("version-15", "15", False), ("version-16", "16", True))
    for branch, version, driver in shapes:
        framework.choose(lab, None, None, branch)
        framework.provide(lab)
        git(tmp_path, "clone", "-q", framework.repository(lab), branch)
        text = (tmp_path / branch / "frappe/__init__.py").read_text()
        assert f'\n__version__ = "{version}.' in text
        assert ("mysqlclient" in (tmp_path / branch / "pyproject.toml").read_text()) is driver
