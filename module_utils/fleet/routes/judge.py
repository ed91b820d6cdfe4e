"""Which methods go to the reporting benches, by the apps' code, our lists and the inventory."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from .source import Apps

METHOD = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+")
REPORTING, PRIMARY = "reporting", "primary"
# Why a method goes where it goes, by the reason's id: what the operator reads.
BUILT_IN = "built in: "
REASONS = {
    "read_only": "read_only by its decorator",
    "runs_report": f"{BUILT_IN}it only runs frappe.desk.query_report.run, which is read_only",
    "replaced": "replaced by {replacements}: read_only by its decorator",
    "replaced_by_writer": "app {app} replaces it by {replacement}, which is not read_only",
    "slower": f"{BUILT_IN}it only reads, but takes 3 to 4 ms longer from a node;"
    " router_report_methods can add it",
    "writes_last": f"{BUILT_IN}it writes at each call, after it has read;"
    " router_report_methods can add it",
    "writes": f"{BUILT_IN}it writes",
    "writes_session": f"{BUILT_IN}it writes the session",
    "writes_file": f"{BUILT_IN}it writes a file, and files are made on the primary",
    "newest": f"{BUILT_IN}a form must show the newest state",
    "deletes": f"{BUILT_IN}it deletes",
    "unguarded": "it shows what was just saved, and fleet_read_guard is off",
    "report_methods": "the inventory says so: router_report_methods",
    "primary_methods": "the inventory says so: router_primary_methods",
}
# Methods of which a desk sends many all day, and that are not read_only. They stay on the primary
# until the operator adds them, as each call takes a little longer from a node (docs/read-path.md
# has the figures); a node's guard then runs them as if they were read_only.
OFFERED = {
    "erpnext.accounts.party.get_party_details": "slower",
    "erpnext.stock.get_item_details.get_item_details": "slower",
    "frappe.desk.doctype.dashboard_chart.dashboard_chart.get": "writes_last",
    "frappe.desk.doctype.number_card.number_card.get_percentage_difference": "slower",
    "frappe.desk.doctype.number_card.number_card.get_result": "slower",
    "frappe.desk.search.search_link": "slower",
    "frappe.desk.search.search_widget": "slower",
    "frappe.utils.global_search.search": "slower",
}
# Methods that only read although they are not read_only themselves.
ADDED = {"frappe.desk.query_report.export_query": "runs_report"}
# The desk's small calls, which a primary answers all day. They must never wait behind reports; and
# they show what was just saved, which a replica may not have yet unless the guard waits for it.
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
# Calls that write, or that must see the newest state, whatever decorators they have.
STAYS = {
    "frappe.client.delete": "writes",
    "frappe.client.insert": "writes",
    "frappe.client.save": "writes",
    "frappe.client.set_value": "writes",
    "frappe.client.submit": "writes",
    "frappe.core.doctype.prepared_report.prepared_report.enqueue_json_to_csv_conversion": "writes",
    "frappe.core.doctype.prepared_report.prepared_report.make_prepared_report": "writes",
    "frappe.desk.form.load.getdoc": "newest",
    "frappe.desk.form.load.getdoctype": "newest",
    "frappe.desk.form.save.savedocs": "writes",
    "frappe.desk.query_report.background_enqueue_run": "writes",
    "frappe.desk.query_report.save_report": "writes",
    "frappe.desk.reportview.save_report": "writes",
    "frappe.handler.login": "writes_session",
    "frappe.handler.logout": "writes_session",
    "frappe.handler.upload_file": "writes_file",
}
DELETES = re.compile(r"(?:\w+\.)+delete_\w+")


class RoutesError(Exception):
    """The inventory's lists of methods are wrong.

    kind: method_invalid, method_stays, method_in_both or method_unknown; variable: the list.
    """

    def __init__(self, kind: str, variable: str, message: str) -> None:
        super().__init__(f"{variable}: {message}")
        self.kind, self.variable = kind, variable


def stays(method: str) -> str | None:
    """The reason for which a method must never leave the primary, None where there is none."""
    if method in STAYS:
        return STAYS[method]
    return "deletes" if DELETES.fullmatch(method) else None


def check_lists(added: Iterable[str], taken: Iterable[str]) -> None:
    """Check the inventory's two lists by themselves. Raises RoutesError."""
    both = {"router_report_methods": list(added), "router_primary_methods": list(taken)}
    for variable, methods in both.items():
        for method in methods:
            if not METHOD.fullmatch(str(method)):
                raise RoutesError(
                    "method_invalid",
                    variable,
                    f"{method!r} is not the dotted name of a method, such as"
                    " frappe.desk.query_report.run; correct it in the inventory",
                )
    for method in both["router_report_methods"]:
        if reason := stays(method):
            raise RoutesError(
                "method_stays",
                "router_report_methods",
                f"{method!r} must stay on the primary"
                f" ({REASONS[reason].removeprefix(BUILT_IN)}); remove it from the list",
            )
        if method in both["router_primary_methods"]:
            raise RoutesError(
                "method_in_both",
                "router_report_methods",
                f"{method!r} is in router_primary_methods, too; remove it from one of them",
            )


def common_apps(sites: list[dict[str, Any]]) -> set[str]:
    """The apps that every site has."""
    own = [set(site.get("apps") or []) for site in sites]
    return {"frappe"} | (set.intersection(*own) if own else set())


class Judgement:
    """Where the methods of a bench's apps go, and warnings about that."""

    def __init__(self, apps: Apps, guard: bool) -> None:
        self.apps, self.guard = apps, guard
        self.found: dict[str, dict[str, Any]] = {}
        self.notes: list[str] = []

    def put(self, method: str, bench: str, reason: str, where: str, **facts: str) -> None:
        """Route a method; reason: an id of REASONS, facts: what its text names."""
        self.found[method] = {
            "method": method,
            "bench": bench,
            "reason": reason,
            "why": REASONS[reason].format(**facts),
            "where": where,
            "light": self.guard and bench == REPORTING and method in LIGHT,
        }

    def goes(self, method: str) -> bool:
        """Whether a method goes to the reporting benches, as far as was judged."""
        return bool(self.found.get(method, {}).get("bench") == REPORTING)

    def by_code(self) -> None:
        """Route by the apps' decorators, and by our own lists of methods that only read."""
        for method, _, place in self.apps.decorated():
            self.put(method, REPORTING, "read_only", place)
        for bench, known in ((REPORTING, ADDED), (PRIMARY, OFFERED)):
            for method, reason in known.items():
                at = None if method in OFFERED and method in self.found else self.apps.find(method)
                if at and at[0].get("whitelisted"):
                    self.put(method, bench, reason, at[1])

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
                    where = at[1] if at else hooks.rpartition(":")[0]
                    facts = {"app": app, "replacement": target}
                    self.put(method, PRIMARY, "replaced_by_writer", where, **facts)
                return
            place = at[1] if at else ""
        names = ", ".join(dict.fromkeys(target for _, target in replacements))
        self.put(method, REPORTING, "replaced", place, replacements=names)

    def stay(self) -> None:
        """Keep on the primary what writes, and without a guard what shows what was just saved."""
        for method in {*self.found, *STAYS}:
            reason = stays(method)
            at = self.apps.find(method) if reason else None
            if reason and at and (method in self.found or at[0].get("whitelisted")):
                self.put(method, PRIMARY, reason, at[1])
        for method in () if self.guard else LIGHT:
            if self.goes(method):
                self.put(method, PRIMARY, "unguarded", self.found[method]["where"])

    def add(self, method: str) -> None:
        """Route a method of router_report_methods. Raises RoutesError for an unknown one."""
        at = self.apps.find(method)
        if at is None or at[0].get("whitelisted") is False:
            raise RoutesError(
                "method_unknown",
                "router_report_methods",
                f"no app of the bench ({', '.join(self.apps.names)}) has a whitelisted method"
                f" {method!r}; correct the name in the inventory, or remove it",
            )
        if not self.guard and method in LIGHT and method not in OFFERED:
            self.notes.append(
                f"router_report_methods sends {method} to the reporting benches although"
                " fleet_read_guard is off: lists may lack what their user just saved"
            )
        self.put(method, REPORTING, "report_methods", at[1])

    def take(self, method: str) -> None:
        """Keep a method of router_primary_methods on the primary."""
        at = self.apps.find(method)
        if at is None:
            self.notes.append(
                f"router_primary_methods: no app of the bench has a method {method!r}; check the"
                " name"
            )
        self.put(method, PRIMARY, "primary_methods", at[1] if at else "")


def routes(
    apps: Apps,
    added: Iterable[str] = (),
    taken: Iterable[str] = (),
    *,
    guard: bool = True,
    everywhere: Iterable[str] = ("frappe",),
) -> tuple[list[dict[str, Any]], list[str]]:
    """Where each method goes that is read_only, or that the lists here or the inventory name.

    ``added`` and ``taken`` are router_report_methods and router_primary_methods, ``guard`` whether
    the reporting benches wait for their replicas, ``everywhere`` the apps that every site has.
    Returns routes {method, bench, reason, why, where, light}, sorted by method, and warnings.
    ``light`` ones go to a reporting bench only while it has no reports to answer.
    Raises RoutesError where the inventory's lists are wrong.
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
