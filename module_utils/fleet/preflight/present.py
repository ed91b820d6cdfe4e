"""What is on a host already: another fleet's mark, data, benches, programs."""

from __future__ import annotations

from collections.abc import Iterator

from .hosts import is_adopted, is_ours, is_primary, seen
from .problems import Host, Problem, Settings, problem


def check_marks(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Nothing of another fleet, and no data or bench that no fleet made."""
    for host, survey in seen(hosts):
        name, mark = host["name"], survey["mark"]
        if is_ours(host, settings):
            continue
        if mark["state"] == "broken":
            yield problem(
                f"the fleet's mark on {name} cannot be read: {mark['detail']}",
                f"{mark['path']} on {name}",
                "put the file back from a backup; only if the host may be emptied, remove it",
            )
            continue
        if mark["state"] == "present":
            own = settings["fleet_id"]
            yield problem(
                f"{name} belongs to fleet {mark['fleet_id']}, "
                + (f"this inventory is fleet {own}" if own else "this inventory is a new one"),
                f"{mark['path']} on {name}; secrets file {settings['secrets_path']}",
                "if it is the same fleet, put its secrets file back in place; if the host "
                "shall leave the other fleet, take it out there and empty it first",
            )
            continue
        if is_adopted(host):
            continue
        data = survey["database"]
        if data["holds_data"]:
            yield problem(
                f"{name} already holds a MariaDB data folder that this fleet did not make",
                f"{data['data_dir']} on {name} ({data['bytes'] / 1024**2:.0f} MiB)",
                "to take it over with its bench, set fleet_adopt: true for this host "
                "(docs/adopt.md); else use an empty host as primary"
                if is_primary(host) and survey["benches"]
                else "nothing of it is taken over: save what is needed, stop the server, move "
                "the folder away and remove its package, or use an empty host",
            )
        for bench in survey["benches"]:
            # Sites on another kind of database are told first: not to be taken over as it is.
            if not bench["others"]:
                yield problem(
                    f"{name} already holds a bench that this fleet did not make"
                    + (f" (Frappe {bench['frappe_version']})" if bench["frappe_version"] else ""),
                    f"{bench['path']} on {name}"
                    + (f", named by {bench['named']}" if bench["named"] else ""),
                    "to take it over with its database, set fleet_adopt: true for this host "
                    "(docs/adopt.md); else use an empty host as primary"
                    if is_primary(host)
                    else "save what is needed, then move the bench off this host, or use an empty"
                    " one",
                )


def check_update(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """No update of the apps stands unfinished: its workers and sites are stopped on purpose.

    It stands on the primary, also where --limit leaves that out of the run.
    """
    primary = settings["primary"]
    for host, survey in seen([*([primary] if primary else []), *hosts]):
        if survey["update"] and not settings["updating"]:
            yield problem(
                f"the update of the apps that began {survey['update']} is not finished",
                f"update.json in fleet_state_dir on {host['name']}",
                "end it: ansible-playbook -i INVENTORY playbooks/update.yml goes on with it, and"
                " with -e update_back=true takes it back",
            )


def check_commands(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """No `bench` of another tool."""
    for host, survey in seen(hosts):
        for command in survey["commands"]:
            origin = command["origin"]
            # On our own hosts an unknown one may be a wrapper that an operator put there.
            if origin == "frappe/pilot" or (origin == "unknown" and not is_ours(host, settings)):
                tool = "frappe/pilot" if origin == "frappe/pilot" else "an unknown tool"
                yield problem(
                    f"the command bench on {host['name']} is that of {tool}, not of frappe-bench",
                    f"{command['path']} on {host['name']}",
                    "remove or rename it: both tools answer to the same name",
                )


def check_programs(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """supervisord reads its files, which are root's, and they can hold what the bench's programs
    are given.
    """
    for host in hosts:
        for what, remedy in host["program_troubles"]:
            yield problem(f"{what} ({host['name']})", f"inventory {settings['inventory']}", remedy)
    for host, survey in seen(hosts):
        if trouble := survey.get("supervisor"):
            place = f"supervisor on {host['name']}"
            yield problem(trouble, place, "see that `supervisorctl reread` works")
    for host, survey in seen(hosts):
        adopted = (survey.get("adoption") or {}).get("supervisor", [])
        going_out = [file["path"] for file in adopted if not file["ours"]]
        for path, who in survey.get("supervisor_writers", {}).items():
            if path not in going_out:
                yield problem(
                    f"supervisord reads a file that {who} can write, and would run what stands"
                    " there as root",
                    f"{path} on {host['name']}",
                    "move it to a file of root's in /etc/supervisor/conf.d, with user=ACCOUNT in"
                    " each program, or remove it there, a link as well; then supervisorctl update",
                )
