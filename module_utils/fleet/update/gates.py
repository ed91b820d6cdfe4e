"""Holds jobs (RQ's switch), calls (at the router) and users (maintenance_mode) during an update."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from typing import Any

from ..bench.account import BenchError, read_json
from ..bench.look import app_version
from ..calls import held, listens
from ..foreign import replace
from ..http import Visitor
from ..redis.client import Redis, job_name
from ..supervisor.control import RUNNING, control, control_each, doing, programs, start, together
from .state import State

# From Frappe 16 on, a process reads a changed configuration after up to a minute.
KEEPS_CONFIG = 16
SETTLE_SECONDS = 90
QUIET_LOOKS, LOOK_SECONDS = 3, 0.3
# How long the web workers may take until they listen.
START_SECONDS = 60
# Processes of the pool for reports; see roles/bench_processes.
POOL_WORKERS = 2
# Longer than gunicorn's own limit for a call.
CALL_SECONDS = 150
SUSPENDED = "rq:suspended"
# A worker reports every 2 s; see roles/jobs. One that is silent for longer does not run.
SILENT_SECONDS = 10.0
SWITCH = "maintenance_mode"


def busy_workers(redis: Redis, bench_id: str) -> list[str]:
    """Jobs of a fleet's benches that run now, with the hosts on which they run."""
    beats = redis.ask("HGETALL", f"{bench_id}:fleet:beats") or []
    now = float(redis.ask("TIME")[0])
    busy = []
    for worker, beat in zip(beats[::2], beats[1::2], strict=True):
        at, _, node = beat.partition(" ")
        if now - float(at) > SILENT_SECONDS:
            continue
        state, job = redis.ask("HMGET", f"rq:worker:{worker}", "state", "current_job")
        if state == "busy" or job:
            text = redis.ask("HGET", f"rq:job:{job}", "description") if job else None
            busy.append(f"{job_name(text or job or 'a job')} on {node}")
    return busy


class Gates(State):
    """Holds jobs, calls and users, and lets them in again."""

    def suspend_jobs(self) -> None:
        """Have no worker of any host take a job, by RQ's own switch; the processes stay."""
        if not self.state.get("suspended"):
            with self.redis("redis_queue") as redis:
                self.save(suspended=True, held=bool(redis.ask("EXISTS", SUSPENDED)))
        self.suspend()
        self.wait_for_jobs()

    def suspend(self) -> None:
        """Set RQ's switch; it survives a power cut, after which workers start by themselves."""
        with self.redis("redis_queue") as redis:
            redis.ask("SET", SUSPENDED, "1")
            redis.write_down()

    def wait_for_jobs(self) -> None:
        """Wait for the jobs that run; BenchError when one runs for too long.

        A worker that was waiting for a job when the switch was set may still take one, so the
        workers are read more than once.
        """
        since, quiet = time.monotonic(), 0
        with self.redis("redis_queue") as redis:
            while quiet < QUIET_LOOKS:
                busy = busy_workers(redis, self.common()["bench_id"])
                quiet = 0 if busy else quiet + 1
                if busy and time.monotonic() - since > self.params["job_seconds"]:
                    raise BenchError(
                        f"after {self.params['job_seconds']} s (update_job_seconds) these jobs"
                        f" still run: {'; '.join(busy)}. They must end before the code changes."
                        " Wait for them, or set a larger update_job_seconds, and run the same"
                        " command again; `./fleet jobs` shows the queues"
                    )
                time.sleep(LOOK_SECONDS)

    def open(self) -> None:
        """Let users and jobs in, and see that each site answers."""
        if "former" in self.state:
            self.switch(self.state["former"])
            if not self.state["former"]:
                self.wait_for_answer(200)
        if self.state.get("held"):
            self.report.append(
                f"jobs still wait: {SUSPENDED}, as `rq suspend` sets it, was in the queue's Redis"
                " before the update; `rq resume` lets them run"
            )
        elif self.state.get("suspended"):
            with self.redis("redis_queue") as redis:
                redis.ask("DEL", SUSPENDED)
                # Else a power cut could bring the switch back, and no job would run any more.
                redis.write_down()

    def close(self) -> None:
        """Users of all sites see the maintenance page; waits until every web worker shows it."""
        if "former" not in self.state:
            self.save(former=self.common().get(SWITCH))
        for site in self.sites:
            # `set-maintenance-mode off` leaves a 0 here, which would keep the site open.
            if not read_json(self.folders.config(site)).get(SWITCH, 1):
                argv = ["bench", "--site", site, "set-config", SWITCH, "None"]
                self.run(argv, f"taking {SWITCH} out of the configuration of {site}")
        if not self.state.get("closed"):
            self.save(closed=time.time())
        self.switch(1)
        if int((app_version(self.path, "frappe") or "0").split(".")[0]) >= KEEPS_CONFIG:
            known = list(programs(self.name))
            control("signal", "HUP", *together(doing(self.name, "web")(known), known))
        self.wait_for_answer(503)

    def switch(self, value: Any) -> None:
        """Set maintenance_mode for all sites; None takes the key out."""
        path = f"{self.path}/sites/common_site_config.json"
        content = read_json(path, follow=False)
        if content.get(SWITCH) == value and (value is not None or SWITCH not in content):
            return
        content[SWITCH] = value
        if value is None:
            del content[SWITCH]
        text = json.dumps(content, indent=1, sort_keys=True)
        replace(path, text.encode(), owner=self.owner())

    def wait_for_calls(self) -> None:
        """Wait for the calls that began before the sites were closed; none writes after that.

        Frappe has a connection for the time of a call; an idle one does not count.
        """
        names = ", ".join(f"'{self.database(site)}'" for site in self.sites) or "''"
        question = (
            "SELECT CONCAT(p.user, '@', p.host, ': ', p.command)"
            " FROM information_schema.PROCESSLIST p LEFT JOIN information_schema.INNODB_TRX t"
            " ON t.trx_mysql_thread_id = p.id"
            f" WHERE p.db IN ({names}) AND (p.command <> 'Sleep' OR t.trx_id IS NOT NULL)"
        )
        deadline = time.monotonic() + CALL_SECONDS
        while working := self.mariadb(question):
            if time.monotonic() > deadline:
                raise BenchError(
                    f"{CALL_SECONDS} s after the sites were closed, these connections still use"
                    f" their databases: {'; '.join(working.splitlines())}. See what they do with"
                    " `SHOW PROCESSLIST` on the primary, end them, and run the same command again"
                )
            time.sleep(0.5)

    def serving_ports(self) -> list[tuple[int, int]]:
        """Ports at which this host serves the sites, and the number of processes behind each.

        While the nodes are drained, reports go to the pool.
        """
        ports = [(self.params["web_port"], self.params["web_workers"])]
        running = [name for name, state in programs(self.name).items() if state == RUNNING]
        if f"{self.name}-report-web" in (name.split(":")[0] for name in running):
            ports.append((self.params["report_port"], POOL_WORKERS))
        return [(port, processes) for port, processes in ports if processes]

    def wait_for_answer(self, status: int) -> None:
        """Wait until every site answers with this status, from each web process."""
        ports = self.serving_ports()
        deadline = time.monotonic() + SETTLE_SECONDS
        for site in self.sites:
            own = read_json(self.folders.config(site))
            if {**self.common(), **own}.get("allow_reads_during_maintenance"):
                # It answers in maintenance, too.
                continue
            if status == 200 and own.get(SWITCH):
                # It is in maintenance by its own configuration, and stays so.
                continue
            for port, processes in ports:
                self.wait_at(port, processes, site, status, deadline)

    def wait_at(self, port: int, processes: int, site: str, status: int, deadline: float) -> None:
        """Wait until one site answers with this status at one port."""
        visitor = Visitor("127.0.0.1", port, site, timeout=20)
        good, saw = 0, "no answer"
        while good < 3 * processes:
            try:
                answer = visitor.call("GET", "/api/method/ping")
                saw = answer.said()
                good = good + 1 if answer.status == status else 0
            except (OSError, http.client.HTTPException) as error:
                saw, good = str(error), 0
            if not good:
                if time.monotonic() > deadline:
                    raise BenchError(
                        f"{site} does not answer {status} on port {port} within"
                        f" {SETTLE_SECONDS} s; the last answer was: {saw}"
                    )
                time.sleep(0.5)

    def restart_web(
        self,
        phase: str,
        between: Callable[[], None] | None = None,
        then: Callable[[], None] | None = None,
    ) -> None:
        """Restart what serves users, while their calls wait at the router.

        phase: its id in report.PHASES. between: what is done while nothing runs. then: what is
        done once all is started, while calls still wait.
        """
        known = list(programs(self.name))
        serving = together(doing(self.name, "web")(known), known)
        pool = self.params["report_port"]
        hold = f"{self.params['state_dir']}/hold"
        waits = held(hold, "127.0.0.1", self.params["web_port"], pool=pool)
        with self.phase(phase), waits:
            control_each("stop", serving)
            if between:
                between()
            control_each("start", serving)
            if then:
                then()
            self.wait_until_it_listens()
        control_each("restart", doing(self.name, "socketio")(known))

    def wait_until_it_listens(self) -> None:
        """Wait until the web workers listen; BenchError when they do not."""
        deadline = time.monotonic() + START_SECONDS
        while self.params["web_workers"] and not listens("127.0.0.1", self.params["web_port"]):
            if time.monotonic() > deadline:
                raise BenchError(
                    f"the web workers do not listen on port {self.params['web_port']} within"
                    f" {START_SECONDS} s; the cause is at the end of {self.path}/logs/web.error.log"
                )
            time.sleep(0.05)

    def let_in(self) -> None:
        """Start all programs with the new code, and let users in.

        No call has come yet, so no process has cached that the sites are closed.
        """
        self.wait_until_it_listens()
        start(self.name)
        # From here on users may write, and no backup has that.
        self.save(opened=True, out=round(time.time() - self.state.pop("closed", time.time())))
        self.switch(self.state.get("former"))
