"""https: each site's certificate, renewed without a run, and verify's report of a bad one."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fleet.http import Visitor, certificate_fault, shown_certificate
from nodes import Node, wait_until
from plays import BENCHES, Run

from benchfleet.lab import state

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
    """Install a certificate and its key on the primary, as certbot does: by new links."""

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
    """The site is served with its own certificate; the arguments for that, and the certificate."""
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
    # Twice: the first may be found by a check that the run has made due.
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


# A CA for tests on the primary, from Debian, with a name server that resolves each name to a given
# address.
PEBBLE = r"""
set -e
export DEBIAN_FRONTEND=noninteractive
apt-get install -y -qq --no-install-recommends pebble >/dev/null
mkdir -p /etc/pebble && cd /etc/pebble
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=ca \
    -keyout key.pem -out cert.pem -addext subjectAltName=DNS:localhost 2>/dev/null
cp cert.pem /usr/local/share/ca-certificates/pebble.crt && update-ca-certificates >/dev/null 2>&1
cat >config.json <<'CONFIG'
{"pebble": {"listenAddress": "127.0.0.1:14000", "managementListenAddress": "127.0.0.1:15000",
            "certificate": "/etc/pebble/cert.pem", "privateKey": "/etc/pebble/key.pem",
            "httpPort": 80, "tlsPort": 443}}
CONFIG
systemd-run -q --collect --unit pebble-names \
    pebble-challtestsrv -defaultIPv4 ADDRESS -defaultIPv6 "" \
    -dns01 127.0.0.1:8053 -http01 "" -https01 "" -tlsalpn01 "" -management 127.0.0.1:8055
systemd-run -q --collect --unit pebble -E PEBBLE_VA_NOSLEEP=1 -E PEBBLE_WFE_NONCEREJECT=0 \
    pebble -config /etc/pebble/config.json -dnsserver 127.0.0.1:8053
timeout 10 sh -c "until ss -ltn | grep -q 127.0.0.1:8055; do sleep 0.1; done"
"""
ACME = {"router_acme_email": "ops@lab.test", "router_acme_server": "https://localhost:14000/dir"}
AWAY, FURTHER = "away.lab.test", "further.lab.test"


def leads_to(node: Node, name: str, address: str) -> None:
    """Make the name server resolve a name to an address."""
    body = json.dumps({"host": name, "addresses": [address]})
    node.run(
        "python3 -c 'import sys, urllib.request as u;"
        ' u.urlopen("http://127.0.0.1:8055/add-a", sys.argv[1].encode())\' ' + shlex.quote(body)
    )


@pytest.fixture(scope="module")
def asked(
    nodes: dict[str, Node], play: Callable[..., Run], served: tuple[list[str], bytes]
) -> Iterator[tuple[list[str], Run]]:
    """Certificates were requested, and one name resolves elsewhere; the arguments, and the run.

    The site is served as before when `served` ends.
    """
    primary = nodes["erp1"]
    primary.run(PEBBLE.replace("ADDRESS", primary.host.ip))
    leads_to(primary, AWAY, nodes["rep1"].host.ip)
    site = {"name": state.SITE, "names": [primary.host.ip, AWAY]}
    words = ["-e", json.dumps({**ACME, "fleet_sites": [site]})]
    try:
        yield words, play(*BENCHES, *words)
    finally:
        primary.run(
            "systemctl stop pebble pebble-names; rm -r /etc/pebble /etc/letsencrypt"
            " /usr/local/share/ca-certificates/pebble.crt; update-ca-certificates >/dev/null 2>&1"
        )


def trusted(nodes: dict[str, Node], name: str) -> bool:
    """Whether the router shows a certificate that is valid for a name, whoever signed it."""
    where = (nodes["erp1"].host.ip, HTTPS, name)
    try:
        return certificate_fault(shown_certificate(*where), *where) == ""
    except OSError:
        return False


def test_a_ca_gives_each_name_that_leads_here_a_certificate(
    nodes: dict[str, Node], asked: tuple[list[str], Run], play: Callable[..., Run]
):
    words, run = asked
    assert f"{AWAY} has no certificate, and is served by http: " in run.output
    assert trusted(nodes, state.SITE), run.output
    assert not trusted(nodes, AWAY)
    address = nodes["erp1"].host.ip
    answers = {
        name: Visitor(address, 80, name).call("GET", "/api/method/ping").status
        for name in (state.SITE, AWAY, address)
    }
    assert answers == {state.SITE: 301, AWAY: 200, address: 200}
    assert play(*BENCHES, *words).changes == []
    verified = play("playbooks/verify.yml", *words, fails=True)
    assert "1 of " in verified.output
    assert f"{AWAY}: served by http, " in verified.output


def test_a_name_that_the_site_gets_has_a_certificate_without_a_run(
    nodes: dict[str, Node], asked: tuple[list[str], Run]
):
    primary = nodes["erp1"]
    bench = "/home/frappe/frappe-bench"
    as_frappe = f"runuser -u frappe -- env -C {bench} bench"
    primary.run(f"{as_frappe} setup add-domain {FURTHER} --site {state.SITE}")
    wait_until("it has a certificate", lambda: trusted(nodes, FURTHER), 2 * RENEWED_SECONDS)
    primary.run(f"{as_frappe} setup remove-domain {FURTHER} --site {state.SITE}")


def test_what_certbot_renews_is_served_without_a_run(
    nodes: dict[str, Node], asked: tuple[list[str], Run]
):
    before = shown(nodes)
    words = "--quiet --force-renewal --no-random-sleep-on-renew"
    nodes["erp1"].run(f"certbot renew {words} --cert-name {state.SITE}")
    wait_until("it is served", lambda: shown(nodes) != before, RENEWED_SECONDS)
    assert trusted(nodes, state.SITE)
