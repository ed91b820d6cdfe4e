"""What a fleet's secrets are to be: made, extended, forgotten, and rotated step by step."""

from __future__ import annotations

import copy
import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from .certificates import (
    certified_addresses,
    certify,
    days,
    drop_former,
    ensure_authority,
    make_authority,
    trusted,
)

PURPOSES = ("seed", "sync", "code")


def password() -> str:
    """A random password of 32 letters, digits, - and _ (192 bits), safe in URLs and files."""
    return secrets.token_urlsafe(24)


def make_ssh_key(comment: str) -> dict[str, str]:
    """An ed25519 key pair in OpenSSH's formats: {private, public}."""
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    ).decode()
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return {"private": private, "public": f"{public.decode()} {comment}"}


def extend(
    existing: dict[str, Any], hosts: dict[str, str], sites: list[str]
) -> tuple[dict[str, Any], list[str]]:
    """Secrets with everything that the hosts and sites need, and a list of what was added.

    existing is not modified. Entries of hosts and sites that are no longer asked for stay.
    """
    content = copy.deepcopy(existing)
    added: list[str] = []

    def need(where: dict[str, Any], key: str, label: str, value: Callable[[], Any]) -> None:
        """Put value() there unless something is."""
        if not where.get(key):
            where[key] = value()
            added.append(label)

    need(content, "fleet_id", "fleet_id", lambda: secrets.token_hex(8))
    for name in (
        "redis_admin_password",
        "mariadb_replication_password",
        "mariadb_probe_password",
    ):
        need(content, name, name, password)
    added += ensure_authority(content)
    content["sites"] = content.get("sites") or {}
    for site in sites:
        entry = content["sites"].setdefault(site, {})
        need(entry, "admin_password", f"administrator's password of {site}", password)
    content["hosts"] = content.get("hosts") or {}
    for host in hosts:
        content["hosts"].setdefault(host, {})
    # Of those that are not in this run, too: they get it when they are.
    added += certify(content, {**certified_addresses(content), **hosts})
    for host in hosts:
        entry = content["hosts"][host]
        need(entry, "redis_password", f"Redis password of {host}", password)
        entry["ssh"] = entry.get("ssh") or {}
        for purpose in PURPOSES:
            make = partial(make_ssh_key, f"benchfleet-{purpose}@{host}")
            need(entry["ssh"], purpose, f"ssh key {purpose} of {host}", make)
    return content, added


def without(content: dict[str, Any], forget: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Secrets without the entries of some hosts, and a list of what was removed."""
    gone = [host for host in forget if host in content["hosts"]]
    content = copy.deepcopy(content)
    besides = content.get("rotation", {}).get("besides", {"hosts": {}})
    for host in gone:
        del content["hosts"][host]
        besides["hosts"].pop(host, None)
    return content, [f"entry of {host}, removed" for host in gone]


def site_key(content: dict[str, Any]) -> str:
    """What the reading accounts' passwords are derived from, for sites without one in the file.

    The primary and the reporting hosts hold it, so that a site made there by hand needs no run of
    the controller. Until the first CA is followed by another or a rotation makes a new one, it is
    derived from the one secret that never leaves the controller and not kept.
    """
    if content.get("site_key"):
        return str(content["site_key"])
    key = str(content["ca"]["key"]).strip().encode()
    return hmac.new(key, b"benchfleet: reading accounts of sites", hashlib.sha256).hexdigest()


def follow(content: dict[str, Any], fleet: list[str], trusting: list[str]) -> list[str]:
    """Let the next CA sign, once every host of the fleet trusts it; what was done."""
    known = [host for host in fleet if host in content["hosts"]]
    if not content.get("next_ca") or not set(known) <= set(trusting):
        return []
    # Which was derived from the CA that goes.
    content["site_key"] = site_key(content)
    former = {"certificate": content["ca"]["certificate"]}
    content["former_cas"] = [*content.get("former_cas", []), former]
    content["ca"] = content.pop("next_ca")
    issued = certify(content, certified_addresses(content))
    return ["next certificate authority, in force", *issued]


def fresh(content: dict[str, Any]) -> dict[str, Any]:
    """New passwords and keys for all that a rotation changes, in the shape of the file."""
    hosts: dict[str, Any] = {}
    for host, entry in content["hosts"].items():
        keys = entry.get("ssh") or {}
        hosts[host] = {
            "ssh": {name: make_ssh_key(keys[name]["public"].split()[2]) for name in keys}
        }
        if "redis_password" in entry:
            # Redis keeps former ones until it is told of the end: role redis, tasks users.yml.
            hosts[host]["redis_password"] = password()
    # Of sites that had one before they were derived.
    own = [site for site, entry in content["sites"].items() if "read_only_password" in entry]
    return {
        "redis_admin_password": password(),
        "mariadb_replication_password": password(),
        "mariadb_probe_password": password(),
        "site_key": secrets.token_hex(32),
        "sites": {site: {"read_only_password": password()} for site in own},
        "hosts": hosts,
    }


def exchange(content: dict[str, Any], besides: dict[str, Any]) -> None:
    """Exchange what is in force with what is accepted besides."""
    for key, value in besides.items():
        if isinstance(value, dict):
            exchange(content[key], value)
        else:
            content[key], besides[key] = value, content[key]


def rotate(content: dict[str, Any], step: str) -> list[str]:
    """One step of a rotation, see the option; what was done, nothing where it was done before.

    Servers accept new secrets before these are in force, and former ones until nobody uses them:
    so no host of the fleet is refused, in whatever order the hosts are brought in line, and
    wherever a rotation was interrupted.
    """
    under_way = content.get("rotation")
    if step == "begin" and not under_way:
        content["rotation"] = {"stage": "offered", "besides": fresh(content)}
        added = ["new passwords and keys, accepted besides"]
        if not content.get("next_ca"):
            content["next_ca"] = make_authority(content["fleet_id"])
            added.append("next certificate authority")
        return added
    if step == "take" and under_way and under_way["stage"] == "offered":
        content["site_key"] = site_key(content)
        exchange(content, under_way["besides"])
        under_way["stage"] = "taken"
        return ["new passwords and keys, in force"]
    if step == "end" and under_way and under_way["stage"] == "taken":
        del content["rotation"]
        return ["former passwords and keys, removed"]
    return []


@dataclass(frozen=True)
class Wish:
    """What is asked of the secrets, see the module's options of these names."""

    hosts: dict[str, str]
    sites: list[str]
    forget: list[str] = field(default_factory=list)
    fleet: list[str] = field(default_factory=list)
    trusting: list[str] | None = None
    showing: list[str] | None = None
    rotation: str | None = None

    def applied(self, existing: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The secrets as they are to be, and what was added, changed or removed."""
        content, added = extend(existing, self.hosts, self.sites)
        content, gone = without(content, self.forget)
        added += gone
        if self.rotation:
            added += rotate(content, self.rotation)
        if self.trusting is not None:
            added += follow(content, self.fleet, self.trusting)
        if self.showing is not None:
            added += drop_former(content, self.fleet, self.showing)
        return content, added


def told(content: dict[str, Any]) -> dict[str, Any]:
    """What the module returns of secrets: {secrets, days, addresses}."""
    derived = {
        "site_key": site_key(content),
        "trusted": trusted(content),
        "besides": content.get("rotation", {}).get("besides", {}),
    }
    return {
        "secrets": {**content, **derived},
        "days": days(content),
        "addresses": certified_addresses(content),
    }
