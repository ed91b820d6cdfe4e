"""Whether the primary is lost, who has the most of it, and what is lost with it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

from ..preflight.problems import Kind, Problem
from .gtids import furthest, lacks, numbers
from .records import COMMAND, cause, is_off

Looks = Mapping[str, Mapping[str, Any]]

# The primary writes a heartbeat each second.
STALE_SECONDS = 3.0
# What the minute's copy has not copied for longer, status has shown for long.
COPIED_SECONDS = 24 * 3600.0
# Files that are named.
MOST_FILES = 20
# Between the message and the command that takes it.
GRACE_SECONDS = 180

REACHED = Kind(
    "failover_reached",
    "{host} is not lost: the controller reaches it",
    "{host}",
    "if it works, `./fleet switchover`. If its MariaDB or its bench does not, `./fleet doctor"
    " {host}`; if that cannot be mended, power it off and run the same command again",
)
UNSURE = Kind(
    "failover_unsure",
    "it is not known whether {host} is lost: {cause}",
    "ssh from the controller to {host}",
    "mend that, or power it off; a host whose sshd answers is not taken for lost",
)
CONNECTED = Kind(
    "failover_replica_connected",
    "{host} is not lost: {replicas} receive from it",
    "replication on {replicas}",
    "the controller does not reach {host}, but the fleet does: mend the controller's way to it",
)
BEATING = Kind(
    "failover_heartbeat_fresh",
    "{host} is not lost: its last heartbeat on {replica} is {seconds} s old",
    "table benchfleet.heartbeat on {replica}",
    "wait some seconds and run the same command again",
)
NO_REPLICA = Kind(
    "failover_no_replica",
    "no replica of {host} says how far it is: {troubles}",
    "MariaDB on the reporting nodes",
    "start one; what it has received is all that is left of {host}",
)
TARGET_BROKEN = Kind(
    "failover_target_broken",
    "{to} cannot take over: {trouble}",
    "MariaDB on {to}",
    "name another host with `--to`: {others}",
)
LOSS = Kind(
    "failover_loss",
    "the last sign of life of {host} that reached the others is {seconds} s old; what it took"
    " after that is lost, and more than {limit} s are not given up unasked",
    "failover_max_loss",
    "if {host} died then, little or nothing is lost. Say so:"
    " `./fleet failover --accept-loss {accept}` (-e accept_loss={accept}). Better,"
    " if it can be had: switch {host} on again",
)
UNCONFIRMED = Kind(
    "failover_unconfirmed",
    "nobody said that {host} is to be replaced",
    COMMAND,
    "type its name when asked, or add `--yes`; with plain ansible-playbook -e confirm={host}",
)
STILL_OPEN = Kind(
    "rejoin_open",
    "MariaDB on {host} takes writes although {primary} is the primary",
    "read_only on {host}",
    "stop MariaDB on {host} (`systemctl stop mariadb`), and run the same command again",
)


def position(looks: Looks, host: str) -> str:
    """How far a replica is."""
    return furthest(looks[host])


def ahead_of(looks: Looks, to: str) -> str:
    """The replica that has the most, where it has more than `to`; "" where none has, or `to` is
    not among them.
    """
    if to not in looks:
        return ""
    most = max(looks, key=lambda host: (sum(numbers(position(looks, host)).values()), host == to))
    return most if lacks(position(looks, to), position(looks, most)) else ""


def failover_problems(
    found: Mapping[str, Any],
    answer: Mapping[str, Any],
    looks: Looks,
    troubles: Mapping[str, str],
    confirm: str,
    max_loss: float,
    accept_loss: float,
) -> Iterator[Problem]:
    """Every reason against a failover.

    found: as of records.judged. answer: what the primary answered the controller. looks: {host:
    database} of the replicas that say how they are. troubles: {host: why not} of the others.
    confirm: the name that the operator typed. max_loss, accept_loss: seconds.
    """
    lost, to = found["former"], found["to"]
    if not answer.get("trouble"):
        yield REACHED.found(host=lost)
        return
    if not is_off(lost, answer):
        yield UNSURE.found(host=lost, cause=cause(lost, answer))
        return
    if not looks:
        yield NO_REPLICA.found(host=lost, troubles=list(troubles.values()))
        return
    if to not in looks:
        yield TARGET_BROKEN.found(
            to=to, trouble=troubles.get(to, "it does not answer"), others=list(looks)
        )
    connected = [host for host, look in looks.items() if receives(look, found["hosts"].get(lost))]
    if connected:
        yield CONNECTED.found(host=lost, replicas=connected)
    ages = {h: float(k["heartbeat_age"]) for h, k in looks.items() if known_age(k)}
    newest = min(ages, key=lambda host: ages[host]) if ages else ""
    if newest and ages[newest] < STALE_SECONDS:
        yield BEATING.found(host=lost, replica=newest, seconds=round(ages[newest], 1))
    if confirm != lost:
        yield UNCONFIRMED.found(host=lost)
    seconds = silent_seconds(looks)
    # Where nobody knows, the word that is asked for is enough.
    if accept_loss < GRACE_SECONDS if seconds is None else seconds > max(max_loss, accept_loss):
        yield LOSS.found(
            host=lost,
            seconds="an unknown number of" if seconds is None else round(seconds),
            limit=round(max(max_loss, accept_loss)),
            accept=rounded_up((seconds or 0) + GRACE_SECONDS),
        )


def receives(look: Mapping[str, Any], address: str | None) -> bool:
    """Whether a replica is connected to the server at an address.

    An earlier failover that was cut off may have left one that follows another replica.
    """
    return look.get("io") == "Yes" and look.get("follows") == address


def known_age(look: Mapping[str, Any]) -> bool:
    """Whether a replica has a heartbeat, and not one of a clock that is ahead."""
    age = look.get("heartbeat_age")
    return age is not None and float(age) > -STALE_SECONDS


def silent_seconds(looks: Looks) -> float | None:
    """Seconds since the primary was last heard of by anyone; None where nobody knows."""
    ages = [float(look["heartbeat_age"]) for look in looks.values() if known_age(look)]
    return min(ages) if ages else None


def rounded_up(seconds: float) -> int:
    """Seconds as a person types them."""
    return math.ceil(seconds / 60) * 60


def may_lose(found: Mapping[str, Any], looks: Looks, queue: Mapping[str, Any]) -> list[str]:
    """What a failover may lose, in sentences for the operator.

    queue: what redis_switch says of the new primary's copy of the queues, {} where it has none.
    """
    lost, to = found["former"], found["to"]
    seconds = silent_seconds(looks)
    said = "an unknown number of" if seconds is None else f"{seconds:.0f}"
    words = [
        f"Saves: {lost} was last heard of {said} seconds ago. What it took after that is lost,"
        f" unless {lost} comes back and its log can be read (`./fleet rejoin {lost}`)."
    ]
    if other := ahead_of(looks, to):
        words.append(f"{other} has received more than {to}: {to} fetches that first.")
    silent = [host for host in found["hosts"] if host not in (*found["there"], lost)]
    if silent:
        words.append(
            f"{', '.join(silent)} cannot be asked either. What they have is not known; power off"
            " what nobody can reach."
        )
    if to != found["standby"]:
        words.append(
            f"{to} is not the standby: it has neither router nor queues, and users wait until"
            " site.yml has made them, some minutes."
        )
    newest = "minute"
    if to == found["standby"]:
        newest = "seconds (or minute, if `./fleet status` said files_not_followed)"
    words.append(
        f"Files: those that users added in the last {newest} may not have been copied; their"
        " documents name files that are missing."
    )
    words.append(
        "Jobs and sessions: what the queue took in its last second may be missing."
        if queue.get("role")
        else f"Jobs: {to} has no copy of the queues. All jobs that waited are lost."
    )
    return words


def fenced(found: Mapping[str, Any]) -> list[str]:
    """What keeps the lost primary from harm, and what cannot, in sentences."""
    lost, there = found["former"], ", ".join(found["there"])
    return [
        f"{there}: packets from and to {lost} are dropped, until `./fleet rejoin {lost}`. So none"
        f" of its accounts and keys works there.",
        f"What this cannot do: users who still reach {lost} itself, should it run, can write there."
        f" Power it off, or take the users' address from it.",
    ]


def jobs_at_work(jobs: list[Mapping[str, Any]]) -> list[str]:
    """Jobs that were at work when the primary was lost, a line each."""
    lines = [
        f"{job.get('id', '?')}: {job.get('method') or 'unknown method'} of"
        f" {job.get('site') or 'no site'}, begun {job.get('since') or 'at an unknown time'}"
        for job in jobs
    ]
    if not lines:
        return []
    head = "Jobs that were at work. Some may be done; none is repeated by itself:"
    return [head, *(f"  {line}" for line in lines)]


def files_since(found: Mapping[str, Any], age: float | None, now: float) -> float:
    """From when on files of a host that comes back may be missing on the primary, since 1970.

    age: of the last heartbeat that it has, which it wrote itself: it may have been lost long before
    another one was made the primary. None where that is not known: then all of its files.
    """
    if age is None:
        return 0.0
    return min(float(found["since_seconds"]), now - float(age)) - COPIED_SECONDS


def kept_files(names: list[str], host: str, folder: str) -> list[str]:
    """Where files are that only a former primary has, in a sentence."""
    more = f" and {len(names) - MOST_FILES} more" if len(names) > MOST_FILES else ""
    return [
        f"{len(names)} files of the sites that only {host} has are kept there in {folder}, for a"
        f" person to judge: {', '.join(names[:MOST_FILES])}{more}"
    ]


def returned_problems(
    found: Mapping[str, Any], look: Mapping[str, Any], trouble: str
) -> Iterator[Problem]:
    """Problems of the database of a host that comes back."""
    host, primary = found["to"], found["primary"]
    if trouble:
        yield TARGET_BROKEN.found(to=host, trouble=trouble, others="none")
    elif not look.get("read_only"):
        yield STILL_OPEN.found(host=host, primary=primary)
