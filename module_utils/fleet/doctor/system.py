"""What is wrong with this host's disks, services and programs."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..bench.account import BenchError
from ..foreign import as_owner
from ..kept import file_systems, level_of, tree_bytes
from ..logs import end_of, shown
from ..mariadb import texts
from ..mariadb.server import server_folders
from ..processes import run
from ..redis.client import RedisError
from ..redis.store import parse_info, room_problems, settings
from ..redis.users import INSTANCES, conf_of, redis_admin
from ..status.disks import merged, places
from ..status.file import read
from ..status.host import kept
from ..status.troubles import OK, RED
from ..supervisor.control import RUNNING, STARTED, programs, readable
from ..supervisor.programs import full_name, tasks
from ..units import UNITS, unit_troubles
from .causes import Action, Found, found
from .database import log_of, unit_facts

FIREWALL = "benchfleet-firewall.service"
# What stands still without a service of the system's; nginx is the router, on the primary.
SERVICES = {
    "cron.service": "The sites' files are no longer copied here, and no job of cron is started.",
    "supervisor.service": "No program of the bench runs: no web workers, no background workers.",
    "nginx.service": "No call of any user is answered.",
}


def size(number: float) -> str:
    """Bytes as people read them."""
    return f"{number / 1024**3:.1f} GiB" if number >= 1024**3 else f"{number / 1024**2:.0f} MiB"


def biggest(params: dict[str, Any], path: str) -> str:
    """The biggest things known on the file system of a path, as a text for people."""
    device = os.stat(path).st_dev
    known = {str(entry["path"]): str(entry["what"]) for entry in kept(params)}
    known |= {folder: what for folder, what in server_folders() if what == "the databases"}
    known |= {"/var/log": "logs", "/var/cache/apt": "packages", f"{params['bench']}/logs": "logs"}
    sizes = {}
    for place in known:
        # As the account that owns it: a folder of the bench's may have become a link to any other.
        with as_owner(place):
            if os.path.isdir(place) and os.stat(place).st_dev == device:
                sizes[place] = tree_bytes(place)
    top = sorted(sizes.items(), key=lambda entry: -entry[1])[:3]
    return ", ".join(f"{place} ({known[place]}) {size(used)}" for place, used in top) or "nothing"


def disks(params: dict[str, Any]) -> list[Found]:
    """The file systems that are full, or too full for what is to come.

    What the next update needs is taken from the host's status: to ask MariaDB could hang.
    """
    known = read(f"{params['state_dir']}/status.json") or {}
    looked = merged(
        [file_systems(where()) for where in places(params).values()],
        known.get("update_needs") or [],
    )
    return [disk(params, one) for one in looked if one["level"] != OK]


def disk(params: dict[str, Any], one: dict[str, Any]) -> Found:
    """The cause of a file system that is not ok, as of merged()."""
    facts = {
        "path": one["path"],
        "used": f"{one['used']:.0%}",
        "free": size(one["free"]) + ", no room for files" * (one["files_free"] == 0),
        "holds": ", ".join(one["holds"]),
        "biggest": biggest(params, one["path"]),
    }
    if level_of(one["used"], one["free"], 0) == RED:
        return found("disk_full", **facts)
    what = "it counts as too full from 80 % on"
    if one["free"] < one["needed"]:
        what = f"the next update needs {size(one['needed'])}"
    return found("disk_low", what=what, **facts)


def services(role: str) -> list[Found]:
    """Services of the system that the fleet needs, and that do not run."""
    causes = []
    for unit, effect in SERVICES.items():
        if unit == "nginx.service" and role != "primary":
            continue
        facts = unit_facts(unit)
        state = facts.get("ActiveState", "unknown")
        if facts.get("LoadState") == "loaded" and state not in ("active", "reloading"):
            start = Action("start", unit)
            causes.append(found("service_down", start, unit=unit, state=state, effect=effect))
    return causes


def nginx(role: str) -> list[Found]:
    """Whether nginx would start with the configuration on disk."""
    if role != "primary":
        return []
    done = run(["nginx", "-t"], seconds=15)
    if done.returncode == 0:
        return []
    wrong = re.findall(r"\[emerg\] (?:\d+#\d+: )?(.*)", done.stderr)
    return [found("nginx_config", what=texts.last_lines("\n".join(wrong) or done.stderr, 1))]


def units(role: str) -> list[Found]:
    """Our services and timers that failed, hang or are missing; and the packet filter's table."""
    causes = []
    for name, state in unit_troubles(UNITS[role]).items():
        errors = texts.last_lines("\n".join(log_of(name, 5)), 2)
        restart = None if "not installed" in state else Action("restart", name)
        causes.append(found("unit_failed", restart, unit=name, state=state, errors=errors))
    if all(cause.facts["unit"] != FIREWALL for cause in causes):
        table = run(["nft", "list", "table", "inet", "benchfleet"], seconds=10)
        if table.returncode != 0:
            causes.append(found("firewall_gone", Action("restart", FIREWALL)))
    return causes


def log_end(name: str, read: dict[str, Any]) -> str:
    """The last lines of a program's logs, "none" where none can be read."""
    paths = [p for one in read["processes"] if full_name(one) == name for p in one["logs"]]
    for path in reversed(paths):
        with suppress(OSError):
            if lines := end_of(path):
                return texts.last_lines("\n".join(map(shown, lines[-2:])), 2)
    return "none"


def bench_programs(bench: str) -> list[Found]:
    """The bench's programs that do not run, or differ from supervisor's files."""
    if unit_facts("supervisor.service").get("ActiveState") != "active":
        return []
    try:
        read = readable()
    except BenchError as error:
        return [found("supervisor_config", what=texts.error(str(error)))]
    now = programs(os.path.basename(bench))
    causes = [
        found(
            "program_stopped",
            Action("program", name),
            program=name,
            state=state,
            errors=log_end(name, read),
        )
        for name, state in now.items()
        if state != RUNNING and state not in STARTED
    ]
    differ = {name for name, task in tasks(bench, read).items() if task} ^ set(now)
    if differ:
        causes.append(found("supervisor_not_loaded", programs=", ".join(sorted(differ))))
    return causes


def redis(queue: str) -> list[Found]:
    """What is wrong with the bench's two Redis instances; queue: the settings of one of them."""
    if not os.path.exists(queue):
        return []
    causes = []
    for instance in INSTANCES:
        conf = conf_of(os.path.dirname(queue), instance)
        folder = settings(Path(conf).read_text(encoding="utf-8"))["dir"]
        try:
            with redis_admin(conf) as server:
                info = parse_info(server.ask("INFO", "memory") + server.ask("INFO", "persistence"))
                stops = server.ask("CONFIG", "GET", "stop-writes-on-bgsave-error")
                saves = server.ask("CONFIG", "GET", "save")
        except (OSError, RedisError) as error:
            causes.append(found("redis_silent", instance=instance, what=str(error)))
            continue
        wrong = refusals(info, stops[-1:] == ["yes"] and bool("".join(saves[1:])))
        if wrong:
            what = ", ".join(wrong)
            causes.append(found("redis_refuses", instance=instance, what=what, folder=folder))
        if instance == "queue":
            causes += [
                found("redis_full", instance=instance, what=what.partition(";")[0])
                for what in room_problems(info)
                if what.startswith("`used_memory`")
            ]
    return causes


def refusals(info: dict[str, str], stops: bool) -> list[str]:
    """Why Redis refuses writes, from INFO persistence; stops: after a failed save, it does."""
    names = ["aof_last_write_status"] if info.get("aof_enabled") == "1" else []
    names += ["rdb_last_bgsave_status"] if stops else []
    return [f"{name} is {info[name]}" for name in names if info.get(name, "ok") != "ok"]
