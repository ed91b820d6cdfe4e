"""Commands that sudo lets the bench's account run as root, as sudo itself lists them."""

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

from ..preflight.problems import Host, Kind, Problem, Settings
from ..processes import Run, run
from .files import read
from .host import Found
from .notices import Notice, NoticeKind

# A member of one of these groups can become root with the group's programs.
ROOTS_GROUPS = ("docker", "lxd", "incus", "disk", "libvirt")


def sudo_entries(listed: str) -> list[dict[str, Any]]:
    """The rules that ``sudo -ll -U`` lists, in its order: {runas, commands, password} each.

    Commands are as sudo shows them, with their arguments; password: whether it asks for one.
    """
    defaults = re.search(r"^Matching Defaults.*?\n((?:[ \t]+\S.*\n?)*)", listed, re.MULTILINE)
    free = bool(defaults and re.search(r"(?:^|[\s,])!authenticate\b", defaults[1]))
    entries = []
    for text in re.split(r"^(?:Sudoers entry|LDAP Role|SSSD Role):.*$", listed, flags=re.M)[1:]:
        runas = re.search(r"^\s*RunAsUsers: (.*)$", text, re.MULTILINE)
        options = re.search(r"^\s*Options: (.*)$", text, re.MULTILINE)
        flags = options[1] if options else ""
        commands = re.search(r"^\s*Commands:\n((?:\t.*\n?)*)", text, re.MULTILINE)
        entries.append(
            {
                "runas": runas[1].strip() if runas else "root",
                "commands": [line.strip() for line in commands[1].splitlines()] if commands else [],
                "password": not (
                    re.search(r"(?<!\w)!authenticate\b", flags)
                    or (free and not re.search(r"(?<![!\w])authenticate\b", flags))
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
    """Lines of sudo's files with rules for an account: (``path:line``, commands).

    visudo lists the files, cvtsudoers reads each line with all aliases.
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
        command = ["cvtsudoers", "-M", "-e", "-f", "json", "-s", "defaults", "-m", whose]
        done = run(command, f"{aliases}{line}\n")
        try:
            specs = json.loads(done.stdout).get("User_Specs", []) if done.returncode == 0 else []
        except ValueError:
            continue
        commands = [
            entry["command"]
            for spec in specs
            for rule in spec["Cmnd_Specs"]
            for entry in rule["Commands"]
            if "command" in entry
        ]
        if commands:
            found.append((place, commands))
    return found


def writable(path: str, account: pwd.struct_passwd) -> bool:
    """Whether an account could replace a program's file."""
    place = Path(path)
    for part in (place, *place.parents):
        try:
            info = part.stat()
        except OSError:
            continue
        if info.st_uid == account.pw_uid:
            return True
        # In a sticky folder, only the owner of a file can replace it.
        if info.st_mode & stat.S_IWOTH and not info.st_mode & stat.S_ISVTX:
            return True
        if info.st_mode & stat.S_IWGRP and info.st_gid == account.pw_gid:
            return True
    return False


def look_at_sudo(user: str, run: Run = run) -> dict[str, Any]:
    """The commands that an account may run as root: {trouble, rules, groups}.

    trouble: why sudo does not list them, or "". A rule is {command, password, place, own}: the
    command, whether sudo asks for a password, where the rule is (``path:line``, "" if not found),
    and whether the account could replace the command's file. groups: those of ROOTS_GROUPS that it
    is in.
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
    output = done.stdout or done.stderr
    if done.returncode != 0 and "not allowed to run sudo" not in output:
        return {**found, "trouble": output.strip()[-200:] or "no answer"}
    rules: dict[str, bool] = {}
    for entry in filter(lambda entry: as_root(entry["runas"]), sudo_entries(output)):
        for command in entry["commands"]:
            # Of two rules for a command the later one counts.
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


# Programs that run other commands, or write any file.
SHELLS = re.compile(
    r"(ba|da|z|k|c|tc|fi)?sh|su|sudo|env|runuser|setpriv|chroot|nsenter|unshare|systemd-run|"
    r"python[\d.]*|perl[\d.]*|ruby[\d.]*|php[\d.]*|node|nodejs|lua[\d.]*|n?vim?|vim\.\w+|nano|emacs|ed|"
    r"less|more|man|find|tar|cp|mv|ln|tee|dd|chmod|chown|install|rsync|scp|sed|[gm]?awk|xargs|"
    r"apt|apt-get|aptitude|dpkg|snap|pip[\d.]*|npm|npx|yarn|uv|docker|podman|git|mount|visudo|"
    r"crontab|at|screen|tmux|script|strace|gdb|useradd|usermod|passwd|mysql|mariadb|bench"
)
# Programs of `bench setup sudoers`: each can be made to run other commands.
HALF_ROOT = frozenset({"certbot", "nginx", "systemctl", "service", "supervisorctl"})


def makes_root(rule: Mapping[str, Any]) -> bool:
    """Whether a rule of sudo gives its account all of root's rights."""
    path = rule["command"].split(" ", 1)[0]
    program = path.rpartition("/")[2]
    return (
        rule["own"]
        or path in ("ALL", "sudoedit")
        # A pattern for the program itself.
        or bool(re.search(r"[*?\[]", path))
        or path.endswith("/")
        or bool(SHELLS.fullmatch(program))
    )


RULES = "{places} on {host}"
SUDO_IS_ROOT = (
    "sudo lets {user} of {host} run commands as root without a password: {commands}. Whoever breaks"
    " into an app of the bench is then root"
)
KEEP = "to keep it, set adopt_sudo_confirmed: true"
SUDO_WITHOUT_PASSWORD = Kind(
    "adopt_sudo_without_password",
    SUDO_IS_ROOT,
    RULES,
    f"take the rule out with visudo, or name single commands in it; {KEEP}",
)
# Ansible itself signs in as the bench's account.
SUDO_OF_ANSIBLE = Kind(
    "adopt_sudo_of_ansible",
    SUDO_IS_ROOT,
    RULES,
    "create an account for Ansible (ansible_user), which signs in as {user} now; then take the rule"
    f" out with visudo, or name single commands in it; {KEEP}",
)
GROUP_OF_ROOT = Kind(
    "adopt_group_of_root",
    "{user} of {host} is in group {group}, whose members can become root",
    "/etc/group on {host}",
    f"`gpasswd --delete {{user}} {{group}}`; {KEEP}",
)
SUDO_UNKNOWN = NoticeKind(
    "sudo_unknown",
    "sudo does not list what {user} of {host} may run as root: {trouble}",
)
STAYS = "It stays; the fleet needs none of it"
SUDO_WITH_PASSWORD = NoticeKind(
    "sudo_with_password",
    f"sudo lets {{user}} of {{host}} run as root, with its password: {{commands}}. {STAYS}",
)
SUDO_HALF_ROOT = NoticeKind(
    "sudo_half_root",
    "sudo lets {user} of {host} run as root, without a password, commands that can be made to run"
    f" others: {{commands}}. {STAYS}",
)


def check_sudo(host: Host, found: Found, _settings: Settings) -> Iterator[Problem]:
    """The bench's account cannot become root, unless the operator has confirmed that it may."""
    sudo, user = found["sudo"], found["bench"]["owner"]
    rules = [rule for rule in sudo["rules"] if makes_root(rule) and not rule["password"]]
    if host["sudo_confirmed"] or not (rules or sudo["groups"]):
        return
    if rules:
        by_ansible = (host.get("target") or {}).get("user") == user
        yield (SUDO_OF_ANSIBLE if by_ansible else SUDO_WITHOUT_PASSWORD).found(
            host=host["name"],
            user=user,
            commands=[rule["command"] for rule in rules],
            places=list(dict.fromkeys(rule["place"] or "rules of sudo" for rule in rules)),
        )
    for group in sudo["groups"]:
        yield GROUP_OF_ROOT.found(host=host["name"], user=user, group=group)


def sudo_notices(host: Host, found: Found) -> Iterator[Notice]:
    """Rules of sudo for the bench's account that are no reason to stop."""
    sudo, user = found["sudo"], found["bench"]["owner"]
    if sudo["trouble"]:
        yield SUDO_UNKNOWN.found(host=host["name"], user=user, trouble=sudo["trouble"])
    asked = [r for r in sudo["rules"] if r["password"] and makes_root(r)]
    some = [r for r in sudo["rules"] if not r["password"] and not makes_root(r)]
    some = [r for r in some if r["command"].split(" ")[0].rpartition("/")[2] in HALF_ROOT]
    for rules, kind in ((asked, SUDO_WITH_PASSWORD), (some, SUDO_HALF_ROOT)):
        if rules:
            commands = [f"{rule['command']} ({rule['place'] or 'sudo'})" for rule in rules]
            yield kind.found(host=host["name"], user=user, commands=commands)
