"""All checks of preflight at once, and the text of their problems."""

from __future__ import annotations

import pytest
from fleet.preflight import problems

from filter_plugins import preflight
from tests.unit.bare_fleet import GIB, all_problems, listener, mark, put_sites, whats


def test_bare_fleet_in_order_has_no_problem(fleet, settings):
    assert whats(fleet, settings) == []


def test_finished_fleet_has_no_problem(fleet, settings):
    settings["fleet_id"] = "f1"
    for host in fleet:
        mark(host)
        host["survey"]["database"].update(
            product="MariaDB",
            version="10.11.14",
            program="/usr/sbin/mariadbd",
            holds_data=True,
            bytes=40 * GIB,
        )
        host["survey"]["benches"] = [
            {
                "path": "/home/frappe/frappe-bench",
                "frappe_version": "15.80.0",
                "named": "",
                "others": {},
            },
        ]
        host["survey"]["commands"] = [{"path": "/usr/local/bin/bench", "origin": "frappe-bench"}]
        host["survey"]["disk"]["data"]["free"] = host["survey"]["disk"]["bench"]["free"] = 0
        host["survey"]["listeners"] = {
            "3306": [listener(name="mariadbd", program="/usr/sbin/mariadbd", command="mariadbd")],
            "8000": [
                listener(
                    name="python3", command="/home/frappe/frappe-bench/env/bin/python3 gunicorn"
                )
            ],
            "9000": [listener(name="MainThread", program="/usr/bin/node", command="node s.js")],
            "11000": [listener(name="redis-server", command="redis-server 127.0.0.1:11000")],
            "80": [listener(name="nginx", command="nginx: master process")],
        }
    fleet[1]["survey"]["lan"] = {"ok": True, "address": "10.0.0.11", "port": 22}
    assert whats(fleet, settings) == []


def test_many_problems_come_in_one_message(fleet, settings):
    put_sites(fleet, [])
    settings["groups"]["primary"] = ["erp1", "rep1"]
    fleet[0].update(lan_ip="8.8.8.8", distribution="Ubuntu", branch="version-12")
    fleet[0]["variables"].append("mariadb_servr_id")
    fleet[1]["survey"]["database"]["holds_data"] = True
    fleet[1]["survey"]["listeners"] = {"3306": [listener()]}
    for host in fleet:
        host["placement"] = {"erpnext.stock.run": "rpe1"}
    fleet[1]["background_workers"] = {"lnog": 1}
    found = all_problems(fleet, settings)
    text = problems.preflight_text(found)
    for kind in (
        "primary_several",
        "host_in_both_groups",
        "sites_empty",
        "variable_unknown",
        "lan_ip_not_private",
        "lan_ip_not_on_host",
        "frappe_branch_unsupported",
        "data_foreign",
        "port_taken",
    ):
        assert f"   id:     {kind}" in text
    for name in ("mariadb_servr_id", "mariadb_server_id", "'rpe1'", "'lnog'"):
        assert name in text
    assert str(len(found)) in text.partition("\n")[0]
    assert text.count("remedy:") == text.count("place:") == len(found)


KIND = problems.Kind("one_of_ours", "{host} has {ports} and {values}", "{host}", "end {ports}")


def test_a_problem_has_its_texts_with_its_facts():
    facts = {"host": "erp1", "ports": [80, 443], "values": {"8000": ["erp1", "rep1"], "5": []}}
    assert KIND.found(**facts) == {
        "id": "one_of_ours",
        "what": "erp1 has 80, 443 and 8000 (erp1, rep1); 5 (none)",
        "place": "erp1",
        "remedy": "end 80, 443",
        "facts": facts,
    }


def test_a_fact_that_is_missing_is_an_error():
    with pytest.raises(KeyError, match="ports"):
        KIND.found(host="erp1", values={})


def test_a_text_of_problems_has_a_headline_and_a_paragraph_each():
    found = [KIND.found(host="erp1", ports=[80], values={})]
    headline, *lines = problems.preflight_text(found, "TOUCHED").splitlines()
    assert "1" in headline
    assert headline.endswith("TOUCHED")
    assert lines == [
        "",
        "1. erp1 has 80 and ",
        "   place:  erp1",
        "   remedy: end 80",
        "   id:     one_of_ours",
    ]


def test_filters_are_offered():
    names = preflight.FilterModule().filters()
    assert {"lan_server_id", "preflight_problems", "preflight_text"} <= set(names)
