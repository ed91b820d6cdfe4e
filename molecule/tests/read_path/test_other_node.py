"""When a reporting bench is dead, another node answers its reports, and else the primary."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from calls import KINDS, Somebody, Taken
from failures import FAILURES, Field
from player import FIRST_SECONDS, ROUTED

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
            assert taken.seconds <= FIRST_SECONDS


@pytest.mark.parametrize("key", ["bench_stopped", "bench_hung"])
def test_with_no_node_left_the_primary_answers(key: str, field: Field, somebody: Somebody):
    other = field.at(field.others[0].name)
    with FAILURES[key].play(field), FAILURES[key].play(other):
        for kind, taken in each_kind(somebody):
            assert taken.ok, taken
            reason = "" if KINDS[kind].light else "; reason=reports"
            assert taken.place == (field.primary.name, f"{field.primary.name}{reason}")
            assert taken.seconds <= FIRST_SECONDS


@pytest.mark.usefixtures("both_answer")
def test_a_bench_that_dies_with_calls_in_flight_loses_none(
    field: Field, anybody: Callable[..., Somebody]
):
    other = field.at(field.others[0].name)
    users = [anybody(60) for _ in range(4)]
    pids = field.web_pids()
    with ThreadPoolExecutor(len(users)) as pool, field.reads_held(), other.reads_held():
        calls = [pool.submit(user.export) for user in users]
        field.wait_for_readers(2)
        field.node.run(f"kill -KILL {pids}")
        # No call has an answer yet: those of the dead bench are read again on the other node.
        other.wait_for_readers(len(users))
    answers = [call.result() for call in calls]
    assert [taken for taken in answers if not taken.ok] == []
    assert {taken.bench for taken in answers} == {other.node_name}
