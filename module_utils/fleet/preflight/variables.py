"""Problems of the inventory's variables: unknown names, wrong types, values out of bounds."""

from __future__ import annotations

import difflib
import functools
import ipaddress
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from .problems import Host, Kind, Problem, Settings, did_you_mean, grouped

GIVEN = "inventory or extra variables of {hosts}"
SET = "{name} in the inventory, for {hosts}"
VARIABLE_UNKNOWN = Kind(
    "variable_unknown",
    "unknown variable {name}{hint}",
    GIVEN,
    "correct or remove it; the variables of a role are in its defaults/main.yml. If it belongs to"
    " something else, list it in preflight_allowed_variables",
)
VARIABLE_TYPE = Kind(
    "variable_type",
    "a variable has a wrong type or value: {error}",
    GIVEN,
    "correct it; types and choices are in the role's meta/argument_specs.yml",
)
READ_PATH_OUT_OF_RANGE = Kind(
    "read_path_out_of_range",
    "{name} is {value}; it can be {least} to {greatest} {unit}",
    SET,
    "use a value from {least} to {greatest}",
)
KEEP = "fleet_keep in the inventory, for {hosts}"
KEEP_NOT_A_MAP = Kind(
    "keep_not_a_map",
    "fleet_keep is {value}, not a map",
    KEEP,
    "give both values, for example {{number: 3, days: 30}}",
)
KEEP_OUT_OF_RANGE = Kind(
    "keep_out_of_range",
    "{key} of fleet_keep is {value}; it can be {least} to {greatest}",
    KEEP,
    "use a value from {least} to {greatest}",
)
PROXY_SET = "fleet_http_proxy in the inventory, for {hosts}"
PROXY_FORM = (
    "write it as http://HOST:PORT, and let the proxy recognize the servers by their addresses"
)
PROXY_WITH_ACCOUNT = Kind(
    "proxy_with_account", "fleet_http_proxy {value!r} contains an account", PROXY_SET, PROXY_FORM
)
PROXY_INVALID = Kind(
    "proxy_invalid",
    "fleet_http_proxy {value!r} is not the address of a proxy",
    PROXY_SET,
    PROXY_FORM,
)
NETWORK_FORM = "write an address such as 10.0.0.5, or a network such as 10.0.0.0/24"
NETWORK_INVALID = Kind(
    "network_invalid",
    "{value!r} in {name} is neither an address nor a network ({error})",
    SET,
    NETWORK_FORM,
)
SERVICE_IP_UNUSABLE = Kind(
    "service_ip_unusable",
    "router_service_ip: {value!r} {why}",
    "router_service_ip in the inventory, for {hosts}",
    "give an IPv4 address with the prefix of its network, such as 192.0.2.10/24, which no host has"
    " by itself",
)
NETWORK_TOO_WIDE = Kind(
    "network_too_wide", "{value!r} in {name} contains all addresses", SET, NETWORK_FORM
)

FACTS_WE_SET = frozenset(
    f"fleet_{name}" for name in ("hosts", "in_run", "lan_ip", "primary", "primary_ip", "secrets")
)
# Settings of the read path: variable, least and greatest value, unit.
READ_PATH_BOUNDS = (
    ("read_guard_wait", 0, 10, "seconds"),
    ("read_guard_fallback_calls", 1, 100, "calls"),
    ("read_guard_fallback_seconds", 1, 3600, "seconds"),
)
# Settings of fleet_keep: key, least and greatest value.
KEEP_BOUNDS = (("number", 1, 1000), ("days", 1, 36500))
PROXY = re.compile(r"https?://[^\s/@]+:\d+/?")


@functools.cache
def role_options(roles_dir: str) -> dict[str, Any]:
    """The options of the roles: those of all entry points in their argument specs."""
    options: dict[str, Any] = {}
    for file in sorted(Path(roles_dir).glob("*/meta/argument_specs.yml")):
        specs = yaml.safe_load(file.read_text(encoding="utf-8"))["argument_specs"]
        for entry in specs.values():
            options |= entry.get("options") or {}
    return options


def known_variables(roles_dir: str) -> dict[str, Any]:
    """Variables that the roles take: {variables, prefixes, site_keys, options}.

    Options of all entry points in the argument specs, and all defaults. Names that tasks
    register or set are known too, as they are among a host's variables once a role has run.
    options is one argument spec of all roles, for checking types. Nothing in it is required, as
    tasks give some of them; fleet_sites is left out, as check_sites reports more about it.
    """
    options = role_options(roles_dir)
    variables = set(options)
    roles = [folder.parent for folder in sorted(Path(roles_dir).glob("*/meta"))]
    for role in roles:
        for defaults in role.glob("defaults/**/*.yml"):
            text = defaults.read_text(encoding="utf-8")
            variables.update(re.findall(r"^(\w+):", text, re.MULTILINE))
        for tasks in [*role.glob("tasks/*.yml"), *role.glob("handlers/*.yml")]:
            text = tasks.read_text(encoding="utf-8")
            variables.update(re.findall(r"^[\s-]*register:\s*(\w+)", text, re.MULTILINE))
            for block in re.findall(r"set_fact:\n((?:[ \t]+.*\n?)+)", text):
                variables.update(re.findall(r"^\s*(\w+):", block, re.MULTILINE))
    return {
        "variables": sorted(variables),
        "prefixes": sorted({"fleet_", *(f"{role.name}_" for role in roles)}),
        "site_keys": sorted(options["fleet_sites"]["options"]) if "fleet_sites" in options else [],
        "options": {
            name: {key: value for key, value in option.items() if key != "required"}
            for name, option in options.items()
            if name != "fleet_sites"
        },
    }


def check_variables(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Problems of variables that have a prefix of the roles and are unknown, such as typos."""
    known = set(settings["known_variables"]) | FACTS_WE_SET
    allowed = set(settings["allowed_variables"])
    prefixes = tuple(settings["prefixes"])
    found = grouped(
        (name, host["name"])
        for host in hosts
        for name in host["variables"]
        if name not in known
        and name not in allowed
        and name != "lan_ip"
        and (name.startswith(prefixes) or difflib.get_close_matches(name, ["lan_ip"], cutoff=0.8))
    )
    for name, names in sorted(found.items()):
        everywhere = len(names) == len(hosts) and len(hosts) > 1
        yield VARIABLE_UNKNOWN.found(
            name=name,
            hint=did_you_mean(name, [*known, "lan_ip"]),
            hosts="all hosts" if everywhere else names,
        )


def check_types(hosts: list[Host], _settings: Settings) -> Iterator[Problem]:
    """Problems of types and choices, as Ansible finds them by the roles' argument specs."""
    found = grouped(
        (str(error).strip(), host["name"]) for host in hosts for error in host["type_errors"]
    )
    for error, names in found.items():
        yield VARIABLE_TYPE.found(error=error, hosts=names)


def check_read_path(hosts: list[Host], _settings: Settings) -> Iterator[Problem]:
    """Problems of the read path's settings: a call must be able to wait, fall back and end."""
    found = []
    for host in hosts:
        for name, least, greatest, unit in READ_PATH_BOUNDS:
            value = host["read_path"].get(name)
            try:
                good = value is None or least <= float(value) <= greatest
            except (TypeError, ValueError):
                # A value that is not a number is reported as variable_type.
                continue
            if not good:
                found.append(((name, str(value), least, greatest, unit), host["name"]))
    for (name, value, least, greatest, unit), names in grouped(found).items():
        yield READ_PATH_OUT_OF_RANGE.found(
            name=name, value=value, least=least, greatest=greatest, unit=unit, hosts=names
        )


def check_keep(hosts: list[Host], _settings: Settings) -> Iterator[Problem]:
    """Problems of fleet_keep: how many copies of a thing are kept, and for how many days."""
    found: list[tuple[tuple[Kind, tuple[tuple[str, Any], ...]], str]] = []
    for host in hosts:
        keep = host["keep"]
        if not isinstance(keep, Mapping):
            # Ansible's own validation fails on it without a message.
            found.append(((KEEP_NOT_A_MAP, (("value", repr(keep)),)), host["name"]))
            continue
        for key, least, greatest in KEEP_BOUNDS:
            value = keep.get(key)
            # A missing value, or one that is not a whole number, is reported as variable_type.
            if re.fullmatch(r"-?\d+", str(value)) and not least <= int(str(value)) <= greatest:
                facts = {"key": key, "value": str(value), "least": least, "greatest": greatest}
                found.append(((KEEP_OUT_OF_RANGE, tuple(facts.items())), host["name"]))
    for (kind, pairs), names in grouped(found).items():
        yield kind.found(**dict(pairs), hosts=names)


def check_proxies(hosts: list[Host], _settings: Settings) -> Iterator[Problem]:
    """Problems of fleet_http_proxy: not an address that all programs take, or with a password.

    Ansible puts it on a command line, which every account of a host can see.
    """
    found = grouped(
        (str(host["proxy"]), host["name"])
        for host in hosts
        if host["proxy"] and not PROXY.fullmatch(str(host["proxy"]))
    )
    for value, names in found.items():
        kind = PROXY_WITH_ACCOUNT if "@" in value else PROXY_INVALID
        # The account may have a password, which must not be shown.
        yield kind.found(value=re.sub("//.*@", "//", value), hosts=names)


def network_trouble(value: Any, whole: bool) -> tuple[Kind, str] | None:
    """What is wrong with an address or network of a setting: its Kind and Python's message.

    whole: whether all addresses are allowed. None when nothing is wrong.
    """
    try:
        network = ipaddress.ip_network(str(value))
    except ValueError as error:
        return NETWORK_INVALID, str(error)
    return None if whole or network.prefixlen else (NETWORK_TOO_WIDE, "")


def check_service_ip(hosts: list[Host], _settings: Settings) -> Iterator[Problem]:
    """Problems of the address that the primary holds for the users."""
    lan = {str(host["address"]): host["name"] for host in hosts}

    def trouble(value: str) -> str:
        try:
            address = ipaddress.IPv4Interface(value)
        except ValueError as error:
            return f"is no IPv4 address with a prefix ({error})"
        if address.network.prefixlen > 30 or address.ip == address.network.network_address:
            return "has no prefix of a network of which it is a host"
        owner = lan.get(str(address.ip))
        return f"is the LAN address of {owner}" if owner else ""

    found = grouped(
        ((value, why), host["name"])
        for host in hosts
        if (value := str(host["service_ip"])) and (why := trouble(value))
    )
    for (value, why), names in found.items():
        yield SERVICE_IP_UNUSABLE.found(value=value, why=why, hosts=names)


def check_networks(hosts: list[Host], _settings: Settings) -> Iterator[Problem]:
    """Problems of addresses and networks in settings of the firewall and of trusted proxies."""
    found = grouped(
        ((name, str(value), trouble), host["name"])
        for host in hosts
        for name, values in host["networks"].items()
        # A value that is not a list is reported as variable_type.
        for value in (values if isinstance(values, list) else ())
        if (trouble := network_trouble(value, name == "firewall_allow"))
    )
    for (name, value, (kind, error)), names in found.items():
        yield kind.found(value=value, name=name, error=error, hosts=names)
