"""Hosts of an earlier release come to the format of this one, once and in order."""

from __future__ import annotations

import json
import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible.plugins.filter.core import to_nice_json
from fleet import migrations, record
from fleet.migrations import MIGRATIONS, Migration, Places, migrate, pending

ROOT = Path(__file__).parents[2]
FORMAT = MIGRATIONS[-1].format
MARKER = "mariadb-primary"


@pytest.fixture
def places(tmp_path: Path) -> Places:
    """Folders of a host of format 1, with the package that 0.1.0 put there and that of now."""
    found = Places(*(str(tmp_path / name) for name in ("etc", "lib", "state")))
    Path(found.config).mkdir()
    Path(found.state).mkdir()
    for name in (record.FILE, MARKER):
        Path(found.state, name).write_text("{}")
    mark(found, {"fleet_id": "f1", "format": 1, "host": "erp1", "versions": {"uv": "0.9"}})
    for package in ("ansible/module_utils", "fleet"):
        folder = Path(found.lib, "python", package)
        folder.mkdir(parents=True)
        (folder / "calls.py").touch()
    return found


def mark(places: Places, content: dict[str, Any] | None = None) -> dict[str, Any]:
    """The mark of a host, written first where there is content for it."""
    path = Path(places.config, "fleet.json")
    if content:
        path.write_text(to_nice_json(content))
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def packages(places: Places) -> list[str]:
    """The packages in the folder of the hosts' code."""
    return sorted(path.name for path in Path(places.lib, "python").iterdir())


def test_formats_follow_each_other_and_names_are_unique() -> None:
    formats = [migrations.FIRST_FORMAT, *(migration.format for migration in MIGRATIONS)]
    assert all(later == earlier + 1 for earlier, later in pairwise(formats))
    assert len({migration.name for migration in MIGRATIONS}) == len(MIGRATIONS)
    assert [migration.apply.__name__ for migration in MIGRATIONS] == [
        migration.name for migration in MIGRATIONS
    ]


def test_a_host_of_an_earlier_format_is_migrated_once(places: Places) -> None:
    before = mark(places)
    assert migrate(places, dry=False) == [migration.name for migration in MIGRATIONS]
    assert packages(places) == ["fleet"]
    assert os.listdir(places.state) == [record.FILE]
    assert mark(places) == {**before, "format": FORMAT}
    path = Path(places.config, "fleet.json")
    assert path.read_text() == to_nice_json(mark(places)), "as the next run will write it"
    assert migrate(places, dry=False) == []


def test_a_dry_run_names_the_migrations_and_changes_nothing(places: Places) -> None:
    before = mark(places)
    assert migrate(places, dry=True) == [migration.name for migration in MIGRATIONS]
    assert packages(places) == ["ansible", "fleet"]
    assert Path(places.state, MARKER).exists()
    assert mark(places) == before


def test_the_marker_stays_until_the_record_is_there(places: Places) -> None:
    Path(places.state, record.FILE).unlink()
    with pytest.raises(FileNotFoundError):
        migrate(places, dry=False)
    assert Path(places.state, MARKER).exists()
    assert mark(places)["format"] == 2


def test_what_is_gone_already_is_recorded(places: Places) -> None:
    """As after a run that was killed between the two."""
    migrations.remove_package_named_ansible(places)
    migrations.remove_marker_of_primary(places)
    assert migrate(places, dry=False)
    assert mark(places)["format"] == FORMAT


def test_a_mark_without_a_format_is_of_the_first(places: Places) -> None:
    mark(places, {"fleet_id": "f1"})
    assert len(migrate(places, dry=False)) == len(MIGRATIONS)


def test_a_host_without_a_mark_is_new(tmp_path: Path) -> None:
    assert migrate(Places(*[str(tmp_path)] * 3), dry=False) == []


def test_a_migration_that_fails_is_not_recorded_and_stops_the_later_ones(
    places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = []

    def fail(_places: Places) -> None:
        raise PermissionError

    steps = (
        Migration(2, "first", lambda _: done.append("first")),
        Migration(3, "second", fail),
        Migration(4, "third", lambda _: done.append("third")),
    )
    monkeypatch.setattr(migrations, "MIGRATIONS", steps)
    with pytest.raises(PermissionError):
        migrate(places, dry=False)
    assert done == ["first"]
    assert mark(places)["format"] == 2
    assert [migration.name for migration in pending(2)] == ["second", "third"]


def test_the_roles_know_the_format_of_the_last_migration() -> None:
    values = yaml.safe_load((ROOT / "roles/fleet/vars/main.yml").read_text())
    assert values["fleet_format"] == FORMAT


def test_migrations_come_after_all_roles() -> None:
    site = yaml.safe_load((ROOT / "site.yml").read_text())
    plays = [play["ansible.builtin.import_playbook"] for play in site]
    assert plays[-2:] == ["playbooks/migrate.yml", "playbooks/summary.yml"]
