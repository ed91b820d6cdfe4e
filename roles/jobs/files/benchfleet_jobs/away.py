"""The jobs of a server that is away are the primary's.

Those of a queue that nobody has served for the bound are moved to the queues that Frappe would have
put them on, so the primary's own workers take them as they take all others. New jobs keep going to
their server's queue: as soon as somebody serves it again, they are done there.
"""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from benchfleet_jobs import contract
from benchfleet_jobs.beats import (
    away_for,
    beats_key,
    drained_key,
    forget_the_silent,
    given_key,
    living,
    our_queues,
    redis_now,
    seen_key,
    watch,
)
from benchfleet_jobs.settings import HEAVY, HOME, Settings

# So long a heavy job waits for a reporting node when none is heard of: any server can do it.
HEAVY_AWAY_SECONDS = 10.0
FAILED_TTL = 7 * 24 * 3600
# Where a job goes that says nothing of where it came from.
FALLBACK = "default"
# Atomically: a worker that comes back in this moment either has the job, or does not find it.
MOVE = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[3], 'origin', ARGV[2])
redis.call('SADD', 'rq:queues', KEYS[2])
redis.call('RPUSH', KEYS[2], ARGV[1])
return 1
"""
# A job that counts as queued and is on no list goes back to the end of its queue.
COLLECT = """
if redis.call('HGET', KEYS[3], 'status') ~= 'queued' then return 0 end
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
    if id == ARGV[1] then return 0 end
end
redis.call('LREM', KEYS[2], 0, ARGV[1])
redis.call('RPUSH', KEYS[1], ARGV[1])
return 1
"""
# How long a worker may take to begin what Redis gave to it, where its queue is served; and where
# nobody has served the queue for the bound.
BEGIN_SECONDS = 30.0
BEGIN_SECONDS_AWAY = 5.0


def look(redis: Any, bench: str, settings: Settings) -> None:
    """Take the jobs of every queue of ours that has been without a worker for the bound."""
    forget_the_silent(redis, bench)
    watch(redis, bench)
    note_drained(redis, bench, settings)
    placed = set(settings.placement.values()) if contract.fits("jobs", "files") else set()
    for queue in our_queues(redis, bench):
        # Its server's workers may be about to start for the first time.
        redis.hsetnx(seen_key(bench), queue, redis_now(redis))
        silent = away_for(redis, bench, queue)
        patience = settings.away_seconds
        if queue == HEAVY:
            patience = min(patience, HEAVY_AWAY_SECONDS)
        is_away = silent >= patience
        collect_given(redis, bench, queue, BEGIN_SECONDS_AWAY if is_away else BEGIN_SECONDS)
        if silent >= settings.away_seconds:
            end_abandoned(redis, bench, queue)
        # Where nothing is placed any more, nobody is worth waiting for.
        waits = settings.when_away == "wait" and queue in placed and queue != HEAVY
        if is_away and not waits:
            take_over(redis, bench, queue)


def note_drained(redis: Any, bench: str, settings: Settings) -> None:
    """Tell the workers of all nodes which nodes are out of service."""
    names = {n for folder in settings.drained if os.path.isdir(folder) for n in os.listdir(folder)}
    key = drained_key(bench)
    if {name.decode() for name in redis.smembers(key)} != names:
        with redis.pipeline() as pipe:
            pipe.delete(key)
            if names:
                pipe.sadd(key, *names)
            pipe.execute()


def collect_given(redis: Any, bench: str, queue: str, patience: float) -> None:
    """Put the jobs back that Redis gave to a worker whose host was gone by then.

    A connection of which nobody tells Redis that its other end is off still counts as waiting for
    jobs. Such a job is on no list, and counts as queued for ever. patience: seconds for which that
    must have been so, as it is for a moment with every job that a worker takes.
    """
    from rq import Queue
    from rq.job import Job

    key, noted = Queue(f"{bench}:{queue}", connection=redis).key, given_key(bench, queue)
    ids = [raw.decode() for raw in redis.zrange(noted, 0, -1)]
    pipe = redis.pipeline(transaction=False)
    for job_id in ids:
        pipe.hget(Job.key_for(job_id), "status")
    statuses = dict(zip(ids, pipe.execute(), strict=True))
    # Looked at after the statuses: a job that is put here in between is on the list then.
    waiting = {raw.decode() for raw in redis.lrange(key, 0, -1)}
    now, missed = redis_now(redis), f"{noted}:missed"
    for job_id, status in statuses.items():
        if status != b"queued":
            redis.zrem(noted, job_id)
            redis.hdel(missed, job_id)
        elif job_id in waiting:
            redis.hdel(missed, job_id)
        else:
            redis.hsetnx(missed, job_id, now)
            if now - float(redis.hget(missed, job_id) or now) >= patience:
                redis.eval(COLLECT, 3, key, f"{key}:intermediate", Job.key_for(job_id), job_id)
                redis.hdel(missed, job_id)


def take_over(redis: Any, bench: str, queue: str) -> int:
    """Move the waiting jobs of a queue to where Frappe would have put them; returns how many."""
    from rq import Queue
    from rq.exceptions import NoSuchJobError
    from rq.job import Job

    key, moved = Queue(f"{bench}:{queue}", connection=redis).key, 0
    for raw in redis.lrange(key, 0, -1):
        job_id = raw.decode()
        try:
            home = Job.fetch(job_id, connection=redis).meta.get(HOME) or FALLBACK
        except NoSuchJobError:
            redis.lrem(key, 1, job_id)
            continue
        except Exception:
            # A job that cannot be read is still one that somebody wants to see fail.
            home = FALLBACK
        target = f"{bench}:{home}"
        moved += redis.eval(
            MOVE, 3, key, Queue(target, connection=redis).key, Job.key_for(job_id), job_id, target
        )
        redis.zrem(given_key(bench, queue), job_id)
    return moved


def end_abandoned(redis: Any, bench: str, queue: str) -> None:
    """Fail the jobs that were running on a server that is away: nobody else would ever notice.

    As long as a scheduled job counts as running, it is not queued again. RQ clears a queue's
    abandoned jobs only where a worker serves it.
    """
    from rq.job import Job, JobStatus
    from rq.registry import FailedJobRegistry, StartedJobRegistry

    running = StartedJobRegistry(name=f"{bench}:{queue}", connection=redis)
    failed = FailedJobRegistry(name=f"{bench}:{queue}", connection=redis)
    there = living(redis, bench)
    for raw in redis.zrange(running.key, 0, -1):
        # RQ 2 appends the execution to the job's id.
        parse = getattr(running, "parse_job_id", str)
        job_id = parse(raw.decode())
        with suppress(Exception):
            job = Job.fetch(job_id, connection=redis)
            if job.worker_name in there:
                # It serves the queue no more, and ends what it has begun.
                continue
            job.set_status(JobStatus.FAILED)
            failed.add(job, ttl=FAILED_TTL, exc_string="abandoned: its server is away")
        redis.zrem(running.key, raw)


def forget(redis: Any, bench: str, node: str, queue: str, *, pretend: bool) -> dict[str, Any]:
    """Keep nothing of a node that left, nor of the queue of what was placed on it.

    Its waiting jobs go to the primary's workers at once. Returns {moved: waiting jobs, kept:
    whether anything was kept of it}; with ``pretend`` nothing is done.
    """
    from rq import Queue

    key = Queue(f"{bench}:{queue}", connection=redis).key
    beats = redis.hgetall(beats_key(bench))
    workers = [name for name, told in beats.items() if told.decode().partition(" ")[2] == node]
    known = redis.sismember("rq:queues", key) or redis.hexists(seen_key(bench), queue)
    moved = redis.llen(key)
    kept = bool(known or workers or moved)
    if kept and not pretend:
        end_abandoned(redis, bench, queue)
        # Its workers are stopped: what Redis gave them is on no list.
        collect_given(redis, bench, queue, 0)
        moved = take_over(redis, bench, queue)
        redis.delete(given_key(bench, queue), f"{given_key(bench, queue)}:missed")
        redis.srem("rq:queues", key)
        redis.hdel(seen_key(bench), queue)
        if workers:
            redis.hdel(beats_key(bench), *workers)
    return {"moved": moved, "kept": kept}
