"""How verify looks at a host from outside its roles: processes, sockets, HTTP, Redis."""

from __future__ import annotations

import contextlib
import http.client
import http.cookies
import ipaddress
import json
import os
import re
import socket
import ssl
import subprocess
import time
import urllib.parse
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NoReturn

LISTENING = "0A"
# Units of ours that each host of a role has, beside those that are there for a while only.
UNITS = {
    "primary": ("benchfleet-firewall.service", "benchfleet-sites.timer"),
    "reporting": ("benchfleet-files.socket", "benchfleet-firewall.service"),
}
UNIT_FACTS = (
    *("Id", "LoadState", "ActiveState", "UnitFileState", "Result"),
    "InactiveExitTimestampMonotonic",
)
# What a unit may take to start; its own time-out, which ends it, is twice as long.
START_SECONDS = 300


@dataclass(frozen=True)
class Process:
    """A process: ``words`` is its command line, or the title it gave itself."""

    pid: int
    parent: int
    folder: str
    words: tuple[str, ...]


def processes(folder: str = "/proc") -> list[Process]:
    """All processes of this host; those that end meanwhile are left out."""
    found = []
    for name in filter(str.isdigit, os.listdir(folder)):
        try:
            with open(f"{folder}/{name}/cmdline", "rb") as source:
                words = tuple(
                    part for part in source.read().decode(errors="replace").split("\0") if part
                )
            with open(f"{folder}/{name}/stat", encoding="utf-8", errors="replace") as source:
                # The second field, the name, may hold blanks and brackets itself.
                parent = int(source.read().rpartition(")")[2].split()[1])
            place = os.readlink(f"{folder}/{name}/cwd")
        except OSError:
            continue
        if words:
            found.append(Process(int(name), parent, place, words))
    return found


def of_bench(found: Iterable[Process], bench: str) -> list[Process]:
    """Processes that work in a bench's folder or name it."""
    inside = f"{bench}/"
    return [
        process
        for process in found
        if f"{process.folder}/".startswith(inside) or any(inside in word for word in process.words)
    ]


def _runs(process: Process, command: str) -> bool:
    """Whether this is ``bench COMMAND``, in whichever form it shows."""
    words = process.words
    if command not in words[1:]:
        return False
    helpers = ("frappe.utils.bench_helper", "benchfleet_guard")
    helper = any(name in word for word in words for name in helpers)
    return helper or any(os.path.basename(word) == "bench" for word in words[:2])


def schedulers(found: Iterable[Process]) -> list[Process]:
    """Processes that put scheduled jobs onto the queue; a worker pool holds a scheduler, too."""
    own = [p for p in found if _runs(p, "schedule") or _runs(p, "worker-pool")]
    pids = {process.pid for process in own}
    return [process for process in own if process.parent not in pids]


def background_workers(found: Iterable[Process]) -> list[Process]:
    """Background workers, without the processes that they start for each job."""
    own = [p for p in found if p.words[0].startswith("rq:worker:") or _runs(p, "worker")]
    pids = {process.pid for process in own}
    return [process for process in own if process.parent not in pids]


def unit_problems(text: str, wanted: Iterable[str], now: float) -> dict[str, str]:
    """What is wrong with units of systemd, by their names; {} where all is well.

    text: UNIT_FACTS of each, as ``systemctl show`` writes them. wanted: those that have to be there
    and active; of others only failures and hangs are told. now: seconds since boot.
    """
    parts = (line.splitlines() for line in text.strip().split("\n\n"))
    units = [dict(line.split("=", 1) for line in part if "=" in line) for part in parts]
    states = {unit["Id"]: unit for unit in units if unit.get("LoadState") == "loaded"}
    found = {name: "is not there" for name in wanted if name not in states}
    for name, unit in states.items():
        active = unit.get("ActiveState", "")
        since = now - int(unit.get("InactiveExitTimestampMonotonic") or 0) / 1e6
        switched_on = name in wanted or unit.get("UnitFileState") == "enabled"
        if active == "failed":
            found[name] = f"has failed ({unit.get('Result')})"
        elif active == "activating" and since > START_SECONDS:
            found[name] = f"has been starting for {since:.0f} s"
        elif switched_on and active not in ("active", "activating", "reloading"):
            found[name] = f"is {active}"
    return dict(sorted(found.items()))


def unit_troubles(wanted: Iterable[str]) -> dict[str, str]:
    """The same of all units of ours on this host, as systemd knows them now."""
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}

    def ask(*words: str) -> str:
        return subprocess.run(
            ["systemctl", *words],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=30,
        ).stdout

    loaded = ask("list-units", "--all", "--plain", "--no-legend", "benchfleet-*").splitlines()
    names = {line.split()[0] for line in loaded if line.strip()} | set(wanted)
    facts = ask("show", "--property", ",".join(UNIT_FACTS), *sorted(names))
    return unit_problems(facts, wanted, time.clock_gettime(time.CLOCK_MONOTONIC))


def web_workers(found: Iterable[Process]) -> list[Process]:
    """gunicorn's workers, without the process that watches over them.

    Where Frappe's own application runs, guarded workers beside it are the primary's report pool.
    """
    servers = [p for p in found if any("gunicorn" in word for word in p.words)]
    applications = ("frappe.app:application", "benchfleet_guard.wsgi:application")
    kinds = ([p for p in servers if any(name in w for w in p.words)] for name in applications)
    own = next((kind for kind in kinds if kind), [])
    pids = {process.pid for process in own}
    return [process for process in own if process.parent in pids]


def kernel_address(text: str) -> str:
    """An address as /proc/net/tcp and tcp6 write it: words of four bytes in the host's order."""
    raw = bytes.fromhex(text)
    words = [raw[n : n + 4][::-1] for n in range(0, len(raw), 4)]
    address = ipaddress.ip_address(b"".join(words))
    mapped = getattr(address, "ipv4_mapped", None)
    return str(mapped or address)


def listening(ports: Iterable[int], tables: Iterable[str] | None = None) -> dict[int, list[str]]:
    """Addresses on which somebody listens, for each of these TCP ports."""
    if tables is None:
        tables = []
        for path in ("/proc/net/tcp", "/proc/net/tcp6"):
            try:
                with open(path, encoding="ascii") as source:
                    tables.append(source.read())
            except OSError:
                continue
    found: dict[int, list[str]] = {port: [] for port in ports}
    for table in tables:
        for line in table.splitlines()[1:]:
            fields = line.split()
            if len(fields) < 4 or fields[3] != LISTENING:
                continue
            address, _, port = fields[1].partition(":")
            if int(port, 16) in found:
                found[int(port, 16)].append(kernel_address(address))
    return {port: sorted(set(addresses)) for port, addresses in found.items()}


@dataclass
class Answer:
    """What a bench answered."""

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
        """The host whose bench answered, as the router says."""
        return self.headers.get("x-fleet-bench", "")

    def said(self) -> str:
        """The answer in a few words, for a message."""
        body = self.body
        words = body.get("exception") or body.get("message") or self.text
        return f"HTTP {self.status}: {' '.join(str(words).split())[:200]}"


class HTTPSByName(http.client.HTTPSConnection):
    """HTTPS at an address that is asked for a site by name; the certificate proves nothing here."""

    def __init__(self, address: str, port: int, name: str, timeout: float) -> None:
        super().__init__(address, port, timeout=timeout)
        self.name = name

    def connect(self) -> None:
        """Connect to the address, and name the site before the certificate is sent."""
        http.client.HTTPConnection.connect(self)
        context = ssl._create_unverified_context()
        self.sock = context.wrap_socket(self.sock, server_hostname=self.name)


def first_certificate(path: str) -> bytes:
    """The certificate, in DER, that a file begins with. Raises OSError, ValueError."""
    begin, end = "-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"
    with open(path, encoding="ascii", errors="replace") as file:
        _, _, text = file.read().partition(begin)
    return ssl.PEM_cert_to_DER_cert(begin + text.partition(end)[0] + end)


def shown_certificate(address: str, port: int, name: str, timeout: float = 10) -> bytes:
    """The certificate, in DER, that a server shows who asks for a name. Raises OSError."""
    context = ssl._create_unverified_context()
    with (
        socket.create_connection((address, port), timeout=timeout) as plain,
        context.wrap_socket(plain, server_hostname=name) as secure,
    ):
        return secure.getpeercert(binary_form=True) or b""


def certificate_fault(shown: bytes, address: str, port: int, name: str, timeout: float = 10) -> str:
    """What browsers would say against a server's certificate but who signed it; "" for nothing.

    shown: that certificate, see shown_certificate. Raises OSError where the server cannot be asked.
    """
    context = ssl.create_default_context(cadata=ssl.DER_cert_to_PEM_cert(shown))
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        with (
            socket.create_connection((address, port), timeout=timeout) as plain,
            context.wrap_socket(plain, server_hostname=name),
        ):
            return ""
    except ssl.SSLCertVerificationError as error:
        return error.verify_message


def router_port(router: dict[str, Any], site: str, timeout: float = 10) -> tuple[int, bool]:
    """The port at which the router serves a site, and whether by https: where http leads there.

    router: its ``address``, and its ports ``http`` and ``https``. Raises OSError.
    """
    connection = http.client.HTTPConnection(router["address"], int(router["http"]), timeout=timeout)
    try:
        connection.request("HEAD", "/api/method/ping", headers={"Host": site})
        answer = connection.getresponse()
        secure = answer.status == 301 and str(answer.getheader("Location")).startswith("https://")
    finally:
        connection.close()
    return int(router["https" if secure else "http"]), secure


@dataclass
class Visitor:
    """Somebody who calls a site, at the router or at a bench directly."""

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
            # What ended the visit is worth more than that the session could not be ended.
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
        """Who the site thinks is calling; "" for nobody who is signed in."""
        answer = self.call("GET", "/api/method/frappe.auth.get_logged_user")
        if answer.status in (401, 403):
            return ""
        if answer.status != 200:
            raise AssertionError(f"{self.address}:{self.port} answers {answer.said()}")
        name = str(answer.body.get("message") or "")
        return "" if name == "Guest" else name

    def sign_out(self) -> None:
        """End the session; the cookies stay, to be shown to be worth nothing."""
        self.call("POST", "/api/method/logout", form={})
        self.signed_in = False

    def at(self, address: str, port: int, tls: bool = False) -> Visitor:
        """The same visitor with the same cookies, at another address."""
        return Visitor(address, port, self.site, tls, self.timeout, dict(self.cookies))


class RedisError(Exception):
    """Redis answered with an error."""


class Redis:
    """A connection to Redis that knows what verify needs: no library for it is on the hosts."""

    def __init__(
        self, address: str, port: int, password: str | None = None, user: str | None = None
    ) -> None:
        self.socket = socket.create_connection((address, port), timeout=5)
        self.source = self.socket.makefile("rb")
        if password:
            self.ask("AUTH", *([user] if user else []), password)

    def __enter__(self) -> Redis:
        return self

    def __exit__(self, *_: Any) -> None:
        self.source.close()
        self.socket.close()

    def ask(self, *words: str) -> Any:
        """Send a command and return its answer. Raises RedisError for an error of Redis' own."""
        parts = [word.encode() for word in words]
        request = b"*%d\r\n" % len(parts)
        request += b"".join(b"$%d\r\n%s\r\n" % (len(part), part) for part in parts)
        self.socket.sendall(request)
        return self._answer()

    def write_down(self, seconds: float = 60.0) -> None:
        """Have all data on Redis' disk, which else has it now and then. Raises RedisError.

        An append-only Redis loads its changes and nothing else: it writes these anew.
        """
        self.socket.settimeout(seconds)
        deadline = time.monotonic() + seconds
        appends = "aof_enabled:1" in self.ask("INFO", "persistence")
        while True:
            try:
                self.ask("BGREWRITEAOF" if appends else "SAVE")
                break
            except RedisError as error:
                if "in progress" not in str(error) or time.monotonic() > deadline:
                    self._not_written(str(error), error)
                time.sleep(0.2)
        while appends:
            said = self.ask("INFO", "persistence")
            if not re.search(r"aof_rewrite_(in_progress|scheduled):1", said):
                if "aof_last_bgrewrite_status:ok" not in said:
                    self._not_written("aof_last_bgrewrite_status is not ok")
                return
            if time.monotonic() > deadline:
                self._not_written(f"not within {seconds:.0f} s")
            time.sleep(0.05)

    @staticmethod
    def _not_written(words: str, cause: Exception | None = None) -> NoReturn:
        raise RedisError(
            f"Redis cannot write its data down ({words}); see its log, and the room on its disk"
        ) from cause

    def _answer(self) -> Any:
        line = self.source.readline()
        if not line.endswith(b"\r\n"):
            raise RedisError("Redis closed the connection")
        kind, rest = line[:1], line[1:-2].decode(errors="replace")
        if kind == b"-":
            raise RedisError(rest)
        if kind == b":":
            return int(rest)
        if kind == b"$":
            return (
                None
                if rest == "-1"
                else self.source.read(int(rest) + 2)[:-2].decode(errors="replace")
            )
        if kind == b"*":
            return [self._answer() for _ in range(max(int(rest), 0))]
        return rest


def registered_workers(redis: Redis) -> list[dict[str, Any]]:
    """Background workers as they registered themselves: {name, host, queues, done}."""
    found = []
    for key in redis.ask("SMEMBERS", "rq:workers") or []:
        host, queues, done = redis.ask("HMGET", key, "hostname", "queues", "successful_job_count")
        if queues:
            found.append(
                {"name": key, "host": host, "queues": queues.split(","), "done": int(done or 0)}
            )
    return found


def refuses(address: str, port: int, seconds: float = 2.0) -> str:
    """How an address keeps us out, "" when it lets us connect."""
    try:
        socket.create_connection((address, port), timeout=seconds).close()
    except TimeoutError:
        return "no answer"
    except ConnectionRefusedError:
        return "refused"
    except OSError as error:
        return (error.strerror or str(error)).lower()
    return ""


def source_address(address: str) -> str:
    """The address of ours from which we would call another one, "" without a way to it."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            # Nothing is sent: a datagram socket only looks the route up.
            probe.connect((address, 9))
        except OSError:
            return ""
        return str(probe.getsockname()[0])
