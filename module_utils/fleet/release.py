"""Which Benchfleet this is, by pyproject.toml and git: for the controller, hosts have neither."""

from __future__ import annotations

import os
import subprocess
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def version(root: Path = ROOT) -> str:
    """The version, such as 0.2.0. root: the project's folder."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return str(project["version"])


def commit(root: Path = ROOT) -> str:
    """The short id of the commit that is checked out; "" where there is no checkout or no git."""
    if not (root / ".git").exists():
        return ""
    # The checkout may be another account's. Git's own variables, set in a hook, would name another.
    command = ["git", "-c", f"safe.directory={root}", "-C", str(root), "rev-parse", "--short=7"]
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            [*command, "HEAD"], env=env, capture_output=True, text=True, check=False, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def title(root: Path = ROOT) -> str:
    """Name, version and commit, such as "benchfleet 0.2.0 (commit abc1234)"."""
    found = commit(root)
    return f"benchfleet {version(root)}" + (f" (commit {found})" if found else "")
