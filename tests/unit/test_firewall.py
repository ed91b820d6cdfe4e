"""Rules of the fleet's own nftables table."""

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from filter_plugins.firewall import firewall_ruleset
from library.nft_table import explain


def test_addresses_are_split_by_family_and_named_once() -> None:
    text = firewall_ruleset([8000, 3306], ["10.0.0.2", "10.0.0.1", "fd00::1"], ["10.0.0.1"])
    assert "elements = { 10.0.0.1, 10.0.0.2 }" in text
    assert "elements = { fd00::1 }" in text
    assert "tcp dport { 3306, 8000 } jump fleet_ports" in text


def test_the_table_is_replaced_in_one_load_and_no_other_is_named() -> None:
    lines = [
        line for line in firewall_ruleset([3306], ["10.0.0.1"]).splitlines() if "table" in line
    ]
    assert lines == [
        "table inet benchfleet",
        "delete table inet benchfleet",
        "table inet benchfleet {",
    ]


def test_strangers_get_a_reset_and_others_traffic_is_accepted() -> None:
    text = firewall_ruleset([3306], ["10.0.0.1"])
    assert "policy accept" in text
    assert "reject with tcp reset" in text
    assert "drop" not in text


def test_a_set_without_addresses_has_no_elements() -> None:
    text = firewall_ruleset([3306], ["10.0.0.1"])
    assert text.count("elements") == 1


def test_networks_are_allowed() -> None:
    assert "10.9.0.0/16" in firewall_ruleset([3306], ["10.0.0.1"], ["10.9.0.0/16"])


@pytest.mark.parametrize("value", ["10.0.0.300", "rep1", "10.0.0.1/8", ""])
def test_a_bad_address_is_named_with_its_place(value: str) -> None:
    with pytest.raises(AnsibleFilterError, match="firewall_allow") as error:
        firewall_ruleset([3306], ["10.0.0.1"], [value])
    assert repr(value) in str(error.value)


@pytest.mark.parametrize("port", [0, 22, 65536])
def test_ssh_and_impossible_ports_are_refused(port: int) -> None:
    with pytest.raises(AnsibleFilterError, match=str(port)):
        firewall_ruleset([port], ["10.0.0.1"])


def test_the_port_where_sshd_really_listens_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="2222"):
        firewall_ruleset([2222], ["10.0.0.1"], ssh_port=2222)


def test_no_ports_at_all_is_refused() -> None:
    with pytest.raises(AnsibleFilterError, match="firewall_ports"):
        firewall_ruleset([], ["10.0.0.1"])


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("Operation not permitted (you must be root)", "CAP_NET_ADMIN"),
        ("Error: Could not process rule: Operation not supported", "modprobe nf_tables"),
        ("Unable to initialize Netlink socket: Protocol not supported", "modprobe nf_tables"),
    ],
)
def test_a_kernel_without_nftables_is_explained(words: str, remedy: str) -> None:
    assert remedy in explain(words)
