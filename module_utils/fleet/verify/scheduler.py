"""Checks of the scheduler: no reporting node has one; on the primary its jobs run once."""

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
# A second scheduler would have run the job, too, within this time.
SETTLE_SECONDS = 5


def busiest_minute(times: Iterable[str]) -> tuple[str, int]:
    """The minute in which most of these times (``YYYY-MM-DD HH:MM:SS…``) fall, and how many do."""
    counts = Counter(moment[:16] for moment in times)
    return max(counts.items(), key=lambda entry: (entry[1], entry[0]), default=("", 0))


class NoScheduler(Host):
    """The check of a reporting node."""

    def check_no_scheduler(self) -> None:
        """Look at processes, supervisor's programs and the configuration in force."""
        running = schedulers(self.processes)
        name = Path(self.bench).name
        programs = doing(name, "schedule")(list(states(control("status"))))
        unpaused = [site for site in self.all_sites if not self.config(site).get("pause_scheduler")]
        saw = [f"process {p.pid}: {' '.join(p.words)}" for p in running]
        saw += [f"supervisor has {name}" for name in programs]
        saw += [f"pause_scheduler is not set for {site}" for site in unpaused]
        message = "; ".join(saw) or "no process, no program, pause_scheduler set"
        self.gathering.add("no_scheduler", not saw, message)


class JobChecks(Host):
    """The check of the primary, and the job for it."""

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
        """Wait until the scheduled job has run, and count its runs."""
        if not job:
            raise AssertionError(f"the scheduled job could not be made: {trouble or 'no answer'}")
        since = time.monotonic()
        # Without a scheduler only what is in the queue already can still run.
        limit = self.params["job_seconds"] if self.seen.get("schedulers") else SETTLE_SECONDS
        while not (found := self.runs(job)):
            if time.monotonic() - since > limit:
                scheduler = bool(self.seen.get("schedulers"))
                saw = f"no run in {limit} s" + ", and no scheduler on this host" * (not scheduler)
                self.gathering.add(
                    "job_once", False, saw, facts={"runs": 0, "scheduler": scheduler}
                )
                return
            time.sleep(1)
        time.sleep(SETTLE_SECONDS)
        found = self.runs(job) or found
        minute, most = busiest_minute(run["at"] for run in found)
        failed = [run["status"] for run in found if run["status"] not in ("Complete", "Start")]
        saw = (
            f"{len(found)} runs in {len(found)} minutes"
            if most == 1
            else f"{most} runs at {minute}"
        )
        saw += f", the first at {found[0]['at'][:19]}"
        if failed:
            saw += f", {len(failed)} of them failed"
        facts = {"runs": len(found), "in_one_minute": most, "failed": len(failed)}
        self.gathering.add("job_once", most == 1 and not failed, saw, facts=facts)
