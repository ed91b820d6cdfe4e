"""Only a proxy in front can set the client's address and https for the bench."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable

import pytest
from nodes import Node

from benchfleet.lab import state

# The headers that the client of the proxy, and the proxy itself, have added.
FORWARDED = {"X-Forwarded-For": "192.0.2.66, 203.0.113.7", "X-Forwarded-Proto": "https"}
ASK = """
import json, sys, urllib.request
url, headers = json.load(sys.stdin)
print(urllib.request.urlopen(urllib.request.Request(url, headers=headers)).read().decode())
"""
ASKED = "/api/method/frappe.demo.asked"


@pytest.fixture
def told(nodes: dict[str, Node], lab: state.Lab) -> Callable[..., dict[str, str]]:
    """What the bench sees of a call that a node sends to the router."""

    def ask(name: str, headers: dict[str, str] = FORWARDED) -> dict[str, str]:
        given = [f"http://{lab.hosts[0].ip}{ASKED}", {"Host": state.SITE, **headers}]
        words = f"echo {shlex.quote(json.dumps(given))} | python3 -c {shlex.quote(ASK)}"
        return json.loads(nodes[name].run(words))["message"]

    return ask


def untouched(node: Node) -> dict[str, str]:
    """What the bench sees of a node whose headers are not believed."""
    return {"address": node.host.ip, "scheme": "http"}


def test_no_client_is_believed(told: Callable[..., dict[str, str]], nodes: dict[str, Node]):
    assert told("rep1") == untouched(nodes["rep1"])


@pytest.mark.fleet("routed")
def test_only_a_trusted_proxy_is_believed(
    told: Callable[..., dict[str, str]], nodes: dict[str, Node]
):
    # The address that the proxy itself has added, not what its client sent.
    assert told("rep1") == {"address": "203.0.113.7", "scheme": "https"}
    assert told("rep1", {}) == untouched(nodes["rep1"])
    assert told("rep1", {"X-Forwarded-Proto": "gopher"}) == untouched(nodes["rep1"])
    assert told("rep2") == untouched(nodes["rep2"])


@pytest.mark.fleet("stock")
def test_a_proxy_that_is_trusted_no_more_is_not_believed(
    told: Callable[..., dict[str, str]], nodes: dict[str, Node]
):
    assert told("rep1") == untouched(nodes["rep1"])
