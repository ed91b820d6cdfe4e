"""The throwaway lab: real Debian hosts as systemd-nspawn machines on overlay file systems."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchfleet import base, framework, network, state
from benchfleet.runner import new_log
from benchfleet.shell import (
    FleetError,
    free_bytes,
    locked,
    mounts_under,
    remove_tree,
    run,
    say,
    succeeds,
    write_file,
)
from benchfleet.state import Host, Lab

# Debian package that brings each command the lab calls.
TOOLS = {
    "systemd-nspawn": "systemd-container",
    "mmdebstrap": "mmdebstrap",
    "ip": "iproute2",
    "iptables": "iptables",
    "ssh": "openssh-client",
    "git": "git",
}
# What systemd-nspawn mounts per machine since Debian 13, and leaves there when it is killed.
EXPORTS = Path("/run/systemd/nspawn/unix-export")
# Where the kernel groups processes: beside the older hierarchies, or alone.
CGROUPS = (Path("/sys/fs/cgroup/unified"), Path("/sys/fs/cgroup"))
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\r")
BOOT_SECONDS = 60
STOP_SECONDS = 30
HOST_BYTES = 3 * 1024**3
BARE_HOST_BYTES = 512 * 1024**2


@contextlib.contextmanager
def hold(name: str) -> Iterator[None]:
    """Keep every other command that changes this lab out for the time of the block."""
    busy = (
        f"lab {name!r} is being changed by another ./fleet, process {{pid}}: wait until it is done,"
        " or use another lab (--name, --subnet)"
    )
    with locked(state.RUN / f"lab-{name}.lock", busy):
        yield


def ensure_tools() -> None:
    """Install with apt what is missing here of the commands the lab needs."""
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


def manager_runs() -> bool:
    """Say whether this machine's PID 1 is systemd."""
    return Path("/run/systemd/system").is_dir()


def machines(name: str) -> dict[str, int]:
    """Return the running machines of a lab: machine name and the pid of its systemd-nspawn.

    A lab inside a lab shows its processes here too: those in another pid namespace are not ours.
    """
    found = {}
    here = Path("/proc/self/ns/pid").stat().st_ino
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
            if not words[0].endswith("systemd-nspawn"):
                continue
            if (process / "ns/pid").stat().st_ino != here:
                continue
        except OSError:
            continue
        for word in words:
            if word.startswith(f"--machine=bf-{name}-"):
                found[word.removeprefix("--machine=")] = int(process.name)
    return found


def inmates(machine: str) -> list[int]:
    """Return the pids in a machine's network namespace: what is left of it, whatever started it."""
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
    """End a machine and all its processes at once, like a power cut."""
    deadline = time.monotonic() + STOP_SECONDS
    while pids := [*filter(None, [machines(name).get(machine)]), *inmates(machine)]:
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

    Machines that share one have the same service of all of them in one group: their systemd, which
    finds processes there that it cannot see, ends none.
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
    words = ["ssh", "-F", "none", "-i", str(lab.path / "ssh/id_ed25519")]
    for name, value in options.items():
        words += ["-o", f"{name}={value}"]
    return [*words, f"root@{host.ip}"]


def drop_connections(run_path: Path, ip: str = "*") -> None:
    """End Ansible's kept connections to one address, or all: they hang on a host that is gone.

    run_path: the folder of control sockets, each named <uid>-<address> (inventory/lab).
    """
    for control in run_path.glob(f"*-{ip}"):
        succeeds(["ssh", "-F", "none", "-S", control, "-O", "exit", "lab"])
        control.unlink(missing_ok=True)


def make_keys(lab: Lab) -> None:
    """Make the lab's ssh key, and every host's own keys, where they are missing."""
    own = lab.path / "ssh/id_ed25519"
    new_key(own, "ed25519", f"benchfleet-lab-{lab.name}")
    lines = []
    for host in lab.hosts:
        for kind in ("ed25519", "ecdsa"):
            key = lab.disk(host) / f"keys/ssh_host_{kind}_key"
            new_key(key, kind, f"root@{host.name}")
            public = key.with_suffix(".pub").read_text().split()
            lines.append(f"{host.ip} {public[0]} {public[1]}")
    write_file(lab.path / "known_hosts", "\n".join(lines) + "\n")
    for path in (own, own.with_suffix(".pub"), own.parent):
        os.chown(path, *lab.owner)


def new_key(path: Path, kind: str, comment: str) -> None:
    """Make one ssh key; an interrupted attempt is made again."""
    if path.with_suffix(".pub").exists():
        return
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)
    run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-C", comment, "-f", path])


def mount_disk(lab: Lab, host: Host) -> Path:
    """Mount a host's disk: what it wrote, over its snapshot if it has one, over the base image."""
    disk = lab.disk(host)
    root = disk / "root"
    for part in ("upper", "work", "root"):
        (disk / part).mkdir(parents=True, exist_ok=True)
    disk.chmod(0o700)
    if not os.path.ismount(root):
        saved = f"{lab.snapshot}/hosts/{host.name}/upper:" if lab.snapshot else ""
        layers = f"lowerdir={saved}{lab.base},upperdir={disk}/upper,workdir={disk}/work"
        run(["mount", "-t", "overlay", "-o", layers, f"bf-{lab.name}-{host.name}", root])
    return root


def nameservers() -> str:
    """Return a resolv.conf that also works inside a host.

    Raises FleetError where this machine only names a resolver on its own loopback.
    """
    for candidate in ("/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"):
        with contextlib.suppress(OSError):
            content = Path(candidate).read_text()
            servers = [line.split()[1] for line in content.splitlines() if is_server(line)]
            if servers:
                return content
    raise FleetError(
        "/etc/resolv.conf names no resolver that the lab's hosts could reach (only this machine's"
        " own loopback): name one there with `nameserver ADDRESS`"
    )


def is_server(line: str) -> bool:
    """Say whether a line of resolv.conf names a resolver beyond this machine's loopback."""
    words = line.split()
    return len(words) > 1 and words[0] == "nameserver" and not words[1].startswith(("127.", "::1"))


def introduce(lab: Lab, root: Path) -> None:
    """Give a host's disk its neighbours' addresses, and the site's, as a user's DNS would."""
    neighbours = [f"{other.ip} {other.name}" for other in lab.hosts]
    neighbours += [f"{lab.hosts[0].ip} {state.SITE}"]
    write_file(root / "etc/hosts", "\n".join(["127.0.0.1 localhost", *neighbours]) + "\n")


def trust_repositories(lab: Lab, root: Path) -> None:
    """Let the bench's user on the primary read the lab's repositories, which are root's."""
    config = root / "etc/gitconfig"
    lines = config.read_text().splitlines() if config.exists() else []
    new = [f"\tdirectory = {place}" for place in framework.trusted(lab)]
    if missing := [line for line in new if line not in lines]:
        write_file(config, "\n".join([*lines, "[safe]", *missing]) + "\n")


def personalise(lab: Lab, host: Host, root: Path) -> None:
    """Give a host's disk its name, its keys and its neighbours' addresses."""
    write_file(root / "etc/hostname", host.name + "\n")
    if not (root / "etc/machine-id").read_text().strip():
        write_file(root / "etc/machine-id", uuid.uuid4().hex + "\n", 0o444)
    introduce(lab, root)
    resolv = root / "etc/resolv.conf"
    resolv.unlink(missing_ok=True)
    write_file(resolv, nameservers())
    (root / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
    allowed = (lab.path / "ssh/id_ed25519.pub").read_text()
    write_file(root / "root/.ssh/authorized_keys", allowed, 0o600)
    for key in (lab.disk(host) / "keys").iterdir():
        mode = 0o644 if key.suffix == ".pub" else 0o600
        write_file(root / "etc/ssh" / key.name, key.read_text(), mode)


def nspawn_command(lab: Lab, host: Host, root: Path) -> tuple[list[str], dict[str, str]]:
    """Return the systemd-nspawn command line of a host, and its environment variables."""
    words = ["systemd-nspawn", "--quiet", "--boot", f"--directory={root}"]
    words += [f"--machine={lab.machine(host)}", f"--hostname={host.name}", "--keep-unit"]
    words += ["--register=no", "--resolv-conf=off", "--timezone=off", "--link-journal=no"]
    words += ["--console=read-only", "--private-users=no"]
    words += [f"--network-namespace-path={network.NAMESPACES / lab.machine(host)}"]
    # Debian 13 refuses to boot on a cgroup v1 or hybrid hierarchy; harmless everywhere else.
    variables = {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
    if lab.privileged:
        # A lab inside this host: its overlays cannot stand on the host's own overlay.
        plain = lab.disk(host) / "benchfleet"
        plain.mkdir(exist_ok=True)
        words += ["--capability=all", f"--bind={plain}:/var/lib/benchfleet"]
        variables["SYSTEMD_NSPAWN_API_VFS_WRITABLE"] = "yes"
    else:
        words += ["--capability=CAP_NET_ADMIN"]
        variables["SYSTEMD_NSPAWN_API_VFS_WRITABLE"] = "network"
    if host.role == "primary":
        words += [f"--bind-ro={framework.repositories(lab)}:{framework.REPOSITORIES}"]
    return words, variables


def boot(lab: Lab, host: Host) -> None:
    """Switch a host on; it has answered nothing yet when this returns."""
    machine = lab.machine(host)
    power_off(lab.name, machine)
    drop_connections(lab.run_path, host.ip)
    root = mount_disk(lab, host)
    personalise(lab, host, root)
    network.host_up(lab, host)
    words, variables = nspawn_command(lab, host, root)
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
        run([*unit, "--", *words])
        return
    own = group(machine)
    if own:
        own.mkdir(exist_ok=True)
    with console.open("a") as log:
        subprocess.Popen(
            words,
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
    """Say whether a host lets us in over ssh."""
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
        alive = lab.machine(host) in machines(lab.name)
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

    A host that stays silent, seen once on a busy machine, is switched on a second time.
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


def prepare(wanted: Lab, *, bare: bool) -> Lab:
    """Check the wanted lab against this machine and any former state of it, and record it.

    Raises FleetError before anything is made where it cannot work.
    """
    former = state.load(wanted.name)
    if former:
        for setting in ("subnet", "release", "privileged"):
            had, wants = getattr(former, setting), getattr(wanted, setting)
            if had != wants:
                raise FleetError(
                    f"lab {wanted.name!r} exists with {setting} {had}, not {wants}:"
                    f" `./fleet lab down --name {wanted.name}` first, or use another --name"
                )
        if former.nodes > wanted.nodes:
            wanted.nodes = former.nodes
    ensure_tools()
    if not former:
        network.check_free(wanted)
        left = machines(wanted.name)
        if left or mounts_under(wanted.path):
            raise FleetError(
                f"something is left of an earlier lab {wanted.name!r}:"
                f" `./fleet lab down --name {wanted.name}` clears it away"
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
    make_keys(lab)
    framework.provide(lab)
    network.bridge_up(lab)
    running = machines(lab.name)
    off = [host for host in lab.hosts if lab.machine(host) not in running]
    if off:
        say(f"booting {' '.join(host.name for host in off)}")
        start_hosts(lab, off)
    for host in lab.hosts:
        introduce(lab, lab.disk(host) / "root")
        if host.role == "primary":
            trust_repositories(lab, lab.disk(host) / "root")
    prepare_hosts(lab)
    return off


def prepare_hosts(lab: Lab) -> None:
    """Run the lab's own script, as root and at the same time, on the hosts that have not had it.

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
            words = [*ssh_command(lab, host), "--", "/root/lab-prepare"]
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
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
        raise FleetError(f"--prepare {path} cannot be read: {error}") from error


def hand_over(lab: Lab) -> None:
    """Let whoever called sudo read the secrets that root's run has made."""
    secrets = lab.path / "secrets"
    for path in [secrets, *secrets.rglob("*")] if secrets.is_dir() else []:
        os.chown(path, *lab.owner)


def down(name: str) -> None:
    """Remove everything of a lab but the base images; nothing there is fine."""
    for machine in {*machines(name), *(p.name for p in network.NAMESPACES.glob(f"bf-{name}-*"))}:
        power_off(name, machine)
    if shutil.which("ip") and shutil.which("iptables"):
        network.lab_down(name)
    drop_connections(state.RUN / name)
    remove_tree(state.RUN / name)
    remove_tree(state.LABS / name)


def the_lab(name: str) -> Lab:
    """Return a lab that is there, or raise FleetError with how to make it."""
    lab = state.load(name)
    if lab is None:
        raise FleetError(f"there is no lab {name!r} here: `./fleet lab up` makes it")
    return lab


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
    if lab.machine(host) in machines(lab.name):
        say(f"{host.name} is on already")
        return
    framework.provide(lab)
    network.bridge_up(lab)
    start_hosts(lab, [host])


def report(lab: Lab) -> dict[str, Any]:
    """Return the lab's state, for people and for programs."""
    running = machines(lab.name)
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
                "ssh": on and answers(lab, host),
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
    words = ssh_command(lab, host)
    if not command:
        return subprocess.run([*words[:-1], "-t", words[-1]], check=False).returncode
    # One word is a line for the remote shell; several are a command whose words stay as they are.
    line = command[0] if len(command) == 1 else shlex.join(command)
    return subprocess.run([*words, "--", line], check=False).returncode
