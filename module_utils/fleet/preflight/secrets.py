"""The secrets file on the controller: its state and its problems before it is used."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from .problems import Host, Kind, Problem, Settings

FILE = "{path} on the controller"
SECRETS_UNREADABLE = Kind(
    "secrets_unreadable",
    "the secrets file cannot be read: {error}",
    FILE,
    "run as the user who owns it, or restore it from a backup",
)
SECRETS_OPEN_TO_OTHERS = Kind(
    "secrets_open_to_others",
    "accounts other than its owner can read the secrets file (mode {mode})",
    FILE,
    "chmod 0600 {path}",
)
SECRETS_NOT_YAML = Kind(
    "secrets_not_yaml",
    "the secrets file is not valid YAML (line {line})",
    FILE,
    "restore it from a backup; Benchfleet makes no new one, which would lock the fleet out of its"
    " own hosts",
)
SECRETS_WITHOUT_FLEET_ID = Kind(
    "secrets_without_fleet_id",
    "the secrets file holds no fleet_id",
    FILE,
    "restore it from a backup; if it was never used, remove it",
)
SECRETS_LOCKED = Kind(
    "secrets_locked",
    "the secrets file is encrypted, and no vault password, or a wrong one, was given",
    FILE,
    "add --ask-vault-pass or --vault-password-file to the command, or name the password file in"
    " ANSIBLE_VAULT_PASSWORD_FILE; if the password is right, restore the secrets file from a"
    " backup",
)
SECRETS_MISSING = Kind(
    "secrets_missing",
    "the secrets file does not exist",
    FILE,
    "give the inventory that the fleet was made with (-i), or restore the file from a backup; for a"
    " new fleet, run site.yml first: it makes the file",
)


def secrets_state(path: str) -> dict[str, Any]:
    """State of the secrets file as far as no password is needed: {exists, encrypted, fleet_id,
    problem}. fleet_id is "" when unknown; problem is None when the file may be used."""
    state: dict[str, Any] = {"exists": False, "encrypted": False, "fleet_id": "", "problem": None}
    file = Path(path)
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return state
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        state["problem"] = SECRETS_UNREADABLE.found(path=path, error=reason)
        return state
    state["exists"] = True
    state["encrypted"] = text.startswith("$ANSIBLE_VAULT;")
    if state["encrypted"]:
        return state
    if mode & 0o077:
        state["problem"] = SECRETS_OPEN_TO_OTHERS.found(path=path, mode=f"{mode:04o}")
        return state
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = mark.line + 1 if mark else "unknown"
        state["problem"] = SECRETS_NOT_YAML.found(path=path, line=line)
        return state
    if not isinstance(content, dict) or not isinstance(content.get("fleet_id"), str):
        state["problem"] = SECRETS_WITHOUT_FLEET_ID.found(path=path)
        return state
    state["fleet_id"] = content["fleet_id"]
    return state


def opened_secrets(
    state: Mapping[str, Any], path: str, content: Any, hosts: list[Host]
) -> dict[str, Any]:
    """State of the secrets file after its decryption was tried; content is {} if that failed.

    Where the file cannot be used, fleet_id is that of the hosts' marks: so no host is reported as
    one of another fleet, which cannot be known then.
    """
    found = dict(state)
    if found["encrypted"]:
        found["fleet_id"] = content.get("fleet_id") if isinstance(content, Mapping) else None
        if not isinstance(found["fleet_id"], str):
            found["problem"] = SECRETS_LOCKED.found(path=path)
    if found["problem"]:
        marks = [host["survey"].get("mark", {}) for host in hosts if host["survey"]]
        found["fleet_id"] = next((m["fleet_id"] for m in marks if m.get("fleet_id")), "")
    return found


def missing_secrets(state: Mapping[str, Any], path: str, content: Any) -> Problem | None:
    """The problem of a running fleet whose secrets cannot be used; None if they can."""
    if not state["exists"] and not state["problem"]:
        return SECRETS_MISSING.found(path=path)
    found: Problem | None = opened_secrets(state, path, content, [])["problem"]
    return found


def check_secrets(_hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """The problem of a secrets file that cannot be used."""
    if settings["secrets"]["problem"]:
        yield settings["secrets"]["problem"]
