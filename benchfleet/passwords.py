"""Passwords that a run of Ansible needs: asked once on the terminal, given to it in files."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchfleet.shell import FleetError, write_file

BECOME, CONNECTION, VAULT = "-K", "-k", "-J"
LONG = {
    "--ask-become-pass": BECOME,
    "--ask-pass": CONNECTION,
    "--ask-vault-password": VAULT,
    "--ask-vault-pass": VAULT,
}
# What is asked for, and the variable with a file that answers it without a terminal.
ASKED = {
    BECOME: ("sudo's password on the hosts", "ANSIBLE_BECOME_PASSWORD_FILE"),
    CONNECTION: ("SSH password of the hosts", "ANSIBLE_CONNECTION_PASSWORD_FILE"),
    VAULT: ("vault password", "ANSIBLE_VAULT_PASSWORD_FILE"),
}
# Options of ansible-playbook without a value, which may stand together with these: -Kv.
SWITCHES = re.compile(r"-[CDKJkbv]{2,}")
VAULT_ID = "--vault-id"


@dataclass(frozen=True)
class Secrets:
    """The passwords for one run, or for several.

    passwords: by "-K" and "-k". vaults: by the vault's label. Neither is shown by repr().
    """

    passwords: dict[str, str] = field(default_factory=dict, repr=False)
    vaults: dict[str, str] = field(default_factory=dict, repr=False)

    def give(self, folder: Path) -> tuple[dict[str, str], list[str]]:
        """Write the passwords to files in a private folder.

        Returns environment variables and arguments that name the files to Ansible.
        """
        environment, arguments = {}, []
        for option, password in self.passwords.items():
            file = folder / f"password{option}"
            write_file(file, password + "\n", 0o600)
            environment[ASKED[option][1]] = str(file)
        for number, (label, password) in enumerate(self.vaults.items()):
            file = folder / f"vault-{number}"
            write_file(file, password + "\n", 0o600)
            arguments += [VAULT_ID, f"{label}@{file}"]
        return environment, arguments


def split(arguments: Sequence[str]) -> tuple[list[str], list[str], list[str]]:
    """Return what ansible-playbook would ask for.

    That is: "-K", "-k"; labels of vaults; and the arguments without these.
    """
    wanted: list[str] = []
    labels: list[str] = []
    rest: list[str] = []
    words = list(arguments)
    while words:
        word = words.pop(0)
        if word == VAULT_ID and words:
            word = f"{VAULT_ID}={words.pop(0)}"
        if word.startswith(f"{VAULT_ID}="):
            label, at, source = word.partition("=")[2].rpartition("@")
            if source == "prompt":
                labels.append(label if at else "default")
            else:
                rest += [VAULT_ID, word.partition("=")[2]]
            continue
        together = SWITCHES.fullmatch(word) and set("KkJ") & set(word)
        letters = word[1:] if together else ""
        asked = [LONG.get(word, word)] if not letters else [f"-{letter}" for letter in letters]
        wanted += [option for option in asked if option in (BECOME, CONNECTION)]
        labels += ["default" for option in asked if option == VAULT]
        if letters:
            rest += [option for option in asked if option not in ASKED]
        elif asked[0] not in ASKED:
            rest.append(word)
    return list(dict.fromkeys(wanted)), list(dict.fromkeys(labels)), rest


def ask(arguments: Sequence[str]) -> tuple[Secrets, list[str]]:
    """Ask on the terminal for what these arguments of ansible-playbook ask for.

    Returns the passwords, and the arguments without -K, -k, -J and prompts of --vault-id. Raises
    FleetError where there is no terminal.
    """
    wanted, labels, rest = split(arguments)
    passwords = {option: prompt(option) for option in wanted}
    vaults = {label: prompt(VAULT, "" if label == "default" else label) for label in labels}
    return Secrets(passwords, vaults), rest


def prompt(option: str, label: str = "") -> str:
    """Ask for one password. Raises FleetError without a terminal."""
    what, variable = ASKED[option]
    name = f"{what} ({label})" if label else what
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        file = f"{VAULT_ID} {label}@FILE" if label else f"{variable}=FILE in the environment"
        raise FleetError(
            f"{option} asks for the {name}, and this command has no terminal to ask on. Write it to"
            f" a file that only you can read, and name that with {file}, without {option}"
        ) from None
    return getpass.getpass(f"{name[0].upper()}{name[1:]}: ")
