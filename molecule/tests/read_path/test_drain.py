"""A reporting node is taken out of service, and put back, with no call cut off."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from typing import Any

from calls import Somebody, Taken
from failures import Field

from benchfleet.runner import ROOT


def fleet_command(*words: str) -> str:
    """Run ./fleet; it must end well."""
    done = subprocess.run(
        [str(ROOT / "fleet"), *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_drain_cuts_nothing_off(
    field: Field,
    anybody: Callable[..., Somebody],
    at_once: Any,
    somebody: Somebody,
    both_answer: Callable[[], None],
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
