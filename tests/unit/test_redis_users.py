"""Users of the bench's Redis, in a running Redis."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import redis
from fleet.doctor import system as doctor
from fleet.redis import replication, users
from fleet.redis.client import Redis
from fleet.redis.store import parse_info

pytestmark = pytest.mark.skipif(
    not shutil.which("redis-server"), reason="redis-server is not installed"
)
HOSTS = {"erp1": "p-erp1", "rep1": "p-rep1", "rep2": "p-rep2"}


class Instance:
    """One of the two Redis of a fleet, in a folder as on the primary."""

    def __init__(self, folder: Path, instance: str, former: str = "") -> None:
        self.conf = Path(users.conf_of(str(folder), instance))
        self.acl = Path(users.file_of(str(folder), instance))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
        self.settle(former)
        self.server: subprocess.Popen[bytes] | None = None

    def settle(self, former: str = "") -> None:
        """Write its settings: of an older Benchfleet, with the one password, or as today."""
        secret = f'requirepass "{former}"' if former else f'aclfile "{self.acl}"'
        self.conf.write_text(f"bind 127.0.0.1\nport {self.port}\nsave ''\n{secret}\n")

    def start(self, *options: str) -> None:
        own = [*options, *replication.options(str(self.conf), "")]
        self.server = subprocess.Popen(
            ["redis-server", str(self.conf), "--dir", str(self.conf.parent), *own],
            stdout=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + 10
        while time.monotonic() < deadline:
            with socket.socket() as call:
                if not call.connect_ex(("127.0.0.1", self.port)):
                    return
            time.sleep(0.02)
        raise AssertionError("redis-server does not answer")

    def stop(self) -> None:
        if self.server:
            self.server.terminate()
            self.server.wait()
            self.server = None

    def client(self, host: str = "", password: str = "") -> redis.Redis:
        """A host's bench as client; without a host, with the former password of all benches."""
        user = f"{users.bench_user(host)}:{password or HOSTS[host]}" if host else f":{password}"
        return redis.Redis.from_url(f"redis://{user}@127.0.0.1:{self.port}")


class Fleet:
    """Both, and the module that gives them their users."""

    def __init__(self, folder: Path, former: str = "") -> None:
        self.folder = folder
        self.cache = Instance(folder, "cache", former)
        self.queue = Instance(folder, "queue", former)

    def bring(self, hosts: dict[str, str] | None = None, **changed: Any) -> list[str]:
        """Run the module."""

        check = bool(changed.pop("check", False))
        params = {
            "path": str(self.folder),
            "group": "redis",
            "primary": "erp1",
            "hosts": HOSTS if hosts is None else hosts,
            "admin": "p-root",
            "keep": True,
            **changed,
        }
        wanted = users.Users(params, check)
        wanted.bring()
        self.former = wanted.former
        return wanted.did

    def faults(self) -> list[users.Fault]:
        """What verify would report of the queue."""
        with users.redis_admin(str(self.queue.conf)) as root:
            return users.faults(root, self.queue.acl.read_text())


@pytest.fixture
def fleet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any) -> Iterator[Fleet]:
    """Redis of a fleet; its parameter is the one password of an older Benchfleet."""
    monkeypatch.setattr(os, "fchown", lambda *_: None)
    monkeypatch.setattr(users.grp, "getgrnam", lambda _: SimpleNamespace(gr_gid=0))
    found = Fleet(tmp_path, getattr(request, "param", ""))
    instances = (found.cache, found.queue)
    if not getattr(request, "param", ""):
        found.bring()
    try:
        for one in instances:
            one.start()
        yield found
    finally:
        for one in instances:
            one.stop()


def test_every_bench_has_its_own_password_and_nobody_none(fleet: Fleet) -> None:
    for one in (fleet.cache, fleet.queue):
        for host in HOSTS:
            assert one.client(host).ping()
        for host, password in (("rep1", HOSTS["rep2"]), ("", "p-root"), ("", "p-rep1")):
            with pytest.raises(redis.AuthenticationError):
                one.client(host, password).ping()
        with pytest.raises(redis.AuthenticationError, match="required"):
            redis.Redis(port=one.port).ping()
    for file in (fleet.cache.acl, fleet.queue.acl):
        assert not [word for word in (*HOSTS.values(), "p-root") if word in file.read_text()]
        assert file.stat().st_mode & 0o777 == 0o640
    assert (fleet.folder / "admin").stat().st_mode & 0o777 == 0o600
    assert fleet.faults() == []


def test_transactions_are_there_after_a_restart(fleet: Fleet) -> None:
    """Redis reads them as the user `default`, which nobody can be."""
    fleet.queue.stop()
    fleet.queue.start("--appendonly", "yes")
    bench = fleet.queue.client("rep1")
    with bench.pipeline(transaction=True) as together:
        together.hset("rq:job:1", "status", "queued").rpush("rq:queue:default", "1").execute()
    fleet.queue.stop()
    fleet.queue.start("--appendonly", "yes")
    until = time.monotonic() + 30
    while True:
        try:
            found = fleet.queue.client("erp1").lrange("rq:queue:default", 0, -1)
            break
        except redis.BusyLoadingError:
            # It answers before it has read its file.
            assert time.monotonic() < until
            time.sleep(0.05)
    assert found == [b"1"]
    assert fleet.faults() == []


ATTACKS = (
    "CONFIG SET dir /tmp",
    "CONFIG SET dbfilename x",
    "CONFIG GET *",
    "MODULE LIST",
    "SLAVEOF 127.0.0.1 1",
    "REPLICAOF NO ONE",
    "ACL SETUSER bench-rep1 +@all",
    "ACL LIST",
    "ACL WHOAMI",
    "MONITOR",
    "SAVE",
    "BGREWRITEAOF",
    "SHUTDOWN NOSAVE",
    "FLUSHALL",
    "FLUSHDB",
    "SWAPDB 0 1",
    "CLIENT KILL TYPE normal",
    "CLIENT PAUSE 60000",
    "SCRIPT FLUSH",
    "FUNCTION FLUSH",
    "PSYNC ? -1",
    "SLOWLOG GET",
    "CLIENT NO-EVICT ON",
)


def test_a_node_commands_no_more_than_its_data(fleet: Fleet) -> None:
    for attack in ATTACKS:
        for one in (fleet.cache, fleet.queue):
            with pytest.raises(redis.exceptions.NoPermissionError):
                one.client("rep1").execute_command(*attack.split())


def test_only_the_primary_empties_the_cache_after_a_build(fleet: Fleet) -> None:
    fleet.cache.client("erp1").flushdb()
    with pytest.raises(redis.exceptions.NoPermissionError):
        fleet.queue.client("erp1").flushdb()


def test_what_redis_refused_to_a_bench_is_reported(fleet: Fleet) -> None:
    with pytest.raises(redis.exceptions.NoPermissionError):
        fleet.queue.client("rep1").config_get()
    # A client without the password is no bench.
    with pytest.raises(redis.AuthenticationError):
        fleet.queue.client("rep1", "wrong").ping()
    assert fleet.faults() == [("refused", "bench-rep1", "config|get, 1 times")]
    assert "bench-rep1: config|get, 1 " in str(fleet.faults()[0])
    with users.redis_admin(str(fleet.queue.conf)) as root:
        root.ask("ACL", "LOG", "RESET")
        root.ask("ACL", "SETUSER", "bench-rep2", "+acl|list")
        root.ask("ACL", "SETUSER", "mallory", "on", "nopass", "+@all", "~*")
    assert fleet.faults() == [
        ("differs", "bench-rep2", ""),
        ("differs", "mallory", ""),
        ("allowed", "bench-rep2", "ACL LIST"),
    ]
    assert fleet.bring() == ["queue: bench-rep2", "queue: mallory"]
    assert (fleet.faults(), fleet.bring()) == ([], [])


def test_a_node_comes_and_goes_without_a_restart_or_a_broken_connection(fleet: Fleet) -> None:
    """Another bench's wait for a job goes on; those of the node that leaves end."""
    waiting, leaving = fleet.queue.client("rep1"), fleet.queue.client("rep2")
    listening = waiting.pubsub()
    listening.subscribe("news")
    ids = [waiting.client_id(), leaving.client_id()]
    pid = fleet.queue.client("erp1").info("server")["process_id"]
    assert fleet.bring({**HOSTS, "rep3": "p-rep3"}, check=True) == [
        f"write {file}" for file in (fleet.cache.acl, fleet.queue.acl)
    ]
    fleet.bring({**HOSTS, "rep3": "p-rep3"})
    assert fleet.queue.client("rep3", "p-rep3").ping()
    there = {name: password for name, password in HOSTS.items() if name != "rep2"}
    gone = ["queue: bench-rep2", "queue: bench-rep3", f"write {fleet.queue.acl}"]
    assert fleet.bring(there)[-3:] == gone
    clients = fleet.queue.client("erp1").client_list()
    assert [client["id"] for client in clients if int(client["id"]) in ids] == [str(ids[0])]
    fleet.queue.client("erp1").publish("news", "still there")
    messages = [listening.get_message(timeout=5) for _ in range(2)]
    assert messages[1]["data"] == b"still there"
    with pytest.raises(redis.AuthenticationError):
        fleet.queue.client("rep2").ping()
    assert fleet.queue.client("erp1").info("server")["process_id"] == pid
    # What a restart makes of the file is what is in force.
    fleet.queue.stop()
    fleet.queue.start()
    assert (fleet.faults(), fleet.bring(there)) == ([], [])


def test_a_former_password_is_good_until_every_bench_has_the_new_one(fleet: Fleet) -> None:
    new = {**HOSTS, "rep1": "n-rep1"}
    fleet.bring(new)
    for password in ("p-rep1", "n-rep1"):
        assert fleet.queue.client("rep1", password).ping()
    assert fleet.faults() == [("former_password", "bench-rep1", "")]
    assert (fleet.bring(new), fleet.former) == ([], True)
    fleet.bring(new, keep=False)
    assert not fleet.former
    assert fleet.queue.client("rep1", "n-rep1").ping()
    with pytest.raises(redis.AuthenticationError):
        fleet.queue.client("rep1").ping()
    assert (fleet.faults(), fleet.bring(new), fleet.bring(new, keep=False)) == ([], [], [])


@pytest.mark.parametrize("fleet", ["everybodys"], indirect=True)
def test_a_fleet_with_one_password_for_everybody_is_taken_along(fleet: Fleet) -> None:
    former = fleet.queue.client(password="everybodys")
    former.lpush("rq:queue:short", "job")
    with users.redis_admin(str(fleet.queue.conf)) as root:
        assert root.ask("PING") == "PONG"
    # The Redis that runs knows both, before a bench comes with the new password.
    assert f"write {fleet.queue.acl}" in fleet.bring()
    assert (fleet.bring(), fleet.former) == ([], True)
    assert former.llen("rq:queue:short") == fleet.queue.client("rep1").llen("rq:queue:short") == 1
    with pytest.raises(redis.exceptions.NoPermissionError):
        former.config_get()
    # Its settings name the file; killed here, the next run comes by root's own user.
    for one in (fleet.cache, fleet.queue):
        one.settle()
    assert fleet.bring() == []
    for one in (fleet.cache, fleet.queue):
        one.stop()
        one.start()
    assert fleet.bring() == []
    assert fleet.queue.client(password="everybodys").ping()
    assert ("shared_password", "default", "") in fleet.faults()
    held = fleet.queue.client(password="everybodys")
    number = held.client_id()
    fleet.bring(keep=False)
    with pytest.raises(redis.AuthenticationError):
        fleet.queue.client(password="everybodys").ping()
    known = fleet.queue.client("erp1").client_list()
    assert number not in [int(client["id"]) for client in known]
    assert (fleet.bring(), fleet.former, fleet.faults()) == ([], False, [])


def test_roots_own_password_is_changed_too(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    stock = users.Users.instance

    def killed(self: Any, instance: str, *rest: Any) -> None:
        if instance == "queue":
            raise KeyboardInterrupt
        stock(self, instance, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(users.Users, "instance", killed)
        with pytest.raises(KeyboardInterrupt):
            fleet.bring(admin="n-root")
    assert fleet.bring(admin="n-root")[-1] == f"write {fleet.folder}/admin"
    # The standby still signs in with what follows from the former one.
    assert fleet.faults() == [("former_password", users.COPIER, "")]
    fleet.bring(admin="n-root", keep=False)
    assert (fleet.bring(admin="n-root"), fleet.faults()) == ([], [])
    with users.redis_admin(str(fleet.queue.conf)) as root:
        known = root.ask("CONFIG", "GET", "masterauth")
    assert known == ["masterauth", users.copier_password("n-root")]
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=fleet.queue.port, username="benchfleet", password="p-root").ping()


def test_a_redis_with_other_settings_than_in_its_file_is_reported(fleet: Fleet) -> None:
    with users.redis_admin(str(fleet.cache.conf)) as root:
        root.ask("ACL", "SETUSER", "benchfleet", "resetpass")
    with pytest.raises(users.UsersError, match=r":\d+ .*WRONGPASS.*`supervisorctl restart`"):
        fleet.bring()


def test_who_listens_before_there_are_settings_of_ours_is_left_alone(tmp_path: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fchown", lambda *_: None)
        patch.setattr(users.grp, "getgrnam", lambda _: SimpleNamespace(gr_gid=0))
        fleet = Fleet(tmp_path)
        fleet.queue.conf.unlink()
        fleet.cache.conf.unlink()
        with socket.create_server(("127.0.0.1", fleet.queue.port)):
            assert len(fleet.bring()) == 4


def test_rights_are_words_that_redis_knows(fleet: Fleet) -> None:
    with Redis("127.0.0.1", fleet.queue.port, "p-root", users.ADMIN) as root:
        known = set(root.ask("COMMAND", "LIST"))
    for instance in users.INSTANCES:
        for word in users.rights(instance, primary=True):
            if word[0] in "+-" and word[1] != "@":
                assert word[1:].split("|")[0] in known


def test_doctor_finds_a_queue_that_is_nearly_full(fleet: Fleet) -> None:
    queue = str(fleet.queue.conf)
    assert doctor.redis(queue) == []
    with users.redis_admin(queue) as root:
        used = int(parse_info(root.ask("INFO", "memory"))["used_memory"])
        root.ask("CONFIG", "SET", "maxmemory-policy", "noeviction")
        root.ask("CONFIG", "SET", "maxmemory", str(used * 10))
        assert doctor.redis(queue) == []
        root.ask("CONFIG", "SET", "maxmemory", str(int(used / 0.9)))
    assert [cause.id for cause in doctor.redis(queue)] == ["redis_full"]
