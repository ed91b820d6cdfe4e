"""The commands that a reporting host's sync key may run here, in the sites folder only.

Forced command of the key in authorized_keys: ``sync-gate SITES``. Four things are allowed:

- rsync, reading SITE's ``public/files`` and ``private/files``, or ``./``. rrsync restricts the
  paths and refuses writes; this gate runs before it because some versions of rrsync allow options
  that follow symlinks out of the folder. Only the options that site-sync itself uses are allowed.
  For ``./`` a temporary folder is made (gate_lists), with the lists that nodes need and each
  site's configuration without the keys for the primary only. So neither backups, logs, locks, the
  common configuration with Redis' passwords nor anything else of SITES can be read, whatever the
  node's rsync asks for.
- ``push SITE``: the files that a transaction on the node has touched, in SITE's ``public/files``
  and ``private/files`` (gate_push). The gate receives them itself: rsync would need a run for each
  folder and one more for removed files, and a failed run would not undo those before it.
- ``fetch``: single files of these two folders of any site, one after another on one connection
  (gate_fetch).
- ``changes``: the names of sites in which files change, as long as the connection lasts
  (gate_changes).

It is started for every connection, so each command imports only what it needs.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from typing import NoReturn

from benchfleet_sync.names import FOLDERS, SITE, RefusedError

RRSYNC = "/usr/bin/rrsync"
# Letters of rsync's bundled short options; after "e" comes the peer's capability string.
SHORT = re.compile(r"-[lrtvz]+(?:e[0-9]*\.[A-Za-z]*)?")
LONG = re.compile(
    r"--(?:server|sender|safe-links|prune-empty-dirs|no-human-readable|stats|timeout=[0-9]{1,5})"
)
# The paths by which rsync asks for the temporary folder.
LISTS = ("./", ".")
PUSH = re.compile(rf"push ({SITE.pattern})")
FETCH = "fetch"
CHANGES = "changes"
PATH = re.compile(rf"{SITE.pattern}/(?:{'|'.join(FOLDERS)})/?")


def allowed(command: str) -> list[str]:
    """The peer's rsync command. Raises RefusedError with the part that is not allowed."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise RefusedError(f"unreadable command ({error})") from error
    if words[:3] != ["rsync", "--server", "--sender"]:
        raise RefusedError("this key may only read by rsync, and push")
    if "." not in words:
        raise RefusedError("not a command of an rsync peer")
    end = words.index(".")
    for word in words[1:end]:
        if not (SHORT.fullmatch(word) or LONG.fullmatch(word)):
            raise RefusedError(f"the option {word} is not allowed")
    paths = words[end + 1 :]
    if len(paths) != 1:
        raise RefusedError("one path at a time")
    if not (paths[0] in LISTS or PATH.fullmatch(paths[0])):
        raise RefusedError(f"the path {paths[0]} is not allowed")
    return words


def peer(words: list[str]) -> dict[str, str]:
    """The environment with the peer's command, for rrsync."""
    return {
        "PATH": "/usr/bin:/bin",
        "LC_ALL": "C.UTF-8",
        "HOME": os.environ.get("HOME", "/"),
        "SSH_ORIGINAL_COMMAND": " ".join(words),
    }


def read(words: list[str], sites: str) -> NoReturn:
    """Become rrsync."""
    os.execve(RRSYNC, [RRSYNC, "-ro", sites], peer(words))


def main() -> None:
    """Run the peer's command; exits with 1 when it is refused."""
    if len(sys.argv) != 2:
        sys.exit("usage: sync-gate SITES")
    command = os.environ.get("SSH_ORIGINAL_COMMAND", "")
    try:
        if wanted := PUSH.fullmatch(command):
            from benchfleet_sync.gate_push import take

            print("ok", take(sys.argv[1], wanted.group(1), sys.stdin.buffer))
        elif command == FETCH:
            from benchfleet_sync.gate_fetch import give_all

            give_all(sys.argv[1], sys.stdin.buffer, sys.stdout.buffer)
        elif command == CHANGES:
            from benchfleet_sync.gate_changes import tell_changes

            tell_changes(sys.argv[1], sys.stdin.buffer, sys.stdout.buffer)
        elif (words := allowed(command))[-1] in LISTS:
            from benchfleet_sync.gate_lists import read_lists

            sys.exit(read_lists(words, sys.argv[1]))
        else:
            read(words, sys.argv[1])
    except (RefusedError, OSError) as error:
        sys.exit(f"sync-gate: {error}")
