"""The run of ansible-playbook that this process is, or is a worker of; on the controller only."""

from __future__ import annotations

import getpass
import os
import socket
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from .release import version
from .runs import Run

# Filled when a playbook begins, before any worker is forked: see plugins/callback/run_lease.py.
RUN: Run = {}


def read(path: str) -> str:
    """What is in a file, "" where it cannot be read."""
    with suppress(OSError):
        return Path(path).read_text(encoding="utf-8").strip()
    return ""


def started(process: int) -> str:
    """When a process began, in the kernel's ticks since the boot; "" when there is no such one.

    "running" where there is no /proc, as on macOS.
    """
    if os.path.isdir("/proc/self"):
        # The name, in parentheses, may have spaces; the 22nd field is the 20th after it.
        words = read(f"/proc/{process}/stat").rpartition(")")[2].split()
        return words[19] if len(words) > 19 and words[0] != "Z" else ""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return ""
    except PermissionError:
        pass
    return "running"


def pid_space() -> str:
    """The space in which the process's number means something: a container has one of its own."""
    with suppress(OSError):
        return os.readlink("/proc/self/ns/pid")
    return ""


def arguments(options: Mapping[str, Any], variables: Iterable[str]) -> str:
    """What a playbook was called with, of what matters to others.

    options: Ansible's own. variables: names of extra variables, whose values may be secret.
    """
    words = ["--check"] if options.get("check") else []
    words += [f"--limit {options['subset']}"] if options.get("subset") else []
    for name, usual in (("tags", ["all"]), ("skip_tags", [])):
        given = list(options.get(name) or [])
        if given and given != usual:
            words.append(f"--{name.replace('_', '-')} {','.join(given)}")
    if options.get("start_at_task"):
        words.append(f"--start-at-task '{options['start_at_task']}'")
    return " ".join([*words, *(f"-e {name}=…" for name in sorted(variables))])


def this_run(playbook: str, called_with: str) -> Run:
    """The run that begins in this process.

    run: its id. account, controller: who runs it, where. machine, boot, pid_space, process and
    started: which process that is. version: Benchfleet's. playbook, arguments: what is run.
    """
    return {
        "run": uuid.uuid4().hex[:12],
        "account": os.environ.get("SUDO_USER") or getpass.getuser(),
        "controller": socket.gethostname(),
        "machine": read("/etc/machine-id"),
        "boot": read("/proc/sys/kernel/random/boot_id"),
        "pid_space": pid_space(),
        "process": os.getpid(),
        "started": started(os.getpid()),
        "version": version(),
        "playbook": playbook,
        "arguments": called_with,
    }


def has_ended(other: Mapping[str, Any], own: Mapping[str, Any]) -> bool:
    """Whether another run is known to have ended: it was this account's, here, and is gone."""
    if any(other.get(name) != own[name] for name in ("account", "controller", "machine")):
        return False
    if other.get("boot") != own["boot"]:
        return True
    if other.get("pid_space") != own["pid_space"]:
        return False
    return started(int(other["process"])) != str(other["started"])
