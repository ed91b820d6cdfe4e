#!/usr/bin/python
"""Prove on the primary what its bench, its Redis and its scheduler do."""

from __future__ import annotations

import contextlib
import json
import os
import time
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ansible.module_utils.fleet.bench.jobs_tool import ask
from ansible.module_utils.fleet.foreign import replace, unlink
from ansible.module_utils.fleet.mariadb.server import Server, local
from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.nginx.certificates import Certificates, is_public, read_asked
from ansible.module_utils.fleet.own_certificates import ends_soon, parse_der
from ansible.module_utils.fleet.redis.store import (
    parse_info,
    room_problems,
    safety_problems,
    settings,
)
from ansible.module_utils.fleet.redis.users import INSTANCES, conf_of, faults, file_of, redis_admin
from ansible.module_utils.fleet.sites.folders import own_account, read_state, served_names
from ansible.module_utils.fleet.verify.catalogue import busiest_minute, in_words
from ansible.module_utils.fleet.verify.host import ARGUMENTS, HostChecks
from ansible.module_utils.fleet.verify.look import (
    Visitor,
    certificate_fault,
    first_certificate,
    listening,
    registered_workers,
    router_port,
    shown_certificate,
)

DOCUMENTATION = r"""
module: check_primary
short_description: Checks of verify that are made on the primary
description:
  - Never fails because something is red; the results say so.
  - Phase C(begin) puts a file and a scheduled job into the first site, C(finish) makes the checks
    and takes both away again. What was put where is remembered in C(state_dir), so that the next
    verify cleans up after one that was interrupted.
  - Arguments carry passwords; use C(no_log).
options:
  phase: {description: Which half., choices: [begin, finish], required: true}
  state_dir: {description: Where what was made is remembered., type: path, required: true}
  begun: {description: What phase begin returned., type: dict, default: {}}
  jobs:
    description: "Where the placement of jobs is, and the settings of the queue's Redis,
      {package_dir, settings, redis}."
    type: dict
    required: true
  certificates:
    description: Which certificates the router is to show, see fleet/nginx/certificates.py.
    type: dict
    default: {}
  job_seconds: {description: How long a scheduled job is waited for., type: int}
extends_documentation_fragment: checked_host
"""

EXAMPLES = r"""
- name: Site has a new file and a new scheduled job
  check_primary:
    phase: begin
    about: "{{ host }}"
    calls: "{{ calls }}"
    jobs: "{{ jobs }}"
    state_dir: "{{ fleet_state_dir }}/verify"
  no_log: true
"""

JOB_METHOD = "frappe.ping"
JOB_TYPE = "Scheduled Job Type"
JOB_LOG = "Scheduled Job Log"
# In this time a second scheduler, whose clock strikes with the first one's, has run the job, too.
SETTLE_SECONDS = 5
# A worker that is at leisure does a job at once; one that has others to do first is no fault.
TRY_SECONDS = 15
# A verify is never this long under way: what it left is nobody's any more.
ABANDONED_SECONDS = 1800


class Primary(HostChecks):
    """The primary's checks."""

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params)
        self.site: str = self.sites[0]
        self.file_name = f"fleet-verify-{self.params['token']}.txt"
        self.state_file = f"{self.params['state_dir']}/{self.params['token']}.json"

    def visitor(self, site: str) -> Visitor:
        """Somebody signed in at the router."""
        router = self.params["router"]
        port, secure = router_port(router, site)
        visitor = Visitor(router["address"], port, site, secure)
        visitor.sign_in(self.params["user"], self.params["passwords"][site])
        return visitor

    @contextlib.contextmanager
    def of_site(self, site: str) -> Iterator[Server]:
        """A connection of a site's own account to its database."""
        config = self.config(site)
        who = (*own_account(config), str(config["db_name"]))
        with local() as server, server.signed_in(*who) as theirs:
            if theirs is None:
                raise AssertionError(f"MariaDB refuses the account of {site}, {who[0]}")
            yield theirs

    # What is there for the time of the verify

    def remember(self, made: dict[str, Any]) -> None:
        """Write down what has been made, or that nothing is left of it."""
        if not made:
            Path(self.state_file).unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                Path(self.params["state_dir"]).rmdir()
            return
        Path(self.params["state_dir"]).mkdir(mode=0o755, exist_ok=True)
        temporary = Path(f"{self.state_file}.new")
        temporary.write_text(json.dumps(made), encoding="utf-8")
        temporary.replace(self.state_file)

    def remembered(self) -> dict[str, Any]:
        """What the first phase made."""
        try:
            return dict(json.loads(Path(self.state_file).read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    def clear_abandoned(self) -> None:
        """Take away what interrupted verifies left."""
        for path in Path(self.params["state_dir"]).glob("*.json"):
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                left = json.loads(path.read_text(encoding="utf-8"))
                self.take_away(left)
                path.unlink()

    def put_file(self) -> float:
        """Put a file into the first site's public files; returns when, in seconds of the epoch."""
        path = f"{self.bench}/sites/{self.site}/public/files/{self.file_name}"
        replace(path, f"{self.params['token']}\n".encode(), 0o644)
        return time.time()

    def make_job(self) -> str:
        """Make a scheduled job that is due each minute; returns its name."""
        fields = {"method": JOB_METHOD, "frequency": "Cron", "cron_format": "* * * * *"}
        with self.visitor(self.site) as visitor:
            path = f"/api/resource/{JOB_TYPE}"
            answer = visitor.call("POST", path, values={**fields, "create_log": 1})
        name = (answer.body.get("data") or {}).get("name")
        if answer.status != 200 or not name:
            raise AssertionError(f"the primary does not make a {JOB_TYPE}: {answer.said()}")
        return str(name)

    def take_away(self, made: dict[str, Any]) -> None:
        """Remove what was made. Raises the first error after all of it was tried."""
        errors: list[Exception] = []

        def attempt(function: Any, *words: str) -> None:
            try:
                function(*words)
            except Exception as error:
                errors.append(error)

        for site, place in made.items():
            file = Path(self.bench, "sites", site, "public/files", place.get("file") or "-")
            attempt(unlink, str(file))
            if not (place.get("todo") or place.get("job")):
                continue
            attempt(self.take_documents, site, place)
        if errors:
            raise errors[0]

    def take_documents(self, site: str, place: dict[str, str]) -> None:
        """Remove what was made through the site itself; the job first, which runs each minute."""
        with self.visitor(site) as visitor:
            if place.get("job"):
                self.remove_job(visitor, place["job"])
            if place.get("todo"):
                self.remove(visitor, "ToDo", place["todo"])

    def remove_job(self, visitor: Visitor, job: str) -> None:
        """Remove the job and its logs, those of a run under way included."""
        self.remove(visitor, JOB_TYPE, job)
        with self.of_site(visitor.site) as server:
            logged = f"SELECT name FROM `tab{JOB_LOG}` WHERE scheduled_job_type = %s"
            for row in server.rows(logged, (job,)):
                self.remove(visitor, JOB_LOG, row["name"])

    def remove(self, visitor: Visitor, doctype: str, name: str) -> None:
        """Remove a document, and the copy that Frappe keeps of a removed one."""
        answer = visitor.call("DELETE", f"/api/resource/{doctype}/{name}")
        if answer.status not in (200, 202, 404):
            raise AssertionError(f"{doctype} {name} could not be removed: {answer.said()}")
        filters = json.dumps([["deleted_doctype", "=", doctype], ["deleted_name", "=", name]])
        query = urllib.parse.urlencode({"filters": filters})
        # The demo framework keeps none and knows no such DocType.
        for copy in visitor.call("GET", f"/api/resource/Deleted Document?{query}").rows:
            visitor.call("DELETE", f"/api/resource/Deleted Document/{copy['name']}")

    def begin(self) -> dict[str, Any]:
        """Put the file and the job into the first site; says in ``trouble`` what did not work."""
        trouble: dict[str, str] = {}
        seen: dict[str, Any] = {"put_at": None, "done": None, "trouble": trouble}
        made: dict[str, Any] = {self.site: {"file": self.file_name}}
        steps = (
            ("clear", self.clear_abandoned),
            ("state", lambda: self.remember(made)),
            ("file", lambda: seen.update(put_at=self.put_file())),
            ("done", lambda: seen.update(done=self.jobs_done())),
            ("job", lambda: made[self.site].update(job=self.make_job())),
            ("state", lambda: self.remember(made)),
        )
        for name, step in steps:
            try:
                step()
            except Exception as error:
                trouble[name] = in_words(error)
        return seen

    # The checks

    def check_certificates(self) -> None:
        """Ask for each site by each of its names, as a browser does."""
        router, table = self.params["router"], Certificates.by(self.params["certificates"])
        state_dir = str(Path(self.params["state_dir"]).parent)
        failed = read_asked(state_dir)["failed"]
        faults, good = [], []
        state = read_state(state_dir)
        for site, further in served_names(state).items():
            for name in filter(is_public, (site, *further)):
                pair = table.of(site, name)
                if pair is None:
                    if table.acme:
                        why = failed.get(name, {"why": "the CA was not asked yet"})["why"]
                        faults.append(f"{name}: served by http, for it has no certificate: {why}")
                    continue
                where = (router["address"], int(router["https"]), name)
                shown = shown_certificate(*where)
                fault = certificate_fault(shown, *where)
                if fault := fault or ends_soon(parse_der(shown), time.time()):
                    faults.append(f"{name}: {fault}")
                elif shown != first_certificate(pair[0]):
                    faults.append(f"{name}: shown is another certificate than that of {pair[0]}")
                else:
                    good.append(name)
        if not faults and not good:
            self.gathering.skip("certificates", "not applicable: the sites are served by http")
            return
        self.gathering.add(
            "certificates", not faults, "; ".join(faults) or f"valid for {', '.join(good)}"
        )

    def finish(self) -> None:
        """Make the checks, and take away what the first phase put there."""
        made = self.remembered()
        trouble = self.params["begun"].get("trouble") or {}
        attempt = self.gathering.attempt
        try:
            self.look()
            attempt("redis_addresses", self.check_redis_addresses)
            attempt("redis_rights", self.check_redis_rights)
            attempt("save", lambda: self.check_save(made))
            job = made.get(self.site, {}).get("job")
            attempt("job_once", lambda: self.check_job(job, trouble.get("job")))
            attempt("certificates", self.check_certificates)
            attempt("queue", self.check_queue)
            attempt("waiting", self.check_waiting)
            attempt(("queue_safe", "queue_room"), self.check_queue_store)
            attempt((), self.note_placed)
        finally:
            try:
                self.take_away(made)
                self.remember({})
            except Exception as error:
                self.seen["left"] = in_words(error)

    def workers_known(self) -> list[dict[str, Any]]:
        """Background workers of all benches, as the shared Redis has them."""
        with redis_admin(self.params["jobs"]["redis"]) as redis:
            return registered_workers(redis)

    def jobs_done(self) -> dict[str, int]:
        """Jobs that each worker has done since it started."""
        return {worker["name"]: worker["done"] for worker in self.workers_known()}

    def check_redis_addresses(self) -> None:
        """Addresses on which Redis listens, from the kernel's tables."""
        ports = (self.ports["redis_cache"], self.ports["redis_queue"])
        found = listening(ports)
        loopback = {"127.0.0.1", "::1"}
        allowed = {*loopback, self.params["lan_ip"]}
        good = all(
            self.params["lan_ip"] in addresses and set(addresses) <= allowed
            for addresses in found.values()
        )
        saw = "; ".join(
            f"port {port}: {', '.join(addresses) or 'nobody listens'}"
            for port, addresses in found.items()
        )
        self.gathering.add(
            "redis_addresses", good, saw, wanted=f"127.0.0.1 and {self.params['lan_ip']} alone"
        )

    def check_redis_rights(self) -> None:
        """Redis' users, and what it has refused to the benches."""
        folder = os.path.dirname(self.params["jobs"]["redis"])
        found = []
        for instance in INSTANCES:
            acl = Path(file_of(folder, instance)).read_text(encoding="utf-8")
            with redis_admin(conf_of(folder, instance)) as redis:
                found += [f"{instance}: {words}" for words in faults(redis, acl)]
        saw = "; ".join(found) or "each bench has a user of its own, and nothing was refused to it"
        self.gathering.add("redis_rights", not found, saw)

    def check_save(self, made: dict[str, Any]) -> None:
        """Save a ToDo on each site through the router, and remove it."""
        saw, good = [], True
        for site in self.sites:
            with self.visitor(site) as visitor:
                bench, rows = self.save(visitor, made)
            good = good and bench == self.params["host"] and rows == 1
            there = "its row is on this database" if rows else "its row is NOT on this database"
            saw.append(f"{site}: answered by {bench or '(no header)'}, {there}")
        self.gathering.add("save", good, "; ".join(saw))

    def save(self, visitor: Visitor, made: dict[str, Any]) -> tuple[str, int]:
        """Save a ToDo and remove it; returns who answered, and how many rows of it were here."""
        site = visitor.site
        words = f"fleet-verify-{self.params['token']}"
        # Frappe lets nobody but the Administrator remove a ToDo that he neither assigned nor was
        # given.
        values = {"description": words, "assigned_by": visitor.user()}
        answer = visitor.call("POST", "/api/resource/ToDo", values=values)
        name = str((answer.body.get("data") or {}).get("name") or "")
        if answer.status != 200 or not name:
            raise AssertionError(f"{site} refuses to save a ToDo: {answer.said()}")
        made.setdefault(site, {})["todo"] = name
        self.remember(made)
        with self.of_site(site) as server:
            rows = server.value("SELECT COUNT(*) FROM tabToDo WHERE name = %s", (name,))
        self.remove(visitor, "ToDo", name)
        del made[site]["todo"]
        return answer.bench, int(rows)

    def runs(self, job: str) -> list[dict[str, Any]]:
        """The logged runs of a job."""
        with self.of_site(self.site) as server:
            return server.rows(
                "SELECT name, CAST(creation AS CHAR) AS at, status"
                f" FROM `tab{JOB_LOG}` WHERE scheduled_job_type = %s"
                " ORDER BY creation",
                (job,),
            )

    def check_job(self, job: str | None, trouble: str | None) -> None:
        """Wait until the scheduled job has run, and count how often it did."""
        if not job:
            raise AssertionError(f"the scheduled job could not be made: {trouble or 'no answer'}")
        since = time.monotonic()
        # Without a scheduler nothing is worth waiting for, but what is in the queue already.
        limit = self.params["job_seconds"] if self.seen.get("schedulers") else SETTLE_SECONDS
        while not (found := self.runs(job)):
            if time.monotonic() - since > limit:
                words = "" if self.seen.get("schedulers") else ", and no scheduler on this host"
                self.gathering.add("job_once", False, f"no run in {limit} s{words}")
                return
            time.sleep(1)
        time.sleep(SETTLE_SECONDS)
        found = self.runs(job) or found
        minute, most = busiest_minute(run["at"] for run in found)
        failed = [run["status"] for run in found if run["status"] not in ("Complete", "Start")]
        saw = f"{len(found)} runs in as many minutes" if most == 1 else f"{most} runs at {minute}"
        saw += f", the first at {found[0]['at'][:19]}"
        if failed:
            saw += f", {len(failed)} of them failed"
        self.gathering.add("job_once", most == 1 and not failed, saw)

    def check_queue(self) -> None:
        """Workers registered in the shared Redis, and jobs they did since the first phase."""
        prefix = f"{self.common().get('bench_id')}:"
        known = self.workers_known()
        strange = [
            f"a worker of {worker['host']} serves {', '.join(worker['queues'])}"
            for worker in known
            if not all(queue.startswith(prefix) for queue in worker["queues"])
        ]
        before = self.params["begun"].get("done")
        done = None
        if before is not None:
            # Worker by worker: one that ended without a word stays registered for a while.
            done = sum(worker["done"] - before.get(worker["name"], 0) for worker in known)
        hosts = sorted({worker["host"] for worker in known if worker["host"]})
        saw = f"{len(known)} workers of {', '.join(hosts) or 'no host'} under {prefix[:-1]}, "
        saw += f"{done} jobs done meanwhile" if done is not None else "jobs could not be counted"
        good = bool(known) and not strange and bool(done and done > 0)
        self.gathering.add("queue", good, "; ".join([saw, *strange]))

    def ask_jobs(self, command: str, *words: str) -> dict[str, Any]:
        """What the bench's own Python says about its jobs."""
        where = self.params["jobs"]
        words = (command, where["settings"], *words)
        user = self.params["user_of_bench"]
        return dict(ask(self.bench, user, where["package_dir"], *words, timeout=120))

    def check_waiting(self) -> None:
        """Queues that nobody serves although jobs are placed there, or wait there."""
        told = self.ask_jobs("show")
        placed = {entry["queue"] for entry in told["placement"]}
        left = [
            f"{row['queue']}: {row['length']} jobs, {row['state']}"
            for row in told["queues"]
            if row["state"] != "served"
            and ((row["queue"] in placed and row["state"] != "drained") or row["length"])
        ]
        saw = f"{len(told['queues'])} queues, {sum(row['length'] for row in told['queues'])} jobs"
        self.gathering.add("waiting", not left, "; ".join(left) or saw)

    def check_queue_store(self) -> None:
        """What the queue's Redis says of its memory, and of what it writes down."""
        with redis_admin(self.params["jobs"]["redis"]) as redis:
            info = parse_info(redis.ask("INFO", "memory") + redis.ask("INFO", "persistence"))
        conf = Path(self.params["jobs"]["redis"]).read_text(encoding="utf-8")
        problems = safety_problems(info, settings(conf)["dir"])
        saw = "; ".join(problems) or "append-only, its last writes went well"
        self.gathering.add("queue_safe", not problems, saw)
        problems = room_problems(info)
        used, limit = (int(info[name]) // 1024**2 for name in ("used_memory", "maxmemory"))
        saw = "; ".join(problems) or f"{used} of {limit} MiB"
        self.gathering.add("queue_room", not problems, saw)

    def note_placed(self) -> None:
        """Where a job of each placed queue is done, for the comparison with the inventory."""
        self.seen["tried"] = self.ask_jobs("try", self.site, str(TRY_SECONDS))["tried"]


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            **ARGUMENTS,
            "phase": {"type": "str", "choices": ["begin", "finish"], "required": True},
            "state_dir": {"type": "path", "required": True},
            "begun": {"type": "dict", "default": {}},
            "jobs": {"type": "dict", "required": True},
            "certificates": {"type": "dict", "default": {}},
            "job_seconds": {"type": "int"},
        }
    )
    primary = Primary(module.params)
    if module.params["phase"] == "begin":
        module.exit_json(changed=False, begun=primary.begin())
    try:
        primary.finish()
    except Exception as error:
        primary.seen["trouble"] = in_words(error)
    module.exit_json(changed=False, checks=primary.gathering.results, seen=primary.seen)


if __name__ == "__main__":
    main()
