"""Files that the bench CLI has generated, and whether a bench's code fits Benchfleet's packages."""

from __future__ import annotations

import glob
import hashlib
import json
import os
from typing import Any

from .. import atomic
from ..supervisor.control import missing_programs
from .account import read_foreign, read_json, read_text
from .jobs_tool import fit

# Name of the file: its name in the bench's folder config.
GENERATED = {
    "supervisor.conf": "supervisor.conf.bench",
    "redis_cache.conf": "redis_cache.conf",
    "redis_queue.conf": "redis_queue.conf",
    # Named by these; the fleet's Redis has its own.
    "redis_cache.acl": "redis_cache.acl",
    "redis_queue.acl": "redis_queue.acl",
}


def generated(path: str) -> dict[str, str | None]:
    """The files that the bench CLI wrote: {name: text}, None for those that are missing.

    Where the fleet's own file has that name, the original is beside it (role bench_processes).
    """
    return {name: read_foreign(f"{path}/config/{file}") for name, file in GENERATED.items()}


def fitting_key(path: str, package_dir: str, *others: Any) -> str:
    """Hash of what decides whether a bench fits: its environment, our packages, and ``others``."""
    places = [*glob.glob(f"{glob.escape(path)}/env/lib/python*/site-packages"), f"{path}/env"]
    about = [(place, os.stat(place).st_mtime_ns) for place in places]
    texts = [read_text(source) for source in sorted(glob.glob(f"{package_dir}/*/contract.py"))]
    return hashlib.sha256(json.dumps([about, texts, others]).encode()).hexdigest()


def kept_misfits(params: dict[str, Any], apps: dict[str, Any], write: bool) -> list[str]:
    """What does not fit, checked again after a change; [] for a bench that does not exist yet."""
    path, file = params["path"], f"{params['state_dir']}/contract.json"
    # In a dry run our packages may be those of an older release, or missing.
    needed = (f"{path}/env/bin/python", f"{params['package_dir']}/benchfleet_jobs/contract.py")
    if not params["user"] or not apps or not all(map(os.path.exists, needed)):
        return []
    text = generated(path)["supervisor.conf"]
    missing = missing_programs(text) if text else []
    asked = params["package_dir"], params["guard"]
    key = fitting_key(path, *asked, apps, missing)
    known = read_json(file)
    if known.get("key") == key:
        return list(known["misfits"])
    fits = fit(path, params["user"], *asked)
    found = fits.misfits + missing
    if not fits.known:
        # The next run checks again: the cause may have been too little memory, for example.
        key = ""
    if write and os.path.isdir(params["state_dir"]):
        content = json.dumps({"key": key, "misfits": found}, indent=1)
        atomic.write(file, content, durable=False)
    return found
