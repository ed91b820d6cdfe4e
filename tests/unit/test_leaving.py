"""Nodes and apps that leave: which can, and what is done on the host itself."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fleet import leaving as host_leaving
from fleet import nodes
from fleet.supervisor import control as supervisor
from fleet.units import CHANGES

from filter_plugins import preflight

FILTERS = preflight.FilterModule().filters()

GROUPS = {
    "all": ["erp1", "rep1", "rep2"],
    "primary": ["erp1"],
    "reporting": ["rep1", "rep2"],
    "heavy": ["rep2"],
    "both": ["rep1", "rep2"],
}


def test_a_removal_is_not_run_with_limit(tmp_path: Path) -> None:
    """With --limit on the node itself, the plays that judge and ask have no host."""
    local = {"ansible_connection": "local", "ansible_become": False}
    hosts = {"primary": {"hosts": {"erp1": local}}, "reporting": {"hosts": {"rep2": local}}}
    hosts |= {"router": {"children": {"primary": None}}}
    (tmp_path / "hosts.json").write_text(json.dumps({"all": {"children": hosts}}))
    command = str(Path(sys.executable).parent / "ansible-playbook")
    arguments = ["-i", str(tmp_path / "hosts.json"), "playbooks/remove_node.yml", "--check"]
    done = subprocess.run(
        [command, *arguments, "--limit", "rep2", "-e", "node=rep2"],
        cwd=Path(__file__).parents[2],
        env={**os.environ, "ANSIBLE_LOCAL_TEMP": str(tmp_path), "ANSIBLE_NOCOLOR": "1"},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    assert done.returncode != 0
    assert "--limit rep2:" in done.stdout
    assert "undefined" not in done.stdout
    assert "has no attribute" not in done.stdout


def test_groups_without_a_node_that_leaves() -> None:
    found = FILTERS["without_hosts"](GROUPS, ["rep2"])
    assert found["all"] == ["erp1", "rep1"]
    assert found["heavy"] == []
    assert FILTERS["without_hosts"](GROUPS, []) == GROUPS


@pytest.mark.parametrize(
    ("node", "problem"),
    [
        ("", "leaving_node_not_named"),
        ("rep9", "leaving_node_unknown"),
        ("erp1", "leaving_node_primary"),
    ],
)
def test_only_a_reporting_node_leaves(node: str, problem: str) -> None:
    (found,) = FILTERS["leaving_problems"](node, GROUPS, {})
    assert found["id"] == problem
    assert found["facts"] == {"node": node, "nodes": ["rep1", "rep2"]}
    assert found["remedy"] in FILTERS["leaving_text"]([found])
    assert problem in FILTERS["leaving_text"]([found])
    (found,) = FILTERS["leaving_problems"](node, {"primary": ["erp1"]}, {})
    assert found["facts"]["nodes"] == "none"


def test_a_node_with_placed_jobs_stays_and_each_entry_is_named() -> None:
    placement = {"a.b": "rep2", "c.*": "heavy", "d.e": "both", "f.g": "rep1", "h.i": "all"}
    found = FILTERS["leaving_problems"]("rep2", GROUPS, placement)
    assert [(problem["id"], problem["facts"]) for problem in found] == [
        ("leaving_node_has_job", {"job": "a.b", "node": "rep2"}),
        ("leaving_group_has_job", {"job": "c.*", "node": "rep2", "group": "heavy"}),
    ]
    assert FILTERS["leaving_problems"]("rep2", GROUPS, {"d.e": "both"}) == []
    assert FILTERS["leaving_problems"]("rep2", GROUPS, "no map") == []


def test_data_is_kept_or_deleted_and_nothing_else() -> None:
    (found,) = FILTERS["leaving_problems"]("rep2", GROUPS, {}, "gone")
    assert (found["id"], found["facts"]) == ("leaving_data_unknown", {"data": "gone"})
    assert FILTERS["leaving_problems"]("rep2", GROUPS, {}, "delete") == []


@pytest.mark.parametrize("app", ["", "frappe", "../x", "a b"])
def test_only_an_app_leaves_and_never_the_framework(app: str) -> None:
    (found,) = FILTERS["app_leaving_problems"](app, [], [])
    assert found["id"] == ("leaving_app_refused" if app else "leaving_app_not_named")
    assert found["facts"] == {"app": app}
    texts = [FILTERS["leaving_text"]([found], what) for what in ("app", "node")]
    assert found["remedy"] in texts[0]
    assert texts[0] != texts[1]


def test_an_app_that_the_inventory_still_names_stays() -> None:
    apps, sites = [{"name": "shop"}], [{"name": "a.test", "apps": ["shop"]}, {"name": "b.test"}]
    found = FILTERS["app_leaving_problems"]("shop", apps, sites)
    assert [(problem["id"], problem["facts"]) for problem in found] == [
        ("leaving_app_in_inventory", {"app": "shop"}),
        ("leaving_app_of_site", {"app": "shop", "site": "a.test"}),
    ]
    assert FILTERS["app_leaving_problems"]("stall", apps, sites) == []


def test_groups_of_the_bench_alone_are_stopped() -> None:
    status = (
        "frappe-bench-web:frappe-bench-frappe-web  RUNNING  pid 1, uptime 0:01:00\n"
        "frappe-bench-web:other  STOPPED\n"
        "shop  RUNNING  pid 2, uptime 0:01:00\n"
        "shop-web:x  RUNNING  pid 3, uptime 0:01:00\n"
    )
    assert host_leaving.groups_of(status, "frappe-bench") == ["frappe-bench-web"]
    assert host_leaving.groups_of("unix:///var/run/supervisor.sock no such file", "x") == []


@pytest.mark.parametrize(
    ("path", "may"),
    [("/", False), ("/var", False), ("/var/", False), ("var/lib", False), ("/var/lib/mysql", True)],
)
def test_no_folder_of_the_system_is_emptied(path: str, may: bool) -> None:
    assert host_leaving.is_folder_of_its_own(path) is may


def leaver(root: Path, check_mode: bool = False, data: str = "keep") -> host_leaving.Leaver:
    """One whose commands do nothing."""
    asked = {
        "fleet_id": "f1",
        "config_dir": str(root / "etc"),
        "lib_dir": str(root / "lib"),
        "state_dir": str(root / "state"),
        "bench": str(root / "home/frappe-bench"),
        "user": pwd.getpwuid(os.getuid()).pw_name,
        "cli_dir": str(root / "cli"),
        "seed_user": "benchfleet",
        "data": data,
    }

    def run(argv: list[str], **_options: Any) -> tuple[int, str, str]:
        return (1, "", "") if argv[0] == "nft" else (0, "", "")

    return host_leaving.Leaver(asked, run, check_mode)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A host with what a fleet puts there."""
    for folder in ("etc/ssh", "lib", "state", "cli", "home/frappe-bench/sites"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "etc/fleet.json").write_text(json.dumps({"fleet_id": "f1"}))
    (tmp_path / "etc/jobs.json").write_text("{}")
    (tmp_path / "cli/.benchfleet-complete").touch()
    for name in ("COPIES", "OWN"):
        monkeypatch.setattr(host_leaving, name, (str(tmp_path / "a"), str(tmp_path / "b")))
    monkeypatch.setattr(host_leaving, "COMMAND", str(tmp_path / "bench"))
    # Its nginx, with the router of a standby.
    monkeypatch.setattr(host_leaving, "NGINX", str(tmp_path / "nginx/benchfleet.conf"))
    monkeypatch.setattr(host_leaving, "ROUTER", (str(tmp_path / "nginx/benchfleet.conf"),))
    monkeypatch.setattr(host_leaving, "OTHER_SITES", (str(tmp_path / "nginx/*.conf"),))
    (tmp_path / "a").touch()
    (tmp_path / "bench").write_text("#!/bin/sh\n# Made by Benchfleet\n")
    return tmp_path


def test_a_host_that_leaves_keeps_its_bench_and_nothing_of_the_fleet(root: Path) -> None:
    leaver(root).leave()
    assert sorted(path.name for path in root.iterdir()) == ["home"]
    assert (root / "home/frappe-bench/sites").is_dir()


def test_a_bench_that_stays_gets_its_logs_back(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logs, kept = root / "programs", root / "home/frappe-bench/logs"
    monkeypatch.setattr(supervisor, "LOGS", str(logs))
    for folder in (logs, kept):
        folder.mkdir()
    for name in ("web.log", "web.log.1"):
        (logs / name).write_text(f"of {name}")
    (kept / "web.log").symlink_to(logs / "web.log")
    (kept / "rsync.log").write_text("its own")
    leaver(root).leave()
    texts = {path.name: path.read_text() for path in kept.iterdir() if not path.is_symlink()}
    assert texts == {"web.log": "of web.log", "web.log.1": "of web.log.1", "rsync.log": "its own"}


def test_a_bench_behind_a_link_is_not_left_without_a_message(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(host_leaving, "server_options", lambda: {"datadir": f"{root}/var/mysql"})
    bench = root / "home/frappe-bench"
    bench.rename(root / "elsewhere")
    bench.symlink_to(root / "elsewhere")
    with pytest.raises(host_leaving.LeaveError, match=str(root / "elsewhere")):
        leaver(root, data="delete").data()
    assert bench.is_symlink()


@pytest.mark.parametrize("others", [False, True])
def test_a_standby_gives_back_the_router_and_its_keys(root: Path, others: bool) -> None:
    for path in ("nginx/benchfleet.conf", "ssl/erp.key"):
        (root / path).parent.mkdir()
        (root / path).touch()
    (root / "state/router-brought").write_text(f"{root}/ssl/erp.key\n{root}/ssl/gone.key\n")
    if others:
        (root / "nginx/wiki.conf").touch()
    found = leaver(root)
    ran: list[list[str]] = []

    def run(argv: list[str], **_options: Any) -> tuple[int, str, str]:
        ran.append(argv)
        loaded = argv[1:] == ["show", "nginx.service", "-p", "LoadState,ActiveState,UnitFileState"]
        return (argv[0] == "nft", "LoadState=loaded\nActiveState=active\n" * loaded, "")

    found.command = run
    found.leave()
    assert not any((root / path).exists() for path in ("nginx/benchfleet.conf", "ssl/erp.key"))
    assert (["systemctl", "reload", "nginx.service"] in ran) is others
    assert (["systemctl", "disable", "--now", "nginx.service"] in ran) is not others


def test_the_copies_of_the_sites_folder_end_first() -> None:
    assert host_leaving.OWN[: len(host_leaving.COPIES)] == host_leaving.COPIES
    assert host_leaving.COPIES[-1].endswith(CHANGES)
    assert CHANGES in host_leaving.FILES_UNITS


def test_the_mark_goes_last(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    removed = []
    monkeypatch.setattr(host_leaving, "remove", lambda path: removed.append(Path(path).name))
    leaver(root).leave()
    assert removed[-2:] == ["fleet.json", "etc"]


def test_a_bench_command_of_others_and_their_folder_stay(root: Path) -> None:
    (root / "bench").write_text("#!/bin/sh\n")
    (root / "cli/.benchfleet-complete").unlink()
    leaver(root).leave()
    assert (root / "bench").exists()
    assert (root / "cli").is_dir()


def test_a_dry_run_names_what_it_would_do_and_does_nothing(root: Path) -> None:
    before = sorted(root.rglob("*"))
    found = leaver(root, check_mode=True)
    found.leave()
    assert f"remove {root}/etc/fleet.json" in found.did
    assert sorted(root.rglob("*")) == before


@pytest.mark.parametrize(("text", "fleet"), [(None, ""), ('{"fleet_id": "f2"}', "f2"), ("[]", "")])
def test_whose_host_it_is(tmp_path: Path, text: str | None, fleet: str) -> None:
    path = tmp_path / "fleet.json"
    if text is not None:
        path.write_text(text)
    assert host_leaving.fleet_of(str(path)) == fleet


def test_a_mark_that_cannot_be_read_is_no_leave(tmp_path: Path) -> None:
    (tmp_path / "fleet.json").write_text("{")
    with pytest.raises(host_leaving.LeaveError, match=r"fleet\.json"):
        host_leaving.fleet_of(str(tmp_path / "fleet.json"))


def test_a_node_that_waits_for_apps_is_put_back_apart_from_one_drained_by_hand(
    tmp_path: Path,
) -> None:
    params = {"node": "rep2", "known_only": False, "seconds": 0, "state_dir": str(tmp_path)}

    def ask(drained: bool, waiting: bool) -> tuple[bool, str]:
        asked = {**params, "waiting": waiting}
        done = nodes.drain(asked, {}, False) if drained else nodes.undrain(asked, False)
        return done["changed"], done["words"]

    assert ask(drained=True, waiting=False)[0]
    assert ask(drained=True, waiting=True)[0]
    assert len(nodes.drained(str(tmp_path))) == 1
    changed, by_hand = ask(drained=False, waiting=True)
    assert changed
    assert list(nodes.drained(str(tmp_path))) == ["rep2"]
    changed, back = ask(drained=False, waiting=False)
    assert changed
    assert list(nodes.drained(str(tmp_path))) == []
    changed, nothing = ask(drained=False, waiting=False)
    assert not changed
    # A node that still gets no calls has a message of its own.
    assert len({by_hand, back, nothing}) == 3


def test_a_node_that_the_router_forgot_is_not_drained_again(tmp_path: Path) -> None:
    params = {"node": "rep2", "known_only": True, "waiting": False, "state_dir": str(tmp_path)}
    done = nodes.drain(params, {}, False)
    assert not done["changed"]
    assert not (tmp_path / "drained").exists()
