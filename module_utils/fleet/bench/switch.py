"""The bench's part in a change of the primary; see the module bench_switch.

The primary holds its calls and stops. The new primary has web workers of its own ready before that:
a file of supervisor's beside the bench's has them, until site.yml writes the bench's anew.
"""

from __future__ import annotations

import configparser
import io
import json
import os
import re
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from glob import glob
from typing import Any

from .. import atomic
from ..calls import ENDING_SECONDS, listens, running_calls
from ..changes import diff
from ..foreign import read_bytes, replace
from ..leaving import LeaveError, Leaver
from ..redis.client import RedisError
from ..redis.users import redis_admin
from ..sites.folders import Folders
from ..supervisor import control
from ..supervisor.call import control_words
from ..supervisor.programs import JOBS, LOGS, next_file
from ..update.gates import LOOK_SECONDS, QUIET_LOOKS, SUSPENDED, busy_workers
from ..work import Work, required
from .account import BenchError, read_json
from .files import NODE, keys_that_are

# States of a program of supervisor's that does nothing.
IDLE = ("STOPPED", "EXITED", "FATAL")
STEPS = ("quiet", "ready", "files", "close", "take", "back", "left")
# Keys of a site by which Frappe reads from this host's replica; site-sync writes them.
REPLICA_KEYS = ("read_from_replica", *keys_that_are(NODE, site=True))
REDIS_KEYS = ("redis_cache", "redis_queue", "redis_socketio")
# A node's configurations of sites are for the bench's account alone; a primary's have this mode.
MODE = 0o640
# Content of the marks of nodes, and of RQ's switch, that are there for a change of the primary.
OURS = "switch"
# For so long after its limit RQ's switch stays, where nobody takes it back. Seconds.
SUSPENDED_SECONDS = 300
# For so long the web workers may take until they listen; a big app needs much of it. Seconds.
START_SECONDS = 120
SITES_TIMER, SITES_SERVICE = "benchfleet-sites.timer", "benchfleet-sites.service"
# Starts the primary's programs again where the run that stopped them was killed. What the service
# of the record says counts for ten seconds.
ALONE = "benchfleet-switch-back"
RECORD_STATE = "/run/benchfleet/record.json"
ALONE_SCRIPT = """
import glob, json, os, subprocess, sys, time
record, state, host, folder, *start = sys.argv[1:]
ending = time.monotonic() + 900
while time.monotonic() < ending:
    try:
        if json.load(open(record))["primary"] != host:
            break
        seen = json.load(open(state))
        if seen["open"] and time.time() - seen["checked"] < 10:
            subprocess.run(start)
            subprocess.run(["systemctl", "start", "SITES_TIMER"])
            for path in glob.glob(f"{folder}/waiting/*"):
                if open(path).read() == "OURS":
                    os.unlink(path)
            if os.path.exists(f"{folder}/hold"):
                os.unlink(f"{folder}/hold")
            break
    except (OSError, ValueError, KeyError):
        pass
    time.sleep(1)
""".replace("SITES_TIMER", SITES_TIMER).replace("OURS", OURS)
HEADER = "; Made by Benchfleet for a change of the primary; the next site.yml removes it.\n"


def at_address(url: str, address: str) -> str:
    """A URL of Redis with another address of the server; account, port and path stay."""
    head, at, tail = url.rpartition("@")
    if not at:
        head, at, tail = url.partition("://")
    host = f"[{address}]" if ":" in address else address
    return f"{head}{at}{host}:{tail.rpartition(':')[2]}"


def next_programs(text: str, asked: Mapping[str, Any]) -> str:
    """Programs with which a reporting node answers as the primary, for a file beside the bench's.

    text: supervisor's configuration of the node's bench. asked: the options of bench_switch. The
    web workers are the node's own, without the guard; socketio is started later. Raises BenchError.
    """
    bench, name = asked["bench"], os.path.basename(asked["bench"])
    read, out = (configparser.RawConfigParser(default_section="") for _ in range(2))
    read.optionxform = out.optionxform = str  # type: ignore[assignment,method-assign]
    try:
        read.read_string(text)
        web = dict(read.items(f"program:{name}-frappe-web"))
        command = web["command"]
    except (configparser.Error, KeyError) as error:
        raise BenchError(
            f"this host has no web workers from which those of a primary can be made ({error});"
            " set bench_web_workers for it, and run site.yml"
        ) from error
    command = command.replace("benchfleet_guard.wsgi:application", "frappe.app:application")
    command = re.sub(r"-b \S+(?: -b \S+)*", f"-b 127.0.0.1:{asked['web_port']}", command, count=1)
    variables = dict(re.findall(r'(\w+)="([^"]*)"', web.pop("environment", "")))
    variables.pop("BENCHFLEET_READ_GUARD", None)
    paths = variables.pop("PYTHONPATH", "").split(":")
    if further := [path for path in paths if path and not path.startswith(asked["lib_dir"])]:
        variables["PYTHONPATH"] = ":".join(further)
    if variables:
        web["environment"] = ",".join(f'{key}="{value}"' for key, value in variables.items())
    node = f"{asked['cli_dir']}/bin/node {bench}/apps/frappe/socketio.js"
    programs = {
        "web": {**web, "command": command},
        "socketio": {**web, "command": node, "directory": bench, "autostart": "false"},
    }
    for short, options in programs.items():
        section = f"program:{name}-next-{short}"
        out.add_section(section)
        logs = {f"std{stream}_logfile": f"{LOGS}/next-{short}" for stream in ("out", "err")}
        logs = {key: f"{log}{'.error' * ('err' in key)}.log" for key, log in logs.items()}
        for option, value in (options | logs).items():
            out.set(section, option, value)
    written = io.StringIO()
    out.write(written, space_around_delimiters=False)
    return HEADER + written.getvalue().strip() + "\n"


class PrimaryConfig:
    """Configurations of a bench and its sites that were a reporting node's and become a primary's.

    state_dir: the fleet's folder on this host.
    """

    def __init__(self, bench: str, state_dir: str) -> None:
        self.common = f"{bench}/sites/common_site_config.json"
        self.folders = Folders(f"{bench}/sites", state_dir)

    def bring(self, dry: bool, address: str = "") -> list[str]:
        """Bring them; returns what was changed, in lines. Raises BenchError, OSError.

        address: of this host, for a bench that calls its own MariaDB and Redis from now on.
        """
        did = self.edit(self.common, dry, lambda config: self.of_primary(config, address))
        for site in self.folders.names():
            did += self.edit(self.folders.config(site), dry, self.without_replica)
        return did

    @staticmethod
    def of_primary(config: dict[str, Any], address: str) -> dict[str, Any]:
        """A common configuration with the scheduler, and with the services at this host."""
        found = {key: value for key, value in config.items() if key != "pause_scheduler"}
        if address:
            found["db_host"] = "127.0.0.1"
            urls = {key: found[key] for key in REDIS_KEYS if isinstance(found.get(key), str)}
            found |= {key: at_address(url, address) for key, url in urls.items()}
        return found

    @staticmethod
    def without_replica(config: dict[str, Any]) -> dict[str, Any]:
        """A site's configuration without the replica."""
        return {key: value for key, value in config.items() if key not in REPLICA_KEYS}

    @staticmethod
    def edit(path: str, dry: bool, change: Callable[[dict[str, Any]], dict[str, Any]]) -> list[str]:
        """Write a file as ``change`` makes it; returns a line where it differs."""
        found = read_json(path, follow=False)
        wanted = change(found)
        if wanted == found:
            return []
        if not dry:
            # As Frappe itself writes it.
            replace(path, json.dumps(wanted, indent=1, sort_keys=True).encode(), MODE)
        return [f"write {path}"]


class Switch(Leaver):
    """The steps; each again after it was done changes nothing.

    asked: the options of the module bench_switch. did: what was done, or would be.
    """

    @property
    def name(self) -> str:
        """The bench's name in supervisor."""
        return os.path.basename(str(self.asked["bench"]))

    @property
    def next_file(self) -> str:
        """Supervisor's file with the programs that stand in."""
        return next_file(self.asked["configuration"])

    def do(self) -> dict[str, Any]:
        """Do the step; returns its results. Raises BenchError, LeaveError, RedisError, OSError."""
        found: dict[str, Any] = getattr(self, self.asked["step"])()
        return found

    def within(
        self,
        tasks: Collection[str],
        seconds: float,
        rest: Callable[[], bool] = lambda: False,
    ) -> list[str]:
        """Stop programs with these tasks; returns their names. Raises BenchError after ``seconds``.

        A web worker ends its calls first, a worker its job. rest: whether they have ended these,
        and need not be waited for any more.
        """
        before = control.programs(self.name)
        chosen = control.doing(self.name, *tasks)(list(before))
        names = [name for name in chosen if before[name] not in IDLE]
        begin = [name for name in names if before[name] != "STOPPING"]
        self.did += [f"stop {name}" for name in begin]
        if self.dry or not names:
            return names
        failed: list[BenchError] = []
        control.begin_stop(control.together(begin, list(before)), failed)
        deadline = time.monotonic() + seconds
        while True:
            now = control.programs(self.name)
            still = [name for name in names if now.get(name, "STOPPED") not in IDLE]
            if failed:
                raise failed[0]
            if not still or rest():
                return names
            if time.monotonic() > deadline:
                raise BenchError(
                    f"after {seconds:.0f} s these programs still work: {', '.join(still)}. Wait"
                    " until their calls and jobs have ended, or give them more time, and run the"
                    " same command again"
                )
            time.sleep(0.1)

    def serves_as_primary(self) -> bool:
        """Whether the bench runs as the primary's now."""
        return bool(read_json(f"{self.asked['config_dir']}/jobs.json").get("primary"))

    def config(self) -> PrimaryConfig:
        """The configurations of the bench and its sites."""
        return PrimaryConfig(self.asked["bench"], self.asked["state_dir"])

    def redis_conf(self) -> str:
        """The settings of the queue's Redis on this host."""
        return f"{self.asked['config_dir']}/redis/redis_queue.conf"

    def suspend(self, seconds: float) -> None:
        """Have no worker of any host take a job, and wait for those that run. Raises BenchError.

        RQ's switch ends by itself, where nobody takes it back. One that is there already, by `rq
        suspend`, stays.
        """
        common = read_json(f"{self.asked['bench']}/sites/common_site_config.json")
        lasts = str(int(seconds) + SUSPENDED_SECONDS)
        deadline, quiet = time.monotonic() + seconds, 0
        with redis_admin(self.redis_conf()) as redis:
            redis.ask("SET", SUSPENDED, OURS, "EX", lasts, "NX")
            while quiet < QUIET_LOOKS:
                busy = busy_workers(redis, str(common.get("bench_id")))
                quiet = 0 if busy else quiet + 1
                if busy and time.monotonic() > deadline:
                    raise BenchError(
                        f"after {seconds:.0f} s these jobs still run: {'; '.join(busy)}. They must"
                        " end before the primary changes. Wait for them, or give them more time,"
                        " and run the same command again"
                    )
                time.sleep(LOOK_SECONDS)

    def resume(self) -> None:
        """Take RQ's switch back, where it is ours."""
        if not os.path.exists(self.redis_conf()):
            return
        with redis_admin(self.redis_conf()) as redis:
            if redis.ask("GET", SUSPENDED) == OURS:
                self.did.append(f"delete {SUSPENDED}")
                if not self.dry:
                    redis.ask("DEL", SUSPENDED)

    def marks(self, folder: str) -> dict[str, str]:
        """Marks of nodes in a folder of the state: name -> path."""
        found = glob(f"{self.asked['state_dir']}/{folder}/*")
        return {os.path.basename(path): path for path in sorted(found)}

    def mark(self, folder: str, nodes: Collection[str], text: str) -> None:
        """Mark nodes, so that this host's router sends them no calls."""
        for node in sorted({*nodes} - {*self.marks(folder)}):
            path = f"{self.asked['state_dir']}/{folder}/{node}"
            self.did.append(f"write {path}")
            if not self.dry:
                os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
                atomic.write(path, text)

    def quiet(self) -> dict[str, Any]:
        """Scheduler and workers stop after their jobs; nothing changes accounts of the sites."""
        seconds = float(self.asked["seconds"])
        self.mark("waiting", self.asked["nodes"], OURS)
        stopped = self.within(["schedule"], seconds)
        if self.serves_as_primary():
            for unit in (SITES_TIMER, SITES_SERVICE):
                self.stop_unit(unit)
            if not self.dry:
                self.suspend(seconds)
        stopped += self.within(JOBS, seconds)
        return {"stopped": stopped, "drained": list(self.marks("drained"))}

    def ready(self) -> dict[str, Any]:
        """Web workers of a primary listen, and were not called yet.

        A configuration that take() could not change is told here, where there is a way back.
        """
        self.config().bring(True, self.asked["address"])
        text = next_programs(read_bytes(self.asked["configuration"]).decode(), self.asked)
        groups = [f"{self.name}-next-{short}" for short in ("web", "socketio")]
        try:
            same = read_bytes(self.next_file).decode() == text
        except FileNotFoundError:
            same = False
        port = int(self.asked["web_port"])
        if same and listens("127.0.0.1", port):
            return {}
        self.did.append(f"run {groups[0]}")
        if self.dry:
            return {}
        control.readable({self.next_file: text})
        atomic.write(self.next_file, text, 0o600, (0, 0))
        control.control("reread")
        control.control("update", *groups)
        control.control("start", groups[0])
        deadline = time.monotonic() + START_SECONDS
        while not listens("127.0.0.1", port):
            if time.monotonic() > deadline:
                raise BenchError(
                    f"the web workers of {groups[0]} do not listen on port {port} within"
                    f" {START_SECONDS} s; the cause is at the end of {LOGS}/next-web.error.log"
                )
            time.sleep(0.1)
        return {}

    def files(self) -> dict[str, Any]:
        """The sites' files are copied once more, as each minute."""
        copy = [f"{self.asked['lib_dir']}/site-sync", "--wait", f"{self.asked['seconds']}"]
        self.must("copy the sites' files", *copy)
        return {}

    def close(self) -> dict[str, Any]:
        """Calls wait at the router, and what answers them stops, by itself once no call runs."""
        hold, lasts = f"{self.asked['state_dir']}/hold", float(self.asked["hold_seconds"])
        ports = [int(self.asked["web_port"]), int(self.asked["report_port"])]
        if self.dry:
            self.within(["web", "socketio"], 0)
            return {}
        self.guard(lasts + 15)
        until = round(time.time() + lasts)
        atomic.write(hold, f"{until}\n", 0o644, durable=False)
        ending = time.monotonic() + ENDING_SECONDS
        # A call that has just looked for the file connects within the first of these.
        time.sleep(0.1)

        def rest() -> bool:
            return not any(running_calls("127.0.0.1", port) for port in ports)

        while not rest() and time.monotonic() < ending:
            time.sleep(0.02)
        stopped = self.within(["web", "socketio"], float(self.asked["seconds"]), rest)
        return {"stopped": stopped, "held_until": until}

    def guard(self, seconds: float) -> None:
        """Have systemd start the programs again, should nobody else go on or back.

        Only once this host's record, and MariaDB, are still the primary's.
        """
        every = control.programs(self.name)
        start = control_words("start", *control.together(list(every), list(every)))
        state, host = self.asked["state_dir"], self.asked["host"]
        self.unguard()
        words = ["systemd-run", f"--unit={ALONE}", "--collect", f"--on-active={seconds:.0f}"]
        words += ["--timer-property=AccuracySec=1s", "/usr/bin/python3", "-I", "-c", ALONE_SCRIPT]
        words += [f"{state}/primary.json", RECORD_STATE, host, state, *start]
        code, out = self.run(*words)
        if code:
            raise BenchError(f"`systemd-run` failed, so the primary was not closed: {out.strip()}")

    def unguard(self) -> None:
        """End what guard() has begun."""
        for unit in (f"{ALONE}.timer", f"{ALONE}.service"):
            self.run("systemctl", "stop", unit)

    def take(self) -> dict[str, Any]:
        """The bench is the primary's: no copy changes its sites, and it calls its own services."""
        config_dir, state_dir = self.asked["config_dir"], self.asked["state_dir"]
        # First: with the former primary as its source, it removes files that are made here.
        self.copies()
        self.did += self.config().bring(self.dry, self.asked["address"])
        own = {"primary": True, "site_sync": "", "ca": "", "servers": []}
        own["drained"] = [f"{state_dir}/{folder}" for folder in ("drained", "waiting")]
        self.did += self.put(f"{config_dir}/jobs.json", own)
        self.mark("drained", self.asked["drained"], "")
        # In a failover nobody has marked them before; their benches still call the lost primary.
        self.mark("waiting", self.asked["nodes"], OURS)
        self.resume()
        socketio = f"{self.name}-next-socketio"
        states = control.states(control.control("status"))
        if states.get(socketio, control.RUNNING) not in control.STARTED:
            self.did.append(f"start {socketio}")
            if not self.dry:
                control.begin_start(socketio)
        return {}

    def put(self, path: str, values: Mapping[str, Any]) -> list[str]:
        """Set keys in a file of root's; returns a line where it differs."""
        found = read_json(path)
        wanted = {**found, **values}
        if wanted == found:
            return []
        if not self.dry:
            atomic.write(path, json.dumps(wanted, indent=4) + "\n")
        return [f"write {path}"]

    def back(self) -> dict[str, Any]:
        """All programs run again, calls go through, and nodes get calls."""
        hold = f"{self.asked['state_dir']}/hold"
        deadline = time.monotonic() + float(self.asked["seconds"])
        if not self.dry:
            self.unguard()
        if os.path.exists(hold):
            # Calls that wait are answered once somebody listens again, and with an error before.
            self.started(deadline, "web", "socketio")
            port = int(self.asked["web_port"])
            while not self.dry and not listens("127.0.0.1", port) and time.monotonic() < deadline:
                time.sleep(0.1)
            self.drop(hold)
        late = self.started(deadline)
        if self.serves_as_primary():
            if self.run("systemctl", "is-active", SITES_TIMER)[1].strip() == "inactive":
                self.must(f"start {SITES_TIMER}", "systemctl", "start", SITES_TIMER)
            self.resume()
        for path in self.marks("waiting").values():
            with suppress(FileNotFoundError):
                if read_bytes(path) == OURS.encode():
                    self.drop(path)
        return {"late": late}

    def started(self, deadline: float, *tasks: str) -> list[str]:
        """Start programs, those with some tasks or all; returns what still ends after a time."""
        while True:
            now = control.programs(self.name)
            names = control.doing(self.name, *tasks)(list(now)) if tasks else list(now)
            late = [name for name in names if now[name] == "STOPPING"]
            down = [name for name in names if now[name] not in (*control.STARTED, "STOPPING")]
            down = [name for name in down if not name.startswith(f"{self.name}-next-")]
            self.did += [f"start {name}" for name in down]
            if down and not self.dry and tasks:
                for name in down:
                    control.begin_start(name)
            elif down and not self.dry:
                control.control_each("start", control.together(down, list(now)))
            if not late or self.dry or time.monotonic() > deadline:
                return late
            time.sleep(0.2)

    def left(self) -> dict[str, Any]:
        """What stood in for a primary's programs is gone."""
        groups = [f"{self.name}-next-{short}" for short in ("web", "socketio")]
        there = [name for name in control.programs(self.name) if name.split(":")[0] in groups]
        self.drop(self.next_file)
        if there:
            self.did += [f"end {name}" for name in there]
            if not self.dry:
                control.control("reread")
                control.control("update", *groups)
        return {}


def do(module: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Result of the module bench_switch; what was done is in it also where a step fails."""
    module.run_command_environ_update = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    switch = Switch(params, module.run_command, module.check_mode)
    try:
        found = switch.do()
    except (BenchError, LeaveError, RedisError, OSError) as error:
        return {"failed": True, "msg": str(error), "did": switch.did}
    return {"changed": bool(switch.did), "did": switch.did, "diff": diff((), switch.did), **found}


WORK = Work(
    {
        "step": {"type": "str", "choices": [*STEPS], "required": True},
        **required("str", "host", "address"),
        **required("path", "bench", "cli_dir", "config_dir", "lib_dir", "state_dir"),
        **required("path", "configuration"),
        **required("int", "web_port", "report_port"),
        "seconds": {"type": "int", "default": 20},
        "hold_seconds": {"type": "int", "default": 30},
        "nodes": {"type": "list", "elements": "str", "default": []},
        "drained": {"type": "list", "elements": "str", "default": []},
    },
    do,
    (),
)
