"""What a host's system has: room, time zone, Pythons, supervisor."""

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

# The interpreters that a distribution, or somebody's own installation, puts there.
SYSTEM_PYTHONS = ("/usr/bin/python3", "/usr/bin/python3.*", "/usr/local/bin/python3.*")
# 2026-01-01, in seconds of the epoch.
NEW_YEAR = 1767225600


def free_bytes(path: str) -> dict[str, Any]:
    """Free bytes of the file system that holds, or would hold, path; device tells two apart."""
    there = existing(os.path.abspath(path))
    numbers = os.statvfs(there)
    return {
        "free": numbers.f_bavail * numbers.f_frsize,
        "device": str(os.stat(there).st_dev),
        "on": there,
    }


def time_zone(file: str = "/etc/localtime") -> dict[str, Any]:
    """The host's time zone: its name, "" where the file is no link to one, and its offsets from
    UTC through two years, in seconds.
    """
    os.environ["TZ"] = f":{file}"
    time.tzset()
    offsets = [time.localtime(NEW_YEAR + month * 30 * 86400).tm_gmtoff for month in range(25)]
    name = os.path.realpath(file).partition("/zoneinfo/")[2] if os.path.lexists(file) else "UTC"
    return {"name": name, "offsets": offsets}


def look_at_supervisor() -> dict[str, Any]:
    """{supervisor: why supervisord cannot read its configuration, "" when it can or is not
    installed; supervisor_writers: who else than root can write its files, {path: who}}.

    A file of ours is left out of the first: the run writes it anew, with the folders that it names.
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
        "supervisor_writers": {path: who for path, who in writers.items() if who},
    }


def system_pythons() -> list[str]:
    """Python interpreters in the system's folders; their tools are left out."""
    found = [path for pattern in SYSTEM_PYTHONS for path in sorted(glob.glob(pattern))]
    return [path for path in found if re.fullmatch(r"python3(\.\d+)?", os.path.basename(path))]


def python_version(path: str, user: str) -> str | None:
    """Version of a Python interpreter, None where ``user`` cannot run it or it does not answer.

    Root does not run it: it may be a link to one that the bench's account has built itself.
    """
    try:
        done = run_as(user, [path, "--version"], "/", {"PATH": "/usr/bin:/bin"}, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return None
    match = re.search(r"^Python (\d+(?:\.\d+)+)", done.stdout, re.MULTILINE)
    return match.group(1) if match else None


def env_python(bench_dir: str, user: str) -> str:
    """Version of the Python that a finished bench of ``user``'s runs on, "" where none is."""
    if not Path(bench_dir, ".benchfleet-complete").exists():
        return ""
    return adoption.python_version(bench_dir, user)
