"""A bench that somebody made by hand, as preflight has to know it before it is taken over.

Reads only, and without the fleet's own packages: nothing has been installed yet.
"""

from __future__ import annotations

import configparser
import glob
import os
import pwd
import re
import subprocess
from collections.abc import Iterable
from typing import Any

from ansible.module_utils.bench import (
    BenchError,
    installed_apps,
    read_foreign,
    read_json,
    read_text,
    run_as,
)
from ansible.module_utils.bench_files import (
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
)
from ansible.module_utils.mariadb import client
from ansible.module_utils.mariadb_options import server_options
from ansible.module_utils.nginx_look import look_at_nginx
from ansible.module_utils.sites import Folders, further_names
from ansible.module_utils.surroundings import look_at_crontabs, look_at_sudo

SOCKET = "/run/mysqld/mysqld.sock"
# Names that the fleet gives to accounts and to a database of its own.
OUR_ACCOUNTS = ("repl", "fleet_probe", "fleet_heartbeat")
OUR_DATABASE = "benchfleet"
# Of common_site_config.json: where the bench's services listen.
SERVICE_KEYS = ("webserver_port", "socketio_port", "db_host")
REDIS_FILES = ("config/redis_cache.conf", "config/redis_queue.conf")


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
        "trouble": "" if asked.returncode == 0 else (asked.stderr.strip() or "no answer"),
        "accounts": found.get("account", []),
        "databases": found.get("database", []),
        "log_bin": found.get("log_bin") == ["1"],
        "read_only": found.get("read_only") == ["1"],
        "asleep": found.get("asleep", []),
        "follows": bool(follows.stdout.strip()),
        "settings": server_options(),
    }


def supervisor_files(bench: str) -> list[dict[str, Any]]:
    """Files of supervisor's that run programs of the bench: {path, ours, programs, others}.

    programs are the bench's, and the groups of the file; others are programs in the same file that
    are not the bench's.
    """
    found = []
    for path in sorted(glob.glob("/etc/supervisor/conf.d/*.conf")):
        text = read_text(path) or ""
        parser = configparser.RawConfigParser(strict=False)
        try:
            parser.read_string(text)
        except configparser.Error:
            continue
        mine, others = [], []
        for section in parser.sections():
            if section.startswith("program:"):
                words = " ".join(value for _name, value in parser.items(section))
                (mine if f"{bench}/" in f"{words}/" else others).append(section[8:])
        if mine:
            mine += [name[6:] for name in parser.sections() if name.startswith("group:")]
            ours = "Made by Benchfleet" in text
            found.append({"path": path, "ours": ours, "programs": mine, "others": others})
    return found


def look(bench: str, ports: Iterable[int] = ()) -> dict[str, Any]:
    """Everything about this host that an adoption is judged by; ports are the fleet's."""
    about = look_at_bench(bench)
    names = {
        name.lower() for site, entry in about["sites"].items() for name in (site, *entry["names"])
    }
    return {
        "bench": about,
        "database": look_at_database(),
        "supervisor": supervisor_files(bench),
        "nginx": look_at_nginx(bench, names, ports),
        "sudo": look_at_sudo(about["owner"]),
        "crontabs": look_at_crontabs(bench),
    }
