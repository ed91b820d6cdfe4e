"""What the scenario `roles` judges by: what became of saves, who was open, how hosts differ."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter

import pytest

from benchfleet.runner import ROOT

# Where the scenario's tests find each other, too.
sys.path += [str(ROOT / "molecule/tests"), str(ROOT / "molecule/tests/roles")]

from artifacts import COLLECT, comparable, differences, plain
from calls import Taken
from moves import end
from opened import PROGRAM, Span, spans_of, together
from saves import COLUMNS, Save, Tally, first_after
from test_cut import ORDERS

SAVES = [
    Save("a", 10.0, Taken(200, 0.5)),
    Save("lost", 11.0, Taken(200, 1.0)),
    Save("twice", 12.0, Taken(200, 6.0)),
    Save("done", 13.0, Taken(502, 2.0)),
    Save("not done", 14.0, Taken(0, 7.5)),
    Save("refused", 15.0, Taken(503, 1.0)),
    Save("signed out", 16.0, Taken(403, 1.0)),
]
ROWS = Counter({"a": 1, "twice": 2, "done": 1})


def texts(saves):
    return [save.text for save in saves]


def test_saves_are_judged_by_the_rows_that_are_there():
    found = Tally("power cut", SAVES, ROWS, 11.5)
    assert texts(found.lost) == ["lost"]
    assert found.twice == ["twice"]
    assert texts(found.unknown) == ["done", "not done"]
    assert texts(found.errors) == ["done", "not done", "refused", "signed out"]
    assert texts(found.signed_out) == ["signed out"]
    cells = [cell.strip() for cell in found.row().strip("| ").split(" | ")]
    assert cells == ["power cut", "7", "1", "1", "2 (1)", "4", "7.5 s", "6.5 s"]
    assert len(cells) == len(COLUMNS)


def test_the_first_save_is_one_that_began_after_the_command():
    assert first_after(SAVES, 9) == 1.5
    assert first_after(SAVES, 10.5) == 1.5
    assert first_after(SAVES, 12.5) is None


def test_a_server_is_open_from_an_answer_to_the_last_question_without_a_gap():
    lines = ["10.0 10.1", "10.3 10.4", "11.0 11.2", "20.0 20.1", "30.0 30.1", "31.0 31.1"]
    assert spans_of("erp1", lines) == [Span("erp1", 10.1, 11.0), Span("erp1", 30.1, 31.0)]
    assert spans_of("erp1", []) == []


def test_two_that_were_open_at_once_are_found():
    one, other = Span("erp1", 10, 20), Span("rep1", 19, 30)
    assert len(together([one, other])) == 1
    assert together([one, Span("rep1", 20, 30)]) == []
    assert together([one, Span("erp1", 15, 18)]) == []
    # A time that is known covers the whole of it.
    assert together([one, other], [(18, 20)]) == []
    assert len(together([one, other], [(19.5, 25)])) == 1


PARTS = {"erp1": "<primary>", "10.0.0.1": "<primary-ip>", "10.0.0.11": "<standby-ip>"}


@pytest.mark.parametrize(
    ("text", "other"),
    [
        ("allow 10.0.0.1, 10.0.0.11;", "allow <standby-ip>, <primary-ip>;"),
        ("b\na\n\n", "a\nb"),
        ("since 2026-11-30T18:00:00+00:00 id 123456789", "since <number> id <number>"),
        ("ssh-ed25519 " + "aB3/" * 17, "ssh-ed25519 <key>"),
        ("sum " + "0f" * 32, "sum <key>"),
        ("-----BEGIN X-----\nab\ncd\n-----END X-----", "<key>"),
        ("http://erp1:8000", "http://<primary>:8000"),
    ],
)
def test_texts_are_compared_without_names_keys_and_order(text, other):
    assert plain(text, PARTS) == plain(other, {})


@pytest.mark.parametrize("text", ["10.0.0.111", "perp1", "erp10", "110.0.0.1", "10.0.0.1.5"])
def test_only_whole_names_are_replaced(text):
    assert plain(text, PARTS) == text


def test_what_differs_is_named():
    was = {"/a": "x\ny", "/b": "1", "/etc/benchfleet/tls/ca.crt": "own", "/d": "x\nx"}
    now = {"/a": "y\nz", "/c": "1", "/etc/benchfleet/tls/ca.crt": "other", "/d": "x"}
    said = differences(comparable(was, {}), comparable(now, {}))
    assert [one.partition(":")[0] for one in said] == ["/a", "/b", "/c", "/d"]
    assert [line.strip() for line in said[0].splitlines()[1:]] == ["- x", "+ z"]
    assert differences(was, was) == []


@pytest.mark.parametrize("program", [COLLECT, PROGRAM, ORDERS])
def test_programs_for_hosts_are_python(program):
    compile(program, "program", "exec")


def test_a_command_ends_with_all_that_it_started(tmp_path):
    file = tmp_path / "file"
    script = f"(while :; do date >>{file}; sleep 0.05; done) & wait"
    process = subprocess.Popen(["sh", "-c", f"sh -c '{script}'"], text=True)
    while not file.exists():
        time.sleep(0.02)
    end(process)
    # A process that was just being started may write once more.
    time.sleep(0.1)
    size = file.stat().st_size
    time.sleep(0.3)
    assert file.stat().st_size == size
    assert process.returncode == -9
