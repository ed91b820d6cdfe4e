#!/usr/bin/python3
"""Update the fleet's hosts when the sites or certificates on this host have changed.

Run by a timer. That run starts a unit of its own with --certificates, which requests missing
certificates from a CA.

For sites that were made or dropped by hand (``bench new-site``, ``bench drop-site``): accounts on
the reporting hosts, nginx, and the list by which the reporting hosts copy sites. site.yml does the
same by the same code.

Exit status: 0 nothing is left to do; 1 something failed (the line says what), and the next run
tries again.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, f"{os.path.dirname(os.path.realpath(__file__))}/python")

from fleet.folders import folder


def main(settings_file: str) -> int:
    """One run of the timer; returns the exit status."""
    from fleet.nginx.certificates import Certificates, read_asked
    from fleet.sites.folders import Folders, SiteError, read_state, served_names

    try:
        settings = json.loads(Path(settings_file).read_text())
        folders = Folders(f"{settings['bench']}/sites", settings["state_dir"])
        nginx = settings["nginx"]
        state = read_state(settings["state_dir"])
        files = Certificates.by(nginx).files(served_names(state))
        fingerprint = folders.fingerprint(settings_file, nginx["template"], *files)
    except (OSError, ValueError, SiteError) as error:
        print(f"fleet-sites: {error}", file=sys.stderr)
        return 1
    ended = 0
    same = bool(state and state["fingerprint"] == fingerprint)
    if not same:
        ended = bring(settings, fingerprint)
    if nginx["acme"]["email"] and (
        not same or read_asked(settings["state_dir"])["again"] < time.time()
    ):
        ask_beside(settings)
    return ended


def ask_beside(settings: dict[str, Any]) -> None:
    """Start the request for missing certificates, unless it runs already: it takes a while."""
    import subprocess

    from fleet.nginx.certificates import Asking
    from fleet.sites.folders import read_state, served_names

    asking = Asking(settings["nginx"], settings["state_dir"])
    if asking.due(served_names(read_state(settings["state_dir"]))):
        subprocess.run(
            [
                "systemd-run",
                "--quiet",
                "--collect",
                "--unit",
                "benchfleet-certificates",
                "--property",
                "RuntimeMaxSec=30min",
                str(Path(__file__).resolve()),
                "--certificates",
            ],
            check=False,
            stderr=subprocess.DEVNULL,
        )


def ask(settings_file: str) -> int:
    """Request the missing certificates from a CA; returns the exit status."""
    from fleet.nginx.certificates import Asking
    from fleet.sites.folders import read_state, served_names

    settings = json.loads(Path(settings_file).read_text())
    asking = Asking(settings["nginx"], settings["state_dir"])
    asking.ask(served_names(read_state(settings["state_dir"])), now=False)
    for name in asking.made:
        print(f"{name} has a certificate")
    for name, why in asking.failed.items():
        print(f"{name} has no certificate, and is served by http: {why}")
    return 0


def bring(settings: dict[str, Any], fingerprint: str) -> int:
    """Make the changes; returns the exit status."""
    # Not at the top: nearly every run ends before these are needed.
    from fleet.bench.account import BenchError
    from fleet.mariadb.server import MariaDBError, describe, pymysql
    from fleet.nginx.files import NginxError
    from fleet.sites.folders import SiteError
    from fleet.sites.reconcile import tick

    try:
        done = tick(settings, fingerprint)
    except (BenchError, MariaDBError, NginxError, SiteError, OSError) as error:
        print(f"fleet-sites: {error}", file=sys.stderr)
        return 1
    except pymysql.MySQLError as error:
        print(f"fleet-sites: MariaDB refused a statement: {describe(error)}", file=sys.stderr)
        return 1
    for line in done.did + done.notes:
        print(line)
    return 0


if __name__ == "__main__":
    if sys.argv[1:] == ["--certificates"]:
        sys.exit(ask(f"{folder('config')}/sites.json"))
    sys.exit(main(*sys.argv[1:] or [f"{folder('config')}/sites.json"]))
