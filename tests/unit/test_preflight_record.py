"""The record of who is primary, as preflight judges it."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import pytest
from fleet.preflight.record import is_recorded, newest_record
from fleet.record import FILE, Record
from fleet.survey.notes import read_record

from tests.unit.bare_fleet import kinds

HOSTS = {"erp1": "10.0.0.11", "rep1": "10.0.0.21"}
OLD = Record("f1", 7, "erp1", "2026-11-30T10:00:00+00:00", HOSTS, True)
NEW = replace(OLD, epoch=8, primary="rep1")


@pytest.fixture
def ours(fleet, settings):
    """A fleet with its mark on both hosts."""
    settings["fleet_id"] = "f1"
    for host in fleet:
        host["survey"]["mark"] = {"state": "present", "fleet_id": "f1", "path": "/x"}
        host["survey"]["record"] = asdict(OLD)
    return fleet


def test_a_fleet_whose_records_name_the_inventorys_primary_is_in_order(ours, settings):
    assert kinds(ours, settings) == []


@pytest.mark.parametrize("knows", [0, 1])
def test_the_newest_record_counts_whichever_host_has_it(ours, settings, knows: int):
    ours[knows]["survey"]["record"] = asdict(NEW)
    facts = {"moved": "rep1", "primary": "erp1", "epoch": 8, "since": NEW.since}
    facts |= {"hosts": [ours[knows]["name"]], "inventory": "/nowhere/inventory"}
    assert kinds(ours, settings) == [("primary_moved", facts)]


def test_a_primary_that_the_run_leaves_out_is_asked_too(ours, settings):
    erp1, rep1 = ours
    settings["primary"] = erp1
    erp1["survey"]["record"] = asdict(NEW)
    assert [name for name, _ in kinds([rep1], settings)] == ["primary_moved"]
    erp1["survey"] = None
    assert kinds([rep1], settings) == []


def test_a_record_of_another_fleet_does_not_count(ours, settings):
    ours[1]["survey"]["record"] = asdict(replace(NEW, fleet_id="f2"))
    assert kinds(ours, settings) == []


def test_a_record_that_cannot_be_read_is_named(ours, settings, tmp_path):
    (tmp_path / FILE).write_text("")
    ours[1]["survey"]["record"] = read_record(str(tmp_path))
    ((name, facts),) = kinds(ours, settings)
    assert (name, facts["host"]) == ("record_unreadable", "rep1")
    OLD.write(str(tmp_path))
    assert read_record(str(tmp_path)) == asdict(OLD)


def test_the_newest_record_is_known_to_the_run(ours):
    assert newest_record(ours, "f1") == asdict(OLD)
    ours[1]["survey"]["record"] = asdict(NEW)
    assert newest_record(ours, "f1") == asdict(NEW)
    assert newest_record(ours, "f2") == {}


def test_a_host_that_has_the_record_is_left_alone():
    wanted: dict[str, Any] = {"fleet_id": "f1", "primary": "erp1", "hosts": HOSTS}
    wanted |= {"here": list(HOSTS), "newest": asdict(OLD), "open_alone": True}
    assert is_recorded(asdict(OLD), wanted)
    assert not is_recorded(None, wanted)
    assert not is_recorded({"trouble": "x"}, wanted)
    assert not is_recorded(asdict(OLD), {**wanted, "open_alone": False})
    assert not is_recorded(asdict(OLD), {**wanted, "newest": asdict(NEW)})
    assert not is_recorded(asdict(OLD), {**wanted, "hosts": {"erp1": "10.0.0.12"}})
