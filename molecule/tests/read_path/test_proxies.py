"""A proxy in front says who asks, and by https; nobody else can."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from nodes import Node
from plays import BENCHES

from benchfleet import state

# What the client of the proxy, and the proxy itself, have added.
FORWARDED = "-H 'X-Forwarded-For: 192.0.2.66, 203.0.113.7' -H 'X-Forwarded-Proto: https'"
ASKED = "/api/method/frappe.demo.asked"


@pytest.fixture
def told(nodes: dict[str, Node], lab: state.Lab) -> Callable[..., dict[str, str]]:
    """What the bench is told about a call that a node sends to the router."""

    def ask(name: str, headers: str = FORWARDED) -> dict[str, str]:
        url = f"http://{lab.hosts[0].ip}{ASKED}"
        text = nodes[name].run(f"curl -sS -H 'Host: {state.SITE}' {headers} {url}")
        return json.loads(text)["message"]

    return ask


def test_only_a_trusted_proxy_is_believed(
    told: Callable[..., dict[str, str]], nodes: dict[str, Node], play: Callable[..., Any]
):
    own = {name: {"address": node.host.ip, "scheme": "http"} for name, node in nodes.items()}
    assert told("rep1") == own["rep1"]
    proxies = json.dumps({"router_trusted_proxies": [nodes["rep1"].host.ip]})
    try:
        play(*BENCHES, "-e", proxies)
        # What the proxy itself has added, and not what its client said before.
        assert told("rep1") == {"address": "203.0.113.7", "scheme": "https"}
        assert told("rep1", "") == own["rep1"]
        assert told("rep1", "-H 'X-Forwarded-Proto: gopher'") == own["rep1"]
        assert told("rep2") == own["rep2"]
    finally:
        play(*BENCHES)
    assert told("rep1") == own["rep1"]
