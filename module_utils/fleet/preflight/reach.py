"""Hosts that could not be asked: whether they stop the run, or are left out of it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .connection import reason
from .problems import Host, Problem, Settings, grouped, listed


def as_problems(hosts: Iterable[Host]) -> list[Problem]:
    """A problem for each reason; hosts with the same one share it."""
    found = [(host["name"], reason(host).problem) for host in hosts]
    shared = grouped(((why["what"], why["remedy"]), (name, why)) for name, why in found)
    return [together(dict(pairs)) for pairs in shared.values()]


def together(problems: dict[str, Problem]) -> Problem:
    """One problem for several hosts that have the same one; problems is {host: problem}."""
    one, *others = problems.values()
    return {
        **one,
        "what": f"{', '.join(problems)}: {one['what']}",
        "place": "; ".join(dict.fromkeys(why["place"] for why in problems.values())),
        "facts": {
            "hosts": list(problems),
            **{
                name: fact
                for name, fact in one.get("facts", {}).items()
                if all(other.get("facts", {}).get(name) == fact for other in others)
            },
        },
    }


def reach_problems(hosts: list[Host], settings: Settings, others: list[Problem]) -> list[Problem]:
    """Hosts that could not be asked and have to be; others are the problems found elsewhere.

    A reporting host that is off is left out of the run, and the others are served. It stops an
    update, since it would come back with the old code, but not the way back from one, since it has
    that code. Where other problems stop the run, hosts that are off are listed with them.
    """
    all_needed = settings["updating"] and not settings["taking_back"]
    besides = [settings["primary"]] if settings["primary"] else []
    unseen = [host for host in [*besides, *hosts] if not host["survey"]]
    stopping = [
        host for host in unseen if "primary" in host["groups"] or not reason(host).off or all_needed
    ]
    return as_problems(unseen) if stopping or others else []


def unasked(hosts: list[Host]) -> dict[str, Any]:
    """Hosts that verify or status could not ask: {problems, text, causes}.

    text is for people, "" when there is none; causes is {host: what is wrong}.
    """
    problems = as_problems(hosts)
    causes = {host["name"]: reason(host).cause for host in hosts}
    text = f"{', '.join(causes)} could not be asked.\n{listed(problems)}" if hosts else ""
    return {"problems": problems, "text": text, "causes": causes}


def left_out(host: Host) -> str:
    """The message on a host that is left out of the run."""
    found = reason(host).problem
    name = f" (id: {found['id']})" if "id" in found else ""
    return (
        f"{host['name']}: {found['what']}{name}. Nothing is done there; the others are served."
        f" Remedy: {found['remedy']}. Then run the same command again, or take the host out of the"
        " inventory."
    )
