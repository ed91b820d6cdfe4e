"""The state of one server of the fleet.

Each question is asked by itself and for a limited time (questions.py), so that nothing that hangs
on the host hangs its status.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from .. import forward
from ..bench.account import read_json
from ..bench.cli import cli_releases
from ..bench.look import installed_apps
from ..fence import FILE as FENCE
from ..fence import hosts_of
from ..foreign import as_owner
from ..kept import (
    ADOPTED,
    DUMPS,
    FORMER,
    REFUSED,
    REPLACED,
    Thing,
    archived,
    file_systems,
    things,
    tree_bytes,
)
from ..mariadb.server import shown_certificate
from ..nodes import drained, waiting
from ..own_certificates import look as look_at_certificates
from ..processes import background_workers, of_bench, processes, schedulers, web_workers
from ..record import FRESH_SECONDS, UNIT, Record, RecordError
from ..record import state as record_state
from ..runs import last_run
from ..sites.folders import read_state, served_names
from ..supervisor.control import stopped
from ..systems import MARIADB
from ..units import CHANGES, STATUS_UNITS, UNITS, unit_troubles
from . import database, jobs
from .disks import full, merged, needs, places, queue_folder
from .questions import Answer, ask
from .slow import slow, waits
from .troubles import AMBER, RED, Trouble, trouble, worst

GIB = 1024**3
# Seconds that a question may take, and the explanation of a MariaDB that does not answer.
LIMIT, LIMIT_WHY = 3.0, 1.5
# What changes seldom and takes long to find out is asked by the timer, every ten minutes.
SLOW = ("kept", "versions", "update_needs")
SLOW_EVERY = 600
# Age of the copy of the sites, and the share of memory that is available, from which on it matters.
COPY_AGE = {AMBER: 180, RED: 600}
LEAST_MEMORY = 0.05
# Methods that are counted, and characters of their names.
MOST_NAMES, LONGEST_NAME = 100, 140
# The questions, as they are called in the trouble of one that was not answered.
NAMES = {
    "server": "MariaDB",
    "replication": "SHOW SLAVE STATUS, or the heartbeat",
    "apps": "the apps of the bench",
    "certificates": "the fleet's certificates",
    "sync_age_seconds": "the last copy of the sites",
    "workers": "the processes of the bench",
    "disk_free": "the disk of the bench",
    "kept": "what is kept of former times",
    "last_run": "the last run of a playbook",
    "slow": "the slow reports",
    "waits": "the transactions that wait",
    "waiting": "the nodes that wait for apps",
    "memory": "the memory",
    "versions": "apt and the versions",
    "update_needs": "the room that the next update needs",
    "drained": "the drained nodes",
    "forward": "the forward file of the router",
    "fenced": "the hosts that are kept away",
    "sites": "the sites",
    "queue": "the queue's Redis",
    "queues": "the jobs that wait",
    "cache": "the cache's Redis",
    "copy": "the copy of the queue",
    "reads": "the state of the reports",
    "programs": "supervisor",
    "units": "systemd, for Benchfleet's units",
    "services": "systemd, for the services",
    "contract": "what of Frappe does not fit",
    "record": "the record of who is primary",
    "why": "the log of MariaDB",
}


def record(role: str, state_dir: str) -> dict[str, Any]:
    """Who is primary by this host's record, what its service does by it, and troubles.

    {record: {primary, epoch, since, open, why, alone}}; record is None where there is none.
    """
    try:
        own, why = Record.read(state_dir), "this host has no record of who is primary"
    except RecordError as error:
        own, why = None, str(error)
    if own is None:
        return {"record": None, "troubles": [trouble("record", why)]}
    found = record_state()
    age = time.time() - float(found.get("checked", 0))
    about = {"primary": own.primary, "epoch": own.epoch, "since": own.since}
    if age > FRESH_SECONDS:
        what = f"{UNIT} has not looked for {age:.0f} s" if found else f"{UNIT} has not looked yet"
        about |= {"open": None, "why": what, "alone": False}
        return {"record": about, "troubles": [trouble("record", what)]}
    about |= {name: found[name] for name in ("open", "why", "alone")}
    troubles = [] if found["open"] is not None else [trouble("record", found["why"])]
    if (role == "primary") != (own.primary == found["host"]):
        what = f"the record names {own.primary} as primary (epoch {own.epoch}), this is {role}"
        troubles.append(trouble("record", what))
    if found["alone"]:
        troubles.append(trouble("opened_alone", f"MariaDB is open: {found['why']}"))
    return {"record": about, "troubles": troubles}


def certificates(folder: str) -> dict[str, Any]:
    """Days left of the fleet's own certificates, and their troubles."""
    found = look_at_certificates(folder, shown_certificate(), time.time())
    days = {"authority": found.authority, "server": found.server}
    troubles = [trouble("own_certificates", what) for what in found.troubles]
    return {"days": days, "troubles": troubles}


def stopped_programs(bench: str) -> list[Trouble]:
    """The bench's programs that do not run. Raises BenchError."""
    found = stopped(os.path.basename(bench))
    return [trouble("program_stopped", f"{name} {state}") for name, state in found.items()]


def workers(bench: str) -> dict[str, int]:
    """The number of processes of each kind."""
    found = of_bench(processes(), bench)
    return {
        "web": len(web_workers(found)),
        "background": len(background_workers(found)),
        "scheduler": len(schedulers(found)),
    }


def memory(path: str = "/proc/meminfo") -> dict[str, Any]:
    """Available and total memory, for people, and the trouble of too little."""
    with open(path, encoding="ascii") as source:
        sizes = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in source}
    available, total = sizes["MemAvailable"], sizes["MemTotal"]
    text = f"{available / GIB:.1f} of {total / GIB:.1f} GiB"
    few = available < LEAST_MEMORY * total
    return {
        "memory_free": text,
        "troubles": [trouble("memory_low", f"memory: {text} available")] if few else [],
    }


def disk(bench: str) -> str:
    """Free and total disk space where the bench is, for people."""
    usage = shutil.disk_usage(bench if os.path.isdir(bench) else "/")
    return f"{usage.free / GIB:.1f} of {usage.total / GIB:.1f} GiB"


def room(where: Callable[[], Iterable[tuple[str, str]]]) -> list[dict[str, Any]]:
    """The file systems of some folders. where: gives them, see places()."""
    return file_systems(where())


def bytes_of(path: str) -> int:
    """Bytes on disk below a path, as far as the owner of its folder can read there."""
    with as_owner(path):
        return tree_bytes(path)


def kept(params: Mapping[str, Any]) -> list[dict[str, Any]]:
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
        ("former", "queue of a former primary", queue, things(queue, FORMER)),
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


def copied(age: float | None) -> list[Trouble]:
    """The trouble of a copy of the sites that is old. age: in seconds; None for no copy."""
    if age is None:
        return [trouble("sync_old", "the sites' files were never copied to this node")]
    if age <= COPY_AGE[AMBER]:
        return []
    what = f"the sites' files were last copied {age:.0f} s ago"
    return [trouble("sync_old", what, RED if age > COPY_AGE[RED] else AMBER)]


def fallen_back(state_dir: str) -> tuple[float, str] | None:
    """For how many seconds reports of this node have read from the primary, and why; None: no."""
    away = [
        known
        for path in sorted(Path(state_dir).glob("replica-*.json"))
        if (known := read_json(str(path))).get("away")
    ]
    if not away:
        return None
    since = min(float(known["away"]) for known in away)
    return time.time() - since, str(away[0].get("reason"))[:200]


def reads(state_dir: str) -> dict[str, Any]:
    """Where reports of this node read from, and how often which methods write under read_only."""
    away = fallen_back(state_dir)
    counts = read_json(f"{state_dir}/counts.json")

    def numbers(entries: Mapping[str, Any]) -> dict[str, int]:
        """The highest counts: the bench's account may write any number of names."""
        found = {name[:LONGEST_NAME]: int(entry["count"]) for name, entry in entries.items()}
        return dict(sorted(found.items(), key=lambda one: -one[1])[:MOST_NAMES])

    place = "replica"
    if away:
        seconds, reason = away
        place = f"primary for {seconds:.0f} s: replica {reason}"
    return {
        "reports_read": place,
        "fallbacks": numbers(counts.get("fallbacks", {})),
        "write_under_read_only": numbers(counts.get("writes", {})),
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


def units(role: str) -> list[Trouble]:
    """Troubles of Benchfleet's own services and timers.

    A host of an earlier release has no timer for its status yet.
    """
    wanted: tuple[str, ...] = UNITS[role]
    if not any(os.path.exists(f"/etc/systemd/system/{name}") for name in STATUS_UNITS):
        wanted = tuple(name for name in wanted if name not in STATUS_UNITS)
    return [trouble("units", f"{name} {state}") for name, state in unit_troubles(wanted).items()]


# States of a service that answers.
SERVES = ("active", "reloading")


def services(role: str, standby: bool) -> list[Trouble]:
    """Troubles of services that nothing else shows: cron, the router's, the copy on the standby."""
    troubles = []
    if standby and (state := active_state(CHANGES)) != "active":
        what = f"files are not copied here when they change: {CHANGES} is {state}"
        troubles.append(trouble("files_not_followed", what, AMBER))
    if (state := active_state("cron.service")) != "active":
        effect, level = "no copies of the sites are made", RED
        if role == "primary":
            effect, level = "what it starts on this host is not done", AMBER
        troubles.append(trouble("cron_down", f"cron is {state}: {effect}", level))
    if role == "primary" and (state := active_state("nginx.service")) not in SERVES:
        troubles.append(trouble("nginx_down", f"nginx is {state}: no site is reached"))
    return troubles


def passed_on(role: str, state_dir: str) -> dict[str, Any]:
    """The host to whose router this one passes its calls on, and troubles: {host, troubles}."""
    path = f"{state_dir}/{forward.FILE}"
    try:
        to = forward.read(state_dir)
    except ValueError:
        what = f"{path} names no router, so this host's router answers no call"
        return {"host": None, "troubles": [trouble("passes_on", what)]}
    troubles = []
    if to and role == "primary":
        what = f"the router passes every call on to {to.host}, as {path} says"
        troubles.append(trouble("passes_on", what))
    elif to and (state := active_state("nginx.service")) not in SERVES:
        what = f"nginx is {state}: this host could not become the primary"
        troubles.append(trouble("nginx_down", what, AMBER))
    return {"host": to.host if to else None, "troubles": troubles}


def fenced(mark: str) -> list[Trouble]:
    """Hosts that a failover keeps away. mark: the file in whose folder their rules are."""
    path = Path(mark).with_name(FENCE)
    hosts = hosts_of(path.read_text(encoding="utf-8")) if path.exists() else {}
    what = "its packets are dropped here until it rejoins"
    return [trouble("host_fenced", f"{name} ({at}): {what}", AMBER) for name, at in hosts.items()]


def active_state(unit: str) -> str:
    """The ActiveState of a unit of systemd's."""
    command = ("systemctl", "show", unit, "--property", "ActiveState", "--value")
    return database.said(*command).strip() or "unknown to systemd"


def processes_wanted(role: str, found: Mapping[str, int]) -> list[Trouble]:
    """Troubles of the number of a bench's processes. found: of workers()."""
    troubles = []
    if not found["web"]:
        troubles.append(trouble("no_web_workers", "no web worker of the bench runs"))
    number = found["scheduler"]
    if role == "primary" and number != 1:
        effect = "run more than once" if number else "do not run"
        what = f"{number} schedulers run on this host: scheduled jobs {effect}"
        troubles.append(trouble("one_scheduler", what))
    elif role != "primary" and number:
        troubles.append(trouble("no_scheduler", f"{number} schedulers run on this node"))
    return troubles


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


def contract(state_dir: str) -> list[Trouble]:
    """What of the bench does not fit, as the last run of site.yml or an update found it.

    Checking again would take a second or two.
    """
    misfits = read_json(f"{state_dir}/contract.json").get("misfits", [])
    return [trouble("contract", misfit) for misfit in misfits]


def questions(params: Mapping[str, Any]) -> dict[str, Callable[[], Any]]:
    """The questions to this host, by the keys of NAMES, and those for its disks."""
    role, bench, state_dir = params["role"], params["bench"], params["state_dir"]
    standby = role != "primary" and os.path.exists(params["queue"])
    found: dict[str, Callable[[], Any]] = {
        "server": database.server,
        "replication": partial(database.replication, role),
        "apps": partial(installed_apps, bench),
        "certificates": partial(certificates, params["certificates"]),
        "workers": partial(workers, bench),
        "disk_free": partial(disk, bench),
        "kept": partial(kept, params),
        "memory": memory,
        "versions": partial(versions, params["mark"], params["cli_dir"]),
        "programs": partial(stopped_programs, bench),
        "units": partial(units, role),
        "services": partial(services, role, standby),
        "contract": partial(contract, state_dir),
        "record": partial(record, role, state_dir),
        "last_run": partial(last_run, state_dir),
        "forward": partial(passed_on, role, state_dir),
        "fenced": partial(fenced, params["mark"]),
        "slow": partial(slow, params),
        "waits": waits,
    }
    if role == "primary":
        found["drained"] = partial(drained, state_dir)
        found["waiting"] = partial(waiting, state_dir)
        found["sites"] = partial(sites, state_dir)
        found["queue"] = partial(jobs.queue, params["queue"])
        found["queues"] = partial(jobs.queues, params["queue"])
        found["cache"] = partial(jobs.cache, params["queue"])
        found["update_needs"] = partial(needs, params)
    else:
        found["sync_age_seconds"] = partial(sync_age, bench)
        found["reads"] = partial(reads, params["guard_state"])
        if standby:
            found["copy"] = partial(jobs.copy, params["queue"], state_dir)
    return found


def asked_again(former: Mapping[str, Any], now: float) -> list[str]:
    """Those of the slow questions whose former answers are too old, or missing."""
    times = former.get("asked", {})
    return [name for name in SLOW if not 0 <= now - float(times.get(name, 0)) < SLOW_EVERY]


class Status:
    """The answers of a host, and the troubles that follow from them."""

    def __init__(self, params: Mapping[str, Any], answers: Mapping[str, Answer]) -> None:
        self.params, self.answers = params, answers
        self.troubles: list[Trouble] = []

    def value(self, name: str, title: str = "", level: str = RED, tell: bool = True) -> Any:
        """An answer, None where there is none: then that is a trouble, unless ``tell`` is false."""
        answer = self.answers.get(name)
        if answer is None:
            return None
        title = title or NAMES[name]
        if answer.late and tell:
            what = f"{title}: no answer in {answer.seconds:g} s"
            self.troubles.append(trouble("no_answer", what, level))
        elif answer.trouble and tell:
            self.troubles.append(trouble("not_known", answer.trouble, level))
        return answer.value

    def failure(self, name: str) -> str:
        """Why there is no answer; "" where there is one."""
        answer = self.answers[name]
        return f"no answer in {answer.seconds:g} s" if answer.late else answer.trouble

    def mariadb(self, why: Answer | None) -> dict[str, Any]:
        """Values of MariaDB. why: the answer to why it does not answer."""
        if failed := self.failure("server"):
            reason = f": {why.value}" if why and why.value else ""
            what = f"MariaDB: {failed.removeprefix('MariaDBError: ')}{reason}"
            self.troubles.append(trouble("mariadb_down", what))
            return {"mariadb": None, "replication": None, "lag_seconds": None}
        found = self.value("replication") or {}
        self.troubles += found.get("troubles", [])
        return {
            "mariadb": self.value("server")["mariadb"],
            "replication": found.get("replication"),
            "lag_seconds": found.get("lag_seconds"),
        }

    def redis(self) -> dict[str, Any]:
        """The jobs that wait, and troubles of both Redis."""
        for name in ("queue", "cache"):
            if failed := self.failure(name):
                what = f"the {name}'s Redis does not answer: {failed}"
                self.troubles.append(trouble("redis_down", what))
            self.troubles += self.value(name, tell=False) or []
        found = self.value("queues", tell=not self.failure("queue"))
        self.troubles += jobs.waiting(found) if found else []
        return {"queues": found}

    def copy(self) -> None:
        """Troubles of the copy of the queue, on a host that has one."""
        if "copy" in self.answers and (failed := self.failure("copy")):
            what = f"the copy of the queue does not answer: {failed}"
            self.troubles.append(trouble("queue_copy", what, AMBER))
        self.troubles += self.value("copy", tell=False) or []

    def space(self, needed: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """The file systems, and their troubles."""
        uses = [name for name in self.answers if name.startswith("room: ")]
        titles = {name: f"disk of {name.removeprefix('room: ')}" for name in uses}
        looked = [self.value(name, titles[name]) or [] for name in uses]
        found = merged(looked, needed)
        self.troubles += full(found)
        return found


def status(
    params: Mapping[str, Any],
    former: Mapping[str, Any] | None = None,
    limit: float | None = None,
    limit_slow: float | None = None,
) -> dict[str, Any]:
    """The state of this host.

    former: the last status, whose answers to slow questions are taken while they are new enough.
    limit: seconds that a question may take, by default LIMIT; limit_slow: that of a slow one. What
    could not be found out is None.
    ``troubles`` has all that is wrong, {id, what, level}; ``level`` is that of the worst, and
    ``state`` has the same as a text, "up" where nothing is. ``asked`` and ``stuck`` are for the
    next call.
    """
    former, now = former or {}, time.time()
    every = questions(params)
    new = [name for name in asked_again(former, now) if name in every]
    old = {name: Answer(former.get(name)) for name in SLOW if name in every and name not in new}
    every |= {f"room: {use}": partial(room, where) for use, where in places(params).items()}
    wanted = {name: question for name, question in every.items() if name not in old}
    limit = limit or LIMIT
    limits = dict.fromkeys(new, limit_slow or limit)
    answers = ask(wanted, limit, limits, former.get("stuck"))
    why = None
    if answers["server"].late or answers["server"].trouble:
        why = ask({"why": database.why_down}, LIMIT_WHY)["why"]
    found = Status(params, {**answers, **old})
    stuck = {name: answer.stuck for name, answer in answers.items() if answer.stuck}
    asked = {name: former["asked"][name] for name in old}
    # One that was not answered is not asked again before its time.
    asked |= dict.fromkeys(new, now)
    return {**described(found, why), "measured": round(now, 1), "asked": asked, "stuck": stuck}


def described(found: Status, why: Answer | None) -> dict[str, Any]:
    """The status of a host without the times at which it was asked."""
    params, value = found.params, found.value
    role = params["role"]
    database_values = found.mariadb(why)
    # Without MariaDB there is no certificate that it could show.
    own = value("certificates", tell=not found.failure("server")) or {}
    found.troubles += own.get("troubles", []) if database_values["mariadb"] else []
    about_memory = value("memory") or {}
    found.troubles += about_memory.get("troubles", [])
    about_record = value("record") or {}
    found.troubles += about_record.get("troubles", [])
    running = value("workers")
    found.troubles += processes_wanted(role, running) if running else []
    row = {
        "host": params["host"],
        "role": role,
        "level": "",
        "state": "",
        **database_values,
        "record": about_record.get("record"),
        "apps": {name: app["commit"][:10] for name, app in (value("apps") or {}).items()},
        "sync_age_seconds": value("sync_age_seconds"),
        "workers": running,
        "certificate_days": own.get("days"),
        "disk_free": value("disk_free"),
        "file_systems": None,
        "kept": value("kept", level=AMBER),
        "last_run": value("last_run", level=AMBER),
        "slow": value("slow", level=AMBER),
        "waits": value("waits", level=AMBER, tell=not found.failure("server")),
        "memory_free": about_memory.get("memory_free"),
        "versions": value("versions", level=AMBER),
        "update_needs": value("update_needs", level=AMBER, tell=not found.failure("server")),
    }
    passing = value("forward") or {}
    row["forward"] = passing.get("host")
    found.troubles += passing.get("troubles", [])
    row["file_systems"] = found.space(row["update_needs"] or [])
    if role == "primary":
        row["drained"] = value("drained")
        row["waiting"] = value("waiting")
        row |= value("sites") or {}
        row |= found.redis()
    else:
        row |= value("reads") or {}
        if str(row.get("reports_read", "")).startswith("primary"):
            found.troubles.append(trouble("falls_back", f"reports read from {row['reports_read']}"))
        if not found.failure("sync_age_seconds"):
            found.troubles += copied(row["sync_age_seconds"])
        found.copy()
    for name in ("programs", "units", "services", "contract", "fenced"):
        found.troubles += value(name) or []
    row["level"] = worst(found.troubles)
    state = "; ".join(f"{one['what']} (id: {one['id']})" for one in found.troubles)
    return {**row, "state": state or "up", "troubles": found.troubles}
