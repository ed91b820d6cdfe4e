"""Events of a run become lines of progress."""

import pytest

from benchfleet import runner
from benchfleet.shell import clock


class Recorded:
    """A progress with a clock of its own, and the lines that it shows."""

    def __init__(self, **options):
        self.time = 0.0
        self.lines = []
        self.progress = runner.Progress(now=lambda: self.time, show=self.lines.append, **options)

    def event(self, kind, **data):
        self.progress.event({"event": kind, "event_data": data})

    def start(self, task, *hosts):
        self.event("playbook_on_task_start", name=task, task=task)
        for host in hosts:
            self.event("runner_on_start", host=host, task=task)


@pytest.fixture
def recorded():
    return Recorded()


def test_a_short_task_without_a_change_says_nothing(recorded):
    recorded.start("bench : Bench is initialised", "erp1")
    recorded.time = 1.5
    recorded.progress.tick()
    recorded.event("runner_on_ok", host="erp1", task="Bench is initialised", res={"changed": False})
    recorded.time = 10
    recorded.progress.tick()
    assert recorded.lines == []


def test_a_long_task_is_reported_once_and_then_now_and_then(recorded):
    recorded.start("Redis runs", "erp1")
    recorded.start("bench : Bench is initialised", "erp1", "rep1")
    for second in (1, 2, 3, 4, 31, 32, 40):
        recorded.time = second
        recorded.progress.tick()
    first, second = recorded.lines
    assert first == "erp1 rep1  Bench is initialised … (task 2)"
    assert second.startswith("erp1 rep1  Bench is initialised … ")
    assert "00:32" in second


def test_hosts_that_are_done_are_not_waited_for(recorded):
    recorded.start("Bench is initialised", "erp1", "rep1")
    recorded.event("runner_on_skipped", host="erp1", task="Bench is initialised")
    recorded.time = 2
    recorded.progress.tick()
    assert recorded.lines == ["rep1  Bench is initialised … (task 1)"]


@pytest.mark.parametrize(("duration", "words"), [(0.4, "changed"), (14.2, "changed, 14 s")])
def test_a_change_is_reported_with_its_time(recorded, duration, words):
    recorded.start("Bench is initialised", "erp1")
    result = {"changed": True}
    recorded.event(
        "runner_on_ok", host="erp1", task="Bench is initialised", res=result, duration=duration
    )
    assert recorded.lines == [f"erp1  Bench is initialised ({words})"]


def test_a_failure_is_kept_in_full(recorded):
    recorded.start("Site exists", "erp1")
    result = {"msg": "the database refused", "stderr": "line 1\nline 2", "stdout": ""}
    recorded.event("runner_on_failed", host="erp1", task="Site exists", task_path="x:3", res=result)
    assert recorded.lines == ["erp1  Site exists FAILED"]
    assert recorded.progress.failures[0].splitlines() == [
        "erp1: Site exists (x:3)",
        "    the database refused",
        "    stderr:",
        "    line 1",
        "    line 2",
    ]


def test_of_a_loop_only_the_failed_items_are_kept():
    items = [{"msg": "fine", "failed": False}, {"msg": "not fine", "failed": True}]
    event = {"event_data": {"host": "erp1", "task": "T", "res": {"results": items}}}
    text = runner.failure_text(event)
    assert "not fine" in text
    assert "    fine" not in text


def test_an_expected_failure_is_no_failure(recorded):
    recorded.event("runner_on_failed", host="erp1", task="T", ignore_errors=True, res={})
    assert recorded.progress.failures == []


def test_the_wanted_module_s_result_is_collected():
    recorded = Recorded(collect=("check_fleet",))
    checks = {"checks": [{"row": "S1"}]}
    recorded.event(
        "runner_on_ok", host="localhost", task="V", task_action="check_fleet", res=checks
    )
    recorded.event("runner_on_ok", host="localhost", task="O", task_action="ansible.builtin.ping")
    assert recorded.progress.results == [checks]


def test_stats_name_every_host(recorded):
    recorded.event("playbook_on_stats", ok={"erp1": 3}, dark={"rep1": 1}, changed={"erp1": 1})
    assert recorded.progress.stats["erp1"]["changed"] == 1
    assert recorded.progress.stats["rep1"]["dark"] == 1


def test_many_hosts_are_cut_short():
    assert runner.names(["a", "b"]) == "a b"
    assert runner.names([f"h{n}" for n in range(7)]) == "h0 h1 h2 h3 and 3 more"


@pytest.mark.parametrize(
    ("seconds", "words"), [(0, "00:00"), (192.9, "03:12"), (3599, "59:59"), (3661, "1:01:01")]
)
def test_clock(seconds, words):
    assert clock(seconds) == words


def test_a_collected_module_s_failure_is_left_to_who_collects_it():
    recorded = Recorded(collect=("check_fleet",))
    verdict = {"checks": [{"row": "S1", "ok": False}], "msg": "1 of 1 checks is red"}
    recorded.event("runner_on_failed", host="l", task="V", task_action="check_fleet", res=verdict)
    assert recorded.progress.results == [verdict]
    assert recorded.progress.failures == []
    assert recorded.lines == []
