"""The primary takes over the jobs of a server that is down.

When no worker has served a queue for a set time, its jobs are moved to the queues on which Frappe
would have put them, so that the primary's own workers run them like all others. New jobs still go
to their server's queue: as soon as it is served again, they run there.
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

# Seconds that a heavy job waits for a reporting node when none answers: any server can run it.
HEAVY_AWAY_SECONDS = 10.0
FAILED_TTL = 7 * 24 * 3600
# The queue for a job whose former queue is unknown.
FALLBACK = "default"
# Atomic: a worker that comes back at this moment either has the job, or does not find it.
MOVE = """
if redis.call('LREM', KEYS[1], 1, ARGV[1]) == 0 then return 0 end
redis.call('HSET', KEYS[3], 'origin', ARGV[2])
redis.call('SADD', 'rq:queues', KEYS[2])
redis.call('RPUSH', KEYS[2], ARGV[1])
return 1
"""
# A job with the status "queued" that is on no list goes back to the end of its queue.
COLLECT = """
if redis.call('HGET', KEYS[3], 'status') ~= 'queued' then return 0 end
for _, id in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
    if id == ARGV[1] then return 0 end
end
redis.call('LREM', KEYS[2], 0, ARGV[1])
redis.call('RPUSH', KEYS[1], ARGV[1])
return 1
"""
# Seconds that a worker has to start a job that Redis gave to it: where its queue is served, and
# where no worker has served it for the set time.
BEGIN_SECONDS = 30.0
BEGIN_SECONDS_AWAY = 5.0


def look(redis: Any, bench: str, settings: Settings) -> None:
    """Take over the jobs of each queue of ours that had no worker for the set time."""
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
        # Where no jobs are placed any more, there is no server to wait for.
        waits = settings.when_away == "wait" and queue in placed and queue != HEAVY
        if is_away and not waits:
            take_over(redis, bench, queue)


def note_drained(redis: Any, bench: str, settings: Settings) -> None:
    """Write to Redis, for all workers, which nodes are out of service."""
    names = {n for folder in settings.drained if os.path.isdir(folder) for n in os.listdir(folder)}
    key = drained_key(bench)
    if {name.decode() for name in redis.smembers(key)} != names:
        with redis.pipeline() as pipe:
            pipe.delete(key)
            if names:
                pipe.sadd(key, *names)
            pipe.execute()


def collect_given(redis: Any, bench: str, queue: str, patience: float) -> None:
    """Put back jobs that Redis gave to a worker whose host was already gone.

    A connection whose other end has vanished still counts as waiting for jobs. Such a job is on no
    list, and its status stays "queued". patience: seconds for which that must have been so, because
    it is so for a moment with each job that a worker takes.
    """
    from rq import Queue
    from rq.job import Job

    key, noted = Queue(f"{bench}:{queue}", connection=redis).key, given_key(bench, queue)
    ids = [raw.decode() for raw in redis.zrange(noted, 0, -1)]
    pipe = redis.pipeline(transaction=False)
    for job_id in ids:
        pipe.hget(Job.key_for(job_id), "status")
    statuses = dict(zip(ids, pipe.execute(), strict=True))
    # Read after the statuses, so that a job that is queued in between is on the list.
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
    """Move the waiting jobs of a queue to those that Frappe would have used; returns how many."""
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
            # A job that cannot be read still has to fail visibly.
            home = FALLBACK
        target = f"{bench}:{home}"
        moved += redis.eval(
            MOVE, 3, key, Queue(target, connection=redis).key, Job.key_for(job_id), job_id, target
        )
        redis.zrem(given_key(bench, queue), job_id)
    return moved


def end_abandoned(redis: Any, bench: str, queue: str) -> None:
    """Mark jobs that were running on a server that is down as failed.

    As long as a scheduled job counts as running, it is not queued again, and RQ clears a queue's
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
                # It no longer serves the queue, but ends the job that it runs.
                continue
            job.set_status(JobStatus.FAILED)
            failed.add(job, ttl=FAILED_TTL, exc_string="abandoned: its server is away")
        redis.zrem(running.key, raw)


def forget(redis: Any, bench: str, node: str, queue: str, *, pretend: bool) -> dict[str, Any]:
    """Remove a node that left from Redis, with the queue of jobs that were placed on it.

    Its waiting jobs go to the primary's workers at once. Returns {moved: waiting jobs, kept:
    whether Redis had anything of it}; with ``pretend`` nothing is changed.
    """
    from rq import Queue

    key = Queue(f"{bench}:{queue}", connection=redis).key
    beats = redis.hgetall(beats_key(bench))
    workers = [name for name, beat in beats.items() if beat.decode().partition(" ")[2] == node]
    known = redis.sismember("rq:queues", key) or redis.hexists(seen_key(bench), queue)
    moved = redis.llen(key)
    kept = bool(known or workers or moved)
    if kept and not pretend:
        end_abandoned(redis, bench, queue)
        # Its workers are stopped: jobs that Redis gave them are on no list.
        collect_given(redis, bench, queue, 0)
        moved = take_over(redis, bench, queue)
        redis.delete(given_key(bench, queue), f"{given_key(bench, queue)}:missed")
        redis.srem("rq:queues", key)
        redis.hdel(seen_key(bench), queue)
        if workers:
            redis.hdel(beats_key(bench), *workers)
    return {"moved": moved, "kept": kept}
