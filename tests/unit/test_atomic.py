"""Files that are written whole."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from fleet import atomic


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is brought to the disk, in its order."""
    found: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda at: found.append(os.readlink(f"/proc/self/fd/{at}")))
    return found


def test_a_file_and_its_name_survive_a_power_cut(tmp_path: Path, synced: list[str]) -> None:
    atomic.write(tmp_path / "a", "text")
    (file, folder) = synced
    assert file.startswith(f"{tmp_path}/.benchfleet-")
    assert folder == str(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_what_need_not_survive_waits_for_no_disk(tmp_path: Path, synced: list[str]) -> None:
    atomic.write(tmp_path / "a", b"data", durable=False)
    assert (tmp_path / "a").read_bytes() == b"data"
    assert not synced


def test_a_mode_stays_until_another_is_wanted(tmp_path: Path) -> None:
    path = tmp_path / "a"
    for wanted, mode in ((None, 0o644), (0o600, 0o600), (None, 0o600)):
        atomic.write(path, "text", wanted)
        assert path.stat().st_mode & 0o777 == mode


def test_a_link_gives_way_and_what_it_leads_to_stays(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("theirs")
    (tmp_path / "other").chmod(0o666)
    (tmp_path / "a").symlink_to(tmp_path / "other")
    atomic.write(tmp_path / "a", "ours")
    assert not (tmp_path / "a").is_symlink()
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "other").read_text() == "theirs"


def test_what_goes_wrong_leaves_the_old_file_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(OverflowError):
        atomic.write(tmp_path / "a", "new", mode=2**70)
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"
