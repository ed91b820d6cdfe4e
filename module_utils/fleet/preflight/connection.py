"""Hosts that could not be asked: what ssh, sudo or Ansible reported, as problems.

Pure functions, except that the controller's known_hosts file is read for a fingerprint. Of a host
this reads
    name
    trouble    the message of the task that could not ask it
    away       whether Ansible counts it as unreachable
    target     what ssh makes of its inventory entry: {host, port, user, keys, known_hosts, proxy}
               (plugins/action/ask_host.py), {} when it is no ssh host
    problem    the problem itself, where it is none of the connection; left out otherwise

The patterns match messages of OpenSSH, of sudo and of ansible-core 2.19; tests/unit/test_reach.py
has each as it was seen.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from .inventory import VAULT_PASSWORD_MISSING, VAULT_PASSWORD_WRONG
from .problems import Host, Kind, Problem

SSH_PORT = "22"


class Reason(NamedTuple):
    """Why a host could not be asked.

    off: nothing answers there, as when it is switched off; the operator may know that and want the
    other hosts served. Everything else has to be mended first.
    """

    problem: Problem
    off: bool = False

    @property
    def cause(self) -> str:
        """What is wrong, without the host's name."""
        return str(self.problem["what"])


class Target:
    """How ssh reaches a host: by its inventory name where nothing more is known."""

    def __init__(self, host: Host) -> None:
        known = host.get("target") or {}
        self.name: str = host["name"]
        self.host = str(known.get("host") or self.name)
        self.port = str(known.get("port") or SSH_PORT)
        self.user = str(known.get("user") or "the account")
        self.keys: list[str] = list(known.get("keys") or [])
        self.known_hosts = str(known.get("known_hosts") or "~/.ssh/known_hosts")
        self.proxy = str(known.get("proxy") or "")

    @property
    def address(self) -> str:
        """Address and port, for messages."""
        return f"{self.host} port {self.port}"

    @property
    def known_as(self) -> str:
        """The host's name in known_hosts."""
        return self.host if self.port == SSH_PORT else f"[{self.host}]:{self.port}"

    @property
    def command(self) -> str:
        """The ssh command with which an operator can try the same."""
        key = f" -i {self.keys[0]}" if len(self.keys) == 1 else ""
        port = "" if self.port == SSH_PORT else f" -p {self.port}"
        jump = f" -J {self.proxy}" if self.proxy else ""
        return f"ssh{key}{port}{jump} {self.user}@{self.host}"

    @property
    def facts(self) -> dict[str, Any]:
        """Facts for problems; host is the inventory name."""
        return {
            "host": self.name,
            "address": self.address,
            "user": self.user,
            "command": self.command,
        }


def known_fingerprint(path: str, line: int) -> str:
    """SHA256 fingerprint of the key on a line of a known_hosts file, as ssh-keygen -l writes it.

    "unknown" when it cannot be read.
    """
    try:
        fields = Path(path).expanduser().read_text(encoding="utf-8").splitlines()[line - 1].split()
        key = next(field for field in fields if field.startswith("AAAA"))
        digest = hashlib.sha256(base64.b64decode(key, validate=True)).digest()
    except (OSError, ValueError, IndexError, StopIteration):
        return "unknown"
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


# --- kinds: each has the facts of Target.facts, and those of its own -----------------------------

ENTRY = "ansible_host and ansible_port of {host} in the inventory"
REFUSED = Kind(
    "ssh_refused",
    "{address} refuses the connection: no sshd listens there",
    f"{ENTRY}; sshd on {{host}}",
    "start sshd there, or correct address and port",
)
SILENT = Kind(
    "host_silent",
    "{address} does not answer ({seen})",
    f"{ENTRY}; network and power of {{host}}",
    "switch it on, or correct address and port, or let ssh pass (firewall, VPN)",
)
HUNG_UP = Kind(
    "ssh_cut_off",
    "{address} closes the connection ({seen})",
    "sshd on {host}, and the network between",
    "try `{command}`; sshd may be starting or overloaded, or may not accept this controller:"
    " `journalctl -u ssh` on {host} says why",
)
# Such a host may be switched off.
OFF = (REFUSED, SILENT, HUNG_UP)
NO_SUCH_NAME = Kind(
    "host_name_unknown",
    "the name {unknown} cannot be resolved to an address",
    "ansible_host of {host} in the inventory; DNS and /etc/hosts on the controller",
    "correct the name, or set ansible_host to the server's address",
)
CONSOLE = "`ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on the server's own console"
KEY_CHANGED = Kind(
    "ssh_host_key_changed",
    "the server at {address} shows another host key than the known one: it shows {shown}, known is"
    " {known}",
    "{file} on the controller",
    "if you installed the server anew or changed its keys, compare the shown fingerprint with"
    f" {CONSOLE}, then remove the known one: `{{remove}}`. If you did not, do not connect: another"
    " machine may answer at this address",
)
KEY_UNKNOWN = Kind(
    "ssh_host_key_unknown",
    "the ssh host key of {address} is not known",
    "{file} on the controller",
    f"run `{{scan}}`, then compare the output of `{{find}}` with that of {CONSOLE}",
)
# ssh-keyscan knows no jump host.
KEY_UNKNOWN_BEHIND_JUMP_HOST = Kind(
    "ssh_host_key_unknown_behind_jump_host",
    "the ssh host key of {address} is not known",
    "{file} on the controller",
    f"run `{{command}}` once, compare the fingerprint with that of {CONSOLE}, and accept it",
)
OUR_KEY = "ansible_user and ansible_ssh_private_key_file of {host} in the inventory"
KEY_FILE_MISSING = Kind(
    "ssh_key_missing",
    "the ssh key {key} does not exist, and {address} does not accept {account} without it",
    OUR_KEY,
    "name the private key by its whole path in ansible_ssh_private_key_file",
)
KEY_FILE_OPEN = Kind(
    "ssh_key_readable",
    "ssh does not use the key {key}, because others than its owner can read it, and {address} does"
    " not accept {account} without it",
    "{key} on the controller",
    "chmod 0600 {key}",
)
NOT_ACCEPTED = Kind(
    "ssh_login_refused",
    "{address} does not accept {account} (accepted methods: {methods}; keys tried: {keys})",
    f"{OUR_KEY}; ~{{account}}/.ssh/authorized_keys on {{host}}",
    "try `{command}`: put your public key into that account's authorized_keys, or correct"
    " ansible_user or ansible_ssh_private_key_file; a key with a passphrase has to be loaded first"
    " (ssh-add)",
)
SUDO = "sudo of {user} on {host}"
PASSWORD_MISSING = Kind(
    "sudo_password_missing",
    "sudo asks for a password, and none was given",
    SUDO,
    "add -K to the command, or name a file with the password in ANSIBLE_BECOME_PASSWORD_FILE, or"
    " give the account sudo without a password",
)
PASSWORD_WRONG = Kind(
    "sudo_password_wrong",
    "sudo does not accept the password that was given",
    SUDO,
    "give the right one (-K, ANSIBLE_BECOME_PASSWORD_FILE); where hosts have different ones, set"
    " ansible_become_password for each in the inventory, encrypted with ansible-vault",
)
SUDO_DENIED = Kind(
    "sudo_denied",
    "{user} may not run everything as root with sudo",
    SUDO,
    "as root on {host}: `adduser {user} sudo` (`sudo -l -U {user}` shows what it may); or name"
    " another account in ansible_user",
)
NO_SHELL = Kind(
    "login_shell_missing",
    "{user} has no login shell",
    "account {user} on {host}",
    "as root on {host}: `usermod -s /bin/bash {user}`; or name another account in ansible_user",
)
SUDO_WANTS_TERMINAL = Kind(
    "sudo_wants_terminal",
    "sudo works from a terminal only (`requiretty`)",
    "/etc/sudoers and /etc/sudoers.d on {host}",
    "write `Defaults:{user} !requiretty` there (visudo)",
)
NO_SUDO = Kind(
    "sudo_missing",
    "sudo is not installed",
    "{host}",
    "as root on {host}: `apt-get install sudo`; or set ansible_user: root",
)
SUDO_HANGS = Kind(
    "sudo_hangs",
    "sudo neither asked for a password nor continued in time",
    SUDO,
    "try `{command}`, then `sudo -v`: it may wait for DNS, or ask in an unusual way",
)
NO_PYTHON = Kind(
    "python_missing",
    "python3 is not installed at /usr/bin/python3",
    "{host}",
    "as root on {host}: `apt-get install python3`; or set ansible_python_interpreter",
)
NOT_ASKED = Kind(
    "host_not_asked",
    "the host could not be asked: {message}",
    "{host}: ssh from the controller, and its rights there",
    "check `ansible -i INVENTORY {host} -b -m ansible.builtin.ping`: the host is up, its address,"
    " user and key are right, sudo works, python3 is installed",
)


# --- problems that need several parts of a message -----------------------------------------------


def changed_key(text: str, target: Target, _found: re.Match[str]) -> Problem:
    """The host shows another key than the known one."""
    offered = re.search(r"for the (\S+) key sent by the remote host is\s+(\S+?)\.?\s", text)
    kind, new = offered.groups() if offered else ("", "unknown")
    offending = re.search(r"Offending (?:\S+ )?key (?:for IP )?in (.+?):(\d+)", text)
    path, line = offending.groups() if offending else (target.known_hosts, "0")
    return KEY_CHANGED.found(
        **target.facts,
        shown=f"{new} ({kind})" if kind else new,
        known=known_fingerprint(path, int(line)),
        file=f"line {line} of {path}" if offending else path,
        remove=f"ssh-keygen -R '{target.known_as}' -f {path}",
    )


def unknown_key(_text: str, target: Target, _found: re.Match[str]) -> Problem:
    """The host's key is not known on the controller."""
    file = target.known_hosts
    if target.proxy:
        return KEY_UNKNOWN_BEHIND_JUMP_HOST.found(**target.facts, file=file)
    port = "" if target.port == SSH_PORT else f"-p {target.port} "
    return KEY_UNKNOWN.found(
        **target.facts,
        file=file,
        scan=f"ssh-keyscan {port}-t ed25519 {target.host} >> {file}",
        find=f"ssh-keygen -lF '{target.known_as}' -f {file}",
    )


def not_accepted(text: str, target: Target, found: re.Match[str]) -> Problem:
    """The server's sshd accepts none of our keys, nor a password."""
    account = (found[1] or "").partition("@")[0] or target.user
    facts = {**target.facts, "account": account}
    missing = re.search(
        r"(?:no such identity: |Identity file )(.+?)(?:: No such file| not accessible)", text
    )
    if missing:
        return KEY_FILE_MISSING.found(**facts, key=missing[1])
    loose = re.search(r"Permissions \d+ for '(.+?)' are too open", text)
    if loose:
        return KEY_FILE_OPEN.found(**facts, key=loose[1])
    return NOT_ACCEPTED.found(
        **facts, methods=found[2] or "unknown after too many tries", keys=target.keys or "none"
    )


def locked(text: str, target: Target, _found: re.Match[str]) -> Problem:
    """A value of the inventory is encrypted, and cannot be decrypted."""
    key = re.search(r"keyword '(\w+)'", text)
    value = f"the encrypted value for {key[1]}" if key else "an encrypted value"
    missing = re.search("no vault secrets found", text)
    kind = VAULT_PASSWORD_MISSING if missing else VAULT_PASSWORD_WRONG
    return kind.found(**target.facts, value=value, where=f"inventory entry of {target.name}")


# What Ansible calls an answer that is none of a module's; the output of the shell or sudo follows.
NO_ANSWER = re.compile(r"Module result deserialization failed: No start of json char found")
# The first that matches counts, so what contains the text of another comes before it. Groups with
# a name are facts.
SIGNS: tuple[tuple[re.Pattern[str], Kind | Callable[..., Problem]], ...] = (
    (re.compile(r"no vault secrets|Decryption failed|undecryptable"), locked),
    (re.compile(r"HOST IDENTIFICATION HAS CHANGED"), changed_key),
    (re.compile(r"Host key verification failed|host key is known for"), unknown_key),
    (re.compile(r"Could not resolve hostname (?P<unknown>\S+?):"), NO_SUCH_NAME),
    (re.compile(r"Connection refused"), REFUSED),
    (
        re.compile(
            r"Connection timed out|Operation timed out|No route to host|Network is unreachable"
            r"|Host is down|timed out during banner exchange"
        ),
        SILENT,
    ),
    (re.compile(r"(?:(\S+): )?Permission denied \(([^)]*)\)"), not_accepted),
    (re.compile(r"Too many authentication failures()()"), not_accepted),
    (re.compile(r"Missing sudo password|a password is required"), PASSWORD_MISSING),
    (re.compile(r"Incorrect sudo password|incorrect password attempt"), PASSWORD_WRONG),
    (re.compile(r"must have a tty to run sudo"), SUDO_WANTS_TERMINAL),
    (
        re.compile(
            r"not in the sudoers file|may not run sudo|is not allowed to (?:execute|run)"
            # Ansible drops sudo's message on a single command that it refuses: nothing follows.
            rf"|\A{NO_ANSWER.pattern}\s*\Z"
        ),
        SUDO_DENIED,
    ),
    (re.compile(r"account is currently not available"), NO_SHELL),
    (re.compile(r"sudo: (?:command )?not found"), NO_SUDO),
    (re.compile(r"waiting for privilege escalation prompt"), SUDO_HANGS),
    (
        re.compile(r"python3?\S*'? (?:was )?not found|/python3?\S*: (?:not found|No such file)"),
        NO_PYTHON,
    ),
    (
        re.compile(
            r"Connection (?:closed|reset) by [^\r\n]*|Broken pipe|kex_exchange_identification"
        ),
        HUNG_UP,
    ),
)


def reason(host: Host) -> Reason:
    """Why a host could not be asked."""
    known = host.get("problem")
    if known and not host["trouble"]:
        return Reason(known)
    text, target = str(host["trouble"]), Target(host)
    for sign, kind in SIGNS:
        if found := sign.search(text):
            if not isinstance(kind, Kind):
                return Reason(kind(text, target, found))
            facts: dict[str, Any] = {**target.facts, **found.groupdict()}
            return Reason(kind.found(**facts, seen=found[0].strip()), off=kind in OFF)
    rest = " ".join(NO_ANSWER.sub("", text.removeprefix("Task failed: ")).split())
    problem = NOT_ASKED.found(**target.facts, message=rest or "no answer")
    return Reason(problem, off=bool(host["away"]))
