"""The secrets file on the controller: what can be said of it before it is used."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from .problems import Host, Problem, Settings, problem


def secrets_state(path: str) -> dict[str, Any]:
    """What can be said of the secrets file without a password: {exists, encrypted, fleet_id,
    problem}. fleet_id is "" when unknown; problem is None when the file may be used."""
    state: dict[str, Any] = {"exists": False, "encrypted": False, "fleet_id": "", "problem": None}
    file, place = Path(path), f"{path} on the controller"
    try:
        mode = stat.S_IMODE(file.stat().st_mode)
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return state
    except (OSError, UnicodeDecodeError) as error:
        state["problem"] = problem(
            f"the secrets file cannot be read: {getattr(error, 'strerror', None) or error}",
            place,
            "run as the user who owns it, or put it back from a backup",
        )
        return state
    state["exists"] = True
    state["encrypted"] = text.startswith("$ANSIBLE_VAULT;")
    if state["encrypted"]:
        return state
    if mode & 0o077:
        state["problem"] = problem(
            f"the secrets file can be read by others than its owner (mode {mode:04o})",
            place,
            f"chmod 0600 {path}",
        )
        return state
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        state["problem"] = problem(
            "the secrets file is not valid YAML" + (f" (line {mark.line + 1})" if mark else ""),
            place,
            "put it back from a backup; a new one would lock the fleet out of its own hosts, so "
            "none is made",
        )
        return state
    if not isinstance(content, dict) or not isinstance(content.get("fleet_id"), str):
        state["problem"] = problem(
            "the secrets file holds no fleet_id",
            place,
            "put it back from a backup; if it was never used, remove it",
        )
        return state
    state["fleet_id"] = content["fleet_id"]
    return state


def opened_secrets(
    state: Mapping[str, Any], path: str, content: Any, hosts: list[Host]
) -> dict[str, Any]:
    """The state of the secrets file once its decryption was tried; content is {} if it failed.

    Of a file that cannot be used, the fleet is that of the hosts' marks: whether a host belongs to
    another fleet cannot be judged then, and is not the problem.
    """
    found = dict(state)
    if found["encrypted"]:
        found["fleet_id"] = content.get("fleet_id") if isinstance(content, Mapping) else None
        if not isinstance(found["fleet_id"], str):
            found["problem"] = problem(
                "the secrets file is encrypted, and no vault password was given, or one that does"
                " not fit",
                f"{path} on the controller",
                "add --ask-vault-pass or --vault-password-file to ansible-playbook, or name the"
                " file in ANSIBLE_VAULT_PASSWORD_FILE (./fleet reads it, too); if the password is"
                " right, put the secrets file back from a backup",
            )
    if found["problem"]:
        marks = [host["survey"].get("mark", {}) for host in hosts if host["survey"]]
        found["fleet_id"] = next((m["fleet_id"] for m in marks if m.get("fleet_id")), "")
    return found


def missing_secrets(state: Mapping[str, Any], path: str, content: Any) -> Problem | None:
    """Why the secrets of a running fleet cannot be used; None when they can."""
    if not state["exists"] and not state["problem"]:
        return problem(
            "the secrets file does not exist",
            f"{path} on the controller",
            "give the inventory that the fleet was made with (-i), or put the file back from a"
            " backup; a fleet that is not made yet has none: run site.yml",
        )
    found: Problem | None = opened_secrets(state, path, content, [])["problem"]
    return found


def check_secrets(_hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """The secrets file can be used."""
    if settings["secrets"]["problem"]:
        yield settings["secrets"]["problem"]
