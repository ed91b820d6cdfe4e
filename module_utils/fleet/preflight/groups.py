"""Groups of the inventory, and hosts that --limit leaves out."""

from __future__ import annotations

from collections.abc import Iterator

from .hosts import is_ours, seen
from .problems import Host, Kind, Problem, Settings

GROUPS = (
    "primary",
    "reporting",
    "mariadb_primary",
    "mariadb_replica",
    "redis",
    "bench_primary",
    "bench_reporting",
    "router",
)

# File of a replica in fleet_state_dir.
REPLICA_STATE = "mariadb-seed.json"

INVENTORY = "inventory {inventory}"
INVENTORY_EMPTY = Kind(
    "inventory_empty",
    "the inventory has no hosts",
    INVENTORY,
    "name one host in group primary (and any number in group reporting), or give the right"
    " inventory with -i",
)
PRIMARY_MISSING = Kind(
    "primary_missing",
    "no host is in group primary",
    INVENTORY,
    "put the one server that takes all writes into group primary",
)
PRIMARY_SEVERAL = Kind(
    "primary_several",
    "group primary has more than one host: {hosts}",
    INVENTORY,
    "keep one in group primary and move the others to group reporting",
)
HOST_IN_BOTH_GROUPS = Kind(
    "host_in_both_groups",
    "{host} is in group primary and in group reporting",
    INVENTORY,
    "keep it in one of the two: a reporting node replaces its own data by a copy of the primary's",
)
HOST_IN_NO_GROUP = Kind(
    "host_in_no_group",
    "{host} is in neither group primary nor group reporting",
    INVENTORY,
    "put it into one of them, or take it out of this inventory",
)
LIMIT = "--limit on the command line"
UPDATE_LIMITED = Kind(
    "update_limited",
    "this update leaves out {hosts}: the fleet would run two versions",
    LIMIT,
    "run it without --limit",
)
PRIMARY_LEFT_OUT = Kind(
    "primary_left_out",
    "this run leaves out the primary {host}, which is not part of this fleet yet",
    LIMIT,
    "run it without --limit, or with {host} in it, before the others",
)

STANDBY_UNKNOWN = Kind(
    "standby_unknown",
    "fleet_standby names {host}, which is no host of this fleet",
    "fleet_standby in the inventory",
    "name one of {nodes}; take it out for the first reporting node; or write '' for none",
)
FORMER_PRIMARY_APART = Kind(
    "former_primary_apart",
    "{host} was the primary until it was given up, and has not come back to the fleet",
    "{path} on {host}, and the record of the other hosts",
    "`./fleet rejoin {host}`: what only {host} has is kept for you before it becomes a reporting"
    " node. Until then, leave it out: `--limit 'all:!{host}'`",
)


def check_groups(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Problems of the groups: one primary, and each host in exactly one of the two groups."""
    groups = settings["groups"]
    primary, reporting = list(groups.get("primary", [])), list(groups.get("reporting", []))
    everyone = list(groups.get("all", []))
    inventory = settings["inventory"]
    if not everyone:
        yield INVENTORY_EMPTY.found(inventory=inventory)
        return
    if not primary:
        yield PRIMARY_MISSING.found(inventory=inventory)
    if len(primary) > 1:
        yield PRIMARY_SEVERAL.found(inventory=inventory, hosts=primary)
    for name in primary:
        if name in reporting:
            yield HOST_IN_BOTH_GROUPS.found(inventory=inventory, host=name)
    in_a_group = {name for group in GROUPS for name in groups.get(group, [])}
    for name in everyone:
        if name not in in_a_group:
            yield HOST_IN_NO_GROUP.found(inventory=inventory, host=name)


def check_standby(_hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Problems of the node that is prepared to become the primary."""
    groups, standby = settings["groups"], settings.get("standby_named")
    nodes = [name for group in GROUPS[:2] for name in groups.get(group, [])]
    if standby and standby not in nodes:
        yield STANDBY_UNKNOWN.found(host=standby, nodes=nodes)


def check_apart(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Problems of a primary that was given up: as a reporting node its data would be replaced.

    It is not in the record of the others any more, and it has no state of a replica.
    """
    known = [
        survey["record"] for _, survey in seen(hosts) if "hosts" in (survey.get("record") or {})
    ]
    last = max(known, key=lambda record: int(record["epoch"]), default=None)
    reseeded = str(settings.get("reseeded") or "").split(",")
    for host, survey in seen(hosts):
        mark, files = survey["mark"], (survey.get("state") or {}).get("files", {})
        apart = (
            last
            and is_ours(host, settings)
            and host["name"] in settings["groups"].get("reporting", [])
            and mark.get("role") == "primary"
            and host["name"] not in last["hosts"]
            and f"{settings['state_dir']}/{REPLICA_STATE}" not in files
            and host["name"] not in [name.strip() for name in reseeded]
        )
        if apart:
            yield FORMER_PRIMARY_APART.found(host=host["name"], path=mark["path"])


def check_left_out(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Problems of --limit: an update needs all hosts, and other runs a primary of this fleet."""
    primary = settings["primary"]
    here = [host["name"] for host in hosts]
    absent = [name for name in settings["groups"].get("all", []) if name not in here]
    if settings["updating"] and absent:
        yield UPDATE_LIMITED.found(hosts=absent)
    elif primary and primary["survey"] and not is_ours(primary, settings):
        yield PRIMARY_LEFT_OUT.found(host=primary["name"])
