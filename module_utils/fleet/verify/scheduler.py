"""Checks of the scheduler: none on a reporting node, and one on the primary whose jobs run once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..processes import schedulers
from ..supervisor.control import control, doing, states
from .host import Host

JOB_METHOD = "frappe.ping"
JOB_TYPE = "Scheduled Job Type"
JOB_LOG = "Scheduled Job Log"
# In this time a second scheduler, whose clock strikes with the first one's, has run the job, too.
SETTLE_SECONDS = 5


def busiest_minute(times: Iterable[str]) -> tuple[str, int]:
    """The minute in which most of these times (``YYYY-MM-DD HH:MM:SS…``) fall, and how many do."""
    counts = Counter(moment[:16] for moment in times)
    return max(counts.items(), key=lambda entry: (entry[1], entry[0]), default=("", 0))


class NoScheduler(Host):
    """The check of a reporting node."""

    def check_no_scheduler(self) -> None:
        """Processes, supervisor's programs and the configuration in force."""
        running = schedulers(self.processes)
        name = Path(self.bench).name
        programs = doing(name, "schedule")(list(states(control("status"))))
        unpaused = [site for site in self.all_sites if not self.config(site).get("pause_scheduler")]
        saw = [f"process {p.pid}: {' '.join(p.words)}" for p in running]
        saw += [f"supervisor has {name}" for name in programs]
        saw += [f"pause_scheduler is not set for {site}" for site in unpaused]
        words = "; ".join(saw) or "no process, no program, pause_scheduler set"
        self.gathering.add("no_scheduler", not saw, words)


class JobChecks(Host):
    """The check of the primary, and the job that it is made with."""

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
