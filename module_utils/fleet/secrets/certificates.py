"""The fleet's certificate authorities, each replaced by the next, and its hosts' certificates."""

from __future__ import annotations

import datetime
import ipaddress
import secrets
from collections.abc import Iterable
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

# A CA is replaced by the next one when a server's certificate could outlive it.
CA_LIFETIME = datetime.timedelta(days=3650)
SERVER_LIFETIME = datetime.timedelta(days=730)
# A server's certificate is renewed when less time than this is left.
RENEW_BEFORE = SERVER_LIFETIME / 3
# Clocks of hosts may be behind the controller's.
BACKDATE = datetime.timedelta(days=1)


def now() -> datetime.datetime:
    """Current time in UTC, to the second, as certificates have it."""
    return datetime.datetime.now(datetime.UTC).replace(microsecond=0)


def issued(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    signer: ec.EllipticCurvePrivateKey,
    end: datetime.datetime,
    extensions: Iterable[tuple[x509.ExtensionType, bool]],
) -> dict[str, str]:
    """A certificate that is valid from now on, with its key, as text: {certificate, key}.

    extensions: each, and whether it is critical.
    """
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now() - BACKDATE)
        .not_valid_after(end)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    certificate = builder.sign(signer, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return {
        "certificate": certificate.public_bytes(serialization.Encoding.PEM).decode(),
        "key": private.decode(),
    }


def make_authority(fleet_id: str) -> dict[str, str]:
    """A certificate authority of the fleet: {certificate, key}, valid for CA_LIFETIME."""
    key = ec.generate_private_key(ec.SECP256R1())
    start = now() - BACKDATE
    # Two CAs that are trusted at the same time need different names.
    common_name = f"benchfleet {fleet_id} {start:%Y-%m-%d} {secrets.token_hex(2)}"
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
    extensions = [
        (x509.BasicConstraints(ca=True, path_length=0), True),
        (key_usage(authority=True), True),
        (x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False),
    ]
    return issued(name, name, key, key, start + CA_LIFETIME, extensions)


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
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    # 64 characters is what X.509 allows here; the whole name is in the extension.
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host[:64])])
    both_ends = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    names = [x509.DNSName(host), x509.IPAddress(ipaddress.ip_address(address))]
    extensions = [
        (x509.BasicConstraints(ca=False, path_length=None), True),
        (key_usage(authority=False), True),
        (x509.ExtendedKeyUsage(both_ends), False),
        (x509.SubjectAlternativeName(names), False),
        (x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False),
    ]
    return issued(subject, issuer.subject, key, issuer_key, longest(issuer), extensions)


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
    """The end of validity of a host's certificate that this CA issues now."""
    return min(now() - BACKDATE + SERVER_LIFETIME, expiry(issuer))


def certificate_fault(authority: str, pem: str, host: str, address: str) -> str:
    """Why a host's certificate must be issued again, in one word; "" when it need not.

    authority: the CA's certificate. Returns "ca_replaced", "address_changed", "name_changed" or, as
    in "9_days_left", how long it is still valid.
    """
    issuer, certificate = load(authority), load(pem)
    if certificate.issuer != issuer.subject:
        return "ca_replaced"
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    if ipaddress.ip_address(address) not in names.get_values_for_type(x509.IPAddress):
        return "address_changed"
    if host not in names.get_values_for_type(x509.DNSName):
        return "name_changed"
    left = expiry(certificate) - now()
    # The same CA cannot renew a certificate that ends when the CA does.
    if left < RENEW_BEFORE and longest(issuer) > expiry(certificate):
        return f"{left.days}_days_left"
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


def days_left(certificate: x509.Certificate) -> int:
    """Whole days until a certificate ends."""
    return (expiry(certificate) - now()).days


def ensure_authority(content: dict[str, Any]) -> list[str]:
    """Make the fleet's CA, and the next one in time; returns what was made."""
    made = []
    if not content.get("ca"):
        content["ca"] = make_authority(content["fleet_id"])
        made.append("ca: new")
    certificate = load(content["ca"]["certificate"])
    if not content.get("next_ca") and expiry(certificate) - now() < SERVER_LIFETIME:
        content["next_ca"] = make_authority(content["fleet_id"])
        made.append(f"next_ca: {days_left(certificate)}_days_left")
    return made


def certify(content: dict[str, Any], addresses: dict[str, str]) -> list[str]:
    """Issue certificates of the CA in force to hosts that need one; returns what was made."""
    made = []
    for host, address in addresses.items():
        entry, authority = content["hosts"][host], content["ca"]
        fault = "new"
        if entry.get("certificate") and entry.get("key"):
            issued = entry["certificate"]
            fault = certificate_fault(authority["certificate"], issued, host, address)
        if fault:
            entry.update(make_certificate(authority, host, address))
            made.append(f"hosts/{host}/certificate: {fault}")
    return made


def trusted(content: dict[str, Any]) -> str:
    """Certificates of the CAs that each host trusts: the one in force, the next, former ones."""
    following = [content["next_ca"]] if content.get("next_ca") else []
    authorities = [content["ca"], *following, *content.get("former_cas", [])]
    return "".join(one["certificate"] for one in authorities)


def drop_former(content: dict[str, Any], fleet: list[str], showing: list[str]) -> list[str]:
    """Trust former CAs no more, once no server shows their certificates; returns what was done."""
    known = [host for host in fleet if host in content["hosts"]]
    if not content.get("former_cas") or not set(known) <= set(showing):
        return []
    del content["former_cas"]
    return ["former_cas: removed"]


def days(content: dict[str, Any]) -> dict[str, int]:
    """Days until the certificate of each host, and of the CA in force, ends."""
    hosts = {host: entry for host, entry in content["hosts"].items() if entry.get("certificate")}
    ends = {"certificate authority": content["ca"], **hosts}
    return {name: days_left(load(one["certificate"])) for name, one in ends.items()}
