"""A MariaDB of the tests' own: it is installed once, and each test that needs one starts a copy."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pymysql
import pytest

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


class MariaDB:
    """A server with its data, its socket ``s`` and its log in a folder."""

    def __init__(self, installed: Path, folder: Path) -> None:
        """installed: the data that install() made."""
        self.folder, self.socket = folder, f"{folder}/s"
        shutil.copytree(installed, folder / "data")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: int = free.getsockname()[1]
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
