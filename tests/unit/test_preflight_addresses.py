"""LAN addresses and server_id."""

from __future__ import annotations

from typing import Any

import pytest
from fleet.preflight import addresses as judged
from fleet.preflight import checks

from tests.unit.bare_fleet import whats


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("10.1.2.3", True),
        ("172.16.0.1", True),
        ("172.32.0.1", False),
        ("192.168.255.254", True),
        ("100.64.0.1", True),
        ("100.128.0.1", False),
        ("fd12::1", True),
        ("2001:db8::1", False),
        ("127.0.0.1", False),
        ("169.254.1.1", False),
        ("fe80::1", False),
        ("8.8.8.8", False),
        ("rep1", False),
        ("", False),
    ],
)
def test_private(address, private):
    assert judged.is_private(address) is private


def variables(lan_ip: str, default: str, addresses: list[str]) -> dict[str, Any]:
    """A host's variables with the facts of its addresses."""
    v4, v6 = ([a for a in addresses if (":" in a) == six] for six in (False, True))
    facts = {"all_ipv4_addresses": v4, "all_ipv6_addresses": v6}
    return {
        "lan_ip": lan_ip,
        "ansible_facts": facts | ({"default_ipv4": {"address": default}} if default else {}),
    }


@pytest.mark.parametrize(
    ("lan_ip", "default", "addresses", "expected"),
    [
        ("", "10.0.0.1", ["10.0.0.1", "192.168.0.1"], "10.0.0.1"),
        ("192.168.0.1", "10.0.0.1", ["10.0.0.1", "192.168.0.1"], "192.168.0.1"),
        ("", "8.8.8.8", ["8.8.8.8", "10.0.0.9", "127.0.0.1"], "10.0.0.9"),
        ("", "8.8.8.8", ["8.8.8.8", "10.0.0.9", "10.1.0.9"], ""),
        ("", "8.8.8.8", ["8.8.8.8", "fd00::9"], "fd00::9"),
        ("", "", [], ""),
    ],
)
def test_lan_ip_is_chosen(lan_ip, default, addresses, expected):
    host = {"lan_ip": lan_ip, "default": default, "addresses": addresses}
    assert judged.lan_ip(host) == expected
    assert judged.good_lan_ip(variables(**host)) == expected


@pytest.mark.parametrize("lan_ip", ["8.8.8.8", "10.9.9.9", "nonsense"])
def test_unusable_lan_ip_is_never_used(lan_ip):
    host = {"lan_ip": lan_ip, "default": "10.0.0.1", "addresses": ["10.0.0.1", "8.8.8.8"]}
    assert judged.good_lan_ip(variables(**host)) == ""


def test_missing_lan_ip(fleet, settings):
    fleet[0].update(default="8.8.8.8", addresses=["8.8.8.8", "127.0.0.1"])
    assert whats(fleet, settings) == ["erp1 has no lan_ip, and no private address (it has 8.8.8.8)"]
    fleet[0].update(addresses=["8.8.8.8", "10.0.0.1", "10.1.0.1"])
    assert whats(fleet, settings) == [
        "erp1 has no lan_ip, and several private addresses to choose from: 10.0.0.1, 10.1.0.1"
    ]


def test_public_lan_ip(fleet, settings):
    fleet[0].update(lan_ip="8.8.8.8", addresses=["8.8.8.8", "10.0.0.11"])
    found = checks.preflight_problems(fleet, settings)
    assert [f["what"] for f in found] == [
        "lan_ip 8.8.8.8 of erp1 is a public address; MariaDB and Redis are never put there"
    ]
    assert found[0]["place"] == "lan_ip of erp1 in the inventory"
    assert found[0]["remedy"].endswith("erp1 has: 10.0.0.11")


def test_loopback_lan_ip(fleet, settings):
    fleet[0]["lan_ip"] = "127.0.0.1"
    assert "is a loopback address" in whats(fleet, settings)[0]


def test_lan_ip_that_is_no_address(fleet, settings):
    fleet[0]["lan_ip"] = "erp1.lan"
    assert whats(fleet, settings) == ["lan_ip 'erp1.lan' of erp1 is not an IP address"]


def test_lan_ip_of_another_machine(fleet, settings):
    fleet[0]["lan_ip"] = "10.0.0.12"
    assert whats(fleet, settings) == ["lan_ip 10.0.0.12 is not an address of erp1"]


def test_shared_lan_ip_is_reported_once(fleet, settings):
    for host in fleet:
        host.update(lan_ip="10.0.0.5", addresses=["10.0.0.5"])
    assert whats(fleet, settings) == ["lan_ip 10.0.0.5 is shared by erp1, rep1"]


def test_server_id_from_address():
    assert judged.lan_server_id("10.210.4.11") == 210 * 65536 + 4 * 256 + 11
    assert judged.lan_server_id("fd00::1:203") == 0x10203
    with pytest.raises(ValueError, match="set mariadb_server_id"):
        judged.lan_server_id("10.0.0.0")


def test_shared_server_id(fleet, settings):
    fleet[1]["server_id"] = str(judged.lan_server_id("10.0.0.11"))
    assert whats(fleet, settings) == ["server_id 11 would be used by erp1, rep1"]
    fleet[1]["server_id"] = 12
    assert whats(fleet, settings) == []


def test_server_ids_that_only_look_different(fleet, settings):
    fleet[0].update(lan_ip="10.0.0.1", addresses=["10.0.0.1"])
    fleet[1].update(lan_ip="100.64.0.1", addresses=["100.64.0.1"])
    assert whats(fleet, settings) == []
    fleet[1].update(lan_ip="fd00::1", addresses=["fd00::1"])
    assert whats(fleet, settings) == ["server_id 1 would be used by erp1, rep1"]


@pytest.mark.parametrize("value", [0, "abc", 2**32, "-1", "1.5"])
def test_invalid_server_id(fleet, settings, value):
    fleet[0]["server_id"] = value
    assert "is not a server_id" in whats(fleet, settings)[0]
