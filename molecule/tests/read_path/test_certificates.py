"""https: each site's certificate, renewed without a run, and what verify says of a bad one."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from nodes import Node, wait_until
from plays import BENCHES, Run

from benchfleet import state
from module_utils.verify_look import Visitor, certificate_fault, shown_certificate

FOLDER = "/etc/ssl/lab"
OTHER = "other.lab.test"
# The timer looks every 15 s.
RENEWED_SECONDS = 60
HTTPS = 443


def certificate(name: str, days: int = 30) -> tuple[str, str, bytes]:
    """A certificate, made for a name and ending in some days, and its key (PEM); and it in DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    end = datetime.now(timezone.utc) + timedelta(days=days)  # noqa: UP017
    made = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(days=60))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    der = made.public_bytes(serialization.Encoding.DER)
    return made.public_bytes(pem).decode(), private.decode(), der


@pytest.fixture(scope="module")
def install(nodes: dict[str, Node]) -> Callable[..., bytes]:
    """Put a certificate and its key into place on the primary, as certbot does: by new links."""

    def put(file: str, name: str, days: int = 30) -> bytes:
        pem, key, der = certificate(name, days)
        release = f"{FOLDER}/{file}-{der[-8:].hex()}"
        lines = ["umask 077", f"mkdir -p {release}"]
        for part, text in (("chain", pem), ("key", key)):
            lines += [
                f"printf %s {shlex.quote(text)} > {release}/{part}.pem",
                f"ln -sfn {release}/{part}.pem {FOLDER}/{file}.{part}",
            ]
        nodes["erp1"].run(" && ".join(lines))
        return der

    return put


@pytest.fixture(scope="module")
def served(
    nodes: dict[str, Node], play: Callable[..., Run], install: Callable[..., bytes]
) -> Iterator[tuple[list[str], bytes]]:
    """The site is served with a certificate of its own; words that say so, and the certificate."""
    own = install("own", state.SITE)
    install("default", OTHER)
    site = {
        "name": state.SITE,
        "certificate": f"{FOLDER}/own.chain",
        "certificate_key": f"{FOLDER}/own.key",
    }
    variables = {
        "router_certificate": f"{FOLDER}/default.chain",
        "router_certificate_key": f"{FOLDER}/default.key",
        "fleet_sites": [site],
    }
    words = ["-e", json.dumps(variables)]
    try:
        play(*BENCHES, *words)
        yield words, own
    finally:
        play(*BENCHES)
        nodes["erp1"].run(f"rm -r {FOLDER}")


def shown(nodes: dict[str, Node]) -> bytes:
    """The certificate that the router shows for the site."""
    return shown_certificate(nodes["erp1"].host.ip, HTTPS, state.SITE)


def test_a_site_is_served_with_its_own_certificate(
    nodes: dict[str, Node], served: tuple[list[str], bytes], play: Callable[..., Run]
):
    words, own = served
    address = nodes["erp1"].host.ip
    assert shown(nodes) == own
    assert certificate_fault(own, address, HTTPS, state.SITE) == ""
    answer = Visitor(address, 80, state.SITE).call("GET", "/app")
    assert (answer.status, answer.headers["location"]) == (301, f"https://{state.SITE}/app")
    # All rows hold by https, too.
    play("playbooks/verify.yml", *words)
    run = play(*BENCHES, *words)
    assert run.changes == []


def test_a_renewed_certificate_is_served_without_a_run(
    nodes: dict[str, Node], served: tuple[list[str], bytes], install: Callable[..., bytes]
):
    # Twice: the first may be found by a look that the run has made due.
    for _ in range(2):
        renewed = install("own", state.SITE)
        wait_until("it is served", lambda own=renewed: shown(nodes) == own, RENEWED_SECONDS)


def test_an_expired_certificate_and_one_for_another_name_are_red(
    nodes: dict[str, Node],
    served: tuple[list[str], bytes],
    install: Callable[..., bytes],
    play: Callable[..., Run],
):
    words, _ = served
    for name, days, said in ((state.SITE, -1, "expired"), (OTHER, 30, "mismatch")):
        bad = install("own", name, days)
        wait_until("it is served", lambda bad=bad: shown(nodes) == bad, RENEWED_SECONDS)
        run = play("playbooks/verify.yml", *words, fails=True)
        assert f"{state.SITE}: " in run.output
        assert said in run.output


def test_a_key_of_another_certificate_is_refused_before_anything_is_touched(
    nodes: dict[str, Node],
    served: tuple[list[str], bytes],
    install: Callable[..., bytes],
    play: Callable[..., Run],
):
    words, _ = served
    good = install("own", state.SITE)
    wait_until("it is served", lambda: shown(nodes) == good, RENEWED_SECONDS)
    other = {"router_certificate_key": f"{FOLDER}/own.key"}
    run = play(*BENCHES, *words, "-e", json.dumps(other), fails=True)
    assert f"{FOLDER}/own.key is not the key of {FOLDER}/default.chain" in run.output
    assert "Nothing was touched on any host." in run.output
    assert shown(nodes) == good
