"""A lab's hosts as systemd-nspawn machines: their power, their cable, and ssh to them."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

from benchfleet.lab import framework, network
from benchfleet.lab.disks import mount_disk, personalise
from benchfleet.lab.state import Host, Lab
from benchfleet.shell import FleetError, remove_tree, run, say, succeeds

# What systemd-nspawn mounts per machine since Debian 13, and leaves there when it is killed.
EXPORTS = Path("/run/systemd/nspawn/unix-export")
# Where the kernel groups processes: beside the older hierarchies, or alone.
CGROUPS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\r")
BOOT_SECONDS = 60
STOP_SECONDS = 30


def manager_runs() -> bool:
    """Return whether this machine's PID 1 is systemd."""
    return Path("/run/systemd/system").is_dir()


def running(name: str) -> dict[str, int]:
    """Return the running machines of a lab: machine name and the pid of its systemd-nspawn.

    A lab inside a lab shows its processes here too: those in another pid namespace are left out.
    """
    found = {}
    here = Path("/proc/self/ns/pid").stat().st_ino
    for process in Path("/proc").glob("[0-9]*"):
        try:
            argv = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if not argv[0].endswith("systemd-nspawn"):
                continue
            if (process / "ns/pid").stat().st_ino != here:
                continue
        except OSError:
            continue
        for argument in argv:
            if argument.startswith(f"--machine=bf-{name}-"):
                found[argument.removeprefix("--machine=")] = int(process.name)
    return found


def processes_of(machine: str) -> list[int]:
    """Return the pids in a machine's network namespace, also of those that outlived the machine."""
    try:
        space = (network.NAMESPACES / machine).stat()
    except OSError:
        return []
    pids = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            theirs = (process / "ns/net").stat()
            if (theirs.st_dev, theirs.st_ino) == (space.st_dev, space.st_ino):
                pids.append(int(process.name))
    return pids


def power_off(name: str, machine: str) -> None:
    """Kill a machine and all its processes at once, like a power cut."""
    deadline = time.monotonic() + STOP_SECONDS
    while pids := [*filter(None, [running(name).get(machine)]), *processes_of(machine)]:
        if time.monotonic() > deadline:
            raise FleetError(f"processes of {machine} do not end: {pids}")
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        reap()
        time.sleep(0.1)
    remove_tree(EXPORTS / machine)
    remove_group(machine)
    if manager_runs():
        succeeds(["systemctl", "reset-failed", f"{machine}.service"])


def group(machine: str) -> Path | None:
    """Return the control group that a machine has where no systemd gives it one.

    Where machines share one, a service of all of them is in one group: systemd in a machine then
    meets processes that it cannot see, and ends none.
    """
    for root in CGROUPS:
        if (root / "cgroup.procs").exists():
            return root / f"benchfleet-{machine}"
    return None


def remove_group(machine: str) -> None:
    """Remove the control group of a machine that is off."""
    found = group(machine)
    if not found or not found.exists():
        return
    for folder, _, _ in os.walk(found, topdown=False):
        with contextlib.suppress(OSError):
            os.rmdir(folder)


def reap() -> None:
    """Collect children of ours that have ended, so that they don't linger as zombies."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def ssh_command(lab: Lab, host: Host) -> list[str]:
    """Return the ssh command line to a host, root there, its host key checked."""
    options = {
        "IdentitiesOnly": "yes",
        "UserKnownHostsFile": str(lab.path / "known_hosts"),
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "ConnectTimeout": "5",
        "LogLevel": "ERROR",
    }
    argv = ["ssh", "-F", "none", "-i", str(lab.path / "ssh/id_ed25519")]
    for name, value in options.items():
        argv += ["-o", f"{name}={value}"]
    return [*argv, f"root@{host.ip}"]


def drop_connections(run_path: Path, ip: str = "*") -> None:
    """End Ansible's kept connections to one address, or all: they hang on a host that is gone.

    run_path: the folder of control sockets, each named <uid>-<address> (inventory/lab).
    """
    for control in run_path.glob(f"*-{ip}"):
        succeeds(["ssh", "-F", "none", "-S", control, "-O", "exit", "lab"])
        control.unlink(missing_ok=True)


def nspawn_command(lab: Lab, host: Host, root: Path) -> tuple[list[str], dict[str, str]]:
    """Return the systemd-nspawn command line of a host, and its environment variables."""
    argv = ["systemd-nspawn", "--quiet", "--boot", f"--directory={root}"]
    argv += [f"--machine={lab.machine(host)}", f"--hostname={host.name}", "--keep-unit"]
    argv += ["--register=no", "--resolv-conf=off", "--timezone=off", "--link-journal=no"]
    argv += ["--console=read-only", "--private-users=no"]
    argv += [f"--network-namespace-path={network.NAMESPACES / lab.machine(host)}"]
    # Debian 13 does not boot on a cgroup v1 or hybrid hierarchy; elsewhere this changes nothing.
    variables = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
    if lab.privileged:
        # A lab inside this host: its overlays cannot stand on the host's own overlay.
        plain = lab.disk(host) / "benchfleet"
        plain.mkdir(exist_ok=True)
        argv += ["--capability=all", f"--bind={plain}:/var/lib/benchfleet"]
        variables["SYSTEMD_NSPAWN_API_VFS_WRITABLE"] = "yes"
    else:
        argv += ["--capability=CAP_NET_ADMIN"]
        variables["SYSTEMD_NSPAWN_API_VFS_WRITABLE"] = "network"
    # Any host can become the primary, which reads them.
    argv += [f"--bind-ro={framework.repositories(lab)}:{framework.REPOSITORIES}"]
    return argv, variables


def boot(lab: Lab, host: Host) -> None:
    """Switch a host on; it has answered nothing yet when this returns."""
    machine = lab.machine(host)
    power_off(lab.name, machine)
    drop_connections(lab.run_path, host.ip)
    root = mount_disk(lab, host)
    personalise(lab, host, root)
    network.host_up(lab, host)
    argv, variables = nspawn_command(lab, host, root)
    console = lab.disk(host) / "console.log"
    if console.exists():
        console.replace(console.with_suffix(".log.1"))
    if manager_runs():
        unit = ["systemd-run", "--quiet", "--collect", f"--unit={machine}", "--slice=machine"]
        for setting in (
            "Delegate=yes",
            "TasksMax=infinity",
            "KillMode=mixed",
            f"StandardOutput=append:{console}",
            f"StandardError=append:{console}",
        ):
            unit.append(f"--property={setting}")
        unit += [f"--setenv={name}={value}" for name, value in variables.items()]
        run([*unit, "--", *argv])
        return
    own = group(machine)
    if own:
        own.mkdir(exist_ok=True)
    with console.open("a") as log:
        subprocess.Popen(
            argv,
            # "0" is the process that writes it.
            preexec_fn=lambda: own and (own / "cgroup.procs").write_text("0"),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env={**os.environ, **variables},
            start_new_session=True,
            cwd="/",
        )


def answers(lab: Lab, host: Host) -> bool:
    """Return whether a host can be signed in to over ssh."""
    try:
        socket.create_connection((host.ip, 22), timeout=1).close()
    except OSError:
        return False
    return succeeds([*ssh_command(lab, host), "true"])


def console_end(console: Path) -> str:
    """Return the last lines that a host wrote to its console."""
    text = console.read_text(errors="replace") if console.exists() else ""
    lines = [line for line in ESCAPES.sub("", text).splitlines() if line.strip()]
    return "\n".join(lines[-15:])


def wait_for(lab: Lab, host: Host, since: float) -> None:
    """Wait until a host answers over ssh; FleetError with the end of its console if it doesn't."""
    console = lab.disk(host) / "console.log"
    while not answers(lab, host):
        alive = lab.machine(host) in running(lab.name)
        waited = time.monotonic() - since
        if (not alive and waited > 2) or waited > BOOT_SECONDS:
            what = "did not answer over ssh" if alive else "went off again"
            raise FleetError(
                f"{host.name} {what} within {int(waited)} s of being switched on. Its console"
                f" ({console}) ends with:\n{console_end(console)}"
            )
        time.sleep(0.2)
    say(f"{host.name} is up at {host.ip} after {time.monotonic() - since:.0f} s")


def start_hosts(lab: Lab, hosts: list[Host]) -> None:
    """Switch hosts on together and wait until all of them answer.

    A host that does not answer is switched on once more: seen on a busy machine.
    """
    since = time.monotonic()
    for host in hosts:
        boot(lab, host)
    for host in hosts:
        try:
            wait_for(lab, host, since)
        except FleetError as error:
            say(f"{error}\n{host.name} is switched on once more")
            boot(lab, host)
            wait_for(lab, host, time.monotonic())


def kill(lab: Lab, host: Host) -> None:
    """Cut a host's power: nothing of it runs on, and its address answers no more."""
    power_off(lab.name, lab.machine(host))
    network.host_down(lab, host)
    drop_connections(lab.run_path, host.ip)


def cut(lab: Lab, host: Host) -> None:
    """Pull a host's network cable."""
    network.set_cable(lab, host, "down")
    drop_connections(lab.run_path, host.ip)


def heal(lab: Lab, host: Host) -> None:
    """Plug a host's network cable in again."""
    network.set_cable(lab, host, "up")


def start(lab: Lab, host: Host) -> None:
    """Switch a host on again, with the disk it had."""
    if lab.machine(host) in running(lab.name):
        say(f"{host.name} is on already")
        return
    framework.provide(lab)
    network.bridge_up(lab)
    start_hosts(lab, [host])
