"""The standby becomes the primary, and back, while users save; what fails, and who is killed."""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import opened
import pytest
from artifacts import collected, comparable, differences, parts_of
from moves import BENCH, Moves, end
from nodes import Node, wait_until
from saves import Savers, Tally, slowness, tally

from benchfleet.lab import state

JOBS = 12
ENQUEUE = "/api/method/frappe.demo.enqueue_run"
# The target is five seconds on hosts of their own; here they share two processors with other tests.
LONGEST_SECONDS = 15
KILLS = 4
FILE = f"{BENCH}/sites/{state.SITE}/public/files/before-the-switch.txt"
# Web, reports and websockets of the primary's bench; web and the guard's health of a node's.
PORTS = {"erp1": {"8000", "8001", "9000"}, "rep1": {"8000", "8002"}, "rep2": {"8000", "8002"}}
LISTENS = "ss -Hltn | awk '{print $4}' | sed 's/.*://'"
STANDS_READY = "ls /etc/supervisor/conf.d/frappe-bench-next.conf"
Artifacts = dict[str, dict[str, str]]


class There(NamedTuple):
    """A switchover to the standby: saves meanwhile, jobs that waited, hosts before and after.

    longest: seconds that a save may take. realtime: what both routers answered a websocket's first
    call afterwards.
    """

    saves: Tally
    longest: float
    jobs: list[str]
    realtime: list[int]
    before: Artifacts
    after: Artifacts


def epoch(node: Node) -> int:
    """The epoch of a host's record."""
    return int(json.loads(node.run("cat /var/lib/benchfleet/primary.json"))["epoch"])


@pytest.fixture(scope="session")
def before(nodes: dict[str, Node]) -> Artifacts:
    """The hosts as they have always been, once the programs of their benches listen."""
    for name, ports in PORTS.items():
        listen = lambda node=nodes[name], ports=ports: ports <= {*node.run(LISTENS).split()}  # noqa: E731
        wait_until(f"the bench of {name} listens", listen)
    return collected(nodes, state.SITE)


@pytest.fixture(scope="module")
def there(
    before: Artifacts,
    moves: Moves,
    nodes: dict[str, Node],
    database: str,
    savers: Callable[..., Savers],
    table: list[Tally],
) -> There:
    """The standby becomes the primary, while users save at both routers."""
    nodes["erp1"].run(f"install -o frappe -g frappe -m 644 /dev/null {FILE}")
    with savers("erp1", "rep1") as users:
        users.wait()
        jobs = [f"{users.mark}-job-{number}" for number in range(JOBS)]
        for token in jobs:
            form = {"token": token, "seconds": "0.5"}
            answer = users.somebody.visitor.call("POST", ENQUEUE, form=form)
            assert answer.status == 200, answer.said()
        before_it = slowness()
        moves.run("switchover", "--yes")
        longest = LONGEST_SECONDS * max(before_it, slowness())
        users.wait()
        realtime = [users.at(ip).call("GET", "/socket.io/").status for ip in users.addresses]
    found = tally("switchover", users, nodes["rep1"], database)
    table.append(found)
    return There(found, longest, jobs, realtime, before, collected(nodes, state.SITE))


def test_users_wait_some_seconds_and_lose_nothing(there: There):
    assert there.saves.lost == []
    assert there.saves.twice == []
    assert [save.taken for save in there.saves.errors] == []
    assert there.saves.longest < there.longest


def test_both_routers_lead_to_the_new_primary(there: There):
    assert there.realtime == [200, 200]


def test_the_new_primary_has_the_jobs_and_files_of_the_former(
    there: There, nodes: dict[str, Node], database: str, moves: Moves
):
    question = f"SELECT COUNT(*) FROM `{database}`.`tabDemo Run` WHERE token = '%s'"
    for token in there.jobs:
        wait_until(token, lambda token=token: nodes["rep1"].sql(question % token) != "0")
    assert {nodes["rep1"].sql(question % token) for token in there.jobs} == {"1"}
    assert nodes["rep1"].run(f"ls {FILE}") == FILE
    moves.settled()


@pytest.mark.parametrize(("now", "once"), [("rep1", "erp1"), ("erp1", "rep1"), ("rep2", "rep2")])
def test_a_host_is_as_one_that_always_had_its_part(
    there: There, lab: state.Lab, now: str, once: str
):
    first = parts_of(lab, primary="erp1", standby="rep1", other="rep2")
    second = parts_of(lab, primary="rep1", standby="erp1", other="rep2")
    was, is_now = comparable(there.before[once], first), comparable(there.after[now], second)
    found = differences(was, is_now)
    assert not found, "\n".join(found)


@pytest.mark.usefixtures("there")
def test_every_check_of_the_fleet_is_good(
    verify: Callable[[], dict[tuple[str, str], dict[str, Any]]],
):
    assert [place for place, check in verify().items() if not check["ok"]] == []


@pytest.mark.usefixtures("there")
def test_a_switchover_that_fails_puts_the_primary_back_in_service(
    moves: Moves,
    nodes: dict[str, Node],
    savers: Callable[..., Savers],
    database: str,
    one_is_open: Callable[[str], None],
    table: list[Tally],
):
    known, target, begun = epoch(nodes["rep2"]), nodes["erp1"], time.time()
    with savers("rep1", "erp1") as users, tempfile.TemporaryFile("w+") as log:
        process = moves.begin(["switchover", "--to", "erp1", "--yes"], log)
        ready = lambda: process.poll() is not None or target.says(STANDS_READY)  # noqa: E731
        try:
            wait_until("web processes stand ready", ready, 240)
            # So that it does not reach the last transaction of the primary.
            target.hold(f"LOCK TABLES `{database}`.`tabToDo` READ")
            status = process.wait(240)
        finally:
            target.release()
            end(process)
        users.wait()
        log.seek(0)
        said = log.read()
    found = tally("switchover that fails", users, nodes["rep1"], database)
    table.append(found)
    assert status != 0, said
    # It was closed meanwhile.
    assert len([s for s in opened.spans([nodes["rep1"]]) if s.end > begun]) > 1, said
    assert {epoch(node) for node in nodes.values()} == {known}
    assert (found.lost, found.twice, found.signed_out) == ([], [], [])
    one_is_open("rep1")
    with pytest.raises(RuntimeError):
        target.run(STANDS_READY)


def test_a_command_that_was_killed_goes_on_or_goes_back(
    there: There,
    moves: Moves,
    nodes: dict[str, Node],
    savers: Callable[..., Savers],
    lab: state.Lab,
    database: str,
    one_is_open: Callable[[str], None],
    table: list[Tally],
):
    with savers("rep1", "erp1") as users:
        moves.run("switchover", "--to", "erp1", "--yes", kills=KILLS)
        users.wait()
    found = tally(f"switchover back, killed {KILLS} times", users, nodes["erp1"], database)
    table.append(found)
    assert (found.lost, found.twice, found.signed_out) == ([], [], []), moves.done
    one_is_open("erp1")
    moves.settled()
    # There and back, each host is what it was.
    after = collected(nodes, state.SITE)
    changed = [
        f"{name}: {line}"
        for name in nodes
        for line in differences(comparable(there.before[name], {}), comparable(after[name], {}))
    ]
    assert not changed, "\n".join(changed)
