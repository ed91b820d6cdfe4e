"""LAN addresses and server_id."""

from __future__ import annotations

from typing import Any

import pytest
from fleet.preflight import addresses as judged

from tests.unit.bare_fleet import ids, kinds


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


def test_the_users_address_is_no_lan_address() -> None:
    host = variables("", "8.8.8.8", ["8.8.8.8", "10.0.0.9", "10.0.0.99"])
    assert judged.good_lan_ip(host) == ""
    assert judged.good_lan_ip({**host, "router_service_ip": "10.0.0.99/24"}) == "10.0.0.9"


@pytest.mark.parametrize("lan_ip", ["8.8.8.8", "10.9.9.9", "nonsense"])
def test_unusable_lan_ip_is_never_used(lan_ip):
    host = {"lan_ip": lan_ip, "default": "10.0.0.1", "addresses": ["10.0.0.1", "8.8.8.8"]}
    assert judged.good_lan_ip(variables(**host)) == ""


def test_missing_lan_ip(fleet, settings):
    fleet[0].update(default="8.8.8.8", addresses=["8.8.8.8", "127.0.0.1"])
    assert kinds(fleet, settings) == [
        ("lan_ip_missing", {"host": "erp1", "addresses": ["8.8.8.8"]})
    ]
    fleet[0].update(addresses=["8.8.8.8", "10.0.0.1", "10.1.0.1"])
    assert kinds(fleet, settings) == [
        ("lan_ip_ambiguous", {"host": "erp1", "private": ["10.0.0.1", "10.1.0.1"]})
    ]


def test_public_lan_ip(fleet, settings):
    fleet[0].update(lan_ip="8.8.8.8", addresses=["8.8.8.8", "10.0.0.11"])
    facts = {"host": "erp1", "address": "8.8.8.8", "private": ["10.0.0.11"], "scope": "public"}
    assert kinds(fleet, settings) == [("lan_ip_not_private", facts)]


@pytest.mark.parametrize(
    ("address", "scope"), [("127.0.0.1", "loopback"), ("fe80::1", "link-local")]
)
def test_lan_ip_that_no_other_host_can_use(fleet, settings, address, scope):
    fleet[0]["lan_ip"] = address
    ((kind, facts),) = kinds(fleet, settings)
    assert (kind, facts["scope"]) == ("lan_ip_not_private", scope)


@pytest.mark.parametrize(
    ("address", "kind"), [("erp1.lan", "lan_ip_invalid"), ("10.0.0.12", "lan_ip_not_on_host")]
)
def test_lan_ip_that_is_no_address_of_the_host(fleet, settings, address, kind):
    fleet[0]["lan_ip"] = address
    facts = {"host": "erp1", "address": address, "private": ["10.0.0.11"]}
    assert kinds(fleet, settings) == [(kind, facts)]


def test_shared_lan_ip_is_reported_once(fleet, settings):
    for host in fleet:
        host.update(lan_ip="10.0.0.5", addresses=["10.0.0.5"])
    facts = {"address": "10.0.0.5", "hosts": ["erp1", "rep1"]}
    assert kinds(fleet, settings) == [("lan_ip_shared", facts)]


def test_server_id_from_address():
    assert judged.lan_server_id("10.210.4.11") == 210 * 65536 + 4 * 256 + 11
    assert judged.lan_server_id("fd00::1:203") == 0x10203
    with pytest.raises(ValueError, match=r"10\.0\.0\.0"):
        judged.lan_server_id("10.0.0.0")


def test_address_without_a_server_id(fleet, settings):
    fleet[0].update(lan_ip="10.0.0.0", addresses=["10.0.0.0"])
    facts = {"host": "erp1", "address": "10.0.0.0"}
    assert kinds(fleet, settings) == [("server_id_not_derivable", facts)]


def test_shared_server_id(fleet, settings):
    fleet[1]["server_id"] = str(judged.lan_server_id("10.0.0.11"))
    facts = {"number": 11, "hosts": ["erp1", "rep1"]}
    assert kinds(fleet, settings) == [("server_id_shared", facts)]
    fleet[1]["server_id"] = 12
    assert ids(fleet, settings) == []


def test_server_ids_that_only_look_different(fleet, settings):
    fleet[0].update(lan_ip="10.0.0.1", addresses=["10.0.0.1"])
    fleet[1].update(lan_ip="100.64.0.1", addresses=["100.64.0.1"])
    assert ids(fleet, settings) == []
    fleet[1].update(lan_ip="fd00::1", addresses=["fd00::1"])
    facts = {"number": 1, "hosts": ["erp1", "rep1"]}
    assert kinds(fleet, settings) == [("server_id_shared", facts)]


@pytest.mark.parametrize("value", [0, "abc", 2**32, "-1", "1.5"])
def test_invalid_server_id(fleet, settings, value):
    fleet[0]["server_id"] = value
    assert kinds(fleet, settings) == [("server_id_invalid", {"host": "erp1", "value": value})]
