"""The LAN and clocks."""

from __future__ import annotations

import pytest

from tests.unit.bare_fleet import ids, kinds


def test_lan(fleet, settings):
    fleet[1]["survey"]["lan"] = {
        "ok": False,
        "address": "10.0.0.11",
        "port": 22,
        "detail": "no answer",
    }
    facts = {
        "host": "rep1",
        "primary": "erp1",
        "error": "no answer",
        "source": "10.0.0.21",
        "address": "10.0.0.11",
        "port": 22,
    }
    assert kinds(fleet, settings) == [("primary_unreachable", facts)]


def test_clocks(fleet, settings):
    fleet[1]["survey"]["clock"] = {"low": 2.0, "high": 2.9}
    assert ids(fleet, settings) == []
    fleet[1]["survey"]["clock"] = {"low": -5.4, "high": -4.9}
    facts = {"host": "rep1", "other": "erp1", "seconds": pytest.approx(4.6), "limit": 2}
    assert kinds(fleet, settings) == [("clocks_differ", facts)]


def test_clock_bounds_hold_a_right_clock_however_slow_ssh_is():
    from plugins.action.survey import clock_bounds

    bounds = clock_bounds(before=100.0, after=110.0, started=103.0, ended=104.0)
    assert bounds == {"low": -6.0, "high": 3.0}
