"""The state of one server of the fleet."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..bench.account import read_json
from ..bench.cli import cli_releases
from ..bench.look import installed_apps
from ..foreign import as_owner
from ..kept import (
    ADOPTED,
    DUMPS,
    REFUSED,
    REPLACED,
    Thing,
    archived,
    file_systems,
    things,
    tree_bytes,
)
from ..mariadb.server import local, server_folders, shown_certificate
from ..nodes import drained
from ..own_certificates import look as look_at_certificates
from ..processes import background_workers, of_bench, processes, schedulers, web_workers
from ..redis.store import settings
from ..sites.folders import Folders, read_state, served_names
from ..supervisor.control import RUNNING, programs
from ..supervisor.programs import LOGS
from ..systems import MARIADB
from ..units import UNITS, unit_troubles
from ..verify.redis import queue_problems
from ..verify.replica import heartbeat_age
from ..verify.results import message_of
from .troubles import Trouble, trouble

GIB = 1024**3


def replication(role: str) -> dict[str, Any]:
    """MariaDB's version, its primary, the age of the newest heartbeat in seconds, and troubles."""
    with local() as server:
        version = str(server.value("SELECT VERSION()")).split("-")[0]
        closed = int(server.value("SELECT @@GLOBAL.read_only"))
        status = server.replica_status()
        age = heartbeat_age(server)
    if status is None:
        state = "no replica, " + ("closed for writes" if closed else "takes writes")
        running = False
    else:
        threads = f"IO {status['Slave_IO_Running']}, SQL {status['Slave_SQL_Running']}"
        state = f"follows {status['Master_Host']}, {threads}" + ("" if closed else ", TAKES WRITES")
        running = {status["Slave_IO_Running"], status["Slave_SQL_Running"]} == {"Yes"}
    faults = {
        "primary_follows": (role == "primary" and bool(status), f"MariaDB {state}"),
        "primary_closed": (role == "primary" and bool(closed), "MariaDB is closed for writes"),
        "threads": (role != "primary" and not running, f"MariaDB {state}"),
        "read_only": (role != "primary" and not closed, "MariaDB takes writes"),
    }
    troubles = [trouble(name, what) for name, (is_so, what) in faults.items() if is_so]
    lag = None if age is None else round(age, 1)
    return {"mariadb": version, "replication": state, "lag_seconds": lag, "troubles": troubles}


def certificates(folder: str) -> dict[str, Any]:
    """Days left of the fleet's own certificates, and their troubles."""
    found = look_at_certificates(folder, shown_certificate(), time.time())
    days = {"authority": found.authority, "server": found.server}
    troubles = [trouble("own_certificates", what) for what in found.troubles]
    return {"days": days, "troubles": troubles}


def stopped_programs(bench: str) -> list[Trouble]:
    """The bench's programs that do not run. Raises BenchError."""
    now = programs(os.path.basename(bench))
    stopped = [f"{name} {state}" for name, state in now.items() if state != RUNNING]
    return [trouble("program_stopped", what) for what in stopped]


def workers(bench: str) -> dict[str, int]:
    """The number of processes of each kind."""
    found = of_bench(processes(), bench)
    return {
        "web": len(web_workers(found)),
        "background": len(background_workers(found)),
        "scheduler": len(schedulers(found)),
    }


def memory() -> str:
    """Available and total memory, for people."""
    with open("/proc/meminfo", encoding="ascii") as source:
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in source}
    return f"{sizes['MemAvailable'] / GIB:.1f} of {sizes['MemTotal'] / GIB:.1f} GiB"


def disk(bench: str) -> str:
    """Free and total disk space where the bench is, for people."""
    usage = shutil.disk_usage(bench if os.path.isdir(bench) else "/")
    return f"{usage.free / GIB:.1f} of {usage.total / GIB:.1f} GiB"


def queue_folder(params: dict[str, Any]) -> str:
    """The folder of the queue's Redis; "" where there is none."""
    if not os.path.exists(params["queue"]):
        return ""
    return settings(Path(params["queue"]).read_text(encoding="utf-8"))["dir"]


def places(params: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """Folders that the fleet writes to, and what for.

    Each of them, and each folder of the sites' files, may be on a disk of its own.
    """
    bench = params["bench"]
    yield bench, "the bench"
    folders = Folders(f"{bench}/sites", params["state_dir"])
    for site in folders.names():
        for name in ("public", "public/files", "private/files", "private/backups"):
            yield f"{bench}/sites/{site}/{name}", "files of the sites"
    yield f"{bench}/logs", "logs of the bench"
    yield LOGS, "logs of the bench's programs"
    yield from server_folders()
    if params["role"] == "primary":
        yield params["backups"], "dumps of updates"
        if queue := queue_folder(params):
            yield queue, "jobs that wait"
    for place in params["places"]:
        yield place["path"], place["holds"]


def full(found: list[dict[str, Any]]) -> list[Trouble]:
    """The file systems that are too full."""
    texts = [
        f"the file system of {one['path']} is {one['used']:.0%} full ({one['free'] / GIB:.1f} GiB"
        f" free{', no room for files' * (one['files_free'] == 0)}), which holds"
        f" {', '.join(one['holds'])}: make room there"
        for one in found
        if one["full"]
    ]
    return [trouble("disk_full", text) for text in texts]


def bytes_of(path: str) -> int:
    """Bytes on disk below a path, as far as the owner of its folder can read there."""
    with as_owner(path):
        return tree_bytes(path)


def kept(params: dict[str, Any]) -> list[dict[str, Any]]:
    """Old dumps, data and code that are kept, by kinds: bytes on disk, and the oldest one's day."""
    bench, update = params["bench"], read_json(f"{params['state_dir']}/update.json")
    seed = read_json(f"{params['state_dir']}/mariadb-seed.json")
    replaced = os.path.dirname(str(seed.get("old") or ""))
    beside, queue = f"{bench}/.update", queue_folder(params)
    kinds = [
        ("dumps", "dumps of updates", params["backups"], things(params["backups"], DUMPS)),
        (
            "adopted",
            "files from before an adoption",
            params["adopted"],
            things(params["adopted"], ADOPTED),
        ),
        ("replaced", "data that a reseed replaced", replaced, things(replaced, REPLACED)),
        ("refused", "files that the queue's Redis refused", queue, things(queue, REFUSED)),
        (
            "apps",
            "code of former apps",
            f"{bench}/archived/apps",
            things(f"{bench}/archived/apps", archived()),
        ),
    ]
    if os.path.isdir(beside):
        one = Thing(beside, os.lstat(beside).st_mtime)
        name, what = "update", "new code of an unfinished update"
        if not update:
            name, what = "update_cut_off", "new code of an update that was interrupted"
        kinds.append((name, what, beside, [one]))
    return [
        {
            "id": name,
            "what": what,
            "path": path,
            "number": len(found),
            "bytes": sum(bytes_of(thing.path) for thing in found),
            "oldest": time.strftime("%Y-%m-%d", time.localtime(min(t.made for t in found))),
        }
        for name, what, path, found in kinds
        if found
    ]


def sync_age(bench: str) -> float | None:
    """Seconds since the sites folder was last copied; None when it never was."""
    last = read_json(f"{bench}/sites/.site-sync.json").get("last_success")
    return None if last is None else round(time.time() - float(last), 1)


def reads(state_dir: str) -> dict[str, Any]:
    """Where reports of this node read from, and how often which methods write under read_only."""
    away = [
        known
        for path in sorted(Path(state_dir).glob("replica-*.json"))
        if (known := read_json(str(path))).get("away")
    ]
    counts = read_json(f"{state_dir}/counts.json")
    place = "replica"
    if away:
        seconds = time.time() - min(float(known["away"]) for known in away)
        place = f"primary for {seconds:.0f} s: replica {away[0]['reason']}"
    writes = counts.get("writes", {})
    fallbacks = counts.get("fallbacks", {})
    return {
        "reports_read": place,
        "fallbacks": {name: entry["count"] for name, entry in fallbacks.items()},
        "write_under_read_only": {name: entry["count"] for name, entry in writes.items()},
    }


def sites(state_dir: str) -> dict[str, Any]:
    """The sites that are served with their further names, and why others are not."""
    state = read_state(state_dir)
    return {
        "sites": [
            f"{site} ({', '.join(names)})" if names else site
            for site, names in served_names(state).items()
        ],
        "sites_not_served": state["notes"] if state else [],
    }


def queue(conf: str) -> list[Trouble]:
    """Troubles of the Redis in which jobs wait."""
    _, unsafe, without_room = queue_problems(conf)
    return [
        *(trouble("queue_safe", f"queue: {what}") for what in unsafe),
        *(trouble("queue_room", f"queue: {what}") for what in without_room),
    ]


def units(role: str) -> list[Trouble]:
    """Troubles of Benchfleet's own services and timers."""
    return [
        trouble("units", f"{name} {state}") for name, state in unit_troubles(UNITS[role]).items()
    ]


def versions(mark: str, cli_dir: str) -> dict[str, Any]:
    """Releases in the fleet's mark, those installed, and the MariaDB that apt would install."""
    noted = read_json(mark)
    done = subprocess.run(
        ["apt-cache", "policy", MARIADB],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
    )
    package = {
        name: "" if value == "(none)" else value
        for name, _, value in (line.strip().partition(": ") for line in done.stdout.splitlines())
    }
    return {
        "format": int(noted.get("format", 1)),
        "recorded": noted.get("versions") or {},
        "tools": cli_releases(cli_dir),
        "mariadb": package.get("Installed", ""),
        "mariadb_candidate": package.get("Candidate", ""),
    }


def status(params: dict[str, Any]) -> dict[str, Any]:
    """The state of this host.

    What could not be found out is None. ``troubles`` has all that is wrong, {id, what}; ``state``
    has the same as a text, "up" where nothing is.
    """
    role, bench, state_dir = params["role"], params["bench"], params["state_dir"]
    troubles: list[Trouble] = []

    def ask(function: Callable[..., Any], *arguments: Any) -> Any:
        try:
            return function(*arguments)
        except Exception as error:
            troubles.append(trouble("not_known", message_of(error)))
            return None

    database = ask(replication, role) or {}
    apps = ask(installed_apps, bench) or {}
    own = ask(certificates, params["certificates"]) or {}
    found = {
        "host": params["host"],
        "role": role,
        "state": "",
        "mariadb": database.get("mariadb"),
        "replication": database.get("replication"),
        "lag_seconds": database.get("lag_seconds"),
        "apps": {name: app["commit"][:10] for name, app in apps.items()},
        "sync_age_seconds": ask(sync_age, bench) if role == "reporting" else None,
        "workers": ask(workers, bench),
        "certificate_days": own.get("days"),
        "disk_free": ask(disk, bench),
        "file_systems": ask(lambda: file_systems(places(params))),
        "kept": ask(kept, params),
        "memory_free": ask(memory),
        "versions": ask(versions, params["mark"], params["cli_dir"]),
    }
    if role == "primary":
        found["drained"] = ask(drained, state_dir)
        found |= ask(sites, state_dir) or {}
        troubles += ask(queue, params["queue"]) or []
    else:
        found |= ask(reads, params["guard_state"]) or {}
    stopped = ask(stopped_programs, bench) or []
    troubles += [*database.get("troubles", []), *own.get("troubles", []), *stopped]
    troubles += ask(units, role) or []
    troubles += full(found["file_systems"] or [])
    # As the last run of site.yml or an update found it; checking again would take a second or two.
    misfits = read_json(f"{state_dir}/contract.json").get("misfits", [])
    troubles += [trouble("contract", misfit) for misfit in misfits]
    state = "; ".join(f"{one['what']} (id: {one['id']})" for one in troubles)
    return {**found, "state": state or "up", "troubles": troubles}
