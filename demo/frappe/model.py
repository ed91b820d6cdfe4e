"""Documents: rows of `tab<DocType>` tables, described by DocField rows in the same database."""

from __future__ import annotations

import json
import re
from typing import Any

import frappe
from frappe.config import Config
from frappe.exceptions import DoesNotExistError, DuplicateEntryError, ValidationError
from frappe.utils import cint, now

STANDARD_FIELDS = ("name", "owner", "creation", "modified", "modified_by", "docstatus", "idx")
COLUMN_TYPES = {
    "Check": "tinyint NOT NULL DEFAULT 0",
    "Int": "int NOT NULL DEFAULT 0",
    "Float": "decimal(21,9) NOT NULL DEFAULT 0",
    "Date": "date",
    "Datetime": "datetime(6)",
    "Text": "text",
    "Long Text": "longtext",
}
CONTROLLERS = {
    "DocType": "frappe.schema.DocType",
    "Custom Field": "frappe.schema.CustomField",
    "DuckDB Sync": "frappe.core.doctype.duckdb_sync.duckdb_sync.DuckDBSync",
    "File": "frappe.core.doctype.file.file.File",
    "Prepared Report": "frappe.core.doctype.prepared_report.prepared_report.PreparedReport",
    "Scheduled Job Type": (
        "frappe.core.doctype.scheduled_job_type.scheduled_job_type.ScheduledJobType"
    ),
}
_FIELD = re.compile(r"[A-Za-z_]\w*")
_COUNT = re.compile(r"count\((?:\*|`?name`?)\)(?: as (\w+))?", re.IGNORECASE)
_OPERATORS = {"=", "!=", ">", "<", ">=", "<=", "like", "not like", "in", "not in", "is"}


class Document(Config):
    """One document; its fields are attributes."""

    def before_insert(self) -> None:
        """Complete a new document; a controller's to fill."""

    def validate(self) -> None:
        """Refuse by raising; a controller's to fill."""

    def after_insert(self) -> None:
        """Follow up on an insert; a controller's to fill."""

    def on_update(self) -> None:
        """Follow up on a save; a controller's to fill."""

    def on_trash(self) -> None:
        """Clear away before the row goes; a controller's to fill."""

    def _columns(self) -> dict[str, Any]:
        """Return the fields that the meta knows. Others are dropped without a message."""
        known = set(STANDARD_FIELDS) | set(get_meta(self.doctype)["fields"])
        return {k: _storable(v) for k, v in self.items() if k in known}

    def insert(self, **_: Any) -> Document:
        """Add the row; DuplicateEntryError if the name is taken."""
        user, stamp = frappe.local.session.user or "Administrator", now()
        self.name = self.name or frappe.generate_hash(10)
        self.update(owner=user, modified_by=user, creation=stamp, modified=stamp)
        self.setdefault("docstatus", 0)
        self.setdefault("idx", 0)
        self.before_insert()
        self.validate()
        run_hooks(self, "validate")
        columns = self._columns()
        names = ", ".join(f"`{c}`" for c in columns)
        marks = ", ".join(["%s"] * len(columns))
        try:
            frappe.db.sql(
                f"INSERT INTO `tab{self.doctype}` ({names}) VALUES ({marks})",
                tuple(columns.values()),
            )
        except frappe.db.IntegrityError as error:
            raise DuplicateEntryError(f"{self.doctype} {self.name} exists") from error
        self.after_insert()
        self.on_update()
        return self

    def save(self, **_: Any) -> Document:
        """Write the row's fields."""
        self.update(modified=now(), modified_by=frappe.local.session.user or "Administrator")
        self.validate()
        run_hooks(self, "validate")
        columns = self._columns()
        columns.pop("name")
        frappe.db.set_value(self.doctype, self.name, columns)
        self.on_update()
        return self

    def db_set(self, field: str, value: Any, **_: Any) -> None:
        """Write one field, nothing else."""
        self[field] = value
        frappe.db.set_value(self.doctype, self.name, field, value)

    def delete(self) -> None:
        """Remove the row."""
        self.on_trash()
        frappe.db.sql(f"DELETE FROM `tab{self.doctype}` WHERE name = %s", self.name)


def run_hooks(doc: Document, event: str) -> None:
    """Call what the apps' doc_events name for an event of a DocType, or of every one ("*")."""
    for events in frappe.get_hooks("doc_events"):
        for doctype in ("*", doc.doctype):
            for method in events.get(doctype, {}).get(event, []):
                frappe.get_attr(method)(doc, event)


def _storable(value: Any) -> Any:
    return frappe.as_json(value, None) if isinstance(value, (list, dict)) else value


def get_controller(doctype: str) -> type[Document]:
    """Return a DocType's class; an app's hook override_doctype_class replaces it."""
    path = CONTROLLERS.get(doctype)
    if doctype == "Scheduled Job Type":
        for hook in frappe.get_hooks("override_doctype_class"):
            path = hook.get(doctype, path)
    return frappe.get_attr(path) if path else Document


def get_doc(*args: Any, **kwargs: Any) -> Document:
    """Load (doctype, name or filters) or make (dict or keywords) a document.

    Raises DoesNotExistError when there is nothing to load.
    """
    if kwargs or isinstance(args[0], dict):
        fields = kwargs or args[0]
        return get_controller(fields["doctype"])(fields)
    doctype, name = args
    filters = name if isinstance(name, dict) else {"name": name}
    rows = get_list(doctype, filters=filters, fields=["*"], limit=1)
    if not rows:
        raise DoesNotExistError(f"{doctype} {name} not found")
    return get_controller(doctype)({"doctype": doctype, **rows[0]})


def get_meta(doctype: str) -> dict[str, Any]:
    """Return {"name", "fields": {fieldname: fieldtype}} of a DocType.

    The shared cache is asked first and filled from the connection at hand, which under read_only
    is the replica's: a replica that lags puts an old answer into the cache of all benches.
    """
    if doctype in frappe.local.meta:
        return frappe.local.meta[doctype]
    meta = frappe.cache.hget("doctype_meta", doctype)
    if not meta:
        meta = _load_meta(doctype)
        frappe.cache.hset("doctype_meta", doctype, meta)
    frappe.local.meta[doctype] = meta
    return meta


def _load_meta(doctype: str) -> dict[str, Any]:
    if not frappe.db.sql("SELECT name FROM tabDocType WHERE name = %s", doctype):
        raise DoesNotExistError(f"DocType {doctype} not found")
    rows = frappe.db.sql(
        "SELECT fieldname, fieldtype FROM tabDocField WHERE parent = %s "
        "UNION ALL SELECT fieldname, fieldtype FROM `tabCustom Field` WHERE dt = %s",
        (doctype, doctype),
    )
    return {"name": doctype, "fields": dict(rows)}


def clear_meta(doctype: str) -> None:
    """Forget a DocType's meta now and once more after the commit."""

    def forget() -> None:
        frappe.cache.hdel("doctype_meta", doctype)
        frappe.local.meta.pop(doctype, None)

    forget()
    frappe.db.after_commit.add(forget)


def clear_cache() -> None:
    """Forget everything cached for the site but the sessions."""
    apps = ("app_modules", "installed_app_modules", "all_apps", "app_hooks")
    frappe.cache.delete_value(*apps, "doctype_meta", "last_db_session_update")
    frappe.cache.delete_value("assets_json", shared=True)


def get_list(
    doctype: str,
    filters: Any = None,
    fields: Any = None,
    order_by: str | None = None,
    limit: Any = None,
    limit_start: Any = 0,
    limit_page_length: Any = None,
    pluck: str | None = None,
    for_update: bool = False,
) -> list[Any]:
    """Return matching rows as Config objects, or one field of each (pluck); locked (for_update).

    filters: a dict or list, also as JSON, of [field, operator, value] or [doctype, field, …].
    A limit of 0 is none; without one, 20 rows. ValidationError for what is no field or operator.
    """
    get_meta(doctype)
    chosen = [pluck] if pluck else _parsed(fields) or ["name"]
    if isinstance(chosen, str):
        chosen = [chosen]
    condition, values = _where(_parsed(filters))
    query = f"SELECT {', '.join(_column(f) for f in chosen)} FROM `tab{doctype}`{condition}"
    if order_by:
        query += f" ORDER BY {_ordering(order_by)}"
    size = cint(limit if limit is not None else limit_page_length, 20)
    if size:
        query += f" LIMIT {size} OFFSET {cint(limit_start)}"
    if for_update:
        query += " FOR UPDATE"
    rows = frappe.db.sql(query, tuple(values), as_dict=True)
    return [row[pluck] for row in rows] if pluck else rows


def _parsed(value: Any) -> Any:
    if isinstance(value, str) and value[:1] in ("[", "{"):
        return json.loads(value)
    return value


def _column(field: str) -> str:
    bare = field.replace("`", "").rpartition(".")[2].strip()
    if bare == "*":
        return "*"
    if count := _COUNT.fullmatch(field.strip()):
        return f"count(*) AS `{count[1] or 'count(*)'}`"
    if not _FIELD.fullmatch(bare):
        raise ValidationError(f"{field!r} is not a field name")
    return f"`{bare}`"


def _ordering(text: str) -> str:
    parts = []
    for item in text.split(","):
        field, _, direction = item.strip().partition(" ")
        descending = direction.strip().lower() == "desc"
        parts.append(f"{_column(field)} {'DESC' if descending else 'ASC'}")
    return ", ".join(parts)


def _where(filters: Any) -> tuple[str, list[Any]]:
    if not filters:
        return "", []
    if isinstance(filters, str):
        filters = {"name": filters}
    if isinstance(filters, dict):
        pairs = [
            [k, *(v if isinstance(v, (list, tuple)) else ("=", v))] for k, v in filters.items()
        ]
    else:
        pairs = [item[1:4] if len(item) > 3 else item for item in filters]
    parts, values = [], []
    for field, operator, value in pairs:
        operator = operator.lower()
        if operator not in _OPERATORS:
            raise ValidationError(f"{operator!r} is not a filter operator")
        if operator == "is":
            parts.append(f"{_column(field)} IS {'NOT ' if value == 'set' else ''}NULL")
        elif operator in ("in", "not in"):
            options = value.split(",") if isinstance(value, str) else list(value)
            parts.append(f"{_column(field)} {operator} ({', '.join(['%s'] * len(options))})")
            values += options
        else:
            parts.append(f"{_column(field)} {operator} %s")
            values.append(value)
    return " WHERE " + " AND ".join(parts), values
