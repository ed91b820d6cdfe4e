"""The queue's Redis of two hosts: which is the primary's, and how that changes."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fleet.record import FILE, STATE
from fleet.redis import replication, switch, users
from fleet.redis.client import Redis, RedisError, begun_jobs
from fleet.redis.store import JOBS, parse_info
from fleet.redis.switch import Switch, SwitchError
from fleet.status import jobs
from fleet.verify import redis as verify
from fleet.verify.results import Gathering

from filter_plugins.programs import with_imports

pytestmark = pytest.mark.skipif(
    not shutil.which("redis-server"), reason="redis-server is not installed"
)
ROOT = Path(__file__).parents[2]
# Both hosts have the same port, as in a fleet.
ADDRESSES = {"erp1": "127.0.0.11", "rep1": "127.0.0.12"}
SECONDS = 30


def until(true: Callable[[], Any], what: str) -> Any:
    """The first true value of a function that is called again and again."""
    deadline = time.monotonic() + SECONDS
    while not (found := true()):
        assert time.monotonic() < deadline, what
        time.sleep(0.02)
    return found


class Host:
    """A host with both Redis in a folder of its own, its record, and start-queue as installed."""

    def __init__(self, folder: Path, name: str, port: int) -> None:
        self.name, self.address, self.port = name, ADDRESSES[name], port
        self.etc, self.state, self.run = folder / "etc", folder / "state", folder / "run"
        self.data, self.lib = folder / "data", folder / "lib"
        for place in (self.etc / "redis", self.state, self.run, self.data, self.lib):
            place.mkdir(parents=True)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.ended = threading.Event()
        self.install()

    def install(self) -> None:
        """Write settings and programs."""
        (self.etc / "fleet.json").write_text(json.dumps({"host": self.name}))
        places = {"config": str(self.etc), "state": str(self.state), "keep": {"number": 3}}
        places["keep"]["days"] = 30  # type: ignore[index]
        (self.lib / "folders.json").write_text(json.dumps(places))
        text = (ROOT / "roles/redis/files/start_queue.py").read_text()
        program = {"path": f"{self.lib}/start-queue", "content": text}
        for entry in with_imports([program], f"{self.lib}/python"):
            if "content" not in entry:
                Path(entry["path"]).mkdir(parents=True, exist_ok=True)
                continue
            own = entry["content"].replace('"/run/benchfleet"', f'"{self.run}"')
            Path(entry["path"]).write_text(own)
        for instance, port in (("queue", self.port), ("cache", self.port + 1)):
            acl = users.file_of(f"{self.etc}/redis", instance)
            Path(users.conf_of(f"{self.etc}/redis", instance)).write_text(
                f'bind {self.address}\nport {port}\ndir "{self.data}"\naclfile "{acl}"\n'
                f"dbfilename {instance}.rdb\nsave ''\n"
            )
        self.bring()

    def bring(self) -> list[str]:
        """Run redis_users."""
        params = {"path": f"{self.etc}/redis", "group": "redis", "primary": "erp1"}
        hosts = {name: f"p-{name}" for name in ADDRESSES}
        wanted = users.Users({**params, "hosts": hosts, "admin": "p-root", "keep": True}, False)
        wanted.bring()
        return wanted.did

    def record(self, primary: str, epoch: int = 1) -> None:
        """Write the record."""
        found = {"fleet_id": "f", "epoch": epoch, "primary": primary, "since": "2026-01-01T00:00Z"}
        found |= {"hosts": ADDRESSES, "open_alone": True}
        (self.state / FILE).write_text(json.dumps(found))

    def verdict(self, is_open: bool, epoch: int = 1) -> None:
        """Write what the record's service has found."""
        found = {"host": self.name, "primary": "", "epoch": epoch, "open": is_open}
        (self.run / STATE).write_text(json.dumps({**found, "why": "none", "checked": 1.0}))

    @property
    def log(self) -> str:
        """What start-queue has said."""
        return (self.data / "log").read_text()

    def start(self) -> None:
        """Start both, as supervisor does."""
        conf = f"{self.etc}/redis/redis_queue.conf"
        command = [
            "/usr/bin/python3",
            "-I",
            f"{self.lib}/start-queue",
            "/usr/bin/redis-server",
            conf,
        ]
        with (self.data / "log").open("ab") as log:
            self.processes["queue"] = subprocess.Popen(command, stdout=log, stderr=log)
        cache = ["redis-server", f"{self.etc}/redis/redis_cache.conf"]
        if "cache" not in self.processes:
            self.processes["cache"] = subprocess.Popen(cache, stdout=subprocess.DEVNULL)

    def up(self) -> None:
        """Start both, and wait until they answer."""
        self.start()
        until(self.answers, "Redis does not answer")

    def answers(self) -> bool:
        """Whether both are there; the queue's may still read its files."""
        try:
            self.info()
            self.admin("cache").__exit__()
        except (OSError, RedisError):
            return False
        return True

    def ready(self) -> bool:
        """Whether the queue's has read its files."""
        return self.answers() and self.persistence()["loading"] == "0"

    def kill(self) -> None:
        """End the queue's Redis at once, as soon as it has handed all changes to the kernel.

        It may wait for up to 2 s with that, while the disk is busy.
        """
        until(lambda: self.persistence()["aof_buffer_length"] == "0", "changes are not written")
        self.processes["queue"].kill()
        self.processes["queue"].wait()

    def supervise(self) -> None:
        """Start the queue's Redis again when it ends, until the test does."""

        def look() -> None:
            while not self.ended.wait(0.05):
                if self.processes["queue"].poll() is not None:
                    self.start()

        threading.Thread(target=look, daemon=True).start()

    def end(self) -> None:
        """End what runs."""
        self.ended.set()
        time.sleep(0.1)
        for process in self.processes.values():
            process.kill()
            process.wait()

    def admin(self, instance: str = "queue") -> Redis:
        """Root's connection."""
        port = self.port + (instance == "cache")
        return Redis(self.address, port, "p-root", users.ADMIN)

    def ask(self, *command: str, instance: str = "queue") -> Any:
        """Ask as root."""
        with self.admin(instance) as redis:
            return redis.ask(*command)

    def info(self) -> dict[str, str]:
        """INFO replication."""
        return parse_info(self.ask("INFO", "replication"))

    def persistence(self) -> dict[str, str]:
        """INFO persistence."""
        return parse_info(self.ask("INFO", "persistence"))

    def linked(self) -> bool:
        """Whether it has a whole copy, also on its disk."""
        if not self.ready() or self.info().get("master_link_status") != "up":
            return False
        about = self.persistence()
        return about["aof_rewrite_in_progress"] == about["aof_rewrite_scheduled"] == "0"

    def step(self, name: str, **options: Any) -> dict[str, Any]:
        """Do a step of the switch."""
        asked = {"config_dir": str(self.etc), "state_dir": str(self.state), "seconds": 5.0}
        dry = bool(options.pop("dry", False))
        return Switch({**asked, "host": None, **options, "step": name}, dry).step()

    def queue_job(self, number: int) -> None:
        """Queue a job as RQ does."""
        said = f"frappe.utils.background_jobs.execute_job(method='app.m{number}', site='s')"
        self.ask("HSET", f"rq:job:s||{number}", "description", said)
        self.ask("SADD", "rq:queues", "rq:queue:b:short")
        self.ask("RPUSH", "rq:queue:b:short", f"s||{number}")

    @property
    def jobs(self) -> list[str]:
        """Ids of the jobs that wait."""
        return list(self.ask("LRANGE", "rq:queue:b:short", "0", "-1"))


@pytest.fixture
def hosts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Host, Host]]:
    """A primary and its standby, which have records and do not run yet."""
    monkeypatch.setattr(os, "fchown", lambda *_: None)
    monkeypatch.setattr(users.grp, "getgrnam", lambda _: SimpleNamespace(gr_gid=0))

    def admin(conf: str) -> Redis:
        # All hosts of this test share 127.0.0.1.
        known = replication.redis_settings(Path(conf).read_text())
        return Redis(known["bind"], int(known["port"]), "p-root", users.ADMIN)

    for module in (switch, verify):
        monkeypatch.setattr(module, "redis_admin", admin)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    found = Host(tmp_path / "erp1", "erp1", port), Host(tmp_path / "rep1", "rep1", port)
    # What the module asks of the record's folder is not the machine's.
    for host in found:
        host.record("erp1")
    found[0].verdict(True)
    try:
        yield found
    finally:
        for host in found:
            host.end()


@pytest.fixture
def pair(hosts: tuple[Host, Host]) -> tuple[Host, Host]:
    """Both run, and the standby has a copy."""
    primary, standby = hosts
    primary.up()
    standby.up()
    until(primary.ready, "the primary does not get ready")
    until(standby.linked, "the standby has no copy")
    return hosts


def both(primary: Host, standby: Host) -> dict[str, Any]:
    """A planned switch of the queue, on both hosts at once."""
    taken: dict[str, Any] = {}
    thread = threading.Thread(target=lambda: taken.update(standby.step("takeover")))
    thread.start()
    given = primary.step("failover", host=standby.address)
    thread.join()
    assert (given["role"], taken["role"], taken["changed"]) == ("copy", "primary", True)
    return given


def test_the_record_decides_which_redis_is_the_primarys(pair: tuple[Host, Host]) -> None:
    primary, standby = pair
    primary.queue_job(1)
    until(lambda: standby.jobs == ["s||1"], "the job is not copied")
    about = primary.step("look")
    assert (about["role"], about["link"], about["lag"], about["changed"]) == (
        "primary",
        "",
        None,
        False,
    )
    (copy,) = about["copies"]
    assert (copy["address"], copy["port"], copy["state"]) == (
        standby.address,
        standby.port,
        "online",
    )
    about = standby.step("look")
    assert (about["role"], about["source"], about["link"]) == ("copy", primary.address, "up")
    assert about["offset"] > 0
    # Whoever has the copier's password can only copy.
    password = users.copier_password("p-root")
    with Redis(standby.address, standby.port, password, users.COPIER) as copier:
        for command in (("GET", "x"), ("REPLICAOF", "NO", "ONE"), ("CONFIG", "GET", "*")):
            with pytest.raises(RedisError, match="NOPERM"):
                copier.ask(*command)
    with pytest.raises(RedisError, match="READONLY"):
        standby.ask("SET", "x", "1")


def test_a_host_without_a_record_is_what_it_was(hosts: tuple[Host, Host]) -> None:
    for host in hosts:
        (host.state / FILE).unlink()
        (host.run / STATE).unlink(missing_ok=True)
        host.up()
        assert host.info()["role"] == "master"


def test_a_queue_is_handed_over_while_jobs_come_and_none_is_lost_or_twice(
    pair: tuple[Host, Host],
) -> None:
    primary, standby = pair
    standby.ask("SET", "stale", "1", instance="cache")
    done, given, refused = threading.Event(), [], []

    def enqueue() -> None:
        at, number = primary, 0
        while not done.is_set():
            try:
                at.ask("RPUSH", "rq:queue:b:short", str(number))
                given.append(str(number))
            except RedisError as error:
                # Not lost: whoever queued it knows.
                refused.append(str(error).split()[0])
                at = standby
            number += 1

    thread = threading.Thread(target=enqueue)
    thread.start()
    until(lambda: len(given) > 200, "no job comes in")
    both(primary, standby)
    until(lambda: standby.info()["role"] == "master" and len(given) > 400, "no job comes after it")
    done.set()
    thread.join()
    assert standby.jobs == given
    assert set(refused) <= {"READONLY"}
    until(lambda: primary.linked() and primary.jobs == given, "the former primary copies nothing")
    assert standby.ask("GET", "stale", instance="cache") is None
    # Again: nothing to do.
    assert not primary.step("failover", host=standby.address)["changed"]
    assert not standby.step("takeover")["changed"]
    for host in pair:
        host.record("rep1", 2)
    assert not primary.step("follow", host=standby.address)["changed"]
    # And there are no files of a former primary, also after a restart of both.
    standby.verdict(True, 2)
    for host in pair:
        host.kill()
        host.up()
    until(primary.linked, "no copy after the restart")
    assert primary.jobs == standby.jobs == given
    assert not list(primary.data.glob("former-*")) + list(standby.data.glob("former-*"))
    # And back.
    both(standby, primary)
    assert primary.info()["role"] == "master"


def test_a_queue_that_has_no_copy_there_stays(pair: tuple[Host, Host]) -> None:
    primary, standby = pair
    standby.kill()
    until(lambda: primary.info()["connected_slaves"] == "0", "the link is still there")
    with pytest.raises(SwitchError):
        primary.step("failover", host=standby.address, seconds=0.5)
    primary.queue_job(1)
    assert primary.info()["role"] == "master"


def test_a_queue_whose_copy_hangs_stays_and_takes_jobs(pair: tuple[Host, Host]) -> None:
    primary, standby = pair
    standby.processes["queue"].send_signal(19)
    primary.queue_job(1)
    with pytest.raises(SwitchError):
        primary.step("failover", host=standby.address, seconds=1.0)
    assert primary.info()["master_failover_state"] == "no-failover"
    primary.queue_job(2)
    standby.processes["queue"].send_signal(18)
    until(lambda: standby.jobs == primary.jobs == ["s||1", "s||2"], "not copied afterwards")


def test_jobs_survive_the_primary_and_begun_ones_are_named(pair: tuple[Host, Host]) -> None:
    primary, standby = pair
    for number in range(3):
        primary.queue_job(number)
    primary.ask("LPOP", "rq:queue:b:short")
    begun = ("started_at", "2026-11-30T10:00:00Z", "worker_name", "w1")
    primary.ask("HSET", "rq:job:s||0", *begun)
    primary.ask("ZADD", "rq:wip:b:short", "1", "s||0")
    # As RQ 2 has it.
    primary.queue_job(7)
    primary.ask("RPOP", "rq:queue:b:short")
    primary.ask("ZADD", "rq:wip:b:long", "1", "s||7:0123")
    until(lambda: standby.info()["slave_repl_offset"] == primary.info()["master_repl_offset"], "")
    standby.ask("SET", "stale", "1", instance="cache")
    primary.kill()
    assert standby.step("promote", dry=True)["role"] == "copy"
    found = standby.step("promote")
    assert (found["role"], found["changed"]) == ("primary", True)
    jobs = {job.pop("id"): job for job in found["working"]}
    assert jobs["s||0"] == {
        "queue": "b:short",
        "method": "app.m0",
        "site": "s",
        "since": "2026-11-30T10:00:00Z",
        "worker": "w1",
    }
    assert (jobs["s||7"]["method"], jobs["s||7"]["queue"], len(jobs)) == ("app.m7", "b:long", 2)
    assert standby.jobs == ["s||1", "s||2"]
    assert standby.ask("GET", "stale", instance="cache") is None
    assert not standby.step("promote")["changed"]


def test_a_former_primary_that_boots_runs_no_old_job_and_keeps_them(
    pair: tuple[Host, Host],
) -> None:
    primary, standby = pair
    primary.queue_job(1)
    until(lambda: standby.jobs == ["s||1"], "the job is not copied")
    standby.kill()
    primary.queue_job(2)
    primary.ask("ZADD", "rq:wip:b:short", "1", "s||1")
    primary.kill()
    standby.up()
    standby.record("rep1", 2)
    standby.step("promote")
    standby.queue_job(3)
    # It boots with its own old record: what it may do is not known before the others were asked.
    primary.verdict(False)
    primary.start()
    until(lambda: "not started" in primary.log, "it did not say that it waits")
    time.sleep(1)
    with pytest.raises(OSError, match="refused"):
        primary.ask("PING")
    # A verdict on an older epoch does not count.
    primary.verdict(True, 0)
    time.sleep(1)
    with pytest.raises(OSError, match="refused"):
        primary.ask("PING")
    primary.record("rep1", 2)
    until(primary.linked, "it does not copy the new primary")
    assert primary.jobs == standby.jobs == ["s||1", "s||3"]
    (place,) = primary.data.glob("former-*")
    first, *jobs = (place / JOBS).read_text().splitlines()
    assert str(place) in first
    assert jobs == ["s||1 app.m1", "s||2 app.m2", "s||1 app.m1"]
    assert place.stat().st_mode & 0o777 == 0o700
    assert str(place) in primary.log
    # What it had is whole there.
    assert list(place.glob("appendonlydir/*.manifest"))
    # A restart of the copy moves nothing aside.
    primary.kill()
    primary.up()
    until(primary.linked, "no copy after the restart")
    assert len(list(primary.data.glob("former-*"))) == 1


def test_a_former_primary_that_still_runs_is_made_a_copy(pair: tuple[Host, Host]) -> None:
    """As after a cut cable: both have taken jobs."""
    primary, standby = pair
    primary.supervise()
    primary.queue_job(1)
    until(lambda: standby.jobs == ["s||1"], "the job is not copied")
    standby.record("rep1", 2)
    standby.step("promote")
    primary.queue_job(2)
    primary.ask("SET", "stale", "1", instance="cache")
    # Its record still names it.
    with pytest.raises(SwitchError):
        primary.step("follow", host=standby.address)
    assert primary.jobs == ["s||1", "s||2"]
    primary.record("rep1", 2)
    assert primary.step("follow", host=standby.address, dry=True)["role"] == "primary"
    found = primary.step("follow", host=standby.address)
    assert (found["role"], found["source"], found["link"]) == ("copy", standby.address, "up")
    assert found["changed"]
    assert primary.jobs == ["s||1"]
    (place,) = primary.data.glob("former-*")
    assert "s||2 app.m2" in (place / JOBS).read_text().splitlines()
    assert primary.ask("GET", "stale", instance="cache") is None
    assert not primary.step("follow", host=standby.address)["changed"]


def test_redis_that_runs_without_the_settings_for_a_copy_gets_them(
    hosts: tuple[Host, Host],
) -> None:
    """As on the first run of this release: it is not restarted."""
    primary, standby = hosts
    settings = primary.etc / "redis" / replication.SETTINGS_FILE
    settings.rename(f"{settings}.away")
    primary.up()
    Path(f"{settings}.away").rename(settings)
    pid = primary.processes["queue"].pid
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(users, "Redis", lambda _, port, *rest: Redis(primary.address, port, *rest))
        names = ("masteruser", "masterauth", "repl-diskless-sync-delay", "replica-announce-ip")
        assert primary.bring() == [f"queue: {name}" for name in names]
        assert primary.bring() == []
    standby.up()
    until(standby.linked, "the standby has no copy")
    both(primary, standby)
    until(primary.linked, "the former primary copies nothing")
    assert primary.processes["queue"].pid == pid


def test_what_is_wrong_with_a_copy_is_said(pair: tuple[Host, Host]) -> None:
    primary, standby = pair
    assert replication.copy_problems(standby.info(), primary.address) == []
    assert len(replication.copy_problems(standby.info(), "10.0.0.1")) == 1
    assert len(replication.copy_problems(primary.info())) == 1
    silent = {**standby.info(), "master_last_io_seconds_ago": "31"}
    assert len(replication.copy_problems(silent)) == 1
    primary.kill()
    until(lambda: replication.copy_problems(standby.info()), "a lost primary is not noticed")


def checked(host: Host, monkeypatch: pytest.MonkeyPatch, *, standby: bool = True) -> dict[str, Any]:
    """What verify says of the copy on a host."""
    monkeypatch.setattr(verify, "COPY_SECONDS", 1)
    checks: Any = object.__new__(verify.RedisChecks)
    checks.ports = {"redis_queue": host.port}
    conf = f"{host.etc}/redis/redis_queue.conf" if standby else None
    checks.params = {"host": host.name, "redis_password": f"p-{host.name}", "queue": conf}
    checks.params["primary_ip"] = ADDRESSES["erp1"]
    checks.gathering = Gathering(host.name)
    checks.gathering.attempt("queue_copy", checks.check_queue_copy)
    (found,) = checks.gathering.results
    return dict(found)


def test_status_and_verify_know_the_copy(
    pair: tuple[Host, Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    primary, standby = pair
    conf = f"{standby.etc}/redis/redis_queue.conf"
    primary.queue_job(1)
    found = checked(standby, monkeypatch)
    assert (found["ok"], found["facts"]) == (True, {"behind": 0})
    assert jobs.copy(conf, str(standby.state)) == []
    assert not checked(standby, monkeypatch, standby=False)["applicable"]
    # The primary lets it in no more.
    primary.ask("ACL", "SETUSER", users.COPIER, "off")
    primary.ask("CLIENT", "KILL", "TYPE", "replica")
    primary.queue_job(2)
    found = checked(standby, monkeypatch)
    assert not found["ok"]
    assert found["facts"]["behind"] > 0
    primary.ask("ACL", "SETUSER", users.COPIER, "on")
    until(lambda: checked(standby, monkeypatch)["ok"], "it has not caught up")
    # Each takes the part of the other.
    standby.ask("REPLICAOF", "NO", "ONE")
    assert not checked(standby, monkeypatch)["ok"]
    (one,) = jobs.copy(conf, str(standby.state))
    assert (one["id"], one["level"]) == ("queue_copy", "amber")
    queue = f"{primary.etc}/redis/redis_queue.conf"
    assert verify.queue_problems(queue)[1] == []
    primary.ask("REPLICAOF", standby.address, str(standby.port))
    assert len(verify.queue_problems(queue)[1]) == 1


def test_no_more_begun_jobs_are_named_than_can_be_read(pair: tuple[Host, Host]) -> None:
    primary, _ = pair
    with suppress(RedisError), primary.admin() as redis:
        for number in range(150):
            redis.ask("ZADD", "rq:wip:b:short", str(number), f"{'x' * 1000}{number}")
        found = begun_jobs(redis)
    assert len(found) == 100
    assert {len(job["id"]) for job in found} <= {0, 140}
