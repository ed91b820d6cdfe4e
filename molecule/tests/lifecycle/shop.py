"""An app for the lab's site: its repository on the primary, and what its installation leaves."""

from __future__ import annotations

import json
from typing import NamedTuple
from urllib.parse import urlsplit

from calls import Taken
from nodes import Node
from plays import Run

from benchfleet.lab import state

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
    # As ERPNext does, it has a hook that runs at each save and reads its own tables.
    "shop/hooks.py": """app_name = "shop"
doc_events = {"*": {"validate": ["shop.orders.check"]}}
""",
    "shop/orders.py": """import frappe

def check(doc, event):
    frappe.db.count("Shop Order")
""",
    "shop/modules.txt": "Shop\n",
    "shop/patches.txt": "",
    "shop/shop/__init__.py": "",
}
# Nodes that lack the app; the router's file of the nodes.
WAITING = "/var/lib/benchfleet/waiting"
ROUTES = "/etc/nginx/benchfleet/nodes"
# Inventory variables that give the fleet the app.
APPS = {
    "bench_apps": [{"name": "shop", "repo": REPOSITORY, "branch": "main"}],
    "fleet_sites": [{"name": state.SITE, "apps": ["shop"]}],
}
# Not the newest, so that there is a newer one to report.
OLDER_YARN = "1.22.21"
ASKED = {**APPS, "bench_yarn_version": OLDER_YARN}


class Grown(NamedTuple):
    """A run that brought the app while rep2 was down.

    before, after: what was cached of the apps' modules. routes: the router's file before the run.
    taken: what users got meanwhile. waiting: the nodes to which the router sent no calls after it.
    """

    run: Run
    before: str
    after: str
    routes: str
    taken: list[Taken]
    waiting: list[str]


def doctype(module: str, name: str) -> dict[str, str]:
    """The file of a DocType with one field."""
    folder = name.lower().replace(" ", "_")
    fields = [{"fieldname": "title", "fieldtype": "Data"}]
    content = {"doctype": "DocType", "name": name, "module": module, "fields": fields}
    return {f"shop/{module.lower()}/doctype/{folder}/{folder}.json": json.dumps(content)}


def release(primary: Node, files: dict[str, str]) -> None:
    """Put a commit with files into the app's repository."""
    for name, text in files.items():
        place = f"{REPOSITORY}/{name}"
        primary.run(f"mkdir -p $(dirname {place}); cat >{place} <<'END'\n{text}\nEND")
    primary.run(f"{GIT} add --all && {GIT} commit -qm 'A commit of the shop'")


def make(primary: Node) -> None:
    """Make the app's repository, with one DocType."""
    if not primary.says(f"ls -d {REPOSITORY}"):
        primary.run(f"mkdir -p {REPOSITORY} && git init -qb main {REPOSITORY}")
        release(primary, {**FILES, **doctype("Shop", "Shop Order")})


def database_of(primary: Node) -> str:
    """The site's database."""
    text = primary.run(f"cat {BENCH}/sites/{state.SITE}/site_config.json")
    return str(json.loads(text)["db_name"])


def modules(primary: Node) -> str:
    """The modules of the site's apps in the shared cache."""
    config = f"{BENCH}/sites/common_site_config.json"
    url = urlsplit(json.loads(primary.run(f"cat {config}"))["redis_cache"])
    ask = f"REDISCLI_AUTH={url.password} redis-cli --user {url.username}"
    return primary.run(
        f"{ask} -h {url.hostname} -p {url.port} GET '{database_of(primary)}|app_modules'"
    )


def has(node: Node, database: str, name: str) -> bool:
    """Whether a database server has a DocType with its table."""
    rows = node.sql(f"SELECT COUNT(*) FROM `{database}`.tabDocType WHERE name = '{name}'")
    return rows == "1" and node.sql(f"SHOW TABLES FROM `{database}` LIKE 'tab{name}'") != ""
