"""The new code of an update: made beside the running bench, then put in place."""

from __future__ import annotations

import os
from contextlib import suppress

from ..bench.account import BenchError
from ..bench.look import drop_git_locks, git, installed_apps
from . import problems
from .gates import Gates
from .judge import Judge
from .problems import UpdateRefusedError
from .state import new_stamp


class Code(Judge, Gates):
    """Makes the new code, and puts it in place."""

    def begin(self) -> None:
        """Make the new code beside the running bench, and note the update."""
        judged = self.judge()
        if self.state:
            self.retarget({app: judged["to"][app] for app in self.state["to"]})
            self.prepare()
            self.save()
            return
        self.state = {key: judged[key] for key in ("from", "to")}
        # Noted once it is complete: the next one removes what an interrupted one has left.
        self.prepare()
        self.save(
            stamp=new_stamp(),
            drained=self.params["drained"],
            asked=self.params["commits"],
        )

    def retarget(self, to: dict[str, str]) -> None:
        """Set other commits for an unfinished update: code and migrations are done again."""
        if to == self.state["to"]:
            return
        tried = self.state.get("tried", {})
        for app, commit in self.state["to"].items():
            tried.setdefault(app, []).append(commit)
        asked = {**self.state["asked"], **self.params["commits"]}
        # Users have written since the backups were made, so new ones are made for these commits.
        anew = {"backups": {}, "stamp": new_stamp()} if self.state.get("opened") else {}
        migrates = self.migrates() or self.reasons(self.state["from"], to) != []
        self.save(
            to=to, asked=asked, tried=tried, coded=False, migrated=[], migrates=migrates, **anew
        )

    def prepare(self) -> None:
        """Make code, environment and web assets beside the running bench, unless they are there."""
        made, to = self.state.get("made", {}), self.state["to"]
        if self.state.get("coded") or self.state.get("finished"):
            return
        known = self.state.get("items", {})
        if made.get("for") == to and (known or self.staging.is_whole(made["items"])):
            return
        if known and not self.state.get("touched") and not self.state.get("opened"):
            self.take_back()
        here = {app: apps["commit"] for app, apps in installed_apps(self.path).items()}
        old = self.state["from"]
        moved = [app for app, commit in to.items() if {old[app], here.get(app)} != {commit}]
        try:
            with self.phase("code"):
                self.staging.make_code(to, moved)
            if self.params["build"]:
                with self.phase("assets"):
                    self.staging.make_assets()
            items = self.staging.end(moved, self.params["build"])
            self.judge_owners(items)
        except BaseException:
            with suppress(BenchError):
                self.staging.drop(to, keep_old=True)
            raise
        self.state["made"] = {"for": to, "items": items}
        self.state.setdefault("migrates", self.reasons(self.state["from"], to) != [])

    def judge_owners(self, items: list[str]) -> None:
        """UpdateRefusedError for folders that the bench's account cannot move away."""
        mine = os.stat(self.path).st_uid
        folders = [f"{self.path}/{item}" for item in items]
        wrong = [f for f in folders if os.path.isdir(f) and os.lstat(f).st_uid != mine]
        if wrong:
            found = problems.FOLDER_OWNER.found(
                folders=wrong[:5], user=self.user, path=" ".join(wrong[:5])
            )
            raise UpdateRefusedError([found])

    def bring_code(self) -> None:
        """Put code, environment and web assets in place."""
        for app, commit in self.state["to"].items():
            self.reset(app, commit)
        known = self.state.get("items", {})
        items = self.state.get("made", {}).get("items", [])
        replaced = {item: os.path.lexists(f"{self.path}/{item}") for item in items}
        # If an earlier try has replaced something, that is what the way back restores.
        self.save(items={**replaced, **known})
        self.staging.put(items)
        self.forget_asset_list()

    def take_back(self) -> None:
        """Put environment and web assets of the old code back in place."""
        self.staging.take(self.state.get("items", {}))
        self.save(items={})
        self.forget_asset_list()

    def forget_asset_list(self) -> None:
        """Remove the list of web assets from the shared cache, as it names the old ones."""
        with self.redis("redis_cache") as redis:
            redis.ask("DEL", "assets_json")

    def check_out(self, app: str, commit: str) -> None:
        """Check out an app's commit; the files are on disk when this returns."""
        self.reset(app, commit)
        self.settle()

    def reset(self, app: str, commit: str) -> None:
        """Check out an app's commit; until the files are on disk the app is noted as moving."""
        moving = self.state.get("moving", [])
        if git(self.folder(app), "rev-parse", "HEAD") == commit and app not in moving:
            return
        if app in moving:
            drop_git_locks(self.folder(app))
        self.save(moving=sorted({*moving, app}))
        what = f"checking out {app} at {commit[:10]}"
        self.run(["git", "reset", "--quiet", "--hard", commit], what, cwd=self.folder(app))

    def settle(self) -> None:
        """Bring to disk what git leaves to the kernel.

        Else files may be empty after a power cut, in a checkout that seems complete.
        """
        if self.state.get("moving"):
            os.sync()
            self.save(moving=[])
