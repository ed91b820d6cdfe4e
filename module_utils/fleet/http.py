"""A client for HTTP that calls a site as a browser does, at the router or at a bench."""

from __future__ import annotations

import contextlib
import http.client
import http.cookies
import json
import socket
import ssl
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

# A report that every Frappe has.
REPORT = "/api/method/frappe.desk.query_report.run?report_name=ToDo"


@dataclass
class Answer:
    """The answer of a bench."""

    status: int
    headers: dict[str, str]
    text: str

    @property
    def body(self) -> dict[str, Any]:
        """The answer's JSON object, {} when it is none."""
        try:
            found = json.loads(self.text)
        except ValueError:
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The documents of a list call, [] for every other answer."""
        found = self.body.get("data")
        return [row for row in found if "name" in row] if isinstance(found, list) else []

    @property
    def bench(self) -> str:
        """The host whose bench answered, from the router's header."""
        return self.headers.get("x-fleet-bench", "")

    def said(self) -> str:
        """The answer in a few words, for a message."""
        body = self.body
        message = body.get("exception") or body.get("message") or self.text
        return f"HTTP {self.status}: {' '.join(str(message).split())[:200]}"


class HTTPSByName(http.client.HTTPSConnection):
    """HTTPS to an address for a site's name; the certificate is not verified."""

    def __init__(self, address: str, port: int, name: str, timeout: float) -> None:
        super().__init__(address, port, timeout=timeout)
        self.name = name

    def connect(self) -> None:
        """Connect to the address, and send the site's name in the TLS handshake."""
        http.client.HTTPConnection.connect(self)
        context = ssl._create_unverified_context()
        self.sock = context.wrap_socket(self.sock, server_hostname=self.name)


def router_port(router: dict[str, Any], site: str) -> tuple[int, bool]:
    """The port at which the router serves a site, and whether by https: if http redirects there.

    router: its ``address``, and its ports ``http`` and ``https``. Raises OSError.
    """
    connection = http.client.HTTPConnection(router["address"], int(router["http"]), timeout=10)
    try:
        connection.request("HEAD", "/api/method/ping", headers={"Host": site})
        answer = connection.getresponse()
        secure = answer.status == 301 and str(answer.getheader("Location")).startswith("https://")
    finally:
        connection.close()
    return int(router["https" if secure else "http"]), secure


@dataclass
class Visitor:
    """A browser that calls a site, at the router or directly at a bench."""

    address: str
    port: int
    site: str
    tls: bool = False
    timeout: float = 30.0
    cookies: dict[str, str] = field(default_factory=dict)
    signed_in: bool = False

    def __enter__(self) -> Visitor:
        return self

    def __exit__(self, *_: Any) -> None:
        if self.signed_in:
            # An error of the block matters more than one of this call.
            with contextlib.suppress(OSError, http.client.HTTPException):
                self.sign_out()

    def _connection(self) -> http.client.HTTPConnection:
        if not self.tls:
            return http.client.HTTPConnection(self.address, self.port, timeout=self.timeout)
        return HTTPSByName(self.address, self.port, self.site, self.timeout)

    def call(
        self,
        method: str,
        path: str,
        form: dict[str, Any] | None = None,
        values: dict[str, Any] | None = None,
    ) -> Answer:
        """Call the site; ``form`` is sent as a form, ``values`` as JSON. Raises OSError."""
        headers = {"Host": self.site, "Accept": "application/json"}
        content = None
        if form is not None:
            content = urllib.parse.urlencode(form)
            headers["Content-Type"] = "application/x-www-form-urlencoded"
        elif values is not None:
            content = json.dumps(values)
            headers["Content-Type"] = "application/json"
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{name}={text}" for name, text in self.cookies.items())
        connection = self._connection()
        try:
            connection.request(method, urllib.parse.quote(path, safe="/?&=%+"), content, headers)
            answer = connection.getresponse()
            text = answer.read().decode(errors="replace")
        finally:
            connection.close()
        for value in answer.headers.get_all("Set-Cookie") or []:
            for name, morsel in http.cookies.SimpleCookie(value).items():
                self.cookies[name] = morsel.value
        known = {name.lower(): value for name, value in answer.headers.items()}
        return Answer(answer.status, known, text)

    def sign_in(self, user: str, password: str) -> str:
        """Sign in; returns the session's id. Raises AssertionError with the answer when refused."""
        answer = self.call("POST", "/api/method/login", form={"usr": user, "pwd": password})
        sid = self.cookies.get("sid", "")
        if answer.status != 200 or sid in ("", "Guest"):
            raise AssertionError(
                f"{self.address}:{self.port} does not sign {user} in: {answer.said()}"
            )
        self.signed_in = True
        return sid

    def user(self) -> str:
        """The signed-in user, as the site sees it; "" for none."""
        answer = self.call("GET", "/api/method/frappe.auth.get_logged_user")
        if answer.status in (401, 403):
            return ""
        if answer.status != 200:
            raise AssertionError(f"{self.address}:{self.port} answers {answer.said()}")
        name = str(answer.body.get("message") or "")
        return "" if name == "Guest" else name

    def sign_out(self) -> None:
        """End the session; the cookies stay, so that a test can show that they no longer work."""
        self.call("POST", "/api/method/logout", form={})
        self.signed_in = False

    def at(self, address: str, port: int, tls: bool = False) -> Visitor:
        """The same visitor with the same cookies, at another address."""
        return Visitor(address, port, self.site, tls, self.timeout, dict(self.cookies))


@contextlib.contextmanager
def secured(
    context: ssl.SSLContext, address: str, port: int, name: str, timeout: float
) -> Iterator[ssl.SSLSocket]:
    """A TLS connection to a server, with a name. Raises OSError."""
    with (
        socket.create_connection((address, port), timeout=timeout) as plain,
        context.wrap_socket(plain, server_hostname=name) as secure,
    ):
        yield secure


def shown_certificate(address: str, port: int, name: str, timeout: float = 10) -> bytes:
    """The certificate, in DER, that a server sends for a name. Raises OSError."""
    with secured(ssl._create_unverified_context(), address, port, name, timeout) as connection:
        return connection.getpeercert(binary_form=True) or b""


def first_certificate(path: str) -> bytes:
    """The certificate, in DER, that a file begins with. Raises OSError, ValueError."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    with open(path, encoding="ascii", errors="replace") as file:
        _, _, text = file.read().partition(begin)
    return ssl.PEM_cert_to_DER_cert(begin + text.partition(end)[0] + end)


def certificate_fault(shown: bytes, address: str, port: int, name: str, timeout: float = 10) -> str:
    """Why browsers would refuse a server's certificate, apart from its CA; "" where they would not.

    shown: that certificate, see shown_certificate. Raises OSError where the server is unreachable.
    """
    context = ssl.create_default_context(cadata=ssl.DER_cert_to_PEM_cert(shown))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        with secured(context, address, port, name, timeout):
            return ""
    except ssl.SSLCertVerificationError as error:
        return error.verify_message
