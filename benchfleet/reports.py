"""Tables for people, from the results of playbooks.

Functions `show_…` print a run's result to standard output and return the exit status: 0 fine,
1 not fine, 3 where nothing could be found out.
"""

from __future__ import annotations

import json
import textwrap
import time
from collections.abc import Sequence
from typing import Any

from benchfleet import screen, status_view
from benchfleet.runner import Outcome
from benchfleet.screen import WIDTH
from benchfleet.shell import NOT_ASKED, NOT_FINE, say


def collected(results: Sequence[dict[str, Any]], key: str) -> list[dict[str, Any]]:
    """Return all entries of a list that modules returned under `key`."""
    return [entry for result in results for entry in result.get(key) or []]


def unasked(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return why hosts could not be asked, as lines between empty ones; none where all could."""
    texts = [str(result["text"]) for result in results if result.get("problems")]
    return [line for text in texts for line in ("", *text.splitlines(), "")]


def cell(value: Any) -> str:
    """Return a value as a cell of a table, on one line."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{name} {cell(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(cell(part) for part in value)
    return " ".join(str("" if value is None else value).split())


def refusals(results: Sequence[dict[str, Any]]) -> list[str]:
    """Return the errors and the warnings of the collected modules."""
    errors = [f"error: {r['msg']}" for r in results if r.get("failed") and r.get("msg")]
    return errors + [f"warning: {w}" for r in results for w in r.get("warnings") or []]


def as_document(found: dict[str, Any]) -> list[str]:
    """Return a result as lines for programs."""
    return [json.dumps(found, indent=2)]


def show_status(outcome: Outcome, *, as_json: bool, wide: bool) -> int:
    """Print the state of the fleet. An amber fleet has exit status 0, a red one 1."""
    found = status_view.gathered(outcome)
    if as_json:
        lines = as_document(status_view.for_programs(outcome, found))
    else:
        lines = status_view.lines_of(found, wide=wide, now=time.time()) if found else []
    for line in lines:
        print(line)
    if not found:
        say(f"the status is not known: playbooks/status.yml ended too early (log: {outcome.log})")
    return status_view.exit_status(outcome, found)


def routes_lines(routes: Sequence[dict[str, Any]], *, wide: bool) -> list[str]:
    """Return routes as lines, and how many methods go where."""
    shown = [
        {
            # In 80 columns, the end of a method's name says more than its beginning.
            "method": route["method"] if wide else screen.end_of(route["method"], 40),
            "goes to": route["bench"] + "/primary" * bool(route.get("light")),
            "why": route["why"] if wide else screen.cut(route["why"], 19),
            **({"defined in": route["where"]} if wide else {}),
        }
        for route in routes
    ]
    away = sum(route["bench"] == "reporting" for route in routes)
    return [
        *screen.table(shown, screen.width(wide=wide), flexible=()),
        f"{away} methods go to the reporting nodes; every other call goes to the primary",
        *["reporting/primary: the primary answers when no node has a free process"]
        * any(route.get("light") for route in routes),
    ]


def show_routes(outcome: Outcome, *, as_json: bool, wide: bool) -> int:
    """Print where the router sends which method."""
    routes = collected(outcome.results, "routes")
    for message in refusals(outcome.results):
        say(message)
    if as_json:
        lines = as_document({"ok": outcome.ok, "routes": routes})
    else:
        lines = routes_lines(routes, wide=wide) if routes else []
    for line in lines:
        print(line)
    return (0 if outcome.ok else NOT_FINE) if routes else NOT_ASKED


def jobs_lines(found: dict[str, Any], *, wide: bool) -> list[str]:
    """Return where jobs are placed, and every queue, as lines."""
    placed = [
        {
            "job": entry["job"] if wide else screen.end_of(entry["job"], 40),
            "done on": entry["server"],
            "queue": entry["queue"],
        }
        for entry in found["placement"]
    ]
    queues = [
        {
            "queue": row["queue"],
            "waiting": row["length"],
            "oldest": "-"
            if row["oldest_seconds"] is None
            else status_view.span(row["oldest_seconds"]),
            "running": row["running"],
            "workers": row["workers"],
            "of": ", ".join(row["hosts"]),
            "state": row["state"],
        }
        for row in found["queues"]
    ]
    most = screen.width(wide=wide)
    right = ("waiting", "oldest", "running", "workers")
    cut = () if wide else ("done on", "queue", "state", "of")
    nothing = ["no job is placed: the workers of the general queues do them all"]
    lines = [
        *(screen.table(placed, most, flexible=cut[:2]) or nothing),
        "",
        *screen.table(queues, most, flexible=cut[1:], right=right),
    ]
    # A state that is no single word is in the table only as far as there is room.
    for row in [] if wide else queues:
        if " " in row["state"]:
            lines += screen.paragraph(f"{row['queue']}: ", row["state"], most)
    return lines


def show_jobs(outcome: Outcome, *, as_json: bool, wide: bool) -> int:
    """Print where jobs are placed and the state of the queues."""
    found: dict[str, Any] = next((r["jobs"] for r in outcome.results if r.get("jobs")), {})
    for message in refusals(outcome.results):
        say(message)
    if as_json:
        lines = as_document({"ok": outcome.ok and bool(found), **found})
    else:
        lines = jobs_lines(found, wide=wide) if found else []
    for line in lines:
        print(line)
    return (0 if outcome.ok else NOT_FINE) if found else NOT_ASKED


def show_verify(outcome: Outcome, *, as_json: bool, wide: bool) -> int:
    """Print what verify found; returns the exit status.

    0 where all checks are ok, 1 where one failed or something of verify's was left, 3 where nothing
    failed and checks could not be asked. wide: all checks, not only those that failed.
    """
    checks, left = (collected(outcome.results, key) for key in ("checks", "left"))
    failed = any(check["state"] == "failed" for check in checks)
    unknown = not checks or any(check["state"] == "unknown" for check in checks)
    if as_json:
        ok = outcome.ok and not failed and not unknown
        found = {"checks": checks, "left": left}
        found["problems"] = collected(outcome.results, "problems")
        print(json.dumps({"ok": ok, **found}, indent=2))
    else:
        lines = [*unasked(outcome.results), *verdict_table(checks, wide=wide)]
        lines += [f"verify could not remove what it had made: {one}" for one in left]
        if not checks:
            lines.append(f"no check was made: playbooks/verify.yml ended early ({outcome.log})")
        print("\n".join(lines))
    if failed:
        return 1
    return 3 if unknown else int(not outcome.ok)


def verdict_table(checks: Sequence[dict[str, Any]], *, wide: bool = False) -> list[str]:
    """Return verify's checks as lines: one for each row, then each failed check with its remedy.

    Those that were not asked are grouped by their cause. wide: all checks with what was seen.
    """
    if not checks:
        return []
    rows: dict[str, list[dict[str, Any]]] = {}
    for check in checks:
        rows.setdefault(check["row"], []).append(check)
    shown = [
        {"row": row, "what": of_row[0]["about"], "result": closing(of_row, of_all=False)}
        for row, of_row in rows.items()
    ]
    lines = screen.table(shown, WIDTH, flexible=("what",))
    for check in checks:
        if wide or check["state"] == "failed":
            lines += ["", *detail(check)]
    causes: dict[str, list[dict[str, Any]]] = {}
    for check in checks:
        if check["state"] == "unknown":
            why = f"needs {check['because']}" if check["because"] else cell(check["saw"])
            causes.setdefault(why, []).append(check)
    for why, unmade in causes.items():
        hosts = ", ".join(dict.fromkeys(check["host"] for check in unmade))
        number = f"{len(unmade)} check{'s' * (len(unmade) > 1)} of {hosts}"
        why = why.removeprefix("not asked: ")
        lines += ["", *folded(f"not asked: {number}: {why}", "", "  ")]
    return [*lines, "", closing(checks)]


def folded(text: str, first: str, rest: str) -> list[str]:
    """Return a text as lines of at most WIDTH characters; long words are not cut."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=first,
        subsequent_indent=rest,
        break_long_words=False,
        break_on_hyphens=False,
    )


def detail(check: dict[str, Any]) -> list[str]:
    """Return a check as lines: what was seen; of a failed one what was wanted, and the remedy."""
    words = {"ok": "ok" if applies(check) else "n/a", "failed": "FAIL", "unknown": "not asked"}
    mark = words[check["state"]]
    lines = folded(f"{mark}  {check['row']}  {check['host']}  {check['check']}", "", "      ")
    parts = ["saw", *(["wanted", "remedy"] if check["state"] == "failed" else []), "id"]
    for part in parts:
        lines += folded(f"{part}: {cell(check[part])}", "      ", "        ")
    return lines


def closing(checks: Sequence[dict[str, Any]], *, of_all: bool = True) -> str:
    """Return the numbers of checks by state; of_all: also those that are ok, and not applicable."""
    states = [check["state"] if applies(check) else "n/a" for check in checks]
    counts = {name: states.count(name) for name in ("ok", "failed", "unknown", "n/a")}
    if not of_all:
        parts = {"FAIL": counts["failed"], "not asked": counts["unknown"]}
        return ", ".join(f"{name} {number}" for name, number in parts.items() if number) or "ok"
    names = {"ok": "ok", "failed": "failed", "unknown": "not asked", "n/a": "not applicable"}
    always = ("ok", "failed")
    return ", ".join(
        f"{number} {names[state]}" for state, number in counts.items() if number or state in always
    )


def applies(check: dict[str, Any]) -> bool:
    """Return whether there was anything to check."""
    return check.get("applicable") is not False
