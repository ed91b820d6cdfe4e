"""A method that is not read_only itself reads from the replica once the operator adds it."""

from __future__ import annotations

import uuid
from collections import Counter
from typing import Any

import pytest
from calls import METHOD, Somebody
from failures import Field
from fleet.http import Answer

ADDED, TAKEN = "frappe.desk.search.search_link", "frappe.desk.reportview.get_count"
SAVES = 40

pytestmark = pytest.mark.usefixtures("alone")
routed = pytest.mark.fleet("routed")


def search(visitor: Any, text: str, **more: Any) -> Answer:
    """The call of a link field while the user types."""
    form = {"doctype": "ToDo", "txt": text, "page_length": 10, **more}
    return visitor.call("POST", METHOD + ADDED, form=form)


def count(visitor: Any) -> Answer:
    """The call of a list view for its count."""
    return visitor.call("POST", METHOD + TAKEN, form={"doctype": "ToDo"})


def place(answer: Answer) -> tuple[str, str]:
    """The hosts whose bench and whose database answered."""
    assert answer.status == 200, answer.said()
    return answer.bench, answer.headers["x-fleet-database"]


def test_each_method_is_where_it_is_by_default(somebody: Somebody, field: Field):
    assert place(search(somebody.visitor, "x")) == (field.primary.name, field.primary.name)
    assert place(count(somebody.visitor)) == (field.node.name, field.node.name)


@routed
def test_each_method_is_where_the_operator_wants_it(somebody: Somebody, field: Field):
    assert place(search(somebody.visitor, "x")) == (field.node.name, field.node.name)
    assert place(count(somebody.visitor)) == (field.primary.name, field.primary.name)
    assert somebody.rows().place == (field.node.name, field.node.name)


@routed
def test_what_was_saved_is_found(somebody: Somebody, field: Field):
    seen: Counter[Any] = Counter()
    for _ in range(SAVES):
        assert somebody.save().ok
        answer = search(somebody.visitor, somebody.last)
        seen[place(answer)] += 1
        seen["stale"] += [row["value"] for row in answer.body["message"]] != [somebody.last]
    assert seen["stale"] == 0, seen
    # The primary answers some while the node is busy.
    assert seen[field.node.name, field.node.name] >= 0.5 * SAVES, seen


@routed
def test_what_it_writes_is_kept(somebody: Somebody, field: Field):
    text = uuid.uuid4().hex
    answer = search(somebody.visitor, text, query="frappe.demo.search_insert")
    assert place(answer) == (field.node.name, f"{field.primary.name}; reason=wrote")
    (row,) = answer.body["message"]
    somebody.saved.append(row["value"])
    servers = [int(host.sql("SELECT @@server_id")) for host in (field.node, field.primary)]
    assert row["description"] == servers
    kept = f"SELECT description FROM {field.table} WHERE name = '{row['value']}'"
    assert field.primary.sql(kept) == text


@routed
def test_who_may_call_it_is_judged_as_ever(somebody: Somebody, field: Field):
    # A guest may not call it, and it gives no access to methods that are not whitelisted.
    for visitor, query in ((somebody.stranger(), ""), (somebody.visitor, "frappe.demo.record_job")):
        answer = search(visitor, "x", query=query)
        assert (answer.status, answer.bench) == (403, field.node.name)
