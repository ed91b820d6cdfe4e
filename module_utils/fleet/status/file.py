"""The status file of a host, which its timer writes, and the status that is read from it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

from .. import atomic
from ..runs import last_run
from .troubles import AMBER, RED, trouble, worst

# Seconds after which the file is not taken any more: three runs of the timer were missed.
OLD = 90
# Seconds that the timer waits for an answer, and for one to a slow question. Nobody waits for the
# timer: a busy host has more time than one that is asked while the operator looks.
SECONDS, SLOW_SECONDS = 10.0, 20.0
TIMER = "benchfleet-status."


def read(path: str) -> dict[str, Any] | None:
    """The status in a file; {} for one that cannot be read, None where there is no file."""
    try:
        with open(path, encoding="utf-8") as source:
            found = json.load(source)
        return found if isinstance(found, dict) and "measured" in found else {}
    except FileNotFoundError:
        return None
    except (OSError, ValueError):
        return {}


def write(params: Mapping[str, Any], path: str) -> None:
    """Measure the status of this host, and put it into its file, for root only."""
    from .host import status

    found = status(params, read(path), SECONDS, SLOW_SECONDS)
    atomic.write(path, json.dumps(found, indent=1) + "\n", mode=0o600, durable=False)


def current(params: Mapping[str, Any], path: str) -> dict[str, Any]:
    """The status of this host, from its file; measured anew where that is old.

    ``age_seconds`` says how old it is. An old file is a trouble; a host of an earlier release has
    none.
    """
    known = read(path)
    age = time.time() - float(known["measured"]) if known else None
    if known and age is not None and 0 <= age < OLD and known.get("role") == params["role"]:
        # A run of a playbook writes its end at once, and is looked at right then.
        last = last_run(params["state_dir"])
        about = {"host": params["host"], "age_seconds": round(age, 1), "last_run": last}
        return {**shown(known), **about}
    # Only here: it needs much more code.
    from .host import status

    found = {**shown(status(params)), "age_seconds": 0.0}
    return found if known is None else with_old_file(found, age)


def shown(found: Mapping[str, Any]) -> dict[str, Any]:
    """A status without what only the next measurement needs."""
    return {name: value for name, value in found.items() if name not in ("asked", "stuck")}


def with_old_file(found: dict[str, Any], age: float | None) -> dict[str, Any]:
    """A status with the trouble of an old file: red where its timer does not work.

    age: in seconds, None for a file that cannot be read.
    """
    broken = any(one["id"] == "units" and TIMER in one["what"] for one in found["troubles"])
    what = f"the host's status file is {age or 0:.0f} s old"
    if age is None:
        what = "the host's status file cannot be read"
    troubles = [*found["troubles"], trouble("status_old", what, RED if broken else AMBER)]
    text = f"{what} (id: status_old)"
    state = text if found["state"] == "up" else f"{found['state']}; {text}"
    return {**found, "troubles": troubles, "level": worst(troubles), "state": state}
