"""The command line of ./fleet."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from benchfleet import base, lab, state
from benchfleet.shell import FleetError, say
from benchfleet.state import Lab

ROOT = Path(__file__).resolve().parent.parent


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(prog="./fleet", description="Benchfleet's launcher.")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    lab_parser = commands.add_parser("lab", help="a throwaway fleet on this machine")
    actions = lab_parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    named = argparse.ArgumentParser(add_help=False)
    named.add_argument("--name", help="which lab (BENCHFLEET_LAB, else 'lab')")

    up = actions.add_parser("up", parents=[named], help="make the lab, or bring it up to date")
    up.add_argument("--nodes", type=int, metavar="N", help="reporting nodes (1)")
    up.add_argument("--release", choices=base.RELEASES, help="Debian of the hosts (bookworm)")
    up.add_argument("--subnet", help=f"the lab's addresses ({state.DEFAULT_SUBNET})")
    up.add_argument("--frappe-repo", metavar="URL|PATH", help="framework (the demo in demo/)")
    up.add_argument("--frappe-branch", metavar="B", help="its branch")
    up.add_argument("--bare", action="store_true", help="boot the hosts and install nothing")
    up.add_argument(
        "--privileged", action="store_true", help="hosts that can run a lab themselves"
    )

    for action, words in (
        ("down", "remove the lab; base images stay"),
        ("status", "what of it is on"),
    ):
        sub = actions.add_parser(action, parents=[named], help=words)
        if action == "status":
            sub.add_argument("--json", action="store_true", help="for programs")
    for action, words in (
        ("ssh", "root on a host; exit status of COMMAND"),
        ("cut", "pull a host's network cable"),
        ("heal", "plug it in again"),
        ("kill", "cut a host's power"),
        ("start", "switch it on again"),
    ):
        sub = actions.add_parser(action, parents=[named], help=words)
        sub.add_argument("host", metavar="HOST")
        if action == "ssh":
            sub.usage = "./fleet lab ssh [--name NAME] HOST [-- COMMAND]"
    return top


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse a command line; what follows the first `--` of `lab ssh` is the remote command."""
    remote: list[str] = []
    if arguments[:2] == ["lab", "ssh"] and "--" in arguments:
        cut = arguments.index("--")
        arguments, remote = arguments[:cut], arguments[cut + 1 :]
    options = parser().parse_args(arguments)
    options.remote = remote
    return options


def wanted_lab(options: argparse.Namespace, name: str) -> Lab:
    """Return the lab that the options ask for; what they leave open stays as it was."""
    former = state.load(name)
    subnet = options.subnet or (former.subnet if former else state.DEFAULT_SUBNET)
    release = options.release or (former.release if former else base.RELEASES[0])
    nodes = options.nodes if options.nodes is not None else (former.nodes if former else 1)
    if not 0 <= nodes <= state.MAX_NODES:
        raise FleetError(f"--nodes {nodes}: a lab has 0 to {state.MAX_NODES} reporting nodes")
    state.check_subnet(subnet)
    owner = [int(os.environ.get("SUDO_UID", 0)), int(os.environ.get("SUDO_GID", 0))]
    lab_wanted = Lab(name, subnet, release, "", nodes, owner=owner)
    lab_wanted.privileged = options.privileged or bool(former and former.privileged)
    return lab_wanted


def lab_up(options: argparse.Namespace, name: str) -> int:
    """Boot the lab's hosts."""
    with lab.hold(name):
        wanted = lab.prepare(wanted_lab(options, name), bare=options.bare)
        lab.up(wanted)
    say("the hosts are up")
    return 0


def lab_command(options: argparse.Namespace) -> int:
    """Do what `./fleet lab ACTION` says; returns the exit status."""
    name = state.check_name(options.name) if options.name else state.name_from_environment()
    if options.action == "up":
        return lab_up(options, name)
    if options.action == "down":
        with lab.hold(name):
            lab.down(name)
        say(f"lab {name!r} is gone")
        return 0
    there = lab.the_lab(name)
    if options.action == "status":
        return lab_status(there, as_json=options.json)
    host = there.host(options.host)
    if options.action == "ssh":
        return lab.shell(there, host, options.remote)
    with lab.hold(name):
        {"cut": lab.cut, "heal": lab.heal, "kill": lab.kill, "start": lab.start}[options.action](
            there, host
        )
    say(f"{host.name}: {options.action} done")
    return 0


def lab_status(there: Lab, *, as_json: bool) -> int:
    """Print the lab's state."""
    found = lab.report(there)
    if as_json:
        print(json.dumps(found, indent=2))
        return 0
    for host in found["hosts"]:
        words = f"{host['name']:6} {host['role']:9} {host['ip']:15} power {host['power']:3}"
        print(f"{words}  network {host['network']}", file=sys.stderr)
    return 0


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        return lab_command(options)
    except FleetError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130
