"""Certificates that the inventory names for the router, and those requested from a CA."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .hosts import is_primary
from .problems import Host, Kind, Problem, Settings

CERTIFICATE = "{setting} in the inventory, on {host}"
CERTIFICATE_INCOMPLETE = Kind(
    "certificate_incomplete",
    "only {file} of a certificate and its key is named",
    CERTIFICATE,
    "name the files of both, or of neither",
)
CERTIFICATE_UNUSABLE = Kind(
    "certificate_unusable",
    "the certificate cannot be used: {trouble}",
    CERTIFICATE,
    "name the files of a certificate and of its own key; if the key has a password, make a copy"
    " without one: openssl pkey -in KEY -out NEW-KEY",
)
CERTIFICATE_OF_ONE_SITE = Kind(
    "certificate_of_one_site",
    "{file} is the certificate of one site, and router_certificate is not set: the other sites"
    " would have no certificate",
    CERTIFICATE,
    "set router_certificate and router_certificate_key as well (the same files can be used), or"
    " set router_acme_email to request certificates for the other sites from a CA",
)
ACME_EMAIL_INVALID = Kind(
    "acme_email_invalid",
    "router_acme_email {value!r} is not an e-mail address",
    "router_acme_email in the inventory, for {host}",
    "name an address that is read: the CA writes to it",
)
ACME_SERVER_INVALID = Kind(
    "acme_server_invalid",
    "router_acme_server {value!r} is not the address of an ACME directory",
    "router_acme_server in the inventory, for {host}",
    "write it as https://HOST/PATH, as the CA documents it",
)
ACME_BESIDE_CERTIFICATE = Kind(
    "acme_beside_certificate",
    "router_certificate and router_acme_email are both set: router_certificate serves every name,"
    " so nothing would be requested from the CA",
    "router_certificate in the inventory, for {host}",
    "remove one of the two settings",
)


def check_certificates(hosts: list[Host], _settings: Settings) -> Iterator[Problem]:
    """Problems of certificates and keys on the primary that nginx would not take."""
    host = next(filter(is_primary, hosts), None)
    if host is None or not host["survey"]:
        return
    for pair in host["survey"]["certificates"]:
        facts = {"setting": pair["of"], "host": host["name"]}
        named = pair["certificate"] or pair["key"]
        if not (pair["certificate"] and pair["key"]):
            yield CERTIFICATE_INCOMPLETE.found(**facts, file=named)
        elif pair["trouble"]:
            yield CERTIFICATE_UNUSABLE.found(**facts, trouble=pair["trouble"])
        elif not host["certificate"] and not host["acme"]["email"]:
            yield CERTIFICATE_OF_ONE_SITE.found(**facts, file=named)


def check_acme(hosts: list[Host], _settings: Settings) -> Iterator[Problem]:
    """Problems of the settings by which certificates are requested from a CA."""
    host = next(filter(is_primary, hosts), None)
    if host is None or not host["acme"]["email"]:
        return
    email, server = str(host["acme"]["email"]), str(host["acme"]["server"])
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", email):
        yield ACME_EMAIL_INVALID.found(value=email, host=host["name"])
    if not re.fullmatch(r"https://[^/\s@]+/\S*", server):
        yield ACME_SERVER_INVALID.found(value=server, host=host["name"])
    if host["certificate"]:
        yield ACME_BESIDE_CERTIFICATE.found(host=host["name"])
