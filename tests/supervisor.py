"""supervisor's own Python, started once: a call is a fork of it and imports nothing anew."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
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
