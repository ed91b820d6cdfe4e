"""The WSGI application that gunicorn runs in place of frappe.app:application."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import frappe

from benchfleet_guard import health
from benchfleet_guard.install import install
from benchfleet_guard.shared import State

_settings = install()

from frappe.app import application as _stock  # noqa: E402  (it must find the guard in place)

if _settings.health:
    health.listen(*_settings.health, State(_settings.state_dir))


def application(environ: dict[str, Any], start_response: Callable) -> Iterable[bytes]:
    """Answer one request, and say in X-Fleet-Database whose data the answer is made of."""

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        database = getattr(frappe.local, "fleet_database", _settings.primary)
        return start_response(status, [*headers, ("X-Fleet-Database", database)], exc_info)

    return _stock(environ, start)
