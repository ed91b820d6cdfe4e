"""The lab's network: what is taken, which rules are made, and what is removed again."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from benchfleet.lab import network, state
from benchfleet.lab.state import Lab
from benchfleet.shell import FleetError

Answers = dict[str, Any]


@pytest.fixture
def lab() -> Lab:
    return Lab("trial", "10.210.7.0/24", "bookworm", "/base")


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[Answers], list[str]]:
    """Stands in for this machine: answers by a word of the command, and the commands run."""

    def stand_in(answers: Answers) -> list[str]:
        commands: list[str] = []

        def run(words: list[str]) -> str:
            line = " ".join(words)
            commands.append(line)
            for part, answer in answers.items():
                if part in line:
                    if isinstance(answer, Exception):
                        raise answer
                    return answer if isinstance(answer, str) else json.dumps(answer)
            return ""

        monkeypatch.setattr(network, "run", run)
        monkeypatch.setattr(network, "succeeds", lambda words: run(words) is not None)
        return commands

    return stand_in


ADDRESSES = [
    {
        "ifname": "eth0",
        "addr_info": [
            {"family": "inet", "local": "192.0.2.5", "prefixlen": 24},
            {"family": "inet6", "local": "fe80::1", "prefixlen": 64},
        ],
    },
    {
        "ifname": "bf-trial",
        "addr_info": [{"family": "inet", "local": "10.210.7.1", "prefixlen": 24}],
    },
]
ROUTES = [
    {"dst": "default", "dev": "eth0"},
    {"dst": "10.210.7.0/24", "dev": "bf-trial"},
    {"dst": "10.50.0.0/16", "dev": "tun0"},
    {"dst": "10.60.0.0/16"},
]


def test_what_this_machine_uses_is_named_but_for_the_labs_own(lab, machine):
    machine({"-json address": ADDRESSES, "route show table all": ROUTES})
    assert network.taken_networks(lab.bridge) == [
        ("192.0.2.5/24", "interface eth0"),
        ("10.50.0.0/16", "a route through tun0"),
        ("10.60.0.0/16", "a route through this machine"),
    ]


@pytest.mark.parametrize(
    ("routes", "labs", "owner"),
    [
        ([], [], None),
        ([{"dst": "10.210.0.0/16", "dev": "tun0"}], [], "tun0"),
        ([], [Lab("other", "10.210.7.128/25", "bookworm", "")], "'other'"),
        ([], [Lab("trial", "10.210.7.0/24", "bookworm", "")], None),
    ],
)
def test_a_taken_subnet_is_refused_with_who_has_it(lab, machine, monkeypatch, routes, labs, owner):
    machine({"-json address": [], "route show table all": routes})
    monkeypatch.setattr(state, "all_labs", lambda: labs)
    if owner is None:
        network.check_free(lab)
        return
    with pytest.raises(FleetError, match=owner) as error:
        network.check_free(lab)
    assert "`--subnet " in str(error.value)


@pytest.mark.parametrize(("routes", "size"), [([], 1500), ([{"dev": "eth0"}], 1380)])
def test_packets_are_no_larger_than_the_way_out_takes(machine, routes, size):
    machine({"route show default": routes, "link show eth0": [{"mtu": 1380}]})
    assert network.uplink_mtu() == size


def test_a_lab_elsewhere_may_have_the_same_addresses(lab, machine, monkeypatch, tmp_path):
    machine({"-json address": [], "route show table all": []})
    monkeypatch.setattr(state, "all_labs", lambda: [Lab("other", lab.subnet, "bookworm", "")])
    monkeypatch.setattr(network, "NAMESPACES", tmp_path)
    with pytest.raises(FleetError, match=r"'other'"):
        network.check_free(lab)
    (tmp_path / "bf-other").touch()
    network.check_free(lab)


def test_traffic_inside_a_lab_keeps_its_addresses(lab):
    rules = network.rules_of(lab.name, lab.subnet, lab.bridge)
    (masquerade,) = [" ".join(rule) for table, rule in rules if table == "nat"]
    assert "-s 10.210.7.0/24 ! -d 10.210.7.0/24" in masquerade
    assert all("benchfleet lab trial" in rule for _, rule in rules)


def test_only_the_labs_own_rules_are_removed(machine):
    own = '-m comment --comment "benchfleet lab trial" -j ACCEPT'
    listed = "\n".join(
        [
            "-P FORWARD ACCEPT",
            f"-A FORWARD -i bf-trial {own}",
            '-A FORWARD -i bf-trial2 -m comment --comment "benchfleet lab trial2" -j ACCEPT',
            "-A FORWARD -j DROP",
        ]
    )
    commands = machine({"filter -S": listed})
    network.remove_rules("trial")
    deleted = [line for line in commands if " -D " in line]
    assert deleted == [
        "iptables -w -t filter -D FORWARD -i bf-trial -m comment --comment benchfleet lab trial"
        " -j ACCEPT"
    ]


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ([{"flags": ["BROADCAST", "UP"]}], "plugged"),
        ([{"flags": ["BROADCAST"]}], "cut"),
        (FleetError("Device does not exist"), "none"),
    ],
)
def test_the_state_of_a_cable(lab, machine, answer, expected):
    machine({"link show": answer})
    assert network.state_of(lab, lab.hosts[0]) == expected


def test_a_cable_of_a_host_that_is_off_is_answered_with_the_remedy(lab, monkeypatch):
    monkeypatch.setattr(network, "succeeds", lambda _words: False)
    with pytest.raises(FleetError, match=r"`./fleet lab start erp1`"):
        network.set_cable(lab, lab.host("erp1"), "down")
