"""The scheduler process: queues due jobs of every site, one process a bench folder."""

from __future__ import annotations

import fcntl
import random
import sys
import time
import traceback
from pathlib import Path

import frappe
from frappe.utils import cint, get_bench_path, get_sites

DEFAULT_TICK_SECONDS = 60


def get_scheduler_tick() -> int:
    """Return the seconds between two looks."""
    return cint(frappe.get_conf().scheduler_tick_interval) or DEFAULT_TICK_SECONDS


def sleep_duration(tick: int, now: float) -> float:
    """Return the seconds to sleep: a chosen tick as it is, the default to the full minute."""
    return tick if tick != DEFAULT_TICK_SECONDS else tick - now % tick


def start_scheduler() -> None:
    """Run until killed; end at once if this bench folder has a scheduler already.

    The lock is a file of the bench: a second bench on another host is not stopped by it.
    """
    with Path(get_bench_path(), "config", "scheduler_process").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            print("Scheduler already running", file=sys.stderr)
            return
        while True:
            with frappe.init_site():
                tick = get_scheduler_tick()
            time.sleep(sleep_duration(tick, time.time()))
            for site in get_sites("."):
                enqueue_events_for_site(site)


def enqueue_events_for_site(site: str) -> list[str]:
    """Queue the site's due jobs and return their methods; a failure is printed, not raised."""
    try:
        frappe.init(site, force=True)
        frappe.connect()
        if is_scheduler_inactive():
            return []
        return enqueue_events()
    except Exception:
        traceback.print_exc(file=sys.stderr)
        return []
    finally:
        frappe.destroy()


def enqueue_events() -> list[str]:
    """Queue the site's due jobs and return their methods.

    Kept fault: all rows are read first, so a job that runs elsewhere while this loops looks as due
    as before.
    """
    queued = []
    rows = frappe.get_all("Scheduled Job Type", filters={"stopped": 0}, fields=["*"])
    random.shuffle(rows)
    for row in rows:
        job = frappe.get_doc({**row, "doctype": "Scheduled Job Type"})
        if job.enqueue():
            queued.append(job.method)
    return queued


def is_scheduler_inactive() -> bool:
    """Return whether the site's scheduler is paused, disabled or under maintenance."""
    conf = frappe.local.conf
    return bool(conf.maintenance_mode or conf.pause_scheduler or is_scheduler_disabled())


def is_scheduler_disabled() -> bool:
    """Return whether System Settings (shared by all benches of the site) or the config says no."""
    if frappe.local.conf.disable_scheduler:
        return True
    return not cint(frappe.db.get_single_value("System Settings", "enable_scheduler"))


def toggle_scheduler(enable: bool) -> None:
    """Write System Settings in the shared database."""
    frappe.db.set_single_value("System Settings", "enable_scheduler", int(enable))


def enable_scheduler() -> None:
    """Let the site's scheduler run."""
    toggle_scheduler(True)


def disable_scheduler() -> None:
    """Stop the site's scheduler, on every bench."""
    toggle_scheduler(False)
