"""When a replica is lost during a query, the user waits longer but gets the answer."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from calls import Somebody
from failures import FAILURES, Field

# A server that is silent but not closed is given up after some checks, ten seconds later.
# A call that does not notice the loss waits this long.
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
