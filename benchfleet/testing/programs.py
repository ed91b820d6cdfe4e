"""The programs of the tests: unit tests, linters, molecule's scenarios, steps on a kept lab."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from benchfleet.lab import network, state
from benchfleet.runner import LAB_INVENTORY, ROOT
from benchfleet.shell import FleetError

SUITES = ("unit", "lint", "molecule", "long")
# Saves the fleet that others start copies of.
SAVER, SAVES = "default", "side_effect ../save.yml"
# By the times with which `./fleet test` ends, so that no processor is idle when it ends.
LONGEST_FIRST = (
    *("broken", "lifecycle", "read_path", "roles", "own_inventory", "jobs"),
    *("adopt", "trixie", "interrupted"),
)
LINTERS = (
    ("ruff check", ["ruff", "check", "."]),
    ("ruff format", ["ruff", "format", "--check", "."]),
    ("yamllint", ["yamllint", "--strict", "."]),
    ("mypy", ["mypy"]),
    ("ansible-lint", ["ansible-lint", "--offline", "--profile", "production"]),
)
PYTEST = ("--connection", "ansible", "--hosts", "all", "-p", "no:cacheprovider")
NOTHING_MATCHED = 5


@dataclass
class Program:
    """One program of the tests.

    lab: the lab in whose network it runs. scenario: whether it is a molecule scenario, whose lab is
    made and taken away with it; copies: on a copy of the saved fleet. accepted: exit
    statuses that are no failure.
    """

    title: str
    argv: list[str]
    lab: str | None = None
    scenario: bool = False
    copies: bool = False
    env: dict[str, str] = field(default_factory=dict)
    accepted: tuple[int, ...] = (0,)


def scenarios() -> list[str]:
    """Return the molecule scenarios: that which saves the fleet, then the longest first."""
    there = {path.parent.name for path in (ROOT / "molecule").glob("*/molecule.yml")}
    return [SAVER, *LONGEST_FIRST, *sorted(there - {SAVER, *LONGEST_FIRST})]


def settings(scenario: str) -> dict[str, Any]:
    """Return a scenario's settings, its own over those that all of them share.

    env: its environment. arguments: of ansible-playbook. steps: molecule's test_sequence.
    """
    files = (ROOT / ".config/molecule/config.yml", ROOT / f"molecule/{scenario}/molecule.yml")
    shared, own = (
        yaml.safe_load(path.read_text().replace("${MOLECULE_PROJECT_DIRECTORY}", str(ROOT)))
        for path in files
    )
    executor = own["ansible"].get("executor") or shared["ansible"]["executor"]
    return {
        "env": {**shared["ansible"]["env"], **own["ansible"].get("env", {})},
        "arguments": executor["args"]["ansible_playbook"],
        "steps": own["scenario"]["test_sequence"],
    }


def scenario_program(name: str) -> Program:
    """Return the program that plays a whole scenario."""
    # The runner removes the lab itself, after it has kept the logs of hosts whose tests failed.
    argv = ["molecule", "test", "--destroy=never", "--no-command-borders", "-s", name]
    env = settings(name)["env"]
    copies = "--copy" in env["BENCHFLEET_TEST_LAB"].split()
    return Program(name, argv, env["BENCHFLEET_LAB"], scenario=True, copies=copies)


def chosen(wanted: Sequence[str]) -> list[Program]:
    """Return the programs of suites and scenarios by name, all without one.

    Raises FleetError with all names for one that is unknown.
    """
    known = [*SUITES, *scenarios()]
    if unknown := [name for name in wanted if name not in known]:
        raise FleetError(f"there is no test {unknown[0]!r}; use {', '.join(known)}")
    programs = []
    if not wanted or "unit" in wanted:
        programs.append(Program("unit", ["pytest", "tests/unit"]))
    if not wanted or "lint" in wanted:
        programs += [Program(title, list(argv)) for title, argv in LINTERS]
    for name in scenarios():
        if not wanted or "molecule" in wanted or name in wanted:
            programs.append(scenario_program(name))
    return programs


def ordered(programs: list[Program]) -> list[Program]:
    """Return programs in the order in which they begin: the saver, then what is short."""
    return sorted(programs, key=lambda program: (program.title != SAVER, program.scenario))


def steps_on_kept_lab(scenario: str, expression: str | None) -> list[Program]:
    """Return what tests a scenario on its lab, which is made where it is not up, and stays.

    expression: pytest's -k. A copy is brought up to date by site.yml first, and a new lab whose
    finished fleet is tested gets one.
    """
    found = settings(scenario)
    name, options = found["env"]["BENCHFLEET_LAB"], found["env"]["BENCHFLEET_TEST_LAB"].split()
    env = {**found["env"], "BENCHFLEET_SSH_COUNT": os.devnull}
    is_new = state.load(name) is None
    if not network.space_of(name).exists():
        network.space_up(name)
    if "--copy" in options:
        options.insert(options.index("--copy") + 1, "newest")
    commands = [("lab", [str(ROOT / "fleet"), "lab", "up", *options])]
    if "--copy" in options or ("verify" in found["steps"] and is_new):
        commands.append(("site.yml", ["ansible-playbook", *found["arguments"], "site.yml"]))
    for step in found["steps"]:
        verb, _, place = step.partition(" ")
        if verb == "verify":
            folder = (ROOT / "molecule" / scenario / (place or "../tests/fleet")).resolve()
            command = ["pytest", str(folder), f"--ansible-inventory={LAB_INVENTORY}", *PYTEST]
            commands.append((folder.name, [*command, *(["-k", expression] if expression else [])]))
    return [
        Program(
            f"{scenario} {what}",
            command,
            name,
            env=env,
            accepted=(0, NOTHING_MATCHED) if command[0] == "pytest" and expression else (0,),
        )
        for what, command in commands
    ]
