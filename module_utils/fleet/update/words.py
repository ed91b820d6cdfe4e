"""What an update says: where it stands, what it would do, what it took, and the ways on."""

from __future__ import annotations

import re
from typing import Any

from ..bench.look import git

SHOWN_SUBJECTS = 12
# Of the names of phases: what users are out for, and what of it is Frappe's own.
OUT, MIGRATION = "users out: ", "migration"


def job_words(description: str) -> str:
    """A job's own name in what RQ says of it, as Frappe has one function do all jobs."""
    found = re.search(r"\b(?:method|job_name)='([^']+)'", description)
    return found.group(1) if found else description[:80]


def last_patch(output: str) -> str:
    """The patch that a migration was at when it ended, "" when it was at none.

    Frappe says ``Executing PATCH in SITE (DATABASE)`` before each.
    """
    found = re.findall(r"^Executing (\S+)", output, re.MULTILINE)
    return str(found[-1]) if found else ""


def standing(state: dict[str, Any]) -> str:
    """Where an unfinished update stands, in a few words."""
    if state.get("back"):
        return "on its way back to the old commits"
    if state.get("finished"):
        return "done on the primary; reporting nodes are to follow"
    if state.get("touched"):
        done, touched = state.get("migrated", []), state["touched"]
        left = [site for site in touched if site not in done]
        if left:
            return f"in the migration of {left[0]}"
        return f"after the migration of {touched[-1]}" + (
            ", letting users in" if state.get("opened") else ""
        )
    if state.get("coded"):
        return "at the new code, before the first migration"
    return "before the first migration"


def step_in_words(folder: str, app: str, old: str, new: str) -> list[str]:
    """What an app's update brings, in lines; folder: its repository."""
    forth = int(git(folder, "rev-list", "--count", f"{old}..{new}") or 0)
    back = int(git(folder, "rev-list", "--count", f"{new}..{old}") or 0)
    counts = [f"{forth} new commit{'s' * (forth != 1)}"] * bool(forth)
    counts += [f"{back} left out"] * bool(back)
    subjects = git(folder, "log", "--format=%h %s", "-n", str(SHOWN_SUBJECTS), f"{old}..{new}")
    lines = [f"    {line}" for line in (subjects or "").split("\n") if line]
    if forth > SHOWN_SUBJECTS:
        lines.append(f"    … and {forth - SHOWN_SUBJECTS} more")
    return [f"{app}: {old[:10]} -> {new[:10]}, {', '.join(counts) or 'unrelated'}", *lines]


def outcome(state: dict[str, Any]) -> list[str]:
    """What an update that is done took, phase by phase."""
    phases = [(words, seconds) for words, seconds in state.get("phases", [])]
    lines = [f"backup: {', '.join(state.get('backups', {}).values()) or 'none'}"]
    lines += [f"{seconds:.0f} s {words}" for words, seconds in phases]
    if "out" not in state:
        return [*lines, "users were not out: nothing was to be migrated"]
    own = sum(s for words, s in phases if words.startswith(f"{OUT}{MIGRATION}"))
    out = state["out"]
    return [*lines, f"users were out for {out} s, {own:.0f} s of them for the migration"]


def where_it_stands(state: dict[str, Any], apps: dict[str, Any], sites: list[str]) -> list[str]:
    """Where a failed update stands, in lines; apps: as they are on the bench now."""
    lines = [f"  the update of {state.get('stamp')} stands {standing(state)}"]
    for app, commit in state.get("to", {}).items():
        here = apps.get(app, {}).get("commit", "none")
        lines.append(
            f"  {app} is at {here[:10]} (old {state['from'][app][:10]}, new {commit[:10]})"
        )
    words = dict.fromkeys(sites, "migration not begun")
    words |= dict.fromkeys(state.get("touched", []), "migration begun, not ended")
    words |= dict.fromkeys(state.get("migrated", []), "migrated")
    return [*lines, *(f"  {site}: {word}" for site, word in words.items())]


def ways_on(state: dict[str, Any]) -> list[str]:
    """How a failed update can go on, in lines."""
    forth = (
        "mend what failed, and run the same command again; it goes on from there. Where a newer"
        " commit mends it, name that with update_commits"
    )
    back = (
        "the same command with -e update_back=true: the old commits, and the backup of each"
        " site whose migration had begun. Nobody has written to the sites since it was made"
    )
    if not state.get("opened"):
        return ["", "Two ways on:", f"  forth: {forth}", f"  back:  {back}"]
    return [
        "",
        "Users had been let in, and may have written since the backups were made: there is"
        " no way back by them. The way on:",
        f"  {forth}",
    ]
