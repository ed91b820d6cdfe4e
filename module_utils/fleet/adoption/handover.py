"""A bench's programs end their work, before its services change their addresses."""

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


def background(status: str, does: Mapping[str, str]) -> list[str]:
    """Running processes that do jobs or queue them, as supervisorctl names them.

    ``status`` is what ``supervisorctl status`` says, ``does`` what the bench's processes do.
    """
    running = ("RUNNING", "STARTING", "BACKOFF")
    return [
        name
        for name, state in states(status).items()
        if state in running and does.get(name) in JOBS
    ]


def start_again(resting: list[str]) -> None:
    """Start programs that rested. Raises BenchError."""
    try:
        said = control("start", *resting)
    except BenchError as error:
        raise BenchError(f"the workers do not start again: {error}") from error
    if lost := [line for line in said.splitlines() if "ERROR" in line and "already" not in line]:
        raise BenchError(f"the workers do not start again: {'; '.join(lost)}")


def hand_over(asked: Mapping[str, Any], dry: bool) -> tuple[list[str], list[str]]:
    """End a bench's jobs, and take its files from supervisor: (what has ended, all that was done).

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
        if asked["told"] != digest(own):
            raise BenchError(
                f"programs of your own in {' or '.join(files)} have changed since preflight told of"
                " them: look at them, and run the same command again. Nothing was changed there"
            )
        # With what a run that was killed, or the operator, has put there.
        own = kept_text(bench, read, [*files, place], user)
    if not dry:
        if own:
            # Before the programs' own files go, so that supervisor never misses them.
            readable({place: own, **dict.fromkeys(others)})
            # For root alone: variables in it may be secrets.
            write(place, own, 0o600)
        if running:
            control("stop", *running)
        for path in others:
            os.unlink(path)
    left = [f"keep programs of your own in {place}"] if own else []
    did = [f"end {name}" for name in running] + [f"remove {path}" for path in others] + left
    return running, did
