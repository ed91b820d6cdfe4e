"""A client for Redis: the hosts have no library for it."""

from __future__ import annotations

import re
import socket
import time
from typing import Any, NoReturn


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
