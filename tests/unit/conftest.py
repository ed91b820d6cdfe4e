"""A bare fleet, for the tests of preflight's checks."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fleet.supervisor import call, configuration
from fleet.supervisor import control as supervisor
from fleet.supervisor import own as own_programs

from tests import mariadb
from tests.supervisor import Host, Supervisor
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


@pytest.fixture(scope="module")
def supervisor_calls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervisor]:
    """Where supervisorctl, and supervisor's reader, are called."""
    if not os.path.exists("/usr/bin/supervisord"):
        pytest.skip("supervisor is not installed on this machine (Debian's package supervisor)")
    made = Supervisor(tmp_path_factory.mktemp("calls"))
    yield made
    made.stop()


@pytest.fixture
def supervised(supervisor_calls: Supervisor, monkeypatch: pytest.MonkeyPatch) -> Iterator[Host]:
    """A host with supervisord, which does not run yet."""
    # A socket's path may not be as long as pytest's folders are.
    folder = Path(tempfile.mkdtemp(prefix="supervisor-"))
    monkeypatch.setattr(supervisor, "known_tasks", {})
    for module in (call, configuration):
        monkeypatch.setattr(module, "CONFIGURATIONS", (f"{folder}/supervisord.conf", "/none"))
        monkeypatch.setattr(module, "subprocess", supervisor_calls)
    monkeypatch.setitem(call.ENVIRONMENT, "PATH", f"{folder}/bin:{call.ENVIRONMENT['PATH']}")
    monkeypatch.setattr(own_programs, "LOGS", f"{folder}/logs")
    made = Host(folder, supervisor_calls)
    yield made
    made.stop()
    shutil.rmtree(folder)
