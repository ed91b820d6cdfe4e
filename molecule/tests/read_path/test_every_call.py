"""Every read_only call of a request reads from the replica, not only the first."""

from __future__ import annotations

from calls import Somebody
from failures import Field


def test_three_calls_of_a_request_read_from_the_replica(field: Field, somebody: Somebody):
    answer = field.ask_bench("frappe.demo.read_only_calls", somebody.visitor.cookies, times=3)
    assert answer["message"] == [int(field.node.sql("SELECT @@server_id"))] * 3


def test_a_call_within_a_call_reads_from_the_replica(field: Field, somebody: Somebody):
    answer = field.ask_bench("frappe.demo.read_nested", somebody.visitor.cookies)
    assert set(answer["message"]["server_ids"]) == {int(field.node.sql("SELECT @@server_id"))}
