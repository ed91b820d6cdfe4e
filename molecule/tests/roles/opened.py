"""When each host's MariaDB took writes: asked five times a second on the host itself."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from itertools import combinations, pairwise
from typing import NamedTuple

from nodes import Node

UNIT = "roles-watch"
LOG = f"/var/log/{UNIT}"
# Writes when it asked and when it was answered, both in seconds since 1970, if the server was open.
PROGRAM = f"""
import time, pymysql

connection = None
with open("{LOG}", "a", buffering=1) as log:
    while True:
        asked = time.time()
        try:
            connection = connection or pymysql.connect(
                unix_socket="/run/mysqld/mysqld.sock", user="root", read_timeout=5
            )
            with connection.cursor() as cursor:
                cursor.execute("SELECT @@read_only")
                if not cursor.fetchone()[0]:
                    log.write(f"{{asked}} {{time.time()}}\\n")
        except (pymysql.MySQLError, OSError):
            connection = None
        time.sleep(0.2)
"""
SERVICE = f"""
[Service]
ExecStart=/usr/bin/python3 /opt/{UNIT}.py
Restart=always
[Install]
WantedBy=multi-user.target
"""
# Longer without an answer: it may have been closed in between.
GAP_SECONDS = 2.0


class Span(NamedTuple):
    """A time in which a server was open for certain, in seconds since 1970."""

    host: str
    begin: float
    end: float


def start(node: Node) -> None:
    """Begin to ask on a host; this goes on after a reboot."""
    unit = f"/etc/systemd/system/{UNIT}.service"
    node.run(
        f"printf %s {shlex.quote(PROGRAM)} >/opt/{UNIT}.py;"
        f" printf %s {shlex.quote(SERVICE)} >{unit};"
        f" systemctl daemon-reload; systemctl enable --quiet --now {UNIT}"
    )


def spans_of(host: str, lines: Iterable[str], gap: float = GAP_SECONDS) -> list[Span]:
    """The times of a host that its log tells: from an answer to the last question."""
    times = [(float(asked), float(told)) for asked, told in map(str.split, lines)]
    found: list[Span] = []
    begin = 0
    for number, (here, after) in enumerate(pairwise([*times, (float("inf"), 0.0)])):
        if after[0] - here[1] > gap:
            found.append(Span(host, times[begin][1], here[0]))
            begin = number + 1
    return [span for span in found if span.end > span.begin]


def spans(nodes: Iterable[Node]) -> list[Span]:
    """When hosts were open."""
    return [span for n in nodes for span in spans_of(n.name, n.run(f"cat {LOG}").splitlines())]


def together(found: Iterable[Span], besides: Iterable[tuple[float, float]] = ()) -> list[str]:
    """Where two hosts were open at once, but for some times, in words."""
    said = []
    for one, other in combinations(found, 2):
        begin, end = max(one.begin, other.begin), min(one.end, other.end)
        known = any(since <= begin and end <= until for since, until in besides)
        if one.host != other.host and begin < end and not known:
            said.append(f"{one.host} and {other.host}, {end - begin:.1f} s from {begin:.1f}")
    return said
