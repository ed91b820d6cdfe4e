"""fleet_sites."""

from __future__ import annotations

import pytest
from fleet.preflight import sites

from tests.unit.bare_fleet import ids, kinds, mark, put_sites


@pytest.mark.parametrize(
    "name", ["erp.example.com", "erp", "a-b.example.com", "xn--bcher-kva.example", "1erp.de"]
)
def test_site_names(name):
    assert sites.is_site_name(name)


@pytest.mark.parametrize(
    "name",
    [
        "Erp.example.com",
        "_erp.com",
        "-a.com",
        "a-.com",
        "a..b",
        "a/b",
        "10.0.0",
        "10.0.0.256",
        "assets",
        "é.fr",
    ],
)
def test_no_site_names(name):
    assert not sites.is_site_name(name)


@pytest.mark.parametrize(
    ("sites", "expected"),
    [
        ([], [("sites_empty", {})]),
        ("erp.example.com", [("sites_not_a_list", {"value": "erp.example.com"})]),
        (
            ["erp.example.com"],
            [("site_entry_invalid", {"value": "erp.example.com", "name": "erp.example.com"})],
        ),
        ([5], [("site_entry_invalid", {"value": 5, "entry": 1})]),
        ([{"name": "a.com"}, {"apps": []}], [("site_without_name", {"entry": 2})]),
        (
            [{"name": "Erp_1.com"}],
            [("site_name_invalid", {"name": "Erp_1.com", "suggestion": "erp-1.com"})],
        ),
        (
            [{"name": "assets"}],
            [("site_name_invalid", {"name": "assets", "suggestion": "erp.example.com"})],
        ),
        (
            [{"name": "a.com", "app": []}],
            [("site_key_unknown", {"key": "app", "known": ["apps", "name", "names"]})],
        ),
        (
            [{"name": "a.com"}, {"name": "a.com"}],
            [("site_listed_twice", {"site": "a.com", "entries": [1, 2]})],
        ),
        ([{"name": "a.com", "names": ["a", "10.0.0.11", "www.a.com"]}], []),
        ([{"name": "a.com", "names": None}], []),
        (
            [{"name": "a.com", "names": "a"}],
            [("site_names_not_a_list", {"value": "a", "site": "a.com"})],
        ),
        (
            [{"name": "a.com", "names": ["a:80", "A", "10.0.0.999", "fd00::1"]}],
            [
                ("site_further_name_invalid", {"name": name, "site": "a.com"})
                for name in ("a:80", "A", "10.0.0.999", "fd00::1")
            ],
        ),
        (
            [{"name": "a.com"}, {"name": "b.com", "names": ["a.com"]}],
            [("site_name_taken", {"name": "a.com", "site": "b.com"})],
        ),
        (
            [{"name": "a.com", "names": ["erp"]}, {"name": "b.com", "names": ["erp"]}],
            [("site_name_taken", {"name": "erp", "site": "b.com"})],
        ),
    ],
)
def test_sites(fleet, settings, sites, expected):
    put_sites(fleet, sites)
    found = kinds(fleet, settings)
    assert [kind for kind, _facts in found] == [kind for kind, _facts in expected]
    for (_, facts), (_, some) in zip(found, expected, strict=True):
        assert facts == facts | some


def test_an_unknown_key_is_reported_with_the_nearest_known_one(fleet, settings):
    put_sites(fleet, [{"name": "a.com", "app": []}])
    ((_kind, facts),) = kinds(fleet, settings)
    assert " apps?" in facts["hint"]


def test_sites_that_differ_between_hosts_are_no_problem_of_the_sites(fleet, settings):
    fleet[1]["sites"] = []
    assert ids(fleet, settings) == []


def test_a_site_on_another_database_is_the_only_problem_of_its_bench(fleet, settings):
    place = settings["bench_dir"]
    file = f"{place}/sites/shop.test/site_config.json"
    others = {"shop.test": {"kind": "postgres", "file": file}}
    bench = {"path": place, "frappe_version": "15.1.0", "named": "", "others": others}
    fleet[0]["survey"]["benches"] = [bench]
    facts = {"site": "shop.test", "host": "erp1", "kind": "postgres", "file": file}
    assert kinds(fleet, settings) == [("site_on_other_database", facts)]
    # In a finished fleet it is reported with the fleet's sites, and does not stop a run.
    mark(fleet[0])
    assert ids(fleet, settings | {"fleet_id": "f1"}) == []


def test_a_site_that_was_dropped_is_not_made_again(fleet, settings):
    settings["state_dir"] = "/var/lib/benchfleet"
    name = fleet[0]["sites"][0]["name"]
    fleet[0]["survey"]["gone_sites"] = ["other.example.com"]
    assert ids(fleet, settings) == []
    fleet[0]["survey"]["gone_sites"].append(name)
    facts = {
        "site": name,
        "host": "erp1",
        "bench": settings["bench_dir"],
        "note": f"/var/lib/benchfleet/made-site-{name}",
    }
    assert kinds(fleet, settings) == [("site_gone", facts)]
