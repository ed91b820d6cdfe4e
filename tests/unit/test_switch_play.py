"""The plays that change the primary, with stand-ins for the modules that work on hosts."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
# Instead of at_host and ask_host: notes each step with its host, and whether an execution of a
# module begins with it, and answers as the test says. A step after which a host is lost is the last
# that it answers.
STAND_IN = """
import json
import sys
from pathlib import Path
from ansible.plugins.action import ActionBase

sys.path.append(ROOT)
from plugins.action.at_host import executions

class ActionModule(ActionBase):
    def run(self, tmp=None, task_vars=None):
        host = str(self._task.delegate_to or task_vars["inventory_hostname"])
        asked, plain = self._task.args, Path(__file__).stem == "ask_host"
        result = {"changed": False, "said": {}, "away": False, "at": ""}
        steps = [asked] if plain else asked["steps"]
        first = [one[0] for one in executions(steps)]
        for step in steps:
            own = step.get("arguments", {})
            which = own.get("step") or own.get("state") or ""
            what = f"{step['module']} {which}".strip()
            name = step.get("name") or step["module"]
            lines = [json.loads(line) for line in open(LOG)]
            last = LOST.get(host)
            if last == "" or [host, last] in [line[:2] for line in lines]:
                lost = "ssh: connect to host x port 22: No route to host"
                away = {"trouble": lost, "away": True}
                failed = {**result, "failed": True, "away": True, "at": name, "msg": f"{host}?"}
                return {"changed": False, "target": {}, **away} if plain else failed
            with open(LOG, "a") as log:
                log.write(json.dumps([host, what, own, step in first]) + "\\n")
            found = ANSWERS.get(f"{host} {what}", ANSWERS.get(what, {}))
            if not plain and what == "fleet_record known":
                found = ANSWERS.get("known later", found)
            if plain:
                return {"changed": False, "trouble": "", "away": False, "target": {}, **found}
            if found.get("failed"):
                return {**result, "failed": True, "at": name, "msg": f"{host}: {what} failed"}
            result["said"][name] = found
        return result
"""
HOSTS = {"erp1": "10.0.0.11", "rep1": "10.0.0.21", "rep2": "10.0.0.22"}
RECORD = {
    "fleet_id": "f",
    "epoch": 3,
    "primary": "erp1",
    "since": "2026-11-30T18:00:00+00:00",
    "hosts": HOSTS,
    "open_alone": True,
}
FOLLOWS = {
    "read_only": True,
    "follows": HOSTS["erp1"],
    "io": "Yes",
    "sql": "Yes",
    "heartbeat_age": 0.4,
    "version": "10.11.6-MariaDB",
    "binlog_pos": "0-1-100",
    "binlog_state": "0-1-100",
    "slave_pos": "0-1-100",
    "received": "0-1-100",
    "data_free_mb": 9000,
}
APPS = {"apps": {"frappe": {"commit": "abc", "changes": ""}}}
ANSWERS: dict[str, Any] = {
    "fleet_record known": {"record": RECORD},
    "mariadb_switch look": FOLLOWS,
    "erp1 mariadb_switch look": {**FOLLOWS, "read_only": False, "follows": ""},
    "mariadb_switch close": {"gtid": "0-1-101"},
    "bench_info": APPS,
    "redis_switch look": {"role": "copy", "link": "up"},
    "erp1 bench_switch quiet": {"drained": ["rep1", "rep2"]},
}
LOST_LOOK = {**FOLLOWS, "io": "Connecting", "heartbeat_age": 4.0}
# What makes a change final: the former primary's own record.
LAST_WORD = ["erp1", "fleet_record stored"]


@dataclass
class Played:
    """A run: its exit status, what it said, seconds, and the steps.

    A step is [host, what, arguments, whether an execution begins with it].
    """

    status: int
    output: str
    seconds: float
    steps: list[list[Any]]

    @property
    def asked(self) -> list[list[str]]:
        """Host and step of each."""
        return [step[:2] for step in self.steps]

    def arguments(self, what: str) -> list[dict[str, Any]]:
        """The arguments of a step, each time that it was done."""
        return [step[2] for step in self.steps if step[1] == what]

    def at(self, host: str) -> list[str]:
        """The steps on a host."""
        return [what for where, what in self.asked if where == host]


@pytest.fixture
def play(tmp_path: Path) -> Callable[..., Played]:
    """Plays a playbook of switch_new's plays on hosts that are this machine."""
    actions = tmp_path / "actions"
    actions.mkdir()
    log = tmp_path / "log"
    log.touch()
    local = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
    hosts = {name: {**local, "lan_ip": address} for name, address in HOSTS.items()}

    def run(
        playbook: str,
        answers: dict[str, Any] | None = None,
        lost: dict[str, str] | None = None,
        nodes: tuple[str, ...] = ("rep1", "rep2"),
        check: bool = False,
        **variables: Any,
    ) -> Played:
        groups = {
            "primary": {"hosts": {"erp1": hosts["erp1"]}},
            "reporting": {"hosts": {name: hosts[name] for name in nodes}},
            "redis": {"children": {"primary": None}},
            "router": {"children": {"primary": None}},
        }
        (tmp_path / "hosts.yml").write_text(yaml.safe_dump({"all": {"children": groups}}))
        text = STAND_IN.replace("LOG", repr(str(log))).replace("ROOT", repr(str(ROOT)))
        text = text.replace("LOST", repr(lost or {}))
        text = text.replace("ANSWERS", repr({**ANSWERS, **(answers or {})}))
        for name in ("at_host", "ask_host"):
            (actions / f"{name}.py").write_text(text)
        plays = yaml.safe_load((ROOT / "playbooks" / playbook).read_text())
        own = [{**one, "become": False} for one in plays if "hosts" in one]
        (tmp_path / "play.yml").write_text(yaml.safe_dump(own))
        known = {
            "fleet_state_dir": str(tmp_path / "state"),
            "fleet_secrets": {
                "mariadb_replication_password": "r",
                "mariadb_probe_password": "p",
            },
            "fleet_forward_port": 8003,
            "fleet_record_port": 8004,
            "fleet_fence_file": "/etc/fence.nft",
            **variables,
        }
        since = time.monotonic()
        done = subprocess.run(
            [str(BIN / "ansible-playbook"), "-i", "hosts.yml", "play.yml", "-e", json.dumps(known)]
            + ["--check"] * check,
            cwd=tmp_path,
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_ACTION_PLUGINS": f"{actions}:{ROOT}/plugins/action",
                "ANSIBLE_CALLBACK_PLUGINS": str(ROOT / "plugins/callback"),
                "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
                "ANSIBLE_REMOTE_TEMP": str(tmp_path / "remote"),
            },
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        steps = [json.loads(line) for line in log.read_text().splitlines()]
        return Played(done.returncode, done.stdout, time.monotonic() - since, steps)

    return run


def test_a_planned_change(play: Callable[..., Played]):
    done = play("switchover.yml")
    assert done.status == 0, done.output
    since = done.asked.index(["erp1", "bench_switch close"])
    until = done.asked.index(["erp1", "forward present"])
    assert done.asked[since : until + 1] == [
        ["erp1", "bench_switch close"],
        ["erp1", "mariadb_switch close"],
        ["rep1", "mariadb_switch reach"],
        ["rep1", "bench_switch files"],
        ["erp1", "mariadb_switch closed"],
        LAST_WORD,
        ["erp1", "redis_switch failover"],
        ["rep1", "fleet_record stored"],
        ["rep1", "mariadb_switch promote"],
        ["rep1", "redis_switch takeover"],
        ["rep1", "bench_switch take"],
        ["rep1", "forward absent"],
        LAST_WORD,
        ["erp1", "forward present"],
    ], done.output
    # Each costs users as much as its work, or more.
    assert sum(step[3] for step in done.steps[since : until + 1]) == 5
    stored = done.arguments("fleet_record stored")
    assert {own["epoch"] for own in stored} == {4}
    assert len({own["since"] for own in stored}) == 1
    assert stored[0]["hosts"] == HOSTS
    (reach,) = done.arguments("mariadb_switch reach")
    assert reach["gtid"] == "0-1-101"
    (take,) = done.arguments("bench_switch take")
    # What an operator had drained stays so, but for the one that is no node any more.
    assert (take["host"], take["address"], take["drained"]) == ("rep1", HOSTS["rep1"], ["rep2"])
    quiet = [host for host, what in done.asked[:since] if what == "bench_switch quiet"]
    assert sorted(quiet) == sorted(HOSTS)
    assert done.at("rep2")[-2:] == ["fleet_record stored", "mariadb_switch follow"]
    assert done.at("erp1")[-1] == "mariadb_switch follow"


@pytest.mark.parametrize(
    ("lost", "answers"),
    [
        ({}, {"rep2 bench_switch quiet": {"failed": True}}),
        ({}, {"rep1 bench_switch ready": {"failed": True}}),
        ({}, {"erp1 mariadb_switch close": {"failed": True}}),
        ({}, {"rep1 mariadb_switch reach": {"failed": True}}),
        ({}, {"erp1 mariadb_switch closed": {"failed": True}}),
        ({"rep1": "bench_switch ready"}, {}),
        ({"rep1": "mariadb_switch reach"}, {}),
        ({"rep2": "bench_switch quiet"}, {"rep1 mariadb_switch reach": {"failed": True}}),
    ],
    ids=lambda value: json.dumps(value),
)
def test_before_the_last_word_the_former_primary_goes_on(
    play: Callable[..., Played], lost: dict[str, str], answers: dict[str, Any]
):
    done = play("switchover.yml", answers, lost)
    assert done.status == 2, done.output
    assert "fleet_record stored" not in [what for _host, what in done.asked]
    assert done.at("erp1")[-2:] == ["mariadb_switch reopen", "bench_switch back"], done.output
    for node in {"rep1", "rep2"} - set(lost):
        assert "bench_switch back" in done.at(node)[-2:]
    if "rep1" not in lost:
        assert done.at("rep1")[-1] == "bench_switch left"
    assert "mariadb_switch promote" not in done.at("rep1")


def test_a_primary_that_is_lost_in_the_middle_is_told(play: Callable[..., Played]):
    done = play("switchover.yml", lost={"erp1": "mariadb_switch close"})
    assert done.status == 2
    assert "./fleet failover" in done.output
    assert "mariadb_switch promote" not in done.at("rep1")


def test_queues_that_stay_do_not_undo_the_change(play: Callable[..., Played]):
    done = play("switchover.yml", {"erp1 redis_switch failover": {"failed": True}})
    assert done.status == 0, done.output
    assert done.at("erp1").count("redis_switch failover") == 1
    assert "redis_switch promote" in done.at("rep1")
    assert "mariadb_switch reopen" not in done.at("erp1")[3:]


def test_a_last_word_whose_answer_was_lost_counts(play: Callable[..., Played]):
    later = {"known later": {"record": {**RECORD, "epoch": 4, "primary": "rep1"}}}
    done = play("switchover.yml", {**later, "erp1 fleet_record stored": {"failed": True}})
    assert done.status == 0, done.output
    assert "mariadb_switch reopen" not in done.at("erp1")[3:]
    assert "mariadb_switch promote" in done.at("rep1")
    assert "redis_switch takeover" in done.at("rep1")
    # Where it was never heard, nothing has changed.
    done = play("switchover.yml", {"erp1 fleet_record stored": {"failed": True}})
    assert done.status == 2
    assert done.at("erp1")[-2:] == ["mariadb_switch reopen", "bench_switch back"]


@pytest.mark.parametrize(
    ("answers", "named"),
    [
        ({"rep1 mariadb_switch look": {**FOLLOWS, "heartbeat_age": 60}}, "switch_lag"),
        ({"rep1 mariadb_switch look": {"failed": True}}, "switch_database_unread"),
        ({"rep1 redis_switch look": {"role": "copy", "link": "down"}}, "switch_queue"),
        ({"rep2 bench_info": {"apps": {}}}, "switch_apps"),
    ],
)
def test_a_change_is_refused_before_anything_ends(
    play: Callable[..., Played], answers: dict[str, Any], named: str
):
    done = play("switchover.yml", answers)
    assert done.status == 2
    assert f"id:     {named}" in done.output.replace("\\n", "\n"), done.output
    assert "bench_switch quiet" not in [what for _host, what in done.asked]


def test_a_host_that_is_off_does_not_stop_it(play: Callable[..., Played]):
    done = play("switchover.yml", lost={"rep2": ""})
    assert done.status == 0, done.output
    assert done.at("rep2") == []
    assert ["erp1", "forward present"] in done.asked


def test_what_a_killed_command_has_begun_is_finished(play: Callable[..., Played]):
    new = {"record": {**RECORD, "epoch": 4, "primary": "erp1"}}
    done = play("switchover.yml", {"erp1 fleet_record known": new}, to="erp1", former="rep1")
    assert done.status == 0, done.output
    assert done.at("erp1")[1:] == [
        "forward held",
        "bench_switch ready",
        "fleet_record stored",
        "mariadb_switch promote",
        "redis_switch takeover",
        "bench_switch take",
        "forward absent",
    ]
    epochs = {own["epoch"] for own in done.arguments("fleet_record stored")}
    assert epochs == {4}
    assert "mariadb_switch close" not in done.at("rep1")


def test_an_inventory_that_names_another_primary(play: Callable[..., Played]):
    new = {"record": {**RECORD, "epoch": 4, "primary": "rep1"}}
    done = play("switchover.yml", {"rep2 fleet_record known": new})
    assert done.status == 2
    assert "id:     switch_inventory_differs" in done.output.replace("\\n", "\n")
    assert {what for _host, what in done.asked} == {"fleet_record known"}


LOST_PRIMARY = {
    "mariadb_switch look": LOST_LOOK,
    "rep2 mariadb_switch look": {**LOST_LOOK, "received": "0-1-140"},
}


@pytest.mark.parametrize(
    ("verb", "lost", "about", "said"),
    [
        ("switchover", {}, {}, "rep1 can become the primary, in the place of erp1"),
        ("failover", {"erp1": ""}, {"confirm": "erp1"}, "rep1 can become the primary"),
        ("rejoin", {}, {"node": "rep1"}, "rep1 can be asked to follow erp1"),
    ],
)
def test_a_dry_run_only_looks_and_says_what_could_be_done(
    play: Callable[..., Played],
    verb: str,
    lost: dict[str, str],
    about: dict[str, str],
    said: str,
):
    answers = LOST_PRIMARY if lost else {}
    done = play(f"{verb}.yml", answers, lost, check=True, **about)
    assert done.status == 0, done.output
    # All of these know the check mode.
    words = {what.split(" ")[-1] for _host, what in done.asked}
    assert words <= {"known", "look", "bench_info", "held"}
    assert said in done.output
    assert "Nothing was changed." in done.output


def test_a_failover_asks_nothing_of_the_lost_primary(play: Callable[..., Played]):
    done = play("failover.yml", LOST_PRIMARY, {"erp1": ""}, confirm="erp1")
    assert done.status == 0, done.output
    assert done.at("erp1") == []
    asked = done.at("rep1")
    # From the beginning, and for longer before the last steps.
    assert asked[:2] == ["fleet_record known", "forward held"]
    assert done.arguments("forward absent")[0]["hold"] == "off"
    assert asked[asked.index("fence present") :] == [
        "fence present",
        "mariadb_switch drain",
        "mariadb_switch look",
        "mariadb_switch fetch",
        "forward held",
        "bench_switch ready",
        "fleet_record stored",
        "mariadb_switch promote",
        "redis_switch promote",
        "bench_switch take",
        "forward absent",
    ]
    # The other one names it before it opens.
    order = [
        step for step in done.asked if step[1] in ("fleet_record stored", "mariadb_switch promote")
    ]
    assert order[0] == ["rep2", "fleet_record stored"]
    stored = done.arguments("fleet_record stored")[0]
    assert (stored["primary"], stored["epoch"], stored["open_alone"]) == ("rep1", 4, False)
    assert "erp1" not in stored["hosts"]
    (fetch,) = done.arguments("mariadb_switch fetch")
    assert (fetch["from"], fetch["gtid"]) == (HOSTS["rep2"], "0-1-140")
    assert done.at("rep2")[-1] == "mariadb_switch follow"


def test_two_hosts_need_the_word_of_the_operator(play: Callable[..., Played]):
    answers = {"mariadb_switch look": LOST_LOOK}
    done = play("failover.yml", answers, {"erp1": ""}, nodes=("rep1",))
    assert done.status == 2
    assert "id:     failover_unconfirmed" in done.output.replace("\\n", "\n")
    assert "fence present" not in done.at("rep1")
    done = play("failover.yml", answers, {"erp1": ""}, nodes=("rep1",), confirm="erp1")
    assert done.status == 0, done.output


@pytest.mark.parametrize(
    ("answers", "lost", "named"),
    [
        ({"mariadb_switch look": LOST_LOOK}, {}, "failover_reached"),
        (
            {"mariadb_switch look": {**LOST_LOOK, "heartbeat_age": 90}},
            {"erp1": ""},
            "failover_loss",
        ),
    ],
)
def test_a_failover_is_refused(
    play: Callable[..., Played], answers: dict[str, Any], lost: dict[str, str], named: str
):
    done = play("failover.yml", answers, lost, confirm="erp1")
    assert done.status == 2
    assert f"id:     {named}" in done.output.replace("\\n", "\n"), done.output
    assert "fence present" not in [what for _host, what in done.asked]
    # Nobody waits for it any longer.
    assert done.at("rep1")[-1] == "forward held"
    assert done.arguments("forward held")[-1]["hold_seconds"] == 0


def test_a_former_primary_comes_back(play: Callable[..., Played]):
    new = {"record": {**RECORD, "epoch": 4, "open_alone": False}}
    files = {"site_files recent": {"files": {}}, "site_files lacking": {"lacking": []}}
    answers = {"erp1 fleet_record known": new, "mariadb_switch follow": {"ahead": []}, **files}
    done = play("rejoin.yml", answers, node="rep1")
    assert done.status == 0, done.output
    asked = done.at("rep1")
    assert asked[-6:] == [
        "fleet_record stored",
        "mariadb_switch look",
        "site_files recent",
        "fence absent",
        "forward present",
        "mariadb_switch follow",
    ]
    (stored,) = done.arguments("fleet_record stored")
    assert (stored["epoch"], stored["since"]) == (4, RECORD["since"])
    assert "mariadb_switch export" not in asked


def test_a_primary_that_a_failover_has_shut_out_is_let_in_again(play: Callable[..., Played]):
    done = play("rejoin.yml", node="erp1")
    assert done.status == 0, done.output
    for host in HOSTS:
        assert done.at(host) == ["fleet_record known", "fence absent"]
    assert "erp1 is the primary, as before" in done.output


@pytest.mark.parametrize("ahead", [[], ["0-1-103"]])
def test_what_only_a_former_primary_has_is_kept(play: Callable[..., Played], ahead: list[str]):
    answers = {
        "mariadb_switch follow": {"ahead": ahead},
        "mariadb_switch export": {"folder": "/var/lib/ahead-1"},
        "site_files recent": {"files": {"a/private/files/b": 3, "a/private/files/c": 4}},
        "site_files lacking": {"lacking": ["a/private/files/c"]},
        "site_files keep": {"kept": ["a/private/files/c"]},
    }
    done = play("rejoin.yml", answers, node="rep1")
    assert done.status == 0, done.output
    (kept,) = done.arguments("site_files keep")
    assert kept["files"] == {"a/private/files/c": 4}
    assert kept["folder"].endswith("/state/ahead-20261130-180000/files")
    assert ["erp1", "site_files lacking"] in done.asked
    assert f"{kept['folder']}, for a person" in done.output
    # Before it follows, and so before it copies the primary's files.
    asked = done.at("rep1")
    assert asked.index("site_files keep") < asked.index("mariadb_switch follow")
    assert ("mariadb_switch export" in asked) is bool(ahead)


def test_the_state_that_is_shown_at_the_end_was_written_after_the_change(
    play: Callable[..., Played],
):
    assert play("status.yml").at("rep1") == ["node_status"]
    written = ["ansible.builtin.systemd_service restarted", "node_status"]
    assert play("status.yml", anew=True).at("rep1")[1:] == written
