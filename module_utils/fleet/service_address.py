"""The address by which users reach the router: held by the host that is the primary, and open.

Whether it is, the service of the record says each time that it looks (record_service.py). The
neighbours, whose tables still have the former host, are told that the address has moved (RFC 5227,
section 3); they are told again and again, because the former host may have held it until then.
"""

from __future__ import annotations

import ipaddress
import json
import signal
import socket
import struct
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .processes import run

# What benchfleet-record.service found last; a reboot removes it.
STATE = "/run/benchfleet/record.json"
UNIT = "benchfleet-address.service"
# Seconds between two looks, and between two announcements; and from which on a state is too old.
LOOK_SECONDS, ANNOUNCE_SECONDS, STALE_SECONDS = 1.0, 10.0, 10.0
ETHERTYPE_ARP, REQUEST = 0x0806, 1


class AddressError(Exception):
    """The address cannot be held; the message says why, and what to do."""


def is_open(host: str, state: str = STATE) -> bool | None:
    """Whether this host is the primary, and its MariaDB takes writes.

    None where nobody has looked of late, or MariaDB did not say: the address stays where it is.
    """
    try:
        found = json.loads(Path(state).read_text(encoding="utf-8"))
        if found["open"] is None or abs(time.time() - found["checked"]) > STALE_SECONDS:
            return None
        return found["open"] is True and found["primary"] == host
    except FileNotFoundError:
        return False
    except (OSError, ValueError, KeyError, TypeError):
        return None


def links() -> list[dict[str, Any]]:
    """The network interfaces with their addresses, as ``ip -json address`` has them."""
    done = run(["ip", "-json", "-4", "address"])
    if done.returncode != 0:
        raise AddressError(f"`ip address` failed: {done.stderr.strip()}")
    return list(json.loads(done.stdout or "[]"))


def addresses(link: Mapping[str, Any]) -> list[ipaddress.IPv4Interface]:
    """The IPv4 addresses of an interface."""
    return [
        ipaddress.IPv4Interface(f"{entry['local']}/{entry['prefixlen']}")
        for entry in link.get("addr_info", [])
        if entry.get("family") == "inet"
    ]


def place_of(
    wanted: ipaddress.IPv4Interface, found: list[dict[str, Any]], needed: bool
) -> tuple[str, bool]:
    """The interface for an address, and whether it is there already.

    The interface has another address of the same network. Where none has, it is "", or if it is
    needed, AddressError is raised.
    """
    for link in found:
        if wanted.ip in {one.ip for one in addresses(link)}:
            return str(link["ifname"]), True
    for link in found:
        if any(one.network == wanted.network for one in addresses(link)):
            return str(link["ifname"]), False
    if not needed:
        return "", False
    raise AddressError(
        f"no interface of this host has an address in {wanted.network}, so router_service_ip"
        f" ({wanted}) cannot be put on one: correct it in the inventory, or give this host an"
        " address there"
    )


def announcement(mac: bytes, address: ipaddress.IPv4Address) -> bytes:
    """An Ethernet frame that tells all neighbours who has an address (a gratuitous ARP request)."""
    nobody, everybody = bytes(6), b"\xff" * 6
    head = everybody + mac + struct.pack("!HHHBBH", ETHERTYPE_ARP, 1, 0x0800, 6, 4, REQUEST)
    return head + mac + address.packed + nobody + address.packed


def announce(interface: str, address: ipaddress.IPv4Address) -> None:
    """Send it. Raises OSError."""
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((interface, ETHERTYPE_ARP))
        mac = raw.getsockname()[4]
        if len(mac) == 6:
            raw.send(announcement(mac, address))


class Holder:
    """Puts the address on this host, or takes it off. wanted: with its prefix."""

    def __init__(self, wanted: str) -> None:
        self.wanted = ipaddress.IPv4Interface(wanted)
        self.announced = -ANNOUNCE_SECONDS

    def bring(self, held: bool | None) -> bool:
        """One look; returns whether the address was put on or taken off. held: None for no change.

        Raises AddressError, OSError.
        """
        interface, there = place_of(self.wanted, links(), held is True)
        held = there if held is None else held
        if held != there:
            words = ["ip", "address", "add" if held else "delete", str(self.wanted)]
            # The interface has the network's route by its other address.
            done = run([*words, "dev", interface, *(["noprefixroute"] if held else [])])
            if done.returncode != 0:
                raise AddressError(f"`{' '.join(words)}` failed: {done.stderr.strip()}")
            self.announced = -ANNOUNCE_SECONDS
        if held and time.monotonic() - self.announced >= ANNOUNCE_SECONDS:
            announce(interface, self.wanted.ip)
            self.announced = time.monotonic()
        return held != there


def keep(wanted: str, host: str, state: str = STATE, say: Callable[[str], object] = print) -> None:
    """Hold the address while this host is open, until a signal ends this; then take it off."""

    def end(*_: object) -> None:
        raise SystemExit

    holder, said = Holder(wanted), ""
    signal.signal(signal.SIGTERM, end)
    try:
        while True:
            held = is_open(host, state)
            try:
                moved, trouble = holder.bring(held), ""
            except (AddressError, OSError) as error:
                moved, trouble = False, str(error)
            if moved:
                say(f"benchfleet: {wanted} is {'now' if held else 'no longer'} held by this host")
            if trouble and trouble != said:
                say(f"benchfleet: {trouble}")
            said = trouble
            time.sleep(LOOK_SECONDS)
    finally:
        holder.bring(False)
