"""Versions of Frappe, and the programs that make its PDFs."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .problems import Host, Kind, Problem, Settings, grouped

SUPPORTED_FRAPPE = (14, 15, 16)

# The first Frappe that can print with Chromium.
FRAPPE_WITH_CHROMIUM = 16

KNOWN = ", ".join(map(str, SUPPORTED_FRAPPE)) + " or develop"
FRAPPE_UNSUPPORTED = Kind(
    "frappe_unsupported",
    "the bench of {host} runs Frappe {version}",
    "{bench}/apps/frappe on {host}",
    f"use a bench of Frappe {KNOWN}",
)
READ_GUARD_ON_FRAPPE_14 = Kind(
    "read_guard_on_frappe_14",
    "fleet_read_guard is on, and the guard of the read path does not work with Frappe 14",
    "fleet_read_guard in the inventory, for {hosts}",
    "set fleet_read_guard to false, or use Frappe 15 or later",
)
FRAPPE_BRANCH_UNSUPPORTED = Kind(
    "frappe_branch_unsupported",
    "bench_frappe_branch {branch!r} is not a supported version of Frappe",
    "bench_frappe_branch of {hosts} in the inventory",
    "use version-14, version-15, version-16 or develop",
)


def frappe_major(text: str) -> int | None:
    """Major version in a branch, tag or version of Frappe; None when it holds none."""
    match = re.fullmatch(r"(?:version-|v)?(\d+)(?:[.-].*)?", str(text))
    return int(match.group(1)) if match else None


def is_known_frappe(text: str) -> bool:
    """Whether a branch, tag or version may be used: 14, 15, 16, the development version after
    them, or another name, which says nothing about the version."""
    major = frappe_major(text)
    coming = major == SUPPORTED_FRAPPE[-1] + 1 and "dev" in str(text)
    return coming or major is None or major in SUPPORTED_FRAPPE


def check_frappe(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Problems of Frappe's version, in benches and in the inventory."""
    there = [
        (host["name"], bench["frappe_version"])
        for host in hosts
        for bench in (host["survey"] or {"benches": []})["benches"]
        if bench["path"] == settings["bench_dir"] and bench["frappe_version"]
    ]
    for name, version in there:
        if not is_known_frappe(version):
            yield FRAPPE_UNSUPPORTED.found(host=name, version=version, bench=settings["bench_dir"])
    named = [(host["name"], host["branch"]) for host in hosts]
    guarded = [host["name"] for host in hosts if host["read_guard"]]
    old = {name for name, code in named + there if frappe_major(code) == 14 and name in guarded}
    if old and settings["groups"].get("reporting"):
        yield READ_GUARD_ON_FRAPPE_14.found(hosts=sorted(old))
    for branch, names in grouped((str(branch), name) for name, branch in named).items():
        if branch and not is_known_frappe(branch):
            yield FRAPPE_BRANCH_UNSUPPORTED.found(branch=branch, hosts=names)


def pdf_warnings(hosts: list[Host]) -> list[str]:
    """Warnings of hosts without PDFs: this Frappe needs wkhtmltopdf, and the system has none.

    All benches run the same code. Before the first one exists, the branch may show the version.
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
        f"PDFs will not work on {', '.join(names)}: this version of Frappe makes them with"
        " wkhtmltopdf alone, and these systems do not have that package. Install wkhtmltopdf there"
        " from another source (Benchfleet does not change it), or use a system that has it"
    ]
