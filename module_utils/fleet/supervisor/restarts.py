"""Programs of a bench run as supervisor's configuration says, started with the files of today."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, NoReturn

from .. import atomic
from ..bench.account import BenchError, read_foreign
from ..calls import held, listens
from ..foreign import writer
from .call import control_words, run
from .configuration import overridden
from .control import (
    RUNNING,
    STARTED,
    by_account,
    control,
    is_linked,
    link_logs,
    linked_logs,
    log_names,
    readable,
    return_logs,
    states,
    together,
)
from .programs import LOGS, full_name, tasks

STEADY_SECONDS = 4
# Bound on the wait for programs to run, and on that for those that users wait for.
WAIT_SECONDS = 120


def fingerprint(words: list[str]) -> str:
    """One hash over texts, files and folders' Python modules; what is missing counts as empty."""
    total = hashlib.sha256()
    for word in words:
        content = word.encode()
        if word.startswith("/"):
            path = Path(word)
            files = sorted(path.glob("*.py")) if path.is_dir() else [path]
            content = b"".join(file.read_bytes() for file in files if file.exists())
        total.update(hashlib.sha256(content).digest())
    return total.hexdigest()


def remembered(path: str) -> dict[str, str]:
    """What each group was started with, {} when nothing is known."""
    try:
        with open(path, encoding="utf-8") as source:
            known = json.load(source)
    except (FileNotFoundError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def remember(path: str, known: dict[str, str]) -> None:
    """Write what each group was started with."""
    atomic.write(path, json.dumps(known, indent=1, sort_keys=True), durable=False)


def show(text: str, path: str, user: str) -> None:
    """Have a file of a bench say what runs there, to its account alone. Raises BenchError."""
    script = 'umask 077; rm -f "$0.new" && cat >"$0.new" && mv -T "$0.new" "$0"'
    by_account(user, ["sh", "-c", script, path], f"writing {path}", text)


def pressing(groups: list[str], serves: dict[str, str]) -> list[str]:
    """The same groups in the order in which they are restarted.

    Redis, which the others use, then those that users wait for; workers come last, as they may
    be at a job.
    """

    def rank(group: str) -> int:
        if group.endswith("-redis"):
            return 0
        if group in serves:
            return 1
        return 3 if group.endswith("-worker") else 2

    return sorted(groups, key=rank)


def answers(address: str) -> bool:
    """Whether somebody takes connections at ``host:port``."""
    host, _, port = address.rpartition(":")
    return listens(host.strip("[]"), int(port))


def in_order(lines: list[str]) -> list[str]:
    """Groups that supervisor has to take over, from the lines of its reread.

    What leaves makes room for what comes, on its ports too; then Redis, which the others use.
    Workers that leave come last: they may be at a job.
    """

    def rank(line: str) -> int:
        group, _, what = line.partition(": ")
        if what == "disappeared":
            return 4 if re.search(r"-workers?$", group) else 0
        if group.endswith("-redis"):
            return 1
        return 2 if what == "changed" else 3

    return [line.split(":")[0] for line in sorted(lines, key=rank)]


class Programs:
    """A bench's programs, as they are and as they shall be.

    asked: the options of the module supervisor_programs. warn: tells the operator something.
    did: what was done, or would be, in words.
    """

    def __init__(self, asked: Mapping[str, Any], check: bool, warn: Callable[[str], None]) -> None:
        self.asked, self.check, self.warn = asked, check, warn
        self.name: str = asked["name"]
        self.did: list[str] = []
        # What each program does.
        self.tasks: dict[str, str] = {}
        # Of programs whose logs are in LOGS.
        self.logs: list[str] = []
        self.logging: set[str] = set()

    def learn(self) -> None:
        """Know what each program does. Raises BenchError where the configuration cannot be read."""
        try:
            read = readable()
        except BenchError:
            if self.check:
                # The folders that it names may come in the same run.
                return
            raise
        self.tasks = tasks(self.name, read)
        logs: dict[str, Any] | None = self.asked["logs"]
        if logs and logs["linked"]:
            self.logs = log_names(read)
            self.warn_of_logs(read, logs["user"])
        for process in read["processes"]:
            if any(os.path.dirname(path) == LOGS for path in process["logs"]):
                self.logging.add(process["group"])
        for words in overridden(self.asked["configuration"], read):
            self.warn(
                f"{words}: this file of your own wins over Benchfleet's. Take these lines out;"
                " bench_environment, bench_web_arguments and the numbers of workers are for that"
            )

    def warn_of_logs(self, read: dict[str, Any], user: str) -> None:
        """Tell of programs of the operator's own whose logs the bench's account can replace."""
        for process in read["processes"]:
            # A dry run finds the bench's own as they were.
            own = not self.tasks.get(full_name(process))
            if own and (loose := [path for path in process["logs"] if writer(path) == user]):
                self.warn(
                    f"supervisord, as root, writes {' and '.join(loose)} of the program"
                    f" {process['name']}, and {user} can put a link there: name a folder of root's"
                    " in its section"
                )

    def programs(self) -> dict[str, str]:
        """State of each of the bench's processes: {"group:process": "RUNNING", ...}."""
        return {
            name: state
            for name, state in states(control("status")).items()
            if name.startswith(f"{self.name}-") and self.tasks.get(name) != ""
        }

    def own(self) -> list[str]:
        """Processes of the operator's own programs that run and work with the bench."""
        now = states(control("status"))
        return [name for name in now if self.tasks.get(name) == "" and now[name] in STARTED]

    def restart_own(self, names: list[str]) -> None:
        """Restart programs of the operator's own; those that stay away are told."""
        for name in names:
            control("restart", name)
        self.did += [f"restart {name}" for name in names]
        now = states(control("status"))
        if down := [name for name in names if now.get(name) not in (*STARTED, "BACKOFF")]:
            self.warn(
                f"these programs of your own do not run any more: {', '.join(down)}; `supervisorctl"
                " tail NAME stderr` on this host shows their last words"
            )

    @contextmanager
    def holding(self, group: str) -> Iterator[None]:
        """Have calls wait until a group that answers them does so again; others hold nobody up."""
        address: str | None = self.asked["serves"].get(group)
        hold: dict[str, Any] | None = self.asked["hold"]
        with held(**hold) if hold and address and answers(address) else nullcontext():
            yield
            if address:
                self.await_answer(group, address)

    def await_answer(self, group: str, address: str) -> None:
        """Wait until a group answers, unless it is gone or supervisor has given it up.

        What is wrong then is told by ``wait``, at the end.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline and not answers(address):
            now = {s for name, s in self.programs().items() if name.startswith(f"{group}:")}
            if not now - {"FATAL", "STOPPED", "EXITED"}:
                return
            time.sleep(0.1)

    def wait(self, steady: int) -> dict[str, str]:
        """Poll until all have run for ``steady`` seconds; fails with what the others wrote last.

        Supervisor calls a program running after one second, which is sooner than a missing
        part ends most of them.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        since = None
        while True:
            now = self.programs()
            waiting = {name: state for name, state in now.items() if state != RUNNING}
            if (now or self.asked["empty"]) and not waiting:
                since = since or time.monotonic()
                if time.monotonic() - since >= steady:
                    return now
                time.sleep(0.5)
                continue
            since = None
            fatal = [name for name, state in waiting.items() if state == "FATAL"]
            if fatal or time.monotonic() > deadline:
                self.fail(waiting, now)
            time.sleep(0.5)

    def fail(self, waiting: dict[str, str], known: dict[str, str]) -> NoReturn:
        """Raise BenchError with the last words of the programs that do not run."""
        if not known:
            raise BenchError(f"supervisor knows no program of {self.name}")
        words = [f"{name} is {state}" for name, state in sorted(waiting.items())]
        for name in sorted(waiting)[:3]:
            for stream in ("stderr", "stdout"):
                out = run(control_words("tail", "-2000", name, stream), timeout=None).stdout
                if out.strip():
                    words.append(f"--- {name} {stream}:\n{out.strip()}")
        raise BenchError("these programs should run and do not: " + "\n".join(words))

    def today(self) -> dict[str, str]:
        """What each group would be started with now."""
        return {
            **{group: fingerprint(words) for group, words in self.asked["depends"].items()},
            "configuration": fingerprint([self.asked["configuration"]]),
            "own": fingerprint(self.asked["own_depends"]),
            "logging": " ".join(sorted(self.logging)),
        }

    def bring(self) -> dict[str, str]:
        """Have them run; returns their states. Raises BenchError.

        In a dry run, only ``did`` says what would be done.
        """
        asked, logs, shown = self.asked, self.asked["logs"], self.asked["shown"]
        self.learn()
        before = self.programs()
        stopped = [name for name, state in before.items() if state != RUNNING]
        known, today = remembered(asked["state"]), self.today()
        groups = {name.split(":")[0] for name in before}
        outdated = [g for g in groups if g in today and known.get(g) != today[g]]
        outdated = pressing(outdated, asked["serves"])
        # A memory of an older release has nothing of them.
        is_new = known.get("own", today["own"] if known else "") != today["own"]
        own = self.own() if is_new else []
        text = read_foreign(asked["configuration"])
        stale = bool(shown and text and read_foreign(shown["path"]) != text)
        lost = [name for name in self.logs if not is_linked(logs["bench"], name)]
        back = linked_logs(logs["bench"]) if logs and not logs["linked"] else []
        moved = [f"link {logs['bench']}/logs/{name}" for name in lost]
        moved += [f"bring {logs['bench']}/logs/{name} back" for name in back]
        if self.check:
            self.did += [f"restart {group}" for group in outdated]
            self.did += [f"start {name}" for name in stopped]
            if known.get("configuration") != today["configuration"]:
                self.did.append("take over the configuration")
            self.did += [f"write {shown['path']}"] * stale + [f"restart {name}" for name in own]
            self.did += moved
            return before
        if back:
            # First: supervisord would go on with what a link leads to.
            return_logs(logs["bench"], logs["user"])
        fresh = self.take_over(set(known.get("logging", "").split()))
        self.each("restart", [group for group in outdated if group not in fresh])
        idle = [name for name in stopped if name.split(":")[0] not in [*fresh, *outdated]]
        if idle:
            control("start", *together(idle, list(before)))
            self.did += [f"start {name}" for name in idle]
        now = self.wait(STEADY_SECONDS if self.did else 0)
        # After the bench's own, which they may use; those that came just now have been started so.
        self.restart_own([name for name in own if name.split(":")[0] not in fresh])
        if known != today:
            remember(asked["state"], today)
        if stale:
            show(text or "", **shown)
            self.did.append(f"write {shown['path']}")
        if lost:
            # The programs that wrote into the old ones have ended.
            link_logs(logs["bench"], logs["user"], lost)
        self.did += moved
        return now

    def take_over(self, known_groups: set[str]) -> list[str]:
        """Have supervisor take changed groups over; returns them.

        known_groups: those whose logs were in LOGS before. A run that was killed between writing
        the configuration and this step left supervisor with the old one: reread tells.
        """
        known_groups = self.logging | known_groups
        lines = [line for line in control("reread").splitlines() if ": " in line]
        ours = (f"{self.name}-", *(f"{group}:" for group in known_groups))
        fresh = in_order([line for line in lines if line.startswith(ours)])
        self.each("update", fresh)
        return fresh

    def each(self, verb: str, groups: list[str]) -> None:
        """Update or restart groups, one after the other."""
        for group in groups:
            with self.holding(group):
                control(verb, group if verb == "update" else f"{group}:*")
                self.did.append(f"{verb} {group}")
