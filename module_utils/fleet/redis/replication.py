"""The two Redis for jobs: the primary's, in which jobs wait, and the standby's, which copies it.

Which of the two a host has follows from its record. Redis' settings name neither, so that a host
whose record changes needs no new file. Only Python is needed, because the program that starts the
queue's Redis uses this.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from .. import record
from ..bench.files import redis_settings
from ..record import Record, RecordError

# In the folder of Redis' files while these are a copy: holds the address of the other Redis.
COPY = "copy-of"
# Beside Redis' settings: how it signs in to the other one.
SETTINGS_FILE = "replication.conf"
# The setting with the address by which the other one knows this Redis.
ANNOUNCED = "replica-announce-ip"
LOOK_SECONDS = 0.5
# The primary's Redis sends something at least every 10 s.
SILENT_SECONDS = 30


@dataclass(frozen=True)
class Part:
    """What the queue's Redis of this host is to be.

    source: address of the Redis that it copies, "" where it is the primary's. waits: why it can be
    neither yet, "" where it can.
    """

    source: str = ""
    waits: str = ""


def part(config_dir: str, state_dir: str, run_dir: str = record.FOLDER) -> Part:
    """The part that follows from the record of this host; without one it is the primary's.

    A host whose record names it may have been replaced while it was down. So it waits until the
    record's service has asked the others, and has opened MariaDB.
    """
    try:
        own = Record.read(state_dir)
        if own is None:
            return Part()
        host = json.loads(Path(config_dir, "fleet.json").read_text(encoding="utf-8"))["host"]
    except (OSError, ValueError, KeyError, RecordError) as error:
        return Part(waits=f"it is not known whether this host is the primary: {error}")
    if own.primary != host:
        source = own.hosts.get(own.primary, "")
        why = "" if source else f"the record has no address of the primary {own.primary}"
        return Part(source, why)
    found = record.state(run_dir)
    if found.get("open") and found.get("epoch") == own.epoch:
        return Part()
    why = found.get("why") or f"see `systemctl status {record.UNIT}`"
    return Part(waits=f"MariaDB of this host is not open as the primary's: {why}")


def await_part(look: Callable[[], Part], log: Callable[[str], None]) -> Part:
    """The part, as soon as there is one; ``log`` gets each reason of the wait once."""
    said = ""
    while (found := look()).waits:
        if found.waits != said:
            said = found.waits
            log(f"The queue's Redis is not started yet: {said}")
        time.sleep(LOOK_SECONDS)
    return found


def lan_address(conf: str) -> str:
    """The address of this host at which the other one reaches Redis. conf: text of its settings."""
    return redis_settings(conf).get("bind", "").split(" ")[-1]


def options(conf: str, source: str) -> list[str]:
    """Options with which Redis starts, after its own settings.

    conf: their path. source: address of the Redis that it copies, "" for none.
    """
    text = Path(conf).read_text(encoding="utf-8")
    file = Path(conf).parent / SETTINGS_FILE
    found = []
    if file.exists():
        found = ["--include", str(file), f"--{ANNOUNCED}", lan_address(text)]
    if source:
        found += ["--replicaof", source, redis_settings(text)["port"]]
    return found


def is_copy(folder: str) -> bool:
    """Whether the files in the folder of Redis are a copy."""
    return Path(folder, COPY).exists()


def note(folder: str, source: str) -> None:
    """Write down whether Redis' files are a copy of those of the Redis at ``source``."""
    if source:
        Path(folder, COPY).write_text(f"{source}\n", encoding="utf-8")
    else:
        Path(folder, COPY).unlink(missing_ok=True)


def copy_problems(info: Mapping[str, str], source: str = "") -> list[str]:
    """Why the standby may lack jobs of the primary: from INFO replication of the standby's Redis.

    source: address of the primary's; "" where any will do.
    """
    if info.get("role") != "slave":
        return ["it is no copy, but takes jobs itself"]
    found = []
    if source and info["master_host"] != source:
        found.append(f"it copies {info['master_host']}, not {source}")
    if info.get("master_sync_in_progress") == "1":
        found.append("its first copy is under way")
    elif info["master_link_status"] != "up":
        since = info.get("master_link_down_since_seconds", "-1")
        text = "it was never connected" if since == "-1" else f"no connection for {since} s"
        found.append(f"{text} to {info['master_host']}")
    elif (silent := int(info["master_last_io_seconds_ago"])) > SILENT_SECONDS:
        found.append(f"nothing came from {info['master_host']} for {silent} s")
    return found
