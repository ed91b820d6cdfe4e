"""A change of the primary: its playbook, then site.yml for the groups as they are, the inventory.

Until the inventory itself names the new primary, Ansible gets a second source that exchanges the
two hosts (plugins/inventory/primary_moved.py).
"""

from __future__ import annotations

import argparse
import configparser
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import yaml

from benchfleet import entries, inventories, operations, reports, runner
from benchfleet.inventories import Asking
from benchfleet.lab import commands, state
from benchfleet.shell import NOT_FINE, USAGE, FleetError, say
from benchfleet.verbs import VERBS, Verb

Play = Callable[..., runner.Outcome]
# The source that exchanges two hosts.
MOVED, PLUGIN = "primary_moved.yaml", "primary_moved"
ENABLED = "ANSIBLE_INVENTORY_ENABLED"
NOT_STANDBY = "switch_not_standby"


def run(verb: Verb, options: argparse.Namespace, asking: Asking, extra: dict[str, Any]) -> int:
    """Run a verb after which another host may be the primary; returns the exit status."""
    if options.raw:
        raise FleetError(
            f"`{verb.name}` runs several playbooks, and shows Ansible's own output of none: leave"
            " out `--raw`, or run them yourself (docs/switchover.md). Nothing was touched",
            USAGE,
        )
    with tempfile.TemporaryDirectory(prefix="benchfleet-") as folder:

        def play(
            playbook: str, primary: str, variables: dict[str, Any], *words: str, of: Verb = verb
        ) -> runner.Outcome:
            return runner.play(
                playbook,
                asking.inventory,
                collect=of.collect,
                extra=variables,
                arguments=[*operations.passed_on(of, options), *asking.vaults, *words],
                secrets=asking.secrets,
                besides=moved(Path(folder), primary) if primary else None,
                environment=readable() if primary else None,
            )

        outcome, found = changed(verb, options, extra, play)
        status = operations.ended(outcome)
        if outcome.ok and found and not getattr(options, "check", False):
            status = followed(options, asking, found, outcome, play)
    return status


def moved(folder: Path, primary: str) -> Path:
    """Write the source that makes a host the primary; returns its path."""
    file = folder / MOVED
    file.write_text(yaml.safe_dump({"plugin": PLUGIN, "primary": primary}))
    return file


def readable() -> dict[str, str]:
    """Return what Ansible needs to read that source where only some plugins are enabled."""
    settings = configparser.ConfigParser(interpolation=None, inline_comment_prefixes=(";",))
    settings.read(runner.VARIABLES["ANSIBLE_CONFIG"])
    configured = settings.get("inventory", "enable_plugins", fallback="")
    enabled = os.environ.get(ENABLED) or configured
    return {ENABLED: f"{enabled},{PLUGIN}"} if enabled else {}


def changed(
    verb: Verb, options: argparse.Namespace, extra: dict[str, Any], play: Play
) -> tuple[runner.Outcome, dict[str, Any]]:
    """Run the verb's playbook; returns how it ended, and whom it was about.

    It is run again where the inventory names another primary than the hosts' records, with the
    groups as they are; and where the new primary has to be made the standby first.
    """
    primary = ""
    while True:
        outcome = play(verb.playbook, primary, extra)
        found: dict[str, Any] = fact(outcome, "switch") or {}
        if outcome.ok or not found:
            return outcome, found
        problems = {problem["id"] for problem in found["problems"]}
        if found["moved"] and not primary and not problems:
            primary = found["primary"]
            say(f"{found['inventory']} was the primary. By the hosts' records {primary} is")
            if verb.name != "rejoin":
                extra = {**extra, "to": found["to"], "former": found["inventory"]}
            if verb.confirm and not found["done"]:
                if not options.yes and not getattr(options, "check", False):
                    operations.ask(primary, must=True)
                extra = {**extra, "confirm": primary}
        elif problems == {NOT_STANDBY} and "fleet_standby" not in extra:
            extra = {**extra, "fleet_standby": found["to"]}
            say(f"{found['to']} is made the standby first")
            prepared = play("site.yml", primary, {"fleet_standby": found["to"]}, of=VERBS["apply"])
            if not prepared.ok:
                return prepared, {}
        else:
            return outcome, found


def fact(outcome: runner.Outcome, name: str) -> Any:
    """Return the last value of a fact that a run has set; None where it has not."""
    known = [result.get("ansible_facts") or {} for result in outcome.results]
    return next((facts[name] for facts in reversed(known) if name in facts), None)


def followed(
    options: argparse.Namespace,
    asking: Asking,
    found: dict[str, Any],
    outcome: runner.Outcome,
    play: Play,
) -> int:
    """Make every host wholly what it is now, show the state, and note it in the inventory."""
    primary, lost = found["new"], found["former"] if found["verb"] == "failover" else ""
    reseed = fact(outcome, "switch_reseed")
    variables = {"mariadb_replica_reseed": reseed} if reseed else {}
    limit = ("--limit", f"all:!{lost}") if lost else ()
    site = play("site.yml", primary, variables, *limit, of=VERBS["apply"])
    status = operations.ended(site)
    if site.ok:
        shown = play("playbooks/status.yml", primary, {"anew": True}, of=VERBS["status"])
        status = reports.show_status(shown, as_json=False, wide=False)
        # A host that was given up is away, and that is known.
        status = 0 if lost else status
    else:
        say(f"{primary} is the primary, but not everything is done: see above")
    note(options, asking, primary)
    if not site.ok:
        say("`./fleet apply` does the rest, once the inventory names the primary")
        return NOT_FINE
    return status


def note(options: argparse.Namespace, asking: Asking, primary: str) -> None:
    """Show what the inventory has to say from now on; write it where that was asked for."""
    inventory, write = asking.inventory, getattr(options, "write_inventory", False)
    former = asking.fleet().primary
    if former == [primary]:
        return
    if inventories.is_lab(inventory):
        note_lab(primary)
        return
    try:
        path = entries.hosts_file(inventory)
        before = operations.read(path)
        after = entries.exchanged(before, primary)
    except entries.RefusedError as refused:
        say(
            f"{inventory} is not changed: {refused}. Put {primary} into its group primary, and"
            f" {' '.join(former)} into its group reporting, before the next command"
        )
        return
    print(entries.difference(before, after, path), file=sys.stderr)
    if not write:
        say(f"put this into {path} before the next command (or use `--write-inventory`)")
        return
    operations.rewrite(path, before, after)
    if asking.fleet().primary == [primary]:
        say(f"{path}: {primary} is the primary")
    else:
        say(f"another place of {inventory} still names another primary: change it there, too")


def note_lab(primary: str) -> None:
    """Let the inventory of the lab follow: it has no file of its own, so this is always done."""
    lab = state.inventory_lab()
    with commands.hold(lab.name):
        lab.primary = primary
        lab.save()
    say(f"lab {lab.name!r}: {primary} is the primary")
