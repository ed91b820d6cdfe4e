"""The fleet's own certificates on a host: how long they are valid, and whether they fit.

These are for MariaDB's connections between the hosts; the router's are in nginx/certificates.py.
"""

from __future__ import annotations

import calendar
import re
import ssl
import time
from dataclasses import dataclass
from pathlib import Path

from .processes import run

# A certificate of the fleet is renewed long before: from here on something stands in the way.
LEAST_DAYS = 30
DAY = 86400
PEM = re.compile(r"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL)


@dataclass(frozen=True)
class Certificate:
    """What is asked of one; begins and ends in seconds since the epoch."""

    subject: str
    issuer: str
    begins: float
    ends: float

    def days(self, now: float) -> int:
        """Whole days that are left, less than 0 once it has ended."""
        return int((self.ends - now) // DAY)


def parse(pem: str) -> Certificate:
    """A certificate from its text. Raises ValueError."""
    words = ["openssl", "x509", "-noout", "-subject", "-issuer", "-startdate", "-enddate"]
    done = run(words, pem)
    if done.returncode != 0:
        raise ValueError(f"openssl reads no certificate there: {done.stderr.strip()[-200:]}")
    told = dict(line.split("=", 1) for line in done.stdout.splitlines())

    def moment(key: str) -> float:
        return calendar.timegm(time.strptime(told[key].strip(), "%b %d %H:%M:%S %Y %Z"))

    return Certificate(
        told["subject"].strip(), told["issuer"].strip(), moment("notBefore"), moment("notAfter")
    )


def parse_der(der: bytes) -> Certificate:
    """A certificate as a server shows it. Raises ValueError."""
    return parse(ssl.DER_cert_to_PEM_cert(der))


@dataclass(frozen=True)
class Look:
    """What was found: days that are left, None for what is not there; what is wrong, in words."""

    authority: int | None
    server: int | None
    troubles: list[str]


def look(folder: str, shown: bytes | None, now: float) -> Look:
    """Look at the certificates in a folder, and at the one that the server of this host shows.

    Days left of the server are those of the first to end: a file's, or the one that is shown.
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
            f"{folder}/server.crt is of an authority that {folder}/ca.crt does not hold"
        )
    if shown is None:
        troubles.append("MariaDB shows no certificate")
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
    """When something ends that is, in words."""
    many = f"{abs(days)} day{'s' * (abs(days) != 1)}"
    return f"ends in {many}" if days >= 0 else f"ended {many} ago"


def ends_soon(certificate: Certificate, now: float) -> str:
    """What to say of a certificate that somebody else renews; "" while it has time.

    One of a CA that is asked by ACME is renewed when a third of it is left, or 30 days.
    """
    least = min(LEAST_DAYS, (certificate.ends - certificate.begins) / DAY / 4)
    days = (certificate.ends - now) / DAY
    return ending(certificate.days(now)) if days < least else ""
