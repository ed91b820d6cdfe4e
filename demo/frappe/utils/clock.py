"""The demo's clock: days of scheduled jobs in minutes. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_UNSET = (None, "")


def demo_time(conf: Mapping[str, Any], real: float) -> float:
    """Return the time, in seconds of the epoch, that it is for the demo at a real time.

    From `demo_clock_start` on it runs `demo_clock_speed` times as fast. Without both keys in the
    configuration it is the real time; ValueError for what is no number.
    """
    start, speed = conf.get("demo_clock_start"), conf.get("demo_clock_speed")
    if start in _UNSET or speed in _UNSET:
        return real
    return float(start) + (real - float(start)) * float(speed)
