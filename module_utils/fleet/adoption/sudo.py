"""What the bench's account may do as root, by the rules of sudo; sudo itself is asked."""

from __future__ import annotations

import grp
import json
import os
import pwd
import re
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..preflight.problems import Host, Problem, Settings, problem
from ..processes import Run, run
from ..surroundings import read
from .host import Found

# Whoever is in one of these is root by what its programs do.
ROOTS_GROUPS = ("docker", "lxd", "incus", "disk", "libvirt")


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


def sudo_lines(user: str, run: Run = run) -> list[tuple[str, list[str]]]:
    """Lines of sudo's files that say something of an account: (``path:line``, commands).

    visudo says which files there are, cvtsudoers reads each line with all aliases.
    """
    paths = re.findall(r"^(/.+): parsed OK$", run(["visudo", "-c"]).stdout, re.MULTILINE)
    lines = []
    for path in paths:
        lines += [(f"{path}:{n}", line) for n, line in logical_lines(read(path))]
    alias = re.compile(r"\s*(User|Runas|Host|Cmnd|Cmd)_Alias\b")
    aliases = "".join(f"{line}\n" for _, line in lines if alias.match(line))
    own = pwd.getpwnam(user).pw_gid
    groups = [g.gr_name for g in grp.getgrall() if user in g.gr_mem or g.gr_gid == own]
    whose = ",".join([f"user={user}", *(f"group={name}" for name in groups)])
    found = []
    for place, line in lines:
        if alias.match(line) or not re.match(r"\s*[^#@\s]|\s*#\d", line) or "=" not in line:
            continue
        words = ["cvtsudoers", "-M", "-e", "-f", "json", "-s", "defaults", "-m", whose]
        done = run(words, f"{aliases}{line}\n")
        try:
            specs = json.loads(done.stdout).get("User_Specs", []) if done.returncode == 0 else []
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


def writable(path: str, account: pwd.struct_passwd) -> bool:
    """Whether an account could put something of its own in a program's place."""
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


def look_at_sudo(user: str, run: Run = run) -> dict[str, Any]:
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
    done = run(["sudo", "-ll", "-U", user])
    said = done.stdout or done.stderr
    if done.returncode != 0 and "not allowed to run sudo" not in said:
        return {**found, "trouble": said.strip()[-200:] or "no answer"}
    rules: dict[str, bool] = {}
    for entry in filter(lambda entry: as_root(entry["runas"]), sudo_entries(said)):
        for command in entry["commands"]:
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
                "place": next((p for p, known in reversed(places) if command in known), ""),
                "own": program.startswith("/") and writable(program, pwd.getpwnam(user)),
            }
        )
    return found


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


def makes_root(rule: Mapping[str, Any]) -> bool:
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


def check_sudo(host: Host, found: Found, _settings: Settings) -> Iterator[Problem]:
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


def sudo_words(host: Host, found: Found) -> Iterator[str]:
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
