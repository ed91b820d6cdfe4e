"""Updates the primary: jobs wait, users are out where needed, and sites are migrated."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from ..bench.account import BenchError, run_frappe
from ..bench.files import without_password
from ..redis.client import RedisError
from ..supervisor.control import RUNNING, doing, programs, stop
from ..supervisor.programs import JOBS
from .code import Code
from .report import MIGRATION, last_patch, outcome, outcome_lines

LAST_LINES = 25


class Migration(Code):
    """Migrates the sites."""

    def quiet(self) -> None:
        """Hold new jobs, and wait for those that run; users notice nothing yet."""
        if self.state.get("coded"):
            return
        with self.phase("jobs"):
            self.suspend_jobs()
        self.save()

    def code(self) -> None:
        """Put the new code in place; if sites are to be migrated, users are out from here on."""
        if self.state.get("coded"):
            return
        self.suspend_jobs()
        stop(self.name, doing(self.name, *JOBS))
        if self.migrates():
            self.code_while_closed()
            self.save(coded=True)
        else:
            self.save(renewed=True)
            self.restart_web("restart_waiting", self.bring_code, self.see_answers)
            self.settle()
            self.save(coded=True, opened=True, restarted=True)

    def code_while_closed(self) -> None:
        """Close the sites, make backups, and put the new code in place."""
        backed_up = bool(self.state.get("backups"))
        with self.phase("close"):
            self.close()
            if not backed_up:
                self.wait_for_calls()
            # A worker that was waiting takes what the last calls queue, in spite of the switch.
            self.wait_for_jobs()
        if not backed_up:
            with self.phase("backup"):
                self.back_up()
        with self.phase("place"):
            self.bring_code()
            self.settle()

    def see_answers(self) -> None:
        """Clear the sites' caches, and wait until each site answers with the new code."""
        for site in self.sites:
            arguments = ["--site", site, "clear-cache"]
            self.frappe(arguments, " ".join(arguments))
        self.wait_until_it_listens()
        self.wait_for_answer(200)

    def migrate(self) -> None:
        """Bring the new code, migrate each site, restart all programs, and let users in.

        In one phase, so that users are not out for further steps of Ansible's.
        """
        self.code()
        if not self.migrates():
            return
        # The code may have been put in place by a run that was killed.
        self.suspend_jobs()
        stop(self.name, doing(self.name, *JOBS))
        if self.without_backup():
            self.back_up()
        migrated = self.state.get("migrated", [])
        for site in self.sites:
            if site in migrated:
                continue
            touched = self.state.get("touched", [])
            self.save(touched=touched if site in touched else [*touched, site], restarted=False)
            with self.phase(MIGRATION, site):
                self.migrate_site(site)
            migrated = [*migrated, site]
            self.save(migrated=migrated)
        if not self.state.get("restarted"):
            self.restart_web("restart", then=self.let_in)
            self.save(restarted=True)
            try:
                if not self.state.get("former"):
                    self.wait_for_answer(200)
            except BenchError:
                self.switch(1)
                raise

    def migrate_site(self, site: str) -> None:
        """Frappe's own migration of one site; its output is kept in a file."""
        # Modules that an app has since this commit are not in the cache yet.
        done = run_frappe(
            self.path,
            self.user,
            self.environment,
            ["--site", site, "migrate"],
            modules_anew=True,
            timeout=24 * 3600,
        )
        log = self.log(site)
        with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
            out.write(done.stdout)
        if done.returncode != 0:
            patch = last_patch(done.stdout)
            last = without_password(done.stdout).splitlines()[-LAST_LINES:]
            tail = "\n".join(f"    {line}" for line in last)
            raise BenchError(
                f"the migration of {site} failed with exit status {done.returncode}"
                f"{f', in the patch {patch}' if patch else ''}; the end of its output ({log}):\n"
                f"{tail}"
            )

    def finish(self) -> dict[str, Any]:
        """Let users and jobs in, and try each site; all are closed again when one does not answer.

        Returns {outcome}, {} where that was done before.
        """
        if self.state.get("finished"):
            return {}
        down = [name for name, state in programs(self.name).items() if state != RUNNING]
        if down:
            raise BenchError(
                f"these programs do not run: {', '.join(down)}. Find the cause in their logs, and"
                " run the same command again"
            )
        # From here on users may write, and no backup has that.
        self.save(opened=True)
        try:
            self.open()
        except (BenchError, OSError, RedisError):
            self.switch(1)
            with suppress(OSError, RedisError):
                self.suspend()
            raise
        self.save(finished=True)
        self.drop_staging()
        took = outcome(self.state)
        self.report += outcome_lines(took)
        return {"outcome": took}
