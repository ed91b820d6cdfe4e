"""The service on the standby that copies a site's files as soon as they change on the primary.

It copies as the run of each minute does, which goes on beside it. When the connection to the
primary fails, it ends; systemd starts it again, and it begins with a copy of all sites. A copy that
fails is repeated with the next answer.
"""

from __future__ import annotations

import os
import socket
import sys
import time

import benchfleet_sync
from benchfleet_sync.copies import copy_site
from benchfleet_sync.fetch import versions
from benchfleet_sync.line import AwayError, Line
from benchfleet_sync.primary import SyncError
from benchfleet_sync.settings import Settings
from benchfleet_sync.sites import read_list

# Seconds that the primary may take to watch all folders, and for which it may say nothing then.
WATCH_SECONDS = 60.0
SILENT_SECONDS = 15.0
# A copy is followed by a pause as long as it, up to so many seconds: files may change all the time.
LONGEST_PAUSE = 1.0


def follow(settings: Settings) -> int:
    """Copy sites that change, until this program or its configuration does; the exit status."""
    _, began = versions(settings)
    failed: set[str] = set()
    try:
        line = Line(settings, time.monotonic() + WATCH_SECONDS, "changes")
        try:
            tell_systemd("READY=1")
            while versions(settings) == (benchfleet_sync.BEGAN, began):
                changed = next_changes(line) | failed
                started = time.monotonic()
                failed = copy(settings, changed)
                time.sleep(min(time.monotonic() - started, LONGEST_PAUSE))
        finally:
            line.close()
    except (AwayError, SyncError) as error:
        print(f"changes on the primary are not followed: {error}", file=sys.stderr)
        return 1
    print("the service restarts: its program or its configuration has changed", flush=True)
    return 0


def copy(settings: Settings, changed: set[str]) -> set[str]:
    """Copy those of the changed sites that are here; returns those of which it failed."""
    failed = set()
    for site in read_list(settings.list):
        if site in changed:
            try:
                print(f"{site}: {copy_site(settings, site)}", flush=True)
            except SyncError as error:
                print(f"{site}: {error}", file=sys.stderr)
                failed.add(site)
    return failed


def next_changes(line: Line) -> set[str]:
    """Names of sites in the lines that have come, or in the next one. Raises AwayError."""
    changed: set[str] = set()
    while True:
        told = line.answer(time.monotonic() + SILENT_SECONDS).get("changed")
        if not isinstance(told, list):
            raise AwayError("an answer that names no sites")
        changed.update(map(str, told))
        if not line.has_more():
            return changed


def tell_systemd(state: str) -> None:
    """Tell systemd the state of this service; nothing where it did not start it."""
    if address := os.environ.get("NOTIFY_SOCKET"):
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as there:
            there.connect(address)
            there.send(state.encode())
