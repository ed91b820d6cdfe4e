"""The pages of the demo, for a browser: signing in, and a desk of three forms. Pure.

The desk's script (public/js/desk.bundle.js) sends each of its forms and shows the answer.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape

DESK = "/app"
STYLE = (
    "body{font-family:sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "label{display:block;margin:.5rem 0}"
    "table{border-collapse:collapse}"
    "th,td{border:1px solid #999;padding:.2rem .5rem;text-align:left}"
)
LIST = {
    "fields": json.dumps(["name", "status", "description"]),
    "order_by": "creation desc",
}


def page(title: str, body: str) -> str:
    """Return a whole page; body is HTML."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head>"
        f"<body><h1>{escape(title)} (demo framework)</h1>{body}</body></html>"
    )


def target(wanted: object) -> str:
    """Return the page to go to after signing in: one of this site, else the desk."""
    path = str(wanted or "")
    own = path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable()
    return path if own else DESK


def login(wanted: object, user: str = "", refusal: str = "") -> str:
    """Return the page that signs in; refusal: why the last try failed."""
    alert = f'<p role="alert">{escape(refusal)}</p>' if refusal else ""
    return page(
        "Login",
        f'{alert}<form method="post" action="/login">'
        f'<input type="hidden" name="redirect-to" value="{escape(target(wanted))}">'
        f'<label>User <input name="usr" value="{escape(user)}" autocomplete="username" required'
        " autofocus></label>"
        '<label>Password <input name="pwd" type="password" autocomplete="current-password"'
        ' required></label><button type="submit">Sign in</button></form>',
    )


def desk(user: str, reports: Iterable[str], script: str) -> str:
    """Return the desk: a list that can be added to, and a report; script: its address."""
    options = "".join(f"<option>{escape(name)}</option>" for name in reports)
    hidden = "".join(
        f'<input type="hidden" name="{name}" value="{escape(value)}">'
        for name, value in LIST.items()
    )
    return page(
        "Desk",
        f"<p>Signed in as {escape(user)}.</p>"
        '<form id="sign-out" method="post" action="/api/method/logout">'
        '<button type="submit">Sign out</button></form>'
        "<h2>ToDo</h2>"
        '<form id="save" method="post" action="/api/resource/ToDo">'
        '<label>Description <input name="description" required></label>'
        '<button type="submit">Save</button></form>'
        f'<form id="list" method="get" action="/api/resource/ToDo">{hidden}'
        '<button type="submit">Show the list</button></form>'
        "<h2>Report</h2>"
        '<form id="report" method="get"'
        ' action="/api/method/frappe.desk.query_report.run">'
        f'<label>Report <select name="report_name">{options}</select></label>'
        '<button type="submit">Run</button></form>'
        "<h2>Answer</h2>"
        '<p id="who" role="status">Nothing was asked yet.</p><table id="rows"></table>'
        f'<noscript>This page needs JavaScript.</noscript><script src="{escape(script)}"></script>',
    )
