"""Workers say which queues they serve; the primary's take the jobs of a server that is away.

All of it in Redis, by Redis' own clock. A thread of each worker notes the time for every queue of
ours that the worker serves. On the primary it also looks at all of these queues: one that nobody
has served for the bound has its jobs moved to the queues that Frappe would have put them on, so the
primary's own workers take them as they take all others. New jobs keep going to their server's
queue: as soon as somebody serves it again, they are done there.
"""

from __future__ import annotations

import copy
import functools
import os
import signal
import sys
import threading
import time
from contextlib import suppress
from types import ModuleType
from typing import Any

from benchfleet_jobs import contract
from benchfleet_jobs.hooks import when_imported
from benchfleet_jobs.settings import HEAVY, HOME, ON_PRIMARY, PREFIX, Settings, load

BEAT_SECONDS = 2.0
SILENT_SECONDS = 3 * BEAT_SECONDS
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


def seen_key(bench_id: str) -> str:
    """Redis hash: each queue of ours and when it was last served, in seconds of the epoch."""
    return f"{bench_id}:fleet:served"


def beats_key(bench_id: str) -> str:
    """Redis hash: each worker, by RQ's name for it: when it last said that it is there, and where.

    RQ itself knows a worker that ended without a word for seven minutes more.
    """
    return f"{bench_id}:fleet:beats"


def given_key(bench_id: str, queue: str) -> str:
    """Redis sorted set: jobs that were put on a queue of ours, by seconds of the epoch."""
    return f"{bench_id}:fleet:given:{queue}"


def drained_key(bench_id: str) -> str:
    """Redis set: the nodes that are out of service."""
    return f"{bench_id}:fleet:drained"


def since_key(bench_id: str) -> str:
    """Redis string: since when somebody has looked without a break, in seconds of the epoch."""
    return f"{bench_id}:fleet:since"


def redis_now(redis: Any) -> float:
    """The time by Redis' clock, in seconds of the epoch."""
    seconds, micro = redis.time()
    return seconds + micro / 1e6


def own_queues(names: list[str]) -> dict[str, list[str]]:
    """Queues of ours among a worker's, by bench: {bench_id: [queue, ...]}."""
    found: dict[str, list[str]] = {}
    for name in names:
        bench, _, queue = name.rpartition(":")
        found.setdefault(bench, [])
        if queue.startswith(PREFIX):
            found[bench].append(queue)
    return found


def install(path: str) -> None:
    """Have every worker say that it is there."""

    def change(module: ModuleType) -> None:
        for cls in {module.Worker, getattr(module, "BaseWorker", module.Worker)}:
            stock = cls.__dict__.get("work")
            if stock is not None:
                cls.work = _announced(stock, path)
        for cls in vars(module).values():
            stock = vars(cls).get("execute_job") if isinstance(cls, type) else None
            if stock is not None:
                cls.execute_job = _unless_taken(stock)

    when_imported("rq.worker", change)


def _unless_taken(stock: Any) -> Any:
    """Do no job of ours that was put back, and perhaps done elsewhere, since Redis gave it here.

    A worker that was cut off or frozen is handed such a job when it can be reached again.
    """

    @functools.wraps(stock)
    def execute_job(self: Any, job: Any, queue: Any, *args: Any, **options: Any) -> Any:
        if queue.name.rpartition(":")[2].startswith(PREFIX):
            status, origin = self.connection.hmget(job.key, "status", "origin")
            if status != b"queued" or (origin or b"").decode() != queue.name:
                self.log.warning("job %s was taken by others meanwhile", job.id)
                return None
            # It may have been put back and still wait there: it is begun now.
            self.connection.lrem(queue.key, 0, job.id)
        return stock(self, job, queue, *args, **options)

    return execute_job


def _announced(stock: Any, path: str) -> Any:
    @functools.wraps(stock)
    def work(self: Any, *args: Any, **options: Any) -> Any:
        fit, settings = contract.fits("jobs", "files"), load(path)
        if not fit and settings is not None and not settings.primary:
            _rest()
        # A connection of its own: what a thread holds at a fork must be nothing that a job needs.
        import redis as driver

        stock_pool = self.connection.connection_pool
        pool = driver.ConnectionPool(
            connection_class=stock_pool.connection_class,
            **{**stock_pool.connection_kwargs, "socket_timeout": 10, "socket_connect_timeout": 5},
        )
        redis = driver.Redis(connection_pool=pool)
        if settings is not None and settings.primary:
            _serve_on_primary(self)
        names = [queue.name for queue in self.queues]
        while rests(redis, own_queues(names), path):
            time.sleep(BEAT_SECONDS)
        threading.Thread(
            target=_beat,
            args=(redis, self, names, path, os.getpid()),
            daemon=True,
            name="benchfleet-jobs",
        ).start()
        return stock(self, *args, **options)

    return work


def _serve_on_primary(worker: Any) -> None:
    """Have a worker of the primary's serve the queue of what no other host may do, first of all."""
    bench = worker.queues[0].name.rpartition(":")[0]
    name = f"{bench}:{ON_PRIMARY}"
    if name not in (queue.name for queue in worker.queues):
        queue = type(worker.queues[0])(name, connection=worker.connection)
        worker.queues = [queue, *worker.queues]
        # What RQ turns around when it serves its queues in turn.
        worker._ordered_queues = worker.queues[:]


def _rest() -> None:
    """Do no jobs: their files could stay here, where nobody looks for them.

    Until the process is ended: supervisor would start it again at once.
    """
    for words in (*contract.misfits("jobs"), *contract.misfits("files")):
        print(f"benchfleet: this worker does no jobs: {words}", file=sys.stderr, flush=True)
    while True:
        time.sleep(3600)


def rests(redis: Any, queues: dict[str, list[str]], path: str) -> bool:
    """Whether a worker of heavy jobs does none, for its node is out of service.

    queues: those of ours that it serves, by bench.
    """
    settings = load(path)
    # Without Redis it is there to wait for it, as all the others do.
    with suppress(Exception):
        return settings is not None and any(
            redis.sismember(drained_key(bench), settings.node)
            for bench, names in queues.items()
            if HEAVY in names
        )
    return False


def _beat(redis: Any, worker: Any, names: list[str], path: str, pid: int) -> None:
    mine, told = own_queues(names), False
    while os.getpid() == pid:
        # Redis may be away for a while, as it is at every restart of the primary.
        with suppress(Exception):
            register_again(redis, worker)
            settings = load(path)
            for bench, queues in mine.items() if settings else ():
                now = redis_now(redis)
                redis.hset(beats_key(bench), worker.name, f"{now} {settings.node}")
                # One that was told to stop ends its job, and takes no other.
                if queues and not getattr(worker, "_stop_requested", False):
                    redis.hset(seen_key(bench), mapping=dict.fromkeys(queues, now))
                # One of the primary's workers looks, whichever comes first.
                if settings.primary and redis.set(
                    f"{bench}:fleet:look", pid, nx=True, px=int(BEAT_SECONDS * 900)
                ):
                    look(redis, bench, settings)
        if not told and rests(redis, mine, path):
            # It ends its job, and supervisor starts another, which waits until it may work.
            told = True
            os.kill(pid, signal.SIGTERM)
        time.sleep(BEAT_SECONDS)


def register_again(redis: Any, worker: Any) -> None:
    """Have RQ know a worker that it has forgotten, for Redis began with another file or none.

    RQ registers a worker at its birth alone; nobody would see it until it is started anew.
    """
    if worker.birth_date is None or redis.sismember(worker.redis_workers_keys, worker.key):
        return
    if not redis.hexists(worker.key, "death"):
        # What a heartbeat wrote since.
        redis.delete(worker.key)
        # The worker's own connection is not for this thread.
        same = copy.copy(worker)
        same.connection = redis
        same.register_birth()
        same.set_state(worker.get_state())


def living(redis: Any, bench: str) -> dict[str, str]:
    """Workers that have been heard of a moment ago, and the nodes that they are on."""
    now = redis_now(redis)
    beats = {name.decode(): told.decode() for name, told in redis.hgetall(beats_key(bench)).items()}
    found = {name: told.partition(" ") for name, told in beats.items()}
    return {n: node for n, (at, _, node) in found.items() if now - float(at) <= SILENT_SECONDS}


def forget_the_silent(redis: Any, bench: str) -> None:
    """Keep no word of workers that are gone."""
    known = {name.decode() for name in redis.hkeys(beats_key(bench))}
    gone = known - set(living(redis, bench))
    if gone:
        redis.hdel(beats_key(bench), *gone)


def watch(redis: Any, bench: str) -> None:
    """Note that somebody looks, and since when that has gone on without a break.

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
    """Whether somebody has just said that a queue of ours is served."""
    silent = unserved_for(redis, bench, queue)
    return silent is not None and silent <= SILENT_SECONDS


def away_for(redis: Any, bench: str, queue: str) -> float:
    """Seconds for which a queue has been watched and not been served."""
    now = redis_now(redis)
    seen = float(redis.hget(seen_key(bench), queue) or 0)
    return max(0.0, now - max(seen, float(redis.get(since_key(bench)) or now)))


def our_queues(redis: Any, bench: str) -> list[str]:
    """Queues of ours that RQ knows, those that are placed no more included."""
    names = (key.decode().removeprefix("rq:queue:") for key in redis.smembers("rq:queues"))
    prefix = f"{bench}:{PREFIX}"
    return sorted(name.removeprefix(f"{bench}:") for name in names if name.startswith(prefix))


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


def note_given(redis: Any, bench: str, queue: str, job_id: str) -> None:
    """Note a job that was put on a queue of ours, for Redis may give it to a host that is gone."""
    redis.zadd(given_key(bench, queue), {job_id: redis_now(redis)})


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
