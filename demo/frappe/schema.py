"""The DocTypes a new site gets, and the two DocTypes that change tables."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import frappe
from frappe import model
from frappe.exceptions import ValidationError

# DocType: fields as "name" (Data), "name:Type"; every table has the standard columns besides.
DOCTYPES: dict[str, str] = {
    "DocType": "module issingle:Check",
    "DocField": "parent parenttype parentfield fieldname label fieldtype",
    "Custom Field": "dt fieldname label fieldtype",
    "User": "email first_name last_name user_type enabled:Check last_login:Datetime "
    "last_active:Datetime",
    "ToDo": "description:Text status priority date:Date allocated_to assigned_by",
    "File": "file_name file_url:Text is_private:Check file_size:Int attached_to_doctype "
    "attached_to_name content_hash",
    "Error Log": "method error:Long_Text",
    "DefaultValue": "defkey defvalue:Text parent",
    "Scheduled Job Type": "method:Text frequency cron_format create_log:Check "
    "last_execution:Datetime stopped:Check",
    "Scheduled Job Log": "scheduled_job_type status details:Text server",
    "Stock Ledger Entry": "item_code warehouse posting_date:Date actual_qty:Float "
    "valuation_rate:Float stock_value:Float",
    "Prepared Report": "report_name filters:Text status error_message:Text "
    "report_end_time:Datetime job_id",
    "DuckDB Sync": "doc_type filename synced:Check",
    "Patch Log": "patch",
    "Demo Run": "kind token server bench pid:Int queue method file_url:Text found:Check",
}
SINGLES = {"System Settings": "enable_scheduler:Check session_expiry"}

# Tables that are no DocType's.
PLAIN_TABLES = (
    "CREATE TABLE IF NOT EXISTS tabSingles (doctype varchar(140), field varchar(140), "
    "value longtext, KEY (doctype, field))",
    "CREATE TABLE IF NOT EXISTS tabSessions (user varchar(140), sid varchar(140) PRIMARY KEY, "
    "sessiondata longtext, ipaddress varchar(16), lastupdate datetime(6), status varchar(20))",
    "CREATE TABLE IF NOT EXISTS __Auth (doctype varchar(140), name varchar(255), "
    "fieldname varchar(140), password text, encrypted tinyint NOT NULL DEFAULT 0, "
    "PRIMARY KEY (doctype, name, fieldname))",
)
_STANDARD_COLUMNS = (
    "name varchar(140) PRIMARY KEY, creation datetime(6), modified datetime(6), "
    "modified_by varchar(140), owner varchar(140), docstatus tinyint NOT NULL DEFAULT 0, "
    "idx int NOT NULL DEFAULT 0"
)


def column_type(fieldtype: str) -> str:
    """Return the SQL type of a field type; Data and what is unknown are short texts."""
    return model.COLUMN_TYPES.get(fieldtype, "varchar(140)")


def parse_fields(text: str) -> list[dict[str, str]]:
    """Return DocField dicts for a line of DOCTYPES."""
    fields = []
    for word in text.split():
        name, _, kind = word.partition(":")
        fields.append({"fieldname": name, "fieldtype": kind.replace("_", " ") or "Data"})
    return fields


def ensure_table(doctype: str, fields: list[dict[str, str]]) -> None:
    """Create a DocType's table, or add the columns it lacks."""
    frappe.db.sql_ddl(
        f"CREATE TABLE IF NOT EXISTS `tab{doctype}` ({_STANDARD_COLUMNS}) ENGINE=InnoDB"
    )
    for field in fields:
        name = field["fieldname"]
        if not model._FIELD.fullmatch(name):
            raise ValidationError(f"{name!r} is not a field name")
        frappe.db.sql_ddl(
            f"ALTER TABLE `tab{doctype}` ADD COLUMN IF NOT EXISTS "
            f"`{name}` {column_type(field.get('fieldtype', 'Data'))}"
        )


def sync() -> None:
    """Bring tables and meta to what DOCTYPES says; repeatable."""
    for statement in PLAIN_TABLES:
        frappe.db.sql_ddl(statement)
    for doctype, text in DOCTYPES.items():
        ensure_table(doctype, parse_fields(text))
    for doctype, text in (*DOCTYPES.items(), *SINGLES.items()):
        frappe.db.sql(
            "INSERT IGNORE INTO tabDocType (name, creation, modified, owner, module, issingle) "
            "VALUES (%s, now(6), now(6), 'Administrator', 'Core', %s)",
            (doctype, int(doctype in SINGLES)),
        )
        for field in parse_fields(text):
            add_field(doctype, field)
    model.clear_cache()


def sync_for(app: str) -> None:
    """Make the DocTypes of an app's modules, as far as local.app_modules knows them; repeatable.

    Each is a file MODULE/doctype/NAME/NAME.json in the app's package. The framework's own are
    above.
    """
    for content in doctypes_of(app):
        frappe.db.sql(
            "INSERT IGNORE INTO tabDocType (name, creation, modified, owner, module, issingle) "
            "VALUES (%s, now(6), now(6), 'Administrator', %s, %s)",
            (content["name"], content["module"], content.get("issingle", 0)),
        )
        if not content.get("issingle"):
            ensure_table(content["name"], content["fields"])
        for field in content["fields"]:
            add_field(content["name"], field)


def doctypes_of(app: str) -> list[dict[str, Any]]:
    """Return what the files say of the DocTypes of an app's modules."""
    package = Path(importlib.import_module(app).__file__ or "").parent
    modules = frappe.local.app_modules.get(app, [])
    paths = [path for one in modules for path in sorted(package.glob(f"{one}/doctype/*/*.json"))]
    return [json.loads(path.read_text()) for path in paths]


def drop(doctype: str) -> None:
    """Remove a DocType with its fields and its table."""
    frappe.db.sql("DELETE FROM tabDocField WHERE parent = %s", doctype)
    frappe.db.sql("DELETE FROM tabDocType WHERE name = %s", doctype)
    model.clear_meta(doctype)
    frappe.db.commit()
    frappe.db.sql_ddl(f"DROP TABLE IF EXISTS `tab{doctype}`")


def add_field(doctype: str, field: dict[str, Any]) -> None:
    """Record a field in tabDocField unless it is there."""
    frappe.db.sql(
        "INSERT IGNORE INTO tabDocField (name, creation, parent, parenttype, parentfield, "
        "fieldname, label, fieldtype) VALUES (%s, now(6), %s, 'DocType', 'fields', %s, %s, %s)",
        (
            f"{doctype}-{field['fieldname']}",
            doctype,
            field["fieldname"],
            field.get("label") or field["fieldname"].replace("_", " ").title(),
            field.get("fieldtype") or "Data",
        ),
    )


class DocType(model.Document):
    """A DocType made over the API: {"doctype": "DocType", "name": …, "fields": [{…}]}."""

    def on_update(self) -> None:
        """Make the table and the fields."""
        fields = self.fields or []
        if not model._FIELD.fullmatch(self.name.replace(" ", "_")):
            raise ValidationError(f"{self.name!r} is not a DocType name")
        ensure_table(self.name, fields)
        for field in fields:
            add_field(self.name, field)
        model.clear_meta(self.name)


class CustomField(model.Document):
    """A field added to a DocType: {"doctype": "Custom Field", "dt": …, "fieldname": …}."""

    def validate(self) -> None:
        """Name the document as the framework does; DoesNotExistError for an unknown DocType."""
        model.get_meta(self.dt)
        self.name = f"{self.dt}-{self.fieldname}"
        self.fieldtype = self.fieldtype or "Data"

    def on_update(self) -> None:
        """Add the column."""
        ensure_table(self.dt, [self])
        model.clear_meta(self.dt)
