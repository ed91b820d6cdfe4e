"""Nodes and apps that leave the fleet: who and what may go."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .problems import Problem, listed, problem


def leaving_problems(
    node: str, groups: Mapping[str, Iterable[str]], placement: Any, data: str = "keep"
) -> Iterator[Problem]:
    """Why a node cannot be taken out of the fleet, [] when it can: {what, place, remedy} each.

    ``groups`` are the inventory's, ``placement`` is jobs_placement, ``data`` what shall become of
    the node's data.
    """
    reporting = sorted(groups.get("reporting", []))
    if node not in reporting:
        what = f"{node!r} is no reporting node" if node else "no node is named"
        if node in groups.get("primary", []):
            what = f"{node} is the primary, which cannot be taken out"
        choice = ", ".join(reporting) or "none"
        remedy = f"name one of the inventory's reporting nodes with -e node=NAME: {choice}"
        yield problem(what, "node on the command line", remedy)
        return
    if data not in ("keep", "delete"):
        yield problem(
            f"data is {data!r}",
            "data on the command line",
            "leave it out to keep the node's copy of the data, or write data=delete",
        )
    for job, server in placement.items() if isinstance(placement, Mapping) else ():
        if str(server) != node and set(groups.get(str(server), [])) != {node}:
            continue
        words = f"on {node}" if server == node else f"on group {server}, of which {node} is all"
        yield problem(
            f"job {job} is placed {words}: without it the next site.yml would refuse",
            f"jobs_placement in the inventory, entry {job!r}",
            "take the entry out, or name another server there, and run this again",
        )


def app_leaving_problems(app: str, wanted: Any, sites: Any) -> Iterator[Problem]:
    """Why an app cannot be taken out of the fleet, [] when it can; see leaving_problems.

    ``wanted`` is bench_apps, ``sites`` is fleet_sites.
    """
    if not re.fullmatch(r"[A-Za-z]\w*", app, re.ASCII) or app == "frappe":
        what = f"{app!r} is no app that could be taken out" if app else "no app is named"
        remedy = "name one of the bench's apps, but not frappe, with -e app=NAME"
        yield problem(what, "app on the command line", remedy)
        return
    places = [
        f"bench_apps in the inventory, entry {app}"
        for one in (wanted if isinstance(wanted, list) else [])
        if isinstance(one, Mapping) and one.get("name") == app
    ]
    places += [
        f"fleet_sites in the inventory, apps of {site.get('name')}"
        for site in (sites if isinstance(sites, list) else [])
        if isinstance(site, Mapping) and app in (site.get("apps") or [])
    ]
    what = f"the inventory names {app}, and the next site.yml would bring it back"
    remedy = "take the entry out, and run this again"
    for place in places:
        yield problem(what, place, remedy)


def leaving_text(problems: list[Problem], what: str = "node") -> str:
    """The problems as a text for people; what: the kind of thing that was to leave."""
    head = f"The {what} is not taken out. Nothing was touched on any host."
    return f"{head}\n{listed(problems, numbered=False)}"
