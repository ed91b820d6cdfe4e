"""fleet_sites, and the sites that a bench has or had."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .hosts import is_ours, is_primary, seen
from .problems import Host, Problem, Settings, did_you_mean, grouped, problem

# Underscores are no host's in DNS, but sites have them, and browsers and nginx take them.
LABEL = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")


def is_address(text: str) -> bool:
    """Whether a text is an IPv4 address."""
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def is_site_name(name: str) -> bool:
    """Whether a site can have a name: a host name in lower case, or an IPv4 address."""
    labels = name.split(".")
    return is_address(name) or (
        len(name) <= 253
        and all(LABEL.fullmatch(label) for label in labels)
        and not labels[-1].isdigit()
        # A folder that every bench has beside its sites.
        and name != "assets"
    )


def check_sites(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """fleet_sites: at least one, host names, no duplicates, known keys."""
    place = "fleet_sites in the inventory (group_vars/all.yml)"
    sites = hosts[0]["sites"] if hosts else None
    if not hosts or any(host["sites"] != sites for host in hosts):
        # Told with all that the fleet must agree on.
        return
    example = "such as {name: erp.example.com, apps: [erpnext]}"
    if not isinstance(sites, list):
        what = f"fleet_sites is {sites!r}, not a list"
        yield problem(what, place, f"write a list of entries {example}")
        return
    if not sites:
        what = "fleet_sites is empty: there is no site to serve"
        yield problem(what, place, f"add at least one entry {example}")
        return
    for number, entry in enumerate(sites, start=1):
        yield from check_site(entry, f"{place}, entry {number}", settings["site_keys"])
    seen = grouped(
        (str(entry.get("name", "")).lower(), number)
        for number, entry in enumerate(sites, start=1)
        if isinstance(entry, Mapping)
    )
    for name, numbers in seen.items():
        if name and len(numbers) > 1:
            yield problem(
                f"site {name} is listed {len(numbers)} times",
                f"{place}, entries {', '.join(map(str, numbers))}",
                "keep one entry for each site",
            )
    yield from check_further_names(sites, place)


def check_site(entry: Any, place: str, known: Iterable[str]) -> Iterator[Problem]:
    """One entry of fleet_sites."""
    if not isinstance(entry, Mapping):
        yield problem(
            f"{entry!r} is not a site entry",
            place,
            f"write {{name: {entry if isinstance(entry, str) else 'erp.example.com'}}}",
        )
        return
    for key in entry:
        if key not in known:
            yield problem(
                f"unknown key {key!r} in a site entry{did_you_mean(str(key), known)}",
                place,
                f"known keys are {', '.join(sorted(known))}",
            )
    name = entry.get("name")
    if not name:
        yield problem("a site entry has no name", place, "add name: the host name users type")
    elif not is_site_name(str(name)):
        hint = re.sub(r"[^a-z0-9.-]+", "-", str(name).lower().strip()).strip(".-")
        yield problem(
            f"site name {name!r} is not a host name",
            place,
            "use lower-case letters, digits, dots, hyphens and underscores; a site that is "
            "there already is renamed by the name of its folder, while the bench is stopped"
            + (f"; for instance {hint}" if hint != name and is_site_name(hint) else ""),
        )


def check_further_names(sites: list[Any], place: str) -> Iterator[Problem]:
    """Further names of sites: host names or IPv4 addresses, and nobody else's."""
    entries = [entry for entry in sites if isinstance(entry, Mapping)]
    taken = {str(entry.get("name")).lower() for entry in entries}
    for entry in entries:
        where = f"{place}, names of {entry.get('name')}"
        names = entry.get("names") or []
        if not isinstance(names, list):
            yield problem(
                f"names is {names!r}, not a list", where, "write it as in [erp, 10.0.0.11]"
            )
            continue
        for name in map(str, names):
            if not is_site_name(name):
                yield problem(
                    f"{name!r} is neither a host name nor an IPv4 address",
                    where,
                    "write a name as users type it after http://, in lower case, without port",
                )
            elif name in taken:
                what = f"{name} is named twice"
                yield problem(what, where, "keep it once: a name leads to one site")
            taken.add(name)


def check_gone_sites(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """A site that was there and is gone would be made again by this run, and be empty."""
    host = next(filter(is_primary, hosts), None)
    if host is None or not host["survey"] or not isinstance(host["sites"], list):
        return
    listed = [entry.get("name") for entry in host["sites"] if isinstance(entry, Mapping)]
    for name in host["survey"]["gone_sites"]:
        if name in listed:
            yield problem(
                f"site {name} was on the bench of {host['name']} and is gone, and fleet_sites "
                "names it: it would be made anew, empty",
                f"{host['bench_dir']}/sites/{name} on {host['name']}",
                "when it was dropped, take it out of fleet_sites; when it was lost, restore its "
                "folder and its database from a backup; to have it anew, empty, remove "
                f"{settings['state_dir']}/made-site-{name} on {host['name']}",
            )


def check_other_databases(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Every site's database is MariaDB: nothing else can be copied to a node.

    A site that came to a fleet later is told of by what looks for sites there, and is left alone.
    """
    for host, survey in seen(hosts):
        mine = [bench for bench in survey["benches"] if bench["path"] == host["bench_dir"]]
        others = mine[0]["others"] if mine and not is_ours(host, settings) else {}
        for site, other in others.items():
            yield problem(
                f"the database of site {site} of {host['name']} is {other['kind']} (db_type), and"
                " a fleet copies MariaDB alone",
                f"{other['file']} on {host['name']}",
                "leave this server out of the fleet, or bring the site to MariaDB first: make a"
                " new site with --db-type mariadb, and take its data over by Data Export and Data"
                " Import",
            )
