"""Stops a run without an inventory, or with one whose encrypted values cannot be read.

Ansible finds no host without an inventory and succeeds; and it stops at the first encrypted value
before any task of ours runs, with a message that names neither variable nor file.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from ansible._internal._datatag._tags import Origin
from ansible.errors import AnsibleError
from ansible.parsing.vault import EncryptedString
from ansible.plugins.callback import CallbackBase

sys.path.append(str(Path(__file__).parents[2] / "module_utils"))

from fleet.preflight.inventory import (
    INVENTORY_MISSING,
    VAULT_PASSWORD_MISSING,
    VAULT_PASSWORD_WRONG,
)
from fleet.preflight.problems import Kind, Problem, listed

DOCUMENTATION = """
name: fit_inventory
type: aggregate
short_description: stops a run that has no inventory, or one that cannot be decrypted
description: Names the missing option, or each encrypted file and variable that the run needs.
"""
ROOT = Path(__file__).resolve().parents[2]
# The inventory that ansible.cfg names.
UNNAMED = str(ROOT / "inventory/unnamed.yml")
HEADER = b"$ANSIBLE_VAULT;"
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


def kind_of(error: Exception) -> Kind:
    """Whether the vault password is missing or wrong."""
    missing = re.search("no vault secrets found", str(error))
    return VAULT_PASSWORD_MISSING if missing else VAULT_PASSWORD_WRONG


def locked_in(value: Any) -> tuple[Kind, str] | None:
    """Why a value, or one inside it, cannot be decrypted, and its place; None when it can."""
    if isinstance(value, EncryptedString):
        try:
            str(value)
        except AnsibleError as error:
            origin = Origin.get_tag(value)
            place = f"{origin.path}:{origin.line_num}" if origin and origin.path else ""
            return kind_of(error), place
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
    """The locked variables that begin with one of the prefixes, or are named in such a variable."""
    ours = {name: value for name, value in variables.items() if name.startswith(prefixes)}
    texts = [value for value in ours.values() if type(value).__str__ is str.__str__]
    named = set(re.findall(r"\w+", " ".join(map(str, texts))))
    return {name for name in locked if name in ours or name in named}


def locked_text(problems: list[Problem]) -> str:
    """The message with all problems."""
    number = len(problems)
    return (
        f"The inventory holds {number} encrypted value{'' if number == 1 else 's'} that cannot be"
        f" read. Nothing was touched on any host.\n{listed(problems)}"
    )


class CallbackModule(CallbackBase):
    """Looks at the inventory before the first play."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "aggregate"
    CALLBACK_NAME = "fit_inventory"

    def v2_playbook_on_start(self, playbook: Any) -> None:
        """Look at files, then at single variables, which can be read only if the files can."""
        plays = playbook.get_plays()
        if not plays:
            return
        manager = plays[0].get_variable_manager()
        if UNNAMED in manager._inventory._sources:
            missing = listed([INVENTORY_MISSING.found()], numbered=False)
            self.stop(f"The run has no hosts. Nothing was touched.\n{missing}")
        problems = self.locked_files(manager) or self.locked_variables(manager, plays)
        if problems:
            self.stop(locked_text(problems))

    def stop(self, message: str) -> NoReturn:
        """End the run; any other exception of a callback is only a warning to Ansible."""
        self._display.display(message, stderr=True)
        raise SystemExit(EXIT_STATUS)

    def locked_files(self, manager: Any) -> list[Problem]:
        """Files of variables that cannot be decrypted."""
        problems = []
        for file in variable_files(manager._inventory._sources):
            if not is_encrypted(file):
                continue
            try:
                manager._loader.load_from_file(str(file), cache="none", unsafe=True)
            except AnsibleError as error:
                found = kind_of(error).found(value="this file", where=str(file))
                problems.append(found)
        return problems

    def locked_variables(self, manager: Any, plays: list[Any]) -> list[Problem]:
        """Variables that this playbook needs and that cannot be decrypted.

        Every playbook needs those of the connection; one with a preflight all of ours.
        """
        judged = any(role.get_name() == "preflight" for play in plays for role in play.get_roles())
        ours = (
            [f"{role.name}_" for role in (ROOT / "roles").iterdir()] + ["lan_ip"] if judged else []
        )
        found: dict[tuple[Kind, str, str], list[str]] = {}
        for host in manager._inventory.get_hosts():
            variables = manager.get_vars(host=host, include_hostvars=False)
            locked = {n: why for n, value in variables.items() if (why := locked_in(value))}
            for name in sorted(needed(locked, variables, ("ansible_", *ours)) if locked else ()):
                kind, place = locked[name]
                found.setdefault((kind, name, place), []).append(host.name)
        return [
            kind.found(value=name, where=f"{place or 'the inventory'} ({', '.join(sorted(hosts))})")
            for (kind, name, place), hosts in found.items()
        ]
