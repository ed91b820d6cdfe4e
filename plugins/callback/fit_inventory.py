"""Stops a run without an inventory, or with one whose encrypted values cannot be read.

Ansible would find no host and call that a success; and it would stop at the first encrypted value,
without its name or file, before any task of ours runs.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from ansible._internal._datatag._tags import Origin
from ansible.errors import AnsibleError
from ansible.parsing.vault import EncryptedString
from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: fit_inventory
type: aggregate
short_description: stops a run that has no inventory, or one that cannot be decrypted
description: Says what to give, and names each encrypted file and variable that the run needs.
"""
ROOT = Path(__file__).resolve().parents[2]
# What ansible.cfg names.
UNNAMED = str(ROOT / "inventory/unnamed.yml")
NOT_GIVEN = (
    "No inventory was given, and none is guessed. Nothing was touched on any host. Give"
    " -i inventory/mine (your copy of inventory/example), or -i inventory/lab for a lab."
)
HEADER = b"$ANSIBLE_VAULT;"
REMEDY = (
    "add --ask-vault-pass or --vault-password-file to ansible-playbook, or name the file in"
    " ANSIBLE_VAULT_PASSWORD_FILE (./fleet reads it, too)"
)
EXIT_STATUS = 4


def variable_files(sources: Iterable[str]) -> Iterator[Path]:
    """Files with variables beside the sources of an inventory, where Ansible looks for them."""
    for source in map(Path, sources):
        for name in ("group_vars", "host_vars"):
            folder = (source if source.is_dir() else source.parent) / name
            for place, _folders, files in os.walk(folder):
                yield from (Path(place, file) for file in sorted(files))


def is_encrypted(file: Path) -> bool:
    """Whether a file is encrypted as a whole."""
    try:
        with file.open("rb") as opened:
            return opened.read(len(HEADER)) == HEADER
    except OSError:
        return False


def why_locked(error: Exception) -> str:
    """Whether the password is missing or does not fit, in words."""
    missing = "no vault secrets found" in str(error)
    return "no vault password was given" if missing else "the vault password does not fit"


def locked_in(value: Any) -> tuple[str, str] | None:
    """Why a value, or one inside it, cannot be decrypted, and its place; None when it can."""
    if isinstance(value, EncryptedString):
        try:
            str(value)
        except AnsibleError as error:
            origin = Origin.get_tag(value)
            place = f"{origin.path}:{origin.line_num}" if origin and origin.path else ""
            return why_locked(error), place
        return None
    inside: Iterable[Any] = ()
    if isinstance(value, Mapping):
        inside = value.values()
    elif isinstance(value, list):
        inside = value
    return next((found for part in inside if (found := locked_in(part))), None)


def needed(
    locked: Iterable[str], variables: Mapping[str, Any], prefixes: tuple[str, ...]
) -> set[str]:
    """Those of the locked variables that begin with one of the prefixes, or stand in such a one."""
    ours = {name: value for name, value in variables.items() if name.startswith(prefixes)}
    texts = [value for value in ours.values() if type(value).__str__ is str.__str__]
    words = set(re.findall(r"\w+", " ".join(map(str, texts))))
    return {name for name in locked if name in ours or name in words}


def locked_text(problems: list[tuple[str, str]]) -> str:
    """The problems, each with its place, as a text for people."""
    number = len(problems)
    lines = [
        f"The inventory holds {number} encrypted value{'' if number == 1 else 's'} that cannot be"
        " read. Nothing was touched on any host."
    ]
    for index, (what, place) in enumerate(problems, start=1):
        lines += ["", f"{index}. {what}", f"   place:  {place}", f"   remedy: {REMEDY}"]
    return "\n".join(lines)


class CallbackModule(CallbackBase):
    """Is told that a playbook begins."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "fit_inventory"

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Look at files, then at single variables, which cannot be told before the files can."""
        plays = playbook.get_plays()
        if not plays:
            return
        manager = plays[0].get_variable_manager()
        if UNNAMED in manager._inventory._sources:
            self.stop(NOT_GIVEN)
        problems = self.locked_files(manager) or self.locked_variables(manager, plays)
        if problems:
            self.stop(locked_text(problems))

    def stop(self, words: str) -> NoReturn:
        """End the run; Ansible takes every other exception of a callback for a warning."""
        self._display.display(words, stderr=True)
        raise SystemExit(EXIT_STATUS)

    def locked_files(self, manager: Any) -> list[tuple[str, str]]:
        """Files of variables that cannot be decrypted: (what, place)."""
        problems = []
        for file in variable_files(manager._inventory._sources):
            if not is_encrypted(file):
                continue
            try:
                manager._loader.load_from_file(str(file), cache="none", unsafe=True)
            except AnsibleError as error:
                what = f"variables of the inventory are encrypted, and {why_locked(error)}"
                problems.append((what, str(file)))
        return problems

    def locked_variables(self, manager: Any, plays: list[Any]) -> list[tuple[str, str]]:
        """Variables that this playbook needs and that cannot be decrypted: (what, place).

        Every playbook needs those of the connection; one with a preflight all of ours.
        """
        judged = any(role.get_name() == "preflight" for play in plays for role in play.get_roles())
        ours = (
            [f"{role.name}_" for role in (ROOT / "roles").iterdir()] + ["lan_ip"] if judged else []
        )
        found: dict[tuple[str, str], list[str]] = {}
        for host in manager._inventory.get_hosts():
            variables = manager.get_vars(host=host, include_hostvars=False)
            locked = {n: why for n, value in variables.items() if (why := locked_in(value))}
            for name in sorted(needed(locked, variables, ("ansible_", *ours)) if locked else ()):
                why, place = locked[name]
                found.setdefault((f"{name} is encrypted, and {why}", place), []).append(host.name)
        return [
            (what, f"{place or 'the inventory'} ({', '.join(sorted(hosts))})")
            for (what, place), hosts in found.items()
        ]
