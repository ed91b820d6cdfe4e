"""Processes that listen on a host's ports, and a trial connection to another host."""

from __future__ import annotations

import contextlib
import glob
import os
import re
import socket
from pathlib import Path
from typing import Any

from ..sockets import listening

# A process that cannot be read.
UNKNOWN: dict[str, Any] = {"pid": 0, "name": "", "command": "", "program": "", "unit": ""}


def find_listeners(ports: list[int]) -> dict[str, list[dict[str, Any]]]:
    """Processes that listen on each of the ports: {port: processes}, the port as text, for JSON."""
    sockets = listening(ports)
    owners: dict[str, str] = {}
    if sockets:
        # Not pathlib's glob, which fails at a process that has just ended.
        for link in glob.iglob("/proc/[0-9]*/fd/*"):
            with contextlib.suppress(OSError):
                target = os.readlink(link)
                if target.startswith("socket:["):
                    # Workers share their parent's socket; the parent has the lower id.
                    inode, pid = target[8:-1], link.split("/")[2]
                    if inode in sockets and int(pid) < int(owners.get(inode, "9999999")):
                        owners[inode] = pid
    found: dict[str, list[dict[str, Any]]] = {}
    for inode, entry in sockets.items():
        process = describe_process(owners[inode]) if inode in owners else UNKNOWN
        found.setdefault(str(entry["port"]), []).append({**process, "address": entry["address"]})
    return found


def describe_process(pid: str) -> dict[str, Any]:
    """Name, command line (first 200 characters) and systemd unit of a process."""
    found = {**UNKNOWN, "pid": int(pid)}
    place = Path("/proc", pid)
    with contextlib.suppress(OSError):
        found["name"] = (place / "comm").read_text(errors="replace").strip()
    with contextlib.suppress(OSError):
        command = (place / "cmdline").read_text(errors="replace")
        found["command"] = command.replace("\0", " ").strip()[:200]
    with contextlib.suppress(OSError):
        found["program"] = str((place / "exe").readlink())
    with contextlib.suppress(OSError):
        unit = re.findall(r"/([^/\n]+\.service)", (place / "cgroup").read_text())
        found["unit"] = unit[-1] if unit else ""
    return found


def try_connect(address: str, port: int, seconds: int) -> dict[str, Any]:
    """Open and close one TCP connection: {ok, address, port}, and detail where it failed."""
    try:
        socket.create_connection((address, port), timeout=seconds).close()
    except OSError as error:
        detail = "no answer" if isinstance(error, TimeoutError) else (error.strerror or str(error))
        return {"ok": False, "address": address, "port": port, "detail": detail}
    return {"ok": True, "address": address, "port": port}
