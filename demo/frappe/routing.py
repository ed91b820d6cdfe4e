"""Which call a request means: every form in which the desk and API clients name one. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

DOCUMENT_FOLDERS = {"v1": "resource", "v2": "document"}


@dataclass(frozen=True)
class Call:
    """kind: method, list, create, read, update, delete, private_file, page or unknown."""

    kind: str
    target: str = ""
    name: str = ""
    version: str = "v1"


def resolve(http_method: str, path: str, form: Mapping[str, Any]) -> Call:
    """Return the call meant by a request.

    Input: the HTTP method, the path without the query, and query and body fields merged. A `cmd`
    field beats the path, wherever it was sent to: exports POST to `/` with `cmd` in the body.
    """
    if form.get("cmd"):
        return Call("method", str(form["cmd"]))
    if path.startswith("/api/"):
        return _api(http_method, path[len("/api/") :])
    if path.startswith("/private/files/"):
        return Call("private_file", path[len("/private/files/") :])
    if http_method in ("GET", "HEAD", "POST"):
        return Call("page", path.strip("/"))
    return Call("unknown")


def _api(http_method: str, rest: str) -> Call:
    version = "v1"
    head, _, tail = rest.partition("/")
    if head in DOCUMENT_FOLDERS:
        version, rest = head, tail
    folder, _, tail = rest.partition("/")
    if folder == "method" and tail:
        method, _, more = tail.partition("/")
        # Version 2 reads two parts as a DocType and its controller's method: there are none here.
        known = version == "v1" or not more
        return Call("method", method, version=version) if known else Call("unknown")
    if folder != DOCUMENT_FOLDERS[version] or not tail:
        return Call("unknown", version=version)
    doctype, _, name = tail.partition("/")
    doctype, name = unquote(doctype), unquote(name.rstrip("/"))
    if name:
        kinds = {"GET": "read", "HEAD": "read", "PUT": "update", "DELETE": "delete"}
    else:
        kinds = {"GET": "list", "HEAD": "list", "POST": "create"}
    kind = kinds.get(http_method, "unknown")
    return Call(kind, doctype, name, version)
