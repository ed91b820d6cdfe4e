"""Command lines of a bench's programs, beside those that `bench setup supervisor` writes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..supervisor.programs import queues_of, task, words_of

# Of the bench CLI.
DEFAULT_MAX_REQUESTS = 5000
# Long names of gunicorn's options.
SHORT = {"--bind": "-b", "--workers": "-w", "--timeout": "-t", "--worker-class": "-k"}
# Options that `bench setup supervisor` writes; the fleet's file has its own values for them.
WRITTEN = (
    *("command", "priority", "autostart", "autorestart", "stdout_logfile", "stderr_logfile"),
    *("stopwaitsecs", "killasgroup", "user", "directory", "startretries", "numprocs"),
    *("process_name", "environment"),
)


def flags_of(command: str) -> dict[str, str]:
    """gunicorn's options of a web program's command, by their short names; "" for a bare one."""
    found: dict[str, str] = {}
    words = words_of(command)
    start = next((at for at, word in enumerate(words) if word.endswith("gunicorn")), len(words))
    last = ""
    for word in words[start + 1 :]:
        if word.startswith("-"):
            name, _, value = word.partition("=")
            if not word.startswith("--") and len(word) > 2:
                name, value = word[:2], word[2:].removeprefix("=")
            last = SHORT.get(name, name)
            found[last] = value
        elif last and not found[last] and task(word) != "web":
            found[last] = word
        else:
            last = ""
    return found


def own_arguments(command: str, config: Mapping[str, Any]) -> list[str]:
    """gunicorn's options that `bench setup supervisor` would not write for this bench."""
    flags = flags_of(command)
    usual = {
        "-b": flags.get("-b"),
        "-w": flags.get("-w"),
        "-t": str(config.get("http_timeout", 120)),
        "--graceful-timeout": "30",
        "--preload": "",
    }
    requests = str(config.get("gunicorn_max_requests", DEFAULT_MAX_REQUESTS))
    if flags.get("--max-requests") in (requests, "0"):
        usual |= {name: flags.get(name) for name in ("--max-requests", "--max-requests-jitter")}
    return [
        f"{name} {value}".strip()
        for name, value in flags.items()
        if name not in usual or usual[name] != value
    ]


def own_options(
    does: str, command: str, options: Mapping[str, str], config: Mapping[str, Any]
) -> list[str]:
    """Options of a program's section that `bench setup supervisor` would not write so.

    Numbers with their value, others by name.
    """
    workers = config.get("workers")
    asked = (workers if isinstance(workers, dict) else {}).get(queues_of(command))
    usual = {str(asked.get("timeout"))} if isinstance(asked, dict) else {"360", "1560"}
    strange = [name for name in options if name not in WRITTEN]
    if options.get("stopwaitsecs", "40") not in (usual if does == "worker" else {"40"}):
        strange.append("stopwaitsecs")
    return [f"{name}={options[name]}" if options[name].isdigit() else name for name in strange]
