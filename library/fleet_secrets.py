#!/usr/bin/python
"""Make the secrets of a fleet, or extend them when a host or site is new."""

from __future__ import annotations

import contextlib
import copy
import datetime
import fcntl
import hashlib
import hmac
import ipaddress
import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ansible.module_utils.fleet.module import FleetModule

# ansible-core brings both, so they are missing only where the module is run by another Python
# than Ansible's own.
MISSING = ""
try:
    import yaml
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
except ImportError as import_error:
    MISSING = str(import_error)

DOCUMENTATION = r"""
module: fleet_secrets
short_description: Make the secrets of a fleet, or extend them
description:
  - Runs on the controller. What exists is never changed, apart from certificates (a host's when its
    address changed or it is due, the CA when it is due), and by a rotation.
  - The file is replaced atomically, under a lock. In check mode nothing is written, and what is
    missing is made up in memory.
  - Every task that uses this module needs C(no_log), since it returns the secrets.
options:
  path:
    description: The secrets file.
    type: path
    required: true
  hosts:
    description: "Hosts of the fleet: inventory name → LAN address."
    type: dict
    required: true
  sites:
    description: Names of the sites.
    type: list
    elements: str
    default: []
  decrypted:
    description: Content of a file encrypted with ansible-vault, which the action plugin of this
      name opens and writes. The new content is returned as C(text).
    type: dict
  forget:
    description: Hosts that have left the fleet. Their entries are removed.
    type: list
    elements: str
    default: []
  fleet:
    description: Names of all hosts of the fleet; needed with C(trusting) and C(showing).
    type: list
    elements: str
    default: []
  trusting:
    description: Hosts that trust the next CA by now. Once all of C(fleet) do, it signs.
    type: list
    elements: str
  showing:
    description: Hosts whose server shows its certificate of this file. Once all of C(fleet) do, no
      former CA is trusted any more.
    type: list
    elements: str
  rotation:
    description:
      - C(begin) makes new passwords and keys that the servers are to accept besides; one that was
        begun goes on. C(take) puts them in force, and what was in force is accepted besides.
        C(end) forgets that.
    choices: [begin, take, end]
"""

EXAMPLES = r"""
- name: Secrets of the fleet exist
  fleet_secrets:
    path: "{{ preflight_secrets_file }}"
    hosts: {erp1: 192.0.2.11, rep1: 192.0.2.21}
    sites: [erp.example.com]
  delegate_to: localhost
  no_log: true
"""

RETURN = r"""
secrets:
  description: The whole content of the file, and what is derived from it, C(site_key), C(trusted)
    (certificates of all CAs that a host trusts) and C(besides) (what servers accept besides the
    passwords and keys in force, {} but in a rotation).
  returned: success
  type: dict
addresses:
  description: "Hosts that have a certificate: inventory name → LAN address in it."
  returned: success
  type: dict
days:
  description: Days that are left of the CA in force and of each host's certificate.
  returned: success
  type: dict
added:
  description: What was added, renewed or removed, without any secret.
  returned: success
  type: list
"""

PURPOSES = ("seed", "sync", "code")
# A CA is followed by the next one when a server's certificate could outlive it.
CA_LIFETIME = datetime.timedelta(days=3650)
SERVER_LIFETIME = datetime.timedelta(days=730)
# What is left of a server's certificate when it is renewed.
RENEW_BEFORE = SERVER_LIFETIME / 3
# Clocks of hosts may be behind the controller's.
BACKDATE = datetime.timedelta(days=1)
HEADER = (
    "# Secrets of this fleet, made by Benchfleet. Keep it safe and keep it: without it the hosts\n"
    "# cannot be managed any more. It may be encrypted with ansible-vault.\n"
)


class SecretsError(Exception):
    """The secrets cannot be read or written; the message names path and remedy."""


def now() -> datetime.datetime:
    """Current time in UTC, to the second, as certificates have it."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def password() -> str:
    """A random password of 32 letters, digits, - and _ (192 bits), safe in URLs and files."""
    return secrets.token_urlsafe(24)


def private_pem(key: ec.EllipticCurvePrivateKey) -> str:
    """A private key as unencrypted PKCS #8."""
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def make_authority(fleet_id: str) -> dict[str, str]:
    """A certificate authority of the fleet: {certificate, key}, valid for CA_LIFETIME."""
    key = ec.generate_private_key(ec.SECP256R1())
    start = now() - BACKDATE
    # Two that are trusted at the same time have different names.
    words = f"benchfleet {fleet_id} {start:%Y-%m-%d} {secrets.token_hex(2)}"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, words)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + CA_LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage(authority=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return {
        "certificate": certificate.public_bytes(serialization.Encoding.PEM).decode(),
        "key": private_pem(key),
    }


def key_usage(authority: bool) -> x509.KeyUsage:
    """Key usage of the authority (signing certificates) or of a host (signing handshakes)."""
    return x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )


def make_certificate(authority: dict[str, str], host: str, address: str) -> dict[str, str]:
    """A certificate for a host, by name and LAN address, for both ends of a connection."""
    issuer = load(authority["certificate"])
    issuer_key = serialization.load_pem_private_key(authority["key"].encode(), password=None)
    key = ec.generate_private_key(ec.SECP256R1())
    start = now() - BACKDATE
    certificate = (
        x509.CertificateBuilder()
        # 64 characters is what X.509 allows here; the whole name is in the extension.
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(longest(issuer))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(key_usage(authority=False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage(
                [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
            ),
            critical=False,
        )
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.DNSName(host), x509.IPAddress(ipaddress.ip_address(address))]
            ),
            critical=False,
        )
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.public_key()), critical=False
        )
        .sign(issuer_key, hashes.SHA256())
    )
    return {
        "certificate": certificate.public_bytes(serialization.Encoding.PEM).decode(),
        "key": private_pem(key),
    }


def expiry(certificate: x509.Certificate) -> datetime.datetime:
    """End of a certificate's validity, with its time zone."""
    # The oldest cryptography of a known system, 38, has only the naive form.
    if hasattr(certificate, "not_valid_after_utc"):
        return certificate.not_valid_after_utc
    return certificate.not_valid_after.replace(tzinfo=datetime.UTC)


def load(pem: str) -> x509.Certificate:
    """A certificate from its text."""
    return x509.load_pem_x509_certificate(pem.encode())


def longest(issuer: x509.Certificate) -> datetime.datetime:
    """Until when a host's certificate is valid that a CA issues now."""
    return min(now() - BACKDATE + SERVER_LIFETIME, expiry(issuer))


def certificate_fault(authority: str, pem: str, host: str, address: str) -> str:
    """Why a host's certificate must be issued again; "" when it need not.

    authority: the CA's certificate.
    """
    issuer, certificate = load(authority), load(pem)
    if certificate.issuer != issuer.subject:
        return "its CA was followed by another"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if ipaddress.ip_address(address) not in names.get_values_for_type(x509.IPAddress):
        return "its LAN address changed"
    if host not in names.get_values_for_type(x509.DNSName):
        return "its name changed"
    left = expiry(certificate) - now()
    # One that ends with its CA cannot be renewed by it.
    if left < RENEW_BEFORE and longest(issuer) > expiry(certificate):
        return f"{left.days} days of it are left"
    return ""


def certified_addresses(content: dict[str, Any]) -> dict[str, str]:
    """LAN address of each host that has a certificate, from the certificate."""
    found = {}
    for host, entry in content["hosts"].items():
        if entry.get("certificate"):
            certificate = load(entry["certificate"])
            names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
            found[host] = str(names.value.get_values_for_type(x509.IPAddress)[0])
    return found


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

    def need(where: dict[str, Any], key: str, label: str, value: Any) -> None:
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
    need(content, "ca", "certificate authority", lambda: make_authority(content["fleet_id"]))
    if not content.get("next_ca"):
        left = expiry(load(content["ca"]["certificate"])) - now()
        if left < SERVER_LIFETIME:
            content["next_ca"] = make_authority(content["fleet_id"])
            added.append(f"next certificate authority ({left.days} days of this one are left)")
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
            comment = f"benchfleet-{purpose}@{host}"
            need(
                entry["ssh"],
                purpose,
                f"ssh key {purpose} of {host}",
                lambda comment=comment: make_ssh_key(comment),
            )
    return content, added


def certify(content: dict[str, Any], addresses: dict[str, str]) -> list[str]:
    """Give each host a certificate of the CA in force, where its own will not do; what was made."""
    made = []
    for host, address in addresses.items():
        entry, authority = content["hosts"][host], content["ca"]
        fault = "it is new"
        if entry.get("certificate") and entry.get("key"):
            issued = entry["certificate"]
            fault = certificate_fault(authority["certificate"], issued, host, address)
        if fault:
            entry.update(make_certificate(authority, host, address))
            made.append(f"certificate of {host} ({fault})")
    return made


def trusted(content: dict[str, Any]) -> str:
    """Certificates of the CAs that each host trusts: the one in force, the next, former ones."""
    following = [content["next_ca"]] if content.get("next_ca") else []
    authorities = [content["ca"], *following, *content.get("former_cas", [])]
    return "".join(one["certificate"] for one in authorities)


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


def drop_former(content: dict[str, Any], fleet: list[str], showing: list[str]) -> list[str]:
    """Trust former CAs no more, once no server shows a certificate of theirs; what was done."""
    known = [host for host in fleet if host in content["hosts"]]
    if not content.get("former_cas") or not set(known) <= set(showing):
        return []
    del content["former_cas"]
    return ["former certificate authority, trusted no more"]


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


def represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    """A literal block for texts of several lines, so that keys and certificates stay readable."""
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


def to_yaml(content: dict[str, Any]) -> str:
    """The secrets file's text."""
    dumper = type("TextDumper", (yaml.SafeDumper,), {})
    dumper.add_representer(str, represent_text)
    body = yaml.dump(content, Dumper=dumper, sort_keys=False, allow_unicode=True, width=10000)
    return f"{HEADER}---\n{body}"


def read_file(path: Path) -> dict[str, Any] | None:
    """Content of the secrets file, None when there is none.

    Raises:
        SecretsError: the file is readable by others, encrypted, or not what it should be.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise SecretsError(
            f"{path} cannot be read ({reason}): run as its owner, or put it back from a backup"
        ) from error
    if text.startswith("$ANSIBLE_VAULT;"):
        raise SecretsError(
            f"{path} is encrypted: give its password with --vault-password-file or --ask-vault-pass"
        )
    if mode & 0o077:
        raise SecretsError(
            f"{path} can be read by others than its owner (mode {mode:04o}): chmod 0600 {path}"
        )
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        # The error's own text would quote the line, and the line may be a password.
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise SecretsError(
            f"{path} is not valid YAML{line}: put it back from a backup; it is never overwritten"
        ) from None
    if not isinstance(content, dict) or not content.get("fleet_id"):
        raise SecretsError(
            f"{path} holds no fleet_id: put it back from a backup; if it was never used, remove it"
        )
    return content


def write_file(path: Path, content: dict[str, Any]) -> None:
    """Replace the secrets file atomically, 0600.

    Raises:
        SecretsError: it cannot be written; the old file is then untouched.
    """
    temporary = ""
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(to_yaml(content))
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o600)
        Path(temporary).rename(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        if temporary:
            with contextlib.suppress(OSError):
                Path(temporary).unlink()
        raise SecretsError(
            f"{path} cannot be written ({error.strerror}): make its directory writable for the "
            "user who runs this, and see that the disk is not full"
        ) from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the lock of a secrets directory, made 0700 when missing; a second run waits.

    Raises:
        SecretsError: the directory cannot be made or used.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise SecretsError(
            f"{folder} cannot be made or opened ({error.strerror}): make it writable for the user "
            "who runs this"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def without(content: dict[str, Any], forget: list[str]) -> tuple[dict[str, Any], list[str]]:
    """Secrets without the entries of some hosts, and a list of what was removed."""
    gone = [host for host in forget if host in content["hosts"]]
    content = copy.deepcopy(content)
    besides = content.get("rotation", {}).get("besides", {"hosts": {}})
    for host in gone:
        del content["hosts"][host]
        besides["hosts"].pop(host, None)
    return content, [f"entry of {host}, removed" for host in gone]


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


def days(content: dict[str, Any]) -> dict[str, int]:
    """Days that are left of each certificate, by host, and of the CA in force."""
    hosts = {host: entry for host, entry in content["hosts"].items() if entry.get("certificate")}
    ends = {"certificate authority": content["ca"], **hosts}
    return {name: (expiry(load(one["certificate"])) - now()).days for name, one in ends.items()}


def ensure(
    path: Path, wish: Wish, decrypted: dict[str, Any] | None, check_mode: bool
) -> tuple[dict[str, Any], list[str]]:
    """Bring the secrets to what is wished; content and what was added, changed or removed.

    Raises:
        SecretsError: the file cannot be used as it is.
    """
    if decrypted is not None:
        return wish.applied(decrypted)
    if check_mode:
        return wish.applied(read_file(path) or {})
    with locked(path.parent):
        content, added = wish.applied(read_file(path) or {})
        if added:
            write_file(path, content)
    return content, added


def main() -> None:
    """Module entry."""
    module = FleetModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "hosts": {"type": "dict", "required": True},
            "sites": {"type": "list", "elements": "str", "default": []},
            "decrypted": {"type": "dict", "no_log": False},
            "forget": {"type": "list", "elements": "str", "default": []},
            "fleet": {"type": "list", "elements": "str", "default": []},
            "trusting": {"type": "list", "elements": "str"},
            "showing": {"type": "list", "elements": "str"},
            "rotation": {"type": "str", "choices": ["begin", "take", "end"]},
        },
        supports_check_mode=True,
    )
    asked = module.params
    if MISSING:
        module.fail_json(
            msg=f"{MISSING} in {sys.executable}, which runs this on the controller: do not set "
            "ansible_python_interpreter for localhost, nor on the command line"
        )
    try:
        wish = Wish(**{one.name: asked[one.name] for one in fields(Wish)})
        content, added = ensure(Path(asked["path"]), wish, asked["decrypted"], module.check_mode)
    except SecretsError as error:
        module.fail_json(msg=str(error))
    encrypted = asked["decrypted"] is not None
    module.exit_json(
        changed=bool(added),
        text=to_yaml(content) if encrypted and added and not module.check_mode else "",
        secrets={
            **content,
            "site_key": site_key(content),
            "trusted": trusted(content),
            "besides": content.get("rotation", {}).get("besides", {}),
        },
        added=added,
        days=days(content),
        addresses=certified_addresses(content),
    )


if __name__ == "__main__":
    main()
