"""The verbs of ./fleet: each a thin name for a playbook, which plain ansible-playbook runs as well.

cli.py makes the command line of this table, and operations.py runs it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchfleet.shell import USAGE, FleetError


@dataclass(frozen=True)
class Argument:
    """An argument of a verb's own: its names, and what argparse's add_argument takes."""

    names: tuple[str, ...]
    options: dict[str, Any]


def argument(*names: str, **options: Any) -> Argument:
    """Return an argument of a verb's own."""
    return Argument(names, options)


def nothing(_options: argparse.Namespace) -> dict[str, Any]:
    """Return the variables of a verb that needs none."""
    return {}


@dataclass(frozen=True)
class Verb:
    """One thing that an operator does.

    help: a line for the list of verbs. playbook: its path from the project's root. collect: modules
    whose results are shown; show: "MODULE:FUNCTION" that prints them, "" where the end of the run
    says enough. always: arguments that ansible-playbook gets each time; takes: which of --limit,
    --check and --diff may be given. arguments: its own; extra: the variables that they become.

    does: what it is about to do, formatted with the arguments; "" for a verb that changes nothing.
    touches: the group whose hosts it is about to touch. destroys: it is not begun without a word of
    the operator. moves: the primary may be another one afterwards, see switching.py. confirm: the
    argument whose value is typed as that word, and becomes the variable
    `confirm`; "primary" is the name of the primary.
    """

    name: str
    help: str
    playbook: str
    collect: tuple[str, ...] = ()
    show: str = ""
    always: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    arguments: tuple[Argument, ...] = ()
    extra: Callable[[argparse.Namespace], dict[str, Any]] = nothing
    does: str = ""
    touches: str = "all"
    destroys: bool = False
    moves: bool = False
    confirm: str = ""


def node(options: argparse.Namespace) -> dict[str, Any]:
    """Return the variable that names a node."""
    return {"node": options.node}


def leaving(options: argparse.Namespace) -> dict[str, Any]:
    """Return the variables of a node that leaves."""
    return {"node": options.node, "data": options.data}


def log_wanted(options: argparse.Namespace) -> dict[str, Any]:
    """Return the variables of which log is read, and how much of it."""
    wanted = {"logs_what": options.what, "logs_lines": options.lines}
    return {name: value for name, value in wanted.items() if value is not None}


def commits(options: argparse.Namespace) -> dict[str, Any]:
    """Return the commits that an update brings the apps to; FleetError where one is malformed."""
    wanted = {}
    for given in options.app:
        name, mark, commit = given.partition("=")
        if not (name and mark and commit):
            raise FleetError(f"`--app {given}`: write it as NAME=COMMIT", USAGE)
        wanted[name] = commit
    return {"update_commits": wanted} if wanted else {}


def new_primary(options: argparse.Namespace) -> dict[str, Any]:
    """Return the variables of who becomes the primary, and of what may be lost with the former."""
    wanted = {"to": options.to, "accept_loss": getattr(options, "accept_loss", None)}
    return {name: value for name, value in wanted.items() if value is not None}


def watched(options: argparse.Namespace) -> dict[str, Any]:
    """Return no variables; FleetError where a screen again and again is to be one document."""
    if options.watch and options.json:
        raise FleetError("`--watch` shows a screen, and `--json` one document: name one", USAGE)
    return {}


NODE = argument("node", metavar="NODE", help="its name in the inventory")
DATA = argument(
    "--data",
    choices=("keep", "delete"),
    default="keep",
    help="the nodes' copies of the database and their benches (keep)",
)
DRY = ("check", "diff")
TO = argument("--to", metavar="HOST", help="which becomes the primary (fleet_standby)")
WRITE_INVENTORY = argument(
    "--write-inventory", action="store_true", help="put the change into hosts.yml, too"
)
# Messages of playbooks to the operator.
TOLD = ("debug",)
# With the facts of a change of the primary.
CHANGED = ("set_fact", *TOLD)

LOOK = (
    Verb(
        "check",
        "are the servers and the inventory fit? All problems at once",
        "playbooks/preflight.yml",
        collect=("set_fact", "fail"),
        show="checked:show",
        always=("--check",),
        takes=("limit",),
    ),
    Verb(
        "plan",
        "what `apply` would change, on which host, and what restarts",
        "site.yml",
        show="plan:show",
        always=("--check", "--diff"),
        takes=("limit",),
    ),
    Verb(
        "status",
        "the state of every server, and what can be upgraded",
        "playbooks/status.yml",
        collect=("fleet_status",),
        show="reports:show_status",
        takes=("limit",),
        arguments=(argument("--watch", action="store_true", help="again and again, until Ctrl-C"),),
        extra=watched,
    ),
    Verb(
        "verify",
        "prove on the running fleet that everything works",
        "playbooks/verify.yml",
        collect=("check_fleet",),
        show="reports:show_verify",
        takes=("limit",),
    ),
    Verb(
        "doctor",
        "what is wrong, why, and how to mend it",
        "playbooks/doctor.yml",
        collect=("fleet_doctor",),
        show="doctor:show",
        takes=("check",),
        arguments=(
            argument("host", metavar="HOST", nargs="?", help="only this one"),
            argument("--fix", action="store_true", help="start what is stopped; nothing else"),
        ),
        extra=lambda options: {"doctor_fix": True} if options.fix else {},
        does="start what is stopped",
    ),
    Verb(
        "routes",
        "which bench answers which method, and why",
        "playbooks/routes.yml",
        collect=("report_routes",),
        show="reports:show_routes",
    ),
    Verb(
        "jobs",
        "which server does which job, and what waits in the queues",
        "playbooks/jobs.yml",
        collect=("job_queues",),
        show="reports:show_jobs",
    ),
    Verb(
        "logs",
        "the last lines of a host's logs, or its last errors and warnings",
        "playbooks/logs.yml",
        collect=("host_logs",),
        show="logs:show",
        arguments=(
            argument("host", metavar="HOST", help="its name in the inventory"),
            argument(
                "what", metavar="WHAT", nargs="?", help="which of them, such as web or mariadb"
            ),
            argument("-n", "--lines", type=int, metavar="N", help="how many (40)"),
        ),
        extra=log_wanted,
    ),
    Verb(
        "log",
        "who changed the fleet, when, and how it ended",
        "playbooks/log.yml",
        collect=("run_log",),
        show="runlog:show",
    ),
)
CHANGE = (
    Verb(
        "apply",
        "bring the fleet to what the inventory says; also the first time",
        "site.yml",
        collect=TOLD,
        takes=("limit", *DRY),
        does="bring these hosts to what the inventory says",
    ),
    Verb(
        "add",
        "add a reporting node: its entry in hosts.yml, then `apply`",
        "site.yml",
        collect=TOLD,
        arguments=(
            argument("node", metavar="NODE", help="its name"),
            argument(
                "address",
                metavar="ADDRESS",
                nargs="?",
                help="where it answers; not needed if the inventory has it",
            ),
        ),
        does="add {node}, and bring these hosts to what the inventory says",
    ),
    Verb(
        "remove",
        "take a reporting node out of the fleet for good",
        "playbooks/remove_node.yml",
        collect=TOLD,
        takes=DRY,
        arguments=(
            NODE,
            DATA,
        ),
        extra=leaving,
        does="take {node} out of the fleet; it finishes its jobs first. "
        "Its data: {data}. No call fails",
        destroys=True,
        confirm="node",
    ),
    Verb(
        "drain",
        "send no more calls to a reporting node, and wait for those it has",
        "playbooks/drain.yml",
        collect=("node_drain", *TOLD),
        arguments=(NODE,),
        extra=node,
        does="send no more calls to {node}",
        touches="router",
    ),
    Verb(
        "undrain",
        "send it calls again",
        "playbooks/undrain.yml",
        collect=("node_drain", *TOLD),
        arguments=(NODE,),
        extra=node,
        does="send calls to {node} again",
        touches="router",
    ),
    Verb(
        "switchover",
        "make another host the primary, while both work",
        "playbooks/switchover.yml",
        collect=CHANGED,
        takes=("check",),
        arguments=(TO, WRITE_INVENTORY),
        extra=new_primary,
        does="make another host the primary, in the place of {primary}. Users wait some seconds;"
        " reports and jobs go on some minutes later",
        moves=True,
    ),
    Verb(
        "failover",
        "the primary is dead: another host takes its place",
        "playbooks/failover.yml",
        collect=CHANGED,
        takes=("check",),
        arguments=(
            TO,
            argument(
                "--accept-loss",
                type=int,
                metavar="SECONDS",
                help="go on although the primary was last heard of so long ago",
            ),
            WRITE_INVENTORY,
        ),
        extra=new_primary,
        does="give {primary} up: another host becomes the primary. What {primary} took after its"
        " last sign of life is LOST, as far as nobody else has it",
        destroys=True,
        moves=True,
        confirm="primary",
    ),
    Verb(
        "rejoin",
        "a primary that was given up comes back as a reporting node",
        "playbooks/rejoin.yml",
        collect=CHANGED,
        takes=("check",),
        arguments=(argument("node", metavar="HOST", help="its name in the inventory"),),
        extra=node,
        does="bring {node} back as a reporting node. If it has what nobody else has, that is kept"
        " for you, and it gets a new copy of the data",
        moves=True,
    ),
    Verb(
        "update",
        "bring the apps to the newest commits, or to those named",
        "playbooks/update.yml",
        collect=TOLD,
        takes=DRY,
        arguments=(
            argument(
                "--app",
                action="append",
                default=[],
                metavar="NAME=COMMIT",
                help="this app to this commit, repeatable (the newest of its branch)",
            ),
        ),
        extra=commits,
        does="update the apps; users may see the maintenance page meanwhile",
    ),
    Verb(
        "rollback",
        "go back from an update that failed",
        "playbooks/update.yml",
        collect=TOLD,
        takes=DRY,
        extra=lambda _options: {"update_back": True},
        does="put back the apps and databases from before the unfinished update",
        destroys=True,
    ),
    Verb(
        "end-query",
        "end a query that runs long or blocks others",
        "playbooks/end_query.yml",
        collect=("query_end", *TOLD),
        arguments=(
            argument("host", metavar="HOST", help="its name in the inventory"),
            argument("query", metavar="ID", type=int, help="its number, which `status` shows"),
        ),
        extra=lambda options: {"node": options.host, "query_id": options.query},
        does="end query {query} on {host}, if it is a site's",
    ),
    Verb(
        "renew",
        "renew the fleet's own certificates that are due",
        "playbooks/renew.yml",
        collect=TOLD,
        takes=("limit", *DRY),
        does="renew the certificates that are due",
    ),
    Verb(
        "rotate",
        "replace the passwords and keys between the hosts",
        "playbooks/rotate.yml",
        collect=TOLD,
        does="replace the passwords and keys between the hosts; the benches restart once",
    ),
    Verb(
        "remove-app",
        "take an app out of the sites and the benches, with its documents",
        "playbooks/remove_app.yml",
        collect=TOLD,
        takes=DRY,
        arguments=(argument("app", metavar="APP", help="its name"),),
        extra=lambda options: {"app": options.app},
        does="take {app} out of all sites. Its DocTypes and all their documents are DELETED; "
        "each site's database is backed up first",
        destroys=True,
        confirm="app",
    ),
    Verb(
        "release",
        "put an adopted primary back as it was before",
        "playbooks/release.yml",
        collect=TOLD,
        takes=DRY,
        does="put {primary} back as it was before its adoption; MariaDB and the bench restart once",
        touches="primary",
        destroys=True,
        confirm="primary",
    ),
    Verb(
        "uninstall",
        "take everything of Benchfleet off all hosts; the bench goes on",
        "playbooks/uninstall.yml",
        collect=TOLD,
        takes=DRY,
        arguments=(DATA,),
        extra=lambda options: {"data": options.data},
        does="take Benchfleet off these hosts. The nodes stop serving, their data: {data}. "
        "The bench on {primary} keeps its sites and restarts once",
        destroys=True,
        confirm="primary",
    ),
)
VERBS = {verb.name: verb for verb in (*LOOK, *CHANGE)}
