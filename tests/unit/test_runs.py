"""Leases and the log of runs, with real files, locks and processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from fleet import controller, runs
from fleet.preflight.runs import UNDER_WAY, check_runs, refusal, run_warnings

from tests.unit.bare_fleet import OWN_RUN

OUTDATED = runs.LEASE_SECONDS + 1


def a_run(name: str, **more: Any) -> runs.Run:
    """A run that this process could be."""
    return {**controller.this_run("site.yml", "--limit rep1"), "run": name, **more}


class Host:
    """A host with a fleet's state."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.state = str(folder / "run"), str(folder / "state")
        os.mkdir(self.state)

    def take(self, run: runs.Run, **more: Any) -> str | None:
        """Id of the run that has the lease instead."""
        other = runs.take(run, self.state, folder=self.folder, **more)
        return other["run"] if other else None

    def end(self, run: runs.Run, result: str = "ok") -> None:
        """End a run."""
        runs.give_back(run, self.state, result, folder=self.folder)

    def holder(self) -> str | None:
        """Id of the run that has the lease."""
        found = runs.holder(self.folder)
        return found["run"] if found else None

    def log(self) -> dict[str, str]:
        """Results of the runs in the log."""
        return {run["run"]: run["result"] for run in runs.log(self.state, self.folder)}

    def age(self, seconds: float) -> None:
        """Set when the lease was renewed."""
        then = time.time() - seconds
        os.utime(f"{self.folder}/{runs.LEASE}", (then, then))


@pytest.fixture
def host(tmp_path: Path) -> Host:
    """A host without a lease."""
    return Host(tmp_path)


def test_one_run_at_a_time(host: Host) -> None:
    """A second run is refused until the first has ended; the first may take its lease again."""
    first, second = a_run("a"), a_run("b")
    assert host.take(first) is None
    assert host.take(first) is None
    assert host.take(second) == "a"
    assert host.log() == {"a": "under way"}
    host.end(first)
    assert host.holder() is None
    assert host.take(second) is None
    assert host.log() == {"a": "ok", "b": "under way"}


def test_a_run_is_not_refused_for_its_own_lease(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The survey is made while the run has a lease already, as in an uninstall."""
    host.take(a_run("a"))
    found = runs.other_run(host.folder)
    assert found
    assert found["run"] == "a"
    monkeypatch.setenv(runs.VARIABLE, "a")
    assert runs.other_run(host.folder) is None
    monkeypatch.setenv(runs.VARIABLE, "b")
    assert runs.other_run(host.folder)


def test_only_root_reads_them(host: Host) -> None:
    """Neither folder nor files are open to others."""
    host.take(a_run("a"))
    assert os.stat(host.folder).st_mode & 0o777 == 0o700
    for path in (f"{host.folder}/{runs.LEASE}", f"{host.state}/{runs.LOG}"):
        assert os.stat(path).st_mode & 0o777 == 0o600


@pytest.mark.parametrize("seconds", [OUTDATED, -OUTDATED])
def test_a_lease_ends_ten_minutes_after_its_last_work(host: Host, seconds: float) -> None:
    """Also when the clock was set back since."""
    host.take(a_run("a"))
    host.age(seconds)
    assert host.take(a_run("b")) is None
    assert host.log() == {"a": "did not end", "b": "under way"}


def test_a_run_renews_only_its_own_lease(host: Host) -> None:
    """A run that lost its lease, and programs that only read, renew none."""
    host.take(a_run("a"))
    host.age(runs.LEASE_SECONDS - 5)
    assert not runs.renew("b", host.folder)
    found = runs.read_lease(host.folder)
    assert found
    assert found["age"] > runs.RENEW_SECONDS
    assert runs.renew("a", host.folder)
    found = runs.read_lease(host.folder)
    assert found
    assert found["age"] < runs.RENEW_SECONDS


def test_a_lease_is_taken_by_force(host: Host) -> None:
    """The former run is returned, and does not take the lease of the new one away at its end."""
    first, second = a_run("a"), a_run("b")
    host.take(first)
    assert host.take(second, force=True) == "a"
    host.end(first)
    assert host.holder() == "b"
    assert host.log() == {"a": "ok", "b": "under way"}


def test_a_run_that_may_work_elsewhere_keeps_the_lease(host: Host) -> None:
    """Where the run on its hosts is not known to have ended, although this host was idle."""
    host.take(a_run("a", hosts=["erp1", "rep1"]))
    host.age(OUTDATED)
    assert host.take(a_run("b"), sure=False) == "a"
    assert host.take(a_run("b"), sure=False, ended="a") is None
    host.age(OUTDATED)
    # It has no other host.
    assert host.take(a_run("c"), sure=False) is None


def test_the_lease_of_a_run_that_ended_is_taken(host: Host) -> None:
    """Only of that run."""
    host.take(a_run("a"))
    assert host.take(a_run("b"), ended="x") == "a"
    assert host.take(a_run("b"), ended="a") is None
    assert host.log() == {"a": "did not end", "b": "under way"}


def test_of_many_runs_at_once_one_has_the_lease(host: Host) -> None:
    """The rest get its name."""
    names = [str(number) for number in range(16)]
    with ThreadPoolExecutor(len(names)) as pool:
        others = list(pool.map(lambda name: host.take(a_run(name)), names))
    (winner,) = (name for name, other in zip(names, others, strict=True) if other is None)
    assert {other for other in others if other} == {winner}
    assert host.log() == {winner: "under way"}


def test_two_processes_wait_for_each_other(host: Host) -> None:
    """The lock holds between processes."""
    held = (
        "import sys, time; from fleet import runs\n"
        "with runs.locked(sys.argv[1]): print('locked', flush=True); time.sleep(0.5)"
    )
    command = [sys.executable, "-c", held, host.folder]
    path = os.pathsep.join(sys.path)
    with subprocess.Popen(command, stdout=subprocess.PIPE, env={"PYTHONPATH": path}) as other:
        assert other.stdout
        assert other.stdout.readline()
        began = time.monotonic()
        assert host.take(a_run("a")) is None
        assert time.monotonic() - began > 0.3


def test_the_first_run_on_a_host_is_noted_at_its_end(host: Host) -> None:
    """The folder of the log is made by the run itself; a host that has left gets none."""
    os.rmdir(host.state)
    first = a_run("a")
    assert host.take(first) is None
    assert not os.path.exists(host.state)
    os.mkdir(host.state)
    host.end(first)
    assert host.log() == {"a": "ok"}
    again = a_run("b")
    host.take(again)
    os.unlink(f"{host.state}/{runs.LOG}")
    os.rmdir(host.state)
    host.end(again)
    assert not os.path.exists(host.state)
    assert host.holder() is None


def test_the_log_is_bounded_and_survives_a_torn_line(host: Host) -> None:
    """The newest runs are kept."""
    for number in range(runs.KEPT + 5):
        runs.note(host.state, {"run": str(number), "begun": float(number), "result": "ok"})
    path = Path(host.state, runs.LOG)
    path.write_text(path.read_text() + '{"run": "to')
    host.take(a_run("a"))
    kept = runs.read_log(host.state)
    assert len(kept) == runs.KEPT
    assert (kept[0]["run"], kept[-1]["run"]) == ("6", "a")


def test_the_log_has_nothing_of_the_process(host: Host) -> None:
    """What is of use only while a run is under way stays in the lease."""
    run = a_run("a")
    host.take(run)
    host.end(run, "ok, changed 3")
    (entry,) = runs.read_log(host.state)
    assert set(entry) == set(runs.LOGGED)


def test_last_run(host: Host) -> None:
    """As the status shows it."""
    assert runs.last_run(host.state, host.folder) is None
    run = a_run("a")
    host.take(run)
    last = runs.last_run(host.state, host.folder)
    assert last
    assert last["result"] == "under way"
    assert last["seconds"] is None
    host.end(run, "ok")
    last = runs.last_run(host.state, host.folder)
    assert last
    assert last["result"] == "ok"
    assert last["seconds"] is not None
    assert last["playbook"] == "site.yml"
    assert last["who"] == run["account"]


def test_the_address_of_the_controller_is_found_behind_sudo() -> None:
    """The variable is missing in the process itself, and there in its parent."""
    code = "from fleet import runs; print(runs.origin())"
    path = os.pathsep.join(sys.path)
    inner = f"env -u SSH_CONNECTION '{sys.executable}' -c '{code}'; true"
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": path,
        "SSH_CONNECTION": "192.0.2.7 50000 192.0.2.1 22",
    }
    done = subprocess.run(
        ["sh", "-c", inner], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "192.0.2.7"


def test_a_run_of_this_account_that_is_gone_has_ended() -> None:
    """And one that works has not."""
    own = a_run("b")
    with subprocess.Popen(["sleep", "60"]) as process:
        other = a_run("a", process=process.pid, started=controller.started(process.pid))
        assert not controller.has_ended(other, own)
        # Another process has got its number.
        assert controller.has_ended({**other, "started": "1"}, own)
        process.kill()
        process.wait()
    assert controller.has_ended(other, own)


@pytest.mark.parametrize("name", ["account", "controller", "machine", "pid_space"])
def test_of_another_ones_process_nothing_is_known(name: str) -> None:
    """Another account, controller or container: its process numbers mean nothing here."""
    gone = a_run("a", process=2**22 + 1, started="1")
    assert controller.has_ended(gone, a_run("b"))
    assert not controller.has_ended({**gone, name: "other"}, a_run("b"))


def test_no_run_outlives_a_boot_of_the_controller() -> None:
    """Its process number may be another's since."""
    other = a_run("a")
    assert not controller.has_ended(other, a_run("b"))
    assert controller.has_ended({**other, "boot": "before"}, a_run("b"))


def test_values_of_extra_variables_are_not_noted() -> None:
    """They may be secret; their names are noted."""
    options = {"check": True, "subset": "rep1", "tags": ["all"], "skip_tags": ["x", "y"]}
    words = controller.arguments(options, ["node", "confirm"])
    assert words == "--check --limit rep1 --skip-tags x,y -e confirm=… -e node=…"
    assert controller.arguments({"tags": ["all"]}, ()) == ""


def test_a_refusal_names_the_other_run(host: Host) -> None:
    """Account, controller, playbook, and when it last worked."""
    host.take(a_run("a", account="ann", controller="desk"))
    host.age(90)
    other = runs.holder(host.folder)
    assert other
    problem = refusal(json.loads(json.dumps(other)), "erp1")
    facts = problem["facts"]
    assert problem["id"] == UNDER_WAY.id
    assert (facts["account"], facts["controller"], facts["host"]) == ("ann", "desk", "erp1")
    assert facts["playbook"] == "site.yml --limit rep1"
    assert 89 <= facts["seconds"] <= 91


def test_preflight_names_each_other_run_once(fleet: list[Any], settings: dict[str, Any]) -> None:
    """Also where only the primary, which --limit leaves out, is held."""
    lease = {**a_run("a", account="ann"), "begun": time.time(), "age": 3.0}
    for host in fleet:
        host["survey"]["lease"] = lease
    (problem,) = check_runs(fleet, settings)
    assert (problem["id"], problem["facts"]["host"]) == (UNDER_WAY.id, "erp1")
    (problem,) = check_runs(fleet[1:], {**settings, "primary": fleet[0]})
    assert problem["facts"]["host"] == "erp1"
    assert run_warnings(fleet, settings) == []


def test_who_only_looks_is_not_refused(fleet: list[Any], settings: dict[str, Any]) -> None:
    """Preflight alone warns; a dry run warns later; and a run by force does not."""
    fleet[0]["survey"]["lease"] = {**a_run("a"), "begun": time.time(), "age": 3.0}
    look = {**settings, "run": {**OWN_RUN, "playbook": "preflight.yml"}}
    assert list(check_runs(fleet, look)) == []
    assert len(run_warnings(fleet, look)) == 1
    for name in ("check_mode", "break_lock"):
        assert list(check_runs(fleet, {**settings, name: True})) == []


def test_a_run_of_this_account_that_was_killed_is_no_problem(
    fleet: list[Any], settings: dict[str, Any]
) -> None:
    """The same command goes on with it."""
    own = a_run("b")
    killed = a_run("a", process=2**22 + 1, started="1", begun=time.time(), age=3.0)
    fleet[0]["survey"]["lease"] = killed
    assert list(check_runs(fleet, {**settings, "run": own})) == []
