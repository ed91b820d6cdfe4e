"""Hosts of a lab as tests use them: commands, SQL, held locks, and waiting for a condition."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchfleet.lab import machines, state

# For what holds locks or connections on a server: the prefix of its unit's name (a new name each
# time, as systemd can be late to forget a unit), and the file that shows that it holds them.
HOLDER = "benchfleet-failure"
HELD = f"/run/{HOLDER}"
# Runs on a node, as one process, so that its end releases all that it holds. A connection that is
# refused is tried again: former ones may still be closing.
HOLD = """
import pathlib, pymysql, time

def connect():
    while True:
        try:
            return pymysql.connect(unix_socket="/run/mysqld/mysqld.sock", user="root")
        except pymysql.OperationalError:
            time.sleep(0.2)

held = [connect() for _ in range({connections})]
for connection in held:
    connection.cursor().execute({statement!r})
pathlib.Path({held!r}).write_text("held")
time.sleep(600)
"""
COMMAND_SECONDS = 120
UNITS = ("mariadb", "nginx", "cron", "ssh", "supervisor")
WAIT_SECONDS = 90


def wait_until(what: str, question: Callable[[], Any], seconds: float = WAIT_SECONDS) -> Any:
    """Ask until the answer is true, and return it. Raises TimeoutError naming `what`.

    The longer it takes, the longer the pauses: most questions are commands on a host.
    """
    begun = time.monotonic()
    while not (answer := question()):
        waited = time.monotonic() - begun
        if waited > seconds:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(min(0.05 + waited / 10, 1))
    return answer


def kept_connection(lab: state.Lab, host: state.Host) -> list[str]:
    """ssh's options for the connection to a host that Ansible keeps; it is made where none is.

    A new connection for each command would cost more than most commands.
    """
    path = lab.run_path / f"{os.getuid()}-{host.ip}"
    return ["-o", "ControlMaster=auto", "-o", "ControlPersist=60", "-o", f"ControlPath={path}"]


@dataclass
class Node:
    """A host of the lab, as root there."""

    lab: state.Lab
    host: state.Host

    @property
    def name(self) -> str:
        """Its name in the inventory."""
        return self.host.name

    def run(self, command: str, seconds: float = COMMAND_SECONDS) -> str:
        """Run a line of shell. Raises CalledProcessError, TimeoutExpired."""
        ssh, *words = machines.ssh_command(self.lab, self.host)
        words = [ssh, *kept_connection(self.lab, self.host), *words, "--", command]
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=seconds)
        if done.returncode != 0:
            raise RuntimeError(f"{self.name}: {command}: {done.stderr.strip() or done.stdout}")
        return done.stdout.strip()

    def says(self, command: str) -> str:
        """Run a line of shell; "" where it fails or the node does not answer."""
        try:
            return self.run(command, 10)
        except (RuntimeError, subprocess.TimeoutExpired):
            return ""

    def measure(self) -> None:
        """Have the node write its state now, which it does every 30 seconds."""
        self.run("systemctl start benchfleet-status.service")

    def sql(self, statement: str) -> str:
        """Run SQL as root over the node's socket."""
        return self.run(f"mariadb -NBe {shlex.quote(statement)}")

    def hold(self, statement: str, connections: int = 1) -> None:
        """Have connections run a statement and stay open until `release`."""
        script = HOLD.format(statement=statement, connections=connections, held=HELD)
        unit = f"{HOLDER}-{uuid.uuid4().hex[:8]}"
        program = f"python3 -c {shlex.quote(script)}"
        self.run(f"rm -f {HELD}; systemd-run --quiet --collect --unit {unit} {program}")
        wait_until(f"{self.name} holds {statement}", lambda: self.says(f"cat {HELD}") == "held")

    def release(self) -> None:
        """Close what `hold` opened."""
        self.run(f"systemctl stop '{HOLDER}-*'")


def processes(host: Node) -> dict[str, str]:
    """Process ids of all that runs for users on a host."""
    lines = host.run("supervisorctl status").splitlines()
    found = {name: pid for line in lines for name, pid in re.findall(r"^(\S+) .*pid (\d+),", line)}
    for unit in UNITS:
        found[unit] = host.run(f"systemctl show {unit} -p MainPID --value")
    return found


def yarn(host: Node) -> tuple[str, str]:
    """The releases of yarn that are recorded and installed on a host."""
    mark = json.loads(host.run("cat /etc/benchfleet/fleet.json"))
    installed = host.run("PATH=/opt/bench-cli/bin:$PATH yarn --version")
    return str(mark["versions"]["yarn"]), installed
