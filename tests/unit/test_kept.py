"""What is kept of former times goes by number and age, and never what somebody may go back to."""

from __future__ import annotations

import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from fleet import kept
from fleet.kept import DAY, Thing
from fleet.status import disks
from fleet.status import fleet as fleet_status
from fleet.status import host as node_status

NOW = 1_800_000_000.0


def left(things: list[Thing], number: int, days: float) -> str:
    """The names of those that stay."""
    gone = kept.surplus(things, number, days, NOW)
    return "".join(thing.path for thing in things if thing not in gone)


def test_the_newest_stay_by_number_until_they_are_too_old() -> None:
    things = [
        Thing(name, NOW - days * DAY) for name, days in zip("abcd", (40, 20, 2, 1), strict=True)
    ]
    assert left(things, 3, 30) == "bcd"
    assert left(things, 2, 30) == "cd"
    assert left(things, 3, 10) == "cd"
    assert left(things, 9, 99) == "abcd"


def test_the_newest_one_that_is_whole_stays_however_old_it_is() -> None:
    old = [Thing("a", NOW - 400 * DAY), Thing("b", NOW - 300 * DAY)]
    assert left(old, 3, 30) == "b"
    # A dump that was cut off since is none to go back to, and counts for nothing.
    torn = Thing("c", NOW - 1 * DAY, whole=False)
    assert left([*old, torn], 1, 30) == "bc"
    assert left([*old, torn, Thing("d", NOW)], 1, 30) == "d"
    assert left([torn], 1, 30) == "c"
    # A clock that was ahead once does not make all others go.
    assert left([Thing("e", NOW + 9 * DAY), Thing("f", NOW)], 2, 30) == "ef"


def test_what_is_needed_stays_in_any_case() -> None:
    things = [Thing("a", NOW - 99 * DAY, needed=True), Thing("b", NOW - 98 * DAY, whole=False)]
    assert left([*things, Thing("c", NOW), Thing("d", NOW)], 1, 1) == "ad"
    assert left([Thing("a", NOW - DAY, whole=False, needed=True), Thing("b", NOW)], 1, 1) == "ab"


def test_only_folders_of_our_names_are_ours(tmp_path: Path) -> None:
    for name in (
        "20260101-101010",
        "20260102-101010",
        "2026-01-01T101010Z",
        "mine",
        "20269999-000000",
    ):
        (tmp_path / name).mkdir()
    (tmp_path / "20260103-101010").touch()
    (tmp_path / "20260104-101010").symlink_to(tmp_path / "mine")
    needed = [f"{tmp_path}/20260101-101010/erp.sql.gz"]
    found = sorted(kept.things(str(tmp_path), kept.DUMPS, needed), key=lambda thing: thing.path)
    assert [(os.path.basename(thing.path), thing.needed) for thing in found] == [
        ("20260101-101010", True),
        ("20260102-101010", False),
    ]
    assert time.localtime(found[0].made)[:6] == (2026, 1, 1, 10, 10, 10)
    assert kept.things(f"{tmp_path}/none", kept.DUMPS) == []
    assert kept.tidy(found, {"number": 1, "days": 1}) == []
    again = kept.things(str(tmp_path), kept.DUMPS)
    assert kept.tidy(again, {"number": 1, "days": 36500}) == [f"{tmp_path}/20260101-101010"]
    assert (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("name", "app", "ours"),
    [
        ("hrms-2026-01-02", "hrms", True),
        ("hrms-2026-01-02_1", "hrms", True),
        ("hrms-lite-2026-01-02", "hrms", False),
        ("hrms-lite-2026-01-02", ".+", True),
        ("hrms", ".+", False),
    ],
)
def test_code_of_a_former_app_is_known_by_its_name(name: str, app: str, ours: bool) -> None:
    assert bool(kept.archived(app).fullmatch(name)) is ours


def test_a_dump_that_was_cut_off_is_not_whole(tmp_path: Path) -> None:
    assert not kept.is_whole_dump(str(tmp_path))
    (tmp_path / "a.sql.gz").touch()
    assert kept.is_whole_dump(str(tmp_path))
    (tmp_path / "b.sql.gz.new").touch()
    assert not kept.is_whole_dump(str(tmp_path))


def disk(monkeypatch: pytest.MonkeyPatch, free: int, files_free: int) -> None:
    """Each file system has 1000 blocks of 1 MiB and 1000 files; root alone may use 50 blocks."""
    numbers = SimpleNamespace(
        f_blocks=1000,
        f_bfree=free + 50,
        f_bavail=free,
        f_frsize=2**20,
        f_files=1000,
        f_favail=files_free,
    )
    monkeypatch.setattr(kept.os, "statvfs", lambda _: numbers)


@pytest.mark.parametrize(
    ("free", "files_free", "used", "level"),
    [
        (500, 900, 0.474, "ok"),
        (94, 900, 0.901, "amber"),
        (500, 90, 0.91, "amber"),
        (40, 900, 0.958, "red"),
        (500, 40, 0.96, "red"),
        (0, 0, 1.0, "red"),
    ],
)
def test_a_file_system_is_full_by_its_blocks_or_its_files(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    free: int,
    files_free: int,
    used: float,
    level: str,
) -> None:
    disk(monkeypatch, free, files_free)
    places = [(str(tmp_path), "the bench"), (f"{tmp_path}/not/yet", "dumps"), (str(tmp_path), "x")]
    (found,) = kept.file_systems(places)
    assert (found["path"], found["holds"]) == (str(tmp_path), ["the bench", "dumps", "x"])
    assert (found["used"], found["level"], found["free"]) == (used, level, free * 2**20)
    (one,) = disks.merged([[found]], [])
    assert [entry["id"] for entry in disks.full([one])] == ["disk_full"] * (level != "ok")
    assert kept.lack_of_room(f"{tmp_path}/not/yet", free * 2**20, "it") == ""
    words = kept.lack_of_room(f"{tmp_path}/not/yet", (free + 1) * 2**20, "the dump")
    assert words == f"{tmp_path} has {free} MiB free, and the dump may take {free + 1}"


def test_status_tells_what_is_kept_and_where_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dump = tmp_path / "backups/20260101-101010"
    dump.mkdir(parents=True)
    (dump / "erp.sql.gz").write_bytes(b"x" * 100_000)
    (tmp_path / "backups/2026-01-01T101010Z").mkdir()
    (tmp_path / "bench/archived/apps/hrms-2026-01-02").mkdir(parents=True)
    (tmp_path / "bench/.update").mkdir()
    (tmp_path / "queue/refused-20260103-101010").mkdir(parents=True)
    (tmp_path / "queue.conf").write_text(f'dir "{tmp_path}/queue"\n')
    (tmp_path / "db/replaced-20260104-101010").mkdir(parents=True)
    (tmp_path / "mariadb-seed.json").write_text(f'{{"old": "{tmp_path}/db/replaced-gone"}}')
    params = {
        "role": "primary",
        "bench": f"{tmp_path}/bench",
        "state_dir": str(tmp_path),
        "queue": f"{tmp_path}/queue.conf",
        "backups": f"{tmp_path}/backups",
        "adopted": f"{tmp_path}/backups",
        "places": [{"path": "/", "holds": "the rest"}],
    }
    rows = node_status.kept(params)
    assert [(row["id"], row["number"], row["oldest"]) for row in rows][:-1] == [
        ("dumps", 1, "2026-01-01"),
        ("adopted", 1, "2026-01-01"),
        ("replaced", 1, "2026-01-04"),
        ("refused", 1, "2026-01-03"),
        ("apps", 1, "2026-01-02"),
    ]
    assert rows[-1]["id"] == "update_cut_off"
    assert 100_000 <= rows[0]["bytes"] < 200_000
    monkeypatch.setattr(disks, "server_folders", lambda _: [("/db", "the databases")])
    monkeypatch.setattr(disks, "server_options", lambda: {"log_bin": "/logs/binlog"})
    site = tmp_path / "bench/sites/erp.test"
    site.mkdir(parents=True)
    (site / "site_config.json").write_text("{}")
    places = dict(pair for where in disks.places(params).values() for pair in where())
    assert {f"{site}/private/files", f"{tmp_path}/queue"} <= places.keys()
    assert (places["/db"], places["/"]) == ("the databases", "the rest")
    assert places["/logs"] == "logs of the databases"
    told = [{"host": "erp1", "kept": rows}, {"host": "rep1"}]
    assert fleet_status.taken_out(told, "kept")[0]["host"] == "erp1"
    assert "kept" not in told[0]
