"""What an update reports: its stage, what it would do, what it took, and how it can go on."""

from __future__ import annotations

import re
from typing import Any

from ..bench.look import git

SHOWN_SUBJECTS = 12

# Ids of the phases that take time, as update.json keeps them, and how the report calls them.
MIGRATION = "migration"
# How releases before 0.2.0 noted it, with the site.
FORMER_MIGRATION = "users out: migration of "
PHASES = {
    "code": "new code and packages, beside the running bench",
    "assets": "web assets, beside the running bench",
    "jobs": "waiting for running jobs",
    "close": "users out: closing the sites",
    "backup": "users out: backup",
    "place": "users out: new code in place",
    MIGRATION: "users out: migration of {site}",
    "restart": "users out: restart",
    "restart_waiting": "restart with the new code, while calls waited at the router",
    "restart_old": "restart with the old code",
}
# Where an unfinished update is, by the stage's id.
STAGES = {
    "back": "on the way back to the old commits",
    "nodes": "done on the primary, and not yet on the reporting nodes",
    "migrating": "in the migration of {site}",
    "migrated": "after the migration of {site}",
    "opened": "after the migration of {site}, letting users in",
    "coded": "at the new code, before the first migration",
    "begun": "before the first migration",
}
# How far the migration of a site is.
MIGRATIONS = {"none": "migration not begun", "begun": "migration begun, not ended"}
FORTH, BACK = "forth", "back"


def last_patch(output: str) -> str:
    """The patch at which a migration ended, "" when it was at none.

    Frappe prints ``Executing PATCH in SITE (DATABASE)`` before each.
    """
    found = re.findall(r"^Executing (\S+)", output, re.MULTILINE)
    return str(found[-1]) if found else ""


def stage_of(state: dict[str, Any]) -> tuple[str, str]:
    """Where an unfinished update is: the stage's id, and the site that it is at or ""."""
    if state.get("back"):
        return "back", ""
    if state.get("finished"):
        return "nodes", ""
    if touched := state.get("touched"):
        left = [site for site in touched if site not in state.get("migrated", [])]
        if left:
            return "migrating", left[0]
        return "opened" if state.get("opened") else "migrated", touched[-1]
    return "coded" if state.get("coded") else "begun", ""


def stage_text(state: dict[str, Any]) -> str:
    """Where an unfinished update is, in a few words."""
    stage, site = stage_of(state)
    return STAGES[stage].format(site=site)


def commit_lines(folder: str, app: str, old: str, new: str) -> list[str]:
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


def outcome(state: dict[str, Any]) -> dict[str, Any]:
    """What a finished update took.

    backups: paths. phases: {phase, site, seconds} each. out: seconds for which users were out, and
    migration: those of them for Frappe's own migrations; None where users were not out.
    """
    phases = [
        {"phase": phase, "site": "".join(site), "seconds": seconds}
        for phase, seconds, *site in state.get("phases", [])
    ]
    migration = sum(
        one["seconds"] for one in phases if one["phase"].startswith((MIGRATION, FORMER_MIGRATION))
    )
    return {
        "backups": list(state.get("backups", {}).values()),
        "phases": phases,
        "out": state.get("out"),
        "migration": migration if "out" in state else None,
    }


def outcome_lines(took: dict[str, Any]) -> list[str]:
    """An outcome as lines for the operator."""
    lines = [f"backup: {', '.join(took['backups']) or 'none'}"]
    for one in took["phases"]:
        # An update that an older release began has its text there.
        text = PHASES.get(one["phase"], one["phase"]).format(site=one["site"])
        lines.append(f"{one['seconds']:.0f} s {text}")
    if took["out"] is None:
        return [*lines, "users were not out: nothing had to be migrated"]
    out, migration = took["out"], took["migration"]
    return [*lines, f"users were out for {out} s, {migration:.0f} s of them for the migration"]


def status_of(state: dict[str, Any], apps: dict[str, Any], sites: list[str]) -> dict[str, Any]:
    """Where a failed update is, as facts; apps: as they are on the bench now.

    {stamp, stage, site, apps: {app: {here, old, new}}, sites: {site: none, begun or migrated},
    drained: [node], backups: {site: path}, ways: how it can go on, forth and back}
    """
    stage, site = stage_of(state)
    found = dict.fromkeys(sites, "none")
    found |= dict.fromkeys(state.get("touched", []), "begun")
    found |= dict.fromkeys(state.get("migrated", []), "migrated")
    return {
        "stamp": state.get("stamp"),
        "stage": stage,
        "site": site,
        "apps": {
            app: {
                "here": apps.get(app, {}).get("commit", ""),
                "old": state["from"][app],
                "new": commit,
            }
            for app, commit in state.get("to", {}).items()
        },
        "sites": found,
        "drained": state.get("drained", []),
        "backups": state.get("backups", {}),
        # Once users may have written, a backup does not hold that.
        "ways": [FORTH] if state.get("opened") else [FORTH, BACK],
    }


def status_lines(found: dict[str, Any]) -> list[str]:
    """A status as lines for the operator."""
    stage = STAGES[found["stage"]].format(site=found["site"])
    lines = [f"  the update of {found['stamp']} is unfinished: {stage}"]
    for app, at in found["apps"].items():
        here, old, new = (commit[:10] for commit in (at["here"] or "none", at["old"], at["new"]))
        lines.append(f"  {app} is at {here} (old {old}, new {new})")
    lines += [f"  {site}: {MIGRATIONS.get(at, at)}" for site, at in found["sites"].items()]
    if found["maintenance"]:
        lines.append(
            f"  {found['maintenance']} is on for all sites ({', '.join(found['sites'])}): users see"
            " the maintenance page; jobs wait"
        )
    if found["drained"]:
        lines.append(f"  {', '.join(found['drained'])}: out of service, programs stopped")
    return [*lines, *(f"  backup of {site}: {file}" for site, file in found["backups"].items())]


def way_lines(ways: list[str]) -> list[str]:
    """How a failed update can go on, in lines."""
    forth = (
        "correct what failed, and run the same command again; it continues from there. If a newer"
        " commit corrects it, name that commit with `--app`"
    )
    back = (
        "`./fleet rollback` (`-e update_back=true`): it brings back the old commits, and the"
        " backup of each site whose migration had begun. Users have not written to the sites since"
        " the backups were made"
    )
    if BACK in ways:
        return ["", "Two ways on:", f"  forth: {forth}", f"  back:  {back}"]
    return [
        "",
        "Users had been let in, and may have written since the backups were made, so the update"
        " cannot be taken back. The way on:",
        f"  {forth}",
    ]
