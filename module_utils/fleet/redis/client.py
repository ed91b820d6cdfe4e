"""A client for Redis: the hosts have no library for it."""

from __future__ import annotations

import re
import socket
import time
from typing import Any, NoReturn

# Keys of the jobs that workers have begun, by queue.
BEGUN = "rq:wip:"
# Jobs that are named, and characters of what is said of one.
MOST_JOBS, LONGEST = 100, 140


class RedisError(Exception):
    """Redis answered with an error."""


class Redis:
    """A connection to Redis."""

    def __init__(
        self, address: str, port: int, password: str | None = None, user: str | None = None
    ) -> None:
        self.socket = socket.create_connection((address, port), timeout=5)
        self.source = self.socket.makefile("rb")
        if password:
            self.ask("AUTH", *([user] if user else []), password)

    def __enter__(self) -> Redis:
        return self

    def __exit__(self, *_: Any) -> None:
        self.source.close()
        self.socket.close()

    def ask(self, *command: str) -> Any:
        """Send a command and return Redis' answer. Raises RedisError where that is an error."""
        parts = [part.encode() for part in command]
        request = b"*%d\r\n" % len(parts)
        request += b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self.socket.sendall(request)
        return self._answer()

    def write_down(self, seconds: float = 60.0) -> None:
        """Have Redis write all its data to disk now. Raises RedisError.

        An append-only Redis loads only its file of changes, so it rewrites that.
        """
        self.socket.settimeout(seconds)
        deadline = time.monotonic() + seconds
        appends = "aof_enabled:1" in self.ask("INFO", "persistence")
        while True:
            try:
                self.ask("BGREWRITEAOF" if appends else "SAVE")
                break
            except RedisError as error:
                if "in progress" not in str(error) or time.monotonic() > deadline:
                    self._not_written(str(error), error)
                time.sleep(0.2)
        while appends:
            info = self.ask("INFO", "persistence")
            if not re.search(r"aof_rewrite_(in_progress|scheduled):1", info):
                if "aof_last_bgrewrite_status:ok" not in info:
                    self._not_written("aof_last_bgrewrite_status is not ok")
                return
            if time.monotonic() > deadline:
                self._not_written(f"not within {seconds:.0f} s")
            time.sleep(0.05)

    @staticmethod
    def _not_written(why: str, cause: Exception | None = None) -> NoReturn:
        raise RedisError(
            f"Redis cannot write its data to disk ({why}); see its log, and the free disk space"
        ) from cause

    def _answer(self) -> Any:
        line = self.source.readline()
        if not line.endswith(b"\r\n"):
            raise RedisError("Redis closed the connection")
        kind, rest = line[:1], line[1:-2].decode(errors="replace")
        if kind == b"-":
            raise RedisError(rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return (
                None
                if rest == "-1"
                else self.source.read(int(rest) + 2)[:-2].decode(errors="replace")
            )
        if kind == b"*":
            return [self._answer() for _ in range(max(int(rest), 0))]
        return rest


def registered_workers(redis: Redis) -> list[dict[str, Any]]:
    """Registered background workers: {name, host, queues, done}."""
    found = []
    for key in redis.ask("SMEMBERS", "rq:workers") or []:
        host, queues, done = redis.ask("HMGET", key, "hostname", "queues", "successful_job_count")
        if queues:
            found.append(
                {"name": key, "host": host, "queues": queues.split(","), "done": int(done or 0)}
            )
    return found


def job_name(description: str) -> str:
    """A job's own name, from RQ's description of it: Frappe runs all jobs by one function."""
    found = re.search(r"\b(?:method|job_name)='([^']+)'", description)
    return found.group(1) if found else description[:80]


def begun_jobs(redis: Redis) -> list[dict[str, str]]:
    """Jobs that a worker has begun and not ended: {id, queue, method, site, since, worker}.

    After a failover it is not known which of them were done. At most MOST_JOBS.
    """
    found: list[dict[str, str]] = []
    for key in sorted(redis.ask("KEYS", f"{BEGUN}*")):
        for member in redis.ask("ZRANGE", key, "0", str(MOST_JOBS)):
            # RQ 2 adds the number of the try to the job's id.
            job = member if redis.ask("EXISTS", f"rq:job:{member}") else member.rpartition(":")[0]
            names = ("description", "started_at", "worker_name")
            values = redis.ask("HMGET", f"rq:job:{job}", *names)
            description, since, worker = (value or "" for value in values)
            site = re.search(r"\bsite='([^']+)'", description)
            entry = {
                "id": job,
                "queue": key.removeprefix(BEGUN),
                "method": job_name(description),
                "site": site.group(1) if site else "",
                "since": since,
                "worker": worker,
            }
            # Whoever may queue a job chooses all of these.
            found.append({name: value[:LONGEST] for name, value in entry.items()})
    return found[:MOST_JOBS]
