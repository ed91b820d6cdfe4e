"""Nodes and apps that leave the fleet: whether they can be taken out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .problems import Kind, Problem, listed

NODE = "node on the command line"
NAME_NODE = "name one of the inventory's reporting nodes with -e node=NAME: {nodes}"
NODE_NOT_NAMED = Kind("leaving_node_not_named", "no node is named", NODE, NAME_NODE)
NODE_IS_PRIMARY = Kind(
    "leaving_node_primary", "{node} is the primary, which cannot be taken out", NODE, NAME_NODE
)
NODE_UNKNOWN = Kind("leaving_node_unknown", "{node!r} is not a reporting node", NODE, NAME_NODE)
DATA_UNKNOWN = Kind(
    "leaving_data_unknown",
    "`data` is {data!r}; it must be keep or delete",
    "data on the command line",
    "leave it out to keep the node's copy of the data, or write data=delete",
)
JOB_ENTRY = "jobs_placement in the inventory, entry {job!r}"
MOVE_JOB = "take the entry out, or name another server there, and run the same command again"
JOB_ON_NODE = Kind(
    "leaving_node_has_job",
    "job {job} is placed on {node}: without the node, the next site.yml would stop there",
    JOB_ENTRY,
    MOVE_JOB,
)
JOB_ON_GROUP = Kind(
    "leaving_group_has_job",
    "job {job} is placed on group {group}, whose only host is {node}: without the node, the next"
    " site.yml would stop there",
    JOB_ENTRY,
    MOVE_JOB,
)
APP = "app on the command line"
NAME_APP = "name one of the bench's apps, but not frappe, with -e app=NAME"
APP_NOT_NAMED = Kind("leaving_app_not_named", "no app is named", APP, NAME_APP)
APP_REFUSED = Kind("leaving_app_refused", "{app!r} cannot be removed", APP, NAME_APP)
NAMED = "the inventory names {app}, so the next site.yml would install it again"
TAKE_OUT = "take the entry out, and run the same command again"
APP_IN_INVENTORY = Kind(
    "leaving_app_in_inventory", NAMED, "bench_apps in the inventory, entry {app}", TAKE_OUT
)
APP_OF_SITE = Kind(
    "leaving_app_of_site", NAMED, "fleet_sites in the inventory, apps of {site}", TAKE_OUT
)


def leaving_problems(
    node: str, groups: Mapping[str, Iterable[str]], placement: Any, data: str = "keep"
) -> Iterator[Problem]:
    """Why a node cannot be taken out of the fleet; [] when it can.

    ``groups`` are the inventory's, ``placement`` is jobs_placement, ``data`` is "keep" or "delete":
    what is done with the node's data.
    """
    reporting = sorted(groups.get("reporting", []))
    if node not in reporting:
        kind = NODE_UNKNOWN if node else NODE_NOT_NAMED
        if node in groups.get("primary", []):
            kind = NODE_IS_PRIMARY
        yield kind.found(node=node, nodes=reporting or "none")
        return
    if data not in ("keep", "delete"):
        yield DATA_UNKNOWN.found(data=data)
    for job, server in placement.items() if isinstance(placement, Mapping) else ():
        if str(server) == node:
            yield JOB_ON_NODE.found(job=job, node=node)
        elif set(groups.get(str(server), [])) == {node}:
            yield JOB_ON_GROUP.found(job=job, node=node, group=server)


def app_leaving_problems(app: str, wanted: Any, sites: Any) -> Iterator[Problem]:
    """Why an app cannot be taken out of the fleet; [] when it can.

    ``wanted`` is bench_apps, ``sites`` is fleet_sites.
    """
    if not re.fullmatch(r"[A-Za-z]\w*", app, re.ASCII) or app == "frappe":
        yield (APP_REFUSED if app else APP_NOT_NAMED).found(app=app)
        return
    for one in wanted if isinstance(wanted, list) else []:
        if isinstance(one, Mapping) and one.get("name") == app:
            yield APP_IN_INVENTORY.found(app=app)
    for site in sites if isinstance(sites, list) else []:
        if isinstance(site, Mapping) and app in (site.get("apps") or []):
            yield APP_OF_SITE.found(app=app, site=site.get("name"))


def leaving_text(problems: list[Problem], what: str = "node") -> str:
    """The problems as a message; what: "node" or "app"."""
    head = f"The {what} is not taken out. Nothing was touched on any host."
    return f"{head}\n{listed(problems, numbered=False)}"
