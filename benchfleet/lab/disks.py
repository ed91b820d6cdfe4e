"""A host's disk before it boots: its mount, name and keys, and the addresses of all hosts."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path

from benchfleet.lab import framework, state
from benchfleet.lab.state import Host, Lab
from benchfleet.shell import FleetError, run, write_file


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
    """Write the addresses of all hosts and of the site to a host's disk, in place of DNS."""
    neighbours = [f"{other.ip} {other.name}" for other in lab.hosts]
    neighbours += [f"{lab.hosts[0].ip} {state.SITE}"]
    write_file(root / "etc/hosts", "\n".join(["127.0.0.1 localhost", *neighbours]) + "\n")


def trust_repositories(lab: Lab, root: Path) -> None:
    """Let the bench's user read the lab's repositories, which are root's."""
    config = root / "etc/gitconfig"
    lines = config.read_text().splitlines() if config.exists() else []
    new = [f"\tdirectory = {place}" for place in framework.trusted(lab)]
    if missing := [line for line in new if line not in lines]:
        write_file(config, "\n".join([*lines, "[safe]", *missing]) + "\n")


def personalise(lab: Lab, host: Host, root: Path) -> None:
    """Write a host's name, its keys and the addresses of all hosts to its disk."""
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
