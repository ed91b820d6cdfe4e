"""Git repositories of the tests' own."""

from __future__ import annotations

import subprocess
from pathlib import Path


def git(folder: Path, *words: str | Path) -> str:
    """Run git in a folder; returns what it prints."""
    done = subprocess.run(["git", "-C", folder, *words], capture_output=True, text=True, check=True)
    return done.stdout.strip()
