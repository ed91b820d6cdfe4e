"""A host that is taken for dead is kept away: a packet filter between two namespaces."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet import fence
from fleet.status import host

from library import fence as module
from tests.unit.test_forward import FakeModule
from tests.unit.test_surroundings import Net

SSH, RECORD, OTHER = 2222, 8004, 8000


@pytest.fixture
def net() -> Iterator[Net]:
    """Two hosts on a wire: the first is fenced by the second, which has the filter."""
    if os.geteuid() != 0 or not shutil.which("nft"):
        pytest.skip("no network of one's own here, or no packet filter")
    try:
        net = Net(os.getpid() % 1000)
    except (subprocess.CalledProcessError, FileNotFoundError):
        pytest.skip("no network of one's own here")
    yield net
    net.end()


class Server:
    """Ports of a host of the wire that send back what they get."""

    CODE = (
        "import sys, socket, threading\n"
        "def serve(port):\n"
        "    server = socket.create_server(('', port))\n"
        "    while True:\n"
        "        there, _ = server.accept()\n"
        "        threading.Thread(target=lambda: [there.sendall(d) for d in"
        " iter(lambda: there.recv(9), b'')]).start()\n"
        "for port in sys.argv[1:]:\n"
        "    threading.Thread(target=serve, args=(int(port),)).start()\n"
    )

    def __init__(self, name: str) -> None:
        self.process = subprocess.Popen(
            [*inside(name), sys.executable, "-c", self.CODE, *map(str, (SSH, RECORD, OTHER))]
        )


def inside(name: str) -> list[str]:
    """How a program is run on a host of the wire."""
    return ["ip", "netns", "exec", name]


# Says what becomes of a connection: ok, refused or silent.
TRY = (
    "import sys, socket\n"
    "try:\n"
    "    s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 1.5)\n"
    "    s.sendall(b'x'); s.recv(1); print('ok')\n"
    "except TimeoutError: print('silent')\n"
    "except OSError: print('refused')\n"
)
# A connection that is there before: it sends again when a line comes.
KEPT = (
    "import sys, socket\n"
    "s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)\n"
    "s.settimeout(1.5)\n"
    "for line in sys.stdin:\n"
    "    try:\n"
    "        s.sendall(b'x'); s.recv(1); print('ok', flush=True)\n"
    "    except OSError: print('silent', flush=True)\n"
)


FOLLOWS = """table inet own {
    chain input {
        type filter hook input priority 0; ct state new counter;
    }
    chain output {
        type filter hook output priority 0; ct state new counter;
    }
}
"""


class Wire:
    """The two hosts with their servers."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.servers = [Server(name) for name in net.names]

    def reach(self, end: int, port: int) -> str:
        """What becomes of a connection from a host to the other one."""
        words = [sys.executable, "-c", TRY, self.net.addresses[1 - end], str(port)]
        command = [*inside(self.net.names[end]), *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    def keep(self, end: int, port: int) -> subprocess.Popen[str]:
        """A connection from a host to the other one that stays."""
        words = [sys.executable, "-c", KEPT, self.net.addresses[1 - end], str(port)]
        return subprocess.Popen(
            [*inside(self.net.names[end]), *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def end(self) -> None:
        """End the servers."""
        for server in self.servers:
            server.process.kill()
            server.process.wait()


@pytest.fixture
def wire(net: Net) -> Iterator[Wire]:
    """The hosts, whose servers answer."""
    wire = Wire(net)
    # Another filter of the host's, which has the kernel follow connections.
    assert net.on(["nft", "-f", "-"], FOLLOWS).returncode == 0
    for end in (0, 1):
        for _ in range(200):
            if wire.reach(end, OTHER) == "ok":
                break
    yield wire
    wire.end()


def still(kept: subprocess.Popen[str]) -> str:
    """What becomes of a connection that stays."""
    assert kept.stdin
    assert kept.stdout
    kept.stdin.write("again\n")
    kept.stdin.flush()
    return kept.stdout.readline().strip()


class Fencing(FakeModule):
    """The module on the host that has the filter."""

    def __init__(self, net: Net, params: dict[str, Any]) -> None:
        super().__init__({"address": None, "ssh_port": SSH, "record_port": RECORD, **params})
        self.net = net
        self.run_command_environ_update: dict[str, str] = {}

    def run_command(self, command: list[str], data: str = "") -> tuple[int, str, str]:
        done = self.net.on(command, data or "")
        return done.returncode, done.stdout, done.stderr


def bring(net: Net, patch: pytest.MonkeyPatch, file: Path, **params: Any) -> dict[str, Any]:
    """Call the module."""
    fake = Fencing(net, {"file": str(file), **params})
    patch.setattr(module, "FleetModule", lambda **_: fake)
    return fake.result_of(module.main)


def test_a_fenced_host_can_only_learn_who_is_primary(
    wire: Wire, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    net, file = wire.net, tmp_path / fence.FILE
    kept = [wire.keep(0, OTHER), wire.keep(1, OTHER)]
    assert [still(one) for one in kept] == ["ok", "ok"]
    erp1 = {"host": "erp1", "address": net.addresses[0]}
    assert bring(net, monkeypatch, file, state="present", **erp1)["changed"]
    assert not bring(net, monkeypatch, file, state="present", **erp1)["changed"]
    assert [still(one) for one in kept] == ["silent", "silent"]
    # From the fenced host, and to it.
    assert [wire.reach(0, port) for port in (RECORD, SSH, OTHER)] == ["ok", "silent", "silent"]
    assert [wire.reach(1, port) for port in (RECORD, SSH, OTHER)] == ["ok", "ok", "refused"]
    assert [one["id"] for one in host.fenced(str(tmp_path / "fleet.json"))] == ["host_fenced"]
    # A reboot: the kernel has no rules, the service loads the file.
    net.on(["nft", "flush", "ruleset"])
    assert wire.reach(0, OTHER) == "ok"
    assert net.on(["nft", "-f", str(file)]).returncode == 0
    assert wire.reach(0, OTHER) == "silent"
    # One that was taken off by hand comes back.
    net.on(["nft", "flush", "ruleset"])
    assert bring(net, monkeypatch, file, state="present", **erp1)["changed"]
    # Another host is fenced, too, and stays when the first one rejoins.
    two = bring(net, monkeypatch, file, state="present", host="erp9", address="fd00::9")
    assert two["fenced"] == {"erp1": net.addresses[0], "erp9": "fd00::9"}
    assert wire.reach(0, OTHER) == "silent"
    one = bring(net, monkeypatch, file, state="absent", host="erp1")
    assert (one["changed"], one["fenced"]) == (True, {"erp9": "fd00::9"})
    assert wire.reach(0, OTHER) == "ok"
    assert bring(net, monkeypatch, file, state="absent", host="erp9")["changed"]
    assert not bring(net, monkeypatch, file, state="absent", host="erp9")["changed"]
    assert not file.exists()
    assert fence.TABLE not in net.on(["nft", "list", "ruleset"]).stdout
    for connection in kept:
        connection.kill()
        connection.wait()


@pytest.mark.parametrize(("name", "address"), [("erp1", "erp1"), ("a b", "10.0.0.1"), ("", "::1")])
def test_what_is_no_host_is_refused(name: str, address: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}'|'{address}'"):
        fence.rules({name: address}, SSH, RECORD)
