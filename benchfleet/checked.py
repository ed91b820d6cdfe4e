"""The verdict of `./fleet check`: what preflight found."""

from __future__ import annotations

import json
from typing import Any

from benchfleet import runner
from benchfleet.shell import NOT_ASKED, NOT_FINE, number_of


def show(outcome: runner.Outcome, *, as_json: bool, wide: bool) -> int:
    """Print all problems and warnings, and how many there are; returns the exit status.

    wide: without effect, as problems are text.
    """
    verdict: dict[str, Any] = next(
        (
            result["ansible_facts"]["preflight_verdict"]
            for result in outcome.results
            if "preflight_verdict" in (result.get("ansible_facts") or {})
        ),
        {},
    )
    # Those of the action fail, which has no `failed` in its result.
    texts = dict.fromkeys(
        str(result["msg"]).strip() for result in outcome.results if "msg" in result
    )
    problems, warnings = verdict.get("problems") or [], verdict.get("warnings") or []
    if as_json:
        told = {"ok": outcome.ok, "problems": problems, "warnings": warnings}
        # Of hosts that do not answer, and of what ended the run before its verdict.
        told["messages"] = [] if problems else list(texts)
        print(json.dumps(told, indent=2))
    else:
        for text in [*texts, *(f"warning: {warning}" for warning in warnings)]:
            print(f"{text}\n")
        print(line(outcome, len(problems) or len(texts), len(warnings)))
    if outcome.ok:
        return 0
    return NOT_FINE if verdict else NOT_ASKED


def line(outcome: runner.Outcome, problems: int, warnings: int) -> str:
    """Return the verdict as a line."""
    besides = f", {number_of(warnings, 'warning')}" if warnings else ""
    if outcome.ok:
        return (
            f"check: no problems{besides}. `./fleet plan` shows what `./fleet apply` would change"
        )
    if problems:
        return f"check: {number_of(problems, 'problem')}{besides}. Nothing was touched on any host"
    return f"check: not finished, see the message above (log: {outcome.log})"
