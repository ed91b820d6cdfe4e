"""Workers of a bench made by hand end their jobs before its services change their addresses."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..atomic import write
from ..bench.account import BenchError
from ..supervisor.control import control, readable, states
from ..supervisor.own import digest, kept_text
from ..supervisor.programs import JOBS, tasks
from .programs import supervisor_files


class ProgramsChangedError(BenchError):
    """Programs of the operator's own are others than preflight showed."""


def background(status: str, does: Mapping[str, str]) -> list[str]:
    """Running processes that do jobs or queue them, as supervisorctl names them.

    ``status`` is the output of ``supervisorctl status``, ``does`` the result of tasks().
    """
    running = ("RUNNING", "STARTING", "BACKOFF")
    return [
        name
        for name, state in states(status).items()
        if state in running and does.get(name) in JOBS
    ]


def start_again(resting: list[str]) -> None:
    """Start programs that a call of hand_over() stopped. Raises BenchError."""
    try:
        output = control("start", *resting)
    except BenchError as error:
        raise BenchError(f"the workers could not be started again: {error}") from error
    if lost := [line for line in output.splitlines() if "ERROR" in line and "already" not in line]:
        raise BenchError(f"the workers could not be started again: {'; '.join(lost)}")


def hand_over(asked: Mapping[str, Any], dry: bool) -> tuple[list[str], list[str]]:
    """End a bench's jobs, and remove its files of supervisor: (processes that ended, all actions).

    ``asked`` are the parameters of the module adopt_handover. Raises BenchError, and
    ConfigurationError.
    """
    bench, user, place = asked["bench"], asked["user"], "" if asked["rest"] else asked["own"]
    read = readable()
    files = [f["path"] for f in supervisor_files(bench, read) if f["ours"] == asked["ours"]]
    running = background(control("status"), tasks(bench, read)) if files else []
    stay = files if asked["rest"] else [asked["configuration"], place]
    others = [path for path in files if path not in stay]
    own = kept_text(bench, read, files, user) if place else ""
    if own:
        if asked["digest"] != digest(own):
            raise ProgramsChangedError(
                f"programs of your own in {' or '.join(files)} have changed since preflight showed"
                " them. Nothing was changed there: check them, and run the same command again"
            )
        # With the programs that a killed run, or the operator, has put there.
        own = kept_text(bench, read, [*files, place], user)
    if not dry:
        if own:
            # Before the programs' own files go, so that supervisor never misses them.
            readable({place: own, **dict.fromkeys(others)})
            # Readable by root alone: variables in it may be secrets.
            write(place, own, 0o600)
        if running:
            control("stop", *running)
        for path in others:
            os.unlink(path)
    left = [f"keep programs of your own in {place}"] if own else []
    did = [f"end {name}" for name in running] + [f"remove {path}" for path in others] + left
    return running, did
