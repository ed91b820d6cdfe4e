"""A reporting node is drained and put back, and what the primary still needs for one is named."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fleet import nodes


@pytest.fixture
def params(tmp_path: Path) -> dict[str, Any]:
    """What module node_drain is given."""
    asked = {"node": "rep2", "known_only": False, "waiting": False, "seconds": 0}
    return {**asked, "state_dir": str(tmp_path)}


def test_why_a_node_still_gets_no_calls_is_a_field(params: dict[str, Any]) -> None:
    waiting = {**params, "waiting": True}
    assert nodes.drain(params, {}, False)["changed"]
    assert nodes.drain(waiting, {}, False)["changed"]
    outcomes = [nodes.undrain(asked, False) for asked in (waiting, params, params)]
    assert [(outcome["changed"], outcome["reason"]) for outcome in outcomes] == [
        (True, "drained"),
        (True, ""),
        (False, ""),
    ]


def test_a_node_that_lacks_an_app_is_not_put_back_by_hand(params: dict[str, Any]) -> None:
    nodes.drain(params, {}, False)
    nodes.drain({**params, "waiting": True}, {}, False)
    assert nodes.undrain(params, False)["reason"] == "waiting"
    assert nodes.drained(params["state_dir"]) == ["rep2"]


def test_a_node_whose_calls_go_on_stays_drained(
    params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nodes, "running_calls", lambda *_: 2)
    with pytest.raises(nodes.DrainError, match="rep2") as raised:
        nodes.drain(params, {"rep2": ("10.0.0.12", 8000)}, False)
    assert raised.value.calls == 2
    assert nodes.drained(params["state_dir"]) == ["rep2"]
