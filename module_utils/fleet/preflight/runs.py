"""Whether another run changes the fleet at this time."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..controller import has_ended
from ..runs import FOLDER, LEASE, LEASE_SECONDS
from .problems import Host, Kind, Problem, Settings

UNDER_WAY = Kind(
    "run_under_way",
    "another run is under way: {account} on {controller} began {playbook} at {begun}, and it last"
    " worked on {host} {seconds} s ago",
    "{path} on {host}",
    "wait until it has ended (`./fleet log` shows the runs), then run the same command again. If it"
    " was killed, any command of {account} on {controller} takes over at once, and those of others"
    " {minutes} minutes after its last work. To run yours now, make sure that nothing of it is"
    " left, and add `-e fleet_break_lock=true`",
)
# It only looks, so it warns.
LOOKS = "preflight.yml"


def refusal(other: Mapping[str, Any], host: str) -> Problem:
    """The problem that another run holds a host's lease. other: see fleet/runs.py."""
    called = " ".join(filter(None, (str(other["playbook"]), str(other["arguments"]))))
    return UNDER_WAY.found(
        account=other["account"],
        controller=other["controller"],
        playbook=called,
        begun=time.strftime("%d %b %H:%M", time.localtime(float(other["begun"]))),
        host=host,
        seconds=round(float(other["age"])),
        path=f"{FOLDER}/{LEASE}",
        minutes=LEASE_SECONDS // 60,
    )


def others(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """The runs that hold a host, each once."""
    found: set[str] = set()
    for host in [settings["primary"], *hosts]:
        lease = ((host or {}).get("survey") or {}).get("lease")
        if lease and lease["run"] not in found and not has_ended(lease, settings["run"]):
            found.add(lease["run"])
            yield refusal(lease, host["name"])


def check_runs(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """A second run that would change the fleet; a dry run only warns, in playbooks/lease.yml."""
    free = settings["break_lock"] or settings["check_mode"] or settings["run"]["playbook"] == LOOKS
    if not free:
        yield from others(hosts, settings)


def run_warnings(hosts: list[Host], settings: Settings) -> list[str]:
    """The same for playbooks/preflight.yml, which changes nothing."""
    if settings["run"]["playbook"] != LOOKS:
        return []
    return [f"{problem['what']}." for problem in others(hosts, settings)]
