"""The throwaway lab: what `./fleet lab` does with it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchfleet.lab import base, disks, framework, machines, network, state
from benchfleet.lab.state import Host, Lab
from benchfleet.runner import new_log
from benchfleet.shell import (
    FleetError,
    free_bytes,
    locked,
    mounts_under,
    remove_tree,
    run,
    say,
    write_file,
)

# Debian package that brings each command the lab calls.
TOOLS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "iptables": "iptables",
    "ssh": "openssh-client",
    "git": "git",
}
HOST_BYTES = 3 * 1024**3
BARE_HOST_BYTES = 512 * 1024**2


@contextlib.contextmanager
def hold(name: str) -> Iterator[None]:
    """Keep other commands from changing this lab while the block runs."""
    busy = (
        f"lab {name!r} is being changed by another ./fleet, process {{pid}}: wait until it is done,"
        " or use another lab (`--name`, `--subnet`)"
    )
    with locked(state.RUN / f"lab-{name}.lock", busy):
        yield


def ensure_tools() -> None:
    """Install the commands that the lab needs and this machine lacks, with apt."""
    missing = sorted(package for tool, package in TOOLS.items() if not shutil.which(tool))
    if not missing:
        return
    say(f"installing {' '.join(missing)} with apt")
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "-y", "--no-install-recommends", *missing]
    try:
        run(install, env=env)
    except FleetError:
        # Package lists of a fresh machine are missing or out of date.
        run(["apt-get", "update"], env=env)
        run(install, env=env)


def prepare(wanted: Lab, *, bare: bool) -> Lab:
    """Check the wanted lab against this machine and its earlier state; returns it with its image.

    Raises FleetError before anything is made where it cannot work.
    """
    former = state.load(wanted.name)
    if former:
        for setting in ("subnet", "release", "privileged"):
            had, wants = getattr(former, setting), getattr(wanted, setting)
            if had != wants:
                raise FleetError(
                    f"lab {wanted.name!r} exists with {setting} {had}, not {wants}:"
                    f" `./fleet lab down --name {wanted.name}` first, or use another `--name`"
                )
        if former.nodes > wanted.nodes:
            wanted.nodes = former.nodes
    ensure_tools()
    if not former:
        network.check_free(wanted)
        left = machines.running(wanted.name)
        if left or mounts_under(wanted.path):
            raise FleetError(
                f"something is left of an earlier lab {wanted.name!r}:"
                f" `./fleet lab down --name {wanted.name}` removes it"
            )
    missing = [host for host in wanted.hosts if not wanted.disk(host).exists()]
    per_host = BARE_HOST_BYTES if bare else HOST_BYTES
    needed, free = len(missing) * per_host, free_bytes(wanted.path)
    if free < needed:
        raise FleetError(
            f"{free // 1024**2} MiB are free for {state.LABS}; {len(missing)} new hosts need"
            f" {needed // 1024**2}: free some, or mount a larger disk there"
        )
    if former:
        wanted.base = former.base
    else:
        in_use = [Path(lab.base) for lab in state.all_labs()]
        wanted.base = str(base.ensure(wanted.release, in_use))
    return wanted


def up(lab: Lab) -> list[Host]:
    """Make the lab's missing parts and switch on the hosts that are off; returns those."""
    lab.save()
    lab.run_path.mkdir(parents=True, exist_ok=True, mode=0o700)
    os.chown(lab.run_path, *lab.owner)
    disks.make_keys(lab)
    framework.provide(lab)
    network.bridge_up(lab)
    running = machines.running(lab.name)
    off = [host for host in lab.hosts if lab.machine(host) not in running]
    if off:
        say(f"booting {' '.join(host.name for host in off)}")
        machines.start_hosts(lab, off)
    for host in lab.hosts:
        disks.introduce(lab, lab.disk(host) / "root")
        disks.trust_repositories(lab, lab.disk(host) / "root")
    prepare_hosts(lab)
    return off


def prepare_hosts(lab: Lab) -> None:
    """Run the lab's own script as root, on all hosts at once that have not run it yet.

    Raises FleetError with the end of its output where it fails; the next run tries it again.
    """
    if not lab.prepare:
        return
    script = read_script(lab.prepare)
    digest = hashlib.sha256(script.encode()).hexdigest()
    had = {host.name: lab.disk(host) / "prepared" for host in lab.hosts}
    marks = {name: mark.read_text() if mark.exists() else None for name, mark in had.items()}
    left = [host for host in lab.hosts if marks[host.name] != digest]
    if left:
        say(f"{lab.prepare} runs on {' '.join(host.name for host in left)}")
    with contextlib.ExitStack() as ends:
        started = []
        for host in left:
            log = new_log(f"prepare-{host.name}")
            output = ends.enter_context(log.open("w"))
            write_file(lab.disk(host) / "root/root/lab-prepare", script, 0o700)
            argv = [*machines.ssh_command(lab, host), "--", "/root/lab-prepare"]
            process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
            started.append((host, log, ends.enter_context(process)))
        failures = []
        for host, log, process in started:
            if status := process.wait():
                end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
                failures.append(
                    f"{lab.prepare} failed on {host.name} with status {status} (whole output:"
                    f" {log}):\n{end}"
                )
            else:
                write_file(had[host.name], digest)
    if failures:
        raise FleetError("\n".join(failures))


def read_script(path: str) -> str:
    """Return the content of the script for --prepare, or raise FleetError."""
    try:
        return Path(path).read_text()
    except (OSError, ValueError) as error:
        raise FleetError(f"`--prepare {path}` cannot be read: {error}") from error


def hand_over(lab: Lab) -> None:
    """Give the lab's secrets to the account that called sudo."""
    secrets = lab.path / "secrets"
    for path in [secrets, *secrets.rglob("*")] if secrets.is_dir() else []:
        os.chown(path, *lab.owner)


def down(name: str) -> None:
    """Remove everything of a lab but the base images, also where there is nothing."""
    for machine in {
        *machines.running(name),
        *(p.name for p in network.NAMESPACES.glob(f"bf-{name}-*")),
    }:
        machines.power_off(name, machine)
    if shutil.which("ip") and shutil.which("iptables"):
        network.lab_down(name)
    machines.drop_connections(state.RUN / name)
    remove_tree(state.RUN / name)
    remove_tree(state.LABS / name)


def the_lab(name: str) -> Lab:
    """Return an existing lab, or raise FleetError with the command that makes it."""
    lab = state.load(name)
    if lab is None:
        raise FleetError(f"there is no lab {name!r} here: `./fleet lab up --name {name}` makes it")
    return lab


def report(lab: Lab) -> dict[str, Any]:
    """Return the lab's state, for people and for programs."""
    running = machines.running(lab.name)
    hosts = []
    for host in lab.hosts:
        on = lab.machine(host) in running
        hosts.append(
            {
                "name": host.name,
                "role": host.role,
                "ip": host.ip,
                "power": "on" if on else "off",
                "network": network.state_of(lab, host),
                "ssh": on and machines.answers(lab, host),
            }
        )
    return {
        "name": lab.name,
        "subnet": lab.subnet,
        "release": lab.release,
        "frappe_repo": lab.frappe_repo,
        "frappe_branch": lab.frappe_branch,
        "apps": [app["name"] for app in lab.apps],
        "hosts": hosts,
    }


def shell(lab: Lab, host: Host, command: list[str]) -> int:
    """Run a command on a host, or a login shell, and return its exit status."""
    ssh = machines.ssh_command(lab, host)
    if not command:
        return subprocess.run([*ssh[:-1], "-t", ssh[-1]], check=False).returncode
    # One argument is a line for the remote shell; several are a command and its arguments.
    line = command[0] if len(command) == 1 else shlex.join(command)
    return subprocess.run([*ssh, "--", line], check=False).returncode
