"""Questions that are asked at the same time, each in a process of its own and for a limited time.

A file system that no longer answers, a blocked server or a program that hangs would otherwise hang
the whole. A process that cannot even be killed is left alone, and its question is not asked again
while that process is there: each new one would hang, too.

Some questions run programs that the bench's account controls: git with that account's
configuration, and the bench's Python. So each has only so much memory, its answer only so many
bytes, and nothing that it has started outlives it.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import selectors
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from glob import glob
from pathlib import Path
from typing import Any, NoReturn

from ..verify.results import message_of

# Seconds that a killed process gets to end.
GRACE = 0.2
# Options of prctl.
SIGNAL_WHEN_PARENT_ENDS, ADOPT_ORPHANS = 1, 36
# Bytes of memory of a question's process, and of each program that it starts; and of an answer.
MEMORY, LONGEST = 1024**3, 8 * 1024**2


@dataclass(frozen=True)
class Answer:
    """What a question found out: the value, or else the trouble.

    late: it gave no answer within its limit; seconds: how long it was waited for. stuck: the
    process that cannot be killed, as (process id, start time); None for none.
    """

    value: Any = None
    trouble: str = ""
    late: bool = False
    seconds: float = 0.0
    stuck: tuple[int, str] | None = None


@dataclass
class Asked:
    """A question that is being asked: its process, its limit, and what it has written so far."""

    pid: int
    pipe: int
    limit: float
    until: float
    answer: bytearray = field(default_factory=bytearray)


def start_of(pid: int) -> str:
    """When a process was started, in ticks since boot; "" where there is none."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as source:
            return source.read().rpartition(")")[2].split()[19]
    except OSError:
        return ""


def is_there(process: tuple[int, str] | list[Any]) -> bool:
    """Whether a process of an earlier ``ask`` is still there. process: (process id, start time)."""
    pid, start = process
    return start_of(int(pid)) == start != ""


def ask(
    questions: Mapping[str, Callable[[], Any]],
    seconds: float,
    limits: Mapping[str, float] | None = None,
    stuck: Mapping[str, Any] | None = None,
) -> dict[str, Answer]:
    """The answers by the names of their questions.

    A question returns what JSON can hold. seconds: the limit of each; limits: other ones, by name.
    stuck: processes of earlier calls that could not be killed, by name.
    """
    found: dict[str, Answer] = {}
    asked: dict[str, Asked] = {}
    with selectors.DefaultSelector() as selector:
        for name, question in questions.items():
            limit = (limits or {}).get(name, seconds)
            former = (stuck or {}).get(name)
            if former and is_there(former):
                found[name] = Answer(late=True, seconds=limit, stuck=(int(former[0]), former[1]))
                continue
            pid, pipe = begin(question)
            asked[name] = Asked(pid, pipe, limit, time.monotonic() + limit)
            selector.register(pipe, selectors.EVENT_READ, name)
        while asked:
            left = min(one.until for one in asked.values()) - time.monotonic()
            for key, _ in selector.select(max(0.0, left)):
                one = asked[key.data]
                one.answer += (more := os.read(one.pipe, 2**16))
                if more and len(one.answer) <= LONGEST:
                    continue
                found[key.data] = answer_of(one)
                selector.unregister(one.pipe)
                finish(asked.pop(key.data))
            for name, one in list(asked.items()):
                if one.until <= time.monotonic():
                    selector.unregister(one.pipe)
                    found[name] = Answer(late=True, seconds=one.limit, stuck=finish(one))
                    del asked[name]
    return {name: found[name] for name in questions}


def begin(question: Callable[[], Any]) -> tuple[int, int]:
    """Have a new process answer a question; returns its id and the pipe to read from."""
    reads, writes = os.pipe()
    parent = os.getpid()
    pid = os.fork()
    if pid:
        os.close(writes)
        return pid, reads
    # From here on in the new process, which must not get back to the caller.
    try:
        answer(question, writes, parent)
    finally:
        os._exit(1)


def answer(question: Callable[[], Any], pipe: int, parent: int) -> NoReturn:
    """Write the answer to a question into a pipe, and end."""
    # A group of its own, to be killed with the programs that it starts.
    os.setsid()
    prctl = ctypes.CDLL(None).prctl
    prctl(SIGNAL_WHEN_PARENT_ENDS, signal.SIGKILL)
    # A program that leaves the group and its parent stays below this process.
    prctl(ADOPT_ORPHANS, 1)
    if os.getppid() != parent:
        os._exit(1)
    # No more than the limit that there may be already. Maps of files do not count.
    most = resource.getrlimit(resource.RLIMIT_DATA)[1]
    most = MEMORY if most == resource.RLIM_INFINITY else min(most, MEMORY)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    try:
        text = json.dumps({"value": question()})
    except Exception as error:
        text = json.dumps({"trouble": message_of(error)})
    end_below(os.getpid())
    with os.fdopen(pipe, "w", encoding="utf-8") as out:
        out.write(text)
    os._exit(0)


def answer_of(one: Asked) -> Answer:
    """The answer that a process wrote before it ended."""
    if len(one.answer) > LONGEST:
        return Answer(trouble=f"the answer is longer than {LONGEST // 1024**2} MiB")
    try:
        return Answer(**json.loads(one.answer))
    except ValueError:
        return Answer(trouble="the process that asked ended without an answer")


def below(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have; no ended ones."""
    found: list[int] = []
    parents = [pid]
    while parents:
        for path in glob(f"/proc/{parents.pop()}/task/*/children"):
            with suppress(OSError):
                for child in map(int, Path(path).read_text().split()):
                    stat = Path(f"/proc/{child}/stat").read_text(errors="replace")
                    if stat.rpartition(")")[2].split()[0] != "Z":
                        found.append(child)
                        parents.append(child)
    return found


def end_below(pid: int) -> None:
    """Kill all that a process has started, also what is started meanwhile."""
    until = 0.0
    # To find many takes longer than the grace, which is for those that cannot be killed.
    while there := below(pid):
        for one in there:
            with suppress(OSError):
                os.kill(one, signal.SIGKILL)
        until = until or time.monotonic() + GRACE
        if time.monotonic() > until:
            return
        time.sleep(0.001)


def finish(one: Asked) -> tuple[int, str] | None:
    """Kill a process with those that it started; returns it where it is still there."""
    os.close(one.pipe)
    # First, because later they would be nobody's.
    end_below(one.pid)
    with suppress(OSError):
        os.killpg(one.pid, signal.SIGKILL)
    until = time.monotonic() + GRACE
    while os.waitpid(one.pid, os.WNOHANG)[0] == 0:
        if time.monotonic() > until:
            return one.pid, start_of(one.pid)
        time.sleep(0.005)
    return None
