"""Route map, addresses and what the router's modules decide."""

from __future__ import annotations

import hashlib
import json
import re
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleFilterError
from fleet.nginx import files as nginx
from fleet.nginx import router, syntax
from fleet.nginx.files import complaint, digest, digest_with, read, write
from fleet.sites.nginx import SECURE

from filter_plugins.router import (
    answering_nodes,
    bracketed,
    certificate_pairs,
    nodes_with_workers,
    refusal,
    report_patterns,
    socket_address,
    with_web_workers,
)
from library import nginx_files
from library.path_access import parents

RUN = "frappe.desk.query_report.run"


def matches(pattern: str, text: str) -> bool:
    """As PCRE would: Python's \\Z is PCRE's \\z."""
    return re.search(pattern.replace(r"\z", r"\Z"), text) is not None


@pytest.mark.parametrize("prefix", ["/api/method/", "/api/v1/method/", "/api/v2/method/"])
def test_every_path_of_a_report_matches(prefix: str) -> None:
    (pattern,) = report_patterns([RUN])
    assert matches(pattern["path"], prefix + RUN)
    assert matches(pattern["method"], RUN)


@pytest.mark.parametrize(
    "path",
    [
        f"/api/method/{RUN}/",
        f"/api/method/{RUN}\n",
        f"/api/method/{RUN};x",
        f"/api/v3/method/{RUN}",
        f"/x/api/method/{RUN}",
        f"/API/method/{RUN}",
        f"/api/method/{RUN}x",
        "/api/method/frappe-desk.query_report.run",
        "/api/method/Frappe.desk.query_report.run",
        "/api/method/frappe.client.insert",
    ],
)
def test_nothing_else_matches(path: str) -> None:
    (pattern,) = report_patterns([RUN])
    assert not matches(pattern["path"], path)


def test_methods_are_sorted_and_named_once() -> None:
    patterns = report_patterns(["b.c", "a.b", "b.c"])
    assert [p["method"] for p in patterns] == [r"^a\.b\z", r"^b\.c\z"]
    assert report_patterns([]) == []


def test_light_calls_are_told_apart() -> None:
    patterns = report_patterns(["a.b", "c.d"], ["c.d"])
    assert [p["kind"] for p in patterns] == ["heavy", "light"]


@pytest.mark.parametrize(
    "method", ["login", "a..b", "a.b; return 1", "a.b\n", "/api/method/a.b", ""]
)
def test_what_is_no_dotted_name_is_named(method: str) -> None:
    with pytest.raises(AnsibleFilterError, match=re.escape(repr(method))):
        report_patterns([method])


@pytest.mark.parametrize(
    ("host", "written"),
    [("10.0.0.2", "10.0.0.2:8000"), ("fd00:0:0::2", "[fd00::2]:8000")],
)
def test_addresses_are_written_as_nginx_wants(host: str, written: str) -> None:
    assert socket_address(host, 8000) == written


@pytest.mark.parametrize(("host", "port"), [("rep1", 8000), ("10.0.0.2", 0), ("10.0.0.2", 70000)])
def test_bad_addresses_are_refused(host: str, port: int) -> None:
    with pytest.raises(AnsibleFilterError):
        socket_address(host, port)


def test_every_reporting_bench_has_its_address() -> None:
    fleet_hosts = {"rep1": {"lan_ip": "10.0.0.2"}, "rep2": {"lan_ip": "fd00::2"}}
    assert answering_nodes(["rep1", "rep2"], fleet_hosts, 8000) == [
        {"address": "10.0.0.2:8000", "host": "rep1", "kind": "node"},
        {"address": "[fd00::2]:8000", "host": "rep2", "kind": "node"},
    ]
    workers = {"rep1": 4, "rep2": "8"}
    assert nodes_with_workers(["rep1", "rep2"], fleet_hosts, workers) == [
        {"host": "rep1", "address": "10.0.0.2", "workers": 4},
        {"host": "rep2", "address": "[fd00::2]", "workers": 8},
    ]
    assert bracketed("10.0.0.2") == "10.0.0.2"


def test_a_refusal_is_what_the_desk_shows() -> None:
    text = refusal('Come back "later".', "TooManyRequestsError")
    # nginx makes one backslash of two.
    body = json.loads(text.replace("\\\\", "\\"))
    assert body["exc_type"] == "TooManyRequestsError"
    (message,) = json.loads(body["_server_messages"])
    assert json.loads(message)["message"] == 'Come back "later".'
    assert body["errors"][0]["type"] == "TooManyRequestsError"


@pytest.mark.parametrize("message", ["it's", "$host", "a\\b"])
def test_a_refusal_holds_nothing_that_nginx_would_read(message: str) -> None:
    with pytest.raises(AnsibleFilterError, match=re.escape(repr(message))):
        refusal(message, "Error")


def test_the_complaint_is_what_nginx_says_against_the_file() -> None:
    output = (
        'nginx: [warn] conflicting server name "x"\n'
        'nginx: [emerg] unknown directive "y" in /etc/nginx/conf.d/z.conf:1\n'
        "nginx: configuration file /etc/nginx/nginx.conf test failed\n"
    )
    assert complaint(output) == '[emerg] unknown directive "y" in /etc/nginx/conf.d/z.conf:1'
    assert complaint("something else\n") == "something else"


def test_a_file_is_replaced_and_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "benchfleet" / "bench.conf"
    assert read(path) is None
    write(path, b"one")
    assert read(path) == b"one"
    write(path, None)
    assert read(path) is None
    assert list(path.parent.iterdir()) == []


def test_the_way_to_a_directory_is_walked_from_the_root(tmp_path: Path) -> None:
    real = tmp_path / "real" / "sites"
    real.mkdir(parents=True)
    link = tmp_path / "link"
    link.symlink_to(real)
    way = parents(link)
    assert way[0] == Path("/")
    assert way[-1] == real.resolve()


def test_nodes_without_web_workers_are_no_upstreams() -> None:
    assert with_web_workers({"rep3": "2", "rep1": 4, "rep2": 0}) == ["rep1", "rep3"]
    with pytest.raises(AnsibleFilterError, match=r"rep1.*'many'"):
        with_web_workers({"rep1": "many"})


class FakeModule:
    """An nginx that takes everything and counts its reloads; it can be killed before one."""

    killed = False
    check_mode = False

    def __init__(self, folder: Path) -> None:
        self.params = {
            "files": [{"path": str(folder / "a.conf"), "content": "a"}],
            "absent": [],
            "loaded_file": str(folder / "loaded"),
            "certificates": [],
        }
        self.reloads = 0
        self.result: dict[str, Any] = {}
        self.refuses = ""

    def run_command(self, command: list[str]) -> tuple[int, str, str]:
        if "reload" in command:
            if self.killed:
                raise KeyboardInterrupt
            self.reloads += 1
        if "-t" in command and self.refuses:
            return 1, "", self.refuses
        return 0, "", ""

    def exit_json(self, **result: Any) -> None:
        self.result = result

    def warn(self, message: str) -> None:
        raise AssertionError(message)

    def run(self, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        monkeypatch.setattr(nginx_files, "FleetModule", lambda **_: self)
        nginx_files.main()
        return self.result


def test_a_reload_that_a_kill_swallowed_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = FakeModule(tmp_path)
    module.killed = True
    with pytest.raises(KeyboardInterrupt):
        module.run(monkeypatch)
    assert read(tmp_path / "a.conf") == b"a"
    module.killed, module.check_mode = False, True
    assert module.run(monkeypatch)["changed"]
    assert module.reloads == 0
    module.check_mode = False
    result = module.run(monkeypatch)
    assert (result["changed"], result["changed_paths"], module.reloads) == (True, [], 1)
    assert not module.run(monkeypatch)["changed"]
    assert module.reloads == 1


def test_one_new_file_changes_its_line_of_the_digest() -> None:
    whole = digest({Path("/a"): b"x", Path("/b"): b"y"})
    assert digest_with(whole, {Path("/a"): b"x"}) == whole
    assert digest_with(whole, {Path("/b"): b"z"}) == digest({Path("/a"): b"x", Path("/b"): b"z"})
    assert digest_with(None, {Path("/b"): b"z"}) == digest({Path("/b"): b"z"})


def test_the_sites_are_those_of_the_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = FakeModule(tmp_path)
    target = tmp_path / "sites.conf"
    module.params["files"].append(
        {"path": str(tmp_path / "t"), "content": f"server @site@;\n{SECURE}"}
    )
    module.params["sites"] = {
        "template": str(tmp_path / "t"),
        "target": str(target),
        "state_dir": str(tmp_path),
        "listed": {"a.test": []},
        "certificates": [],
        "acme": {"email": ""},
    }
    module.run(monkeypatch)
    assert "server a.test;\n" in target.read_text()
    state = {"sites": {"b.test": "d", "c.test": "e"}, "lost": ["c.test"]}
    (tmp_path / "sites.json").write_text(json.dumps({**state, "notes": [], "fingerprint": ""}))
    assert module.run(monkeypatch)["changed_paths"] == [str(target)]
    assert "b.test" in target.read_text()
    assert "c.test" not in target.read_text()


def test_files_and_their_content_make_the_digest() -> None:
    one = digest({Path("/a"): b"x", Path("/b"): b"y"})
    assert one == digest({Path("/b"): b"y", Path("/a"): b"x"})
    assert one != digest({Path("/a"): b"xy", Path("/b"): b""})


def test_a_file_that_stood_in_the_way_goes_and_comes_back_when_nginx_refuses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = FakeModule(tmp_path)
    own = tmp_path / "own.conf"
    own.symlink_to("/somewhere/nginx.conf")
    module.params["absent"] = [str(own)]
    module.refuses = "nginx: [emerg] no such upstream"
    module.fail_json = module.exit_json
    module.run(monkeypatch)
    assert own.readlink() == Path("/somewhere/nginx.conf")
    module.refuses = ""
    assert str(own) in module.run(monkeypatch)["changed_paths"]
    assert not own.is_symlink()
    assert not module.run(monkeypatch)["changed"]


@pytest.mark.parametrize(
    ("listen", "claimed"),
    [
        ("80 default_server", {"0.0.0.0:80"}),
        ("*:80 default", {"0.0.0.0:80"}),
        ("default_server", set()),
        ("0.0.0.0 default_server", {"0.0.0.0:80"}),
        ("[::]:443 ssl default_server", {"[::]:443"}),
        ("[::] default_server", {"[::]:80"}),
        ("10.0.0.5:80 default_server", {"10.0.0.5:80"}),
        ("80", set()),
    ],
)
def test_a_default_server_claims_its_address(listen: str, claimed: set[str]) -> None:
    text = f"server {{ # listen 81 default_server;\n  listen {listen};\n  server_name a; }}"
    assert syntax.default_listens(text) == claimed


CONFFILE = " /etc/nginx/sites-available/default {}\n /etc/nginx/nginx.conf 0123\n"
DEBIANS = "server { listen 80 default_server; listen [::]:80 default_server; root /var/www/html; }"
OURS = "server { listen 80 default_server; return 404; }"


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeModule:
    """A host on which nginx has just been installed, and the files of a router for it."""
    for name, content in (
        ("usr/sbin/nginx", ""),
        (nginx.DEBIAN_FILE, DEBIANS),
        (f"{nginx.DEBIAN_ROOT}/{nginx.DEBIAN_PAGE}", "Welcome"),
    ):
        write(tmp_path / name, content.encode())
    link = tmp_path / nginx.DEBIAN_LINK
    link.parent.mkdir()
    link.symlink_to(tmp_path / nginx.DEBIAN_FILE)
    made = hashlib.md5(DEBIANS.encode(), usedforsecurity=False).hexdigest()
    warnings: list[str] = []

    class Host(FakeModule):
        def run_command(self, command: list[str]) -> tuple[int, str, str]:
            if command[0] == "dpkg-query":
                return 0, CONFFILE.format(made), ""
            if "-T" in command:
                # As nginx does that refuses a configuration: it shows nothing.
                return 1, "", ""
            return super().run_command(command)

        def warn(self, message: str) -> None:
            warnings.append(message)

    module = Host(tmp_path)
    module.warnings = warnings
    module.params["files"] = [{"path": str(tmp_path / "default.conf"), "content": OURS}]
    module.params["default_server"] = {
        "file": str(tmp_path / "default.conf"),
        "record": str(tmp_path / "adopted.json"),
    }
    for name in ("debians_site", "configuration"):
        look = partial(getattr(router, name), root=tmp_path)
        monkeypatch.setattr(router, name, look)
    return module


def test_debians_own_site_makes_way(
    served: FakeModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert str(tmp_path / nginx.DEBIAN_LINK) in served.run(monkeypatch)["changed_paths"]
    assert not (tmp_path / nginx.DEBIAN_LINK).is_symlink()
    assert (tmp_path / nginx.DEBIAN_FILE).exists()
    assert (tmp_path / "default.conf").read_text() == OURS
    assert not served.run(monkeypatch)["changed"]
    assert served.warnings == []


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (nginx.DEBIAN_FILE, DEBIANS + "# mine"),
        (f"{nginx.DEBIAN_ROOT}/index.html", "Our wiki"),
        ("etc/nginx/conf.d/wiki.conf", "server { listen *:80 default_server; }"),
        ("adopted.json", '{"snapshot": "RECORD"}'),
    ],
    ids=["edited", "own-page", "another-file", "adopted-without-it"],
)
def test_another_default_server_stays_with_a_warning(
    served: FakeModule,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    content: str,
) -> None:
    record = tmp_path / "record"
    write(record / "manifest.json", b'{"entries": [{"path": "/etc/hosts"}]}')
    write(tmp_path / path, content.replace("RECORD", str(record)).encode())
    other = path if path.endswith("wiki.conf") else nginx.DEBIAN_LINK
    served.run(monkeypatch)
    assert (tmp_path / other).exists()
    assert syntax.default_listens((tmp_path / "default.conf").read_text()) == set()
    assert len(served.warnings) == 1
    assert str(tmp_path / other) in served.warnings[0]
    assert not served.run(monkeypatch)["changed"]


def test_a_site_of_debians_that_is_no_default_server_stays_in_silence(
    served: FakeModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / nginx.DEBIAN_FILE).write_text("server { listen 80; server_name mine; }")
    served.run(monkeypatch)
    assert (tmp_path / nginx.DEBIAN_LINK).exists()
    assert (tmp_path / "default.conf").read_text() == OURS
    assert served.warnings == []


def test_an_adopted_hosts_site_goes_when_its_release_brings_it_back(
    served: FakeModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    link = tmp_path / nginx.DEBIAN_LINK
    record = {"entries": [{"path": str(link)}]}
    write(tmp_path / "record/manifest.json", json.dumps(record).encode())
    (tmp_path / "adopted.json").write_text(json.dumps({"snapshot": str(tmp_path / "record")}))
    served.run(monkeypatch)
    assert not link.is_symlink()


def test_certificates_of_an_inventory() -> None:
    sites = [
        {"name": "a.test", "certificate": "/a.pem", "certificate_key": "/key"},
        {"name": "b.test", "certificate_key": "/b.key"},
        {"name": "c.test"},
        "no entry",
    ]
    pairs = certificate_pairs(sites, "/r.pem", "/key")
    assert [(pair["site"], pair["certificate"], pair["key"]) for pair in pairs] == [
        ("", "/r.pem", "/key"),
        ("a.test", "/a.pem", "/key"),
        ("b.test", "", "/b.key"),
    ]
    assert pairs[0]["of"] == "router_certificate"
    assert all(pair["site"] in pair["of"] for pair in pairs)
    assert certificate_pairs(None, "", "") == []
