"""An app comes to a fleet that runs, with its DocTypes and tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import pytest
from nodes import Node

from benchfleet import state

BENCH = "/home/frappe/frappe-bench"
REPOSITORY = "/srv/lab-apps/shop"
GIT = f"git -C {REPOSITORY} -c user.name=Lab -c user.email=lab@lab.invalid"
FILES = {
    "pyproject.toml": """[project]
name = "shop"
dynamic = ["version", "description"]
[build-system]
requires = ["flit_core>=3.4,<4"]
build-backend = "flit_core.buildapi"
""",
    "shop/__init__.py": '"""A shop."""\n__version__ = "1.0.0"\n',
    "shop/hooks.py": 'app_name = "shop"\n',
    "shop/modules.txt": "Shop\n",
    "shop/patches.txt": "",
    "shop/shop/__init__.py": "",
}
APPS = json.dumps(
    {
        "bench_apps": [{"name": "shop", "repo": REPOSITORY, "branch": "main"}],
        "fleet_sites": [{"name": state.SITE, "apps": ["shop"]}],
    }
)


def doctype(module: str, name: str) -> dict[str, str]:
    """The file of a DocType with one field."""
    folder = name.lower().replace(" ", "_")
    fields = [{"fieldname": "title", "fieldtype": "Data"}]
    content = {"doctype": "DocType", "name": name, "module": module, "fields": fields}
    return {f"shop/{module.lower()}/doctype/{folder}/{folder}.json": json.dumps(content)}


def release(primary: Node, files: dict[str, str]) -> None:
    """Put a commit with files into the app's repository, which is on the primary."""
    for name, text in files.items():
        place = f"{REPOSITORY}/{name}"
        primary.run(f"mkdir -p $(dirname {place}); cat >{place} <<'END'\n{text}\nEND")
    primary.run(f"{GIT} add --all && {GIT} commit -qm 'A commit of the shop'")


@pytest.fixture(scope="module")
def database(nodes: dict[str, Node]) -> str:
    """The site's database."""
    text = nodes["erp1"].run(f"cat {BENCH}/sites/{state.SITE}/site_config.json")
    return str(json.loads(text)["db_name"])


@pytest.fixture(scope="module", autouse=True)
def repository(nodes: dict[str, Node]) -> None:
    """The app's repository."""
    primary = nodes["erp1"]
    if primary.run(f"test -d {REPOSITORY} && echo yes || echo no") == "no":
        primary.run(f"mkdir -p {REPOSITORY} && git init -qb main {REPOSITORY}")
        release(primary, {**FILES, **doctype("Shop", "Shop Order")})


def modules(primary: Node, database: str) -> str:
    """What the shared cache knows of the apps' modules."""
    config = f"{BENCH}/sites/common_site_config.json"
    url = urlsplit(json.loads(primary.run(f"cat {config}"))["redis_cache"])
    ask = f"REDISCLI_AUTH={url.password} redis-cli -h {url.hostname} -p {url.port}"
    return primary.run(f"{ask} GET '{database}|app_modules'")


def has(node: Node, database: str, name: str) -> bool:
    """Whether a database server has a DocType with its table."""
    rows = node.sql(f"SELECT COUNT(*) FROM `{database}`.tabDocType WHERE name = '{name}'")
    return rows == "1" and node.sql(f"SHOW TABLES FROM `{database}` LIKE 'tab{name}'") != ""


def test_an_app_comes_to_a_running_fleet(
    play: Callable[..., Any], nodes: dict[str, Node], database: str
):
    primary, reporting = nodes["erp1"], nodes["rep1"]
    primary.run(f"sudo -iu frappe sh -c 'cd {BENCH} && bench --site {state.SITE} list-apps'")
    # This is where the app would be lost: what is cached was written before it came.
    assert '"frappe"' in modules(primary, database)
    assert "shop" not in modules(primary, database)
    play("site.yml", "-e", APPS)
    assert has(primary, database, "Shop Order")
    # The node has said so to the others when it had the app, too.
    known = modules(primary, database)
    assert not known or "shop" in known
    for node in (primary, reporting):
        assert "shop" in node.run(f"cat {BENCH}/sites/apps.txt").split()
    assert play("site.yml", "-e", APPS).changes == []
    assert has(reporting, database, "Shop Order")


def test_a_site_on_which_an_app_was_half_installed_is_healed(
    play: Callable[..., Any], nodes: dict[str, Node], database: str
):
    primary = nodes["erp1"]
    primary.sql(
        f"DROP TABLE `{database}`.`tabShop Order`;"
        f"DELETE FROM `{database}`.tabDocType WHERE name = 'Shop Order'"
    )
    (changed,) = play("site.yml", "-e", APPS).changes
    assert "Sites exist with their apps" in changed
    assert has(primary, database, "Shop Order")


def test_an_update_brings_a_module(play: Callable[..., Any], nodes: dict[str, Node], database: str):
    primary = nodes["erp1"]
    assert "depot" not in modules(primary, database)
    come = {"shop/modules.txt": "Shop\nDepot\n", "shop/depot/__init__.py": ""}
    release(primary, {**come, **doctype("Depot", "Depot Shelf")})
    play("playbooks/update.yml", "-e", APPS)
    assert has(primary, database, "Depot Shelf")
