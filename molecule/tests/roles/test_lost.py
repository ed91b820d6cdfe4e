"""The primary's power is cut, the standby has received less than another; then all lose power."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import opened
import pytest
from moves import GIVEN_UP, Moves
from nodes import Node, wait_until
from plays import Run
from saves import Savers, Tally, slowness, tally

from benchfleet.lab import machines, state

FIRST_SAVE_SECONDS = 60
# Transactions that rep2 has more than the standby, and the standby more than it has applied.
BEHIND = 40
DATA = "stat -c '%i %W' /var/lib/mysql/ibdata1"


class Lost(NamedTuple):
    """Saves around the moment in which the primary's power was cut.

    limit: seconds from the command within which one must go through.
    """

    saves: Tally
    moment: float
    limit: float


def received(node: Node) -> int:
    """The number of the last transaction that a replica has received."""
    status = node.run("mariadb -e 'SHOW ALL SLAVES STATUS\\G' | grep Gtid_IO_Pos")
    return int(status.rpartition("-")[2])


@pytest.fixture(scope="module")
def lost(
    moves: Moves,
    nodes: dict[str, Node],
    lab: state.Lab,
    savers: Callable[..., Savers],
    database: str,
    table: list[Tally],
) -> Lost:
    """rep1 dies. Both threads of erp1's replication had been stopped, first that which applies."""
    erp1, rep2 = nodes["erp1"], nodes["rep2"]
    with savers("erp1") as users:
        users.wait()
        erp1.sql("STOP SLAVE SQL_THREAD")
        applied = received(erp1)
        wait_until("the standby receives", lambda: received(erp1) >= applied + BEHIND)
        erp1.sql("STOP SLAVE IO_THREAD")
        has = received(erp1)
        wait_until("rep2 receives more", lambda: received(rep2) >= has + BEHIND)
        moment = time.time()
        machines.kill(lab, lab.host("rep1"))
        command, before_it = time.time(), slowness()
        moves.run("failover", *GIVEN_UP)
        limit = FIRST_SAVE_SECONDS * max(before_it, slowness())
        users.wait()
    found = tally("power of the primary cut", users, erp1, database, command)
    table.append(found)
    return Lost(found, moment, limit)


def test_the_first_save_goes_through_within_a_minute(lost: Lost):
    assert lost.saves.first is not None
    assert lost.saves.first < lost.limit
    assert (lost.saves.twice, lost.saves.signed_out) == ([], [])


def test_what_any_replica_had_received_is_there(lost: Lost):
    # The standby had applied nothing of the last seconds, and received half of it.
    assert [save for save in lost.saves.lost if save.begun < lost.moment - 1] == []


def test_one_that_has_nothing_more_follows_without_a_new_copy(
    lost: Lost, play: Callable[..., Run], moves: Moves, nodes: dict[str, Node], lab: state.Lab
):
    rep1 = nodes["rep1"]
    machines.start(lab, rep1.host)
    before = rep1.run(DATA)
    # As an operator without the launcher does it.
    play("playbooks/rejoin.yml", "-e", "node=rep1")
    assert {save.text for save in lost.saves.lost} <= moves.kept(rep1)
    if not rep1.says("ls -d /var/lib/benchfleet/ahead-*"):
        # Else it was killed with transactions that nobody had received yet.
        assert rep1.run(DATA) == before
        moves.settled()


@pytest.mark.usefixtures("lost")
def test_after_a_power_cut_of_all_the_fleet_comes_up_by_itself(
    lab: state.Lab, savers: Callable[..., Savers], one_is_open: Callable[[str], None]
):
    for host in lab.hosts:
        machines.kill(lab, host)
    machines.start_hosts(lab, lab.hosts)
    one_is_open("erp1")
    with savers("erp1") as users:
        users.wait()


def test_two_were_never_open_but_while_one_was_cut_off(
    nodes: dict[str, Node], apart: list[tuple[float, float]]
):
    assert opened.together(opened.spans(nodes.values()), apart) == []
