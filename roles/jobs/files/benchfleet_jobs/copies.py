"""Requests to site-sync: send files to the primary, copy a site's files, or fetch a single one."""

from __future__ import annotations

import os
import time
from typing import Any

# The socket of benchfleet-files.socket; seconds that an open waits for its file; and seconds for
# which a service that did not answer in that time is not asked again.
FETCHER = "/run/benchfleet-files"
FETCH_SECONDS = 2.0
SILENT_SECONDS = 5.0
PUSH_SECONDS = 900.0
PULL_SECONDS = 150.0
# Seconds by which a File document may be older than its file, and by which clocks may differ.
SLACK_SECONDS = 10.0
# MariaDB's errors for a missing table and an unreachable server: the job will meet them, too.
NO_DOCUMENTS = {1146, 2002, 2003, 2006, 2013}
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}


def run(command: list[str], given: bytes, seconds: float) -> str | None:
    """Run site-sync; returns None when it succeeded, otherwise its last message."""
    import subprocess

    try:
        done = subprocess.run(
            command,
            input=given,
            capture_output=True,
            env=ENVIRONMENT,
            cwd="/",
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"It did not finish within {seconds:g} s."
    except OSError as error:
        return f"{command[0]}: {error.strerror}."
    if done.returncode == 0:
        return None
    output = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace")
    return output.splitlines()[-1] if output else f"{command[0]} ended with {done.returncode}."


_silent_until = 0.0


def fetched(name: str) -> bytes:
    """The answer of the service that fetches files; b"" when none comes in time."""
    import socket

    global _silent_until
    if time.monotonic() < _silent_until:
        return b""
    try:
        with socket.socket(socket.AF_UNIX) as service:
            service.settimeout(FETCH_SECONDS)
            service.connect(FETCHER)
            service.sendall(os.fsencode(name))
            service.shutdown(socket.SHUT_WR)
            return service.recv(64)
    except TimeoutError:
        _silent_until = time.monotonic() + SILENT_SECONDS
    except OSError:
        # The service does not run: site.yml has not started it yet, or it was stopped.
        pass
    return b""


def changed_since(frappe: Any, moment: float) -> bool:
    """Whether a File document may have been saved since then, a time of the epoch."""
    # The column that has an index in this Frappe: the table may have a million rows.
    column = "creation" if int(frappe.__version__.split(".")[0]) >= 16 else "modified"
    try:
        found = frappe.db.sql(
            f"SELECT 1 FROM `tabFile` WHERE {column} > %s LIMIT 1", (_site_time(frappe, moment),)
        )
        # The job's snapshot must not begin here.
        frappe.db.rollback()
    except Exception as error:
        if type(error).__module__.startswith("rq."):
            # The job's own time-out.
            raise
        return not (error.args and error.args[0] in NO_DOCUMENTS)
    return bool(found)


def _site_time(frappe: Any, moment: float) -> Any:
    """A time of the epoch as in documents; an earlier one where the site's clock differs."""
    from datetime import datetime, timedelta, timezone

    utils = frappe.utils
    # Not datetime.UTC: a bench may have Python 3.10.
    aware = datetime.fromtimestamp(moment, timezone.utc)  # noqa: UP017
    local = getattr(utils, "convert_utc_to_system_timezone", datetime.astimezone)(aware)
    by_age = utils.now_datetime() - timedelta(seconds=max(0.0, time.time() - moment))
    return min(local.replace(tzinfo=None), by_age)
