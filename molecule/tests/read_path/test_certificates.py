"""https: each site's certificate, renewed without a run, and verify's report of a bad one."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from conftest import AWAY, FOLDER, OTHER, PHASES, Setup, change
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from fleet.http import Visitor, certificate_fault, shown_certificate
from nodes import Node, wait_until
from plays import Run

from benchfleet.lab import state

FURTHER = "further.lab.test"
# The timer looks every 15 s.
RENEWED_SECONDS = 60
HTTPS = 443
Checks = dict[tuple[str, str], dict[str, Any]]
OWN = (f"{FOLDER}/own.chain", f"{FOLDER}/own.key")
DEFAULT = (f"{FOLDER}/default.chain", f"{FOLDER}/default.key")


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


served = pytest.mark.fleet("served")
asked = pytest.mark.fleet("asked")


@pytest.fixture(scope="module")
def install(nodes: dict[str, Node]) -> Callable[..., bytes]:
    """Install a certificate and its key on the primary, as certbot does: by new links."""

    def put(files: tuple[str, str], name: str, days: int = 30) -> bytes:
        chain, key, der = certificate(name, days)
        release = f"{FOLDER}/{der[-8:].hex()}"
        lines = ["umask 077", f"mkdir -p {release}"]
        for link, text in zip(files, (chain, key), strict=True):
            file = f"{release}/{Path(link).name}"
            lines += [f"printf %s {shlex.quote(text)} > {file}", f"ln -sfn {file} {link}"]
        nodes["erp1"].run(" && ".join(lines))
        return der

    return put


@pytest.fixture(scope="module")
def own(install: Callable[..., bytes]) -> bytes:
    """The site's own certificate at first; all others have another one."""
    install(DEFAULT, OTHER)
    return install(OWN, state.SITE)


@pytest.fixture(scope="module", autouse=True)
def authority(nodes: dict[str, Node], own: bytes) -> Iterator[None]:
    """A CA runs on the primary; all names lead there, but one."""
    primary = nodes["erp1"]
    primary.run(PEBBLE.replace("ADDRESS", primary.host.ip))
    body = json.dumps({"host": AWAY, "addresses": [nodes["rep1"].host.ip]})
    primary.run(
        "python3 -c 'import sys, urllib.request as u;"
        ' u.urlopen("http://127.0.0.1:8055/add-a", sys.argv[1].encode())\' ' + shlex.quote(body)
    )
    yield
    # On the standby, they were brought there.
    nodes["rep1"].run(f"rm -rf {FOLDER} /etc/letsencrypt")
    primary.run(
        f"systemctl stop pebble pebble-names; rm -rf {FOLDER} /etc/pebble /etc/letsencrypt"
        " /usr/local/share/ca-certificates/pebble.crt; update-ca-certificates >/dev/null 2>&1"
    )


def shown(nodes: dict[str, Node], name: str = state.SITE, host: str = "erp1") -> bytes:
    """The certificate that the router of a host, the primary or rep1, shows for a name."""
    return shown_certificate(nodes[host].host.ip, HTTPS, name)


def fetched(nodes: dict[str, Node]) -> None:
    """The standby fetches certificates now, as it does every five minutes."""
    nodes["rep1"].run("systemctl start benchfleet-standby-certificates.service")


def trusted(nodes: dict[str, Node], name: str) -> bool:
    """Whether the router shows a certificate that is valid for a name, whoever signed it."""
    where = (nodes["erp1"].host.ip, HTTPS, name)
    try:
        return certificate_fault(shown_certificate(*where), *where) == ""
    except OSError:
        return False


@served
def test_a_site_is_served_with_its_own_certificate(
    nodes: dict[str, Node], own: bytes, verify: Callable[..., Checks]
):
    assert shown(nodes) == own
    # It was installed before the run, which brought it to the standby.
    assert shown(nodes, host="rep1") == own
    assert trusted(nodes, state.SITE)
    answer = Visitor(nodes["erp1"].host.ip, 80, state.SITE).call("GET", "/app")
    assert (answer.status, answer.headers["location"]) == (301, f"https://{state.SITE}/app")
    # All rows hold by https, too.
    assert [place for place, check in verify(**PHASES["served"]).items() if not check["ok"]] == []


@served
def test_a_renewed_certificate_is_served_without_a_run(
    nodes: dict[str, Node], install: Callable[..., bytes]
):
    # Twice: the first may be found by a check that the run has made due.
    for _ in range(2):
        renewed = install(OWN, state.SITE)
        wait_until("it is served", lambda own=renewed: shown(nodes) == own, RENEWED_SECONDS)
    fetched(nodes)
    wait_until("the standby has it", lambda: shown(nodes, host="rep1") == renewed)
    log = nodes["rep1"].run("journalctl -u benchfleet-standby-certificates.service -o cat")
    assert OWN[1] in log
    assert "PRIVATE KEY" not in log


@served
def test_a_key_of_another_certificate_is_refused_before_anything_is_touched(
    nodes: dict[str, Node], play: Callable[..., Run]
):
    before = shown(nodes)
    other = json.dumps({"router_certificate_key": OWN[1]})
    run = play(*change("served"), "-e", other, fails=True)
    assert f"{OWN[1]} is not the key of {DEFAULT[0]}" in run.output
    assert "Nothing was touched on any host." in run.output
    assert shown(nodes) == before


@asked
def test_a_ca_gives_each_name_that_leads_here_a_certificate(
    nodes: dict[str, Node], setup: Setup, play: Callable[..., Run]
):
    output = setup.run.output
    assert f"{AWAY} has no certificate, and is served by http: " in output
    names = (state.SITE, OTHER, AWAY)
    assert [trusted(nodes, name) for name in names] == [True, True, False], output
    address = nodes["erp1"].host.ip
    answers = {
        name: Visitor(address, 80, name).call("GET", "/api/method/ping").status
        for name in (*names, address)
    }
    assert answers == {state.SITE: 301, OTHER: 301, AWAY: 200, address: 200}
    assert play(*change("asked")).changes == []


@asked
def test_a_name_that_the_site_gets_has_a_certificate_without_a_run(nodes: dict[str, Node]):
    primary = nodes["erp1"]
    bench = "/home/frappe/frappe-bench"
    as_frappe = f"runuser -u frappe -- env -C {bench} bench"
    primary.run(f"{as_frappe} setup add-domain {FURTHER} --site {state.SITE}")
    wait_until("it has a certificate", lambda: trusted(nodes, FURTHER), 2 * RENEWED_SECONDS)
    primary.run(f"{as_frappe} setup remove-domain {FURTHER} --site {state.SITE}")


@asked
def test_what_certbot_renews_is_served_without_a_run(nodes: dict[str, Node]):
    before = shown(nodes)
    words = "--quiet --force-renewal --no-random-sleep-on-renew"
    nodes["erp1"].run(f"certbot renew {words} --cert-name {state.SITE}")
    wait_until("it is served", lambda: shown(nodes) != before, RENEWED_SECONDS)
    assert trusted(nodes, state.SITE)
    fetched(nodes)
    wait_until("the standby has it", lambda: shown(nodes, host="rep1") == shown(nodes))


@asked
def test_each_name_that_browsers_refuse_is_red(
    nodes: dict[str, Node], install: Callable[..., bytes], verify: Callable[..., Checks]
):
    live = "/etc/letsencrypt/live"
    bad = {
        name: install((f"{live}/{name}/fullchain.pem", f"{live}/{name}/privkey.pem"), *about)
        for name, about in {state.SITE: (state.SITE, -1), OTHER: (state.SITE,)}.items()
    }
    for name, one in bad.items():
        wait_until(f"it is served to {name}", lambda n=name, o=one: shown(nodes, n) == o)
    # Otherwise verify would also be red on the standby, for some minutes.
    fetched(nodes)
    for name, one in bad.items():
        wait_until(
            f"the standby shows it to {name}", lambda n=name, o=one: shown(nodes, n, "rep1") == o
        )
    checks = verify(**PHASES["asked"])
    # One cause, so nothing else is red.
    failed = [place for place, check in checks.items() if not check["ok"]]
    assert failed == [("certificates", "erp1")]
    saw = checks["certificates", "erp1"]["saw"]
    for fault in (f"{state.SITE}: [^;]*expired", f"{OTHER}: [^;]*mismatch", f"{AWAY}: "):
        assert re.search(fault, saw), saw
