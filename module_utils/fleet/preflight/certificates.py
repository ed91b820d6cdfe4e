"""Certificates that the router is given, and those that a CA is asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator

from .hosts import is_primary
from .problems import Host, Problem, Settings, problem


def check_certificates(hosts: list[Host], _settings: Settings) -> Iterator[Problem]:
    """Certificates on the primary, with their keys, are such as nginx takes."""
    host = next(filter(is_primary, hosts), None)
    if host is None or not host["survey"]:
        return
    for pair in host["survey"]["certificates"]:
        place = f"{pair['of']} in the inventory, on {host['name']}"
        named = pair["certificate"] or pair["key"]
        if not (pair["certificate"] and pair["key"]):
            yield problem(
                f"of a certificate and its key only {named} is named",
                place,
                "name the files of both, or none",
            )
        elif pair["trouble"]:
            yield problem(
                pair["trouble"],
                place,
                "name the files of a certificate and its own key; of a key with a password "
                "make one without: openssl pkey -in KEY -out NEW-KEY",
            )
        elif not host["certificate"] and not host["acme"]["email"]:
            yield problem(
                f"{named} is the certificate of a site, and router_certificate is not set, so "
                "the other sites would have none",
                place,
                "set router_certificate and router_certificate_key, too; the same files do. Or "
                "have a CA asked for the others (router_acme_email)",
            )


def check_acme(hosts: list[Host], _settings: Settings) -> Iterator[Problem]:
    """A CA can be asked for certificates as the inventory has it."""
    host = next(filter(is_primary, hosts), None)
    if host is None or not host["acme"]["email"]:
        return
    email, server = str(host["acme"]["email"]), str(host["acme"]["server"])
    place = f"in the inventory, for {host['name']}"
    if not re.fullmatch(r"[^@\s]+@[^@\s]+\.[^@\s]+", email):
        yield problem(
            f"router_acme_email {email!r} is no address of e-mail",
            f"router_acme_email {place}",
            "name one at which somebody reads what the CA writes",
        )
    if not re.fullmatch(r"https://[^/\s@]+/\S*", server):
        yield problem(
            f"router_acme_server {server!r} is not the address of an ACME directory",
            f"router_acme_server {place}",
            "write it as https://HOST/PATH, as the CA's page has it",
        )
    if host["certificate"]:
        yield problem(
            "router_certificate is set, and so is router_acme_email: no name would be left "
            "for which the CA is asked",
            f"router_certificate {place}",
            "take one of the two away",
        )
