"""What each program in supervisor's configuration does, by its command."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from typing import Any

# The tasks of programs that do jobs or queue them; see task().
JOBS = ("worker", "schedule")
# Commands of Frappe that run until they are stopped.
COMMANDS = {
    "worker": "worker",
    "worker-pool": "worker",
    "schedule": "schedule",
    "socketio": "socketio",
    "serve": "web",
    "start": "web",
}
LAUNCHERS = ("bench", "frappe", "frappe.utils.bench_helper", "bench_helper.py", "benchfleet_guard")
WITH_VALUE = ("--site",)
REDIS = ("redis-server", "valkey-server", "keydb-server")
BENCH_REDIS = re.compile(r"redis_(cache|queue|socketio)\.conf")
# supervisord opens the programs' logs as root, so they lie where the bench's account cannot put
# links.
LOGS = "/var/log/benchfleet-programs"
PROGRAM = ("program:", "fcgi-program:", "eventlistener:")


def next_file(configuration: str) -> str:
    """The file beside a bench's that has programs of a coming primary; see bench/switch.py."""
    return f"{configuration.removesuffix('.conf')}-next.conf"


def words_of(command: str) -> list[str]:
    """The words of a command, also of a script in it (`sh -c "..."`)."""
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    return [part for word in words for part in ([word] if " " not in word else words_of(word))]


def task(command: str) -> str:
    """The task of a bench's program by its command: web, worker, schedule, socketio or redis.

    "" is a program of the operator's own.
    """
    # The title of its process, or the code by which the operator's script starts it.
    if re.search(r"^rq: ?worker\b|\b(start_worker|start_worker_pool)\b", command):
        return "worker"
    if re.search(r"\bstart_scheduler\b", command):
        return "schedule"
    words = [word.strip(";[]") for word in words_of(command)]
    names = [os.path.basename(word) for word in words]
    if any(name in REDIS for name in names):
        # Any other Redis is not the bench's.
        return "redis" if any(BENCH_REDIS.fullmatch(name) for name in names) else ""
    if any(re.fullmatch(r"(frappe\.app|benchfleet_guard\.wsgi)(:\w+)?", word) for word in words):
        return "web"
    if any(re.search(r"/socketio\.js$|\bfrappe/realtime\b", word) for word in words):
        return "socketio"
    if any(name in ("rq", "rqworker") for name in names) and "worker" in " ".join(names):
        return "worker"
    for at, name in enumerate(names):
        if name in LAUNCHERS and (found := COMMANDS.get(first_command(words[at + 1 :]))):
            return found
    return ""


def does(process: Mapping[str, Any]) -> str:
    """The task of a process: by its command, else by the commands that it has started."""
    commands = [process["command"], *process.get("runs", [])]
    return next((found for found in map(task, commands) if found), "")


def first_command(words: list[str]) -> str:
    """The first word that is neither an option nor the value of one."""
    rest = iter(words)
    for word in rest:
        if word in WITH_VALUE:
            next(rest, None)
        elif not word.startswith("-"):
            return word
    return ""


def queues_of(command: str) -> str:
    """Queues of a worker, as its command names them; "" where it names none."""
    found = re.search(r"--queue[ =](\S+)", command)
    return (
        ",".join(word for word in found.group(1).strip("\"'").split(",") if word) if found else ""
    )


def concerns(bench: str, *texts: str) -> bool:
    """Whether one of the texts names a bench's folder; ``bench`` is its path, or its name alone."""
    start = "" if bench.startswith("/") else "/"
    return any(re.search(rf"{start}{re.escape(bench)}(?![\w.-])", text) for text in texts)


def full_name(process: Mapping[str, Any]) -> str:
    """A process as supervisorctl names it: GROUP:NAME, or NAME where both are the same."""
    name, group = process["name"], process["group"]
    return str(name if name == group else f"{group}:{name}")


def tasks(bench: str, read: Mapping[str, Any]) -> dict[str, str]:
    """The task of each of a bench's processes: {"group:process": task}, "" for the operator's own.

    ``bench`` is the bench's path or name; ``read`` as of configuration().
    """
    raw = values(read)
    found = {}
    for process in read["processes"]:
        texts = [process["command"], process["directory"], *process.get("runs", [])]
        texts += raw.get(process["section"], {}).values()
        if process["group"].startswith(f"{os.path.basename(bench)}-") or concerns(bench, *texts):
            found[full_name(process)] = does(process)
    return found


def bench_sections(bench: str, read: Mapping[str, Any]) -> dict[str, str]:
    """Sections of the programs that do a bench's own work, and of their groups: {section: task}.

    ``bench`` is its path. A group's task is "group".
    """
    raw = values(read)
    processes = {process["section"]: process for process in read["processes"]}
    found = {}
    for section, options in raw.items():
        process = processes.get(section, {"command": options.get("command", "")})
        texts = [process["command"], *process.get("runs", []), *options.values()]
        if section.startswith(PROGRAM) and does(process) and concerns(bench, *texts):
            found[section] = does(process)
    names = {section.partition(":")[2] for section in found}
    groups = {
        section: "group"
        for section, options in raw.items()
        if section.startswith("group:") and names & set(members_of(options))
    }
    return found | groups


def members_of(options: Mapping[str, str]) -> list[str]:
    """Programs of a group."""
    return [name for name in re.split(r"[,\s]+", options.get("programs", "")) if name]


def values(read: Mapping[str, Any]) -> dict[str, dict[str, str]]:
    """Options of each section; those of a later file replace those of an earlier one."""
    merged: dict[str, dict[str, str]] = {}
    for file in read["files"]:
        for section, options in file["sections"].items():
            merged.setdefault(section, {}).update(options)
    return merged
