"""Brings a bench's programs to what supervisor's configuration says, with their files of today."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
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
from .programs import LOGS, full_name, next_file, tasks

STEADY_SECONDS = 4
# Limit of the wait until programs run, and until a group that serves users answers.
WAIT_SECONDS = 120


def fingerprint(parts: list[str]) -> str:
    """One hash over texts, files and folders' Python modules; a missing file counts as empty."""
    total = hashlib.sha256()
    for part in parts:
        content = part.encode()
        if part.startswith("/"):
            path = Path(part)
            files = sorted(path.glob("*.py")) if path.is_dir() else [path]
            content = b"".join(file.read_bytes() for file in files if file.exists())
        total.update(hashlib.sha256(content).digest())
    return total.hexdigest()


def remembered(path: str) -> dict[str, str]:
    """The fingerprint that each group was started with; {} where none is known."""
    try:
        with open(path, encoding="utf-8") as source:
            known = json.load(source)
    except (FileNotFoundError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def remember(path: str, known: dict[str, str]) -> None:
    """Write the fingerprints that the groups were started with."""
    atomic.write(path, json.dumps(known, indent=1, sort_keys=True), durable=False)


def show(text: str, path: str, user: str) -> None:
    """Write the configuration that runs to a file of the bench's account. Raises BenchError."""
    script = 'umask 077; rm -f "$0.new" && cat >"$0.new" && mv -T "$0.new" "$0"'
    by_account(user, ["sh", "-c", script, path], f"writing {path}", text)


def service(group: str) -> str:
    """What a group of a bench's programs is to the operator."""
    for ending, name in (
        ("redis", "Redis"),
        ("report-web", "web workers for reports"),
        ("web", "web workers"),
        ("schedule", "scheduler"),
        ("socketio", "socketio"),
        ("workers?", "workers"),
    ):
        if re.search(rf"-{ending}$", group):
            return name
    return group


def restart_order(groups: list[str], serves: dict[str, str]) -> list[str]:
    """The groups in the order in which they are restarted.

    First Redis, which the others use, then groups that answer users, last workers, which may be at
    a job.
    """

    def rank(group: str) -> int:
        if group.endswith("-redis"):
            return 0
        if group in serves:
            return 1
        return 3 if group.endswith("-worker") else 2

    return sorted(groups, key=rank)


def answers(address: str) -> bool:
    """Whether a program listens at ``host:port``."""
    host, _, port = address.rpartition(":")
    return listens(host.strip("[]"), int(port))


def update_order(lines: list[str]) -> list[str]:
    """Groups that supervisor has to update, in that order, from the output of its reread.

    First groups that leave, which frees their ports, then Redis, which the others use, then what
    users call: workers that start keep the processors busy. Workers that leave come last: they may
    be at a job.
    """

    def rank(line: str) -> int:
        group, _, what = line.partition(": ")
        works = re.search(r"-workers?$", group) is not None
        if what == "disappeared":
            return 5 if works else 0
        if group.endswith("-redis"):
            return 1
        return 4 if works else 2 if what == "changed" else 3

    return [line.split(":")[0] for line in sorted(lines, key=rank)]


class BenchPrograms:
    """A bench's programs, brought to the state that the module supervisor_programs asks for.

    asked: the options of that module. warn: shows the operator a warning. did: the actions that
    were done, or would be, as texts. restarts: what was restarted, or would be, and how many
    seconds it was away; 0 in a dry run.
    """

    def __init__(self, asked: Mapping[str, Any], check: bool, warn: Callable[[str], None]) -> None:
        self.asked, self.check, self.warn = asked, check, warn
        self.name: str = asked["name"]
        self.did: list[str] = []
        self.restarts: dict[str, float] = {}
        # The task of each process.
        self.tasks: dict[str, str] = {}
        # Names of the logs in LOGS, and the groups that write them.
        self.logs: list[str] = []
        self.logging: set[str] = set()

    def learn(self) -> None:
        """Find the task of each process. Raises BenchError for an unreadable configuration."""
        try:
            read = readable()
        except BenchError:
            if self.check:
                # Folders that it names may be created in the same run.
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
        for lines in overridden(self.asked["configuration"], read):
            self.warn(
                f"{lines}: this file of your own wins over Benchfleet's. Take these lines out; set"
                " bench_environment, bench_web_arguments and the numbers of workers instead"
            )

    def warn_of_logs(self, read: dict[str, Any], user: str) -> None:
        """Warn of programs of the operator's own whose logs the bench's account can replace."""
        for process in read["processes"]:
            # In a dry run, the bench's own logs are still where they were.
            own = not self.tasks.get(full_name(process))
            if own and (loose := [path for path in process["logs"] if writer(path) == user]):
                self.warn(
                    f"supervisord, as root, writes {' and '.join(loose)} of the program"
                    f" {process['name']}, and {user} can put a link there: name a log in a folder"
                    " of root's in its section"
                )

    def programs(self) -> dict[str, str]:
        """State of each of the bench's processes: {"group:process": "RUNNING", ...}."""
        return {
            name: state
            for name, state in states(control("status")).items()
            if name.startswith(f"{self.name}-") and self.tasks.get(name) != ""
        }

    def own(self) -> list[str]:
        """Running processes of the operator's own programs that work with the bench."""
        now = states(control("status"))
        return [name for name in now if self.tasks.get(name) == "" and now[name] in STARTED]

    def restart_own(self, names: list[str]) -> None:
        """Restart programs of the operator's own; warn of those that do not run afterwards."""
        for name in names:
            since = time.monotonic()
            control("restart", name)
            self.restarts[name] = time.monotonic() - since
        self.did += [f"restart {name}" for name in names]
        now = states(control("status"))
        if down := [name for name in names if now.get(name) not in (*STARTED, "BACKOFF")]:
            self.warn(
                f"these programs of your own no longer run: {', '.join(down)}; `supervisorctl tail"
                " NAME stderr` on this host shows their last output"
            )

    @contextmanager
    def holding(self, group: str) -> Iterator[None]:
        """Let calls wait at the router until a group that serves them answers again."""
        address: str | None = self.asked["serves"].get(group)
        hold: dict[str, Any] | None = self.asked["hold"]
        with held(**hold) if hold and address and answers(address) else nullcontext():
            yield
            if address:
                self.await_answer(group, address)

    def await_answer(self, group: str, address: str) -> None:
        """Wait until a group answers, unless it is gone or supervisor has given it up.

        ``wait`` reports, at the end, what is wrong then.
        """
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline and not answers(address):
            now = {s for name, s in self.programs().items() if name.startswith(f"{group}:")}
            if not now - {"FATAL", "STOPPED", "EXITED"}:
                return
            time.sleep(0.1)

    def refuse_silent(self, running: Iterable[str]) -> None:
        """Raise BenchError where a group that serves users runs and does not answer."""
        for name in running:
            group = name.split(":")[0]
            address = self.asked["serves"].get(group)
            if not address:
                continue
            self.await_answer(group, address)
            if not answers(address):
                raise BenchError(
                    f"{name} runs, but does not answer at {address}; `supervisorctl tail {name}"
                    " stderr` on this host shows its last output"
                )

    def wait(self, steady: int) -> dict[str, str]:
        """Poll until all programs have run for ``steady`` seconds; returns their states.

        To supervisor a program runs after one second, but most programs that lack something end
        later than that. Raises BenchError with the last output of those that do not run.
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
        """Raise BenchError with the last output of the programs that do not run."""
        if not known:
            raise BenchError(f"supervisor has no program of {self.name}")
        lines = [f"{name} is {state}" for name, state in sorted(waiting.items())]
        for name in sorted(waiting)[:3]:
            for stream in ("stderr", "stdout"):
                out = run(control_words("tail", "-2000", name, stream), timeout=None).stdout
                if out.strip():
                    lines.append(f"--- {name} {stream}:\n{out.strip()}")
        raise BenchError("these programs should run, but do not: " + "\n".join(lines))

    def today(self) -> dict[str, str]:
        """The fingerprint that each group would be started with now."""
        return {
            **{group: fingerprint(parts) for group, parts in self.asked["depends"].items()},
            "configuration": fingerprint([self.asked["configuration"]]),
            "own": fingerprint(self.asked["own_depends"]),
            "logging": " ".join(sorted(self.logging)),
        }

    def reads(self) -> dict[str, list[str]]:
        """The files and folders that each service reads when it starts."""
        found: dict[str, set[str]] = {}
        for group, parts in self.asked["depends"].items():
            files = {part for part in parts if part.startswith("/")}
            found.setdefault(service(group), set()).update(files)
        return {name: sorted(files) for name, files in found.items()}

    def bring(self) -> dict[str, str]:
        """Start, restart and update the programs; returns their states. Raises BenchError.

        A dry run only lists in ``did`` what would be done.
        """
        asked, logs, shown = self.asked, self.asked["logs"], self.asked["shown"]
        self.learn()
        before = self.programs()
        stopped = [name for name, state in before.items() if state != RUNNING]
        known, today = remembered(asked["state"]), self.today()
        groups = {name.split(":")[0] for name in before}
        outdated = [g for g in groups if g in today and known.get(g) != today[g]]
        outdated = restart_order(outdated, asked["serves"])
        # A state file of an older release has no fingerprint of them.
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
            self.restarts = dict.fromkeys([*map(service, outdated), *own], 0.0)
            self.did += [f"start {name}" for name in stopped]
            if known.get("configuration") != today["configuration"]:
                self.did.append("take over the configuration")
            self.did += [f"write {shown['path']}"] if stale else []
            self.did += [f"restart {name}" for name in own]
            self.did += moved
            return before
        with suppress(FileNotFoundError):
            os.unlink(next_file(asked["configuration"]))
        if back:
            # First: otherwise supervisord would go on writing to the link's target.
            return_logs(logs["bench"], logs["user"])
        fresh = self.take_over(set(known.get("logging", "").split()), groups)
        self.each("restart", [group for group in outdated if group not in fresh], groups)
        idle = [name for name in stopped if name.split(":")[0] not in [*fresh, *outdated]]
        if idle:
            control("start", *together(idle, list(before)))
            self.did += [f"start {name}" for name in idle]
        now = self.wait(STEADY_SECONDS if self.did else 0)
        self.refuse_silent(now)
        # After the bench's own, which they may use; those of updated groups were started just now.
        self.restart_own([name for name in own if name.split(":")[0] not in fresh])
        if known != today:
            remember(asked["state"], today)
        if stale:
            show(text or "", **shown)
            self.did.append(f"write {shown['path']}")
        if lost:
            # Now no program writes to the old logs any more.
            link_logs(logs["bench"], logs["user"], lost)
        self.did += moved
        return now

    def take_over(self, known_groups: set[str], before: set[str]) -> list[str]:
        """Have supervisor update changed groups; returns them.

        known_groups: those whose logs were in LOGS before; before: those that there were. After a
        run that was killed between writing the configuration and this step, reread still shows the
        changed groups.
        """
        known_groups = self.logging | known_groups
        lines = [line for line in control("reread").splitlines() if ": " in line]
        ours = (f"{self.name}-", *(f"{group}:" for group in known_groups))
        fresh = update_order([line for line in lines if line.startswith(ours)])
        gone = {line.split(":")[0] for line in lines if line.endswith(": disappeared")}
        # They have the same ports, so they go in the moment in which the group itself comes.
        stand_ins = {group: group.replace(self.name, f"{self.name}-next", 1) for group in fresh}
        stand_ins = {group: name for group, name in stand_ins.items() if name in gone}
        alone = [group for group in fresh if group not in stand_ins.values()]
        self.each("update", alone, before - gone, stand_ins)
        return fresh

    def each(
        self,
        verb: str,
        groups: list[str],
        before: set[str],
        stand_ins: Mapping[str, str] | None = None,
    ) -> None:
        """Update or restart groups, one after the other.

        before: those that this restarts. stand_ins: groups that go with one of them.
        """
        for group in groups:
            since = time.monotonic()
            with self.holding(group):
                others = [name for name in [(stand_ins or {}).get(group)] if name]
                control(verb, *others, group if verb == "update" else f"{group}:*")
                self.did += [f"{verb} {name}" for name in (*others, group)]
            if group in before:
                name, away = service(group), time.monotonic() - since
                self.restarts[name] = max(away, self.restarts.get(name, 0.0))
