"""What no single host can see: comparisons between hosts, the view from outside, the verdict."""

from __future__ import annotations

import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..bench.files import KEPT, KEYS, SET, SHARED, keys_that_are
from ..bench.queues import HEAVY
from .answers import unlike
from .results import closing, complete, red_table, result

# In a node's common configuration these are its own, or are not there.
OWN_KEYS = frozenset(KEYS) - frozenset(keys_that_are(SET, SHARED, KEPT))

Result = dict[str, Any]
Nodes = dict[str, dict[str, Any]]


def compare_apps(host: str, node: dict[str, Any], primary: dict[str, Any]) -> Result:
    """A reporting bench's apps against the primary's."""
    own, theirs = node["seen"]["apps"], primary["seen"]["apps"]
    wrong = [
        f"{app}: {_commit(own, app)} here, {_commit(theirs, app)} on the primary"
        for app in sorted({*own, *theirs})
        if _commit(own, app) != _commit(theirs, app)
    ]
    wrong += [
        f"{app} has changes that are in no commit, and not those of the primary"
        for app in sorted({*own} & {*theirs})
        if own[app]["changes"] != theirs[app]["changes"]
    ]
    same = ", ".join(f"{app} {_commit(own, app)}" for app in sorted(own))
    return result("commits", host, bool(own) and not wrong, "; ".join(wrong) or same or "no app")


def shortened(wrong: list[str], most: int) -> str:
    """What is wrong, in words; of much, how much more there is."""
    return "; ".join(wrong[:most]) + f" and {len(wrong) - most} more" * (len(wrong) > most)


def _commit(apps: dict[str, Any], app: str) -> str:
    return apps[app]["commit"][:10] if app in apps else "none"


def compare_assets(host: str, node: dict[str, Any], primary: dict[str, Any]) -> Result:
    """A reporting bench's web assets against the primary's; a bundle is its list, name and URL."""
    own, theirs = node["seen"]["assets"], primary["seen"]["assets"]
    wrong = []
    for bundle in sorted({*own, *theirs}):
        name = " ".join(bundle.split()[1:])
        if bundle not in theirs:
            wrong.append(f"{name} is not in the primary's list")
        elif bundle not in own:
            wrong.append(f"{name} is not in the list here")
        elif own[bundle] != theirs[bundle]:
            wrong.append(f"{name} {'differs' if own[bundle] else 'has no file here'}")
        elif not own[bundle]:
            wrong.append(f"{name} has no file on either bench")
    saw = shortened(wrong, 5) or f"{len(own)} bundles listed, all the same"
    return result("assets", host, not wrong, saw)


def compare_answers(host: str, node: dict[str, Any], primary: dict[str, Any]) -> Result:
    """What a reporting node answers against what the primary does.

    What the node has besides counts for nothing: its tools made it, or it was left by what it had.
    Where it has no fonts at all, it prints nothing, which is a check of its own.
    """
    own, theirs = node["seen"]["answers"], primary["seen"]["answers"]
    troubles = {host: own["trouble"], "the primary": theirs["trouble"]}
    wrong = [f"not all was asked of {name}: {words}" for name, words in troubles.items() if words]
    if own["servers"]:
        wrong += unlike(own["servers"]["here"], own["servers"]["primary"])
    if own["python"] and theirs["python"]:
        both = [dict(answers["python"]) for answers in (own, theirs)]
        if "none" in [answers.get("wkhtmltopdf") for answers in both]:
            # Whether a host can print is a check of its own.
            both = [{k: v for k, v in answers.items() if k != "wkhtmltopdf"} for answers in both]
        wrong += unlike(*both)
        lacking = [name for name in theirs["fonts"] if name not in own["fonts"]]
        wrong += [f"no font {name} here" for name in lacking if own["fonts"]]
    if own["packages"]:
        here = {name: own["packages"].get(name, "none") for name in theirs["packages"]}
        wrong += unlike(here, theirs["packages"])
    wrong += [
        f"{key} of common_site_config.json is not the primary's"
        for key, value in theirs["config"].items()
        if own["config"].get(key) != value and key not in OWN_KEYS
    ]
    asked = {
        "MariaDB": len(own["servers"].get("here", {})),
        "Python": len(own["python"]) if theirs["python"] else 0,
        "packages": len(own["packages"]),
    }
    same = "the same: " + ", ".join(f"{name} {count}" for name, count in asked.items())
    return result("answers_alike", host, not wrong, shortened(wrong, 10) or same)


def compare_queue(host: str, node: dict[str, Any], primary: dict[str, Any]) -> Result:
    """A reporting bench's queue against the primary's."""
    both = (node["seen"], primary["seen"])
    here, there = ((seen.get("bench_id"), seen.get("queue")) for seen in both)
    saw = f"bench_id {here[0]} at {here[1] or 'no Redis'}"
    if here != there:
        saw += f"; the primary: {there[0]} at {there[1] or 'no Redis'}"
    return result("bench_id", host, here == there and all(here), saw)


def count_schedulers(host: str, nodes: Nodes) -> Result:
    """Scheduler processes of the whole fleet."""
    found = {name: len(node["seen"].get("schedulers") or []) for name, node in nodes.items()}
    unseen = sorted(name for name, node in nodes.items() if "schedulers" not in node["seen"])
    saw = ", ".join(f"{name} {count}" for name, count in found.items() if name not in unseen)
    right = found.get(host) == 1 and sum(found.values()) == 1
    if unseen:
        # One too many is a finding whatever the others have.
        known = "not compared: " if right else ""
        saw = f"{known}{saw}; not seen: {', '.join(unseen)}"
    good = right and not unseen
    return result("one_scheduler", host, good, saw)


def compare_settings(host: str, node: dict[str, Any], primary: dict[str, Any]) -> Result:
    """What the plan sets apart must be apart on the running servers."""
    apart = sorted(
        name
        for name, value in node["planned"].items()
        if name in primary["planned"] and not same_size(value, primary["planned"][name])
    )
    here, there = node["seen"]["settings"], primary["seen"]["settings"]
    same = [name for name in apart if here.get(name) == there.get(name)]
    if same:
        saw = "the same on both: " + ", ".join(f"{name} {here.get(name)}" for name in same)
    else:
        saw = f"{len(apart)} settings differ: " + ", ".join(
            f"{name} {here.get(name)} ({there.get(name)})" for name in apart
        )
    return result("apart", host, bool(apart) and not same, saw)


def exempt(source: str, nodes: Nodes, allowed: list[str]) -> str:
    """Why the controller may reach the ports, "" when it is outside the fleet."""
    for name, node in nodes.items():
        if source == node["lan_ip"]:
            return f"the controller is {name} itself"
    for network in allowed:
        if ipaddress.ip_address(source) in ipaddress.ip_network(network, strict=False):
            return f"firewall_allow lets the controller ({source}) in by {network}"
    return ""


def call_ports(host: str, node: dict[str, Any], nodes: Nodes, params: dict[str, Any]) -> Result:
    """Call a host's ports from here."""
    address, ports = node["lan_ip"], params["ports"]
    source = source_address(address)
    if not source:
        return result("outside", host, True, f"no way from the controller to {address}")
    reason = exempt(source, nodes, params["allowed"])
    if reason:
        return result("outside", host, True, f"not tried: {reason}")
    with ThreadPoolExecutor(len(ports)) as pool:
        answers = dict(
            zip(ports, pool.map(lambda port: refuses(address, port), ports), strict=True)
        )
    open_ports = [str(port) for port, words in answers.items() if not words]
    if open_ports:
        saw = f"{address} lets {source} connect to {', '.join(open_ports)}"
    else:
        saw = ", ".join(f"{port} {words}" for port, words in answers.items()) + f" from {source}"
    return result("outside", host, not open_ports, saw)


def compare_placed(host: str, nodes: Nodes, placed: dict[str, list[str]]) -> Result:
    """Where placed jobs were done against where the inventory wants them."""
    tried = nodes[host]["seen"].get("tried")
    if tried is None:
        return result("placed", host, False, "not tried: the jobs could not be asked")
    saw, good = [], {entry["queue"] for entry in tried} == set(placed)
    if not good:
        saw.append(
            f"queues in force: {', '.join(entry['queue'] for entry in tried) or 'none'};"
            f" those of the inventory: {', '.join(placed) or 'none'}"
        )
    for entry in tried:
        if entry["status"] == "finished" and entry["queue"] == HEAVY != entry["landed"]:
            # Whether a node should serve them is a check of its own.
            fits = True
            saw.append(f"{entry['job']}: done on {entry['node']}, for no reporting node serves it")
        elif entry["status"] == "finished":
            fits = entry["node"] in placed.get(entry["queue"], [])
            saw.append(f"{entry['job']}: done on {entry['node']}")
        else:
            # Its workers are at other jobs: whether there are any is a check of its own.
            fits = entry["landed"] == entry["queue"] and entry["status"] == "queued"
            saw.append(f"{entry['job']}: {entry['status']} on {entry['landed']}, not done yet")
        good = good and fits
    return result("placed", host, good, "; ".join(saw) or "no job is placed")


def compare(nodes: Nodes, placed: dict[str, list[str]]) -> list[Result]:
    """All comparisons for which both sides were seen."""
    primary = next((name for name, node in nodes.items() if node["role"] == "primary"), "")
    if not primary:
        return []
    results = [count_schedulers(primary, nodes), compare_placed(primary, nodes, placed)]
    for name, node in nodes.items():
        if node["role"] == "primary":
            continue
        for check, part, function in (
            ("commits", "apps", compare_apps),
            ("assets", "assets", compare_assets),
            ("answers_alike", "answers", compare_answers),
            ("bench_id", "bench_id", compare_queue),
            ("apart", "settings", compare_settings),
        ):
            unseen = [host for host in (name, primary) if part not in nodes[host]["seen"]]
            if unseen:
                saw = f"not compared: {' and '.join(unseen)} could not be looked at"
                results.append(result(check, name, False, saw))
            else:
                results.append(function(name, node, nodes[primary]))
    return results


def refuses(address: str, port: int, seconds: float = 2.0) -> str:
    """How an address keeps us out, "" when it lets us connect."""
    try:
        socket.create_connection((address, port), timeout=seconds).close()
    except TimeoutError:
        return "no answer"
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def source_address(address: str) -> str:
    """The address of ours from which we would call another one, "" without a way to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent: a datagram socket only looks the route up.
            probe.connect((address, 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def same_size(wanted: Any, running: Any) -> bool:
    """Whether a running setting is the wanted one, but for the server's rounding (5 percent).

    A switch is True or False where it is planned, and ON or OFF on the server.
    """
    if isinstance(wanted, bool):
        return str(running).upper() == ("ON" if wanted else "OFF")
    try:
        want, have = float(wanted), float(running)
    except (TypeError, ValueError):
        return str(wanted).lower() == str(running).lower()
    return abs(want - have) <= 0.05 * max(abs(want), 1.0)


def verdict(
    results: list[Result], nodes: Nodes, unasked: dict[str, Any]
) -> tuple[bool, dict[str, Any]]:
    """Whether every check holds, and what is returned: {msg, checks, problems, text}.

    unasked: why hosts could not be asked, {problems, text, causes}; see fleet/preflight/reach.py.
    """
    checks = complete(results, nodes, unasked["causes"])
    if not checks:
        words = "no check was made: the inventory has no host in primary or reporting"
        return False, {"msg": words}
    red = [entry for entry in checks if not entry["ok"]]
    left = [f"{name}: {node['left']}" for name, node in nodes.items() if node.get("left")]
    words = closing(checks)
    if red:
        shown = [entry for entry in red if entry["asked"]]
        silent = len(red) - len(shown)
        parts = [
            unasked["text"],
            f"{silent} of {len(checks)} checks could not be made" if silent else "",
            f"{len(shown)} of {len(checks)} checks are red" if shown else "",
            red_table(shown),
        ]
        words = "\n\n".join(filter(None, parts))
    elif left:
        words = "verify could not clean up: " + "; ".join(left)
    found = {"checks": checks, "problems": unasked["problems"], "text": unasked["text"]}
    return not (red or left), {"msg": words, **found}


def judge(params: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
    """Compare the hosts, call their ports, and give the verdict over these and all other checks."""
    nodes: Nodes = {
        name: {"seen": {}, "planned": {}, **node} for name, node in params["nodes"].items()
    }
    results = params["checks"] + compare(nodes, params["placed"])
    # The silence of a host that is off proves nothing: the verdict says that it was not checked.
    there = {name: node for name, node in nodes.items() if node["seen"]}
    results += [call_ports(name, node, nodes, params) for name, node in there.items()]
    return verdict(results, nodes, params["unasked"])
