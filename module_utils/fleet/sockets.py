"""Sockets of this host, as the kernel's tables have them."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterable
from pathlib import Path
from typing import Any

LISTENING = "0A"


def kernel_address(text: str) -> str:
    """An address as /proc/net/tcp and tcp6 write it: words of four bytes in the host's order."""
    raw = bytes.fromhex(text)
    packed = b"".join(raw[n : n + 4][::-1] for n in range(0, len(raw), 4))
    return socket.inet_ntop(socket.AF_INET if len(packed) == 4 else socket.AF_INET6, packed)


def tables() -> Iterable[str]:
    """The kernel's tables of TCP sockets; of a family that it does not have, none."""
    for path in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            yield Path(path).read_text(encoding="ascii")


def listening(
    ports: Iterable[int], texts: Iterable[str] | None = None
) -> dict[str, dict[str, Any]]:
    """Listening sockets on the given TCP ports: inode → {port, address}."""
    wanted, found = set(ports), {}
    for line in (line for text in texts or tables() for line in text.splitlines()[1:]):
        fields = line.split()
        if len(fields) < 10 or fields[3] != LISTENING:
            continue
        address, port = fields[1].split(":")
        if int(port, 16) in wanted:
            found[fields[9]] = {"port": int(port, 16), "address": kernel_address(address)}
    return found
