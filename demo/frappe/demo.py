"""Calls that tests use to see who answered, from which database, and where jobs ran."""

from __future__ import annotations

import os
import random
import socket
import time
from datetime import date, timedelta
from typing import Any

import frappe
from frappe.utils import get_bench_path


def _who() -> dict[str, Any]:
    server_id, server, read_only, port = frappe.db.sql(
        "SELECT @@server_id, @@hostname, @@read_only, @@port"
    )[0]
    return {
        "bench": get_bench_path(),
        "hostname": socket.gethostname(),
        "pid": os.getpid(),
        "user": frappe.local.session.user,
        "database": {
            "server_id": server_id,
            "hostname": server,
            "read_only": read_only,
            "port": port,
        },
    }


@frappe.whitelist()
def whoami() -> dict[str, Any]:
    """Return which bench, process and database server answered."""
    return _who()


@frappe.whitelist()
@frappe.read_only()
def whoami_read_only() -> dict[str, Any]:
    """Return the same, asked under read_only."""
    return _who()


@frappe.whitelist()
def two_read_only_calls() -> list[int]:
    """Return the server ids of two read_only calls: only the first can be a replica's."""
    return [whoami_read_only()["database"]["server_id"] for _ in range(2)]


@frappe.whitelist()
def enqueue_run(queue: str = "default", token: str = "", seconds: Any = 0) -> str:
    """Put a job onto a queue that records where it ran; returns the job's id."""
    job = frappe.enqueue("frappe.demo.record_job", queue, token=token, seconds=seconds, name=queue)
    return job.id


def record_job(token: str = "", seconds: Any = 0, name: str = "") -> None:
    """Sleep (at most 60 s) and record the run."""
    time.sleep(min(max(float(seconds), 0), 60))
    _record("job", token, name)


def record_tick() -> None:
    """Record the run; scheduled every minute."""
    _record("tick", "", "default")


def _record(kind: str, token: str, queue: str) -> None:
    frappe.get_doc(
        doctype="Demo Run",
        kind=kind,
        token=token,
        queue=queue,
        server=socket.gethostname(),
        bench=get_bench_path(),
        pid=os.getpid(),
    ).insert()


def fill(rows: int = 10_000, seed: int = 1) -> int:
    """Add that many stock ledger entries, 1000 a statement, and return how many there are."""
    draw = random.Random(seed)
    start = date(2024, 1, 1)
    for first in range(0, rows, 1000):
        values: list[Any] = []
        size = min(1000, rows - first)
        for _ in range(size):
            quantity, rate = draw.randint(-50, 100), draw.randint(1, 5000) / 10
            values += [
                frappe.generate_hash(16),
                f"ITEM-{draw.randint(1, 500):04d}",
                f"Store {draw.randint(1, 20)}",
                start + timedelta(days=draw.randint(0, 700)),
                quantity,
                rate,
                quantity * rate,
            ]
        marks = ", ".join(["(%s, now(6), %s, %s, %s, %s, %s, %s)"] * size)
        frappe.db.sql(
            "INSERT INTO `tabStock Ledger Entry` (name, creation, item_code, warehouse, "
            f"posting_date, actual_qty, valuation_rate, stock_value) VALUES {marks}",
            values,
        )
        frappe.db.commit()
    return frappe.db.count("Stock Ledger Entry")


def first_patch() -> None:
    """Leave a mark that a migration wrote to the database."""
    frappe.db.set_default("demo_first_patch", frappe.utils.now())
