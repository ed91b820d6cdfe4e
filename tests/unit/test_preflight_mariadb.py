"""MariaDB: versions, and settings that reports depend on."""

from __future__ import annotations

import pytest
from fleet.preflight import checks, mariadb

from tests.unit.bare_fleet import put_system, whats


@pytest.mark.parametrize(
    ("product", "version", "bad"),
    [
        ("MariaDB", "10.11.6", False),
        ("MariaDB", "11.4.3", False),
        ("MariaDB", "11.8.2", False),
        ("MariaDB", "10.6.18", True),
        ("MariaDB", "10.1.11", True),
        ("MySQL", "8.0.36", True),
    ],
)
def test_installed_database(fleet, settings, product, version, bad):
    for host in fleet:
        host["survey"]["database"].update(
            product=product, version=version, program="/usr/sbin/mysqld"
        )
    expected = [f"{product} {version} is installed on {h}" for h in ("erp1", "rep1")]
    assert whats(fleet, settings) == (expected if bad else [])


def test_replica_older_than_primary(fleet, settings):
    put_system(fleet[0], "13")
    assert whats(fleet, settings) == [
        "the replica rep1 would run MariaDB 10.11, older than the primary's 11.8"
    ]
    put_system(fleet[0], "12.5")
    put_system(fleet[1], "13")
    assert whats(fleet, settings) == []


def test_tables_that_a_restart_empties_are_told_when_they_are_copied(fleet, settings):
    settings["groups"]["mariadb_replica"] = ["rep1"]
    assert mariadb.memory_warnings(fleet, settings) == []
    fleet[1]["survey"]["database"]["memory_tables"] = ["`_a`.`left`"]
    fleet[0]["survey"]["database"]["memory_tables"] = ["`_a`.`cache`", "`wiki`.`hits`"]
    (words,) = mariadb.memory_warnings(fleet, settings)
    assert "erp1: `_a`.`cache`, `wiki`.`hits`." in words
    assert words.index("TRUNCATE") < words.index("ALTER")
    del settings["groups"]["mariadb_replica"]
    assert mariadb.memory_warnings(fleet, settings) == []


def test_a_reporting_node_has_no_setting_of_its_own_that_changes_reports(fleet, settings):
    fleet[1]["mariadb_extra"] = {"lc-time-names": "de_DE", "max_connections": 50}
    (what,) = whats(fleet, settings)
    assert what.startswith("lc_time_names is de_DE for rep1, and unset for the primary erp1: a rep")
    fleet[0]["survey"]["database"]["answers"]["lc_time_names"] = "en_US"
    assert "en_US for the primary" in whats(fleet, settings)[0]
    # What the inventory sets for the primary holds from this run on.
    fleet[0]["mariadb_extra"] = {"lc_time_names": "DE_de"}
    assert whats(fleet, settings) == []
    fleet[1]["mariadb_extra"] = fleet[0]["mariadb_extra"] = "no map"
    assert whats(fleet, settings) == []


def test_settings_that_a_reporting_node_takes_from_the_primary(fleet):
    primary, node = fleet
    assert mariadb.shared_settings(primary, node) == {}
    theirs = {"lc_time_names": "de_DE", "div_precision_increment": "4", "old_mode": ""}
    primary["survey"]["database"] |= {
        "answers": {**theirs, "time_zone": "SYSTEM"},
        "usual": ["div_precision_increment", "old_mode"],
    }
    # A new node, whose server is not there yet.
    assert mariadb.shared_settings(primary, node) == {"lc_time_names": "de_DE"}
    mine = node["survey"]["database"]
    mine["answers"] = {**theirs, "old_mode": "NO_PROGRESS_INFO"}
    assert mariadb.shared_settings(primary, node) == {"lc_time_names": "de_DE", "old_mode": ""}
    # Taken over, it is as the primary's, and stays.
    mine |= {"answers": theirs, "taken": {"lc_time_names": "de_DE", "old_mode": ""}}
    assert mariadb.shared_settings(primary, node) == {"lc_time_names": "de_DE", "old_mode": ""}
    primary["mariadb_extra"] = {"div-precision-increment": 6, "max_connections": 7}
    assert mariadb.shared_settings(primary, node)["div_precision_increment"] == 6


def test_a_second_run_on_servers_with_defaults_takes_nothing_over(fleet):
    for host in fleet:
        host["survey"]["database"] |= {
            "product": "MariaDB",
            "version": "10.11.6",
            "answers": {"lc_time_names": "en_US", "character_set_collations": "utf8mb4=general"},
            "usual": ["lc_time_names"],
            "taken": {},
        }
    primary, node = fleet
    assert mariadb.shared_settings(primary, node) == {}
    node["survey"]["database"]["version"] = "11.8.2"
    collation = {"character_set_collations": "utf8mb4=general"}
    assert mariadb.shared_settings(primary, node) == collation
    primary["survey"]["database"]["version"] = "11.8.2"
    assert mariadb.shared_settings(primary, node) == {}


def test_a_reporting_node_keeps_its_settings_while_the_primarys_server_is_down(fleet):
    primary, node = fleet
    node["survey"]["database"] |= {
        "answers": {"lc_time_names": "de_DE", "div_precision_increment": "4"},
        "taken": {"lc_time_names": "de_DE"},
    }
    assert mariadb.shared_settings(primary, node) == {"lc_time_names": "de_DE"}
    primary["survey"]["database"]["answers"]["lc_time_names"] = "en_US"
    assert mariadb.shared_settings(primary, node) == {"lc_time_names": "en_US"}
    primary["survey"] = None
    assert mariadb.shared_settings(primary, node) == {"lc_time_names": "de_DE"}


def test_time_zones_of_hosts_and_servers(fleet, settings):
    here, there = (host["survey"] for host in (fleet[1], fleet[0]))
    there["time_zone"] = {"name": "Europe/Berlin", "offsets": [3600, 7200, 3600]}
    (problem,) = checks.preflight_problems(fleet, settings)
    assert problem["what"].startswith("the time zone of rep1 is Etc/UTC, and Europe/Berlin on the")
    assert "`timedatectl set-timezone Europe/Berlin` on rep1" in problem["remedy"]
    here["time_zone"] = {"name": "Europe/Paris", "offsets": [3600, 7200, 3600]}
    assert whats(fleet, settings) == []
    here["time_zone"]["offsets"] = [3600, 3600, 3600]
    here["time_zone"]["name"] = "Europe/Berlin"
    (problem,) = checks.preflight_problems(fleet, settings)
    assert problem["remedy"].startswith("upgrade the package tzdata on rep1 and erp1, and restart")
    here["time_zone"] = dict(there["time_zone"])
    there["database"]["answers"]["time_zone"] = "Europe/Berlin"
    assert whats(fleet, settings) == []
    there["database"]["answers"]["time_zone"] = "Europe/Paris"
    assert len(whats(fleet, settings)) == 1
    there["database"]["answers"]["time_zone"] = "+01:00"
    (what,) = whats(fleet, settings)
    assert what.startswith("time_zone of MariaDB is SYSTEM on rep1, and +01:00 on the primary erp1")
    here["database"]["answers"]["time_zone"] = "+01:00"
    assert whats(fleet, settings) == []
    for survey, zone in ((here, "SYSTEM"), (there, "-05:30")):
        survey["time_zone"] = {"name": "x", "offsets": [-19800] * 3}
        survey["database"]["answers"]["time_zone"] = zone
    assert whats(fleet, settings) == []
