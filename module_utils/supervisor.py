"""Programs of a bench as supervisor runs them: their states, stopping and starting them."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.bench import BenchError

RUNNING = "RUNNING"
STARTED = (RUNNING, "STARTING")

# Programs that the bench CLI has to write, by how their names end, and what is missing without one.
PROGRAMS = {
    "-frappe-web": "nobody answers calls",
    "-frappe-schedule": "no scheduled job is queued",
    "-frappe-short-worker": "quick jobs have no workers",
    "-frappe-long-worker": "long jobs have no workers",
}


def control(*words: str) -> str:
    """Output of supervisorctl; its exit status tells the state of programs, not success.

    Raises BenchError when supervisord does not answer.
    """
    done = subprocess.run(
        ["supervisorctl", *words],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    if "refused connection" in done.stdout or "no such file" in done.stdout.lower():
        raise BenchError(
            f"supervisord does not answer: {done.stdout.strip()}; see `systemctl status supervisor`"
            " on this host"
        )
    return done.stdout


def control_each(word: str, names: list[str]) -> None:
    """Stop or start programs side by side: supervisorctl itself waits for each in its turn."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: control(word, name), names))


def states(text: str, bench: str) -> dict[str, str]:
    """State of each process of the bench named ``bench``: {"group:process": "RUNNING", ...}.

    ``text`` is what ``supervisorctl status`` says.
    """
    found = {}
    for line in text.splitlines():
        match = re.match(r"(\S+)\s+([A-Z]+)\b", line)
        if match and match.group(1).startswith(f"{bench}-"):
            found[match.group(1)] = match.group(2)
    return found


def missing_programs(text: str) -> list[str]:
    """What the bench CLI's supervisor.conf has not of PROGRAMS, in sentences."""
    names = re.findall(r"^\[program:([^\]]+)\]", text, re.MULTILINE)
    return [
        f"supervisor: `bench setup supervisor` writes no program named *{end}; so {lost}"
        for end, lost in PROGRAMS.items()
        if not any(name.endswith(end) for name in names)
    ]


def programs(bench: str) -> dict[str, str]:
    """State of each process of a bench now."""
    return states(control("status"), bench)


def job_programs(names: list[str]) -> list[str]:
    """Those processes that do jobs or queue them: workers and the scheduler."""
    return [name for name in names if re.search(r"-(worker|schedule)$", name.split(":")[0])]


def serving_programs(names: list[str]) -> list[str]:
    """Those processes that answer calls: the web workers and the pool for reports."""
    return [name for name in names if name.split(":")[0].endswith("-web")]


def realtime_programs(names: list[str]) -> list[str]:
    """The process of the realtime server, to which pages have a connection."""
    return [name for name in names if name.split(":")[0].endswith("-socketio")]


def together(names: list[str], known: list[str]) -> list[str]:
    """The same processes for supervisorctl, which handles those of a whole group at once.

    known: all processes of the bench.
    """
    words = []
    for group in dict.fromkeys(name.split(":")[0] for name in names):
        inside = [name for name in known if name.split(":")[0] == group]
        chosen = [name for name in names if name in inside]
        words += [f"{group}:*"] if len(chosen) == len(inside) else chosen
    return words


def stop(bench: str, chosen: Callable[[list[str]], list[str]] = list) -> list[str]:
    """Stop the chosen processes; returns those that ran. A worker ends its job first."""
    before = programs(bench)
    names = [name for name in chosen(list(before)) if before[name] in STARTED]
    if names:
        control_each("stop", together(names, list(before)))
    left = programs(bench)
    still = [name for name in names if left.get(name) in (*STARTED, "STOPPING")]
    if still:
        raise BenchError(f"these programs do not stop: {', '.join(still)}")
    return names


def start(bench: str, chosen: Callable[[list[str]], list[str]] = list) -> list[str]:
    """Start the chosen processes; returns those that did not run."""
    before = programs(bench)
    names = [name for name in chosen(list(before)) if before[name] not in STARTED]
    if names:
        control_each("start", together(names, list(before)))
    after = programs(bench)
    down = [f"{name} is {after.get(name, 'gone')}" for name in names if after.get(name) != RUNNING]
    if down:
        raise BenchError(
            f"these programs should run and do not: {', '.join(down)}; `supervisorctl tail NAME"
            " stderr` on this host shows their last words"
        )
    return names
