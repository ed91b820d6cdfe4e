"""Saved fleets: a converged lab's disks, kept once, on which any number of labs start as copies.

A snapshot lies below SNAPSHOTS in a folder named by a digest of all that made it, so it is never
stale: other code has another name. A copy shares the saved disks and keeps what it writes for
itself, so it is made in an instant. Copies have the same addresses, keys and machine ids as what
was saved; they run side by side where each has a network space of its own (network.space_up).
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from benchfleet import runner
from benchfleet.lab import commands, machines, network, state
from benchfleet.lab.state import Lab
from benchfleet.shell import FleetError, locked, mounts_under, remove_tree, run, say, succeeds

SNAPSHOTS = Path("/var/lib/benchfleet/snapshots")
# What a converged fleet is made from, below the project's folder.
PARTS = (
    "ansible.cfg",
    "benchfleet/lab",
    "demo",
    "filter_plugins",
    "inventory/lab",
    "library",
    "module_utils",
    "playbooks",
    "plugins",
    "pyproject.toml",
    "requirements.txt",
    "roles",
    "site.yml",
)
LEFT_OUT = ("__pycache__", "node_modules")
# How many of the newest stay, beside those that labs use: enough for two branches.
KEPT = 2
# The lab in which a snapshot is made where no scenario has saved one.
MAKER = "snapshot"
STOP_SECONDS = 120


def sources(root: Path) -> Iterator[Path]:
    """Yield the files that a converged fleet is made from, in a fixed order."""
    for part in PARTS:
        top = root / part
        for path in sorted(top.rglob("*")) if top.is_dir() else [top]:
            if path.is_file() and not set(LEFT_OUT) & set(path.parts):
                yield path


def digest(wanted: Lab, root: Path = runner.ROOT) -> str:
    """Return the name of the snapshot of a lab: a digest of its settings, its image and the code.

    root: the project's folder. Raises FleetError for a lab that cannot have one.
    """
    if wanted.frappe_source or wanted.apps or wanted.prepare or wanted.privileged:
        raise FleetError(
            "a snapshot needs a lab of the demo without `--app`, `--prepare` and `--privileged`"
        )
    found = hashlib.sha256(json.dumps([*settings_of(wanted), sys.version]).encode())
    for path in sources(root):
        content = hashlib.sha256(path.read_bytes()).hexdigest()
        mode = path.stat().st_mode & 0o111
        found.update(f"{path.relative_to(root)} {mode} {content}\n".encode())
    return found.hexdigest()[:12]


def settings_of(there: Lab) -> list[object]:
    """Return the settings of a lab that decide how its fleet looks."""
    return [there.subnet, there.release, there.base, there.nodes, there.frappe_branch, there.python]


def folder_of(wanted: Lab) -> Path:
    """Return the place of a lab's snapshot, whether it is there or not."""
    return SNAPSHOTS / digest(wanted)


@contextlib.contextmanager
def changing() -> Iterator[None]:
    """Keep other commands from making, saving or copying a fleet while the block runs."""
    busy = "waiting for process {pid}, which is making or copying a saved fleet"
    with locked(state.RUN / "snapshots.lock", busy, wait=True):
        yield


def save(there: Lab) -> None:
    """Shut a lab's hosts down, keep their disks as a snapshot, start them again as its first copy.

    Nothing is done where the same fleet has been saved before.
    """
    with changing():
        folder = folder_of(there)
        if folder.is_dir():
            say(f"the same fleet has been saved before, in {folder}")
            return
        if there.snapshot:
            raise FleetError(f"lab {there.name!r} is a copy of {there.snapshot}; save another lab")
        keep(there, folder)
    commands.up(there)


def keep(there: Lab, folder: Path) -> None:
    """Shut a lab's hosts down and make their disks a snapshot; the lab becomes its first copy."""
    shut_down(there)
    partial = folder.with_name(f".making-{there.name}")
    remove_tree(partial)
    partial.mkdir(parents=True)
    copy_identity(there.path, partial)
    for host in there.hosts:
        for point in mounts_under(there.disk(host)):
            run(["umount", point])
        (there.disk(host) / "upper").rename(partial / "hosts" / host.name / "upper")
    (partial / "lab.json").write_text(json.dumps(dataclasses.asdict(there), indent=2))
    partial.rename(folder)
    sweep(folder)
    there.snapshot = str(folder)
    there.save()
    say(f"the fleet is saved in {folder}")


def copy_identity(source: Path, target: Path) -> None:
    """Copy a lab's keys, secrets and repositories, without its disks."""
    for name in ("ssh", "secrets", "repositories"):
        shutil.copytree(source / name, target / name, symlinks=True)
    shutil.copy2(source / "known_hosts", target / "known_hosts")
    for keys in sorted((source / "hosts").glob("*/keys")):
        shutil.copytree(keys, target / "hosts" / keys.parent.name / "keys")
        (target / "hosts" / keys.parent.name).chmod(0o700)
    run(["chown", "--recursive", "0:0", target])


def shut_down(there: Lab) -> None:
    """Shut a lab's hosts down as an operator would, and wait until they are off."""
    hosts = [host for host in there.hosts if there.machine(host) in machines.running(there.name)]
    for host in hosts:
        # The connection ends with the host: its status says nothing.
        succeeds([*machines.ssh_command(there, host), "--", "systemctl poweroff"])
    deadline = time.monotonic() + STOP_SECONDS
    while machines.running(there.name):
        if time.monotonic() > deadline:
            raise FleetError(f"hosts do not shut down: {', '.join(machines.running(there.name))}")
        machines.reap()
        time.sleep(0.2)
    for host in hosts:
        machines.power_off(there.name, there.machine(host))
        network.host_down(there, host)
    machines.drop_connections(there.run_path)


def start(wanted: Lab, *, newest: bool = False) -> Lab:
    """Start a lab as a copy of a saved fleet, which is made first where there is none.

    wanted: settings that `commands.prepare` has checked. newest: what was saved last with the same
    settings will do, whatever code has made it. Returns the lab; one that is up stays.
    """
    if former := state.load(wanted.name):
        if not former.snapshot:
            raise FleetError(
                f"lab {wanted.name!r} exists and is no copy: `./fleet lab down --name"
                f" {wanted.name}` first, or use another `--name`"
            )
        commands.up(former)
        return former
    with changing():
        folder = folder_of(wanted)
        if newest and not folder.is_dir():
            folder = newest_like(wanted) or folder
        if not folder.is_dir():
            make(wanted, folder)
        saved = json.loads((folder / "lab.json").read_text())
        names = {"name": wanted.name, "owner": wanted.owner, "snapshot": str(folder)}
        copy = Lab(**{**saved, **names})
        remove_tree(copy.path)
        copy.path.mkdir(parents=True)
        copy_identity(folder, copy.path)
        # From here on no sweep takes the snapshot away.
        copy.save()
    commands.up(copy)
    commands.hand_over(copy)
    return copy


def newest_like(wanted: Lab) -> Path | None:
    """Return the last snapshot of a fleet with the same settings; None without one."""
    alike = []
    for path in SNAPSHOTS.glob("*/lab.json"):
        saved = Lab(**json.loads(path.read_text()))
        if settings_of(saved) == settings_of(wanted):
            alike.append(path)
    return max(alike, key=lambda path: path.stat().st_mtime).parent if alike else None


def make(wanted: Lab, folder: Path) -> None:
    """Make a saved fleet in a lab of its own, which is gone afterwards."""
    say("making the fleet to copy (once for each state of the code)")
    maker = dataclasses.replace(wanted, name=MAKER)
    commands.down(MAKER)
    try:
        commands.up(maker)
        environment = {"BENCHFLEET_LAB": MAKER}
        done = runner.play("site.yml", runner.LAB_INVENTORY, environment=environment)
        if not done.ok:
            raise FleetError(f"the fleet to copy could not be made (log: {done.log})")
        keep(maker, folder)
    finally:
        commands.down(MAKER)


def sweep(current: Path) -> None:
    """Remove old snapshots that no lab stands on."""
    in_use = {Path(there.snapshot) for there in state.all_labs() if there.snapshot}
    others = sorted(
        (path for path in SNAPSHOTS.iterdir() if path not in in_use and path != current),
        key=lambda path: path.stat().st_mtime,
    )
    for path in others[: max(0, len(others) - KEPT + 1)]:
        remove_tree(path)
