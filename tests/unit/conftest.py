"""A bare fleet, for the tests of preflight's checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests import mariadb
from tests.unit.bare_fleet import a_host, first_settings


@pytest.fixture
def fleet() -> list[dict[str, Any]]:
    """A primary and a replica, both bare and in order."""
    return [a_host("erp1", 11, "primary"), a_host("rep1", 21, "reporting")]


@pytest.fixture
def settings() -> dict[str, Any]:
    """Settings of a first run over that fleet."""
    return first_settings()


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of a new MariaDB, to be copied."""
    data = tmp_path_factory.mktemp("installed") / "data"
    mariadb.install(data)
    return data
