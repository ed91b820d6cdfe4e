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

import ansible.module_utils.programs
import pytest
from ansible.module_utils import supervisor
from ansible.module_utils.bench import BenchError

from filter_plugins import adoption as judging
from filter_plugins import bench
from library import adopt_handover, supervisor_programs, survey
from module_utils import adoption, programs

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

    def control(self, *words: str) -> str:
        """What supervisorctl says."""
        command = ["/usr/bin/supervisorctl", "-c", f"{self.folder}/supervisord.conf", *words]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout

    def start(self) -> None:
        """Start supervisord with the files that are there."""
        command = ["/usr/bin/supervisord", "-n", "-c", f"{self.folder}/supervisord.conf"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd="/")
        deadline = time.monotonic() + 60
        while not (self.folder / "s.sock").exists() or "RUNNING" not in self.status():
            assert time.monotonic() < deadline, self.status()
            time.sleep(0.1)

    def status(self) -> str:
        """What supervisorctl says of its programs."""
        return self.control("status")

    def settle(self) -> None:
        """Wait until each program has started."""
        for _ in range(600):
            if "STARTING" not in self.status():
                return
            time.sleep(0.1)
        raise AssertionError(self.status())

    def write(self, name: str, *texts: str) -> Path:
        """Write a file of its configuration."""
        path = self.folder / name
        path.write_text("".join(texts))
        return path

    def stop(self) -> None:
        """End it with its programs."""
        if self.process:
            self.process.terminate()
            self.process.wait(60)


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host with supervisord, which does not run yet."""
    if not os.path.exists("/usr/bin/supervisord"):
        pytest.skip("supervisor is not installed on this machine (Debian's package supervisor)")
    # A socket's path may not be as long as pytest's folders are.
    folder = Path(tempfile.mkdtemp(prefix="supervisor-"))
    monkeypatch.setattr(supervisor, "known_tasks", {})
    for module in (programs, ansible.module_utils.programs):
        monkeypatch.setattr(module, "CONFIGURATIONS", (f"{folder}/supervisord.conf", "/none"))
        path = f"{folder}/bin:{module.ENVIRONMENT['PATH']}"
        monkeypatch.setitem(module.ENVIRONMENT, "PATH", path)
        monkeypatch.setattr(module, "LOGS", f"{folder}/logs")
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
    params |= {"logs": None}
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
        assert "CANT_REREAD" in host.control("reread"), line
        with pytest.raises(BenchError, match="cannot read its configuration") as caught:
            supervisor.control("reread")
        assert words in str(caught.value)
        assert str(wrong) in str(caught.value)


def test_a_broken_file_of_ours_stops_no_run_that_writes_it_anew(
    host: Host,
) -> None:
    lost = program("b-web", WEB, f"stdout_logfile={host.folder}/gone/web.log")
    conf = host.write("conf.d/b.conf", lost)
    host.write("bin/supervisord", "#!/usr/bin/python3\n").chmod(0o755)
    looked = survey.look_at_supervisor()["supervisor"]
    assert f"{host.folder}/gone/web.log does not exist" in looked
    conf.write_text(f"; Made by Benchfleet\n{lost}")
    assert survey.look_at_supervisor() == {"supervisor": "", "supervisor_writers": {}}


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
    ("rq:worker:home-f-b:1: Listening on short", "worker"),
    ("gunicorn: master [frappe.app:application]", "web"),
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
    script = host.write("start.sh", "#!/bin/bash\nbash -c 'exec -a rq:worker:x sleep 999'; :\n")
    script.chmod(0o755)
    host.write("conf.d/script.conf", program("b-by-script", str(script)))
    host.write("conf.d/near.conf", program("by-path", WORKER.replace("/usr/local", "/srv/b/x")))
    host.start()
    ended = supervisor.stop("b", supervisor.doing("b", *programs.JOBS))
    assert sorted(ended) == ["b-by-script", "b-jobs:number0", "b-jobs:number1", "by-path"]
    left = supervisor.states(host.status())
    running = {name for name, state in left.items() if state in supervisor.STARTED}
    assert running == {"b-web", "b-redis-jobs-worker", "reports", "c-worker"}
    assert supervisor.start("b") == ["b-by-script", "b-jobs:number0", "b-jobs:number1", "by-path"]


def test_a_supervisord_that_is_stopped_is_asked_by_its_script(
    host: Host,
) -> None:
    host.write("conf.d/b.conf", program("b-web", WEB))
    for first in ("#!/usr/bin/python3\n", "#!/usr/bin/env python3\n"):
        script = host.write("bin/supervisord", first)
        script.chmod(0o755)
        read = programs.configuration()
        assert [process["name"] for process in read["processes"]] == ["b-web"]
    script.write_text("#!/bin/sh\n")
    with pytest.raises(programs.ConfigurationError, match=r"supervisor\.options"):
        programs.configuration()


def test_an_unusual_answer_of_supervisorctl_is_an_error(host: Host) -> None:
    host.write("conf.d/b.conf", program("b-web", WEB))
    with pytest.raises(BenchError, match="status"):
        supervisor.control("status")
    host.start()
    assert "already started" in supervisor.control("start", "b-web")
    for words in (("start", "nope"), ("update", "nope"), ("remove", "b-web"), ("fly",)):
        with pytest.raises(BenchError, match="failed"):
            supervisor.control(*words)


GUNICORN = SLEEP.format(
    "/home/f/b/env/bin/gunicorn -b 127.0.0.1:8000 -w 9 --max-requests 5000 -t 600"
    " --max-requests-jitter 500 -k gthread --threads=8 --graceful-timeout 30 --preload"
    " frappe.app:application"
)
# What `bench setup supervisor` writes, and what the operator made of it.
BY_HAND = f"""
[program:b-frappe-web]
command={GUNICORN}
directory={{here}}
environment=VAULT_TOKEN="a%%1,2",HTTPS_PROXY='http://10.0.0.9:3128'
stopwaitsecs=40
umask=002
[program:b-frappe-long-worker]
command={SLEEP.format("/usr/local/bin/bench worker --queue long,default,short")}
process_name=hands%(process_num)d
numprocs=2
stopwaitsecs=1560
directory={{here}}
[program:b-frappe-reports-worker]
command={SLEEP.format("/usr/local/bin/bench worker --queue reports")}
directory={{here}}
stopwaitsecs=5000
[group:b-workers]
programs=b-frappe-long-worker,b-frappe-reports-worker,b-mail
[program:b-telegram-bot]
command={BOT}
environment=BOT_TOKEN="x;y%%z"
[program:b-mail]
command=sleep 1000
[eventlistener:memory]
command=/bin/cat
events=TICK_60
"""
LEFT = program("b-frappe-web", WEB, 'environment=A="1"')


def test_what_an_adoption_changes_is_named_and_what_is_the_operators_lives(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    place, folder = host.folder / "b", host.folder / "conf.d"
    (place / "sites").mkdir(parents=True)
    (place / "sites/common_site_config.json").write_text(
        '{"workers": {"reports": {"timeout": 5000}}}'
    )
    conf = host.write("conf.d/b.conf", BY_HAND.format(here=place))
    vault = host.write("conf.d/vault.conf", '[program:b-frappe-long-worker]\nenvironment=V="abc"\n')
    own, state = folder / "b-own.conf", host.folder / "state.json"
    host.write("conf.d/b-own.conf", program("older", "sleep 1000"))
    host.write("conf.d/chat.conf", program("chat", BOT.replace("/home/frappe", str(host.folder))))
    monkeypatch.setattr(adoption, "PROBE", f"{folder}/probe.conf")
    monkeypatch.setattr(judging, "PROGRAMS_FOLDER", str(folder))
    host.start()
    host.settle()
    pids = dict(line.split()[0:4:3] for line in host.status().splitlines())
    found = adoption.look_at_programs(str(place), "frappe")
    look = {"programs": found, "supervisor": found["files"]}
    judged = {
        "name": "erp1",
        "bench_dir": str(place),
        "environment": ["V"],
        "web_workers": 4,
        "web_arguments": "",
        "background_workers": 6,
        "survey": {"adoption": look},
    }
    assert list(judging.check_programs(judged, look, {})) == []
    assert judging.set_aside({**judged, "survey": {"adoption": {**look, "nginx": {"files": []}}}})[
        "supervisor"
    ] == [str(conf), str(vault)]
    monkeypatch.setattr(judging, "set_aside", lambda _: {"supervisor": [str(conf), str(vault)]})
    words = judging.program_words(judged, look)
    text = "\n".join(words)
    shown = (f"b-telegram-bot (root: {BOT})", "b-mail (root: sleep 1000)", "memory (root: /bin/cat)")
    assert f"stay, in {own}, with their account and command: {', '.join(shown)}" in text
    assert "restarted once" in text
    assert "b-telegram-bot, chat" in text.replace("b-workers:b-mail, ", "")
    assert "the variable VAULT_TOKEN of b-frappe-web goes; bench_environment sets it" in text
    assert "HTTPS_PROXY" in text
    assert "variable V " not in text
    for secret in ("a%1", "3128", "abc", "x;y"):
        assert secret not in text + repr(found)
    assert "web workers: 9 -> 4; bench_web_workers: 9 keeps yours" in text
    assert "bench_web_arguments: '-t 600 -k gthread --threads 8' keeps them" in text
    assert "max-requests" not in text
    assert "options of b-frappe-web go: umask=002;" in text
    assert "bench_background_workers: {'long,default,short': 2, 'reports': 1} keeps yours" in text

    params = {"bench": str(place), "configuration": str(conf), "ours": False, "resting": []}
    module = Module(**params, rest=False, own=str(own), user="frappe", told=found["told"])
    monkeypatch.setattr(adopt_handover, "FleetModule", lambda **_: module)
    adopt_handover.main()
    assert module.result["ended"] == [
        "b-workers:b-frappe-reports-worker",
        "b-workers:hands0",
        "b-workers:hands1",
    ]
    assert not vault.exists()
    assert own.stat().st_mode & 0o777 == 0o600
    conf.write_text("; Made by Benchfleet\n" + LEFT)
    did = run(monkeypatch, conf, state, own_depends=["addresses"]).result["did"]
    assert set(did) == {
        "update b-workers",
        "update b-frappe-web",
        "update b-own",
        "restart b-telegram-bot",
        "restart chat",
    }
    now = dict(line.split()[:2] for line in host.status().splitlines())
    assert now == dict.fromkeys(
        ("b-frappe-web", "b-own:b-mail", "b-telegram-bot", "chat", "memory", "older"), "RUNNING"
    )
    # One that its operator has stopped is nobody's trouble.
    supervisor.control("stop", "b-telegram-bot")
    again = run(monkeypatch, conf, state, own_depends=["addresses"])
    assert supervisor.programs("b").keys() == {"b-frappe-web"}
    assert "b-telegram-bot                   STOPPED" in host.status()
    supervisor.control("start", "b-telegram-bot")
    assert again.result["did"] == []
    memory = next(line for line in host.status().splitlines() if line.startswith("memory"))
    assert memory.split()[3] == pids["memory"]
    read = programs.configuration()
    assert 'environment=BOT_TOKEN="x;y%%z"' in own.read_text()
    assert (
        programs.kept_text(str(place), read, [str(own)]).split("\n", 1)[1]
        == own.read_text().split("\n", 1)[1]
    )
    # A release.
    conf.write_text(BY_HAND.format(here=place))
    own.write_text(program("older", "sleep 1000"))
    did = run(monkeypatch, conf, state).result["did"]
    assert "restart b-telegram-bot" in did
    after = dict(line.split()[:2] for line in host.status().splitlines())
    assert set(after) == set(pids)
    assert set(after.values()) == {"RUNNING"}


def test_a_file_that_wins_over_ours_is_told(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    conf = host.write("conf.d/b.conf", program("b-web", WEB, 'environment=A="1"', "umask=022"))
    host.write("conf.d/a.conf", '[program:b-web]\nenvironment=B="s3cr3t"\n')
    late = host.write("conf.d/z.conf", "[program:b-web]\numask=002\nstopwaitsecs=5\n")
    host.start()
    assert run(monkeypatch, conf, host.folder / "state.json").warnings == []
    late.write_text('[program:b-web]\nenvironment=B="s3cr3t"\nnumprocs=1\n')
    (words,) = run(monkeypatch, conf, host.folder / "state.json").warnings
    assert f"{late}: [program:b-web] environment, numprocs: this file of your own wins" in words
    assert "s3cr3t" not in words


def test_variables_reach_a_program_as_they_were_given(host: Host) -> None:
    given = {
        "PLAIN": "a b,c",
        "PERCENT": "50%",
        "SIGNS": "a;b#c=d\\e$f",
        "QUOTES": 'say "it" now',
        "APOSTROPHE": "it's",
        "EMPTY": "",
        "ACCENT": "é",
        "DSN": "https://k:p%40w@sentry.example.com/1?x=1&y=2",
    }
    assert bench.program_troubles(given, "") == []
    seen = host.folder / "seen"
    text = bench.environment_text(given)
    command = f"sh -c 'env -0 >{seen}.new && mv {seen}.new {seen} && exec sleep 1000'"
    host.write("conf.d/b.conf", program("b", command, f"environment={text}"))
    host.start()
    deadline = time.monotonic() + 60
    while not seen.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    there = dict(word.split("=", 1) for word in seen.read_text().split("\0") if "=" in word)
    assert {name: there.get(name) for name in given} == given
