"""Judge a bench that was made by hand before it becomes the primary, and say what will change.

Pure functions on what the role preflight gathered; hosts and problems are those of preflight.py.
Of a host these are read besides:
    restart_confirmed            adopt_restart_confirmed
    sudo_confirmed               adopt_sudo_confirmed
    backup_dir                   adopt_backup_dir
    bench_user, certificate      fleet_bench_user, router_certificate
    router                       router_max_upload and the time-outs, by their names
    web_workers, web_arguments   bench_web_workers, bench_web_arguments
    environment                  names of bench_environment
    background_workers           bench_background_workers
    acme                         fleet_acme
    mariadb_plan                 the server's settings of the fleet, name to value
    survey.adoption              what fleet/adoption/look.py found, None when nothing is adopted
"""

from __future__ import annotations

import ipaddress
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from fleet.mariadb import conflicts, options

Host = Mapping[str, Any]
Problem = dict[str, str]
Settings = Mapping[str, Any]

HANDED_OVER = ("bench_primary", "mariadb_primary", "redis", "router")
# Key of common_site_config.json, and the service of preflight whose port it names.
SERVICES = {"webserver_port": "web", "socketio_port": "socketio"}
REDIS = ("redis_cache", "redis_queue")
PROGRAMS_FOLDER = "/etc/supervisor/conf.d"
# Services whose listeners supervisor must run.
SUPERVISED = ("web", "redis_cache", "redis_queue", "socketio")
OUR_ACCOUNTS = ("repl", "fleet_probe", "fleet_heartbeat")
OUR_DATABASE = "benchfleet"
# Names in nginx's files that are nobody's site.
NO_SITE = frozenset({"_", "localhost", "127.0.0.1", '""'})
MIB = 1024**2


def problem(what: str, place: str, remedy: str) -> Problem:
    """One problem."""
    return {"what": what, "place": place, "remedy": remedy}


def looked_at(host: Host) -> Mapping[str, Any] | None:
    """What was found on a host that is being adopted, None on every other."""
    found: Mapping[str, Any] | None = (host["survey"] or {}).get("adoption")
    return found


def adopting(hosts: list[Host]) -> list[Host]:
    """Hosts that are about to be adopted: those that bear the fleet's mark are judged no more."""
    return [h for h in hosts if looked_at(h) and h["survey"]["mark"]["state"] == "absent"]


def set_aside(host: Host) -> dict[str, list[str]]:
    """The host's own files that go out of service: {nginx: [path], supervisor: [path]}."""
    found = looked_at(host) or {"nginx": {"files": []}, "supervisor": []}
    return {
        "nginx": [file["path"] for file in found["nginx"]["files"]],
        "supervisor": [file["path"] for file in found["supervisor"] if not file["ours"]],
    }


def site_names(host: Host) -> list[str]:
    """Names in fleet_sites; what is no entry is reported elsewhere."""
    sites = host["sites"] if isinstance(host["sites"], list) else []
    return [str(s["name"]) for s in sites if isinstance(s, Mapping) and s.get("name")]


def further_names(host: Host) -> set[str]:
    """Further names of the sites in fleet_sites."""
    sites = host["sites"] if isinstance(host["sites"], list) else []
    lists = [s.get("names") for s in sites if isinstance(s, Mapping)]
    return {str(name) for names in lists if isinstance(names, list) for name in names}


def check_place(host: Host, found: Mapping, settings: Settings) -> Iterator[Problem]:
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


def check_versions(host: Host, found: Mapping, _settings: Settings) -> Iterator[Problem]:
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


def supervised(found: Mapping) -> str:
    """How supervisor gets to run a bench: the CLI writes the bench's own file alone."""
    return (
        f"bench setup supervisor --user {found['bench']['owner']}, a link to the bench's "
        f"config/supervisor.conf in {PROGRAMS_FOLDER}, and supervisorctl update"
    )


def check_services(host: Host, found: Mapping, settings: Settings) -> Iterator[Problem]:
    """The bench's services listen where the inventory says, here, and supervisor runs them."""
    name = host["name"]
    if "common_site_config.json" in found["bench"]["keys"]["unread"]:
        return
    config = f"{host['bench_dir']}/sites/common_site_config.json on {name}"
    ports = {key: found["bench"]["services"][key] for key in SERVICES}
    addresses = found["bench"]["redis"]
    one = len({(a["local"] or a["host"], a["port"]) for a in addresses.values()}) == 1
    for key in REDIS:
        address = addresses[key]
        here = address["local"] or address["host"] in host.get("addresses", [])
        trouble = redis_trouble(key, address, here, one)
        if trouble:
            yield problem(f"{key} of the bench {trouble[0]}", config, trouble[1])
        else:
            ports[key] = str(address["port"])
    for key, value in ports.items():
        service = SERVICES.get(key, key)
        port = str(settings["ports"][service])
        if value and value != port:
            yield problem(
                f"{key} of the bench is port {value}, and fleet_{service}_port is {port}",
                config,
                f"set fleet_{service}_port to {value} in the inventory",
            )
    for file, said in found["bench"]["files"].items():
        for words in said["refused"]:
            yield problem(
                f"a fleet cannot take over a setting of the bench's Redis: {words}",
                f"{host['bench_dir']}/{file} on {name}",
                "change it, and restart that program by supervisor",
            )
    for service in SUPERVISED:
        for entry in host["survey"]["listeners"].get(str(settings["ports"][service]), []):
            if entry["unit"] != "supervisor.service":
                yield problem(
                    f"{entry['name'] or 'a process'} of the bench ({service}) is not run by "
                    "supervisor"
                    f" ({entry['unit'] or 'no unit'})",
                    f"process {entry['pid']} on {name}",
                    "stop it there (`bench start`, `bench setup systemd`), and let supervisor run"
                    f" the bench: {supervised(found)}",
                )


def check_programs(host: Host, found: Mapping, _settings: Settings) -> Iterator[Problem]:
    """supervisor reads its files, runs the bench, and the fleet's programs can take its place."""
    name, programs = host["name"], found["programs"]
    # That supervisord cannot read its files is told of every host: see preflight.py.
    if programs["trouble"]:
        return
    if programs["unread"]:
        yield problem(
            f"supervisord of {name} does not read {PROGRAMS_FOLDER}/*.conf",
            f"[include] of supervisord's configuration on {name}",
            f"add {PROGRAMS_FOLDER}/*.conf to its files, and restart supervisor",
        )
    files = [file for file in found["supervisor"] if not file["ours"]]
    if not files:
        yield problem(
            f"supervisor of {name} runs no program of the bench",
            f"{PROGRAMS_FOLDER} on {name}",
            f"let it run the bench first: {supervised(found)}. Or begin with a new server",
        )
    prefix = f"{host['bench_dir'].rstrip('/').rsplit('/', 1)[-1]}-"
    for what, place, remedy in programs["refused"]:
        yield problem(f"{what}; the fleet cannot keep it so", f"{place}, on {name}", remedy)
    for file in files:
        if strange := [name for name in file["programs"] if not name.startswith(prefix)]:
            yield problem(
                f"programs and groups of the bench do not begin with {prefix}: "
                f"{', '.join(strange)}",
                f"{file['path']} on {name}",
                f"let the bench CLI write that file anew: {supervised(found)}",
            )
        if file["path"].rpartition("/")[0] != PROGRAMS_FOLDER:
            yield problem(
                f"supervisor runs the bench by a file that is not in {PROGRAMS_FOLDER}",
                f"{file['path']} on {name}",
                f"move its programs to a file in {PROGRAMS_FOLDER}, or link it there, and take it"
                " out of [include] in supervisord's configuration; then supervisorctl update",
            )
        ours = rf"{re.escape(prefix)}(frappe-.*(web|schedule|worker)|redis-\w+|node-socketio)"
        if taken := [name for name in file["kept"] if re.fullmatch(ours, name)]:
            yield problem(
                "programs of your own have names that the fleet's programs may get: "
                f"{', '.join(taken)}",
                f"{file['path']} on {name}",
                "give them other names, and run supervisorctl update",
            )


def redis_trouble(
    key: str, address: Mapping[str, Any], here: bool, one: bool
) -> tuple[str, str] | None:
    """Why a Redis of the bench's cannot be taken over, and the remedy; None when it can.

    here: whether it is on this host; one: whether cache and queue are one Redis. No word of the URL
    is said but what redis-py makes of it: it can carry a password.
    """
    own = (
        "give the bench two of its own: `bench set-config -g redis_cache redis://127.0.0.1:PORT`,"
        " the same for redis_queue with another port, `bench setup redis`, and let supervisor run"
        " them: `bench setup supervisor`, then supervisorctl update"
    )
    if address["trouble"]:
        return address["trouble"], f"`bench set-config -g {key} redis://127.0.0.1:PORT`"
    if address["scheme"] == "unix":
        return "is a socket, and the fleet's hosts come by a port", own
    if address["scheme"] == "rediss":
        return "is encrypted (rediss://), and the fleet's Redis is not", own
    if not here:
        return f"is on another host ({address['host']})", own
    if one and key == "redis_queue":
        return "is the Redis of redis_cache, which drops what it has when it is full", own
    if address["db"] and key == "redis_queue":
        return (
            f"is database {address['db']} of its Redis, and a fleet's queue is database 0",
            "wait until no job waits, take the number out of the URL (`bench set-config -g"
            " redis_queue URL`), and restart the bench",
        )
    return None


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


def check_keys(host: Host, found: Mapping, _settings: Settings) -> Iterator[Problem]:
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


def check_sites(host: Host, found: Mapping, _settings: Settings) -> Iterator[Problem]:
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


def check_database(host: Host, found: Mapping, settings: Settings) -> Iterator[Problem]:
    """Root gets into MariaDB by its socket, and nothing of the fleet's names is there."""
    name, database = host["name"], found["database"]
    if database["trouble"]:
        yield problem(
            f"MariaDB of {name} does not let root in by its socket: {database['trouble']}",
            f"/run/mysqld/mysqld.sock on {name}",
            "start the server; where root has a password only, give it the socket beside it: "
            "ALTER USER root@localhost IDENTIFIED VIA unix_socket OR mysql_native_password "
            "USING PASSWORD('...')",
        )
        return
    if database["follows"] or database["read_only"]:
        yield problem(
            f"MariaDB of {name} "
            + ("follows another server" if database["follows"] else "is read-only"),
            f"SHOW ALL SLAVES STATUS, @@read_only on {name}",
            "adopt the server that takes the writes",
        )
    clashes = [a for a in database["accounts"] if a.rpartition("@")[0] in OUR_ACCOUNTS]
    clashes += [f"database {OUR_DATABASE}"] * (OUR_DATABASE in database["databases"])
    if clashes:
        yield problem(
            f"MariaDB of {name} already has what the fleet makes: {', '.join(clashes)}",
            f"mysql.user and databases on {name}",
            "rename or drop them",
        )
    by_name = [a for a in database["accounts"] if is_host_name(a.rpartition("@")[2])]
    if by_name and host["mariadb_plan"].get("skip_name_resolve"):
        yield problem(
            f"accounts that sign in by a host's name: {', '.join(by_name)}",
            f"mysql.user on {name}",
            "the fleet's servers resolve no names: RENAME USER to the same with an address, or set "
            "mariadb_settings_extra: {skip_name_resolve: false}",
        )
    port = database["settings"].get("port", "3306")
    if port != str(settings["ports"]["mariadb"]):
        yield problem(
            f"MariaDB of {name} has port {port}, and fleet_mariadb_port is "
            f"{settings['ports']['mariadb']}",
            f"option files of MariaDB on {name}",
            f"set fleet_mariadb_port to {port} in the inventory",
        )


def is_host_name(host: str) -> bool:
    """Whether an account's host is a name that a server would have to resolve."""
    if host in ("localhost", "") or "%" in host or "/" in host:
        return False
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return True
    return False


# Programs that do whatever they are told, or write any file.
SHELLS = re.compile(
    r"(ba|da|z|k|c|tc|fi)?sh|su|sudo|env|runuser|setpriv|chroot|nsenter|unshare|systemd-run|"
    r"python[\d.]*|perl[\d.]*|ruby[\d.]*|php[\d.]*|node|nodejs|lua[\d.]*|n?vim?|vim\.\w+|nano|emacs|ed|"
    r"less|more|man|find|tar|cp|mv|ln|tee|dd|chmod|chown|install|rsync|scp|sed|[gm]?awk|xargs|"
    r"apt|apt-get|aptitude|dpkg|snap|pip[\d.]*|npm|npx|yarn|uv|docker|podman|git|mount|visudo|"
    r"crontab|at|screen|tmux|script|strace|gdb|useradd|usermod|passwd|mysql|mariadb|bench"
)
# What `bench setup sudoers` lets the account do: each can be made to run something else.
HALF_ROOT = frozenset({"certbot", "nginx", "systemctl", "service", "supervisorctl"})
# Commands that a crontab may go on with.
HARMLESS_COMMANDS = frozenset({"bench restart", "bench build"})
# What goes out of service with nginx's file, by its kind: what it is, and how it is kept.
STOPS = {
    "port": (
        "users reach the bench by an address that the router does not have",
        "move it to a server of its own, in a file of its own without port 80 and 443: that goes "
        "on (docs/adopt.md, Ports of your own). Or take it out",
    ),
    "protocol": (
        "nginx is told of its users by the PROXY protocol, which the router does not take",
        "let the proxy in front send X-Forwarded-For, set router_trusted_proxies to its address, "
        "and take proxy_protocol out",
    ),
    "access": (
        "who may come in is limited, and the router would let everybody in",
        "to keep it, write the same into a file in /etc/nginx/benchfleet.d, for all sites "
        "(docs/adopt.md, Rules of your own). Or take it out",
    ),
    "rule": (
        "locations and redirects of your own would end",
        "to keep them, write the same into a file in /etc/nginx/benchfleet.d, for all sites "
        "(docs/adopt.md, Rules of your own). Or take them out",
    ),
    "server": (
        "a server that has nothing of the bench would end",
        "move it to a file of its own: this one goes out of service",
    ),
}
# nginx's settings that the router has by another name, and its unit of time.
ROUTER_SETTINGS = {
    "client_max_body_size": "router_max_upload",
    "proxy_read_timeout": "router_read_timeout",
    "proxy_send_timeout": "router_read_timeout",
    "proxy_connect_timeout": "router_connect_timeout",
}
ACME = "/.well-known/acme-challenge"
SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


def check_nginx(host: Host, found: Mapping, _settings: Settings) -> Iterator[Problem]:
    """The files that serve the bench serve nothing that the router will not."""
    name, nginx = host["name"], found["nginx"]
    if nginx["trouble"]:
        yield problem(
            f"nginx of {name} refuses its own configuration: {nginx['trouble']}",
            f"`nginx -t` on {name}",
            "correct it first",
        )
    certificates: set[tuple[str, str]] = set()
    for file in nginx["files"]:
        certificates |= {(pair[0], pair[1]) for pair in file["certificates"]}
        place = f"{file['path']} on {name}"
        if file["path"] == "/etc/nginx/nginx.conf":
            yield problem(
                "the bench is served from nginx's main file",
                place,
                "move its server blocks to a file in /etc/nginx/conf.d: that goes out of service",
            )
        yield from stranger_problems(host, found, file)
        for kind, (what, remedy) in STOPS.items():
            stopping = [stop for stop in file["stops"] if stop["kind"] == kind]
            # Then the router answers what the CA asks.
            stopping = [s for s in stopping if not (host["acme"]["email"] and ACME in s["what"])]
            if stopping:
                yield problem(
                    f"{what}: {', '.join(stop['what'] for stop in stopping)}",
                    f"{', '.join(stop['place'] for stop in stopping)} on {name}",
                    remedy,
                )
    if nginx["missed"]:
        yield problem(
            f"nginx of {name} would not start without the bench's files: {nginx['missed']}",
            ", ".join(file["path"] for file in nginx["files"]),
            "another file uses what stands in one of these (an upstream, a map, a log format), or "
            "names it: move what is used to a file of its own, and name no single file",
        )
    doubled = [what for what in nginx["doubled"] if host["acme"]["email"] or ACME not in what]
    if doubled:
        yield problem(
            f"the router has these itself, and nginx takes them once: {', '.join(doubled)}",
            f"/etc/nginx/benchfleet.d on {name}",
            "take them out, there and in the bench's file: they cannot be kept. Sites redirect / "
            "by their own Website Settings",
        )
    if certificates and not host["certificate"] and not host["acme"]["email"]:
        pairs = sorted(certificates)
        yield problem(
            f"nginx of {name} serves the bench by https, and router_certificate is not set",
            ", ".join(file["path"] for file in nginx["files"] if file["certificates"]),
            f"set router_certificate: {pairs[0][0]} and router_certificate_key: {pairs[0][1]}"
            if len(pairs) == 1
            else "set router_certificate and router_certificate_key, and for a site with another "
            "certificate than that its certificate and certificate_key (fleet_sites). There are: "
            + ", ".join(pair[0] for pair in pairs),
        )


def stranger_problems(host: Host, found: Mapping, file: Mapping) -> Iterator[Problem]:
    """Host names in a file that the router will not know: how each of them goes on."""
    place = f"{file['path']} on {host['name']}"
    there = found["bench"]["sites"]
    served = {name.lower() for site, entry in there.items() for name in (site, *entry["names"])}
    known = {*site_names(host), *further_names(host), *served, *NO_SITE}
    strangers = [name for name in file["names"] if name not in known]
    apart = [name for name in strangers if name in file["apart"]]
    # Patterns, and what begins with a dot: the router knows whole names only.
    patterns = [n for n in strangers if n not in apart and re.search(r"[^a-z0-9._-]|^\.", n)]
    aliases = [name for name in strangers if name not in apart and name not in patterns]
    for names, remedy in (
        (aliases, "list each in the names of its site (fleet_sites), or take it out there"),
        (
            patterns,
            "the router knows whole names only: list those that users type in the names of their "
            "sites (fleet_sites), and take the pattern out of server_name",
        ),
        (apart, "move their server blocks to a file of their own: this one goes out of service"),
    ):
        if names:
            yield problem(
                f"host names that are no site would no longer be served: {', '.join(names)}",
                place,
                remedy,
            )


def seconds(text: str) -> int | None:
    """A time as nginx writes it, as 2m or 90s, in seconds; None for what is none."""
    found = re.fullmatch(r"(\d+)([smhd]?)", text)
    return int(found.group(1)) * SECONDS[found.group(2)] if found else None


def nginx_words(host: Host, found: Mapping) -> Iterator[str]:
    """What users or the operator may notice of nginx's settings that become the router's."""
    router = host["router"]
    changes: dict[str, list[str]] = {}
    for file in found["nginx"]["files"]:
        for stop in file["stops"]:
            what = stop["what"].rstrip(";")
            name, _, value = what.partition(" ")
            value, setting = value.partition(" in location ")[0], ROUTER_SETTINGS.get(name)
            if stop["kind"] == "fixed":
                keep = "The router has its own, without a setting"
            elif stop["kind"] != "setting":
                continue
            elif setting:
                ours = router[setting]
                same = (
                    options.normal(value) == options.normal(ours)
                    if name == "client_max_body_size"
                    else seconds(value) == seconds(str(ours))
                )
                if same:
                    continue
                keep, what = f"{setting} keeps yours", f"{what} -> {ours}"
            elif name == "set_real_ip_from":
                if value in map(str, host["networks"]["router_trusted_proxies"]):
                    continue
                keep = "router_trusted_proxies keeps it"
            elif name == "http2":
                keep = (
                    "`http2 on;` in a file in /etc/nginx/benchfleet.d keeps it, with nginx 1.25 or "
                    "later"
                )
            else:
                keep = "A file in /etc/nginx/benchfleet.d keeps them (docs/adopt.md)"
            changes.setdefault(keep, []).append(f"{what} ({stop['place']})")
    for keep, lines in changes.items():
        yield f"nginx of {host['name']}, for the bench: {'; '.join(lines)}. {keep}"


def makes_root(rule: Mapping) -> bool:
    """Whether a rule of sudo's gives its account all of root's rights."""
    words = rule["command"].split(" ", 1)
    program = words[0].rpartition("/")[2]
    return (
        rule["own"]
        or words[0] in ("ALL", "sudoedit")
        # A pattern for the program itself.
        or bool(re.search(r"[*?\[]", words[0]))
        or words[0].endswith("/")
        or bool(SHELLS.fullmatch(program))
    )


def check_sudo(host: Host, found: Mapping, _settings: Settings) -> Iterator[Problem]:
    """The bench's account is not root, or somebody has said that it may be."""
    sudo, user = found["sudo"], found["bench"]["owner"]
    rules = [rule for rule in sudo["rules"] if makes_root(rule) and not rule["password"]]
    if host["sudo_confirmed"] or not (rules or sudo["groups"]):
        return
    if rules:
        yield problem(
            f"sudo lets {user} of {host['name']} do without a password: "
            f"{', '.join(rule['command'] for rule in rules)}. Whoever breaks into an app is root",
            f"{', '.join(dict.fromkeys(r['place'] or 'rules of sudo' for r in rules))} on "
            f"{host['name']}",
            (
                f"make an account of its own for Ansible (ansible_user), which signs in as {user}; "
                "then "
                if (host.get("target") or {}).get("user") == user
                else ""
            )
            + "take it out with visudo, or name single commands there; to keep it, set "
            "adopt_sudo_confirmed: true",
        )
    for group in sudo["groups"]:
        yield problem(
            f"{user} of {host['name']} is in group {group}, and so is root by another name",
            f"/etc/group on {host['name']}",
            f"gpasswd --delete {user} {group}; to keep it, set adopt_sudo_confirmed: true",
        )


def sudo_words(host: Host, found: Mapping) -> Iterator[str]:
    """What the bench's account may do as root that is no reason to stop."""
    sudo, user = found["sudo"], found["bench"]["owner"]
    if sudo["trouble"]:
        yield f"sudo does not say what {user} of {host['name']} may do as root: {sudo['trouble']}"
    asked = [r for r in sudo["rules"] if r["password"] and makes_root(r)]
    some = [r for r in sudo["rules"] if not r["password"] and not makes_root(r)]
    some = [r for r in some if r["command"].split(" ")[0].rpartition("/")[2] in HALF_ROOT]
    for rules, how in (
        (asked, "with its password"),
        (some, "without one, and these can be led to do more than they say"),
    ):
        if rules:
            listed = ", ".join(f"{r['command']} ({r['place'] or 'sudo'})" for r in rules)
            yield (
                f"sudo lets {user} of {host['name']} do as root, {how}: {listed}. It stays; the "
                "fleet needs none of it"
            )


def check_crontabs(host: Host, found: Mapping, _settings: Settings) -> Iterator[Problem]:
    """Nothing changes the bench by itself: the reporting benches would not follow."""
    for line in found["crontabs"]:
        if line["command"] in HARMLESS_COMMANDS:
            continue
        through = f", by {line['through']}" if line["through"] else ""
        yield problem(
            f"{line['command']} is run by itself on {host['name']}: the reporting benches would "
            "not have the same apps and settings",
            f"{line['place']}{through} on {host['name']}",
            "take the line out, or put a # before it. playbooks/update.yml updates the fleet "
            "(docs/update.md)",
        )


def crontab_words(host: Host, found: Mapping) -> Iterator[str]:
    """Commands of crontabs that are allowed, and that users notice."""
    for line in found["crontabs"]:
        if line["command"] in HARMLESS_COMMANDS:
            yield (
                f"{line['command']} stands in {line['place']} on {host['name']} and goes on: let "
                "it call /usr/local/bin/bench, so that calls are held meanwhile"
            )


def check_consent(host: Host, found: Mapping, settings: Settings) -> Iterator[Problem]:
    """The restart may take place; a dry run asks nothing."""
    if settings["check_mode"] or host["restart_confirmed"]:
        return
    log = "its binary log is off" if not found["database"]["log_bin"] else "its settings change"
    yield problem(
        f"MariaDB of {host['name']} has to be restarted once: {log}. Calls that write fail or "
        "wait for some seconds then, as many as the server takes to stop and start",
        f"mariadb.service on {host['name']}",
        "see all that will change with --check --diff; then, at a moment of your choice, run with "
        "-e adopt_restart_confirmed=true",
    )


CHECKS = (
    check_versions,
    check_sites,
    check_keys,
    check_services,
    check_programs,
    check_database,
    check_nginx,
    check_sudo,
    check_crontabs,
    check_consent,
)


def adoption_problems(hosts: list[Host], settings: Settings) -> list[Problem]:
    """All that stands in the way of the adoption; [] without one."""
    problems: list[Problem] = []
    for host in adopting(hosts):
        found = looked_at(host) or {}
        others = [b["others"] for b in host["survey"]["benches"] if b["path"] == host["bench_dir"]]
        if found["bench"]["sites"] and others and not set(found["bench"]["sites"]) - set(others[0]):
            # No site is on MariaDB (see preflight.py): what else there is to say would mislead.
            continue
        problems += check_place(host, found, settings)
        # Of a bench that is not there nothing else can be said.
        if host["bench_dir"] in [bench["path"] for bench in host["survey"]["benches"]]:
            problems += [p for check in CHECKS for p in check(host, found, settings)]
    return problems


def overridden(host: Host, found: Mapping[str, Any]) -> list[str]:
    """Settings in the server's own files that ours win over, as `name theirs -> ours`.

    Not event_scheduler: events run on the primary whatever any file says. What wins over ours is a
    problem, and told as such.
    """
    plan, there = host["mariadb_plan"], host["survey"]["database"].get("options")
    said = [options.Said(*entry) for entry in there["said"]] if there else []
    lost = {entry["name"] for entry in conflicts.beaten(plan, said, {})}
    return [
        f"{name} {found['database']['settings'][name]} -> {conflicts.readable(value)}"
        for name, value in sorted(plan.items())
        if name in found["database"]["settings"]
        and name != "event_scheduler"
        and name not in lost
        and options.normal(found["database"]["settings"][name]) != options.normal(value)
    ]


def queue_key(queues: str) -> str:
    """One spelling for the queues of a worker: their order matters little for what is served."""
    return ",".join(sorted(queues.split(",")))


def fleet_workers(host: Host, custom: Mapping[str, int]) -> dict[str, int]:
    """Worker processes of the fleet's primary by queues, as bench_background_workers asks for."""
    asked = host["background_workers"]
    if isinstance(asked, Mapping):
        found = {str(key): int(number) for key, number in asked.items() if str(number).isdigit()}
    elif str(asked).isdigit() and int(asked):
        number = int(asked)
        found = {"long,default,short": (number + 1) // 2, "short,default": number // 2, **custom}
    else:
        found = {}
    return {key: number for key, number in found.items() if number}


def program_words(host: Host, found: Mapping[str, Any]) -> list[str]:
    """What stops at an adoption, or runs in another way, with the setting that keeps it."""
    programs, words = found["programs"], []
    goes = [
        program for program in programs["work"] if program["file"] in set_aside(host)["supervisor"]
    ]
    kept = [f"{one['name']} ({one['user']} runs {one['command']})" for one in programs["kept"]]
    if kept:
        bench = host["bench_dir"].rstrip("/").rsplit("/", 1)[-1]
        words.append(
            f"programs of your own stay, in {PROGRAMS_FOLDER}/{bench}-own.conf: {', '.join(kept)}"
        )
    if programs["own"]:
        words.append(
            "programs of your own that work with the bench are restarted once, as the bench's"
            f" addresses and passwords change: {', '.join(programs['own'])}"
        )
    variables: dict[str, list[str]] = {}
    for program in goes:
        for variable in program["environment"]:
            if variable not in host["environment"]:
                variables.setdefault(variable, []).append(program["name"])
    words += [
        f"the variable {variable} of {', '.join(names)} goes; bench_environment sets it for all"
        " programs of the bench"
        for variable, names in variables.items()
    ]
    for program in goes:
        if program["task"] == "web":
            if program["processes"] != host["web_workers"]:
                words.append(
                    f"web workers: {program['processes']} -> {host['web_workers']};"
                    f" bench_web_workers: {program['processes']} keeps yours"
                )
            lost = [a for a in program["arguments"] if a not in host["web_arguments"]]
            if lost:
                words.append(
                    f"gunicorn of {program['name']} runs without {' '.join(lost)};"
                    f" bench_web_arguments: '{' '.join(program['arguments'])}' keeps them"
                )
        if program["options"]:
            words.append(
                f"options of {program['name']} go: {', '.join(program['options'])}; a file of your"
                f" own in {PROGRAMS_FOLDER}, with a name that comes later than the bench's, keeps"
                f" them with these lines below [program:{program['name']}], once the fleet runs"
            )
    theirs: dict[str, int] = {}
    for program in goes:
        if program["task"] == "worker":
            theirs[program["queues"]] = theirs.get(program["queues"], 0) + program["processes"]
    ours = fleet_workers(host, programs["queues"])
    if goes and {queue_key(q): n for q, n in theirs.items()} != {
        queue_key(q): n for q, n in ours.items()
    }:
        shown = "; ".join(f"{queues}: {number}" for queues, number in theirs.items()) or "none"
        now = "; ".join(f"{queues}: {number}" for queues, number in ours.items()) or "none"
        entries = ", ".join(f"'{queues}': {number}" for queues, number in theirs.items())
        words.append(
            f"background workers by queues: {shown} -> {now}; bench_background_workers:"
            f" {{{entries}}} keeps yours"
            if theirs
            else f"background workers: none -> {now}"
        )
    return words


def adoption_words(hosts: list[Host]) -> list[str]:
    """What an adoption will do, for people; [] without one."""
    words = []
    for host in adopting(hosts):
        found, name = looked_at(host) or {}, host["name"]
        sites, wanted = found["bench"]["sites"], site_names(host)
        aside = set_aside(host)
        words += [
            f"{name} is adopted: the bench {host['bench_dir']} with the apps "
            f"{', '.join(found['bench']['apps'])}, and MariaDB with "
            f"{host['survey']['database']['bytes'] / MIB:.0f} MiB of data. What is changed is "
            f"copied to {host['backup_dir']} first",
            f"MariaDB of {name} restarts once, for its binary log",
            "out of service go, and come back at a release: "
            + ", ".join(aside["nginx"] + aside["supervisor"]),
        ]
        words += program_words(host, found)
        gone = [f"{key} of common_site_config.json" for key in found["bench"]["keys"]["out"]]
        for file, said in found["bench"]["files"].items():
            gone += [f"{words} of {file}" for words in said["gone"]]
        if gone:
            words.append(
                "settings of the bench that go, and come back at a release, as their other half is"
                f" the fleet's: {', '.join(gone)}"
            )
        if found["bench"]["keys"]["adds"]:
            words.append(
                "extra_config of common_site_config.json names a function that adds keys, which"
                " nobody but Frappe sees: look that it sets none of those in docs/adopt.md"
            )
        if paths := found["bench"]["keys"]["paths"]:
            words.append(
                f"keys that name a file, which reporting nodes will not have: {', '.join(paths)}"
            )
        if overridden(host, found):
            words.append(
                "settings of MariaDB's own files that ours win over: "
                f"{', '.join(overridden(host, found))}. mariadb_settings_extra keeps yours"
            )
        words += nginx_words(host, found)
        words += [*sudo_words(host, found), *crontab_words(host, found)]
        if asleep := found["database"]["asleep"]:
            words.append(
                f"events that are enabled begin to run, as MariaDB of {name} runs none now"
                f" (event_scheduler): {', '.join(asleep)}. ALTER EVENT ... DISABLE stops one"
            )
        words += [
            f"site {site} will be served and copied to the reporting nodes, as every site of the "
            "bench, although fleet_sites does not name it"
            for site in sites
            if site not in wanted
        ]
        words += [
            f"site {site} is not in the bench and will be made"
            for site in wanted
            if site not in sites
        ]
    return words


class FilterModule:
    """Filters on adoption."""

    def filters(self) -> dict[str, Any]:
        """Names as used in templates."""
        return {
            "adoption_problems": adoption_problems,
            "adoption_set_aside": set_aside,
            "adoption_words": adoption_words,
        }
