#!/usr/bin/python
"""What one server of the fleet is doing, in one execution."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ansible.module_utils.fleet.bench.account import cli_releases, installed_apps, read_json
from ansible.module_utils.fleet.foreign import as_owner
from ansible.module_utils.fleet.kept import (
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
from ansible.module_utils.fleet.mariadb.server import local, server_folders, shown_certificate
from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.own_certificates import look as look_at_certificates
from ansible.module_utils.fleet.redis.store import (
    parse_info,
    room_problems,
    safety_problems,
    settings,
)
from ansible.module_utils.fleet.redis.users import redis_admin
from ansible.module_utils.fleet.sites.folders import Folders, read_state, served_names
from ansible.module_utils.fleet.supervisor.control import RUNNING, programs
from ansible.module_utils.fleet.supervisor.programs import LOGS
from ansible.module_utils.fleet.systems import MARIADB
from ansible.module_utils.fleet.verify.catalogue import in_words
from ansible.module_utils.fleet.verify.look import (
    UNITS,
    background_workers,
    of_bench,
    processes,
    schedulers,
    unit_troubles,
    web_workers,
)

DOCUMENTATION = r"""
module: node_status
short_description: MariaDB, replication, bench, site files, disk and memory of this host
description:
  - Only reads, and never fails because something does not run; C(state) says so.
options:
  host: {description: Name of the host in the inventory., type: str, required: true}
  role: {description: Its task., choices: [primary, reporting], required: true}
  bench: {description: Directory of the bench., type: path, required: true}
  guard_state: {description: State folder of the read path's guard., type: path, required: true}
  cli_dir: {description: Directory of the bench CLI., type: path, required: true}
  certificates: {description: Folder of the fleet's own ones., type: path, required: true}
  mark: {description: The fleet's mark on the host., type: path, required: true}
  state_dir: {description: The fleet's state on this host., type: path, required: true}
  queue: {description: Settings of the queue's Redis., type: path, required: true}
  backups: {description: Where updates put their dumps., type: path, required: true}
  adopted: {description: Where the records of adoptions are., type: path, required: true}
  places:
    description: Further folders in which something of the fleet's is written, C({path, holds}).
    type: list
    elements: dict
    required: true
"""

EXAMPLES = r"""
- name: Host says what it is doing
  node_status:
    host: rep1
    role: reporting
    bench: "{{ fleet_bench_dir }}"
    guard_state: "{{ fleet_state_dir }}/read-guard"
    cli_dir: "{{ bench_cli_dir }}"
    certificates: "{{ fleet_config_dir }}/tls"
    mark: "{{ fleet_config_dir }}/fleet.json"
    state_dir: "{{ fleet_state_dir }}"
    queue: "{{ fleet_config_dir }}/redis/redis_queue.conf"
    backups: "{{ update_backup_dir }}"
    adopted: "{{ adopt_backup_dir }}"
    places:
      - {path: /var/log, holds: logs}
"""

RETURN = r"""
status:
  description: >-
    {host, role, state, mariadb, replication, lag_seconds, apps, sync_age_seconds, workers,
    certificate_days {authority, server} that are left, disk_free, memory_free}, and of a
    reporting node {reports_read, fallbacks, write_under_read_only}, of the primary {drained, sites,
    sites_not_served}; what could not be found out is null, and C(state) says why. With file_systems
    [{path, holds, bytes, free, files_free, used, full}], kept [{what, path, number, bytes,
    oldest}], and versions {format, recorded, tools, mariadb, mariadb_candidate}.
  returned: always
  type: dict
"""

GIB = 1024**3


def replication(role: str) -> dict[str, Any]:
    """Version of the server, what it follows, and how old the newest heartbeat is in seconds."""
    with local() as server:
        version = str(server.value("SELECT VERSION()")).split("-")[0]
        closed = int(server.value("SELECT @@GLOBAL.read_only"))
        status = server.replica_status()
        age = server.value(
            "SELECT TIMESTAMPDIFF(MICROSECOND, MAX(at), NOW(6)) / 1000000 FROM benchfleet.heartbeat"
        )
    if status is None:
        words = "follows nobody, " + ("closed for writes" if closed else "takes writes")
    else:
        threads = f"IO {status['Slave_IO_Running']}, SQL {status['Slave_SQL_Running']}"
        words = f"follows {status['Master_Host']}, {threads}" + ("" if closed else ", TAKES WRITES")
    good = {"primary": "follows nobody, takes writes"}.get(role, "IO Yes, SQL Yes")
    trouble = "" if words.endswith(good) else f"MariaDB {words}"
    lag = None if age is None else round(float(age), 1)
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
    known = settings(Path(conf).read_text(encoding="utf-8"))
    with redis_admin(conf) as redis:
        info = parse_info(redis.ask("INFO", "memory") + redis.ask("INFO", "persistence"))
    problems = safety_problems(info, known["dir"]) + room_problems(info)
    return "; ".join(f"queue: {words}" for words in problems)


def drained(state_dir: str) -> list[str]:
    """The reporting nodes that the router of this host sends no calls to: see node_drain."""
    folders = [f"{state_dir}/drained", f"{state_dir}/waiting"]
    return sorted({name for one in folders if os.path.isdir(one) for name in os.listdir(one)})


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


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "host": {"type": "str", "required": True},
            "role": {"type": "str", "choices": ["primary", "reporting"], "required": True},
            "bench": {"type": "path", "required": True},
            "guard_state": {"type": "path", "required": True},
            "cli_dir": {"type": "path", "required": True},
            "certificates": {"type": "path", "required": True},
            "mark": {"type": "path", "required": True},
            "state_dir": {"type": "path", "required": True},
            "queue": {"type": "path", "required": True},
            "backups": {"type": "path", "required": True},
            "adopted": {"type": "path", "required": True},
            "places": {"type": "list", "elements": "dict", "required": True},
        },
        supports_check_mode=True,
    )
    role, bench = module.params["role"], module.params["bench"]
    troubles: list[str] = []

    def ask(function: Callable[[], Any]) -> Any:
        try:
            return function()
        except Exception as error:
            troubles.append(in_words(error))
            return None

    database = ask(lambda: replication(role)) or {}
    apps = ask(lambda: installed_apps(bench)) or {}
    own = ask(lambda: certificates(module.params["certificates"])) or {}
    status = {
        "host": module.params["host"],
        "role": role,
        "state": "",
        "mariadb": database.get("mariadb"),
        "replication": database.get("replication"),
        "lag_seconds": database.get("lag_seconds"),
        "apps": {name: app["commit"][:10] for name, app in apps.items()},
        "sync_age_seconds": ask(lambda: sync_age(bench)) if role == "reporting" else None,
        "workers": ask(lambda: workers(bench)),
        "certificate_days": own.get("days"),
        "disk_free": ask(lambda: disk(bench)),
        "file_systems": ask(lambda: file_systems(places(module.params))),
        "kept": ask(lambda: kept(module.params)),
        "memory_free": ask(memory),
        "versions": ask(lambda: versions(module.params["mark"], module.params["cli_dir"])),
    }
    if role == "primary":
        status["drained"] = ask(lambda: drained(module.params["state_dir"]))
        status |= ask(lambda: sites(module.params["state_dir"])) or {}
        troubles += filter(None, [ask(lambda: queue(module.params["queue"]))])
    if role == "reporting":
        status |= ask(lambda: reads(module.params["guard_state"])) or {}
    troubles += filter(
        None, [database.get("trouble"), own.get("trouble"), ask(lambda: stopped_programs(bench))]
    )
    troubles += [
        f"{unit} {why}" for unit, why in (ask(lambda: unit_troubles(UNITS[role])) or {}).items()
    ]
    troubles += full(status["file_systems"] or [])
    # As the last run of site.yml or an update has found it; to ask anew takes a second or two.
    troubles += read_json(f"{module.params['state_dir']}/contract.json").get("misfits", [])
    status["state"] = "; ".join(troubles) or "up"
    module.exit_json(changed=False, status=status)


if __name__ == "__main__":
    main()
