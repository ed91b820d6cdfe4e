"""The state of services and timers of this host, from systemd."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable

# The timer of the host's status file.
STATUS_UNITS = ("benchfleet-status.timer",)
# It is active on the standby while the primary tells it of files that change.
CHANGES = "benchfleet-changes.service"
# There it starts the service that fetches the primary's certificates.
CERTIFICATES = "benchfleet-standby-certificates.timer"
# Our units that each host always has, and those of a role.
EVERY_HOST = ("benchfleet-firewall.service", "benchfleet-record.service", *STATUS_UNITS)
UNITS = {
    "primary": (*EVERY_HOST, "benchfleet-sites.timer"),
    "reporting": (*EVERY_HOST, "benchfleet-files.socket"),
}
UNIT_FACTS = (
    *("Id", "LoadState", "ActiveState", "SubState", "UnitFileState", "Result"),
    "InactiveExitTimestampMonotonic",
)
# How long a unit may take to start; systemd ends it after twice as long.
START_SECONDS = 300


def unit_problems(text: str, wanted: Iterable[str], now: float) -> dict[str, str]:
    """The faults of systemd units, by their names; {} where there is none.

    text: UNIT_FACTS of each, as ``systemctl show`` writes them. wanted: those that must be there
    and active; others may only not fail or hang. now: seconds since boot.
    """
    parts = (line.splitlines() for line in text.strip().split("\n\n"))
    units = [dict(line.split("=", 1) for line in part if "=" in line) for part in parts]
    states = {unit["Id"]: unit for unit in units if unit.get("LoadState") == "loaded"}
    found = {name: "is not installed" for name in wanted if name not in states}
    for name, unit in states.items():
        active = unit.get("ActiveState", "")
        since = now - int(unit.get("InactiveExitTimestampMonotonic") or 0) / 1e6
        switched_on = name in wanted or unit.get("UnitFileState") == "enabled"
        if active == "failed":
            found[name] = f"has failed ({unit.get('Result')})"
        elif active == "activating" and since > START_SECONDS:
            found[name] = f"has been starting for {since:.0f} s"
        elif name.endswith(".timer") and unit.get("SubState") == "elapsed":
            found[name] = "will not start its service again"
        elif switched_on and active not in ("active", "activating", "reloading"):
            found[name] = f"is {active}"
    return dict(sorted(found.items()))


def wait_until_started(name: str, seconds: float = START_SECONDS) -> None:
    """Wait while a unit is starting or restarting, as after a boot; at most for ``seconds``.

    A service is up after its ExecStartPost=: MariaDB answers before it is open for writes. The unit
    may be stopped, failed or still starting when this returns.
    """
    until = time.monotonic() + seconds
    command = ["systemctl", "show", "--property", "ActiveState", "--value", name]
    while time.monotonic() < until:
        state = subprocess.run(command, capture_output=True, text=True, check=False, timeout=30)
        if state.stdout.strip() not in ("activating", "deactivating"):
            return
        time.sleep(0.2)


def unit_troubles(wanted: Iterable[str]) -> dict[str, str]:
    """The faults of all our units on this host now; see ``unit_problems``."""
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}

    def ask(*arguments: str) -> str:
        return subprocess.run(
            ["systemctl", *arguments],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout

    loaded = ask("list-units", "--all", "--plain", "--no-legend", "benchfleet-*").splitlines()
    names = {line.split()[0] for line in loaded if line.strip()} | set(wanted)
    facts = ask("show", "--property", ",".join(UNIT_FACTS), *sorted(names))
    return unit_problems(facts, wanted, time.clock_gettime(time.CLOCK_MONOTONIC))


def restart_problems(text: str) -> list[dict[str, str]]:
    """Services that stay down when they are killed, or whose programs then run twice.

    text: Id, LoadState, Restart and KillMode of each, as ``systemctl show`` writes them. Returns
    {unit, setting, what} of each.
    """
    problems = []
    for part in text.strip().split("\n\n"):
        unit = dict(line.split("=", 1) for line in part.splitlines() if "=" in line)
        name = unit.get("Id", "")
        if unit.get("LoadState") != "loaded":
            continue
        if unit.get("Restart") not in ("always", "on-failure", "on-abnormal"):
            setting = f"Restart={unit.get('Restart')}"
            what = f"{name} stays down when it is killed ({setting})"
            problems.append({"unit": name, "setting": setting, "what": what})
        if name == "supervisor.service" and unit.get("KillMode") not in ("mixed", "control-group"):
            setting = f"KillMode={unit.get('KillMode')}"
            what = f"the programs of {name} survive it ({setting}), and run twice when it is back"
            problems.append({"unit": name, "setting": setting, "what": what})
    return problems
