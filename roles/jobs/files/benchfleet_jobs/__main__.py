"""The state of the fleet's jobs, as JSON: ``python -m benchfleet_jobs COMMAND JOBS_JSON …``.

Run by the bench's Python, as its account, in its sites folder. ``show`` prints the map in force and
the state of every queue; ``try SITE SECONDS`` queues a harmless job on every queue of placed jobs,
and prints where each was done; ``forget NODE QUEUE [pretend]`` removes a node
that left the fleet. ``contract [guard]``, without a file, prints the parts of this bench that do
not fit. All print one JSON object.
"""

from __future__ import annotations

import calendar
import json
import sys
import time
from collections.abc import Iterable
from fnmatch import fnmatchcase
from typing import Any

from benchfleet_jobs import contract, placement
from benchfleet_jobs.away import HEAVY_AWAY_SECONDS, forget
from benchfleet_jobs.beats import (
    away_for,
    drained_key,
    is_served,
    living,
    our_queues,
    unserved_for,
)
from benchfleet_jobs.settings import HEAVY, PREFIX, Settings, load

# Queues of every Frappe since 14.
GENERAL = ("short", "default", "long")
# At most this many jobs of a queue are read to find the age of the oldest.
LOOKED_AT = 1000
HARMLESS = "frappe.ping"


def show(settings: Settings) -> dict[str, Any]:
    """The map, and every queue: length, age of the oldest job (s), running, who serves it."""
    from rq import Worker

    common, bench, connection = opened(settings)
    serving: dict[str, set[str]] = {}
    processes: dict[str, int] = {}
    there = living(connection, bench)
    for worker in Worker.all(connection=connection):
        if worker.name not in there:
            continue
        node = there[worker.name]
        for name in worker.queue_names():
            queue = name.removeprefix(f"{bench}:")
            serving.setdefault(queue, set()).add(node)
            processes[queue] = processes.get(queue, 0) + 1
    placed = set(settings.placement.values())
    custom = [name for name in common.get("workers") or {} if not name.startswith(PREFIX)]
    ours = sorted({*our_queues(connection, bench), *placed})
    rows = []
    for queue in [*GENERAL, *custom, *ours]:
        row = {"queue": queue, **load_of(connection, f"{bench}:{queue}")}
        if queue in ours and queue not in placed and not (row["length"] or row["running"]):
            # A job was placed there before.
            continue
        if queue.startswith(PREFIX):
            row.update(state_of(connection, bench, queue, settings, placed))
        elif not serving.get(queue):
            row["state"] = "no worker takes its jobs"
        else:
            row["state"] = "served"
        served = row["state"].startswith("served")
        row["workers"] = processes.get(queue, 0) if served else 0
        row["hosts"] = sorted(serving.get(queue, ())) if served else []
        rows.append(row)
    entries = [
        {"job": job, "server": server_of(queue), "queue": queue}
        for job, queue in settings.placement.items()
    ]
    return {
        "placement": entries,
        "queues": rows,
        "away_seconds": settings.away_seconds,
        "when_away": settings.when_away,
    }


def server_of(queue: str) -> str:
    """The server that a queue of placed jobs belongs to, in words."""
    return "any reporting node" if queue == HEAVY else queue.removeprefix(PREFIX)


def opened(settings: Settings) -> tuple[dict[str, Any], str, Any]:
    """The bench's common configuration, its bench_id, and a connection to the queues' Redis."""
    import redis

    common = json.loads((settings.bench / "sites/common_site_config.json").read_text())
    return common, str(common["bench_id"]), redis.Redis.from_url(common["redis_queue"])


def forgotten(settings: Settings, node: str, queue: str, *, pretend: bool) -> dict[str, Any]:
    """Remove what is kept of a node that left; see presence.forget."""
    if queue in settings.placement.values():
        raise SystemExit(f"jobs are still placed on {node}; take them out of jobs_placement")
    _, bench, connection = opened(settings)
    return forget(connection, bench, node, queue, pretend=pretend)


def load_of(connection: Any, name: str) -> dict[str, Any]:
    """Jobs that wait on a queue, seconds that the oldest has waited (None: none waits), running."""
    from rq import Queue
    from rq.job import Job
    from rq.registry import StartedJobRegistry
    from rq.utils import utcparse

    queue = Queue(name, connection=connection)
    ids = [raw.decode() for raw in connection.lrange(queue.key, 0, LOOKED_AT - 1)]
    with connection.pipeline() as pipeline:
        for job_id in ids:
            pipeline.hget(Job.key_for(job_id), "enqueued_at")
        moments = [utcparse(raw.decode()) for raw in pipeline.execute() if raw]
    oldest = None
    if moments:
        oldest = round(max(0.0, time.time() - calendar.timegm(min(moments).utctimetuple())), 1)
    running = StartedJobRegistry(name=name, connection=connection)
    return {
        "length": connection.llen(queue.key),
        "oldest_seconds": oldest,
        "running": connection.zcard(running.key),
    }


def state_of(
    connection: Any, bench: str, queue: str, settings: Settings, placed: Iterable[str]
) -> dict[str, Any]:
    """Whether a worker serves a queue of placed jobs, and what happens to its jobs if none does."""
    if is_served(connection, bench, queue):
        return {"state": "served"}
    silent = unserved_for(connection, bench, queue)
    if queue == HEAVY and connection.scard(drained_key(bench)):
        return {"state": "drained"}
    words = "never served yet; " if silent is None else f"away for {silent:.0f} s; "
    if queue not in placed:
        return {"state": words + "nothing is placed there any more"}
    if queue == HEAVY:
        done = away_for(connection, bench, queue) >= HEAVY_AWAY_SECONDS
        words += "" if done else f"after {HEAVY_AWAY_SECONDS:.0f} s "
        return {"state": f"{words}the primary takes its jobs"}
    if settings.when_away == "wait":
        return {"state": words + "its jobs wait"}
    if away_for(connection, bench, queue) < settings.away_seconds:
        return {"state": words + f"after {settings.away_seconds:.0f} s the primary takes its jobs"}
    return {"state": words + "the primary takes its jobs"}


def example(pattern: str) -> str:
    """A name that a pattern matches."""
    name, rest = "", pattern
    while rest:
        if rest[0] in "*?":
            name, rest = name + "x", rest[1:]
        elif rest[0] == "[" and "]" in rest:
            inside, _, rest = rest[1:].partition("]")
            letters = [chr(n) for n in range(33, 127)]
            name += next((c for c in letters if fnmatchcase(c, f"[{inside}]")), "x")
        else:
            name, rest = name + rest[0], rest[1:]
    return name


def attempt(settings: Settings, site: str, seconds: float) -> dict[str, Any]:
    """For each queue of placed jobs, where a job is done that Frappe puts there."""
    import frappe

    frappe.init(site=site, sites_path=".")
    frappe.connect()
    entries = {queue: job for job, queue in reversed(list(settings.placement.items()))}
    jobs = {}
    for queue, job in entries.items():
        placement.pretended = example(job)
        jobs[queue] = frappe.enqueue(HARMLESS, queue="short")
    placement.pretended = None
    deadline = time.monotonic() + seconds
    waiting = dict(jobs)
    while waiting and time.monotonic() < deadline:
        time.sleep(0.1)
        waiting = {q: j for q, j in waiting.items() if j.get_status() in ("queued", "started")}
    tried = []
    for queue, job in jobs.items():
        job.refresh()
        status = str(getattr(job.get_status(), "value", job.get_status()))
        bench, _, landed = job.origin.rpartition(":")
        tried.append(
            {
                "job": entries[queue],
                "queue": queue,
                "landed": landed,
                "status": status,
                "node": living(job.connection, bench).get(job.worker_name),
            }
        )
        if status == "queued":
            job.delete()
    frappe.destroy()
    return {"tried": tried}


def main(words: list[str]) -> int:
    """Entry point; the exit status."""
    if words[:1] == ["contract"]:
        print(json.dumps({"misfits": contract.told(guard=words[1:] == ["guard"])}))
        return 0
    if len(words) < 2 or words[0] not in ("show", "try", "forget"):
        print(__doc__, file=sys.stderr)
        return 2
    settings = load(words[1])
    if settings is None:
        print(f"{words[1]} cannot be read; run site.yml", file=sys.stderr)
        return 1
    if words[0] == "show":
        found = show(settings)
    elif words[0] == "try":
        found = attempt(settings, words[2], float(words[3]))
    else:
        found = forgotten(settings, words[2], words[3], pretend=words[4:] == ["pretend"])
    print(json.dumps(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
