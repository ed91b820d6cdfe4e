"""A call that fails because a table was changed meanwhile is tried again.

While an app is installed on a site, or a site is migrated by hand, tables change while users work.
MariaDB does not read a table in a transaction that began before its columns changed (error 1412,
"please retry transaction"), and Frappe answers that with HTTP 500. Here the call starts over
instead, as long as the failed attempt can have left no effects: it committed nothing and queued no
job. A call that reads many tables may fail again at the next one; so in the last attempt each
statement reads the present data, where this error is impossible.
"""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Callable, Iterable
from io import BytesIO
from types import ModuleType
from typing import Any

from benchfleet_jobs import contract, snapshots
from benchfleet_jobs.hooks import when_imported

Application = Callable[..., Iterable[bytes]]

CHANGED = 1412
ATTEMPTS = 3
# Largest body, in bytes, that is kept for another attempt; uploads are larger.
BODY_BYTES = 1024 * 1024
# Other statements may commit what was written before them.
_ORDINARY = re.compile(
    r"[\s(]*(?:select|with|show|desc|describe|explain|insert|replace|update|delete|set|savepoint"
    r"|release|rollback)\b",
    re.IGNORECASE,
)

_threads = threading.local()


class Again(BaseException):
    """The call has to start over. Not an Exception, so that no code handles it as an error."""


def install() -> None:
    """Have such calls start over, in every process that answers calls."""
    when_imported("frappe.app", _begin_anew)


def answered(
    stock: Application, environ: dict[str, Any], start_response: Callable[..., Any]
) -> Iterable[bytes]:
    """The application's answer to a request, after at most ATTEMPTS attempts."""
    length = environ.get("CONTENT_LENGTH") or "0"
    if "HTTP_TRANSFER_ENCODING" in environ or not length.isdigit() or int(length) > BODY_BYTES:
        return stock(environ, start_response)
    body = environ["wsgi.input"].read(int(length))
    try:
        for attempt in range(1, ATTEMPTS + 1):
            _threads.may_repeat = attempt < ATTEMPTS
            _threads.is_last = attempt == ATTEMPTS
            try:
                return stock({**environ, "wsgi.input": BytesIO(body)}, start_response)
            except Again:
                import frappe

                # Closes the connection, which rolls back the attempt.
                frappe.destroy()
    finally:
        _threads.may_repeat = _threads.is_last = False
    raise AssertionError


def _begin_anew(module: Any) -> None:
    if not contract.fits("again"):
        return
    when_imported("frappe.database.database", _hear_database)
    when_imported("rq.queue", _note_jobs)
    stock = module.application

    @functools.wraps(stock)
    def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        return answered(stock, environ, start_response)

    module.application = application


def _keep() -> None:
    """Note that this attempt has effects that stay."""
    _threads.may_repeat = False
    snapshots.stay()


def _hear_database(module: ModuleType) -> None:
    cls = module.Database
    stock_connect, stock_sql, stock_commit = cls.connect, cls.sql, cls.commit

    @functools.wraps(stock_connect)
    def connect(self: Any, *args: Any, **options: Any) -> Any:
        given = stock_connect(self, *args, **options)
        if getattr(_threads, "is_last", False):
            self._cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        return given

    @functools.wraps(stock_sql)
    def sql(self: Any, query: Any, *args: Any, **options: Any) -> Any:
        # The query builder makes only ordinary ones.
        if isinstance(query, str) and not _ORDINARY.match(query):
            _keep()
        try:
            return stock_sql(self, query, *args, **options)
        except Exception as error:
            if error.args[:1] == (CHANGED,) and getattr(_threads, "may_repeat", False):
                raise Again from error
            raise

    @functools.wraps(stock_commit)
    def commit(*args: Any, **options: Any) -> Any:
        _keep()
        return stock_commit(*args, **options)

    cls.connect, cls.sql, cls.commit = connect, sql, commit


def _note_jobs(module: ModuleType) -> None:
    stock = module.Queue.enqueue_call

    @functools.wraps(stock)
    def enqueue_call(*args: Any, **options: Any) -> Any:
        _keep()
        return stock(*args, **options)

    module.Queue.enqueue_call = enqueue_call
