"""The safe actions of `./fleet doctor --fix`.

They start what is stopped. None removes anything, replaces data, or skips an event.
"""

from __future__ import annotations

import time
from typing import Any

from ..mariadb.server import client
from ..processes import run
from ..supervisor.call import control_words
from .causes import Action, printable

# A service may do much when it starts: MariaDB recovers.
SECONDS = 120.0
# Programs and threads that end at once do so within this time.
SETTLE_SECONDS = 5.0


def commands(action: Action) -> list[list[str]]:
    """The programs that an action runs. Raises KeyError for a kind that is none."""
    unit = ["--", action.name]
    return {
        "start": [["systemctl", "reset-failed", *unit], ["systemctl", "start", *unit]],
        "restart": [["systemctl", "reset-failed", *unit], ["systemctl", "restart", *unit]],
        "program": [control_words("start", action.name)],
        "replication": [client("mariadb", "-e", "START SLAVE")],
    }[action.kind]


def act(action: Action, check_mode: bool) -> dict[str, Any]:
    """Do a safe action; {will, done, said}: what it does, and the program's last words.

    In check mode nothing is done.
    """
    result = {"will": action.will, "done": False, "said": ""}
    if check_mode:
        return result
    for words in commands(action):
        # A unit that has not failed cannot be reset, which is fine: the last one counts.
        last = run(words, seconds=SECONDS)
    said = (last.stdout + last.stderr).strip().splitlines()
    return {**result, "done": True, "said": printable(" ".join(said[-1:])[:200])}


def settle() -> None:
    """Wait until what was started has either come up or ended again."""
    time.sleep(SETTLE_SECONDS)
