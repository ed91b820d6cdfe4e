"""The WSGI application: frappe.app:application."""

from __future__ import annotations

import json
import mimetypes
import os
import sys
import traceback
from pathlib import Path
from typing import Any

from werkzeug.exceptions import HTTPException, NotFound
from werkzeug.utils import redirect
from werkzeug.wrappers import Request, Response
from werkzeug.wsgi import ClosingIterator

import frappe
import frappe.client
import frappe.handler
from frappe import model, pages, routing, sessions
from frappe.config import Config
from frappe.desk.query_report import PREPARED, REPORTS
from frappe.exceptions import DoesNotExistError, SessionStopped
from frappe.permissions import check, check_delete
from frappe.utils import get_site_name

_SITES_PATH = os.environ.get("SITES_PATH", ".")
_CHANGING = ("POST", "PUT", "DELETE", "PATCH")


@Request.application
def _application(request: Request) -> Response:
    # What was dispatched, in order: a login by path and a `cmd` can come in one request.
    ran = frappe.local.ran = []
    response = _respond(request)
    response.headers["X-Demo-Method"] = ",".join(ran) or "none"
    return response


def _respond(request: Request) -> Response:
    try:
        _start(request)
        response = _answer(request)
    except HTTPException as error:
        return error.get_response()
    except Exception as error:
        _undo(request)
        response = _failure(request, error)
    else:
        if request.method in _CHANGING or frappe.local.flags.commit:
            frappe.db.commit()
        else:
            frappe.db.rollback()
        sessions.touch()
    response.headers["Cache-Control"] = "no-store,no-cache,must-revalidate,max-age=0"
    cookie = getattr(frappe.local, "cookie", None)
    if cookie:
        response.set_cookie("sid", cookie, httponly=True, samesite="Lax", max_age=240 * 3600)
        response.set_cookie("user_id", frappe.local.session.user, samesite="Lax")
    elif cookie == "":
        response.delete_cookie("sid")
    return response


def application(environ: dict[str, Any], start_response: Any) -> ClosingIterator:
    """Answer one request; connections are closed after the response has gone out."""
    return ClosingIterator(_application(environ, start_response), frappe.destroy)


def _start(request: Request) -> None:
    site = request.headers.get("X-Frappe-Site-Name") or get_site_name(request.host)
    try:
        frappe.init(site, sites_path=_SITES_PATH, force=True, calling=request)
    except frappe.IncorrectSitePath as error:
        raise NotFound(str(error)) from error
    if not frappe.local.conf.db_name:
        raise NotFound
    if frappe.local.db is None:
        frappe.connect(set_admin_as_user=False)
    if frappe.local.conf.maintenance_mode:
        if not frappe.local.conf.allow_reads_during_maintenance:
            raise SessionStopped("Session Stopped")
        frappe.local.flags.read_only = True
        if frappe.local.conf.read_from_replica:
            frappe.connect_replica()
        else:
            frappe.db.begin(read_only=True)
    request.max_content_length = int(frappe.local.conf.max_file_size or 25 * 1024 * 1024)
    frappe.local.form_dict = _form(request)
    form = frappe.local.form_dict
    if form.cmd == "login" or request.path == "/api/method/login" or _is_filled_in(request):
        frappe.local.ran.append("login")
        frappe.local.cookie = sessions.login(form.usr, form.pwd)
        frappe.local.response.update(
            message="Logged In", home_page="/app", full_name=frappe.local.session.user
        )
    else:
        sessions.resume(form.get("sid") or request.cookies.get("sid"))


def _is_filled_in(request: Request) -> bool:
    """Say whether the form of the page that signs in was sent."""
    form = frappe.local.form_dict
    return request.path == "/login" and request.method == "POST" and "usr" in form and not form.cmd


def _form(request: Request) -> Config:
    if request.is_json and request.get_data():
        body = request.get_json()
        fields = body if isinstance(body, dict) else {"data": body}
    else:
        fields = {**request.args.to_dict(), **request.form.to_dict()}
    fields.pop("_", None)
    return Config(fields)


def _answer(request: Request) -> Response:
    form = frappe.local.form_dict
    call = routing.resolve(request.method, request.path, form)
    if request.method == "OPTIONS":
        return Response()
    if call.kind == "method":
        return _method(call)
    if call.kind == "unknown":
        raise NotFound
    if call.kind in ("private_file", "page"):
        frappe.local.ran.append(call.kind)
        return _page(call.target) if call.kind == "page" else _private_file(call.target)
    check(call.target)
    frappe.local.ran.append("resource")
    data = _resource(call, form)
    status = 202 if call.kind == "delete" else 200
    return _json({**frappe.local.response, "data": data}, status)


def _method(call: routing.Call) -> Response:
    if call.target == "login":
        return _json(frappe.local.response)
    data = frappe.handler.execute_cmd(call.target)
    if isinstance(data, Response):
        return data
    if frappe.local.response.type == "csv":
        disposition = f'attachment; filename="{frappe.local.response.filename}"'
        return Response(
            frappe.local.response.content,
            mimetype="text/csv",
            headers={"Content-Disposition": disposition},
        )
    if frappe.local.response.type == "binary":
        disposition = f'attachment; filename="{frappe.local.response.filename}"'
        return Response(
            frappe.local.response.filecontent,
            mimetype="application/octet-stream",
            headers={"Content-Disposition": disposition},
        )
    if data is not None:
        frappe.local.response["data" if call.version == "v2" else "message"] = data
    return _json(frappe.local.response)


def _resource(call: routing.Call, form: Config) -> Any:
    if call.kind == "list":
        return frappe.call(
            frappe.client.get_list, **{**form, "doctype": call.target, **_size(form)}
        )
    if call.kind == "read":
        return frappe.get_doc(call.target, call.name)
    if call.kind == "delete":
        check_delete(call.target, call.name)
        frappe.delete_doc(call.target, call.name)
        return "ok"
    fields = json.loads(form["data"]) if isinstance(form.get("data"), str) else dict(form)
    if call.kind == "create":
        return frappe.get_doc({**fields, "doctype": call.target}).insert()
    doc = frappe.get_doc(call.target, call.name)
    doc.update({k: v for k, v in fields.items() if k not in ("name", "doctype", "flags")})
    return doc.save()


def _size(form: Config) -> dict[str, Any]:
    return {"limit_page_length": form.limit or form.limit_page_length or 20}


def _json(body: dict[str, Any], status: int = 200) -> Response:
    text = json.dumps(body, default=frappe.json_default)
    return Response(text, status=status, mimetype="application/json")


def _private_file(name: str) -> Response:
    rows = model.get_list("File", filters={"file_url": f"/private/files/{name}"}, limit=1)
    if frappe.local.session.user == "Guest" or not rows:
        raise frappe.PermissionError("You don't have permission to access this file")
    path = Path(frappe.get_site_path("private", "files", name))
    if not path.is_file():
        raise NotFound
    return Response(path.read_bytes(), mimetype=mimetypes.guess_type(name)[0])


def _page(name: str) -> Response:
    user, form = frappe.local.session.user, frappe.local.form_dict
    if name.split("/")[0] == "app":
        if user == "Guest":
            return redirect("/login?redirect-to=/app")
        bundle = _assets().get("desk.bundle.js", "")
        reports = [name for name in REPORTS if name not in {"Writing Report", *PREPARED}]
        return _html(pages.desk(user, reports, bundle))
    if name in ("", "login", "index"):
        if user != "Guest":
            return redirect(pages.target(form.get("redirect-to")), 303)
        return _html(pages.login(form.get("redirect-to")))
    raise NotFound


def _assets() -> dict[str, str]:
    assets = frappe.client_cache.get_value("assets_json", shared=True)
    if assets is None:
        # A bench without this file answers 500 here, as the original does.
        assets = json.loads(Path(_SITES_PATH, "assets", "assets.json").read_text())
        frappe.client_cache.set_value("assets_json", assets, shared=True)
    return assets


def _html(page: str, status: int = 200) -> Response:
    return Response(page, status=status, mimetype="text/html")


def _undo(request: Request) -> None:
    database = getattr(frappe.local, "db", None)
    if request.method in _CHANGING and database is not None:
        try:
            database.rollback()
        except Exception:
            traceback.print_exc(file=sys.stderr)


def _failure(request: Request, error: Exception) -> Response:
    status = getattr(error, "http_status_code", 500)
    if status >= 500:
        traceback.print_exc(file=sys.stderr)
    kind = type(error).__name__
    wants_json = request.path.startswith("/api/") or "application/json" in request.headers.get(
        "Accept", ""
    )
    if not wants_json:
        if isinstance(error, frappe.AuthenticationError) and _is_filled_in(request):
            form = frappe.local.form_dict
            return _html(
                pages.login(form.get("redirect-to"), str(form.usr or ""), str(error)), status
            )
        return _html(pages.page("Server Error" if status == 500 else kind, ""), status)
    text = traceback.format_exc()
    last = text.strip().splitlines()[-1]
    if request.path.startswith("/api/v2/"):
        return _json({"errors": [{"type": kind, "exception": text}]}, status)
    body = {"exc_type": kind, "exception": last, "exc": json.dumps([text])}
    if isinstance(error, frappe.AuthenticationError):
        body = {"message": str(error), **body}
    if isinstance(error, DoesNotExistError):
        body.pop("exc")
    if messages := getattr(frappe.local, "message_log", None):
        body["_server_messages"] = json.dumps([json.dumps({"message": m}) for m in messages])
    return _json(body, status)
