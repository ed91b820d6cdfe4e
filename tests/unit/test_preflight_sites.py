"""fleet_sites."""

from __future__ import annotations

import pytest
from fleet.preflight import checks, sites

from tests.unit.bare_fleet import mark, put_sites, whats


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
        ([], ["fleet_sites is empty: there is no site to serve"]),
        ("erp.example.com", ["fleet_sites is 'erp.example.com', not a list"]),
        (["erp.example.com"], ["'erp.example.com' is not a site entry"]),
        ([{"apps": []}], ["a site entry has no name"]),
        ([{"name": "Erp_1.com"}], ["site name 'Erp_1.com' is not a host name"]),
        (
            [{"name": "a.com", "app": []}],
            ["unknown key 'app' in a site entry; did you mean apps?"],
        ),
        ([{"name": "a.com"}, {"name": "a.com"}], ["site a.com is listed 2 times"]),
        ([{"name": "a.com", "names": ["a", "10.0.0.11", "www.a.com"]}], []),
        ([{"name": "a.com", "names": None}], []),
        ([{"name": "a.com", "names": "a"}], ["names is 'a', not a list"]),
        (
            [{"name": "a.com", "names": ["a:80", "A", "10.0.0.999", "fd00::1"]}],
            [
                f"{name!r} is neither a host name nor an IPv4 address"
                for name in ("a:80", "A", "10.0.0.999", "fd00::1")
            ],
        ),
        ([{"name": "a.com"}, {"name": "b.com", "names": ["a.com"]}], ["a.com is named twice"]),
        (
            [{"name": "a.com", "names": ["erp"]}, {"name": "b.com", "names": ["erp"]}],
            ["erp is named twice"],
        ),
    ],
)
def test_sites(fleet, settings, sites, expected):
    put_sites(fleet, sites)
    assert whats(fleet, settings) == expected


def test_sites_that_differ_between_hosts_are_told_elsewhere(fleet, settings):
    fleet[1]["sites"] = []
    assert whats(fleet, settings) == []


def test_a_site_on_another_database_is_told_before_all_that_would_mislead(fleet, settings):
    place = settings["bench_dir"]
    file = f"{place}/sites/shop.test/site_config.json"
    others = {"shop.test": {"kind": "postgres", "file": file}}
    bench = {"path": place, "frappe_version": "15.1.0", "named": "", "others": others}
    fleet[0]["survey"]["benches"] = [bench]
    (found,) = checks.preflight_problems(fleet, settings)
    assert "the database of site shop.test of erp1 is postgres (db_type)" in found["what"]
    assert found["place"] == f"{file} on erp1"
    assert "--db-type mariadb" in found["remedy"]
    # In a fleet it is told by what looks for new sites, and runs go on.
    mark(fleet[0])
    assert whats(fleet, settings | {"fleet_id": "f1"}) == []


def test_a_site_that_was_dropped_is_not_made_again(fleet, settings):
    settings["state_dir"] = "/var/lib/benchfleet"
    name = fleet[0]["sites"][0]["name"]
    fleet[0]["survey"]["gone_sites"] = ["other.example.com"]
    assert whats(fleet, settings) == []
    fleet[0]["survey"]["gone_sites"].append(name)
    (found,) = checks.preflight_problems(fleet, settings)
    assert f"site {name} was on the bench of {fleet[0]['name']} and is gone" in found["what"]
    assert "take it out of fleet_sites" in found["remedy"]
    assert f"remove /var/lib/benchfleet/made-site-{name} on" in found["remedy"]
