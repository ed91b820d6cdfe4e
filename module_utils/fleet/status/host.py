"""What one server of the fleet is doing."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ..bench.account import cli_releases, installed_apps, read_json
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
from ..verify.results import in_words

GIB = 1024**3


def replication(role: str) -> dict[str, Any]:
    """Version of the server, what it follows, and how old the newest heartbeat is in seconds."""
    with local() as server:
        version = str(server.value("SELECT VERSION()")).split("-")[0]
        closed = int(server.value("SELECT @@GLOBAL.read_only"))
        status = server.replica_status()
        age = heartbeat_age(server)
    if status is None:
        words = "follows nobody, " + ("closed for writes" if closed else "takes writes")
    else:
        threads = f"IO {status['Slave_IO_Running']}, SQL {status['Slave_SQL_Running']}"
        words = f"follows {status['Master_Host']}, {threads}" + ("" if closed else ", TAKES WRITES")
    good = "follows nobody, takes writes" if role == "primary" else "IO Yes, SQL Yes"
    trouble = "" if words.endswith(good) else f"MariaDB {words}"
    lag = None if age is None else round(age, 1)
    return {"mariadb": version, "replication": words, "lag_seconds": lag, "trouble": trouble}


def certificates(folder: str) -> dict[str, Any]:
    """Days that are left of the fleet's own certificates, and what is wrong with them."""
    found = look_at_certificates(folder, shown_certificate(), time.time())
    days = {"authority": found.authority, "server": found.server}
    return {"days": days, "trouble": "; ".join(found.troubles)}


def stopped_programs(bench: str) -> str:
    """What of the bench's programs does not run, "" when all do. Raises BenchError."""
    now = programs(os.path.basename(bench))
    return "; ".join(f"{name} {state}" for name, state in now.items() if state != RUNNING)


def workers(bench: str) -> dict[str, int]:
    """How many processes of each kind run."""
    found = of_bench(processes(), bench)
    return {
        "web": len(web_workers(found)),
        "background": len(background_workers(found)),
        "scheduler": len(schedulers(found)),
    }


def memory() -> str:
    """Available and whole memory."""
    with open("/proc/meminfo", encoding="ascii") as source:
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in source}
    return f"{sizes['MemAvailable'] / GIB:.1f} of {sizes['MemTotal'] / GIB:.1f} GiB"


def disk(bench: str) -> str:
    """Free and whole space where the bench lies."""
    usage = shutil.disk_usage(bench if os.path.isdir(bench) else "/")
    return f"{usage.free / GIB:.1f} of {usage.total / GIB:.1f} GiB"


def queue_folder(params: dict[str, Any]) -> str:
    """Where the queue's Redis keeps its files; "" where there is none."""
    if not os.path.exists(params["queue"]):
        return ""
    return settings(Path(params["queue"]).read_text(encoding="utf-8"))["dir"]


def places(params: dict[str, Any]) -> Iterable[tuple[str, str]]:
    """Folders in which something of the fleet's is written, and what for.

    An operator may have put any of them, and those of the sites' files, onto a disk of its own.
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


def full(found: list[dict[str, Any]]) -> list[str]:
    """What is wrong with file systems, in words."""
    return [
        f"the file system of {one['path']} is {one['used']:.0%} full ({one['free'] / GIB:.1f} GiB"
        f" free{', no room for files' * (one['files_free'] == 0)}), which holds"
        f" {', '.join(one['holds'])}: make room there"
        for one in found
        if one["full"]
    ]


def bytes_of(path: str) -> int:
    """Bytes on disk below a folder, as far as the account whose folder it is in can look."""
    with as_owner(path):
        return tree_bytes(path)


def kept(params: dict[str, Any]) -> list[dict[str, Any]]:
    """What is left of former times, by kinds; bytes on disk, and the day of the oldest."""
    bench, update = params["bench"], read_json(f"{params['state_dir']}/update.json")
    seed = read_json(f"{params['state_dir']}/mariadb-seed.json")
    replaced = os.path.dirname(str(seed.get("old") or ""))
    beside, queue = f"{bench}/.update", queue_folder(params)
    kinds = [
        ("dumps of updates", params["backups"], things(params["backups"], DUMPS)),
        ("files from before an adoption", params["adopted"], things(params["adopted"], ADOPTED)),
        ("data that a reseed replaced", replaced, things(replaced, REPLACED)),
        ("files that the queue refused", queue, things(queue, REFUSED)),
        (
            "code of former apps",
            f"{bench}/archived/apps",
            things(f"{bench}/archived/apps", archived()),
        ),
    ]
    if os.path.isdir(beside):
        one = Thing(beside, os.lstat(beside).st_mtime)
        what = "an unfinished update" if update else "an update that was cut off"
        kinds.append((f"new code of {what}", beside, [one]))
    return [
        {
            "what": what,
            "path": path,
            "number": len(found),
            "bytes": sum(bytes_of(thing.path) for thing in found),
            "oldest": time.strftime("%Y-%m-%d", time.localtime(min(t.made for t in found))),
        }
        for what, path, found in kinds
        if found
    ]


def sync_age(bench: str) -> float | None:
    """Seconds since the sites folder was last copied, None when it never was."""
    last = read_json(f"{bench}/sites/.site-sync.json").get("last_success")
    return None if last is None else round(time.time() - float(last), 1)


def reads(state_dir: str) -> dict[str, Any]:
    """Where the reports of this node read, and which methods write under read_only, how often."""
    away = [
        known
        for path in sorted(Path(state_dir).glob("replica-*.json"))
        if (known := read_json(str(path))).get("away")
    ]
    counts = read_json(f"{state_dir}/counts.json")
    words = "replica"
    if away:
        seconds = time.time() - min(float(known["away"]) for known in away)
        words = f"primary for {seconds:.0f} s: replica {away[0]['reason']}"
    writes = counts.get("writes", {})
    fallbacks = counts.get("fallbacks", {})
    return {
        "reports_read": words,
        "fallbacks": {name: entry["count"] for name, entry in fallbacks.items()},
        "write_under_read_only": {name: entry["count"] for name, entry in writes.items()},
    }


def sites(state_dir: str) -> dict[str, Any]:
    """The sites that are served and their further names, and what is wrong with others."""
    state = read_state(state_dir)
    return {
        "sites": [
            f"{site} ({', '.join(names)})" if names else site
            for site, names in served_names(state).items()
        ],
        "sites_not_served": state["notes"] if state else [],
    }


def queue(conf: str) -> str:
    """What is wrong with the Redis that the jobs wait in, "" for nothing."""
    _, unsafe, full = queue_problems(conf)
    return "; ".join(f"queue: {words}" for words in unsafe + full)


def versions(mark: str, cli_dir: str) -> dict[str, Any]:
    """What is recorded in the fleet's mark, what is installed, and the MariaDB that apt would."""
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
    """All of it: what could not be found out is None, and ``state`` says why."""
    role, bench, state_dir = params["role"], params["bench"], params["state_dir"]
    troubles: list[str] = []

    def ask(function: Callable[..., Any], *words: Any) -> Any:
        try:
            return function(*words)
        except Exception as error:
            troubles.append(in_words(error))
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
        troubles += filter(None, [ask(queue, params["queue"])])
    else:
        found |= ask(reads, params["guard_state"]) or {}
    stopped = ask(stopped_programs, bench)
    troubles += filter(None, [database.get("trouble"), own.get("trouble"), stopped])
    troubles += [f"{unit} {why}" for unit, why in (ask(unit_troubles, UNITS[role]) or {}).items()]
    troubles += full(found["file_systems"] or [])
    # As the last run of site.yml or an update has found it; to ask anew takes a second or two.
    troubles += read_json(f"{state_dir}/contract.json").get("misfits", [])
    return {**found, "state": "; ".join(troubles) or "up"}
