"""Old data of a replica that is behind never gets into the cache that all benches share."""

from __future__ import annotations

import uuid

import pytest
from calls import Somebody
from failures import FAILURES, Field


@pytest.mark.usefixtures("alone")
def test_a_new_field_is_known_while_the_replica_is_behind(somebody: Somebody, field: Field):
    name = f"field_{uuid.uuid4().hex[:8]}"
    with FAILURES["applying_stopped"].play(field):
        somebody.method("frappe.demo.add_field", doctype="ToDo", fieldname=name)
        report = somebody.method("frappe.demo.read_meta_fields", doctype="ToDo")
        assert report.bench == field.node.name
        assert name in report.body["message"]
        assert name in somebody.method("frappe.demo.meta_fields", doctype="ToDo").body["message"]
        values = {"description": "cache", name: "kept"}
        saved = somebody.visitor.call("POST", "/api/resource/ToDo", values=values).body["data"]
        somebody.saved.append(saved["name"])
    kept = f"SELECT `{name}` FROM {field.table} WHERE name = '{saved['name']}'"
    assert field.primary.sql(kept) == "kept"
