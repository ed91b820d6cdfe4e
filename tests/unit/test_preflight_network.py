"""The LAN and clocks."""

from __future__ import annotations

from fleet.preflight import checks

from tests.unit.bare_fleet import whats


def test_lan(fleet, settings):
    fleet[1]["survey"]["lan"] = {
        "ok": False,
        "address": "10.0.0.11",
        "port": 22,
        "detail": "no answer",
    }
    found = checks.preflight_problems(fleet, settings)
    assert [f["what"] for f in found] == [
        "rep1 cannot reach the primary erp1 over the LAN: no answer"
    ]
    assert found[0]["place"] == "TCP from rep1 (10.0.0.21) to 10.0.0.11 port 22"


def test_clocks(fleet, settings):
    fleet[1]["survey"]["clock"] = {"low": 2.0, "high": 2.9}
    assert whats(fleet, settings) == []
    fleet[1]["survey"]["clock"] = {"low": -5.4, "high": -4.9}
    assert whats(fleet, settings) == [
        "the clocks of rep1 and erp1 differ by 4.6 s or more (limit 2 s)"
    ]


def test_clock_bounds_hold_a_right_clock_however_slow_ssh_is():
    from plugins.action.survey import clock_bounds

    bounds = clock_bounds(before=100.0, after=110.0, started=103.0, ended=104.0)
    assert bounds == {"low": -6.0, "high": 3.0}
