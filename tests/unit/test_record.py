"""The record of who is primary: the rule by which a primary opens, and what is stored when."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import basic
from fleet import record
from fleet.record import ALONE_SECONDS, Record, RecordError, accept, decide, newest, present

from library import fleet_record

ADDRESSES = {"erp1": "10.0.0.1", "rep1": "10.0.0.2", "rep2": "10.0.0.3"}
SINCE = "2026-11-30T10:00:00+00:00"
LONG = ALONE_SECONDS + 1
LINKS = (("erp1", "rep1"), ("erp1", "rep2"), ("rep1", "rep2"))


def of(epoch: int, primary: str, number: int = 3, **changes: Any) -> Record:
    """A record of a fleet of so many hosts."""
    hosts = dict(list(ADDRESSES.items())[:number])
    return replace(Record("f1", epoch, primary, SINCE, hosts, True), **changes)


OLD, NEW = of(7, "erp1"), of(8, "rep1")
PAIR = of(7, "erp1", 2)

# As in the table of cases that were tried on hosts: the host, its record, who answers with what,
# for how long nobody has; then whether it is to be open, and the epoch that it stores.
CASES: dict[str, tuple[str, Record, dict[str, Record], float, bool | None, int]] = {
    "the primary reboots alone": ("erp1", OLD, {"rep1": OLD, "rep2": OLD}, 0, True, 0),
    "all were cut, the second is back": ("erp1", OLD, {"rep1": OLD}, 0, True, 0),
    "promoted meanwhile, both answer": ("erp1", OLD, {"rep1": NEW, "rep2": NEW}, 0, False, 8),
    "promoted meanwhile, one answers": ("erp1", OLD, {"rep1": NEW}, 0, False, 8),
    "promoted meanwhile, one has not heard": (
        *("erp1", OLD, {"rep1": NEW, "rep2": OLD}, 0),
        *(False, 8),
    ),
    "both others are dead": ("erp1", OLD, {}, LONG, None, 0),
    "two hosts, both are there": ("erp1", PAIR, {"rep1": PAIR}, 0, True, 0),
    "two hosts, the other comes a little later": ("erp1", PAIR, {}, 6, None, 0),
    "two hosts, the other is dead": ("erp1", PAIR, {}, LONG, True, 0),
    "two hosts, the other is dead, and it may not open alone": (
        *("erp1", replace(PAIR, open_alone=False), {}, LONG),
        *(None, 0),
    ),
    "two hosts, promoted meanwhile": ("erp1", PAIR, {"rep1": of(8, "rep1", 2)}, LONG, False, 8),
    "two hosts, the other has an older record": (
        *("rep1", of(8, "rep1", 2), {"erp1": PAIR}, LONG),
        *(None, 0),
    ),
    "the operator left the other of two out": (
        *("rep1", of(8, "rep1", hosts={"rep1": "10.0.0.2"}, open_alone=False), {}, 0),
        *(True, 0),
    ),
    "a promotion that one host of three has": ("rep1", NEW, {"erp1": OLD, "rep2": OLD}, 0, None, 0),
    "a promotion that a majority has": ("rep1", NEW, {"erp1": OLD, "rep2": NEW}, 0, True, 0),
    "the former primary that knows it": ("erp1", NEW, {"rep1": NEW, "rep2": NEW}, 0, False, 0),
    "a node": ("rep2", NEW, {}, LONG, False, 0),
    "a node that missed the promotion": ("rep2", OLD, {"rep1": NEW}, 0, False, 8),
    "a newer record that names this host": ("rep1", OLD, {"rep2": NEW}, 0, None, 8),
    "two records of one epoch": (
        *("erp1", of(8, "erp1"), {"rep1": NEW, "rep2": of(8, "erp1")}, 0),
        *(False, 0),
    ),
    "a host alone in its fleet": ("erp1", of(1, "erp1", 1), {}, 0, True, 0),
    "an answer of another fleet": (
        *("erp1", PAIR, {"rep1": of(9, "rep1", 2, fleet_id="f2")}, 0),
        *(None, 0),
    ),
    "an answer of a host that is none of ours": ("erp1", PAIR, {"rep9": NEW}, 0, None, 0),
    "a higher epoch that names the same": (
        *("erp1", OLD, {"rep1": of(8, "erp1"), "rep2": OLD}, 0),
        *(None, 8),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_rule(name: str) -> None:
    host, own, answers, alone, is_open, stored = CASES[name]
    verdict = decide(own, host, answers, alone)
    assert verdict.open is is_open
    assert (verdict.newer.epoch if verdict.newer else 0) == stored
    assert verdict.alone == (name == "two hosts, the other is dead")


def test_of_several_newer_records_the_newest_is_stored() -> None:
    newer = of(9, "rep2")
    verdict = decide(OLD, "erp1", {"rep1": NEW, "rep2": newer}, 0)
    assert verdict.newer == newer


def test_no_two_hosts_open_by_a_majority_at_the_same_time() -> None:
    """Whatever each host has stored and whoever answers, while a promotion is under way."""
    for stored in range(4):
        on = {name: NEW if n < stored else OLD for n, name in enumerate(("rep1", "rep2", "erp1"))}
        for cut in range(8):
            links = [cut >> n & 1 for n in range(3)]
            reach = {frozenset(pair): links[n] for n, pair in enumerate(LINKS)}
            opened = []
            for host, own in on.items():
                answers = {
                    peer: on[peer] for peer in on if peer != host and reach[frozenset((host, peer))]
                }
                if decide(own, host, answers, LONG).open:
                    opened.append(host)
            assert len(opened) < 2, (stored, links)


def test_a_record_is_read_as_it_was_written(tmp_path: Path) -> None:
    assert Record.read(str(tmp_path)) is None
    OLD.write(str(tmp_path))
    assert Record.read(str(tmp_path)) == OLD
    assert json.loads(OLD.line()) == json.loads((tmp_path / record.FILE).read_text())
    assert (tmp_path / record.FILE).stat().st_mode & 0o777 == 0o644


def test_a_record_is_read_from_values_of_ansible() -> None:
    class Theirs(dict[str, Any]):
        """Takes more arguments than a dict, as Ansible's own does."""

        def __init__(self, origin: str, values: dict[str, Any]) -> None:
            super().__init__(values)

    found = Theirs("x", {**json.loads(OLD.line()), "hosts": Theirs("y", dict(ADDRESSES))})
    assert Record.of(found) == OLD
    assert asdict(Record.of(found)) == json.loads(OLD.line())


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        json.dumps({**json.loads(OLD.line()), "epoch": True}),
        json.dumps({**json.loads(OLD.line()), "hosts": {"erp1": 1}}),
    ],
)
def test_what_is_no_record_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / record.FILE).write_text(text)
    with pytest.raises(RecordError):
        Record.read(str(tmp_path))


def wanted(own: Record | None, known: Record | None = None, **changes: Any) -> Record:
    """The record that a run over all three hosts wants."""
    about: dict[str, Any] = {"fleet_id": "f1", "primary": "erp1", "hosts": ADDRESSES}
    about |= {"here": list(ADDRESSES), "open_alone": True, **changes}
    return present(own, known, **about)


def test_the_first_run_makes_the_first_record() -> None:
    first = wanted(None)
    assert first == replace(OLD, epoch=1, since=first.since)
    assert wanted(first) == first


def test_a_later_run_keeps_the_epoch_and_brings_the_hosts() -> None:
    assert wanted(PAIR) == OLD
    assert wanted(OLD, hosts={"erp1": "10.0.0.9"}).hosts == {"erp1": "10.0.0.9"}
    assert not wanted(OLD, open_alone=False).open_alone


def test_a_host_without_a_record_gets_the_newest_of_the_fleet() -> None:
    assert wanted(None, NEW, primary="rep1") == NEW
    assert wanted(OLD, NEW, primary="rep1") == NEW
    assert wanted(NEW, OLD, primary="rep1") == NEW


def test_hosts_that_were_never_in_a_run_are_asked_for_no_majority() -> None:
    first = wanted(None, here=["erp1"])
    assert list(first.hosts) == ["erp1"]
    assert list(wanted(first, here=["rep1"]).hosts) == ["erp1", "rep1"]
    assert list(wanted(None, here=["rep1"]).hosts) == ["erp1", "rep1"]


def test_after_a_failover_the_former_primary_stays_out_until_it_is_back() -> None:
    hosts = {name: ADDRESSES[name] for name in ("rep1", "rep2")}
    after = of(8, "rep1", hosts=hosts, open_alone=False)
    without = wanted(after, primary="rep1", here=["rep1", "rep2"])
    assert without == after
    assert wanted(without, primary="rep1") == replace(NEW, open_alone=True)
    removed = wanted(after, primary="rep1", here=["rep1", "rep2"], hosts=hosts)
    assert removed == replace(after, open_alone=True)


def test_a_record_that_names_another_primary_is_refused() -> None:
    for own, known in ((NEW, None), (OLD, NEW), (None, NEW)):
        with pytest.raises(RecordError):
            wanted(own, known)
    with pytest.raises(RecordError):
        wanted(replace(OLD, fleet_id="f2"))


def test_a_promotion_is_stored_over_a_lower_epoch_only() -> None:
    assert accept(None, NEW) == NEW
    assert accept(OLD, NEW) == NEW
    again = replace(NEW, since="2026-11-30T11:00:00+00:00")
    assert accept(NEW, again) == NEW
    # A switchover was cut off, and a failover to the same host goes on.
    without = replace(again, hosts={"rep1": "10.0.0.2"}, open_alone=False)
    assert accept(NEW, without) == replace(without, since=NEW.since)
    for own, new in (
        (NEW, OLD),
        (NEW, of(8, "rep2")),
        (OLD, replace(NEW, fleet_id="f2")),
    ):
        with pytest.raises(RecordError):
            accept(own, new)


def test_a_record_is_not_replaced_while_another_program_replaces_it(tmp_path: Path) -> None:
    OLD.write(str(tmp_path))
    met = threading.Barrier(2)

    def promoted(own: Record | None) -> Record:
        met.wait(10)
        time.sleep(0.2)
        return accept(own, NEW)

    program = threading.Thread(target=record.update, args=(str(tmp_path), promoted))
    program.start()
    met.wait(10)
    # site.yml began when the record was the old one.
    with pytest.raises(RecordError):
        record.update(str(tmp_path), wanted)
    program.join()
    assert Record.read(str(tmp_path)) == NEW
    assert (tmp_path / record.LOCK).stat().st_mode & 0o777 == 0o600


def test_of_equal_epochs_the_first_is_the_newest() -> None:
    other = of(8, "rep2")
    assert newest(None, OLD, NEW, other) == NEW
    assert newest(None) is None


@pytest.mark.parametrize(
    ("text", "closing"),
    [
        (lambda: json.dumps({"until": time.time() + 30}), True),
        (lambda: json.dumps({"until": time.time() - 1}), False),
        (lambda: json.dumps({"until": time.time() + 3600}), False),
        (lambda: "{}", False),
        (lambda: "", False),
    ],
)
def test_the_lock_of_a_switch_runs_out(tmp_path: Path, text: Any, closing: bool) -> None:
    assert not record.is_closing(str(tmp_path))
    (tmp_path / record.CLOSING).write_text(text())
    assert record.is_closing(str(tmp_path)) is closing


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Writes a state of the service as soon as it is kicked, given seconds after that."""

    def write(seconds: float = 0.0, **about: Any) -> str:
        def kicked() -> None:
            known = {"host": "erp1", "primary": "erp1", "open": True, "why": ""}
            text = json.dumps({**known, "checked": time.time() + seconds, **about})
            (tmp_path / record.STATE).write_text(text)

        monkeypatch.setattr(record, "kick", kicked)
        return str(tmp_path)

    return write


def test_a_wait_ends_when_the_primary_is_open(found: Any) -> None:
    assert record.wait(5, found())["open"]
    assert record.wait(5, found(primary="rep1", open=False))["primary"] == "rep1"
    assert record.wait(0.2, found(open=False))["open"] is False


def test_an_old_state_is_no_answer(found: Any) -> None:
    assert record.wait(0.2, found(seconds=-1)) == {}


# The modules


@pytest.fixture
def module(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., dict[str, Any]]:
    """Runs fleet_record on a host whose state is in a scratch folder; kicked counts."""
    (tmp_path / "run").mkdir()
    kicked: list[int] = []
    monkeypatch.setattr(record, "kick", lambda: kicked.append(1))
    monkeypatch.setattr(record, "state", dict)
    monkeypatch.setattr(fleet_record, "WORK", record.WORK)

    def run(check_mode: bool = False, **options: Any) -> dict[str, Any]:
        given = {**options, "state_dir": str(tmp_path), "_ansible_check_mode": check_mode}
        given |= {"_ansible_remote_tmp": str(tmp_path)}
        data = json.dumps({"ANSIBLE_MODULE_ARGS": given}).encode()
        monkeypatch.setattr(basic, "_ANSIBLE_ARGS", data)
        monkeypatch.setattr(basic, "_ANSIBLE_PROFILE", "legacy", raising=False)
        kicked.clear()
        capsys.readouterr()
        with contextlib.suppress(SystemExit):
            fleet_record.main()
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        return {**found, "kicked": bool(kicked)}

    return run


ABOUT = {"fleet_id": "f1", "primary": "erp1", "hosts": ADDRESSES, "here": list(ADDRESSES)}


def test_the_module_makes_a_record_once(module: Callable[..., dict[str, Any]]) -> None:
    assert module(state="known")["record"] is None
    assert module(check_mode=True, **ABOUT)["changed"]
    assert module(state="known")["record"] is None
    first = module(**ABOUT)
    assert (first["changed"], first["kicked"], first["record"]["epoch"]) == (True, True, 1)
    again = module(**ABOUT)
    assert (again["changed"], again["kicked"], again["record"]) == (False, False, first["record"])
    assert module(**{**ABOUT, "primary": "rep1"})["failed"]


def test_the_module_stores_a_promotion_once(module: Callable[..., dict[str, Any]]) -> None:
    module(**ABOUT)
    promotion = {name: ABOUT[name] for name in ("fleet_id", "hosts")}
    promotion |= {"state": "stored", "primary": "rep1", "epoch": 2, "since": SINCE}
    assert module(**promotion)["kicked"]
    again = module(**promotion)
    assert (again["changed"], again["kicked"]) == (False, False)
    assert again["record"]["since"] == SINCE
    assert module(**{**promotion, "epoch": 1})["failed"]
    assert module(**{**promotion, "primary": "rep2"})["failed"]
    known = module(state="known")["record"]
    assert (known["primary"], known["epoch"]) == ("rep1", 2)
