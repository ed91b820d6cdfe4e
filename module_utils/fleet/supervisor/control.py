"""Programs of a bench under supervisor: their states, stopping and starting them."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ..bench.account import BenchError, checked, run_as
from .call import answer, control_words, run, status
from .configuration import ConfigurationError, configuration, trouble_text
from .programs import LOGS, tasks

# Run by the bench's account: links in its own folder could lead root anywhere. A log that is there
# already gets the first free number.
LINK_LOGS = """
set -eu
mkdir -p -- "$1"
cd -- "$1"
folder=$2
shift 2
for name; do
    number=1
    while [ -e "$name.$number" ] || [ -L "$name.$number" ]; do number=$((number + 1)); done
    if [ -e "$name" ] || [ -L "$name" ]; then mv -T -- "$name" "$name.$number"; fi
    ln -s -- "$folder/$name" "$name"
done
"""
RETURN_LOGS = """
set -eu
cd -- "$1"
folder=$2
shift 2
for name; do
    for former in "$folder/$name".*; do
        number=1
        while [ -e "$name.$number" ] || [ -L "$name.$number" ]; do number=$((number + 1)); done
        if [ -f "$former" ]; then cp -- "$former" "$name.$number"; fi
    done
    if [ -f "$folder/$name" ]; then
        cp -- "$folder/$name" "$name.new"
        mv -fT -- "$name.new" "$name"
    else
        rm -- "$name"
    fi
done
"""
# Limit for scripts of the bench's account, whose own processes may block them.
ACCOUNT_SECONDS = 300
RUNNING = "RUNNING"
STARTED = (RUNNING, "STARTING")
# A process that is not the bench's.
OTHER = "other"

# Programs that the bench CLI has to write, by the ends of their names, and the effect without one.
PROGRAMS = {
    "-frappe-web": "no calls are answered",
    "-frappe-schedule": "no scheduled job is queued",
    "-frappe-short-worker": "quick jobs have no workers",
    "-frappe-long-worker": "long jobs have no workers",
}

# Lines of supervisorctl about programs that it has handled, or that are in that state already. A
# program that did not start is found by its state afterwards.
HANDLED = re.compile(
    r"""No\ config\ updates\ to\ processes
    |\S+:\ (
        started|stopped|signalled|available|changed|disappeared
        |(added|removed|updated)\ process\ group
        |ERROR\ \((
            already\ started|not\ running|spawn\ error|abnormal\ termination|no\ such\ file
            |file\ is\ not\ executable
        )\)
    )""",
    re.VERBOSE,
)
STATUS = re.compile(r"(\S+)\s+(STOPPED|STARTING|RUNNING|BACKOFF|STOPPING|EXITED|FATAL|UNKNOWN)\b")


def log_names(read: Mapping[str, Any]) -> list[str]:
    """Names of the logs in LOGS that programs have; ``read`` as of configuration()."""
    paths = [path for process in read["processes"] for path in process["logs"]]
    return sorted({os.path.basename(path) for path in paths if os.path.dirname(path) == LOGS})


def is_linked(bench: str, name: str) -> bool:
    """Whether a name in a bench's logs is a link to the log in LOGS."""
    try:
        return os.readlink(f"{bench}/logs/{name}") == f"{LOGS}/{name}"
    except OSError:
        return False


def link_logs(bench: str, user: str, names: Iterable[str]) -> None:
    """Make a bench's logs links to LOGS; logs that were there get a number. Raises BenchError."""
    log_script(LINK_LOGS, bench, user, [name for name in names if not is_linked(bench, name)])


def return_logs(bench: str, user: str) -> list[str]:
    """Give a bench its logs in place of links to LOGS; returns their names. Raises BenchError."""
    names = linked_logs(bench)
    log_script(RETURN_LOGS, bench, user, names)
    return names


def linked_logs(bench: str) -> list[str]:
    """Names in a bench's logs that are links to LOGS."""
    folder = f"{bench}/logs"
    names = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(name for name in names if is_linked(bench, name))


def log_script(script: str, bench: str, user: str, names: list[str]) -> None:
    """Run one of the scripts for logs as the bench's account."""
    if names:
        command = ["sh", "-c", script, "logs", f"{bench}/logs", LOGS, *names]
        by_account(user, command, f"links in {bench}/logs")


def by_account(user: str, command: list[str], what: str, stdin: str | None = None) -> None:
    """Run a command as a bench's account. Raises BenchError, also after ACCOUNT_SECONDS."""
    try:
        done = run_as(user, command, "/", {"PATH": os.defpath}, stdin, ACCOUNT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise BenchError(
            f"{what} has not ended within {ACCOUNT_SECONDS} s: see which processes of {user} block"
            " it, and run this again"
        ) from error
    checked(done, what)


def control(*arguments: str) -> str:
    """Output of supervisorctl. Raises BenchError for unusual output.

    The exit status alone is not enough: that of ``status`` depends on the programs' states.
    """
    if arguments == ("status",) and (text := status()) is not None:
        return text
    done = run(control_words(*arguments), timeout=None)
    usual = STATUS.match if arguments[0] == "status" else HANDLED.fullmatch
    lines = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    strange = [line for line in lines if not usual(line)]
    if strange or (done.returncode != 0 and not lines):
        message = " ".join(strange) or done.stderr.strip()[-500:]
        if "CANT_REREAD" in message:
            # supervisor's message may quote a secret.
            path = readable()["path"]
            raise BenchError(
                f"supervisord could not read its configuration ({path}): run this again"
            )
        raise BenchError(
            f"`supervisorctl {' '.join(arguments)}` failed ({done.returncode}): {message}; see"
            " `systemctl status supervisor` on this host"
        )
    return done.stdout


def readable(instead: Mapping[str, str | None] | None = None) -> dict[str, Any]:
    """The configuration as of configuration(). Raises BenchError if it is unreadable."""
    try:
        read = configuration(instead)
    except ConfigurationError as error:
        raise BenchError(str(error)) from error
    if read["trouble"]:
        raise BenchError(trouble_text(read["trouble"]))
    return read


def control_each(word: str, names: list[str]) -> None:
    """Stop or start programs at the same time; one supervisorctl would wait for each in turn."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda name: control(word, name), names))


def states(text: str) -> dict[str, str]:
    """State of each process of supervisor's: {"group:process": "RUNNING", ...}.

    ``text`` is the output of ``supervisorctl status``.
    """
    found = {}
    for line in text.splitlines():
        if match := STATUS.match(line):
            found[match.group(1)] = match.group(2)
    return found


def missing_programs(text: str) -> list[str]:
    """A message for each of PROGRAMS that is not in the bench CLI's supervisor.conf."""
    names = re.findall(r"^\[program:([^\]]+)\]", text, re.MULTILINE)
    return [
        f"supervisor: `bench setup supervisor` writes no program named *{end}, so {lost}"
        for end, lost in PROGRAMS.items()
        if not any(name.endswith(end) for name in names)
    ]


# What the processes of each bench do, as far as they are known.
known_tasks: dict[str, dict[str, str]] = {}


def tasks_of(bench: str, names: Iterable[str]) -> dict[str, str]:
    """What processes of a bench do, by their commands: see tasks().

    Processes of other benches, and those that are not in the configuration, are left out.
    """
    if not set(names) <= set(known_tasks.get(bench, {})):
        every = dict.fromkeys(names, OTHER)
        known_tasks[bench] = every | tasks(bench, readable())
    return {name: what for name, what in known_tasks[bench].items() if what != OTHER}


def programs(bench: str) -> dict[str, str]:
    """State of each process of a bench now, without programs of the operator's own.

    ``bench`` is the bench's name. A process that is no longer in the configuration is known by its
    name.
    """
    return of_bench(bench, states(control("status")))


def stopped(bench: str) -> dict[str, str]:
    """Those of programs() that do not run; the configuration is read only where there is one."""
    now = {k: state for k, state in states(control("status")).items() if state != RUNNING}
    return of_bench(bench, now) if now else {}


def of_bench(bench: str, now: Mapping[str, str]) -> dict[str, str]:
    """Those of these processes that programs() has, with their states."""
    does = tasks_of(bench, now)
    return {
        name: state
        for name, state in now.items()
        if does.get(name) or (name not in does and name.startswith(f"{bench}-"))
    }


def doing(bench: str, *wanted: str) -> Callable[[list[str]], list[str]]:
    """A function that chooses the processes of a bench with these tasks, as of task()."""

    def choose(names: list[str]) -> list[str]:
        does = tasks_of(bench, names)
        return [name for name in names if does.get(name) in wanted]

    return choose


def together(names: list[str], known: list[str]) -> list[str]:
    """The processes as arguments of supervisorctl, a whole group as one.

    known: all processes of the bench.
    """
    arguments = []
    for group in dict.fromkeys(name.split(":")[0] for name in names):
        inside = [name for name in known if name.split(":")[0] == group]
        chosen = [name for name in names if name in inside]
        arguments += [f"{group}:*"] if len(chosen) == len(inside) else chosen
    return arguments


def begin_stop(arguments: Iterable[str], failed: list[BenchError]) -> None:
    """Have supervisor stop programs, and do not wait until they have stopped.

    arguments: as of together(). failed: gets what a supervisorctl has to say, where supervisord
    cannot be asked directly.
    """

    def stop_one(name: str) -> None:
        try:
            control("stop", name)
        except BenchError as error:
            failed.append(error)

    for name in arguments:
        group = name.endswith(":*")
        method = f"supervisor.stopProcess{'Group' * group}"
        if answer(method, name.removesuffix(":*"), False) is None:
            # What supervisor has begun to stop goes on to stop, also when nobody waits for it.
            threading.Thread(target=stop_one, args=[name], daemon=True).start()


def begin_start(name: str) -> None:
    """Start a process, and do not wait until it counts as started. Raises BenchError."""
    if answer("supervisor.startProcess", name, False) is None:
        control("start", name)


def stop(bench: str, chosen: Callable[[list[str]], list[str]] = list) -> list[str]:
    """Stop the chosen processes; returns those that ran. A worker ends its job first."""
    before = programs(bench)
    names = [name for name in chosen(list(before)) if before[name] in (*STARTED, "BACKOFF")]
    if names:
        control_each("stop", together(names, list(before)))
    left = programs(bench)
    still = [name for name in names if left.get(name) in (*STARTED, "BACKOFF", "STOPPING")]
    if still:
        raise BenchError(f"these programs do not stop: {', '.join(still)}")
    return names


def start(bench: str) -> list[str]:
    """Start all processes; returns those that did not run."""
    before = programs(bench)
    names = [name for name in before if before[name] not in STARTED]
    if names:
        control_each("start", together(names, list(before)))
    after = programs(bench)
    down = [f"{name} is {after.get(name, 'gone')}" for name in names if after.get(name) != RUNNING]
    if down:
        raise BenchError(
            f"these programs should run, but do not: {', '.join(down)}; `supervisorctl tail NAME"
            " stderr` on this host shows their last output"
        )
    return names
