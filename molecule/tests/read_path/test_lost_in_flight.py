"""A replica that is lost in the middle of a query costs the user time, and not the answer."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from calls import Somebody
from failures import FAILURES, Field

# A server that is silent and not closed is given up after some looks at it, ten seconds later.
# Who is not told of its loss waits for as long as this.
PATIENCE = 60


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize("key", ["replica_stopped", "replica_hung"])
def test_the_answer_comes_from_the_primary(
    key: str, field: Field, anybody: Callable[..., Somebody]
):
    somebody = anybody(PATIENCE)
    with ThreadPoolExecutor(1) as pool, field.reads_held():
        call = pool.submit(somebody.report)
        field.wait_for_readers()
        with FAILURES[key].play(field):
            taken = call.result()
    assert taken.ok, taken
    assert taken.place == (field.node.name, f"{field.primary.name}; reason=lost")
