"""Who may become the primary, and every reason against it."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import pytest
from fleet.switching import evidence, files, gtids, prechecks, records

HOSTS = {"erp1": "10.0.0.11", "rep1": "10.0.0.21", "rep2": "10.0.0.22"}
GROUPS = {"primary": ["erp1"], "reporting": ["rep1", "rep2"]}
OFF = {"trouble": "ssh: connect to host 10.0.0.11 port 22: No route to host", "away": True}
SINCE = "2026-11-30T18:00:00+00:00"
KEY = {"trouble": "Host key verification failed.", "away": True}


def record(primary: str = "erp1", epoch: int = 3, **more: Any) -> dict[str, Any]:
    return {
        "fleet_id": "f",
        "epoch": epoch,
        "primary": primary,
        "since": SINCE,
        "hosts": HOSTS,
        "open_alone": True,
        **more,
    }


def answers(**changed: Any) -> dict[str, dict[str, Any]]:
    """What three hosts say, in step unless told."""
    fine = {"record": record(), "trouble": "", "away": False}
    return {host: {**fine, **changed.get(host, {})} for host in HOSTS}


def judged(verb: str = "switchover", to: str = "", former: str = "", **changed: Any):
    return records.judged(verb, answers(**changed), GROUPS, "rep1", to, former)


def ids(problems: Any) -> list[str]:
    return [problem["id"] for problem in problems]


@pytest.mark.parametrize(
    ("wanted", "primary", "standby"),
    [
        (None, "erp1", "rep1"),
        ("rep2", "erp1", "rep2"),
        ("", "erp1", ""),
        ("rep9", "erp1", ""),
        # A host is no standby of its own.
        ("rep2", "rep2", "erp1"),
    ],
)
def test_the_standby(wanted: str | None, primary: str, standby: str):
    groups = {"primary": [primary], "reporting": [host for host in HOSTS if host != primary]}
    assert records.standby_of(groups, wanted) == standby
    assert records.standby_of({"primary": [primary]}, wanted) == ""


def test_a_change_that_can_begin():
    found = judged()
    assert found["problems"] == []
    assert (found["new"], found["old"], found["done"], found["moved"]) == (
        "rep1",
        "erp1",
        False,
        False,
    )
    assert found["record"] == {
        "fleet_id": "f",
        "primary": "rep1",
        "epoch": 4,
        "hosts": HOSTS,
        "open_alone": True,
    }
    assert records.opening(found) == ["erp1", "rep1"]


@pytest.mark.parametrize(
    ("to", "changed", "expected"),
    [
        ("", {host: {"record": None} for host in HOSTS}, ["switch_no_record"]),
        ("", {"rep2": {"record": record("rep1")}}, ["switch_two_records"]),
        ("rep9", {}, ["switch_target_unknown"]),
        ("rep2", {}, ["switch_not_standby"]),
        ("", {"erp1": OFF}, ["switch_host_away"]),
        ("", {"rep1": KEY}, ["switch_host_away"]),
        ("", {"rep2": OFF}, []),
        ("", {"rep1": OFF, "rep2": OFF}, ["switch_host_away", "switch_no_majority"]),
    ],
)
def test_a_change_that_cannot_begin(to: str, changed: dict[str, Any], expected: list[str]):
    changed = {
        host: {**about, "record": None} if about.get("trouble") else about
        for host, about in changed.items()
    }
    assert ids(judged(to=to, **changed)["problems"]) == expected


def test_no_standby_and_no_name():
    assert ids(records.judged("switchover", answers(), GROUPS, "")["problems"]) == [
        "switch_no_target"
    ]


def test_an_interrupted_change_is_gone_on_with():
    # The former primary has heard the last word, and nobody else.
    found = judged(erp1={"record": record("rep1", 4)})
    assert (found["done"], found["moved"], found["primary"]) == (True, True, "rep1")
    assert (found["new"], found["old"], found["record"]["epoch"]) == ("rep1", "erp1", 4)
    assert ids([records.moved_problem(found)]) == ["switch_inventory_differs"]
    # With the groups as they are now.
    moved = {"primary": ["rep1"], "reporting": ["erp1", "rep2"]}
    changed = answers(erp1={"record": record("rep1", 4)})
    again = records.judged("switchover", changed, moved, "erp1", "rep1", "erp1")
    assert (again["done"], again["moved"], again["problems"]) == (True, False, [])
    assert (again["new"], again["old"], again["changes"]) == ("rep1", "erp1", False)


def test_a_failover_that_was_killed_is_gone_on_with():
    found = judged("failover", erp1={**OFF, "record": None}, rep2={"record": record("rep1", 4)})
    assert (found["done"], found["problems"], found["record"]["epoch"]) == (True, [], 4)
    assert (found["new"], found["former"]) == ("rep1", "erp1")


def test_a_lost_primary_has_no_voice():
    found = judged("failover", erp1={**OFF, "record": None})
    assert found["problems"] == []
    assert list(found["record"]["hosts"]) == ["rep1", "rep2"]
    assert found["record"]["open_alone"] is False
    # A majority of the hosts that the old record names.
    assert records.opening(found) == ["rep1", "rep2"]


def test_a_failover_that_no_majority_would_know_is_refused():
    changed = {host: {**OFF, "record": None} for host in ("erp1", "rep2")}
    assert ids(judged("failover", **changed)["problems"]) == ["failover_no_majority"]
    # It would be refused also where an earlier one has named the new primary already.
    changed["rep1"] = {"record": record("rep1", 4, hosts={"rep1": "1", "rep2": "2"})}
    assert ids(judged("failover", **changed)["problems"]) == ["failover_no_majority"]
    # By the inventory, the operator says that the others are lost.
    groups = {"primary": ["erp1"], "reporting": ["rep1"]}
    seen = {host: {**OFF, "record": None} for host in ("erp1",)} | {"rep1": {"record": record()}}
    found = records.judged("failover", seen, groups, "rep1")
    assert (found["problems"], list(found["record"]["hosts"])) == ([], ["rep1"])
    assert records.opening(found) == ["rep1"]
    # Also where an earlier run has stored the new record with their voices.
    seen["rep1"] = {"record": record("rep1", 4, hosts={"rep1": "1", "rep2": "2"})}
    found = records.judged("failover", seen, groups, "rep1")
    assert (found["done"], found["record"]["hosts"]) == (True, {"rep1": "1"})
    # Two hosts: the former primary died after the last word of a switchover.
    seen["rep1"] = {"record": record("rep1", 4, hosts={"erp1": "0", "rep1": "1"})}
    found = records.judged("failover", seen, groups, "rep1")
    assert (found["done"], found["record"]["hosts"]) == (True, {"rep1": "1"})
    assert (found["record"]["epoch"], found["record"]["open_alone"]) == (4, False)
    # A host that answers has its voice also where the command is another.
    assert list(records.judged("switchover", answers(), groups, "rep1")["record"]["hosts"]) == list(
        HOSTS
    )


@pytest.mark.parametrize(
    ("node", "changed", "expected"),
    [
        ("rep1", {}, []),
        ("rep1", {"erp1": {**OFF, "record": None}}, ["rejoin_host_away"]),
        ("rep9", {}, ["rejoin_unknown"]),
        ("rep1", {"rep1": {**OFF, "record": None}}, ["rejoin_host_away"]),
    ],
)
def test_a_host_that_comes_back(node: str, changed: dict[str, Any], expected: list[str]):
    found = judged("rejoin", node, **changed)
    assert ids(found["problems"]) == expected
    if not expected:
        assert (found["new"], found["old"], found["record"]["epoch"]) == ("erp1", "rep1", 3)


def test_a_primary_that_a_failover_has_shut_out_is_let_in_again():
    found = judged("rejoin", "erp1")
    assert (found["problems"], found["new"], found["old"]) == ([], "erp1", "erp1")
    assert found["record"]["epoch"] == 3


def test_a_host_that_alone_knew_of_another_change_comes_back():
    # It had heard the last word of a switchover to rep1; the failover went to rep2.
    others = {"rep1": HOSTS["rep1"], "rep2": HOSTS["rep2"]}
    new = {"record": record("rep2", 4, hosts=others, open_alone=False)}
    changed = {"erp1": {"record": record("rep1", 4)}, "rep1": new, "rep2": new}
    found = judged("rejoin", "erp1", **changed)
    assert (found["problems"], found["primary"]) == ([], "rep2")
    # One that is higher than both, and names the primary of most.
    assert {**found["record"], "since": SINCE} == {**new["record"], "epoch": 5}
    assert ids(judged(**changed)["problems"]) == ["switch_two_records"]
    # It is not known which one most hosts name.
    changed["rep2"] = {**OFF, "record": None}
    assert ids(judged("rejoin", "erp1", **changed)["problems"]) == ["switch_two_records"]


FOLLOWS = {
    "read_only": True,
    "follows": HOSTS["erp1"],
    "io": "Yes",
    "sql": "Yes",
    "heartbeat_age": 0.4,
    "version": "10.11.6-MariaDB-deb12",
    "binlog_pos": "0-1-100",
    "binlog_state": "0-1-100",
    "slave_pos": "0-1-100",
    "data_free_mb": 9000,
}
PRIMARY = {**FOLLOWS, "read_only": False, "follows": "", "heartbeat_age": None}
APPS = {"frappe": {"commit": "abcdef", "changes": ""}}


def problems(primary: dict[str, Any] | None = None, **changed: Any) -> list[str]:
    """Reasons against a change, with what differs from a fleet in order."""
    seen = {
        host: {
            "database": PRIMARY if host == "erp1" else FOLLOWS,
            "apps": APPS,
            "queue": {"role": "copy", "link": "up"} if host == "rep1" else None,
            "adopting": False,
            "trouble": "",
            **changed.get(host, {}),
        }
        for host in HOSTS
    }
    look = {**PRIMARY, **(primary or {})}
    return ids(prechecks.switch_problems(judged(), seen, look, "/bench"))


def test_a_fleet_in_order():
    assert problems() == []


@pytest.mark.parametrize(
    ("look", "expected"),
    [
        ({"read_only": False}, "switch_replica_open"),
        ({"follows": HOSTS["rep2"]}, "switch_other_source"),
        ({"follows": ""}, "switch_other_source"),
        ({"sql": "No", "sql_error": [1062, "Duplicate entry"]}, "switch_data_differ"),
        ({"sql": "No", "sql_error": [1032, "no row"]}, "switch_data_differ"),
        ({"io": "No", "io_error": [1236, "log"]}, "switch_data_differ"),
        ({"sql": "No", "sql_error": [1950, "order"]}, "switch_data_differ"),
        ({"io": "Connecting", "io_error": [2003, "no way"]}, "switch_replication_stopped"),
        ({"sql": "No"}, "switch_replication_stopped"),
        ({"heartbeat_age": 9.0}, "switch_lag"),
        ({"heartbeat_age": None}, "switch_lag"),
        ({"binlog_pos": "0-2-101"}, "switch_errant"),
        ({"data_free_mb": 300}, "switch_disk"),
        ({"version": "10.6.1-MariaDB"}, "switch_version"),
    ],
)
def test_a_new_primary_that_is_not_fit(look: dict[str, Any], expected: str):
    assert problems(rep1={"database": {**FOLLOWS, **look}}) == [expected]


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"rep2": {"database": {**FOLLOWS, "version": "10.6.1-MariaDB"}}}, "switch_version"),
        ({"rep2": {"apps": {}}}, "switch_apps"),
        ({"rep2": {"apps": {"frappe": {"commit": "fed", "changes": ""}}}}, "switch_apps"),
        ({"rep1": {"queue": {"role": "primary", "link": ""}}}, "switch_queue"),
        ({"erp1": {"adopting": True}}, "switch_adopting"),
        ({"rep2": {"trouble": "no answer", "database": None}}, "switch_database_unread"),
    ],
)
def test_a_fleet_that_is_not_fit(changed: dict[str, Any], expected: str):
    assert problems(**changed) == [expected]


def test_what_a_former_primary_wrote_is_not_errant():
    # It knows a server that the new primary, a later copy, does not list.
    former = {**FOLLOWS, "binlog_state": "0-2-50,0-1-100"}
    assert problems({"binlog_state": "0-1-101"}, rep2={"database": former}) == []


def test_a_primary_that_is_closed():
    assert problems({"read_only": True}) == ["switch_primary_closed"]


LOST = {**FOLLOWS, "io": "Connecting", "heartbeat_age": 4.0, "received": "0-1-90"}


def against(
    answer: dict[str, Any] = OFF,
    confirm: str = "erp1",
    accept: float = 0,
    looks: dict[str, Any] | None = None,
) -> list[str]:
    """Reasons against a failover of a fleet whose primary is off."""
    found = judged("failover", erp1={**OFF, "record": None})
    looks = {"rep1": LOST, "rep2": LOST} if looks is None else looks
    return ids(evidence.failover_problems(found, answer, looks, {}, confirm, 5, accept))


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({}, []),
        ({"answer": {"trouble": "", "away": False}}, ["failover_reached"]),
        ({"answer": KEY}, ["failover_unsure"]),
        ({"answer": {"trouble": "timed out", "late": True}}, []),
        ({"looks": {}}, ["failover_no_replica"]),
        ({"looks": {"rep2": LOST}}, ["failover_target_broken"]),
        ({"looks": {"rep1": LOST, "rep2": {**LOST, "io": "Yes"}}}, ["failover_replica_connected"]),
        # A failover that was cut off left it so.
        ({"looks": {"rep1": {**LOST, "io": "Yes", "follows": HOSTS["rep2"]}, "rep2": LOST}}, []),
        (
            {"looks": {"rep1": {**LOST, "heartbeat_age": 900.0}, "rep2": LOST}},
            # What the other one has is fetched.
            [],
        ),
        (
            {"looks": {"rep1": LOST, "rep2": {**LOST, "heartbeat_age": 1.0}}},
            ["failover_heartbeat_fresh"],
        ),
        ({"confirm": ""}, ["failover_unconfirmed"]),
        ({"confirm": "rep1"}, ["failover_unconfirmed"]),
        ({"looks": {"rep1": {**LOST, "heartbeat_age": 90.0}}}, ["failover_loss"]),
        ({"looks": {"rep1": {**LOST, "heartbeat_age": 90.0}}, "accept": 120}, []),
        ({"looks": {"rep1": {**LOST, "heartbeat_age": None}}, "accept": 1}, ["failover_loss"]),
        ({"looks": {"rep1": {**LOST, "heartbeat_age": None}}, "accept": 180}, []),
        # The clock of the lost one was an hour ahead.
        ({"looks": {"rep1": {**LOST, "heartbeat_age": -3600.0}}}, ["failover_loss"]),
        ({"looks": {"rep1": {**LOST, "heartbeat_age": -3600.0}}, "accept": 180}, []),
    ],
)
def test_whether_the_primary_is_lost(changed: dict[str, Any], expected: list[str]):
    assert against(**changed) == expected


def test_the_word_that_is_asked_for_is_enough_for_some_minutes():
    found = judged("failover", erp1={**OFF, "record": None})
    looks = {"rep1": {**LOST, "heartbeat_age": 301.0}}
    (problem,) = evidence.failover_problems(found, OFF, looks, {}, "erp1", 5, 0)
    later = {"rep1": {**LOST, "heartbeat_age": 301.0 + 170}}
    accept = problem["facts"]["accept"]
    assert list(evidence.failover_problems(found, OFF, later, {}, "erp1", 5, accept)) == []


def test_who_has_the_most():
    more = {**LOST, "received": "0-1-120"}
    assert evidence.ahead_of({"rep1": LOST, "rep2": more}, "rep1") == "rep2"
    assert evidence.ahead_of({"rep1": more, "rep2": more}, "rep1") == ""
    assert evidence.ahead_of({"rep1": more}, "rep1") == ""
    assert evidence.ahead_of({"rep2": more}, "rep1") == ""
    # What it has applied counts, too: after a restart the received position may be empty.
    assert gtids.furthest({"received": "", "slave_pos": "0-1-7", "binlog_pos": "0-2-5"}) == "0-1-7"
    assert gtids.lacks("0-1-7,1-1-2", "0-1-9,1-1-2,2-3-4") == 6


def test_what_may_be_lost_is_told():
    found = judged("failover", erp1={**OFF, "record": None}, rep2={**OFF, "record": None})
    words = evidence.may_lose(found, {"rep1": LOST}, {})
    assert any("rep2" in text for text in words), "a host that nobody could ask"
    for to, newest in (("rep1", "last seconds"), ("rep2", "last minute")):
        words = evidence.may_lose(judged("failover", to), {to: LOST}, {})
        assert any(newest in text for text in words if text.startswith("Files"))
    more = {**LOST, "received": "0-1-120"}
    fetched = evidence.may_lose(judged("failover"), {"rep1": LOST, "rep2": more}, {"role": "copy"})
    assert (
        len(fetched)
        == len(evidence.may_lose(judged("failover"), {"rep1": LOST}, {"role": "copy"})) + 1
    )
    assert evidence.jobs_at_work([]) == []
    (_head, line) = evidence.jobs_at_work([{"id": "7", "method": "a.b", "site": "s", "since": "x"}])
    assert all(part in line for part in ("7", "a.b", "s", "x"))


@pytest.mark.parametrize(
    ("look", "trouble", "expected"),
    [
        ({"read_only": True}, "", []),
        ({"read_only": False}, "", ["rejoin_open"]),
        ({}, "no answer", ["failover_target_broken"]),
    ],
)
def test_a_database_that_comes_back(look: dict[str, Any], trouble: str, expected: list[str]):
    found = judged("rejoin", "rep1")
    assert ids(evidence.returned_problems(found, look, trouble)) == expected


def test_files_are_looked_for_from_a_day_before_the_loss():
    found, day = judged("rejoin", "rep1"), 24 * 3600
    promoted = found["since_seconds"]
    assert evidence.files_since(found, None, promoted + 100) == 0
    # It was lost six hours before another one was the primary; or it worked on, cut off.
    assert evidence.files_since(found, 6 * 3600 + 100, promoted + 100) == promoted - 6 * 3600 - day
    assert evidence.files_since(found, 10, promoted + 100) == promoted - day


def test_files_that_only_a_former_primary_has(tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    for sites, names in ((here, ("a", "b", "d")), (there, ("a", "d"))):
        folder = sites / "erp.test/private/files/inner"
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).write_text(name)
        (sites / "erp.test/site_config.json").write_text("{}")
    (there / "erp.test/private/files/inner/d").write_text("other")
    (here / "erp.test/private/files/link").symlink_to("/etc/passwd")
    found = files.recent(str(here), 0)
    inner = "erp.test/private/files/inner"
    assert found == {f"{inner}/{name}": 1 for name in ("a", "b", "d")}
    assert files.recent(str(here), 4e9) == {}
    missing = files.lacking(str(there), found)
    assert missing == [f"{inner}/b", f"{inner}/d"]
    kept = tmp_path / "kept" / "files"
    assert files.keep(str(here), dict.fromkeys(missing, 1), str(kept)) == {
        "new": missing,
        "kept": missing,
    }
    assert (kept / inner / "b").read_text() == "b"
    assert kept.stat().st_mode & 0o777 == kept.parent.stat().st_mode & 0o777 == 0o700
    # Again, nothing is to be done; no name leads out of the folder; and one is gone meanwhile.
    names = dict.fromkeys([*missing, "../../etc/passwd", "/etc/passwd", f"{inner}/gone"], 1)
    assert files.keep(str(here), names, str(kept)) == {"new": [], "kept": missing}
    with pytest.raises(OSError, match="MiB"):
        files.keep(str(here), {f"{inner}/a": 2**62}, str(kept))


@pytest.mark.skipif(os.geteuid() != 0, reason="root only")
def test_nothing_of_roots_is_kept_by_a_link_of_the_benchs_account(tmp_path):
    sites, secret = tmp_path / "sites", tmp_path / "secret"
    secret.mkdir(mode=0o700)
    (secret / "key").write_text("key")
    folder = sites / "erp.test/private/files"
    (folder / "inner").mkdir(parents=True)
    for name in ("inner/key", "pipe", "link", os.fsdecode(b"\xff"), "n" * 255):
        (folder / name).write_text("own")
    for path in (sites, *sites.rglob("*")):
        os.chown(path, 65534, 65534)
    for path in (tmp_path, *tmp_path.parents):
        if path.stat().st_uid == 0 and path.is_relative_to(tempfile.gettempdir()):
            path.chmod(path.stat().st_mode | 0o055)
    place = "erp.test/private/files"
    found = files.recent(str(sites), 0)
    assert set(found) == {f"{place}/{name}" for name in ("inner/key", "pipe", "link", "n" * 255)}
    # After the list was made.
    for name in ("pipe", "link", "inner/key"):
        (folder / name).unlink()
    (folder / "inner").rmdir()
    (folder / "inner").symlink_to(secret)
    (folder / "link").symlink_to(secret / "key")
    os.mkfifo(folder / "pipe")
    for path in folder.iterdir():
        os.chown(path, 65534, 65534, follow_symlinks=False)
    kept = tmp_path / "kept" / "files"
    assert files.keep(str(sites), found, str(kept))["new"] == [f"{place}/{'n' * 255}"]
    assert [path.name for path in kept.rglob("*") if path.is_file()] == ["n" * 255]
