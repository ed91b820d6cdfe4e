"""Certificates that are given, and those that a CA is asked for."""

from __future__ import annotations

from fleet.preflight import checks

from tests.unit.bare_fleet import whats


def test_certificates(fleet, settings):
    def pair(of: str, trouble: str = "", **files: str) -> dict[str, str]:
        return {"of": of, "certificate": "/c.pem", "key": "/c.key", "trouble": trouble, **files}

    fleet[0]["survey"]["certificates"] = [pair("certificate of a.test in fleet_sites")]
    (found,) = whats(fleet, settings)
    assert found.startswith("/c.pem is the certificate of a site, and router_certificate is not")
    fleet[0]["certificate"] = "/d.pem"
    assert whats(fleet, settings) == []
    fleet[0]["survey"]["certificates"] = [
        pair("router_certificate", key="", trouble="x"),
        pair("certificate of a.test in fleet_sites", "/c.key is not the key of /c.pem"),
    ]
    told = checks.preflight_problems(fleet, settings)
    assert [(problem["what"], problem["place"]) for problem in told] == [
        (
            "of a certificate and its key only /c.pem is named",
            "router_certificate in the inventory, on erp1",
        ),
        (
            "/c.key is not the key of /c.pem",
            "certificate of a.test in fleet_sites in the inventory, on erp1",
        ),
    ]


def test_a_ca_is_asked_with_settings_that_can_work(fleet, settings):
    fleet[0]["acme"] = {"email": "ops@example.com", "server": "https://ca.example.com/dir"}
    assert whats(fleet, settings) == []
    fleet[0]["acme"] = {"email": "ops", "server": "http://ca.example.com/dir"}
    fleet[0]["certificate"] = "/d.pem"
    told = checks.preflight_problems(fleet, settings)
    assert [(problem["what"].partition(":")[0], problem["place"]) for problem in told] == [
        (
            "router_acme_email 'ops' is no address of e-mail",
            "router_acme_email in the inventory, for erp1",
        ),
        (
            "router_acme_server 'http",
            "router_acme_server in the inventory, for erp1",
        ),
        (
            "router_certificate is set, and so is router_acme_email",
            "router_certificate in the inventory, for erp1",
        ),
    ]
