"""A lab's network: a bridge, a namespace and cable per host, a way out through this machine.

A lab can have a network space of its own: a network namespace that is named like its bridge and
holds it. Labs with the same addresses run side by side in their spaces, and commands on such a lab
run in its space (`enter`).
"""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import json
import os
import shlex
from collections.abc import Iterator
from pathlib import Path

from benchfleet.lab import state
from benchfleet.lab.state import Host, Lab
from benchfleet.shell import FleetError, locked, run, succeeds, write_file

FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
FORWARD_BEFORE = state.RUN / "ip_forward"
NAMESPACES = Path("/run/netns")
OWN_NAMESPACE = Path("/proc/self/ns/net")
# The spaces' ways out, four addresses each.
WAYS_OUT = ipaddress.IPv4Network("10.202.0.0/16")
CLONE_NEWNET = 0x40000000


@contextlib.contextmanager
def changing() -> Iterator[None]:
    """Keep other commands from changing this machine's network while the block runs."""
    busy = "waiting for process {pid}, which is changing this machine's network"
    with locked(state.RUN / "network.lock", busy, wait=True):
        yield


def taken_networks(own_bridge: str) -> list[tuple[str, str]]:
    """Return what this machine already uses: (network in CIDR form, what has it)."""
    taken = []
    for link in json.loads(run(["ip", "-json", "address"])):
        if link["ifname"] == own_bridge:
            continue
        for address in link["addr_info"]:
            if address["family"] == "inet":
                where = f"{address['local']}/{address['prefixlen']}"
                taken.append((where, f"interface {link['ifname']}"))
    for route in json.loads(run(["ip", "-json", "-4", "route", "show", "table", "all"])):
        if route.get("dev") == own_bridge or route["dst"] == "default":
            continue
        taken.append((route["dst"], f"a route through {route.get('dev', 'this machine')}"))
    return taken


def check_free(lab: Lab) -> None:
    """Raise FleetError where the lab's subnet is already in use here, by a lab or anything else."""
    network = lab.network
    others = [
        (other.subnet, f"lab {other.name!r}")
        for other in state.all_labs()
        if other.name != lab.name and not space_of(other.name).exists()
    ]
    if own_space():
        others = []
    clash = state.overlapping(network, others + taken_networks(lab.bridge))
    if clash:
        raise FleetError(
            f"subnet {lab.subnet} of lab {lab.name!r} overlaps {clash[0]} ({clash[1]}):"
            " choose a free one, for example `--subnet 10.204.0.0/24`"
        )


def uplink_mtu() -> int:
    """Return the packet size of the link to the outside, which hosts must not exceed."""
    routes = json.loads(run(["ip", "-json", "-4", "route", "show", "default"]))
    if not routes:
        return 1500
    return int(json.loads(run(["ip", "-json", "link", "show", routes[0]["dev"]]))[0]["mtu"])


def rules_of(name: str, subnet: str, link: str) -> list[tuple[str, list[str]]]:
    """Return the packet filter rules for what is behind a link of a lab: (table, rule)."""
    ours = ["-m", "comment", "--comment", f"benchfleet lab {name}"]
    outside = ["-s", subnet, "!", "-d", subnet]
    return [
        ("nat", ["POSTROUTING", *outside, *ours, "-j", "MASQUERADE"]),
        # Another program, such as a container engine, may drop what it does not know.
        ("filter", ["FORWARD", "-i", link, *ours, "-j", "ACCEPT"]),
        ("filter", ["FORWARD", "-o", link, *ours, "-j", "ACCEPT"]),
    ]


def way_out(name: str, subnet: str, link: str) -> None:
    """Let what is behind a link of a lab reach the outside through this machine."""
    # The settings of a space go with it.
    if not own_space() and not FORWARD_BEFORE.exists():
        write_file(FORWARD_BEFORE, FORWARD.read_text())
    FORWARD.write_text("1")
    for table, rule in rules_of(name, subnet, link):
        if not succeeds(["iptables", "-w", "-t", table, "-C", *rule]):
            run(["iptables", "-w", "-t", table, "-I", *rule])


def bridge_up(lab: Lab) -> None:
    """Make the lab's bridge, its rules and forwarding; what is there already stays."""
    with changing():
        if not succeeds(["ip", "link", "show", lab.bridge]):
            check_free(lab)
            run(["ip", "link", "add", lab.bridge, "type", "bridge"])
        run(["ip", "link", "set", lab.bridge, "alias", f"benchfleet lab {lab.name}"])
        prefix = lab.network.prefixlen
        run(["ip", "address", "replace", f"{lab.gateway}/{prefix}", "dev", lab.bridge])
        run(["ip", "link", "set", lab.bridge, "up"])
        way_out(lab.name, lab.subnet, lab.bridge)


def space_of(name: str) -> Path:
    """Return the file that stands for a lab's own network space, whether it has one or not."""
    return NAMESPACES / f"bf-{name}"


def own_space() -> Path | None:
    """Return the lab's network space that this process is in; None in the machine's network."""
    here = OWN_NAMESPACE.stat()
    for space in NAMESPACES.glob("bf-*"):
        with contextlib.suppress(FileNotFoundError):
            there = space.stat()
            if (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino):
                return space
    return None


def enter(name: str) -> None:
    """Enter a lab's own network space, where it has one; so do programs that this process starts.

    Raises FleetError where the kernel refuses.
    """
    if not space_of(name).exists() or own_space() == space_of(name):
        return
    libc = ctypes.CDLL(None, use_errno=True)
    with space_of(name).open() as space:
        if libc.setns(space.fileno(), CLONE_NEWNET) != 0:
            reason = os.strerror(ctypes.get_errno())
            raise FleetError(f"the network space of lab {name!r} cannot be entered: {reason}")


def space_up(name: str) -> None:
    """Make a lab's own network space, with a way out; the lab must be down."""
    with changing():
        remove_space(name)
        used = [ipaddress.ip_interface(where).network for where, _ in taken_networks("")]
        free = (net for net in WAYS_OUT.subnets(new_prefix=30) if not any(map(net.overlaps, used)))
        outside = next(free)
        here, there = outside.hosts()
        space, link = space_of(name).name, f"bf-{name}-out"
        mtu = str(uplink_mtu())
        run(["ip", "netns", "add", space])
        peer = ["peer", "name", "eth0", "mtu", mtu, "netns", space]
        run(["ip", "link", "add", link, "mtu", mtu, "type", "veth", *peer])
        run(["ip", "link", "set", link, "alias", f"benchfleet lab {name}"])
        run(["ip", "address", "add", f"{here}/30", "dev", link])
        run(["ip", "link", "set", link, "up"])
        inside = ["ip", "-n", space]
        run([*inside, "link", "set", "lo", "up"])
        run([*inside, "address", "add", f"{there}/30", "dev", "eth0"])
        run([*inside, "link", "set", "eth0", "up"])
        run([*inside, "route", "add", "default", "via", str(here)])
        way_out(name, str(outside), link)


def remove_space(name: str) -> None:
    """Take a lab's own network space away, where there is one."""
    if space_of(name).exists():
        run(["ip", "netns", "delete", space_of(name).name])


def host_up(lab: Lab, host: Host) -> None:
    """Make a host's namespace and cable; those of an earlier start are removed first."""
    host_down(lab, host)
    space, cable = lab.machine(host), lab.cable(host)
    mtu = str(uplink_mtu())
    run(["ip", "netns", "add", space])
    peer = ["peer", "name", "eth0", "address", host.mac, "mtu", mtu, "netns", space]
    run(["ip", "link", "add", cable, "mtu", mtu, "type", "veth", *peer])
    run(["ip", "link", "set", cable, "alias", f"benchfleet lab {lab.name}"])
    run(["ip", "link", "set", cable, "master", lab.bridge, "up"])
    inside = ["ip", "-n", space]
    run([*inside, "link", "set", "lo", "up"])
    run([*inside, "address", "add", f"{host.ip}/{lab.network.prefixlen}", "dev", "eth0"])
    run([*inside, "link", "set", "eth0", "up"])
    run([*inside, "route", "add", "default", "via", lab.gateway])


def host_down(lab: Lab, host: Host) -> None:
    """Take a host's cable and namespace away, where they are there."""
    if succeeds(["ip", "link", "show", lab.cable(host)]):
        run(["ip", "link", "delete", lab.cable(host)])
    if (NAMESPACES / lab.machine(host)).exists():
        run(["ip", "netns", "delete", lab.machine(host)])


def set_cable(lab: Lab, host: Host, direction: str) -> None:
    """Pull (`down`) or plug in (`up`) a host's cable."""
    if not succeeds(["ip", "link", "set", lab.cable(host), direction]):
        raise FleetError(
            f"{host.name} of lab {lab.name!r} has no cable: the host is off;"
            f" `./fleet lab start {host.name}` starts it"
        )


def state_of(lab: Lab, host: Host) -> str:
    """Return what a host's cable is: `plugged`, `cut`, or `none` for a host that is off."""
    try:
        flags = json.loads(run(["ip", "-json", "link", "show", lab.cable(host)]))[0]["flags"]
    except FleetError:
        return "none"
    return "plugged" if "UP" in flags else "cut"


def lab_down(name: str) -> None:
    """Remove everything of a lab's network, whether it has a state file or not.

    A lab's own space stays while this process is in it.
    """
    with changing():
        for link in json.loads(run(["ip", "-json", "link", "show"])):
            if link["ifname"].startswith(f"bf-{name}-") or link["ifname"] == f"bf-{name}":
                # Deleting one end of a cable can have taken another listed one with it.
                succeeds(["ip", "link", "delete", link["ifname"]])
        for space in NAMESPACES.glob(f"bf-{name}-*"):
            run(["ip", "netns", "delete", space.name])
        remove_rules(name)
        if own_space():
            return
        remove_space(name)
        links = json.loads(run(["ip", "-json", "link", "show"]))
        if FORWARD_BEFORE.exists() and not any(k["ifname"].startswith("bf-") for k in links):
            FORWARD.write_text(FORWARD_BEFORE.read_text())
            FORWARD_BEFORE.unlink()


def remove_rules(name: str) -> None:
    """Delete the rules that carry the lab's comment."""
    for table in ("nat", "filter"):
        for line in run(["iptables", "-w", "-t", table, "-S"]).splitlines():
            rule = shlex.split(line)
            if rule[0] == "-A" and f"benchfleet lab {name}" in rule:
                run(["iptables", "-w", "-t", table, "-D", *rule[1:]])
