"""Versions of Frappe, and what it prints with."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .problems import Host, Problem, Settings, grouped, problem

SUPPORTED_FRAPPE = (14, 15, 16)

# The first Frappe that can print with Chromium.
FRAPPE_WITH_CHROMIUM = 16


def frappe_major(text: str) -> int | None:
    """Major version that a branch, tag or version of Frappe names; None when it names none."""
    match = re.fullmatch(r"(?:version-|v)?(\d+)(?:[.-].*)?", str(text))
    return int(match.group(1)) if match else None


def is_known_frappe(text: str) -> bool:
    """Whether a branch, tag or version may be used: 14, 15, 16, the development version after
    them, or a name of one's own, which says nothing about the version."""
    major = frappe_major(text)
    coming = major == SUPPORTED_FRAPPE[-1] + 1 and "dev" in str(text)
    return coming or major is None or major in SUPPORTED_FRAPPE


def check_frappe(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Frappe of a version known to work."""
    known = ", ".join(map(str, SUPPORTED_FRAPPE)) + " or develop"
    there = [
        (host["name"], bench["frappe_version"])
        for host in hosts
        for bench in (host["survey"] or {"benches": []})["benches"]
        if bench["path"] == settings["bench_dir"] and bench["frappe_version"]
    ]
    for name, version in there:
        if not is_known_frappe(version):
            yield problem(
                f"Frappe {version} is in the bench of {name}",
                f"{settings['bench_dir']}/apps/frappe on {name}",
                f"use a bench of Frappe {known}",
            )
    named = [(host["name"], host["branch"]) for host in hosts]
    guarded = [host["name"] for host in hosts if host["read_guard"]]
    old = {name for name, code in named + there if frappe_major(code) == 14 and name in guarded}
    if old and settings["groups"].get("reporting"):
        yield problem(
            "Frappe 14 has no place for the guard of the read path, and fleet_read_guard is on",
            f"fleet_read_guard in the inventory, for {', '.join(sorted(old))}",
            "set fleet_read_guard to false, or use Frappe 15 or later",
        )
    for branch, names in grouped((str(branch), name) for name, branch in named).items():
        if branch and not is_known_frappe(branch):
            yield problem(
                f"bench_frappe_branch {branch!r} is not a version of Frappe that is supported",
                f"bench_frappe_branch of {', '.join(names)} in the inventory",
                f"use version-14, version-15, version-16 or develop (Frappe {known})",
            )


def pdf_warnings(hosts: list[Host]) -> list[str]:
    """Hosts on which PDFs will not work: this Frappe needs wkhtmltopdf, and the system has none.

    All benches run the same code; before there is one, the branch may tell its version.
    """
    benches = [host["survey"]["printing"] for host in hosts if host["survey"]]
    benches = [bench for bench in benches if bench["real"]]
    names = []
    for host in hosts:
        major = frappe_major(host["branch"]) or FRAPPE_WITH_CHROMIUM
        chromium = major >= FRAPPE_WITH_CHROMIUM
        if benches:
            chromium = any("chrome" in bench["tools"] for bench in benches)
        without = not host["system"].get("wkhtmltopdf", True)
        has = not host["survey"] or host["survey"]["printing"]["tools"]["wkhtmltopdf"]
        if without and not has and not chromium:
            names.append(host["name"])
    if not names:
        return []
    return [
        f"PDFs will not work on {', '.join(names)}: this Frappe prints only with wkhtmltopdf, which"
        " their system does not have. Install wkhtmltopdf on these hosts from another source"
        " (Benchfleet leaves it as it is), or use a system that has it"
    ]
