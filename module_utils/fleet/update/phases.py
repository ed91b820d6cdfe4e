"""The phases of an update, as the module bench_update calls them: see class Update.

Here are the way back to the old commits and the end of an update; the other phases come from the
classes that Update is made of, a file each: migrate, code, judge, gates, backups, state.
"""

from __future__ import annotations

import os
import re
from typing import Any

from ..bench.look import installed_apps
from ..kept import tidy
from ..supervisor.control import doing, start, stop
from ..supervisor.programs import JOBS
from .gates import SWITCH
from .migrate import Migration
from .report import status_lines, status_of, way_lines
from .state import new_stamp


class Update(Migration):
    """One update of a bench; each of its phases is a method."""

    def back(self) -> dict[str, Any]:
        """Undo databases, code, requirements and assets. Users and jobs still wait.

        Returns {restored, not_restored}: {site: backup} each.
        """
        if not self.state:
            return {}
        touched = self.state.get("touched", [])
        if touched:
            self.save(back=True)
            stop(self.name, doing(self.name, *JOBS))
        else:
            self.save(coded=False)
        here = [site for site in touched if site in self.sites]
        for site in here:
            if site not in self.state.get("restored", []):
                self.restore(site)
                self.save(restored=[*self.state.get("restored", []), site])
        for app, commit in self.state["from"].items():
            self.check_out(app, commit)
        self.take_back()
        for site in here:
            self.run(["bench", "--site", site, "clear-cache"], f"clear-cache of {site}")
        if touched or self.state.get("renewed"):
            self.restart_web("restart_old")
        if not touched:
            start(self.name)
            # Users are let in next. If the same command then continues, it needs new backups, of
            # what they did.
            self.save(backups={}, stamp=new_stamp())
        backups = {site: self.state["backups"][site] for site in touched}
        restored = {site: file for site, file in backups.items() if site in here}
        gone = {site: file for site, file in backups.items() if site not in here}
        self.report.append("the old commits are checked out")
        self.report += [f"{site} was restored from {file}" for site, file in restored.items()]
        self.report += [
            f"{site} is not on the bench any more and was not restored; its backup is {file}"
            for site, file in gone.items()
        ]
        return {"restored": restored, "not_restored": gone}

    def forget(self) -> None:
        """End the update; remove what was kept for the way back, and backups that are too old."""
        self.drop_staging()
        if os.path.exists(self.file):
            os.unlink(self.file)
        self.state = {}
        gone = tidy(self.dumps(), self.params["keep"])
        self.report += [f"removed {path}, the backup of a former update" for path in gone]
        for site in set(self.logs()) - set(self.sites):
            os.unlink(self.log(site))

    def logs(self) -> list[str]:
        """Sites, former ones among them, that have a file of a migration's output."""
        names = [re.fullmatch(r"update-(.+)\.log", n) for n in os.listdir(self.params["state_dir"])]
        return [name.group(1) for name in names if name]

    def status(self) -> dict[str, Any]:
        """Where a failed update is, and how it can go on: {going, message, status}."""
        found = status_of(self.state, installed_apps(self.path), self.sites)
        found["maintenance"] = SWITCH if self.common().get(SWITCH) else ""
        reason = self.params["reason"] or "the update was not finished"
        lines = [reason, "", "State of the update:", *status_lines(found)]
        message = "\n".join([*lines, *way_lines(found["ways"])])
        return {"going": True, "message": message, "status": found}
