"""A table that a job copies into a file for reports, in the shape of Frappe 16.32's.

SQLite stands in for DuckDB: it writes its file in place, too, and past Python.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from typing import Any

import frappe
from frappe.model import Document
from frappe.utils.background_jobs import enqueue

BATCHES = 10


class DuckDBSync(Document):
    """One copy; `synced` as soon as its file is whole."""

    def before_insert(self) -> None:
        """Name the file."""
        self.filename = f"{self.doc_type.lower().replace(' ', '_')}_{self.name}.duckdb"
        self.synced = 0

    def on_trash(self) -> None:
        """Delete the file."""
        with contextlib.suppress(FileNotFoundError):
            os.remove(_path(self.filename))


def get_duckdb(read_only: bool, filename: str) -> sqlite3.Connection:
    """Return a connection to a file among the site's private files."""
    mode = "ro" if read_only else "rwc"
    return sqlite3.connect(f"file:{_path(filename)}?mode={mode}", uri=True)


def get_latest_sync(doctype: str) -> sqlite3.Connection | None:
    """Return a connection to the newest copy that is whole, None without one."""
    filters = {"doc_type": doctype, "synced": 1}
    found = frappe.get_all(
        "DuckDB Sync", filters=filters, pluck="filename", order_by="creation desc", limit=1
    )
    return get_duckdb(True, found[0]) if found else None


@frappe.whitelist()
def start_data_sync(doctype: str, seconds: Any = 0) -> dict[str, str]:
    """Order a copy, which takes at least so many seconds (60 at most); returns name and file."""
    doc = frappe.get_doc(doctype="DuckDB Sync", doc_type=doctype).insert()
    enqueue(
        "frappe.core.doctype.duckdb_sync.duckdb_sync.sync_data_to_duckdb",
        queue="long",
        enqueue_after_commit=True,
        docname=doc.name,
        seconds=seconds,
    )
    return {"name": doc.name, "filename": doc.filename}


def sync_data_to_duckdb(docname: str, seconds: Any = 0) -> None:
    """Copy the table, a part at a time, and leave a Demo Run with the copy's name as its token."""
    doc = frappe.get_doc("DuckDB Sync", docname)
    query = f"SELECT name, item_code FROM `tab{doc.doc_type}`"
    rows = [(row.name, row.item_code) for row in frappe.db.sql(query, as_dict=True)]
    with contextlib.closing(get_duckdb(False, doc.filename)) as copy:
        copy.execute("CREATE TABLE entries (name TEXT, item_code TEXT)")
        for part in range(BATCHES):
            copy.executemany("INSERT INTO entries VALUES (?, ?)", rows[part::BATCHES])
            copy.commit()
            time.sleep(min(max(float(seconds), 0), 60) / BATCHES)
    doc.db_set("synced", 1)
    frappe.get_attr("frappe.demo.record_job")(token=docname)


def _path(filename: str) -> str:
    return frappe.get_site_path("private", "files", filename)
