"""With placed jobs, a second run changes nothing, and verify proves the row of jobs."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from conftest import Checks
from plays import Run


def test_a_second_run_changes_nothing_and_the_row_holds(
    benches: Callable[..., Run], proved: Callable[..., Checks]
):
    # verify waits for the next minute most of the time.
    with ThreadPoolExecutor(2) as pool:
        second, verified = pool.submit(benches), pool.submit(proved)
    assert second.result().changes == []
    checks = verified.result()
    assert {place: c["saw"] for place, c in checks.items() if not c["ok"]} == {}
    assert "frappe.demo.close_books: done on rep2" in checks["placed", "erp1"]["saw"]
