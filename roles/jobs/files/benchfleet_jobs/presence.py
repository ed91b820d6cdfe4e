"""Workers report which queues they serve, and do not run jobs that others took over.

A thread of each worker writes the time to Redis for each queue of ours that the worker serves. On
the primary it also checks all of these queues, for those of servers that are down.
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
from benchfleet_jobs.away import look
from benchfleet_jobs.beats import (
    BEAT_SECONDS,
    beats_key,
    drained_key,
    given_key,
    own_queues,
    redis_now,
    seen_key,
)
from benchfleet_jobs.hooks import when_imported
from benchfleet_jobs.settings import HEAVY, ON_PRIMARY, PREFIX, load


def install(path: str) -> None:
    """Have every worker report that it runs."""

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
    """Skip a job of ours that was put back after Redis gave it to this worker.

    It may have run elsewhere. A worker that was cut off or frozen gets such a job when it can be
    reached again.
    """

    @functools.wraps(stock)
    def execute_job(self: Any, job: Any, queue: Any, *args: Any, **options: Any) -> Any:
        if queue.name.rpartition(":")[2].startswith(PREFIX):
            status, origin = self.connection.hmget(job.key, "status", "origin")
            if status != b"queued" or (origin or b"").decode() != queue.name:
                self.log.warning("job %s was taken by others meanwhile", job.id)
                return None
            # It may have been put back and still wait there; it starts now.
            self.connection.lrem(queue.key, 0, job.id)
        return stock(self, job, queue, *args, **options)

    return execute_job


def _announced(stock: Any, path: str) -> Any:
    @functools.wraps(stock)
    def work(self: Any, *args: Any, **options: Any) -> Any:
        fit, settings = contract.fits("jobs", "files"), load(path)
        if not fit and settings is not None and not settings.primary:
            _rest()
        # A connection of its own: at a fork, this thread must not hold a lock that a job needs.
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
    """Have a worker of the primary serve, first, the queue of jobs that only the primary may do."""
    bench = worker.queues[0].name.rpartition(":")[0]
    name = f"{bench}:{ON_PRIMARY}"
    if name not in (queue.name for queue in worker.queues):
        queue = type(worker.queues[0])(name, connection=worker.connection)
        worker.queues = [queue, *worker.queues]
        # RQ rotates this list when it serves its queues in turn.
        worker._ordered_queues = worker.queues[:]


def _rest() -> None:
    """Run no jobs, because their files could stay here, unnoticed.

    Wait until the process is ended: supervisor would restart it at once.
    """
    for misfit in (*contract.misfits("jobs"), *contract.misfits("files")):
        print(f"benchfleet: this worker does no jobs: {misfit}", file=sys.stderr, flush=True)
    while True:
        time.sleep(3600)


def rests(redis: Any, queues: dict[str, list[str]], path: str) -> bool:
    """Whether a worker of heavy jobs takes none, because its node is out of service.

    queues: those of ours that it serves, by bench.
    """
    settings = load(path)
    # Without Redis the worker waits for it, as all others do.
    with suppress(Exception):
        return settings is not None and any(
            redis.sismember(drained_key(bench), settings.node)
            for bench, names in queues.items()
            if HEAVY in names
        )
    return False


def _beat(redis: Any, worker: Any, names: list[str], path: str, pid: int) -> None:
    mine, stopping = own_queues(names), False
    while os.getpid() == pid:
        # Redis may be down for a while, as at every restart of the primary.
        with suppress(Exception):
            register_again(redis, worker)
            settings = load(path)
            for bench, queues in mine.items():
                if settings is None:
                    break
                now = redis_now(redis)
                redis.hset(beats_key(bench), worker.name, f"{now} {settings.node}")
                # A worker that is stopping ends its job, and takes no other.
                if queues and not getattr(worker, "_stop_requested", False):
                    redis.hset(seen_key(bench), mapping=dict.fromkeys(queues, now))
                # One of the primary's workers checks the queues, whichever comes first.
                if settings.primary and redis.set(
                    f"{bench}:fleet:look", pid, nx=True, px=int(BEAT_SECONDS * 900)
                ):
                    look(redis, bench, settings)
        if not stopping and rests(redis, mine, path):
            # It ends its job, and supervisor starts another, which waits until it may work.
            stopping = True
            os.kill(pid, signal.SIGTERM)
        time.sleep(BEAT_SECONDS)


def register_again(redis: Any, worker: Any) -> None:
    """Register a worker again where Redis has lost it, after a start with another file or none.

    RQ registers a worker only at its start; until a restart no program would know of it.
    """
    if worker.birth_date is None or redis.sismember(worker.redis_workers_keys, worker.key):
        return
    if not redis.hexists(worker.key, "death"):
        # Fields that a heartbeat wrote since.
        redis.delete(worker.key)
        # This thread must not use the worker's own connection.
        same = copy.copy(worker)
        same.connection = redis
        same.register_birth()
        same.set_state(worker.get_state())


def note_given(redis: Any, bench: str, queue: str, job_id: str) -> None:
    """Note a job that was put on a queue of ours: Redis may give it to a host that is gone."""
    redis.zadd(given_key(bench, queue), {job_id: redis_now(redis)})
