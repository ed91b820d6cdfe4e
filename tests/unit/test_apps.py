"""The Frappe and the apps that an app needs: how they are read, and how they are judged."""

from __future__ import annotations

from typing import Any

import pytest
from fleet.bench import apps
from fleet.preflight.apps import app_problems, misfit

PYPROJECT = '[tool.bench.frappe-dependencies]\nfrappe = ">=15.40.0,<16.0.0"\nerpnext = ">=15"\n'


def says(**files: str) -> dict[str, Any]:
    """What is read of the app shop with these files."""
    names = {"pyproject": "pyproject.toml", "hooks": "shop/hooks.py", "package": "shop/__init__.py"}
    return apps.says("shop", {names[key]: text for key, text in files.items()}.get)


def test_an_app_is_read_from_its_files():
    hooks = 'required_apps = ["frappe/erpnext", "https://git.example/o/hrms.git@v1", "pay"]\n'
    assert says(pyproject=PYPROJECT, hooks=hooks, package='__version__ = "15.1.0"\n') == {
        "version": "15.1.0",
        "frappe": ">=15.40.0,<16.0.0",
        "requires": ["erpnext", "hrms", "pay"],
        "same_major": False,
        "here": False,
    }
    assert says(hooks='before_install = ["shop.install.check_frappe_version"]')["same_major"]


@pytest.mark.parametrize(
    "files",
    [
        {},
        {"pyproject": "[tool", "hooks": "def (", "package": "__version__ = get()"},
        {"pyproject": "tool = 1", "hooks": "required_apps = names()"},
        {"pyproject": "[tool.bench]\nfrappe-dependencies = 1", "hooks": "required_apps = 5"},
        {
            "pyproject": "[tool.bench.frappe-dependencies]\nfrappe = 15",
            "hooks": "x = required_apps",
        },
        {"hooks": 'required_apps = ["$(reboot)", 7]'},
        {"hooks": "required_apps = " + "[" * 5000},
        {"hooks": f"required_apps = ['{'x' * 101}']", "package": "__version__ = '\x1b[31m15'"},
        {"pyproject": PYPROJECT.replace("15.40.0", "1" * 101)},
        {"pyproject": PYPROJECT.replace("15.40.0", "15\\u001b[31m")},
        {"pyproject": "x = " + "1" * 5000},
    ],
)
def test_what_cannot_be_read_says_nothing(files: dict[str, str]):
    read = says(**files)
    assert (read["version"], read["frappe"], read["requires"]) == ("", "", [])


@pytest.mark.parametrize(
    ("asked", "frappe", "taken"),
    [
        (">=15.40.0,<16.0.0", "15.44.2", True),
        (">=15.40.0,<16.0.0", "15.39.9", False),
        (">=15.40.0,<16.0.0", "16.0.0-dev", False),
        (">=17.0.0-dev,<18.0.0", "17.0.0-dev", True),
        (">=17.0.0-dev,<18.0.0", "15.44.2", False),
        (">=1.0.0,<16.0.0", "15.44.2", True),
        ("", "15.44.2", True),
        # Not known, or not to be read.
        (">=15.40.0", "", True),
        ("any will do", "15.44.2", True),
    ],
)
def test_the_frappe_that_an_app_asks_for(asked: str, frappe: str, taken: bool):
    unfit = misfit("shop", {"frappe": asked, "version": "1"}, frappe)
    assert (unfit is None) is taken
    assert unfit is None or unfit["id"] == "app_excludes_frappe"


@pytest.mark.parametrize(
    ("version", "frappe", "taken"),
    [("15.45.4", "15.44.2", True), ("1.0.0", "15.44.2", False), ("", "15.44.2", True)],
)
def test_an_app_that_goes_with_its_own_major_version(version: str, frappe: str, taken: bool):
    own = {"version": version, "same_major": True}
    unfit = misfit("shop", own, frappe)
    assert (unfit is None) is taken
    assert unfit is None or unfit["id"] == "app_of_other_major"
    assert misfit("shop", {**own, "same_major": False}, frappe) is None


FRAPPE = {"version": "15.44.2", "here": True}
WANTED = [{"name": "frappe"}, {"name": "shop"}, {"name": "erpnext"}]


def judged(sites: Any = (), **code: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The facts of what is wrong, by the problems' ids."""
    found = list(app_problems({"frappe": FRAPPE, **code}, WANTED, list(sites)))
    assert all(problem["place"] and problem["remedy"] for problem in found)
    facts = {problem["id"]: problem["facts"] for problem in found}
    assert len(facts) == len(found)
    return facts


def test_all_that_is_wrong_with_apps_that_come_is_named_together():
    sites = [{"name": "a.example", "apps": ["shop", "depot", "by_hand"]}]
    assert judged(
        sites,
        shop={"frappe": ">=16.0.0", "version": "2.0", "requires": ["erpnext", "hrms"]},
        erpnext={"frappe": ">=1.0.0,<16.0.0", "version": "1.0.0", "same_major": True},
        by_hand={"here": True},
    ) == {
        "app_needs_other_app": {"app": "shop", "other": "hrms"},
        "app_excludes_frappe": {"app": "shop", "asked": ">=16.0.0", "frappe": "15.44.2"},
        "app_of_other_major": {"app": "erpnext", "version": "1.0.0", "frappe": "15.44.2"},
        "site_app_unknown": {
            "site": "a.example",
            "app": "depot",
            "known": ["frappe", "shop", "erpnext", "by_hand"],
        },
    }


def test_what_runs_already_and_what_is_not_known_is_not_judged():
    bad = {"frappe": ">=16.0.0", "requires": ["hrms"]}
    assert judged(shop={**bad, "here": True}, erpnext={"trouble": "no answer"}) == {}
    assert judged(sites=["x", {"name": "a.example"}, {"name": "b.example", "apps": "shop"}]) == {}


def test_a_good_fleet_has_no_problem():
    sites = [{"name": "a.example", "apps": ["frappe", "shop"]}]
    shop = {"frappe": ">=15.40.0,<16.0.0", "version": "15.1", "requires": ["erpnext"]}
    assert judged(sites, shop=shop) == {}


@pytest.mark.parametrize(
    ("changed", "needed"),
    [
        ("shop/orders.py", False),
        ("shop/shop/doctype/order/order.js", False),
        ("shop/public/build.json", False),
        ("package.json", False),
        ("shop/locale/de.po", False),
        ("shop/patches.txt", True),
        ("shop/hooks.py", True),
        ("shop/modules.txt", True),
        ("shop/shop/doctype/order/order.json", True),
        ("shop/fixtures/role.csv", True),
    ],
)
def test_what_a_migration_reads_asks_for_one(changed: str, needed: bool):
    hooks = 'app_name = "shop"\nrequired_apps = ["after_migrate"]\n'
    assert apps.migrates("shop", [changed], hooks) == [changed] * needed


@pytest.mark.parametrize("hooks", ['after_migrate = "shop.setup.fields"', "def (", "x = 1" * 10**5])
def test_code_that_a_migration_may_call_asks_for_one(hooks: str):
    assert apps.migrates("shop", ["shop/fields.py"], hooks) == ["shop/fields.py"]
    assert apps.migrates("shop", ["shop/public/x.js"], hooks) == []
    # What Frappe has there is Frappe's own.
    assert apps.migrates("frappe", ["frappe/fields.py"], hooks) == []
