"""A MariaDB of the tests' own: it is installed once, and each test that needs one starts a copy."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pymysql
import pytest
from fleet.mariadb.preflight import render
from fleet.mariadb.server import Server, connect
from fleet.secrets import certificates

from filter_plugins.mariadb_settings import COMMON, semi_synchronous

SERVER = shutil.which("mariadbd", path="/usr/sbin:/usr/bin")
INSTALL = shutil.which("mariadb-install-db", path="/usr/bin")
needs_mariadb = pytest.mark.skipif(
    not (SERVER and INSTALL) or os.geteuid() != 0,
    reason="no MariaDB server here, or no root to sign in to it",
)
SECONDS = 60


def install(data: Path) -> None:
    """Make the data of a new server, in which root signs in by the socket."""
    words = ["--no-defaults", f"--datadir={data}", "--skip-test-db", "--user=root"]
    # Copies are small.
    words += ["--auth-root-authentication-method=socket", "--innodb-log-file-size=4M"]
    subprocess.run([str(INSTALL), *words], check=True, capture_output=True)


def free_port() -> int:
    """A port on which nothing listens now."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number: int = free.getsockname()[1]
        return number


class MariaDB:
    """A server with its data, its socket ``s`` and its log in a folder."""

    def __init__(self, installed: Path, folder: Path) -> None:
        """installed: the data that install() made."""
        self.folder, self.socket = folder, f"{folder}/s"
        shutil.copytree(installed, folder / "data")
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *words: str) -> None:
        """Start it, and wait until it answers."""
        own = [f"--datadir={self.folder}/data", f"--socket={self.socket}", f"--port={self.port}"]
        # A server that starts removes what others have in its folder for temporary files.
        own += [f"--tmpdir={self.folder}/data", f"--pid-file={self.folder}/pid", "--user=root"]
        log = self.folder / "log"
        with log.open("wb") as out:
            first, *others = words or ("--no-defaults",)
            command = [str(SERVER), first, *others, *own]
            self.process = subprocess.Popen(command, stdout=out, stderr=out)
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                pymysql.connect(unix_socket=self.socket, user="root").close()
                return
            except pymysql.MySQLError:
                assert self.process.poll() is None, log.read_text()
                assert time.monotonic() < deadline, log.read_text()
                time.sleep(0.05)

    def stop(self) -> None:
        """End it, if it runs."""
        if self.process:
            self.process.terminate()
            self.process.wait(SECONDS)

    @contextmanager
    def running(self, *words: str) -> Iterator[None]:
        """While it runs."""
        try:
            self.start(*words)
            yield
        finally:
            self.stop()


# One port at all addresses, as in a fleet.
PORT = free_port()


class Member(MariaDB):
    """A server of a fleet, with the fleet's settings, certificate and accounts, at 127.0.0.N."""

    def __init__(self, installed: Path, folder: Path, number: int, authority: dict[str, str]):
        """authority: of fleet.secrets.certificates; number: the server's id, and its address."""
        super().__init__(installed, folder)
        self.port = PORT
        self.number, self.address, self.ca = number, f"127.0.0.{number}", f"{folder}/ca.crt"
        pair = certificates.make_certificate(authority, f"host{number}", self.address)
        texts = {"ca.crt": authority["certificate"], "server.crt": pair["certificate"]}
        for name, text in {**texts, "server.key": pair["key"]}.items():
            (folder / name).write_text(text)

    def up(self, *words: str) -> None:
        """Start it as one of the fleet, but it waits for no disk: kill() loses nothing, too."""
        settings = {
            name: value for name, value, _ in (*COMMON, *semi_synchronous("off", "primary"))
        }
        settings |= {
            "sync_binlog": 0,
            "innodb_flush_log_at_trx_commit": 2,
            "server_id": self.number,
        }
        settings |= {"bind_address": self.address, "innodb_buffer_pool_size": 32 * 1024 * 1024}
        settings |= {"ssl_ca": self.ca, "ssl_cert": f"{self.folder}/server.crt"}
        settings |= {"ssl_key": f"{self.folder}/server.key", "performance_schema": False}
        options = [f"--{name}={render(value)}" for name, value in settings.items()]
        self.start("--no-defaults", *options, *words)

    def kill(self) -> None:
        """End it as a power cut would, but for its files."""
        assert self.process
        self.process.kill()
        self.process.wait(SECONDS)

    def server(self) -> Server:
        """A connection of root's."""
        return Server(connect(SECONDS, unix_socket=self.socket, user="root"))

    def run(self, *statements: str) -> None:
        """Run statements as root."""
        server = self.server()
        with server.connection:
            for statement in statements:
                server.run(statement)

    def value(self, statement: str) -> Any:
        """What root is answered."""
        server = self.server()
        with server.connection:
            return server.value(statement)

    def status(self) -> dict[str, Any]:
        """SHOW SLAVE STATUS, {} where it follows none."""
        server = self.server()
        with server.connection:
            return server.replica_status() or {}

    def connection(self) -> dict[str, Any]:
        """Options of modules that connect to another member of its fleet."""
        return {"password": "r", "probe_password": "p", "ca": self.ca, "port": PORT}


def wait_until(what: str, true: Callable[[], Any], seconds: float = SECONDS) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


ACCOUNTS = (
    "CREATE USER repl@'127.0.0.1' IDENTIFIED BY 'r' REQUIRE SSL",
    "GRANT REPLICATION SLAVE ON *.* TO repl@'127.0.0.1'",
    "CREATE USER fleet_probe@'127.0.0.1' IDENTIFIED BY 'p'",
    "GRANT SLAVE MONITOR, BINLOG MONITOR ON *.* TO fleet_probe@'127.0.0.1'",
    "CREATE DATABASE benchfleet",
    "CREATE TABLE benchfleet.probe (id VARCHAR(64) PRIMARY KEY)",
    "CREATE TABLE benchfleet.heartbeat (id INT PRIMARY KEY, at TIMESTAMP(6), server_id INT)",
    "INSERT INTO benchfleet.heartbeat VALUES (1, NOW(6), @@server_id)",
    "CREATE DATABASE erp",
    "CREATE TABLE erp.save (id INT PRIMARY KEY, text TEXT)",
    "CREATE USER erp@'%' IDENTIFIED BY 'e'",
    "GRANT ALL ON erp.* TO erp@'%'",
)
