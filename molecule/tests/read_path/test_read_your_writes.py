"""A user who saves sees the document in the next list."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from calls import Somebody
from failures import Field

USERS = 4
SAVES = 100


@pytest.fixture
def no_todos_left(field: Field) -> Any:
    """All saved documents are deleted again at once."""
    yield
    field.primary.sql(f"DELETE FROM {field.table} WHERE description = 'read path'")


@pytest.mark.usefixtures("no_todos_left")
def test_each_save_is_in_the_next_list(anybody: Callable[..., Somebody], field: Field):
    def work() -> Counter[str]:
        seen: Counter[str] = Counter()
        user = anybody()
        for _ in range(SAVES):
            assert user.save().ok
            rows = user.rows()
            seen["lists"] += rows.ok
            seen["stale"] += not rows.fresh
            seen["from a replica"] += rows.place[0] == rows.place[1] != field.primary.name
        return seen

    with ThreadPoolExecutor(USERS) as pool:
        users = [pool.submit(work) for _ in range(USERS)]
    seen = sum((user.result() for user in users), Counter())
    print(dict(seen))
    assert seen["lists"] == USERS * SAVES
    assert seen["stale"] == 0
    # The lists would prove nothing if the primary had answered them all.
    assert seen["from a replica"] >= 0.1 * USERS * SAVES
