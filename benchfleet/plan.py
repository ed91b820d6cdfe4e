"""What a dry run of a playbook would change and restart, host by host, in words."""

from __future__ import annotations

import difflib
import json
import re
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from fleet.supervisor.bench_programs import service

from benchfleet.runner import Change, Outcome, counted
from benchfleet.screen import WIDTH
from benchfleet.shell import number_of

# fleet_lib_dir: our programs, which an operator does not read line by line.
PROGRAMS = "/usr/local/lib/benchfleet/"
SITE_CONFIG = "sites/common_site_config.json"
# Keys of that file for which no program is restarted: __bench_processes_common of role
# bench_processes.
NOT_READ_AT_START = {
    "maintenance_mode",
    "pause_scheduler",
    "gunicorn_workers",
    "background_workers",
    "workers",
    "supervisor_restart_cmd",
}
# What users notice of a restart; of the others, nothing.
NOTICED = ("MariaDB", "Redis", "web workers", "web workers for reports", "socketio")
JOBS_WAIT = ("workers", "scheduler")
NAMES_SHOWN = 8
LINES_OF_A_ROLE = 4


def diffs(result: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return a result's differences, one for each file."""
    found = result.get("diff") or []
    return [found] if isinstance(found, dict) else [one for one in found if isinstance(one, dict)]


def lines_of(value: Any) -> list[str]:
    """Return one side of a difference as lines."""
    text = value if isinstance(value, str) else json.dumps(value, indent=1, sort_keys=True)
    return text.splitlines() if value else []


def size(diff: Mapping[str, Any]) -> str:
    """Return how many lines come and go: +3/-1; "" where only a folder or a mode changes."""
    before, after = lines_of(diff.get("before")), lines_of(diff.get("after"))
    steps = [
        s for s in difflib.SequenceMatcher(None, before, after).get_opcodes() if s[0] != "equal"
    ]
    gone = sum(end - start for _, start, end, _, _ in steps)
    come = sum(end - start for _, _, _, start, end in steps)
    return f" +{come}/-{gone}" if steps else ""


def some(names: Sequence[str]) -> str:
    """Return names as a list, a long one cut."""
    more = len(names) - NAMES_SHOWN
    return ", ".join(names[:NAMES_SHOWN]) + (f" and {more} more" if more > 0 else "")


def files_in_words(change: Change) -> list[str]:
    """Return the files that a change writes; our own programs only as a number."""
    paths = [str(path) for path in change.result.get("changed_paths") or []]
    by_path = {str(diff.get("after_header")): diff for diff in diffs(change.result)}
    ours = sum(path.startswith(PROGRAMS) for path in paths)
    others = [path for path in paths if not path.startswith(PROGRAMS)]
    words = [path + size(by_path.get(path, {})) for path in others]
    return words + ([f"{number_of(ours, 'program')} of Benchfleet"] if ours else [])


def in_words(change: Change) -> list[str]:
    """Return what a change is, as short texts."""
    result = change.result
    if result.get("changed_paths"):
        return files_in_words(change)
    if change.action == "packages" and result.get("missing"):
        return [f"packages {some(result['missing'])}"]
    if result.get("changed_keys"):
        place = next(
            (str(diff["after_header"]) for diff in diffs(result) if "after_header" in diff), ""
        )
        return [f"{place or change.task}: {some(result['changed_keys'])}"]
    if change.action == "user" and result.get("name"):
        return [f"account {result['name']}"]
    if change.action in ("systemd_service", "systemd", "service") and result.get("name"):
        state = [str(result["state"])] if result.get("state") else []
        enabled = ["enabled"] if result.get("enabled") else []
        return [f"service {result['name']} {' and '.join([*state, *enabled])}".rstrip()]
    if change.action == "mariadb_settings" and (
        result.get("applied") or result.get("restarted_for")
    ):
        return [f"MariaDB: {some([*result['applied'], *result['restarted_for']])}"]
    if result.get("did"):
        return [f"{change.task}: {some(result['did'])}"]
    return [change.task]


def below(path: str, parts: Iterable[str]) -> bool:
    """Return whether a file is one of these, or in one of these folders."""
    return any(path == part or part in map(str, PurePosixPath(path).parents) for part in parts)


def changed_groups(change: Change) -> set[str]:
    """Return the groups whose section a change of supervisor's configuration changes.

    Values of environment variables are hidden; where nothing else differs, these are all groups.
    """
    found: set[str] = set()
    for diff in diffs(change.result):
        sides = [sections(str(diff.get(side) or "")) for side in ("before", "after")]
        members = {
            program.strip(): name.partition(":")[2]
            for name, lines in sides[1].items()
            if name.startswith("group:")
            for line in lines
            if line.startswith("programs=")
            for program in line.partition("=")[2].split(",")
        }
        for name in sides[0].keys() & sides[1].keys():
            kind, _, program = name.partition(":")
            if kind == "program" and program in members and sides[0][name] != sides[1][name]:
                found.add(members[program])
        found |= set() if found or set(sides[0]) != set(sides[1]) else set(members.values())
    return found


def sections(text: str) -> dict[str, list[str]]:
    """Return the sections of a supervisor configuration: their lines."""
    found: dict[str, list[str]] = {}
    name = ""
    for line in text.splitlines():
        heading = re.fullmatch(r"\[(.+)\]", line.strip())
        if heading:
            name = heading[1]
        elif line.strip() and not line.startswith((";", "#")):
            found.setdefault(name, []).append(line)
    return found


def restarts(outcome: Outcome, host: str) -> list[str]:
    """Return what would be restarted on a host, in the order of the run."""
    reads = outcome.reads.get(host, {})
    found: list[str] = []
    for change in (one for one in outcome.changes if one.host == host):
        paths = [str(path) for path in change.result.get("changed_paths") or []]
        found += [name for name, parts in reads.items() if any(below(p, parts) for p in paths)]
        headers = [str(diff.get("after_header") or "") for diff in diffs(change.result)]
        keys = set(change.result.get("changed_keys") or [])
        if keys - NOT_READ_AT_START and any(path.endswith(SITE_CONFIG) for path in headers):
            found += [name for name in reads if name != "Redis"]
        if reads and any("/supervisor/conf.d/" in path for path in paths):
            found += [
                name for name in map(service, sorted(changed_groups(change))) if name in reads
            ]
        found += change.result.get("restarts") or []
    return list(dict.fromkeys(found))


def noticed(name: str, seconds: float | None, *, primary: bool) -> str:
    """Return what a restart means to users, and for how long."""
    length = "not known yet for how long" if seconds is None else f"about {max(seconds, 1):.0f} s"
    if name in NOTICED:
        return f"users wait, {length}" if primary else f"other servers answer its reports, {length}"
    if name in JOBS_WAIT:
        return f"jobs wait, {length}; users' calls do not"
    return length


def is_primary(outcome: Outcome, host: str) -> bool:
    """Return whether users of the whole fleet wait for a host; in doubt, they do."""
    return "scheduler" in outcome.reads.get(host, {"scheduler": []})


def described(outcome: Outcome) -> dict[str, dict[str, Any]]:
    """Return each host's changes by role, and its restarts; hosts without changes have neither."""
    hosts = [host for host in outcome.stats if host != "localhost"]
    hosts += [change.host for change in outcome.changes]
    found: dict[str, dict[str, Any]] = {}
    for host in dict.fromkeys(hosts):
        changes = [
            {"role": change.role, "task": change.task, "changes": in_words(change)}
            for change in outcome.changes
            if change.host == host
        ]
        away = [
            {"name": name, "seconds": outcome.restarts.get(name)}
            for name in restarts(outcome, host)
        ]
        found[host] = {"changes": changes, "restarts": away}
    return found


def roles_of(changes: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return the texts of changes by role, each once; "playbook" where there is no role."""
    found: dict[str, list[str]] = {}
    for change in changes:
        found.setdefault(str(change["role"] or "playbook"), []).extend(change["changes"])
    return {role: list(dict.fromkeys(texts)) for role, texts in found.items()}


def wrapped(head: str, texts: Sequence[str], width: int) -> list[str]:
    """Return texts beside a head, as few lines as they need, and no more than a role may have."""
    lines = textwrap.wrap(
        "; ".join(texts), width - len(head), break_on_hyphens=False, break_long_words=True
    ) or [""]
    if len(lines) > LINES_OF_A_ROLE:
        lines = [
            *lines[: LINES_OF_A_ROLE - 1],
            f"and more, {len(texts)} in all (--wide)",
        ]
    return [(head if n == 0 else " " * len(head)) + line for n, line in enumerate(lines)]


def table(outcome: Outcome, *, wide: bool) -> list[str]:
    """Return the plan as lines, no wider than 80 columns unless `wide`."""
    hosts = described(outcome)
    lines: list[str] = []
    for host, plan in hosts.items():
        if not plan["changes"]:
            continue
        lines.append(host)
        roles = roles_of(plan["changes"])
        column = max(len(role) for role in roles)
        for role, texts in roles.items():
            head = f"  {role.ljust(column)}  "
            if wide:
                lines += [(head if n == 0 else " " * len(head)) + t for n, t in enumerate(texts)]
            else:
                lines += wrapped(head, texts, WIDTH)
        for restart in plan["restarts"]:
            name = restart["name"]
            text = noticed(name, restart["seconds"], primary=is_primary(outcome, host))
            lines.append(f"  RESTARTS {name}: {text}")
    same = [host for host, plan in hosts.items() if not plan["changes"]]
    # A run that failed did not look at all that it would change.
    if same and outcome.ok:
        lines += textwrap.wrap(f"nothing to change: {', '.join(same)}", WIDTH)
    number = sum(len(plan["restarts"]) for plan in hosts.values())
    ended = number_of(number, "restart") if number else "no restarts"
    lines.append(f"{counted(outcome.changes)}, {ended}")
    return lines


def full_diff(changes: Sequence[Change]) -> list[str]:
    """Return every difference, line by line; secrets are hidden by the modules."""
    lines: list[str] = []
    for change in changes:
        for diff in diffs(change.result):
            before, after = lines_of(diff.get("before")), lines_of(diff.get("after"))
            name = str(diff.get("after_header") or change.task)
            lines += difflib.unified_diff(before, after, f"{change.host}:{name}", name, lineterm="")
    return lines


def show(outcome: Outcome, *, as_json: bool, wide: bool) -> int:
    """Print what a dry run found; returns 0 for one that ended well, with or without changes."""
    if as_json:
        print(json.dumps({"ok": outcome.ok, "hosts": described(outcome)}, indent=2))
        return 0 if outcome.ok else 1
    lines = table(outcome, wide=wide)
    lines += full_diff(outcome.changes) if outcome.verbose else []
    print("\n".join(lines))
    if not outcome.ok:
        print("the dry run failed: this plan ends where it did")
    return 0 if outcome.ok else 1
