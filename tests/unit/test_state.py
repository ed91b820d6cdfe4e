"""The lab's names, addresses and remembered state."""

import ipaddress
import json
import re

import pytest

from benchfleet.lab import state
from benchfleet.lab.state import Lab
from benchfleet.shell import FleetError


@pytest.fixture
def lab():
    return Lab("trial", "10.210.7.0/24", "bookworm", "/base", nodes=12)


@pytest.mark.parametrize("name", ["lab", "a", "x1234567"])
def test_names_that_interfaces_can_carry(name):
    assert state.check_name(name) == name


@pytest.mark.parametrize("name", ["", "Lab", "1lab", "lab-two", "x12345678", "../lab", "lab\n"])
def test_other_names_are_refused_with_the_remedy(name):
    with pytest.raises(FleetError, match=r"`--name`"):
        state.check_name(name)


def test_interface_names_fit_the_kernel():
    longest = Lab("x1234567", "10.0.0.0/16", "bookworm", "", nodes=state.MAX_NODES)
    names = [longest.bridge, *(longest.cable(host) for host in longest.hosts)]
    assert max(len(name) for name in names) <= 15
    assert len(set(names)) == len(names)


def test_hosts_have_their_known_addresses(lab):
    assert lab.gateway == "10.210.7.1"
    assert [(h.name, h.role, h.ip) for h in lab.hosts[:3]] == [
        ("erp1", "primary", "10.210.7.11"),
        ("rep1", "reporting", "10.210.7.21"),
        ("rep2", "reporting", "10.210.7.22"),
    ]
    assert lab.host("rep12").ip == "10.210.7.32"


def test_the_primary_of_a_lab_changes_and_its_hosts_stay(lab):
    before = [(h.name, h.ip) for h in lab.hosts]
    lab.primary = "rep2"
    assert [(h.name, h.ip) for h in lab.hosts] == before
    assert [h.name for h in lab.hosts if h.role == "primary"] == ["rep2"]


def test_an_unknown_host_is_answered_with_the_known_ones():
    with pytest.raises(FleetError, match=r"'rep2'.*erp1, rep1$"):
        Lab("lab", state.DEFAULT_SUBNET, "bookworm", "").host("rep2")


@pytest.mark.parametrize(
    "subnet", ["10.1.0.1/24", "10.1.0.0/25", "10.0.0.0/8", "8.8.8.0/24", "fd00::/64", "x"]
)
def test_unfit_subnets_are_refused(subnet):
    with pytest.raises(FleetError, match=f"^`--subnet {re.escape(subnet)}`"):
        state.check_subnet(subnet)


@pytest.mark.parametrize(
    ("taken", "clash"),
    [
        ([("10.203.0.5/32", "a")], "a"),
        ([("10.0.0.0/8", "a")], "a"),
        ([("10.203.0.9", "a")], "a"),
        ([("10.203.1.0/24", "a"), ("10.203.0.129/25", "b")], "b"),
        ([("0.0.0.0/0", "a"), ("fd00::1/64", "b"), ("10.204.0.1/16", "c")], None),
        ([], None),
    ],
)
def test_overlap_names_the_first_that_clashes(taken, clash):
    found = state.overlapping(ipaddress.IPv4Network("10.203.0.0/24"), taken)
    assert (found[1] if found else None) == clash


def test_a_lab_is_remembered(tmp_path, monkeypatch, lab):
    monkeypatch.setattr(state, "LABS", tmp_path)
    assert state.load("trial") is None
    lab.frappe_repo, lab.frappe_branch = "https://git.example.com/frappe.git", "version-15"
    lab.apps = [{"name": "shop", "source": "/shop", "repo": "/srv/lab/shop", "branch": "next"}]
    lab.python, lab.prepare = "/usr/bin/python3.12", "/root/prepare"
    lab.save()
    assert state.load("trial") == lab
    assert state.all_labs() == [lab]


def test_state_of_an_earlier_release_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(state, "LABS", tmp_path)
    lab = {"name": "trial", "subnet": "10.210.7.0/24", "release": "bookworm", "base": "/base"}
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial/lab.json").write_text(json.dumps(lab))
    found = state.load("trial")
    assert (found.apps, found.python, found.prepare, found.build_assets) == ([], None, None, True)


@pytest.mark.parametrize("content", ["", "{", json.dumps({"strange": 1})])
def test_spoilt_state_says_how_to_clear_it(tmp_path, monkeypatch, content):
    monkeypatch.setattr(state, "LABS", tmp_path)
    (tmp_path / "trial").mkdir()
    (tmp_path / "trial/lab.json").write_text(content)
    with pytest.raises(FleetError, match=r"`./fleet lab down --name trial`"):
        state.load("trial")


def test_the_environment_names_the_lab(monkeypatch):
    monkeypatch.setenv("BENCHFLEET_LAB", "other")
    assert state.name_from_environment() == "other"
    monkeypatch.setenv("BENCHFLEET_LAB", "")
    assert state.name_from_environment() == "lab"


@pytest.fixture
def labs(tmp_path, monkeypatch):
    """Makes labs; none is named."""
    monkeypatch.setattr(state, "LABS", tmp_path)
    monkeypatch.delenv("BENCHFLEET_LAB", raising=False)

    def make(*names):
        for name in names:
            state.Lab(name, "10.1.1.0/24", "bookworm", "/base").save()

    return make


def test_the_only_lab_is_the_inventory_s(labs):
    labs("trial")
    assert state.inventory_lab().name == "trial"


def test_of_several_labs_none_is_taken_unless_it_is_named(labs, monkeypatch):
    labs("lab", "trial")
    with pytest.raises(FleetError, match=r"lab, trial.*`BENCHFLEET_LAB=lab`"):
        state.inventory_lab()
    monkeypatch.setenv("BENCHFLEET_LAB", "trial")
    assert state.inventory_lab().name == "trial"
    monkeypatch.setenv("BENCHFLEET_LAB", "gone")
    with pytest.raises(FleetError, match=r"`./fleet lab up --name gone`"):
        state.inventory_lab()


def test_without_a_lab_the_inventory_says_how_to_make_one(labs):
    with pytest.raises(FleetError, match=r"`./fleet lab up`"):
        state.inventory_lab()
