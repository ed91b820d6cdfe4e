"""Which methods go to the reporting benches: what the apps, the fleet and the inventory say."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from .source import Apps

METHOD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+")
REPORTING, PRIMARY = "reporting", "primary"
# What a desk sends all day and carries no read_only. It stays on the primary until the operator
# adds it, for each call takes a little longer from a node (docs/read-path.md has the figures); a
# node's guard then runs it as if it were read_only.
SLOWER = (
    "built in: it only reads, but takes 3 to 4 ms longer from a node;"
    " router_report_methods can add it"
)
OFFERED = {
    "erpnext.accounts.party.get_party_details": SLOWER,
    "erpnext.stock.get_item_details.get_item_details": SLOWER,
    "frappe.desk.doctype.dashboard_chart.dashboard_chart.get": (
        "built in: it writes at each call, when it has read; router_report_methods can add it"
    ),
    "frappe.desk.doctype.number_card.number_card.get_percentage_difference": SLOWER,
    "frappe.desk.doctype.number_card.number_card.get_result": SLOWER,
    "frappe.desk.search.search_link": SLOWER,
    "frappe.desk.search.search_widget": SLOWER,
    "frappe.utils.global_search.search": SLOWER,
}
# Methods that only read although they carry no read_only themselves.
ADDED = {
    "frappe.desk.query_report.export_query": (
        "built in: all it does is to run frappe.desk.query_report.run, which is read_only"
    ),
}
# The desk's small calls, which a primary answers all day. They must never wait behind reports; and
# they show what was just saved, which a replica that nobody waits for may lack.
LIGHT = (
    "frappe.desk.desktop.get_desktop_page",
    "frappe.desk.notifications.get_notifications",
    "frappe.desk.notifications.get_open_count",
    "frappe.desk.reportview.get",
    "frappe.desk.reportview.get_count",
    "frappe.desk.reportview.get_list",
    "frappe.desk.reportview.get_sidebar_stats",
    "frappe.desk.reportview.get_stats",
    *OFFERED,
)
# Calls that write, or that must see the newest state; whatever decorators they carry.
WRITES = "built in: it writes"
STAYS = {
    "frappe.client.delete": WRITES,
    "frappe.client.insert": WRITES,
    "frappe.client.save": WRITES,
    "frappe.client.set_value": WRITES,
    "frappe.client.submit": WRITES,
    "frappe.core.doctype.prepared_report.prepared_report.enqueue_json_to_csv_conversion": WRITES,
    "frappe.core.doctype.prepared_report.prepared_report.make_prepared_report": WRITES,
    "frappe.desk.form.load.getdoc": "built in: a form must show the newest state",
    "frappe.desk.form.load.getdoctype": "built in: a form must show the newest state",
    "frappe.desk.form.save.savedocs": WRITES,
    "frappe.desk.query_report.background_enqueue_run": WRITES,
    "frappe.desk.query_report.save_report": WRITES,
    "frappe.desk.reportview.save_report": WRITES,
    "frappe.handler.login": "built in: it writes the session",
    "frappe.handler.logout": "built in: it writes the session",
    "frappe.handler.upload_file": "built in: it writes a file, and files are born on the primary",
}
DELETES = re.compile(r"(?:\w+\.)+delete_\w+")


class RoutesError(Exception):
    """The inventory asks for what cannot be; the message names value, variable and remedy."""


def stays(method: str) -> str | None:
    """Why a method must never leave the primary, None when nothing says so."""
    if method in STAYS:
        return STAYS[method]
    return "built in: it deletes" if DELETES.fullmatch(method) else None


def check_lists(added: Iterable[str], taken: Iterable[str]) -> None:
    """Judge the inventory's two lists by themselves. Raises RoutesError."""
    both = {"router_report_methods": list(added), "router_primary_methods": list(taken)}
    for variable, methods in both.items():
        for method in methods:
            if not METHOD.fullmatch(str(method)):
                raise RoutesError(
                    f"{variable}: {method!r} is not the dotted name of a method such as"
                    " frappe.desk.query_report.run; correct it in the inventory"
                )
    for method in both["router_report_methods"]:
        if why := stays(method):
            raise RoutesError(
                f"router_report_methods: {method!r} has to stay on the primary"
                f" ({why.removeprefix('built in: ')}); take it out of the list"
            )
        if method in both["router_primary_methods"]:
            raise RoutesError(
                f"{method!r} is in router_report_methods and in router_primary_methods; take it out"
                " of one of them"
            )


def common_apps(sites: list[dict[str, Any]]) -> set[str]:
    """The apps that every site has."""
    own = [set(site.get("apps") or []) for site in sites]
    return {"frappe"} | (set.intersection(*own) if own else set())


class Judgement:
    """Where the methods of a bench's apps go, and what there is to say about that."""

    def __init__(self, apps: Apps, guard: bool) -> None:
        self.apps, self.guard = apps, guard
        self.found: dict[str, dict[str, Any]] = {}
        self.notes: list[str] = []

    def put(self, method: str, bench: str, why: str, where: str) -> None:
        """Route a method."""
        self.found[method] = {
            "method": method,
            "bench": bench,
            "why": why,
            "where": where,
            "light": self.guard and bench == REPORTING and method in LIGHT,
        }

    def goes(self, method: str) -> bool:
        """Whether a method goes to the reporting benches, as far as was judged."""
        return bool(self.found.get(method, {}).get("bench") == REPORTING)

    def by_code(self) -> None:
        """What the apps' decorators say, and our own lists of methods that only read."""
        for method, _, place in self.apps.decorated():
            self.put(method, REPORTING, "read_only by its decorator", place)
        for bench, known in ((REPORTING, ADDED), (PRIMARY, OFFERED)):
            for method, why in known.items():
                at = None if method in OFFERED and method in self.found else self.apps.find(method)
                if at and at[0].get("whitelisted"):
                    self.put(method, bench, why, at[1])

    def override(
        self, method: str, replacements: list[tuple[str, str]], everywhere: set[str]
    ) -> None:
        """Route a method that apps replace by what runs in its place, on every site.

        Which of several replacements runs depends on the site's apps, and so does whether one runs
        at all: any that is not read_only keeps the method on the primary.
        """
        original = self.goes(method)
        if not original and not any(app in everywhere for app, _ in replacements):
            return
        place = ""
        for app, target in replacements:
            at = self.apps.find(target) if METHOD.fullmatch(target) else None
            reads = bool(at and at[0].get("read_only") and at[0].get("whitelisted"))
            if not reads and target not in ADDED:
                if original:
                    hooks = self.apps.where(f"{self.apps.folder(app)}/hooks.py", 1)
                    why = f"app {app} replaces it by {target}, which is not read_only"
                    self.put(method, PRIMARY, why, at[1] if at else hooks.rpartition(":")[0])
                return
            place = at[1] if at else ""
        names = ", ".join(dict.fromkeys(target for _, target in replacements))
        self.put(method, REPORTING, f"replaced by {names}: read_only by its decorator", place)

    def stay(self) -> None:
        """Keep on the primary what writes, and without a guard what shows what was just saved."""
        for method in {*self.found, *STAYS}:
            why = stays(method)
            at = self.apps.find(method) if why else None
            if why and at and (method in self.found or at[0].get("whitelisted")):
                self.put(method, PRIMARY, why, at[1])
        for method in () if self.guard else LIGHT:
            if self.goes(method):
                why = "it shows what was just saved, and fleet_read_guard is off"
                self.put(method, PRIMARY, why, self.found[method]["where"])

    def add(self, method: str) -> None:
        """Send a method of router_report_methods. Raises RoutesError for one that is not there."""
        at = self.apps.find(method)
        if at is None or at[0].get("whitelisted") is False:
            raise RoutesError(
                f"router_report_methods: no app of the bench ({', '.join(self.apps.names)}) has a"
                f" whitelisted method {method!r}; correct the name in the inventory, or take it out"
            )
        if not self.guard and method in LIGHT and method not in OFFERED:
            self.notes.append(
                f"router_report_methods sends {method} to the reporting benches although"
                " fleet_read_guard is off: lists may lack what their user just saved"
            )
        self.put(method, REPORTING, "the inventory says so: router_report_methods", at[1])

    def take(self, method: str) -> None:
        """Keep a method of router_primary_methods."""
        at = self.apps.find(method)
        if at is None:
            self.notes.append(
                f"router_primary_methods: no app of the bench has a method {method!r}; is the name"
                " right?"
            )
        why = "the inventory says so: router_primary_methods"
        self.put(method, PRIMARY, why, at[1] if at else "")


def routes(
    apps: Apps,
    added: Iterable[str] = (),
    taken: Iterable[str] = (),
    *,
    guard: bool = True,
    everywhere: Iterable[str] = ("frappe",),
) -> tuple[list[dict[str, Any]], list[str]]:
    """Where each method goes that is read_only, or about which there is something to say.

    ``added`` and ``taken`` are router_report_methods and router_primary_methods, ``guard`` whether
    the reporting benches wait for their replicas, ``everywhere`` the apps that every site has.
    Returns routes {method, bench, why, where, light}, sorted by method, and warnings. ``light``
    ones go to a reporting bench only as long as it has nothing better to do.
    Raises RoutesError for what the inventory asks for and cannot be.
    """
    added, taken = list(added), list(taken)
    check_lists(added, taken)
    judged = Judgement(apps, guard)
    judged.by_code()
    for method, replacements in apps.overrides().items():
        judged.override(method, replacements, set(everywhere))
    judged.stay()
    for method in added:
        judged.add(method)
    for method in taken:
        judged.take(method)
    notes = judged.notes + [f"{place}: {why}" for place, why in apps.troubles.items()]
    return [judged.found[method] for method in sorted(judged.found)], notes
