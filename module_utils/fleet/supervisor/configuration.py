"""The whole configuration of supervisord, read with its own reader, and what is wrong with it."""

from __future__ import annotations

import contextlib
import glob
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from .call import CONFIGURATIONS, ENVIRONMENT, answer, control_words, run
from .call import status as status_of
from .programs import full_name, task
from .reader import READER

DECIDE = ("command", "environment", "numprocs", "process_name", "directory", "user")


class ConfigurationError(Exception):
    """supervisor's configuration cannot be read, or taken over; the message says what to do."""


def configuration(instead: Mapping[str, str | None] | None = None) -> dict[str, Any]:
    """The configuration as supervisord would read it now: {path, trouble, files, processes}.

    ``instead``: texts that replace those of files, {path: text}, None for a file that is gone.
    trouble is None, or {reason, what, section, files}: what is a text without any value of an
    option, reason one of line, name, percent, environment, no_command, other. A file is {path,
    sections: {section: {option: value}}}, values as written; a process {section, group, name,
    command, directory, environment: names, user, logs: paths}, and runs, the commands that it has
    started, where its own command is a script.
    Without supervisord all is empty. Raises ConfigurationError where its reader cannot be run.
    """
    interpreter, path, environment = supervisord()
    empty: dict[str, Any] = {"path": path, "trouble": None, "files": [], "processes": []}
    if not interpreter or not path:
        return empty
    asked = json.dumps({"path": path, "instead": dict(instead or {})})
    try:
        done = subprocess.run(
            [*interpreter, "-I", "-c", READER],
            input=asked,
            env=environment,
            cwd="/",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        read: dict[str, Any] = json.loads(done.stdout)
    except (OSError, ValueError, subprocess.TimeoutExpired) as error:
        raise ConfigurationError(
            f"supervisor's own reader could not read {path} ({type(error).__name__}): see"
            f" `{' '.join(interpreter)} -c 'import supervisor.options'` on this host"
        ) from error
    # The operator's script: its command does not show what it runs.
    unknown = [process for process in read["processes"] if not task(process["command"])]
    started = started_by(unknown)
    for process in unknown:
        process["runs"] = started.get(full_name(process), [])
    return {**read, "path": path}


def supervisord() -> tuple[list[str], str, dict[str, str]]:
    """Interpreter, configuration and environment of the running supervisord, or of the one that
    would be started; ([], "", {}) where it is not installed.
    """
    try:
        pid = answer("supervisor.getPID") or int(run(control_words("pid")).stdout.strip())
        command = proc_words(f"/proc/{pid}/cmdline")
        environment = dict(
            word.split("=", 1) for word in proc_words(f"/proc/{pid}/environ") if "=" in word
        )
        folder = os.readlink(f"/proc/{pid}/cwd")
        # Where supervisord itself looks when its command line names no file.
        usual = CONFIGURATIONS[::-1]
    except (OSError, ValueError, subprocess.TimeoutExpired):
        script = shutil.which("supervisord", path=ENVIRONMENT["PATH"])
        if not script:
            return [], "", {}
        with open(script, encoding="utf-8", errors="replace") as source:
            interpreter = source.readline().removeprefix("#!").split()
        command = [interpreter["env" in interpreter[0] and len(interpreter) > 1], script]
        environment, folder, usual = ENVIRONMENT, "/", CONFIGURATIONS
    path = option_of(command) or next((name for name in usual if os.path.exists(name)), "")
    return command[:1], os.path.join(folder, path) if path else "", environment


def proc_words(path: str) -> list[str]:
    """Words of a file in /proc in which each ends with a zero byte."""
    with open(path, "rb") as source:
        return [word.decode(errors="replace") for word in source.read().split(b"\0") if word]


def option_of(command: list[str]) -> str:
    """The file that supervisord's command line names with -c, "" where it names none."""
    for at, word in enumerate(command):
        if word in ("-c", "--configuration"):
            return command[at + 1] if at + 1 < len(command) else ""
        found = re.match(r"(?:-c|--configuration=)(.+)", word)
        if found and at > 1:
            return found.group(1)
    return ""


def started_by(processes: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Command lines of supervisor's processes and of all that they have started, by name."""
    if not processes:
        return {}
    try:
        status = status_of() or run(control_words("status")).stdout
    except (OSError, subprocess.TimeoutExpired):
        return {}
    children: dict[str, list[str]] = {}
    for path in glob.glob("/proc/[0-9]*/stat"):
        with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as source:
            parent = source.read().rpartition(")")[2].split()[1]
            children.setdefault(parent, []).append(path.split("/")[2])
    found = {}
    for name, first in re.findall(r"^(\S+)\s.*\bpid (\d+)", status, re.MULTILINE):
        tree, lines = [first], []
        for pid in tree:
            tree += children.get(pid, [])
            with contextlib.suppress(OSError):
                lines.append(shlex.join(proc_words(f"/proc/{pid}/cmdline")))
        found[name] = lines
    return found


def trouble_text(trouble: Mapping[str, Any]) -> str:
    """Why supervisord cannot read its configuration, and the remedy, for people."""
    files, section = " and ".join(trouble["files"]), trouble["section"]
    place = f"[{section}] in {files}" if section else files
    remedy = "correct it"
    if trouble["reason"] == "no_command":
        remedy = (
            "take these lines out, or rename the program: they belong to a program that no longer"
            " exists. bench_environment sets variables of the bench's programs"
        )
    return (
        f"supervisord cannot read its configuration: {place}: {trouble['what']}. At the next start"
        f" it would run no program at all: {remedy}"
    )


def overridden(path: str, read: Mapping[str, Any]) -> list[str]:
    """Options of a file's programs that later files replace, as `FILE: [SECTION] OPTIONS`.

    Only options that change what the program runs (DECIDE).
    """
    paths = [file["path"] for file in read["files"]]
    after = read["files"][paths.index(path) + 1 :] if path in paths else []
    ours: dict[str, Any] = next((f["sections"] for f in read["files"] if f["path"] == path), {})
    found = []
    for file in after:
        for section, options in file["sections"].items():
            known = ours.get(section, {})
            names = [n for n in DECIDE if n in options and options[n] != known.get(n)]
            if section in ours and names:
                found.append(f"{file['path']}: [{section}] {', '.join(names)}")
    return found
