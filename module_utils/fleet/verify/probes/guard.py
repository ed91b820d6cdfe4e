"""Try the guard as a bench's workers use it: write and read at once, write under read_only.

One document is written by the primary's connection, one under read_only. Both are removed again.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def main() -> None:
    """Print what was seen, as {own, written}."""
    from benchfleet_guard.install import install
    from benchfleet_guard.shared import State

    install()
    # The counts in `./fleet status` are of the apps' code only.
    State.count = lambda *_, **__: 0  # type: ignore[method-assign]
    import frappe

    site, mark = sys.argv[1:]
    frappe.init(site=site, sites_path=".")
    frappe.connect()

    def insert() -> str:
        todo = frappe.get_doc({"doctype": "ToDo", "description": mark})
        return str(todo.insert(ignore_permissions=True).name)

    @frappe.read_only()  # type: ignore[untyped-decorator]
    def look(name: str) -> list[Any]:
        found = frappe.db.sql("SELECT name FROM tabToDo WHERE name = %s", (name,))
        return [frappe.db.sql("SELECT @@server_id")[0][0], bool(found)]

    @frappe.read_only()  # type: ignore[untyped-decorator]
    def write() -> str:
        frappe.db.sql("SELECT 1")
        return insert()

    names = []
    try:
        names.append(insert())
        frappe.db.commit()
        seen = {"own": look(names[0])}
        names.append(write())
        frappe.db.commit()
        primary = frappe.db.sql("SELECT name FROM tabToDo WHERE name = %s", (names[1],))
        seen["written"] = [bool(primary), *look(names[1])]
    finally:
        frappe.db.rollback()
        for name in names:
            frappe.db.sql("DELETE FROM tabToDo WHERE name = %s", (name,))
        frappe.db.commit()
    print(json.dumps(seen))


if __name__ == "__main__":
    main()
