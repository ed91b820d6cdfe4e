"""Nobody's call fails while the primary's bench restarts; one that is dead is told in words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from calls import Somebody, failures, working
from nodes import Node, wait_until
from plays import BENCHES

WEB = "frappe-bench-web:"
# Seconds for which a call waits for the bench.
PATIENCE = 10


def test_a_restart_of_the_bench_fails_no_call(
    anybody: Callable[..., Somebody], nodes: dict[str, Node]
):
    with working(anybody) as taken:
        nodes["erp1"].run("sudo -iu frappe sh -c 'cd frappe-bench && bench restart'", 300)
    assert failures(taken) == []


def test_another_number_of_workers_fails_no_call(
    anybody: Callable[..., Somebody], nodes: dict[str, Node], play: Callable[..., Any]
):
    pid = f"supervisorctl pid {WEB}frappe-bench-frappe-web"
    before = nodes["erp1"].run(pid)
    try:
        with working(anybody) as taken:
            play(*BENCHES, "-e", "bench_web_workers=3")
        assert nodes["erp1"].run(pid) != before
    finally:
        play(*BENCHES)
    assert failures(taken) == []


def test_a_call_waits_for_a_bench_that_comes_back(
    anybody: Callable[..., Somebody], nodes: dict[str, Node]
):
    user, primary = anybody(30), nodes["erp1"]
    primary.run(f"supervisorctl stop {WEB}")
    try:
        # By somebody who does not tell the router.
        unit = "benchfleet-later"
        primary.run(f"systemd-run --quiet --unit {unit} sh -c 'sleep 2; supervisorctl start {WEB}'")
        saved = user.save()
    finally:
        primary.run(f"supervisorctl start {WEB} || true")
    assert saved.ok, saved
    assert saved.seconds > 1
    user.tidy()


def test_a_dead_bench_is_told_in_words_and_not_waited_for_again(
    anybody: Callable[..., Somebody], nodes: dict[str, Node]
):
    user, primary = anybody(30), nodes["erp1"]
    primary.run(f"supervisorctl stop {WEB}")
    try:
        first = user.visitor.call("POST", "/api/resource/ToDo", values={"description": "nobody"})
        assert first.status == 503
        assert int(first.headers["retry-after"]) > 0
        assert "try again" in first.text
        next_one = user.save()
        assert next_one.status == 503
        assert next_one.seconds < PATIENCE / 5
        # Reports are answered meanwhile.
        assert user.report().ok
    finally:
        primary.run(f"supervisorctl start {WEB}")
    wait_until("saves work again", lambda: user.save().ok, seconds=20)
    user.tidy()
