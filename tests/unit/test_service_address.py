"""The users' address goes where the primary is: on a wire between two namespaces of the test's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from ipaddress import IPv4Interface
from pathlib import Path
from typing import Any

import pytest
from fleet import service_address
from fleet.service_address import AddressError, is_open, place_of

from tests.nginx import wait_for
from tests.unit.test_surroundings import MODULES, Net

WANTED = "10.213.77.9/24"
LAN = {"ifname": "lan", "addr_info": [{"family": "inet", "local": "10.0.0.11", "prefixlen": 24}]}


def state(path: Path, **values: Any) -> str:
    """The file of the record's service."""
    found = {"open": True, "primary": "erp1", "checked": time.time(), **values}
    path.write_text(json.dumps(found))
    return str(path)


def test_a_host_is_open_by_a_state_that_is_not_too_old(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    assert is_open("erp1", str(path)) is False
    assert is_open("erp1", state(path)) is True
    assert is_open("rep1", state(path)) is False
    assert is_open("erp1", state(path, open=False)) is False
    assert is_open("erp1", state(path, checked=time.time() - 60)) is None
    assert is_open("erp1", state(path, open=None)) is None
    path.write_text("spoilt")
    assert is_open("erp1", str(path)) is None


def test_the_interface_is_the_one_in_the_address_s_network() -> None:
    wanted = IPv4Interface("10.0.0.99/24")
    other = {"ifname": "wan", "addr_info": []}
    assert place_of(wanted, [other, LAN], True) == ("lan", False)
    both = [*LAN["addr_info"], {"family": "inet", "local": "10.0.0.99", "prefixlen": 24}]
    assert place_of(wanted, [{**LAN, "addr_info": both}], False) == ("lan", True)
    assert place_of(wanted, [other], False) == ("", False)
    with pytest.raises(AddressError):
        place_of(wanted, [other], True)


@pytest.fixture
def net() -> Iterator[Net]:
    """Two hosts on a wire."""
    if os.geteuid() != 0:
        pytest.skip("no network of one's own here")
    try:
        net = Net(os.getpid() % 1000)
    except (subprocess.CalledProcessError, FileNotFoundError):
        pytest.skip("no network of one's own here")
    yield net
    net.end()


class Holder:
    """The program on a host of the wire, and what its neighbour sees."""

    def __init__(self, net: Net, record: Path) -> None:
        self.net, self.record = net, record
        code = (
            f"import sys; sys.path.append('{MODULES}'); from fleet.service_address import keep;"
            f"keep('{WANTED}', 'erp1', '{record}')"
        )
        self.process = subprocess.Popen(
            ["ip", "netns", "exec", net.names[1], sys.executable, "-uc", code],
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def held(self) -> bool:
        """Whether the address is on its host."""
        return " 10.213.77.9/24 " in self.net.on(["ip", "-4", "address"]).stdout

    def neighbour(self, *words: str) -> str:
        """The output of a program of ``ip`` on the other host."""
        command = ["ip", "-n", self.net.names[0], *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout

    @property
    def mac(self) -> str:
        """The hardware address of its host."""
        (link,) = json.loads(self.net.on(["ip", "-json", "link", "show", "lan"]).stdout)
        return str(link["address"])


def within(seconds: float, what: Callable[[], bool]) -> bool:
    """Whether it becomes true in time."""
    return bool(wait_for(what, seconds))


def test_the_address_follows_the_record_and_the_neighbours_are_told(
    net: Net, tmp_path: Path
) -> None:
    record = tmp_path / "record.json"
    state(record, open=False)
    holder = Holder(net, record)
    try:
        # The neighbour believes that another host has the address.
        entry = ("neigh", "replace", "10.213.77.9", "lladdr", "02:00:00:00:00:99", "dev", "lan")
        holder.neighbour(*entry, "nud", "reachable")
        time.sleep(1.5)
        assert not holder.held
        # A state is fresh for ten seconds, and a busy machine starts the program later.
        assert within(30, lambda: bool(state(record)) and holder.held)
        assert within(5, lambda: holder.mac in holder.neighbour("neigh", "show", "10.213.77.9"))
        # Nobody looks: it stays. It is told again and again, as the former host may have spoken.
        state(record, open=False, checked=0)
        holder.neighbour(*entry, "nud", "reachable")
        assert within(15, lambda: holder.mac in holder.neighbour("neigh", "show", "10.213.77.9"))
        assert holder.held
        state(record, primary="rep1", open=False)
        assert within(5, lambda: not holder.held)
        state(record)
        assert within(5, lambda: holder.held)
        # The address of the host itself, and its network, are as they were.
        assert net.addresses[1] in net.on(["ip", "-4", "address"]).stdout
        assert len(net.on(["ip", "route", "show", "10.213.77.0/24"]).stdout.splitlines()) == 1
    finally:
        holder.process.send_signal(signal.SIGTERM)
        said, _ = holder.process.communicate(timeout=20)
    assert not holder.held
    assert said.count("benchfleet:") == 3


def test_the_announcement_is_a_gratuitous_arp() -> None:
    frame = service_address.announcement(bytes(range(6)), IPv4Interface(WANTED).ip)
    assert len(frame) == 42
    assert frame[:6] == b"\xff" * 6
    # Sender and target are the same address.
    assert frame[28:32] == frame[38:42] == bytes([10, 213, 77, 9])
