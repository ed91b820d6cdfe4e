"""A reporting node is taken out of service, and put back, with no call cut off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from calls import Somebody, Taken
from failures import Field


def test_drain_cuts_nothing_off(
    field: Field,
    anybody: Callable[..., Somebody],
    at_once: Any,
    somebody: Somebody,
    both_answer: Callable[[], None],
    fleet_command: Callable[..., str],
):
    node, other = field.node.name, field.others[0].name

    def report() -> Taken:
        user = anybody()
        path = "/api/method/frappe.desk.query_report.run"
        query = f'{path}?report_name=Slow Report&filters={{"seconds": 8}}'
        return user.timed(lambda: user.visitor.call("GET", query))

    def drain() -> None:
        field.wait_for_queries("sleep(")
        fleet_command("drain", node)
        assert not field.has_queries("sleep(")

    try:
        *answers, _ = at_once([report] * 4 + [drain])
        assert [taken for taken in answers if not taken.ok] == []
        assert {taken.bench for taken in answers} == {node, other}
        assert {somebody.report().bench for _ in range(10)} == {other}
    finally:
        fleet_command("undrain", node)
    both_answer()
