"""The primary's cable is pulled, and it goes on working: another one takes over, and it rejoins."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable
from typing import NamedTuple

import opened
import pytest
from moves import BENCH, GIVEN_UP, Moves
from nodes import Node, wait_until
from saves import Savers, Tally, tally

from benchfleet.lab import machines, state

UNIT = "roles-apart"
LOG = f"/var/log/{UNIT}"
FILE = f"{BENCH}/sites/{state.SITE}/public/files/{UNIT}.txt"
# Orders of users who still reach the primary: each half second one, by its own router.
ORDERS = f"""
import http.client, json, sys, time

site, sid, mark = sys.argv[1:]
headers = {{"Host": site, "Cookie": f"sid={{sid}}", "Content-Type": "application/json"}}
with open("{LOG}", "w", buffering=1) as log:
    for number in range(1, 10**6):
        text = f"{{mark}}-99-{{number}}"
        begun, status = time.time(), 0
        connection = http.client.HTTPConnection("127.0.0.1", 80, timeout=10)
        try:
            body = json.dumps({{"description": text}})
            connection.request("POST", "/api/resource/ToDo", body, headers)
            status = connection.getresponse().status
        except (OSError, http.client.HTTPException):
            pass
        finally:
            connection.close()
        log.write(json.dumps([text, begun, status]) + "\\n")
        time.sleep(0.5)
"""
KILLS = 3
# A primary asks the others every two seconds, and closes when it knows a higher epoch.
CLOSED_SECONDS = 15


class Apart(NamedTuple):
    """What the primary took while it was cut off, and when: from the cut to the cable's return."""

    orders: set[str]
    cut: float
    healed: float
    saves: Tally


@pytest.fixture(scope="module")
def divided(
    moves: Moves,
    nodes: dict[str, Node],
    lab: state.Lab,
    savers: Callable[..., Savers],
    database: str,
    table: list[Tally],
    apart: list[tuple[float, float]],
) -> Apart:
    """erp1 is cut off and takes orders; rep1 takes over, by a command that is killed; healed."""
    erp1 = nodes["erp1"]
    with savers("rep1") as users:
        sid = users.somebody.visitor.cookies["sid"]
        run = shlex.join(["python3", "-c", ORDERS, state.SITE, sid, users.mark])
        users.wait()
        erp1.run(f"systemd-run --quiet --unit {UNIT} {run}")
        file = shlex.quote(f"sleep 5; echo apart >{FILE}; chown frappe:frappe {FILE}")
        erp1.run(f"systemd-run --quiet --unit {UNIT}-file sh -c {file}")
        machines.cut(lab, erp1.host)
        cut = time.time()
        try:
            moves.run("failover", "--to", "rep1", *GIVEN_UP, kills=KILLS)
            users.wait()
        finally:
            machines.heal(lab, erp1.host)
            healed = time.time()
            apart.append((cut, healed + CLOSED_SECONDS))
        closed = lambda: erp1.says("mariadb -NBe 'SELECT @@read_only'") == "1"  # noqa: E731
        wait_until("the former primary closes", closed, CLOSED_SECONDS)
        erp1.run(f"systemctl stop {UNIT}")
    saves = tally(f"cable cut, failover killed {KILLS} times", users, nodes["rep1"], database, cut)
    table.append(saves)
    lines = [json.loads(line) for line in erp1.run(f"cat {LOG}").splitlines()]
    orders = {text for text, begun, status in lines if status == 200 and begun > cut + 1}
    return Apart(orders, cut, healed, saves)


def test_users_of_the_new_primary_lose_nothing_that_it_took(divided: Apart):
    # What the old one took in the moment of the cut is lost, unless it can be read.
    assert all(save.begun < divided.cut for save in divided.saves.lost)
    assert divided.saves.twice == []


def test_a_primary_that_is_back_closes_at_once(divided: Apart, nodes: dict[str, Node]):
    late = [s for s in opened.spans([nodes["erp1"]]) if s.end > divided.healed + CLOSED_SECONDS]
    assert late == []
    # It had taken orders until then.
    assert divided.orders


@pytest.mark.parametrize("order", [("erp1", "rep1"), ("rep1", "erp1")])
def test_after_a_reboot_in_any_order_the_new_primary_opens(
    divided: Apart,
    order: tuple[str, str],
    lab: state.Lab,
    savers: Callable[..., Savers],
    one_is_open: Callable[[str], None],
):
    for name in order:
        machines.kill(lab, lab.host(name))
    for name in order:
        machines.start(lab, lab.host(name))
    one_is_open("rep1")
    with savers("rep1") as users:
        users.wait()


def test_one_that_is_ahead_gets_a_new_copy_and_what_only_it_has_is_kept(
    divided: Apart, moves: Moves, nodes: dict[str, Node], one_is_open: Callable[[str], None]
):
    erp1 = nodes["erp1"]
    moves.run("rejoin", "erp1", "--yes", kills=KILLS)
    lost = {save.text for save in divided.saves.lost}
    assert divided.orders | lost <= moves.kept(erp1)
    assert erp1.run(f"find /var/lib/benchfleet/ahead-*/files -name {UNIT}.txt")
    one_is_open("rep1")
    moves.settled()
