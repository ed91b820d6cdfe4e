"""supervisor's configuration and programs, with a supervisord of the tests' own."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils import supervisor
from ansible.module_utils.bench import BenchError

from library import supervisor_programs
from module_utils import programs

MAIN = """
[unix_http_server]
file={folder}/s.sock
[supervisord]
logfile={folder}/s.log
pidfile={folder}/s.pid
childlogdir={folder}
environment=EVERYWHERE="1"
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{folder}/s.sock
[include]
files = conf.d/*.conf %(here)s/more/*.ini
"""
# Runs for as long as it is let; what comes behind the sign tells what it would be.
SLEEP = 'sh -c "exec sleep 1000 || {}"'
WEB = SLEEP.format("/b/env/bin/gunicorn -b 127.0.0.1:8000 frappe.app:application --preload")
WORKER = SLEEP.format("/usr/local/bin/bench worker --queue default")
BOT = SLEEP.format("/home/frappe/b/env/bin/python -m bot.main")


def program(name: str, command: str, *lines: str) -> str:
    """One program's section."""
    return "\n".join([f"[program:{name}]", f"command={command}", *lines, "", ""])


class Host:
    """A supervisord, and the folder of its configuration."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "conf.d").mkdir()
        (folder / "more").mkdir()
        (folder / "bin").mkdir()
        (folder / "supervisord.conf").write_text(MAIN.format(folder=folder))
        control = folder / "bin/supervisorctl"
        control.write_text(
            f'#!/bin/sh\nexec /usr/bin/supervisorctl -c {folder}/supervisord.conf "$@"\n'
        )
        control.chmod(0o755)

    def start(self) -> None:
        """Start supervisord with the files that are there."""
        command = ["/usr/bin/supervisord", "-n", "-c", f"{self.folder}/supervisord.conf"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd="/")
        deadline = time.monotonic() + 10
        while not (self.folder / "s.sock").exists() or "RUNNING" not in self.status():
            assert time.monotonic() < deadline, self.status()
            time.sleep(0.1)

    def status(self) -> str:
        """What supervisorctl says of its programs."""
        return subprocess.run(
            ["supervisorctl", "status"], capture_output=True, text=True, check=False
        ).stdout

    def write(self, name: str, *texts: str) -> Path:
        """Write a file of its configuration."""
        path = self.folder / name
        path.write_text("".join(texts))
        return path

    def stop(self) -> None:
        """End it with its programs."""
        if self.process:
            self.process.terminate()
            self.process.wait(30)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host with supervisord, which does not run yet."""
    if not os.path.exists("/usr/bin/supervisord"):
        pytest.skip("supervisor is not installed on this machine (Debian's package supervisor)")
    # A socket's path may not be as long as pytest's folders are.
    folder = Path(tempfile.mkdtemp(prefix="supervisor-"))
    monkeypatch.setenv("PATH", f"{folder}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(supervisor, "known_tasks", {})
    made = Host(folder)
    yield made
    made.stop()
    shutil.rmtree(folder)


class EndedError(Exception):
    """A module ended badly."""


class Module:
    """What a module of ours needs of Ansible's; results are kept."""

    def __init__(self, **params: Any) -> None:
        self.params, self.check_mode = params, False
        self.result: dict[str, Any] = {}
        self.warnings: list[str] = []

    def warn(self, words: str) -> None:
        self.warnings.append(words)

    def fail_json(self, msg: str, **_: Any) -> None:
        raise EndedError(msg)

    def exit_json(self, **result: Any) -> None:
        self.result = result

    def run_command(self, words: list[str], **_: Any) -> tuple[int, str, str]:
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr


def run(monkeypatch: pytest.MonkeyPatch, conf: Path, state: Path, **more: Any) -> Module:
    """Run supervisor_programs for the bench b."""
    usual = {"empty": False, "depends": {}, "own_depends": [], "serves": {}, "hold": None}
    params = {"name": "b", "configuration": str(conf), "state": str(state), "shown": None}
    module = Module(**usual | params | {"seconds": 20} | more)
    monkeypatch.setattr(supervisor_programs, "FleetModule", lambda **_: module)
    monkeypatch.setattr(supervisor_programs, "STEADY_SECONDS", 0)
    supervisor_programs.main()
    return module


def test_an_override_of_a_program_that_goes_is_named_and_nothing_is_remembered(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = host.write("conf.d/b.conf", program("b-web", WEB), program("b-old-worker", WORKER))
    vault = host.write(
        "conf.d/vault.conf", '[program:b-old-worker]\nenvironment=TOKEN="sec%%ret"\n'
    )
    state = host.folder / "state.json"
    host.start()
    run(monkeypatch, conf, state)
    before, status = state.read_text(), host.status()
    assert "has no command" in programs.trouble_words(
        programs.configuration({str(conf): program("b-web", WEB)})["trouble"]
    )
    conf.write_text(program("b-web", WEB))
    with pytest.raises(EndedError) as caught:
        run(monkeypatch, conf, state)
    words = str(caught.value)
    assert f"[program:b-old-worker] in {vault}: it has no command" in words
    assert "bench_environment" in words
    assert "ret" not in words.replace("environment", "")
    assert state.read_text() == before
    assert host.status().split("pid")[0] == status.split("pid")[0]
    vault.unlink()
    assert run(monkeypatch, conf, state).result["did"] == ["update b-old-worker"]


# Option, what supervisor's own reader makes of it, and the words of ours.
SPELLINGS = [
    ('environment=A="50%"', "its option environment has a % that begins none"),
    ('environment=A="%(ENV_NOT_THERE)s"', "a name after % that supervisor does not know"),
    ("environment=A", "its environment is not NAME"),
    ("numprocs=2", "process_num"),
    ("stdout_logfile=/nowhere/%d.log", "its option stdout_logfile has a %"),
    ("user=nobody-of-this-name", "Invalid user name"),
    ("stray words without a sign", "line 3 is none of an option or a section"),
]


def test_what_supervisord_cannot_read_is_told_with_file_and_section(host: Host) -> None:
    host.write("conf.d/b.conf", program("b-web", WEB))
    host.start()
    for line, words in SPELLINGS:
        wrong = host.write("conf.d/z.conf", program("z", "/bin/true", line))
        said = subprocess.run(
            ["supervisorctl", "reread"], capture_output=True, text=True, check=False
        )
        assert "CANT_REREAD" in said.stdout, line
        with pytest.raises(BenchError, match="cannot read its configuration") as caught:
            supervisor.control("reread")
        assert words in str(caught.value)
        assert str(wrong) in str(caught.value)


def test_files_are_read_as_supervisord_reads_them(host: Host) -> None:
    """Sections of one name, options twice, tabs, capitals, comments, links, %(names)s."""
    host.write(
        "conf.d/b.conf",
        program("b-web", "/bin/false"),
        "[program:b-web] ; the same again\nCommand\t=\t/bin/sleep 1000 ; frappe\n",
        'command = sh -c\n  "exec sleep 1000 || frappe.app:application"\n',
        "environment=A=\"a%%1,2;3\",B='x',C=%(ENV_HERE_TOO)s\n",
        "[group:b-all]\nprograms=b-web, b-worker\n",
    )
    host.write(
        "real.txt", program("b-worker", WORKER, "process_name=w%(process_num)02d", "numprocs=2")
    )
    (host.folder / "conf.d/c.conf").symlink_to(host.folder / "real.txt")
    host.write("conf.d/c.ini", "this is no configuration")
    host.write("more/here.ini", program("plain", "/bin/sleep 1000", "directory=%(here)s"))
    host.write(
        "more/others.ini",
        "[eventlistener:ear]\ncommand=/bin/cat\nevents=TICK_60\n",
        "[fcgi-program:fast]\ncommand=/bin/sleep 1000\nsocket=unix://%(here)s/fast.sock\n",
    )
    os.environ["HERE_TOO"] = "yes"
    try:
        host.start()
    finally:
        del os.environ["HERE_TOO"]
    read = programs.configuration()
    assert read["trouble"] is None
    running = set(supervisor.states(host.status()))
    mine = {
        p["name"] if p["name"] == p["group"] else f"{p['group']}:{p['name']}"
        for p in read["processes"]
    }
    assert mine == running == {"b-all:b-web", "b-all:w00", "b-all:w01", "plain", "ear", "fast"}
    by_name = {process["name"]: process for process in read["processes"]}
    assert by_name["b-web"]["environment"] == ["A", "B", "C"]
    assert by_name["plain"]["directory"] == str(host.folder / "more")
    assert [os.path.basename(file["path"]) for file in read["files"]][1:] == [
        "b.conf",
        "c.conf",
        "here.ini",
        "others.ini",
    ]
    assert programs.tasks("b", read) == {
        "b-all:b-web": "web",
        "b-all:w00": "worker",
        "b-all:w01": "worker",
    }


COMMANDS = [
    ("/home/f/b/env/bin/gunicorn -b 127.0.0.1:8000 -k gthread frappe.app:application", "web"),
    ("/home/f/b/env/bin/python -m gunicorn frappe.app", "web"),
    ("/usr/bin/nice -n 5 /usr/local/bin/bench serve --port 8000", "web"),
    ("/home/f/b/env/bin/gunicorn bot.app:application", ""),
    ("/usr/local/bin/bench worker --queue short,default", "worker"),
    ("bench --verbose worker-pool --num-workers 4", "worker"),
    ("/home/f/b/env/bin/python -m frappe.utils.bench_helper frappe worker --queue long", "worker"),
    ("/b/env/bin/python /b/apps/frappe/frappe/utils/bench_helper.py frappe worker", "worker"),
    ("/b/env/bin/python -m benchfleet_guard worker --queue long", "worker"),
    ('bash -c "cd /home/f/b && exec bench worker --queue long"', "worker"),
    ("/b/env/bin/rq worker -u redis://127.0.0.1:11000 home-f-b:long", "worker"),
    (
        "/b/env/bin/python -c 'from frappe.utils.background_jobs import *; start_worker()'",
        "worker",
    ),
    ("/usr/local/bin/bench --site all schedule", "schedule"),
    ("env TZ=UTC bench schedule", "schedule"),
    ("/usr/bin/node /home/f/b/apps/frappe/socketio.js", "socketio"),
    ("bench socketio", "socketio"),
    ("/usr/bin/redis-server /home/f/b/config/redis_cache.conf", "redis"),
    ("/usr/local/lib/x/start-queue /usr/bin/redis-server /etc/x/redis_queue.conf", "redis"),
    ("/usr/bin/redis-server /home/f/b/config/redis_wiki.conf", ""),
    ("/usr/local/bin/bench --site worker.test execute bot.main.run", ""),
    ("/home/f/b/env/bin/python -m bot.worker", ""),
    ("/usr/bin/python3 /opt/worker/schedule.py 'unclosed", ""),
]


@pytest.mark.parametrize(("command", "does"), COMMANDS)
def test_what_a_program_does_is_told_by_its_command(command: str, does: str) -> None:
    assert programs.task(command) == does


def test_workers_are_ended_whatever_their_names(host: Host) -> None:
    host.write(
        "conf.d/b.conf",
        program("b-jobs", WORKER, "process_name=number%(process_num)d", "numprocs=2"),
        program("b-web", WEB),
        program("b-redis-jobs-worker", BOT),
    )
    host.write("conf.d/own.conf", program("reports", WORKER, "directory=/tmp", "umask=002"))
    host.write("conf.d/far.conf", program("c-worker", WORKER))
    host.write("conf.d/near.conf", program("by-path", WORKER.replace("/usr/local", "/srv/b/x")))
    host.start()
    ended = supervisor.stop("b", supervisor.doing("b", *programs.JOBS))
    assert sorted(ended) == ["b-jobs:number0", "b-jobs:number1", "by-path"]
    left = supervisor.states(host.status())
    running = {name for name, state in left.items() if state in supervisor.STARTED}
    assert running == {"b-web", "b-redis-jobs-worker", "reports", "c-worker"}
    assert supervisor.start("b") == ["b-jobs:number0", "b-jobs:number1", "by-path"]


def test_an_unusual_answer_of_supervisorctl_is_an_error(host: Host) -> None:
    host.write("conf.d/b.conf", program("b-web", WEB))
    with pytest.raises(BenchError, match="status"):
        supervisor.control("status")
    host.start()
    assert "already started" in supervisor.control("start", "b-web")
    for words in (("start", "nope"), ("update", "nope"), ("remove", "b-web"), ("fly",)):
        with pytest.raises(BenchError, match="failed"):
            supervisor.control(*words)
