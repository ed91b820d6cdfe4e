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

SEARCH, LINK = "frappe.utils.global_search.search", "frappe.desk.search.search_link"
SAVES = 100

pytestmark = pytest.mark.usefixtures("alone")


def ask(visitor: Any, method: str, **form: Any) -> Answer:
    """A call as the desk sends it."""
    return visitor.call("POST", METHOD + method, form=form)


def link(visitor: Any, **more: Any) -> Answer:
    """What a link field asks for while one types."""
    return ask(visitor, LINK, doctype="ToDo", page_length=10, **more)


def place(answer: Answer) -> tuple[str, str]:
    """Whose bench answered, and whose database."""
    assert answer.status == 200, answer.said()
    return answer.bench, answer.headers["x-fleet-database"]


def test_a_search_is_answered_from_the_replica_and_sees_what_was_saved(
    somebody: Somebody, field: Field
):
    seen: Counter[Any] = Counter()
    for _ in range(SAVES):
        assert somebody.save().ok
        answer = ask(somebody.visitor, SEARCH, text=somebody.last)
        seen[place(answer)] += 1
        seen["stale"] += [row["name"] for row in answer.body["message"]] != [somebody.last]
    assert seen["stale"] == 0, seen
    # The primary takes some when the node has something else to do.
    assert seen[field.node.name, field.node.name] >= 0.5 * SAVES, seen


@pytest.fixture
def routed(play: Callable[..., Any], field: Field) -> Iterator[Callable[..., None]]:
    """Route by these words of the inventory; at the end it is as it was."""
    try:
        yield lambda **words: play("playbooks/router.yml", "-e", json.dumps(words))
    finally:
        play("playbooks/router.yml")


def test_the_operator_routes_each_method_as_wanted(
    somebody: Somebody, field: Field, routed: Callable[..., None]
):
    node, primary = ((host.name, host.name) for host in (field.node, field.primary))
    assert place(link(somebody.visitor, txt="x")) == primary
    routed(router_report_methods=[LINK], router_primary_methods=[SEARCH])
    assert place(ask(somebody.visitor, SEARCH, text="x")) == primary
    assert place(link(somebody.visitor, txt="x")) == node
    assert somebody.rows().place == node

    # What it writes is kept.
    text = uuid.uuid4().hex
    answer = link(somebody.visitor, txt=text, query="frappe.demo.search_insert")
    assert place(answer) == (field.node.name, f"{field.primary.name}; reason=wrote")
    (row,) = answer.body["message"]
    somebody.saved.append(row["value"])
    servers = [int(host.sql("SELECT @@server_id")) for host in (field.node, field.primary)]
    assert row["description"] == servers
    kept = f"SELECT description FROM {field.table} WHERE name = '{row['value']}'"
    assert field.primary.sql(kept) == text

    # And who may call it is judged as ever: a guest may not, and nobody what is not whitelisted.
    for visitor, query in ((somebody.stranger(), ""), (somebody.visitor, "frappe.demo.record_job")):
        answer = link(visitor, txt="x", query=query)
        assert (answer.status, answer.bench) == (403, field.node.name)
