"""What `lab up` ends with: one report call seen through, how to sign in, and where the site is."""

from __future__ import annotations

import http.cookiejar
import json
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import yaml

from benchfleet.lab import machines, state
from benchfleet.lab.state import Host, Lab
from benchfleet.shell import FleetError

REPORT = "ToDo"
BENCH_HEADER = "X-Fleet-Bench"


def secrets_file(lab: Lab) -> Path:
    """Return where the lab's passwords lie (inventory/lab names the folder to the roles)."""
    return lab.path / "secrets/fleet.yml"


def selects(lab: Lab, host: Host) -> int:
    """Return how many SELECTs a host's MariaDB has answered since it started."""
    query = "SHOW GLOBAL STATUS LIKE 'Com_select'"
    words = [*machines.ssh_command(lab, host), "--", f'mariadb -NBe "{query}"']
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise FleetError(f"{host.name}: {done.stderr.strip()}")
    return int(done.stdout.split()[1])


class Visitor:
    """Somebody signed in to the lab's site, through the router, by its address as in a browser."""

    def __init__(self, address: str) -> None:
        self.address = address
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        # The machine's proxy, if it has one, cannot reach the lab.
        self.opener = urllib.request.build_opener(jar, urllib.request.ProxyHandler({}))

    def call(self, path: str, form: dict[str, str] | None = None) -> tuple[Any, dict[str, str]]:
        """Call the site; returns the parsed answer and its headers, FleetError for a refusal."""
        data = urllib.parse.urlencode(form).encode() if form else None
        request = urllib.request.Request(f"http://{self.address}{path}", data)
        request.add_header("Accept", "application/json")
        try:
            with self.opener.open(request, timeout=60) as answer:
                return json.load(answer), dict(answer.headers.items())
        except urllib.error.HTTPError as error:
            body = error.read().decode(errors="replace")[-600:]
            raise FleetError(f"{path} answered {error.code}: {body}") from error
        except (OSError, ValueError) as error:
            raise FleetError(f"{path} of {self.address}: {error}") from error


def report_call(lab: Lab) -> list[str]:
    """Sign in, call one report, and return lines on who answered it and from which database.

    Raises FleetError where any of it fails.
    """
    secrets = yaml.safe_load(secrets_file(lab).read_text())
    visitor = Visitor(lab.hosts[0].ip)
    password = secrets["sites"][state.SITE]["admin_password"]
    visitor.call("/api/method/login", {"usr": "Administrator", "pwd": password})
    path = f"/api/method/frappe.desk.query_report.run?report_name={REPORT}"
    before = {host.name: selects(lab, host) for host in lab.hosts[1:]}
    _, headers = visitor.call(path)
    bench = headers.get(BENCH_HEADER, "(no such header)")
    lines = [f"report call  GET {path}", f"             {BENCH_HEADER}: {bench}"]
    for host in lab.hosts[1:]:
        # Asking for the count is a SHOW, and not in it.
        read = selects(lab, host) - before[host.name]
        lines.append(f"             {host.name}'s replica answered {read} SELECTs meanwhile")
    return lines


def access(lab: Lab) -> list[str]:
    """Return lines on how to sign in and, last, the site's address for a browser."""
    return [
        f"sign in      Administrator, password: sites.{state.SITE}.admin_password",
        f"             in {secrets_file(lab)}",
        f"site         http://{lab.hosts[0].ip}/",
    ]
