"""The contents of the secrets file: made, extended, removed, and rotated step by step.

What was done to them is a list of texts such as "hosts/rep1/certificate: new": the entry's place in
the file, and what was done.
"""

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

    existing is not modified. Entries of other hosts and sites stay.
    """
    content = copy.deepcopy(existing)
    added: list[str] = []

    def need(where: dict[str, Any], key: str, folder: str, value: Callable[[], Any]) -> None:
        """Put value() there unless there is one."""
        if not where.get(key):
            where[key] = value()
            added.append(f"{folder}{key}: new")

    need(content, "fleet_id", "", lambda: secrets.token_hex(8))
    for name in (
        "redis_admin_password",
        "mariadb_replication_password",
        "mariadb_probe_password",
    ):
        need(content, name, "", password)
    added += ensure_authority(content)
    content["sites"] = content.get("sites") or {}
    for site in sites:
        entry = content["sites"].setdefault(site, {})
        need(entry, "admin_password", f"sites/{site}/", password)
    content["hosts"] = content.get("hosts") or {}
    for host in hosts:
        content["hosts"].setdefault(host, {})
    # Also of hosts that are not in this run: they get theirs in the next run.
    added += certify(content, {**certified_addresses(content), **hosts})
    for host in hosts:
        entry = content["hosts"][host]
        need(entry, "redis_password", f"hosts/{host}/", password)
        entry["ssh"] = entry.get("ssh") or {}
        for purpose in PURPOSES:
            make = partial(make_ssh_key, f"benchfleet-{purpose}@{host}")
            need(entry["ssh"], purpose, f"hosts/{host}/ssh/", make)
    return content, added


def without(content: dict[str, Any], forget: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Secrets without the entries of some hosts, and a list of what was removed."""
    gone = [host for host in forget if host in content["hosts"]]
    content = copy.deepcopy(content)
    besides = content.get("rotation", {}).get("besides", {"hosts": {}})
    for host in gone:
        del content["hosts"][host]
        besides["hosts"].pop(host, None)
    return content, [f"hosts/{host}: removed" for host in gone]


def site_key(content: dict[str, Any]) -> str:
    """The key from which reading accounts' passwords are derived where a site has none in the file.

    The primary and the reporting hosts hold it, so that a site made there by hand needs no run of
    the controller. Until the first CA is replaced or a rotation makes a new key, it is derived from
    the CA's key, the one secret that never leaves the controller, and is not in the file.
    """
    if content.get("site_key"):
        return str(content["site_key"])
    key = str(content["ca"]["key"]).strip().encode()
    return hmac.new(key, b"benchfleet: reading accounts of sites", hashlib.sha256).hexdigest()


def follow(content: dict[str, Any], fleet: list[str], trusting: list[str]) -> list[str]:
    """Let the next CA sign, once every host of the fleet trusts it; returns what was done."""
    known = [host for host in fleet if host in content["hosts"]]
    if not content.get("next_ca") or not set(known) <= set(trusting):
        return []
    # It was derived from the former CA's key, which is dropped here.
    content["site_key"] = site_key(content)
    former = {"certificate": content["ca"]["certificate"]}
    content["former_cas"] = [*content.get("former_cas", []), former]
    content["ca"] = content.pop("next_ca")
    issued = certify(content, certified_addresses(content))
    return ["ca: replaced_by_next", *issued]


def fresh(content: dict[str, Any]) -> dict[str, Any]:
    """New passwords and keys for everything that a rotation changes, in the shape of the file."""
    hosts: dict[str, Any] = {}
    for host, entry in content["hosts"].items():
        keys = entry.get("ssh") or {}
        hosts[host] = {
            "ssh": {name: make_ssh_key(keys[name]["public"].split()[2]) for name in keys}
        }
        if "redis_password" in entry:
            # Redis accepts former ones until the role redis ends that: tasks/users.yml.
            hosts[host]["redis_password"] = password()
    # Sites that had a password of their own before passwords were derived.
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
    """Swap the secrets in force with those that are accepted besides."""
    for key, value in besides.items():
        if isinstance(value, dict):
            exchange(content[key], value)
        else:
            content[key], besides[key] = value, content[key]


def rotate(content: dict[str, Any], step: str) -> list[str]:
    """Take one step of a rotation (see the module's option); returns what was done.

    A step that was taken before does nothing. Servers accept new secrets before these are in force,
    and former ones until they are no longer used: so no host of the fleet is refused, in whatever
    order the hosts are updated, and wherever a rotation was interrupted.
    """
    under_way = content.get("rotation")
    if step == "begin" and not under_way:
        content["rotation"] = {"stage": "offered", "besides": fresh(content)}
        added = ["rotation: offered"]
        if not content.get("next_ca"):
            content["next_ca"] = make_authority(content["fleet_id"])
            added.append("next_ca: rotation")
        return added
    if step == "take" and under_way and under_way["stage"] == "offered":
        content["site_key"] = site_key(content)
        exchange(content, under_way["besides"])
        under_way["stage"] = "taken"
        return ["rotation: taken"]
    if step == "end" and under_way and under_way["stage"] == "taken":
        del content["rotation"]
        return ["rotation: ended"]
    return []


@dataclass(frozen=True)
class Wish:
    """What the secrets file shall hold: the module's options of these names."""

    hosts: dict[str, str]
    sites: list[str]
    forget: list[str] = field(default_factory=list)
    fleet: list[str] = field(default_factory=list)
    trusting: list[str] | None = None
    showing: list[str] | None = None
    rotation: str | None = None

    def applied(self, existing: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
        """The secrets as they shall be, and what was added, changed or removed."""
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


def module_result(content: dict[str, Any]) -> dict[str, Any]:
    """The part of the module's result that comes from the secrets: {secrets, days, addresses}."""
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
