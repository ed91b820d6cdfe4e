"""What is wrong with this host's bench: configuration, schedulers, queues, code, copies."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..bench.account import BenchError, read_json
from ..bench.config import common_config, config_of
from ..bench.jobs_tool import ask
from ..bench.look import installed_apps
from ..leaving import UNITS
from ..mariadb import texts
from ..mariadb.server import shown_certificate
from ..nodes import drained
from ..own_certificates import look as look_at_certificates
from ..processes import of_bench, processes, schedulers
from ..redis.client import registered_workers
from ..redis.users import redis_admin
from ..sites.folders import Folders
from ..status.host import COPY_AGE, active_state, fallen_back, sync_age
from ..status.troubles import AMBER
from ..units import CHANGES
from .causes import Action, Found, found
from .database import log_of


def configs(params: dict[str, Any]) -> list[Found]:
    """Configurations of the bench, its sites and the fleet that cannot be read."""
    bench = params["bench"]
    sites = Folders(f"{bench}/sites", params["state_dir"]).names()
    paths = [f"{bench}/sites/common_site_config.json"]
    paths += [f"{bench}/sites/{site}/site_config.json" for site in sites]
    paths += sorted(str(path) for path in Path(params["config_dir"]).glob("*.json"))
    paths += sorted(str(path) for path in Path(params["state_dir"]).glob("*.json"))
    causes = []
    for path in paths:
        try:
            content = read_json(path)
        except BenchError as error:
            what = str(error).removeprefix(f"{path} ").partition(";")[0]
            causes.append(found("config_torn", path=path, what=f"It {what}"))
            continue
        if not content and path == paths[0]:
            causes.append(found("config_torn", path=path, what="It is missing or empty"))
    return causes


def maintenance(params: dict[str, Any]) -> list[Found]:
    """An update that was not finished, or maintenance that was left on without one."""
    bench = params["bench"]
    update = config_of(f"{params['state_dir']}/update.json")
    if update:
        since = time.strftime(
            "%d %b %H:%M", time.localtime(os.stat(f"{params['state_dir']}/update.json").st_mtime)
        )
        return [found("update_unfinished", since=since, phase=update.get("phase") or "its start")]
    if params["role"] != "primary":
        return []
    common = common_config(bench)
    return [
        found("maintenance", site=site, user=params["user"], bench=bench)
        for site in Folders(f"{bench}/sites", params["state_dir"]).names()
        if {**common, **config_of(f"{bench}/sites/{site}/site_config.json")}.get("maintenance_mode")
    ]


def scheduling(params: dict[str, Any]) -> list[Found]:
    """Schedulers on this host: the primary has one, a reporting node none."""
    every = processes()
    running = schedulers(of_bench(every, params["bench"]))
    # Supervisor's own is its child; others were started by hand or by another program.
    by_supervisor = {p.pid for p in every if any("supervisord" in word for word in p.words)}
    primary = params["role"] == "primary"
    extra = [p for p in running if not (primary and p.parent in by_supervisor)]
    facts: dict[str, Any] = {
        "others": ", ".join(f"process {p.pid}" for p in extra) or "none",
        "pids": " ".join(str(p.pid) for p in extra),
    }
    if not primary:
        return [found("scheduler_on_node", **facts)] if running else []
    if len(running) > 1:
        return [found("scheduler_twice", number=len(running), **facts)]
    return [] if running else [found("scheduler_none")]


def queues(params: dict[str, Any]) -> list[Found]:
    """Queues in which jobs wait that no worker serves."""
    if params["role"] != "primary":
        return []
    with redis_admin(params["queue"]) as redis:
        keys = redis.ask("SMEMBERS", "rq:queues") or []
        lengths = {key.removeprefix("rq:queue:"): int(redis.ask("LLEN", key)) for key in keys}
        workers = registered_workers(redis)
    shown = ask(params["bench"], params["user"], params["package_dir"], "show", params["jobs"])
    prefix = common_config(params["bench"]).get("bench_id", "")
    known = {f"{prefix}:{row['queue']}" for row in shown["queues"]}
    known |= {queue for worker in workers for queue in worker["queues"]}
    return [
        found("jobs_unserved", number=row["length"], queue=row["queue"], state=row["state"])
        for row in shown["queues"]
        if row["length"] and row["state"] != "served"
    ] + [
        found("queue_orphan", number=number, queue=queue)
        for queue, number in sorted(lengths.items())
        if number and queue not in known
    ]


def other_apps(own: Mapping[str, Any], primary: Mapping[str, Any]) -> list[Found]:
    """Whether the code of this bench is the primary's; both as of installed_apps."""

    def version(apps: Mapping[str, Any], app: str) -> str:
        if app not in apps:
            return "none"
        return str(apps[app]["commit"])[:10] + " with changes" * bool(apps[app]["changes"])

    differ = [
        app
        for app in sorted({*own, *primary})
        if any(
            (own.get(app) or {}).get(key) != (primary.get(app) or {}).get(key)
            for key in ("commit", "changes")
        )
    ]
    if not differ:
        return []
    pairs = [f"{app} {version(own, app)} and {version(primary, app)}" for app in differ]
    return [found("apps_differ", apps=", ".join(differ), versions="; ".join(pairs))]


def apps(params: dict[str, Any]) -> list[Found]:
    """Whether the code of a reporting bench is the primary's, as far as that is known."""
    theirs = params["primary_apps"]
    if params["role"] == "primary" or not theirs:
        return []
    return other_apps(installed_apps(params["bench"]), theirs)


def copies(params: dict[str, Any]) -> list[Found]:
    """Of a reporting node: files that are late or not followed, reports that read from the primary.

    Of the primary: nodes that are drained.
    """
    if params["role"] == "primary":
        return [found("node_drained", node=node) for node in drained(params["state_dir"])]
    causes = []
    age = sync_age(params["bench"])
    if age is not None and age > COPY_AGE[AMBER]:
        causes.append(found("files_late", seconds=round(age), sync=params["sync"]))
    if os.path.exists(params["queue"]) and (state := active_state(CHANGES)) != "active":
        errors = texts.last_lines("\n".join(log_of(CHANGES, 5)), 2)
        restart = Action("restart", CHANGES) if os.path.exists(f"{UNITS}/{CHANGES}") else None
        facts = {"state": state, "unit": CHANGES, "errors": errors}
        causes.append(found("files_not_followed", restart, **facts))
    if away := fallen_back(params["guard_state"]):
        seconds, reason = away
        causes.append(found("falls_back", seconds=round(seconds), what=reason))
    return causes


def certificates(params: dict[str, Any]) -> list[Found]:
    """What is wrong with the fleet's own certificates."""
    folder = params["certificates"]
    looked = look_at_certificates(folder, shown_certificate(), time.time())
    return [found("own_certificates", what=what, folder=folder) for what in looked.troubles]
