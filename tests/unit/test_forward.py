"""A router passes its calls on while the forward file is there: two real routers on loopback.

erp1 is the primary, rep1 its standby; each has a bench of its own. A call's number is in its path,
so that it is known which bench got it, and how often.
"""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from fleet import calls, forward, record
from fleet.status import host
from fleet.verify.reporting import Reporting

from library import forward as module
from tests import nginx
from tests.nginx import Router, free_port, wait_for
from tests.unit.test_verify_hosts import arguments

pytestmark = pytest.mark.skipif(bool(nginx.MISSING), reason=nginx.MISSING)
SITE = "erp.test"
# The two routers, a user, a proxy of the operator's.
ERP, REP, USER, PROXY = "127.0.0.2", "127.0.0.3", "127.0.0.9", "127.0.0.8"
HOSTS = {"erp1": ERP, "rep1": REP}
REPORT = "frappe.desk.query_report.run"
PASSED = "X-Fleet-Forwarded"
METHODS = ("GET", "POST")
NOWHERE: dict[str, Any] = {"host": None, "troubles": []}


class Bench:
    """A bench's web workers: they note each call, and say who they are and what they saw."""

    def __init__(self, name: str) -> None:
        self.name, self.seen, self.go_on = name, [], threading.Event()
        bench = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                body = self.rfile.read(length)
                bench.seen.append(self.path)
                if self.path == "/api/method/stream":
                    self.stream()
                    return
                text = json.dumps(
                    {"bench": bench.name, "headers": dict(self.headers.items()), "got": len(body)}
                ).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(text)))
                self.send_header("X-Frame-Options", "DENY")
                self.end_headers()
                self.wfile.write(text)

            def stream(self) -> None:
                self.send_response(200)
                self.send_header("X-Accel-Buffering", "no")
                self.send_header("Content-Length", "8")
                self.end_headers()
                self.wfile.write(b"half")
                self.wfile.flush()
                bench.go_on.wait(20)
                self.wfile.write(b"rest")

            do_GET = do_POST = answer  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        class Server(ThreadingHTTPServer):
            request_queue_size = 128
            daemon_threads = True

        self.server = Server(("127.0.0.1", 0), Handler)
        self.port = self.server.server_address[1]

    @contextmanager
    def running(self) -> Iterator[Bench]:
        """It answers meanwhile."""
        thread = threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.server.shutdown()
            self.server.server_close()


class Realtime:
    """A socketio: it switches protocols, names itself, and then sends back what it gets."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.server = socket.create_server(("127.0.0.1", 0))
        self.port = self.server.getsockname()[1]
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self) -> None:
        """Take connections until the socket is closed."""
        while True:
            try:
                there, _ = self.server.accept()
            except OSError:
                return
            threading.Thread(target=self.talk, args=(there,), daemon=True).start()

    def talk(self, there: socket.socket) -> None:
        """One connection."""
        with there:
            text = b""
            while b"\r\n\r\n" not in text:
                if not (part := there.recv(4096)):
                    return
                text += part
            there.sendall(
                b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\n\r\n" + self.name.encode()
            )
            while part := there.recv(4096):
                there.sendall(part)


class Fleet:
    """Two routers with their benches."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.port = free_port()
        self.ports = {"http": free_port(), "https": free_port()}
        self.benches = {name: Bench(name) for name in HOSTS}
        self.realtime = {name: Realtime(name) for name in HOSTS}
        certificate = settings.pop("certificate", None)
        self.routers = {
            name: self.router(folder / name, name, certificate, settings) for name in HOSTS
        }

    def router(
        self, folder: Path, name: str, certificate: tuple[str, str] | None, settings: dict[str, Any]
    ) -> Router:
        """The router of a host."""
        about = {
            "inventory_hostname": name,
            "fleet_primary": "erp1",
            "groups": {"primary": ["erp1"], "router": ["erp1"], "reporting": ["rep1"]},
            "fleet_hosts": {host: {"lan_ip": address} for host, address in HOSTS.items()},
            "fleet_lan_ip": HOSTS[name],
            "fleet_bench_dir": str(folder / "bench"),
            "fleet_state_dir": str(folder / "state"),
            "fleet_router_ports": self.ports,
            "fleet_web_port": self.benches[name].port,
            "fleet_report_port": free_port(),
            "fleet_health_port": free_port(),
            "fleet_socketio_port": self.realtime[name].port,
            "fleet_forward_port": self.port,
            "__router_workers": {"rep1": 2} if name == "erp1" else {},
            "__router_copied": {"names": {SITE: []}},
            "router_routes": {"methods": [REPORT], "light": []},
            "fleet_sites": [{"name": SITE}],
        }
        return Router(folder / "nginx", about | settings, SITE, certificate)

    def pass_on(self, name: str, to: str, hold: str = "keep") -> None:
        """Have a router pass its calls on, as the module does."""
        self.bring(name, hold, state="present", host=to, address=HOSTS[to], port=self.port)

    def serve(self, name: str, hold: str = "keep") -> None:
        """Have a router serve its calls itself."""
        self.bring(name, hold, state="absent", host=None, address=None, port=None)

    def wait(self, name: str, seconds: int) -> bool:
        """Have calls wait at a router that cannot pass them on; returns whether they do."""
        return bool(self.bring(name, "keep", state="held", hold_seconds=seconds)["held"])

    def bring(self, name: str, hold: str, **asked: Any) -> dict[str, Any]:
        """Call the module on a host; returns its result."""
        state = str(self.routers[name].state)
        fake = FakeModule({**asked, "state_dir": state, "hold": hold})
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "FleetModule", lambda **_: fake)
            return fake.result_of(module.main)

    def got(self) -> list[str]:
        """The paths of all calls that a bench got."""
        return [path for bench in self.benches.values() for path in bench.seen]


class EndedError(Exception):
    """A module has ended; its result is in ``args``."""


class FakeModule:
    """What Ansible gives a module."""

    check_mode = False

    def __init__(self, params: dict[str, Any]) -> None:
        self.params = params

    def exit_json(self, **result: Any) -> None:
        raise EndedError(result)

    def result_of(self, main: Callable[[], None]) -> dict[str, Any]:
        """The result of a module that was given this."""
        with pytest.raises(EndedError) as ended:
            main()
        return dict(ended.value.args[0])

    def fail_json(self, **result: Any) -> None:
        raise AssertionError(result)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    """Ends what a test has started."""
    with ExitStack() as stack:
        yield stack


def a_fleet(stack: ExitStack, folder: Path, **settings: Any) -> Fleet:
    """A fleet that runs until the test ends; its standby passes calls on."""
    fleet = Fleet(folder, **settings)
    for server in (*fleet.benches.values(), *fleet.routers.values()):
        stack.enter_context(server.running())
    for realtime in fleet.realtime.values():
        stack.callback(realtime.server.close)
    fleet.pass_on("rep1", "erp1")
    return fleet


@pytest.fixture
def fleet(stack: ExitStack, tmp_path: Path) -> Fleet:
    """The primary and its standby."""
    return a_fleet(stack, tmp_path)


class Answer:
    """An answer: status, headers, text, and what the bench said it saw."""

    def __init__(self, there: http.client.HTTPResponse) -> None:
        self.status, self.headers, self.text = there.status, there.headers, there.read()
        self.seconds = 0.0

    @property
    def saw(self) -> dict[str, str]:
        """The headers that the bench got."""
        return dict(json.loads(self.text)["headers"])

    @property
    def bench(self) -> str:
        """The bench that answered."""
        return str(json.loads(self.text)["bench"])


def call(
    where: Router | tuple[str, int],
    path: str = "/api/method/ping",
    method: str = "GET",
    source: str = USER,
    body: bytes | None = None,
    **headers: str,
) -> Answer:
    """Call a router from an address."""
    address, port = (where.address, where.port) if isinstance(where, Router) else where
    connection = http.client.HTTPConnection(address, port, timeout=60, source_address=(source, 0))
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    began = time.monotonic()
    try:
        connection.request(method, path, body, {"Host": SITE, **named})
        answer = Answer(connection.getresponse())
    finally:
        connection.close()
    answer.seconds = time.monotonic() - began
    return answer


def talk(router: Router) -> tuple[socket.socket, str]:
    """Open a websocket; returns it, and the socketio that answered."""
    there = socket.create_connection((router.address, router.port), 30, (USER, 0))
    there.sendall(
        f"GET /socket.io/?transport=websocket HTTP/1.1\r\nHost: {SITE}\r\nUpgrade: websocket\r\n"
        "Connection: Upgrade\r\n\r\n".encode()
    )
    text = b""
    while not text.partition(b"\r\n\r\n")[2]:
        part = there.recv(4096)
        assert part, text
        text += part
    head, _, name = text.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101"), head
    return there, name.decode()


def echoes(there: socket.socket) -> bool:
    """Whether a websocket still sends back what it gets."""
    there.sendall(b"ping")
    return there.recv(4096) == b"ping"


@contextmanager
def held(fleet: Fleet, name: str) -> Iterator[None]:
    """Calls wait at a router, whose bench ends those that it has."""
    router, bench = fleet.routers[name], fleet.benches[name]
    with calls.held(str(router.state / forward.HOLD), "127.0.0.1", bench.port):
        yield


def test_a_router_without_the_file_serves_and_one_with_it_passes_on(fleet: Fleet) -> None:
    own = call(fleet.routers["erp1"])
    assert (own.status, own.bench, own.headers[PASSED]) == (200, "erp1", None)
    passed = call(fleet.routers["rep1"], "/app/todo", Cookie="sid=abc", X_Fleet_Bench="mine")
    assert (passed.status, passed.bench, passed.headers[PASSED]) == (200, "erp1", "rep1")
    assert passed.headers["X-Fleet-Bench"] == "erp1"
    assert passed.saw["Cookie"] == "sid=abc"
    assert passed.saw["Host"] == passed.saw["X-Forwarded-Host"] == SITE
    assert passed.saw["X-Forwarded-For"] == USER
    assert {"X-Fleet-Bench", PASSED} & {*passed.saw} == set()
    # As the answer of the primary's own router: nothing is there twice.
    for name in ("X-Frame-Options", "X-Content-Type-Options", "Referrer-Policy", "X-Fleet-Bench"):
        values = call(fleet.routers["erp1"]).headers.get_all(name)
        assert call(fleet.routers["rep1"]).headers.get_all(name) == values, name
    fleet.serve("rep1")
    assert call(fleet.routers["rep1"]).bench == "rep1"


def test_a_bench_whose_database_is_closed_gets_no_calls(fleet: Fleet) -> None:
    router, bench = fleet.routers["erp1"], fleet.benches["erp1"]
    mark = router.folder / record.CLOSED
    mark.write_text(f"{time.time() + 60:.0f}\n")
    for path in ("/app/todo", "/api/resource/ToDo", "/"):
        refused = call(router, path)
        assert (refused.status, refused.headers["Retry-After"]) == (503, "5"), path
    assert bench.seen == []
    # Not while another router takes them, nor when nobody says so any more.
    fleet.serve("rep1")
    fleet.pass_on("erp1", "rep1")
    assert call(router).bench == "rep1"
    fleet.serve("erp1")
    mark.write_text(f"{time.time() - 1:.0f}\n")
    assert call(router).bench == "erp1"


def test_files_uploads_redirects_and_streams_are_passed_on(fleet: Fleet) -> None:
    router = fleet.routers["rep1"]
    for name, text in (("erp1", "new"), ("rep1", "old")):
        file = fleet.routers[name].folder.parent / "bench/sites/assets/a.js"
        file.parent.mkdir(parents=True)
        file.write_text(text)
    assert call(router, "/assets/a.js").text == b"new"
    body = bytes(3 * 1024**2)
    answer = call(router, "/api/method/upload_file", "POST", body=body)
    assert json.loads(answer.text)["got"] == len(body)
    # What a router does before the file is looked at, and what the other one does.
    moved = call(router, "/page/")
    assert (moved.status, moved.headers["Location"]) == (301, f"http://{SITE}:{router.port}/page")
    connection = http.client.HTTPConnection(router.address, router.port, timeout=15)
    connection.request("GET", "/api/method/stream", headers={"Host": SITE})
    stream = connection.getresponse()
    try:
        assert stream.read(4) == b"half"
    finally:
        fleet.benches["erp1"].go_on.set()
    assert stream.read() == b"rest"


def test_only_a_router_of_the_fleet_says_whose_call_it_is(fleet: Fleet) -> None:
    said = {"X_Forwarded_For": "1.2.3.4", "X_Forwarded_Proto": "https", "X_Fleet_Forwarded": "3"}
    # A stranger, and a host of the fleet at the users' port, say nothing.
    for router in fleet.routers.values():
        for source in (USER, REP):
            answer = call(router, source=source, X_Forwarded_Host="evil.test", **said)
            saw = answer.saw
            assert answer.status == 200
            assert (saw["X-Forwarded-For"], saw["X-Forwarded-Proto"]) == (source, "http")
            assert saw["X-Forwarded-Host"] == SITE
            assert "Strict-Transport-Security" not in answer.headers
    # At the port of the routers, strangers are not let in, and a host of the fleet is believed.
    door = (ERP, fleet.port)
    assert call(door, source=USER, **said).status == 403
    saw = call(door, source=REP, X_Forwarded_For="1.2.3.4", X_Forwarded_Proto="https").saw
    assert (saw["X-Forwarded-For"], saw["X-Forwarded-Proto"]) == ("1.2.3.4", "https")
    assert call(door, source=REP, Host="other.test").status == 404


def test_proxies_are_believed_at_the_users_port_and_hosts_of_the_fleet_at_the_other(
    stack: ExitStack, tmp_path: Path
) -> None:
    fleet = a_fleet(stack, tmp_path, router_trusted_proxies=[PROXY])
    said = {"X_Forwarded_For": "1.2.3.4", "X_Forwarded_Proto": "https"}

    def seen(where: Router | tuple[str, int], source: str) -> tuple[str, str]:
        saw = call(where, source=source, **said).saw
        return saw["X-Forwarded-For"], saw["X-Forwarded-Proto"]

    for router in fleet.routers.values():
        assert seen(router, PROXY) == ("1.2.3.4", "https")
        assert seen(router, USER) == (USER, "http")
        assert seen(router, REP) == (REP, "http")
        secure = call(router, source=PROXY, **said).headers.get_all("Strict-Transport-Security")
        assert secure == ["max-age=31536000"]
    assert seen((ERP, fleet.port), REP) == ("1.2.3.4", "https")
    assert call((ERP, fleet.port), source=PROXY, **said).status == 403


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/resource/ToDo?n={}"),
        ("GET", "/app/todo?n={}"),
        ("GET", f"/api/method/{REPORT}?n={{}}"),
        ("GET", "/?cmd=login&n={}"),
    ],
)
def test_calls_that_wait_go_to_the_new_router(fleet: Fleet, method: str, path: str) -> None:
    erp1, rep1 = (fleet.routers[name] for name in HOSTS)
    with ThreadPoolExecutor(16) as users, held(fleet, "erp1"):
        # Half of them reach the standby, which passes them on to where they wait.
        waiting = [
            users.submit(call, (erp1, rep1)[n % 2], path.format(n), method) for n in range(16)
        ]
        time.sleep(1)
        assert fleet.got() == []
        fleet.serve("rep1")
        fleet.pass_on("erp1", "rep1", hold="off")
        answers = [one.result(30) for one in waiting]
    assert {answer.bench for answer in answers} == {"rep1"}
    assert sorted(fleet.got()) == sorted(path.format(n) for n in range(16))
    # Those of erp1 were passed on once; those that came by rep1 went there and back.
    ways = [answer.headers.get_all(PASSED) for answer in answers]
    assert ways == [["erp1"], ["erp1", "rep1"]] * 8


def test_under_load_no_call_is_lost_or_done_twice(fleet: Fleet) -> None:
    erp1, rep1 = (fleet.routers[name] for name in HOSTS)
    ended, sent = threading.Event(), []
    lock = threading.Lock()

    def use(router: Router) -> list[Answer]:
        answers = []
        while not ended.is_set():
            with lock:
                sent.append(path := f"/api/resource/ToDo?n={len(sent)}")
            answers.append(call(router, path, "POST", body=b"{}"))
            time.sleep(0.05)
        return answers

    with ThreadPoolExecutor(8) as users:
        work = [users.submit(use, (erp1, rep1)[n % 2]) for n in range(8)]
        try:
            for old, new in (("erp1", "rep1"), ("rep1", "erp1")):
                time.sleep(0.5)
                with held(fleet, old):
                    time.sleep(0.5)
                    fleet.serve(new)
                    fleet.pass_on(old, new, hold="off")
                time.sleep(0.5)
        finally:
            ended.set()
        answers = [answer for one in work for answer in one.result(60)]
    assert {answer.status for answer in answers} == {200}
    assert sorted(fleet.got()) == sorted(sent)
    assert {answer.bench for answer in answers} == {"erp1", "rep1"}


def test_websockets_are_passed_on_and_wait(fleet: Fleet) -> None:
    erp1, rep1 = (fleet.routers[name] for name in HOSTS)
    old, name = talk(rep1)
    with old, ThreadPoolExecutor(2) as users:
        assert name == "erp1"
        with held(fleet, "erp1"):
            waiting = [users.submit(talk, router) for router in (erp1, rep1)]
            time.sleep(0.5)
            assert not any(one.done() for one in waiting)
            assert echoes(old)
            fleet.serve("rep1")
            fleet.pass_on("erp1", "rep1", hold="off")
            for one in waiting:
                there, name = one.result(20)
                with there:
                    assert name == "rep1"
                    assert echoes(there)
        # It stays where it is until that socketio ends.
        assert echoes(old)


def test_a_loop_is_answered(fleet: Fleet) -> None:
    fleet.pass_on("erp1", "rep1")
    answer = call(fleet.routers["rep1"])
    assert answer.status == 503
    assert json.loads(answer.text)["exc_type"] == "ServiceUnavailable"
    assert answer.headers.get_all(PASSED) == ["rep1", "erp1", "rep1"]
    assert answer.seconds < 5
    assert fleet.got() == []
    # One that names itself.
    fleet.pass_on("erp1", "erp1")
    assert call(fleet.routers["erp1"]).status == 503
    fleet.serve("erp1")
    assert call(fleet.routers["rep1"]).status == 200


def test_a_router_that_is_away_is_waited_for_and_then_the_user_is_told(fleet: Fleet) -> None:
    erp1, rep1 = (fleet.routers[name] for name in HOSTS)
    erp1.stop()
    with ThreadPoolExecutor(4) as users:
        waiting = [users.submit(call, rep1, f"/api/method/w?n={n}", "POST") for n in range(4)]
        time.sleep(1)
        erp1.start()
        assert [one.result(30).bench for one in waiting] == ["erp1"] * 4
    assert len(fleet.got()) == 4
    erp1.stop()
    answer = call(rep1)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert 9 < answer.seconds < 20
    # It is known now, so the next ones do not wait; and it is noticed when it is back.
    assert call(rep1, Accept="text/html").headers["Content-Type"] == "text/html"
    assert call(rep1).seconds < 3
    erp1.start()
    assert call(rep1).bench == "erp1"


def test_a_router_whose_primary_is_lost_has_calls_wait_for_the_failover(fleet: Fleet) -> None:
    erp1, rep1 = (fleet.routers[name] for name in HOSTS)
    # One that answers is passed on to, and a router that serves needs no hold.
    assert not fleet.wait("rep1", 30)
    assert not fleet.wait("erp1", 30)
    erp1.stop()
    paths = ["/api/resource/ToDo?n=0", f"/api/method/{REPORT}?n=1", "/app/todo?n=2", "/files/a?n=3"]
    with ThreadPoolExecutor(16) as users:
        # Those that came shortly before the failover began wait too, if they were not sent.
        early = [users.submit(call, rep1, f"{path}&early", "POST") for path in paths]
        wait_for(lambda: "connect() failed" in rep1.log)
        assert fleet.wait("rep1", 30)
        waiting = [users.submit(call, rep1, path, method) for path in paths for method in METHODS]
        socket_io = users.submit(talk, rep1)
        time.sleep(1)
        assert not any(one.done() for one in [*early, *waiting, socket_io])
        assert fleet.got() == []
        fleet.serve("rep1", hold="off")
        answers = [one.result(30) for one in [*early, *waiting]]
        there, name = socket_io.result(30)
        there.close()
    assert name == "rep1"
    assert {(answer.status, answer.bench) for answer in answers} == {(200, "rep1")}
    assert sorted(fleet.got()) == sorted([f"{p}&early" for p in paths] + paths * len(METHODS))
    assert not (rep1.state / forward.HOLD).exists()


def test_nobody_waits_for_a_failover_that_does_not_come(fleet: Fleet) -> None:
    rep1 = fleet.routers["rep1"]
    fleet.routers["erp1"].stop()
    assert call(rep1).status == 503
    assert call(rep1).seconds < 3
    with ThreadPoolExecutor(2) as users:
        # It was refused.
        assert fleet.wait("rep1", 30)
        waiting = users.submit(call, rep1)
        time.sleep(0.5)
        assert not waiting.done()
        assert not fleet.wait("rep1", 0)
        assert waiting.result(30).seconds < 5
        assert waiting.result().status == 503
        # It was killed.
        assert fleet.wait("rep1", 2)
        answer = users.submit(call, rep1).result(30)
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert 1 < answer.seconds < 5
    assert fleet.got() == []


@pytest.mark.parametrize("text", ["", "erp1\n", "erp1 10.0.0.1 x\n"])
def test_a_file_that_names_no_router_lets_no_call_through(fleet: Fleet, text: str) -> None:
    (fleet.routers["rep1"].state / forward.FILE).write_text(text)
    assert call(fleet.routers["rep1"]).status == 503
    assert fleet.got() == []


def test_the_cas_challenges_are_passed_on(stack: ExitStack, tmp_path: Path) -> None:
    pair = str(tmp_path / "cert.pem"), str(tmp_path / "key.pem")
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
            *("-subj", f"/CN={SITE}", "-out", pair[0], "-keyout", pair[1]),
        ],
        check=True,
        capture_output=True,
    )
    fleet = a_fleet(stack, tmp_path, certificate=pair, router_acme_email="admin@erp.test")
    assert seen_by_verify(fleet) == (True, f"passed on to the primary: {SITE}")
    path = "/.well-known/acme-challenge/token"
    for name in HOSTS:
        file = Path(f"{fleet.routers[name].state}/acme{path}")
        file.parent.mkdir(parents=True)
        file.write_text(name)
        assert call(fleet.routers[name], path).text == b"erp1"
        # All else goes to https, without a call of the other router.
        moved = call(fleet.routers[name], "/app")
        assert (moved.status, moved.headers["Location"]) == (301, f"https://{SITE}/app")
        assert moved.headers[PASSED] is None


def seen_by_verify(fleet: Fleet) -> tuple[bool, str]:
    """What verify's check of the standby's router says."""
    params = arguments(Path("/nowhere"), put_at=0.0, file_seconds=0, ca="/ca")
    params["about"] |= {"lan_ip": REP, "primary_ip": ERP, "routes": True}
    params["calls"]["router"] = {"address": ERP, **fleet.ports}
    reporting = Reporting(params)
    reporting.check_standby_router()
    (entry,) = reporting.gathering.results
    return entry["ok"], entry["saw"]


def test_verify_sees_whether_the_standby_passes_calls_on(fleet: Fleet) -> None:
    assert seen_by_verify(fleet)[0]
    fleet.serve("rep1")
    ok, saw = seen_by_verify(fleet)
    assert (ok, "rep1" in saw) == (False, True)
    fleet.pass_on("rep1", "rep1")
    assert not seen_by_verify(fleet)[0]


def test_status_says_where_calls_go(fleet: Fleet) -> None:
    state = str(fleet.routers["rep1"].state)
    assert host.passed_on("primary", state)["troubles"][0]["id"] == "passes_on"
    assert host.passed_on("reporting", state)["host"] == "erp1"
    assert host.passed_on("primary", str(fleet.routers["erp1"].state)) == NOWHERE
    Path(state, forward.FILE).write_text("x")
    assert host.passed_on("reporting", state)["troubles"][0]["id"] == "passes_on"


def test_the_module_says_what_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def bring(**asked: Any) -> dict[str, Any]:
        wanted = {"host": None, "address": None, "port": None, "hold": "keep", **asked}
        fake = FakeModule({"state_dir": str(tmp_path), **wanted})
        monkeypatch.setattr(module, "FleetModule", lambda **_: fake)
        return fake.result_of(module.main)

    rep1 = {"host": "rep1", "address": "10.0.0.12", "port": 8003}
    first = bring(state="present", **rep1)
    assert (first["changed"], first["was"], first["held"]) == (True, None, False)
    assert (tmp_path / "forward").read_text() == "rep1 10.0.0.12 8003\n"
    assert not bring(state="present", **rep1)["changed"]
    (tmp_path / "hold").write_text("9999999999\n")
    kept = bring(state="present", **rep1)
    assert (kept["changed"], kept["held"]) == (False, True)
    last = bring(state="absent", hold="off")
    assert (last["changed"], last["was"], last["held"]) == (True, rep1, True)
    assert list(tmp_path.iterdir()) == []
    assert not bring(state="absent", hold="off")["changed"]
    (tmp_path / "forward").write_text("spoilt")
    assert bring(state="absent")["changed"]
