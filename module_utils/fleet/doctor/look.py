"""Asks a host all that can be wrong there, mends what is safe, and says what is left."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from ..own_certificates import SHOWS_NONE
from ..runs import other_run
from ..status.questions import ask
from . import bench, fix, system
from .causes import CAUSES, DOWN, ORDER, Action, Found, found
from .database import database

# All questions are asked at the same time. Reading the code of a bench takes the longest.
SECONDS = 20.0


def questions(params: dict[str, Any]) -> dict[str, Callable[[], list[Found]]]:
    """The questions to this host, by the names under which a missing answer is shown."""
    role = params["role"]
    return {
        "disks": partial(system.disks, params),
        "services": partial(system.services, role),
        "MariaDB": partial(database, role),
        "units of Benchfleet": partial(system.units, role),
        "nginx": partial(system.nginx, role),
        "programs of the bench": partial(system.bench_programs, params["bench"]),
        "Redis": partial(system.redis, params["queue"]),
        "configurations": partial(bench.configs, params),
        "updates and maintenance": partial(bench.maintenance, params),
        "schedulers": partial(bench.scheduling, params),
        "queues": partial(bench.queues, params),
        "code of the apps": partial(bench.apps, params),
        "copies and drained nodes": partial(bench.copies, params),
        "certificates": partial(bench.certificates, params),
    }


def look(params: dict[str, Any], seconds: float = SECONDS) -> list[Found]:
    """All causes that are found on this host, in the catalogue's order."""
    causes: list[Found] = []
    for name, answer in ask(questions(params), seconds).items():
        trouble = f"not within {answer.seconds:g} s" if answer.late else answer.trouble
        if name == "MariaDB" and answer.late:
            causes.append(found("mariadb_silent", what=trouble))
        elif trouble:
            causes.append(found("not_asked", question=name, what=trouble))
        else:
            for cause, facts, action in answer.value:
                causes.append(Found(cause, facts, Action(*action) if action else None))
    ids = {cause.id for cause in causes}
    causes = [cause for cause in causes if not is_echo(cause, ids)]
    return sorted(causes, key=lambda cause: ORDER[cause.id])


def is_echo(cause: Found, ids: set[str]) -> bool:
    """Whether a cause only says that MariaDB does not answer, which another one says already."""
    return cause.facts.get("what") == SHOWS_NONE and bool(ids & {*DOWN, "mariadb_silent"})


def examine(params: dict[str, Any]) -> dict[str, Any]:
    """What is wrong on this host: {causes, actions}; causes as of Found.shown.

    actions: what is safe and would help: [kind, name] each.
    """
    causes = look(params)
    ids = {cause.id for cause in causes}
    actions = dict.fromkeys(cause.action for cause in causes if fixable(cause, causes))
    return {
        "causes": [cause.shown(params["host"], ids) for cause in causes],
        "actions": [list(action) for action in actions if action],
    }


def mend(params: dict[str, Any], check_mode: bool) -> dict[str, Any]:
    """Do the actions that an earlier ``examine`` returned, and look again.

    While a run changes this host, nothing is done: what is stopped may be stopped by that run.
    Returns {changed, done, causes, actions}; done: of each action {will, done, said}.
    """
    actions = [Action(*action) for action in params["actions"]]
    if other := other_run():
        said = "not while a run is under way here: {playbook} of {account} on {controller}"
        one = {"done": False, "said": said.format_map(other)}
        done = [{"will": action.will, **one} for action in actions]
        return {"changed": False, "done": done, **examine(params)}
    done = [fix.act(action, check_mode) for action in actions]
    if not check_mode:
        fix.settle()
    return {"changed": bool(done), "done": done, **examine(params)}


def fixable(cause: Found, others: list[Found]) -> bool:
    """Whether an action is of use now: not while a full disk stops what it would start."""
    full = any(other.id == "disk_full" for other in others)
    return bool(cause.action) and not (full and "disk_full" in CAUSES[cause.id].follows)
