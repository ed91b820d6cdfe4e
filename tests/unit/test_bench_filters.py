"""Files that the bench CLI generates, made into those of a node."""

from __future__ import annotations

import configparser
import re

import pytest
from ansible.errors import AnsibleFilterError
from fleet.bench.program_settings import program_problems
from fleet.supervisor.control import missing_programs

from filter_plugins import bench

PROGRAMS = ("frappe-web", "frappe-schedule", "frappe-short-worker", "frappe-long-worker")
EXTRA = ("frappe-custom-worker", "redis-cache", "redis-queue", "node-socketio")


def generated(prefix: str = "b") -> str:
    """A configuration in the shape of `bench setup supervisor`."""
    commands = {
        "frappe-web": "/b/env/bin/gunicorn -b 127.0.0.1:8000 -w 9 -t 120 frappe.app:application",
        "frappe-schedule": "/opt/x/bin/bench schedule",
        "node-socketio": "/opt/x/bin/bench socketio",
        "redis-cache": "/usr/bin/redis-server /b/config/redis_cache.conf",
        "redis-queue": "/usr/bin/redis-server /b/config/redis_queue.conf",
    }
    lines = ["; a remark"]
    for name in (*PROGRAMS, *EXTRA):
        lines += [
            f"[program:{prefix}-{name}]",
            f"command={commands.get(name, f'/opt/x/bin/bench worker --queue {name}')}",
            "process_name=%(program_name)s-%(process_num)d",
        ]
        if name.endswith("worker"):
            lines += ["numprocs=1", "directory=/b", f"stopwaitsecs={len(name)}"]
        if name.endswith("web"):
            lines += ["directory=/b/sites", "stderr_logfile=/b/logs/web.error.log"]
    lines += [f"[group:{prefix}-web]", f"programs={prefix}-frappe-web,{prefix}-node-socketio"]
    members = ("frappe-schedule", "frappe-short-worker", "frappe-long-worker")
    joined = ",".join(f"{prefix}-{m}" for m in (*members, "frappe-custom-worker"))
    lines += [f"[group:{prefix}-workers]", f"programs={joined}"]
    lines += [f"[group:{prefix}-redis]", f"programs={prefix}-redis-cache,{prefix}-redis-queue"]
    return "\n".join(lines)


def parsed(text: str) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=True)
    parser.read_string(text)
    return parser


def workers(**counts: int) -> list[dict[str, object]]:
    """Worker programs, each for the queue of its name."""
    return [{"name": n, "queues": [n], "processes": count} for n, count in counts.items()]


def node(**changes: object) -> configparser.RawConfigParser:
    options: dict[str, object] = {
        "web_bind": ["10.0.0.2:8000"],
        "web_workers": 4,
        "workers": workers(short=3, long=3),
        "bench_command": "/usr/local/bin/bench",
        "redis_config_dir": "/etc/r",
        "start_queue": "/lib/start-queue",
    }
    return parsed(bench.supervisor_config(generated(), "/b", "frappe", **{**options, **changes}))  # type: ignore[arg-type]


def test_primary_has_every_program_with_its_counts() -> None:
    conf = node()
    assert conf["program:b-frappe-web"]["command"] == (
        "/b/env/bin/gunicorn -b 10.0.0.2:8000 -w 4 -t 120 frappe.app:application"
    )
    assert conf["program:b-frappe-long-worker"]["numprocs"] == "3"
    assert conf["program:b-frappe-short-worker"]["numprocs"] == "3"
    assert (
        conf["program:b-redis-cache"]["command"] == "/usr/bin/redis-server /etc/r/redis_cache.conf"
    )
    assert conf["program:b-redis-queue"]["command"] == (
        "/lib/start-queue /usr/bin/redis-server /etc/r/redis_queue.conf"
    )
    assert conf["program:b-frappe-schedule"]["command"] == "/usr/local/bin/bench schedule"
    groups = {s: conf[s]["programs"] for s in conf.sections() if s.startswith("group:")}
    assert groups == {
        "group:b-web": "b-frappe-web",
        "group:b-schedule": "b-frappe-schedule",
        "group:b-redis": "b-redis-cache,b-redis-queue",
        "group:b-socketio": "b-node-socketio",
        "group:b-short-worker": "b-frappe-short-worker",
        "group:b-long-worker": "b-frappe-long-worker",
    }


def test_supervisor_never_stops_starting_a_program() -> None:
    for conf in (node(), node(schedule=False, redis_config_dir=None, guard=GUARD)):
        programs = [s for s in conf.sections() if s.startswith("program:")]
        assert {conf[s]["startretries"] for s in programs} == {"1000000"}


def test_a_reporting_node_has_no_scheduler_in_program_or_group() -> None:
    conf = node(schedule=False, socketio=False, redis_config_dir=None)
    assert not [s for s in conf.sections() if "schedule" in s or "redis" in s or "socketio" in s]
    assert all("schedule" not in conf[s]["programs"] for s in conf.sections() if s[:5] == "group")
    assert conf["group:b-web"]["programs"] == "b-frappe-web"


def test_no_worker_programs_are_left_that_are_not_wanted() -> None:
    assert not [s for s in node(workers=[], schedule=False).sections() if "worker" in s]


def test_an_operators_worker_program_has_its_queues_and_the_stop_time_of_the_longest() -> None:
    wanted = [
        {"name": "placed", "queues": ["at-rep1", "at-reporting"], "processes": 2},
        {"name": "short-default", "queues": ["short", "default"], "processes": 1},
        {"name": "custom", "queues": ["custom"], "processes": 4},
    ]
    conf = node(workers=wanted)
    own = conf["program:b-frappe-placed-worker"]
    assert own["command"] == "/usr/local/bin/bench worker --queue at-rep1,at-reporting"
    assert (own["numprocs"], own["stopwaitsecs"]) == ("2", str(len("frappe-long-worker")))
    quick = conf["program:b-frappe-short-default-worker"]
    assert quick["stopwaitsecs"] == str(len("frappe-short-worker"))
    stock = conf["program:b-frappe-custom-worker"]
    assert (stock["numprocs"], stock["stopwaitsecs"]) == ("4", str(len("frappe-custom-worker")))
    assert not conf.has_section("program:b-frappe-long-worker")
    # The quick program, too, may have a placed job, which takes its time.
    conf = node(workers=[{"name": "short", "queues": ["at-rep1", "short"], "processes": 1}])
    assert conf["program:b-frappe-short-worker"]["stopwaitsecs"] == str(len("frappe-long-worker"))


def test_no_web_workers_drops_the_web_program() -> None:
    assert not node(web_workers=0).has_section("program:b-frappe-web")


GUARD = {"package_dir": "/lib/guard", "settings": "/etc/guard.json"}
FOUND = 'PYTHONPATH="/lib/guard",BENCHFLEET_READ_GUARD="/etc/guard.json"'


def test_a_reporting_node_runs_web_and_workers_with_the_guard() -> None:
    conf = node(schedule=False, socketio=False, redis_config_dir=None, guard=GUARD)
    web = conf["program:b-frappe-web"]
    assert web["command"].endswith("-w 4 -t 120 benchfleet_guard.wsgi:application")
    assert web["environment"] == FOUND
    worker = conf["program:b-frappe-long-worker"]
    assert worker["command"] == "/b/env/bin/python -m benchfleet_guard worker --queue long"
    assert (worker["directory"], worker["environment"]) == ("/b/sites", FOUND)


def test_the_primary_has_a_pool_for_reports_and_its_own_programs_no_guard() -> None:
    pool = {"bind": "127.0.0.1:8001", "workers": 2, **GUARD}
    conf = node(report_pool=pool)
    assert "guard" not in str(dict(conf["program:b-frappe-web"]))
    reports = conf["program:b-frappe-report-web"]
    assert "-b 127.0.0.1:8001 -w 2" in reports["command"]
    assert reports["command"].endswith("benchfleet_guard.wsgi:application")
    assert reports["stderr_logfile"] == "/var/log/benchfleet-programs/report-web.error.log"
    assert conf["group:b-report-web"]["programs"] == "b-frappe-report-web"
    assert "report-web" not in conf["group:b-web"]["programs"]
    assert not node(web_workers=0, report_pool=pool).has_section("group:b-report-web")


def test_several_addresses_are_bound() -> None:
    command = node(web_bind=["10.0.0.2:8000", "[fd00::2]:8000"])["program:b-frappe-web"]["command"]
    assert "-b 10.0.0.2:8000 -b [fd00::2]:8000 -w 4" in command


def test_result_is_stable_under_repetition() -> None:
    wanted = ("/b", "frappe", ["a:1"], 2, workers(long=2), "/usr/local/bin/bench")
    once = bench.supervisor_config(generated(), *wanted)
    assert once == bench.supervisor_config(generated(), *wanted)
    assert bench.supervisor_programs(once)[0] == "b-frappe-web"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("; empty", "b-frappe-web"),
        ("no section", "line: 1"),
        ("[program:b-frappe-web]\ncommand=gunicorn frappe.app", "gunicorn frappe.app"),
    ],
)
def test_unknown_shapes_are_refused(text: str, named: str) -> None:
    with pytest.raises(AnsibleFilterError, match=named):
        bench.supervisor_config(text, "/b", "frappe", ["a:1"], 1, [], "/usr/local/bin/bench")


def test_redis_listens_at_the_given_addresses_and_has_our_users() -> None:
    text = (
        "bind 127.0.0.1\nport 13000\nmaxmemory 50mb\n"
        "aclfile /b/x.acl\nRequirePass x\nmaxmemory-policy allkeys-lru\n"
    )
    out = bench.redis_config(text, ["127.0.0.1", "10.0.0.1"], "/etc/ours.acl", 128).splitlines()
    assert "bind 127.0.0.1 10.0.0.1" in out
    assert "protected-mode yes" in out
    assert "maxmemory 128mb" in out
    assert "maxmemory 50mb" not in out
    assert "maxmemory-policy allkeys-lru" in out
    of_users = [line for line in out if line.lower().startswith(("aclfile", "user", "requirep"))]
    assert of_users == ['aclfile "/etc/ours.acl"']


def queue_config(text: str) -> list[str]:
    out = bench.redis_config(f"port 11000\n{text}", ["127.0.0.1"], "x", 128, queue=True)
    return out.splitlines()


def test_the_queue_drops_no_job_and_is_on_the_disk_after_a_second() -> None:
    out = queue_config("maxmemory-policy allkeys-lru\nAOF-load-truncated no\nappendfsync no\n")
    settings = ("maxmemory", "maxmemory-policy", "appendfsync", "aof-load-truncated")
    assert [line for line in out if line.lower().startswith(settings)] == [
        "maxmemory 128mb",
        "maxmemory-policy noeviction",
        "appendfsync everysec",
        "aof-load-truncated yes",
    ]
    # Without what supervisor starts, it would begin empty beside the file of a bench made by hand.
    assert not [line for line in out if line.startswith("appendonly")]


def test_the_operators_own_limit_and_care_for_the_queue_stay() -> None:
    out = queue_config("MaxMemory 2gb\nappendfsync always\nappendonly yes\nsave 60 1\n")
    assert {"MaxMemory 2gb", "appendfsync always", "appendonly yes", "save 60 1"} <= set(out)
    assert not [line for line in out if line in ("maxmemory 128mb", "appendfsync everysec")]
    # None is no limit.
    assert "maxmemory 128mb" in queue_config("maxmemory 0")


def test_redis_without_a_port_is_refused() -> None:
    assert bench.redis_config("bind 127.0.0.1\nport 1", ["127.0.0.1"], "x", 64)
    for text in ("bind 127.0.0.1", "port 0", "port 1\nPort 0"):
        with pytest.raises(AnsibleFilterError):
            bench.redis_config(text, ["127.0.0.1"], "x", 64)
    assert bench.redis_config('port 1\nrequirepass "x"', ["127.0.0.1"], "x", 64)
    with pytest.raises(AnsibleFilterError, match="2"):
        bench.redis_config('port 1\nrequirepass "x', ["127.0.0.1"], "x", 64)


def test_the_bench_id_is_the_one_that_frappe_derives() -> None:
    assert bench.bench_id("/home/frappe/frappe-bench") == "home-frappe-frappe-bench"


def test_ssh_is_asked_for_its_own_port_without_naming_it() -> None:
    (app,) = bench.lockstep_apps({"frappe": {"commit": "f"}}, "u", "10.0.0.1", 22, "/b", {})
    assert app["repo"] == "ssh://u@10.0.0.1/b/apps/frappe"


def test_apps_come_from_the_primary_at_its_commits_frappe_first() -> None:
    apps = {"erpnext": {"commit": "e1"}, "frappe": {"commit": "f1"}}
    upstreams = {"frappe": "https://h/f"}
    assert bench.lockstep_apps(apps, "frappe", "fd00::1", 2222, "/home/b", upstreams) == [
        {
            "name": "frappe",
            "repo": "ssh://frappe@[fd00::1]:2222/home/b/apps/frappe",
            "branch": None,
            "commit": "f1",
            "upstream": "https://h/f",
        },
        {
            "name": "erpnext",
            "repo": "ssh://frappe@[fd00::1]:2222/home/b/apps/erpnext",
            "branch": None,
            "commit": "e1",
            "upstream": None,
        },
    ]


@pytest.mark.parametrize(
    ("port", "name"), [(22, "fd00::1"), ("22", "fd00::1"), (2222, "[fd00::1]:2222")]
)
def test_known_hosts_are_named_as_ssh_looks_for_them(port: int, name: str) -> None:
    assert bench.known_host("fd00::1", port) == name


def test_secrets_of_a_configuration_are_known_by_name_and_by_url() -> None:
    config = {
        "redis_cache": "redis://:p@h:1",
        "db_host": "h",
        "mail_password": "p",
        "encryption_key": "k",
    }
    assert bench.public_part(config) == {"db_host": "h"}
    assert set(bench.secret_part(config)) == {"redis_cache", "mail_password", "encryption_key"}


def test_a_program_that_the_bench_cli_does_not_write_is_named():
    text = generated()
    assert missing_programs(text) == []
    (message,) = missing_programs(text.replace("[program:b-frappe-schedule]", "[program:b-clock]"))
    assert "*-frappe-schedule" in message


def test_programs_but_redis_have_the_environment_that_the_inventory_names() -> None:
    given = {"TOKEN": 'a%1,2;"x" y', "PYTHONPATH": "/own", "N": 5}
    guard = {"package_dir": "/lib/guard", "settings": "/etc/guard.json"}
    conf = node(environment=given, guard=guard)
    for name in ("schedule", "long-worker", "web"):
        assert """TOKEN='a%%1,2;"x" y'""" in conf[f"program:b-frappe-{name}"]["environment"]
        assert 'N="5"' in conf[f"program:b-frappe-{name}"]["environment"]
    assert 'PYTHONPATH="/own"' in conf["program:b-frappe-schedule"]["environment"]
    long = conf["program:b-frappe-long-worker"]["environment"]
    assert 'PYTHONPATH="/lib/guard:/own"' in long
    assert 'BENCHFLEET_READ_GUARD="/etc/guard.json"' in long
    assert "environment" not in conf["program:b-redis-cache"]


def test_gunicorn_gets_further_options() -> None:
    pool = {"bind": "127.0.0.1:8001", "workers": 2, "package_dir": "/l", "settings": "/s"}
    conf = node(web_arguments="-k gthread --threads 8", report_pool=pool)
    assert conf["program:b-frappe-web"]["command"].endswith(
        "-w 4 -t 120 -k gthread --threads 8 frappe.app:application"
    )
    pools = conf["program:b-frappe-report-web"]["command"]
    assert pools.endswith("-k gthread --threads 8 benchfleet_guard.wsgi:application")


@pytest.mark.parametrize(
    ("environment", "arguments", "problem", "facts"),
    [
        ({"a-b": "x"}, "", "environment_name_refused", {"name": "a-b"}),
        ({"BENCHFLEET_X": "x"}, "", "environment_name_refused", {"name": "BENCHFLEET_X"}),
        ({"A": "secret\nx"}, "", "environment_value_unwritable", {"name": "A"}),
        ({"A": "secret\"'"}, "", "environment_value_unwritable", {"name": "A"}),
        ({"A": "secret'"}, "", "environment_value_unwritable", {"name": "A"}),
        ({"A": "secret ;x"}, "", "environment_value_unwritable", {"name": "A"}),
        ({"A": ["secret"]}, "", "environment_value_no_text", {"name": "A"}),
        (["secret"], "", "environment_no_map", {}),
        ({}, "-k gthread -w 3", "web_arguments_taken", {"options": "-w"}),
        ({}, "--bind=0.0.0.0:80", "web_arguments_taken", {"options": "--bind=0.0.0.0:80"}),
        ({}, "gthread", "web_arguments_malformed", {}),
    ],
)
def test_what_supervisors_files_cannot_hold_is_named_without_the_value(
    environment: object, arguments: str, problem: str, facts: dict[str, str]
) -> None:
    (found,) = program_problems(environment, arguments, "erp1")
    assert found["id"] == problem
    assert found["facts"] == {**found["facts"], **facts}
    assert "secret" not in str(found)
    assert "erp1" in found["place"]
    with pytest.raises(AnsibleFilterError):
        node(environment=environment, web_arguments=arguments)


def test_each_flaw_of_a_value_has_its_own_name() -> None:
    values = ("x\ny", "x\"'", "x'", "x ;y")
    found = [next(program_problems({"A": value}, "", "erp1"))["facts"]["flaw"] for value in values]
    assert len(set(found)) == len(values)


def test_a_queue_named_redis_is_a_workers() -> None:
    conf = node(workers=workers(**{"redis-jobs": 1, "long": 1}))
    assert conf["group:b-redis"]["programs"] == "b-redis-cache,b-redis-queue"
    assert conf["group:b-redis-jobs-worker"]["programs"] == "b-frappe-redis-jobs-worker"


SAFE = "[program:b-frappe-schedule]\ncommand=/opt/x/bin/bench schedule\n"
# What the bench's account may write into the bench CLI's file, and the section that is named.
SLIPPED_IN = [
    ("[program:x]\nuser=root\ncommand=/bin/sh", "program:x"),
    ("[program:b-frappe-evil]\ncommand=/bin/sh", "program:b-frappe-evil"),
    ("[program:c-frappe-web]\ncommand=/c/gunicorn frappe.app:application", "program:c-frappe-web"),
    ("[program:b-frappe-x-worker]\ncommand=/tmp/evil", "program:b-frappe-x-worker"),
    ("[program:b-frappe-../x-worker]\ncommand=bench worker", "program:b-frappe-../x-worker"),
    ("[program: b-frappe-x-worker]\ncommand=bench worker", "program: b-frappe-x-worker"),
    ("[fcgi-program:x]\ncommand=/tmp/x\nsocket=unix:///etc/x", "fcgi-program:x"),
    ("[eventlistener:x]\ncommand=/tmp/x\nevents=TICK_5\nresult_handler=x:y", "eventlistener:x"),
    ("[include]\nfiles=/home/frappe/*.conf", "include"),
    ("[supervisord]\nuser=root\nlogfile=/etc/cron.d/x", "supervisord"),
    ("[unix_http_server]\nfile=/tmp/s.sock\nchmod=0777", "unix_http_server"),
    ("[inet_http_server]\nport=*:9001", "inet_http_server"),
    ("[rpcinterface:x]\nsupervisor.rpcinterface_factory=x:y", "rpcinterface:x"),
    ("[ctlplugin:x]\nsupervisor.ctl_factory=x:y", "ctlplugin:x"),
    ("[supervisorctl]\nserverurl=unix:///tmp/s.sock", "supervisorctl"),
    ("[DEFAULT]\nuser=root", "DEFAULT"),
]
# Lines below a program that the bench CLI writes, and the option that is named.
OPTIONS = [
    ("User=root", "User"),
    ("user : frappe\nUSER=root", "USER"),
    ("environment=LD_PRELOAD=/tmp/x.so", "environment"),
    ("umask=000", "umask"),
    ("serverurl=unix:///tmp/s.sock", "serverurl"),
    ("redirect_stderr=true", "redirect_stderr"),
    ("stdout_syslog=true", "stdout_syslog"),
    ("process_name=%(ENV_HOME)s", "process_name"),
    ("numprocs=1\n  user=root", "numprocs"),
    ("numprocs=\u0661", "numprocs"),
    ("priority=1 ; [program:x]", "priority"),
    ("autostart=true\n\n  [program:x]\n  user=root", "autostart"),
    ("autorestart=%(ENV_HOME)s", "autorestart"),
]
COMMANDS = [
    "/bin/sh",
    "/opt/x/bin/bench schedule %(ENV_HOME)s",
    "/opt/x/bin/bench schedule ; id",
    "/opt/x/bin/bench schedule\n  user=root",
    "/opt/x/bin/bench schedule\n  [program:x]\n  user=root",
    "/opt/x/bin/bench schedule\t#",
    "bash -c 'bench schedule'",
]


def from_text(text: str) -> configparser.RawConfigParser:
    wanted = (["a:1"], 2, workers(long=2), "/usr/local/bin/bench")
    return parsed(bench.supervisor_config(text, "/b", "frappe", *wanted))


@pytest.mark.parametrize(("lines", "section"), SLIPPED_IN)
def test_no_section_passes_that_the_bench_cli_does_not_write(lines: str, section: str) -> None:
    for text in (f"{generated()}\n{lines}\n", f"{lines}\n{generated()}"):
        with pytest.raises(AnsibleFilterError) as caught:
            from_text(text)
        assert f"[{section}]" in str(caught.value)


@pytest.mark.parametrize(("lines", "option"), OPTIONS)
def test_no_option_passes_that_the_bench_cli_does_not_write(lines: str, option: str) -> None:
    safe = generated().replace("[program:b-frappe-schedule]", "[program:b-frappe-one-worker]")
    safe = safe.replace("/opt/x/bin/bench schedule", "/opt/x/bin/bench worker --queue one")
    with pytest.raises(AnsibleFilterError) as caught:
        from_text(f"{safe}\n{SAFE}{lines}\n")
    assert re.search(rf"\boption {re.escape(option)}\b", str(caught.value))
    assert "[program:b-frappe-schedule]" in str(caught.value)
    assert "/tmp" not in str(caught.value)


@pytest.mark.parametrize("command", COMMANDS)
def test_no_command_passes_that_does_something_else(command: str) -> None:
    with pytest.raises(AnsibleFilterError, match=r"\boption command\b"):
        from_text(generated().replace("/opt/x/bin/bench schedule", command))


def test_a_node_without_redis_has_a_file_of_the_bench_clis_too() -> None:
    text = generated().replace("/usr/bin/redis-server", "None")
    wanted = ("/b", "frappe", ["a:1"], 2, workers(long=2), "/usr/local/bin/bench")
    assert "redis" not in bench.supervisor_config(text, *wanted)
    with pytest.raises(AnsibleFilterError, match=r"\[program:b-redis-cache\]"):
        bench.supervisor_config(text, *wanted, redis_config_dir="/etc/r")


def test_a_section_twice_is_an_error() -> None:
    with pytest.raises(AnsibleFilterError, match="already exists"):
        from_text(f"{generated()}\n[program:b-frappe-web]\nuser=root\n")
    with pytest.raises(AnsibleFilterError, match="already exists"):
        from_text(generated().replace("directory=/b", "user=frappe\nuser=root", 1))


def test_account_folder_and_logs_are_never_taken_from_the_text() -> None:
    text = generated().replace(
        "process_name=%(program_name)s-%(process_num)d",
        "process_name=%(program_name)s-%(process_num)d\nuser=root\n"
        "stdout_logfile=/b/logs/../../etc/cron.d/x",
    )
    text = text.replace("directory=/b", "directory=/root")
    conf = from_text(text)
    programs = [s for s in conf.sections() if s.startswith("program:")]
    assert {conf[s]["user"] for s in programs} == {"frappe"}
    assert {conf[s]["directory"] for s in programs} == {"/b", "/b/sites"}
    logs = {conf[s][f"{stream}_logfile"] for s in programs for stream in ("stdout", "stderr")}
    assert {path.rpartition("/")[0] for path in logs} == {"/var/log/benchfleet-programs"}
    assert {"web.log", "worker.error.log", "schedule.log"} < {p.rpartition("/")[2] for p in logs}


def test_the_standby_gets_the_files_from_which_the_primarys_redis_is_made() -> None:
    written = {"redis_queue.conf": "port 1\ndir /b/config/pids\n", "redis_cache.conf": "port 2\n"}
    written["redis_cache.acl"] = "user default on nopass ~* +@all\n"
    others = {"supervisor.conf": "x", "redis_queue.acl": None}
    entries = bench.redis_copied(written | others, "/b/config", "frappe")
    assert {entry["owner"] for entry in entries} == {"frappe"}
    assert entries[0] == {"path": "/b/config/pids", "state": "directory", "owner": "frappe"}
    copied = {entry["path"].removeprefix("/b/config/"): entry for entry in entries[1:]}
    assert {name: entry["content"] for name, entry in copied.items()} == written
    # The operator's own password may be in there.
    assert all(entry["secret"] and entry["mode"] == "0600" for entry in copied.values())
    assert [
        entry["content"] for entry in bench.redis_copied({"redis_queue.conf": None}, "/", "x")
    ] == [""]
