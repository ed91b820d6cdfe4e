"""Problems of what a host holds already: another fleet's mark, data, benches, programs."""

from __future__ import annotations

from collections.abc import Iterator

from .hosts import is_adopted, is_ours, is_primary, seen
from .problems import Host, Kind, Problem, Settings

MARK = "{path} on {host}"
MARK_UNREADABLE = Kind(
    "mark_unreadable",
    "the fleet's mark on {host} cannot be read: {error}",
    MARK,
    "restore the file from a backup; remove it only if the host holds nothing that is needed",
)
MARK_AND_SECRETS = f"{MARK}; secrets file {{secrets}}"
LEAVE_FLEET = (
    "if it is the same fleet, put its secrets file back in place; if the host is to leave the other"
    " fleet, take it out there and empty it first"
)
HOST_OF_ANOTHER_FLEET = Kind(
    "host_of_another_fleet",
    "{host} belongs to fleet {fleet}, and this inventory is fleet {own}",
    MARK_AND_SECRETS,
    LEAVE_FLEET,
)
HOST_OF_A_FLEET = Kind(
    "host_of_a_fleet",
    "{host} belongs to fleet {fleet}, and this inventory is a new fleet",
    MARK_AND_SECRETS,
    LEAVE_FLEET,
)
ADOPT = "set fleet_adopt: true for this host (docs/adopt.md); or use an empty host as primary"
DATA = "{host} already holds a MariaDB data folder that this fleet did not make"
DATA_PLACE = "{folder} on {host} ({mib:.0f} MiB)"
DATA_ADOPTABLE = Kind(
    "data_adoptable", DATA, DATA_PLACE, f"to adopt it together with its bench, {ADOPT}"
)
DATA_FOREIGN = Kind(
    "data_foreign",
    DATA,
    DATA_PLACE,
    "it cannot be adopted: save what is needed, stop the server, move the folder away and remove"
    " its package, or use an empty host",
)
BENCH = "{host} already holds a bench that this fleet did not make (Frappe: {frappe})"
BENCH_PLACE = "{path} on {host} (found by: {named})"
ADOPT_BENCH = f"to adopt it together with its database, {ADOPT}"
MOVE_BENCH = "save what is needed, then move the bench off this host, or use an empty host"
BENCH_ADOPTABLE = Kind("bench_adoptable", BENCH, BENCH_PLACE, ADOPT_BENCH)
BENCH_FOREIGN = Kind("bench_foreign", BENCH, BENCH_PLACE, MOVE_BENCH)
UPDATE_UNFINISHED = Kind(
    "update_unfinished",
    "the update of the apps that began {began} is not finished",
    "update.json in fleet_state_dir on {host}",
    "`./fleet update` continues it, and `./fleet rollback` takes it back",
)
COMMAND_FOREIGN = Kind(
    "bench_command_foreign",
    "the command bench on {host} is not that of frappe-bench (its origin: {origin})",
    "{path} on {host}",
    "remove or rename it: both commands have the same name",
)
SUPERVISOR_UNREADABLE = Kind(
    "supervisor_unreadable",
    "supervisor cannot be used: {trouble}",
    "supervisor on {host}",
    "correct its configuration until `supervisorctl reread` works",
)
SUPERVISOR_FILE_WRITABLE = Kind(
    "supervisor_file_writable",
    "supervisord reads a file that {account} can write, and would run its contents as root",
    "{path} on {host}",
    "move it to a file of root's in /etc/supervisor/conf.d, with user=ACCOUNT in each program, or"
    " remove it there (and links to it); then `supervisorctl update`",
)


def check_marks(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Problems of hosts that belong to another fleet, or hold data or benches of no fleet."""
    for host, survey in seen(hosts):
        name, mark = host["name"], survey["mark"]
        if is_ours(host, settings):
            continue
        if mark["state"] == "broken":
            yield MARK_UNREADABLE.found(host=name, error=mark["detail"], path=mark["path"])
            continue
        if mark["state"] == "present":
            own = settings["fleet_id"]
            kind = HOST_OF_ANOTHER_FLEET if own else HOST_OF_A_FLEET
            yield kind.found(
                host=name,
                fleet=mark["fleet_id"],
                own=own,
                path=mark["path"],
                secrets=settings["secrets_path"],
            )
            continue
        if is_adopted(host):
            continue
        data = survey["database"]
        if data["holds_data"]:
            kind = DATA_ADOPTABLE if is_primary(host) and survey["benches"] else DATA_FOREIGN
            yield kind.found(host=name, folder=data["data_dir"], mib=data["bytes"] / 1024**2)
        for bench in survey["benches"]:
            # A bench with sites on another kind of database cannot be adopted as it is, and is
            # reported as site_on_other_database.
            if not bench["others"]:
                kind = BENCH_ADOPTABLE if is_primary(host) else BENCH_FOREIGN
                yield kind.found(
                    host=name,
                    path=bench["path"],
                    frappe=bench["frappe_version"] or "unknown version",
                    named=bench["named"] or "its folder",
                )


def check_update(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Problems of an unfinished update of the apps, which keeps workers and sites stopped.

    It is recorded on the primary, which is asked also where --limit leaves it out of the run.
    """
    primary = settings["primary"]
    for host, survey in seen([*([primary] if primary else []), *hosts]):
        if survey["update"] and not settings["updating"]:
            yield UPDATE_UNFINISHED.found(began=survey["update"], host=host["name"])


def check_commands(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Problems of commands named bench that belong to another tool."""
    for host, survey in seen(hosts):
        for command in survey["commands"]:
            origin = command["origin"]
            # On a host of this fleet an unknown one may be a wrapper of the operator's.
            if origin == "frappe/pilot" or (origin == "unknown" and not is_ours(host, settings)):
                yield COMMAND_FOREIGN.found(host=host["name"], path=command["path"], origin=origin)


def check_programs(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Problems of the settings of the bench's programs, and of supervisor's files."""
    for host in hosts:
        yield from host["program_problems"]
    for host, survey in seen(hosts):
        if trouble := survey.get("supervisor"):
            yield SUPERVISOR_UNREADABLE.found(trouble=trouble, host=host["name"])
    for host, survey in seen(hosts):
        adopted = (survey.get("adoption") or {}).get("supervisor", [])
        # Files that the adoption replaces.
        going_out = [file["path"] for file in adopted if not file["ours"]]
        for path, account in survey.get("supervisor_writers", {}).items():
            if path not in going_out:
                yield SUPERVISOR_FILE_WRITABLE.found(account=account, path=path, host=host["name"])
