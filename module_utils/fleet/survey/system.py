"""State of a host's system: free space, time zone, Pythons, supervisor."""

from __future__ import annotations

import glob
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

from ..adoption import bench as adoption
from ..bench.account import read_text, run_as
from ..foreign import writer
from ..kept import existing
from ..supervisor.configuration import ConfigurationError, configuration, trouble_text

# Interpreters of the distribution, and others that were installed system-wide.
SYSTEM_PYTHONS = ("/usr/bin/python3", "/usr/bin/python3.*", "/usr/local/bin/python3.*")
# 2026-01-01, in seconds of the epoch.
NEW_YEAR = 1767225600


def free_bytes(path: str) -> dict[str, Any]:
    """Free space for path: {free: bytes, device: id of the file system, on: a folder of it}.

    path need not exist; then the nearest folder above it counts.
    """
    there = existing(os.path.abspath(path))
    numbers = os.statvfs(there)
    return {
        "free": numbers.f_bavail * numbers.f_frsize,
        "device": str(os.stat(there).st_dev),
        "on": there,
    }


def time_zone(file: str = "/etc/localtime") -> dict[str, Any]:
    """The host's time zone: {name, offsets}.

    name: "" where the file is not a link to a zone. offsets: seconds from UTC over two years.
    """
    os.environ["TZ"] = f":{file}"
    time.tzset()
    offsets = [time.localtime(NEW_YEAR + month * 30 * 86400).tm_gmtoff for month in range(25)]
    name = os.path.realpath(file).partition("/zoneinfo/")[2] if os.path.lexists(file) else "UTC"
    return {"name": name, "offsets": offsets}


def look_at_supervisor() -> dict[str, Any]:
    """State of supervisor's configuration: {supervisor, supervisor_writers}.

    supervisor: why supervisord cannot read it; "" when it can, or is not installed. Errors in a
    file of the fleet do not count: the run writes that file again, and makes the folders it names.
    supervisor_writers: {file: account other than root that can write it}.
    """
    try:
        read = configuration()
    except ConfigurationError as error:
        return {"supervisor": str(error), "supervisor_writers": {}}
    trouble, words = read["trouble"], ""
    if trouble and not any("Made by Benchfleet" in (read_text(f) or "") for f in trouble["files"]):
        words = trouble_text(trouble)
    writers = {file["path"]: writer(file["path"]) for file in read["files"]}
    return {
        "supervisor": words,
        "supervisor_writers": {path: account for path, account in writers.items() if account},
    }


def system_pythons() -> list[str]:
    """Python interpreters in the system's folders, without tools such as python3-config."""
    found = [path for pattern in SYSTEM_PYTHONS for path in sorted(glob.glob(pattern))]
    return [path for path in found if re.fullmatch(r"python3(\.\d+)?", os.path.basename(path))]


def python_version(path: str, user: str) -> str | None:
    """Version of a Python interpreter; None where ``user`` cannot run it or it does not answer.

    It is not run as root: it may be a link to an interpreter that the bench's account can replace.
    """
    try:
        done = run_as(user, [path, "--version"], "/", {"PATH": "/usr/bin:/bin"}, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"^Python (\d+(?:\.\d+)+)", done.stdout, re.MULTILINE)
    return match.group(1) if match else None


def env_python(bench_dir: str, user: str) -> str:
    """Version of the Python of ``user``'s finished bench; "" where there is no such bench."""
    if not Path(bench_dir, ".benchfleet-complete").exists():
        return ""
    return adoption.python_version(bench_dir, user)
