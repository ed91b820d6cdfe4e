"""Calls of supervisor's programs by root."""

from __future__ import annotations

import configparser
import http.client
import os
import socket
import subprocess
import xmlrpc.client
from typing import Any
from xml.parsers.expat import ExpatError

from .programs import full_name

# Debian's unit names the first of these.
CONFIGURATIONS = ("/etc/supervisor/supervisord.conf", "/etc/supervisord.conf")
# For calls by root, whatever folder and account a run came from: supervisorctl takes a
# configuration, and code that this names, from the folder in which it is called.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LC_ALL": "C.UTF-8",
}
ANSWER_SECONDS = 30


class Local(http.client.HTTPConnection):
    """A connection to a server that listens on a socket file."""

    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self.path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def control_file() -> str:
    """The configuration for supervisorctl: of several, the one with which supervisord answers."""
    there = [path for path in CONFIGURATIONS if os.path.exists(path)]
    if len(there) > 1:
        there = [path for path in there if reaches(path)] + there
    return (there or CONFIGURATIONS)[0]


def reaches(path: str) -> bool:
    """Whether supervisord answers when supervisorctl uses this configuration."""
    try:
        return run(["supervisorctl", "-c", path, "pid"]).stdout.strip().isdigit()
    except (OSError, subprocess.TimeoutExpired):
        return False


def socket_of(path: str) -> str:
    """The socket that supervisorctl uses with a configuration; "" where it needs anything else."""
    read = configparser.RawConfigParser(strict=False, inline_comment_prefixes=(";", "#"))
    try:
        read.read(path, encoding="utf-8")
        section = dict(read.items("supervisorctl"))
    except (configparser.Error, OSError, UnicodeDecodeError):
        return ""
    url = section.get("serverurl", "")
    plain = url.startswith("unix:///") and "%" not in url and "username" not in section
    return url.removeprefix("unix://") if plain else ""


def answer(method: str, *arguments: Any) -> Any:
    """What a method of supervisord's interface returns; None where it cannot be asked directly.

    To start supervisorctl takes a third of a second of the processor, and this nearly none.
    """
    path = socket_of(control_file())
    if not path:
        return None
    connection = Local(path)
    try:
        body = xmlrpc.client.dumps(arguments, method)
        connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml"})
        return xmlrpc.client.loads(connection.getresponse().read().decode())[0][0]
    except (OSError, ValueError, http.client.HTTPException, xmlrpc.client.Error, ExpatError):
        return None
    finally:
        connection.close()


def status() -> str | None:
    """The output of ``supervisorctl status``; None where supervisord cannot be asked directly.

    It has the pid of a program that is starting, too.
    """
    found = answer("supervisor.getAllProcessInfo")
    if found is None:
        return None
    return "".join(f"{status_line(process)}\n" for process in found)


def status_line(process: dict[str, Any]) -> str:
    """A process as ``supervisorctl status`` shows it; ``process`` as supervisord describes it."""
    words = process["description"].split()
    if process["statename"] == "STARTING" and process["pid"]:
        words = ["pid", str(process["pid"])]
    return " ".join([full_name(process), process["statename"], *words])


def control_words(*words: str) -> list[str]:
    """The command line for supervisorctl with supervisor's own configuration and no other."""
    return ["supervisorctl", "-c", control_file(), *words]


def run(
    command: list[str], timeout: float | None = 30, seen: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run a command as root, in ``/`` and with ENVIRONMENT; ``timeout`` is in seconds.

    ``seen``: its output goes to ours and is not captured.
    """
    return subprocess.run(
        command,
        cwd="/",
        env=ENVIRONMENT,
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=not seen,
        timeout=timeout,
        check=False,
    )
