"""Without the guard the same calls have the faults of stock Frappe."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from calls import METHOD, Somebody
from failures import FAILURES, Field
from nodes import wait_until

pytestmark = [pytest.mark.fleet("stock"), pytest.mark.usefixtures("alone")]


def test_a_stopped_replica_is_an_error(field: Field, somebody: Somebody):
    with FAILURES["replica_stopped"].play(field):
        assert somebody.report().status == 500


def test_a_hung_replica_hangs_the_call(field: Field, somebody: Somebody):
    with FAILURES["replica_hung"].play(field):
        report = somebody.report()
    assert report.status == 0
    assert report.seconds >= somebody.timeout


def test_one_does_not_see_what_one_saved(field: Field, somebody: Somebody):
    with FAILURES["applying_stopped"].play(field):
        assert somebody.save().ok
        assert somebody.report().fresh is False


def test_only_the_first_call_of_a_request_reads_from_the_replica(field: Field, somebody: Somebody):
    answer = field.ask_bench("frappe.demo.read_only_calls", somebody.visitor.cookies, times=3)
    replica, primary = (int(h.sql("SELECT @@server_id")) for h in (field.node, field.primary))
    assert answer["message"] == [replica, primary, primary]


def test_a_report_that_writes_fails_and_its_job_is_lost(field: Field, somebody: Somebody):
    token = uuid.uuid4().hex
    for method in ("frappe.demo.read_insert", "frappe.demo.read_error", "frappe.demo.read_enqueue"):
        form = {"token": token, "write": 1}
        answer = somebody.visitor.call("POST", METHOD + method, form=form)
        assert answer.status == 500
    database = field.config["db_name"]
    for table, column in (("tabDemo Run", "token"), ("tabError Log", "method")):
        rows = f"SELECT COUNT(*) FROM `{database}`.`{table}` WHERE {column} = '{token}'"
        assert field.primary.sql(rows) == "0"


def test_an_old_field_list_poisons_the_cache(field: Field, somebody: Somebody):
    name = f"field_{uuid.uuid4().hex[:8]}"
    try:
        with FAILURES["applying_stopped"].play(field):
            somebody.method("frappe.demo.add_field", doctype="ToDo", fieldname=name)
            report = somebody.method("frappe.demo.read_meta_fields", doctype="ToDo")
            assert report.bench == field.node.name
        wait_until("the replica follows", field.replica_follows)
        known: Any = somebody.method("frappe.demo.meta_fields", doctype="ToDo").body["message"]
        assert name not in known
    finally:
        clear = f"cd {field.bench} && runuser -u frappe -- bench --site {field.site} clear-cache"
        field.primary.run(clear)
    assert name in somebody.method("frappe.demo.meta_fields", doctype="ToDo").body["message"]
