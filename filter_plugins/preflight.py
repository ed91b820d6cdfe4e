"""Judge a fleet before anything is touched.

Pure functions on plain data: the role preflight gathers (facts, survey, inventory), these judge,
all problems at once. The only thing read from disk are our own roles' argument specs and the
secrets file, both on the controller.

A host is a dict:
    name, groups                 inventory name, names of its groups
    lan_ip                       as the inventory has it, "" when it has none
    default, addresses           default IPv4 address and all addresses, from the facts
    distribution, version        e.g. Debian, 12.5
    system                       its row of module_utils/fleet/systems.py, {} for one that has none
    untried_system               fleet_untried_system
    address                      the address that the others reach it by, "" when it has none
    ssh_key                      its ed25519 host key, "" when it has none
    server_id                    mariadb_server_id, "" when unset
    branch, python               bench_frappe_branch, bench_python
    bench_home, bench_dir        fleet_bench_home, fleet_bench_dir
    cli_dir                      bench_cli_dir
    asked_versions               releases of the bench's tools, see versions.py
    proxy                        fleet_http_proxy, "" when unset
    keep                         fleet_keep
    networks                     {setting: addresses and networks that it names}
    background_workers           bench_background_workers
    placement, away_seconds      jobs_placement, jobs_away_seconds
    apps                         bench_apps
    sites                        fleet_sites as this host sees it
    mariadb_extra                mariadb_settings_extra
    variables                    names of all its inventory and extra variables
    type_errors                  what Ansible's own validation said about their types
    survey                       what the module survey found, None when it could not run
    trouble, away, target        why it could not, see reach.py

A problem is a dict of texts: what (the value and what is wrong with it), place, remedy. Jobs and
their workers are judged by the filters of jobs.py in the same way.
"""

from __future__ import annotations

import difflib
import ipaddress
import posixpath
import re
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

Host = Mapping[str, Any]
Problem = dict[str, str]
Settings = Mapping[str, Any]

PRIVATE_NETWORKS = tuple(
    ipaddress.ip_network(network)
    for network in (
        "10.0.0.0/8",  # RFC 1918
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",  # RFC 6598
        "fc00::/7",  # RFC 4193, unique local addresses
    )
)
PRIVATE_WORDS = (
    "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16, 100.64.0.0/10 or a unique local fc00::/7 address"
)
SUPPORTED_MARIADB = ("10.11", "11.4", "11.8")
SUPPORTED_FRAPPE = (14, 15, 16)
# The first Frappe that can print with Chromium.
FRAPPE_WITH_CHROMIUM = 16
FACTS_WE_SET = frozenset(
    f"fleet_{name}" for name in ("hosts", "in_run", "lan_ip", "primary", "primary_ip", "secrets")
)
GROUPS = (
    "primary",
    "reporting",
    "mariadb_primary",
    "mariadb_replica",
    "redis",
    "bench_primary",
    "bench_reporting",
    "router",
)
# How a listener that the fleet itself put there can be told: a word in its name, program or
# command line.
SERVICES = {
    "mariadb": ("MariaDB", ("mariadbd", "mysqld")),
    "redis_cache": ("the bench's Redis cache", ("redis-server",)),
    "redis_queue": ("the bench's Redis queue", ("redis-server",)),
    "web": ("the bench's web workers", ("gunicorn",)),
    "socketio": ("the bench's socketio", ("node",)),
    "report": ("the primary's pool for reports", ("gunicorn",)),
    "health": ("the reporting bench's health answers", ("gunicorn",)),
    "http": ("the router", ("nginx",)),
    "https": ("the router", ("nginx",)),
}
PRIMARY_SERVICES = tuple(name for name in SERVICES if name != "health")
REPORTING_SERVICES = ("mariadb", "web", "health")
# What the bounds of the read path may be: variable, least and greatest value, unit.
READ_PATH_BOUNDS = (
    ("read_guard_wait", 0, 10, "seconds"),
    ("read_guard_fallback_calls", 1, 100, "calls"),
    ("read_guard_fallback_seconds", 1, 3600, "seconds"),
)
# What fleet_keep may say: key, least and greatest value.
KEEP_BOUNDS = (("number", 1, 1000), ("days", 1, 36500))
# A key as /etc/ssh has it.
SSH_KEY = re.compile(r"[A-Za-z0-9+/]+=*")
GIB = 1024**3
MIB = 1024**2
# Underscores are no host's in DNS, but sites have them, and browsers and nginx take them.
LABEL = re.compile(r"[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?")
PROXY = re.compile(r"https?://[^\s/@]+:\d+/?")
# A folder that every bench has beside its sites.
RESERVED_SITES = frozenset({"assets"})
# Belong to the system or to everybody: nothing of ours may be made, or made anew, in their place.
SYSTEM_FOLDERS = frozenset(
    {"/"}
    | {f"/{name}" for name in ("bin", "boot", "dev", "etc", "home", "lib", "lib64", "media", "mnt")}
    | {f"/{name}" for name in ("opt", "proc", "root", "run", "sbin", "srv", "sys", "tmp")}
    | {f"/usr{name}" for name in ("", "/bin", "/lib", "/lib64", "/local", "/sbin", "/share")}
    | {f"/usr/local{name}" for name in ("/bin", "/lib", "/sbin", "/share")}
    | {f"/var{name}" for name in ("", "/cache", "/lib", "/log", "/opt", "/tmp")}
)


def problem(what: str, place: str, remedy: str) -> Problem:
    """One problem; see the module's description."""
    return {"what": what, "place": place, "remedy": remedy}


# --- addresses ---------------------------------------------------------------------------------


def is_private(address: str) -> bool:
    """Whether an address is private in the sense of RFC 1918, RFC 6598 or RFC 4193.

    Loopback and link-local addresses are not: no other host can use them.
    """
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed.version == net.version and parsed in net for net in PRIVATE_NETWORKS)


def lan_server_id(ip: str) -> int:
    """MariaDB server_id of a host: the last three octets of its LAN address as one number.

    Unique within any network of /8 or smaller, and the same on every run.

    Raises:
        ValueError: ip is not an address, or its last three octets are all zero.
    """
    number = int.from_bytes(ipaddress.ip_address(str(ip)).packed[-3:], "big")
    if number == 0:
        raise ValueError(f"no server_id can be derived from {ip}: set mariadb_server_id")
    return number


def lan_ip(host: Host) -> str:
    """LAN address of a host: lan_ip, else the facts' default when private, else the only private.

    "" when there is none; what the inventory says is returned unjudged.
    """
    if host.get("lan_ip"):
        return str(host["lan_ip"])
    if is_private(host.get("default") or ""):
        return str(host["default"])
    private = [address for address in host.get("addresses") or [] if is_private(address)]
    return private[0] if len(private) == 1 else ""


def good_lan_ip(host: Host) -> str:
    """LAN address of a host when it is private and on the host, else ""."""
    address = lan_ip(host)
    return address if is_private(address) and address in (host.get("addresses") or []) else ""


def check_addresses(hosts: list[Host], _settings: Settings) -> list[Problem]:
    """LAN addresses: there, an address, private, on the host, not shared."""
    problems = []
    used: dict[str, list[str]] = {}
    for host in hosts:
        name, address = host["name"], lan_ip(host)
        if address:
            used.setdefault(address, []).append(name)
        if not host["survey"]:
            continue
        on_host = [a for a in host["addresses"] if not ipaddress.ip_address(a).is_loopback]
        usable = ", ".join(a for a in on_host if is_private(a)) or "none"
        place = f"lan_ip of {name} in the inventory"
        if not address:
            several = usable != "none"
            problems.append(
                problem(
                    f"{name} has no lan_ip, and "
                    + (
                        f"several private addresses to choose from: {usable}"
                        if several
                        else f"no private address (it has {', '.join(on_host) or 'none at all'})"
                    ),
                    place,
                    "set lan_ip to the address by which the other hosts of the fleet reach it"
                    if several
                    else f"give the host a private address ({PRIVATE_WORDS})",
                )
            )
            continue
        try:
            ipaddress.ip_address(address)
        except ValueError:
            problems.append(
                problem(
                    f"lan_ip {address!r} of {name} is not an IP address",
                    place,
                    f"write an address of the host itself; private ones it has: {usable}",
                )
            )
            continue
        if not is_private(address):
            parsed = ipaddress.ip_address(address)
            kind = (
                "a loopback address"
                if parsed.is_loopback
                else "a link-local address"
                if parsed.is_link_local
                else "a public address"
            )
            problems.append(
                problem(
                    f"lan_ip {address} of {name} is {kind}; MariaDB and Redis are never put there",
                    place,
                    f"use a private address ({PRIVATE_WORDS}); {name} has: {usable}",
                )
            )
        if address not in host["addresses"]:
            problems.append(
                problem(
                    f"lan_ip {address} is not an address of {name}",
                    place,
                    f"private addresses on the host: {usable}; "
                    f"correct lan_ip, or give the host that address",
                )
            )
    problems += [
        problem(
            f"lan_ip {address} is shared by {', '.join(names)}",
            f"lan_ip of {' and '.join(names)} in the inventory",
            "give each host an address of its own; if these are one machine, name it once",
        )
        for address, names in used.items()
        if len(names) > 1
    ]
    return problems


# --- inventory ---------------------------------------------------------------------------------


def check_groups(hosts: list[Host], settings: Settings) -> list[Problem]:
    """One primary, nobody in both groups, everybody in one."""
    groups = settings["groups"]
    primary, reporting = list(groups.get("primary", [])), list(groups.get("reporting", []))
    everyone = list(groups.get("all", []))
    place = f"inventory {settings['inventory']}"
    problems = []
    if not everyone:
        return [
            problem(
                "the inventory holds no host at all",
                place,
                "name one host in group primary (and any number in group reporting), "
                "or give the right inventory with -i",
            )
        ]
    if not primary:
        problems.append(
            problem(
                "no host is in group primary",
                place,
                "put the one server that takes every write into group primary",
            )
        )
    if len(primary) > 1:
        problems.append(
            problem(
                f"group primary holds {len(primary)} hosts: {', '.join(primary)}",
                place,
                "leave exactly one in group primary and move the others to group reporting",
            )
        )
    problems += [
        problem(
            f"{name} is in group primary and in group reporting",
            place,
            "keep it in one of the two: a reporting node copies the primary over its own data",
        )
        for name in primary
        if name in reporting
    ]
    in_a_group = {name for group in GROUPS for name in groups.get(group, [])}
    problems += [
        problem(
            f"{name} is in neither group primary nor group reporting",
            place,
            "put it into one of them, or take it out of this inventory",
        )
        for name in everyone
        if name not in in_a_group
    ]
    return problems


def named_by(bench: Mapping[str, Any], host: str) -> str:
    """Where a bench is, and what on the host names it, if it was found by that."""
    return f"{bench['path']} on {host}" + (f", named by {bench['named']}" * bool(bench["named"]))


def check_other_databases(hosts: list[Host], settings: Settings) -> list[Problem]:
    """Every site's database is MariaDB: nothing else can be copied to a node.

    A site that came to a fleet later is told of by what looks for sites there, and is left alone.
    """
    return [
        problem(
            f"the database of site {site} of {host['name']} is {other['kind']} (db_type), and a"
            " fleet copies MariaDB alone",
            f"{other['file']} on {host['name']}",
            "leave this server out of the fleet, or bring the site to MariaDB first: make a new"
            " site with --db-type mariadb, and take its data over by Data Export and Data Import",
        )
        for host in hosts
        if host["survey"] and not is_ours(host, settings)
        for bench in host["survey"]["benches"]
        for site, other in bench["others"].items()
        if bench["path"] == host["bench_dir"]
    ]


def check_left_out(hosts: list[Host], settings: Settings) -> list[Problem]:
    """A run without the primary builds on one that is of this fleet; an update is everybody's."""
    primary = settings["primary"]
    here = [host["name"] for host in hosts]
    absent = [name for name in settings["groups"].get("all", []) if name not in here]
    if settings["updating"] and absent:
        return [
            problem(
                f"{', '.join(absent)} left out of an update: the fleet would run two versions",
                "--limit on the command line",
                "run it without --limit",
            )
        ]
    if not primary or not primary["survey"] or is_ours(primary, settings):
        return []
    return [
        problem(
            f"the primary {primary['name']} is left out of this run, and is not of this fleet yet",
            "--limit on the command line",
            f"run it without --limit, or with {primary['name']} in it, before the others",
        )
    ]


def check_sites(hosts: list[Host], settings: Settings) -> list[Problem]:
    """fleet_sites: at least one, host names, no duplicates, known keys."""
    place = "fleet_sites in the inventory (group_vars/all.yml)"
    if not hosts:
        return []
    sites = hosts[0]["sites"]
    if any(host["sites"] != sites for host in hosts):
        # Told with all that the fleet must agree on.
        return []
    if not isinstance(sites, list):
        return [
            problem(
                f"fleet_sites is {sites!r}, not a list",
                place,
                "write a list of entries such as {name: erp.example.com, apps: [erpnext]}",
            )
        ]
    if not sites:
        return [
            problem(
                "fleet_sites is empty: there is no site to serve",
                place,
                "add at least one entry such as {name: erp.example.com, apps: [erpnext]}",
            )
        ]
    problems, seen = [], {}
    for number, entry in enumerate(sites, start=1):
        problems += check_site(entry, number, place, settings["site_keys"])
        name = str(entry.get("name", "")) if isinstance(entry, Mapping) else ""
        if name:
            seen.setdefault(name.lower(), []).append(number)
    problems += [
        problem(
            f"site {name} is listed {len(numbers)} times",
            f"{place}, entries {', '.join(map(str, numbers))}",
            "keep one entry for each site",
        )
        for name, numbers in seen.items()
        if len(numbers) > 1
    ]
    return problems + check_further_names(sites, place)


def check_further_names(sites: list[Any], place: str) -> list[Problem]:
    """Further names of sites: host names or IPv4 addresses, and nobody else's."""
    entries = [entry for entry in sites if isinstance(entry, Mapping)]
    taken = {str(entry.get("name")).lower() for entry in entries}
    problems = []
    for entry in entries:
        where = f"{place}, names of {entry.get('name')}"
        names = entry.get("names") or []
        if not isinstance(names, list):
            problems.append(
                problem(f"names is {names!r}, not a list", where, "write it as in [erp, 10.0.0.11]")
            )
            continue
        for name in map(str, names):
            if not is_site_name(name):
                problems.append(
                    problem(
                        f"{name!r} is neither a host name nor an IPv4 address",
                        where,
                        "write a name as users type it after http://, in lower case, without port",
                    )
                )
            elif name in taken:
                problems.append(
                    problem(
                        f"{name} is named twice",
                        where,
                        "keep it once: a name leads to one site",
                    )
                )
            taken.add(name)
    return problems


def is_address(text: str) -> bool:
    """Whether a text is an IPv4 address."""
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


def check_gone_sites(hosts: list[Host], settings: Settings) -> list[Problem]:
    """A site that was there and is gone would be made again by this run, and be empty."""
    host = next(filter(is_primary, hosts), None)
    if host is None or not host["survey"] or not isinstance(host["sites"], list):
        return []
    listed = [entry.get("name") for entry in host["sites"] if isinstance(entry, Mapping)]
    return [
        problem(
            f"site {name} was on the bench of {host['name']} and is gone, and fleet_sites names "
            "it: it would be made anew, empty",
            f"{host['bench_dir']}/sites/{name} on {host['name']}",
            "when it was dropped, take it out of fleet_sites; when it was lost, restore its folder "
            "and its database from a backup; to have it anew, empty, remove "
            f"{settings['state_dir']}/made-site-{name} on {host['name']}",
        )
        for name in host["survey"]["gone_sites"]
        if name in listed
    ]


def check_site(entry: Any, number: int, place: str, known: Iterable[str]) -> list[Problem]:
    """One entry of fleet_sites."""
    place = f"{place}, entry {number}"
    if not isinstance(entry, Mapping):
        return [
            problem(
                f"{entry!r} is not a site entry",
                place,
                f"write {{name: {entry if isinstance(entry, str) else 'erp.example.com'}}}",
            )
        ]
    problems = [
        problem(
            f"unknown key {key!r} in a site entry{did_you_mean(str(key), known)}",
            place,
            f"known keys are {', '.join(sorted(known))}",
        )
        for key in entry
        if key not in known
    ]
    name = entry.get("name")
    if not name:
        problems.append(
            problem("a site entry has no name", place, "add name: the host name users type")
        )
    elif not is_site_name(str(name)):
        hint = re.sub(r"[^a-z0-9.-]+", "-", str(name).lower().strip()).strip(".-")
        problems.append(
            problem(
                f"site name {name!r} is not a host name",
                place,
                "use lower-case letters, digits, dots, hyphens and underscores; a site that is "
                "there already is renamed by the name of its folder, while the bench is stopped"
                + (f"; for instance {hint}" if hint != name and is_site_name(hint) else ""),
            )
        )
    return problems


def is_site_name(name: str) -> bool:
    """Whether a site can have a name: a host name in lower case, or an IPv4 address.

    No folder of the bench has it.
    """
    labels = name.split(".")
    return is_address(name) or (
        len(name) <= 253
        and all(LABEL.fullmatch(label) for label in labels)
        and not labels[-1].isdigit()
        and name not in RESERVED_SITES
    )


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest known name as a question, "" when none is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f"; did you mean {near[0]}?" if near else ""


def check_variables(hosts: list[Host], settings: Settings) -> list[Problem]:
    """Variables with one of our prefixes that no role knows: a typo must not pass in silence."""
    known = set(settings["known_variables"]) | FACTS_WE_SET
    allowed = set(settings["allowed_variables"])
    found: dict[str, list[str]] = {}
    for host in hosts:
        for name in host["variables"]:
            if name in known or name in allowed:
                continue
            misspelt = name != "lan_ip" and bool(
                difflib.get_close_matches(name, ["lan_ip"], cutoff=0.8)
            )
            if misspelt or name.startswith(tuple(settings["prefixes"])):
                found.setdefault(name, []).append(host["name"])
    return [
        problem(
            f"unknown variable {name}{did_you_mean(name, [*known, 'lan_ip'])}",
            "inventory or extra variables of "
            + ("all hosts" if len(names) == len(hosts) and len(hosts) > 1 else ", ".join(names)),
            "correct or remove it; the variables of a role are in its defaults/main.yml. If it "
            "belongs to something else, list it in preflight_allowed_variables",
        )
        for name, names in sorted(found.items())
    ]


def check_types(hosts: list[Host], _settings: Settings) -> list[Problem]:
    """Types and choices of our variables, as the argument specs of the roles have them."""
    found: dict[str, list[str]] = {}
    for host in hosts:
        for error in host["type_errors"]:
            found.setdefault(str(error).strip(), []).append(host["name"])
    return [
        problem(
            error,
            f"inventory or extra variables of {', '.join(names)}",
            "correct it; types and choices are in the role's meta/argument_specs.yml",
        )
        for error, names in found.items()
    ]


def check_programs(hosts: list[Host], settings: Settings) -> list[Problem]:
    """supervisord reads its files, which are root's, and they can hold what the bench's programs
    are given.
    """
    found = [
        problem(f"{what} ({host['name']})", f"inventory {settings['inventory']}", remedy)
        for host in hosts
        for what, remedy in host["program_troubles"]
    ]
    return (
        found
        + [
            problem(
                trouble, f"supervisor on {host['name']}", "see that `supervisorctl reread` works"
            )
            for host in hosts
            if (trouble := (host["survey"] or {}).get("supervisor"))
        ]
        + [
            problem(
                f"supervisord reads a file that {who} can write, and would run what stands there as"
                " root",
                f"{path} on {host['name']}",
                "move it to a file of root's in /etc/supervisor/conf.d, with user=ACCOUNT in each"
                " program, or remove it there, a link as well; then supervisorctl update",
            )
            for host in hosts
            for path, who in (host["survey"] or {}).get("supervisor_writers", {}).items()
            if path not in going_out(host)
        ]
    )


def going_out(host: Host) -> list[str]:
    """Files of supervisor's that go out of service as this host is adopted."""
    found = (host["survey"] or {}).get("adoption") or {"supervisor": []}
    return [file["path"] for file in found["supervisor"] if not file["ours"]]


def check_read_path(hosts: list[Host], _settings: Settings) -> list[Problem]:
    """The read path's bounds are such that a call can wait, fall back and end."""
    found: dict[str, tuple[str, list[str]]] = {}
    for host in hosts:
        for name, least, greatest, unit in READ_PATH_BOUNDS:
            value = host["read_path"].get(name)
            try:
                good = value is None or least <= float(value) <= greatest
            except (TypeError, ValueError):
                # What is no number is reported with the types.
                continue
            if not good:
                what = f"{name} is {value}: it takes {least} to {greatest} {unit}"
                found.setdefault(what, (name, []))[1].append(host["name"])
    return [
        problem(what, f"{name} in the inventory, for {', '.join(names)}", "choose a value between")
        for what, (name, names) in found.items()
    ]


def check_keep(hosts: list[Host], _settings: Settings) -> list[Problem]:
    """fleet_keep says how many are kept, and for how many days."""
    found: dict[str, list[str]] = {}
    for host in hosts:
        keep = host["keep"]
        if not isinstance(keep, Mapping):
            # Ansible's own validation fails on it without a word.
            found.setdefault(f"fleet_keep is {keep!r}, and no map", []).append(host["name"])
            continue
        for key, least, greatest in KEEP_BOUNDS:
            value = keep.get(key)
            # What is missing or no whole number is reported with the types.
            if re.fullmatch(r"-?\d+", str(value)) and not least <= int(value) <= greatest:
                what = f"{key} of fleet_keep is {value}: it takes {least} to {greatest}"
                found.setdefault(what, []).append(host["name"])
    return [
        problem(
            what,
            f"fleet_keep in the inventory, for {', '.join(names)}",
            "name both, for example {number: 3, days: 30}",
        )
        for what, names in found.items()
    ]


def check_proxies(hosts: list[Host], _settings: Settings) -> list[Problem]:
    """fleet_http_proxy is an address that every program understands, and holds no password.

    Ansible puts it on a command line, which every account of a host can see.
    """
    found: dict[str, list[str]] = {}
    for host in hosts:
        if host["proxy"] and not PROXY.fullmatch(str(host["proxy"])):
            found.setdefault(str(host["proxy"]), []).append(host["name"])
    return [
        problem(
            # An account may have a password.
            f"fleet_http_proxy {re.sub('//.*@', '//', value)!r} "
            + ("holds an account" if "@" in value else "is not the address of a proxy"),
            f"fleet_http_proxy in the inventory, for {', '.join(names)}",
            "write it as http://HOST:PORT, and let the proxy know the servers by their addresses",
        )
        for value, names in found.items()
    ]


def check_certificates(hosts: list[Host], _settings: Settings) -> list[Problem]:
    """Certificates on the primary, with their keys, are such as nginx takes."""
    host = next(filter(is_primary, hosts), None)
    if host is None or not host["survey"]:
        return []
    problems = []
    for pair in host["survey"]["certificates"]:
        place = f"{pair['of']} in the inventory, on {host['name']}"
        named = pair["certificate"] or pair["key"]
        if not (pair["certificate"] and pair["key"]):
            problems.append(
                problem(
                    f"of a certificate and its key only {named} is named",
                    place,
                    "name the files of both, or none",
                )
            )
        elif pair["trouble"]:
            problems.append(
                problem(
                    pair["trouble"],
                    place,
                    "name the files of a certificate and its own key; of a key with a password "
                    "make one without: openssl pkey -in KEY -out NEW-KEY",
                )
            )
        elif not host["certificate"] and not host["acme"]["email"]:
            problems.append(
                problem(
                    f"{named} is the certificate of a site, and router_certificate is not set, so "
                    "the other sites would have none",
                    place,
                    "set router_certificate and router_certificate_key, too; the same files do. Or "
                    "have a CA asked for the others (router_acme_email)",
                )
            )
    return problems


def check_acme(hosts: list[Host], _settings: Settings) -> list[Problem]:
    """A CA can be asked for certificates as the inventory has it."""
    host = next(filter(is_primary, hosts), None)
    if host is None or not host["acme"]["email"]:
        return []
    email, server = str(host["acme"]["email"]), str(host["acme"]["server"])
    place = f"in the inventory, for {host['name']}"
    problems = []
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", email):
        problems.append(
            problem(
                f"router_acme_email {email!r} is no address of e-mail",
                f"router_acme_email {place}",
                "name one at which somebody reads what the CA writes",
            )
        )
    if not re.fullmatch(r"https://[^/\s@]+/\S*", server):
        problems.append(
            problem(
                f"router_acme_server {server!r} is not the address of an ACME directory",
                f"router_acme_server {place}",
                "write it as https://HOST/PATH, as the CA's page has it",
            )
        )
    if host["certificate"]:
        problems.append(
            problem(
                "router_certificate is set, and so is router_acme_email: no name would be left "
                "for which the CA is asked",
                f"router_certificate {place}",
                "take one of the two away",
            )
        )
    return problems


def network_trouble(value: Any, whole: bool) -> str:
    """What is wrong with an address or network of a setting; "" when nothing is.

    whole: whether it may be all addresses there are.
    """
    try:
        network = ipaddress.ip_network(str(value))
    except ValueError as error:
        return f"is neither an address nor a network ({error})"
    return "" if whole or network.prefixlen else "would be everybody"


def check_networks(hosts: list[Host], _settings: Settings) -> list[Problem]:
    """What shall be let in, and whose word shall be believed, is written as addresses."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for host in hosts:
        for name, values in host["networks"].items():
            # What is no list is reported with the types.
            for value in values if isinstance(values, list) else ():
                if trouble := network_trouble(value, name == "firewall_allow"):
                    found.setdefault((name, repr(value), trouble), []).append(host["name"])
    return [
        problem(
            f"{value} in {name} {trouble}",
            f"{name} in the inventory, for {', '.join(names)}",
            "write an address such as 10.0.0.5, or a network such as 10.0.0.0/24",
        )
        for (name, value, trouble), names in found.items()
    ]


def is_inside(path: str, folder: str) -> bool:
    """Whether a path lies in a folder, and is not the folder itself."""
    inner, outer = posixpath.normpath(path), posixpath.normpath(folder)
    return inner != outer and inner.startswith(outer.rstrip("/") + "/")


def home_remedy(host: Host) -> str:
    """How a bench comes to lie inside the home of its account."""
    bench, home = posixpath.normpath(str(host["bench_dir"])), str(host["bench_home"])
    if not has_own_bench(host):
        return f"name one inside it, for instance {posixpath.join(home, 'frappe-bench')}"
    # Its Python and its configuration know it by its place.
    parent = posixpath.dirname(bench)
    if parent in SYSTEM_FOLDERS:
        return (
            f"{parent} can be nobody's home: move the bench into {home}, and make its environment "
            "and its configuration anew there (bench setup env, requirements, supervisor, nginx)"
        )
    return (
        f"make {parent} the home of its account (stop the bench, then usermod --home {parent} "
        f"ACCOUNT), and set fleet_bench_home to {parent}"
    )


def folder_trouble(host: Host) -> tuple[Problem | None, Problem | None]:
    """What is wrong with fleet_bench_dir, and with bench_cli_dir, by their names alone."""
    home, bench, cli = (str(host[key]) for key in ("bench_home", "bench_dir", "cli_dir"))
    bench_problem = cli_problem = None
    if not (posixpath.isabs(bench) and is_inside(bench, home)):
        bench_problem = problem(
            f"fleet_bench_dir {bench} is not a folder inside fleet_bench_home {home}",
            "fleet_bench_dir in the inventory",
            home_remedy(host),
        )
    normal = posixpath.normpath(cli)
    reason = ""
    if not posixpath.isabs(cli):
        reason = "not an absolute path"
    elif normal in SYSTEM_FOLDERS:
        reason = "a folder of the system"
    elif normal == posixpath.normpath(home) or is_inside(home, cli) or is_inside(bench, cli):
        reason = "a folder that holds the bench account's home or its bench"
    elif bench_problem is None and (normal == posixpath.normpath(bench) or is_inside(cli, bench)):
        reason = "a part of the bench"
    if reason:
        cli_problem = problem(
            f"bench_cli_dir {cli} is {reason}",
            "bench_cli_dir in the inventory",
            "name a folder for the bench CLI alone",
        )
    return bench_problem, cli_problem


def check_folders(hosts: list[Host], settings: Settings) -> list[Problem]:
    """The bench and its CLI have a folder each that is theirs alone."""
    named: dict[str, tuple[Problem, list[str]]] = {}
    found = []
    for host in hosts:
        bench_problem, cli_problem = folder_trouble(host)
        for trouble in (bench_problem, cli_problem):
            if trouble:
                named.setdefault(trouble["what"], (trouble, []))[1].append(host["name"])
        survey = host["survey"]
        if not survey:
            continue
        if cli_problem is None and survey["folders"]["cli"] == "foreign":
            found.append(
                problem(
                    f"bench_cli_dir {host['cli_dir']} of {host['name']} holds something that "
                    "Benchfleet did not make",
                    f"{host['cli_dir']} on {host['name']}",
                    "move it away, or name another folder in bench_cli_dir",
                )
            )
        # A bench of somebody else's, and what an interrupted run left on our own host, are told
        # apart elsewhere.
        is_bench = host["bench_dir"] in [bench["path"] for bench in survey["benches"]]
        if (
            bench_problem is None
            and survey["folders"]["bench"] == "foreign"
            and not is_bench
            and not is_ours(host, settings)
        ):
            found.append(
                problem(
                    f"fleet_bench_dir {host['bench_dir']} of {host['name']} holds something that "
                    "is no bench",
                    f"{host['bench_dir']} on {host['name']}",
                    "move it away, or name another folder in fleet_bench_dir",
                )
            )
    return [
        {**trouble, "place": f"{trouble['place']} ({', '.join(names)})"}
        for trouble, names in named.values()
    ] + found


def check_server_ids(hosts: list[Host], _settings: Settings) -> list[Problem]:
    """server_id, set or derived: a number MariaDB takes, and one host's alone."""
    problems = []
    used: dict[int, list[str]] = {}
    for host in hosts:
        name, given = host["name"], host["server_id"]
        if given in ("", None):
            address = lan_ip(host)
            if not is_private(address):
                continue
            try:
                used.setdefault(lan_server_id(address), []).append(name)
            except ValueError as error:
                problems.append(
                    problem(str(error), f"{name} in the inventory", "set it to a unique number")
                )
            continue
        number = int(given) if re.fullmatch(r"\d+", str(given)) else 0
        if not 1 <= number <= 2**32 - 1:
            problems.append(
                problem(
                    f"mariadb_server_id {given!r} of {name} is not a server_id",
                    f"mariadb_server_id of {name} in the inventory",
                    "use a whole number from 1 to 4294967295, or leave it out",
                )
            )
            continue
        used.setdefault(number, []).append(name)
    same_address = {
        frozenset(h["name"] for h in hosts if lan_ip(h) == address)
        for address in {lan_ip(host) for host in hosts}
    }
    problems += [
        problem(
            f"server_id {number} would be used by {', '.join(names)}",
            f"mariadb_server_id (or, without it, lan_ip) of {' and '.join(names)}",
            "set mariadb_server_id of one of them to another number: MariaDB drops the events "
            "of a server with its own id",
        )
        for number, names in used.items()
        # Hosts that share an address are reported for that already.
        if len(names) > 1 and frozenset(names) not in same_address
    ]
    return problems


# --- versions ----------------------------------------------------------------------------------


def major_version(version: str) -> str:
    """First two numbers of a version: 10.11 of 10.11.6."""
    return ".".join(str(version).split(".")[:2])


def mariadb_of(host: Host) -> str:
    """MariaDB series of a host: the installed one, else what its system brings; "" if unknown."""
    database = (host["survey"] or {}).get("database", {})
    if database.get("version") and database.get("product") == "MariaDB":
        return major_version(database["version"])
    return str(host["system"].get("mariadb", ""))


def check_systems(hosts: list[Host], _settings: Settings) -> list[Problem]:
    """systemd and an ssh host key. Which system it is, is judged in systems.py."""
    problems = []
    for host in hosts:
        name, survey = host["name"], host["survey"]
        if not survey:
            continue
        if not survey["systemd"]:
            problems.append(
                problem(
                    f"{name} was not booted with systemd",
                    f"init system of {name}",
                    "use a host whose services systemd runs; a plain container is not enough",
                )
            )
        # What a host says of itself gets into a file of the others.
        if not SSH_KEY.fullmatch(host["ssh_key"]):
            problems.append(
                problem(
                    f"{name} has no ed25519 ssh host key",
                    f"/etc/ssh on {name}",
                    "run `ssh-keygen -A` there; the hosts of the fleet know each other by it",
                )
            )
    return problems


def check_databases(hosts: list[Host], settings: Settings) -> list[Problem]:
    """An installed server is a MariaDB we know, and no replica is older than the primary."""
    problems = []
    for host in hosts:
        database = (host["survey"] or {}).get("database", {})
        if not database.get("product"):
            continue
        version = f"{database['product']} {database['version']}"
        if database["product"] != "MariaDB":
            problems.append(
                problem(
                    f"{version} is installed on {host['name']}",
                    f"{database['program']} on {host['name']}",
                    "move its data elsewhere and remove it; the fleet runs on MariaDB "
                    f"{', '.join(SUPPORTED_MARIADB)}",
                )
            )
        elif major_version(database["version"]) not in SUPPORTED_MARIADB:
            problems.append(
                problem(
                    f"{version} is installed on {host['name']}",
                    f"{database['program']} on {host['name']}",
                    f"use MariaDB {', '.join(SUPPORTED_MARIADB)}"
                    + (
                        f"; {host['distribution']} {host['system']['release']} brings "
                        f"{host['system']['mariadb']}"
                        if host["system"]
                        else ""
                    ),
                )
            )
    primary = primary_host(hosts, settings)
    if primary is None or not mariadb_of(primary):
        return problems
    theirs = mariadb_of(primary)
    for host in hosts:
        ours = mariadb_of(host)
        if not ours or host["name"] == primary["name"]:
            continue
        if version_key(ours) < version_key(theirs):
            problems.append(
                problem(
                    f"the replica {host['name']} would run MariaDB {ours}, older than the "
                    f"primary's {theirs}",
                    f"{host['distribution']} {host['version']} on {host['name']}, "
                    f"{primary['distribution']} {primary['version']} on {primary['name']}",
                    "a replica may be newer than its primary, never older: use the same release "
                    "of the system on both",
                )
            )
    return problems


def version_key(version: str) -> tuple[int, ...]:
    """Numbers of a version, to compare by."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def frappe_major(text: str) -> int | None:
    """Major version that a branch, tag or version of Frappe names; None when it names none."""
    match = re.fullmatch(r"(?:version-|v)?(\d+)(?:[.-].*)?", str(text))
    return int(match.group(1)) if match else None


def is_known_frappe(text: str) -> bool:
    """Whether a branch, tag or version may be used: 14, 15, 16, the development version after
    them, or a name of one's own, which says nothing about the version."""
    major = frappe_major(text)
    if major is None or major in SUPPORTED_FRAPPE:
        return True
    return major == SUPPORTED_FRAPPE[-1] + 1 and "dev" in str(text)


def check_frappe(hosts: list[Host], settings: Settings) -> list[Problem]:
    """Frappe of a version known to work."""
    known = ", ".join(map(str, SUPPORTED_FRAPPE)) + " or develop"
    problems = []
    branches: dict[str, list[str]] = {}
    for host in hosts:
        name, survey = host["name"], host["survey"]
        if host["branch"] and not is_known_frappe(host["branch"]):
            branches.setdefault(str(host["branch"]), []).append(name)
        if not survey:
            continue
        problems += [
            problem(
                f"Frappe {bench['frappe_version']} is in the bench of {name}",
                f"{bench['path']}/apps/frappe on {name}",
                f"use a bench of Frappe {known}",
            )
            for bench in survey["benches"]
            if bench["path"] == settings["bench_dir"]
            and bench["frappe_version"]
            and not is_known_frappe(bench["frappe_version"])
        ]
    old = {
        host["name"]
        for host in hosts
        if host["read_guard"]
        and (
            frappe_major(host["branch"]) == 14
            or any(
                bench["path"] == settings["bench_dir"]
                and frappe_major(bench["frappe_version"] or "") == 14
                for bench in (host["survey"] or {"benches": []})["benches"]
            )
        )
    }
    if old and settings["groups"].get("reporting"):
        problems.append(
            problem(
                "Frappe 14 has no place for the guard of the read path, and fleet_read_guard is on",
                f"fleet_read_guard in the inventory, for {', '.join(sorted(old))}",
                "set fleet_read_guard to false, or use Frappe 15 or later",
            )
        )
    problems += [
        problem(
            f"bench_frappe_branch {branch!r} is not a version of Frappe that is supported",
            f"bench_frappe_branch of {', '.join(names)} in the inventory",
            f"use version-14, version-15, version-16 or develop (Frappe {known})",
        )
        for branch, names in branches.items()
    ]
    return problems


def pdf_warnings(hosts: list[Host]) -> list[str]:
    """Hosts on which PDFs will not work: this Frappe needs wkhtmltopdf, and the system has none.

    All benches run the same code; before there is one, the branch may tell its version.
    """
    benches = [host["survey"]["printing"] for host in hosts if host["survey"]]
    benches = [bench for bench in benches if bench["real"]]
    names = []
    for host in hosts:
        major = frappe_major(host["branch"]) or FRAPPE_WITH_CHROMIUM
        chromium = major >= FRAPPE_WITH_CHROMIUM
        if benches:
            chromium = any("chrome" in bench["tools"] for bench in benches)
        without = not host["system"].get("wkhtmltopdf", True)
        has = not host["survey"] or host["survey"]["printing"]["tools"]["wkhtmltopdf"]
        if without and not has and not chromium:
            names.append(host["name"])
    if not names:
        return []
    return [
        f"PDFs will not work on {', '.join(names)}: this Frappe prints only with wkhtmltopdf, which"
        " their system does not have. Install wkhtmltopdf on these hosts from another source"
        " (Benchfleet leaves it as it is), or use a system that has it"
    ]


def memory_warnings(hosts: list[Host], settings: Settings) -> list[str]:
    """Tables of the primary that a restart empties: a replica does not bear them."""
    primary = primary_host(hosts, settings)
    if not primary or not primary["survey"] or not settings["groups"].get("mariadb_replica"):
        return []
    tables = primary["survey"]["database"]["memory_tables"]
    if not tables:
        return []
    return [
        f"tables of ENGINE=MEMORY in MariaDB of {primary['name']}: {', '.join(tables)}. A restart"
        " empties them, the copies on the reporting nodes have them empty from the start, and"
        " replication breaks there at the first row that is missing, or once one of them is opened."
        " Convert each of them there (its rows go, as at each restart): TRUNCATE TABLE NAME; ALTER"
        " TABLE NAME ENGINE=InnoDB;"
    ]


# --- what is on the hosts ----------------------------------------------------------------------


def is_ours(host: Host, settings: Settings) -> bool:
    """Whether the host bears the mark of this very fleet."""
    mark = (host["survey"] or {}).get("mark", {})
    return mark.get("state") == "present" and mark["fleet_id"] == settings["fleet_id"]


def primary_host(hosts: list[Host], settings: Settings) -> Host | None:
    """The primary, when there is exactly one: of this run, or looked at besides."""
    names = list(settings["groups"].get("primary", []))
    besides = [settings["primary"]] if settings["primary"] else []
    return next((h for h in [*hosts, *besides] if [h["name"]] == names), None)


def is_primary(host: Host) -> bool:
    """Whether a host is in group primary."""
    return "primary" in host["groups"]


def is_adopted(host: Host) -> bool:
    """Whether the host's own bench and data are being taken over (fleet_adopt; see adoption.py)."""
    return bool((host["survey"] or {}).get("adoption"))


def has_own_bench(host: Host) -> bool:
    """Whether a primary holds a bench that could be adopted."""
    survey = host["survey"] or {"benches": []}
    return is_primary(host) and host["bench_dir"] in [b["path"] for b in survey["benches"]]


def check_marks(hosts: list[Host], settings: Settings) -> list[Problem]:
    """Nothing of another fleet, and no data or bench that no fleet made."""
    problems = []
    for host in hosts:
        survey, name = host["survey"], host["name"]
        if not survey or is_ours(host, settings):
            continue
        mark = survey["mark"]
        if mark["state"] == "broken":
            problems.append(
                problem(
                    f"the fleet's mark on {name} cannot be read: {mark['detail']}",
                    f"{mark['path']} on {name}",
                    "put the file back from a backup; only if the host may be emptied, remove it",
                )
            )
            continue
        if mark["state"] == "present":
            own = settings["fleet_id"]
            problems.append(
                problem(
                    f"{name} belongs to fleet {mark['fleet_id']}, "
                    + (f"this inventory is fleet {own}" if own else "this inventory is a new one"),
                    f"{mark['path']} on {name}; secrets file {settings['secrets_path']}",
                    "if it is the same fleet, put its secrets file back in place; if the host "
                    "shall leave the other fleet, take it out there and empty it first",
                )
            )
            continue
        if is_adopted(host):
            continue
        data = survey["database"]
        if data["holds_data"]:
            place = f"{data['data_dir']} on {name} ({data['bytes'] / MIB:.0f} MiB)"
            problems.append(
                problem(
                    f"{name} already holds a MariaDB data folder that this fleet did not make",
                    place,
                    "to take it over with its bench, set fleet_adopt: true for this host "
                    "(docs/adopt.md); else use an empty host as primary"
                    if is_primary(host) and survey["benches"]
                    else "nothing of it is taken over: save what is needed, stop the server, move "
                    "the folder away and remove its package, or use an empty host",
                )
            )
        problems += [
            problem(
                f"{name} already holds a bench that this fleet did not make"
                + (f" (Frappe {bench['frappe_version']})" if bench["frappe_version"] else ""),
                named_by(bench, name),
                "to take it over with its database, set fleet_adopt: true for this host "
                "(docs/adopt.md); else use an empty host as primary"
                if is_primary(host)
                else "save what is needed, then move the bench off this host, or use an empty one",
            )
            for bench in survey["benches"]
            # Told first, and not to be taken over as it is.
            if not bench["others"]
        ]
    return problems


def check_update(hosts: list[Host], settings: Settings) -> list[Problem]:
    """No update of the apps stands unfinished: its workers and sites are stopped on purpose.

    It stands on the primary, also where --limit leaves that out of the run.
    """
    primary = settings["primary"]
    return [
        problem(
            f"the update of the apps that began {host['survey']['update']} is not finished",
            f"update.json in fleet_state_dir on {host['name']}",
            "end it: ansible-playbook -i INVENTORY playbooks/update.yml goes on with it, and with"
            " -e update_back=true takes it back",
        )
        for host in [*([primary] if primary else []), *hosts]
        if host["survey"] and host["survey"]["update"] and not settings["updating"]
    ]


def check_commands(hosts: list[Host], settings: Settings) -> list[Problem]:
    """No `bench` of another tool."""
    problems = []
    for host in hosts:
        for command in (host["survey"] or {}).get("commands", []):
            origin = command["origin"]
            # On our own hosts an unknown one may be a wrapper that an operator put there.
            if origin == "frappe/pilot" or (origin == "unknown" and not is_ours(host, settings)):
                tool = "frappe/pilot" if origin == "frappe/pilot" else "an unknown tool"
                problems.append(
                    problem(
                        f"the command bench on {host['name']} is that of {tool}, "
                        "not of frappe-bench",
                        f"{command['path']} on {host['name']}",
                        "remove or rename it: both tools answer to the same name",
                    )
                )
    return problems


def check_ports(hosts: list[Host], settings: Settings) -> list[Problem]:
    """The ports of a host's services are free, or taken by what the fleet put there."""
    problems = []
    for host in hosts:
        if not host["survey"]:
            continue
        # The services of a bench that may be adopted are told with it, by check_marks: "stop it
        # for good" is no advice there.
        ours = is_ours(host, settings) or has_own_bench(host)
        services = PRIMARY_SERVICES if is_primary(host) else REPORTING_SERVICES
        wanted: dict[int, list[str]] = {}
        for service in services:
            port = str(settings["ports"][service])
            # What is no number is reported with the types.
            if port.isdigit():
                wanted.setdefault(int(port), []).append(service)
        problems += [
            problem(
                f"port {port} of {host['name']} belongs to {' and '.join(names)}: "
                "two services, one port",
                "fleet_*_port in the inventory",
                "give each service a port of its own",
            )
            for port, names in wanted.items()
            if len(names) > 1
        ]
        for port, names in wanted.items():
            listeners = host["survey"]["listeners"].get(str(port), [])
            strangers = [
                entry
                for entry in listeners
                if not (ours and is_expected(entry, names, settings["bench_dir"]))
            ]
            if strangers:
                problems.append(taken_port(host["name"], port, names[0], strangers))
    return problems


def is_expected(entry: Mapping[str, Any], services: Iterable[str], bench_dir: str) -> bool:
    """Whether a listener looks like one of the services: by name, program or command line."""
    text = f"{entry['name']} {entry['program']} {entry['command']}".lower()
    words = [word for service in services for word in SERVICES[service][1]]
    return any(word in text for word in words) or ("web" in services and f"{bench_dir}/" in text)


def taken_port(name: str, port: int, service: str, strangers: list[Mapping]) -> Problem:
    """The problem of a port that something else listens on."""
    entry = strangers[0]
    process = entry["name"] or "an unknown process"
    details = [f"process {entry['pid']}"] if entry["pid"] else []
    # What was started from a shell lives in the unit of the login, which nobody should stop.
    if entry["unit"] and not entry["unit"].startswith(("ssh", "user@", "getty")):
        details.append(entry["unit"])
    details += [entry["command"]] if entry["command"] else []
    addresses = ", ".join(sorted({item["address"] for item in strangers}))
    return problem(
        f"port {port}, which {SERVICES[service][0]} needs, is taken by {process}"
        + (f" ({'; '.join(details)})" if details else ""),
        f"{addresses} port {port} on {name}",
        "stop it for good, or move it to another port or host"
        # Browsers know no others for the router.
        + ("" if service in ("http", "https") else f", or set fleet_{service}_port to a free one"),
    )


def check_disks(hosts: list[Host], settings: Settings) -> list[Problem]:
    """Room for the copy of the primary's data on a replica, and for a bench."""
    problems = []
    primary = primary_host(hosts, settings)
    source = primary["survey"]["database"]["bytes"] if primary and primary["survey"] else 0
    for host in hosts:
        survey = host["survey"]
        if not survey:
            continue
        needs: dict[str, list[tuple[str, int]]] = {}
        if not is_primary(host) and not survey["database"]["holds_data"]:
            size = int(source * settings["seed_factor"]) + settings["seed_spare_mb"] * MIB
            words = f"{size / GIB:.1f} GiB for the copy of the primary's {source / GIB:.1f} GiB"
            needs.setdefault(survey["disk"]["data"]["device"], []).append((words, size))
        if settings["bench_dir"] not in [bench["path"] for bench in survey["benches"]]:
            size = settings["bench_mb"] * MIB
            needs.setdefault(survey["disk"]["bench"]["device"], []).append(
                (f"{size / GIB:.1f} GiB for a bench", size)
            )
        for device, parts in needs.items():
            disk = next(d for d in survey["disk"].values() if d["device"] == device)
            if disk["free"] < sum(size for _words, size in parts):
                problems.append(
                    problem(
                        f"{host['name']} has {disk['free'] / GIB:.1f} GiB free, and needs "
                        + " and ".join(words for words, _size in parts),
                        f"file system of {disk['on']} on {host['name']}",
                        "free or add space there",
                    )
                )
    return problems


def check_lan(hosts: list[Host], settings: Settings) -> list[Problem]:
    """Every other host reaches the primary over the LAN."""
    primary = primary_host(hosts, settings)
    problems = []
    for host in hosts:
        lan = (host["survey"] or {}).get("lan")
        if not lan or lan["ok"] or primary is None or host["name"] == primary["name"]:
            continue
        problems.append(
            problem(
                f"{host['name']} cannot reach the primary {primary['name']} over the LAN: "
                f"{lan['detail']}",
                f"TCP from {host['name']} ({lan_ip(host) or 'no lan_ip'}) to "
                f"{lan['address']} port {lan['port']}",
                "check that lan_ip of both is in one network, that routing and firewalls let it "
                "through, and that sshd of the primary listens there (fleet_ssh_port)",
            )
        )
    return problems


# What a packet filter between two hosts must let through: by who connects.
WAYS = {"reporting": ("mariadb", "redis_cache", "redis_queue"), "primary": ("web", "health")}


def ways(
    variables: Mapping[str, Mapping[str, Any]],
    name: str,
    groups: Mapping[str, Iterable[str]],
    ports: Settings,
) -> list[dict[str, Any]]:
    """What a host connects to on the others of the fleet: {address, port} each.

    variables are those of all hosts, with the facts of those that were asked.
    """
    here = next((group for group in WAYS if name in groups.get(group, [])), None)
    there = {"reporting": "primary", "primary": "reporting"}.get(here or "", "")
    found = []
    for other in groups.get(there, []):
        known = variables[other]
        facts = known.get("ansible_facts") or {}
        address = good_lan_ip(
            {
                "lan_ip": known.get("lan_ip") or "",
                "default": (facts.get("default_ipv4") or {}).get("address", ""),
                "addresses": [
                    *facts.get("all_ipv4_addresses", []),
                    *facts.get("all_ipv6_addresses", []),
                ],
            }
        )
        found += [
            {"address": address, "port": int(ports[service])}
            for service in WAYS[str(here)]
            # What is no number is reported with the types.
            if address and str(ports[service]).isdigit()
        ]
    return found


def opening(tool: str, source: str, ports: Iterable[int]) -> str:
    """The command by which a packet filter lets a host's connections to some ports in."""
    numbers = sorted(ports)
    listed = ",".join(map(str, numbers))
    v6 = ":" in source
    if tool == "ufw":
        return f"ufw allow proto tcp from {source} to any port {listed}"
    if tool == "firewalld":
        rules = " ".join(
            f"--add-rich-rule='rule family={'ipv6' if v6 else 'ipv4'} source address={source} "
            f"port port={number} protocol=tcp accept'"
            for number in numbers
        )
        return f"firewall-cmd --permanent {rules} && firewall-cmd --reload"
    if tool == "iptables":
        return (
            f"{'ip6tables' if v6 else 'iptables'} -I INPUT -p tcp -s {source} -m multiport "
            f"--dports {listed} -j ACCEPT, and the same where these rules are kept for a boot"
        )
    return (
        f"nft insert rule {tool.rpartition('chain ')[2]} {'ip6' if v6 else 'ip'} saddr {source} "
        f"tcp dport '{{ {', '.join(map(str, numbers))} }}' accept, and the same in "
        "/etc/nftables.conf"
    )


def check_filters(hosts: list[Host], settings: Settings) -> list[Problem]:
    """No packet filter drops what the hosts of the fleet send to each other."""
    primary = settings.get("primary") or {}
    targets = {lan_ip(host): host for host in hosts if host["survey"]}
    if primary and primary.get("address"):
        targets.setdefault(primary["address"], primary)
    problems = []
    for host in hosts:
        survey = host["survey"]
        if not survey or (survey["lan"] and not survey["lan"]["ok"]):
            # What reaches nothing is told already.
            continue
        dropped: dict[str, list[int]] = {}
        for way in survey["dropped"]:
            dropped.setdefault(way["address"], []).append(way["port"])
        for address, ports in dropped.items():
            target = targets.get(address)
            if target is None:
                # It is down, or could not be looked at.
                continue
            filters = (target["survey"] or {}).get("filters") or []
            source = lan_ip(host) or host["name"]
            by = f"{filters[0]} of {target['name']}" if filters else "a packet filter on the way"
            remedy = (
                f"on {target['name']}: {opening(filters[0], source, ports)}"
                if filters
                else f"let TCP from {source} to {address} port {', '.join(map(str, ports))} "
                "through, in the filter of the network or of the provider"
            )
            problems.append(
                problem(
                    f"{by} drops what {host['name']} sends to {target['name']}, to port "
                    f"{', '.join(map(str, ports))}",
                    f"TCP from {source} to {address}",
                    remedy,
                )
            )
    return problems


def filter_warnings(hosts: list[Host], settings: Settings) -> list[str]:
    """Packet filters of a bench made by hand, without reporting nodes: none could join."""
    nodes = settings["groups"].get("reporting")
    ports = [int(p) for s in WAYS["reporting"] if str(p := settings["ports"][s]).isdigit()]
    return [
        f"{tool} of {host['name']} drops what no rule of it lets in. Before a reporting node joins:"
        f" {opening(tool, 'ADDRESS-OF-THE-NODE', ports)}"
        for host in hosts
        if is_adopted(host) and not nodes
        for tool in host["survey"].get("filters") or []
    ]


def clock_distance(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Seconds by which two clocks differ at least, given the bounds of their offsets."""
    return max(0.0, one["low"] - other["high"], other["low"] - one["high"])


def check_clocks(hosts: list[Host], settings: Settings) -> list[Problem]:
    """Clocks agree with the primary's, as the heartbeat's age is a difference of two clocks."""
    clocks = [h for h in hosts if (h["survey"] or {}).get("clock")]
    reference = primary_host(clocks, settings)
    if not (reference and (reference["survey"] or {}).get("clock")):
        reference = clocks[0] if clocks else None
    if reference is None:
        return []
    problems = []
    for host in clocks:
        distance = clock_distance(host["survey"]["clock"], reference["survey"]["clock"])
        if distance > settings["clock_seconds"]:
            problems.append(
                problem(
                    f"the clocks of {host['name']} and {reference['name']} differ by "
                    f"{distance:.1f} s or more (limit {settings['clock_seconds']} s)",
                    f"system time of {host['name']} and {reference['name']}",
                    "run a time service on both, for instance "
                    "`apt install systemd-timesyncd`; lag would be measured wrong",
                )
            )
    return problems


def known_answers(host: Host) -> dict[str, Any]:
    """Settings by which the answers of a host's MariaDB come about, without those not known."""
    answers = ((host.get("survey") or {}).get("database") or {}).get("answers") or {}
    return {name: value for name, value in answers.items() if value is not None}


def shared_settings(primary: Host, host: Host) -> dict[str, Any]:
    """Settings that a reporting node takes over from the primary's MariaDB, with this run's own.

    Those that are MariaDB's defaults there are taken over only where the node differs. Where the
    primary's server does not answer, the node keeps what it has: to lose them, it would restart.
    """
    theirs, mine = known_answers(primary), known_answers(host)
    database = (host.get("survey") or {}).get("database") or {}
    taken = database.get("taken") or {}
    if not theirs:
        wanted = dict(taken)
    else:
        usual = primary["survey"]["database"].get("usual") or []
        wanted = {
            name: value
            for name, value in theirs.items()
            if name not in usual or name in taken or mine.get(name, value) != value
        }
    wanted.pop("time_zone", None)
    newest = SUPPORTED_MARIADB[-1]
    if (mariadb_of(host) == newest) is (mariadb_of(primary) == newest):
        # Only a newer server has it, and has it as the fleet's, beside one of its own age.
        wanted.pop("character_set_collations", None)
    return wanted | primary_extra(primary)


def primary_extra(primary: Host) -> dict[str, Any]:
    """What the inventory sets for the primary of the settings that reporting nodes take over."""
    extra = extra_settings(primary)
    shared = primary["survey"]["database"]["answers"] if primary.get("survey") else {}
    return {name: extra[name] for name in shared if name in extra and name != "time_zone"}


def extra_settings(host: Host) -> dict[str, Any]:
    """mariadb_settings_extra by the variables' names; what is no map is told with the types."""
    extra = host.get("mariadb_extra")
    if not isinstance(extra, Mapping):
        return {}
    return {str(name).replace("-", "_"): value for name, value in extra.items()}


def check_shared(hosts: list[Host], settings: Settings) -> list[Problem]:
    """No setting of a reporting node's own makes its reports say something else."""
    primary = primary_host(hosts, settings)
    if primary is None or not primary["survey"]:
        return []
    wanted, problems = {**known_answers(primary), **primary_extra(primary)}, []
    shared = primary["survey"]["database"]["answers"]
    for host in hosts:
        if not host["survey"] or host["name"] == primary["name"]:
            continue
        for name, value in extra_settings(host).items():
            theirs = wanted.get(name, "unset")
            if name in shared and comparable(value) != comparable(theirs):
                problems.append(
                    problem(
                        f"{name} is {value} for {host['name']}, and {theirs} for the primary "
                        f"{primary['name']}: a report would say something else there",
                        f"mariadb_settings_extra of {host['name']} in the inventory",
                        "take it out, or set it for the primary: the reporting nodes have the "
                        "primary's value",
                    )
                )
        problems += zone_problems(host, primary)
    return problems


def comparable(value: Any) -> str:
    """A setting's value, so that ON, true and 1 are the same."""
    text = str(value).strip().lower()
    return {"on": "1", "true": "1", "off": "0", "false": "0"}.get(text, text)


def server_zone(survey: Mapping[str, Any]) -> str:
    """time_zone of a host's MariaDB; one that is not there yet will have its host's."""
    return str(survey["database"].get("answers", {}).get("time_zone") or "SYSTEM")


def zone_offsets(host: Host) -> Any:
    """The offsets of MariaDB's time zone through two years; its name where they are not known."""
    zone, system = server_zone(host["survey"]), host["survey"]["time_zone"]
    offsets = system["offsets"]
    if zone in ("SYSTEM", system["name"]):
        return offsets
    fixed = re.fullmatch(r"([+-])(\d\d?):(\d\d)", zone)
    if not fixed:
        return zone
    seconds = int(fixed[2]) * 3600 + int(fixed[3]) * 60
    return [-seconds if fixed[1] == "-" else seconds] * len(offsets)


def zone_problems(host: Host, primary: Host) -> list[Problem]:
    """The time zones of a reporting node and of its MariaDB are the primary's."""
    here, there = host["survey"]["time_zone"], primary["survey"]["time_zone"]
    name, problems = host["name"], []
    if here["offsets"] != there["offsets"]:
        remedy = f"run `timedatectl set-timezone {there['name'] or 'ZONE'}` on {name}"
        if here["name"] == there["name"]:
            remedy = f"upgrade the package tzdata on {name} and {primary['name']}"
        problems.append(
            problem(
                f"the time zone of {name} is {here['name'] or 'unnamed'}, and "
                f"{there['name'] or 'unnamed'} on the primary {primary['name']}: a report would "
                "show other days and hours there",
                f"/etc/localtime of {name}",
                f"{remedy}, and restart that host",
            )
        )
    ours, theirs = (server_zone(h["survey"]) for h in (host, primary))
    # What comes of the hosts' is told already.
    if {ours, theirs} != {"SYSTEM"} and zone_offsets(host) != zone_offsets(primary):
        problems.append(
            problem(
                f"time_zone of MariaDB is {ours} on {name}, and {theirs} on the primary "
                f"{primary['name']}: a report would show other days and hours there",
                f"default_time_zone in a file below /etc/mysql, on {name} and {primary['name']}",
                "take default_time_zone out of these files, give both hosts the wanted time zone "
                "by `timedatectl set-timezone ZONE`, and restart them",
            )
        )
    return problems


def check_secrets(_hosts: list[Host], settings: Settings) -> list[Problem]:
    """The secrets file can be used."""
    state = settings["secrets"]
    return [state["problem"]] if state["problem"] else []


CHECKS: tuple[Callable[[list[Host], Settings], list[Problem]], ...] = (
    check_groups,
    check_other_databases,
    check_sites,
    check_gone_sites,
    check_variables,
    check_types,
    check_programs,
    check_read_path,
    check_keep,
    check_proxies,
    check_networks,
    check_certificates,
    check_acme,
    check_folders,
    check_secrets,
    check_left_out,
    check_addresses,
    check_server_ids,
    check_systems,
    check_databases,
    check_frappe,
    check_marks,
    check_update,
    check_commands,
    check_ports,
    check_disks,
    check_lan,
    check_filters,
    check_clocks,
    check_shared,
)


def preflight_problems(hosts: list[Host], settings: Settings) -> list[Problem]:
    """All problems of a fleet, in the order in which one would mend them; [] when it may go on."""
    return [found for check in CHECKS for found in check(hosts, settings)]


def preflight_text(
    problems: list[Problem], touched: str = "Nothing was touched on any host."
) -> str:
    """The problems as a text for people; touched says what was done before they were found."""
    number = len(problems)
    lines = [f"Preflight found {number} problem{'' if number == 1 else 's'}. {touched}"]
    for index, found in enumerate(problems, start=1):
        lines += [
            "",
            f"{index}. {found['what']}",
            f"   place:  {found['place']}",
            f"   remedy: {found['remedy']}",
        ]
    return "\n".join(lines)


# --- who is in the fleet ------------------------------------------------------------------------


def fleet_hosts(
    names: Iterable[str], seen: Iterable[Host], addresses: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Hosts that the others know, and by what: {name: {lan_ip, ssh_key}}.

    names are the inventory's, seen are the hosts of this run, addresses are those of the
    certificates that were made before. So a host that is off or left out of the run keeps its
    entries on the others; one that was never reached is not in the result. ssh_key is "" where
    no host knows it.
    """
    looked_at = {host["name"]: host for host in seen if host["survey"]}
    keys = {
        address: key
        for host in looked_at.values()
        for address, key in host["survey"].get("known_hosts", {}).items()
        if SSH_KEY.fullmatch(key)
    }
    found = {}
    for name in names:
        if name in looked_at:
            host = looked_at[name]
            found[name] = {"lan_ip": host["address"], "ssh_key": host["ssh_key"]}
        elif name in addresses:
            address = addresses[name]
            found[name] = {"lan_ip": address, "ssh_key": keys.get(address, "")}
    return found


# --- read on the controller --------------------------------------------------------------------


def known_variables(roles_dir: str) -> dict[str, Any]:
    """Variables that our roles take: {variables, prefixes, site_keys, options}.

    Options of all entry points in the argument specs, and all defaults. Names that tasks
    register or set are known too, as they are among a host's variables once a role has run.
    options is one argument spec of all roles, for checking types: nothing in it is required, as
    some are given by tasks and not by the inventory, and fleet_sites is left to its own check,
    which says more.
    """
    variables: set[str] = set()
    all_options: dict[str, Any] = {}
    prefixes: set[str] = {"fleet_"}
    site_keys: set[str] = set()
    for role in sorted(Path(roles_dir).iterdir()):
        if not (role / "meta").is_dir():
            continue
        prefixes.add(f"{role.name}_")
        spec_file = role / "meta/argument_specs.yml"
        if spec_file.is_file():
            specs = yaml.safe_load(spec_file.read_text(encoding="utf-8")) or {}
            for entry in (specs.get("argument_specs") or {}).values():
                options = entry.get("options") or {}
                variables.update(options)
                for name, option in options.items():
                    all_options[name] = {k: v for k, v in option.items() if k != "required"}
                site_keys.update((options.get("fleet_sites") or {}).get("options") or {})
        for defaults in sorted(role.glob("defaults/**/*.yml")):
            text = defaults.read_text(encoding="utf-8")
            variables.update(re.findall(r"^(\w+):", text, re.MULTILINE))
        for tasks in sorted([*role.glob("tasks/*.yml"), *role.glob("handlers/*.yml")]):
            text = tasks.read_text(encoding="utf-8")
            variables.update(re.findall(r"^[\s-]*register:\s*(\w+)", text, re.MULTILINE))
            for block in re.findall(r"set_fact:\n((?:[ \t]+.*\n?)+)", text):
                variables.update(re.findall(r"^\s*(\w+):", block, re.MULTILINE))
    return {
        "variables": sorted(variables),
        "prefixes": sorted(prefixes),
        "site_keys": sorted(site_keys or {"name", "apps"}),
        "options": {k: v for k, v in all_options.items() if k != "fleet_sites"},
    }


def secrets_state(path: str) -> dict[str, Any]:
    """What can be said of the secrets file without a password: {exists, encrypted, fleet_id,
    problem}. fleet_id is "" when unknown; problem is None when the file may be used."""
    state: dict[str, Any] = {"exists": False, "encrypted": False, "fleet_id": "", "problem": None}
    file = Path(path)
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return state
    except (OSError, UnicodeDecodeError) as error:
        state["problem"] = problem(
            f"the secrets file cannot be read: {getattr(error, 'strerror', None) or error}",
            f"{path} on the controller",
            "run as the user who owns it, or put it back from a backup",
        )
        return state
    state["exists"] = True
    state["encrypted"] = text.startswith("$ANSIBLE_VAULT;")
    if state["encrypted"]:
        return state
    if mode & 0o077:
        state["problem"] = problem(
            f"the secrets file can be read by others than its owner (mode {mode:04o})",
            f"{path} on the controller",
            f"chmod 0600 {path}",
        )
        return state
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        state["problem"] = problem(
            "the secrets file is not valid YAML" + (f" (line {mark.line + 1})" if mark else ""),
            f"{path} on the controller",
            "put it back from a backup; a new one would lock the fleet out of its own hosts, so "
            "none is made",
        )
        return state
    if not isinstance(content, dict) or not isinstance(content.get("fleet_id"), str):
        state["problem"] = problem(
            "the secrets file holds no fleet_id",
            f"{path} on the controller",
            "put it back from a backup; if it was never used, remove it",
        )
        return state
    state["fleet_id"] = content["fleet_id"]
    return state


def opened_secrets(
    state: Mapping[str, Any], path: str, content: Any, hosts: list[Host]
) -> dict[str, Any]:
    """The state of the secrets file once its decryption was tried; content is {} if it failed.

    Of a file that cannot be used, the fleet is that of the hosts' marks: whether a host belongs to
    another fleet cannot be judged then, and is not the problem.
    """
    found = dict(state)
    if found["encrypted"]:
        found["fleet_id"] = content.get("fleet_id") if isinstance(content, Mapping) else None
        if not isinstance(found["fleet_id"], str):
            found["problem"] = problem(
                "the secrets file is encrypted, and no vault password was given, or one that does"
                " not fit",
                f"{path} on the controller",
                "add --ask-vault-pass or --vault-password-file to ansible-playbook, or name the"
                " file in ANSIBLE_VAULT_PASSWORD_FILE (./fleet reads it, too); if the password is"
                " right, put the secrets file back from a backup",
            )
    if found["problem"]:
        marks = [host["survey"].get("mark", {}) for host in hosts if host["survey"]]
        found["fleet_id"] = next((m["fleet_id"] for m in marks if m.get("fleet_id")), "")
    return found


def missing_secrets(state: Mapping[str, Any], path: str, content: Any) -> Problem | None:
    """Why the secrets of a running fleet cannot be used; None when they can."""
    if not state["exists"] and not state["problem"]:
        return problem(
            "the secrets file does not exist",
            f"{path} on the controller",
            "give the inventory that the fleet was made with (-i), or put the file back from a"
            " backup; a fleet that is not made yet has none: run site.yml",
        )
    found: Problem | None = opened_secrets(state, path, content, [])["problem"]
    return found


class FilterModule:
    """Filters for the role preflight and for whoever needs a host's server_id."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names as used in templates."""
        return {
            "fleet_hosts": fleet_hosts,
            "lan_server_id": lan_server_id,
            "missing_secrets": missing_secrets,
            "preflight_known_variables": known_variables,
            "preflight_lan_ip": good_lan_ip,
            "preflight_mariadb": mariadb_of,
            "preflight_opened_secrets": opened_secrets,
            "preflight_problems": preflight_problems,
            "preflight_secrets_state": secrets_state,
            "preflight_text": preflight_text,
            "preflight_ways": ways,
            "filter_warnings": filter_warnings,
            "memory_warnings": memory_warnings,
            "pdf_warnings": pdf_warnings,
            "shared_settings": shared_settings,
        }
