"""supervisor's configuration and programs, with a supervisord of the tests' own."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fleet import foreign
from fleet.adoption import host as judged_host
from fleet.adoption import programs as adoption
from fleet.bench import program_settings
from fleet.bench.account import BenchError
from fleet.preflight import present
from fleet.supervisor import bench_programs, call, configuration, programs
from fleet.supervisor import control as supervisor
from fleet.supervisor import own as own_programs
from fleet.survey import system

from filter_plugins import bench
from library import adopt_handover, supervisor_programs
from tests.supervisor import MAIN, Host

# Runs until it is stopped; the part after || only makes it look like a program of a bench.
SLEEP = 'sh -c "exec sleep 1000 || {}"'
WEB = SLEEP.format("/b/env/bin/gunicorn -b 127.0.0.1:8000 frappe.app:application --preload")
WORKER = SLEEP.format("/usr/local/bin/bench worker --queue default")
BOT = SLEEP.format("/home/frappe/b/env/bin/python -m bot.main")


def program(name: str, command: str, *lines: str) -> str:
    """One program's section."""
    # What only sleeps runs at once, and nobody waits a second for it.
    at_once = ["startsecs=0"] if command in (WEB, WORKER, BOT) else []
    return "\n".join([f"[program:{name}]", f"command={command}", *at_once, *lines, "", ""])


@pytest.fixture
def host(supervised: Host) -> Host:
    """A host with supervisord, which does not run yet."""
    return supervised


class EndedError(Exception):
    """A module ended badly."""


class Module:
    """A stand-in for AnsibleModule that keeps the results."""

    def __init__(self, **params: Any) -> None:
        self.params, self.check_mode = params, False
        self.result: dict[str, Any] = {}
        self.warnings: list[str] = []

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def fail_json(self, msg: str, **_: Any) -> None:
        raise EndedError(msg)

    def exit_json(self, **result: Any) -> None:
        self.result = result

    def run_command(self, command: list[str], **_: Any) -> tuple[int, str, str]:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout, done.stderr


def run(monkeypatch: pytest.MonkeyPatch, conf: Path, state: Path, **more: Any) -> Module:
    """Run supervisor_programs for the bench b."""
    usual = {"empty": False, "depends": {}, "own_depends": [], "serves": {}, "hold": None}
    params = {"name": "b", "configuration": str(conf), "state": str(state), "shown": None}
    params |= {"logs": None, "every": None}
    module = Module(**usual | params | more)
    monkeypatch.setattr(supervisor_programs, "FleetModule", lambda **_: module)
    monkeypatch.setattr(bench_programs, "STEADY_SECONDS", 0)
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
    trouble = configuration.configuration({str(conf): program("b-web", WEB)})["trouble"]
    assert trouble["reason"] == "no_command"
    conf.write_text(program("b-web", WEB))
    with pytest.raises(EndedError) as caught:
        run(monkeypatch, conf, state)
    message = str(caught.value)
    assert "program:b-old-worker" in message
    assert str(vault) in message
    assert "sec%" not in message
    assert state.read_text() == before
    assert host.status().split("pid")[0] == status.split("pid")[0]
    vault.unlink()
    assert run(monkeypatch, conf, state).result["did"] == ["update b-old-worker"]


def test_a_program_that_runs_and_does_not_answer_is_reported(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = host.write("conf.d/b.conf", program("b-web", WEB))
    host.start()
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        serves = {"b-web": f"127.0.0.1:{listening.getsockname()[1]}", "b-gone": "127.0.0.1:1"}
        monkeypatch.setattr(bench_programs.BenchPrograms, "await_answer", lambda *_: None)
        with pytest.raises(EndedError) as caught:
            run(monkeypatch, conf, host.folder / "state.json", serves=serves)
        assert serves["b-web"] in str(caught.value)
        listening.listen()
        run(monkeypatch, conf, host.folder / "state.json", serves=serves)


def test_what_restarts_is_named_before_and_afterwards(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = program("b-web", WEB) + program("b-short-worker", WORKER)
    conf = host.write("conf.d/b.conf", text + program("b-old-worker", WORKER))
    state, read = host.folder / "state.json", host.folder / "read"
    read.write_text("one")
    depends = {"b-web": [str(read), "a text"], "b-short-worker": ["a text"]}
    host.start()
    run(monkeypatch, conf, state, depends=depends)
    assert run(monkeypatch, conf, state, depends=depends).result["restarts"] == []
    read.write_text("two")
    conf.write_text(text)
    dry = Module(
        name="b",
        configuration=str(conf),
        state=str(state),
        shown=None,
        empty=False,
        depends=depends,
        own_depends=[],
        serves={},
        hold=None,
        logs=None,
        every=None,
    )
    dry.check_mode = True
    bench = bench_programs.BenchPrograms(dry.params, True, dry.warn)
    bench.bring()
    assert list(bench.restarts) == ["web workers"]
    assert bench.reads() == {"web workers": [str(read)], "workers": []}
    result = run(monkeypatch, conf, state, depends=depends).result
    # The group that leaves is not restarted.
    assert result["restarts"] == ["web workers"]
    assert result["restart_seconds"]["web workers"] > 0


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("b-web", "web workers"),
        ("b-report-web", "web workers for reports"),
        ("b-redis", "Redis"),
        ("b-at-heavy-worker", "workers"),
        ("b-workers", "workers"),
        ("b-schedule", "scheduler"),
        ("b-other", "b-other"),
    ],
)
def test_groups_have_the_operator_s_names(group: str, name: str) -> None:
    assert bench_programs.service(group) == name


# Option, the reason why supervisord cannot read it, and what the message names.
SPELLINGS = [
    ('environment=A="50%"', "percent", "environment"),
    ('environment=A="%(ENV_NOT_THERE)s"', "name", "environment"),
    ("environment=A", "environment", "program:z"),
    # Messages of supervisor's own.
    ("numprocs=2", "other", "process_num"),
    ("user=nobody-of-this-name", "other", "Invalid user name"),
    ("stdout_logfile=/nowhere/%d.log", "percent", "stdout_logfile"),
    ("stray words without a sign", "line", "3"),
]


def test_a_file_that_supervisord_cannot_read_is_reported_with_its_section(host: Host) -> None:
    host.write("conf.d/b.conf", program("b-web", WEB))
    host.start()
    for line, reason, named in SPELLINGS:
        wrong = host.write("conf.d/z.conf", program("z", "/bin/true", line))
        assert "CANT_REREAD" in host.control("reread"), line
        trouble = configuration.configuration()["trouble"]
        assert trouble["reason"] == reason
        assert trouble["files"] == [str(wrong)]
        with pytest.raises(BenchError, match=re.escape(str(wrong))) as caught:
            supervisor.control("reread")
        assert named in str(caught.value)


def test_a_broken_file_of_ours_stops_no_run_that_writes_it_anew(
    host: Host,
) -> None:
    lost = program("b-web", WEB, f"stdout_logfile={host.folder}/gone/web.log")
    conf = host.write("conf.d/b.conf", lost)
    host.write("bin/supervisord", "#!/usr/bin/python3\n").chmod(0o755)
    looked = system.look_at_supervisor()["supervisor"]
    assert f"{host.folder}/gone/web.log does not exist" in looked
    conf.write_text(f"; Made by Benchfleet\n{lost}")
    assert system.look_at_supervisor() == {"supervisor": "", "supervisor_writers": {}}


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
    read = configuration.configuration()
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
        read = configuration.configuration()
        assert [process["name"] for process in read["processes"]] == ["b-web"]
    script.write_text("#!/bin/sh\n")
    with pytest.raises(
        configuration.ConfigurationError, match=re.escape(f"{host.folder}/supervisord.conf")
    ):
        configuration.configuration()


def test_supervisord_says_itself_what_supervisorctl_says(host: Host) -> None:
    host.write("conf.d/b.conf", program("b-web", WEB, "numprocs=2", "process_name=%(process_num)d"))
    assert call.status() is None
    host.start()
    host.settle()
    said = [line.split()[:4] for line in host.status().splitlines()]
    assert [line.split()[:4] for line in (call.status() or "").splitlines()] == said
    assert str(call.answer("supervisor.getPID")) == host.control("pid").strip()
    assert supervisor.stopped("b") == {}
    host.control("stop", "b-web:0")
    assert supervisor.stopped("b") == {"b-web:0": "STOPPED"}
    # With a password, and for a method that it does not have, supervisorctl is for.
    assert call.answer("supervisor.nothing") is None
    main = MAIN.format(folder=host.folder)
    host.write("supervisord.conf", main.replace("[include]", "username=a\npassword=b\n[include]"))
    assert call.status() is None


def test_an_unusual_answer_of_supervisorctl_is_an_error(host: Host) -> None:
    host.write("conf.d/b.conf", program("b-web", WEB))
    with pytest.raises(BenchError, match="status"):
        supervisor.control("status")
    host.start()
    assert "already started" in supervisor.control("start", "b-web")
    for arguments in (("start", "nope"), ("update", "nope"), ("remove", "b-web"), ("fly",)):
        with pytest.raises(BenchError, match=" ".join(arguments)):
            supervisor.control(*arguments)


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
    monkeypatch.setattr(adoption, "PROGRAMS_FOLDER", str(folder))
    host.start()
    host.settle()
    pids = dict(line.split()[0:4:3] for line in host.status().splitlines())
    found = adoption.look_at_programs(str(place), "frappe")
    look = {"programs": found, "supervisor": found["files"], "bench": {"owner": "frappe"}}
    judged = {
        "name": "erp1",
        "bench_dir": str(place),
        "bench_user": "frappe",
        "environment": ["V"],
        "web_workers": 4,
        "web_arguments": "",
        "background_workers": 6,
        "survey": {"adoption": look},
    }
    assert list(adoption.check_programs(judged, look, {})) == []
    assert judged_host.set_aside(
        {**judged, "survey": {"adoption": {**look, "nginx": {"files": []}}}}
    )["supervisor"] == [str(conf), str(vault)]
    monkeypatch.setattr(adoption, "set_aside", lambda _: {"supervisor": [str(conf), str(vault)]})
    notices = list(adoption.program_notices(judged, look))
    facts = {notice["id"]: notice["facts"] for notice in notices}
    commands = {"b-telegram-bot": BOT, "b-mail": "sleep 1000", "memory": "/bin/cat"}
    shown = [f"{name} (root runs {command})" for name, command in commands.items()]
    assert facts["programs_stay"] == {"file": str(own), "programs": shown}
    restarted = set(facts["programs_restart"]["programs"])
    assert restarted - {"b-workers:b-mail"} == {"b-telegram-bot", "chat"}
    variables = [n["facts"] for n in notices if n["id"] == "variable_goes"]
    assert {one["variable"] for one in variables} == {"VAULT_TOKEN", "HTTPS_PROXY"}
    assert {name for one in variables for name in one["programs"]} == {"b-frappe-web"}
    for secret in ("a%1", "3128", "abc", "x;y"):
        assert secret not in repr(notices) + repr(found)
    assert facts["web_workers"] == {"yours": 9, "ours": 4}
    assert facts["web_arguments_go"]["arguments"] == "-t 600 -k gthread --threads 8"
    options = {
        n["facts"]["program"]: n["facts"]["options"] for n in notices if n["id"] == "options_go"
    }
    assert options["b-frappe-web"] == ["umask=002"]
    setting = "{'long,default,short': 2, 'reports': 1}"
    assert facts["workers_change"]["setting"] == setting

    params = {"bench": str(place), "configuration": str(conf), "ours": False, "resting": []}
    module = Module(**params, rest=False, own=str(own), user="frappe", digest=found["digest"])
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
    # One that its operator has stopped stays stopped.
    supervisor.control("stop", "b-telegram-bot")
    again = run(monkeypatch, conf, state, own_depends=["addresses"])
    assert supervisor.programs("b").keys() == {"b-frappe-web"}
    assert "b-telegram-bot                   STOPPED" in host.status()
    supervisor.control("start", "b-telegram-bot")
    assert again.result["did"] == []
    memory = next(line for line in host.status().splitlines() if line.startswith("memory"))
    assert memory.split()[3] == pids["memory"]
    read = configuration.configuration()
    assert 'environment=BOT_TOKEN="x;y%%z"' in own.read_text()
    assert (
        own_programs.kept_text(str(place), read, [str(own)]).split("\n", 1)[1]
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


def test_a_file_that_wins_over_ours_is_a_warning(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    conf = host.write("conf.d/b.conf", program("b-web", WEB, 'environment=A="1"', "umask=022"))
    host.write("conf.d/a.conf", '[program:b-web]\nenvironment=B="s3cr3t"\n')
    late = host.write("conf.d/z.conf", "[program:b-web]\numask=002\nstopwaitsecs=5\n")
    host.start()
    assert run(monkeypatch, conf, host.folder / "state.json").warnings == []
    late.write_text('[program:b-web]\nenvironment=B="s3cr3t"\nnumprocs=1\n')
    (warning,) = run(monkeypatch, conf, host.folder / "state.json").warnings
    assert f"{late}: [program:b-web] environment, numprocs" in warning
    assert "s3cr3t" not in warning


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
    assert list(program_settings.program_problems(given, "", "erp1")) == []
    seen = host.folder / "seen"
    text = program_settings.environment_text(given)
    command = f"sh -c 'env -0 >{seen}.new && mv {seen}.new {seen} && exec sleep 1000'"
    host.write("conf.d/b.conf", program("b", command, f"environment={text}"))
    host.start()
    deadline = time.monotonic() + 60
    while not seen.exists() and time.monotonic() < deadline:
        time.sleep(0.1)
    there = dict(word.split("=", 1) for word in seen.read_text().split("\0") if "=" in word)
    assert {name: there.get(name) for name in given} == given


def as_nobody(*paths: Path) -> None:
    """Give paths to the account that plays the bench's."""
    if os.geteuid() != 0:
        pytest.skip("accounts are changed by root alone")
    for path in paths:
        shutil.chown(path, "nobody", "nogroup")


# A call of supervisorctl's in a folder with this takes Python code from its standard input.
ATTACK = "[supervisorctl]\n[ctlplugin:x]\nsupervisor.ctl_factory = code:interact\n"


@pytest.fixture
def attacked(host: Host, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of the account's in which root's programs are called, with all it may hold."""
    host.write("conf.d/b.conf", program("b-web", WEB))
    host.start()
    folder = host.folder / "home"
    for name in ("etc", ".local/lib"):
        (folder / name).mkdir(parents=True)
    for name in ("supervisord.conf", "etc/supervisord.conf", ".supervisorctl"):
        (folder / name).write_text(ATTACK)
    (folder / "xmlrpc.py").write_text(f"open({str(folder / 'became-root')!r}, 'w')")
    (folder / "sitecustomize.py").write_text(f"open({str(folder / 'became-root')!r}, 'w')")
    monkeypatch.chdir(folder)
    # The programs themselves are attacked.
    for module in (call, configuration):
        monkeypatch.setattr(module, "subprocess", subprocess)
    for name in ("PYTHONPATH", "PYTHONHOME", "HOME"):
        monkeypatch.setenv(name, str(folder))
    monkeypatch.setenv("SUPERVISOR_SERVER_URL", f"unix://{folder}/s.sock")
    return folder


def interactive(folder: Path) -> str:
    """What is typed where Python asks for code."""
    return f"open({str(folder / 'became-root')!r}, 'w')\n"


def test_supervisorctl_takes_nothing_from_the_folder_of_its_caller(
    host: Host, attacked: Path
) -> None:
    safe = {"PATH": os.environ["PATH"]}
    calls = [
        (["/usr/bin/supervisorctl", "status"], True),
        (call.control_words("status"), False),
    ]
    for command, falls in calls:
        (attacked / "became-root").unlink(missing_ok=True)
        said = subprocess.run(
            command,
            input=interactive(attacked),
            env=safe,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (attacked / "became-root").exists() == falls, said
    assert "RUNNING" in said.stdout
    assert supervisor.states(supervisor.control("status")) == {"b-web": "RUNNING"}
    read = configuration.configuration()
    assert [process["name"] for process in read["processes"]] == ["b-web"]
    assert not (attacked / "became-root").exists()


def test_the_bench_restarts_its_programs_whatever_lies_in_its_folder(
    host: Host, attacked: Path
) -> None:
    pid = host.control("pid", "b-web")
    root = Path(__file__).parents[2]
    shared = host.folder / "python/fleet"
    shutil.copytree(root / "module_utils/fleet", shared)
    text = (root / "module_utils/fleet/supervisor/call.py").read_text(encoding="utf-8")
    (shared / "supervisor/call.py").write_text(
        text.replace('"/etc/supervisor/supervisord.conf"', f'"{host.folder}/supervisord.conf"', 1)
    )
    settings = {"web": "b-web", "others": [], "hold": None, "python": str(host.folder / "python")}
    text = (root / "roles/bench_processes/files/restart_bench.py").read_text(encoding="utf-8")
    script = host.write("restart-bench", text.replace("@settings@", json.dumps(settings)))
    done = subprocess.run(
        ["/usr/bin/python3", "-I", script],
        input=interactive(attacked),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert host.control("pid", "b-web") != pid
    assert not (attacked / "became-root").exists()


def test_of_two_configurations_the_one_that_reaches_supervisord_is_taken(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = host.write("other.conf", "[supervisorctl]\nserverurl=unix:///nowhere/s.sock\n")
    found = f"{host.folder}/supervisord.conf"
    monkeypatch.setattr(call, "CONFIGURATIONS", (str(other), found))
    assert call.control_file() == str(other)
    host.write("conf.d/b.conf", program("b-web", WEB))
    host.start()
    assert call.control_file() == found


def test_a_file_that_others_than_root_can_write_is_reported(host: Host) -> None:
    home = host.folder / "home"
    (home / "config").mkdir(parents=True)
    for name in ("home/config/mine.conf", "home/config/roots.conf", "open.conf", "conf.d/own.conf"):
        host.write(name, program("p", "sleep 1000"))
    as_nobody(home, home / "config/mine.conf")
    (host.folder / "open.conf").chmod(0o666)
    for name, target in (
        ("a", "home/config/mine.conf"),
        ("b", "home/config/roots.conf"),
        ("c", "home/../open.conf"),
        ("d", "conf.d/own.conf"),
    ):
        (host.folder / f"conf.d/{name}.conf").symlink_to(f"../{target}")
    writers = system.look_at_supervisor()["supervisor_writers"]
    assert {os.path.basename(path): who for path, who in writers.items()} == {
        "a.conf": "nobody",
        "b.conf": "nobody",
        "c.conf": "nobody",
    }
    assert foreign.writer(str(host.folder / "open.conf")) == "everybody"
    judged = {"name": "erp1", "program_problems": [], "survey": {"supervisor_writers": writers}}
    found = [problem["place"] for problem in present.check_programs([judged], {})]
    assert found == [f"{host.folder}/conf.d/{name}.conf on erp1" for name in "abc"]


# Lines of the account's in its own file that would get into one of root's, and why they are
# refused: section, reason, names.
NOT_KEPT = [
    (program("bot", "/tmp/x"), "program:bot", "account", "root"),
    (program("bot", "/tmp/x", "user=root"), "program:bot", "account", "root"),
    (program("bot", "/tmp/x", "user=daemon"), "program:bot", "account", "daemon"),
    (
        "[eventlistener:ear]\ncommand=/tmp/x\nevents=TICK_5\n",
        *("eventlistener:ear", "account", "root"),
    ),
    (
        "[eventlistener:ear]\ncommand=/tmp/x\nevents=TICK_5\nuser=nobody\nresult_handler=x:y\n",
        *("eventlistener:ear", "options", "result_handler"),
    ),
    (
        "[fcgi-program:fast]\ncommand=/tmp/x\nuser=nobody\nsocket=unix:///etc/x.sock\n",
        *("fcgi-program:fast", "section", "fcgi-program:fast"),
    ),
    (
        program("bot", "/tmp/x", "user=nobody", "serverurl=unix:///x"),
        *("program:bot", "options", "serverurl"),
    ),
    ("[include]\nfiles=/home/x/*.conf\n", "include", "section", "include"),
    ("[supervisord]\nlogfile=/etc/cron.d/x\n", "supervisord", "section", "supervisord"),
    (
        "[inet_http_server]\nport=127.0.0.1:9001\n",
        *("inet_http_server", "section", "inet_http_server"),
    ),
    (
        "[rpcinterface:x]\nsupervisor.rpcinterface_factory=x:y\n",
        *("rpcinterface:x", "section", "rpcinterface:x"),
    ),
    ("[DEFAULT]\nuser=root\n" + program("bot", "/tmp/x"), "program:bot", "account", "root"),
    (program("bot", "/tmp/x\n  user=nobody"), "program:bot", "account", "root"),
    (program("bot", "/tmp/x", "user=nobody ; x", "User=root"), "program:bot", "account", "root"),
]


def mine(host: Host) -> str:
    """The web program of a bench in the host's folder."""
    return program("b-web", WEB, f"directory={host.folder}/b")


@pytest.fixture
def by_hand(host: Host, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Module]:
    """A bench whose file is its account's, linked into supervisor's folder; hands it over."""
    (host.folder / "b/config").mkdir(parents=True)
    path = host.write("b/config/supervisor.conf", "; Made by Benchfleet\n", mine(host))
    link = host.folder / "conf.d/b.conf"
    link.symlink_to(path)
    as_nobody(host.folder / "b", path.parent, path)

    def hand_over(seen: str) -> Module:
        params = {"bench": f"{host.folder}/b", "configuration": str(link), "ours": False}
        own = f"{host.folder}/conf.d/b-own.conf"
        params |= {"resting": [], "rest": False, "own": own, "user": "nobody", "digest": seen}
        module = Module(**params)
        monkeypatch.setattr(adopt_handover, "FleetModule", lambda **_: module)
        adopt_handover.main()
        return module

    return hand_over


@pytest.mark.parametrize(("lines", "section", "reason", "name"), NOT_KEPT)
def test_what_the_account_wrote_gets_into_no_file_of_roots(
    host: Host, by_hand: object, lines: str, section: str, reason: str, name: str
) -> None:
    with open(host.folder / "b/config/supervisor.conf", "a") as out:
        out.write(lines)
    read, place = configuration.configuration(), f"{host.folder}/b"
    (file,) = adoption.supervisor_files(place, read)
    # Whatever its first line says.
    assert not file["ours"]
    refused = own_programs.refused_sections(place, read, [file["path"]], "nobody")
    assert {
        "section": section,
        "reason": reason,
        "names": [name],
        "file": f"{host.folder}/conf.d/b.conf",
        "writer": "nobody",
    } in refused
    with pytest.raises(configuration.ConfigurationError, match=re.escape(section)) as caught:
        own_programs.kept_text(place, read, [file["path"]], "nobody")
    assert f"{host.folder}/conf.d/b.conf" in str(caught.value)


def test_a_program_of_the_accounts_stays_its_own_and_writes_where_it_puts_no_links(
    host: Host, by_hand: Callable[..., Module]
) -> None:
    secret, logs = host.write("secret", "root's\n"), host.folder / "logs"
    logs.mkdir()
    bot = 'sh -c "id -un; id -un >&2; exec sleep 1000"'
    lines = program(
        *("bot", bot, "user=nobody", f"stdout_logfile={host.folder}/b/bot.log"),
        f"stderr_logfile={host.folder}/b/config/../../secret",
    )
    written = host.write("b/config/supervisor.conf", mine(host), lines, program("late", "/tmp/x"))
    found = adoption.look_at_programs(f"{host.folder}/b", "nobody")
    refused = [(one["section"], one["reason"], one["names"]) for one in found["refused"]]
    assert refused == [("program:late", "account", ["root"])]
    written.write_text(mine(host) + lines)
    found = adoption.look_at_programs(f"{host.folder}/b", "nobody")
    assert found["kept"] == [{"name": "bot", "user": "nobody", "command": bot}]
    assert found["refused"] == []
    # Added after preflight had shown the programs.
    written.write_text(mine(host) + lines + program("late", "/tmp/x", "user=nobody"))
    host.start()
    with pytest.raises(EndedError) as caught:
        by_hand(found["digest"])
    assert type(caught.value.__context__).__name__ == "ProgramsChangedError"
    written.write_text(mine(host) + lines)
    by_hand(found["digest"])
    (host.folder / "conf.d/b.conf").unlink()
    host.write("conf.d/b.conf", program("b-web", WEB))
    text = (host.folder / "conf.d/b-own.conf").read_text()
    kept = f"user=nobody\nstdout_logfile={logs}/bot.log\nstderr_logfile={logs}/bot.error.log"
    assert kept in text
    host.control("update", "bot")
    assert host.has(logs / "bot.log", "nobody\n")
    assert host.has(logs / "bot.error.log", "nobody\n")
    # supervisord had it open under the account's file.
    assert host.has(secret, "root's\nnobody\n")


def test_a_bench_has_its_logs_by_links_and_root_follows_none(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench_dir, logs = host.folder / "b", host.folder / "logs"
    (bench_dir / "logs").mkdir(parents=True)
    logs.mkdir()
    host.folder.chmod(0o755)
    as_nobody(bench_dir, bench_dir / "logs")
    for module in (supervisor, bench_programs):
        monkeypatch.setattr(module, "LOGS", str(logs))
    (bench_dir / "logs/web.log").write_text("before\n")
    (bench_dir / "logs/web.log.1").write_text("long before\n")
    secret = host.write("secret", "root's\n")
    (bench_dir / "logs/web.error.log").symlink_to(secret)
    command = WEB.replace("exec", "echo here; echo wrong >&2; exec")

    def written(folder: Path) -> Path:
        lines = (f"stdout_logfile={folder}/web.log", f"stderr_logfile={folder}/web.error.log")
        return host.write("conf.d/b.conf", program("b-web", command, "user=nobody", *lines))

    conf, state = written(logs), host.folder / "state.json"
    host.start()
    asked = {"bench": str(bench_dir), "user": "nobody", "linked": True}
    links = [f"link {bench_dir}/logs/{name}" for name in ("web.error.log", "web.log")]
    assert run(monkeypatch, conf, state, logs=asked).result["did"] == links
    assert run(monkeypatch, conf, state, logs=asked).result["did"] == []
    assert host.has(bench_dir / "logs/web.log", "here\n")
    assert (bench_dir / "logs/web.log").lstat().st_uid == bench_dir.stat().st_uid
    assert (bench_dir / "logs/web.log.1").read_text() == "long before\n"
    assert (bench_dir / "logs/web.log.2").read_text() == "before\n"
    # The account turns its links; the next run turns them back.
    for name in ("web.log", "web.error.log"):
        (bench_dir / "logs" / name).unlink()
        (bench_dir / "logs" / name).symlink_to(secret)
    host.control("restart", "b-web")
    assert host.has(logs / "web.error.log", "wrong\nwrong\n")
    assert secret.read_text() == "root's\n"
    assert run(monkeypatch, conf, state, logs=asked).result["did"] == links
    # A release: what supervisord opens is no link any more, and nothing is lost.
    (logs / "web.log.1").write_text("rotated\n")
    written(bench_dir / "logs")
    did = run(monkeypatch, conf, state, logs={**asked, "linked": False}).result["did"]
    assert did[1:] == [
        f"bring {bench_dir}/logs/{name} back" for name in ("web.error.log", "web.log")
    ]
    assert not (bench_dir / "logs/web.log").is_symlink()
    assert host.has(bench_dir / "logs/web.log", "here\nhere\nhere\n")
    former = [path for path in (bench_dir / "logs").glob("web.log.*") if not path.is_symlink()]
    texts = {path.read_text() for path in former}
    assert texts == {"before\n", "long before\n", "rotated\n"}


def test_an_own_programs_log_in_the_accounts_folder_is_a_warning(
    host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    (host.folder / "home").mkdir()
    as_nobody(host.folder / "home")
    monkeypatch.setattr(bench_programs, "LOGS", str(host.folder / "logs"))
    conf = host.write("conf.d/b.conf", program("b-web", WEB))
    host.write("conf.d/bot.conf", program("bot", BOT, f"stdout_logfile={host.folder}/home/x.log"))
    host.start()
    asked = {"bench": str(host.folder / "b"), "user": "nobody", "linked": True}
    (warning,) = run(monkeypatch, conf, host.folder / "state.json", logs=asked).warnings
    for value in (f"{host.folder}/home/x.log", "bot", "nobody"):
        assert value in warning


def test_the_bench_clis_file_as_supervisord_reads_it(host: Host) -> None:
    (host.folder / "logs").mkdir()
    text = "\n".join(
        f"[program:b-{name}]\ncommand={command}\nuser=root\ndirectory=/root\n"
        f"stdout_logfile=/etc/cron.d/x\nstderr_logfile=/b/logs/../x"
        for name, command in (
            ("frappe-web", "/b/env/bin/gunicorn -b 1 -w 1 frappe.app:application"),
            ("frappe-schedule", "/usr/local/bin/bench schedule"),
            ("frappe-short-worker", "/usr/local/bin/bench worker --queue short"),
        )
    )
    wanted = [{"name": "short", "queues": ["short"], "processes": 1}]
    made = bench.supervisor_config(text, "/b", "nobody", ["a:1"], 2, wanted, "/usr/local/bin/bench")
    made = made.replace(programs.LOGS, str(host.folder / "logs"))
    read = configuration.configuration({f"{host.folder}/conf.d/b.conf": made})
    assert read["trouble"] is None
    assert {process["user"] for process in read["processes"]} == {"nobody"}
    assert {process["directory"] for process in read["processes"]} == {"/b", "/b/sites"}
    logs = {path for process in read["processes"] for path in process["logs"]}
    assert {os.path.dirname(path) for path in logs} == {str(host.folder / "logs")}
