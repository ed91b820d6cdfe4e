"""All checks of preflight at once, and how their problems are told."""

from __future__ import annotations

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
    assert text.startswith(f"Preflight found {len(found)} problems. Nothing was touched")
    for words in (
        "group primary holds 2 hosts",
        "in group primary and in group reporting",
        "fleet_sites is empty",
        "unknown variable mariadb_servr_id; did you mean mariadb_server_id?",
        "lan_ip 8.8.8.8 of erp1 is a public address",
        "not an address of erp1",
        "'version-12' is not a version",
        "rep1 already holds a MariaDB data folder",
        "port_taken",
        "'rpe1' in jobs_placement is neither a host nor a group of the inventory; did you",
        "unknown queue 'lnog' in bench_background_workers; did you mean long?",
    ):
        assert words in text
    assert text.count("remedy:") == text.count("place:") == len(found)


def test_one_problem_reads_well():
    text = problems.preflight_text([problems.problem("a", "b", "c")])
    assert text == (
        "Preflight found 1 problem. Nothing was touched on any host.\n"
        "\n1. a\n   place:  b\n   remedy: c"
    )


def test_filters_are_offered():
    names = preflight.FilterModule().filters()
    assert {"lan_server_id", "preflight_problems", "preflight_text"} <= set(names)
