"""The router's certificates: which one each name is served with, and those requested from a CA.

They are requested by ACME (RFC 8555) with Debian's certbot, which also renews them: one certificate
for each name, so that a name whose address leads elsewhere does not delay others. A name without a
certificate is served by plain http.

Modules that only a request needs are imported in the functions: the timer of the sites checks for
missing certificates every 15 s, and nearly always finds none.
"""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import atomic

CERTBOT = "/usr/bin/certbot"
# certbot's own folder.
FOLDER = "/etc/letsencrypt"
STATE = "certificates.json"
# Let's Encrypt allows five failures of a name in an hour; the wait doubles after each failure.
FIRST_SECONDS, LAST_SECONDS = 3600, 86400
# Another certbot, such as Debian's timer, has ended by then.
BUSY, BUSY_SECONDS = "Another instance of Certbot is already running", 120
CERTBOT_SECONDS = 300
LOCK_SECONDS = 1800

# Options on certificates of the module nginx_files, and in the settings of the sites' timer.
OPTIONS: dict[str, dict[str, Any]] = {
    "certificates": {"type": "list", "elements": "dict", "default": []},
    "acme": {
        "type": "dict",
        "required": True,
        "options": {
            "email": {"type": "str", "required": True},
            "server": {"type": "str", "required": True},
            "webroot": {"type": "path", "required": True},
            "environment": {"type": "dict", "default": {}},
        },
    },
}


def certificate_trouble(certificate: str, key: str) -> str:
    """Why nginx would refuse a certificate and its private key; "" where it accepts them."""
    import ssl

    for path in (certificate, key):
        try:
            with open(path, "rb"):
                pass
        except OSError as error:
            return f"{path} cannot be read: {error.strerror}"
    try:
        # With an empty password: nginx could not ask for the password of a key when it starts.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, lambda: "")
    except (ssl.SSLError, ValueError) as error:
        reason = getattr(error, "reason", None) or str(error)
        if reason == "KEY_VALUES_MISMATCH":
            return f"{key} is not the key of {certificate}"
        return (
            f"{certificate} and {key} are not a certificate and its key without a password"
            f" ({reason})"
        )
    return ""


def is_public(name: str) -> bool:
    """Whether a CA can issue a certificate for a name: it has a dot, and is not an address."""
    import ipaddress

    try:
        ipaddress.ip_address(name)
    except ValueError:
        return "." in name
    return False


@dataclass(frozen=True)
class Certificates:
    """Finds the certificate for a name.

    named: certificates of the inventory, {site, certificate, key} each; site is "" for the one of
    all other sites. acme: whether names without one get theirs from a CA. folder: certbot's.
    """

    named: Iterable[Mapping[str, str]]
    acme: bool
    folder: str = FOLDER

    @classmethod
    def by(cls, settings: Mapping[str, Any], folder: str = FOLDER) -> Certificates:
        """The certificates by settings of the form of OPTIONS."""
        return cls(settings["certificates"], bool(settings["acme"]["email"]), folder)

    def of(self, site: str, name: str) -> tuple[str, str] | None:
        """Certificate and key for a name of a site; None where it is served by http."""
        pairs = {entry["site"]: (entry["certificate"], entry["key"]) for entry in self.named}
        for wanted in (site, ""):
            if wanted in pairs:
                return pairs[wanted]
        pair = self.asked(name.lower())
        return pair if self.acme and not certificate_trouble(*pair) else None

    def asked(self, name: str) -> tuple[str, str]:
        """Where certbot keeps certificate and key for a name."""
        live = f"{self.folder}/live/{name}"
        return f"{live}/fullchain.pem", f"{live}/privkey.pem"

    def files(self, sites: Mapping[str, Iterable[str]]) -> list[str]:
        """The files that nginx reads for sites and their further names, each once."""
        named = [path for entry in self.named for path in (entry["certificate"], entry["key"])]
        asked = [path for name in self.wanted(sites) for path in self.asked(name)]
        return list(dict.fromkeys(named + asked))

    def wanted(self, sites: Mapping[str, Iterable[str]]) -> list[str]:
        """The names, of sites and their further names, that need a certificate of a CA."""
        own = {entry["site"] for entry in self.named}
        if not self.acme or "" in own:
            return []
        names = [name for site in sites if site not in own for name in (site, *sites[site])]
        return sorted({name.lower() for name in names if is_public(name)})


@dataclass
class Asking:
    """Requests missing certificates from the CA. settings: of the form of OPTIONS.

    made: the names that got one; failed: the reasons for others.
    """

    settings: Mapping[str, Any]
    state_dir: str
    folder: str = FOLDER
    made: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def certificates(self) -> Certificates:
        """All of the router's certificates."""
        return Certificates.by(self.settings, self.folder)

    def missing(self, sites: Mapping[str, Iterable[str]]) -> list[str]:
        """Names without a certificate of the CA that the inventory names."""
        known = self.certificates
        return [
            name
            for name in known.wanted(sites)
            if certificate_trouble(*known.asked(name)) or not self.is_of_this_server(name)
        ]

    def is_of_this_server(self, name: str) -> bool:
        """Whether certbot renews a name's certificate at the CA that the inventory names."""
        try:
            noted = Path(self.folder, "renewal", f"{name}.conf").read_text(encoding="utf-8")
        except FileNotFoundError:
            return False
        found = re.search(r"^server\s*=\s*(\S+)", noted, re.MULTILINE)
        return found is not None and found[1] == self.settings["acme"]["server"]

    def due(self, sites: Mapping[str, Iterable[str]]) -> bool:
        """Whether a certificate is to be requested now; if not, notes when to check again."""
        state, today = read_asked(self.state_dir), time.time()
        missing = self.missing(sites)
        if any(state["failed"].get(name, {"again": 0})["again"] < today for name in missing):
            return True
        if state["again"] < today:
            self.keep({}, today)
        return False

    def keep(self, failed: Mapping[str, dict[str, Any]], today: float) -> None:
        """Write which names failed, and when the next check is due."""
        again = min([entry["again"] for entry in failed.values()], default=today + LAST_SECONDS)
        text = json.dumps({"failed": failed, "again": again}, indent=1, sort_keys=True) + "\n"
        atomic.write(f"{self.state_dir}/{STATE}", text, 0o644)

    def ask(self, sites: Mapping[str, Iterable[str]], now: bool) -> None:
        """Request what is missing, one at a time. now: also for names that failed a moment ago.

        Raises BenchError when another run requests certificates for longer than half an hour.
        """
        from ..bench.account import exclusive

        with exclusive(f"{self.state_dir}/certificates.lock", LOCK_SECONDS):
            self.ask_each(self.missing(sites), now)

    def ask_each(self, names: list[str], now: bool) -> None:
        """Request the certificates of names."""
        state, today = read_asked(self.state_dir), time.time()
        failed = {}
        for name in names:
            before = state["failed"].get(name)
            if before and not now and before["again"] > today:
                failed[name] = before
            elif why := self.certbot(name):
                tries = before["tries"] + 1 if before else 1
                wait = min(FIRST_SECONDS * 2 ** (tries - 1), LAST_SECONDS)
                failed[name] = {"why": why, "tries": tries, "again": today + wait}
            else:
                self.made.append(name)
        self.failed = {name: entry["why"] for name, entry in failed.items()}
        self.keep(failed, today)

    def certbot(self, name: str) -> str:
        """Request one name's certificate; returns why it failed, "" when it was issued."""
        import subprocess

        acme = self.settings["acme"]
        command = [CERTBOT, "certonly", "--non-interactive", "--agree-tos", "--no-eff-email"]
        command += [
            "--email",
            acme["email"],
            "--server",
            acme["server"],
            "--config-dir",
            self.folder,
        ]
        command += ["--webroot", "--webroot-path", acme["webroot"], "--cert-name", name, "-d", name]
        # Also replaces a certificate of another CA, or one that does not fit its key.
        command += ["--force-renewal", "--renew-with-new-domains"]
        environment = {**os.environ, **acme["environment"]}
        end = time.monotonic() + BUSY_SECONDS
        while True:
            try:
                done = subprocess.run(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.STDOUT,
                    text=True,
                    check=False,
                    timeout=CERTBOT_SECONDS,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                return str(error)
            if BUSY not in done.stdout or time.monotonic() > end:
                break
            time.sleep(2)
        return "" if done.returncode == 0 else reason(done.stdout)


# Lines of certbot that every failure has.
WITHOUT_REASON = ("Saving debug log", "Ask for help", "See the logfile")


def reason(output: str) -> str:
    """The error in certbot's output: the CA's detail on the name, or else certbot's own message."""
    details = re.findall(r"^\s*Detail:\s*(.+)$", output, re.M)
    own = " ".join(line for line in output.splitlines() if not line.startswith(WITHOUT_REASON))
    return " ".join((details[0] if details else own).split()) or "certbot wrote nothing"


def read_asked(state_dir: str) -> dict[str, Any]:
    """The result of the last requests: {failed: {name: {why, tries, again}}, again}.

    ``again``: when the next request is due, in seconds since the epoch.
    """
    try:
        state = json.loads(Path(state_dir, STATE).read_text(encoding="utf-8"))
        return {"failed": dict(state["failed"]), "again": float(state["again"])}
    except (OSError, ValueError, KeyError, TypeError):
        return {"failed": {}, "again": 0.0}
