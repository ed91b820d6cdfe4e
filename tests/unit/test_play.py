"""Small playbooks are really run, on this machine: results, passwords, interruptions."""

import json
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml
from ansible.parsing.vault import VaultLib, VaultSecret
from fleet import runs
from fleet.processes import processes

from benchfleet import passwords, runner, stopping
from benchfleet.passwords import Secrets
from benchfleet.shell import FleetError, Interrupted

SECRET = "correct horse battery staple"


class Folder:
    """A folder with an inventory of this machine, under two names, and playbooks."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.inventory = path / "hosts"
        here = f"ansible_connection=local ansible_python_interpreter={sys.executable}"
        self.inventory.write_text(f"one {here}\ntwo {here}\n")

    def playbook(self, *tasks, name="small"):
        file = self.path / f"{name}.yml"
        play = {"name": "First", "hosts": "all", "gather_facts": False, "tasks": list(tasks)}
        file.write_text(yaml.safe_dump([play]))
        return str(file)

    def play(self, *tasks, **options):
        return runner.play(self.playbook(*tasks), self.inventory, **options)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    bin_folder = Path(sys.executable).parent
    monkeypatch.setenv("PATH", f"{bin_folder}:{os.environ['PATH']}")
    monkeypatch.setattr(runner, "log_folder", lambda: tmp_path)
    return Folder(tmp_path)


def running(text: str) -> list[int]:
    return [process.pid for process in processes() if text in process.words]


def test_changes_and_times_are_kept(folder):
    # A result that is long is counted, too.
    argv = [sys.executable, "-c", "print('line ' * 200_000)"]
    task = {"name": "It runs", "ansible.builtin.command": {"argv": argv}}
    outcome = folder.play(task)
    assert outcome.ok
    assert sorted((c.host, c.task, c.action) for c in outcome.changes) == [
        ("one", "It runs", "command"),
        ("two", "It runs", "command"),
    ]
    known = json.loads((folder.path / runner.TIMES).read_text())
    (run,) = known["runs"].values()
    assert run["seconds"] > 0
    assert set(run["plays"]) == {"First"}


def test_arguments_are_passed_on_and_their_paths_begin_at_the_current_folder(folder, monkeypatch):
    """A file among them is opened with the password that was asked for."""
    monkeypatch.chdir(folder.path)
    vault = VaultLib([("mine", VaultSecret(SECRET.encode()))])
    (folder.path / "more.yml").write_bytes(vault.encrypt("word: it's here\n"))
    monkeypatch.setattr(passwords, "prompt", lambda _option, label="": SECRET * (label == "mine"))
    wanted = {"name": "It is", "ansible.builtin.assert": {"that": "word == text"}}
    arguments = ["-e", "@more.yml", "--limit", "two", "-e", json.dumps({"text": "it's here"})]
    arguments += ["--vault-id", "mine@prompt"]
    outcome = folder.play(wanted, arguments=arguments)
    assert outcome.ok
    assert list(outcome.stats) == ["two"]


# Reads the environment and the command line of every process of the run, of which it is one.
LOOK = """
import json, os, pathlib, stat
secret = pathlib.Path(__file__).with_name("wanted").read_text()
seen = []
for folder in pathlib.Path("/proc").glob("[0-9]*"):
    for name in ("cmdline", "environ"):
        try:
            if secret in (folder / name).read_bytes().decode(errors="replace"):
                seen.append(str(folder / name))
        except OSError:
            pass
file = pathlib.Path(os.environ["ANSIBLE_BECOME_PASSWORD_FILE"])
there = file.read_text().strip() == secret
mode = stat.S_IMODE(file.stat().st_mode)
print(json.dumps({"seen": seen, "there": there, "mode": mode, "file": str(file)}))
"""


def test_passwords_are_in_a_private_file_and_nowhere_else(folder):
    (folder.path / "look.py").write_text(LOOK)
    (folder.path / "wanted").write_text(SECRET)
    command = f"{sys.executable} {folder.path}/look.py"
    outcome = folder.play(
        {"name": "Look", "ansible.builtin.command": command},
        secrets=Secrets({passwords.BECOME: SECRET}),
    )
    found = json.loads(outcome.changes[0].result["stdout"])
    assert found["seen"] == []
    assert found["there"]
    assert found["mode"] == 0o600
    assert not Path(found["file"]).exists()
    assert SECRET not in outcome.log.read_text()
    assert SECRET not in repr(Secrets({passwords.BECOME: SECRET}))


@contextmanager
def signal_while_it_waits(seconds, number):
    """Send this process a signal as soon as a `sleep` of so many seconds runs."""

    def interrupt():
        deadline = time.monotonic() + 60
        while not running(seconds) and time.monotonic() < deadline:
            time.sleep(0.1)
        os.kill(os.getpid(), number)

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        yield
    finally:
        thread.join()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_run_leaves_no_process(folder, number):
    seconds = f"300.{os.getpid()}{number}"
    task = {"name": "It waits", "ansible.builtin.command": f"sleep {seconds}"}

    with signal_while_it_waits(seconds, number), pytest.raises(Interrupted) as caught:
        folder.play(task)
    assert caught.value.status == 130
    assert running(seconds) == []
    assert not (folder.path / runner.TIMES).exists()


def test_raw_returns_ansible_s_status(folder, capfd):
    good = folder.playbook({"name": "T", "ansible.builtin.debug": {"msg": "{{ word }}"}})
    assert runner.raw(good, folder.inventory, ["--limit", "one"], {"word": "seen"}) == 0
    assert "seen" in capfd.readouterr().out
    bad = folder.playbook({"name": "T", "ansible.builtin.fail": {}}, name="bad")
    assert runner.raw(bad, folder.inventory, []) == 2


def test_a_raw_run_that_is_stopped_leaves_no_process(folder):
    seconds = f"301.{os.getpid()}"
    task = {"name": "It waits", "ansible.builtin.command": f"sleep {seconds}"}

    with signal_while_it_waits(seconds, signal.SIGTERM):
        assert runner.raw(folder.playbook(task), folder.inventory, []) == 130
    assert running(seconds) == []


def test_processes_of_other_runs_are_left_alone():
    assert os.getpid() not in stopping.processes("benchfleet-of-no-run")


def test_the_mark_is_not_the_run_that_plays_name_to_their_modules():
    """That one replaces it in the modules' environment, and they would not be found."""
    assert stopping.MARK != runs.VARIABLE


def test_a_missing_playbook_is_refused(folder):
    with pytest.raises(FleetError):
        runner.play("playbooks/none.yml", folder.inventory)
