"""Programs that are run for their output, and the processes of a bench on this host."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass

Done = subprocess.CompletedProcess[str]
# Seconds that a slow host may need to list its packages or units.
SLOW_SECONDS = 300.0
# The type of run() below, for its replacements in tests.
Run = Callable[..., Done]


def run(words: list[str], stdin: str = "", seconds: float = 30) -> Done:
    """The result of a program, run with messages in English.

    One that is missing, or takes longer, counts as failed: status 1, and the reason in stderr.
    """
    try:
        return subprocess.run(
            words,
            input=stdin,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=seconds,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return subprocess.CompletedProcess(words, 1, "", str(error))


@dataclass(frozen=True)
class Process:
    """A process: ``words`` is its command line, or the title it gave itself."""

    pid: int
    parent: int
    folder: str
    words: tuple[str, ...]


def processes(folder: str = "/proc") -> list[Process]:
    """All processes of this host; those that end meanwhile are left out."""
    found = []
    for name in filter(str.isdigit, os.listdir(folder)):
        try:
            with open(f"{folder}/{name}/cmdline", "rb") as source:
                words = tuple(
                    part for part in source.read().decode(errors="replace").split("\0") if part
                )
            with open(f"{folder}/{name}/stat", encoding="utf-8", errors="replace") as source:
                # The second field, the name, may hold blanks and brackets itself.
                parent = int(source.read().rpartition(")")[2].split()[1])
            place = os.readlink(f"{folder}/{name}/cwd")
        except OSError:
            continue
        if words:
            found.append(Process(int(name), parent, place, words))
    return found


def of_bench(found: Iterable[Process], bench: str) -> list[Process]:
    """Processes that run in a bench's folder or have it in their command line."""
    inside = f"{bench}/"
    return [
        process
        for process in found
        if f"{process.folder}/".startswith(inside) or any(inside in word for word in process.words)
    ]


def _runs(process: Process, command: str) -> bool:
    """Whether this is ``bench COMMAND``, in any of its forms."""
    words = process.words
    if command not in words[1:]:
        return False
    helpers = ("frappe.utils.bench_helper", "benchfleet_guard")
    helper = any(name in word for word in words for name in helpers)
    return helper or any(os.path.basename(word) == "bench" for word in words[:2])


def schedulers(found: Iterable[Process]) -> list[Process]:
    """Processes that put scheduled jobs onto the queue; a worker pool holds a scheduler, too."""
    own = [p for p in found if _runs(p, "schedule") or _runs(p, "worker-pool")]
    pids = {process.pid for process in own}
    return [process for process in own if process.parent not in pids]


def background_workers(found: Iterable[Process]) -> list[Process]:
    """Background workers, without the processes that they start for each job."""
    own = [p for p in found if p.words[0].startswith("rq:worker:") or _runs(p, "worker")]
    pids = {process.pid for process in own}
    return [process for process in own if process.parent not in pids]


def web_workers(found: Iterable[Process]) -> list[Process]:
    """gunicorn's workers, without the process that watches over them.

    Where Frappe's own application runs, guarded workers beside it are the primary's report pool.
    """
    servers = [p for p in found if any("gunicorn" in word for word in p.words)]
    applications = ("frappe.app:application", "benchfleet_guard.wsgi:application")
    kinds = ([p for p in servers if any(name in w for w in p.words)] for name in applications)
    own = next((kind for kind in kinds if kind), [])
    pids = {process.pid for process in own}
    return [process for process in own if process.parent in pids]


def environment_of(pid: int, folder: str = "/proc") -> dict[str, str]:
    """Environment of a process; {} where it has ended.

    For a process whose title has overwritten it (setproctitle), that of its parent.
    """
    while pid > 1:
        try:
            with open(f"{folder}/{pid}/environ", "rb") as source:
                pairs = [pair.partition(b"=") for pair in source.read().split(b"\0")]
            with open(f"{folder}/{pid}/stat", encoding="utf-8", errors="replace") as source:
                pid = int(source.read().rpartition(")")[2].split()[1])
        except OSError:
            break
        found = {os.fsdecode(name): os.fsdecode(value) for name, sign, value in pairs if sign}
        if "PATH" in found:
            return found
    return {}
