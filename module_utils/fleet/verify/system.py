"""The checks of every host in their order, and those of its system."""

from __future__ import annotations

import ipaddress
import subprocess
import time
from dataclasses import asdict
from typing import Any

from .. import record
from ..mariadb.conflicts import DECIDED, HOSTS_OWN, agrees, conflicts_of, is_by_files
from ..mariadb.options import look
from ..mariadb.server import running_variables, shown_certificate
from ..own_certificates import look as look_at_certificates
from ..service_address import UNIT as ADDRESS_UNIT
from ..service_address import links, place_of
from ..units import CERTIFICATES, CHANGES, UNITS, restart_problems, unit_troubles
from .basics import BasicChecks
from .bench import BenchChecks
from .host import local
from .redis import RedisChecks


class EveryHost(BasicChecks, BenchChecks, RedisChecks):
    """The checks that a primary and a reporting node have in common."""

    def look(self) -> None:
        """Make the checks that every host has."""
        self.make("environment", "redis_password", "workers", "comes_back", "units", "settings")
        self.make("own_certificates", "record", "pdf", "contract", "service_address")
        self.gathering.attempt((), self.note_apps)
        if not self.gathering.lacks("answers_alike"):
            self.seen["answers"] = self.gathering.attempt((), self.answers)
        self.gathering.attempt((), self.note_bench)

    def check_comes_back(self) -> None:
        """Ask systemd what it does when a service is killed."""
        names = ["cron", "mariadb", "ssh", "supervisor"]
        names += ["nginx"] if self.params["routes"] else []
        done = subprocess.run(
            ["systemctl", "show", *names, "-p", "Id,LoadState,Restart,KillMode"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        wrong = [problem["what"] for problem in restart_problems(done.stdout)]
        self.gathering.add("comes_back", not wrong, "; ".join(wrong) or ", ".join(names))

    def check_units(self) -> None:
        """Ask systemd for the state of our own services and timers."""
        primary = self.params["lan_ip"] == self.params["primary_ip"]
        wanted: tuple[str, ...] = UNITS["primary" if primary else "reporting"]
        if self.params["routes"] and self.params["service_ip"]:
            wanted += (ADDRESS_UNIT,)
        if self.params["routes"] and not primary:
            wanted += (CHANGES, CERTIFICATES)
        troubles = unit_troubles(wanted)
        states = [f"{name} {trouble}" for name, trouble in troubles.items()]
        commands = [f"`systemctl status {name}` and `journalctl -u {name}`" for name in troubles]
        self.gathering.add(
            "units",
            not troubles,
            "; ".join(states) or ", ".join(wanted),
            remedy=f"{' and '.join(commands)} on this host say why; run site.yml if it is"
            " missing or disabled",
        )

    def check_service_address(self) -> None:
        """Look for the users' address on this host."""
        if not self.params["service_ip"]:
            self.gathering.skip("service_address", "not applicable: router_service_ip is not set")
            return
        wanted = ipaddress.IPv4Interface(self.params["service_ip"])
        primary = self.params["lan_ip"] == self.params["primary_ip"]
        interface, held = place_of(wanted, links(), primary)
        saw = f"{wanted.ip} is on {interface}" if held else f"{wanted.ip} is not on this host"
        self.gathering.add("service_address", held == primary, saw)

    def check_settings(self) -> None:
        """Compare the running server's settings, and those of all option files, with the plan."""
        wanted: dict[str, Any] = self.params["settings"]
        plan: dict[str, Any] = self.params["plan"]
        path = self.params["option_file"]
        with local() as server:
            rows = running_variables(server)
        running = {name: str(rows[name]["value"]) for name in wanted if name in rows}
        self.seen["settings"] = running
        wrong = [
            f"{name} is {rows[name]['value']}, planned is {value}"
            for name, value in sorted(plan.items())
            if name in rows
            and name not in DECIDED
            and not agrees(name, value, rows)
            and not is_by_files(name, rows)
        ]
        own = {
            **HOSTS_OWN,
            "bind_address": f"127.0.0.1,{self.params['lan_ip']}",
            "port": self.params["ports"]["mariadb"],
        }
        others = conflicts_of({**own, **plan}, look(path), rows, path)
        wrong += [one.what for one in others]
        pool = int(running.get("innodb_buffer_pool_size") or 0) // 1024**2
        saw = f"{len(plan)} settings as planned, buffer pool {pool} MiB"
        remedy = "; ".join(f"{one.place}: {one.remedy}" for one in others)
        self.gathering.add("settings", not wrong, "; ".join(wrong) or saw, remedy=remedy)

    def check_record(self) -> None:
        """Read the record, and what its service found at its last look."""
        own = record.Record.read(self.params["state_dir"])
        if own is None:
            self.gathering.add("record", False, "there is no record")
            return
        found = record.state()
        self.seen["record"] = {**asdict(own), "open": bool(found.get("open"))}
        wrong = []
        if own.hosts.get(own.primary) != self.params["primary_ip"]:
            wrong.append(f"it names {own.primary} as primary, which is not the inventory's")
        if own.primary != found.get("host", own.primary) and found.get("open"):
            wrong.append(f"MariaDB is open, and {own.primary} is the primary")
        if own.primary == found.get("host") and not found["open"]:
            wrong.append(f"MariaDB is closed: {found['why']}")
        age = time.time() - float(found.get("checked", 0))
        if age > record.FRESH_SECONDS:
            wrong.append(f"{record.UNIT} has not looked for the last {record.FRESH_SECONDS:.0f} s")
        saw = f"{own.primary}, epoch {own.epoch}, since {own.since}"
        facts = {"primary": own.primary, "epoch": own.epoch, "state": found}
        self.gathering.add("record", not wrong, "; ".join(wrong) or saw, facts=facts)

    def check_own_certificates(self) -> None:
        """Look at the fleet's own certificates, in their files and as MariaDB shows them."""
        found = look_at_certificates(
            self.params["certificates_dir"], shown_certificate(), time.time()
        )
        saw = f"{found.server} days left, {found.authority} of the authority"
        troubles = found.troubles
        self.gathering.add("own_certificates", not troubles, "; ".join(troubles) or saw)
