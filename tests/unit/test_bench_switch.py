"""A bench's part in a change of the primary, with real supervisord and Redis."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from fleet import calls as router_calls
from fleet import leaving
from fleet.bench import switch
from fleet.bench.account import BenchError
from fleet.redis.users import redis_admin
from fleet.supervisor import bench_programs, control
from fleet.supervisor.programs import next_file, task

from tests.supervisor import Host

OWN, LATER = "10.0.0.21", "10.0.0.11"
# A web server as the bench's: it listens where -b says, and takes as long to end as the file says.
WEB = """
import os, signal, socket, sys, time
host, port = sys.argv[sys.argv.index("-b") + 1].split(":")
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind((host, int(port)))
listener.listen()
def end(*_):
    time.sleep(float(open(__file__ + ".ends").read()))
    sys.exit()
signal.signal(signal.SIGTERM, end)
while True:
    time.sleep(60)
"""
PROGRAM = """
[program:b-frappe-{name}]
command={command}
startsecs=0
stopwaitsecs=60
{more}
[group:b-{name}]
programs=b-frappe-{name}
"""
SLEEP = 'sh -c "exec sleep 1000 || /usr/local/bin/bench {}"'
SITE = {"db_name": "d", "db_password": "p"}
REPLICA = {
    "read_from_replica": 1,
    "replica_host": OWN,
    "replica_db_port": 3306,
    "replica_db_user": "d_ro",
    "replica_db_name": "d_ro",
    "replica_db_password": "x",
    "different_credentials_for_replica": 1,
}


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Done(NamedTuple):
    """What a step did, and its results."""

    did: list[str]
    found: dict[str, Any]


class Bench:
    """A host of a fleet: its folders, its programs, and the commands that were run on it."""

    def __init__(self, host: Host, primary: bool) -> None:
        self.host, self.root = host, host.folder
        self.node_port, self.web_port = free_port(), free_port()
        for name in ("b/sites/s.test", "etc", "state", "cli/bin", "lib", "logs"):
            (self.root / name).mkdir(parents=True, exist_ok=True)
        (self.root / "web.py").write_text(WEB)
        self.ends(0)
        node = self.root / "cli/bin/node"
        node.write_text("#!/bin/sh\nexec sleep 1000\n")
        node.chmod(0o755)
        self.conf = self.root / "conf.d/b.conf"
        self.conf.write_text(self.programs(primary))
        self.write("b/sites/common_site_config.json", self.common(primary))
        self.write("b/sites/s.test/site_config.json", SITE | ({} if primary else REPLICA))
        jobs = {"primary": primary, "site_sync": "" if primary else "/l/site-sync", "node": "h"}
        self.write("etc/jobs.json", jobs)
        self.ran: list[list[str]] = []

    def programs(self, primary: bool) -> str:
        """Supervisor's file of the bench, of a primary or of a reporting node."""
        paths = f"{self.root}/lib/read-guard:/o"
        guard = f'environment=PYTHONPATH="{paths}",BENCHFLEET_READ_GUARD="/g",A="1%%"'
        app = "frappe.app" if primary else "benchfleet_guard.wsgi"
        port = self.web_port if primary else self.node_port
        web = f"{sys.executable} {self.root}/web.py -b 127.0.0.1:{port} -w 2 {app}:application"
        found = {
            "web": (web, "" if primary else guard),
            "short-worker": (SLEEP.format("worker"), ""),
        }
        if primary:
            found["schedule"] = (SLEEP.format("schedule"), "")
        return "".join(
            PROGRAM.format(name=name, command=command, more=more)
            for name, (command, more) in found.items()
        )

    def common(self, primary: bool) -> dict[str, Any]:
        """The bench's common configuration, at first with the other host as primary."""
        urls = {
            key: f"redis://bench-h:p@{LATER}:1300{n}" for n, key in enumerate(switch.REDIS_KEYS)
        }
        own = {"db_host": "127.0.0.1"} if primary else {"db_host": LATER, "pause_scheduler": 1}
        return {"bench_id": "b", "live_reload": False, **urls, **own}

    def ends(self, seconds: float) -> None:
        """How long its web workers take to end."""
        (self.root / "web.py.ends").write_text(str(seconds))

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Write a file of JSON."""
        (self.root / name).write_text(json.dumps(content))

    def read(self, name: str) -> Any:
        """The content of a file of JSON."""
        return json.loads((self.root / name).read_text())

    def run(self, words: list[str], **_: Any) -> tuple[int, str, str]:
        """Note a command; all units are active."""
        self.ran.append(words)
        return 0, "active\n" if words[1] == "is-active" else "", ""

    def step(self, name: str, **more: Any) -> Done:
        """Do a step."""
        asked = {
            "step": name,
            "host": "h",
            "address": OWN,
            "bench": f"{self.root}/b",
            "cli_dir": f"{self.root}/cli",
            "config_dir": f"{self.root}/etc",
            "lib_dir": f"{self.root}/lib",
            "state_dir": f"{self.root}/state",
            "configuration": str(self.conf),
            "web_port": self.web_port,
            "report_port": 1,
            "seconds": 20,
            "hold_seconds": 30,
            "nodes": [],
            "drained": [],
        }
        made = switch.Switch({**asked, **more}, self.run, dry=False)
        found = made.do()
        return Done(made.did, found)

    def states(self) -> dict[str, str]:
        """State of each program."""
        return control.states(self.host.status())

    def listens(self, port: int) -> bool:
        """Whether somebody listens within ten seconds."""
        for _ in range(100):
            if router_calls.listens("127.0.0.1", port):
                return True
            time.sleep(0.1)
        return False


@pytest.fixture
def bench(supervised: Host, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Bench]:
    """Makes a host whose supervisord runs."""
    monkeypatch.setattr(switch, "LOGS", f"{supervised.folder}/logs")
    monkeypatch.setattr(
        leaving, "COPIES", (f"{supervised.folder}/cron", f"{supervised.folder}/rot")
    )

    def make(primary: bool) -> Bench:
        made = Bench(supervised, primary)
        supervised.start()
        supervised.settle()
        return made

    return make


@pytest.fixture
def queue(supervised: Host) -> Iterator[str]:
    """A Redis, and the path of its settings where a fleet has them."""
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed")
    folder = supervised.folder / "etc/redis"
    folder.mkdir(parents=True)
    conf, port = folder / "redis_queue.conf", free_port()
    conf.write_text(f"bind 127.0.0.1\nport {port}\nsave ''\nrequirepass x\ndir {folder}\n")
    server = subprocess.Popen(["redis-server", str(conf)], stdout=subprocess.DEVNULL)
    while not router_calls.listens("127.0.0.1", port):
        time.sleep(0.02)
    yield str(conf)
    server.terminate()
    server.wait()


def ask(conf: str, *words: str) -> Any:
    """Redis' answer."""
    with redis_admin(conf) as redis:
        return redis.ask(*words)


@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("redis://bench-h:p:1@10.0.0.11:11000", "redis://bench-h:p:1@10.0.0.21:11000"),
        ("redis://10.0.0.11:13000/1", "redis://10.0.0.21:13000/1"),
        ("redis://u:p@[fd00::1]:11000", "redis://u:p@10.0.0.21:11000"),
    ],
)
def test_only_the_address_of_a_redis_changes(url: str, wanted: str) -> None:
    assert switch.at_address(url, OWN) == wanted


def test_an_address_of_ipv6_has_its_brackets() -> None:
    assert switch.at_address("redis://u:p@h:1", "fd00::2") == "redis://u:p@[fd00::2]:1"


def test_a_node_without_web_workers_is_named_with_the_remedy() -> None:
    with pytest.raises(BenchError, match="bench_web_workers"):
        switch.next_programs("[program:b-x]\ncommand=x\n", {"bench": "/b"})


def test_a_reporting_node_becomes_the_primary_and_the_last_run_takes_the_stand_ins_away(
    bench: Callable[..., Bench], queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = bench(primary=False)
    (node.root / "cron").touch()
    assert node.step("ready").did
    assert node.listens(node.web_port)
    assert node.states()["b-next-socketio"] == "STOPPED"
    text = Path(next_file(str(node.conf))).read_text()
    assert "benchfleet_guard" not in text.replace(str(node.root), "")
    assert "READ_GUARD" not in text
    assert 'environment=A="1%%",PYTHONPATH="/o"' in text
    assert os.stat(next_file(str(node.conf))).st_mode & 0o777 == 0o600
    commands = [line[8:] for line in text.splitlines() if line.startswith("command=")]
    assert [task(command) for command in commands] == ["web", "socketio"]
    pid = node.host.control("pid", "b-next-web")
    assert node.step("ready").did == []
    # Until it takes over, the node is what it was.
    assert node.read("b/sites/s.test/site_config.json") == SITE | REPLICA
    ask(queue, "SET", switch.SUSPENDED, switch.OURS)
    took = node.step("take", drained=["rep2"])
    assert not (node.root / "cron").exists()
    assert node.read("b/sites/s.test/site_config.json") == SITE
    config = node.read("b/sites/common_site_config.json")
    urls = {
        key: url.replace(LATER, OWN)
        for key, url in node.common(True).items()
        if key in switch.REDIS_KEYS
    }
    assert config == node.common(primary=True) | urls
    jobs = node.read("etc/jobs.json")
    assert (jobs["primary"], jobs["site_sync"], jobs["node"]) == (True, "", "h")
    assert (node.root / "state/drained/rep2").exists()
    assert ask(queue, "GET", switch.SUSPENDED) is None
    assert node.states()["b-next-socketio"] in control.STARTED
    assert [words[2] for words in node.ran if words[1] == "stop"] == [*leaving.FILES_UNITS]
    assert node.host.control("pid", "b-next-web") == pid
    monkeypatch.setattr(node, "run", lambda *_, **__: (0, "inactive\n", ""))
    assert took.did
    assert node.step("take", drained=["rep2"]).did == []
    # As site.yml does it.
    node.conf.write_text(node.programs(primary=True))
    monkeypatch.setattr(bench_programs, "STEADY_SECONDS", 0)
    hold = {"path": f"{node.root}/state/hold", "host": "127.0.0.1", "port": node.web_port}
    asked: dict[str, Any] = {"name": "b", "configuration": str(node.conf), "empty": False}
    asked |= {"depends": {}, "own_depends": [], "shown": None, "logs": None, "hold": hold}
    asked |= {"serves": {"b-web": f"127.0.0.1:{node.web_port}"}, "state": f"{node.root}/state/s"}
    warnings: list[str] = []
    updates: dict[tuple[str, ...], bool] = {}

    def noted(*words: str) -> str:
        updates[words] = (node.root / "state/hold").exists()
        return control.control(*words)

    monkeypatch.setattr(bench_programs, "control", noted)
    programs = bench_programs.BenchPrograms(asked, False, warnings.append)
    assert set(programs.bring()) == {
        "b-web:b-frappe-web",
        "b-short-worker:b-frappe-short-worker",
        "b-schedule:b-frappe-schedule",
    }
    # The stand-in goes while calls wait, and not before.
    assert updates["update", "b-next-web", "b-web"]
    assert ("update", "b-next-web") not in updates
    assert not os.path.exists(next_file(str(node.conf)))
    assert not (node.root / "state/hold").exists()
    assert node.listens(node.web_port)
    assert not router_calls.listens("127.0.0.1", node.node_port)


def test_a_node_that_does_not_become_the_primary_is_what_it_was(
    bench: Callable[..., Bench],
) -> None:
    node = bench(primary=False)
    before = {name for name, state in node.states().items() if state == "RUNNING"}
    node.step("ready")
    assert node.step("left").did
    assert set(node.states()) == before
    assert not os.path.exists(next_file(str(node.conf)))
    assert not router_calls.listens("127.0.0.1", node.web_port)
    assert node.step("left").did == []
    assert node.read("b/sites/common_site_config.json") == node.common(primary=False)


def test_a_configuration_that_could_not_become_a_primarys_is_told_before_users_wait(
    bench: Callable[..., Bench],
) -> None:
    node = bench(primary=False)
    # What Redis' address is not stays as it is.
    node.write("b/sites/common_site_config.json", {**node.common(False), "redis_cache": None})
    site = node.root / "b/sites/s.test/site_config.json"
    site.write_text("{")
    with pytest.raises(BenchError, match=r"s\.test"):
        node.step("ready")
    assert not router_calls.listens("127.0.0.1", node.web_port)
    node.write("b/sites/s.test/site_config.json", SITE | REPLICA)
    assert node.step("ready").did
    # Nothing of it is changed yet.
    assert node.read("b/sites/s.test/site_config.json") == SITE | REPLICA


def test_the_files_are_copied_by_the_program_of_the_minutes_copy(
    bench: Callable[..., Bench],
) -> None:
    node = bench(primary=False)
    assert node.step("files", seconds=7).did
    assert node.ran == [[f"{node.root}/lib/site-sync", "--wait", "7"]]


def test_a_primary_gets_quiet_closes_and_goes_back(
    bench: Callable[..., Bench], queue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    primary = bench(primary=True)
    (primary.root / "state/waiting").mkdir()
    (primary.root / "state/waiting/rep3").touch()
    (primary.root / "state/drained").mkdir()
    (primary.root / "state/drained/rep2").touch()
    quiet = primary.step("quiet", nodes=["rep1", "rep3"])
    assert quiet.found["drained"] == ["rep2"]
    states = primary.states()
    assert states["b-schedule:b-frappe-schedule"] == "STOPPED"
    assert states["b-short-worker:b-frappe-short-worker"] == "STOPPED"
    assert states["b-web:b-frappe-web"] == "RUNNING"
    assert ask(queue, "GET", switch.SUSPENDED) == switch.OURS
    assert 0 < ask(queue, "TTL", switch.SUSPENDED) <= 20 + switch.SUSPENDED_SECONDS
    assert ["systemctl", "stop", switch.SITES_TIMER] in primary.ran
    monkeypatch.setattr(primary, "run", lambda *_, **__: (0, "inactive\n", ""))
    assert primary.step("quiet", nodes=["rep1", "rep3"]).did == []
    closed = primary.step("close")
    assert primary.states()["b-web:b-frappe-web"] in ("STOPPING", "STOPPED")
    until = int((primary.root / "state/hold").read_text())
    assert until == closed.found["held_until"]
    assert 25 < until - time.time() <= 31
    assert primary.step("close").did == []
    assert primary.step("back").found["late"] == []
    assert set(primary.states().values()) == {"RUNNING"}
    assert ask(queue, "GET", switch.SUSPENDED) is None
    assert not (primary.root / "state/hold").exists()
    # The node that waited before still waits.
    assert os.listdir(primary.root / "state/waiting") == ["rep3"]


def test_jobs_that_take_longer_are_named_and_go_on(bench: Callable[..., Bench], queue: str) -> None:
    primary = bench(primary=True)
    now = ask(queue, "TIME")[0]
    ask(queue, "HSET", "b:fleet:beats", "w1", f"{int(now) + 60} rep1")
    ask(queue, "HSET", "rq:worker:w1", "state", "busy", "current_job", "j1")
    ask(queue, "HSET", "rq:job:j1", "description", "a.b.c()")
    with pytest.raises(BenchError, match="rep1"):
        primary.step("quiet", seconds=1)
    assert primary.states()["b-short-worker:b-frappe-short-worker"] == "RUNNING"
    primary.step("back")
    assert primary.states()["b-schedule:b-frappe-schedule"] == "RUNNING"
    assert ask(queue, "GET", switch.SUSPENDED) is None


def test_a_switch_of_the_operators_stays(bench: Callable[..., Bench], queue: str) -> None:
    primary = bench(primary=True)
    ask(queue, "SET", switch.SUSPENDED, "1")
    primary.step("quiet")
    primary.step("back")
    assert ask(queue, "GET", switch.SUSPENDED) == "1"


def test_a_call_that_takes_too_long_is_not_cut_off(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    primary = bench(primary=True)
    primary.ends(6)
    assert primary.listens(primary.web_port)
    monkeypatch.setattr(switch, "ENDING_SECONDS", 0.1)
    with socket.create_connection(("127.0.0.1", primary.web_port)):
        for _ in range(2):
            # Again while it is ending: it still counts.
            with pytest.raises(BenchError, match="b-web:b-frappe-web"):
                primary.step("close", seconds=1)
    # Without a call, nobody waits for the end of what answers calls.
    assert primary.step("close", seconds=1).did == []
    assert primary.states()["b-web:b-frappe-web"] == "STOPPING"
    primary.step("back")
    assert set(primary.states().values()) == {"RUNNING"}
    assert not (primary.root / "state/hold").exists()


@pytest.mark.parametrize(
    ("named", "is_open", "age"),
    [("h", True, 0), ("h", False, 0), ("h", True, 60), ("other", True, 0)],
)
def test_a_primary_that_nobody_goes_back_to_starts_again_unless_it_is_another(
    bench: Callable[..., Bench],
    monkeypatch: pytest.MonkeyPatch,
    named: str,
    is_open: bool,
    age: int,
) -> None:
    primary = bench(primary=True)
    monkeypatch.setattr(switch, "RECORD_STATE", f"{primary.root}/record.json")
    primary.write("record.json", {"open": is_open, "checked": time.time() - age})
    primary.write("state/primary.json", {"primary": named})
    primary.step("close")
    (words,) = [words for words in primary.ran if words[0] == "systemd-run"]
    assert "--on-active=45" in words
    (primary.root / "state/waiting").mkdir()
    (primary.root / "state/waiting/rep1").write_text(switch.OURS)
    script = words[words.index("-c") + 1].replace("900", "1")
    started = primary.root / "started"
    arguments = words[words.index("-c") + 2 :][:4]
    assert words[words.index("-c") + 6 :][-1].startswith("b-")
    command = [sys.executable, "-I", "-c", script, *arguments, "touch", str(started)]
    subprocess.run(command, check=False, env={"PATH": os.defpath}, stderr=subprocess.DEVNULL)
    assert started.exists() == (named == "h" and is_open and not age)
    assert (primary.root / "state/hold").exists() != started.exists()
    assert (primary.root / "state/waiting/rep1").exists() != started.exists()
