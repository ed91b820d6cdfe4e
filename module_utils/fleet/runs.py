"""One run at a time on a host, and a log of the runs.

A run that changes something holds a lease on each host: a file that its modules touch while they
work, and that counts for ten minutes after. It is in a folder that only root enters, at one place
whatever the settings are, and that a reboot empties. The log is in the folder of the fleet's state.

Only the standard library is imported. Runs and entries of the log are dictionaries, see
fleet/controller.py; the log adds begun and seconds, address (of the controller, as this host sees
it) and result, which is missing until the run ends.
"""

from __future__ import annotations

import fcntl
import json
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from . import atomic

Run = dict[str, Any]

FOLDER = "/run/benchfleet-run"
LEASE = "lease.json"
LOG = "runs.jsonl"
LEASE_SECONDS = 600
RENEW_SECONDS = 60
# Entries of the log.
KEPT = 200
# The environment variable of a module that names its run.
VARIABLE = "BENCHFLEET_RUN"
# What a run has besides these is of use only while it is under way.
LOGGED = (
    "run",
    "account",
    "controller",
    "address",
    "version",
    "playbook",
    "arguments",
    "begun",
    "result",
    "seconds",
)


@contextmanager
def locked(folder: str = FOLDER) -> Iterator[None]:
    """The block runs alone on this host."""
    os.makedirs(folder, mode=0o700, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def read_lease(folder: str = FOLDER) -> Run | None:
    """The run that has or had the lease, with `age`: seconds since it was renewed."""
    try:
        with open(f"{folder}/{LEASE}", encoding="utf-8") as source:
            run: Run = json.load(source)
            # A clock that was set back must not make a lease valid for ever.
            return {**run, "age": abs(time.time() - os.fstat(source.fileno()).st_mtime)}
    except (FileNotFoundError, ValueError):
        return None


def holder(folder: str = FOLDER) -> Run | None:
    """The run that has the lease now."""
    run = read_lease(folder)
    return run if run and run["age"] < LEASE_SECONDS else None


def other_run(folder: str = FOLDER) -> Run | None:
    """The run that has the lease now, if this module is not part of it."""
    run = holder(folder)
    return run if run and run["run"] != os.environ.get(VARIABLE) else None


def renew(run: str, folder: str = FOLDER) -> bool:
    """Renew the lease of a run, named by its id; returns whether it has it."""
    with suppress(OSError):
        found = read_lease(folder)
        if found and found["run"] == run:
            os.utime(f"{folder}/{LEASE}")
            return True
    return False


def keep_renewed() -> None:
    """Renew the lease of the run that this module is part of, now and while it works."""
    run = os.environ.get(VARIABLE, "")
    if not run or not renew(run):
        return

    def work() -> None:
        while renew(run):
            time.sleep(RENEW_SECONDS)

    threading.Thread(target=work, daemon=True).start()


def read_log(state_dir: str) -> list[Run]:
    """The runs of a host, oldest first."""
    entries = []
    with suppress(FileNotFoundError):
        for line in Path(state_dir, LOG).read_text(encoding="utf-8").splitlines():
            with suppress(ValueError):
                entries.append(json.loads(line))
    return entries


def note(state_dir: str, run: Mapping[str, Any]) -> None:
    """Write a run into the log, in the place of what the log has of it.

    A host that does not belong to a fleet, or no longer, has no folder for it.
    """
    if not os.path.isdir(state_dir):
        return
    entry = {name: run[name] for name in LOGGED if name in run}
    entries = [known for known in read_log(state_dir) if known["run"] != entry["run"]]
    entries = sorted([*entries, entry], key=lambda known: float(known["begun"]))[-KEPT:]
    text = "".join(f"{json.dumps(known)}\n" for known in entries)
    atomic.write(f"{state_dir}/{LOG}", text, 0o600)


def take(
    run: Mapping[str, Any],
    state_dir: str,
    ended: str = "",
    force: bool = False,
    sure: bool = True,
    folder: str = FOLDER,
) -> Run | None:
    """Take the lease for a run; returns the run that has it instead, None when it was taken.

    ended: id of a run that is known to have ended, whose lease is taken. force: take it from any
    run, which is returned all the same. sure: False if a run on several hosts whose lease was not
    renewed for long keeps it: it may be at work on another one.
    """
    with locked(folder):
        former, other = read_lease(folder), holder(folder)
        if not sure and not other and former and len(former.get("hosts", [])) > 1:
            other = former
        if other and other["run"] in (run["run"], ended):
            other = None
        if other and not force:
            return other
        known = former if former and former["run"] == run["run"] else None
        own = known or {**run, "begun": time.time(), "address": origin()}
        atomic.write(f"{folder}/{LEASE}", json.dumps(own), 0o600, durable=False)
        # The first run on a host begins before there is a log.
        for one in (former, own):
            if one and not any(e["run"] == one["run"] for e in read_log(state_dir)):
                note(state_dir, one)
        return other


def give_back(run: Mapping[str, Any], state_dir: str, result: str, folder: str = FOLDER) -> None:
    """End a run: its lease is removed, and the log gets its result."""
    with locked(folder):
        lease = read_lease(folder)
        known = lease if lease and lease["run"] == run["run"] else None
        if known:
            os.unlink(f"{folder}/{LEASE}")
        else:
            known = next((e for e in read_log(state_dir) if e["run"] == run["run"]), None)
        if known:
            seconds = round(time.time() - float(known["begun"]), 1)
            note(state_dir, {**known, "result": result, "seconds": seconds})


def log(state_dir: str, folder: str = FOLDER) -> list[Run]:
    """The runs of a host, oldest first; `result` says of each how it ended, or that it did not."""
    now = holder(folder) or {}
    return [
        {
            **entry,
            "result": entry.get("result")
            or ("under way" if entry["run"] == now.get("run") else "did not end"),
        }
        for entry in read_log(state_dir)
    ]


def last_run(state_dir: str, folder: str = FOLDER) -> Run | None:
    """The last run: {when, who, controller, playbook, result, seconds}; None before the first.

    when: epoch seconds. seconds: None unless it ended.
    """
    entries = log(state_dir, folder)
    if not entries:
        return None
    last = entries[-1]
    return {
        "when": last["begun"],
        "who": last["account"],
        "controller": last["controller"],
        "playbook": last["playbook"],
        "result": last["result"],
        "seconds": last.get("seconds"),
    }


def origin() -> str:
    """Address from which this process was started over ssh; "" where it was not.

    sudo removes the variable from the environment, so those of its parents are read.
    """
    process = os.getpid()
    while process > 1:
        try:
            environment = Path(f"/proc/{process}/environ").read_bytes().split(b"\0")
            status = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            return ""
        for setting in environment:
            name, _, value = setting.partition(b"=")
            if name == b"SSH_CONNECTION" and value:
                return value.split()[0].decode(errors="replace")
        process = int(status.rpartition(")")[2].split()[1])
    return ""
