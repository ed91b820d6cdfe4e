"""Say why a host could not be looked at: what ssh, sudo or Ansible said, with place and remedy.

Pure functions, but that a known_hosts file of the controller is read for a fingerprint. Of a host
this reads
    name
    trouble    the message of the task that could not look at it
    away       whether Ansible counts it as unreachable
    target     what ssh makes of its inventory entry: {host, port, user, keys, known_hosts, proxy}
               (plugins/action/ask_host.py), {} when it is no ssh host
    problem    the problem itself, where it is none of the connection; left out otherwise

The texts that are matched are those of OpenSSH, of sudo and of ansible-core 2.19;
tests/unit/test_reach.py has each as it was seen.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from .problems import Host

SSH_PORT = "22"


class Reason(NamedTuple):
    """Why a host could not be looked at.

    off: nothing answers there, as when it is switched off; the operator may know and want the
    other hosts served. Everything else has to be mended first.
    """

    cause: str
    place: str
    remedy: str
    off: bool = False


class Target:
    """How ssh reaches a host; its inventory name where that was not found out."""

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
        """Address and port, as people read them."""
        return f"{self.host} port {self.port}"

    @property
    def known_as(self) -> str:
        """The host's name in known_hosts."""
        return self.host if self.port == SSH_PORT else f"[{self.host}]:{self.port}"

    @property
    def command(self) -> str:
        """The ssh command by which an operator tries the same."""
        key = f" -i {self.keys[0]}" if len(self.keys) == 1 else ""
        port = "" if self.port == SSH_PORT else f" -p {self.port}"
        jump = f" -J {self.proxy}" if self.proxy else ""
        return f"ssh{key}{port}{jump} {self.user}@{self.host}"


def known_fingerprint(path: str, line: int) -> str:
    """SHA256 fingerprint of the key on a line of a known_hosts file, as ssh-keygen -l writes it.

    "unknown" when it cannot be read.
    """
    try:
        words = Path(path).expanduser().read_text(encoding="utf-8").splitlines()[line - 1].split()
        key = next(word for word in words if word.startswith("AAAA"))
        digest = hashlib.sha256(base64.b64decode(key, validate=True)).digest()
    except (OSError, ValueError, IndexError, StopIteration):
        return "unknown"
    return "SHA256:" + base64.b64encode(digest).decode().rstrip("=")


def changed_key(text: str, target: Target, _found: re.Match[str]) -> Reason:
    """The host shows another key than the one that is known."""
    offered = re.search(r"for the (\S+) key sent by the remote host is\s+(\S+?)\.?\s", text)
    kind, new = offered.groups() if offered else ("", "unknown")
    offending = re.search(r"Offending (?:\S+ )?key (?:for IP )?in (.+?):(\d+)", text)
    path, line = offending.groups() if offending else (target.known_hosts, "0")
    old = known_fingerprint(path, int(line))
    return Reason(
        f"the server at {target.address} shows another host key than the one that is known: it"
        f" shows {new}{f' ({kind})' if kind else ''}, known is {old}",
        f"line {line} of {path} on the controller" if offending else f"{path} on the controller",
        "if you installed the server anew or changed its keys, compare the shown fingerprint with"
        " `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` on its own console, then remove the"
        f" known one: ssh-keygen -R '{target.known_as}' -f {path}. If you did not, do not connect:"
        " another machine may answer at this address",
    )


def unknown_key(_text: str, target: Target, _found: re.Match[str]) -> Reason:
    """The host's key is not known on the controller."""
    console = (
        "with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says on the server's own"
        " console"
    )
    port = "" if target.port == SSH_PORT else f"-p {target.port} "
    return Reason(
        f"the ssh host key of {target.address} is not known",
        f"{target.known_hosts} on the controller",
        # ssh-keyscan knows no jump host.
        f"run `{target.command}` once, compare the fingerprint {console}, and accept it"
        if target.proxy
        else f"ssh-keyscan {port}-t ed25519 {target.host} >> {target.known_hosts}, then compare"
        f" `ssh-keygen -lF '{target.known_as}' -f {target.known_hosts}` {console}",
    )


def not_let_in(text: str, target: Target, found: re.Match[str]) -> Reason:
    """The server's sshd accepts none of our keys, nor a password."""
    methods = found[2] or "no more tries"
    place = f"ansible_user and ansible_ssh_private_key_file of {target.name} in the inventory"
    account = (found[1] or "").partition("@")[0] or target.user
    missing = re.search(
        r"(?:no such identity: |Identity file )(.+?)(?:: No such file| not accessible)", text
    )
    if missing:
        return Reason(
            f"the ssh key {missing[1]} does not exist, and without it {target.address} does not let"
            f" {account} in",
            place,
            "name the private key by its whole path in ansible_ssh_private_key_file",
        )
    loose = re.search(r"Permissions \d+ for '(.+?)' are too open", text)
    if loose:
        return Reason(
            f"ssh does not use the key {loose[1]}, because others than its owner can read it, and"
            f" {target.address} does not let {account} in without it",
            f"{loose[1]} on the controller",
            f"chmod 0600 {loose[1]}",
        )
    keys = ", ".join(target.keys) or "none"
    return Reason(
        f"{target.address} does not let {account} in (it accepts {methods}; keys that were tried:"
        f" {keys})",
        f"{place}; ~{account}/.ssh/authorized_keys on {target.name}",
        f"try `{target.command}`: put your public key into that account's authorized_keys, or"
        " correct ansible_user or ansible_ssh_private_key_file; a key with a passphrase has to be"
        " loaded first (ssh-add)",
    )


def locked(text: str, target: Target, _found: re.Match[str]) -> Reason:
    """A value of the inventory is encrypted, and cannot be decrypted."""
    key = re.search(r"keyword '(\w+)'", text)
    value = f"the encrypted value for {key[1]}" if key else "an encrypted value"
    why = (
        "no vault password was given"
        if "no vault secrets found" in text
        else "the vault password that was given does not fit"
    )
    return Reason(
        f"{value} cannot be read: {why}",
        f"inventory entry of {target.name}",
        "add --ask-vault-pass or --vault-password-file to ansible-playbook, or name the file in"
        " ANSIBLE_VAULT_PASSWORD_FILE (./fleet reads it, too)",
    )


# --- what can be said at once: {t} is the target, {m} and the others what the sign matched --------

SUDO = "sudo of {t.user} on {t.name}"
REFUSED = Reason(
    "{t.address} refuses the connection: no sshd listens there",
    "ansible_host and ansible_port of {t.name} in the inventory; sshd on {t.name}",
    "start sshd there, or correct address and port",
    off=True,
)
SILENT = Reason(
    "{t.address} does not answer ({lower})",
    "ansible_host and ansible_port of {t.name} in the inventory; network and power of {t.name}",
    "switch it on, or correct address and port, or open the way for ssh (firewall, VPN)",
    off=True,
)
HUNG_UP = Reason(
    "{t.address} cuts the connection off ({seen})",
    "sshd on {t.name}, and what lies between",
    "try `{t.command}`; sshd may be starting or overloaded, or may not accept this"
    " controller: journalctl -u ssh on {t.name} says why",
    off=True,
)
NO_SUCH_NAME = Reason(
    "the name {m[1]} cannot be resolved to an address",
    "ansible_host of {t.name} in the inventory; DNS and /etc/hosts on the controller",
    "correct the name, or set ansible_host to the server's address",
)
PASSWORD_MISSING = Reason(
    "sudo asks for a password, and none was given",
    SUDO,
    "add -K to ansible-playbook, or name a file with the password in ANSIBLE_BECOME_PASSWORD_FILE"
    " (./fleet reads it, too), or give the account sudo without a password",
)
PASSWORD_WRONG = Reason(
    "sudo does not accept the password that was given",
    SUDO,
    "give the right one (-K, ANSIBLE_BECOME_PASSWORD_FILE); where hosts have different ones,"
    " set ansible_become_password for each in the inventory, encrypted with ansible-vault",
)
SUDO_DENIED = Reason(
    "{t.user} may not run everything as root with sudo",
    SUDO,
    "as root on {t.name}: adduser {t.user} sudo (`sudo -l -U {t.user}` shows what it may); or name"
    " another account in ansible_user",
)
NO_SHELL = Reason(
    "{t.user} has no login shell",
    "account {t.user} on {t.name}",
    "as root on {t.name}: usermod -s /bin/bash {t.user}; or name another account in ansible_user",
)
SUDO_WANTS_TERMINAL = Reason(
    "sudo works from a terminal only (requiretty)",
    "/etc/sudoers and /etc/sudoers.d on {t.name}",
    "write `Defaults:{t.user} !requiretty` there (visudo)",
)
NO_SUDO = Reason(
    "sudo is not installed",
    "{t.name}",
    "as root on {t.name}: apt-get install sudo; or set ansible_user: root",
)
SUDO_HANGS = Reason(
    "sudo neither asked for a password nor went on in time",
    SUDO,
    "try `{t.command}`, then `sudo -v`: it may wait for DNS, or ask in an unusual way",
)
NO_PYTHON = Reason(
    "python3 is not installed at /usr/bin/python3",
    "{t.name}",
    "as root on {t.name}: apt-get install python3; or set ansible_python_interpreter",
)

# How Ansible calls an answer that is none of a module's; what the shell or sudo said follows it.
NO_ANSWER = "Module result deserialization failed: No start of json char found"
# The first that matches counts, so what contains another one's words comes before it.
SIGNS: tuple[tuple[str, Reason | Callable[[str, Target, re.Match[str]], Reason]], ...] = (
    (r"no vault secrets|Decryption failed|undecryptable", locked),
    (r"HOST IDENTIFICATION HAS CHANGED", changed_key),
    (r"Host key verification failed|host key is known for", unknown_key),
    (r"Could not resolve hostname (\S+?):", NO_SUCH_NAME),
    (r"Connection refused", REFUSED),
    (
        r"Connection timed out|Operation timed out|No route to host|Network is unreachable"
        r"|Host is down|timed out during banner exchange",
        SILENT,
    ),
    (r"(?:(\S+): )?Permission denied \(([^)]*)\)", not_let_in),
    (r"Too many authentication failures()()", not_let_in),
    (r"Missing sudo password|a password is required", PASSWORD_MISSING),
    (r"Incorrect sudo password|incorrect password attempt", PASSWORD_WRONG),
    (r"must have a tty to run sudo", SUDO_WANTS_TERMINAL),
    (r"not in the sudoers file|may not run sudo|is not allowed to (?:execute|run)", SUDO_DENIED),
    # sudo's refusal of a single command is lost on the way: nothing is left to be read.
    (rf"\A{NO_ANSWER}\s*\Z", SUDO_DENIED),
    (r"account is currently not available", NO_SHELL),
    (r"sudo: (?:command )?not found", NO_SUDO),
    (r"waiting for privilege escalation prompt", SUDO_HANGS),
    (r"python3?\S*'? (?:was )?not found|/python3?\S*: (?:not found|No such file)", NO_PYTHON),
    (r"Connection (?:closed|reset) by [^\r\n]*|Broken pipe|kex_exchange_identification", HUNG_UP),
)


def said_of(known: Reason, target: Target, found: re.Match[str]) -> Reason:
    """A reason as it is said of one host."""
    values = {"t": target, "m": found, "seen": found[0].strip(), "lower": found[0].lower()}
    cause, place, remedy = (text.format(**values) for text in known[:3])
    return Reason(cause, place, remedy, known.off)


def reason(host: Host) -> Reason:
    """Why a host could not be looked at."""
    known = host.get("problem")
    if known and not host["trouble"]:
        return Reason(known["what"], known["place"], known["remedy"])
    text, target = str(host["trouble"]), Target(host)
    for sign, explain in SIGNS:
        found = re.search(sign, text)
        if found:
            if isinstance(explain, Reason):
                return said_of(explain, target, found)
            return explain(text, target, found)
    words = " ".join(text.removeprefix("Task failed: ").removeprefix(NO_ANSWER).split())
    return Reason(
        f"it could not be looked at: {words or 'no answer'}",
        f"{target.name}: ssh from the controller, and its rights there",
        f"check `ansible -i INVENTORY {target.name} -b -m ansible.builtin.ping`: the host is up,"
        " its address, user and key are right, sudo works, python3 is installed",
        off=bool(host["away"]),
    )
