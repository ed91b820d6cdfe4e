"""The local server is asked by its client program, as root through the socket."""

from __future__ import annotations

import subprocess


def ask(statement: str, form: str = "--skip-column-names") -> str:
    """What it answers, in a form of the client's. Raises OSError or SubprocessError."""
    done = subprocess.run(
        ["mariadb", "--no-defaults", "--batch", form, "-e", statement],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    return done.stdout.strip()
