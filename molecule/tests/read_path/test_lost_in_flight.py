"""A replica that is lost in the middle of a query costs the user time, and not the answer."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from calls import METHOD, RUN, Somebody, Taken
from failures import FAILURES, Field

SECONDS = 4
# A server that is silent and not closed is given up after some looks at it; then all begins anew.
LIMITS = {"replica_stopped": SECONDS + 2, "replica_hung": 2 * SECONDS + 12}


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("key", LIMITS)
def test_the_answer_comes_from_the_primary(
    key: str, field: Field, somebody: Somebody, at_once: Any
):
    ended = threading.Event()

    def report() -> Taken:
        path = f'{METHOD}{RUN}?report_name=Slow Report&filters={{"seconds": {SECONDS}}}'
        taken = somebody.timed(lambda: somebody.visitor.call("GET", path))
        ended.set()
        return taken

    def lose() -> None:
        field.wait_for_queries("sleep(")
        with FAILURES[key].play(field):
            ended.wait(somebody.timeout)

    taken, _ = at_once([report, lose])
    assert taken.ok, taken
    assert taken.place == (field.node.name, f"{field.primary.name}; reason=lost")
    assert taken.seconds <= LIMITS[key]
