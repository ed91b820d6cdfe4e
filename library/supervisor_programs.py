#!/usr/bin/python
"""Let supervisor run a bench's programs as its configuration says."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from ansible.module_utils.fleet.bench.account import BenchError, read_foreign
from ansible.module_utils.fleet.calls import held, listens
from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.supervisor.control import (
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
from ansible.module_utils.fleet.supervisor.programs import (
    LOGS,
    control_words,
    full_name,
    overridden,
    tasks,
    writer,
)

DOCUMENTATION = r"""
module: supervisor_programs
short_description: Programs of one supervisor configuration are the wanted ones and run
description:
  - Takes over a changed configuration, starts what is stopped, restarts a group whose programs
    were started with other files than those of today, and waits until every program runs.
    Programs of other configurations are never touched.
  - What a group was started with is remembered only after it runs, so a run that was killed
    between a changed file and the restart is made good by the next one.
  - Fails before it touches a program where supervisord cannot read its configuration.
  - Programs of the operator's own that work with the bench need not run. Those that do are
    restarted when what they read has changed.
options:
  name: {description: Prefix of the bench's programs and groups., type: str, required: true}
  configuration: {description: The supervisor configuration., type: path, required: true}
  empty: {description: Whether that configuration has no program., type: bool, default: false}
  depends:
    description:
      - "What the programs of a group read at their start, C({group: [path or text, ...]}). Words
        that begin with a slash are files, or folders of Python modules."
    type: dict
    default: {}
  own_depends:
    description: What programs of the operator's own read at their start, as in C(depends).
    type: list
    elements: str
    default: []
  serves:
    description:
      - "Where the programs of a group that users wait for answer, C({group: address:port}). The
        programs of other groups are started when these do, as long as that is within C(seconds):
        all of them at once would take the processor from each other."
    type: dict
    default: {}
  hold:
    description:
      - For the groups of C(serves), how calls wait at the router while they are restarted,
        C({path, host, port}) as in module_utils/fleet/calls.py; without it they do not.
    type: dict
  shown:
    description:
      - Where the bench has what runs, as the bench CLI's pages name it. The bench's account writes
        it, for the folder is that account's.
    type: dict
    suboptions:
      path: {description: The file., type: path, required: true}
      user: {description: The bench's account., type: str, required: true}
  logs:
    description:
      - Whose folder C(logs) leads to the programs' logs, as the bench CLI's pages name them.
    type: dict
    suboptions:
      bench: {description: Directory of the bench., type: path, required: true}
      user: {description: The bench's account., type: str, required: true}
      linked:
        description: Without it the bench gets its own logs back.
        type: bool
        default: true
  state:
    description: File that remembers what each group was started with.
    type: path
    required: true
  seconds: {description: Bound on the wait., type: int, default: 120}
"""

EXAMPLES = r"""
- name: Programs of the bench run
  supervisor_programs:
    name: frappe-bench
    configuration: /etc/supervisor/conf.d/frappe-bench.conf
    depends: {frappe-bench-web: ["{{ fleet_config_dir }}/read-guard.json"]}
    serves: {frappe-bench-web: "127.0.0.1:{{ fleet_web_port }}"}
    state: "{{ fleet_state_dir }}/bench-started-with.json"
"""

STEADY_SECONDS = 4


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
    with open(f"{path}.new", "w", encoding="utf-8") as out:
        json.dump(known, out, indent=1, sort_keys=True)
    os.replace(f"{path}.new", path)


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


class Supervisor:
    """One bench's view of supervisorctl."""

    def __init__(self, module: FleetModule) -> None:
        self.module = module
        self.name: str = module.params["name"]
        # Names of before and of after the change.
        self.tasks: dict[str, str] = {}
        # Of programs whose logs are in LOGS.
        self.logs: list[str] = []
        self.logging: set[str] = set()

    def control(self, *words: str) -> str:
        """Output of supervisorctl; what it does not usually say ends the module."""
        try:
            return control(*words)
        except BenchError as error:
            self.module.fail_json(msg=str(error))

    def learn(self) -> None:
        """Know what each program does; a configuration that cannot be read ends the module."""
        try:
            read = readable()
        except BenchError as error:
            if self.module.check_mode:
                # The folders that it names may come in the same run.
                return
            self.module.fail_json(msg=str(error))
        self.tasks |= tasks(self.name, read)
        logs: dict[str, Any] | None = self.module.params["logs"]
        if logs and logs["linked"]:
            self.logs = log_names(read)
            self.warn_of_logs(read, logs["user"])
        for process in read["processes"]:
            if any(os.path.dirname(path) == LOGS for path in process["logs"]):
                self.logging.add(process["group"])
        for words in overridden(self.module.params["configuration"], read):
            self.module.warn(
                f"{words}: this file of your own wins over Benchfleet's. Take these lines out;"
                " bench_environment, bench_web_arguments and the numbers of workers are for that"
            )

    def warn_of_logs(self, read: dict[str, Any], user: str) -> None:
        """Tell of programs of the operator's own whose logs the bench's account can replace."""
        for process in read["processes"]:
            # A dry run finds the bench's own as they were.
            own = not self.tasks.get(full_name(process))
            if own and (loose := [path for path in process["logs"] if writer(path) == user]):
                self.module.warn(
                    f"supervisord, as root, writes {' and '.join(loose)} of the program"
                    f" {process['name']}, and {user} can put a link there: name a folder of root's"
                    " in its section"
                )

    def programs(self) -> dict[str, str]:
        """State of each of the bench's processes: {"group:process": "RUNNING", ...}."""
        return {
            name: state
            for name, state in states(self.control("status")).items()
            if name.startswith(f"{self.name}-") and self.tasks.get(name) != ""
        }

    def own(self) -> list[str]:
        """Processes of the operator's own programs that run and work with the bench."""
        now = states(self.control("status"))
        return [name for name in now if self.tasks.get(name) == "" and now[name] in STARTED]

    def restart_own(self, names: list[str]) -> None:
        """Restart programs of the operator's own; those that stay away are told."""
        for name in names:
            self.control("restart", name)
        now = states(self.control("status"))
        if down := [name for name in names if now.get(name) not in (*STARTED, "BACKOFF")]:
            self.module.warn(
                f"these programs of your own do not run any more: {', '.join(down)}; `supervisorctl"
                " tail NAME stderr` on this host shows their last words"
            )

    @contextmanager
    def holding(self, group: str) -> Iterator[None]:
        """Have calls wait until a group that answers them does so again; others hold nobody up."""
        address: str | None = self.module.params["serves"].get(group)
        hold: dict[str, Any] | None = self.module.params["hold"]
        with held(**hold) if hold and address and answers(address) else nullcontext():
            yield
            if address:
                self.await_answer(group, address, self.module.params["seconds"])

    def await_answer(self, group: str, address: str, seconds: int) -> None:
        """Wait until a group answers, unless it is gone or supervisor has given it up.

        What is wrong then is told by ``wait``, at the end.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and not answers(address):
            now = {s for name, s in self.programs().items() if name.startswith(f"{group}:")}
            if not now - {"FATAL", "STOPPED", "EXITED"}:
                return
            time.sleep(0.1)

    def wait(self, seconds: int, steady: int) -> dict[str, str]:
        """Poll until all have run for ``steady`` seconds; fails with what the others wrote last.

        Supervisor calls a program running after one second, which is sooner than a missing
        part ends most of them.
        """
        deadline = time.monotonic() + seconds
        since = None
        while True:
            now = self.programs()
            waiting = {name: state for name, state in now.items() if state != RUNNING}
            if (now or self.module.params["empty"]) and not waiting:
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

    def fail(self, waiting: dict[str, str], known: dict[str, str]) -> None:
        """End the module, showing the last words of the programs that do not run."""
        if not known:
            self.module.fail_json(msg=f"supervisor knows no program of {self.name}")
        words = [f"{name} is {state}" for name, state in sorted(waiting.items())]
        for name in sorted(waiting)[:3]:
            for stream in ("stderr", "stdout"):
                _, out, _ = self.module.run_command(control_words("tail", "-2000", name, stream))
                if out.strip():
                    words.append(f"--- {name} {stream}:\n{out.strip()}")
        self.module.fail_json(msg="these programs should run and do not: " + "\n".join(words))


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "name": {"type": "str", "required": True},
            "configuration": {"type": "path", "required": True},
            "empty": {"type": "bool", "default": False},
            "depends": {"type": "dict", "default": {}},
            "own_depends": {"type": "list", "elements": "str", "default": []},
            "serves": {"type": "dict", "default": {}},
            "hold": {"type": "dict"},
            "shown": {
                "type": "dict",
                "options": {
                    "path": {"type": "path", "required": True},
                    "user": {"type": "str", "required": True},
                },
            },
            "logs": {
                "type": "dict",
                "options": {
                    "bench": {"type": "path", "required": True},
                    "user": {"type": "str", "required": True},
                    "linked": {"type": "bool", "default": True},
                },
            },
            "state": {"type": "path", "required": True},
            "seconds": {"type": "int", "default": 120},
        },
        supports_check_mode=True,
    )
    memory, shown = module.params["state"], module.params["shown"]
    if module.check_mode and not os.path.exists("/usr/bin/supervisorctl"):
        module.exit_json(changed=True, did=["start the programs"])
    supervisor = Supervisor(module)
    supervisor.learn()
    before = supervisor.programs()
    groups = {name.split(":")[0] for name in before}
    stopped = [name for name, state in before.items() if state != RUNNING]
    today = {group: fingerprint(words) for group, words in module.params["depends"].items()}
    today["configuration"] = fingerprint([module.params["configuration"]])
    today["own"] = fingerprint(module.params["own_depends"])
    today["logging"] = " ".join(sorted(supervisor.logging))
    known = remembered(memory)
    # A memory of an older release has nothing of them.
    own = (
        supervisor.own() if known.get("own", today["own"] if known else "") != today["own"] else []
    )
    serves: dict[str, str] = module.params["serves"]
    outdated = [g for g in groups if g in today and known.get(g) != today[g]]
    outdated = pressing(outdated, serves)
    text = read_foreign(module.params["configuration"])
    stale = bool(shown and text and read_foreign(shown["path"]) != text)
    logs: dict[str, Any] | None = module.params["logs"]
    lost = [name for name in supervisor.logs if logs and not is_linked(logs["bench"], name)]
    back = linked_logs(logs["bench"]) if logs and not logs["linked"] else []
    moved = [f"link {logs['bench']}/logs/{name}" for name in lost] if logs else []
    moved += [f"bring {logs['bench']}/logs/{name} back" for name in back] if logs else []
    if module.check_mode:
        did = [f"restart {group}" for group in outdated] + [f"start {name}" for name in stopped]
        if known.get("configuration") != today["configuration"]:
            did.append("take over the configuration")
        did += [f"write {shown['path']}"] * stale + [f"restart {name}" for name in own] + moved
        diff = {"before": "", "after": "".join(f"{line}\n" for line in did)}
        module.exit_json(changed=bool(did), did=did, diff=diff)
    did = []
    if logs and back:
        # First: supervisord would go on with what a link leads to.
        try:
            return_logs(logs["bench"], logs["user"])
        except BenchError as error:
            module.fail_json(msg=str(error))
    # A run that was killed between writing the configuration and this step left supervisor
    # with the old one: reread tells.
    pending = supervisor.control("reread")
    known_groups = supervisor.logging | set(known.get("logging", "").split())
    ours = [
        line
        for line in pending.splitlines()
        if line.startswith(f"{supervisor.name}-") or line.split(":")[0] in known_groups
    ]
    fresh = in_order([line for line in ours if ": " in line])
    for group in fresh:
        with supervisor.holding(group):
            supervisor.control("update", group)
            did.append(f"update {group}")
    for group in outdated:
        if group not in fresh:
            with supervisor.holding(group):
                supervisor.control("restart", f"{group}:*")
                did.append(f"restart {group}")
    idle = [name for name in stopped if name.split(":")[0] not in [*fresh, *outdated]]
    if idle:
        supervisor.control("start", *together(idle, list(before)))
        did += [f"start {name}" for name in idle]
    now = supervisor.wait(module.params["seconds"], STEADY_SECONDS if did else 0)
    # After the bench's own, which they may use; those that came just now have been started so.
    own = [name for name in own if name.split(":")[0] not in fresh]
    supervisor.restart_own(own)
    did += [f"restart {name}" for name in own]
    if known != today:
        remember(memory, today)
    try:
        if stale:
            show(text, **shown)
            did.append(f"write {shown['path']}")
        if logs and lost:
            # The programs that wrote into the old ones have ended.
            link_logs(logs["bench"], logs["user"], lost)
    except BenchError as error:
        module.fail_json(msg=str(error))
    did += moved
    module.exit_json(changed=bool(did), did=did, programs=now)


if __name__ == "__main__":
    main()
