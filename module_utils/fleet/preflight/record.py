"""The record of who is primary: whether the inventory agrees with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from typing import Any

from ..record import FILE, Record, RecordError, newest, present
from .hosts import is_ours, seen
from .problems import Host, Kind, Problem, Settings

RECORD_UNREADABLE = Kind(
    "record_unreadable",
    "the record of who is primary on {host} cannot be used: {error}",
    f"{FILE} in fleet_state_dir on {{host}}",
    "copy the file of another host of the fleet there (`scp`, same path), then `systemctl reload"
    " benchfleet-record`",
)
PRIMARY_MOVED = Kind(
    "primary_moved",
    "the primary is {moved} since {since} (epoch {epoch}, by the record on {hosts}), and the"
    " inventory names {primary}",
    "group primary of inventory {inventory}",
    "if {moved} is to stay the primary, put it into group primary and {primary} into group"
    " reporting, each with its own variables; or make {primary} the primary: `./fleet switchover"
    " --to {primary}`",
)


def records(hosts: Iterable[Host], fleet_id: str) -> Iterator[tuple[str, Record]]:
    """The records of this fleet's hosts that were surveyed, by their names."""
    for host, survey in seen(hosts):
        found = survey.get("record")
        if found and "trouble" not in found and found["fleet_id"] == fleet_id:
            yield host["name"], Record.of(found)


def newest_record(hosts: Iterable[Host], fleet_id: str) -> dict[str, Any]:
    """The record of the highest epoch among the hosts; {} where none has one."""
    found = newest(*(record for _, record in records(hosts, fleet_id)))
    return asdict(found) if found else {}


def check_record(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Problems of an inventory whose primary is not that of the newest record."""
    everyone = [host for host in [*hosts, settings["primary"]] if host]
    for host, survey in seen(everyone):
        trouble = (survey.get("record") or {}).get("trouble")
        if trouble and is_ours(host, settings):
            yield RECORD_UNREADABLE.found(host=host["name"], error=trouble)
    found = dict(records(everyone, settings["fleet_id"]))
    last = newest(*found.values())
    named = list(settings["groups"].get("primary", []))
    if last and len(named) == 1 and last.primary != named[0]:
        yield PRIMARY_MOVED.found(
            moved=last.primary,
            since=last.since,
            epoch=last.epoch,
            hosts=[name for name, record in found.items() if record == last],
            primary=named[0],
            inventory=settings["inventory"],
        )


def is_recorded(own: Mapping[str, Any] | None, wanted: Mapping[str, Any]) -> bool:
    """Whether a host's record, as surveyed, is as a run of site.yml wants it.

    wanted: the options of module fleet_record.
    """
    if not own or "trouble" in own:
        return False
    known = Record.of(wanted["newest"]) if wanted["newest"] else None
    about = {name: value for name, value in wanted.items() if name != "newest"}
    try:
        return present(Record.of(own), known, **about) == Record.of(own)
    except RecordError:
        # The module says it.
        return False
