"""What is known about a lab: its names, its addresses, and the file that remembers them."""

from __future__ import annotations

import ipaddress
import json
import os
import re
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from benchfleet.shell import FleetError, write_json

LABS = Path("/var/lib/benchfleet/lab")
RUN = Path("/run/benchfleet")
DEFAULT_NAME = "lab"
DEFAULT_SUBNET = "10.203.0.0/24"
SITE = "erp.lab.test"
MAX_NODES = 50
# The host that is the primary in a new lab.
FIRST = "erp1"
# An interface name has 15 bytes: "bf-", the lab's name, "-", and a host's short name of up to 3.
NAME = re.compile(r"[a-z][a-z0-9]{0,7}")


def check_name(name: str) -> str:
    """Return a lab's name, or raise FleetError where interfaces could not be named after it."""
    if not NAME.fullmatch(name):
        raise FleetError(
            f"lab name {name!r}: use 1 to 8 characters, a-z and 0-9, of which the first is a letter"
            " (`--name` or `BENCHFLEET_LAB`)"
        )
    return name


def check_subnet(subnet: str) -> ipaddress.IPv4Network:
    """Return the lab's subnet, or raise FleetError where it is malformed, public or too small."""
    try:
        network = ipaddress.IPv4Network(subnet)
    except ValueError as error:
        raise FleetError(
            f"`--subnet {subnet}`: {error}; write it like `{DEFAULT_SUBNET}`"
        ) from error
    if not network.is_private or not 16 <= network.prefixlen <= 24:
        raise FleetError(
            f"`--subnet {subnet}`: use a private network from /16 to /24, such as"
            f" `{DEFAULT_SUBNET}`"
        )
    return network


def overlapping(
    network: ipaddress.IPv4Network, taken: list[tuple[str, str]]
) -> tuple[str, str] | None:
    """Return the first of the taken networks that overlaps `network`.

    taken: (network or address in CIDR form, what has it). The default route overlaps nothing.
    """
    for where, what in taken:
        other = ipaddress.ip_interface(where).network
        if other.version == 4 and other.prefixlen > 0 and network.overlaps(other):
            return where, what
    return None


@dataclass
class Host:
    """One host of a lab."""

    name: str
    role: str
    ip: str

    @property
    def mac(self) -> str:
        """The network card's address, the same at every start: other hosts remember it."""
        return "02:bf:" + ":".join(f"{int(part):02x}" for part in self.ip.split("."))

    @property
    def short(self) -> str:
        """The name within an interface's name: erp1 is e1, rep12 is r12."""
        return self.name[0] + self.name[3:]


@dataclass
class Lab:
    """A lab's settings, as lab.json keeps them.

    frappe_source, and each app's source: a URL, or a path on this machine; frappe_repo and repo are
    what the hosts know it by. python: path inside the hosts. prepare: a script on this machine.
    snapshot: folder of the saved fleet on whose disks the hosts' disks stand. primary: the host in
    group primary, which a switchover or failover changes.
    """

    name: str
    subnet: str
    release: str
    base: str
    nodes: int = 1
    privileged: bool = False
    frappe_source: str | None = None
    frappe_repo: str | None = None
    frappe_branch: str | None = None
    build_assets: bool = True
    apps: list[dict[str, Any]] = field(default_factory=list)
    python: str | None = None
    prepare: str | None = None
    snapshot: str | None = None
    primary: str = FIRST
    owner: list[int] = field(default_factory=lambda: [0, 0])

    @property
    def path(self) -> Path:
        """The folder that holds all the lab's state."""
        return LABS / self.name

    @property
    def run_path(self) -> Path:
        """The folder of what is lost when this machine reboots: ssh's control sockets."""
        return RUN / self.name

    @property
    def bridge(self) -> str:
        """The bridge all hosts are plugged into."""
        return f"bf-{self.name}"

    @property
    def network(self) -> ipaddress.IPv4Network:
        """The subnet, parsed."""
        return ipaddress.IPv4Network(self.subnet)

    @property
    def gateway(self) -> str:
        """This machine's own address on the bridge."""
        return str(self.network.network_address + 1)

    @property
    def hosts(self) -> list[Host]:
        """The lab's hosts, in the same order whichever is the primary."""
        first = self.network.network_address
        numbers = {FIRST: 11, **{f"rep{n}": 20 + n for n in range(1, self.nodes + 1)}}
        return [
            Host(name, "primary" if name == self.primary else "reporting", str(first + number))
            for name, number in numbers.items()
        ]

    def host(self, name: str) -> Host:
        """Return the host of that name, or raise FleetError with the names there are."""
        for host in self.hosts:
            if host.name == name:
                return host
        names = ", ".join(host.name for host in self.hosts)
        raise FleetError(f"lab {self.name!r} has no host {name!r}; it has {names}")

    def machine(self, host: Host) -> str:
        """Return the machine's and its network namespace's name."""
        return f"bf-{self.name}-{host.name}"

    def cable(self, host: Host) -> str:
        """Return the name of this machine's end of the host's cable."""
        return f"bf-{self.name}-{host.short}"

    def disk(self, host: Host) -> Path:
        """Return the folder with the host's disk (upper), its mount (root) and console.log."""
        return self.path / "hosts" / host.name

    def save(self) -> None:
        """Write lab.json."""
        write_json(self.path / "lab.json", asdict(self))


def load(name: str) -> Lab | None:
    """Return a lab's settings, None where there is no such lab or it is only partly made.

    What this version does not know is left out, so that a lab of a newer one does not block it.
    """
    try:
        found = json.loads((LABS / name / "lab.json").read_text())
        known = {one.name for one in fields(Lab)} & set(found)
        return Lab(**{key: found[key] for key in known})
    except FileNotFoundError:
        return None
    except (TypeError, ValueError) as error:
        raise FleetError(
            f"{LABS / name / 'lab.json'} cannot be read ({error}): `./fleet lab down --name {name}`"
            " removes it"
        ) from error


def all_labs() -> list[Lab]:
    """Return every lab on this machine."""
    found = [load(path.parent.name) for path in sorted(LABS.glob("*/lab.json"))]
    return [lab for lab in found if lab is not None]


def name_from_environment() -> str:
    """Return the lab that commands mean when no name is given."""
    return check_name(os.environ.get("BENCHFLEET_LAB") or DEFAULT_NAME)


def inventory_lab() -> Lab:
    """Return the lab that inventory/lab stands for: BENCHFLEET_LAB's, else the only one there is.

    Raises FleetError where there is none, or several and none is named.
    """
    asked = os.environ.get("BENCHFLEET_LAB")
    if asked:
        lab = load(check_name(asked))
        if lab is None:
            raise FleetError(
                f"there is no lab {asked!r} (`BENCHFLEET_LAB`) on this machine;"
                f" `./fleet lab up --name {asked}` makes it"
            )
        return lab
    labs = all_labs()
    if not labs:
        raise FleetError("there is no lab on this machine; `./fleet lab up` makes one")
    if len(labs) > 1:
        names = ", ".join(lab.name for lab in labs)
        raise FleetError(
            f"`inventory/lab`: several labs are on this machine ({names}). Name one, for example"
            f" `BENCHFLEET_LAB={labs[0].name}`"
        )
    return labs[0]
