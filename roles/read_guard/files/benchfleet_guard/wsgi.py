"""The WSGI application that gunicorn runs in place of frappe.app:application."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import frappe
from benchfleet_jobs import contract, snapshots

from benchfleet_guard import health
from benchfleet_guard.install import install
from benchfleet_guard.shared import State

_settings = install()
# Where Frappe looks for them.
_SITES = os.environ.get("SITES_PATH", ".")

from frappe.app import application as _stock  # noqa: E402  (it must find the guard in place)

if _settings.health:
    fit = contract.fits("guard", "files")
    health.listen(*_settings.health, State(_settings.state_dir), fit)


def is_absent(environ: dict[str, Any]) -> bool:
    """Whether the router names a site that is not on this bench."""
    site = environ.get("HTTP_X_FRAPPE_SITE_NAME", "")
    return bool(site) and "/" not in site and not Path(_SITES, site, "site_config.json").exists()


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer one request, and name in X-Fleet-Database the database that it was read from.

    The primary answers for a site that was made a moment ago and has not been copied to this node
    yet. It also answers snapshot reports, and calls that need a file that could not be fetched.
    """

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        database = getattr(frappe.local, "fleet_database", _settings.primary)
        return start_response(status, [*headers, ("X-Fleet-Database", database)], exc_info)

    def on_primary() -> Iterable[bytes]:
        # nginx passes the call to the location named here.
        start_response("503 Service Unavailable", [("X-Accel-Redirect", "@report_pool")])
        return [b""]

    def left() -> Iterable[bytes]:
        # What Frappe does at the end of a call; this one did not get there.
        frappe.destroy()
        return on_primary()

    if not _settings.health:
        answer: Iterable[bytes] = _stock(environ, start)
        return answer
    if is_absent(environ):
        return on_primary()
    return snapshots.or_elsewhere(lambda: _stock(environ, start), left, call=True)
