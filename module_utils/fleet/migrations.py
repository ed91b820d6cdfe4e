"""Migrations: what a host of an earlier release needs changed once, beyond what the roles bring.

A host records its format in the fleet's mark. Each migration leads to the next format; a host gets
those that it lacks, in order, at the end of site.yml, when this release's programs are in place.
A new migration is a row at the end of MIGRATIONS; fleet_format in roles/fleet/vars/main.yml is the
format of the last one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from . import atomic, record

# Of hosts whose mark names none, too.
FIRST_FORMAT = 1


@dataclass(frozen=True)
class Places:
    """The fleet's folders on a host."""

    config: str
    lib: str
    state: str


@dataclass(frozen=True)
class Migration:
    """One migration.

    format: what the host has afterwards. apply: does it; after an interrupted run it does the rest.
    """

    format: int
    name: str
    apply: Callable[[Places], None]


def remove_package_named_ansible(places: Places) -> None:
    """Remove the hosts' code of 0.1.0, a package that hid Ansible's own; 0.2.0 has `fleet`."""
    with suppress(FileNotFoundError):
        shutil.rmtree(f"{places.lib}/python/ansible")


def remove_marker_of_primary(places: Places) -> None:
    """Remove the marker by which 0.2.0 opened its primary; since 0.3.0 the record decides.

    Raises FileNotFoundError where there is no record yet.
    """
    Path(places.state, record.FILE).stat()
    with suppress(FileNotFoundError):
        Path(places.state, "mariadb-primary").unlink()


MIGRATIONS = (
    Migration(2, "remove_package_named_ansible", remove_package_named_ansible),
    Migration(3, "remove_marker_of_primary", remove_marker_of_primary),
)


def pending(form: int) -> list[Migration]:
    """The migrations that a host of a format lacks, in order."""
    return [migration for migration in MIGRATIONS if migration.format > form]


def migrate(places: Places, dry: bool) -> list[str]:
    """Apply what this host lacks, and record each; returns the names.

    dry: change nothing. A host without a mark lacks nothing: it is new. Raises OSError, ValueError.
    """
    path = Path(places.config, "fleet.json")
    try:
        mark = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return []
    names = []
    for migration in pending(int(mark.get("format", FIRST_FORMAT))):
        names.append(migration.name)
        if not dry:
            migration.apply(places)
            mark["format"] = migration.format
            # As role fleet writes it, so that the next run finds nothing to change.
            atomic.write(path, json.dumps(mark, indent=4, sort_keys=True))
    return names
