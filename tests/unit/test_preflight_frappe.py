"""Versions of Frappe, and the programs that make their PDFs."""

from __future__ import annotations

import pytest
from fleet.preflight import frappe

from tests.unit.bare_fleet import ids, kinds, mark, put_system


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
    expected = ("frappe_branch_unsupported", {"branch": branch, "hosts": ["erp1"]})
    assert kinds(fleet, settings) == ([] if known else [expected])


def test_frappe_14_runs_without_the_guard(fleet, settings):
    fleet[0]["branch"] = "version-14"
    found = [("read_guard_on_frappe_14", {"hosts": ["erp1"]})]
    assert kinds(fleet, settings) == found
    fleet[0].update(branch="", read_guard=False)
    settings["fleet_id"] = "f1"
    mark(fleet[0])
    fleet[0]["survey"]["benches"] = [
        {"path": settings["bench_dir"], "frappe_version": "14.9.0", "named": "", "others": {}}
    ]
    assert ids(fleet, settings) == []
    fleet[0]["read_guard"] = True
    assert kinds(fleet, settings) == found
    settings["groups"]["reporting"] = []
    assert found[0] not in kinds(fleet, settings)


def test_frappe_of_our_own_bench(fleet, settings):
    settings["fleet_id"] = "f1"
    mark(fleet[0])
    fleet[0]["survey"]["benches"] = [
        {"path": settings["bench_dir"], "frappe_version": "13.0.1", "named": "", "others": {}}
    ]
    facts = {"host": "erp1", "version": "13.0.1", "bench": settings["bench_dir"]}
    assert kinds(fleet, settings) == [("frappe_unsupported", facts)]
    fleet[0]["survey"]["benches"][0]["frappe_version"] = "15.0.1"
    assert ids(fleet, settings) == []


# What the survey says of benches of Frappe 15 and of one that can use Chromium.
FRAPPE_15 = {"real": True, "tools": {"wkhtmltopdf": ""}}


FRAPPE_17 = {"real": True, "tools": {"wkhtmltopdf": "", "chrome": ""}}


@pytest.mark.parametrize(
    ("branch", "releases", "bench", "warned"),
    [
        ("version-15", ("12", "12"), None, ""),
        ("version-15", ("13", "13"), None, " erp1, rep1:"),
        ("version-15", ("12", "13"), None, " rep1:"),
        ("v15.44.2", ("13", "13"), None, " erp1, rep1:"),
        ("version-16", ("13", "13"), None, ""),
        ("develop", ("13", "13"), None, ""),
        ("trial", ("13", "13"), None, ""),
        ("trial", ("13", "13"), FRAPPE_15, " erp1, rep1:"),
        ("trial", ("13", "13"), FRAPPE_17, ""),
        # An update goes from the code that is there.
        ("version-15", ("13", "13"), FRAPPE_17, ""),
    ],
)
def test_hosts_on_which_pdfs_will_not_work(fleet, branch, releases, bench, warned):
    for host, release in zip(fleet, releases, strict=True):
        host["branch"] = branch
        put_system(host, release)
    if bench:
        fleet[0]["survey"]["printing"] = bench
    found = frappe.pdf_warnings(fleet)
    assert len(found) == bool(warned)
    assert all(warned in warning for warning in found)
    assert not any("erp1" in warning for warning in found if "erp1" not in warned)


def test_a_wkhtmltopdf_that_the_operator_installed_is_used(fleet):
    for host in fleet:
        host["branch"] = "version-15"
        put_system(host, "13")
    fleet[0]["survey"]["printing"] = {
        "real": True,
        "tools": {"wkhtmltopdf": "/usr/local/bin/wkhtmltopdf"},
    }
    (warning,) = frappe.pdf_warnings(fleet)
    assert " rep1:" in warning
    assert "erp1" not in warning
    fleet[1]["survey"] = None
    assert frappe.pdf_warnings(fleet) == []
