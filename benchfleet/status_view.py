"""The screen of `./fleet status`."""

from __future__ import annotations

import datetime
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fleet import release

from benchfleet import screen
from benchfleet.runner import Outcome
from benchfleet.shell import Interrupted

# What STATE shows for an id of a trouble. Of several, the first one here is shown.
WORDS = {
    "host_not_asked": "NO ANSWER",
    "disk_full": "DISK",
    "mariadb_down": "NO MARIADB",
    "nginx_down": "NO NGINX",
    "redis_down": "NO REDIS",
    "redis_no_writes": "REDIS",
    "no_web_workers": "NO WEB",
    "cron_down": "NO CRON",
    "read_only": "TAKES WRITES",
    "primary_closed": "CLOSED",
    "primary_follows": "FOLLOWS",
    "threads": "STOPPED",
    "lag": "LAGS",
    "sync_old": "OLD FILES",
    "files_not_followed": "LATE FILES",
    "falls_back": "FALLS BACK",
    "no_answer": "TIMED OUT",
    "program_stopped": "PROGRAM",
    "one_scheduler": "SCHEDULER",
    "no_scheduler": "SCHEDULER",
    "waiting": "NO WORKER",
    "jobs_old": "OLD JOBS",
    "memory_low": "MEMORY",
    "queue_room": "QUEUE FULL",
    "queue_safe": "QUEUE",
    "units": "UNIT",
    "passes_on": "PASSED ON",
    "host_fenced": "FENCE",
    "own_certificates": "CERTIFICATE",
    "contract": "CONTRACT",
    "record": "RECORD",
    "opened_alone": "ALONE",
    "not_known": "NOT KNOWN",
    "status_old": "OLD STATE",
}
IN_SERVICE = {
    "yes": "yes",
    "drained": "drained",
    "waiting": "waiting for apps",
    "no_web": "no web process",
    "no_answer": "no answer",
}
MARKS = {"red": "!", "amber": "~"}
# Each host writes its state every 30 s.
OLD_SECONDS = 60
WATCH_SECONDS = 5
# The parts of a result, each a list of one row for a host or a thing.
LISTS = ("status", "versions", "problems", "file_systems", "kept", "slow", "waits")
# Of a host's row: what the table and the lines under it show anyway.
SHOWN = (
    *("host", "role", "state", "level", "troubles", "lag_seconds", "sync_age_seconds", "workers"),
    *("in_service", "drained", "certificate_days", "last_run", "queues", "measured"),
    *("age_seconds", "sites_not_served", "update_needs", "record"),
)


def span(seconds: float | None) -> str:
    """Return a duration in its fitting unit: 11s, 12m, 5h, 3d; ? where it is not known."""
    if seconds is None:
        return "?"
    for unit, length, most in (("s", 1, 100), ("m", 60, 100), ("h", 3600, 48)):
        if seconds < most * length:
            return f"{seconds / length:.0f}{unit}"
    return f"{seconds / 86400:.0f}d"


def space(number: float) -> str:
    """Return bytes in few characters: 53G."""
    for unit in "BKMG":
        if number < 1024:
            return f"{number:.0f}{unit}"
        number /= 1024
    return f"{number:.1f}T"


def moment(when: Any) -> str:
    """Return a moment (epoch seconds, or a text as it is) in this machine's time."""
    if isinstance(when, int | float):
        return time.strftime("%d %b %H:%M", time.localtime(when))
    return screen.plain(when)


def asked(row: dict[str, Any]) -> bool:
    """Return whether a host could be asked."""
    return bool(row.get("in_service") != "no_answer")


def level_of(trouble: dict[str, Any]) -> str:
    """Return the level of a trouble; a host of an earlier release gives none."""
    return str(trouble.get("level") or "red")


def word(row: dict[str, Any]) -> str:
    """Return the state of a host: its worst trouble in capitals, or small where it only warns."""
    troubles = row.get("troubles") or []
    if not troubles:
        return "ok"
    red = [one["id"] for one in troubles if level_of(one) == "red"]
    ids = red or [one["id"] for one in troubles]
    found = next(
        (text for name, text in WORDS.items() if name in ids), "PROBLEM" if red else "WARN"
    )
    more = f" +{len(troubles) - 1}" if len(troubles) > 1 else ""
    return (found if red else found.lower()) + more


def workers(row: dict[str, Any]) -> str:
    """Return the numbers of processes, web+background, and +s for the scheduler."""
    found = row.get("workers")
    if not found:
        return "?"
    return f"{found['web']}+{found['background']}" + "+s" * bool(found.get("scheduler"))


def disk(file_systems: Sequence[dict[str, Any]]) -> str:
    """Return the free space of the fullest file system; how full it is where that is too full."""
    if not file_systems:
        return "?"
    fullest = max(file_systems, key=lambda one: one["used"])
    level = fullest.get("level") or ("red" if fullest["full"] else "ok")
    share = {"ok": "", "amber": f" {fullest['used']:.0%}", "red": f" {fullest['used']:.0%}!"}
    return space(fullest["free"]) + share[level]


def service(row: dict[str, Any], primary: str) -> str:
    """Return whether a host answers calls."""
    known = str(row.get("in_service"))
    return IN_SERVICE.get(known, f"falls back to {primary}" if known == "fallback" else "?")


def hosts_table(found: dict[str, Any], most: int, *, wide: bool) -> list[str]:
    """Return a line for each host."""
    rows = found["status"]
    primary = next((row["host"] for row in rows if row["role"] == "primary"), "the primary")
    shown = []
    for row in rows:
        node = row["role"] == "reporting"
        own = [one for one in found["file_systems"] if one["host"] == row["host"]]
        shown.append(
            {
                "host": row["host"],
                "role": "report" if node else "primary",
                "state": word(row),
                "lag": span(row.get("lag_seconds")) if node else "-",
                "workers": workers(row),
                "files": span(row.get("sync_age_seconds")) if node else "-",
                "disk": disk(own),
                "in service": service(row, primary),
            }
        )
    head, *lines = screen.table(
        shown,
        most,
        flexible=() if wide else ("host", "in service", "state", "disk"),
        right=("lag", "files", "disk"),
    ) or [""]
    levels = [str(row.get("level") or "ok") for row in rows]
    painted = zip(lines, levels, strict=True)
    return [head, *(text for line, level in painted for text in screen.paint([line], level))]


def inventory_option(path: str) -> str:
    """Return the option that names the inventory in a command, "" where the environment has it."""
    default = os.environ.get("BENCHFLEET_INVENTORY")
    if not path or (default and os.path.realpath(default) == os.path.realpath(path)):
        return ""
    near = os.path.relpath(path)
    return f" -i {path if near.startswith('..') else near}"


def commands_for(remedy: str, option: str) -> str:
    """Return a remedy whose commands of ./fleet name the inventory; a single one is not quoted."""
    text = re.sub(r"`(\./fleet [^`]+)`", lambda found: f"`{found[1]}{option}`", remedy)
    alone = re.fullmatch(r"`([^`]+)`", text)
    return alone[1] if alone else text


def trouble_lines(found: dict[str, Any], most: int) -> list[str]:
    """Return each trouble and its remedy, the red ones first; hosts with the same one share it."""
    shared: dict[tuple[str, ...], list[str]] = {}
    for row in found["status"]:
        for one in row.get("troubles") or []:
            key = (level_of(one), str(one["id"]), str(one["what"]), str(one.get("remedy") or ""))
            shared.setdefault(key, []).append(str(row["host"]))
    for one in found["fleet"]["troubles"]:
        shared.setdefault((one["level"], one["id"], one["what"], one["remedy"]), [])
    option = inventory_option(str(found["fleet"]["inventory"]))
    lines: list[str] = []
    for (level, name, what, remedy), hosts in sorted(
        shared.items(), key=lambda x: x[0][0] != "red"
    ):
        whose = f"{', '.join(hosts)} " if hosts else ""
        of = f" {hosts[0]}" if len(hosts) == 1 else ""
        mend = commands_for(remedy, option) if remedy else f"./fleet doctor{of}{option}"
        # A host that was not asked has the id of the problem that preflight has for it.
        text = what if "(id: " in what else f"{what} (id: {name})"
        first = screen.paragraph(f"{MARKS[level]} ", f"{whose}{text}", most)
        lines += screen.paint(first, level)
        lines += screen.paragraph("  remedy: ", mend, most, " " * 10)
    return lines


def queues_text(queues: dict[str, Any]) -> str:
    """Return what waits in the queues."""
    if not queues["waiting"]:
        return "no job waits"
    each = [f"{q['queue']} {q['waiting']}" for q in queues.get("by_queue") or [] if q["waiting"]]
    oldest = f", the oldest for {span(queues['oldest_seconds'])}"
    return f"{queues['waiting']} waiting{oldest} ({', '.join(each)})"


def certificates_text(rows: Sequence[dict[str, Any]]) -> str:
    """Return the days of the certificate that ends first; "" where none is known."""
    days = [
        (left, what, row["host"])
        for row in rows
        for what, left in (row.get("certificate_days") or {}).items()
        if left is not None
    ]
    return "{} days left ({}, {})".format(*min(days)) if days else ""


def versions_texts(versions: Sequence[dict[str, Any]]) -> Iterator[tuple[str, str]]:
    """Yield the versions in force, and what could be upgraded."""
    rows = [row for row in versions if row["in_force"] and row["software"] != "fleet format"]
    every = [row["software"] for row in rows]

    def named(row: dict[str, Any]) -> str:
        of = f" ({', '.join(row['hosts'])})" if every.count(row["software"]) > 1 else ""
        return f"{row['software']} {row['in_force']}{of}"

    if rows:
        yield "versions", ", ".join(map(named, rows))
    newer = [f"{named(row)} to {row['available']}" for row in rows if row["upgrade"]]
    if newer:
        yield "upgrades", ", ".join(newer)


def last_run_text(rows: Sequence[dict[str, Any]]) -> str:
    """Return the fleet's newest run; "" where none is known."""
    runs = [row["last_run"] for row in rows if row.get("last_run")]
    if not runs:
        return ""
    run = max(runs, key=lambda one: one["when"])
    what = f"{run['playbook']} by {run['who']} on {run['controller']}"
    took = "" if run["seconds"] is None else f", {span(run['seconds'])}"
    return f"{moment(run['when'])}, {what}: {run['result']}{took}"


def primary_text(rows: Sequence[dict[str, Any]]) -> str:
    """Return who is primary by the newest record, and why it is closed; "" without a record."""
    known = [row for row in rows if row.get("record")]
    if not known:
        return ""
    found = max((row["record"] for row in known), key=lambda one: one["epoch"])
    since = moment(datetime.datetime.fromisoformat(found["since"]).timestamp())
    text = f"{found['primary']}, epoch {found['epoch']}, since {since}"
    own = next((row["record"] for row in known if row["host"] == found["primary"]), None)
    if own is None or own["open"] is None:
        return text
    if not own["open"]:
        return f"{text}; closed: {own['why']}"
    return f"{text}; opened alone" if own["alone"] else text


def wait_lines(found: dict[str, Any], most: int) -> list[str]:
    """Return who waits for whom, what runs for long, and the command that ends the cause."""
    option = inventory_option(str(found["fleet"]["inventory"]))
    lines: list[str] = []
    for wait in found["waits"]:
        cause = f"{wait['blocking_id']} of {wait['blocking_user']}"
        does = wait["blocking_query"] or "its transaction is open, and no query runs"
        if wait["waiting_id"] is None:
            start, text = "long query", f"{cause} runs for {span(wait['seconds'])}"
        else:
            waiter = f"{wait['waiting_id']} of {wait['user']}"
            start, text = "waits", f"{waiter} waits {span(wait['seconds'])} for {cause}"
        lines += screen.paragraph(f"{start}: ", f"{wait['host']}, {text}: {does}", most)
        end = f"./fleet end-query {wait['host']} {wait['blocking_id']}{option}"
        lines += screen.paragraph("  remedy: ", end, most, " " * 10)
    return lines


def facts(found: dict[str, Any], *, wide: bool) -> Iterator[tuple[str, str]]:
    """Yield what is shown under the table: a label, and its text."""
    rows = [row for row in found["status"] if asked(row)]
    primary: dict[str, Any] = next((row for row in rows if row["role"] == "primary"), {})
    reports = found["fleet"]["answer_reports"] or [row["host"] for row in rows if row is primary]
    yield (
        "reports",
        f"answered by {', '.join(reports)}" if reports else "no host is known to answer",
    )
    yield "primary", primary_text(rows)
    if primary.get("queues"):
        yield "queues", queues_text(primary["queues"])
    if primary.get("workers"):
        run_by = [row["host"] for row in rows if (row.get("workers") or {}).get("scheduler")]
        yield "scheduler", f"runs on {', '.join(run_by)}" if run_by else "does not run"
    if primary.get("sites"):
        yield "sites", f"{len(primary['sites'])} served"
    for note in primary.get("sites_not_served") or []:
        yield "not served", str(note)
    yield "certificates", certificates_text(rows)
    yield from versions_texts(found["versions"])
    yield "last run", last_run_text(rows)
    old = [row for row in rows if (row.get("age_seconds") or 0) > OLD_SECONDS]
    yield (
        "old state",
        ", ".join(f"that of {r['host']} is {span(r['age_seconds'])} old" for r in old),
    )
    for one in found["slow"]:
        where = f"{one['host']}, {moment(one['at'])}"
        yield "slow report", f"{one['name']}, {span(one['seconds'])} ({where})"
    if found["kept"]:
        total = space(sum(row["bytes"] for row in found["kept"]))
        more = "" if wide else " (listed with --wide)"
        number = sum(row["number"] for row in found["kept"])
        yield "kept", f"{number} old file{'s' * (number != 1)}, {total}{more}"


def told(value: Any) -> str:
    """Return a value of a host's row as a text."""
    if isinstance(value, dict):
        return ", ".join(f"{name} {told(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(map(told, value))
    return screen.plain("not known" if value is None else value)


def long_tables(found: dict[str, Any], most: int) -> list[str]:
    """Return what only --wide shows: each host's details, file systems, kept files, versions."""
    lines = []
    for row in filter(asked, found["status"]):
        lines += ["", f"{screen.plain(row['host'])}:"]
        for name, value in row.items():
            if name not in SHOWN and value not in ({}, [], ""):
                label = name.replace("_", " ")
                lines += screen.paragraph(f"  {label}: ", told(value), most, "    ")
    disks = [
        {
            "host": one["host"],
            "file system of": one["path"],
            "holds": told(one["holds"]),
            "size": space(one["bytes"]),
            "free": space(one["free"]),
            "used": f"{one['used']:.0%}" + "!" * bool(one["full"]),
            "next update": space(one["needed"]) if one.get("needed") else "-",
        }
        for one in found["file_systems"]
    ]
    kept = [
        {
            "host": one["host"],
            "kept": one["what"],
            "in": one["path"],
            "number": one["number"],
            "size": space(one["bytes"]),
            "oldest": one["oldest"],
        }
        for one in found["kept"]
    ]
    versions = [
        {
            "software": one["software"],
            "of": told(one["hosts"]),
            "in force": one["in_force"] or "not installed",
            "recorded": one["recorded"] or "not yet",
            "could be": one["available"],
            "to upgrade": one["upgrade"],
        }
        for one in found["versions"]
    ]
    right = ("size", "free", "used", "next update", "number")
    for rows in (disks, kept, versions):
        if rows:
            lines += ["", *screen.table(rows, most, flexible=(), right=right)]
    return lines


def count(number: int, what: str) -> str:
    """Return a number with its noun."""
    return f"{number} {what}" + "S" * (number != 1)


def heading(fleet: dict[str, Any], most: int, now: float) -> list[str]:
    """Return the first line: the fleet, the verdict, and the time."""
    counts = [
        count(fleet[key], noun)
        for key, noun in (("problems", "PROBLEM"), ("warnings", "WARNING"))
        if fleet[key]
    ]
    end = moment(now)
    start = f"{screen.cut(screen.plain(fleet['name']), 30)}: {', '.join(counts) or 'ok'}"
    return screen.paint([start.ljust(most - len(end)) + end], fleet["level"])


def gathered(outcome: Outcome) -> dict[str, Any] | None:
    """Return the fleet's status from a run of playbooks/status.yml; None where it gave none."""
    result = next((one for one in outcome.results if one.get("fleet")), None)
    if result is None:
        return None
    return {"fleet": result["fleet"], **{key: result.get(key) or [] for key in LISTS}}


def lines_of(found: dict[str, Any], *, wide: bool, now: float) -> list[str]:
    """Return the screen; found: see `gathered`, now: the time that it shows."""
    most = screen.width(wide=wide)
    lines = [*heading(found["fleet"], screen.WIDTH, now), *hosts_table(found, most, wide=wide)]
    lines += trouble_lines(found, most)
    for label, text in facts(found, wide=wide):
        if text:
            lines += screen.paragraph(f"{label}: ", text, most)
    lines += wait_lines(found, most)
    return lines + (long_tables(found, most) if wide else [])


def for_programs(outcome: Outcome, found: dict[str, Any] | None) -> dict[str, Any]:
    """Return the status as --json prints it; `ok` says that nothing is red."""
    level = found["fleet"]["level"] if found else None
    parts = found or {"fleet": None, **{key: [] for key in LISTS}}
    head = {"ok": exit_status(outcome, found) == 0, "level": level}
    return {**head, "benchfleet": release.version(), **parts}


def exit_status(outcome: Outcome, found: dict[str, Any] | None) -> int:
    """Return 0 where nothing is red, 1 where something is, 3 where no host could be asked."""
    if found is None or not any(map(asked, found["status"])):
        return 3
    return 0 if outcome.ok and found["fleet"]["level"] != "red" else 1


def watch(ask: Callable[[], Outcome], *, wide: bool) -> int:
    """Show the status again and again until Ctrl-C; returns the last one's exit status.

    ask: runs playbooks/status.yml. A terminal is redrawn, other outputs get one screen after the
    other. Where nothing was shown yet, Ctrl-C is passed on.
    """
    status: int | None = None
    try:
        while True:
            outcome = ask()
            found = gathered(outcome)
            status = exit_status(outcome, found)
            lines = lines_of(found, wide=wide, now=time.time()) if found else ["no answer"]
            clear = "\033[H\033[2J" if sys.stdout.isatty() else ""
            print(clear + "\n".join(lines), flush=True)
            time.sleep(WATCH_SECONDS)
    except (KeyboardInterrupt, Interrupted):
        if status is None:
            raise
        return status
