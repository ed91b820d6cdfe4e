"""Hosts that could not be looked at: who has to be mended first, and who is left out of the run."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .connection import reason
from .problems import Host, Problem, Settings, grouped, listed, problem


def as_problems(hosts: Iterable[Host]) -> list[Problem]:
    """A problem for each reason; hosts with the same one share it."""
    reasons = [(host["name"], reason(host)) for host in hosts]
    shared = grouped(((why.cause, why.remedy), (name, why.place)) for name, why in reasons)
    return [
        problem(
            f"{', '.join(name for name, _ in found)}: {cause}",
            "; ".join(dict.fromkeys(place for _, place in found)),
            remedy,
        )
        for (cause, remedy), found in shared.items()
    ]


def reach_problems(hosts: list[Host], settings: Settings, others: list[Problem]) -> list[Problem]:
    """Hosts that could not be looked at and have to be; others are the problems found elsewhere.

    A reporting host that is off is left out of the run, and the others are served; but not of an
    update, for it would come back with the old code. On an update's way back it has that. Where
    the run is stopped anyhow, those that are off are named, too.
    """
    everybody = settings["updating"] and not settings["taking_back"]
    besides = [settings["primary"]] if settings["primary"] else []
    unseen = [host for host in [*besides, *hosts] if not host["survey"]]
    stopping = [
        host for host in unseen if "primary" in host["groups"] or not reason(host).off or everybody
    ]
    return as_problems(unseen) if stopping or others else []


def unasked(hosts: list[Host]) -> dict[str, Any]:
    """Hosts that verify or status could not ask: {problems, text, causes}.

    text is for people, "" when there is none; causes is {host: cause}.
    """
    problems = as_problems(hosts)
    causes = {host["name"]: reason(host).cause for host in hosts}
    text = f"{', '.join(causes)} could not be asked.\n{listed(problems)}" if hosts else ""
    return {"problems": problems, "text": text, "causes": causes}


def left_out(host: Host) -> str:
    """What is said of a host that is left out of the run."""
    why = reason(host)
    return (
        f"{host['name']}: {why.cause}. Nothing is done there; the others are served. Remedy:"
        f" {why.remedy}. Then run the same command again, or take it out of the inventory."
    )
