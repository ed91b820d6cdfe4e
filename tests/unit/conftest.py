"""A bare fleet, for the tests of preflight's checks."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.bare_fleet import a_host, first_settings


@pytest.fixture
def fleet() -> list[dict[str, Any]]:
    """A primary and a replica, both bare and in order."""
    return [a_host("erp1", 11, "primary"), a_host("rep1", 21, "reporting")]


@pytest.fixture
def settings() -> dict[str, Any]:
    """Settings of a first run over that fleet."""
    return first_settings()
