"""The forward file of a router: while it is there, every call goes to another host's router.

The router's nodes.lua reads it for each call. Only the standard library is imported, because
programs on the hosts use this, too.
"""

from __future__ import annotations

import ipaddress
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from . import atomic
from .calls import listens
from .changes import diff
from .work import Work

FILE = "forward"
# Calls wait at the router while this is there; the bench's restarts make it, too (calls.py).
HOLD = "hold"


@dataclass(frozen=True)
class Forward:
    """The router that gets the calls: its host, the address and port where it takes them."""

    host: str
    address: str
    port: int

    @classmethod
    def of(cls, text: str) -> Forward:
        """What the file says: ``HOST ADDRESS PORT``. Raises ValueError."""
        host, address, port = text.split()
        return cls(host, address, int(port))

    def line(self) -> str:
        """The content of the file."""
        return f"{self.host} {self.address} {self.port}\n"


def read(state_dir: str) -> Forward | None:
    """Where this host's router sends calls, None where it serves them itself.

    Raises OSError, and ValueError for a file of another form, with which a router answers no call.
    """
    try:
        return Forward.of(Path(state_dir, FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def bring(state_dir: str, wanted: Forward | None) -> None:
    """Write the file, or remove it; it survives a power cut. Raises OSError."""
    path = Path(state_dir, FILE)
    if wanted is None:
        path.unlink(missing_ok=True)
        atomic.sync_folder(state_dir)
    else:
        atomic.write(path, wanted.line(), 0o644)


def release(state_dir: str) -> bool:
    """End a hold, so that the calls that wait go on; returns whether there was one."""
    try:
        Path(state_dir, HOLD).unlink()
    except FileNotFoundError:
        return False
    return True


def is_held(state_dir: str) -> bool:
    """Whether calls wait, or would wait if the hold is still valid."""
    return Path(state_dir, HOLD).exists()


def hold(state_dir: str, seconds: int, dry: bool) -> dict[str, bool]:
    """Have calls wait here, that would be passed on to a router which does not answer.

    seconds: for how long; 0 ends it. Returns {changed, held}. Raises OSError.
    """
    was = is_held(state_dir)
    if seconds == 0:
        if not dry:
            release(state_dir)
        return {"changed": was, "held": False}
    try:
        target = read(state_dir)
        away = target is not None and not listens(target.address, target.port)
    except ValueError:
        away = True
    if away and not dry:
        until = f"{time.time() + seconds:.0f}\n"
        atomic.write(Path(state_dir, HOLD), until, 0o644, durable=False)
    return {"changed": away, "held": away or was}


def asked_for(params: dict[str, Any]) -> Forward | None:
    """What the module's arguments ask for. Raises ValueError."""
    if params["state"] == "absent":
        return None
    address = ipaddress.ip_address(params["address"]).compressed
    wanted = Forward(params["host"], address, params["port"])
    if Forward.of(wanted.line()) != wanted:
        raise ValueError(f"{params['host']!r} is not the name of a host")
    return wanted


def do(module: Any, params: dict[str, Any]) -> dict[str, Any]:
    """Result of the module forward. Raises OSError and ValueError."""
    if params["state"] == "held":
        return hold(params["state_dir"], params["hold_seconds"], module.check_mode)
    wanted, state_dir = asked_for(params), params["state_dir"]
    try:
        was, spoilt = read(state_dir), False
    except ValueError:
        was, spoilt = None, True
    held = is_held(state_dir)
    moves = spoilt or was != wanted
    ends = held and params["hold"] == "off"
    if not module.check_mode:
        # In this order: a call that waits looks for the file when its wait ends.
        if moves:
            bring(state_dir, wanted)
        if ends:
            release(state_dir)
    lines = [[one.line().strip()] if one else [] for one in (was, wanted)]
    return {
        "changed": moves or ends,
        "was": asdict(was) if was else None,
        "held": held,
        "diff": diff(*lines),
    }


WORK = Work(
    {
        "state": {"type": "str", "choices": ["present", "absent", "held"], "required": True},
        "state_dir": {"type": "path", "required": True},
        "host": {"type": "str"},
        "address": {"type": "str"},
        "port": {"type": "int"},
        "hold": {"type": "str", "choices": ["keep", "off"], "default": "keep"},
        "hold_seconds": {"type": "int", "default": 120},
    },
    do,
    (OSError, ValueError),
    required_if=(("state", "present", ["host", "address", "port"]),),
)
