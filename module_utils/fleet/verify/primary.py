"""The primary: the order of its checks, and what verify makes there for a while."""

from __future__ import annotations

import contextlib
import json
import time
import urllib.parse
from pathlib import Path
from typing import Any

from .. import atomic
from ..foreign import replace, unlink
from ..http import Visitor
from .results import CHECK_SECONDS, limited, message_of
from .router import RouterChecks
from .scheduler import JOB_LOG, JOB_TYPE, JobChecks
from .system import EveryHost

# No verify takes this long: what is older was left by one that was interrupted.
ABANDONED_SECONDS = 1800


class Primary(EveryHost, RouterChecks, JobChecks):
    """The primary's checks."""

    @property
    def state_file(self) -> Path:
        """The file that remembers what this verify has made."""
        return Path(self.params["state_dir"], f"{self.params['token']}.json")

    def remember(self, made: dict[str, Any]) -> None:
        """Write down what has been made; where nothing is left, remove the file."""
        if not made:
            self.state_file.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
                self.state_file.parent.rmdir()
            return
        self.state_file.parent.mkdir(mode=0o755, exist_ok=True)
        atomic.write(self.state_file, json.dumps(made), 0o644, durable=False)

    def remembered(self) -> dict[str, Any]:
        """What the first phase has made."""
        try:
            return dict(json.loads(self.state_file.read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return {}

    def clear_abandoned(self) -> None:
        """Remove what interrupted verifies have left."""
        for path in Path(self.params["state_dir"]).glob("*.json"):
            if time.time() - path.stat().st_mtime > ABANDONED_SECONDS:
                left = json.loads(path.read_text(encoding="utf-8"))
                self.take_away(left)
                path.unlink()

    def put_file(self) -> float:
        """Put a file into the first site's public files; returns when, in seconds of the epoch."""
        replace(str(self.file()), f"{self.params['token']}\n".encode(), 0o644)
        return time.time()

    def take_away(self, made: dict[str, Any]) -> None:
        """Remove what was made. Tries all of it, then raises the first error."""
        errors: list[Exception] = []

        def attempt(function: Any, *arguments: Any) -> None:
            try:
                function(*arguments)
            except Exception as error:
                errors.append(error)

        for site, place in made.items():
            file = Path(self.bench, "sites", site, "public/files", place.get("file") or "-")
            attempt(unlink, str(file))
            if place.get("todo") or place.get("job"):
                attempt(self.take_documents, site, place)
        if errors:
            raise errors[0]

    def take_documents(self, site: str, place: dict[str, str]) -> None:
        """Remove what was made through the site; the job first, as it runs each minute."""
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
        """Remove a document, and the copy that Frappe keeps of it."""
        answer = visitor.call("DELETE", f"/api/resource/{doctype}/{name}")
        if answer.status not in (200, 202, 404):
            raise AssertionError(f"{doctype} {name} could not be removed: {answer.said()}")
        filters = json.dumps([["deleted_doctype", "=", doctype], ["deleted_name", "=", name]])
        query = urllib.parse.urlencode({"filters": filters})
        # The demo framework has no such DocType.
        for copy in visitor.call("GET", f"/api/resource/Deleted Document?{query}").rows:
            visitor.call("DELETE", f"/api/resource/Deleted Document/{copy['name']}")

    def begin(self) -> dict[str, Any]:
        """Make the basics, and put the file and the job into the first site.

        ``trouble`` has the errors by step, ``basics`` the results.
        """
        self.basics("disk_room", "database_answers", "connections", "redis_answers")
        self.basics("bench_answers", "router_answers")
        lacks = self.gathering.lacks
        trouble: dict[str, str] = {}
        seen: dict[str, Any] = {"put_at": None, "done": None, "trouble": trouble}
        made: dict[str, Any] = {self.site: {"file": self.file().name}}
        steps = (
            ("clear", self.clear_abandoned),
            ("state", lambda: self.remember(made)),
            ("file", lambda: seen.update(put_at=self.put_file())),
            ("done", lambda: seen.update(done=self.jobs_done())),
            ("job", lambda: made[self.site].update(job=self.make_job())),
            ("state", lambda: self.remember(made)),
        )
        # What a check needs, its first half needs, too.
        of_check = {"clear": "save", "file": "file_arrives", "done": "queue", "job": "job_once"}
        for name, step in steps:
            lacking = lacks(of_check[name]) if name in of_check else ""
            if lacking:
                trouble[name] = f"not done: needs {lacking}"
                continue
            try:
                with limited(CHECK_SECONDS):
                    step()
            except Exception as error:
                trouble[name] = message_of(error)
        return {**seen, "basics": self.gathering.results}

    def finish(self) -> None:
        """Make the checks, and remove what the first phase put there."""
        made = self.remembered()
        begun = self.params["begun"]
        trouble = begun.get("trouble") or {}
        attempt = self.gathering.attempt
        self.gathering.results += begun.get("basics") or []
        try:
            self.look()
            self.make("redis_addresses", "redis_rights")
            attempt("save", lambda: self.check_save(made))
            job = made.get(self.site, {}).get("job")
            seconds = CHECK_SECONDS + self.params["job_seconds"]
            attempt("job_once", lambda: self.check_job(job, trouble.get("job")), seconds)
            self.make("certificates", "queue", "waiting")
            attempt(("queue_safe", "queue_room"), self.check_queue_store)
            attempt((), self.note_placed)
        finally:
            try:
                with limited(CHECK_SECONDS):
                    self.take_away(made)
                self.remember({})
            except Exception as error:
                self.seen["left"] = message_of(error)

    def check_save(self, made: dict[str, Any]) -> None:
        """Save a ToDo on each site through the router, and remove it."""
        saw, good = [], True
        for site in self.sites:
            with self.visitor(site) as visitor:
                bench, rows = self.save(visitor, made)
            good = good and bench == self.params["host"] and rows == 1
            there = "its row is in this database" if rows else "its row is NOT in this database"
            saw.append(f"{site}: answered by {bench or '(no header)'}, {there}")
        self.gathering.add("save", good, "; ".join(saw))

    def save(self, visitor: Visitor, made: dict[str, Any]) -> tuple[str, int]:
        """Save a ToDo and remove it; returns which bench answered, and its number of rows here."""
        site = visitor.site
        mark = f"fleet-verify-{self.params['token']}"
        # In Frappe a user can remove only a ToDo that they have assigned or that is assigned to
        # them; the Administrator can remove all.
        values = {"description": mark, "assigned_by": visitor.user()}
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


def results(params: dict[str, Any]) -> dict[str, Any]:
    """What a phase of the checks returns: of the first {begun}, of the second {checks, seen}."""
    primary = Primary(params)
    if params["phase"] == "begin":
        return {"begun": primary.begin()}
    try:
        primary.finish()
    except Exception as error:
        primary.seen["trouble"] = message_of(error)
    return {"checks": primary.gathering.results, "seen": primary.seen}
