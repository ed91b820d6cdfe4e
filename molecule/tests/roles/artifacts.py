"""What on a host comes from its role, in a form that can be compared with another host's.

Names and addresses of the hosts are replaced by their parts, keys by <key>, times and large numbers
by <number>; words and lines are sorted, as lists of hosts are in the order of their names.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from nodes import Node
from opened import UNIT

from benchfleet.lab import state

# Runs on a host. Of each file: owner, mode and content; of a symbolic link: where it leads.
COLLECT = r"""
import json, os, pwd, grp, stat, subprocess, sys

FOLDERS = (
    "/etc/benchfleet", "/etc/supervisor/conf.d", "/etc/nginx", "/etc/systemd/system", "/etc/mysql",
    "/etc/cron.d", "/etc/sudoers.d", "/etc/logrotate.d", "/var/spool/cron", "/usr/local/bin",
    "/usr/local/lib/benchfleet", "/home/frappe/.ssh", "/home/frappe/frappe-bench/config",
)
# Of these only the names: what they have in them changes all the time. Of the fleet's state those
# of files, also in folders, which stay when they are empty.
STATE, SITES = "/var/lib/benchfleet", "/home/frappe/frappe-bench/sites"
COMMANDS = {
    # Packages stay, with their timers; a service that a timer starts comes and goes.
    "units": "systemctl list-unit-files --no-legend --plain --type=service,timer,socket,path"
    " | grep -v ^logrotate",
    "active": "systemctl list-units --no-legend --plain --state=active 'benchfleet-*'"
    " nginx.service redis-server.service certbot.timer",
    "programs": "supervisorctl status | awk '{print $1, $2}'",
    "accounts": "getent passwd | cut -d: -f1,7; getent group | cut -d: -f1,4",
    "database accounts": "mariadb -NBe 'SELECT User, Host FROM mysql.user'",
    "events": "mariadb -NBe 'SELECT EVENT_SCHEMA, EVENT_NAME, STATUS"
    " FROM information_schema.EVENTS; SELECT @@event_scheduler, @@read_only'",
    "packet filter": "nft --stateless list ruleset",
    "ports": "ss -Hltn | awk '{print $4}'",
    "remotes": "for app in /home/frappe/frappe-bench/apps/*; do"
    " git -c safe.directory=* -C $app remote -v; done",
}

def about(path, read=True):
    status = os.lstat(path)
    if stat.S_ISLNK(status.st_mode):
        return "-> " + os.readlink(path)
    owner, group = pwd.getpwuid(status.st_uid).pw_name, grp.getgrgid(status.st_gid).gr_name
    told = f"{owner} {group}"
    # The standby's copies of Redis' settings are for the bench's account alone.
    if "/config/redis_" not in path:
        told += f" {stat.S_IMODE(status.st_mode):o}"
    if read and stat.S_ISREG(status.st_mode):
        told += "\n" + open(path, errors="replace").read()
    return told

found = {}
for top in FOLDERS:
    for folder, inner, names in os.walk(top):
        inner[:] = [name for name in inner if name not in ("__pycache__", "pids")]
        for name in names + [name for name in inner if os.path.islink(os.path.join(folder, name))]:
            path = os.path.join(folder, name)
            found[path] = about(path)
names = [os.path.join(folder, name) for folder, _, names in os.walk(STATE) for name in names]
for path in names + [f"{SITES}/{name}" for name in os.listdir(SITES)]:
    found[path] = about(path, read=False)
for name in ("common_site_config.json", f"{sys.argv[1]}/site_config.json"):
    found[f"{SITES}/{name}"] = about(f"{SITES}/{name}")
for title, command in COMMANDS.items():
    found[title] = subprocess.run(command, shell=True, capture_output=True, text=True).stdout
print(json.dumps(found))
"""
# What a host has of its own past, with the reason, as patterns of paths.
OWN = {
    r"/var/lib/benchfleet/(ahead-.*|.*\.lock|.*\.log|runs\.jsonl|update.*|verify.*)": "of runs",
    r"/var/lib/benchfleet/(status\.json|read-guard.*|primary\.json)": "written all the time",
    r"/etc/(logrotate\.d/[bw]tmp|.*/logrotate\.timer)": "of a package, and packages stay",
    r"/etc/benchfleet/tls/.*": "each host has its own certificate",
    rf".*{UNIT}.*": "of these tests",
}
PEM = re.compile(r"-----BEGIN[^-]*-----.*?-----END[^-]*-----", re.DOTALL)
LONG = re.compile(r"[A-Za-z0-9+/=_-]{32,}")
# As nft shows addresses that follow each other.
RANGE = re.compile(r"\b((?:\d+\.){3})(\d+)-\1(\d+)\b")
NUMBER = re.compile(r"\d{4}-\d\d-\d\d[T ][\d:.+Z-]+|\d{8,}")
WORD = re.compile(r"[^\s,;{}\[\]()]+")
HEXADECIMAL = re.compile(r"[0-9a-f]{32,}")


def key(match: re.Match[str]) -> str:
    """A long word if it is a path or a name, <key> where it is a key or a digest."""
    word = match[0]
    kinds = (str.isupper, str.islower, str.isdigit)
    random = all(any(is_of(letter) for letter in word) for is_of in kinds)
    return "<key>" if random or HEXADECIMAL.fullmatch(word) else word


def each(match: re.Match[str]) -> str:
    """The addresses of a range."""
    start, first, last = match.groups()
    return ", ".join(f"{start}{number}" for number in range(int(first), int(last) + 1))


def plain(text: str, parts: Mapping[str, str]) -> str:
    """A text in the form that is compared; parts: what names and addresses are replaced by."""
    # Also in regular expressions.
    text = RANGE.sub(each, text.replace(r"\.", "."))
    text = LONG.sub(key, PEM.sub("<key>", text))
    if parts:
        names = "|".join(map(re.escape, sorted(parts, key=len, reverse=True)))
        known = rf"(?<![\w.])(?:{names})(?!\w|\.\d)"
        text = re.sub(known, lambda match: parts[match[0]], text)
    numbered = NUMBER.sub("<number>", text).splitlines()
    lines = (" ".join(sorted(WORD.findall(line))) for line in numbered)
    return "\n".join(sorted(line for line in lines if line and UNIT not in line))


def parts_of(lab: state.Lab, **hosts: str) -> dict[str, str]:
    """What names and addresses of hosts are replaced by: {part: host}."""
    found: dict[str, str] = {}
    for part, name in hosts.items():
        found |= {name: f"<{part}>", lab.host(name).ip: f"<{part}-ip>"}
    return found


def collected(nodes: Mapping[str, Node], site: str) -> dict[str, dict[str, str]]:
    """What each host has, as {host: {path or subject: text}}; nothing is replaced yet."""
    command = f"python3 -c {shlex.quote(COLLECT)} {site}"
    with ThreadPoolExecutor() as pool:
        told = pool.map(lambda node: json.loads(node.run(command)), nodes.values())
        return dict(zip(nodes, told, strict=True))


def comparable(found: Mapping[str, str], parts: Mapping[str, str]) -> dict[str, str]:
    """What a host has without what is its own, in the form that is compared."""
    own = re.compile("|".join(f"(?:{pattern})" for pattern in OWN))
    return {
        plain(path, parts): plain(text, parts)
        for path, text in found.items()
        if not own.fullmatch(path)
    }


def differences(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """How what a host has differs from what another has, in lines."""
    said = []
    for path in sorted({*one, *other}):
        if path not in other:
            said.append(f"{path}: gone")
        elif path not in one:
            said.append(f"{path}: new")
        elif one[path] != other[path]:
            before, after = one[path].splitlines(), other[path].splitlines()
            lines = [f"- {line}" for line in before if line not in after]
            lines += [f"+ {line}" for line in after if line not in before]
            said.append("\n    ".join([f"{path}:", *(lines or ["a line more or less often"])]))
    return said
