"""The command line of ./fleet."""

from __future__ import annotations

import argparse
import functools
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from fleet import release

from benchfleet import operations, reports, runner
from benchfleet.inventories import VARIABLE
from benchfleet.lab import (
    base,
    commands,
    framework,
    machines,
    network,
    snapshot,
    state,
    summary,
)
from benchfleet.lab.state import Lab
from benchfleet.shell import INTERRUPTED, STARTED, FleetError, clock, say
from benchfleet.testing import programs
from benchfleet.testing.command import run_tests
from benchfleet.verbs import CHANGE, LOOK, VERBS, Verb

LAB_INVENTORY = runner.LAB_INVENTORY


LAB_HELP, TEST_HELP = "a throwaway fleet on this machine", "the project's own tests"
PAGE = """\
usage: ./fleet [-i INVENTORY] VERB [ARGUMENTS]

Benchfleet: one primary that takes every write, and reporting nodes that answer
the reports.

Look. Nothing is changed:
{look}

Change. You see the fleet and its hosts first, and are asked:
{change}

Without a fleet of your own:
{lab}

The fleet is the one in the folder INVENTORY, or in {variable}.
`./fleet VERB --help` shows what else a verb takes: passwords (-K, vault),
--limit, --check, --json, --yes, --raw. An interrupted command is run again: it
goes on where it stopped.

Exit status: 0 fine, 1 not fine, 2 wrong usage, 3 nobody could be asked,
130 interrupted.
"""


class Top(argparse.ArgumentParser):
    """The parser of the whole command line, with a page of help of its own."""

    def format_help(self) -> str:
        """Return the verbs in groups, at most 80 columns wide."""
        others = [("lab", LAB_HELP), ("test", TEST_HELP)]
        return PAGE.format(
            look=listed([(verb.name, verb.help) for verb in LOOK]),
            change=listed([(verb.name, verb.help) for verb in CHANGE]),
            lab=listed(others),
            variable=VARIABLE,
        )


def listed(rows: list[tuple[str, str]]) -> str:
    """Return verbs and what they do, one a line."""
    return "\n".join(f"  {name:<11} {text}" for name, text in rows)


@functools.cache
def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = Top(prog="./fleet", usage="./fleet [-i INVENTORY] VERB [ARGUMENTS]", allow_abbrev=False)
    top.add_argument("--version", action="version", version=release.title())
    top.add_argument("-i", "--inventory", type=Path)
    commands = top.add_subparsers(
        dest="command",
        required=True,
        metavar="VERB",
        prog="./fleet",
        parser_class=argparse.ArgumentParser,
    )

    lab_parser = commands.add_parser("lab", help=LAB_HELP)
    actions = lab_parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    named = argparse.ArgumentParser(add_help=False)
    named.add_argument("--name", help="which lab (BENCHFLEET_LAB, else 'lab')")

    up = actions.add_parser("up", parents=[named], help="make the lab, or bring it up to date")
    up.add_argument("--nodes", type=int, metavar="N", help="reporting nodes (1)")
    up.add_argument("--release", choices=base.RELEASES, help="Debian of the hosts (bookworm)")
    up.add_argument("--subnet", help=f"the lab's addresses ({state.DEFAULT_SUBNET})")
    up.add_argument("--frappe-repo", metavar="URL|PATH", help="framework (the demo in demo/)")
    up.add_argument("--frappe-branch", metavar="B", help="its branch")
    up.add_argument(
        "--app",
        action="append",
        default=[],
        metavar="NAME=URL#BRANCH",
        help="an app of bench and site, repeatable; URL may be a path, #BRANCH left out",
    )
    up.add_argument(
        "--assets",
        action="store_true",
        help="build web assets, also of a framework that is no demo",
    )
    up.add_argument("--python", metavar="PATH", help="bench_python: a path inside the hosts")
    up.add_argument("--prepare", metavar="SCRIPT", help="run as root on each host before site.yml")
    how = up.add_mutually_exclusive_group()
    how.add_argument("--bare", action="store_true", help="boot the hosts and install nothing")
    how.add_argument(
        "--copy",
        nargs="?",
        choices=("exact", "newest"),
        const="exact",
        help="start a copy of the fleet that this code makes, made and saved first where there is"
        " none; newest: of the fleet that was saved last",
    )
    up.add_argument("--privileged", action="store_true", help="hosts that can run a lab themselves")

    add_lab_actions(actions, named)
    for verb in VERBS.values():
        add_verb(commands, verb)
    add_test_command(commands)
    return top


def add_lab_actions(actions: Any, named: argparse.ArgumentParser) -> None:
    """Add the lab's actions but `up`."""
    for action, help_text in (
        ("down", "remove the lab; base images stay"),
        ("status", "which of its hosts are on"),
        ("save", "save its fleet, for `up --copy`"),
    ):
        sub = actions.add_parser(action, parents=[named], help=help_text)
        if action == "status":
            sub.add_argument("--json", action="store_true", help="for programs")
    for action, help_text in (
        ("ssh", "open a root shell on a host, or run COMMAND there"),
        ("cut", "pull a host's network cable"),
        ("heal", "plug it in again"),
        ("kill", "cut a host's power"),
        ("start", "switch it on again"),
    ):
        sub = actions.add_parser(action, parents=[named], help=help_text)
        sub.add_argument("host", metavar="HOST")
        if action == "ssh":
            sub.usage = "./fleet lab ssh [--name NAME] HOST [-- COMMAND]"


def add_verb(commands: Any, verb: Verb) -> None:
    """Add a verb with its own arguments, and those that it passes on."""
    sub = commands.add_parser(verb.name, help=verb.help, description=verb.help, allow_abbrev=False)
    for own in verb.arguments:
        sub.add_argument(*own.names, **own.options)
    where = f"folder or file that names the hosts ({VARIABLE})"
    # Suppressed, or a verb without it would forget the one before the verb.
    sub.add_argument("-i", "--inventory", type=Path, default=argparse.SUPPRESS, help=where)
    if verb.does:
        sub.add_argument("--yes", action="store_true", help="do not ask")
    if verb.confirm:
        sub.add_argument("--confirm", metavar="NAME", help="what would be typed: its name")
    if verb.show:
        sub.add_argument("--json", action="store_true", help="for programs")
        sub.add_argument("--wide", action="store_true", help="more columns than 80 allow")
    add_passed_on(sub.add_argument_group("given to ansible-playbook"), verb)


def add_passed_on(group: Any, verb: Verb) -> None:
    """Add the options that a verb passes on to ansible-playbook."""
    if "limit" in verb.takes:
        group.add_argument("--limit", metavar="HOSTS", help="only these, separated by commas")
    if "check" in verb.takes:
        group.add_argument(
            "--check", action="store_true", help="change nothing, show what would be"
        )
    if "diff" in verb.takes:
        group.add_argument("--diff", action="store_true", help="show files before and after")
    group.add_argument(
        "-K", "--ask-become-pass", action="store_true", help="ask for sudo's password"
    )
    group.add_argument("--ask-vault-pass", action="store_true", help="ask for the vault password")
    for name in ("--vault-password-file", "--vault-id"):
        group.add_argument(name, action="append", default=[], metavar="FILE")
    group.add_argument(
        "-e",
        "--extra-vars",
        dest="extra",
        action="append",
        default=[],
        metavar="VARIABLES",
        help="NAME=VALUE, JSON or @FILE",
    )
    group.add_argument(
        "-v", "--verbose", action="count", default=0, help="more in the log; -vvv: all"
    )
    group.add_argument("--raw", action="store_true", help="show Ansible's own output")


def add_test_command(commands: Any) -> None:
    """Add the command that runs the project's own tests."""
    test = commands.add_parser("test", help=TEST_HELP)
    names = f"{', '.join(programs.SUITES)}, or a scenario: {', '.join(programs.scenarios())}"
    test.add_argument("tests", nargs="*", metavar="TEST", help=f"{names}; without it, all but long")
    test.add_argument(
        "-k", metavar="NAME", help="only these tests of one scenario, on a lab that stays"
    )
    test.add_argument(
        "--fast", action="store_true", help="unit, lint and one scenario, on a lab that stays"
    )
    test.add_argument("--fail-fast", action="store_true", help="the first failure ends the rest")
    test.add_argument(
        "--minutes",
        type=float,
        default=60,
        metavar="N",
        help="long: start no round after N minutes (60)",
    )
    test.add_argument("--seed", type=int, help="long: seed of its random choices (a new one)")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse a command line; in `lab ssh`, the remote command follows the first `--`."""
    remote: list[str] = []
    if arguments[:2] == ["lab", "ssh"] and "--" in arguments:
        cut = arguments.index("--")
        arguments, remote = arguments[:cut], arguments[cut + 1 :]
    top = parser()
    options = top.parse_args(arguments)
    options.remote = remote
    if options.command not in VERBS and options.inventory:
        top.error(f"{options.command} takes no inventory (-i {options.inventory})")
    return options


def wanted_lab(options: argparse.Namespace, name: str) -> Lab:
    """Return the lab that the options ask for; where they say nothing, it stays as it is."""
    former = state.load(name)
    subnet = options.subnet or (former.subnet if former else state.DEFAULT_SUBNET)
    release = options.release or (former.release if former else base.RELEASES[0])
    nodes = options.nodes if options.nodes is not None else (former.nodes if former else 1)
    if not 0 <= nodes <= state.MAX_NODES:
        raise FleetError(f"`--nodes {nodes}`: a lab has 0 to {state.MAX_NODES} reporting nodes")
    state.check_subnet(subnet)
    owner = [int(os.environ.get("SUDO_UID", 0)), int(os.environ.get("SUDO_GID", 0))]
    lab_wanted = Lab(name, subnet, release, "", nodes, owner=owner)
    lab_wanted.primary = former.primary if former else state.FIRST
    lab_wanted.privileged = options.privileged or bool(former and former.privileged)
    framework.choose(
        lab_wanted,
        former,
        options.frappe_repo,
        options.frappe_branch,
        apps=options.app,
        assets=options.assets,
    )
    if options.python and not options.python.startswith("/"):
        raise FleetError(f"`--python {options.python}`: give an absolute path inside the hosts")
    lab_wanted.python = options.python or (former.python if former else None)
    lab_wanted.prepare = former.prepare if former else None
    if options.prepare:
        lab_wanted.prepare = str(Path(options.prepare).expanduser().resolve())
        commands.read_script(lab_wanted.prepare)
    return lab_wanted


def lab_up(options: argparse.Namespace, name: str) -> int:
    """Boot the lab's hosts, make a fleet of them, verify it, and print how to use it."""
    with commands.hold(name):
        wanted = commands.prepare(
            wanted_lab(options, name), bare=bool(options.bare or options.copy)
        )
        if options.copy:
            copy = snapshot.start(wanted, newest=options.copy == "newest")
            say(f"lab {name!r} is a copy of the fleet in {copy.snapshot}")
            return 0
        say("step 1 of 3: hosts")
        commands.up(wanted)
        if options.bare:
            say(f"the hosts of lab {name!r} are up, with nothing installed")
            return 0
        environment = {"BENCHFLEET_LAB": name}
        say("step 2 of 3: site.yml")
        site = runner.play("site.yml", LAB_INVENTORY, environment=environment)
        commands.hand_over(wanted)
        if not site.ok:
            say(f"the lab was left as it is: `./fleet lab ssh HOST --name {name}` opens a shell")
            say("Run the same command again to go on")
            return 1
        say(f"step 3 of 3: verify (site.yml took {clock(site.seconds)})")
        proved = runner.play(
            "playbooks/verify.yml", LAB_INVENTORY, collect=("check_fleet",), environment=environment
        )
        verified = reports.show_verify(proved, as_json=False, wide=False)
        report = summary.report_call(wanted)
    log = f"logs in {site.log.parent}"
    took = clock(time.monotonic() - STARTED)
    if verified == 0:
        say(f"lab {name!r} is ready after {took} ({log})")
    else:
        say(f"lab {name!r} runs after {took}, but not every check holds: see above ({log})")
    for line in [*report, *summary.access(wanted)]:
        print(line, file=sys.stderr)
    return verified


def lab_command(options: argparse.Namespace) -> int:
    """Run `./fleet lab ACTION`; returns the exit status."""
    name = named_lab(options)
    if options.action == "up":
        return lab_up(options, name)
    if options.action == "down":
        with commands.hold(name):
            commands.down(name)
        say(f"lab {name!r} is gone")
        return 0
    there = commands.the_lab(name)
    if options.action == "status":
        return lab_status(there, as_json=options.json)
    if options.action == "save":
        with commands.hold(name):
            snapshot.save(there)
        return 0
    host = there.host(options.host)
    if options.action == "ssh":
        return commands.shell(there, host, options.remote)
    with commands.hold(name):
        getattr(machines, options.action)(there, host)
    say(f"{host.name}: {options.action} done")
    return 0


def lab_status(there: Lab, *, as_json: bool) -> int:
    """Print the lab's state."""
    found = commands.report(there)
    if as_json:
        print(json.dumps(found, indent=2))
        return 0
    for host in found["hosts"]:
        row = f"{host['name']:6} {host['role']:9} {host['ip']:15} power {host['power']:3}"
        print(f"{row}  network {host['network']}", file=sys.stderr)
    return 0


def named_lab(options: argparse.Namespace) -> str:
    """Return the name of the lab that a command is for."""
    return state.check_name(options.name) if options.name else state.name_from_environment()


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    options = parse(words)
    try:
        if options.command == "test":
            return run_tests(options)
        if options.command in VERBS:
            return operations.run(VERBS[options.command], options, words)
        # `lab down` stays outside of the lab's network space, to remove it.
        if options.action != "down":
            network.enter(named_lab(options))
        return lab_command(options)
    except FleetError as error:
        say(str(error) if error.status == INTERRUPTED else f"error: {error}")
        return error.status
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED
