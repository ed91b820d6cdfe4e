"""The runs that changed a fleet, as its hosts have noted them: `./fleet log`."""

from __future__ import annotations

import json
import sys
import textwrap
import time
from collections.abc import Iterable, Sequence
from typing import Any

from benchfleet import reports, runner, screen
from benchfleet.shell import NOT_ASKED

# Longest texts of cells where the table has 80 columns.
WHO, RESULT = 18, 20


def merged(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the runs of all hosts, newest first, each once with its `hosts`.

    entries: runs as single hosts know them (module_utils/fleet/runs.py), with `host`. A host that
    was down when a run ended does not know how; the others do.
    """
    found: dict[str, dict[str, Any]] = {}
    for entry in entries:
        run = found.setdefault(entry["run"], {**entry, "hosts": []})
        if entry.get("seconds") is not None:
            run |= {"result": entry["result"], "seconds": entry["seconds"]}
        run["hosts"].append(entry["host"])
    runs = [
        {key: run[key] for key in run if key != "host"} | {"hosts": sorted(run["hosts"])}
        for run in found.values()
    ]
    return sorted(runs, key=lambda run: float(run["begun"]), reverse=True)


def duration(seconds: float | None) -> str:
    """Return seconds as people read them, such as 12s or 3m04s; "-" where they are not known."""
    if seconds is None:
        return "-"
    whole = round(seconds)
    return f"{whole}s" if whole < 60 else f"{whole // 60}m{whole % 60:02}s"


def row(run: dict[str, Any], wide: bool) -> dict[str, str]:
    """Return a run as a row of the table; what is long is shortened where it is not wide."""
    who, hosts = f"{run['account']}@{run['controller']}", run["hosts"]
    shown = {
        "TIME": time.strftime("%d %b %H:%M", time.localtime(float(run["begun"]))),
        "WHO": who if wide else screen.cut(who, WHO),
        "WHAT": run["playbook"].removesuffix(".yml"),
        "TOOK": duration(run.get("seconds")),
        "HOSTS": " ".join(hosts) if wide else hosts[0] + f" +{len(hosts) - 1}" * (len(hosts) > 1),
        "RESULT": run["result"],
    }
    if wide:
        shown |= {"CALLED WITH": run["arguments"] or "-", "FROM": run["address"] or "-"}
        shown["BENCHFLEET"] = run["version"]
    return shown


def log_table(runs: Sequence[dict[str, Any]], wide: bool) -> list[str]:
    """Return runs as lines, of 80 columns if not wide: a long result goes on in the next line."""
    lines = screen.table([row(run, wide) for run in runs], sys.maxsize, flexible=())
    if wide:
        return lines
    indent = lines[0].index("RESULT")
    width = max(screen.WIDTH - indent, RESULT)
    folded = []
    for line in lines:
        first, *more = textwrap.wrap(line[indent:], width)
        folded += [line[:indent] + first, *(" " * indent + part for part in more)]
    return folded


def show(outcome: runner.Outcome, *, as_json: bool, wide: bool) -> int:
    """Print the runs, newest first; returns 0, or 3 if no host told its runs."""
    told = [result for result in outcome.results if "runs" in result]
    runs = merged(reports.collected(told, "runs"))
    if as_json:
        print(json.dumps({"ok": bool(told), "runs": runs}, indent=2))
    elif runs:
        print("\n".join(log_table(runs, wide)))
    elif told:
        print("No run is in the log yet.")
    return 0 if told else NOT_ASKED
