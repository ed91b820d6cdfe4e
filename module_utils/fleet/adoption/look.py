"""A bench that somebody made by hand, as preflight has to know it before it is taken over.

Reads only, and without the fleet's own packages: nothing has been installed yet.
"""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from collections.abc import Iterable, Mapping
from typing import Any

from ..bench.account import (
    BenchError,
    installed_apps,
    read_foreign,
    read_json,
    read_text,
    run_as,
)
from ..bench.files import (
    FRAPPE_REDIS,
    OUT,
    apps_in,
    is_local,
    kept_paths,
    keys_that_are,
    redis_address,
    redis_gone,
    redis_refused,
    refused_keys,
    without_password,
)
from ..bench.jobs import custom_queues
from ..mariadb.options import server_options
from ..mariadb.server import SOCKET, client
from ..nginx.look import look_at_nginx
from ..sites.folders import Folders, further_names
from ..supervisor.programs import (
    ConfigurationError,
    bench_sections,
    configuration,
    digest,
    kept_text,
    own_names,
    own_troubles,
    queues_of,
    task,
    tasks,
    trouble_words,
    values,
    words_of,
    writer,
)
from ..surroundings import look_at_crontabs, look_at_sudo

# Names that the fleet gives to accounts and to a database of its own.
OUR_ACCOUNTS = ("repl", "fleet_probe", "fleet_heartbeat")
OUR_DATABASE = "benchfleet"
# Of common_site_config.json: where the bench's services listen.
SERVICE_KEYS = ("webserver_port", "socketio_port", "db_host")
REDIS_FILES = ("config/redis_cache.conf", "config/redis_queue.conf")

# A file of supervisor's that is never written: whether it would be read.
PROBE = "/etc/supervisor/conf.d/benchfleet-probe.conf"
# What a worker takes jobs from that names no queue.
EVERY_QUEUE = "short,default,long"
# Of the bench CLI.
DEFAULT_MAX_REQUESTS = 5000
# Long names of gunicorn's options.
SHORT = {"--bind": "-b", "--workers": "-w", "--timeout": "-t", "--worker-class": "-k"}
# Options that `bench setup supervisor` writes; the fleet's file has its own values for them.
WRITTEN = (
    *("command", "priority", "autostart", "autorestart", "stdout_logfile", "stderr_logfile"),
    *("stopwaitsecs", "killasgroup", "user", "directory", "startretries", "numprocs"),
    *("process_name", "environment"),
)


def run(words: list[str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    """A command's result; a failed one where the program is missing or hangs."""
    try:
        return subprocess.run(
            words, input=stdin, capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(words, 1, "", str(error))


def sql(statements: str) -> subprocess.CompletedProcess[str]:
    """Run statements as the server's root, on its socket; they are on no command line."""
    words = ["--user=root", "--default-character-set=utf8mb4", "--batch", "-N"]
    return run(client("mariadb", SOCKET, *words), statements)


def config_of(path: str) -> dict[str, Any]:
    """A JSON object of the bench's, {} where it is missing or none."""
    try:
        return read_json(path)
    except (BenchError, OSError):
        return {}


def unread_configs(bench: str) -> list[str]:
    """Configurations of a bench and its sites, below its sites folder, that are no JSON objects."""
    folders = Folders(f"{bench}/sites", "")
    wrong = []
    for path in [f"{bench}/sites/common_site_config.json", *map(folders.config, folders.names())]:
        try:
            read_json(path)
        except (BenchError, OSError):
            wrong.append(os.path.relpath(path, f"{bench}/sites"))
    return wrong


def paths_of(bench: str, common: dict[str, Any]) -> list[str]:
    """Keys, with their files, that name a file of this host which no reporting node will have."""
    folders = Folders(f"{bench}/sites", "")
    named = {"common_site_config.json": kept_paths(common)}
    for site in folders.names():
        named[f"{site}/site_config.json"] = kept_paths(config_of(folders.config(site)), site=True)
    return [
        f"{key} of {file}"
        for file, keys in named.items()
        for key, path in keys.items()
        if os.path.exists(path)
    ]


def bench_sites(bench: str) -> dict[str, dict[str, Any]]:
    """The sites of a bench: name → {user, host of its database, names: its further names, refused:
    keys of its configuration with which no fleet can live}.
    """
    folders = Folders(f"{bench}/sites", "")
    names = folders.names()
    links = folders.links(names)
    sites = {}
    for site in names:
        config = config_of(folders.config(site))
        sites[site] = {
            "user": str(config.get("db_user") or config.get("db_name") or ""),
            "host": "" if is_local(config.get("db_host")) else str(config["db_host"]),
            "refused": refused_keys(config, site=True),
            "names": [*further_names(config), *(link for link in links if links[link] == site)],
        }
    return sites


def python_version(bench: str, owner: str) -> str:
    """Version of a bench's own Python, which its owner runs; "" where it does not answer.

    The file is the owner's to replace, so root never runs it: not in a bench of root's either, for
    the bench may be a link to a folder in which everybody may write.
    """
    if owner in ("", "root"):
        return ""
    words = [f"{bench}/env/bin/python", "--version"]
    try:
        said = run_as(owner, words, "/", {"PATH": "/usr/bin:/bin"}, timeout=30).stdout
    except (KeyError, OSError, subprocess.TimeoutExpired):
        return ""
    found = re.match(r"Python (\S+)", said)
    return found.group(1) if found else ""


def look_at_bench(bench: str) -> dict[str, Any]:
    """Owner with home and shell, Python, apps, sites and services of a bench.

    unversioned are the apps of which git knows nothing; redis is where its URLs lead to, files what
    its files of Redis' say that is refused, or goes; keys are those of its common configuration
    that are refused, or go, or add others.
    """
    owner = home = shell = ""
    if os.path.isdir(bench):
        number = os.stat(bench).st_uid
        try:
            account = pwd.getpwuid(number)
            owner, home, shell = account.pw_name, account.pw_dir, account.pw_shell
        except KeyError:
            owner = str(number)
    apps = sorted(installed_apps(bench))
    listed = apps_in(read_foreign(f"{bench}/sites/apps.txt") or "")
    config = config_of(f"{bench}/sites/common_site_config.json")
    services = {key: str(config.get(key) or "") for key in SERVICE_KEYS}
    if is_local(config.get("db_host")):
        services["db_host"] = ""
    redis = {key: redis_address(config.get(key) or url) for key, url in FRAPPE_REDIS.items()}
    for address in redis.values():
        address["local"] = is_local(address["host"])
    files = {}
    for name in REDIS_FILES:
        text = read_foreign(f"{bench}/{name}")
        if text is not None:
            files[name] = {"refused": redis_refused(text), "gone": redis_gone(text)}
    return {
        "owner": owner,
        "home": home,
        "shell": shell,
        "python": python_version(bench, owner),
        "apps": apps,
        "unversioned": [app for app in listed if app not in apps],
        "built": os.path.exists(f"{bench}/sites/assets/assets.json"),
        "sites": bench_sites(bench),
        "services": services,
        "redis": redis,
        "files": files,
        "keys": {
            "unread": unread_configs(bench),
            "refused": refused_keys(config),
            "out": sorted(set(keys_that_are(OUT)) & set(config)),
            "adds": bool(config.get("extra_config")),
            "paths": paths_of(bench, config),
        },
    }


def look_at_database() -> dict[str, Any]:
    """Whether root gets in, and what stands in the way of a fleet: see the keys."""
    asked = sql(
        "SELECT CONCAT('account ', user, '@', host) FROM mysql.user;"
        "SELECT CONCAT('database ', SCHEMA_NAME) FROM information_schema.SCHEMATA;"
        "SELECT CONCAT('log_bin ', @@GLOBAL.log_bin);"
        "SELECT CONCAT('read_only ', @@GLOBAL.read_only);"
        "SELECT CONCAT('asleep ', EVENT_SCHEMA, '.', EVENT_NAME) FROM information_schema.EVENTS"
        " WHERE STATUS = 'ENABLED' AND @@GLOBAL.event_scheduler <> 'ON';"
    )
    follows = sql("SHOW ALL SLAVES STATUS")
    found: dict[str, list[str]] = {}
    for line in asked.stdout.splitlines():
        word, _, rest = line.partition(" ")
        found.setdefault(word, []).append(rest)
    return {
        "trouble": "".join(
            done.stderr.strip() or "no answer" for done in (asked, follows) if done.returncode != 0
        ),
        "accounts": found.get("account", []),
        "databases": found.get("database", []),
        "log_bin": found.get("log_bin") == ["1"],
        "read_only": found.get("read_only") == ["1"],
        "asleep": found.get("asleep", []),
        "follows": bool(follows.stdout.strip()),
        "settings": server_options(),
    }


def supervisor_files(bench: str, read: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Files of supervisor's that run the bench: {path, ours, programs, kept}.

    ``read`` is what programs.configuration() says. programs are those that do the bench's own work,
    and their groups; kept are the other programs of the file. One that others than root can write
    is not ours, whatever it says.
    """
    work = bench_sections(bench, read)
    found = []
    for file in read["files"]:
        mine = [section.partition(":")[2] for section in file["sections"] if section in work]
        if mine:
            path = file["path"]
            ours = not writer(path) and "Made by Benchfleet" in (read_text(path) or "")
            kept = own_names(read, [path], bench)
            found.append({"path": path, "ours": ours, "programs": mine, "kept": kept})
    return found


def look_at_programs(bench: str, account: str) -> dict[str, Any]:
    """What supervisor runs of a bench: {trouble, unread, files, work, own, queues, kept, refused,
    told}.

    trouble is why supervisord cannot read its configuration, "" when it can; unread whether it does
    not read the folder that the fleet writes to; queues as of queue_processes(); files as of
    supervisor_files(). kept are the programs {name, user, command} of files that go out of service,
    told is by what they are known again, refused those that cannot go on so, as of own_troubles()
    for the bench's account. own are processes of programs of the operator's that work with the
    bench; work has for each program of the bench's own work
    {name, file, task, processes, queues, environment, arguments, options}: names of variables, and
    what `bench setup supervisor` does not write so. No value of a variable is in it.
    """
    config = config_of(f"{bench}/sites/common_site_config.json")
    told: dict[str, Any] = {"trouble": "", "unread": False, "files": [], "work": [], "own": []}
    told |= {"queues": queue_processes(bench), "kept": [], "refused": [], "told": ""}
    try:
        read = configuration()
        probe = configuration({PROBE: "[program:benchfleet-probe]\ncommand=/bin/true\n"})
    except ConfigurationError as error:
        return {**told, "trouble": str(error)}
    trouble = trouble_words(read["trouble"]) if read["trouble"] else ""
    raw = values(read)
    seen = PROBE in [file["path"] for file in probe["files"]]
    work = []
    for section, does in bench_sections(bench, read).items():
        if does == "group":
            continue
        processes = [process for process in read["processes"] if process["section"] == section]
        command = processes[0]["command"] if processes else raw[section].get("command", "")
        holders = [file["path"] for file in read["files"] if section in file["sections"]]
        number = len(processes) or 1
        if does == "web":
            number = int(flags_of(command).get("-w", "1"))
        elif pool := re.search(r"--num-workers[ =](\d+)", command):
            number *= int(pool.group(1))
        work.append(
            {
                "name": section.partition(":")[2],
                "file": holders[-1],
                "task": does,
                "processes": number,
                "queues": (queues_of(command) or EVERY_QUEUE) if does == "worker" else "",
                "environment": processes[0]["environment"] if processes else [],
                "arguments": own_arguments(command, config) if does == "web" else [],
                "options": own_options(does, command, raw[section], config),
            }
        )
    own = [name for name, does in tasks(bench, read).items() if not does]
    files = supervisor_files(bench, read)
    going = [file for file in files if not file["ours"]]
    paths = [file["path"] for file in going]
    processes = {process["section"].partition(":")[2]: process for process in read["processes"]}
    kept = [
        {
            "name": name,
            "user": processes[name]["user"],
            # As written: what it names may be a secret.
            "command": without_password(raw[processes[name]["section"]].get("command", "")),
        }
        for name in dict.fromkeys(name for file in going for name in file["kept"])
        if name in processes
    ]
    refused = own_troubles(bench, read, paths, account)
    return {
        **told,
        "trouble": trouble,
        "unread": bool(read["path"]) and not seen,
        "files": files,
        "work": work,
        "own": own,
        "kept": kept,
        "refused": refused,
        "told": "" if refused else digest(kept_text(bench, read, paths, account)),
    }


def queue_processes(bench: str) -> dict[str, int]:
    """Queues of a bench's own, see custom_queues(), and how many processes each has."""
    return {
        name: int(str(asked.get("background_workers") or 1))
        for name, asked in custom_queues(bench).items()
        if isinstance(asked, dict) and str(asked.get("background_workers") or 1).isdigit()
    }


def flags_of(command: str) -> dict[str, str]:
    """gunicorn's options of a web program's command, by their short names; "" for a bare one."""
    found: dict[str, str] = {}
    words = words_of(command)
    start = next((at for at, word in enumerate(words) if word.endswith("gunicorn")), len(words))
    last = ""
    for word in words[start + 1 :]:
        if word.startswith("-"):
            name, _, value = word.partition("=")
            if not word.startswith("--") and len(word) > 2:
                name, value = word[:2], word[2:].removeprefix("=")
            last = SHORT.get(name, name)
            found[last] = value
        elif last and not found[last] and task(word) != "web":
            found[last] = word
        else:
            last = ""
    return found


def own_arguments(command: str, config: Mapping[str, Any]) -> list[str]:
    """gunicorn's options that `bench setup supervisor` would not write for this bench."""
    flags = flags_of(command)
    usual = {
        "-b": flags.get("-b"),
        "-w": flags.get("-w"),
        "-t": str(config.get("http_timeout", 120)),
        "--graceful-timeout": "30",
        "--preload": "",
    }
    requests = str(config.get("gunicorn_max_requests", DEFAULT_MAX_REQUESTS))
    if flags.get("--max-requests") in (requests, "0"):
        usual |= {name: flags.get(name) for name in ("--max-requests", "--max-requests-jitter")}
    return [
        f"{name} {value}".strip()
        for name, value in flags.items()
        if name not in usual or usual[name] != value
    ]


def own_options(
    does: str, command: str, options: Mapping[str, str], config: Mapping[str, Any]
) -> list[str]:
    """Options of a program's section that `bench setup supervisor` would not write so.

    Numbers with their value, others by name.
    """
    workers = config.get("workers")
    asked = (workers if isinstance(workers, dict) else {}).get(queues_of(command))
    usual = {str(asked.get("timeout"))} if isinstance(asked, dict) else {"360", "1560"}
    strange = [name for name in options if name not in WRITTEN]
    if options.get("stopwaitsecs", "40") not in (usual if does == "worker" else {"40"}):
        strange.append("stopwaitsecs")
    return [f"{name}={options[name]}" if options[name].isdigit() else name for name in strange]


def look(bench: str, ports: Iterable[int] = ()) -> dict[str, Any]:
    """Everything about this host that an adoption is judged by; ports are the fleet's."""
    about = look_at_bench(bench)
    programs = look_at_programs(bench, about["owner"])
    names = {
        name.lower() for site, entry in about["sites"].items() for name in (site, *entry["names"])
    }
    return {
        "bench": about,
        "database": look_at_database(),
        "supervisor": programs["files"],
        "programs": programs,
        "nginx": look_at_nginx(bench, names, ports),
        "sudo": look_at_sudo(about["owner"]),
        "crontabs": look_at_crontabs(bench),
    }
