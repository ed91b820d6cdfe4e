"""Statements on the local server by its client program, as root through the socket."""

from __future__ import annotations

import subprocess


def ask(statement: str, form: str = "--skip-column-names") -> str:
    """The server's answer, in a form of the client. Raises OSError or SubprocessError."""
    done = subprocess.run(
        ["mariadb", "--no-defaults", "--batch", form, "-e", statement],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.strip()
