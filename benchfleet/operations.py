"""Runs a verb: asks before it changes something, runs its playbook, and shows the result."""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import os
import shlex
import sys
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchfleet import entries, inventories, runner, screen
from benchfleet.inventories import Asking, Fleet
from benchfleet.shell import (
    INTERRUPTED,
    NOT_ASKED,
    NOT_FINE,
    USAGE,
    FleetError,
    say,
    write_file,
)
from benchfleet.verbs import Verb


def run(verb: Verb, options: argparse.Namespace, words: Sequence[str]) -> int:
    """Run a verb; returns the exit status.

    options: as cli.py parses them. words: the command line, for a message that names it.
    """
    from benchfleet import passwords

    inventory = inventories.chosen(options.inventory, shlex.join(["./fleet", *words]))
    # Before anything is asked: a malformed argument ends the command.
    extra = verb.extra(options)
    given, vaults = passwords.ask(password_arguments(options))
    asking = Asking(inventory, given, tuple(vaults))
    if verb.name == "add":
        have_entry(verb, options, asking)
    elif changes(verb, options) or named_host(options) or getattr(options, "limit", None):
        extra |= agreed(verb, options, asking)
    if verb.moves:
        from benchfleet import switching

        return switching.run(verb, options, asking, extra)
    status = played(verb, options, asking, extra)
    if verb.name == "remove" and status == 0:
        forget(options, asking)
    return status


def played(verb: Verb, options: argparse.Namespace, asking: Asking, extra: dict[str, Any]) -> int:
    """Run a verb's playbook and show its result; returns the exit status."""
    arguments = [*passed_on(verb, options), *asking.vaults]
    if options.raw:
        with tempfile.TemporaryDirectory(prefix="benchfleet-") as folder:
            environment, files = asking.secrets.give(Path(folder))
            words = [*arguments, *files]
            status = runner.raw(verb.playbook, asking.inventory, words, extra, environment)
        return status if status in (0, INTERRUPTED) else NOT_FINE

    def play() -> runner.Outcome:
        return runner.play(
            verb.playbook,
            asking.inventory,
            collect=verb.collect,
            extra=extra,
            arguments=arguments,
            secrets=asking.secrets,
        )

    if getattr(options, "watch", False):
        from benchfleet import status_view

        return status_view.watch(play, wide=options.wide)
    outcome = play()
    if not outcome.ok and not outcome.stats:
        # Ansible did not begin: an inventory that it cannot read is wrong usage.
        asking.fleet()
    return shown(verb, options, outcome) if verb.show else ended(outcome)


def password_arguments(options: argparse.Namespace) -> list[str]:
    """Return the arguments of Ansible's that are about passwords."""
    words = ["-K"] if options.ask_become_pass else []
    words += ["--ask-vault-pass"] if options.ask_vault_pass else []
    for name in ("vault_password_file", "vault_id"):
        for given in getattr(options, name):
            words += [f"--{name.replace('_', '-')}", given]
    return words


def changes(verb: Verb, options: argparse.Namespace) -> bool:
    """Return whether a verb changes something: doctor only with --fix."""
    return bool(verb.does) and getattr(options, "fix", True)


def named_host(options: argparse.Namespace) -> str | None:
    """Return the host that a command names, if its verb has one."""
    return getattr(options, "node", None) or getattr(options, "host", None)


def shown(verb: Verb, options: argparse.Namespace, outcome: runner.Outcome) -> int:
    """Print the result of a verb by the function that the table names; returns its status."""
    module, function = verb.show.split(":")
    show = getattr(importlib.import_module(f"benchfleet.{module}"), function)
    status: int = show(outcome, as_json=options.json, wide=options.wide)
    return status


def ended(outcome: runner.Outcome) -> int:
    """Print what a change has to say and how it ended; returns the exit status."""
    for line in dict.fromkeys(line for result in outcome.results for line in messages(result)):
        print(line)
    for host, numbers in outcome.stats.items():
        if host != "localhost":
            print(f"{host}: {state_of(numbers)}, {numbers['changed']} changes")
    if outcome.ok:
        return 0
    asked = [numbers for host, numbers in outcome.stats.items() if host != "localhost"]
    silent = bool(asked) and all(numbers["dark"] for numbers in asked)
    return NOT_ASKED if silent else NOT_FINE


def messages(result: dict[str, Any]) -> list[str]:
    """Return what a module says to the operator, as lines.

    That is `words`; else the error of one that failed; else what debug prints, a text, a list, a
    mapping, or a variable under its name.
    """
    said = [f"warning: {warning}" for warning in result.get("warnings") or []]
    if result.get("words"):
        return [*texts(result["words"]), *said]
    if result.get("failed"):
        return [*(f"error: {line}" for line in texts(result.get("msg"))), *said]
    if "ansible_facts" in result:
        return said
    kept = ("changed", "failed", "skipped", "warnings", "deprecations", "censored")
    left = [v for k, v in result.items() if k not in kept and not k.startswith("_ansible")]
    return [*(texts(left[0]) if len(left) == 1 else []), *said]


def texts(value: Any) -> list[str]:
    """Return a value of a playbook as lines."""
    if isinstance(value, dict):
        return [f"{key}: {'; '.join(texts(part))}" for key, part in value.items() if texts(part)]
    if isinstance(value, list):
        return [line for part in value for line in texts(part)]
    return [] if value is None else str(value).splitlines()


def state_of(numbers: dict[str, int]) -> str:
    """Return how a run ended for a host."""
    if numbers["dark"]:
        return "does not answer"
    return "FAILED" if numbers["failures"] else "ok"


def passed_on(verb: Verb, options: argparse.Namespace) -> list[str]:
    """Return the arguments of ansible-playbook: the verb's own, then the user's."""
    words = [*verb.always]
    limit = getattr(options, "limit", None) or getattr(options, "host", None)
    words += ["--limit", limit] if limit else []
    words += [f"--{name}" for name in ("check", "diff") if getattr(options, name, False)]
    words += [f"-{'v' * options.verbose}"] if options.verbose else []
    return [*words, *(word for given in options.extra for word in ("-e", given))]


def on_terminal() -> bool:
    """Return whether somebody can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()


def agreed(verb: Verb, options: argparse.Namespace, asking: Asking) -> dict[str, Any]:
    """Say what a verb is about to do, and have it confirmed; returns the variable `confirm`.

    Raises FleetError where a host is unknown, or it is not confirmed: nothing was touched then.
    """
    inventory, fleet = asking.inventory, asking.fleet(getattr(options, "limit", None))
    host = named_host(options)
    if host and host not in fleet.hosts:
        raise FleetError(f"{inventory} has no host {host}: it has {' '.join(fleet.hosts)}", USAGE)
    if not changes(verb, options):
        return {}
    if getattr(options, "host", None):
        fleet = dataclasses.replace(fleet, limited=frozenset([options.host]))
    word = confirmation(verb, options, inventory, fleet)
    facts = {**vars(options), "primary": " ".join(fleet.primary)}
    announce(verb.name, verb.does.format(**facts), inventory, fleet.touched(verb.touches))
    given = getattr(options, "confirm", None)
    if given is not None and given != word:
        raise FleetError(f"`--confirm {given}`: expected {word}. Nothing was touched", USAGE)
    if given is None and not options.yes and not getattr(options, "check", False):
        other = f" or `--confirm {word}`" if word else ""
        ask(word or "yes", must=verb.destroys, alternative=other)
    return {"confirm": word} if word else {}


def confirmation(verb: Verb, options: argparse.Namespace, inventory: Path, fleet: Fleet) -> str:
    """Return the name that confirms a verb, "" where it has none."""
    if verb.confirm != "primary":
        return str(getattr(options, verb.confirm)) if verb.confirm else ""
    if len(fleet.primary) != 1:
        raise FleetError(
            f"{inventory} has {len(fleet.primary)} hosts in group primary; name exactly one", USAGE
        )
    return fleet.primary[0]


def announce(name: str, does: str, inventory: Path, hosts: str) -> None:
    """Print what is about to be touched."""
    rows = {"fleet": str(inventory), "hosts": hosts, name: does}
    whole = textwrap.TextWrapper(screen.WIDTH, break_on_hyphens=False, break_long_words=False)
    whole.subsequent_indent = " " * 11
    for title, text in rows.items():
        print(whole.fill(f"{title:<10} {text}"), file=sys.stderr)


def ask(word: str, *, must: bool, alternative: str = "") -> None:
    """Have a word typed on the terminal; without a terminal, go on unless it `must` be typed.

    Raises FleetError where it is not typed.
    """
    if not on_terminal():
        if must:
            raise FleetError(
                f"this must be confirmed, and there is no terminal: add `--yes`{alternative}."
                " Nothing was touched",
                USAGE,
            )
        return
    print(f"Type {word} to go on: ", end="", file=sys.stderr, flush=True)
    typed = sys.stdin.readline().strip()
    if typed != word:
        raise FleetError(f"{typed or 'nothing'} was typed, not {word}. Nothing was touched")


def have_entry(verb: Verb, options: argparse.Namespace, asking: Asking) -> None:
    """Have the node in the inventory that `add` names, with a confirmed entry where it has none."""
    name, address, inventory = options.node, options.address, asking.inventory
    if not entries.NAME.fullmatch(name):
        raise FleetError(f"`{name}` is no name of a host", USAGE)
    if address and not entries.ADDRESS.fullmatch(address):
        raise FleetError(f"`{address}` is no address of a host", USAGE)
    fleet = asking.fleet()
    if name in fleet.reporting:
        if address and address != fleet.addresses[name]:
            raise FleetError(
                f"{name} is in {inventory} already, with the address {fleet.addresses[name]}:"
                " change it there, or leave the address out",
                USAGE,
            )
        agreed(verb, options, asking)
        return
    if name in fleet.hosts:
        raise FleetError(f"{name} is in {inventory} already, and no reporting node there", USAGE)
    if not address:
        raise FleetError(
            f"{inventory} has no host {name}: add its address to the command, or its entry to the"
            " inventory",
            USAGE,
        )
    path, before, after = entry_added(inventory, name, address)
    print(entries.difference(before, after, path), file=sys.stderr)
    hosts = f"{fleet.touched('all')}, and {name} (reporting), which is new"
    announce(verb.name, verb.does.format(node=name), inventory, hosts)
    if not options.yes:
        ask("yes", must=False)
    rewrite(path, before, after)
    say(f"{path}: {name} was added")
    if name not in asking.fleet().reporting:
        raise FleetError(f"{path} has {name} now, but Ansible does not find it in group reporting")


def entry_added(inventory: Path, name: str, address: str) -> tuple[Path, str, str]:
    """Return the hosts.yml, and its text without and with a node's entry.

    Raises FleetError with the lines to add by hand where it cannot be changed safely.
    """
    try:
        path = entries.hosts_file(inventory)
        before = read(path)
        return path, before, entries.with_entry(before, name, address)
    except entries.RefusedError as refused:
        lines = ["reporting:", "  hosts:", *(f"    {x}" for x in entries.lines_of(name, address))]
        shown_lines = "\n".join(f"  {line}" for line in lines)
        raise FleetError(
            f"{inventory} is not changed: {refused}. Add this to it, and run the same command"
            f" again:\n{shown_lines}",
            USAGE,
        ) from refused


def forget(options: argparse.Namespace, asking: Asking) -> None:
    """Take the entry of a node that has left out of hosts.yml, or say that it is to be done."""
    name, inventory = options.node, asking.inventory
    try:
        path = entries.hosts_file(inventory)
        before = read(path)
        after = entries.without_entry(before, name)
    except entries.RefusedError as refused:
        say(f"take {name} out of {inventory} yourself: {refused}")
        return
    print(entries.difference(before, after, path), file=sys.stderr)
    if options.check:
        return
    rewrite(path, before, after)
    say(f"{path}: {name} was taken out")
    if name in asking.fleet().hosts:
        say(f"another place of {inventory} still names {name}: take it out there, too")


def read(path: Path) -> str:
    """Return a file's text with its own ends of lines; RefusedError where it is none."""
    try:
        return path.read_bytes().decode()
    except (OSError, UnicodeDecodeError) as error:
        raise entries.RefusedError(f"{path} cannot be read: {error}") from error


def rewrite(path: Path, before: str, after: str) -> None:
    """Replace a file whose text is still `before`, with its mode and owner.

    Raises FleetError where somebody has changed it since, or it cannot be written.
    """
    real = path.resolve()
    try:
        if real.read_bytes() != before.encode():
            raise FleetError(f"{path} was changed meanwhile. It was left as it is")
        there = real.stat()
        write_file(real, after, there.st_mode & 0o7777)
        if (there.st_uid, there.st_gid) != (os.geteuid(), os.getegid()) and os.geteuid() == 0:
            os.chown(real, there.st_uid, there.st_gid)
    except OSError as error:
        raise FleetError(f"{path} cannot be written: {error}") from error
