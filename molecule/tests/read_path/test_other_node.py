"""A report that meets a dead reporting bench is another node's to answer, then the primary's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from calls import KINDS, Somebody, Taken
from failures import FAILURES, Field
from player import ROUTED

# Seconds that a routed call may take when it has to go elsewhere.
LIMIT = 2
DEAD = [key for key, failure in FAILURES.items() if not failure.bench_lives]


def each_kind(somebody: Somebody, times: int = 2) -> list[tuple[str, Taken]]:
    """Make every kind of routed call."""
    return [(kind, KINDS[kind].make(somebody)) for _ in range(times) for kind in ROUTED]


@pytest.mark.parametrize("key", DEAD)
def test_the_other_node_answers(key: str, field: Field, somebody: Somebody):
    with FAILURES[key].play(field):
        for _, taken in each_kind(somebody):
            assert taken.ok, taken
            assert taken.bench == field.others[0].name
            assert taken.seconds <= LIMIT


@pytest.mark.parametrize("key", ["bench_stopped", "bench_hung"])
def test_with_no_node_left_the_primary_answers(key: str, field: Field, somebody: Somebody):
    other = field.at(field.others[0].name)
    with FAILURES[key].play(field), FAILURES[key].play(other):
        for kind, taken in each_kind(somebody):
            assert taken.ok, taken
            reason = "" if KINDS[kind].light else "; reason=reports"
            assert taken.place == (field.primary.name, f"{field.primary.name}{reason}")
            assert taken.seconds <= LIMIT


@pytest.mark.usefixtures("both_answer")
def test_a_bench_that_dies_with_calls_in_flight_loses_none(
    field: Field, anybody: Callable[..., Somebody], at_once: Any
):
    def report() -> Taken:
        user = anybody()
        form = {"report_name": "Slow Report", "filters": '{"seconds": 3}'}
        path = "/api/method/frappe.desk.query_report.run"
        return user.timed(lambda: user.visitor.call("POST", path, form=form))

    def die() -> None:
        field.wait_for_queries("sleep(")
        field.node.run(f"kill -KILL {field.web_pids()}")

    *answers, _ = at_once([report] * 6 + [die])
    assert [taken for taken in answers if not taken.ok] == []
    assert {taken.bench for taken in answers} == {field.others[0].name}
