"""Apps that are to come, and those of the sites: whether they go with Frappe and each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..bench.needs import python_fits
from .problems import Problem, problem


def misfit(says: Mapping[str, Any], frappe: str) -> str:
    """Why an app does not go with a version of Frappe, in words; "" when it may."""
    # Of a release to come its numbers alone are judged: 17.0.0-dev is as good as 17.0.0.
    asked = re.sub(r"(\d)-[\w.]+", r"\1", says.get("frappe", ""))
    if frappe and asked and python_fits(asked, frappe) is False:
        return f"asks for Frappe {says['frappe']}"
    version = says.get("version", "")
    if frappe and version and says.get("same_major"):
        same = frappe.split(".")[0] == version.split(".")[0]
        return "" if same else f"is {version}, and installs only on that major version of Frappe"
    return ""


def app_problems(
    code: Mapping[str, Mapping[str, Any]], wanted: Iterable[Mapping[str, Any]], sites: Any
) -> Iterator[Problem]:
    """What is wrong with the apps that are to come, and with those that the sites are to have.

    code: what the apps say, those of the bench among them, which have ``here``: what runs already
    is not judged. wanted: the apps as the inventory has them, frappe first.
    """
    wanted = list(wanted)
    known = [*dict.fromkeys(["frappe", *(app["name"] for app in wanted), *code])]
    frappe = code.get("frappe", {}).get("version", "")
    for app in wanted:
        name, says = app["name"], code.get(app["name"], {})
        if says.get("here") or "trouble" in says:
            continue
        place = f"bench_apps in the inventory, entry {name}"
        for other in says.get("requires", []):
            if other not in known:
                yield problem(
                    f"{name} needs the app {other}, which bench_apps does not name",
                    place,
                    f"add an entry for {other} to bench_apps, before {name}",
                )
        if why := misfit(says, frappe):
            yield problem(
                f"{name} {why}; Frappe is {frappe}",
                place,
                f"name a branch of {name} that goes with this Frappe, or another "
                "bench_frappe_branch for a new bench",
            )
    for site in sites if isinstance(sites, list) else []:
        apps = site.get("apps") if isinstance(site, Mapping) else None
        for app in apps if isinstance(apps, list) else []:
            if str(app) not in known:
                yield problem(
                    f"the site {site.get('name')} is to have the app {app}, which bench_apps "
                    "does not name",
                    "fleet_sites in the inventory",
                    f"add an entry for {app} to bench_apps, with its repository, or take it "
                    f"out of the site's apps. Known are {', '.join(known)}",
                )
