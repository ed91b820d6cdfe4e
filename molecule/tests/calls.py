"""The calls that the player makes: generic Frappe, as a browser and the desk make them."""

from __future__ import annotations

import http.client
import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from fleet.http import Answer, Visitor

METHOD = "/api/method/"
RUN = "frappe.desk.query_report.run"
LIST = "frappe.desk.reportview.get_list"
EXPORT = "frappe.desk.reportview.export_query"
# Of every Frappe, and of the demo framework.
REPORT = "ToDo"
# So many documents are kept while people work.
SAVED = 20


@dataclass
class Taken:
    """The result of a call: HTTP status (0: no answer), seconds, who answered, whether up to
    date."""

    status: int
    seconds: float
    bench: str = ""
    database: str = ""
    fresh: bool | None = None
    words: str = ""

    @property
    def ok(self) -> bool:
        """Whether the user got what was asked for; a deletion is answered with 202."""
        return self.status in (200, 202)

    @property
    def place(self) -> tuple[str, str]:
        """The hosts whose bench and whose database answered."""
        return self.bench, self.database


@dataclass
class Somebody:
    """A user at the router, who remembers the last document that was saved."""

    address: str
    site: str
    user: str
    password: str = field(repr=False)
    timeout: float = 20.0
    port: int = 80
    saved: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.visitor = self.stranger()
        self.visitor.sign_in(self.user, self.password)

    def stranger(self) -> Visitor:
        """A user who is not signed in yet."""
        return Visitor(self.address, self.port, self.site, timeout=self.timeout)

    def timed(self, call: Callable[[], Answer], mark: str = "") -> Taken:
        """Make a call. `mark` is in an answer that is up to date; nothing is raised."""
        begun = time.monotonic()
        try:
            answer = call()
        except (OSError, http.client.HTTPException, AssertionError) as error:
            return Taken(0, time.monotonic() - begun, words=str(error) or type(error).__name__)
        seconds = time.monotonic() - begun
        fresh = mark in answer.text if mark and answer.status == 200 else None
        words = "" if answer.status == 200 else answer.said()
        database = answer.headers.get("x-fleet-database", "")
        return Taken(answer.status, seconds, answer.bench, database, fresh, words)

    @property
    def last(self) -> str:
        """The name of the document saved last, "" before the first."""
        return self.saved[-1] if self.saved else ""

    def report(self) -> Taken:
        """GET of a report."""
        path = f"{METHOD}{RUN}?report_name={REPORT}"
        return self.timed(lambda: self.visitor.call("GET", path), self.last)

    def rows(self) -> Taken:
        """POST of a list view, of the document saved last alone."""
        form = {"doctype": "ToDo", "fields": '["name"]', "filters": self._only_the_last()}
        return self.timed(lambda: self.visitor.call("POST", METHOD + LIST, form=form), self.last)

    def export(self) -> Taken:
        """POST of an export, which the form's body alone names."""
        form = {
            "cmd": EXPORT,
            "doctype": "ToDo",
            "title": "ToDo",
            "file_format_type": "CSV",
            "fields": json.dumps(["`tabToDo`.`name`"]),
            "filters": self._only_the_last(),
        }
        return self.timed(lambda: self.visitor.call("POST", "/", form=form), self.last)

    def save(self) -> Taken:
        """Save a document."""
        values = {"description": "read path"}

        def call() -> Answer:
            answer = self.visitor.call("POST", "/api/resource/ToDo", values=values)
            if answer.status == 200:
                self.saved.append(answer.body["data"]["name"])
            return answer

        return self.timed(call)

    def sign_in(self) -> Taken:
        """Sign another user in."""
        stranger = self.stranger()
        form = {"usr": self.user, "pwd": self.password}
        taken = self.timed(lambda: stranger.call("POST", "/api/method/login", form=form))
        if taken.ok:
            self.timed(lambda: stranger.call("POST", "/api/method/logout", form={}))
        return taken

    def method(self, name: str, **arguments: Any) -> Answer:
        """GET of any method."""
        query = "&".join(f"{key}={value}" for key, value in arguments.items())
        return self.visitor.call("GET", f"{METHOD}{name}?{query}")

    def delete_oldest(self) -> Taken:
        """Delete the document that was saved first."""
        name = self.saved.pop(0)
        return self.timed(lambda: self.visitor.call("DELETE", f"/api/resource/ToDo/{name}"))

    def tidy(self) -> None:
        """Delete the saved documents."""
        while self.saved:
            self.delete_oldest()

    def _only_the_last(self) -> str:
        return json.dumps([["ToDo", "name", "=", self.last]]) if self.last else "[]"


@dataclass(frozen=True)
class Kind:
    """One kind of call; a reporting bench answers the `routed` ones.

    light: the primary's own bench answers it when no reporting bench can do it well.
    """

    title: str
    make: Callable[[Somebody], Taken]
    routed: bool = False
    light: bool = False


KINDS = {
    "report": Kind("report (GET)", Somebody.report, routed=True),
    "list": Kind("list (POST)", Somebody.rows, routed=True, light=True),
    "export": Kind("export (form body)", Somebody.export, routed=True),
    "save": Kind("save", Somebody.save),
    "sign_in": Kind("sign-in", Somebody.sign_in),
}


@contextmanager
def working(sign_in: Callable[..., Any]) -> Iterator[list[Taken]]:
    """Have users save, run reports and open lists meanwhile; yields what they got.

    Five times a second each, but only one call of a kind at a time.
    """
    taken: list[Taken] = []
    over = threading.Event()
    somebody = sign_in()

    def work(make: Callable[[], Taken]) -> None:
        due = time.monotonic()
        while not over.wait(max(0.0, due - time.monotonic())):
            taken.append(make())
            due = max(due + 0.2, time.monotonic())

    def save() -> Taken:
        # The report shows all documents; with more, it would itself become the load.
        if len(somebody.saved) > SAVED:
            taken.append(somebody.delete_oldest())
        return somebody.save()

    kinds = (somebody.report, save, somebody.rows)
    threads = [threading.Thread(target=work, args=(make,)) for make in kinds]
    for thread in threads:
        thread.start()
    try:
        yield taken
    finally:
        over.set()
        for thread in threads:
            thread.join()
        somebody.tidy()


def failures(taken: list[Taken]) -> list[Taken]:
    """Failures that users would have noticed; at least one call must have been made."""
    assert len(taken) > 10
    return [one for one in taken if not one.ok]
