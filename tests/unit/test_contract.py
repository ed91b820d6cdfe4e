"""What Benchfleet asks of a bench's Frappe, on the shapes that Frappe's releases have."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import pytest
from benchfleet_jobs import contract

GIVEN = {
    "socket": None,
    "host": "10.0.0.2",
    "user": "_db_ro",
    "password": "secret",
    "port": 3306,
    "cur_db_name": "_db",
}
# Constructors of Frappe's Database class; see docs of the releases named.
SHAPES = {
    "14": "host=None, user=None, password=None, ac_name=None, use_default=0, port=None",
    "15.44": "host=None, user=None, password=None, port=None, cur_db_name=None",
    "15, a fork": "host=None, user=None, password=None, port=None, cur_db_name=None, socket=None",
    "16": "socket=None, host=None, user=None, password=None, port=None, cur_db_name=None",
}
FOREIGN = "tenant, host=None, user=None, password=None, port=None, cur_db_name=None"


def module_of(code: str, name: str = "looked_at") -> ModuleType:
    """A module with this code."""
    module = ModuleType(name)
    exec(code, vars(module))
    return module


def database(parameters: str) -> ModuleType:
    """A module with a Database class whose constructor has these parameters."""
    kept = "    def __init__(self, {0}):\n        self.told = locals()\n"
    return module_of("class Database:\n" + kept.format(parameters))


@pytest.mark.parametrize("release", SHAPES)
def test_a_database_object_is_told_what_its_release_can_be_told(release: str) -> None:
    module = database(SHAPES[release])
    assert contract.connects("Database")(module) is None
    cls: Any = module.Database
    told = cls(**contract.accepted(cls, GIVEN)).told
    for name, value in GIVEN.items():
        assert told.get(name) == value or name not in SHAPES[release]
    assert told["host"] == "10.0.0.2"


@pytest.mark.parametrize(
    ("parameters", "seen"),
    [
        (FOREIGN, "missing a required argument: 'tenant'"),
        ("dsn=None, password=None", "but no host, user, port"),
    ],
)
def test_a_constructor_that_takes_other_arguments_is_a_misfit(parameters: str, seen: str) -> None:
    words = contract.connects("Database")(database(parameters))
    assert words is not None
    assert words.startswith("Database takes other arguments: ")
    assert seen in words


def test_calls_and_names_are_looked_for() -> None:
    module = module_of(
        "def order(method, **kwargs):\n"
        "    def put():\n"
        "        return queue.enqueue_call(method, kwargs=kwargs, meta={'site': 1})\n"
        "    return put\n"
        "def bare(method): pass\n"
        "count = 3\n"
    )
    assert contract.takes("order", 1, "now")(module) is None
    assert contract.mentions("order", "enqueue_call", "meta", "site")(module) is None
    assert "unexpected keyword argument 'now'" in str(contract.takes("bare", 1, "now")(module))
    assert contract.mentions("bare", "meta", "method")(module) == "bare works without meta"
    assert contract.takes("gone.where")(module) == "there is no gone.where"
    assert contract.takes("count")(module) == "count is no function"
    assert contract.has("order", "gone")(module) == "there is no gone"


def test_a_module_that_does_not_fit_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    table = (
        contract.Requirement("guard", "looked_at", contract.connects("Database")),
        contract.Requirement("guard", "not.there", contract.has("x"), optional=True),
        contract.Requirement("jobs", "not.there", contract.has("x")),
    )
    monkeypatch.setattr(contract, "REQUIREMENTS", table)
    monkeypatch.setitem(__import__("sys").modules, "looked_at", database(FOREIGN))
    contract.misfits.cache_clear()
    (words,) = contract.misfits("guard")
    assert words.startswith(
        "guard: in this bench's looked_at, Database takes other arguments: self, tenant,"
    )
    assert contract.unmet("guard", database(FOREIGN)) == [words]
    (words,) = contract.misfits("jobs")
    assert words.startswith(
        "jobs: this bench's not.there cannot be imported: ModuleNotFoundError: "
    )
    assert not contract.fits("guard", "files")
    assert contract.fits("files", "scheduler")
    contract.misfits.cache_clear()


def test_every_requirement_is_of_a_part_with_a_consequence() -> None:
    assert {requirement.part for requirement in contract.REQUIREMENTS} <= set(contract.PARTS)
