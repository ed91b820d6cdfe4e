"""Calls at a bench's web port: how many run, and having others wait while the bench restarts.

Programs on the hosts use this, too: nothing here needs more than Python.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from . import atomic

ESTABLISHED = "01"
# For so long the router believes a hold, whose maker may have been killed; and for so long it has
# calls that are under way end, while the others wait. Seconds.
HELD_SECONDS, ENDING_SECONDS = 30, 4


def kernel_forms(host: str, port: int) -> set[str]:
    """An address and port as /proc/net/tcp and tcp6 write them: words in the host's order."""
    address = ipaddress.ip_address(host)
    raw = {address.packed}
    if address.version == 4:
        raw.add(ipaddress.IPv6Address(f"::ffff:{address}").packed)
    words = [[one[n : n + 4][::-1] for n in range(0, len(one), 4)] for one in raw]
    return {f"{b''.join(parts).hex().upper()}:{port:04X}" for parts in words}


def connections(lines: Iterable[str], host: str, port: int) -> int:
    """How many established connections to a port the lines of /proc/net/tcp show."""
    wanted = kernel_forms(host, port)
    rows = [line.split() for line in lines]
    return sum(len(row) > 3 and row[2] in wanted and row[3] == ESTABLISHED for row in rows)


def running_calls(host: str, port: int) -> int:
    """Calls that this host has at a web port now: each has one connection."""
    total = 0
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            with open(table, encoding="ascii") as lines:
                total += connections(lines, host, port)
        except FileNotFoundError:
            continue
    return total


def listens(host: str, port: int) -> bool:
    """Whether somebody takes connections there."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


@contextmanager
def held(
    path: str, host: str, port: int, seconds: float = HELD_SECONDS, pool: int | None = None
) -> Iterator[None]:
    """Have further calls to a bench wait at the router until the block is over and it listens.

    path: what the router looks at, in a folder that is there; calls wait for ``seconds`` at most
    (nodes.lua). The block begins when no call is under way, or after ENDING_SECONDS: what ends a
    bench ends longer ones in its own way. seconds: how long one that listened before is waited for.
    pool: port of the pool for reports, where that restarts with the bench.
    """
    answered, until = listens(host, port), time.time() + seconds
    atomic.write(path, f"{until:.0f}\n", 0o644, durable=False)
    try:
        ending = time.monotonic() + ENDING_SECONDS
        # A call that has just looked for the file connects within the first of these.
        time.sleep(0.1)
        ports = [port] if pool is None else [port, pool]
        while any(running_calls(host, p) for p in ports) and time.monotonic() < ending:
            time.sleep(0.02)
        yield
        while answered and time.time() < until and not listens(host, port):
            time.sleep(0.05)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(path)
