"""What a host had is recorded and put back: files, links, folders, keys and lines."""

from __future__ import annotations

import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fleet import snapshot
from fleet.adoption import accounts, handover
from fleet.mariadb import release

from library import adopt_accounts


def taken(folder: Path, wanted: list[dict[str, Any]]) -> tuple[str, list[dict[str, Any]]]:
    """A record of some paths: its folder and its entries, as read back."""
    place = str(folder / "records/one")
    snapshot.take(place, wanted, {"at": "now"})
    return place, snapshot.load(place)["entries"]


def put_back(place: str, entries: list[dict[str, Any]], dry: bool = False) -> list[str]:
    """Put all back, last first; what was done."""
    did = [snapshot.put_back(entry, place, dry) for entry in reversed(entries)]
    return [words for words in did if words]


def test_files_links_and_folders_are_as_they_were(tmp_path: Path) -> None:
    host = tmp_path / "host"
    host.mkdir()
    (host / "own.conf").write_text("own")
    (host / "own.conf").chmod(0o640)
    (host / "link").symlink_to("own.conf")
    paths = ("own.conf", "link", "new.conf", "folder", "folder/inner", "tree")
    hows = {"folder": "folder", "tree": "tree"}
    wanted = [{"path": str(host / p), "how": hows.get(p, "file")} for p in paths]
    place, entries = taken(tmp_path, wanted)
    assert put_back(place, entries) == []
    (host / "own.conf").write_text("ours")
    (host / "own.conf").chmod(0o644)
    (host / "link").unlink()
    (host / "link").write_text("ours")
    (host / "new.conf").write_text("ours")
    (host / "folder").mkdir()
    (host / "folder/inner").write_text("ours")
    (host / "tree/deep").mkdir(parents=True)
    (host / "tree/deep/file").write_text("ours")
    assert len(put_back(place, entries, dry=True)) == len(paths)
    assert (host / "own.conf").read_text() == "ours"
    assert len(put_back(place, entries)) == len(paths)
    assert sorted(p.name for p in host.iterdir()) == ["link", "own.conf"]
    assert os.readlink(host / "link") == "own.conf"
    assert (host / "own.conf").read_text() == "own"
    assert (host / "own.conf").stat().st_mode & 0o777 == 0o640
    assert put_back(place, entries) == []


def test_a_folder_with_something_of_the_operators_stays(tmp_path: Path) -> None:
    folder = tmp_path / "mariadb.service.d"
    place, entries = taken(tmp_path, [{"path": str(folder), "how": "folder"}])
    folder.mkdir()
    (folder / "own.conf").write_text("own")
    assert put_back(place, entries) == []
    assert (folder / "own.conf").exists()


def test_copies_are_root_s_alone_and_a_killed_record_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("hush")
    (tmp_path / "records/one.making/files").mkdir(parents=True)
    place, entries = taken(tmp_path, [{"path": str(tmp_path / "secret"), "how": "kept"}])
    copy = snapshot.copy_of(place, str(tmp_path / "secret"))
    assert copy.read_text() == "hush"
    assert copy.stat().st_mode & 0o077 == Path(place).stat().st_mode & 0o077 == 0
    (tmp_path / "secret").write_text("since")
    assert put_back(place, entries) == []


def test_copies_are_on_disk_before_the_record_counts(tmp_path: Path, monkeypatch: Any) -> None:
    """The originals are changed next, and a power cut would leave neither."""
    (tmp_path / "own.conf").write_text("own")
    done: list[str] = []
    rename = os.rename
    monkeypatch.setattr(os, "sync", lambda: done.append("sync"))
    monkeypatch.setattr(os, "rename", lambda *names: (done.append("rename"), rename(*names)))
    taken(tmp_path, [{"path": str(tmp_path / "own.conf"), "how": "file"}])
    assert done == ["sync", "rename"]
    monkeypatch.setattr(
        os, "fsync", lambda handle: done.append(os.readlink(f"/proc/self/fd/{handle}"))
    )
    snapshot.write_note(str(tmp_path / "state.json"), {"snapshot": "x"})
    assert done[3:] == [str(tmp_path)]
    assert json.loads((tmp_path / "state.json").read_text()) == {"snapshot": "x"}


def test_keys_of_ours_go_and_the_operators_stay(tmp_path: Path) -> None:
    path = tmp_path / "common.json"
    # db_socket was taken out later than the record was made.
    before = {"a": 1, "db_socket": "/s", "live": True}
    path.write_text(json.dumps(before))
    entry = {
        "path": str(path),
        "how": "keys",
        "keys": ["live", "bench_id"],
        "prefixes": {"workers": "at-"},
    }
    place, entries = taken(tmp_path, [entry])
    path.write_text(json.dumps({"a": 1, "live": False, "bench_id": "x", "workers": {"at-r": {}}}))
    put_back(place, entries)
    assert path.read_text() == json.dumps(before)
    since = {"a": 2, "live": False, "db_socket": "/new", "workers": {"at-r": {}, "own": {}}}
    path.write_text(json.dumps(since))
    put_back(place, entries)
    wanted = {"a": 2, "live": True, "db_socket": "/new", "workers": {"own": {}}}
    assert json.loads(path.read_text()) == wanted
    # A link may lead to what only root may read.
    path.rename(tmp_path / "root.json")
    path.symlink_to("root.json")
    put_back(place, entries)
    assert path.read_text() == json.dumps(before)
    assert not path.is_symlink()


def test_lines_of_ours_go_and_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "authorized_keys"
    entry = {"path": str(path), "how": "block", "marker": "# {mark} ours"}
    place, entries = taken(tmp_path, [entry])
    path.write_text("own key\n# BEGIN ours\nkey\n# END ours\n")
    put_back(place, entries)
    assert path.read_text() == "own key\n"
    path.write_text("# BEGIN ours\nkey\n# END ours\n")
    put_back(place, entries)
    assert not path.exists()


def test_a_lost_record_is_reported(tmp_path: Path) -> None:
    with pytest.raises(snapshot.SnapshotError, match=str(tmp_path / "manifest.json")):
        snapshot.load(str(tmp_path))


def test_an_account_gets_a_twin_with_its_password_and_rights() -> None:
    lines = [
        "CREATE USER `_a`@`localhost` IDENTIFIED BY PASSWORD '*F00'",
        "GRANT USAGE ON *.* TO `_a`@`localhost` IDENTIFIED BY PASSWORD '*F00'",
        "GRANT ALL PRIVILEGES ON `_a`.* TO `_a`@`localhost`",
        "GRANT PROXY ON ''@'%' TO '_a'@'localhost' WITH GRANT OPTION",
    ]
    made = accounts.twin(lines, "_a")
    assert made[0] == "CREATE OR REPLACE USER `_a`@`127.0.0.1` IDENTIFIED BY PASSWORD '*F00'"
    assert made[2:] == ["GRANT ALL PRIVILEGES ON `_a`.* TO `_a`@`127.0.0.1`"]
    with pytest.raises(accounts.AccountError, match="_a"):
        accounts.twin([], "_a")


def test_only_accounts_that_the_fleet_made_are_dropped() -> None:
    before = ["root@localhost", "_a@localhost", "app@10.0.0.9"]
    there = [*before, "repl@10.0.0.2", "_a@127.0.0.1", "_a_ro@10.0.0.2", "new@localhost"]
    there += ["new@127.0.0.1"]
    gone = release.ours(there, before, ["_a_ro@10.0.0.2", "app@10.0.0.9"])
    assert gone == ["repl@10.0.0.2", "_a@127.0.0.1", "_a_ro@10.0.0.2"]


def test_background_processes_are_told_from_the_others() -> None:
    status = """\
b-web:b-frappe-web                 RUNNING pid 1, uptime 0:01:00
b-workers:b-frappe-schedule        RUNNING pid 2, uptime 0:01:00
b-workers:hands-0                  BACKOFF Exited too quickly
b-workers:b-frappe-short-worker-0  STOPPED Nov 25 11:00 PM
b-workers:b-mail-worker            RUNNING pid 4, uptime 0:01:00
"""
    does = {
        "b-web:b-frappe-web": "web",
        "b-workers:b-frappe-schedule": "schedule",
        "b-workers:hands-0": "worker",
        "b-workers:b-frappe-short-worker-0": "worker",
        "b-workers:b-mail-worker": "",
    }
    found = handover.background(status, does)
    assert found == ["b-workers:b-frappe-schedule", "b-workers:hands-0"]


@pytest.mark.parametrize(
    ("tool", "function"),
    [
        ("systemctl", lambda: snapshot.unit_states(["cron.service"])),
        ("dpkg-query", snapshot.packages),
    ],
)
def test_what_a_tool_does_not_tell_is_not_taken_for_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tool: str, function: Any
) -> None:
    (tmp_path / tool).write_text("#!/bin/sh\necho 'Failed to connect to bus' >&2\nexit 1\n")
    (tmp_path / tool).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(snapshot.SnapshotError, match="Failed to connect"):
        function()


def test_a_server_that_does_not_answer_has_no_lack_of_accounts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class EndedError(Exception):
        pass

    def fail(msg: str) -> None:
        raise EndedError(msg)

    module = SimpleNamespace(check_mode=False, fail_json=fail, exit_json=lambda **_: None)
    monkeypatch.setattr(adopt_accounts, "FleetModule", lambda **_: module)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EndedError, match="No such file or directory: 'mariadb'"):
        adopt_accounts.main()
