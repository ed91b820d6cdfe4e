"""A connection to the primary's gate that stays open: see gate_fetch.py and gate_changes.py."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from typing import IO, Any

from benchfleet_sync.names import CHUNK
from benchfleet_sync.primary import environment, gate_command
from benchfleet_sync.settings import Settings

MAX_ANSWER = 1 << 16


class AwayError(Exception):
    """The primary's gate cannot be asked."""


class EndedError(AwayError):
    """The gate has ended the connection."""


class Line:
    """A connection to the primary's gate; by default one that fetches one file after another.

    Deadlines are times of the monotonic clock. Raises AwayError, and is of no use after that.
    """

    def __init__(self, settings: Settings, deadline: float, command: str = "fetch") -> None:
        self.patience = settings.transfer_timeout
        self.process = subprocess.Popen(
            gate_command(settings, command),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(settings),
            bufsize=0,
        )
        assert self.process.stdin
        assert self.process.stdout
        self.asking, self.answering = self.process.stdin, self.process.stdout
        self.read = bytearray()
        try:
            self.answer(deadline)
        except AwayError as error:
            raise AwayError(self.close() or str(error)) from error

    def close(self) -> str:
        """End the connection; returns the last message of ssh or of the gate, "" for none."""
        self.process.kill()
        errors = self.process.communicate()[1].decode(errors="replace").strip()
        return errors.splitlines()[-1] if errors else ""

    def ask(self, site: str, name: str, deadline: float) -> dict[str, Any]:
        """Ask for a file; returns the gate's answer, after which a file's content comes."""
        try:
            self.asking.write(json.dumps({"site": site, "name": name}).encode() + b"\n")
        except OSError as error:
            raise EndedError from error
        return self.answer(deadline)

    def answer(self, deadline: float) -> dict[str, Any]:
        """A line of JSON."""
        try:
            answer = json.loads(self._line(deadline))
        except ValueError as error:
            raise AwayError(f"an unreadable answer ({error})") from error
        if not isinstance(answer, dict):
            raise AwayError("an answer that is not a JSON object")
        return answer

    def has_more(self) -> bool:
        """Whether something has come that was not read."""
        return bool(self.read or select.select([self.answering], [], [], 0)[0])

    def pour(self, size: int, out: IO[bytes]) -> bool:
        """Write the content of a file; returns whether it is complete."""
        while size:
            if not self.read:
                self._more(time.monotonic() + self.patience)
            written = out.write(self.read[:size])
            del self.read[:written]
            size -= written
        return self._line(time.monotonic() + self.patience) == b"whole"

    def _line(self, deadline: float) -> bytes:
        while (end := self.read.find(b"\n")) < 0:
            if len(self.read) > MAX_ANSWER:
                raise AwayError(f"an answer of more than {MAX_ANSWER} bytes")
            self._more(deadline)
        line = bytes(self.read[:end])
        del self.read[: end + 1]
        return line

    def _more(self, deadline: float) -> None:
        ready, _, _ = select.select([self.answering], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            raise AwayError("no answer in time")
        chunk = os.read(self.answering.fileno(), CHUNK)
        if not chunk:
            raise EndedError("the connection has ended")
        self.read += chunk
