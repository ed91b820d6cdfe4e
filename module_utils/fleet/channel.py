"""The way from root on a reporting host to the account that sends copies on another host.

What that account does for the host's key is decided there, by the command that its key is bound to
(roles/mariadb_seed_source).

Only the standard library is imported, because programs on the hosts use this.
"""

from __future__ import annotations

import subprocess
import tempfile

from .folders import folder

# Exit status of ssh when there was no connection, and of timeout when it ended the command.
NO_CONNECTION, TIMED_OUT = 255, 124


class ChannelError(Exception):
    """The other host refused, or sent too much; the message has its last words."""


class AwayError(ChannelError):
    """The other host did not answer."""


def command(address: str, port: int, user: str, word: str) -> list[str]:
    """The ssh command that asks for a word: only the fleet's own key and host keys count."""
    options = {
        "IdentityFile": str(folder("config") / "ssh" / "seed"),
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": str(folder("config") / "known_hosts"),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "BatchMode": "yes",
        "ConnectTimeout": "10",
        "ServerAliveInterval": "5",
        "ServerAliveCountMax": "4",
        "Compression": "no",
    }
    words = ["ssh", "-F", "/dev/null", "-T", "-p", str(port)]
    for name, value in options.items():
        words += ["-o", f"{name}={value}"]
    return [*words, f"{user}@{address}", word]


def answer(words: list[str], most: int, seconds: int) -> bytes:
    """The output of such a command: one line, of at most so many bytes, in so many seconds.

    A host that does not know the word yet begins to send a copy of its data, and is stopped at
    once. Raises AwayError, ChannelError.
    """
    with tempfile.TemporaryFile() as errors:
        with subprocess.Popen(
            ["timeout", str(seconds), *words],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
        ) as process:
            assert process.stdout is not None
            data = process.stdout.readline(most + 1)
            too_much = len(data) > most or process.stdout.read(1) != b""
            if too_much:
                process.terminate()
        if too_much:
            raise ChannelError("it sent something else, or too much; run site.yml for both hosts")
        errors.seek(0)
        said = " ".join(errors.read().decode(errors="replace").split())[-300:]
    if process.returncode in (NO_CONNECTION, TIMED_OUT):
        raise AwayError(said or f"no answer within {seconds} s")
    if process.returncode != 0:
        raise ChannelError(said or f"exit status {process.returncode}")
    return data
