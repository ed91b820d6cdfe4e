"""Judge a bench that was made by hand before it becomes the primary, and say what will change.

Pure functions on what the role preflight gathered; hosts and problems are those of preflight.py.
Of a host these are read besides:
    restart_confirmed            adopt_restart_confirmed
    backup_dir                   adopt_backup_dir
    bench_user, certificate      fleet_bench_user, router_certificate
    web_workers, web_arguments   bench_web_workers, bench_web_arguments
    environment                  names of bench_environment
    background_workers           bench_background_workers
    acme                         fleet_acme
    mariadb_plan                 the server's settings of the fleet, name to value
    survey.adoption              what module_utils/adoption.py found, None when nothing is adopted
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

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
UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3}
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
                "a bench made by hand has all its services on one server: leave them there",
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
            "mend it with `bench setup env`, as the bench's account",
        )
    version = next(
        (b["frappe_version"] for b in host["survey"]["benches"] if b["path"] == bench), ""
    )
    # What role bench has by default.
    branch = host["branch"] or "version-15"
    named = re.fullmatch(r"(?:version-|v)(\d+)(?:[.-].*)?", branch)
    if version and named and named.group(1) != version.split(".")[0]:
        yield problem(
            f"the bench of {name} holds Frappe {version}, and bench_frappe_branch is {branch}",
            f"{bench}/apps/frappe on {name}, bench_frappe_branch in the inventory",
            f"set bench_frappe_branch to version-{version.split('.')[0]}",
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
                    " the bench: bench setup supervisor",
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
            "let it run the bench first (bench setup supervisor), or begin with a new server",
        )
    prefix = f"{host['bench_dir'].rstrip('/').rsplit('/', 1)[-1]}-"
    for file in files:
        if strange := [name for name in file["programs"] if not name.startswith(prefix)]:
            yield problem(
                f"programs and groups of the bench do not begin with {prefix}: "
                f"{', '.join(strange)}",
                f"{file['path']} on {name}",
                "give them names that begin so, and run supervisorctl update: `bench setup"
                " supervisor` writes such a file, config/supervisor.conf of the bench, to be linked"
                " there",
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
        " them: `bench setup supervisor`"
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
        yield problem(
            f"none of fleet_sites is in the bench of {name}",
            f"{host['bench_dir']}/sites on {name}",
            f"name its sites in fleet_sites: {', '.join(there) or 'it has none'}",
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
            "the fleet's servers resolve no names: make these accounts for addresses, or set "
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
        known = {*site_names(host), *further_names(host)}
        strangers = sorted(set(file["names"]) - known - NO_SITE)
        there = found["bench"]["sites"]
        served = {*there, *(name for site in there.values() for name in site["names"])}
        strangers = [name for name in strangers if name not in served]
        if strangers:
            yield problem(
                f"host names that are no site would no longer be served: {', '.join(strangers)}",
                place,
                "list those of a site in its names (fleet_sites), and move the server blocks of"
                " others to a file of their own: this one goes out of service",
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


def normal(value: Any) -> str:
    """One spelling for a server's setting, so that 64M and 67108864 compare equal."""
    text = str(value).strip().strip("'\"").lower()
    if text in ("on", "true", "yes"):
        return "1"
    if text in ("off", "false", "no"):
        return "0"
    size = re.fullmatch(r"(\d+)([kmg])", text)
    return str(int(size.group(1)) * UNITS[size.group(2).upper()]) if size else text


def readable(value: Any) -> str:
    """A server's setting as people write it: whole MiB and GiB by their letter."""
    text = str(value)
    for letter in ("G", "M"):
        if re.fullmatch(r"[1-9]\d*", text) and int(text) % UNITS[letter] == 0:
            return f"{int(text) // UNITS[letter]}{letter}"
    return text


def overridden(host: Host, found: Mapping[str, Any]) -> list[str]:
    """Settings in the server's own files that ours win over, as `name theirs -> ours`.

    Not event_scheduler: events run on the primary whatever any file says.
    """
    return [
        f"{name} {found['database']['settings'][name]} -> {readable(value)}"
        for name, value in sorted(host["mariadb_plan"].items())
        if name in found["database"]["settings"]
        and name != "event_scheduler"
        and normal(found["database"]["settings"][name]) != normal(value)
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
    kept = [name for file in found["supervisor"] if not file["ours"] for name in file["kept"]]
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
                    f' bench_web_arguments: "{" ".join(program["arguments"])}" keeps them'
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
        entries = ", ".join(f'"{queues}": {number}' for queues, number in theirs.items())
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
