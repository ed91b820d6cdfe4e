"""What no single host can see: comparisons of hosts, the ports from outside, the verdict."""

from __future__ import annotations

import ipaddress
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..bench.files import KEPT, KEYS, SET, SHARED, keys_that_are
from ..bench.queues import HEAVY
from .answers import different, unlike
from .results import closing, complete, counted, red_table, result

# Keys of the common configuration that differ between nodes by design.
OWN_KEYS = frozenset(KEYS) - frozenset(keys_that_are(SET, SHARED, KEPT))

Result = dict[str, Any]
Nodes = dict[str, dict[str, Any]]


def compare_apps(host: str, node: dict[str, Any], primary: dict[str, Any]) -> Result:
    """Whether a reporting bench has the primary's apps, at the same commits."""
    own, theirs = node["seen"]["apps"], primary["seen"]["apps"]
    moved = [app for app in sorted({*own, *theirs}) if _commit(own, app) != _commit(theirs, app)]
    changed = [
        app for app in sorted({*own} & {*theirs}) if own[app]["changes"] != theirs[app]["changes"]
    ]
    wrong = [
        f"{app}: {_commit(own, app)} here, {_commit(theirs, app)} on the primary" for app in moved
    ]
    wrong += [f"{app} has uncommitted changes that differ from the primary's" for app in changed]
    same = ", ".join(f"{app} {_commit(own, app)}" for app in sorted(own))
    return result(
        "commits",
        host,
        bool(own) and not wrong,
        "; ".join(wrong) or same or "no app",
        facts={"other_commit": moved, "other_changes": changed},
    )


def shortened(wrong: list[str], most: int) -> str:
    """The first ``most`` faults as one text, and the number of the others."""
    return "; ".join(wrong[:most]) + f" and {len(wrong) - most} more" * (len(wrong) > most)


def _commit(apps: dict[str, Any], app: str) -> str:
    return apps[app]["commit"][:10] if app in apps else "none"


def compare_assets(host: str, node: dict[str, Any], primary: dict[str, Any]) -> Result:
    """Whether a reporting bench has the primary's web assets.

    A bundle is known by its list, its name and its URL.
    """
    own, theirs = node["seen"]["assets"], primary["seen"]["assets"]
    facts: dict[str, list[str]] = {}
    wrong = []
    for bundle in sorted({*own, *theirs}):
        name = " ".join(bundle.split()[1:])
        if bundle not in theirs:
            fault, saw = "only_here", f"{name} is not in the primary's list"
        elif bundle not in own:
            fault, saw = "not_here", f"{name} is not in this node's list"
        elif own[bundle] != theirs[bundle]:
            fault = "differs" if own[bundle] else "no_file"
            saw = f"{name} {'differs' if own[bundle] else 'has no file here'}"
        elif not own[bundle]:
            fault, saw = "no_file", f"{name} has no file on either bench"
        else:
            continue
        facts.setdefault(fault, []).append(name)
        wrong.append(saw)
    saw = shortened(wrong, 5) or f"{len(own)} bundles listed, all the same"
    return result("assets", host, not wrong, saw, facts=facts)


def compare_answers(host: str, node: dict[str, Any], primary: dict[str, Any]) -> Result:
    """Whether a reporting node answers as the primary does.

    Only what the primary has is compared: what the node has besides is of its own tools, or of
    former apps. A host without fonts cannot print at all, which is the check pdf.
    """
    own, theirs = node["seen"]["answers"], primary["seen"]["answers"]
    troubles = {host: own["trouble"], "the primary": theirs["trouble"]}
    unanswered = [name for name, trouble in troubles.items() if trouble]
    wrong = [f"some questions failed on {name}: {troubles[name]}" for name in unanswered]
    pairs: list[tuple[dict[str, str], dict[str, str]]] = []
    fonts: list[str] = []
    if own["servers"]:
        pairs.append((own["servers"]["here"], own["servers"]["primary"]))
    if own["python"] and theirs["python"]:
        both = [dict(answers["python"]) for answers in (own, theirs)]
        if "none" in [answers.get("wkhtmltopdf") for answers in both]:
            # Whether a host can print is the check pdf.
            both = [{k: v for k, v in answers.items() if k != "wkhtmltopdf"} for answers in both]
        pairs.append((both[0], both[1]))
        if own["fonts"]:
            fonts = [name for name in theirs["fonts"] if name not in own["fonts"]]
    if own["packages"]:
        here = {name: own["packages"].get(name, "none") for name in theirs["packages"]}
        pairs.append((here, theirs["packages"]))
    keys = [
        key
        for key, value in theirs["config"].items()
        if own["config"].get(key) != value and key not in OWN_KEYS
    ]
    for here, there in pairs:
        wrong += unlike(here, there)
    wrong += [f"no font {name} here" for name in fonts]
    wrong += [f"{key} of common_site_config.json is not the primary's" for key in keys]
    asked = {
        "MariaDB": len(own["servers"].get("here", {})),
        "Python": len(own["python"]) if theirs["python"] else 0,
        "packages": len(own["packages"]),
    }
    same = "the same: " + ", ".join(f"{name} {count}" for name, count in asked.items())
    facts = {
        "unanswered": unanswered,
        "answers": [name for here, there in pairs for name in different(here, there)],
        "fonts": fonts,
        "keys": keys,
    }
    return result("answers_alike", host, not wrong, shortened(wrong, 10) or same, facts=facts)


def compare_queue(host: str, node: dict[str, Any], primary: dict[str, Any]) -> Result:
    """Whether a reporting bench uses the primary's queue."""
    both = (node["seen"], primary["seen"])
    here, there = ((seen.get("bench_id"), seen.get("queue")) for seen in both)
    saw = f"bench_id {here[0]} at {here[1] or 'no Redis'}"
    if here != there:
        saw += f"; the primary: {there[0]} at {there[1] or 'no Redis'}"
    facts = {"bench_id": here[0], "queue": here[1]}
    return result("bench_id", host, here == there and all(here), saw, facts=facts)


def count_schedulers(host: str, nodes: Nodes) -> Result:
    """Whether the fleet has one scheduler process, on the primary ``host``."""
    found = {name: len(node["seen"].get("schedulers") or []) for name, node in nodes.items()}
    unseen = sorted(name for name, node in nodes.items() if "schedulers" not in node["seen"])
    saw = ", ".join(f"{name} {count}" for name, count in found.items() if name not in unseen)
    right = found.get(host) == 1 and sum(found.values()) == 1
    # Two schedulers are one too many, whatever the hosts that were not seen have.
    compared = not unseen or sum(found.values()) > 1
    if unseen:
        saw = f"{'' if compared else 'not compared: '}{saw}; not seen: {', '.join(unseen)}"
    facts = {"schedulers": found, "unseen": unseen}
    # Of a second scheduler on a node the check no_scheduler has the process.
    own = found.get(host) != 1 and host not in unseen
    return result(
        "one_scheduler",
        host,
        right and not unseen,
        saw,
        compared=compared,
        proved=own,
        facts=facts,
    )


def compare_record(host: str, node: dict[str, Any], primary: dict[str, Any]) -> Result:
    """Whether a node has the primary's record of who is primary.

    Each host dates the first record of a fleet by itself.
    """
    own, theirs = (one["seen"]["record"] for one in (node, primary))
    differ = [name for name in own if name not in ("open", "since") and own[name] != theirs[name]]
    said = [f"{name} {own[name]} here, {theirs[name]} on the primary" for name in differ]
    saw = "; ".join(said) or f"{own['primary']}, epoch {own['epoch']}"
    return result("records_alike", host, not differ, saw, facts={"differ": differ})


def count_open(host: str, nodes: Nodes) -> Result:
    """Whether one MariaDB of the fleet is open for writes, that of the primary ``host``."""
    seen = {
        name: node["seen"]["record"] for name, node in nodes.items() if "record" in node["seen"]
    }
    unseen = sorted({*nodes} - {*seen})
    found = sorted(name for name, one in seen.items() if one["open"])
    saw = f"open: {', '.join(found) or 'none'}" + f"; not seen: {', '.join(unseen)}" * bool(unseen)
    # Two are one too many, whatever the hosts that were not seen have.
    compared = not unseen or len(found) > 1
    facts = {"open": found, "unseen": unseen}
    ok = found == [host] and not unseen
    return result("one_open", host, ok, saw, compared=compared, facts=facts)


def compare_settings(host: str, node: dict[str, Any], primary: dict[str, Any]) -> Result:
    """Whether settings that the plan has different values for differ on the running servers."""
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
    return result("apart", host, bool(apart) and not same, saw, facts={"same": same})


def exempt(source: str, nodes: Nodes, allowed: list[str]) -> str:
    """Why the controller may reach the ports; "" when it is outside the fleet."""
    for name, node in nodes.items():
        if source == node["lan_ip"]:
            return f"the controller is {name} itself"
    for network in allowed:
        if ipaddress.ip_address(source) in ipaddress.ip_network(network, strict=False):
            return f"firewall_allow lets the controller ({source}) in by {network}"
    return ""


def call_ports(host: str, node: dict[str, Any], nodes: Nodes, params: dict[str, Any]) -> Result:
    """Whether the controller can connect to a host's ports."""
    address, ports = node["lan_ip"], params["ports"]
    source = source_address(address)
    if not source:
        return result("outside", host, True, f"the controller has no route to {address}")
    reason = exempt(source, nodes, params["allowed"])
    if reason:
        return result("outside", host, True, f"not tried: {reason}")
    with ThreadPoolExecutor(len(ports)) as pool:
        answers = dict(
            zip(ports, pool.map(lambda port: refuses(address, port), ports), strict=True)
        )
    open_ports = [str(port) for port, answer in answers.items() if not answer]
    if open_ports:
        saw = f"{address} lets {source} connect to {', '.join(open_ports)}"
    else:
        saw = ", ".join(f"{port} {answer}" for port, answer in answers.items()) + f" from {source}"
    return result("outside", host, not open_ports, saw, facts={"open": list(map(int, open_ports))})


def compare_placed(host: str, nodes: Nodes, placed: dict[str, list[str]]) -> Result:
    """Whether placed jobs are done where the inventory wants them.

    placed: queue -> the hosts that should do its jobs.
    """
    tried = nodes[host]["seen"].get("tried")
    if tried is None:
        why = "not tried: the queues of the jobs could not be read"
        return result("placed", host, False, why, compared=False, facts={"tried": None})
    queues = [entry["queue"] for entry in tried]
    saw: list[str] = []
    good = {*queues} == {*placed}
    if not good:
        saw.append(
            f"queues in force: {', '.join(queues) or 'none'};"
            f" in the inventory: {', '.join(placed) or 'none'}"
        )
    for entry in tried:
        if entry["status"] == "finished" and entry["queue"] == HEAVY != entry["landed"]:
            # Whether a node should take them is the check waiting.
            fits = True
            saw.append(
                f"{entry['job']}: done on {entry['node']}, as no reporting node takes heavy jobs"
            )
        elif entry["status"] == "finished":
            fits = entry["node"] in placed.get(entry["queue"], [])
            saw.append(f"{entry['job']}: done on {entry['node']}")
        else:
            # Its workers do other jobs first; whether there are any is the check waiting.
            fits = entry["landed"] == entry["queue"] and entry["status"] == "queued"
            saw.append(f"{entry['job']}: {entry['status']} on {entry['landed']}, not done yet")
        good = good and fits
    facts = {"tried": tried, "queues": queues}
    return result("placed", host, good, "; ".join(saw) or "no job is placed", facts=facts)


def compare(nodes: Nodes, placed: dict[str, list[str]]) -> list[Result]:
    """The results of all comparisons; those with a host that was not seen are red."""
    primary = next((name for name, node in nodes.items() if node["role"] == "primary"), "")
    if not primary:
        return []
    results = [count_schedulers(primary, nodes), compare_placed(primary, nodes, placed)]
    results.append(count_open(primary, nodes))
    for name, node in nodes.items():
        if node["role"] == "primary":
            continue
        for check, part, function in (
            ("commits", "apps", compare_apps),
            ("assets", "assets", compare_assets),
            ("answers_alike", "answers", compare_answers),
            ("bench_id", "bench_id", compare_queue),
            ("apart", "settings", compare_settings),
            ("records_alike", "record", compare_record),
        ):
            unseen = [host for host in (name, primary) if part not in nodes[host]["seen"]]
            if unseen:
                saw = f"not compared: no data from {' and '.join(unseen)}"
                facts = {"unseen": unseen}
                results.append(result(check, name, False, saw, compared=False, facts=facts))
            else:
                results.append(function(name, node, nodes[primary]))
    return results


def refuses(address: str, port: int, seconds: float = 2.0) -> str:
    """How a connection to a port fails; "" when it succeeds."""
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
    """The address of this host from which it would connect to another; "" without a route."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            # This sends nothing: a datagram socket only looks up the route.
            probe.connect((address, 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def same_size(wanted: Any, running: Any) -> bool:
    """Whether a running setting is the wanted one; the server may round it by up to 5 percent.

    A switch is True or False in the plan, and ON or OFF on the server.
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
    """Whether all checks hold, and what the module returns: {msg, checks, problems, text}.

    unasked: why hosts could not be asked, {problems, text, causes}; see fleet/preflight/reach.py.
    """
    checks = complete(results, nodes, unasked["causes"])
    if not checks:
        message = "no check was made: the inventory has no host in primary or reporting"
        return False, {"msg": message}
    failed = [entry for entry in checks if entry["state"] == "failed"]
    counts = counted(checks)
    left = [f"{name}: {node['left']}" for name, node in nodes.items() if node.get("left")]
    parts = [unasked["text"], red_table(failed), closing(checks)]
    if left:
        parts.append("verify could not remove what it had made: " + "; ".join(left))
    found = {"checks": checks, "problems": unasked["problems"], "text": unasked["text"]}
    holds = not (failed or counts["unknown"] or left)
    return holds, {"msg": "\n\n".join(filter(None, parts)), "left": left, **found}


def judge(params: dict[str, Any]) -> tuple[bool, dict[str, Any]]:
    """The verdict over the checks of all hosts, their comparisons and their ports; see verdict."""
    nodes: Nodes = {
        name: {"seen": {}, "planned": {}, **node} for name, node in params["nodes"].items()
    }
    results = params["checks"] + compare(nodes, params["placed"])
    # That the ports of a host that is off do not answer proves nothing.
    there = {name: node for name, node in nodes.items() if node["seen"]}
    results += [call_ports(name, node, nodes, params) for name, node in there.items()]
    return verdict(results, nodes, params["unasked"])
