"""The fleet's own certificates on a host: the days that are left, and whether they fit.

They are for MariaDB's connections between the hosts; the router's are in nginx/certificates.py.
"""

from __future__ import annotations

import calendar
import re
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from .processes import run

# A certificate of the fleet is renewed long before this: when fewer days are left, renewal fails.
LEAST_DAYS = 30
DAY = 86400
SHOWS_NONE = "MariaDB shows no certificate"
PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class Certificate:
    """A certificate; begins and ends are in seconds since the epoch."""

    subject: str
    issuer: str
    begins: float
    ends: float

    def days(self, now: float) -> int:
        """Whole days that are left; negative once it has ended."""
        return int((self.ends - now) // DAY)


def parse(pem: str) -> Certificate:
    """A certificate from its text. Raises ValueError."""
    command = ["openssl", "x509", "-noout", "-subject", "-issuer", "-startdate", "-enddate"]
    done = run(command, pem)
    if done.returncode != 0:
        raise ValueError(f"openssl cannot read a certificate there: {done.stderr.strip()[-200:]}")
    fields = dict(line.split("=", 1) for line in done.stdout.splitlines())

    def moment(key: str) -> float:
        return calendar.timegm(time.strptime(fields[key].strip(), "%b %d %H:%M:%S %Y %Z"))

    return Certificate(
        fields["subject"].strip(),
        fields["issuer"].strip(),
        moment("notBefore"),
        moment("notAfter"),
    )


def parse_der(der: bytes) -> Certificate:
    """A certificate from the form in which a server sends it. Raises ValueError."""
    return parse(ssl.DER_cert_to_PEM_cert(der))


@dataclass(frozen=True)
class Look:
    """Days left of the authority's and the server's certificate, or None; troubles as texts."""

    authority: int | None
    server: int | None
    troubles: list[str]


def look(folder: str, shown: bytes | None, now: float) -> Look:
    """The state of the certificates in a folder, and of the one that this host's server shows.

    Days left of the server are those of the certificate that ends first: the file's, or the one
    that is shown, which is None where the server shows none.
    Raises OSError, ValueError.
    """
    trusted = [parse(pem) for pem in PEM.findall(Path(folder, "ca.crt").read_text())]
    text = Path(folder, "server.crt").read_text()
    own = parse(text)
    signer = next((one for one in trusted if one.subject == own.issuer), None)
    named = [("the certificate authority", signer), (f"{folder}/server.crt", own)]
    troubles = []
    server = own.days(now)
    if signer is None:
        troubles.append(
            f"{folder}/server.crt was signed by an authority that {folder}/ca.crt lacks"
        )
    if shown is None:
        troubles.append(SHOWS_NONE)
    elif shown != ssl.PEM_cert_to_DER_cert(text.strip() + "\n"):
        running = parse_der(shown)
        troubles.append(f"MariaDB shows another certificate than {folder}/server.crt")
        named.append(("the certificate that MariaDB shows", running))
        server = min(server, running.days(now))
    for what, one in named:
        if one and one.days(now) < LEAST_DAYS:
            troubles.append(f"{what} {ending(one.days(now))}")
    return Look(signer.days(now) if signer else None, server, troubles)


def ending(days: int) -> str:
    """When a certificate ends, as a text."""
    many = f"{abs(days)} day{'s' * (abs(days) != 1)}"
    return f"ends in {many}" if days >= 0 else f"ended {many} ago"


def ends_soon(certificate: Certificate, now: float) -> str:
    """When a certificate of the router ends, as a text; "" while it is not due for renewal.

    A certificate by ACME is renewed when a third of its lifetime, or 30 days, is left.
    """
    least = min(LEAST_DAYS, (certificate.ends - certificate.begins) / DAY / 4)
    days = (certificate.ends - now) / DAY
    return ending(certificate.days(now)) if days < least else ""
