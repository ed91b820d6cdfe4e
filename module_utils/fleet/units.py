"""Services and timers of this host, as systemd knows them."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterable

# Units of ours that each host of a role has, beside those that are there for a while only.
UNITS = {
    "primary": ("benchfleet-firewall.service", "benchfleet-sites.timer"),
    "reporting": ("benchfleet-files.socket", "benchfleet-firewall.service"),
}
UNIT_FACTS = (
    *("Id", "LoadState", "ActiveState", "UnitFileState", "Result"),
    "InactiveExitTimestampMonotonic",
)
# What a unit may take to start; its own time-out, which ends it, is twice as long.
START_SECONDS = 300


def unit_problems(text: str, wanted: Iterable[str], now: float) -> dict[str, str]:
    """What is wrong with units of systemd, by their names; {} where all is well.

    text: UNIT_FACTS of each, as ``systemctl show`` writes them. wanted: those that have to be there
    and active; of others only failures and hangs are told. now: seconds since boot.
    """
    parts = (line.splitlines() for line in text.strip().split("\n\n"))
    units = [dict(line.split("=", 1) for line in part if "=" in line) for part in parts]
    states = {unit["Id"]: unit for unit in units if unit.get("LoadState") == "loaded"}
    found = {name: "is not there" for name in wanted if name not in states}
    for name, unit in states.items():
        active = unit.get("ActiveState", "")
        since = now - int(unit.get("InactiveExitTimestampMonotonic") or 0) / 1e6
        switched_on = name in wanted or unit.get("UnitFileState") == "enabled"
        if active == "failed":
            found[name] = f"has failed ({unit.get('Result')})"
        elif active == "activating" and since > START_SECONDS:
            found[name] = f"has been starting for {since:.0f} s"
        elif switched_on and active not in ("active", "activating", "reloading"):
            found[name] = f"is {active}"
    return dict(sorted(found.items()))


def wait_until_started(name: str, seconds: float = START_SECONDS) -> None:
    """Wait while a unit is starting or restarted, as after a boot; at most for ``seconds``.

    A service is up at the end of what its ExecStartPost= does: MariaDB answers before it is open
    for writes. One that is stopped, has failed or is still starting then is the caller's to tell.
    """
    until = time.monotonic() + seconds
    words = ["systemctl", "show", "--property", "ActiveState", "--value", name]
    while time.monotonic() < until:
        state = subprocess.run(words, capture_output=True, text=True, check=False, timeout=30)
        if state.stdout.strip() not in ("activating", "deactivating"):
            return
        time.sleep(0.2)


def unit_troubles(wanted: Iterable[str]) -> dict[str, str]:
    """The same of all units of ours on this host, as systemd knows them now."""
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}

    def ask(*words: str) -> str:
        return subprocess.run(
            ["systemctl", *words],
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


def restart_problems(text: str) -> list[str]:
    """Services that stay away when they are killed, or come back beside what they had started.

    text: Id, LoadState, Restart and KillMode of each, as ``systemctl show`` writes them.
    """
    problems = []
    for part in text.strip().split("\n\n"):
        unit = dict(line.split("=", 1) for line in part.splitlines() if "=" in line)
        name = unit.get("Id", "")
        if unit.get("LoadState") != "loaded":
            continue
        if unit.get("Restart") not in ("always", "on-failure", "on-abnormal"):
            problems.append(f"{name} stays away when it is killed (Restart={unit.get('Restart')})")
        if name == "supervisor.service" and unit.get("KillMode") not in ("mixed", "control-group"):
            problems.append(
                f"programs of {name} go on without it (KillMode={unit.get('KillMode')}), and run"
                " twice when it is back"
            )
    return problems
