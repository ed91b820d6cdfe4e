"""The secrets file before it is used."""

from __future__ import annotations

import pytest
from fleet.preflight import secrets

from tests.unit.bare_fleet import ids, kinds


def test_secrets_state_of_no_file(tmp_path):
    state = secrets.secrets_state(str(tmp_path / "fleet.yml"))
    assert state == {"exists": False, "encrypted": False, "fleet_id": "", "problem": None}


@pytest.mark.parametrize(
    ("text", "mode", "kind", "facts"),
    [
        ("fleet_id: f1\n", 0o600, None, {}),
        ("fleet_id: f1\n", 0o640, "secrets_open_to_others", {"mode": "0640"}),
        ("fleet_id: 'f1\nx: {", 0o600, "secrets_not_yaml", {"line": 2}),
        ("", 0o600, "secrets_without_fleet_id", {}),
        ("- a\n", 0o600, "secrets_without_fleet_id", {}),
    ],
)
def test_secrets_state(tmp_path, fleet, settings, text, mode, kind, facts):
    file = tmp_path / "fleet.yml"
    file.write_text(text)
    file.chmod(mode)
    state = settings["secrets"] = secrets.secrets_state(str(file))
    expected = [(kind, {"path": str(file), **facts})] if kind else []
    assert kinds(fleet, settings) == expected
    assert state["fleet_id"] == ("" if kind else "f1")


def test_secrets_file_that_cannot_be_read(tmp_path):
    found = secrets.secrets_state(str(tmp_path))["problem"]
    assert found["id"] == "secrets_unreadable"
    assert found["facts"]["path"] == str(tmp_path)


@pytest.fixture
def encrypted(tmp_path):
    """The path of an encrypted secrets file, and its state."""
    file = tmp_path / "fleet.yml"
    file.write_text("$ANSIBLE_VAULT;1.1;AES256\n6162\n")
    return str(file), secrets.secrets_state(str(file))


def test_encrypted_secrets_are_no_problem_once_they_are_open(fleet, settings, encrypted):
    path, state = encrypted
    assert state["encrypted"]
    settings["secrets"] = secrets.opened_secrets(state, path, {"fleet_id": "f1"}, fleet)
    assert settings["secrets"]["fleet_id"] == "f1"
    assert ids(fleet, settings) == []
    assert secrets.missing_secrets(state, path, {"fleet_id": "f1"}) is None


@pytest.mark.parametrize("content", [{}, {"other": 1}, "text", {"fleet_id": 5}])
def test_encrypted_secrets_without_a_password_are_the_only_problem(
    fleet, settings, encrypted, content
):
    path, state = encrypted
    for host in fleet:
        host["survey"]["mark"] = {"state": "present", "fleet_id": "f1", "path": "/x"}
    settings["secrets"] = secrets.opened_secrets(state, path, content, fleet)
    settings["fleet_id"] = settings["secrets"]["fleet_id"]
    assert kinds(fleet, settings) == [("secrets_locked", {"path": path})]
    assert secrets.missing_secrets(state, path, content) == settings["secrets"]["problem"]


def test_a_running_fleet_has_secrets(tmp_path):
    path = str(tmp_path / "fleet.yml")
    found = secrets.missing_secrets(secrets.secrets_state(path), path, {})
    assert (found["id"], found["facts"]) == ("secrets_missing", {"path": path})
