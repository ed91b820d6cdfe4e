"""The lab's site in a browser, by the address that `lab up` shows; and a name that is no site."""

from __future__ import annotations

import http.client
import http.cookiejar
import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlencode, urlsplit

import pytest
from fleet.http import Visitor

from benchfleet.lab import state, summary
from tests.forms import Form, forms

BENCH = "/home/frappe/frappe-bench"


@pytest.fixture(scope="module")
def site_url(lab: Any) -> str:
    """The URL that `lab up` ends with."""
    shown = summary.access(lab)[-1].split()[-1]
    assert shown.startswith("http://")
    return str(shown)


class Browser:
    """Keeps cookies and follows redirects; page and headers are those of the last answer."""

    def __init__(self, url: str) -> None:
        self.url = url
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self.opener = urllib.request.build_opener(cookies, urllib.request.ProxyHandler({}))

    def ask(self, method: str, path: str, fields: dict[str, str], accept: str) -> int:
        """Make a request; returns the HTTP status."""
        posted = urlencode(fields).encode() if method == "post" else None
        query = f"?{urlencode(fields)}" if fields and posted is None else ""
        request = urllib.request.Request(
            self.url.rstrip("/") + path + query, posted, {"Accept": accept}, method=method.upper()
        )
        try:
            answer = self.opener.open(request, timeout=30)
        except urllib.error.HTTPError as refused:
            answer = refused
        with answer:
            self.page, self.headers = answer.read().decode(), answer.headers
        assert answer.url.startswith(self.url)
        self.path = answer.url.removeprefix(self.url.rstrip("/"))
        return int(answer.status)

    def open(self, path: str) -> int:
        """Open a page."""
        return self.ask("get", path, {}, "text/html")

    def send(self, form: Form, accept: str = "text/html", **filled_in: str) -> int:
        """Fill in a form and send it, as its button and Enter do."""
        assert set(filled_in) <= set(form.labels)
        return self.ask(form.method, form.action, {**form.fields, **filled_in}, accept)

    def script(self, form: Form, **filled_in: str) -> dict[str, Any]:
        """The body of the answer when the page's script sends a form."""
        assert self.send(form, "application/json", **filled_in) == 200, self.page
        return dict(json.loads(self.page))

    @property
    def who(self) -> tuple[str | None, str | None]:
        """Which bench and which database answered."""
        return self.headers["X-Fleet-Bench"], self.headers["X-Fleet-Database"]


@pytest.fixture
def browser(site_url: str, primary: Any) -> Browser:
    """A browser without cookies."""
    if not primary.file(f"{BENCH}/apps/frappe/frappe/demo.py").exists:
        pytest.skip("the framework under test has no such pages")
    return Browser(site_url)


def test_the_demo_is_used_in_a_browser(browser: Browser, lab: Any, secrets: Any):
    primary, *reporting = (host.name for host in lab.hosts)
    assert browser.open("/app") == 200
    assert browser.path == "/login?redirect-to=/app"
    (form,) = forms(browser.page)
    assert browser.send(form, usr="Administrator", pwd="wrong") == 401
    assert 'role="alert"' in browser.page
    (form,) = forms(browser.page)
    assert form.fields["usr"] == "Administrator"
    assert browser.send(form, pwd=secrets["sites"][state.SITE]["admin_password"]) == 200
    assert browser.path == "/app"
    desk = {form.id: form for form in forms(browser.page)}
    saved = browser.script(desk["save"], description="saved in a browser")["data"]["name"]
    try:
        rows = browser.script(desk["list"])["data"]
        assert "saved in a browser" in {row["description"] for row in rows}
        assert browser.who == (primary, primary)
        for name in ("ToDo", "Where"):
            told = browser.script(desk["report"], report_name=name)["message"]
            assert told["columns"]
            bench, database = browser.who
            assert bench in reporting
            # While the replica does not have the save yet, the primary answers.
            assert str(database).split(";")[0] in (bench, primary)
    finally:
        assert browser.ask("delete", f"/api/resource/ToDo/{saved}", {}, "application/json") == 202
    browser.script(desk["sign-out"])
    browser.open("/app")
    assert browser.path == "/login?redirect-to=/app"


def test_the_desks_script_is_a_program(browser: Browser, primary: Any):
    folder = f"{BENCH}/sites/assets/frappe/dist/js"
    for file in primary.check_output(f"ls {folder}/desk.bundle.*.js").split():
        assert browser.open(file.removeprefix(f"{BENCH}/sites")) == 200
        primary.check_output(f"/opt/bench-cli/bin/node --check {file}")


@pytest.mark.parametrize("by", ["address", "name"])
def test_realtime_takes_a_page_of_the_site(browser: Browser, by: str):
    address = str(urlsplit(browser.url).hostname)
    host = address if by == "address" else state.SITE
    connection = http.client.HTTPConnection(address, 80, timeout=20)
    headers = {"Host": host, "Origin": f"http://{host}"}
    connection.request("GET", "/socket.io/?EIO=4&transport=polling", headers=headers)
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize("path", ["/", "/api/method/upload_file"])
def test_an_upload_that_is_too_large_is_refused_in_words(lab: Any, path: str):
    connection = http.client.HTTPConnection(lab.hosts[0].ip, 80, timeout=20)
    # Do not wait for what follows.
    connection.putrequest("POST", path, skip_host=True)
    for name, value in (("Host", state.SITE), ("Content-Length", "53000000")):
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 413
    said = answer.read()
    connection.close()
    words = json.loads(said)["errors"][0]["message"]
    assert words.startswith("What you sent is larger than this server takes (50m).")


@pytest.mark.parametrize("name", ["other.example.com", "localhost", "192.0.2.1"])
@pytest.mark.parametrize("path", ["/", "/api/method/ping", "/assets/assets.json"])
def test_a_name_that_is_no_site_gets_words_and_no_sites_name(lab: Any, name: str, path: str):
    answer = Visitor(lab.hosts[0].ip, 80, name).call("GET", path)
    assert answer.status == 404
    assert answer.text.startswith("There is no site of this name on this server.")
    assert answer.headers["content-type"].startswith("text/plain")
    said = f"{answer.text} {answer.headers}"
    for word in (state.SITE, "nginx/", "x-fleet", lab.hosts[0].name):
        assert word not in said
