"""Names of jobs in the source of a made-up bench, and in the databases of its sites."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from fleet.bench import jobs
from fleet.mariadb import server as mariadb

from library import job_names

TASKS = '''
"""Tasks."""
import frappe
from shop.stock import (  # moved (long ago)
    repost,
    close as close_all,
)
from shop.stock.deep import *
from frappe import \\
    wrapped
renamed = repost
count: int = 3
compared == 3

@frappe.whitelist()
def daily(a,
          b):
    def inner():
        pass

async  def slowly(): pass

class Keeper(Base):
    def keep(self):
        pass

    async def wait(self): ...

try:
    from shop.fast import hurry
except ImportError:

    def hurry_up():
        def hidden():
            pass

def last(): pass
'''


def write(path: Path, text: str) -> None:
    """A file with all its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def bench(tmp_path):
    """A bench with the apps frappe and shop, and one site."""
    root = tmp_path / "be[n]ch"
    write(root / "apps/frappe/frappe/__init__.py", "def enqueue(): pass\n")
    shop = root / "apps/shop/shop"
    write(shop / "__init__.py", "")
    write(shop / "tasks.py", TASKS)
    write(shop / "stock/__init__.py", "def repost(): pass\ndef close(): pass\n")
    write(shop / "stock/deep.py", "def dig(): pass\n")
    write(shop / "node_modules/x/y.py", "def never(): pass\n")
    write(shop / "__pycache__/z.py", "def never(): pass\n")
    write(shop / ".git/hooks.py", "def never(): pass\n")
    write(shop / "a-script.py", "def never(): pass\n")
    write(root / "apps/shop/setup.py", "def never(): pass\n")
    write(root / "apps/docs/readme.py", "def never(): pass\n")
    write(root / "sites/erp.example.com/site_config.json", json.dumps({"db_name": "_a`b"}))
    return root


@pytest.fixture(autouse=True)
def server(monkeypatch) -> dict[str, Any]:
    """A server whose databases have the methods of these scheduled jobs, {database: methods}."""
    rows: dict[str, Any] = {}

    class Server:
        def __init__(self, database: str = "") -> None:
            self.database = database

        def rows(self, sql: str) -> list[dict[str, Any]]:
            assert sql == jobs.SCHEDULED
            return [{"method": method} for method in rows[self.database]]

        @contextmanager
        def signed_in(self, _user: str, _password: str, database: str):
            yield Server(database)

    @contextmanager
    def local():
        if rows.get("absent"):
            raise mariadb.ServerAbsentError("no server")
        yield Server()

    monkeypatch.setattr(mariadb, "local", local)
    return rows


DATABASE = "_a`b"


def test_functions_at_the_top_of_modules_are_jobs(bench):
    functions, methods = jobs.source_names(str(bench))
    assert functions == {
        "frappe.enqueue",
        "shop.stock.repost",
        "shop.stock.close",
        "shop.stock.deep.dig",
        "shop.tasks.daily",
        "shop.tasks.slowly",
        "shop.tasks.hurry_up",
        "shop.tasks.last",
    }
    assert methods == {"shop.tasks.Keeper.keep", "shop.tasks.Keeper.wait"}


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("shop.stock.*", ["shop.stock.close", "shop.stock.deep.dig", "shop.stock.repost"]),
        ("*.la?t", ["shop.tasks.last"]),
        ("shop.[t]*.d[!i]*", ["shop.tasks.daily"]),
        ("SHOP.*", []),
        ("*.Keeper.*", ["shop.tasks.Keeper.keep", "shop.tasks.Keeper.wait"]),
    ],
)
def test_patterns(bench, pattern, names):
    assert jobs.look(str(bench), [pattern])["matches"] == {pattern: names}


@pytest.mark.parametrize(
    ("name", "known"),
    [
        *((name, True) for name in ("daily", "Keeper.keep", "repost", "close_all", "wrapped")),
        *((name, True) for name in ("renamed", "count", "hurry", "hurry_up", "dig")),
        *((name, False) for name in ("moved", "long", "compared", "inner", "hidden")),
        *((name, False) for name in ("keep", "Keeper.gone", "nothing", "da.ily", "a+", "")),
    ],
)
def test_exact_names(bench, name, known):
    job = f"shop.tasks.{name}"
    found = jobs.look(str(bench), [job])
    assert found["matches"] == {job: [job] if known else []}
    assert (job in found["near"]) is not known


@pytest.mark.parametrize("job", ["os.system", "shop", "docs.readme.never", "shop.none.daily", ".x"])
def test_names_of_what_is_in_no_app(bench, job):
    assert jobs.look(str(bench), [job])["matches"] == {job: []}


def test_nearest_names(bench):
    found = jobs.look(str(bench), ["shop.tasks.dayly", "quite.other", "x.*"])
    assert found["near"]["shop.tasks.dayly"][0] == "shop.tasks.daily"
    assert found["near"]["quite.other"] == []
    assert len(found["near"]["shop.tasks.dayly"]) <= 3
    assert "x.*" not in found["near"]


def test_scheduled_jobs_are_known_too(bench, server):
    server[DATABASE] = ["send_letters_daily", None, "shop.tasks.daily", "shop.tasks.gone"]
    found = jobs.look(str(bench), ["send_letters_daily", "shop.tasks.*", "send_lettres_daily"])
    assert found["scheduled"] is True
    assert found["matches"]["send_letters_daily"] == ["send_letters_daily"]
    assert "shop.tasks.gone" in found["matches"]["shop.tasks.*"]
    assert found["matches"]["shop.tasks.*"].count("shop.tasks.daily") == 1
    assert found["near"] == {"send_lettres_daily": ["send_letters_daily"]}


@pytest.mark.parametrize("absent", [True, False])
def test_a_server_that_does_not_answer_is_no_error(bench, server, absent):
    server["absent"] = absent
    found = jobs.look(str(bench), ["shop.tasks.daily"])
    assert found["scheduled"] is False
    assert found["matches"] == {"shop.tasks.daily": ["shop.tasks.daily"]}


def test_a_site_that_cannot_be_read_hides_no_other(bench, server):
    write(bench / "sites/a.example.com/site_config.json", json.dumps({"db_name": "new"}))
    write(bench / "sites/b.example.com/site_config.json", "{")
    server[DATABASE] = ["one"]
    assert jobs.scheduled_names(str(bench)) == ({"one"}, False)


def test_jobs_of_two_entries(bench):
    found = jobs.look(str(bench), ["shop.stock.*", "*.close", "frappe.*", "*.d*", "shop.stock.*"])
    assert found["overlaps"] == [
        {"entries": ["shop.stock.*", "*.close"], "example": "shop.stock.close", "count": 1},
        {"entries": ["shop.stock.*", "*.d*"], "example": "shop.stock.deep.dig", "count": 1},
    ]


def test_long_lists_are_cut_after_they_were_compared(bench, monkeypatch):
    monkeypatch.setattr(jobs, "MOST_MATCHES", 1)
    found = jobs.look(str(bench), ["shop.*", "*.t*.last"])
    assert found["matches"] == {"shop.*": ["shop.stock.close"], "*.t*.last": ["shop.tasks.last"]}
    assert len(found["overlaps"]) == 1


def test_no_bench(tmp_path):
    found = jobs.look(str(tmp_path / "none"), ["a.b", "c.*"])
    assert found == {
        "known": False,
        "apps": [],
        "scheduled": False,
        "matches": {},
        "near": {},
        "overlaps": [],
        "queues": {},
    }


def test_nothing_is_read_when_nothing_is_asked(bench, monkeypatch):
    monkeypatch.setattr(jobs, "source_names", None)
    write(
        bench / "sites/common_site_config.json",
        json.dumps({"workers": {"slow": {"timeout": 9}, "at-rep1": {}}}),
    )
    found = jobs.look(str(bench), [])
    assert found["known"]
    assert found["apps"] == ["frappe", "shop"]
    assert found["queues"] == {"slow": {"timeout": 9}}


@pytest.mark.parametrize("text", ["", "{", "[]", '{"workers": ["slow"]}', "{}"])
def test_no_queues_of_its_own(bench, text):
    write(bench / "sites/common_site_config.json", text)
    assert jobs.custom_queues(str(bench)) == {}


def test_module_tells_the_same(bench, monkeypatch):
    told: dict[str, Any] = {}

    class Module:
        def __init__(self, argument_spec: Any, supports_check_mode: bool) -> None:
            assert supports_check_mode
            self.params = {"bench": str(bench), "patterns": ["shop.tasks.daily"]}
            assert set(argument_spec) == set(self.params)

        def exit_json(self, **result: Any) -> None:
            told.update(result)

    monkeypatch.setattr(job_names, "FleetModule", Module)
    job_names.main()
    assert told == {"changed": False, "jobs": jobs.look(str(bench), ["shop.tasks.daily"])}
