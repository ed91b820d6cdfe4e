"""Calls for tests: which bench and database answered, where jobs ran, what read_only allows.

The `read_…` calls run under read_only, like a report that sometimes writes. They return what they
saw, with `server_ids` of the database servers in the order of the steps; the test looks afterwards
for what was kept.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import time
from datetime import date, timedelta
from typing import Any

from rq import get_current_job

import frappe
from frappe.exceptions import DoesNotExistError, DuplicateEntryError
from frappe.utils import cint, get_bench_path


def _server_id() -> int:
    return frappe.db.sql("SELECT @@server_id")[0][0]


def _insert(description: str, name: str | None = None) -> str:
    return frappe.get_doc(doctype="ToDo", name=name, description=description).insert().name


def _for_administrator() -> None:
    if frappe.local.session.user != "Administrator":
        raise frappe.PermissionError("Only the Administrator may")


def _who() -> dict[str, Any]:
    server_id, server, read_only, port = frappe.db.sql(
        "SELECT @@server_id, @@hostname, @@read_only, @@port"
    )[0]
    return {
        "bench": get_bench_path(),
        "version": frappe.__version__,
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


@frappe.whitelist(allow_guest=True)
def asked() -> dict[str, str]:
    """Return the client's address and the scheme (http or https), as the bench sees them."""
    headers = frappe.local.request.headers
    address = headers.get("X-Forwarded-For", "").partition(",")[0].strip()
    return {"address": address, "scheme": headers.get("X-Forwarded-Proto", "")}


@frappe.whitelist()
@frappe.read_only()
def whoami_read_only() -> dict[str, Any]:
    """Return the same, asked under read_only."""
    return _who()


@frappe.whitelist()
def read_only_calls(times: Any = 2) -> list[int]:
    """Return the server ids of that many top-level read_only calls of one request."""
    return [whoami_read_only()["database"]["server_id"] for _ in range(min(cint(times), 10))]


@frappe.whitelist()
@frappe.read_only()
def read_nested() -> dict[str, Any]:
    """Call another read_only function in the midst of one."""
    before, inner = _server_id(), whoami_read_only()
    return {"server_ids": [before, inner["database"]["server_id"], _server_id()]}


@frappe.whitelist()
@frappe.read_only()
def read_insert(description: str = "read_insert") -> dict[str, Any]:
    """Insert a ToDo and read it back."""
    before = _server_id()
    name = _insert(description)
    found = frappe.db.get_value("ToDo", name, "description")
    return {"name": name, "found": found, "server_ids": [before, _server_id()]}


@frappe.whitelist()
def search_insert(doctype: str, txt: str) -> list[dict[str, Any]]:
    """Insert a ToDo with the text, as a query of search_link that writes; say where that read."""
    before = _server_id()
    value = _insert(txt)
    return [{"value": value, "description": [before, _server_id()]}]


@frappe.whitelist()
@frappe.read_only()
def read_enqueue(token: str = "", write: Any = 0) -> dict[str, Any]:
    """Have a job queued after the commit, which leaves a Demo Run with the token.

    write: insert a ToDo, too.
    """
    name = _insert("read_enqueue") if cint(write) else None
    frappe.enqueue("frappe.demo.record_job", enqueue_after_commit=True, token=token)
    return {"name": name, "token": token}


@frappe.whitelist()
@frappe.read_only()
def read_error(token: str = "", write: Any = 0, again: Any = 0) -> dict[str, Any]:
    """Fail (after an insert, with `write`), roll back, keep an Error Log whose method is the token.

    again: raise the RuntimeError once more, for the caller to see.
    """
    try:
        if cint(write):
            _insert("read_error")
        raise RuntimeError(f"The report failed: {token}")
    except RuntimeError:
        frappe.db.rollback()
        frappe.log_error(token or "read_error")
        frappe.db.commit()
        if cint(again):
            raise
    return {"token": token}


@frappe.whitelist()
@frappe.read_only()
def read_savepoint() -> dict[str, Any]:
    """Set a savepoint before any write, insert a ToDo twice, go back to it, insert another one."""
    before = _server_id()
    frappe.db.savepoint("demo")
    gone = _insert("read_savepoint: undone")
    try:
        _insert("read_savepoint: double", gone)
    except DuplicateEntryError:
        frappe.db.rollback(save_point="demo")
    kept = _insert("read_savepoint: kept")
    frappe.db.release_savepoint("demo")
    return {
        "gone": gone,
        "kept": kept,
        "found": frappe.get_all("ToDo", filters={"name": ["in", [gone, kept]]}, pluck="name"),
        "server_ids": [before, _server_id()],
    }


@frappe.whitelist()
@frappe.read_only()
def read_temporary_table(write: Any = 0) -> dict[str, Any]:
    """Fill a temporary table and read it; `write`: insert a ToDo from it, too."""
    table, name = f"demo_{frappe.generate_hash(8)}", None
    before = _server_id()
    frappe.db.sql(f"CREATE TEMPORARY TABLE {table} (word varchar(40))")
    frappe.db.sql(f"INSERT INTO {table} VALUES ('one'), ('two')")
    if cint(write):
        name = frappe.generate_hash(10)
        frappe.db.sql(
            "INSERT INTO tabToDo (name, creation, modified, description) "
            f"SELECT %s, now(6), now(6), max(word) FROM {table}",
            name,
        )
    words = frappe.db.sql(f"SELECT word FROM {table} ORDER BY word", pluck=True)
    return {"words": words, "name": name, "server_ids": [before, _server_id()]}


@frappe.whitelist()
@frappe.read_only()
def read_for_update(name: str) -> dict[str, Any]:
    """Lock a ToDo by SELECT … FOR UPDATE."""
    rows = frappe.db.sql("SELECT name FROM tabToDo WHERE name = %s FOR UPDATE", name, pluck=True)
    return {"found": rows, "server_ids": [_server_id()]}


@frappe.whitelist()
@frappe.read_only()
def read_get_value_for_update(name: str) -> dict[str, Any]:
    """Lock a ToDo by get_value(for_update=True)."""
    found = frappe.db.get_value("ToDo", name, "name", for_update=True)
    return {"found": found, "server_ids": [_server_id()]}


@frappe.whitelist()
@frappe.read_only()
def read_commit() -> dict[str, Any]:
    """Commit before any write, after a first one, roll back a second one, insert a third one."""
    frappe.db.commit()
    before = _server_id()
    first = _insert("read_commit: committed")
    frappe.db.commit()
    second = _insert("read_commit: rolled back")
    frappe.db.rollback()
    third = _insert("read_commit: left to the request")
    names = [first, second, third]
    return {
        "names": names,
        "found": [frappe.db.exists("ToDo", name) for name in names],
        "server_ids": [before, _server_id()],
    }


@frappe.whitelist()
@frappe.read_only()
def read_unbuffered(rows: Any = 1000, seconds: Any = 0) -> dict[str, Any]:
    """Read stock ledger entries as they come, with a pause (at most 60 s) after the first."""
    before, read = _server_id(), 0
    query = "SELECT name FROM `tabStock Ledger Entry` LIMIT %s"
    with frappe.db.unbuffered_cursor():
        for _ in frappe.db.sql(query, cint(rows), as_iterator=True, pluck=True):
            read += 1
            if read == 1:
                _pause(seconds)
    return {"rows": read, "server_ids": [before, _server_id()]}


@frappe.whitelist()
@frappe.read_only()
def read_write_only() -> dict[str, Any]:
    """Call a write_only function, which inserts a ToDo, from a read_only one."""
    before = _server_id()
    name, inside = _write_only()
    return {"name": name, "server_ids": [before, inside, _server_id()]}


@frappe.write_only()
def _write_only() -> tuple[str, int]:
    return _insert("read_write_only"), _server_id()


@frappe.whitelist()
@frappe.read_only()
def read_sql(statements: Any) -> list[dict[str, Any]]:
    """Run statements (a JSON list) one after the other, for the Administrator; say what each did.

    Of each: `rows` or `error` ([code, text] or [text]), and the `server_id` after it.
    """
    return run_sql(statements)


@frappe.whitelist()
def run_sql(statements: Any) -> list[dict[str, Any]]:
    """Do the same as an ordinary call."""
    _for_administrator()
    answers: list[dict[str, Any]] = []
    for statement in json.loads(statements) if isinstance(statements, str) else statements:
        try:
            answer: dict[str, Any] = {"rows": frappe.db.sql(statement)}
        except Exception as error:
            answer = {"error": [str(part) for part in error.args]}
        answers.append({"statement": statement, **answer, "server_id": _server_id()})
    return answers


@frappe.whitelist()
def add_field(doctype: str, fieldname: str) -> str:
    """Add a field to a DocType, for the Administrator; return the Custom Field's name."""
    _for_administrator()
    return frappe.get_doc(doctype="Custom Field", dt=doctype, fieldname=fieldname).insert().name


@frappe.whitelist()
def meta_fields(doctype: str) -> list[str]:
    """Return the fields a DocType has according to the meta, shared cache first."""
    return list(frappe.get_meta(doctype)["fields"])


@frappe.whitelist()
@frappe.read_only()
def read_meta_fields(doctype: str) -> list[str]:
    """Return the same, asked under read_only."""
    return meta_fields(doctype)


@frappe.whitelist()
def enqueue_run(queue: str = "default", token: str = "", seconds: Any = 0) -> str:
    """Put a job onto a queue that records where it ran; returns the job's id."""
    job = frappe.enqueue("frappe.demo.record_job", queue, token=token, seconds=seconds, name=queue)
    return job.id


@frappe.whitelist()
def enqueue_method(method: str, queue: str = "default", kwargs: Any = "{}") -> str | None:
    """Put any method onto a queue, for the Administrator; returns the job's id.

    kwargs: JSON, the method's own or enqueue's. With enqueue_after_commit there is no id yet.
    """
    _for_administrator()
    options = json.loads(kwargs) if isinstance(kwargs, str) else kwargs
    job = frappe.enqueue(method, queue, **options)
    return getattr(job, "id", None)


def record_job(token: str = "", seconds: Any = 0, name: str = "") -> None:
    """Sleep (at most 60 s) and record the run."""
    _pause(seconds)
    _record("job", token, name, "record_job")


def record_tick() -> None:
    """Record the run; scheduled every minute."""
    _record("tick", "", "default", "record_tick")


def count_stock() -> None:
    """Record the run; scheduled every five minutes, as the next two are."""
    _record("scheduled", "", _queue(), "count_stock")


def close_books() -> None:
    """Record the run."""
    _record("scheduled", "", _queue(), "close_books")


def send_digest() -> None:
    """Record the run."""
    _record("scheduled", "", _queue(), "send_digest")


def job_write_file(
    token: str,
    file_name: str,
    content: str,
    is_private: Any = 1,
    seconds: Any = 0,
    fail: Any = 0,
) -> str:
    """Store a file, then sleep (at most 60 s) before the commit, or fail; returns its URL."""
    doc = frappe.get_doc(
        doctype="File", file_name=file_name, content=content, is_private=cint(is_private)
    ).insert()
    _pause(seconds)
    if cint(fail):
        raise RuntimeError(f"The job failed: {token}")
    _record("file", token, _queue(), "job_write_file", file_url=doc.file_url)
    return doc.file_url


def job_delete_file(token: str, file_url: str) -> None:
    """Delete a file, row and content."""
    _file(file_url).delete()
    _record("file", token, _queue(), "job_delete_file", file_url=file_url)


def job_make_private(token: str, file_url: str) -> str:
    """Make a public file private, which moves it; returns its new URL."""
    doc = _file(file_url)
    doc.is_private = 1
    doc.save()
    _record("file", token, _queue(), "job_make_private", file_url=doc.file_url)
    return doc.file_url


def job_read_file(token: str, file_url: str) -> int:
    """Record and return 1 if the whole of a file lies on this bench's disk, else 0."""
    try:
        doc = _file(file_url)
        digest = hashlib.md5(doc.get_content(), usedforsecurity=False).hexdigest()
        found = int(doc.content_hash in (None, digest))
    except (OSError, DoesNotExistError):
        found = 0
    _record("file", token, _queue(), "job_read_file", file_url=file_url, found=found)
    return found


def _file(file_url: str) -> Any:
    return frappe.get_doc("File", {"file_url": file_url})


def _pause(seconds: Any) -> None:
    time.sleep(min(max(float(seconds), 0), 60))


def _queue() -> str:
    job = get_current_job()
    return job.origin.rpartition(":")[2] if job else ""


def _record(kind: str, token: str, queue: str, function: str, **more: Any) -> None:
    frappe.get_doc(
        doctype="Demo Run",
        kind=kind,
        token=token,
        queue=queue,
        server=socket.gethostname(),
        bench=get_bench_path(),
        pid=os.getpid(),
        method=f"{__name__}.{function}",
        **more,
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
