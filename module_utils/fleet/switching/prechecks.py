"""Whether a planned change of the primary can begin: every reason against it, at once.

Of a host, `database` is what mariadb_switch returns for `look`, `queue` what redis_switch does, and
`apps` are those of its bench.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..mariadb.server import errant
from ..preflight.problems import Kind, Problem
from ..update.judge import difference_text, out_of_step

# Errors with which replication stops where the data differ, or the primary's log lacks what is
# needed. 1032: no such row; 1062: a row that is there; 1236: the log; 1950: out of order.
DIFFERENT = (1032, 1062, 1236, 1950)
LAG_SECONDS = 5.0
# What a primary needs at once for its logs.
ROOM_MB = 1024

REPLICATION = "replication on {host}"
NO_LOOK = Kind(
    "switch_database_unread",
    "MariaDB on {host} does not say how it is: {trouble}",
    "MariaDB on {host}",
    "`./fleet doctor {host}` finds the cause",
)
PRIMARY_CLOSED = Kind(
    "switch_primary_closed",
    "MariaDB on the primary {host} takes no writes",
    "read_only on {host}",
    "`./fleet status` says why it is closed; open it first",
)
TARGET_OPEN = Kind(
    "switch_replica_open",
    "MariaDB on {host}, which is a replica, takes writes",
    "read_only on {host}",
    "`./fleet apply` closes it; `./fleet verify` compares its data",
)
OTHER_SOURCE = Kind(
    "switch_other_source",
    "{host} follows {follows}, not the primary {primary}",
    REPLICATION,
    "`./fleet apply` makes it follow the primary",
)
REPLICATION_DIFFERS = Kind(
    "switch_data_differ",
    "replication on {host} stopped with error {code}: its data are not the primary's ({error})",
    REPLICATION,
    "`./fleet doctor {host}` names the way: a new copy of the data, as a rule",
)
REPLICATION_STOPPED = Kind(
    "switch_replication_stopped",
    "replication on {host} does not run ({io} and {sql}): {error}",
    REPLICATION,
    "`./fleet doctor {host}` finds the cause; `./fleet apply` starts what has stopped",
)
LAG = Kind(
    "switch_lag",
    "{host} is {seconds} s behind the primary; at most {limit} s",
    REPLICATION,
    "wait until it has caught up (`./fleet status --watch`)",
)
ERRANT = Kind(
    "switch_errant",
    "{host} has transactions that the primary never had: {gtids}",
    "the binary log of {host}",
    "somebody wrote there. `./fleet doctor {host}` names the way: a new copy of the data",
)
NO_ROOM = Kind(
    "switch_disk",
    "{host} has {free} MiB free for its data; a primary needs {needed}",
    "the file system of MariaDB's data on {host}",
    "free some, or name another host with `--to`",
)
VERSION = Kind(
    "switch_version",
    "{host} has MariaDB {has}, and the new primary {to} {wants}",
    "packages of MariaDB on {host}",
    "bring both to the same release first: a server follows only one that is not newer",
)
APPS = Kind(
    "switch_apps",
    "the apps of {host} are not the primary's: {differences}",
    "{path} on {host}",
    "`./fleet apply` brings them to the primary's commits",
)
ADOPTING = Kind(
    "switch_adopting",
    "the adoption of {host} is not finished",
    "{host}",
    "finish it with `./fleet apply`, or take it back with `./fleet release`",
)
QUEUE = Kind(
    "switch_queue",
    "the copy of the queues on {host} is not the primary's: {state}",
    "redis-queue on {host}",
    "`./fleet apply` makes it follow the primary's; `./fleet jobs` shows the queues",
)


def series(version: str) -> tuple[int, ...]:
    """Release series of a server: (10, 11) of "10.11.6-MariaDB"."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:2])


def check_replica(
    host: str, look: Mapping[str, Any], primary: str, address: str
) -> Iterator[Problem]:
    """Problems of a replica's replication."""
    if not look.get("read_only"):
        yield TARGET_OPEN.found(host=host)
    follows = str(look.get("follows") or "nobody")
    if follows != address:
        yield OTHER_SOURCE.found(host=host, follows=follows, primary=primary)
        return
    errors = [look.get(key) or (0, "") for key in ("io_error", "sql_error")]
    text = "; ".join(f"{words} ({number})" for number, words in errors if number) or "no error"
    code = next((int(number) for number, _words in errors if int(number) in DIFFERENT), 0)
    if code:
        yield REPLICATION_DIFFERS.found(host=host, code=code, error=text)
    elif (look.get("io"), look.get("sql")) != ("Yes", "Yes"):
        io, sql = look.get("io") or "none", look.get("sql") or "none"
        yield REPLICATION_STOPPED.found(host=host, io=io, sql=sql, error=text)
    elif (age := look.get("heartbeat_age")) is None or float(age) > LAG_SECONDS:
        seconds = "an unknown number of" if age is None else round(float(age), 1)
        yield LAG.found(host=host, seconds=seconds, limit=LAG_SECONDS)


def switch_problems(
    found: Mapping[str, Any],
    seen: Mapping[str, Mapping[str, Any]],
    primary_look: Mapping[str, Any],
    bench_dir: str,
) -> Iterator[Problem]:
    """Every reason not to change the primary now.

    found: as of records.judged. seen: {host: {database, trouble, queue, apps, adopting}} of the
    hosts that answer. primary_look: the primary's database, looked at after all others, so that it
    has every transaction that they got from it.
    """
    primary, to = found["primary"], found["to"]
    for host, about in seen.items():
        if about.get("adopting"):
            yield ADOPTING.found(host=host)
        if about.get("trouble"):
            yield NO_LOOK.found(host=host, trouble=about["trouble"])
    # As LAST and EVER of mariadb/server.py ask for them.
    ever = ",".join(str(primary_look.get(key) or "") for key in ("binlog_state", "slave_pos"))
    looks = {host: about["database"] for host, about in seen.items() if about.get("database")}
    if primary_look.get("read_only"):
        yield PRIMARY_CLOSED.found(host=primary)
    wants = str(looks.get(to, {}).get("version") or "")
    for host, look in looks.items():
        if host != primary:
            yield from check_replica(host, look, primary, found["hosts"].get(primary, ""))
            if gtids := errant(look.get("binlog_pos"), ever):
                yield ERRANT.found(host=host, gtids=gtids)
        has = str(look.get("version") or "")
        # Each of them follows the new primary.
        if wants and has and series(has) < series(wants):
            yield VERSION.found(host=host, has=has, to=to, wants=wants)
    has = str(primary_look.get("version") or "")
    if wants and has and series(wants) < series(has):
        yield VERSION.found(host=primary, has=has, to=to, wants=wants)
    free = looks.get(to, {}).get("data_free_mb")
    if free is not None and float(free) < ROOM_MB:
        yield NO_ROOM.found(host=to, free=round(float(free)), needed=ROOM_MB)
    yield from app_problems(primary, seen, bench_dir)
    queue = seen.get(to, {}).get("queue")
    if queue is not None and (queue.get("role"), queue.get("link")) != ("copy", "up"):
        state = f"role {queue.get('role')}, link {queue.get('link') or 'none'}"
        yield QUEUE.found(host=to, state=state)


def app_problems(
    primary: str, seen: Mapping[str, Mapping[str, Any]], bench_dir: str
) -> Iterator[Problem]:
    """Problems of benches that do not have the primary's commits."""
    wanted = seen.get(primary, {}).get("apps") or {}
    nodes = {
        host: about["apps"]
        for host, about in seen.items()
        if host != primary and about.get("apps") is not None
    }
    allowed = {app: {state["commit"]} for app, state in wanted.items()}
    for host, differences in out_of_step(nodes, allowed).items():
        texts = [difference_text(*one) for one in differences]
        yield APPS.found(host=host, differences=texts, path=f"{bench_dir}/apps")
