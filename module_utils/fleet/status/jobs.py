"""The bench's two Redis, the jobs that wait in one of them, and the standby's copy of that."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ..record import Record
from ..redis.client import Redis, registered_workers
from ..redis.store import parse_info
from ..redis.users import conf_of, redis_admin
from ..verify.redis import copy_of, queue_problems
from .troubles import AMBER, Trouble, trouble

# Seconds that a job may wait: in a queue without workers, and in any queue.
UNSERVED, OLD = 120, 600
QUEUE = "rq:queue:"
# Queues that are looked at, those with workers first, and characters of their names: whoever may
# queue a job may name as many as they like.
MOST, LONGEST = 100, 80


def queue(conf: str) -> list[Trouble]:
    """Troubles of the Redis in which jobs wait."""
    info, unsafe, without_room = queue_problems(conf)
    return [
        *(trouble("queue_safe", f"queue: {what}") for what in unsafe),
        *(trouble("queue_room", f"queue: {what}") for what in without_room),
        *no_writes("queue", info),
    ]


def copy(conf: str, state_dir: str) -> list[Trouble]:
    """Troubles of the standby's copy of the queue. state_dir: has the record of the primary."""
    own = Record.read(state_dir)
    source = own.hosts.get(own.primary, "") if own else ""
    _, wrong = copy_of(conf, source)
    return [trouble("queue_copy", f"copy of the queue: {what}", AMBER) for what in wrong]


def cache(conf: str) -> list[Trouble]:
    """Troubles of the Redis that caches. conf: the settings of the queue's, beside its own."""
    with redis_admin(conf_of(os.path.dirname(conf), "cache")) as redis:
        info = parse_info(redis.ask("INFO", "persistence"))
    return no_writes("cache", info)


def no_writes(name: str, info: Mapping[str, str]) -> list[Trouble]:
    """The trouble of a Redis that could not write to its disk. info: of INFO persistence."""
    failed = [
        f"{status} is {info[status]}"
        for status in ("rdb_last_bgsave_status", "aof_last_write_status")
        if info.get(status, "ok") != "ok"
    ]
    if not failed:
        return []
    what = "new jobs" if name == "queue" else "changes"
    return [
        trouble(
            "redis_no_writes",
            f"the {name}'s Redis could not write to its disk ({', '.join(failed)}) and may refuse"
            f" {what} (MISCONF): see its log, and the free space where the bench is",
        )
    ]


def queues(conf: str) -> dict[str, Any]:
    """The jobs that wait. conf: the settings of the queue's Redis.

    {waiting, oldest_seconds, by_queue [{queue, waiting, oldest_seconds, workers}]}; oldest_seconds
    is None where none waits. At most MOST queues.
    """
    with redis_admin(conf) as redis:
        serving = [name for one in registered_workers(redis) for name in one["queues"]]
        named = (key.removeprefix(QUEUE) for key in redis.ask("SMEMBERS", "rq:queues"))
        names = sorted(sorted(named, key=lambda name: (name not in serving, name))[:MOST])
        now = datetime.now(tz=UTC).timestamp()
        rows = [
            {
                "queue": name.rpartition(":")[2][:LONGEST],
                "waiting": int(redis.ask("LLEN", f"{QUEUE}{name}")),
                "oldest_seconds": oldest(redis, name, now),
                "workers": serving.count(name),
            }
            for name in names
        ]
    ages = [row["oldest_seconds"] for row in rows if row["oldest_seconds"] is not None]
    return {
        "waiting": sum(row["waiting"] for row in rows),
        "oldest_seconds": max(ages, default=None),
        "by_queue": rows,
    }


def oldest(redis: Redis, name: str, now: float) -> int | None:
    """Seconds for which the first job of a queue has waited; None where none waits."""
    job = redis.ask("LINDEX", f"{QUEUE}{name}", "0")
    since = redis.ask("HGET", f"rq:job:{job}", "enqueued_at") if job else None
    if not since:
        return None
    try:
        moment = datetime.fromisoformat(since.replace("Z", "+00:00"))
    except ValueError:
        return None
    # RQ's times without a zone are in UTC.
    return max(0, round(now - moment.replace(tzinfo=moment.tzinfo or UTC).timestamp()))


def waiting(found: Mapping[str, Any]) -> list[Trouble]:
    """Troubles of jobs that wait too long. found: of queues()."""
    troubles = []
    for row in found["by_queue"]:
        age, text = row["oldest_seconds"] or 0, f"{row['waiting']} jobs wait in {row['queue']}"
        if age > UNSERVED and not row["workers"]:
            what = f"{text}, the oldest for {age} s, and no worker takes them"
            troubles.append(trouble("waiting", what))
        elif age > OLD:
            troubles.append(trouble("jobs_old", f"{text}, the oldest for {age} s"))
    return troubles
