"""The bench itself: its place and account, the apps, the sites and their configurations."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from collections.abc import Iterable, Iterator
from typing import Any

from ..bench.account import BenchError, read_foreign, read_json, run_as
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
)
from ..bench.look import installed_apps
from ..preflight.problems import Host, Kind, Problem, Settings
from ..sites.folders import Folders, further_names
from .host import Found, site_names
from .notices import Notice, NoticeKind

COMMON = "common_site_config.json"
# Of that file: where the bench's services listen.
SERVICE_KEYS = ("webserver_port", "socketio_port", "db_host")
REDIS_FILES = ("config/redis_cache.conf", "config/redis_queue.conf")


def configs_of(bench: str, sites: list[str]) -> dict[str, dict[str, Any] | None]:
    """Configurations of a bench and its sites by their paths in its sites folder; None for one that
    is no JSON object.
    """
    found: dict[str, dict[str, Any] | None] = {}
    for name in (COMMON, *(f"{site}/site_config.json" for site in sites)):
        try:
            found[name] = read_json(f"{bench}/sites/{name}")
        except (BenchError, OSError):
            found[name] = None
    return found


def site_of(config: dict[str, Any], links: Iterable[str]) -> dict[str, Any]:
    """A site: {user, host of its database, names: its further names, refused: keys of its
    configuration that a fleet cannot work with}.
    """
    return {
        "user": str(config.get("db_user") or config.get("db_name") or ""),
        "host": "" if is_local(config.get("db_host")) else str(config["db_host"]),
        "refused": refused_keys(config, site=True),
        "names": [*further_names(config), *links],
    }


def python_version(bench: str, owner: str) -> str:
    """Version of a bench's own Python, run as the bench's owner; "" where it does not run.

    The owner can replace the file, so root never runs it: not in a bench of root's either, as the
    bench may be a link to a folder in which everybody may write.
    """
    if owner in ("", "root"):
        return ""
    command = [f"{bench}/env/bin/python", "--version"]
    try:
        output = run_as(owner, command, "/", {"PATH": "/usr/bin:/bin"}, timeout=30).stdout
    except (KeyError, OSError, subprocess.TimeoutExpired):
        return ""
    found = re.match(r"Python (\S+)", output)
    return found.group(1) if found else ""


def account_of(bench: str) -> dict[str, str]:
    """Owner of a bench, with home and shell; "" where there is none."""
    none = {"owner": "", "home": "", "shell": ""}
    if not os.path.isdir(bench):
        return none
    number = os.stat(bench).st_uid
    try:
        found = pwd.getpwuid(number)
    except KeyError:
        return {**none, "owner": str(number)}
    return {"owner": found.pw_name, "home": found.pw_dir, "shell": found.pw_shell}


def look_at_bench(bench: str) -> dict[str, Any]:
    """Owner with home and shell, Python, apps, sites and services of a bench.

    unversioned: apps without a commit of git. redis: where its URLs lead to. files: settings in its
    files of Redis that are refused, or taken out. keys: those of its common configuration that are
    refused, are taken out, or add others.
    """
    account = account_of(bench)
    apps = sorted(installed_apps(bench))
    listed = apps_in(read_foreign(f"{bench}/sites/apps.txt") or "")
    folders = Folders(f"{bench}/sites", "")
    sites = folders.names()
    links = folders.links(sites)
    configs = configs_of(bench, sites)
    config = configs[COMMON] or {}
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
        **account,
        "python": python_version(bench, account["owner"]),
        "apps": apps,
        "unversioned": [app for app in listed if app not in apps],
        "built": os.path.exists(f"{bench}/sites/assets/assets.json"),
        "sites": {
            site: site_of(
                configs[f"{site}/site_config.json"] or {}, [n for n in links if links[n] == site]
            )
            for site in sites
        },
        "services": services,
        "redis": redis,
        "files": files,
        "keys": {
            "unread": [name for name, config in configs.items() if config is None],
            "refused": refused_keys(config),
            "out": sorted(set(keys_that_are(OUT)) & set(config)),
            "adds": bool(config.get("extra_config")),
            # Files of this host, which reporting nodes will not have.
            "paths": [
                f"{key} of {name}"
                for name, config in configs.items()
                for key, path in kept_paths(config or {}, site=name != COMMON).items()
                if os.path.exists(path)
            ],
        },
    }


HANDED_OVER = ("bench_primary", "mariadb_primary", "redis", "router")

GROUP_MISSING = Kind(
    "adopt_group_missing",
    "{host} is to be adopted, but is not in group {group}",
    "inventory {inventory}",
    "put {host} into that group, too: an adopted bench has all its services on one server",
)
BENCH_ELSEWHERE = Kind(
    "adopt_bench_elsewhere",
    "{host} is to be adopted, but has no bench in {bench}; there is one in {found}",
    "fleet_bench_dir {bench}",
    "set fleet_bench_dir to {found}",
)
BENCH_MISSING = Kind(
    "adopt_bench_missing",
    "{host} is to be adopted, but no bench was found on it",
    "fleet_bench_dir {bench}",
    "name the folder of the bench in fleet_bench_dir; for a new server, take fleet_adopt out",
)
SECOND = "{host} has a second bench; only one bench can be adopted"
SECOND_BENCH = Kind(
    "adopt_second_bench", SECOND, "{bench} on {host}", "move that bench to another server"
)
SECOND_BENCH_NAMED = Kind(
    "adopt_second_bench_named",
    SECOND,
    "{bench} on {host}, named by {named}",
    "move that bench to another server, and take its folder out of what names it",
)
BENCH_OWNER = Kind(
    "adopt_bench_owner",
    "the bench of {host} belongs to {owner}, but fleet_bench_user is {user}",
    "{bench} on {host}",
    "set fleet_bench_user to {owner} in the inventory",
)
BENCH_HOME = Kind(
    "adopt_bench_home",
    "the home of {owner} on {host} is {home}, but fleet_bench_home is {wanted}",
    "/etc/passwd on {host}",
    "set fleet_bench_home to {home} in the inventory",
)
BENCH_SHELL = Kind(
    "adopt_bench_shell",
    "the shell of {owner} on {host} is {shell}; accounts of a fleet have /bin/bash",
    "/etc/passwd on {host}",
    "`usermod --shell /bin/bash {owner}`",
)


def check_place(host: Host, found: Found, settings: Settings) -> Iterator[Problem]:
    """The bench is where the inventory says, belongs to its account, and is the only one."""
    name, bench = host["name"], host["bench_dir"]
    others = [b for b in host["survey"]["benches"] if b["path"] != bench]
    for group in HANDED_OVER:
        if group not in host["groups"]:
            yield GROUP_MISSING.found(host=name, group=group, inventory=settings["inventory"])
    if bench not in [b["path"] for b in host["survey"]["benches"]]:
        if others:
            yield BENCH_ELSEWHERE.found(host=name, bench=bench, found=others[0]["path"])
        else:
            yield BENCH_MISSING.found(host=name, bench=bench)
        return
    for other in others:
        kind = SECOND_BENCH_NAMED if other["named"] else SECOND_BENCH
        yield kind.found(host=name, bench=other["path"], named=other["named"])
    owner = found["bench"]["owner"]
    if owner != host["bench_user"]:
        yield BENCH_OWNER.found(host=name, bench=bench, owner=owner, user=host["bench_user"])
        return
    home, shell = found["bench"]["home"], found["bench"]["shell"]
    if home != host["bench_home"]:
        yield BENCH_HOME.found(host=name, owner=owner, home=home, wanted=host["bench_home"])
    if shell != "/bin/bash":
        yield BENCH_SHELL.found(host=name, owner=owner, shell=shell or "none")


APP_WITHOUT_GIT = Kind(
    "adopt_app_without_git",
    "the app {app} of {host} is not a git repository with a commit; reporting benches fetch the"
    " apps with git",
    "{bench}/apps/{app} on {host}",
    "make it one, as the bench's account: `git init`, `git add --all`, `git commit`",
)
BENCH_PYTHON = Kind(
    "adopt_bench_python",
    "the Python of the bench on {host} does not run",
    "{bench}/env/bin/python on {host}",
    "as the bench's account, run `bench setup env`, then `bench setup requirements`",
)
FRAPPE_BRANCH = Kind(
    "adopt_frappe_branch",
    "the bench of {host} has Frappe {version}, but bench_frappe_branch is {branch}",
    "{bench}/apps/frappe on {host}, bench_frappe_branch in the inventory",
    "set bench_frappe_branch to {wanted}",
)


def check_versions(host: Host, found: Found, _settings: Settings) -> Iterator[Problem]:
    """Frappe is the one that the inventory names, Python runs, and git has the apps."""
    name, bench = host["name"], host["bench_dir"]
    for app in found["bench"]["unversioned"]:
        yield APP_WITHOUT_GIT.found(host=name, bench=bench, app=app)
    if not found["bench"]["python"]:
        yield BENCH_PYTHON.found(host=name, bench=bench)
    version = next(
        (b["frappe_version"] for b in host["survey"]["benches"] if b["path"] == bench), ""
    )
    # The default of role bench.
    branch = host["branch"] or "version-15"
    named = re.fullmatch(r"(?:version-|v)(\d+)(?:[.-].*)?", branch)
    if version and named and named.group(1) != version.split(".")[0]:
        # A version in development has no branch with its number.
        wanted = "develop" if "dev" in version else f"version-{version.split('.')[0]}"
        yield FRAPPE_BRANCH.found(
            host=name, bench=bench, version=version, branch=branch, wanted=wanted
        )


CONFIG_UNREADABLE = Kind(
    "adopt_config_unreadable",
    "{file} of the bench is not a JSON object, so Frappe takes nothing from it",
    "{sites}/{file} on {host}",
    "correct it; `python3 -m json.tool FILE` shows the place",
)
REFUSED_KEY = "a fleet cannot work with the key {key} in {file}"
KEY_AT = "{sites}/{file} on {host}"
KEY_OF_TLS = Kind(
    "adopt_key_of_tls",
    REFUSED_KEY,
    KEY_AT,
    "take it out: site and database are on one server, and MariaDB gets the fleet's certificate",
)
KEY_OF_A_SITE = Kind(
    "adopt_key_of_a_site",
    REFUSED_KEY,
    KEY_AT,
    "move it to the site_config.json of its site, unless that has one of its own",
)
KEY_OF_A_REPLICA = Kind(
    "adopt_key_of_a_replica",
    REFUSED_KEY,
    KEY_AT,
    "set it to 0 (`bench set-config`): the fleet's reporting nodes replace that replica",
)
KEY_OF_SENTINEL = Kind(
    "adopt_key_of_sentinel",
    REFUSED_KEY,
    KEY_AT,
    "give the bench a Redis of its own, and take the key out",
)
KEY_OF_ALL_SITES = Kind(
    "adopt_key_of_all_sites",
    REFUSED_KEY,
    KEY_AT,
    "take it out: settings that all sites share are in common_site_config.json",
)
# Kinds for refused keys by how the keys begin; the first that fits counts.
REFUSED_KEYS = {
    "db_ssl_": KEY_OF_TLS,
    "db_": KEY_OF_A_SITE,
    "read_from_replica": KEY_OF_A_REPLICA,
    "redis_cache_sentinel": KEY_OF_SENTINEL,
    "redis_queue_sentinel": KEY_OF_SENTINEL,
    "": KEY_OF_ALL_SITES,
}


def check_keys(host: Host, found: Found, _settings: Settings) -> Iterator[Problem]:
    """The configurations can be read, and have no key with which a fleet cannot work."""
    place = {"sites": f"{host['bench_dir']}/sites", "host": host["name"]}
    for name in found["bench"]["keys"]["unread"]:
        yield CONFIG_UNREADABLE.found(file=name, **place)
    files = {COMMON: found["bench"]["keys"]["refused"]}
    for site, entry in found["bench"]["sites"].items():
        files[f"{site}/site_config.json"] = entry["refused"]
    for file, keys in files.items():
        for key in keys:
            kind = next(kind for start, kind in REFUSED_KEYS.items() if key.startswith(start))
            yield kind.found(key=key, file=file, **place)


NO_SITE = "no site of fleet_sites is in the bench of {host}"
NO_SITE_NAMED = Kind(
    "adopt_no_site_named",
    NO_SITE,
    "{sites} on {host}",
    "name the sites of the bench in fleet_sites: {names}",
)
NO_SITE_IN_LOWER_CASE = Kind(
    "adopt_no_site_in_lower_case",
    NO_SITE,
    "{sites} on {host}",
    "stop the bench, rename the folder of a site in lower case ({names}), and name the site in"
    " fleet_sites, which takes no capital letters",
)
DATABASE_BY_OWN_ADDRESS = Kind(
    "adopt_database_by_own_address",
    "db_host of {whose} is {address}; the bench of a primary signs in at 127.0.0.1",
    "{sites} on {host}",
    "in MariaDB, create its account for the host 127.0.0.1 beside the one for that address, then"
    " set db_host to 127.0.0.1",
)
DATABASE_ELSEWHERE = Kind(
    "adopt_database_elsewhere",
    "db_host of {whose} is {address}, so its database is not on {host}",
    "{sites} on {host}",
    "move the database to this server first: a database on another host is not supported. If that"
    " name is this server's, set db_host to 127.0.0.1",
)


def check_sites(host: Host, found: Found, _settings: Settings) -> Iterator[Problem]:
    """The bench has sites of fleet_sites, and their databases are on this host."""
    there = found["bench"]["sites"]
    place = {"sites": f"{host['bench_dir']}/sites", "host": host["name"]}
    if not set(site_names(host)) & set(there):
        # fleet_sites takes no capital letters.
        if usable := [site for site in there if site == site.lower()]:
            yield NO_SITE_NAMED.found(names=usable, **place)
        else:
            yield NO_SITE_IN_LOWER_CASE.found(names=list(there) or "none", **place)
    hosts = {f"site {site}": entry["host"] for site, entry in there.items()}
    hosts["the bench"] = found["bench"]["services"]["db_host"]
    for whose, address in hosts.items():
        if address in host.get("addresses", []):
            yield DATABASE_BY_OWN_ADDRESS.found(whose=whose, address=address, **place)
        elif address:
            yield DATABASE_ELSEWHERE.found(whose=whose, address=address, **place)


SETTINGS_GO = NoticeKind(
    "settings_go",
    "settings of the bench that are taken out, because they belong to settings of Redis or MariaDB"
    " that become the fleet's; a release puts them back: {settings}",
)
KEYS_BY_FUNCTION = NoticeKind(
    "keys_by_function",
    "extra_config of common_site_config.json names a function that adds keys, which only Frappe"
    " sees: make sure that it sets none of the keys in docs/adopt.md",
)
KEYS_OF_FILES = NoticeKind(
    "keys_of_files",
    "keys that name a file, which reporting nodes will not have: {keys}",
)
SITE_NOT_NAMED = NoticeKind(
    "site_not_named",
    "site {site} is served and copied to the reporting nodes like every site of the bench, although"
    " fleet_sites does not name it",
)
SITE_MADE = NoticeKind("site_made", "site {site} is not in the bench and will be created")


def configuration_notices(found: Found) -> Iterator[Notice]:
    """Settings of the bench that are taken out, and those that need the operator's attention."""
    keys = found["bench"]["keys"]
    gone = [f"{key} of {COMMON}" for key in keys["out"]]
    for file, settings in found["bench"]["files"].items():
        gone += [f"{setting} of {file}" for setting in settings["gone"]]
    if gone:
        yield SETTINGS_GO.found(settings=gone)
    if keys["adds"]:
        yield KEYS_BY_FUNCTION.found()
    if keys["paths"]:
        yield KEYS_OF_FILES.found(keys=keys["paths"])


def site_notices(host: Host, found: Found) -> Iterator[Notice]:
    """Sites of the bench that fleet_sites does not name, and the other way round."""
    there, wanted = found["bench"]["sites"], site_names(host)
    for site in there:
        if site not in wanted:
            yield SITE_NOT_NAMED.found(site=site)
    for site in wanted:
        if site not in there:
            yield SITE_MADE.found(site=site)
