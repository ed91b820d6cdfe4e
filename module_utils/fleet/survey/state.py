"""What of the fleet's is on a host already, so that tasks which would change nothing need not run.

The survey takes it at the beginning of a run (``look``); the controller compares with it (the
rest), except with what a task of this run may have changed since.
"""

from __future__ import annotations

import glob
import grp
import hashlib
import os
import pwd
import stat
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

# Host → paths of files that a task of this run has changed; EVERYTHING where it may have changed
# anything else. The process of the run adds to it (plugins/callback/changed_hosts.py); each task's
# process inherits what is known when it begins.
CHANGED: dict[str, set[str]] = {}
EVERYTHING = "/"
# Folder of files that say what a unit does.
UNITS = "/etc/systemd/"
# Modules that change nothing of what is kept here: kernel, servers, and files that are not ours or
# that only they write.
ELSEWHERE = frozenset(
    {"mariadb_accounts", "nft_table", "nginx_files", "redis_users", "site_accounts"}
)

# Files and folders of the fleet outside its own folders. What is in a folder of another account is
# left out: it can change at any moment.
PLACES = (
    "/etc/cron.d/benchfleet-*",
    "/etc/logrotate.d/benchfleet-*",
    "/etc/mysql",
    "/etc/mysql/mariadb.conf.d",
    "/etc/mysql/mariadb.conf.d/*benchfleet*",
    "/etc/sudoers.d/benchfleet-*",
    "/etc/supervisor/conf.d/*.conf",
    "/etc/systemd/system/*.service.d",
    "/etc/systemd/system/*.service.d/benchfleet.conf",
    "/etc/systemd/system/benchfleet-*",
    "/usr/local/bin/bench",
    "/var/log/benchfleet-*",
    "/var/log/nginx/benchfleet-reports.log",
)
# Units that roles start and enable, besides our own.
SERVERS = ("nginx.service", "certbot.timer")
UNIT_FACTS = ("Id", "ActiveState", "UnitFileState", "NeedDaemonReload")
# No file of ours is larger, in bytes.
MOST = 4 * 1024**2


def name_of(number: int, names: Mapping[int, str]) -> str:
    """The name of an account or a group; its number where it has none."""
    return names.get(number, str(number))


def is_roots(path: str) -> bool:
    """Whether a path belongs to root."""
    try:
        return os.lstat(path).st_uid == 0
    except OSError:
        return False


def paths(folders: Iterable[str]) -> Iterator[str]:
    """Root's folders with all that is in them, and PLACES; other accounts' folders stay closed."""
    for top in folders:
        yield top
        for folder, inner, files in os.walk(top) if is_roots(top) else ():
            inside = [f"{folder}/{name}" for name in inner if name != "__pycache__"]
            # Not even listed: another account may have put any number of files, or a file system
            # of its own, into its folder.
            inner[:] = [os.path.basename(path) for path in inside if is_roots(path)]
            yield from inside
            yield from (f"{folder}/{name}" for name in files)
    for pattern in PLACES:
        yield from glob.iglob(pattern)


def files_of(folders: Iterable[str]) -> dict[str, list[str]]:
    """Path -> [mode, owner, group, SHA-256 of the content; "" for a folder]. Links are left out."""
    users = {entry.pw_uid: entry.pw_name for entry in pwd.getpwall()}
    groups = {entry.gr_gid: entry.gr_name for entry in grp.getgrall()}
    found = {}
    for path in paths(folders):
        try:
            info = os.lstat(path)
            digest = ""
            if stat.S_ISREG(info.st_mode):
                with open(path, "rb", opener=without_links) as source:
                    digest = hashlib.sha256(source.read(MOST)).hexdigest()
            elif not stat.S_ISDIR(info.st_mode):
                continue
        except OSError:
            continue
        owner, group = name_of(info.st_uid, users), name_of(info.st_gid, groups)
        found[path] = [f"{stat.S_IMODE(info.st_mode):04o}", owner, group, digest]
    return found


def without_links(path: str, flags: int) -> int:
    """Open a path that is no link, without waiting for the other end of a pipe."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def lines_of(*command: str) -> list[str]:
    """The lines that a program writes; none where it fails or does not exist."""
    environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=False, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines()


def settled_units() -> list[str]:
    """Our units and SERVERS that are active, as their files say, and started at boot.

    A static unit is started by another one.
    """
    names = [os.path.basename(path) for path in glob.glob("/etc/systemd/system/benchfleet-*.*")]
    facts = lines_of("systemctl", "show", "--property", ",".join(UNIT_FACTS), *names, *SERVERS)
    found: list[dict[str, str]] = [{}]
    for line in facts:
        name, _, value = line.partition("=")
        if line:
            found[-1][name] = value
        else:
            found.append({})
    wanted = {"ActiveState": "active", "NeedDaemonReload": "no"}
    return [
        unit["Id"]
        for unit in found
        if wanted.items() <= unit.items() and unit["UnitFileState"] in ("enabled", "static")
    ]


def look(folders: Iterable[str]) -> dict[str, Any]:
    """The state of this host: {files, packages, units, accounts, groups}.

    folders: the fleet's own. packages: those that are installed. units: those that are settled.
    accounts: name -> {home, shell}.
    """
    packages = lines_of("dpkg-query", "-W", "-f", "${Package} ${Status}\\n")
    installed = " install ok installed"
    return {
        "files": files_of(folders),
        "packages": [line.split()[0] for line in packages if line.endswith(installed)],
        "units": settled_units(),
        "accounts": {
            entry.pw_name: {"home": entry.pw_dir, "shell": entry.pw_shell}
            for entry in pwd.getpwall()
        },
        "groups": [entry.gr_name for entry in grp.getgrall()],
    }


def known(seen: Mapping[str, Any] | None, host: str) -> Mapping[str, Any]:
    """The state of a host, as this run's survey has found it, without what has changed since.

    seen: the fact preflight_seen, of which playbooks without preflight have none.
    """
    changed = CHANGED.get(host, set())
    state: Mapping[str, Any] = ((seen or {}).get("survey") or {}).get("state") or {}
    if not changed or not state:
        return state
    if EVERYTHING in changed:
        return {}
    found = state.get("files", {}).items()
    left = {**state, "files": {path: about for path, about in found if path not in changed}}
    return {**left, "units": []} if any(path.startswith(UNITS) for path in changed) else left


def note_change(host: str, module: str, paths: Iterable[str]) -> None:
    """Note that a module has changed something on a host; paths: of files, for module ``files``."""
    if module not in ELSEWHERE:
        CHANGED.setdefault(host, set()).update(paths if module == "files" else [EVERYTHING])


def of_task(variables: Mapping[str, Any] | None, delegated_to: str | None) -> Mapping[str, Any]:
    """The state of the host of a task, as of ``known``; {} for one that runs on another host."""
    about = variables or {}
    if delegated_to:
        return {}
    return known(about.get("preflight_seen"), str(about.get("inventory_hostname")))


def has_unit(seen: Mapping[str, Any], host: str, name: str) -> bool:
    """Whether a unit is active, enabled, and as its files say, and nothing has changed since."""
    return name in known(seen, host).get("units", [])


def has_file(seen: Mapping[str, Any], host: str, path: str) -> bool:
    """Whether root's file is there, and nothing has changed since."""
    return path in known(seen, host).get("files", {})


def has_account(seen: Mapping[str, Any], host: str, name: str, home: str, shell: str) -> bool:
    """Whether an account is there with its home and shell, and nothing has changed since."""
    accounts = known(seen, host).get("accounts", {})
    return bool(accounts.get(name) == {"home": home, "shell": shell})


def has_group(seen: Mapping[str, Any], host: str, name: str) -> bool:
    """Whether a group is there, and nothing has changed since."""
    return name in known(seen, host).get("groups", [])


def is_there(entry: Mapping[str, Any], files: Mapping[str, list[str]]) -> bool:
    """Whether an entry of the module ``files`` is on the host as it is wanted."""
    if entry.get("marker") or entry["path"] not in files:
        return False
    mode, owner, group, digest = files[entry["path"]]
    wanted = [(entry.get("owner"), owner), (entry.get("group"), group)]
    if entry.get("mode"):
        wanted.append((f"{int(entry['mode'], 8):04o}", mode))
    if any(want not in (None, have) for want, have in wanted):
        return False
    if entry.get("state") == "directory":
        return not digest
    if not digest or entry.get("content") is None:
        return False
    return (
        bool(entry.get("keep")) or digest == hashlib.sha256(entry["content"].encode()).hexdigest()
    )
