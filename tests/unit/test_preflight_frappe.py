"""Versions of Frappe, and what they print with."""

from __future__ import annotations

import pytest
from fleet.preflight import frappe

from tests.unit.bare_fleet import mark, put_system, whats


@pytest.mark.parametrize(
    ("branch", "known"),
    [
        ("version-14", True),
        ("version-15", True),
        ("version-16", True),
        ("version-16-hotfix", True),
        ("v15.2.0", True),
        ("develop", True),
        ("main", True),
        ("our-fork", True),
        ("17.0.0-dev", True),
        ("16.0.0-dev", True),
        ("version-13", False),
        ("version-17", False),
        ("v12.1.0", False),
        ("13.58.1", False),
    ],
)
def test_frappe_versions(fleet, settings, branch, known):
    assert frappe.is_known_frappe(branch) is known
    fleet[0].update(branch=branch, read_guard=False)
    expected = f"bench_frappe_branch {branch!r} is not a version of Frappe that is supported"
    assert whats(fleet, settings) == ([] if known else [expected])


def test_frappe_14_runs_without_the_guard(fleet, settings):
    fleet[0]["branch"] = "version-14"
    found = ["Frappe 14 has no place for the guard of the read path, and fleet_read_guard is on"]
    assert whats(fleet, settings) == found
    fleet[0].update(branch="", read_guard=False)
    settings["fleet_id"] = "f1"
    mark(fleet[0])
    fleet[0]["survey"]["benches"] = [
        {"path": settings["bench_dir"], "frappe_version": "14.9.0", "named": "", "others": {}}
    ]
    assert whats(fleet, settings) == []
    fleet[0]["read_guard"] = True
    assert whats(fleet, settings) == found
    settings["groups"]["reporting"] = []
    assert found[0] not in whats(fleet, settings)


def test_frappe_of_our_own_bench(fleet, settings):
    settings["fleet_id"] = "f1"
    mark(fleet[0])
    fleet[0]["survey"]["benches"] = [
        {"path": settings["bench_dir"], "frappe_version": "13.0.1", "named": "", "others": {}}
    ]
    assert whats(fleet, settings) == ["Frappe 13.0.1 is in the bench of erp1"]
    fleet[0]["survey"]["benches"][0]["frappe_version"] = "15.0.1"
    assert whats(fleet, settings) == []


# What the survey says of benches of Frappe 15 and of one that can use Chromium.
FRAPPE_15 = {"real": True, "tools": {"wkhtmltopdf": ""}}


FRAPPE_17 = {"real": True, "tools": {"wkhtmltopdf": "", "chrome": ""}}


@pytest.mark.parametrize(
    ("branch", "releases", "bench", "warned"),
    [
        ("version-15", ("12", "12"), None, ""),
        ("version-15", ("13", "13"), None, "on erp1, rep1:"),
        ("version-15", ("12", "13"), None, "on rep1:"),
        ("v15.44.2", ("13", "13"), None, "on erp1, rep1:"),
        ("version-16", ("13", "13"), None, ""),
        ("develop", ("13", "13"), None, ""),
        ("trial", ("13", "13"), None, ""),
        ("trial", ("13", "13"), FRAPPE_15, "on erp1, rep1:"),
        ("trial", ("13", "13"), FRAPPE_17, ""),
        # An update goes from the code that is there.
        ("version-15", ("13", "13"), FRAPPE_17, ""),
    ],
)
def test_pdfs_that_will_not_work_are_told(fleet, branch, releases, bench, warned):
    for host, release in zip(fleet, releases, strict=True):
        host["branch"] = branch
        put_system(host, release)
    if bench:
        fleet[0]["survey"]["printing"] = bench
    found = frappe.pdf_warnings(fleet)
    assert len(found) == bool(warned)
    assert all(warned in words and "which their system does not have" in words for words in found)


def test_a_wkhtmltopdf_of_the_operators_prints(fleet):
    for host in fleet:
        host["branch"] = "version-15"
        put_system(host, "13")
    fleet[0]["survey"]["printing"] = {
        "real": True,
        "tools": {"wkhtmltopdf": "/usr/local/bin/wkhtmltopdf"},
    }
    (words,) = frappe.pdf_warnings(fleet)
    assert "on rep1:" in words
    fleet[1]["survey"] = None
    assert frappe.pdf_warnings(fleet) == []
