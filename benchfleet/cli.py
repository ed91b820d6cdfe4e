"""The command line of ./fleet."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from fleet import release

from benchfleet import reports, runner
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
from benchfleet.shell import STARTED, FleetError, clock, say
from benchfleet.testing import programs
from benchfleet.testing.command import run_tests

LAB_INVENTORY = runner.LAB_INVENTORY


def parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    top = argparse.ArgumentParser(prog="./fleet", description="Benchfleet's launcher.")
    top.add_argument("--version", action="version", version=release.title())
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
    add_fleet_commands(commands)
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


def add_fleet_commands(commands: Any) -> None:
    """Add the commands that work on any fleet, and the tests."""
    somewhere = argparse.ArgumentParser(add_help=False)
    where = "inventory of the fleet (inventory/lab; drain and undrain always need one)"
    somewhere.add_argument("-i", "--inventory", type=Path, help=where)
    for command, help_text in (
        ("verify", "prove each row on the running fleet; exit status 0 only if all hold"),
        ("status", "the state of every server, and what can be upgraded"),
        ("routes", "which bench answers which method, and why"),
        ("jobs", "which server does which job, and what waits in the queues"),
    ):
        sub = commands.add_parser(command, parents=[somewhere], help=help_text)
        sub.add_argument("--json", action="store_true", help="for programs")
    for command, help_text in (
        ("drain", "send no more calls to a reporting node, and wait for those it has"),
        ("undrain", "send it calls again"),
    ):
        sub = commands.add_parser(command, parents=[somewhere], help=help_text)
        sub.add_argument("node", metavar="NODE", help="its name in the inventory")
    add_test_command(commands)


def add_test_command(commands: Any) -> None:
    """Add the command that runs the project's own tests."""
    test = commands.add_parser("test", help="the project's own tests")
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
    options = parser().parse_args(arguments)
    options.remote = remote
    if options.command in ("verify", "status", "routes", "jobs"):
        options.inventory = options.inventory or LAB_INVENTORY
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
        verified = verify(LAB_INVENTORY, as_json=False, environment=environment)
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


def verify(inventory: Path, *, as_json: bool, environment: dict[str, str] | None = None) -> int:
    """Run the checks on a fleet and print them; returns 0 only if all of them hold."""
    outcome = runner.play(
        "playbooks/verify.yml", inventory, collect=("check_fleet",), environment=environment
    )
    checks = reports.collected(outcome.results, "checks")
    ok = outcome.ok and bool(checks) and all(check.get("ok") is True for check in checks)
    problems = reports.collected(outcome.results, "problems")
    if as_json:
        print(json.dumps({"ok": ok, "checks": checks, "problems": problems}, indent=2))
    for line in (
        [] if as_json else [*reports.unasked(outcome.results), *reports.verdict_table(checks)]
    ):
        print(line, file=sys.stderr)
    if not checks:
        say(f"no check was made: playbooks/verify.yml ended too early (log: {outcome.log})")
    return 0 if ok else 1


def status(inventory: Path, *, as_json: bool) -> int:
    """Print the state of every server of a fleet; returns 0 only if all could be asked."""
    outcome = runner.play("playbooks/status.yml", inventory, collect=("fleet_status",))
    rows = reports.collected(outcome.results, "status")
    versions = reports.collected(outcome.results, "versions")
    problems = reports.collected(outcome.results, "problems")
    file_systems = reports.collected(outcome.results, "file_systems")
    kept = reports.collected(outcome.results, "kept")
    told = {"ok": outcome.ok, "benchfleet": release.version(), "status": rows}
    told |= {"versions": versions, "problems": problems}
    told |= {"file_systems": file_systems, "kept": kept}
    if as_json:
        print(json.dumps(told, indent=2))
    tables = [*reports.status_table(rows), *reports.space_tables(file_systems, kept)]
    tables += reports.versions_table(versions)
    for line in [] if as_json else [*tables, *reports.unasked(outcome.results)]:
        print(line, file=sys.stderr)
    return 0 if outcome.ok and rows else 1


def routes(inventory: Path, *, as_json: bool) -> int:
    """Print where the router sends which method; returns 0 only if that is known."""
    outcome = runner.play("playbooks/routes.yml", inventory, collect=("report_routes",))
    rows = reports.collected(outcome.results, "routes")
    for message in refusals(outcome):
        say(message)
    if as_json:
        print(json.dumps({"ok": outcome.ok, "routes": rows}, indent=2))
    for line in [] if as_json else reports.routes_table(rows):
        print(line, file=sys.stderr)
    return 0 if outcome.ok and rows else 1


def jobs(inventory: Path, *, as_json: bool) -> int:
    """Print where jobs are placed and the state of the queues; returns 0 only if both are known."""
    outcome = runner.play("playbooks/jobs.yml", inventory, collect=("job_queues",))
    found: dict[str, Any] = next((r["jobs"] for r in outcome.results if r.get("jobs")), {})
    for message in refusals(outcome):
        say(message)
    if as_json:
        print(json.dumps({"ok": outcome.ok and bool(found), **found}, indent=2))
    for line in [] if as_json or not found else reports.jobs_tables(found):
        print(line, file=sys.stderr)
    return 0 if outcome.ok and found else 1


def drain(inventory: Path, node: str, *, drained: bool) -> int:
    """Take a reporting node out of service or put it back, and print the result."""
    playbook = f"playbooks/{'drain' if drained else 'undrain'}.yml"
    outcome = runner.play(playbook, inventory, collect=("node_drain",), extra={"node": node})
    for result in outcome.results:
        if result.get("words"):
            say(result["words"])
    for message in refusals(outcome):
        say(message)
    return 0 if outcome.ok else 1


def refusals(outcome: runner.Outcome) -> list[str]:
    """Return the errors and the warnings of the collected modules."""
    errors = [f"error: {r['msg']}" for r in outcome.results if r.get("failed") and r.get("msg")]
    return errors + [f"warning: {w}" for r in outcome.results for w in r.get("warnings") or []]


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


def enter_space(options: argparse.Namespace) -> None:
    """Enter the network space of the lab that a command is for; `lab down` stays outside of it."""
    if options.command == "lab" and options.action != "down":
        network.enter(named_lab(options))
    elif options.command in ("drain", "undrain") and not options.inventory:
        raise FleetError(
            f"`./fleet {options.command} {options.node}` needs an inventory: add"
            " `-i inventory/mine` for your own fleet, or `-i inventory/lab` for a lab"
        )
    elif is_lab(getattr(options, "inventory", None)):
        asked = os.environ.get("BENCHFLEET_LAB")
        name = state.inventory_lab().name
        if not asked:
            say(f"inventory/lab: using lab {name!r}, the only one on this machine")
        # The inventory then prints it no second time.
        os.environ["BENCHFLEET_LAB"] = name
        network.enter(name)


def is_lab(inventory: Path | None) -> bool:
    """Return whether an inventory is that of the labs, however its path is written."""
    return inventory is not None and inventory.resolve() == LAB_INVENTORY


def named_lab(options: argparse.Namespace) -> str:
    """Return the name of the lab that a command is for."""
    return state.check_name(options.name) if options.name else state.name_from_environment()


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    options = parse(sys.argv[1:] if arguments is None else arguments)
    try:
        enter_space(options)
        if options.command == "test":
            return run_tests(options)
        if options.command == "verify":
            return verify(options.inventory, as_json=options.json)
        if options.command == "status":
            return status(options.inventory, as_json=options.json)
        if options.command == "routes":
            return routes(options.inventory, as_json=options.json)
        if options.command == "jobs":
            return jobs(options.inventory, as_json=options.json)
        if options.command in ("drain", "undrain"):
            return drain(options.inventory, options.node, drained=options.command == "drain")
        return lab_command(options)
    except FleetError as error:
        say(f"error: {error}")
        return 1
    except KeyboardInterrupt:
        say("interrupted")
        return 130
