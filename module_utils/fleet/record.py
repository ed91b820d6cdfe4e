"""The record of who is primary, on each host of the fleet, and the rule by which a primary opens.

A record has an epoch, which only grows: of two records the one with the higher epoch is right. Only
the standard library is imported, because programs on the hosts use this, too.
"""

from __future__ import annotations

import datetime
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from . import atomic
from .changes import diff
from .processes import run
from .work import Work

FILE = "primary.json"
# Held while a record is read and replaced, so that none replaces a newer one. For root only: who
# could open it could keep it.
LOCK = "primary.lock"
# What the service found last, and the lock of a switch; a reboot removes both.
FOLDER = "/run/benchfleet"
STATE = "record.json"
CLOSING = "closing.json"
# Read by the router: until when MariaDB is known to be closed, in seconds since 1970.
CLOSED = "closed"
UNIT = "benchfleet-record.service"
# Of two hosts, one opens alone after so many seconds without an answer from the other.
ALONE_SECONDS = 60.0
# The service looks every two seconds: after so many, it does not work, and what it found is old.
FRESH_SECONDS = 10.0
# A lock that is valid for longer comes from a clock that was wrong.
LONGEST_CLOSING = 600.0


class RecordError(Exception):
    """The record cannot be used as asked; the message says why, and what to do."""


@dataclass(frozen=True)
class Record:
    """Who is primary.

    since: when it became that, as an ISO time with its zone. hosts: name -> LAN address of those
    that are asked. open_alone: whether one of two hosts opens when the other does not answer.
    """

    fleet_id: str
    epoch: int
    primary: str
    since: str
    hosts: Mapping[str, str]
    open_alone: bool

    @classmethod
    def of(cls, found: Any) -> Record:
        """The record in a value of JSON. Raises ValueError for one that is none."""
        kinds = {"fleet_id": str, "epoch": int, "primary": str, "since": str}
        kinds |= {"hosts": dict, "open_alone": bool}
        if not isinstance(found, dict):
            raise ValueError("it is no JSON object")
        for name, kind in kinds.items():
            value = found.get(name)
            # In Python, True is an int.
            if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
                raise ValueError(f"its {name} is {value!r}")
        if not all(isinstance(part, str) for pair in found["hosts"].items() for part in pair):
            raise ValueError("its hosts are no names with addresses")
        # On the controller, values are of Ansible's own kinds.
        return cls(**{**{name: found[name] for name in kinds}, "hosts": dict(found["hosts"])})

    @classmethod
    def read(cls, state_dir: str) -> Record | None:
        """The record of this host, None where it has none. Raises RecordError."""
        path = Path(state_dir, FILE)
        try:
            return cls.of(json.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise RecordError(f"{path} cannot be read: {error}") from error

    def write(self, state_dir: str) -> None:
        """Make this the record of this host; it survives a power cut."""
        atomic.write(Path(state_dir, FILE), json.dumps(asdict(self), indent=2) + "\n", mode=0o644)

    def line(self) -> str:
        """The record as one line of JSON."""
        return json.dumps(asdict(self)) + "\n"


@dataclass(frozen=True)
class Verdict:
    """Whether this host's MariaDB is to be open, and why.

    open: None to leave it as it is. newer: a record of a higher epoch, to be stored. alone: it
    opens without an answer from the other of two hosts.
    """

    open: bool | None
    why: str
    newer: Record | None = None
    alone: bool = False


def decide(own: Record, host: str, answers: Mapping[str, Record], alone_seconds: float) -> Verdict:
    """The rule. own: the record of this ``host``; answers: those of the peers that answered.

    alone_seconds: for how long no peer has answered. Silence closes nothing.
    """
    known = {
        name: record
        for name, record in sorted(answers.items())
        if name in own.hosts and name != host and record.fleet_id == own.fleet_id
    }
    newest = max(known, key=lambda name: known[name].epoch, default="")
    if newest and known[newest].epoch > own.epoch:
        newer = known[newest]
        why = f"epoch {newer.epoch}, of {newest}, names {newer.primary}"
        return Verdict(None if newer.primary == host else False, why, newer)
    if own.primary != host:
        return Verdict(False, f"epoch {own.epoch} names {own.primary}")
    same = {name: record.primary for name, record in known.items() if record.epoch == own.epoch}
    for name, primary in same.items():
        if primary != host:
            why = f"two records of epoch {own.epoch}: here {host}, on {name} {primary}"
            return Verdict(False, why)
    number, every = len(same) + 1, len({*own.hosts, host})
    counted = f"{number} of {every} hosts name it in epoch {own.epoch}"
    if 2 * number > every:
        return Verdict(True, counted)
    silent = sorted({*own.hosts} - {*known, host})
    counted += f"; no answer from {', '.join(silent)}" * bool(silent)
    alone = every == 2 and not known and own.open_alone and alone_seconds >= ALONE_SECONDS
    return Verdict(True if alone else None, counted, alone=alone)


def newest(*records: Record | None) -> Record | None:
    """The record of the highest epoch, of equal ones the first."""
    return max(filter(None, records), key=lambda record: record.epoch, default=None)


def update(
    state_dir: str, wanted: Callable[[Record | None], Record | None]
) -> tuple[Record | None, Record | None]:
    """Store what ``wanted`` makes of this host's record; returns that of before, and the new one.

    Raises RecordError, OSError, and what ``wanted`` does.
    """
    lock = os.open(Path(state_dir, LOCK), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        own = Record.read(state_dir)
        new = wanted(own)
        if new is not None and new != own:
            new.write(state_dir)
        return own, new
    finally:
        os.close(lock)


def now() -> str:
    """This moment, as an ISO time with its zone."""
    return datetime.datetime.now().astimezone().isoformat(timespec="seconds")


def present(
    own: Record | None,
    known: Record | None,
    *,
    fleet_id: str,
    primary: str,
    hosts: Mapping[str, str],
    here: Iterable[str],
    open_alone: bool,
) -> Record:
    """The record that a run of site.yml wants on a host.

    own: that of the host; known: the newest of the fleet. hosts: all of the inventory; one enters
    the record when it takes part in the run (here), so that no majority is asked of hosts that have
    no record yet, nor of one that a failover has left out. Raises RecordError.
    """
    base = newest(own, known)
    if base is None:
        base = Record(fleet_id, 1, primary, now(), {}, open_alone)
    if base.fleet_id != fleet_id:
        raise RecordError(f"the record of this host is that of fleet {base.fleet_id}")
    if base.primary != primary:
        raise RecordError(
            f"the primary is {base.primary} since {base.since} (epoch {base.epoch}), and the"
            f" inventory names {primary}: put {base.primary} into group primary and {primary} into"
            f" group reporting, or run `./fleet switchover --to {primary}`"
        )
    members = {*base.hosts, *here, primary}
    kept = {name: address for name, address in sorted(hosts.items()) if name in members}
    # A failover has set it to false, until the former primary is back.
    alone = open_alone if len(kept) == len(hosts) else base.open_alone
    return replace(base, hosts=kept, open_alone=alone)


def accept(own: Record | None, new: Record) -> Record:
    """The record to be stored by a promotion. Raises RecordError.

    Where own names the same primary in the same epoch, the command is gone on with: hosts and
    open_alone become those of the new one, as a failover leaves out more than a switchover did.
    """
    if own is None or (own.fleet_id == new.fleet_id and new.epoch > own.epoch):
        return new
    again = replace(new, since=own.since)
    if replace(again, hosts=own.hosts, open_alone=own.open_alone) == own:
        return again
    raise RecordError(
        f"this host has a record of epoch {own.epoch} of fleet {own.fleet_id}, which names"
        f" {own.primary}; one of epoch {new.epoch} that names {new.primary} is not stored over it."
        " Run the same command again: it reads the records anew"
    )


def is_closing(folder: str = FOLDER) -> bool:
    """Whether a switch keeps this host's MariaDB closed at this time."""
    try:
        until = float(json.loads(Path(folder, CLOSING).read_text(encoding="utf-8"))["until"])
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return 0 < until - time.time() <= LONGEST_CLOSING


def state(folder: str = FOLDER) -> dict[str, Any]:
    """What the service found at its last look, {} where there is none.

    {host, primary, epoch, open, why, since, answered, alone, checked}: primary and epoch are "" and
    0 without a record; open: whether MariaDB is, None where the look failed; since: when that, or
    the reason, last changed; answered: the peers whose records were read; checked: when the look
    began. Times are in seconds since 1970.
    """
    try:
        found = json.loads(Path(folder, STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) and "checked" in found else {}


def kick() -> None:
    """Have the service look at once, if it runs."""
    run(["systemctl", "kill", "--kill-who=main", "--signal=HUP", UNIT])


def wait(seconds: float, folder: str = FOLDER) -> dict[str, Any]:
    """The state when the service has opened MariaDB, or has found that this host is no primary.

    After so many seconds, the state as it is; {} where the service has not looked since.
    """
    began, until = time.time(), time.monotonic() + seconds
    kick()
    while True:
        found = state(folder)
        looked = float(found.get("checked", 0)) >= began
        if looked and (found["open"] or found["primary"] != found["host"]):
            return found
        if time.monotonic() > until:
            return found if looked else {}
        time.sleep(0.1)


def lines(own: Record | None) -> list[str]:
    """A record as lines of a diff."""
    return [] if own is None else own.line().splitlines()


def asked(own: Record | None, params: Mapping[str, Any]) -> Record:
    """The record that the options ask for, where the host has ``own``. Raises RecordError."""
    about = {name: params[name] for name in ("fleet_id", "primary", "hosts", "open_alone")}
    if params["state"] == "present":
        known = Record.of(params["newest"]) if params["newest"] else None
        return present(own, known, here=params["here"], **about)
    since = params["since"] or now()
    return accept(own, Record(epoch=params["epoch"], since=since, **about))


def do(module: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Result of the module fleet_record. Raises RecordError, ValueError and OSError."""
    state_dir = params["state_dir"]
    if params["state"] == "known":
        own = new = Record.read(state_dir)
    elif module.check_mode:
        own = Record.read(state_dir)
        new = asked(own, params)
    else:
        own, new = update(state_dir, lambda there: asked(there, params))
    found = state()
    if new != own and not module.check_mode:
        kick()
    return {
        "changed": new != own,
        "record": asdict(new) if new else None,
        "live": found,
        "diff": diff(lines(own), lines(new)),
    }


WORK = Work(
    {
        "state": {"type": "str", "choices": ["present", "stored", "known"], "default": "present"},
        "state_dir": {"type": "path", "required": True},
        "fleet_id": {"type": "str"},
        "primary": {"type": "str"},
        "hosts": {"type": "dict"},
        "here": {"type": "list", "elements": "str", "default": []},
        "newest": {"type": "dict", "default": {}},
        "epoch": {"type": "int"},
        "since": {"type": "str"},
        "open_alone": {"type": "bool", "default": True},
    },
    do,
    (RecordError, ValueError, OSError),
    required_if=(
        ("state", "present", ["fleet_id", "primary", "hosts"]),
        ("state", "stored", ["fleet_id", "primary", "hosts", "epoch"]),
    ),
)
