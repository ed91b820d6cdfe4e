"""Problems of fleet_sites, and of the sites that a bench has or had."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from .hosts import is_ours, is_primary, seen
from .problems import Host, Kind, Problem, Settings, did_you_mean, grouped

# DNS allows no underscores in host names, but sites have them, and browsers and nginx take them.
LABEL = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")

SITES = "fleet_sites in the inventory (group_vars/all.yml)"
ENTRY = f"{SITES}, entry {{entry}}"
EXAMPLE = "such as {{name: erp.example.com, apps: [erpnext]}}"
SITES_NOT_A_LIST = Kind(
    "sites_not_a_list",
    "fleet_sites is {value!r}, not a list",
    SITES,
    f"write a list of entries {EXAMPLE}",
)
SITES_EMPTY = Kind(
    "sites_empty",
    "fleet_sites is empty: there is no site to serve",
    SITES,
    f"add at least one entry {EXAMPLE}",
)
SITE_LISTED_TWICE = Kind(
    "site_listed_twice",
    "site {site} is listed more than once",
    f"{SITES}, entries {{entries}}",
    "keep one entry for each site",
)
SITE_ENTRY_INVALID = Kind(
    "site_entry_invalid",
    "{value!r} is not an entry for a site",
    ENTRY,
    "write {{name: {name}}}",
)
SITE_KEY_UNKNOWN = Kind(
    "site_key_unknown",
    "unknown key {key!r} in the entry of a site{hint}",
    ENTRY,
    "use one of the known keys: {known}",
)
SITE_WITHOUT_NAME = Kind(
    "site_without_name",
    "the entry of a site has no name",
    ENTRY,
    "add `name:` with the host name that users type",
)
SITE_NAME_INVALID = Kind(
    "site_name_invalid",
    "site name {name!r} is not a host name",
    ENTRY,
    "use lower-case letters, digits, dots, hyphens and underscores, for instance {suggestion}; to"
    " rename a site that exists, stop the bench and rename the site's folder",
)
NAMES = f"{SITES}, names of {{site}}"
SITE_NAMES_NOT_A_LIST = Kind(
    "site_names_not_a_list",
    "`names` is {value!r}, not a list",
    NAMES,
    "write it as in [erp, 10.0.0.11]",
)
SITE_FURTHER_NAME_INVALID = Kind(
    "site_further_name_invalid",
    "{name!r} is neither a host name nor an IPv4 address",
    NAMES,
    "write the name that users type after http://, in lower case, without a port",
)
SITE_NAME_TAKEN = Kind(
    "site_name_taken",
    "{name} is named twice",
    NAMES,
    "keep it once: a name leads to one site",
)
SITE_GONE = Kind(
    "site_gone",
    "fleet_sites names the site {site}, which was on the bench of {host} and no longer exists: it"
    " would be made again, empty",
    "{bench}/sites/{site} on {host}",
    "if it was dropped, take it out of fleet_sites; if it was lost, restore its folder and its"
    " database from a backup; to make it again, empty, remove {note} on {host}",
)
SITE_ON_OTHER_DATABASE = Kind(
    "site_on_other_database",
    "the database of site {site} of {host} is {kind} (db_type), and a fleet copies MariaDB only",
    "{file} on {host}",
    "leave this server out of the fleet, or move the site to MariaDB first: make a new site with"
    " `--db-type mariadb`, and transfer its data with Data Export and Data Import",
)


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
        # Every bench has a folder of this name beside its sites.
        and name != "assets"
    )


def check_sites(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Problems of fleet_sites: no entry, no host name, duplicates, unknown keys."""
    sites = hosts[0]["sites"] if hosts else None
    if not hosts or any(host["sites"] != sites for host in hosts):
        # A difference is reported as variable_differs.
        return
    if not isinstance(sites, list):
        yield SITES_NOT_A_LIST.found(value=sites)
        return
    if not sites:
        yield SITES_EMPTY.found()
        return
    for number, entry in enumerate(sites, start=1):
        yield from check_site(entry, number, settings["site_keys"])
    seen = grouped(
        (str(entry.get("name", "")).lower(), number)
        for number, entry in enumerate(sites, start=1)
        if isinstance(entry, Mapping)
    )
    for name, numbers in seen.items():
        if name and len(numbers) > 1:
            yield SITE_LISTED_TWICE.found(site=name, entries=numbers)
    yield from check_further_names(sites)


def check_site(entry: Any, number: int, known: Iterable[str]) -> Iterator[Problem]:
    """Problems of one entry of fleet_sites; number is its position, from 1."""
    if not isinstance(entry, Mapping):
        example = entry if isinstance(entry, str) else "erp.example.com"
        yield SITE_ENTRY_INVALID.found(value=entry, entry=number, name=example)
        return
    for key in entry:
        if key not in known:
            hint = did_you_mean(str(key), known)
            yield SITE_KEY_UNKNOWN.found(key=key, entry=number, known=sorted(known), hint=hint)
    name = entry.get("name")
    if not name:
        yield SITE_WITHOUT_NAME.found(entry=number)
    elif not is_site_name(str(name)):
        suggestion = re.sub(r"[^a-z0-9.-]+", "-", str(name).lower().strip()).strip(".-")
        yield SITE_NAME_INVALID.found(
            name=name,
            entry=number,
            suggestion=suggestion if is_site_name(suggestion) else "erp.example.com",
        )


def check_further_names(sites: list[Any]) -> Iterator[Problem]:
    """Problems of further names of sites: neither host name nor IPv4 address, or taken."""
    entries = [entry for entry in sites if isinstance(entry, Mapping)]
    taken = {str(entry.get("name")).lower() for entry in entries}
    for entry in entries:
        site, names = str(entry.get("name")), entry.get("names") or []
        if not isinstance(names, list):
            yield SITE_NAMES_NOT_A_LIST.found(value=names, site=site)
            continue
        for name in map(str, names):
            if not is_site_name(name):
                yield SITE_FURTHER_NAME_INVALID.found(name=name, site=site)
            elif name in taken:
                yield SITE_NAME_TAKEN.found(name=name, site=site)
            taken.add(name)


def check_gone_sites(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Problems of sites that no longer exist: this run would make them again, empty."""
    host = next(filter(is_primary, hosts), None)
    if host is None or not host["survey"] or not isinstance(host["sites"], list):
        return
    listed = [entry.get("name") for entry in host["sites"] if isinstance(entry, Mapping)]
    for name in host["survey"]["gone_sites"]:
        if name in listed:
            yield SITE_GONE.found(
                site=name,
                host=host["name"],
                bench=host["bench_dir"],
                note=f"{settings['state_dir']}/made-site-{name}",
            )


def check_other_databases(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Problems of sites whose database is not MariaDB: no other can be copied to a node.

    Such a site that was made in a finished fleet is reported with the fleet's sites and left as it
    is.
    """
    for host, survey in seen(hosts):
        mine = [bench for bench in survey["benches"] if bench["path"] == host["bench_dir"]]
        others = mine[0]["others"] if mine and not is_ours(host, settings) else {}
        for site, other in others.items():
            yield SITE_ON_OTHER_DATABASE.found(
                site=site, host=host["name"], kind=other["kind"], file=other["file"]
            )
