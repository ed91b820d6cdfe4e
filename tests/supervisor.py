"""A supervisord of the tests' own, and supervisor's Python, started once.

A call is a fork of it and imports nothing anew.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

# Each call comes with its three files; it is answered with its exit status.
SERVER = r"""
import json, os, socket, sys, traceback
from supervisor import options, supervisorctl

listener = socket.socket(fileno=int(sys.argv[1]))
while True:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        pass
    caller, _ = listener.accept()
    if os.fork():
        caller.close()
        continue
    listener.close()
    text, files, _, _ = socket.recv_fds(caller, 1 << 20, 3)
    asked = json.loads(text)
    for number, file in enumerate(files):
        os.dup2(file, number)
    os.chdir("/")
    os.environ.clear()
    os.environ.update(asked["environment"])
    program, *words = asked["command"]
    status = 0
    try:
        if program == "supervisorctl":
            sys.argv = [program, *words]
            supervisorctl.main(words)
        else:
            sys.argv = ["-c"]
            exec(words[-1], {"__name__": "__main__"})
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    caller.sendall(b"%d" % status)
    os._exit(0)
"""


class Supervisor:
    """Stands in for the module subprocess where supervisorctl, or its reader, is called."""

    DEVNULL = subprocess.DEVNULL
    TimeoutExpired = subprocess.TimeoutExpired

    def __init__(self, folder: Path) -> None:
        self.path = f"{folder}/s"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.path)
            listener.listen(64)
            number = listener.fileno()
            self.server = subprocess.Popen(
                ["/usr/bin/python3", "-I", "-c", SERVER, str(number)],
                env={"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
                pass_fds=[number],
            )

    def run(self, command: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
        """As subprocess.run, in ``/`` and without a limit on seconds."""
        if os.path.basename(command[0]) not in ("supervisorctl", "python3"):
            return subprocess.run(command, **options)
        asked = json.dumps({"command": command, "environment": options["env"]}).encode()
        with (
            tempfile.TemporaryFile() as given,
            tempfile.TemporaryFile() as out,
            tempfile.TemporaryFile() as err,
            socket.socket(socket.AF_UNIX) as call,
        ):
            given.write(options.get("input", "").encode())
            files = given, out, err
            for file in files:
                file.seek(0)
            call.connect(self.path)
            socket.send_fds(call, [asked], [file.fileno() for file in files])
            status = int(call.recv(16) or 1)
            for file in files:
                file.seek(0)
            return subprocess.CompletedProcess(
                command, status, out.read().decode(), err.read().decode()
            )

    def stop(self) -> None:
        """End it."""
        self.server.terminate()
        self.server.wait()


MAIN = """
[unix_http_server]
file={folder}/s.sock
[supervisord]
logfile={folder}/s.log
pidfile={folder}/s.pid
childlogdir={folder}
environment=EVERYWHERE="1"
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{folder}/s.sock
[include]
files = conf.d/*.conf %(here)s/more/*.ini
"""


class Host:
    """A supervisord, and the folder of its configuration."""

    def __init__(self, folder: Path, calls: Supervisor) -> None:
        self.folder, self.calls = folder, calls
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "conf.d").mkdir()
        (folder / "more").mkdir()
        (folder / "bin").mkdir()
        (folder / "supervisord.conf").write_text(MAIN.format(folder=folder))

    def control(self, *arguments: str) -> str:
        """Output of supervisorctl."""
        command = ["supervisorctl", "-c", f"{self.folder}/supervisord.conf", *arguments]
        return self.calls.run(command, env={"PATH": os.defpath}).stdout

    def start(self) -> None:
        """Start supervisord with the files that are there."""
        command = ["/usr/bin/supervisord", "-n", "-c", f"{self.folder}/supervisord.conf"]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, cwd="/")
        deadline = time.monotonic() + 60
        while not (self.folder / "s.sock").exists() or "RUNNING" not in self.status():
            assert time.monotonic() < deadline, self.status()
            time.sleep(0.1)

    def status(self) -> str:
        """States of its programs, as supervisorctl shows them."""
        return self.control("status")

    def settle(self) -> None:
        """Wait until each program has started."""
        for _ in range(600):
            if "STARTING" not in self.status():
                return
            time.sleep(0.1)
        raise AssertionError(self.status())

    def has(self, path: Path, text: str) -> bool:
        """Whether a file gets a text, which its program writes once it is started."""
        for _ in range(600):
            if path.exists() and path.read_text() == text:
                return True
            time.sleep(0.1)
        return False

    def write(self, name: str, *texts: str) -> Path:
        """Write a file of its configuration."""
        path = self.folder / name
        path.write_text("".join(texts))
        return path

    def stop(self) -> None:
        """End it with its programs."""
        if self.process:
            self.process.terminate()
            self.process.wait(60)
