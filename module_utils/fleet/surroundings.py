"""What else has a say on a host: rules of sudo, crontabs and packet filters that are not ours.

Reads only. Where there is a program that reads the files itself, that is asked: sudo, ufw, nft.
"""

from __future__ import annotations

import glob
import grp
import json
import os
import pwd
import re
import shlex
import socket
import stat
import subprocess
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from .foreign import read_bytes

# Runs a command, with words for its standard input: exit status, standard output.
Run = Callable[[list[str], str], tuple[int, str]]

# Whoever is in one of these is root by what its programs do.
ROOTS_GROUPS = ("docker", "lxd", "incus", "disk", "libvirt")
CRON_FILES = ("/etc/crontab", "/etc/cron.d/*", "/etc/cron.*ly/*", "/var/spool/cron/crontabs/*")
UNIT_FILES = ("/etc/systemd/system/*.service", "/etc/systemd/system/*.service.d/*.conf")
# What changes a bench, or stops it, as somebody would let it run by itself. Options may stand
# between.
BENCH_COMMAND = re.compile(
    r"(?:(?:^|[\s;&|'\"`(=/])bench|bench_helper\s+frappe)"
    r"(?:\s+(?:--site[ =]\S+|--use-feature[ =]\S+|-\S+))*\s+"
    r"(update|migrate|restart|switch-to-branch|switch-to-develop|get-app|get|remove-app|"
    r"uninstall-app|install-app|build|setup\s+(?:production|supervisor|nginx|redis|requirements))"
    r"(?![\w-])"
)
GIT_PULL = re.compile(r"(?:^|[\s;&|'\"`(/])git\b[^;&|\n]*?\s(pull|checkout|reset|merge)(?![\w-])")


def run_here(words: list[str], stdin: str = "") -> tuple[int, str]:
    """Run a program that speaks English; one that is missing or hangs has failed."""
    try:
        done = subprocess.run(
            words,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=30,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 1, str(error)
    return done.returncode, done.stdout or done.stderr


# --- sudo --------------------------------------------------------------------------------------


def sudo_entries(listed: str) -> list[dict[str, Any]]:
    """What ``sudo -ll -U`` says, in its order: {runas, commands, password} for each rule.

    Commands are as sudo shows them, with their arguments; password: whether it asks for one.
    """
    defaults = re.search(r"^Matching Defaults.*?\n((?:[ \t]+\S.*\n?)*)", listed, re.MULTILINE)
    free = bool(defaults and re.search(r"(?:^|[\s,])!authenticate\b", defaults[1]))
    entries = []
    for text in re.split(r"^(?:Sudoers entry|LDAP Role|SSSD Role):.*$", listed, flags=re.M)[1:]:
        runas = re.search(r"^\s*RunAsUsers: (.*)$", text, re.MULTILINE)
        options = re.search(r"^\s*Options: (.*)$", text, re.MULTILINE)
        said = options[1] if options else ""
        commands = re.search(r"^\s*Commands:\n((?:\t.*\n?)*)", text, re.MULTILINE)
        entries.append(
            {
                "runas": runas[1].strip() if runas else "root",
                "commands": [line.strip() for line in commands[1].splitlines()] if commands else [],
                "password": not (
                    re.search(r"(?<!\w)!authenticate\b", said)
                    or (free and not re.search(r"(?<![!\w])authenticate\b", said))
                ),
            }
        )
    return entries


def as_root(runas: str) -> bool:
    """Whether an entry's RunAsUsers includes root; the last that names it counts."""
    allowed = False
    for word in re.split(r",\s*", runas):
        name = word.lstrip("!")
        if name in ("ALL", "root", "#0"):
            allowed = (len(word) - len(name)) % 2 == 0
    return allowed


def logical_lines(text: str) -> list[tuple[int, str]]:
    """Lines of a file of sudo's with their numbers; one that goes on below is one line."""
    lines: list[tuple[int, str]] = []
    begun = ""
    for number, line in enumerate(text.splitlines(), start=1):
        whole = begun + line
        first = lines.pop()[0] if begun else number
        lines.append((first, whole))
        begun = whole[:-1] if line.endswith("\\") else ""
    return lines


def sudo_lines(user: str, run: Run = run_here) -> list[tuple[str, list[str]]]:
    """Lines of sudo's files that say something of an account: (``path:line``, commands).

    visudo says which files there are, cvtsudoers reads each line with all aliases.
    """
    paths = re.findall(r"^(/.+): parsed OK$", run(["visudo", "-c"], "")[1], re.MULTILINE)
    lines = []
    for path in paths:
        lines += [(f"{path}:{n}", line) for n, line in logical_lines(read(path))]
    alias = re.compile(r"\s*(User|Runas|Host|Cmnd|Cmd)_Alias\b")
    aliases = "".join(f"{line}\n" for _, line in lines if alias.match(line))
    groups = [g.gr_name for g in grp.getgrall() if user in g.gr_mem or g.gr_gid == gid_of(user)]
    whose = ",".join([f"user={user}", *(f"group={name}" for name in groups)])
    found = []
    for place, line in lines:
        if alias.match(line) or not re.match(r"\s*[^#@\s]|\s*#\d", line) or "=" not in line:
            continue
        words = ["cvtsudoers", "-M", "-e", "-f", "json", "-s", "defaults", "-m", whose]
        code, out = run(words, f"{aliases}{line}\n")
        try:
            specs = json.loads(out).get("User_Specs", []) if code == 0 else []
        except ValueError:
            continue
        commands = [
            command["command"]
            for spec in specs
            for rule in spec["Cmnd_Specs"]
            for command in rule["Commands"]
            if "command" in command
        ]
        if commands:
            found.append((place, commands))
    return found


def gid_of(user: str) -> int:
    """Number of an account's own group, -1 for no account."""
    try:
        return pwd.getpwnam(user).pw_gid
    except KeyError:
        return -1


def writable(path: str, user: str) -> bool:
    """Whether an account could put something of its own in a program's place."""
    try:
        account = pwd.getpwnam(user)
    except KeyError:
        return False
    place = Path(path)
    for part in (place, *place.parents):
        try:
            info = part.stat()
        except OSError:
            continue
        if info.st_uid == account.pw_uid:
            return True
        # In a sticky folder nobody takes away what is another's.
        if info.st_mode & stat.S_IWOTH and not info.st_mode & stat.S_ISVTX:
            return True
        if info.st_mode & stat.S_IWGRP and info.st_gid == account.pw_gid:
            return True
    return False


def look_at_sudo(user: str, run: Run = run_here) -> dict[str, Any]:
    """What an account may do as root: {trouble, rules, groups}.

    A rule is {command, password, place, own}: one command that sudo lets it run as root, whether
    sudo asks for a password first, where that stands (``path:line``, "" where it was not found),
    and whether the account could change the command's file. groups are those of ROOTS_GROUPS that
    it is in.
    """
    groups = [
        name
        for name in ROOTS_GROUPS
        if any(g.gr_name == name and user in g.gr_mem for g in grp.getgrall())
    ]
    found: dict[str, Any] = {"trouble": "", "rules": [], "groups": groups}
    folders = ("/usr/bin", "/usr/local/bin")
    if not (user and any(os.access(f"{folder}/sudo", os.X_OK) for folder in folders)):
        return found
    code, out = run(["sudo", "-ll", "-U", user], "")
    if code != 0 and "not allowed to run sudo" not in out:
        return {**found, "trouble": out.strip()[-200:] or "no answer"}
    entries = sudo_entries(out)
    rules: dict[str, bool] = {}
    for entry in entries:
        for command in entry["commands"]:
            if not as_root(entry["runas"]):
                continue
            # Of two that fit a command the later one counts.
            if command == "!ALL":
                rules = {}
            elif command.startswith("!"):
                rules.pop(command[1:], None)
            else:
                if command == "ALL":
                    rules = dict.fromkeys(rules, entry["password"])
                rules[command] = entry["password"]
    places = sudo_lines(user, run) if rules else []
    for command, password in rules.items():
        program = command.split(" ", 1)[0]
        found["rules"].append(
            {
                "command": command,
                "password": password,
                "place": next((p for p, said in reversed(places) if command in said), ""),
                "own": program.startswith("/") and writable(program, user),
            }
        )
    return found


# --- crontabs ----------------------------------------------------------------------------------


def scripts_of(line: str) -> list[str]:
    """Files that a command line names, small ones of text: what it runs may stand in them."""
    try:
        words = shlex.split(line, comments=True)
    except ValueError:
        words = line.split()
    found = []
    for word in words:
        for path in re.findall(r"(?<![\w.])/[\w./+-]+", word):
            try:
                info = os.stat(path)
                if stat.S_ISREG(info.st_mode) and info.st_size < 65536:
                    found.append(path)
            except OSError:
                continue
    return found


def commands_in(text: str, bench: str) -> list[tuple[int, str]]:
    """Lines of a crontab or script that change or stop a bench: (number, the command in short).

    What else stands there is left out: it may hold a password.
    """
    found = []
    begun = ""
    for number, line in enumerate(text.splitlines(), start=1):
        whole = begun + line
        begun = whole[:-1] if line.endswith("\\") else ""
        if begun or whole.lstrip().startswith("#"):
            continue
        found += [(number, f"bench {m[1]}") for m in BENCH_COMMAND.finditer(whole)]
        if bench in text:
            found += [(number, f"git {m[1]}") for m in GIT_PULL.finditer(whole)]
    return list(dict.fromkeys(found))


def look_at_crontabs(
    bench: str,
    masks: Iterable[str] = CRON_FILES,
    units: Iterable[str] = UNIT_FILES,
) -> list[dict[str, str]]:
    """Commands that cron or a timer runs by itself and that change or stop the bench.

    {place, command, through}: ``path:line`` in the crontab or unit, the command in short, and
    ``path:line`` in the script that the line runs, "" without one.
    """
    found = []
    for mask in (*masks, *units):
        for path in sorted(glob.glob(mask)):
            text = read(path)
            if "benchfleet" in os.path.basename(path) or "Made by Benchfleet" in text:
                continue
            for number, command in commands_in(text, bench):
                found.append({"place": f"{path}:{number}", "command": command, "through": ""})
            for number, line in enumerate(text.splitlines(), start=1):
                if line.lstrip().startswith("#"):
                    continue
                for script in scripts_of(line):
                    if script == path or script.endswith("/bench"):
                        continue
                    found += [
                        {
                            "place": f"{path}:{number}",
                            "command": command,
                            "through": f"{script}:{there}",
                        }
                        for there, command in commands_in(read(script), bench)
                    ]
    return found


def read(path: str) -> str:
    """A text file's content, "" for what is none, or no file of a usual size.

    Some are the bench account's, which may put a pipe in their place at any moment.
    """
    try:
        data = read_bytes(path, 1024**2)
    except OSError:
        return ""
    return "" if b"\0" in data else data.decode(errors="replace")


# --- packet filters ----------------------------------------------------------------------------


def look_at_filters(run: Run = run_here) -> list[str]:
    """Packet filters of this host that drop what no rule of theirs lets in, by their tools' names.

    ufw and firewalld, where one of them is active; else iptables, and the chains of nftables as
    ``nftables, chain inet filter input``.
    """
    if re.search(r"^Status: active", run(["ufw", "status"], "")[1], re.MULTILINE):
        said = run(["ufw", "status", "verbose"], "")[1]
        return ["ufw"] if re.search(r"^Default: (deny|reject) \(incoming\)", said, re.M) else []
    if run(["firewall-cmd", "--state"], "")[1].strip() == "running":
        return ["firewalld"]
    programs = ["iptables-nft"]
    # To ask about a table that the kernel does not have would make it.
    if "filter" in read("/proc/net/ip_tables_names").split():
        programs.append("iptables-legacy")
    if any(drops(run([program, "-S", "INPUT"], "")[1]) for program in programs):
        return ["iptables"]
    found = []
    table = chain = ""
    chains = run(["nft", "list", "ruleset"], "")[1]
    for line in chains.splitlines():
        if named := re.match(r"table (\S+ \S+) \{", line):
            table = named[1]
        elif named := re.match(r"\s+chain (\S+) \{", line):
            chain = named[1]
        elif "hook input" in line and "policy drop" in line and table != "inet benchfleet":
            found.append(f"nftables, chain {table} {chain}")
    return found


def drops(rules: str) -> bool:
    """Whether an INPUT chain of iptables drops or refuses what nothing before has let in."""
    last = rules.strip().splitlines()[-1:] or [""]
    return "-P INPUT DROP" in rules or bool(re.fullmatch(r"-A INPUT -j (DROP|REJECT).*", last[0]))


def filtered(address: str, port: int, seconds: float) -> bool:
    """Whether something drops what is sent to a port. One that nobody listens on is none such."""
    try:
        socket.create_connection((address, port), timeout=seconds).close()
    except ConnectionRefusedError:
        return False
    except OSError:
        return True
    return False


def look_at_ways(ways: Iterable[Mapping[str, Any]], seconds: float) -> list[dict[str, Any]]:
    """Of {address, port} those that something on the way drops."""
    wanted = [{"address": str(way["address"]), "port": int(way["port"])} for way in ways]
    if not wanted:
        return []
    with ThreadPoolExecutor(len(wanted)) as tries:
        dropped = tries.map(lambda way: filtered(way["address"], way["port"], seconds), wanted)
        return [way for way, is_dropped in zip(wanted, dropped, strict=True) if is_dropped]
