"""Plays a working day with ERPNext on a running lab: the read path with the real software.

The wizard makes a company with ERPNext's own demo data, where there is none yet. Ten reports are
run twice, on a reporting bench and, while the nodes are drained, on the primary, and must be equal.
Documents are saved, and each is looked up at once in a routed list. A report is prepared, which is
a heavy job, and opened at once, ten times. The results are a table in Markdown on standard output;
the status is 0 only if all of them are right.
Run as root from the repository:
    .venv/bin/python molecule/tests/read_path/erpnext.py --lab NAME [--site SITE]
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import sys
import time
import urllib.parse
from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from calls import METHOD, RUN, Somebody
from failures import drained
from nodes import Node, wait_until
from player import password_of

from benchfleet.lab import state
from benchfleet.shell import FleetError, say

COMPANY = "Benchfleet Trial"
WIZARD = "frappe.desk.page.setup_wizard.setup_wizard.setup_complete"
TODAY = datetime.date.today()
YEAR = {
    "from_date": f"{TODAY.year}-01-01",
    "to_date": f"{TODAY.year}-12-31",
}
STATEMENT = {
    "filter_based_on": "Date Range",
    "period_start_date": YEAR["from_date"],
    "period_end_date": YEAR["to_date"],
    "periodicity": "Yearly",
    "accumulated_values": 1,
}
RECEIVED = {
    "report_date": str(TODAY),
    "ageing_based_on": "Due Date",
    "range": "30, 60, 90, 120",
    "range1": 30,
    "range2": 60,
    "range3": 90,
    "range4": 120,
}
SALES = {
    **YEAR,
    "tree_type": "Item",
    "doc_type": "Sales Invoice",
    "value_quantity": "Value",
    "range": "Monthly",
}
REPORTS: dict[str, dict[str, Any]] = {
    "General Ledger": {**YEAR, "group_by": "Group by Voucher (Consolidated)"},
    "Trial Balance": {**YEAR, "fiscal_year": str(TODAY.year)},
    "Balance Sheet": STATEMENT,
    "Profit and Loss Statement": STATEMENT,
    "Accounts Receivable": RECEIVED,
    "Accounts Payable": RECEIVED,
    "Stock Balance": YEAR,
    "Stock Ledger": YEAR,
    "Sales Analytics": SALES,
    "Gross Profit": {**YEAR, "group_by": "Invoice"},
}
WIZARD_SECONDS = 300
DEMO_SECONDS = 600
JOB_SECONDS = 120


class Day:
    """A user who works with ERPNext at the router of a lab."""

    def __init__(self, lab: state.Lab, somebody: Somebody) -> None:
        self.lab = lab
        self.primary = Node(lab, lab.hosts[0])
        self.somebody = somebody
        self.wrong: list[str] = []

    def rows(self, doctype: str, fields: Sequence[str], **filters: Any) -> list[dict[str, Any]]:
        """Documents, as the primary has them."""
        words = json.dumps([[doctype, key, "=", value] for key, value in filters.items()])
        path = f"/api/resource/{doctype}?limit_page_length=0"
        query = f"&fields={json.dumps(list(fields))}&filters={words}"
        answer = self.somebody.visitor.call("GET", path + query)
        if answer.status != 200:
            raise FleetError(f"{doctype} cannot be listed: {answer.said()}")
        return answer.body["data"]

    @cached_property
    def company(self) -> str:
        """The company with data; made with ERPNext's wizard where there is none."""
        if not self.rows("Company", ["name"]):
            begun = time.monotonic()
            values = {
                "language": "English",
                "country": "United States",
                "timezone": "America/New_York",
                "currency": "USD",
                "full_name": "Trial",
                "company_name": COMPANY,
                "company_abbr": "BT",
                "chart_of_accounts": "Standard",
                "fy_start_date": YEAR["from_date"],
                "fy_end_date": YEAR["to_date"],
                "setup_demo": 1,
            }
            self.somebody.visitor.timeout = WIZARD_SECONDS
            answer = self.somebody.visitor.call(
                "POST", METHOD + WIZARD, form={"args": json.dumps(values)}
            )
            if answer.status != 200:
                raise FleetError(f"the wizard failed: {answer.said()}")
            print(f"| wizard by HTTP | {time.monotonic() - begun:.0f} s |", flush=True)
            wait_until(
                "ERPNext's demo data", lambda: self.invoices() and self.quiet(), DEMO_SECONDS
            )
            print(f"| wizard and demo data | {time.monotonic() - begun:.0f} s |", flush=True)
        with_data = self.invoices()
        return with_data[0]["company"] if with_data else self.rows("Company", ["name"])[0]["name"]

    def invoices(self) -> list[dict[str, Any]]:
        """Submitted sales invoices."""
        return self.rows("Sales Invoice", ["name", "company"], docstatus=1)

    def quiet(self) -> bool:
        """Whether no job of the demo data runs any more."""
        entries = self.rows("GL Entry", ["name"])
        time.sleep(5)
        return len(entries) == len(self.rows("GL Entry", ["name"]))

    def report(self, name: str, filters: dict[str, Any]) -> tuple[str, str, float, Any]:
        """A report: which bench and database answered, the seconds, and its content."""
        begun = time.monotonic()
        form = {"report_name": name, "filters": json.dumps(filters), "ignore_prepared_report": 1}
        answer = self.somebody.visitor.call("POST", METHOD + RUN, form=form)
        seconds = time.monotonic() - begun
        database = answer.headers.get("x-fleet-database", "")
        if answer.status != 200:
            return answer.bench, database, seconds, f"HTTP {answer.status}: {answer.said()}"
        found = answer.body["message"]
        content = {key: found.get(key) for key in ("columns", "result", "report_summary")}
        return answer.bench, database, seconds, content

    def reports(self) -> None:
        """Run each report on both benches."""
        wanted = {name: {"company": self.company, **filters} for name, filters in REPORTS.items()}
        there = {name: self.report(name, filters) for name, filters in wanted.items()}
        with drained(self.primary, [Node(self.lab, host) for host in self.lab.hosts[1:]]):
            here = {name: self.report(name, filters) for name, filters in wanted.items()}
        primary = self.lab.hosts[0].name
        for name in wanted:
            bench, database, seconds, content = there[name]
            other, _, others_seconds, others = here[name]
            good = isinstance(content, dict) and content == others and bool(content["result"])
            good = good and bench == database != primary and other == primary
            rows = len(content["result"] or []) if isinstance(content, dict) else content
            if not good:
                self.wrong.append(name)
            print(
                f"| {name} | {bench} from {database} {seconds:.2f} s, {other}"
                f" {others_seconds:.2f} s, rows {rows}, {'the same' if good else '**WRONG**'} |",
                flush=True,
            )

    def saves(self, number: int = 200) -> None:
        """Save documents, and look up each at once in a routed list."""
        stale, failed, seconds, places = 0, 0, [], set()
        for _ in range(number):
            saved = self.somebody.save()
            seen = self.somebody.rows()
            failed += not (saved.ok and seen.ok)
            stale += seen.fresh is False
            seconds.append(seen.seconds)
            places.add(seen.place)
        self.somebody.tidy()
        if stale or failed:
            self.wrong.append("saves")
        where = ", ".join(sorted("/".join(place) for place in places))
        print(
            f"| {number} saves, each read at once | {stale} stale, {failed} failed,"
            f" p50 {statistics.median(seconds) * 1000:.0f} ms, by {where} |",
            flush=True,
        )

    def prepared(self, number: int = 10) -> None:
        """Have a report prepared, a heavy job, and open it as soon as it is reported as ready."""
        right, seconds, said, places = 0, [], set(), set()
        method = "frappe.core.doctype.prepared_report.prepared_report.make_prepared_report"
        for _ in range(number):
            begun = time.monotonic()
            filters = {"company": self.company, **YEAR, "trial": str(begun)}
            form = {"report_name": "Stock Balance", "filters": json.dumps(filters)}
            answer = self.somebody.visitor.call("POST", METHOD + method, form=form)
            name = (answer.body.get("message") or {}).get("name") if answer.status == 200 else None
            if not name:
                said.add(answer.said())
                continue

            def done(name: str = name) -> Any:
                row = self.rows("Prepared Report", ["status", "error_message"], name=name)[0]
                return row if row["status"] in ("Completed", "Error") else None

            wait_until(f"Prepared Report {name}", done, JOB_SECONDS)
            seconds.append(time.monotonic() - begun)
            query = urllib.parse.urlencode({**form, "ignore_prepared_report": 0})
            shown = self.somebody.visitor.call("GET", f"{METHOD}{RUN}?{query}")
            places.add(shown.bench)
            found = shown.body.get("message") or {}
            if shown.status == 200 and (found.get("doc") or {}).get("name") == name:
                right += bool(found.get("result"))
            else:
                said.add(shown.said())
        if right != number:
            self.wrong.append("prepared report")
        took = f", prepared in {statistics.median(seconds):.1f} s (median)" if seconds else ""
        words = f", **{'; '.join(sorted(said))}**" if said else ""
        print(
            f"| {number} prepared Stock Balance, each asked for at once | {right} right"
            f"{took}, shown by {', '.join(sorted(places))}{words} |",
            flush=True,
        )


STEPS: dict[str, Callable[[Day], None]] = {
    "reports": Day.reports,
    "saves": Day.saves,
    "prepared": Day.prepared,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Play the day; returns 0 when all results are right."""
    given = parser().parse_args(arguments)
    lab = state.load(given.lab)
    if lab is None:
        raise FleetError(f"there is no lab {given.lab!r} (--lab)")
    password = password_of(lab, given.site, given.password_file)
    day = Day(lab, Somebody(lab.hosts[0].ip, given.site, "Administrator", password, 120.0))
    print("| what | seen |\n|---|---|")
    for step in given.steps or STEPS:
        STEPS[step](day)
    if day.wrong:
        say(f"not right: {', '.join(day.wrong)}")
    return 1 if day.wrong else 0


def parser() -> argparse.ArgumentParser:
    """The command line."""
    found = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    found.add_argument("--lab", default=state.name_from_environment(), help="(BENCHFLEET_LAB)")
    found.add_argument("--site", default=state.SITE)
    found.add_argument("--password-file", type=Path, help="else the lab's own secrets")
    found.add_argument("steps", nargs="*", choices=[[], *STEPS], metavar="STEP", help="all of them")
    return found


if __name__ == "__main__":
    try:
        sys.exit(main())
    except FleetError as error:
        say(f"error: {error}")
        sys.exit(1)
