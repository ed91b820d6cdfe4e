"""What a desk sends all day, and what is not read_only by itself, is read from the replica."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from calls import METHOD, Somebody
from failures import Field

from module_utils.verify_look import Answer

SEARCH = "frappe.desk.search.search_link"
SAVES = 100

pytestmark = pytest.mark.usefixtures("alone")


def search(visitor: Any, text: str, **more: Any) -> Answer:
    """What a link field asks for while one types."""
    form = {"doctype": "ToDo", "txt": text, "page_length": 10, **more}
    return visitor.call("POST", METHOD + SEARCH, form=form)


def place(answer: Answer) -> tuple[str, str]:
    """Whose bench answered, and whose database."""
    return answer.bench, answer.headers["x-fleet-database"]


def test_a_search_is_answered_from_the_replica_and_sees_what_was_saved(
    somebody: Somebody, field: Field
):
    seen: Counter[Any] = Counter()
    for _ in range(SAVES):
        assert somebody.save().ok
        answer = search(somebody.visitor, somebody.last)
        assert answer.status == 200, answer.said()
        seen[place(answer)] += 1
        seen["stale"] += [row["value"] for row in answer.body["message"]] != [somebody.last]
    assert seen["stale"] == 0, seen
    # The primary takes some when the node has something else to do.
    assert seen[field.node.name, field.node.name] >= 0.5 * SAVES, seen


def test_what_a_search_writes_is_kept(somebody: Somebody, field: Field):
    text = uuid.uuid4().hex
    answer = search(somebody.visitor, text, query="frappe.demo.search_insert")
    assert answer.status == 200, answer.said()
    assert place(answer) == (field.node.name, f"{field.primary.name}; reason=wrote")
    (row,) = answer.body["message"]
    servers = [int(host.sql("SELECT @@server_id")) for host in (field.node, field.primary)]
    assert row["description"] == servers
    somebody.saved.append(row["value"])
    kept = f"SELECT description FROM {field.table} WHERE name = '{row['value']}'"
    assert field.primary.sql(kept) == text


def test_who_may_call_it_is_judged_as_ever(somebody: Somebody, field: Field):
    answer = search(somebody.stranger(), "x")
    assert (answer.status, answer.bench) == (403, field.node.name)
    # Not whitelisted, and called through what is.
    answer = search(somebody.visitor, "x", query="frappe.demo.record_job")
    assert answer.status == 403


@pytest.fixture
def kept_on_the_primary(play: Callable[..., Any]) -> Iterator[None]:
    """The operator has taken the method out."""
    given = json.dumps({"router_primary_methods": [SEARCH]})
    try:
        play("playbooks/router.yml", "-e", given)
        yield
    finally:
        play("playbooks/router.yml")


@pytest.mark.usefixtures("kept_on_the_primary")
def test_the_operator_keeps_one_method_on_the_primary(somebody: Somebody, field: Field):
    assert place(search(somebody.visitor, "x")) == (field.primary.name, field.primary.name)
    assert somebody.rows().bench == field.node.name
