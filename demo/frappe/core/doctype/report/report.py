"""Reports as documents, as far as a run of one needs them: there is no table of them here."""

from __future__ import annotations

from typing import Any

from frappe.core.doctype.duckdb_sync.duckdb_sync import get_latest_sync
from frappe.model import Document


class Report(Document):
    """prepared_report: a job makes it. snapshot_report: it reads what a job has copied."""

    def execute_snapshot_report(self, filters: Any) -> tuple[list[str], list[list[Any]]]:
        """Run on the newest copy that is whole; sqlite3.Error where its file cannot be read."""
        connection = get_latest_sync("Stock Ledger Entry")
        if connection is None:
            return ["item_code", "entries"], []
        try:
            query = "SELECT item_code, count(*) FROM entries GROUP BY item_code ORDER BY item_code"
            return ["item_code", "entries"], [list(row) for row in connection.execute(query)]
        finally:
            connection.close()
