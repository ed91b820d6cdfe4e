"""The forward file of a router: while it is there, every call goes to another host's router.

The router's nodes.lua reads it for each call. Only the standard library is imported, because
programs on the hosts use this, too.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from . import atomic

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
