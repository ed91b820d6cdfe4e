"""Whatever is sent to the router, only routed reports reach a reporting bench.

The demo framework names the method that ran in X-Demo-Method. However a request was disguised, an
answer from a reporting node must have the name of a routed method there.
"""

from __future__ import annotations

import json
import os
import random
import re
import socket
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import pytest
from calls import Somebody
from failures import Field
from nodes import wait_until

from benchfleet.runner import LAB_INVENTORY, ROOT

REQUESTS = 1000
# Requests sent at a time to a router with weaker checks, and how often at most.
ROUND, ROUNDS = 200, 18
SENDERS = 12
ROUTE = "/etc/nginx/benchfleet/route.lua"

RUN = "frappe.desk.query_report.run"
COUNT = "frappe.desk.reportview.get_count"
ROUTED = (COUNT, COUNT, "frappe.desk.reportview.get_list", RUN, "frappe.demo.whoami_read_only")
# Harmless, and answered only by the primary.
OTHERS = ("frappe.ping", "ping", "frappe.demo.whoami", "frappe.auth.get_logged_user", "")
# gunicorn that answers before it has read all of a body can reset the connection, and the answer is
# lost: with or without a router that judges.
UNREAD_BYTES = 100_000
# The router's own answers to requests that are not valid HTTP.
PROTOCOL = (501, 505)
ARGUMENTS = "doctype=ToDo&report_name=ToDo"


@dataclass
class Answer:
    """An answer: the status (0 for none) and the headers, names in lower case."""

    status: int
    headers: dict[str, list[str]]

    def one(self, name: str) -> str:
        """A header that must not come twice; "" without it."""
        return " AND ".join(self.headers.get(name, []))


@dataclass
class Finding:
    """A request with an answer that it must not get."""

    problem: str
    request: bytes
    answer: Answer

    def __str__(self) -> str:
        padded = re.sub(rb"y{20,}", b"yy...", self.request)
        shown = padded if len(padded) < 1600 else padded[:700] + b" ... " + padded[-900:]
        return f"{self.problem} ({self.answer.status})\n  {shown!r}"


class Fuzz:
    """Makes requests from the ways in which a call can be named, and from stranger ones."""

    def __init__(self, seed: int, site: str, cookie: str) -> None:
        self.draw = random.Random(seed)
        self.site = site
        self.cookie = cookie

    def maybe(self, chance: float) -> bool:
        """True with this probability."""
        return self.draw.random() < chance

    def name(self) -> str:
        """A method, mostly a routed one or another real one; sometimes one that is nearly right."""
        name = self.draw.choice(ROUTED if self.maybe(0.6) else OTHERS)
        if self.maybe(0.8) or not name:
            return name
        odd: list[Callable[[str], str]] = [
            str.upper,
            str.title,
            lambda n: n + self.draw.choice(" .\t\n\0;,/#?&=%\\'\""),
            lambda n: self.draw.choice(" .\t\n\0;,/\\") + n,
            lambda n: n.replace(
                ".", self.draw.choice(["..", "/", "%2e", "\uff0e", "-", "\\.", ""]), 1
            ),
            lambda n: n.replace("e", self.draw.choice("\u0435\xe9E"), 1),
            lambda n: f"{n},{self.draw.choice(OTHERS)}",
            lambda n: f"{self.draw.choice(OTHERS)}\r\n{n}",
            lambda n: n[:-1],
            lambda n: n * 2,
        ]
        return self.draw.choice(odd)(name)

    def escaped(self, text: str) -> str:
        """The text for a path or form, with some needless percent-encoding."""
        out = []
        for character in text:
            if self.maybe(0.04):
                code = "".join(f"%{byte:02x}" for byte in character.encode())
                out.append(code.upper() if self.maybe(0.5) else code)
            elif self.maybe(0.003):
                out.append(self.draw.choice(["%", "%zz", "%00", "%u0063", "%c1%ad", "%25", "+"]))
            else:
                out.append(quote(character, safe="/.-_~"))
        return "".join(out)

    def path(self) -> str:
        """The path of a request."""
        kind = self.draw.random()
        if kind < 0.3:
            return "/"
        if kind < 0.36:
            return self.draw.choice(
                ["/app", "/login", "//", "/.", "/./", "/?", "/index", "*", "/%2f", "/api", "/api/"]
            )
        head = self.draw.choice(["/api/method/"] * 5 + ["/api/v1/method/", "/api/v2/method/"])
        if self.maybe(0.12):
            head = self.draw.choice(
                [
                    "/api/v3/method/",
                    "/api//method/",
                    "//api/method/",
                    "/./api/method/",
                    "/api/x/../method/",
                    "/assets/../api/method/",
                    "/api/method/x/../",
                    "/API/method/",
                    "/api/resource/",
                    "/api/method",
                    "/api/method;/",
                    "/api\\method\\",
                    "/x/api/method/",
                    "/%61pi/method/",
                    "/api%2fmethod/",
                    "/api/method/frappe.ping/../",
                    "/socket.io/../api/method/",
                    "/protected/../api/method/",
                    "http://other/api/method/",
                    f"http://{self.site}/api/method/",
                ]
            )
        tail = ""
        if self.maybe(0.1):
            name = self.draw.choice([RUN, "frappe.ping", "x"])
            tail = self.draw.choice(
                ["/", "//", "/x", "/..", f"/../{name}", ";a", "#a", "%20", "%00", "/.", ".json"]
            )
        return head + self.escaped(self.name()) + tail

    def key(self) -> str:
        """The name of the field `cmd`, or nearly."""
        if self.maybe(0.85):
            return self.escaped("cmd")
        return self.draw.choice(
            ["CMD", "Cmd", "cmd[]", " cmd", "cmd ", "cmd%00", "c%6Dd", "x.cmd", "%63md", "_cmd"]
        )

    def fields(self, chance: float) -> str:
        """A query or a form, with no, one or several `cmd`."""
        parts = [ARGUMENTS] if self.maybe(0.7) else []
        while self.maybe(chance):
            form = (
                "{}={}" if self.maybe(0.95) else self.draw.choice(["{}{}", "{}==", "{}", "={}{}"])
            )
            parts.insert(
                self.draw.randint(0, len(parts)), form.format(self.key(), self.escaped(self.name()))
            )
            chance /= 2
        if self.maybe(0.03):
            parts += [f"f{n}=1" for n in range(300)]
            self.draw.shuffle(parts)
        return self.draw.choice(["&"] * 12 + [";", "&&"]).join(parts)

    def multipart(self) -> tuple[str, bytes]:
        """A content type and a multipart body, whole or odd."""
        boundary = self.draw.choice(["b", "--b", "x y", "b" * 300, "=_1"])
        end = b"\r\n" if self.maybe(0.95) else b"\n"
        names = ["cmd"] * (1 + self.maybe(0.3)) + ["doctype", "report_name"]
        self.draw.shuffle(names)
        out = b"" if self.maybe(0.95) else b"before" + end
        for name in names:
            value = self.name() if name == "cmd" else "ToDo"
            head = self.draw.choice(
                ['form-data; name="{}"'] * 9
                + [
                    "form-data; name={}",
                    "form-data; name='{}'",
                    'form-data; filename="a"; name="{}"',
                    'form-data; name="{}"; filename="a"',
                    'form-data; name="x"; name="{}"',
                    "form-data; name*=utf-8''{}",
                    'Form-Data;name="{}"',
                    'attachment; name="{}"',
                ]
            ).format(name)
            out += f"--{boundary}".encode() + end + f"Content-Disposition: {head}".encode() + end
            if self.maybe(0.1):
                other = self.draw.choice(
                    [
                        "Content-Type: text/plain; charset=utf-16",
                        "Content-Transfer-Encoding: base64",
                    ]
                )
                out += other.encode() + end
            out += end + value.encode() + end
        out += f"--{boundary}--".encode() + end * self.maybe(0.8)
        if self.maybe(0.05):
            tail = f'--{boundary}\r\nContent-Disposition: form-data; name="cmd"\r\n\r\nfrappe.ping'
            out += tail.encode()
        quoted = f'"{boundary}"' if self.maybe(0.3) or " " in boundary else boundary
        kind = self.draw.choice(
            ["multipart/form-data; boundary={}"] * 8
            + [
                "Multipart/Form-Data;boundary={}",
                "multipart/form-data; charset=utf-8; boundary={}",
                "multipart/mixed; boundary={}",
                "multipart/form-data; boundary=other; boundary={}",
                "multipart/form-data; xboundary=other; boundary={}",
                "multipart/form-data",
            ]
        )
        return kind.format(quoted), out

    def values(self) -> tuple[str, bytes]:
        """A content type and a JSON body, whole or odd."""
        body: Any = {"doctype": "ToDo", "report_name": "ToDo"}
        if self.maybe(0.7):
            body["cmd"] = self.name()
        text = json.dumps([body] if self.maybe(0.05) else body)
        if self.maybe(0.4):
            text = text.replace(
                '"cmd"', self.draw.choice(['"\\u0063md"', '"c\\u006dd"', '"\\u0063\\u006D\\u0064"'])
            )
        if self.maybe(0.1):
            text = self.draw.choice(["{}", "[]", "null", "", "{", '{"cmd": {"a": 1}}', "\ufeff{}"])
        coding = self.draw.choice(["utf-8"] * 12 + ["utf-16", "utf-32", "utf-7"])
        kind = self.draw.choice(
            ["application/json"] * 6
            + ["application/json; charset=utf-8", "application/x+json", "APPLICATION/JSON"]
            + ["text/plain", "application/json-patch+json"]
        )
        return kind, text.encode(coding)

    def form(self) -> tuple[str, bytes]:
        """A content type and an urlencoded body, whole or odd."""
        kind = self.draw.choice(
            ["application/x-www-form-urlencoded"] * 8
            + [
                "application/x-www-form-urlencoded; charset=utf-16",
                "Application/X-WWW-Form-Urlencoded",
            ]
            + [
                "application/x-www-form-urlencoded;charset=utf-8",
                "application/x-url-encoded",
                "",
                "x",
            ]
        )
        return kind, self.fields(0.8).encode()

    def body(self) -> tuple[str, bytes]:
        """A content type and a body."""
        kind = self.draw.random()
        found = self.form() if kind < 0.4 else self.multipart() if kind < 0.7 else self.values()
        if self.maybe(0.01):
            size = self.draw.choice([16_000, 300_000, 1_200_000])
            padding = b"&x=" if b"=" in found[1] else b" "
            return found[0], found[1] + padding + b"y" * size
        return found

    def request(self) -> bytes:
        """A whole request, as it goes over the wire."""
        method = self.draw.choice(["GET"] * 4 + ["POST"] * 6)
        if self.maybe(0.08):
            method = self.draw.choice(
                ["HEAD", "PUT", "DELETE", "PATCH", "OPTIONS", "get", "Post", "BREW", "TRACE"]
            )
        target = self.path()
        query = self.fields(0.35)
        if query and self.maybe(0.7):
            target += ("?" if self.maybe(0.98) else "%3f") + query
        version = "HTTP/1.1" if self.maybe(0.93) else self.draw.choice(["HTTP/1.0", "HTTP/1.2"])
        # A header's field may hold anything; a request line with blanks would be cut there.
        lines = [f"{method} {target} {version}".replace("\n", "%0a"), f"Host: {self.site}"]
        lines += [f"Cookie: {self.cookie}", *self.odd_headers()]
        content = b""
        if self.maybe(0.85 if method != "GET" else 0.1):
            kind, content = self.body()
            lines += [f"Content-Type: {kind}"] if kind else []
            if self.maybe(0.02):
                lines += ["Content-Type: application/json"]
            content = self.framed(content, lines)
        first, *others = lines
        self.draw.shuffle(others)
        return "\r\n".join([first, *others, "Connection: close"]).encode() + b"\r\n\r\n" + content

    def framed(self, content: bytes, lines: list[str]) -> bytes:
        """The content with its length, or in chunks."""
        if self.maybe(0.85):
            lines.append(f"Content-Length: {len(content)}")
            return content
        lines.append(
            self.draw.choice(["Transfer-Encoding: chunked"] * 9 + ["Transfer-Encoding: x"])
        )
        step = self.draw.choice([1 + len(content) // 3, 65_536])
        pieces = [content[n : n + step] for n in range(0, len(content), step)]
        return b"".join(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces) + b"0\r\n\r\n"

    def odd_headers(self) -> list[str]:
        """Headers that are unusual."""
        return [
            line
            for line in (
                "X-Fleet-Bench: rep1",
                "X-Fleet-Database: rep1",
                "X-Fleet-Report: 1",
                "X-HTTP-Method-Override: PUT",
                "X-Original-URL: /api/method/frappe.ping",
                "X-Rewrite-URL: /api/method/frappe.ping",
                "X-Forwarded-Host: other",
                "Content-Encoding: gzip",
                "Expect: 100-continue",
                "Accept: application/json",
                "Cmd: frappe.ping",
                "X_Under_Score: 1",
                f"X-Long: {'y' * 4000}",
            )
            if self.maybe(0.02)
        ]


def send(address: str, request: bytes) -> Answer:
    """Send a request as it is, and read what comes back."""
    received = b""
    try:
        with socket.create_connection((address, 80), timeout=20) as line:
            # When a request is refused before it is read, the connection is reset.
            with suppress(OSError):
                line.sendall(request)
            while piece := line.recv(65_536):
                received += piece
    except ConnectionError:
        pass
    while received.startswith(b"HTTP/1.1 100"):
        received = received.partition(b"\r\n\r\n")[2]
    head, _, _ = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    headers: dict[str, list[str]] = {}
    for text in lines:
        name, _, value = text.partition(":")
        headers.setdefault(name.lower(), []).append(value.strip())
    words = first.split()
    return Answer(int(words[1]) if len(words) > 1 and words[1].isdigit() else 0, headers)


def problem(request: bytes, answer: Answer, nodes: set[str], routed: set[str]) -> str | None:
    """What is wrong with the answer to a request, None when nothing is."""
    ran = answer.one("x-demo-method")
    # A bench refuses a body that it cannot read before it looks at the method.
    unread = ran == "none" and answer.status == 400
    if answer.one("x-fleet-bench") in nodes and ran not in routed and not unread:
        return f"a reporting bench ran {ran or 'what it does not name'}"
    lost = answer.status == 502 and len(request) > UNREAD_BYTES
    if answer.status >= 500 and not ran and answer.status not in PROTOCOL and not lost:
        return "the router failed"
    if len(answer.headers.get("x-fleet-bench", [])) > 1:
        return "two benches are named"
    return None


@dataclass
class Fuzzed:
    """The results of many requests."""

    findings: list[Finding]
    benches: Counter[str]
    statuses: Counter[int]
    seconds: float


@pytest.fixture(scope="module")
def routed() -> set[str]:
    """The methods that go to the reporting benches, by ./fleet routes."""
    words = [str(ROOT / "fleet"), "routes", "-i", str(LAB_INVENTORY), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["routes"]
    return {row["method"] for row in rows if row["bench"] == "reporting"}


@pytest.fixture
def fuzz(field: Field, somebody: Somebody, routed: set[str]) -> Callable[[int, int], Fuzzed]:
    """Send that many requests of that seed."""
    nodes = {field.node.name, *(node.name for node in field.others)}
    cookie = "; ".join(f"{name}={value}" for name, value in somebody.visitor.cookies.items())
    address = somebody.address

    def run(seed: int, count: int) -> Fuzzed:
        maker = Fuzz(seed, field.site, cookie)
        requests = [maker.request() for _ in range(count)]
        begun = time.monotonic()
        with ThreadPoolExecutor(SENDERS) as senders:
            answers = list(senders.map(lambda request: send(address, request), requests))
        findings = [
            Finding(words, request, answer)
            for request, answer in zip(requests, answers, strict=True)
            if (words := problem(request, answer, nodes, routed))
        ]
        benches = Counter(answer.one("x-fleet-bench") for answer in answers)
        statuses = Counter(answer.status for answer in answers)
        return Fuzzed(findings, benches, statuses, time.monotonic() - begun)

    return run


def told(seed: int, fuzzed: Fuzzed) -> str:
    """The seed and the findings of a fuzz, with which it can be repeated."""
    shown = "\n".join(str(finding) for finding in fuzzed.findings[:5])
    return (
        f"BENCHFLEET_FUZZ_SEED={seed}: {sum(fuzzed.statuses.values())} requests in"
        f" {fuzzed.seconds:.0f} s, benches {dict(fuzzed.benches)}, statuses"
        f" {dict(fuzzed.statuses)}, {len(fuzzed.findings)} findings\n{shown}"
    )


@pytest.fixture
def seed() -> int:
    """BENCHFLEET_FUZZ_SEED, or another one each time."""
    return int(os.environ.get("BENCHFLEET_FUZZ_SEED") or random.randrange(10**9))


def test_what_is_no_routed_report_reaches_no_reporting_bench(
    seed: int, field: Field, fuzz: Callable[[int, int], Fuzzed]
):
    fuzzed = fuzz(seed, REQUESTS)
    print(told(seed, fuzzed))
    assert not fuzzed.findings, told(seed, fuzzed)
    # Both nodes and the primary must have answered some, or the test proves nothing. On a busy
    # machine, nodes have fewer free processes, and the primary answers more of the light calls.
    for host in (field.primary, field.node, *field.others):
        assert fuzzed.benches[host.name] > REQUESTS / 50


def reload(field: Field) -> None:
    """Make the router reload its files, and wait until no worker uses the old ones."""

    def workers() -> set[str]:
        return set(field.primary.run("pgrep --full '^nginx: worker'").split())

    before = workers()
    field.primary.run("systemctl reload nginx")
    wait_until("the router's workers are new ones", lambda: not before & workers())


@contextmanager
def looser_router(field: Field, strict: str, loose: str) -> Iterator[None]:
    """The router with weaker checks."""
    kept = field.primary.run(f"cat {ROUTE}")
    assert strict in kept
    try:
        field.primary.run(
            f"cp -p {ROUTE} {ROUTE}.kept && python3 -c 'import sys; p, a, b = sys.argv[1:];"
            ' s = open(p).read().replace(a, b); open(p, "w").write(s)\''
            f" {ROUTE} '{strict}' '{loose}'"
        )
        reload(field)
        yield
    finally:
        field.primary.run(f"mv {ROUTE}.kept {ROUTE}")
        reload(field)


@pytest.mark.parametrize(
    ("strict", "loose"),
    [
        ("return so_far ~= false and is_report(method)", "return so_far or is_report(method)"),
        ("verdict = judge_body(verdict)", "verdict = verdict"),
        ('ngx.var.uri == "/" or text:find("cmd", 1, true)', 'ngx.var.uri == "/"'),
    ],
    ids=["one report is enough", "bodies are not read", "JSON is not looked at"],
)
def test_a_looser_router_is_found_out(
    seed: int, strict: str, loose: str, field: Field, fuzz: Callable[[int, int], Fuzzed]
):
    found: list[Finding] = []
    with looser_router(field, strict, loose):
        for round_seed in range(seed, seed + ROUNDS):
            fuzzed = fuzz(round_seed, ROUND)
            found += [f for f in fuzzed.findings if "a reporting bench ran" in f.problem]
            if found:
                print(told(round_seed, fuzzed))
                break
    assert found
