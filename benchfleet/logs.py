"""The screen of `./fleet logs`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from benchfleet import reports, runner, screen
from benchfleet.shell import NOT_ASKED, NOT_FINE, USAGE


def show(outcome: runner.Outcome, *, as_json: bool, wide: bool) -> int:
    """Print the last lines of the logs; returns the exit status.

    0: all logs that are there were read. 1: one was not. 2: there is no log of the name that was
    asked for, or the number of lines is wrong. 3: no host could be asked.
    """
    logs = reports.collected(outcome.results, "logs")
    troubles = any(log["trouble"] for entry in logs for log in entry["logs"])
    refused = [str(result["msg"]) for result in outcome.results if result.get("refused")]
    for message in dict.fromkeys(refused):
        print(message, file=sys.stderr)
    status = USAGE if refused else NOT_ASKED if not logs else NOT_FINE if troubles else 0
    if as_json:
        print(json.dumps({"ok": status == 0, "logs": logs}, indent=2))
    else:
        summary = any(result.get("summary") for result in outcome.results)
        for line in lines(logs, summary=summary, width=None if wide else screen.WIDTH):
            print(line)
    return status


def lines(
    logs: Sequence[dict[str, Any]], *, summary: bool, width: int | None = None
) -> Iterator[str]:
    """Return what was read as lines, a title above each log.

    summary: whether only errors and warnings were read. width: a summary's lines are cut there.
    """
    for host in dict.fromkeys(entry["host"] for entry in logs):
        mine = [entry for entry in logs if entry["host"] == host]
        if summary:
            calm = [entry["what"] for entry in mine if not entry["logs"]]
            yield f"{host}: the last errors and warnings"
        else:
            calm = []
            yield f"{host}: {', '.join(entry['what'] for entry in mine)}"
        for entry in mine:
            for log in entry["logs"]:
                yield ""
                yield f"{entry['what']}  {log['source']}"
                if log["trouble"]:
                    yield f"  not read: {log['trouble']}"
                for line in log["lines"]:
                    yield from one(line, summary=summary, width=width)
            if not entry["logs"] and not summary:
                yield f"  nothing is logged for {entry['what']}"
        if calm:
            yield ""
            yield f"none: {', '.join(calm)}"


def one(line: dict[str, str], *, summary: bool, width: int | None) -> Iterator[str]:
    """Return a line of a log; in a summary after its time, and cut at the width."""
    text = line["text"]
    if not summary:
        yield text
        return
    at = "" if line["at"] and line["at"] in text else line["at"]
    shown = f"  {at} {text}" if at else f"  {text}"
    yield shown if width is None else screen.cut(shown, width)
