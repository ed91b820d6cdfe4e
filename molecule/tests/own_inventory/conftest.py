"""A new user: a copy of the project, an account with sudo, and servers behind a proxy."""

from __future__ import annotations

import os
import pty
import select
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from nodes import Node
from plays import ROOT, Hidden

from benchfleet.lab import state

PASSWORD, SSH_PORT, PROXY_PORT = "by-the-book", 2222, 3128
# What the new user changes in the copy of the example: addresses, account and ports.
EDITOR = """#!{python}
import pathlib, sys
for place in sys.argv[1:]:
    path = pathlib.Path(place)
    text = path.read_text()
    for old, new in {changes!r}:
        text = text.replace(old, new)
    path.write_text(text)
"""
PROXY = """
Port {port}
Listen {address}
Allow {network}
Timeout 600
PidFile "{folder}/pid"
LogFile "{folder}/log"
"""
TOLD_LINES = 60


@dataclass
class Stranger:
    """A new user, who follows the pages on their own servers.

    project: the copy of the project. environment: of every command.
    """

    lab: state.Lab
    project: Path
    environment: dict[str, str]

    @property
    def inventory(self) -> Path:
        """The copy of the example."""
        return self.project / "inventory/mine"

    @property
    def secrets(self) -> Hidden:
        """The fleet's secrets."""
        return Hidden(yaml.safe_load((self.inventory / "secrets/fleet.yml").read_text()))

    def run(
        self, script: str, question: str = "", answer: str = "", **other: str
    ) -> tuple[int, str]:
        """Run lines of shell on a terminal, where a question is answered; returns status, output.

        other: variables of the environment; "" removes one. The controller's sessions have a strict
        umask and the C locale, too.
        """
        environment = {
            name: value for name, value in {**self.environment, **other}.items() if value
        }
        main, terminal = pty.openpty()
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.project,
            env=environment,
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            umask=0o077,
            start_new_session=True,
        )
        os.close(terminal)
        said, answered = bytearray(), 0
        while True:
            if select.select([main], [], [], 1)[0]:
                try:
                    said += os.read(main, 65536)
                except OSError:
                    # The last process with the terminal has ended.
                    break
            elif question and said.count(question.encode()) > answered:
                answered += 1
                os.write(main, f"{answer}\n".encode())
        os.close(main)
        return process.wait(), said.decode(errors="replace").replace("\r\n", "\n")

    def does(self, script: str, question: str = "", answer: str = "") -> str:
        """Run lines of shell that must succeed; returns their output."""
        status, said = self.run(script, question, answer)
        assert status == 0, f"{script}\nended with status {status}:\n{tail(said)}"
        return said

    def fails(self, script: str, **other: str) -> str:
        """Run lines of shell that must fail; returns their output without line breaks."""
        status, said = self.run(script, **other)
        assert status not in (0, None), tail(said)
        return " ".join(said.split())

    def on(self, host: str, user: str, script: str) -> str:
        """Run lines of shell on a server as one of its accounts, as a login would."""
        node = Node(self.lab, self.lab.host(host))
        login = (
            f"runuser -l {user} -c {shlex.quote(f'bash -euo pipefail -c {shlex.quote(script)}')}"
        )
        return node.run(login, 300)


def tail(said: str) -> str:
    """The last lines of an output."""
    return "\n".join(said.splitlines()[-TOLD_LINES:])


def copy_project(target: Path) -> None:
    """Copy the project's files that git has or would add, as a clone has them."""
    listed = ["git", "-c", "safe.directory=*", "ls-files", "-coz", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target / name)


def ssh_settings(lab: state.Lab, folder: Path, keys: str) -> str:
    """The arguments of ssh for an account on the controller with these known host keys."""
    folder.mkdir(exist_ok=True)
    (folder / "known_hosts").write_text(keys)
    settings = {
        "IdentityFile": lab.path / "ssh/id_ed25519",
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": folder / "known_hosts",
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
    }
    lines = [f"{key} {value}" for key, value in settings.items()]
    (folder / "ssh_config").write_text("\n".join(lines) + "\n")
    return f"-F {folder}/ssh_config"


@pytest.fixture(scope="session")
def proxy(lab: state.Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The only way out of the servers' network."""
    if not shutil.which("tinyproxy"):
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "tinyproxy-bin"]
        env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(install, env=env, check=True, stdout=subprocess.DEVNULL)
    folder = tmp_path_factory.mktemp("proxy")
    settings = PROXY.format(port=PROXY_PORT, address=lab.gateway, network=lab.subnet, folder=folder)
    (folder / "conf").write_text(settings)
    rule = ["FORWARD", "-i", lab.bridge, "!", "-o", lab.bridge, "-j", "DROP"]
    subprocess.run(["iptables", "-w", "-I", *rule], check=True)
    process = subprocess.Popen(
        ["tinyproxy", "-d", "-c", str(folder / "conf")], stdout=subprocess.DEVNULL
    )
    try:
        yield f"http://{lab.gateway}:{PROXY_PORT}"
    finally:
        process.terminate()
        process.wait()
        subprocess.run(["iptables", "-w", "-D", *rule], check=True)


@pytest.fixture(scope="session")
def stranger(lab: state.Lab, proxy: str, tmp_path_factory: pytest.TempPathFactory) -> Stranger:
    """The project as cloned, the ssh settings of an own controller, and an editor."""
    folder = tmp_path_factory.mktemp("stranger")
    copy_project(folder / "benchfleet")
    primary, node = lab.hosts[0], lab.hosts[1]
    changes = [
        ("erp1.example.com", primary.ip),
        ("10.0.0.11", primary.ip),
        ("rep1.example.com", node.ip),
        ("10.0.0.21", node.ip),
        ("ansible_user: root", "ansible_user: ops"),
        ("# ansible_port: 2222", f"ansible_port: {SSH_PORT}"),
        ("# fleet_ssh_port: 2222", f"fleet_ssh_port: {SSH_PORT}"),
        ("# fleet_http_proxy: http://proxy.example.com:3128", f"fleet_http_proxy: {proxy}"),
    ]
    editor = folder / "editor"
    editor.write_text(EDITOR.format(python=sys.executable, changes=changes))
    editor.chmod(0o755)
    addresses = [host.ip for host in lab.hosts]
    scan = ["ssh-keyscan", "-p", str(SSH_PORT), "-t", "ed25519", *addresses]
    keys = subprocess.run(scan, capture_output=True, text=True, check=True).stdout
    (folder / "sudo").write_text(PASSWORD + "\n")
    kept = ("HOME", "PIP_", "SSL_", "REQUESTS_", "http_proxy", "https_proxy", "no_proxy")
    environment = {k: v for k, v in os.environ.items() if k.startswith(kept)}
    environment |= {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "TERM": "dumb",
        # Ansible alone refuses it.
        "LC_ALL": "C",
        "EDITOR": str(editor),
        "ANSIBLE_BECOME_PASSWORD_FILE": str(folder / "sudo"),
        "ANSIBLE_SSH_COMMON_ARGS": ssh_settings(lab, folder, keys),
    }
    return Stranger(lab, folder / "benchfleet", environment)
