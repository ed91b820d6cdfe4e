"""A failure makes calls slower, and has no other effect on users."""

from __future__ import annotations

import pytest
from calls import KINDS
from failures import FAILURES
from player import BACK_SECONDS, FIRST_SECONDS, ROUTED, Played, Player

# Seconds that a call may take longer than a healthy one. A call that tries the broken part once
# more takes at least 0.5 s longer (read_guard_wait, or nginx's check of a silent node).
TOLERANCE = 0.4
# Seconds until calls are back where they belong; a node that was off has to start its servers.
BACK = {"node_off": BACK_SECONDS}
BACK_SOON = 30


def check_answers(played: Played, player: Player) -> None:
    """All users got the right answer, and no old data."""
    for cell in played.cells.values():
        for taken in cell.taken:
            assert taken.ok, f"{cell.call}: {taken}"
            assert taken.fresh is not False, f"{cell.call}: {taken}"


def check_places(played: Played, player: Player) -> None:
    """Saves and sign-ins went to the primary as usual, reports to a host that could answer."""
    node, primary = player.field.node.name, player.field.primary.name
    for kind, cell in played.cells.items():
        if kind not in ROUTED:
            assert {taken.place for taken in cell.taken} == {player.place(kind)}
        elif played.failure != "redis_restarted":
            benches = {node if FAILURES[played.failure].bench_lives else primary}
            benches |= {primary} if KINDS[kind].light else set()
            for taken in cell.taken:
                assert taken.bench in benches, f"{kind}: {taken}"
                assert taken.database.startswith(primary), f"{kind}: {taken}"


def check_times(played: Played, player: Player) -> None:
    """The first report is slower; other calls and later reports are not.

    The fastest ones are compared, as others may have waited for this machine.
    """
    assert player.normal is not None
    for kind, cell in played.cells.items():
        normal = player.normal.cells[kind].fastest
        assert cell.fastest <= normal + TOLERANCE, f"{kind}: {cell.later}"
        if cell.first:
            assert cell.first.seconds <= FIRST_SECONDS, f"{kind}: {cell.first}"


@pytest.mark.parametrize("key", FAILURES)
def test_a_failure_costs_some_speed_and_nothing_else(player: Player, key: str):
    first = ROUTED[list(FAILURES).index(key) % len(ROUTED)]
    played = player.play(key, first=first)
    check_answers(played, player)
    check_places(played, player)
    check_times(played, player)
    assert played.back is not None
    assert played.back <= BACK.get(key, BACK_SOON)
