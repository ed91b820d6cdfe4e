"""Variables of the inventory: known names, types, and bounds."""

from __future__ import annotations

import difflib
import functools
import ipaddress
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from .problems import Host, Problem, Settings, did_you_mean, grouped, problem

FACTS_WE_SET = frozenset(
    f"fleet_{name}" for name in ("hosts", "in_run", "lan_ip", "primary", "primary_ip", "secrets")
)
# What the bounds of the read path may be: variable, least and greatest value, unit.
READ_PATH_BOUNDS = (
    ("read_guard_wait", 0, 10, "seconds"),
    ("read_guard_fallback_calls", 1, 100, "calls"),
    ("read_guard_fallback_seconds", 1, 3600, "seconds"),
)
# What fleet_keep may say: key, least and greatest value.
KEEP_BOUNDS = (("number", 1, 1000), ("days", 1, 36500))
PROXY = re.compile(r"https?://[^\s/@]+:\d+/?")


@functools.cache
def role_options(roles_dir: str) -> dict[str, Any]:
    """The options of our roles, as the argument specs of all their entry points have them."""
    options: dict[str, Any] = {}
    for file in sorted(Path(roles_dir).glob("*/meta/argument_specs.yml")):
        specs = yaml.safe_load(file.read_text(encoding="utf-8"))["argument_specs"]
        for entry in specs.values():
            options |= entry.get("options") or {}
    return options


def known_variables(roles_dir: str) -> dict[str, Any]:
    """Variables that our roles take: {variables, prefixes, site_keys, options}.

    Options of all entry points in the argument specs, and all defaults. Names that tasks
    register or set are known too, as they are among a host's variables once a role has run.
    options is one argument spec of all roles, for checking types: nothing in it is required, as
    some are given by tasks and not by the inventory, and fleet_sites is left to its own check,
    which says more.
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
    """Variables with one of our prefixes that no role knows: a typo must not pass in silence."""
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
        yield problem(
            f"unknown variable {name}{did_you_mean(name, [*known, 'lan_ip'])}",
            "inventory or extra variables of "
            + ("all hosts" if len(names) == len(hosts) and len(hosts) > 1 else ", ".join(names)),
            "correct or remove it; the variables of a role are in its defaults/main.yml. If it "
            "belongs to something else, list it in preflight_allowed_variables",
        )


def check_types(hosts: list[Host], _settings: Settings) -> Iterator[Problem]:
    """Types and choices of our variables, as the argument specs of the roles have them."""
    found = grouped(
        (str(error).strip(), host["name"]) for host in hosts for error in host["type_errors"]
    )
    for error, names in found.items():
        yield problem(
            error,
            f"inventory or extra variables of {', '.join(names)}",
            "correct it; types and choices are in the role's meta/argument_specs.yml",
        )


def check_read_path(hosts: list[Host], _settings: Settings) -> Iterator[Problem]:
    """The read path's bounds are such that a call can wait, fall back and end."""
    found = []
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
                found.append(((what, name), host["name"]))
    for (what, name), names in grouped(found).items():
        yield problem(
            what, f"{name} in the inventory, for {', '.join(names)}", "choose a value between"
        )


def check_keep(hosts: list[Host], _settings: Settings) -> Iterator[Problem]:
    """fleet_keep says how many are kept, and for how many days."""
    found = []
    for host in hosts:
        keep = host["keep"]
        if not isinstance(keep, Mapping):
            # Ansible's own validation fails on it without a word.
            found.append((f"fleet_keep is {keep!r}, and no map", host["name"]))
            continue
        for key, least, greatest in KEEP_BOUNDS:
            value = keep.get(key)
            # What is missing or no whole number is reported with the types.
            if re.fullmatch(r"-?\d+", str(value)) and not least <= int(str(value)) <= greatest:
                what = f"{key} of fleet_keep is {value}: it takes {least} to {greatest}"
                found.append((what, host["name"]))
    for what, names in grouped(found).items():
        yield problem(
            what,
            f"fleet_keep in the inventory, for {', '.join(names)}",
            "name both, for example {number: 3, days: 30}",
        )


def check_proxies(hosts: list[Host], _settings: Settings) -> Iterator[Problem]:
    """fleet_http_proxy is an address that every program understands, and holds no password.

    Ansible puts it on a command line, which every account of a host can see.
    """
    found = grouped(
        (str(host["proxy"]), host["name"])
        for host in hosts
        if host["proxy"] and not PROXY.fullmatch(str(host["proxy"]))
    )
    yield from (
        problem(
            # An account may have a password.
            f"fleet_http_proxy {re.sub('//.*@', '//', value)!r} "
            + ("holds an account" if "@" in value else "is not the address of a proxy"),
            f"fleet_http_proxy in the inventory, for {', '.join(names)}",
            "write it as http://HOST:PORT, and let the proxy know the servers by their addresses",
        )
        for value, names in found.items()
    )


def network_trouble(value: Any, whole: bool) -> str:
    """What is wrong with an address or network of a setting; "" when nothing is.

    whole: whether it may be all addresses there are.
    """
    try:
        network = ipaddress.ip_network(str(value))
    except ValueError as error:
        return f"is neither an address nor a network ({error})"
    return "" if whole or network.prefixlen else "would be everybody"


def check_networks(hosts: list[Host], _settings: Settings) -> Iterator[Problem]:
    """What shall be let in, and whose word shall be believed, is written as addresses."""
    found = grouped(
        ((name, repr(value), trouble), host["name"])
        for host in hosts
        for name, values in host["networks"].items()
        # What is no list is reported with the types.
        for value in (values if isinstance(values, list) else ())
        if (trouble := network_trouble(value, name == "firewall_allow"))
    )
    for (name, value, trouble), names in found.items():
        yield problem(
            f"{value} in {name} {trouble}",
            f"{name} in the inventory, for {', '.join(names)}",
            "write an address such as 10.0.0.5, or a network such as 10.0.0.0/24",
        )
