"""Paths, names, the clock and callbacks."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import frappe
from frappe.utils.clock import demo_time


def get_bench_path() -> str:
    """Return the bench this code lies in, wherever the process was started."""
    return str(Path(frappe.__file__).resolve().parents[3])


def get_bench_id() -> str:
    """Return the prefix of this bench's queue names: `bench_id`, else its path with dashes."""
    return frappe.get_conf().get("bench_id", get_bench_path().strip("/").replace("/", "-"))


def get_sites(sites_path: str | None = None) -> list[str]:
    """Return the bench's sites: every folder that holds a site_config.json."""
    folder = Path(sites_path or getattr(frappe.local, "sites_path", "."))
    return sorted(p.parent.name for p in folder.glob("*/site_config.json"))


def get_site_name(host: str) -> str:
    """Return the site a Host header means: the name without the port."""
    return host.split(":", 1)[0]


def now_datetime() -> datetime:
    """Return the local time: the server's, unless the bench has a clock of its own."""
    return datetime.fromtimestamp(demo_time(frappe.get_conf(), time.time()))


def now() -> str:
    """Return now_datetime() as MariaDB writes it."""
    return now_datetime().strftime("%Y-%m-%d %H:%M:%S.%f")


def get_datetime(value: datetime | str | None = None) -> datetime:
    """Return a moment that may be a text; now_datetime() for None."""
    if value is None:
        return now_datetime()
    return value if isinstance(value, datetime) else datetime.fromisoformat(value)


def cint(value: Any, default: int = 0) -> int:
    """Return an integer, or the default for what is none."""
    try:
        return int(float(value))
    except (TypeError, ValueError):
        return default


class CallbackManager:
    """Functions to run once, in the order they came."""

    __slots__ = ("_functions",)

    def __init__(self) -> None:
        self._functions: deque[Callable[[], Any]] = deque()

    def add(self, function: Callable[[], Any]) -> None:
        """Remember a function."""
        self._functions.append(function)

    __call__ = add

    def run(self) -> None:
        """Run the functions and forget them."""
        while self._functions:
            self._functions.popleft()()

    def reset(self) -> None:
        """Forget the functions."""
        self._functions.clear()
