"""Which fleet a command is for, and which hosts it has."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchfleet import runner
from benchfleet.lab import network, state
from benchfleet.shell import USAGE, FleetError, say

if TYPE_CHECKING:
    from benchfleet.passwords import Secrets

VARIABLE = "BENCHFLEET_INVENTORY"


@dataclass(frozen=True)
class Fleet:
    """The hosts of an inventory.

    hosts: names in the inventory's order, the primary first. limited: those that --limit leaves.
    addresses: `ansible_host` by name.
    """

    primary: list[str]
    reporting: list[str]
    others: list[str]
    limited: frozenset[str]
    addresses: dict[str, str]

    @property
    def hosts(self) -> list[str]:
        """All hosts."""
        return [*self.primary, *self.reporting, *self.others]

    def touched(self, group: str) -> str:
        """Return the hosts of a run with their roles, as text; `router` and `primary`: that one."""
        groups = {"primary": self.primary, "reporting": self.reporting, "no role": self.others}
        if group != "all":
            groups = {"primary": self.primary}
        left = {
            role: [name for name in names if name in self.limited] for role, names in groups.items()
        }
        return ", ".join(f"{' '.join(names)} ({role})" for role, names in left.items() if names)


def chosen(given: Path | None, command: str) -> Path:
    """Return the inventory that is named by -i or the environment; a lab is never guessed.

    command: the command line, for the message. Raises FleetError where none is named, or the one
    that is named does not exist.
    """
    named = given or (Path(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if named is None:
        raise FleetError(
            f"which fleet? Add `-i inventory/mine` to the command, or set {VARIABLE}"
            f"{lab_hint(command)}",
            USAGE,
        )
    if not named.exists():
        where = "-i" if given else VARIABLE
        raise FleetError(
            f"`{where} {named}`: there is no such file or folder. Name that of your hosts.yml;"
            " `cp -r inventory/example inventory/mine` begins one",
            USAGE,
        )
    if is_lab(named):
        enter_lab()
    return named


def lab_hint(command: str) -> str:
    """Return how to run a command on this machine's lab, where there is exactly one."""
    labs = state.all_labs()
    return f". For lab {labs[0].name!r}: `{command} -i inventory/lab`" if len(labs) == 1 else ""


def is_lab(inventory: Path) -> bool:
    """Return whether an inventory is that of the labs, however its path is written."""
    return inventory.resolve() == runner.LAB_INVENTORY


def enter_lab() -> None:
    """Choose the lab that inventory/lab stands for, and enter its network space."""
    asked = os.environ.get("BENCHFLEET_LAB")
    try:
        name = state.inventory_lab().name
    except FleetError as error:
        raise FleetError(str(error), USAGE) from error
    if not asked:
        say(f"inventory/lab: using lab {name!r}, the only one on this machine")
    # The inventory then prints it no second time.
    os.environ["BENCHFLEET_LAB"] = name
    network.enter(name)


@dataclass(frozen=True)
class Asking:
    """How Ansible is asked about an inventory.

    secrets: the passwords that were typed. vaults: arguments that name files of vault passwords.
    """

    inventory: Path
    secrets: Secrets
    vaults: tuple[str, ...] = ()

    def listed(self, *words: str) -> dict[str, Any]:
        """Return what ansible-inventory lists; FleetError with what it says where it fails."""
        program = Path(sys.executable).with_name("ansible-inventory")
        command = [str(program), "-i", str(self.inventory.resolve()), "--list", *words]
        with tempfile.TemporaryDirectory(prefix="benchfleet-") as folder:
            environment, arguments = self.secrets.give(Path(folder))
            done = subprocess.run(
                [*command, *self.vaults, *arguments],
                env={**os.environ, **runner.VARIABLES, **environment},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                check=False,
            )
        if done.returncode != 0:
            said = done.stderr.strip() or f"`{shlex.join(command)}` failed and says nothing"
            raise FleetError(f"{self.inventory} cannot be read:\n{said}", USAGE)
        groups: dict[str, Any] = json.loads(done.stdout)
        return groups

    def fleet(self, limit: str | None = None) -> Fleet:
        """Return the hosts; FleetError where there are none, or `limit` leaves none."""
        groups = self.listed()
        found = groups["_meta"]["hostvars"]
        names = [host for group in groups.values() for host in group.get("hosts") or []]
        primary, reporting = (members(groups, group) for group in ("primary", "reporting"))
        others = [n for n in dict.fromkeys([*found, *names]) if n not in {*primary, *reporting}]
        hosts = [*primary, *reporting, *others]
        if not hosts:
            raise FleetError(
                f"{self.inventory} names no host: name one in group primary, and any number in"
                " group reporting",
                USAGE,
            )
        limited = frozenset(hosts)
        if limit:
            left = self.listed("--limit", limit).values()
            limited &= {host for group in left for host in group.get("hosts") or []}
            if not limited:
                raise FleetError(
                    f"`--limit {limit}` names no host of {self.inventory}, which has"
                    f" {' '.join(hosts)}",
                    USAGE,
                )
        addresses = {name: str(found.get(name, {}).get("ansible_host", name)) for name in hosts}
        return Fleet(primary, reporting, others, limited, addresses)


def members(groups: dict[str, Any], group: str) -> list[str]:
    """Return the hosts of a group and of its children, in order."""
    told = groups.get(group) or {}
    below = [host for child in told.get("children") or [] for host in members(groups, child)]
    return list(dict.fromkeys([*(told.get("hosts") or []), *below]))
