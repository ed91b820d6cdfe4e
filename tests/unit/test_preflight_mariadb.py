"""MariaDB: versions, and settings that reports depend on."""

from __future__ import annotations

import pytest
from fleet.preflight import mariadb

from tests.unit.bare_fleet import ids, kinds, put_system


@pytest.mark.parametrize(
    ("product", "version", "kind"),
    [
        ("MariaDB", "10.11.6", ""),
        ("MariaDB", "11.4.3", ""),
        ("MariaDB", "11.8.2", ""),
        ("MariaDB", "10.6.18", "mariadb_unsupported"),
        ("MariaDB", "10.1.11", "mariadb_unsupported"),
        ("MySQL", "8.0.36", "database_not_mariadb"),
    ],
)
def test_installed_database(fleet, settings, product, version, kind):
    for host in fleet:
        host["survey"]["database"].update(
            product=product, version=version, program="/usr/sbin/mysqld"
        )
    found = [
        (kind, facts["host"], facts["product"], facts["version"])
        for kind, facts in kinds(fleet, settings)
    ]
    expected = [(kind, host, product, version) for host in ("erp1", "rep1")]
    assert found == (expected if kind else [])


def test_an_unsupported_mariadb_is_reported_with_the_one_of_the_system(fleet, settings):
    old = {"product": "MariaDB", "version": "10.6.1", "program": "/m"}
    fleet[0]["survey"]["database"].update(old)
    ((_kind, facts),) = kinds(fleet, settings)
    assert facts["packaged"] == "10.11"
    fleet[0]["system"] = {}
    ((_kind, facts),) = kinds(fleet, settings)
    assert facts["packaged"] == "unknown"


def test_replica_older_than_primary(fleet, settings):
    put_system(fleet[0], "13")
    facts = {
        "host": "rep1",
        "version": "10.11",
        "system": "Debian 12.5",
        "primary": "erp1",
        "primary_version": "11.8",
        "primary_system": "Debian 13",
    }
    assert kinds(fleet, settings) == [("replica_older", facts)]
    put_system(fleet[0], "12.5")
    put_system(fleet[1], "13")
    assert ids(fleet, settings) == []


def test_tables_in_memory_are_warned_of_where_they_are_copied(fleet, settings):
    settings["groups"]["mariadb_replica"] = ["rep1"]
    assert mariadb.memory_warnings(fleet, settings) == []
    fleet[1]["survey"]["database"]["memory_tables"] = ["`_a`.`left`"]
    fleet[0]["survey"]["database"]["memory_tables"] = ["`_a`.`cache`", "`wiki`.`hits`"]
    (warning,) = mariadb.memory_warnings(fleet, settings)
    assert "erp1: `_a`.`cache`, `wiki`.`hits`." in warning
    assert "_a`.`left" not in warning
    assert "`TRUNCATE TABLE NAME; ALTER TABLE NAME ENGINE=InnoDB;`" in warning
    del settings["groups"]["mariadb_replica"]
    assert mariadb.memory_warnings(fleet, settings) == []


def test_a_reporting_node_has_no_setting_of_its_own_that_changes_reports(fleet, settings):
    fleet[1]["mariadb_extra"] = {"lc-time-names": "de_DE", "max_connections": 50}
    facts = {"name": "lc_time_names", "value": "de_DE", "host": "rep1", "primary": "erp1"}
    kind = "setting_differs_from_primary"
    assert kinds(fleet, settings) == [(kind, {**facts, "primary_value": "unset"})]
    fleet[0]["survey"]["database"]["answers"]["lc_time_names"] = "en_US"
    assert kinds(fleet, settings) == [(kind, {**facts, "primary_value": "en_US"})]
    # What the inventory sets for the primary holds from this run on.
    fleet[0]["mariadb_extra"] = {"lc_time_names": "DE_de"}
    assert ids(fleet, settings) == []
    fleet[1]["mariadb_extra"] = fleet[0]["mariadb_extra"] = "no map"
    assert ids(fleet, settings) == []


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
    names = {"host": "rep1", "primary": "erp1"}
    zones = {"zone": "Etc/UTC", "primary_zone": "Europe/Berlin", "wanted": "Europe/Berlin"}
    assert kinds(fleet, settings) == [("time_zone_differs", {**names, **zones})]
    here["time_zone"] = {"name": "Europe/Paris", "offsets": [3600, 7200, 3600]}
    assert ids(fleet, settings) == []
    here["time_zone"]["offsets"] = [3600, 3600, 3600]
    here["time_zone"]["name"] = "Europe/Berlin"
    zones = {"zone": "Europe/Berlin", "primary_zone": "Europe/Berlin"}
    assert kinds(fleet, settings) == [("time_zone_data_differs", {**names, **zones})]
    here["time_zone"] = dict(there["time_zone"])
    there["database"]["answers"]["time_zone"] = "Europe/Berlin"
    assert ids(fleet, settings) == []
    there["database"]["answers"]["time_zone"] = "Europe/Paris"
    assert ids(fleet, settings) == ["mariadb_time_zone_differs"]
    there["database"]["answers"]["time_zone"] = "+01:00"
    zones = {"zone": "SYSTEM", "primary_zone": "+01:00"}
    assert kinds(fleet, settings) == [("mariadb_time_zone_differs", {**names, **zones})]
    here["database"]["answers"]["time_zone"] = "+01:00"
    assert ids(fleet, settings) == []
    for survey, zone in ((here, "SYSTEM"), (there, "-05:30")):
        survey["time_zone"] = {"name": "x", "offsets": [-19800] * 3}
        survey["database"]["answers"]["time_zone"] = zone
    assert ids(fleet, settings) == []
