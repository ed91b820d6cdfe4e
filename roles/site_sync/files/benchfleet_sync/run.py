"""The run of each minute."""

from __future__ import annotations

import shutil
import time
from typing import Any

from fleet.sites.folders import render_list

from benchfleet_sync.copies import copy_folder
from benchfleet_sync.files import write_if_different
from benchfleet_sync.locks import lock
from benchfleet_sync.mark import Outcome, log_line, new_mark, read_mark, write_mark
from benchfleet_sync.names import FOLDERS
from benchfleet_sync.primary import SyncError, rsync
from benchfleet_sync.settings import Settings
from benchfleet_sync.sites import (
    place_lists,
    place_site_config,
    read_list,
    remove_site,
    staged_list,
    staging_filters,
)


def synchronise(settings: Settings) -> Outcome:
    """Copy everything once. Never raises SyncError: failures are in the outcome's errors.

    When one step fails, the others still run: a file that became private on the primary is removed
    from the public ones here, even while a site_config.json cannot be read.
    """
    outcome = Outcome()
    settings.staging.mkdir(mode=0o700, exist_ok=True)
    settings.staging.chmod(0o700)
    try:
        rsync(
            settings,
            "./",
            settings.staging,
            [*staging_filters(), "--prune-empty-dirs", "--delete-excluded"],
        )
        outcome.sites = staged_list(settings)
        before = read_list(settings.list)
    except SyncError as error:
        outcome.errors.append(f"settings: {error}")
        return outcome
    try:
        outcome.configs += place_lists(settings, outcome.sites)
    except SyncError as error:
        outcome.errors.append(str(error))
    for site in outcome.sites:
        if not (settings.staging / site).is_dir():
            # The folder may be missing by mistake: the copy stays until the site is dropped.
            outcome.lost.append(site)
            continue
        try:
            place_site_config(settings, site, outcome)
        except SyncError as error:
            outcome.errors.append(str(error))
            if not (settings.folder / site).is_dir():
                continue
        for name in FOLDERS:
            try:
                copy_folder(settings, site, name, outcome)
            except SyncError as error:
                outcome.errors.append(str(error))
    dropped = [site for site in before if site not in outcome.sites]
    for site in dropped:
        try:
            remove_site(settings, site)
            outcome.removed.append(site)
        except SyncError as error:
            outcome.errors.append(str(error))
    # Last: a site that could not be removed stays on the list for the next run.
    left = [site for site in dropped if site not in outcome.removed]
    write_if_different(settings.list, render_list([*outcome.sites, *left]), 0o644)
    shutil.rmtree(settings.staging, ignore_errors=True)
    return outcome


def is_in_step(settings: Settings, mark: dict[str, Any], sites: list[str]) -> bool:
    """Whether the last run succeeded with this configuration and copied exactly these sites."""
    good = bool(mark.get("ok")) and not mark.get("waiting")
    if not good or mark.get("config_digest") != settings.digest:
        return False
    try:
        return sorted(sites) == read_list(settings.list)
    except SyncError:
        return False


def run(settings: Settings, wait: float, ensure: list[str] | None) -> int:
    """The run of each minute; returns the exit status. ensure: see the option."""
    with lock(settings, wait):
        old = read_mark(settings.mark)
        if ensure is not None and is_in_step(settings, old, ensure):
            print("unchanged: the last run succeeded with this configuration")
            return 0
        started = time.time()
        outcome = synchronise(settings)
        mark = new_mark(old, settings, outcome, started, time.time())
        write_mark(settings, mark)
    print(log_line(mark))
    return 0 if mark["ok"] else 1
