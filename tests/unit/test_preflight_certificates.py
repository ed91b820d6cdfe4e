"""Certificates of the inventory, and settings for those of a CA."""

from __future__ import annotations

from tests.unit.bare_fleet import ids, kinds


def test_certificates(fleet, settings):
    def pair(of: str, trouble: str = "", **files: str) -> dict[str, str]:
        return {"of": of, "certificate": "/c.pem", "key": "/c.key", "trouble": trouble, **files}

    fleet[0]["survey"]["certificates"] = [pair("certificate of a.test in fleet_sites")]
    site = {"setting": "certificate of a.test in fleet_sites", "host": "erp1"}
    assert kinds(fleet, settings) == [("certificate_of_one_site", {**site, "file": "/c.pem"})]
    fleet[0]["certificate"] = "/d.pem"
    assert ids(fleet, settings) == []
    fleet[0]["survey"]["certificates"] = [
        pair("router_certificate", key="", trouble="x"),
        pair("certificate of a.test in fleet_sites", "/c.key is not the key of /c.pem"),
    ]
    assert kinds(fleet, settings) == [
        (
            "certificate_incomplete",
            {"setting": "router_certificate", "host": "erp1", "file": "/c.pem"},
        ),
        ("certificate_unusable", {**site, "trouble": "/c.key is not the key of /c.pem"}),
    ]


def test_settings_by_which_a_ca_cannot_be_asked(fleet, settings):
    fleet[0]["acme"] = {"email": "ops@example.com", "server": "https://ca.example.com/dir"}
    assert ids(fleet, settings) == []
    fleet[0]["acme"] = {"email": "ops", "server": "http://ca.example.com/dir"}
    fleet[0]["certificate"] = "/d.pem"
    assert kinds(fleet, settings) == [
        ("acme_email_invalid", {"value": "ops", "host": "erp1"}),
        ("acme_server_invalid", {"value": "http://ca.example.com/dir", "host": "erp1"}),
        ("acme_beside_certificate", {"host": "erp1"}),
    ]
