"""Apps to be installed, and those of the sites: whether they fit Frappe and each other."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from ..bench.needs import python_fits
from .problems import Kind, Problem

ENTRY = "bench_apps in the inventory, entry {app}"
APP_MISSING = Kind(
    "app_needs_other_app",
    "{app} needs the app {other}, which bench_apps does not name",
    ENTRY,
    "add an entry for {other} to bench_apps, before {app}",
)
OTHER_BRANCH = (
    "name a branch of {app} that fits this Frappe, or, for a new bench, another bench_frappe_branch"
)
FRAPPE_EXCLUDED = Kind(
    "app_excludes_frappe",
    "{app} requires Frappe {asked}; Frappe is {frappe}",
    ENTRY,
    OTHER_BRANCH,
)
OTHER_MAJOR = Kind(
    "app_of_other_major",
    "{app} is version {version}, and installs only on a Frappe of the same major version; Frappe is"
    " {frappe}",
    ENTRY,
    OTHER_BRANCH,
)
SITE_APP_UNKNOWN = Kind(
    "site_app_unknown",
    "the site {site} is to have the app {app}, which bench_apps does not name",
    "fleet_sites in the inventory",
    "add an entry for {app} to bench_apps, with its repository, or take it out of the site's apps."
    " Known apps are {known}",
)


def misfit(app: str, found: Mapping[str, Any], frappe: str) -> Problem | None:
    """Why an app does not fit a version of Frappe; None when it may.

    ``found`` is what its files say.
    """
    # Of a release to come its numbers alone are judged: 17.0.0-dev counts as 17.0.0.
    asked = re.sub(r"(\d)-[\w.]+", r"\1", found.get("frappe", ""))
    if frappe and asked and python_fits(asked, frappe) is False:
        return FRAPPE_EXCLUDED.found(app=app, asked=found["frappe"], frappe=frappe)
    version = found.get("version", "")
    other_major = frappe.split(".")[0] != version.split(".")[0]
    if frappe and version and found.get("same_major") and other_major:
        return OTHER_MAJOR.found(app=app, version=version, frappe=frappe)
    return None


def app_problems(
    code: Mapping[str, Mapping[str, Any]], wanted: Iterable[Mapping[str, Any]], sites: Any
) -> Iterator[Problem]:
    """What is wrong with the apps to be installed, and with the apps of the sites.

    code: what is known of each app. Those of the bench are among them and have ``here``: they run
    already, and are not judged. wanted: the apps as the inventory has them, frappe first.
    """
    wanted = list(wanted)
    known = [*dict.fromkeys(["frappe", *(app["name"] for app in wanted), *code])]
    frappe = code.get("frappe", {}).get("version", "")
    for app in wanted:
        name, found = app["name"], code.get(app["name"], {})
        if found.get("here") or "trouble" in found:
            continue
        for other in found.get("requires", []):
            if other not in known:
                yield APP_MISSING.found(app=name, other=other)
        if unfit := misfit(name, found, frappe):
            yield unfit
    for site in sites if isinstance(sites, list) else []:
        apps = site.get("apps") if isinstance(site, Mapping) else None
        for app in apps if isinstance(apps, list) else []:
            if str(app) not in known:
                yield SITE_APP_UNKNOWN.found(site=site.get("name"), app=str(app), known=known)
