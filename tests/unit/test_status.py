"""The status of a host: what is wrong has an id, and is in its state as a text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fleet.status import fleet as fleet_status
from fleet.status import host as node_status
from fleet.status.troubles import trouble

RUNS = {"Master_Host": "10.0.0.1", "Slave_IO_Running": "Yes", "Slave_SQL_Running": "Yes"}


class Server:
    """A local MariaDB; status is that of a replica, None for none."""

    def __init__(self, status: dict[str, str] | None, read_only: int) -> None:
        self.status, self.read_only = status, read_only

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: Any) -> None:
        return None

    def value(self, question: str) -> Any:
        answers = {"VERSION": "10.11.6-MariaDB", "read_only": self.read_only}
        return next(answer for name, answer in answers.items() if name in question)

    def replica_status(self) -> dict[str, str] | None:
        return self.status


@pytest.mark.parametrize(
    ("role", "status", "read_only", "ids"),
    [
        ("primary", None, 0, []),
        ("primary", None, 1, ["primary_closed"]),
        ("primary", RUNS, 0, ["primary_follows"]),
        ("reporting", RUNS, 1, []),
        ("reporting", RUNS, 0, ["read_only"]),
        ("reporting", None, 1, ["threads"]),
        ("reporting", {**RUNS, "Slave_SQL_Running": "No"}, 0, ["threads", "read_only"]),
    ],
)
def test_a_server_does_what_its_role_wants(
    monkeypatch: pytest.MonkeyPatch,
    role: str,
    status: dict[str, str] | None,
    read_only: int,
    ids: list[str],
) -> None:
    monkeypatch.setattr(node_status, "local", lambda: Server(status, read_only))
    monkeypatch.setattr(node_status, "heartbeat_age", lambda _: 0.21)
    found = node_status.replication(role)
    assert [one["id"] for one in found["troubles"]] == ids
    assert (found["mariadb"], found["lag_seconds"]) == ("10.11.6", 0.2)
    assert ("10.0.0.1" in found["replication"]) is bool(status)


def test_an_id_that_no_page_explains_is_an_error() -> None:
    assert trouble("units", "x") == {"id": "units", "what": "x"}
    with pytest.raises(ValueError, match="no_such_id"):
        trouble("no_such_id", "x")


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, Any]]:
    """The status of a reporting node on which all is well."""

    def parts(**found: Any) -> None:
        for name, value in found.items():
            monkeypatch.setattr(node_status, name, lambda *_, value=value: value)

    parts(replication={"mariadb": "10.11.6", "troubles": []}, certificates={"troubles": []})
    parts(installed_apps={}, sync_age=1.0, workers={}, disk="", memory="", versions={}, kept=[])
    parts(file_systems=[], places=[], reads={}, stopped_programs=[], unit_troubles={})
    names = ("bench", "certificates", "mark", "cli_dir", "guard_state", "queue")
    params = {"host": "rep1", "role": "reporting", "state_dir": str(tmp_path)}
    return lambda: node_status.status({**dict.fromkeys(names, "/none"), **params})


def test_a_host_without_troubles_is_up(host: Callable[[], dict[str, Any]]) -> None:
    assert (host()["state"], host()["troubles"]) == ("up", [])


def test_each_trouble_has_an_id_in_the_text_and_beside_it(
    host: Callable[[], dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> None:
        raise OSError(13, "Permission denied")

    monkeypatch.setattr(node_status, "memory", broken)
    monkeypatch.setattr(node_status, "unit_troubles", lambda _: {"a.timer": "x", "b.timer": "y"})
    (tmp_path / "contract.json").write_text('{"misfits": ["guard: z"]}')
    found = host()
    assert [one["id"] for one in found["troubles"]] == ["not_known", "units", "units", "contract"]
    assert found["memory_free"] is None
    for one in found["troubles"]:
        assert f"{one['what']} (id: {one['id']})" in found["state"]
    assert "a.timer" in found["state"]


def test_a_program_that_does_not_run_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    states = {"bench-web": "FATAL", "bench-workers": node_status.RUNNING}
    monkeypatch.setattr(node_status, "programs", lambda _: states)
    (found,) = node_status.stopped_programs("/home/frappe/bench")
    assert found["id"] == "program_stopped"
    assert "bench-web" in found["what"]


def test_lists_of_hosts_get_tables_of_their_own() -> None:
    rows = [{"host": "erp1", "kept": [{"id": "dumps"}]}, {"host": "rep1"}]
    assert fleet_status.taken_out(rows, "kept") == [{"host": "erp1", "id": "dumps"}]
    assert "kept" not in rows[0]
