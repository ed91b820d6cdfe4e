"""The seed: who may be overwritten, the stream's format, moving data, positions."""

from __future__ import annotations

import importlib.util
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
from fleet.mariadb import remedies, replica, seed, seed_folders, seed_stream, server

from plugins.action import mariadb_seed as follower

ROOT = Path(__file__).parents[2]


def script(path: str) -> ModuleType:
    """A role's script as a module."""
    spec = importlib.util.spec_from_file_location(Path(path).stem, ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


receive = script("roles/mariadb_replica/files/seed_receive.py")
send = script("roles/mariadb_seed_source/files/seed_send.py")


def situation(**changed: Any) -> seed.Situation:
    usual: dict[str, Any] = {
        "phase": None,
        "failed": False,
        "running": False,
        "follows": None,
        "schemas": [],
        "answers": True,
        "reseed": False,
    }
    return seed.Situation(**{**usual, **changed})


@pytest.mark.parametrize(
    ("changed", "verb"),
    [
        ({}, "seed"),
        ({"schemas": ["crm"]}, "refuse"),
        ({"schemas": ["crm"], "reseed": True}, "reseed"),
        ({"schemas": ["crm"], "follows": "10.0.0.1"}, "nothing"),
        ({"answers": False}, "refuse"),
        ({"answers": False, "reseed": True}, "reseed"),
        ({"phase": "done", "schemas": ["erp"]}, "nothing"),
        ({"phase": "seeded", "schemas": ["erp"]}, "nothing"),
        ({"phase": "done", "schemas": ["erp"], "reseed": True}, "reseed"),
        ({"phase": "stream", "running": True, "reseed": True}, "attach"),
        ({"phase": "stream"}, "resume"),
        ({"phase": "stream", "schemas": ["crm"]}, "refuse"),
        ({"phase": "stream", "schemas": ["crm"], "reseeding": True}, "resume"),
        ({"phase": "prepared", "schemas": ["crm"]}, "refuse"),
        ({"phase": "prepared"}, "resume"),
        ({"phase": "prepared", "schemas": ["crm"], "reseed": True}, "reseed"),
        ({"phase": "swap_out", "answers": False}, "resume"),
        ({"phase": "swap_in", "answers": False, "schemas": ["x"]}, "resume"),
        ({"phase": "start", "answers": False, "failed": True}, "resume"),
        ({"phase": "start", "answers": False, "failed": True, "reseed": True}, "abandon"),
    ],
)
def test_who_may_be_overwritten(changed: dict[str, Any], verb: str) -> None:
    assert seed.decide(situation(**changed))[0] == verb


class Asked:
    """Stands in for the module: command() reads its parameters."""

    params: ClassVar[dict[str, Any]] = {
        "sources": ["rep2=10.0.0.3", "erp1=10.0.0.1"],
        "ssh_port": 22,
        "seed_user": "u",
        "fleet_id": "f",
        "memory_mb": 128,
        "script": "/x",
    }


@pytest.mark.parametrize("verb", ["seed", "resume", "reseed", "abandon"])
@pytest.mark.parametrize("phase", ["prepared", "swap_in"])
def test_who_replaces_data_keeps_it(tmp_path: Path, verb: str, phase: str) -> None:
    command = seed.Seeder(Asked()).command(verb)  # type: ignore[arg-type]
    state = receive.State(tmp_path / "seed.json")
    state.data = {"phase": phase, "fleet_id": "f", "keep_old": False, "old": "/o"}
    receive.begin(receive.parse(command[command.index("/x") + 1 :]), state)
    replaces = verb in ("reseed", "abandon")
    assert state.data["keep_old"] is replaces
    assert ("phase" not in state.data) is replaces


def test_the_old_data_is_kept_once_that_was_asked_for(tmp_path: Path) -> None:
    state = receive.State(tmp_path / "seed.json")
    state.data = {"phase": "prepared", "keep_old": False, "old": "/o"}
    asked = ["--source=erp1=10.0.0.1", "--user=u", "--fleet=f", "--datadir=/d", "--keep-old"]
    receive.begin(receive.parse(asked), state)
    assert (state.data["phase"], state.data["keep_old"]) == ("prepared", True)
    receive.begin(receive.parse(asked[:4]), state)
    assert state.data["keep_old"] is True


def test_a_server_that_cannot_be_stopped_is_not_fenced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(words: list[str], **_: Any) -> None:
        raise subprocess.CalledProcessError(1, words)

    monkeypatch.setattr(receive, "folder", lambda kind: tmp_path / kind)
    monkeypatch.setattr(receive.subprocess, "run", refuse)
    stuck = object.__new__(receive.Seed)
    stuck.state = receive.State(tmp_path / "seed.json")
    stuck.state.data = {"phase": "prepared", "old": str(tmp_path / "old")}
    with pytest.raises(subprocess.CalledProcessError):
        stuck.swap()
    assert not (tmp_path / "fence").exists()
    assert stuck.state.data["phase"] == "prepared"


def test_sources_are_asked_in_their_order_and_busy_replicas_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Replicas that have no copy are passed over, a busy one is waited for, the primary is last."""
    answers = {
        "rep1": [seed_stream.BusyError("busy"), seed_stream.BusyError("busy"), None],
        "rep2": [seed_stream.SeedError("it holds no copy yet")] * 3,
        "erp1": [None],
    }
    asked: list[str] = []

    def fetch(self: Any, source: str) -> None:
        name = source.partition("=")[0]
        asked.append(name)
        answer = answers[name].pop(0)
        if answer:
            raise answer

    monkeypatch.setattr(receive.Seed, "fetch", fetch)
    monkeypatch.setattr(receive, "AGAIN_SECONDS", 0)
    one = object.__new__(receive.Seed)
    one.state, one.work = receive.State(tmp_path / "seed.json"), tmp_path / "work"
    sources = ["--source=rep1=10.0.0.2", "--source=rep2=10.0.0.3", "--source=erp1=10.0.0.1"]
    one.arguments = receive.parse([*sources, "--user=u", "--fleet=f", "--datadir=/d"])
    one.stream()
    assert asked == ["rep1", "rep2", "rep1", "rep2", "rep1"]
    assert one.state.data["waits_for"] == "rep1"
    # With no replica left that could ever give one, the primary is asked.
    asked.clear()
    one.arguments = receive.parse(
        ["--source=rep2=10.0.0.3", *sources[2:], "--user=u", "--fleet=f", "--datadir=/d"]
    )
    one.stream()
    assert asked == ["rep2", "erp1"]


@pytest.mark.parametrize(
    ("status", "read_only", "words"),
    [
        ("", "0", None),
        ("", "1", send.NO_COPY),
        ("Last_Error: \n  Slave_IO_Running: Yes\n  Slave_SQL_Running: Yes", "1", None),
        ("Slave_IO_Running: Connecting\nSlave_SQL_Running: Yes", "1", "Slave_IO_Running: Connect"),
        ("Slave_IO_Running: Yes\nSlave_SQL_Running: No", "1", "Slave_SQL_Running: No"),
    ],
)
def test_only_a_sound_server_hands_out_copies(
    monkeypatch: pytest.MonkeyPatch, status: str, read_only: str, words: str | None
) -> None:
    monkeypatch.setattr(
        send, "ask", lambda statement, *_: status if "SLAVE" in statement else read_only
    )
    found = send.unsound()
    assert (words is None) == (found is None)
    assert (words or "") in (found or "")


def test_a_server_gives_so_many_copies_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(send, "folder", lambda kind: tmp_path)
    places = [send.take_place() for _ in range(send.PLACES)]
    assert all(places)
    assert send.take_place() is None
    places[0].close()
    assert send.take_place() is not None


def test_a_source_that_refuses_is_told_apart() -> None:
    one = object.__new__(receive.Seed)
    for refused, kind in (("busy", seed_stream.BusyError), ("it is new", seed_stream.SeedError)):
        header = json.dumps({"format": 1, "refused": refused}).encode() + b"\n"
        with pytest.raises(seed_stream.SeedError, match=f"rep1 .*: {refused}") as caught:
            one.receive(io.BytesIO(header), "rep1")
        assert caught.type is kind


def stream(*frames: bytes, ending: dict[str, Any] | None) -> io.BytesIO:
    """A stream as the sender writes it."""
    data = b"".join(seed_stream.FRAME.pack(len(frame)) + frame for frame in frames)
    if ending is not None:
        data += seed_stream.FRAME.pack(0) + json.dumps(ending).encode() + b"\n"
    return io.BytesIO(data)


class Quiet:
    """Stands in for a seed: pump() needs only where figures go."""

    def __init__(self) -> None:
        self.state = self

    def figures(self, **_: Any) -> None:
        return

    def stored(self) -> int:
        return 0


def test_a_whole_stream_arrives() -> None:
    target = io.BytesIO()
    source = stream(b"abc", b"def", ending={"complete": True, "error": None})
    assert receive.Seed.pump(Quiet(), source, target)["complete"] is True
    assert target.getvalue() == b"abcdef"


@pytest.mark.parametrize("cut", range(1, 40, 3))
def test_a_torn_stream_is_never_taken_for_whole(cut: int) -> None:
    whole = stream(b"abc", b"def", ending={"complete": True}).getvalue()
    with pytest.raises(seed_stream.TornError):
        receive.Seed.pump(Quiet(), io.BytesIO(whole[: min(cut, len(whole) - 1)]), io.BytesIO())


def test_the_senders_trailer_is_read_by_the_receiver() -> None:
    ending = receive.Seed.pump(Quiet(), io.BytesIO(send.trailer("disk full")), io.BytesIO())
    assert ending == {"complete": False, "error": "disk full"}


@pytest.mark.parametrize(
    ("header", "free", "error", "named"),
    [
        ({"format": 2}, 10**12, seed_stream.FormatError, "2"),
        (
            {"format": 1, "version": "11.8.2-MariaDB", "bytes": 1},
            10**12,
            seed_stream.SeriesError,
            r"11\.8.*10\.11",
        ),
        (
            {"format": 1, "version": "10.11.6-MariaDB", "bytes": 10**10},
            10**10,
            seed_stream.SpaceError,
            "10746.*9536",
        ),
    ],
)
def test_a_seed_that_cannot_work_is_refused_first(
    header: dict[str, Any], free: int, error: type[seed_stream.SeedError], named: str
) -> None:
    version = "mariadbd  Ver 10.11.19-MariaDB for debian-linux-gnu"
    with pytest.raises(error, match=named):
        seed_stream.check_header(header, version, free, Path("/w"))


def test_a_copy_that_finds_no_room_names_the_folder_and_what_lies_there(tmp_path: Path) -> None:
    header = {"format": 1, "version": "10.11.6-MariaDB", "bytes": 10**10}
    (tmp_path / "replaced-20260101-000000").mkdir()
    with pytest.raises(seed_stream.SpaceError) as caught:
        seed_stream.check_header(header, "mariadbd  Ver 10.11.19-MariaDB", 2**30, tmp_path)
    assert re.findall(r"\b\d+(?= M)", str(caught.value)) == ["10746", "1024"]
    assert f"{tmp_path}, " in str(caught.value)
    assert f"{tmp_path}/replaced-20260101-000000" in str(caught.value)


def finished(folder: Path, **state: Any) -> list[str]:
    """What is left of replaced data once a copy has proved itself."""
    names = ("replaced-20200101-000000", "replaced-20200102-000000", "replaced-20200103-000000")
    for name in (*names, "incoming"):
        (folder / "work" / name).mkdir(parents=True)
    old = str(folder / "work" / names[-1])
    params = {"state_file": str(folder / "seed.json"), "keep": {"number": 2, "days": 36500}}
    following = replica.Replica(None, params, check_mode=False)  # type: ignore[arg-type]
    following.finish_seed({"phase": "seeded", "old": old, **state})
    return sorted(path.name for path in (folder / "work").iterdir() if path.name in names)


def test_replaced_data_goes_by_number_once_the_next_copy_has_proved_itself(tmp_path: Path) -> None:
    assert finished(tmp_path / "a", keep_old=True) == [
        "replaced-20200102-000000",
        "replaced-20200103-000000",
    ]
    # An empty server's data is nothing to go back to; what a reseed kept before stays.
    assert finished(tmp_path / "b") == ["replaced-20200101-000000", "replaced-20200102-000000"]


def test_another_release_of_one_series_is_fine() -> None:
    header = {"format": 1, "version": "10.11.6-MariaDB-log", "bytes": 10**6}
    seed_stream.check_header(header, "mariadbd  Ver 10.11.19-MariaDB", 10**10, Path("/w"))


@pytest.mark.parametrize("name", ["xtrabackup_binlog_info", "mariadb_backup_binlog_info"])
def test_position_is_found_under_either_name(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("binlog.000001\t4711\t0-1-5,\n0-2-7\n")
    assert seed_folders.gtid_of(tmp_path) == "0-1-5,0-2-7"


def test_a_copy_without_position_is_refused(tmp_path: Path) -> None:
    (tmp_path / "xtrabackup_binlog_info").write_text("binlog.000001\t4711\t\n")
    with pytest.raises(seed_stream.PositionError):
        seed_folders.gtid_of(tmp_path)


def test_moving_goes_on_where_it_was_cut(tmp_path: Path) -> None:
    data, old = tmp_path / "data", tmp_path / "old"
    data.mkdir()
    old.mkdir()
    for name in ("a", "b", "c"):
        (data / name).write_text(name)
    os.rename(data / "a", old / "a")
    (data / ".work").mkdir()
    seed_folders.move_all(data, old, data / ".work")
    assert sorted(entry.name for entry in old.iterdir()) == ["a", "b", "c"]
    assert [entry.name for entry in data.iterdir()] == [".work"]


def test_moving_across_layers_leaves_no_half_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, target = tmp_path / "s", tmp_path / "t"
    source.mkdir()
    (source / "x").write_text("x")
    real = Path.rename

    def rename(self: Path, to: Path) -> Path:
        if self == source:
            raise OSError(18, "Invalid cross-device link")
        return real(self, to)

    monkeypatch.setattr(Path, "rename", rename)
    seed_folders.move(source, target)
    assert (target / "x").read_text() == "x"
    assert not source.exists()
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["t"]


def test_state_survives_and_failures_are_cleared_by_the_next_phase(tmp_path: Path) -> None:
    state = receive.State(tmp_path / "seed.json")
    state.data["failed"] = "x"
    state.enter("stream", bytes=0)
    again = receive.State(tmp_path / "seed.json")
    assert again.data["phase"] == "stream"
    assert again.data["failed"] is None


def test_a_receiver_that_stops_reading_is_given_up_on() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    try:
        with pytest.raises(send.StalledError):
            send.send(writing, b"x" * 1_000_000, patience=0.1)
    finally:
        os.close(reading)
        os.close(writing)


def test_patience_is_short_while_commits_wait(tmp_path: Path) -> None:
    lines = b"[00] Executing BACKUP STAGE BLOCK_COMMIT\n[00] Executing BACKUP STAGE END\n"
    log = send.Log(io.BytesIO(lines[:41]), tmp_path / "log")
    log.thread.join()
    assert log.commits_wait
    log = send.Log(io.BytesIO(lines + b"[00] completed OK!\n"), tmp_path / "log")
    log.thread.join()
    assert not log.commits_wait
    assert log.completed


@pytest.mark.parametrize(
    ("state", "phase", "figures"),
    [
        ({"phase": "start"}, follower.PHASES["start"], []),
        (
            {
                "phase": "stream",
                "bytes": 432013312,
                "rate": 39845888,
                "expected": 2**30,
                "stored": 2**29,
            },
            "",
            ["412", "38", "50", "1024"],
        ),
        ({"phase": "prepare", "phase_since": 90.0}, follower.PHASES["prepare"], ["10"]),
        ({}, "", []),
    ],
)
def test_progress_has_phase_and_figures(
    state: dict[str, Any], phase: str, figures: list[str]
) -> None:
    line = follower.progress(state, 100.0)
    assert line.startswith(phase or line)
    assert re.findall(r"\d+", line) == figures


def test_replication_settings_are_compared_by_name() -> None:
    status = {
        "Master_Port": 3306,
        "Master_User": "repl",
        "Master_SSL_Allowed": "Yes",
        "Master_SSL_CA_File": "/ca",
        "Master_SSL_Verify_Server_Cert": "Yes",
        "Using_Gtid": "Slave_Pos",
    }
    assert replica.connection_settings(status) == replica.wanted_settings(3306, "/ca")


def test_statement_keeps_the_address_when_only_pointing_anew() -> None:
    params = {"port": 3306, "password": "it's", "ca": "/ca"}
    assert "MASTER_HOST" not in replica.change_statement(None, params)
    text = replica.change_statement("10.0.0.1", params)
    assert "MASTER_HOST='10.0.0.1'" in text
    assert "MASTER_PASSWORD='it''s'" in text
    assert "MASTER_SSL_VERIFY_SERVER_CERT=1" in text


@pytest.mark.parametrize(
    ("number", "harmless"),
    [
        (2003, True),
        (1045, True),
        (1236, False),
        (1950, False),
        (1032, False),
        (1418, True),
        (1118, True),
    ],
)
def test_only_what_can_pass_is_tried_again(number: int, harmless: bool) -> None:
    assert remedies.passing(number) is harmless
    assert remedies.remedy(number, [])


@pytest.mark.parametrize(("number", "named"), [(1950, True), (1032, True), (1062, False)])
def test_a_table_that_a_restart_empties_is_named_as_the_cause(number: int, named: bool) -> None:
    text = remedies.remedy(number, ["`_a`.`cache`"])
    assert ("`_a`.`cache`" in text) is named
    assert (text == remedies.REMEDIES[number]) is not named
    # In this order: see MEMORY_CURE.
    cure = text.find("TRUNCATE"), text.find("ALTER"), text.find("mariadb_replica_reseed")
    assert (cure == tuple(sorted(cure)) and min(cure) > 0) is named
    assert remedies.remedy(1950, []) == remedies.REMEDIES[1950]


def test_stored_password(tmp_path: Path) -> None:
    (tmp_path / "master.info").write_text("33\nlog\n4\n10.0.0.1\nrepl\nsecret\n3306\n")
    assert server.stored_password(str(tmp_path)) == "secret"
    assert server.stored_password(str(tmp_path / "none")) is None


def test_the_programs_find_the_fleets_folders_beside_them(tmp_path: Path) -> None:
    """fleet_config_dir and fleet_state_dir are the inventory's to choose."""
    (tmp_path / "folders.json").write_text('{"config": "/c", "state": "/s"}')
    shutil.copytree(ROOT / "module_utils/fleet", tmp_path / "python/fleet")
    code = "from fleet.folders import folder; print(folder('config'), folder('state'))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(tmp_path / "python")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "/c /s\n"
