"""A reporting node is taken out of service, and put back, with no call cut off."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

from calls import Somebody
from failures import DRAINED, Field
from nodes import wait_until
from plays import INVENTORY

OF_LAB = ("-i", str(INVENTORY))
# A drain that does not wait for the node's calls ends sooner.
OVER_SECONDS = 6


def test_drain_cuts_nothing_off(
    field: Field,
    anybody: Callable[..., Somebody],
    somebody: Somebody,
    both_answer: Callable[[], None],
    fleet_command: Callable[..., str],
):
    other = field.at(field.others[0].name)
    users = [anybody(60) for _ in range(4)]
    mark = f"ls {DRAINED}/{field.node_name}"
    try:
        with ThreadPoolExecutor(len(users) + 1) as pool:
            with field.reads_held(), other.reads_held():
                calls = [pool.submit(user.report) for user in users]
                field.wait_for_readers(2)
                draining = pool.submit(fleet_command, "drain", field.node_name, *OF_LAB)
                wait_until("the node gets no more calls", lambda: field.primary.says(mark))
                assert not wait([draining], OVER_SECONDS).done, "drained, and calls run there"
            draining.result()
        answers = [call.result() for call in calls]
        assert [taken for taken in answers if not taken.ok] == []
        assert {taken.bench for taken in answers} == {field.node_name, other.node_name}
        assert {somebody.report().bench for _ in range(10)} == {other.node_name}
    finally:
        fleet_command("undrain", field.node_name, *OF_LAB)
    both_answer()
