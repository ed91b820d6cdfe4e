"""The way back to the old commits, and the end of an update."""

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
from .state import new_stamp
from .words import ways_on, where_it_stands


class Update(Migration):
    """One update of a bench; each of its phases is a method."""

    def back(self) -> None:
        """Undo databases, code, requirements and assets. Users and jobs still wait."""
        if not self.state:
            return
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
            self.restart_web("restart with the old code")
        if not touched:
            start(self.name)
            # Users are let in next. Should the same command go on from there, it begins whole: with
            # a backup of what they did, beside this one.
            self.save(backups={}, stamp=new_stamp())
        self.words.append("the old commits are checked out")
        self.words += [
            f"{site} was restored from {self.state['backups'][site]}"
            if site in here
            else f"{site} is gone from the bench and was not restored; its backup is"
            f" {self.state['backups'][site]}"
            for site in touched
        ]

    def forget(self) -> None:
        """End the update; what nobody goes back to any more is removed."""
        self.drop_staging()
        if os.path.exists(self.file):
            os.unlink(self.file)
        self.state = {}
        gone = tidy(self.dumps(), self.params["keep"])
        self.words += [f"removed {path}, the backup of a former update" for path in gone]
        for site in set(self.logs()) - set(self.sites):
            os.unlink(self.log(site))

    def logs(self) -> list[str]:
        """Sites, former ones among them, of which such a file is there."""
        names = [re.fullmatch(r"update-(.+)\.log", n) for n in os.listdir(self.params["state_dir"])]
        return [name.group(1) for name in names if name]

    def tell(self) -> dict[str, Any]:
        """Where a failed update stands, and the ways on."""
        state = self.state
        lines = [self.params["reason"] or "the update was not finished", "", "Where it stands:"]
        lines += where_it_stands(state, installed_apps(self.path), self.sites)
        if self.common().get(SWITCH):
            lines.append(
                f"  {SWITCH} is on for all sites ({', '.join(self.sites)}): users see that page;"
                " jobs wait"
            )
        if drained := state.get("drained"):
            lines.append(f"  {', '.join(drained)}: out of service, programs stopped")
        lines += [f"  backup of {s}: {file}" for s, file in state.get("backups", {}).items()]
        return {"going": True, "told": "\n".join([*lines, *ways_on(state)])}
