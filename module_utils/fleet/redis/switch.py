"""The queue's Redis when the primary changes: the standby's takes over, the former one copies it.

Each step may have been done before. What Redis is after a restart follows from the host's record:
see replication.py.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ..foreign import replace, unlink
from ..work import Work, required
from . import replication
from .client import Redis, RedisError, begun_jobs
from .store import parse_info, settings
from .users import conf_of, redis_admin

LOOK_SECONDS = 0.02
# For a Redis that is started anew, and checks and reads its files.
START_SECONDS = 60.0


class SwitchError(Exception):
    """A step could not be done; the message says what was seen."""


def info_of(redis: Redis) -> dict[str, str]:
    """INFO replication."""
    return parse_info(redis.ask("INFO", "replication"))


def copies(info: Mapping[str, str]) -> list[dict[str, Any]]:
    """The copies that a Redis sends to: {address, port, state, offset, lag}; lag in seconds."""
    found = []
    for number in range(int(info["connected_slaves"])):
        one = dict(part.split("=", 1) for part in info[f"slave{number}"].split(","))
        found.append(
            {
                "address": one["ip"],
                "port": int(one["port"]),
                "state": one["state"],
                "offset": int(one["offset"]),
                "lag": int(one["lag"]),
            }
        )
    return found


def described(info: Mapping[str, str]) -> dict[str, Any]:
    """What a Redis is: {role, source, link, offset, lag, copies}.

    role: primary or copy. source: address of the Redis that a copy is of. link: up or down; "" of a
    primary. offset: bytes of changes that it has; those of primary and copy can be compared. lag:
    seconds since the primary was last heard, None where it is one.
    """
    if info["role"] == "master":
        offset = int(info["master_repl_offset"])
        about = {"role": "primary", "source": "", "link": "", "offset": offset, "lag": None}
    else:
        about = {
            "role": "copy",
            "source": info["master_host"],
            "link": info["master_link_status"],
            "offset": int(info["slave_repl_offset"]),
            "lag": int(info["master_last_io_seconds_ago"]),
        }
    return {**about, "copies": copies(info)}


class Switch:
    """The steps on one host. asked: the options of the module redis_switch."""

    def __init__(self, asked: Mapping[str, Any], dry: bool) -> None:
        self.asked, self.dry = asked, dry
        self.folder = f"{asked['config_dir']}/redis"
        self.conf = conf_of(self.folder, "queue")
        known = settings(Path(self.conf).read_text(encoding="utf-8"))
        self.data, self.port = known["dir"], known["port"]
        self.seconds: float = asked["seconds"]

    def step(self) -> dict[str, Any]:
        """Do the step; returns {changed, role, …} as ``described``, with ``working``.

        Raises SwitchError, and OSError and RedisError where Redis does not answer.
        """
        name = self.asked["step"]
        changed = False if name == "look" else getattr(self, name)()
        with self.answering() as redis:
            return {**described(info_of(redis)), "changed": changed, "working": begun_jobs(redis)}

    def failover(self) -> bool:
        """On the primary: hand the queue over to the copy on ``host``, with all that is in it."""
        host = self.asked["host"]
        with self.answering() as redis:
            info = info_of(redis)
            if info["role"] == "slave" and info["master_failover_state"] == "no-failover":
                self.must_copy(info)
                return self.note(host)
            if self.dry:
                return True
            if info["master_failover_state"] == "no-failover":
                for info in self.looks(redis, f"{host} has no copy that is up to date"):
                    known = [one for one in copies(info) if one["state"] == "online"]
                    if host in [one["address"] for one in known]:
                        break
                limit = str(int(self.seconds * 1000))
                redis.ask("FAILOVER", "TO", host, self.port, "TIMEOUT", limit)
            try:
                for info in self.looks(redis, f"{host} did not take over", self.seconds + 2):
                    if info["master_failover_state"] == "no-failover":
                        break
            except SwitchError:
                with suppress(RedisError):
                    redis.ask("FAILOVER", "ABORT")
                raise
        if info["role"] != "slave":
            raise SwitchError(
                f"{host} did not take over the queue in {self.seconds:g} s: it did not have all"
                " changes, or refused. This Redis is still the primary's"
            )
        self.note(host)
        return True

    def takeover(self) -> bool:
        """On the standby, while the primary does ``failover``: wait until this is the primary's."""
        with self.answering() as redis:
            if info_of(redis)["role"] == "slave":
                if self.dry:
                    return True
                for info in self.looks(redis, "the primary did not hand the queue over"):
                    if info["role"] == "master":
                        break
        return self.own()

    def promote(self) -> bool:
        """On the standby of a primary that is lost: go on with what has arrived."""
        with self.answering() as redis:
            if info_of(redis)["role"] == "slave":
                if not self.dry:
                    redis.ask("REPLICAOF", "NO", "ONE")
                    self.own()
                return True
        return self.own()

    def follow(self) -> bool:
        """Be a copy of the Redis on ``host``, which the record of this host names as the primary's.

        One that was a primary itself is started anew: its jobs are kept aside (see store.py).
        """
        host = self.asked["host"]
        found = replication.part(self.asked["config_dir"], self.asked["state_dir"])
        if found.source != host:
            raise SwitchError(
                f"the record of this host does not name {host} as the primary, so its queue does"
                " not become a copy of that one"
            )
        with self.answering() as redis:
            info = info_of(redis)
            if info["role"] == "slave" and info["master_host"] == host:
                changed = self.note(host)
            elif self.dry:
                return True
            else:
                changed = True
                if info["role"] == "slave":
                    redis.ask("REPLICAOF", host, self.port)
                    self.note(host)
                else:
                    # Supervisor starts it again.
                    with suppress(RedisError, OSError):
                        redis.ask("SHUTDOWN")
        if changed and not self.dry:
            self.empty_cache()
            with self.answering(START_SECONDS) as redis:
                for info in self.looks(redis, f"the queue of {host} was not copied"):
                    if info["role"] != "slave":
                        raise SwitchError("the queue's Redis came back as the primary's")
                    if info["master_link_status"] == "up":
                        break
        return changed

    def must_copy(self, info: Mapping[str, str]) -> None:
        """Raise SwitchError where this Redis copies another host than ``host``."""
        if info["master_host"] != self.asked["host"]:
            raise SwitchError(
                f"this host's queue is a copy of that of {info['master_host']}, and cannot be"
                f" handed over to {self.asked['host']}"
            )

    def own(self) -> bool:
        """Note that the files are no copy any more, and empty the cache; whether they were one.

        The cache has what was stored there when this host was last the primary.
        """
        if not replication.is_copy(self.data):
            return False
        if not self.dry:
            self.empty_cache()
            unlink(f"{self.data}/{replication.COPY}")
        return True

    def note(self, source: str) -> bool:
        """Note that the files are a copy; whether that was not noted."""
        if replication.is_copy(self.data):
            return False
        if not self.dry:
            replace(f"{self.data}/{replication.COPY}", f"{source}\n".encode(), 0o644)
        return True

    def empty_cache(self) -> None:
        """Empty the cache of this host."""
        with redis_admin(conf_of(self.folder, "cache")) as redis:
            redis.ask("FLUSHALL")

    def looks(
        self, redis: Redis, late: str, seconds: float | None = None
    ) -> Iterator[dict[str, str]]:
        """INFO replication, again and again. Raises SwitchError, with ``late``, after a time."""
        seconds = seconds or self.seconds
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            yield info_of(redis)
            time.sleep(LOOK_SECONDS)
        raise SwitchError(f"{late} in {seconds:g} s")

    @contextmanager
    def answering(self, seconds: float | None = None) -> Iterator[Redis]:
        """A connection, as soon as Redis is there and has read its files.

        Raises SwitchError, with the last reason, where that takes longer than the step may.
        """
        with self.tried(seconds or self.seconds) as redis:
            yield redis

    def tried(self, seconds: float) -> Redis:
        """Connect to a Redis that may still be starting."""
        until = time.monotonic() + seconds
        while True:
            try:
                redis = redis_admin(self.conf)
                if parse_info(redis.ask("INFO", "persistence"))["loading"] == "0":
                    return redis
                redis.__exit__()
                why = "it still reads its files"
            except (OSError, RedisError) as error:
                why = str(error)
            if time.monotonic() > until:
                raise SwitchError(f"the queue's Redis did not answer in {seconds:g} s: {why}")
            time.sleep(LOOK_SECONDS)


WORK = Work(
    {
        "step": {
            "choices": ["look", "failover", "takeover", "promote", "follow"],
            "required": True,
        },
        **required("path", "config_dir", "state_dir"),
        "host": {"type": "str"},
        "seconds": {"type": "float", "default": 5},
    },
    lambda module, params: Switch(params, module.check_mode).step(),
    (SwitchError, OSError, RedisError),
    required_if=(("step", "failover", ["host"]), ("step", "follow", ["host"])),
)
