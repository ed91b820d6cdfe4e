"""Workers and the queues that they serve, as noted in Redis by its own clock."""

from __future__ import annotations

from typing import Any

from benchfleet_jobs.settings import PREFIX

BEAT_SECONDS = 2.0
SILENT_SECONDS = 3 * BEAT_SECONDS


def seen_key(bench_id: str) -> str:
    """Redis hash: each queue of ours and when it was last served, in seconds of the epoch."""
    return f"{bench_id}:fleet:served"


def beats_key(bench_id: str) -> str:
    """Redis hash: each worker, by its name in RQ: the time of its last report, and its node.

    RQ itself lists a worker that was killed for seven more minutes.
    """
    return f"{bench_id}:fleet:beats"


def given_key(bench_id: str, queue: str) -> str:
    """Redis sorted set: jobs that were put on a queue of ours, by seconds of the epoch."""
    return f"{bench_id}:fleet:given:{queue}"


def drained_key(bench_id: str) -> str:
    """Redis set: the nodes that are out of service."""
    return f"{bench_id}:fleet:drained"


def since_key(bench_id: str) -> str:
    """Redis string: since when the queues are checked without a break, in seconds of the epoch."""
    return f"{bench_id}:fleet:since"


def redis_now(redis: Any) -> float:
    """The time by Redis' clock, in seconds of the epoch."""
    seconds, micro = redis.time()
    return float(seconds + micro / 1e6)


def own_queues(names: list[str]) -> dict[str, list[str]]:
    """Queues of ours among a worker's, by bench: {bench_id: [queue, ...]}."""
    found: dict[str, list[str]] = {}
    for name in names:
        bench, _, queue = name.rpartition(":")
        found.setdefault(bench, [])
        if queue.startswith(PREFIX):
            found[bench].append(queue)
    return found


def our_queues(redis: Any, bench: str) -> list[str]:
    """Queues of ours that RQ knows, also those on which no jobs are placed any more."""
    names = (key.decode().removeprefix("rq:queue:") for key in redis.smembers("rq:queues"))
    prefix = f"{bench}:{PREFIX}"
    return sorted(name.removeprefix(f"{bench}:") for name in names if name.startswith(prefix))


def living(redis: Any, bench: str) -> dict[str, str]:
    """Workers that reported within SILENT_SECONDS, and their nodes."""
    now = redis_now(redis)
    beats = {name.decode(): beat.decode() for name, beat in redis.hgetall(beats_key(bench)).items()}
    found = {name: beat.partition(" ") for name, beat in beats.items()}
    return {n: node for n, (at, _, node) in found.items() if now - float(at) <= SILENT_SECONDS}


def forget_the_silent(redis: Any, bench: str) -> None:
    """Remove the reports of workers that are gone."""
    known = {name.decode() for name in redis.hkeys(beats_key(bench))}
    gone = known - set(living(redis, bench))
    if gone:
        redis.hdel(beats_key(bench), *gone)


def watch(redis: Any, bench: str) -> None:
    """Note that the queues are being checked, and since when without a break.

    After a time in which Redis or the primary was off, or in which the clock was set forward, all
    that is noted is old and says nothing: every server has the whole bound to be heard of again.
    """
    now = redis_now(redis)
    last = float(redis.getset(f"{bench}:fleet:looked", now) or 0)
    if not 0 <= now - last <= SILENT_SECONDS:
        redis.set(since_key(bench), now)


def unserved_for(redis: Any, bench: str, queue: str) -> float | None:
    """Seconds since a queue was last served, None for one that never was."""
    seen = redis.hget(seen_key(bench), queue)
    return None if seen is None else max(0.0, redis_now(redis) - float(seen))


def is_served(redis: Any, bench: str, queue: str) -> bool:
    """Whether a worker reported within SILENT_SECONDS that it serves a queue of ours."""
    silent = unserved_for(redis, bench, queue)
    return silent is not None and silent <= SILENT_SECONDS


def away_for(redis: Any, bench: str, queue: str) -> float:
    """Seconds for which a queue has been watched and not been served."""
    now = redis_now(redis)
    seen = float(redis.hget(seen_key(bench), queue) or 0)
    return max(0.0, now - max(seen, float(redis.get(since_key(bench)) or now)))
