#!/usr/bin/python
"""Gather everything about one host that preflight judges, in one execution."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import socket
import struct
import subprocess
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.fleet.adoption import look as adoption
from ansible.module_utils.fleet.bench import code, jobs
from ansible.module_utils.fleet.bench.account import (
    BenchError,
    cli_releases,
    read_foreign,
    read_text,
    run_as,
)
from ansible.module_utils.fleet.bench.files import other_database
from ansible.module_utils.fleet.bench.pdf import printing
from ansible.module_utils.fleet.foreign import open_plain
from ansible.module_utils.fleet.kept import tree_bytes
from ansible.module_utils.fleet.mariadb.conflicts import REFUSED, running_rows
from ansible.module_utils.fleet.mariadb.options import RUNNING, look, server_options
from ansible.module_utils.fleet.mariadb.server import MEMORY_TABLES
from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.nginx.certificates import certificate_trouble
from ansible.module_utils.fleet.nginx.files import parts
from ansible.module_utils.fleet.sites.folders import Folders, made_note
from ansible.module_utils.fleet.supervisor.programs import (
    ConfigurationError,
    configuration,
    trouble_words,
    writer,
)
from ansible.module_utils.fleet.surroundings import look_at_filters, look_at_ways
from ansible.module_utils.fleet.verify.answers import READ_SHARED, SHARED

DOCUMENTATION = r"""
module: survey
short_description: Everything about a host that preflight judges, in one execution
description:
  - Reads only. The judging is done on the controller, by the filters of C(preflight.py).
  - An action plugin of the same name adds C(clock), the host's offset from the controller.
options:
  bench_dir: {description: Directory of the bench., type: path, required: true}
  bench_home: {description: Home of the bench account., type: path, required: true}
  cli_dir: {description: Directory of the bench CLI., type: path, required: true}
  config_dir: {description: Where the fleet's mark lies., type: path, required: true}
  state_dir: {description: Where the fleet's state on this host lies., type: path, required: true}
  adopt:
    description: Whether a bench that is here and that no fleet made is to be looked at.
    type: bool
    default: false
  data_dir:
    description: Data folder of MariaDB where the server's own option files name none.
    type: path
    default: /var/lib/mysql
  ports:
    description: TCP ports whose listeners are wanted.
    type: list
    elements: int
    default: []
  pythons:
    description: Python interpreters whose versions are wanted, besides those of the system.
    type: list
    elements: str
    default: []
  apps:
    description: The apps that the bench shall have, to find out what Python and Node they ask for.
    type: list
    elements: dict
    default: []
    suboptions:
      name: {description: Name of the app's package., type: str, required: true}
      repo: {description: Its repository., type: str, required: true}
      branch: {description: Branch or tag., type: str}
      commit: {description: Commit., type: str}
  bench_user: {description: The bench's account., type: str, required: true}
  jobs:
    description: Names of jobs, and patterns for them, that are looked for in the bench.
    type: list
    elements: str
    default: []
  certificates:
    description: Certificates that the router is to show, C({of, certificate, key}) each.
    type: list
    elements: dict
    default: []
  connect_to: {description: Address to open a TCP connection to., type: str}
  connect_port: {description: Port of that address., type: int}
  connect_seconds: {description: How long a connection may take., type: int, default: 3}
  ways:
    description:
      - Addresses and ports of other hosts of the fleet that this one will connect to,
        C({address, port}) each, to find out what a packet filter on the way drops.
    type: list
    elements: dict
    default: []
"""

EXAMPLES = r"""
- name: Host is surveyed
  survey:
    bench_dir: "{{ fleet_bench_dir }}"
    bench_home: "{{ fleet_bench_home }}"
    cli_dir: "{{ bench_cli_dir }}"
    config_dir: "{{ fleet_config_dir }}"
    state_dir: "{{ fleet_state_dir }}"
    bench_user: frappe
"""

RETURN = r"""
survey:
  description: What was found; see the functions of this module.
  returned: success
  type: dict
"""

# sites/apps.txt is written by every bench since 2014; benches are looked for where people put them,
# and where what runs on the host says, not in the whole file system.
BENCH_PATTERNS = ("/home/*/*", "/home/*/*/benches/*", "/opt/*", "/srv/*", "/root/*")
# Files that name the folder of a bench: of programs and web servers; nginx is asked for all of its
# own, too.
NAMING_FILES = (
    "/etc/supervisor/*.conf",
    "/etc/supervisor/conf.d/*",
    "/etc/supervisord.conf",
    "/etc/supervisord.d/*",
    "/etc/systemd/system/*.service",
    "/etc/systemd/system/*.d/*.conf",
    "/usr/lib/systemd/system/*.service",
    "/usr/local/lib/systemd/system/*.service",
    "/home/*/.config/systemd/user/*.service",
    "/root/.config/systemd/user/*.service",
    "/etc/nginx/*.conf",
    "/etc/nginx/conf.d/*",
    "/etc/nginx/sites-enabled/*",
    "/etc/apache2/sites-enabled/*",
    "/etc/apache2/conf-enabled/*",
    "/etc/httpd/conf.d/*",
    "/etc/caddy/Caddyfile",
)
# What copies a bench names the copy, too, and nobody works with that: no line of such a program
# counts, no shell that stands there, and no timetable.
COPYING = re.compile(r"^(?:.*[\s/=])?(?:rsync|rclone|cp|mv|tar|zip|borg|restic)\s.*$", re.MULTILINE)
SHELLS = frozenset({"bash", "dash", "fish", "sh", "zsh", "su", "sudo", "tmux", "screen"})
PATH = re.compile(r"(?<![\w./])/[^\s\"',;:|&<>(){}$=*]+")
# The interpreters that a distribution, or somebody's own installation, puts there.
SYSTEM_PYTHONS = ("/usr/bin/python3", "/usr/bin/python3.*", "/usr/local/bin/python3.*")
COMMAND_DIRS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/opt/bench/bin")
COMMAND_DIRS_OF_HOME = (".local/bin", "bin", "bench-cli", "pilot")
LISTEN = "0A"
# What role mariadb writes.
SETTINGS = "/etc/mysql/mariadb.conf.d/99-benchfleet.cnf"
# 2026-01-01, in seconds of the epoch.
NEW_YEAR = 1767225600


def read_mark(config_dir: str) -> dict[str, Any]:
    """The mark of a fleet: state is absent, present or broken.

    When present with fleet_id, role, format (1 where it names none) and versions, {name: release}.
    """
    path = f"{config_dir}/fleet.json"
    try:
        mark = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {"state": "absent", "path": path}
    except (OSError, ValueError) as error:
        return {"state": "broken", "path": path, "detail": str(error)}
    if not isinstance(mark, dict) or not mark.get("fleet_id"):
        return {"state": "broken", "path": path, "detail": "it names no fleet_id"}
    form, versions = mark.get("format", 1), mark.get("versions", {})
    if not isinstance(form, int) or not isinstance(versions, dict):
        return {"state": "broken", "path": path, "detail": "its format or versions are malformed"}
    return {
        "state": "present",
        "path": path,
        "fleet_id": str(mark["fleet_id"]),
        "role": str(mark.get("role", "")),
        "format": form,
        "versions": {str(name): str(release) for name, release in versions.items()},
    }


def known_hosts(config_dir: str) -> dict[str, str]:
    """Hosts of the fleet by this host's record: address → ed25519 key, {} when it has none."""
    try:
        text = Path(f"{config_dir}/known_hosts").read_text(encoding="utf-8")
    except OSError:
        return {}
    # An address stands as it is, or as [address]:port.
    lines = re.findall(r"^(\S+) ssh-ed25519 (\S+)", text, re.MULTILINE)
    return {re.sub(r"^\[(.*)\]:\d+$", r"\1", place): key for place, key in lines}


def read_update(state_dir: str) -> str:
    """Since when an update of the apps stands unfinished on this host, "" when none does.

    One that has only reporting nodes left to bring along does not count.
    """
    try:
        state = json.loads(Path(state_dir, "update.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return "" if state.get("finished") else str(state.get("stamp") or "unknown")


def adoption_pending(state_dir: str) -> bool:
    """Whether an adoption of this host was begun and has not come to its end."""
    try:
        state = json.loads(Path(state_dir, "adopted.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return not state.get("finished")


def free_bytes(path: str) -> dict[str, Any]:
    """Free bytes of the file system that holds, or would hold, path; device tells two apart."""
    existing = Path(path).absolute()
    while not existing.exists():
        existing = existing.parent
    numbers = os.statvfs(existing)
    return {
        "free": numbers.f_bavail * numbers.f_frsize,
        "device": str(existing.stat().st_dev),
        "on": str(existing),
    }


def data_folder(usual: str) -> str:
    """Where the server keeps its data by its own option files; the usual place without any."""
    found = server_options().get("datadir")
    return found.rstrip("/") if found else usual


def read_database(data_dir: str, state_dir: str) -> dict[str, Any]:
    """Product and version of an installed server, whether its data folder holds data, names of the
    tables that a restart empties, and the settings by which its answers come about (answers), which
    of them are MariaDB's defaults (usual), and those that the fleet has set (taken); of a server
    that does not answer none are known, and the settings are None. options: see read_options.
    """
    found: dict[str, Any] = {"product": None, "version": None, "data_dir": data_dir}
    for program in ("/usr/sbin/mariadbd", "/usr/sbin/mysqld", "/usr/local/bin/mariadbd"):
        if not os.access(program, os.X_OK):
            continue
        try:
            answer = subprocess.run(
                [program, "--no-defaults", "--version"],
                capture_output=True,
                text=True,
                timeout=20,
                check=False,
            ).stdout
        except (OSError, subprocess.TimeoutExpired):
            continue
        version = re.search(r"Ver\s+(\d+(?:\.\d+)+)", answer)
        if version:
            found["product"] = "MariaDB" if "mariadb" in answer.lower() else "MySQL"
            found["version"] = version.group(1)
            found["program"] = program
            break
    # Any of these is written at a server's first start, never by the package alone.
    kept = [
        name for name in ("ibdata1", "mysql", "aria_log_control") if Path(data_dir, name).exists()
    ]
    found["holds_data"] = bool(kept)
    found["bytes"] = tree_bytes(data_dir) if kept else 0
    told = [
        adoption.sql(words).stdout.splitlines() if kept and found["product"] else []
        for words in (MEMORY_TABLES, READ_SHARED)
    ]
    found["memory_tables"] = told[0]
    rows = [row.split("\t") for row in told[1]]
    found["answers"] = dict.fromkeys(SHARED) | {name: value for name, value, _ in rows}
    found["usual"] = [name for name, value, default in rows if value == default]
    try:
        lines = re.findall(r"^(\w+) = (.*)$", Path(SETTINGS).read_text(), re.MULTILINE)
    except OSError:
        lines = []
    found["taken"] = {name: value for name, value in lines if name in SHARED}
    found["options"] = None
    if found["product"] == "MariaDB":
        found["options"] = read_options(bool(kept), Path(state_dir, "adopted.json").exists())
    return found


def read_options(runs: bool, adopted: bool) -> dict[str, Any]:
    """What MariaDB's option files and command line say, as mariadb_options.look() tells it.

    With running, the server's variables: of what they name, of what is refused and, where it was
    adopted, of what needs a restart. adopted says whether it was.
    """
    told = {**look(SETTINGS), "adopted": adopted}
    rows = running_rows(
        *(
            adoption.sql(words).stdout.splitlines() if runs else []
            for words in (RUNNING, "SHOW MASTER STATUS")
        )
    )
    named = {entry.name for entry in told["said"]} | set(REFUSED)
    told["running"] = {
        name: row
        for name, row in rows.items()
        if name in named or (adopted and row.get("fixed") == "YES")
    }
    return told


def time_zone(file: str = "/etc/localtime") -> dict[str, Any]:
    """The host's time zone: its name, "" where the file is no link to one, and its offsets from
    UTC through two years, in seconds.
    """
    os.environ["TZ"] = f":{file}"
    time.tzset()
    offsets = [time.localtime(NEW_YEAR + month * 30 * 86400).tm_gmtoff for month in range(25)]
    name = os.path.realpath(file).partition("/zoneinfo/")[2] if os.path.lexists(file) else "UTC"
    return {"name": name, "offsets": offsets}


def look_at_supervisor() -> dict[str, Any]:
    """{supervisor: why supervisord cannot read its configuration, "" when it can or is not
    installed; supervisor_writers: who else than root can write its files, {path: who}}.

    A file of ours is left out of the first: the run writes it anew, with the folders that it names.
    """
    try:
        read = configuration()
    except ConfigurationError as error:
        return {"supervisor": str(error), "supervisor_writers": {}}
    trouble, words = read["trouble"], ""
    if trouble and not any("Made by Benchfleet" in (read_text(f) or "") for f in trouble["files"]):
        words = trouble_words(trouble)
    writers = {file["path"]: writer(file["path"]) for file in read["files"]}
    return {
        "supervisor": words,
        "supervisor_writers": {path: who for path, who in writers.items() if who},
    }


def frappe_version(bench_dir: str) -> str | None:
    """Version that the framework in a bench gives itself; None when it has none."""
    text = read_foreign(f"{bench_dir}/apps/frappe/frappe/__init__.py") or ""
    match = re.search(r"""^__version__\s*=\s*["']([^"']+)["']""", text, re.MULTILINE)
    return match.group(1) if match else None


def python_version(path: str, user: str) -> str | None:
    """Version of a Python interpreter, None where ``user`` cannot run it or it does not answer.

    Root does not run it: it may be a link to one that the bench's account has built itself.
    """
    try:
        done = run_as(user, [path, "--version"], "/", {"PATH": "/usr/bin:/bin"}, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"^Python (\d+(?:\.\d+)+)", done.stdout, re.MULTILINE)
    return match.group(1) if match else None


def system_pythons(patterns: tuple[str, ...] = SYSTEM_PYTHONS) -> list[str]:
    """Python interpreters in the system's folders; their tools are left out."""
    found = [path for pattern in patterns for path in sorted(glob.glob(pattern))]
    return [path for path in found if re.fullmatch(r"python3(\.\d+)?", os.path.basename(path))]


def env_python(bench_dir: str, user: str) -> str:
    """Version of the Python that a finished bench of ``user``'s runs on, "" where none is."""
    if not Path(bench_dir, ".benchfleet-complete").exists():
        return ""
    return adoption.python_version(bench_dir, user)


def is_bench(path: str) -> bool:
    """Whether a folder is a bench."""
    return os.path.isfile(f"{path}/sites/apps.txt") or all(
        os.path.isdir(f"{path}/{name}") for name in ("sites", "apps/frappe")
    )


def named_places(pid: str) -> str:
    """Where a process works, and what it runs; "" for a shell, and for one in a container."""
    place = Path("/proc", pid)
    with contextlib.suppress(OSError):
        name = (place / "comm").read_text(errors="replace").strip()
        if name not in SHELLS and (place / "root").samefile("/"):
            words = (place / "cmdline").read_text(errors="replace").split("\0")
            return f"{(place / 'cwd').readlink()} {' '.join(words[:2])}"
    return ""


def named_benches(files: tuple[str, ...] = NAMING_FILES) -> dict[str, str]:
    """Benches that files of programs and web servers name, and processes: path → who names it."""
    found: dict[str, str] = {}
    known: dict[str, bool] = {}

    def look(text: str, source: str) -> None:
        for path in set(PATH.findall(COPYING.sub("", text))):
            while path not in known and len(path) > 1:
                known[path] = is_bench(path)
                if known[path]:
                    found[path] = source
                path = os.path.dirname(path.rstrip("/"))

    for file, text in parts(adoption.run(["/usr/sbin/nginx", "-T"]).stdout).items():
        look(text, file)
    for pattern in files:
        for file in sorted(glob.glob(pattern)):
            look(read_foreign(os.path.realpath(file)) or "", file)
    for entry in Path("/proc").glob("[0-9]*"):
        if text := named_places(entry.name):
            with contextlib.suppress(OSError):
                name = (entry / "comm").read_text(errors="replace").strip()
                look(text, f"process {entry.name} ({name})")
    return found


def other_databases(bench_dir: str) -> dict[str, dict[str, str]]:
    """Sites of a bench whose database is not MariaDB: site → {kind, file that says so}."""
    common_file = f"{bench_dir}/sites/common_site_config.json"
    common = adoption.config_of(common_file)
    folders = Folders(f"{bench_dir}/sites", "")
    found = {}
    for site in folders.names():
        config = adoption.config_of(folders.config(site))
        if kind := other_database(config, common):
            file = folders.config(site) if config.get("db_type") else common_file
            found[site] = {"kind": kind, "file": file}
    return found


def find_benches(
    bench_dir: str,
    patterns: tuple[str, ...] = BENCH_PATTERNS,
    files: tuple[str, ...] = NAMING_FILES,
) -> list[dict]:
    """Benches on this host, the one at bench_dir included: {path, frappe_version, named, others}.

    named: the file or process that named it, "" where it was found by its place alone. others: see
    other_databases. A bench that has several paths is one, at bench_dir if that is one of them.
    """
    named = named_benches(files)
    sources = {os.path.realpath(path): source for path, source in named.items()}
    candidates = {path for pattern in patterns for path in glob.glob(pattern) if is_bench(path)}
    benches: dict[str, str] = {}
    for path in [bench_dir, *sorted(candidates | set(named))]:
        # A part of a bench may look like one.
        if is_bench(path) and not any(map(is_bench, map(str, Path(path).parents))):
            benches.setdefault(os.path.realpath(path), path)
    return [
        {
            "path": path,
            "frappe_version": frappe_version(path),
            "named": sources.get(real, ""),
            "others": other_databases(path),
        }
        for real, path in sorted(benches.items(), key=lambda entry: entry[1])
    ]


def gone_sites(bench_dir: str, state_dir: str) -> list[str]:
    """Sites of the inventory that were on this bench once and are not any more."""
    prefix = made_note(state_dir, "")
    names = [
        str(path).removeprefix(prefix) for path in Path(state_dir).glob(f"{Path(prefix).name}*")
    ]
    folders = Folders(f"{bench_dir}/sites", state_dir)
    return sorted(name for name in names if not Path(folders.config(name)).exists())


def folder_state(path: str) -> str:
    """What is at a path that will be made: C(absent), C(empty), C(ours) or C(foreign).

    Ours is what carries the mark of a finished piece, or of one that is being made.
    """
    place = Path(path)
    if not os.path.lexists(place):
        return "absent"
    if any((place / name).exists() for name in (".benchfleet-complete", ".benchfleet-making")):
        return "ours"
    return "empty" if place.is_dir() and not any(place.iterdir()) else "foreign"


def command_origin(path: str) -> str:
    """Which tool a command named bench belongs to.

    frappe-bench and benchfleet are returned by these names, frappe/pilot too; anything else
    is "unknown". Told by what the script imports, because pilot is never installed as a package.
    """
    try:
        with open(open_plain(path), "rb") as file:
            text = file.read(20000).decode("utf-8", "replace")
    except OSError:
        return "unknown"
    if "benchfleet" in text or "benchfleet" in str(Path(path).resolve()):
        return "benchfleet"
    if re.search(r"^\s*(from|import)\s+bench(\.|\s)", text, re.MULTILINE):
        return "frappe-bench"
    if re.search(r"^\s*(from|import)\s+(bench_cli|pilot)(\.|\s)", text, re.MULTILINE):
        return "frappe/pilot"
    return "unknown"


def find_commands(homes: list[str], folders: tuple[str, ...] = COMMAND_DIRS) -> list[dict]:
    """Commands named bench in the usual places of the host and of the given homes."""
    places = list(folders) + [f"{home}/{d}" for home in homes for d in COMMAND_DIRS_OF_HOME]
    found = []
    seen: set[Path] = set()
    for place in places:
        path = Path(place, "bench")
        if path.resolve() in seen or not path.is_file() or not os.access(path, os.X_OK):
            continue
        seen.add(path.resolve())
        found.append({"path": str(path), "origin": command_origin(str(path))})
    return found


def decode_address(text: str) -> str:
    """Address as /proc/net/tcp and tcp6 write it, in its usual form."""
    raw = bytes.fromhex(text)
    words = struct.unpack(f"<{len(raw) // 4}I", raw)
    packed = struct.pack(f">{len(words)}I", *words)
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def listening(ports: list[int], tables: list[str]) -> dict[str, dict[str, Any]]:
    """Listening sockets on the given ports: inode → {port, address}."""
    sockets: dict[str, dict[str, Any]] = {}
    for table in tables:
        for line in table.splitlines()[1:]:
            fields = line.split()
            if len(fields) < 10 or fields[3] != LISTEN:
                continue
            address, port = fields[1].split(":")
            if int(port, 16) in ports:
                sockets[fields[9]] = {"port": int(port, 16), "address": decode_address(address)}
    return sockets


def describe_process(pid: str) -> dict[str, Any]:
    """Name, command line (first 200 characters) and systemd unit of a process."""
    found: dict[str, Any] = {"pid": int(pid), "name": "", "command": "", "program": "", "unit": ""}
    place = Path("/proc", pid)
    with contextlib.suppress(OSError):
        found["name"] = (place / "comm").read_text(errors="replace").strip()
    with contextlib.suppress(OSError):
        command = (place / "cmdline").read_text(errors="replace")
        found["command"] = command.replace("\0", " ").strip()[:200]
    with contextlib.suppress(OSError):
        found["program"] = str((place / "exe").readlink())
    with contextlib.suppress(OSError):
        unit = re.findall(r"/([^/\n]+\.service)", (place / "cgroup").read_text())
        found["unit"] = unit[-1] if unit else ""
    return found


def find_listeners(ports: list[int]) -> dict[str, list[dict[str, Any]]]:
    """Who listens on each of the ports: port (a string, as in JSON) → processes."""
    tables = []
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            tables.append(Path(path).read_text(encoding="ascii"))
    sockets = listening(ports, tables)
    owners: dict[str, str] = {}
    if sockets:
        for link in Path("/proc").glob("[0-9]*/fd/*"):
            with contextlib.suppress(OSError):
                target = str(link.readlink())
                if target.startswith("socket:["):
                    # Workers share their parent's socket: the parent, being older, is named.
                    inode, pid = target[8:-1], link.parts[2]
                    if inode in sockets and int(pid) < int(owners.get(inode, "9999999")):
                        owners[inode] = pid
    found: dict[str, list[dict[str, Any]]] = {}
    for inode, entry in sockets.items():
        process: dict[str, Any] = {"pid": 0, "name": "", "command": "", "program": "", "unit": ""}
        if inode in owners:
            process = describe_process(owners[inode])
        found.setdefault(str(entry["port"]), []).append({**process, "address": entry["address"]})
    return found


def try_connect(address: str, port: int, seconds: int) -> dict[str, Any]:
    """Open and close one TCP connection: ok, and what went wrong when it is not."""
    try:
        socket.create_connection((address, port), timeout=seconds).close()
    except OSError as error:
        detail = "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error))
        return {"ok": False, "address": address, "port": port, "detail": detail}
    return {"ok": True, "address": address, "port": port}


def main() -> None:
    """Module entry."""
    module = FleetModule(
        argument_spec={
            "bench_dir": {"type": "path", "required": True},
            "bench_home": {"type": "path", "required": True},
            "cli_dir": {"type": "path", "required": True},
            "config_dir": {"type": "path", "required": True},
            "state_dir": {"type": "path", "required": True},
            "adopt": {"type": "bool", "default": False},
            "data_dir": {"type": "path", "default": "/var/lib/mysql"},
            "ports": {"type": "list", "elements": "int", "default": []},
            "pythons": {"type": "list", "elements": "str", "default": []},
            "apps": {"type": "list", "elements": "dict", "default": [], "options": code.APP_SPEC},
            "bench_user": {"type": "str", "required": True},
            "jobs": {"type": "list", "elements": "str", "default": []},
            "certificates": {"type": "list", "elements": "dict", "default": []},
            "connect_to": {"type": "str"},
            "connect_port": {"type": "int"},
            "connect_seconds": {"type": "int", "default": 3},
            "ways": {"type": "list", "elements": "dict", "default": []},
        },
        supports_check_mode=True,
    )
    started = time.time()
    asked = module.params
    data_dir = data_folder(asked["data_dir"])
    pythons, reader = asked["pythons"] + system_pythons(), code.reader(asked["bench_user"])
    survey: dict[str, Any] = {
        "mark": read_mark(asked["config_dir"]),
        "known_hosts": known_hosts(asked["config_dir"]),
        "update": read_update(asked["state_dir"]),
        "database": read_database(data_dir, asked["state_dir"]),
        "disk": {
            "data": free_bytes(data_dir),
            "bench": free_bytes(asked["bench_dir"]),
        },
        "benches": find_benches(asked["bench_dir"]),
        "folders": {
            "bench": folder_state(asked["bench_dir"]),
            "cli": folder_state(asked["cli_dir"]),
        },
        "commands": find_commands(["/root", asked["bench_home"]]),
        "listeners": find_listeners(asked["ports"]),
        "pythons": {path: python_version(path, reader) for path in pythons},
        "env": env_python(asked["bench_dir"], asked["bench_user"]),
        "code": code.look(asked["bench_dir"], asked["apps"], asked["bench_user"]),
        "tools": cli_releases(asked["cli_dir"]),
        "time_zone": time_zone(),
        **look_at_supervisor(),
        "systemd": Path("/run/systemd/system").is_dir(),
        "gone_sites": gone_sites(asked["bench_dir"], asked["state_dir"]),
        "printing": printing(asked["bench_dir"]),
        "jobs": jobs.look(asked["bench_dir"], asked["jobs"]),
        "certificates": [
            {**pair, "trouble": certificate_trouble(pair["certificate"], pair["key"])}
            for pair in asked["certificates"]
        ],
        "lan": None,
        "dropped": look_at_ways(asked["ways"], asked["connect_seconds"]),
        "filters": look_at_filters(),
        "adoption": None,
    }
    wished = asked["adopt"] and survey["mark"]["state"] == "absent"
    if wished or adoption_pending(asked["state_dir"]):
        try:
            survey["adoption"] = adoption.look(asked["bench_dir"], asked["ports"])
        except BenchError as error:
            module.fail_json(msg=str(error))
        survey["env"] = survey["adoption"]["bench"]["python"]
    if asked["connect_to"]:
        survey["lan"] = try_connect(
            asked["connect_to"], asked["connect_port"], asked["connect_seconds"]
        )
    survey["time"] = {"started": started, "ended": time.time()}
    module.exit_json(changed=False, survey=survey)


if __name__ == "__main__":
    main()
