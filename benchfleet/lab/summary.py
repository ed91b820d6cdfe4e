"""The last lines of `lab up`: who answered a report call, how to sign in, the site's address."""

from __future__ import annotations

import http.client
import subprocess
from pathlib import Path

import yaml
from fleet.http import REPORT, Visitor

from benchfleet.lab import machines, state
from benchfleet.lab.state import Host, Lab
from benchfleet.shell import FleetError

BENCH_HEADER = "X-Fleet-Bench"


def secrets_file(lab: Lab) -> Path:
    """Return where the lab's passwords lie (inventory/lab names the folder to the roles)."""
    return lab.path / "secrets/fleet.yml"


def selects(lab: Lab, host: Host) -> int:
    """Return how many SELECTs a host's MariaDB has answered since it started."""
    query = "SHOW GLOBAL STATUS LIKE 'Com_select'"
    argv = [*machines.ssh_command(lab, host), "--", f'mariadb -NBe "{query}"']
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise FleetError(f"{host.name}: {done.stderr.strip()}")
    return int(done.stdout.split()[1])


def report_call(lab: Lab) -> list[str]:
    """Sign in, call one report, and return lines on who answered it and from which database.

    Raises FleetError where any of it fails.
    """
    secrets = yaml.safe_load(secrets_file(lab).read_text())
    password = secrets["sites"][state.SITE]["admin_password"]
    address = lab.hosts[0].ip
    try:
        # By its address, as in a browser.
        with Visitor(address, 80, address, timeout=60) as visitor:
            visitor.sign_in("Administrator", password)
            before = {host.name: selects(lab, host) for host in lab.hosts[1:]}
            answer = visitor.call("GET", REPORT)
            # Asking for the count is a SHOW, and not in it.
            read = {host.name: selects(lab, host) - before[host.name] for host in lab.hosts[1:]}
    except (AssertionError, OSError, http.client.HTTPException) as error:
        raise FleetError(f"{REPORT} of {address}: {error}") from error
    if answer.status != 200:
        raise FleetError(f"{REPORT} answered {answer.status}: {answer.text[-600:]}")
    bench = answer.bench or "(no such header)"
    lines = [f"report call  GET {REPORT}", f"             {BENCH_HEADER}: {bench}"]
    lines += [
        f"             {name}'s replica answered {count} SELECTs meanwhile"
        for name, count in read.items()
    ]
    return lines


def access(lab: Lab) -> list[str]:
    """Return lines on how to sign in and, last, the site's address for a browser."""
    return [
        f"sign in      Administrator, password: sites.{state.SITE}.admin_password",
        f"             in {secrets_file(lab)}",
        f"site         http://{lab.hosts[0].ip}/",
    ]
