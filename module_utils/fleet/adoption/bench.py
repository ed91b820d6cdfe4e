"""The bench itself: its place and account, the apps, the sites and their configurations."""

from __future__ import annotations

import os
import pwd
import re
import subprocess
from collections.abc import Iterable, Iterator
from typing import Any

from ..bench.account import BenchError, installed_apps, read_foreign, read_json, run_as
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
from ..preflight.problems import Host, Problem, Settings, problem
from ..sites.folders import Folders, further_names
from .host import Found, site_names

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
    configuration with which no fleet can live}.
    """
    return {
        "user": str(config.get("db_user") or config.get("db_name") or ""),
        "host": "" if is_local(config.get("db_host")) else str(config["db_host"]),
        "refused": refused_keys(config, site=True),
        "names": [*further_names(config), *links],
    }


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
        "owner": owner,
        "home": home,
        "shell": shell,
        "python": python_version(bench, owner),
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
            # Of this host, which no reporting node will have.
            "paths": [
                f"{key} of {name}"
                for name, config in configs.items()
                for key, path in kept_paths(config or {}, site=name != COMMON).items()
                if os.path.exists(path)
            ],
        },
    }


HANDED_OVER = ("bench_primary", "mariadb_primary", "redis", "router")
# Of the keys that are refused, those that begin so, and what to do.
KEY_REMEDIES = {
    "db_ssl_": "take it out: site and database are on one server, and MariaDB gets the fleet's"
    " certificate",
    "db_": "move it to the site_config.json of its site, where that has none of its own",
    "read_from_replica": "set it to 0 (bench set-config): the fleet's reporting nodes come in place"
    " of that replica",
    "redis_cache_sentinel": "let the bench have its own Redis, and take the key out",
    "redis_queue_sentinel": "let the bench have its own Redis, and take the key out",
    "": "take it out: what all sites share is in common_site_config.json",
}


def check_place(host: Host, found: Found, settings: Settings) -> Iterator[Problem]:
    """The bench is where the inventory says, its account's, and the only one."""
    name, bench = host["name"], host["bench_dir"]
    strangers = [b for b in host["survey"]["benches"] if b["path"] != bench]
    others = [b["path"] for b in strangers]
    for group in HANDED_OVER:
        if group not in host["groups"]:
            yield problem(
                f"{name} shall be adopted and is not in group {group}",
                f"inventory {settings['inventory']}",
                f"put {name} into that group, too: a bench made by hand has all its services on "
                "one server",
            )
    if bench not in [b["path"] for b in host["survey"]["benches"]]:
        remedy = (
            f"set fleet_bench_dir to {others[0]}"
            if others
            else "name its folder in fleet_bench_dir; for a new server take fleet_adopt away"
        )
        yield problem(
            f"{name} shall be adopted and has no bench", f"fleet_bench_dir {bench}", remedy
        )
        return
    for other in strangers:
        yield problem(
            f"{name} holds a second bench, and one alone can be adopted",
            f"{other['path']} on {name}" + f", named by {other['named']}" * bool(other["named"]),
            "move it to another server, and take it out of what names it"
            if other["named"]
            else "move it to another server",
        )
    owner = found["bench"]["owner"]
    if owner != host["bench_user"]:
        yield problem(
            f"the bench of {name} is {owner}'s, and fleet_bench_user is {host['bench_user']}",
            f"{bench} on {name}",
            f"set fleet_bench_user to {owner} in the inventory",
        )
        return
    if found["bench"]["home"] != host["bench_home"]:
        yield problem(
            f"the home of {owner} on {name} is {found['bench']['home']}, and fleet_bench_home is "
            f"{host['bench_home']}",
            f"/etc/passwd on {name}",
            f"set fleet_bench_home to {found['bench']['home']} in the inventory",
        )
    if found["bench"]["shell"] != "/bin/bash":
        yield problem(
            f"the shell of {owner} on {name} is {found['bench']['shell'] or 'none'}; the fleet's "
            "accounts have /bin/bash",
            f"/etc/passwd on {name}",
            f"usermod --shell /bin/bash {owner}",
        )


def check_versions(host: Host, found: Found, _settings: Settings) -> Iterator[Problem]:
    """Frappe is the one that the inventory names, and runs; the apps can be had by git."""
    name, bench = host["name"], host["bench_dir"]
    for app in found["bench"]["unversioned"]:
        yield problem(
            f"the app {app} of {name} is no git repository with a commit, and the reporting "
            "benches fetch the apps with git",
            f"{bench}/apps/{app} on {name}",
            "make it one, as the bench's account: git init, git add --all, git commit",
        )
    if not found["bench"]["python"]:
        yield problem(
            f"the bench of {name} has no Python that runs",
            f"{bench}/env/bin/python on {name}",
            "mend it as the bench's account: bench setup env, bench setup requirements",
        )
    version = next(
        (b["frappe_version"] for b in host["survey"]["benches"] if b["path"] == bench), ""
    )
    # What role bench has by default.
    branch = host["branch"] or "version-15"
    named = re.fullmatch(r"(?:version-|v)(\d+)(?:[.-].*)?", branch)
    if version and named and named.group(1) != version.split(".")[0]:
        # A version in the making has no branch of its number.
        wanted = "develop" if "dev" in version else f"version-{version.split('.')[0]}"
        yield problem(
            f"the bench of {name} holds Frappe {version}, and bench_frappe_branch is {branch}",
            f"{bench}/apps/frappe on {name}, bench_frappe_branch in the inventory",
            f"set bench_frappe_branch to {wanted}",
        )


def check_keys(host: Host, found: Found, _settings: Settings) -> Iterator[Problem]:
    """Configurations can be read, and have no key with which no fleet can live."""
    sites = f"{host['bench_dir']}/sites"
    for name in found["bench"]["keys"]["unread"]:
        yield problem(
            f"{name} of the bench is no JSON object, so Frappe takes nothing from it",
            f"{sites}/{name} on {host['name']}",
            "correct it: python3 -m json.tool shows the place",
        )
    files = {f"{sites}/common_site_config.json": found["bench"]["keys"]["refused"]}
    for site, entry in found["bench"]["sites"].items():
        files[f"{sites}/{site}/site_config.json"] = entry["refused"]
    for file, keys in files.items():
        for key in keys:
            remedy = next(text for start, text in KEY_REMEDIES.items() if key.startswith(start))
            yield problem(
                f"no fleet can live with {key} in {file.removeprefix(f'{sites}/')}",
                f"{file} on {host['name']}",
                remedy,
            )


def check_sites(host: Host, found: Found, _settings: Settings) -> Iterator[Problem]:
    """The bench holds sites of fleet_sites, with their databases on this host."""
    name, there = host["name"], found["bench"]["sites"]
    if not set(site_names(host)) & set(there):
        # fleet_sites takes no capitals.
        usable = [site for site in there if site == site.lower()]
        yield problem(
            f"none of fleet_sites is in the bench of {name}",
            f"{host['bench_dir']}/sites on {name}",
            f"name its sites in fleet_sites: {', '.join(usable)}"
            if usable
            else "name one of its sites in fleet_sites, which takes no capitals: stop the bench "
            f"and rename the folder in lower case ({', '.join(there) or 'it has none'})",
        )
    hosts = {f"site {site}": entry["host"] for site, entry in there.items()}
    hosts["the bench"] = found["bench"]["services"]["db_host"]
    for whose, address in hosts.items():
        if address in host.get("addresses", []):
            yield problem(
                f"db_host of {whose} is {address}, and the bench of a primary signs in at"
                " 127.0.0.1",
                f"{host['bench_dir']}/sites on {name}",
                "give its account in MariaDB the host 127.0.0.1 beside that address, and set"
                " db_host to 127.0.0.1",
            )
        elif address:
            yield problem(
                f"db_host of {whose} is {address}: its database is not on {name}",
                f"{host['bench_dir']}/sites on {name}",
                "bring the database to this server first: another place is not supported. If that"
                " name means this very server, set db_host to 127.0.0.1",
            )


def configuration_words(found: Found) -> Iterator[str]:
    """What of the bench's configurations goes, or is more than it looks."""
    keys = found["bench"]["keys"]
    gone = [f"{key} of common_site_config.json" for key in keys["out"]]
    for file, said in found["bench"]["files"].items():
        gone += [f"{words} of {file}" for words in said["gone"]]
    if gone:
        yield (
            "settings of the bench that go, and come back at a release, as their other half is"
            f" the fleet's: {', '.join(gone)}"
        )
    if keys["adds"]:
        yield (
            "extra_config of common_site_config.json names a function that adds keys, which"
            " nobody but Frappe sees: look that it sets none of those in docs/adopt.md"
        )
    if keys["paths"]:
        yield (
            "keys that name a file, which reporting nodes will not have: "
            f"{', '.join(keys['paths'])}"
        )


def site_words(host: Host, found: Found) -> Iterator[str]:
    """Sites of the bench that fleet_sites does not name, and the other way round."""
    there, wanted = found["bench"]["sites"], site_names(host)
    for site in there:
        if site not in wanted:
            yield (
                f"site {site} will be served and copied to the reporting nodes, as every site of "
                "the bench, although fleet_sites does not name it"
            )
    for site in wanted:
        if site not in there:
            yield f"site {site} is not in the bench and will be made"
