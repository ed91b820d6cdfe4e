"""Calls a reporting bench directly, not through the router; see the module bench_answers."""

from __future__ import annotations

import http.client
import time
from typing import Any

from ..http import Visitor
from .account import read_json

PING = "/api/method/ping"
REPORT = "/api/method/frappe.desk.query_report.run?report_name=ToDo"
# How long to wait for an answer.
ANSWER_SECONDS = 60


def wrong_commits(
    apps: dict[str, dict[str, Any]], wanted: dict[str, str]
) -> list[tuple[str, str, str]]:
    """Apps that are not at their wanted commits: (app, its commit or "none", the wanted one)."""
    return [
        (app, apps.get(app, {}).get("commit", "none")[:10], commit[:10])
        for app, commit in sorted(wanted.items())
        if apps.get(app, {}).get("commit") != commit
    ]


def in_maintenance(bench: str, site: str) -> bool:
    """Whether a site's own configuration puts it into maintenance mode."""
    return bool(read_json(f"{bench}/sites/{site}/site_config.json").get("maintenance_mode"))


def ask(visitor: Visitor, user: str, password: str) -> str:
    """What a site answered: to a ping, waited for, and to a report. Raises AssertionError."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while True:
        try:
            answer = visitor.call("GET", PING)
            said = answer.said()
        except (OSError, http.client.HTTPException) as error:
            answer, said = None, str(error)
        if answer and answer.status == 200:
            break
        if time.monotonic() > deadline:
            raise AssertionError(f"{visitor.site}: no answer within {ANSWER_SECONDS} s, but {said}")
        time.sleep(0.5)
    try:
        visitor.sign_in(user, password)
    except AssertionError:
        return f"{visitor.site} answers; no report was run, as {user} cannot sign in"
    answer = visitor.call("GET", REPORT)
    if answer.status != 200:
        raise AssertionError(f"{visitor.site}: the report ToDo ends with {answer.said()}")
    return f"{visitor.site} answers with a report"


def ask_all(params: dict[str, Any]) -> list[str]:
    """What each site answers, see the module's parameters. Raises AssertionError, OSError."""
    said = []
    for site in params["sites"]:
        if in_maintenance(params["path"], site):
            said.append(f"{site} is in maintenance and was not asked")
            continue
        with Visitor(params["address"], params["port"], site) as visitor:
            said.append(ask(visitor, params["user"], params["passwords"].get(site, "")))
    return said
