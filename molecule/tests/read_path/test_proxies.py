"""Only a proxy in front can set the client's address and https for the bench."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from typing import Any

import pytest
from nodes import Node
from plays import BENCHES

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


def test_only_a_trusted_proxy_is_believed(
    told: Callable[..., dict[str, str]], nodes: dict[str, Node], play: Callable[..., Any]
):
    own = {name: {"address": node.host.ip, "scheme": "http"} for name, node in nodes.items()}
    assert told("rep1") == own["rep1"]
    proxies = json.dumps({"router_trusted_proxies": [nodes["rep1"].host.ip]})
    try:
        play(*BENCHES, "-e", proxies)
        # The address that the proxy itself has added, not what its client sent.
        assert told("rep1") == {"address": "203.0.113.7", "scheme": "https"}
        assert told("rep1", {}) == own["rep1"]
        assert told("rep1", {"X-Forwarded-Proto": "gopher"}) == own["rep1"]
        assert told("rep2") == own["rep2"]
    finally:
        play(*BENCHES)
    assert told("rep1") == own["rep1"]
