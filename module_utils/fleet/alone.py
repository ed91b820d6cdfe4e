"""Proof that a bench works without a fleet, and that nothing of the fleet is left on its host."""

from __future__ import annotations

import http.client
import json
import os
import pwd
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from . import runs
from .bench.account import Bench, BenchError
from .bench.answers import in_maintenance
from .foreign import acting_as
from .http import Visitor, router_port
from .leaving_primary import kept
from .logs import masked
from .mariadb.server import MariaDBError, Server, has_database, local
from .processes import processes, schedulers
from .processes import run as run_program
from .supervisor.control import RUNNING, control, states

# Folders in which Benchfleet has files on a host, and how deep it is looked.
PLACES = ("/etc", "/usr/local", "/var/lib", "/var/log", "/opt", "/run")
DEPTH = 5
NAME = "benchfleet"
ACCOUNTS = ("repl", "fleet_probe", "fleet_heartbeat")
# Made and dropped again, so that the server writes to its disk.
SCRATCH = "uninstall_proof"
JOB_SECONDS = 90
JOB = """
import json, sys, time
import frappe
frappe.init(site=sys.argv[1], sites_path=".")
frappe.connect()
job = frappe.enqueue("frappe.ping", queue="short")
until = time.monotonic() + float(sys.argv[2])
state = ""
while time.monotonic() < until and state not in ("finished", "failed"):
    time.sleep(0.2)
    state = str(getattr(job.get_status(), "value", job.get_status()))
print(json.dumps(state))
"""

Check = dict[str, Any]


def left_over(places: Iterable[str], spared: Iterable[str], name: str = NAME) -> list[str]:
    """Files and folders whose name has ``name`` in it, without those that are spared or below them.

    What is below a folder that was found is not listed.
    """
    stay = [path.rstrip("/") for path in spared]
    found = []
    for place in places:
        for folder, folders, files in os.walk(place):
            depth = folder.count("/") - place.count("/")
            inside = [one for one in (*folders, *files) if name in one.lower()]
            paths = [os.path.join(folder, one) for one in sorted(inside)]
            found += [
                path for path in paths if not any(f"{path}/".startswith(f"{s}/") for s in stay)
            ]
            folders[:] = [
                one
                for one in folders
                if depth < DEPTH
                and one not in inside
                and os.path.join(folder, one) not in stay
                and not os.path.ismount(os.path.join(folder, one))
            ]
    return found


def sites_of(bench: str, user: str) -> list[str]:
    """Names of a bench's sites, as its account sees them."""
    with acting_as(pwd.getpwnam(user).pw_uid):
        return sorted(path.parent.name for path in Path(bench, "sites").glob("*/site_config.json"))


class Proof:
    """The checks, each {what, ok, saw}.

    asked: the options of the module bench_alone.
    """

    def __init__(self, asked: Mapping[str, Any]) -> None:
        self.asked = asked
        self.bench = Bench(asked["bench"], asked["user"], asked["cli_dir"])
        self.kept = kept(asked["bench"], asked["cli_dir"], asked["state_dir"], asked["besides"])
        self.checks: list[Check] = []

    def add(self, what: str, ok: bool, saw: Any) -> None:
        """Note a check. saw: also what the bench's account printed, or named its files."""
        plain = "".join(sign if sign.isprintable() else "?" for sign in masked(str(saw)))
        self.checks.append({"what": what, "ok": ok, "saw": plain})

    @contextmanager
    def checking(self, what: str) -> Iterator[None]:
        """Note a check that could not be made as one that failed."""
        try:
            yield
        except (
            BenchError,
            MariaDBError,
            OSError,
            ValueError,
            http.client.HTTPException,
            subprocess.TimeoutExpired,
        ) as error:
            self.add(what, False, error)

    def programs(self) -> None:
        """supervisor runs the bench's programs, one of which is the scheduler."""
        with self.checking("programs"):
            found = states(control("status"))
            name = os.path.basename(self.asked["bench"])
            mine = {key: state for key, state in found.items() if key.startswith(f"{name}-")}
            wrong = [f"{key} {state}" for key, state in mine.items() if state != RUNNING]
            ok = bool(mine) and not wrong
            self.add("programs", ok, ", ".join(wrong) or f"{len(mine)} run")
        with self.checking("scheduler"):
            pids = [process.pid for process in schedulers(processes())]
            self.add("scheduler", len(pids) == 1, f"process {pids[0]}" if pids else "none runs")

    def site(self, site: str) -> None:
        """A site answers through nginx, and a job of it is done."""
        if in_maintenance(self.asked["bench"], site):
            self.add(f"answer of {site}", True, "not asked: the site is in maintenance")
            return
        with self.checking(f"answer of {site}"):
            ports = {"address": "127.0.0.1", "http": 80, "https": 443}
            port, secure = router_port(ports, site)
            visitor = Visitor("127.0.0.1", port, site, secure, timeout=60)
            answer = visitor.call("GET", "/api/method/ping")
            self.add(f"answer of {site}", answer.status == 200, f"status {answer.status}")
        with self.checking(f"job of {site}"):
            done = self.bench.tried(
                [f"{self.asked['bench']}/env/bin/python", "-c", JOB, site, str(JOB_SECONDS)],
                cwd=f"{self.asked['bench']}/sites",
            )
            lines = done.stdout.strip().splitlines() or ["no output"]
            state = json.loads(lines[-1]) if done.returncode == 0 else lines[-1]
            self.add(f"job of {site}", state == "finished", state)

    def database(self) -> None:
        """MariaDB takes writes, and has nothing of the fleet's."""
        with self.checking("MariaDB writes"), local() as here:
            self.add("MariaDB writes", *written(here))
            names = ", ".join(f"'{name}'" for name in ACCOUNTS)
            rows = here.rows(
                "SELECT CONCAT(User, '@', Host) AS who FROM mysql.global_priv"
                f" WHERE User IN ({names}) AND NOT JSON_VALUE(Priv, '$.account_locked') <=> 'true'"
            )
            left = [row["who"] for row in rows]
            left += ["database benchfleet"] if has_database(here, "benchfleet") else []
            self.add("MariaDB is clear", not left, ", ".join(left) or "no account or database")

    def host(self) -> None:
        """No file, unit, account or packet filter of the fleet is left."""
        # This run still has its lease, which a reboot removes.
        found = left_over(PLACES, (*self.kept, runs.FOLDER))
        self.add("files", not found, ", ".join(found) or "none but those that are kept")
        with self.checking("units"):
            listed = run_program(
                ["systemctl", "list-units", "--all", "--plain", "--no-legend", "benchfleet-*"]
            ).stdout
            names = [line.split()[0] for line in listed.splitlines() if line.split()]
            self.add("units", not names, ", ".join(names) or "none")
        with self.checking("packet filter"):
            tables = run_program(["nft", "list", "tables"]).stdout
            self.add("packet filter", "inet benchfleet" not in tables, "none of the fleet's")
        try:
            pwd.getpwnam(self.asked["seed_user"])
        except KeyError:
            self.add("account", True, "none")
        else:
            self.add("account", False, self.asked["seed_user"])

    def made(self) -> list[Check]:
        """All checks, in this order."""
        self.programs()
        for site in sites_of(self.asked["bench"], self.asked["user"]):
            self.site(site)
        self.database()
        self.host()
        return self.checks


def written(here: Server) -> tuple[bool, str]:
    """Whether a server takes writes, and what was seen. Raises pymysql's errors as MariaDBError."""
    if str(here.value("SELECT @@GLOBAL.read_only")) not in ("0", "OFF"):
        return False, "read_only is ON"
    here.run(f"CREATE DATABASE IF NOT EXISTS {SCRATCH}")
    try:
        here.run(f"CREATE TABLE {SCRATCH}.row (n INT) ENGINE=InnoDB")
        here.run(f"INSERT INTO {SCRATCH}.row VALUES (1)")
        rows = here.value(f"SELECT COUNT(*) FROM {SCRATCH}.row")
    finally:
        here.run(f"DROP DATABASE {SCRATCH}")
    return int(rows) == 1, "a row was written"
