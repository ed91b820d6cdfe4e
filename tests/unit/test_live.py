"""The live view, from the events of a real run and from made ones."""

import io
import os
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from benchfleet import live, runner
from benchfleet.live import Board, Screen, Stage
from benchfleet.timing import Last

HOSTS = ("one", "two", "three")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A playbook that imports another, and the events of its run; "three" fails in the second."""
    folder = tmp_path_factory.mktemp("run")
    command = {"name": "It runs", "ansible.builtin.command": "true"}
    fail = {"name": "It fails", "ansible.builtin.fail": {}, "when": "inventory_hostname == 'three'"}
    first = {"name": "First", "hosts": "all", "gather_facts": False, "tasks": [command, command]}
    second = {"name": "Second", "hosts": "two:three", "gather_facts": False, "tasks": [fail]}
    nobody = {"name": "Nobody", "hosts": "none_such", "gather_facts": False, "tasks": [fail]}
    last = {"name": "Last", "hosts": "all", "gather_facts": False, "tasks": [command]}
    (folder / "imported.yml").write_text(yaml.safe_dump([first, nobody]))
    book = folder / "book.yml"
    imported = {"name": "I", "ansible.builtin.import_playbook": "imported.yml"}
    book.write_text(yaml.safe_dump([imported, second, last]))
    here = f"ansible_connection=local ansible_python_interpreter={sys.executable}"
    (folder / "hosts").write_text("".join(f"{host} {here}\n" for host in HOSTS))
    events = []
    import ansible_runner

    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as private:
        ansible_runner.run(
            private_data_dir=private,
            project_dir=str(folder),
            inventory=str(folder / "hosts"),
            playbook=str(book),
            envvars={**runner.VARIABLES, "PATH": path},
            suppress_env_files=True,
            quiet=True,
            event_handler=lambda event: events.append(event) or False,
        )
    return book, events


def board_of(recorded, until=None, **options):
    book, events = recorded
    board = Board("apply", live.stages(book), now=lambda: 0.0, **options)
    for event in events:
        board.event(event)
        if until and until(event):
            break
    return board


def test_stages_are_the_entries_of_the_playbook(recorded):
    assert live.stages(recorded[0]) == [
        Stage("imported", ("First", "Nobody")),
        Stage("Second", ("Second",)),
        Stage("Last", ("Last",)),
    ]


def test_every_playbook_of_ours_has_stages():
    for file in [runner.ROOT / "site.yml", *runner.ROOT.glob("playbooks/*.yml")]:
        assert live.stages(file), file


def test_marks_are_those_of_the_run(recorded):
    board = board_of(recorded)
    marks = {host: [board.mark(host, n) for n in range(3)] for host in board.hosts()}
    assert marks == {
        "one": ["ok+2", "-", "ok+1"],
        "two": ["ok+2", "ok", "ok+1"],
        "three": ["ok+2", "FAIL", "-"],
    }
    assert set(board.play_seconds) == {"First", "Nobody", "Second", "Last"}


def test_while_it_runs_hosts_run_and_wait(recorded):
    board = board_of(recorded, until=lambda event: event["event"] == "runner_on_start")
    host = board.running[0]
    assert [board.mark(host, n) for n in range(3)] == ["run", ".", "."]
    assert host in board.doing()


def fleet(hosts, stages):
    """A board in the middle of a run over so many hosts and stages."""
    columns = [Stage(f"a long name of stage {n}", (f"play {n}",)) for n in range(stages)]
    board = Board("apply", columns, Last(90, {}), now=lambda: 0.0)
    task = "A task with a name that is longer than any line may be, on every host of the fleet"
    for n in range(stages // 2 + 1):
        board.event({"event": "playbook_on_play_start", "event_data": {"name": f"play {n}"}})
        board.event({"event": "playbook_on_task_start", "event_data": {"task": task}})
        for number in range(hosts):
            data = {"host": f"reporting{number:02}.example.com", "res": {"changed": True}}
            board.event({"event": "runner_on_start", "event_data": data})
            kind = "runner_on_unreachable" if number == hosts - 1 else "runner_on_ok"
            if number:
                board.event({"event": kind, "event_data": data})
    return board


@pytest.mark.parametrize("width", [40, 60, 79, 120])
@pytest.mark.parametrize("hosts", [1, 3, 40])
@pytest.mark.parametrize("stages", [1, 9, 30])
def test_no_line_is_wider_and_no_block_higher_than_the_screen(width, hosts, stages):
    rows = ["".join(row) for row in fleet(hosts, stages).rows(width, 24)]
    assert max(map(len, rows)) <= width
    assert len(rows) <= 24 - live.LINES_LEFT + 3
    assert all(row.isprintable() for row in rows)


def test_many_hosts_are_folded_and_the_failed_one_stays():
    rows = ["".join(row) for row in fleet(40, 9).rows(79, 24)]
    assert any("DOWN" in row and "reporting39" in row for row in rows)
    assert any("23 more" in row for row in rows)
    assert any("reporting00" in row and "run" in row for row in rows)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("name", "there"), [("xterm", True), ("dumb", False), (None, False)])
def test_a_dumb_terminal_has_plain_lines(monkeypatch, name, there):
    monkeypatch.delenv("TERM", raising=False)
    if name:
        monkeypatch.setenv("TERM", name)
    assert live.wanted(Terminal()) is there
    assert not live.wanted(io.StringIO())


@pytest.mark.parametrize("colours", [True, False])
def test_colours_can_be_turned_off_and_words_stay(recorded, monkeypatch, colours):
    monkeypatch.setenv("NO_COLOR", "" if colours else "1")
    terminal = Terminal()
    screen = Screen(board_of(recorded), terminal)
    screen.update("a line above")
    text = terminal.getvalue()
    assert ("\x1b[31m" in text) is colours
    assert "FAIL" in text
    assert text.startswith("a line above\n")
    screen.clear()
    assert terminal.getvalue().endswith("\x1b[J")


def test_what_a_narrower_window_wrapped_is_erased(recorded, monkeypatch):
    screen = Screen(board_of(recorded), Terminal())
    monkeypatch.setattr(screen, "size", lambda: (79, 24))
    screen.update()
    assert screen.erased(79).startswith(f"\r\x1b[{len(screen.drawn)}A")
    assert screen.erased(39) != screen.erased(79)


def test_control_characters_of_a_task_do_not_reach_the_terminal():
    assert live.cut("a\x1b[2Jb\nc", 79) == "a [2Jb c"
