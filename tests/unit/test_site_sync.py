"""site-sync and the two gates."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import fcntl
import io
import json
import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import pytest
from benchfleet_sync import __main__ as command
from benchfleet_sync import code_gate, gate, gate_changes, gate_fetch, gate_push, locks, sites
from benchfleet_sync import copies as copying
from benchfleet_sync import fetch as service
from benchfleet_sync import follow as following
from benchfleet_sync import line as connection
from benchfleet_sync import mark as marks
from benchfleet_sync import names as naming
from benchfleet_sync import primary as reaching
from benchfleet_sync import push as pushing
from benchfleet_sync import run as runs
from benchfleet_sync import settings as configured
from benchfleet_sync.sites import merge_site_config
from fleet.sites.credentials import read_only_password
from fleet.sites.folders import LIST, render_list

FILES = Path(__file__).parents[2] / "roles" / "site_sync" / "files"


GOOD = {"db_name": "_a", "db_password": "pw"}
KEYS = {
    "read_from_replica": 1,
    "replica_host": "10.0.0.2",
    "replica_db_port": 3306,
    "different_credentials_for_replica": 1,
    "replica_db_user": "_a_ro",
    "replica_db_password": "ro",
}


@pytest.fixture(autouse=True)
def replica(monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """A replica that knows these accounts."""
    known = {"_a_ro"}
    monkeypatch.setattr(sites, "is_known", lambda site, _ca: site["replica_db_user"] in known)
    return known


def place(config: Any, site: str = "a.test") -> Any:
    """Put a staged configuration in place; what became of it."""
    outcome = marks.Outcome()
    sites.place_site_config(config, site, outcome)
    return outcome


@pytest.fixture
def config(tmp_path: Path) -> Any:
    """A configuration of one site in an empty bench that has the app frappe."""
    bench = tmp_path / "bench"
    (bench / "apps" / "frappe").mkdir(parents=True)
    (bench / "sites").mkdir()
    (bench / ".site-sync" / "a.test").mkdir(parents=True)
    (bench / ".site-sync" / "assets").mkdir()
    path = tmp_path / "site-sync.json"
    path.write_text(
        json.dumps(
            {
                "user": "frappe",
                "bench": str(bench),
                "source": {"host": "10.0.0.1", "port": 2222, "user": "frappe"},
                "key": "/k",
                "known_hosts": "/h",
                "frappe_major": 16,
                "replica": {"host": "10.0.0.2", "port": 3306},
                "passwords": {"a.test": "ro"},
                "site_key": "k",
                "connect_timeout": 5,
                "transfer_timeout": 60,
            }
        )
    )
    return configured.load(path)


def stage(config: Any, name: str, text: str) -> None:
    (config.staging / name).write_text(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"db_name": "_a", "db_pass',
        "",
        "[]",
        '{"db_name": "_a"}',
        '{"db_name": 1, "db_password": "x"}',
    ],
)
def test_a_torn_or_incomplete_config_is_refused(text: str) -> None:
    with pytest.raises(reaching.SyncError):
        merge_site_config(text)


def test_a_torn_config_leaves_the_last_good_one(config: Any) -> None:
    stage(config, "a.test/site_config.json", json.dumps(GOOD))
    assert place(config).configs == 1
    target = config.folder / "a.test" / "site_config.json"
    before = target.read_bytes()
    stage(config, "a.test/site_config.json", json.dumps(GOOD)[:-8])
    with pytest.raises(reaching.SyncError, match=r"^a\.test: .*\(Unterminated"):
        place(config)
    assert target.read_bytes() == before


def test_a_config_is_private_and_written_only_when_it_differs(config: Any) -> None:
    stage(config, "a.test/site_config.json", json.dumps(GOOD))
    assert place(config).configs == 1
    target = config.folder / "a.test" / "site_config.json"
    assert target.stat().st_mode & 0o777 == 0o600
    assert json.loads(target.read_text()) == GOOD | KEYS
    inode = target.stat().st_ino
    assert place(config).configs == 0
    assert target.stat().st_ino == inode
    assert (config.folder / "a.test" / "private" / "backups").is_dir()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.1.1", "::1", "", None])
def test_keys_for_the_primarys_own_loopback_are_dropped(host: Any) -> None:
    text = json.dumps(
        GOOD | {"db_host": host, "db_port": 3307, "db_socket": "/run/x", "encryption_key": "k"}
    )
    assert merge_site_config(text) == GOOD | {"encryption_key": "k"}


def test_a_database_on_a_machine_of_its_own_is_kept() -> None:
    text = json.dumps(GOOD | {"db_host": "10.0.0.9", "db_port": 3307})
    assert merge_site_config(text)["db_host"] == "10.0.0.9"
    assert merge_site_config(text)["db_port"] == 3307


def test_one_redis_is_everybodys() -> None:
    text = json.dumps(
        GOOD
        | {"redis_cache": "redis://:p@127.0.0.1:13000", "redis_queue": "redis://:p@10.0.0.1:11000"}
    )
    assert merge_site_config(text) == GOOD


def test_apps_wait_for_their_code(config: Any) -> None:
    (config.folder / "apps.txt").write_text("frappe\n")
    stage(config, "apps.txt", "frappe\nnews\n")
    with pytest.raises(reaching.SyncError, match="news"):
        sites.place_lists(config, ["a.test"])
    assert (config.folder / "apps.txt").read_text() == "frappe\n"
    (config.bench / "apps" / "news").mkdir()
    assert sites.place_lists(config, ["a.test"]) == 1
    assert (config.folder / "apps.txt").read_text() == "frappe\nnews\n"


def test_a_torn_asset_list_stays_out_and_the_rest_comes(config: Any) -> None:
    stage(config, "assets/assets.json", '{"a"')
    stage(config, "assets/assets-rtl.json", "{}")
    stage(config, "currentsite.txt", "a.test\n")
    with pytest.raises(reaching.SyncError, match=r"assets/assets\.json"):
        sites.place_lists(config, ["a.test"])
    assert not (config.folder / "assets" / "assets.json").exists()
    assert (config.folder / "assets" / "assets-rtl.json").exists()
    assert (config.folder / "currentsite.txt").read_text() == "a.test\n"


def test_a_current_site_that_is_not_ours_is_ignored(config: Any) -> None:
    stage(config, "currentsite.txt", "other.test")
    assert sites.place_lists(config, ["a.test"]) == 0


def test_only_the_small_files_are_chosen(config: Any) -> None:
    filters = sites.staging_filters()
    assert filters[-1] == "--exclude=*"
    assert "--include=/*/site_config.json" in filters
    assert not any("common" in word for word in filters)


def test_statistics_are_read() -> None:
    text = (
        "Number of files: 1300 (reg: 1250, dir: 50)\nNumber of created files: 0\n"
        "Number of deleted files: 3 (reg: 3)\nNumber of regular files transferred: 7\n"
    )
    assert reaching.parse_stats(text) == (1250, 7, 3)
    assert reaching.parse_stats("Number of files: 1 (dir: 1)\n") == (0, 0, 0)


def test_a_failed_run_keeps_the_last_success(config: Any) -> None:
    good = marks.new_mark({}, config, marks.Outcome(files=3), 100.0, 101.5)
    assert good["ok"]
    assert good["last_success"] == 101.5
    assert good["in_step_since"] == 100.0
    bad = marks.new_mark(good, config, marks.Outcome(errors=["x: broke"]), 160.0, 161.0)
    assert not bad["ok"]
    assert bad["last_success"] == 101.5
    assert bad["in_step_since"] == 100.0
    assert bad["error"] == "x: broke"
    assert "FAILED" in marks.log_line(bad)
    assert " ok " in marks.log_line(good)


def test_a_primary_out_of_reach_is_reported_with_the_message_of_ssh(
    config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        return subprocess.CompletedProcess([], 255, "", "ssh: connect: No route to host\n")

    monkeypatch.setattr(subprocess, "run", refused)
    outcome = runs.synchronise(config)
    assert reaching.RSYNC_ERRORS[255] in outcome.errors[0]
    assert "No route to host" in outcome.errors[0]


def test_deletion_is_asked_for_in_the_files_folders_only(
    config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def done(command: list[str], **_: Any) -> Any:
        commands.append(command)
        (config.staging / "a.test").mkdir(exist_ok=True)
        stage(config, LIST, render_list(["a.test"]))
        stage(config, "a.test/site_config.json", json.dumps(GOOD))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", done)
    assert runs.synchronise(config).errors == []
    deleting = [c for c in commands if any(w.startswith("--delete") for w in c)]
    assert [c[-1] for c in deleting] == [
        f"{config.staging}/",
        f"{config.folder}/a.test/public/files/",
        f"{config.folder}/a.test/private/files/",
    ]


def test_files_come_over_while_a_config_is_torn(
    config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets: list[str] = []

    def done(command: list[str], **_: Any) -> Any:
        targets.append(command[-1])
        (config.staging / "a.test").mkdir(exist_ok=True)
        stage(config, LIST, render_list(["a.test"]))
        stage(config, "a.test/site_config.json", "{")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", done)
    (config.folder / "a.test").mkdir()
    assert len(runs.synchronise(config).errors) == 1
    assert f"{config.folder}/a.test/public/files/" in targets


@pytest.fixture
def primary_has(config: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make the primary list sites, each with a database named like it; None for no list."""
    listed: list[list[str] | None] = []

    def done(command: list[str], **_: Any) -> Any:
        if command[-1] == f"{config.staging}/" and (names := listed[-1]) is not None:
            stage(config, LIST, json.dumps({"sites": names}))
            for name in [name for name in names if name in ("a.test", "b.test")]:
                (config.staging / name).mkdir(parents=True, exist_ok=True)
                found = {"db_name": f"_{name[0]}", "db_password": "pw"}
                stage(config, f"{name}/site_config.json", json.dumps(found))
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", done)

    def run(names: list[str] | None) -> Any:
        listed.append(names)
        return runs.synchronise(config)

    return run


def test_a_site_that_the_primary_has_lost_stays_and_stops_nobody(
    config: Any, primary_has: Any, replica: set[str]
) -> None:
    assert primary_has(["a.test", "b.test"]).errors == []
    kept = config.folder / "b.test/private/files/kept.txt"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.touch()
    shutil.rmtree(config.staging, ignore_errors=True)
    shutil.rmtree(config.staging / "b.test", ignore_errors=True)
    # Still listed, as its database is there; its folder is not.
    outcome = primary_has(["a.test", "lost.test"])
    assert (outcome.errors, outcome.lost, outcome.removed) == ([], ["lost.test"], ["b.test"])
    mark = marks.new_mark({}, config, outcome, 1.0, 2.0)
    assert "gone_from_primary=lost.test" in marks.log_line(mark)
    assert runs.is_in_step(config, mark, ["a.test", "lost.test"])


def keys_of(config: Any, site: str) -> set[str]:
    return set(json.loads((config.folder / site / "site_config.json").read_text()))


def test_a_site_that_nobody_named_comes_over_and_goes_when_it_is_dropped(
    config: Any, primary_has: Any, replica: set[str]
) -> None:
    replica.add("_b_ro")
    assert primary_has(["a.test", "b.test"]).sites == ["a.test", "b.test"]
    b = json.loads((config.folder / "b.test/site_config.json").read_text())
    assert b["replica_db_password"] == read_only_password("k", "_b")
    outcome = primary_has(["a.test"])
    assert (outcome.removed, outcome.errors) == (["b.test"], [])
    assert not (config.folder / "b.test").exists()
    assert (config.folder / "a.test").exists()
    assert primary_has(["a.test"]).removed == []


def test_a_folder_that_did_not_come_from_the_primary_stays(config: Any, primary_has: Any) -> None:
    (config.folder / "mine.test").mkdir()
    primary_has(["a.test"])
    assert (config.folder / "mine.test").exists()


@pytest.mark.parametrize("names", [None, [], ["../x"], ["a.test", 3]])
def test_without_a_sound_list_nothing_is_removed(config: Any, primary_has: Any, names: Any) -> None:
    primary_has(["a.test"])
    outcome = primary_has(names)
    assert len(outcome.errors) == 1
    assert (config.folder / "a.test").exists()
    assert sites.read_list(config.list) == ["a.test"]


def test_the_replicas_keys_wait_for_the_account_and_stay(
    config: Any, primary_has: Any, replica: set[str]
) -> None:
    replica.clear()
    assert primary_has(["a.test"]).waiting == ["a.test"]
    assert keys_of(config, "a.test") == set(GOOD)
    replica.add("_a_ro")
    assert primary_has(["a.test"]).waiting == []
    assert keys_of(config, "a.test") == set(GOOD) | set(KEYS)
    # The replica is away for a while.
    replica.clear()
    assert primary_has(["a.test"]).waiting == []
    assert keys_of(config, "a.test") == set(GOOD) | set(KEYS)


def test_ensure_runs_for_a_site_that_is_not_here(config: Any, primary_has: Any) -> None:
    outcome = primary_has(["a.test"])
    mark = marks.new_mark({}, config, outcome, 1.0, 2.0)
    assert runs.is_in_step(config, mark, ["a.test"])
    assert not runs.is_in_step(config, mark, ["a.test", "b.test"])
    assert not runs.is_in_step(config, mark | {"waiting": ["a.test"]}, ["a.test"])
    assert not runs.is_in_step(config, mark | {"config_digest": "x"}, ["a.test"])


def test_an_ipv6_primary_gets_brackets(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def done(command: list[str], **_: Any) -> Any:
        commands.append(command)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", done)
    v6 = configured.Settings(**{**config.__dict__, "source_host": "fd00::1"})
    reaching.rsync(v6, "./", config.staging, [])
    assert commands[0][-2] == "frappe@[fd00::1]:./"


def test_a_second_run_at_once_is_refused(config: Any) -> None:
    with locks.lock(config, 0), pytest.raises(locks.BusyError), locks.lock(config, 0):
        pass


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"user": "x"}'])
def test_a_bad_configuration_names_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "site-sync.json"
    path.write_text(text)
    with pytest.raises(configured.ConfigError, match=r"site-sync\.json"):
        configured.load(path)


def test_the_exit_status_of_a_bad_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command.main(["--config", str(tmp_path / "none.json")]) == 2
    assert "FAILED" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        "rsync --server --sender -tre.iLsfxCIvu --timeout=60 . ./",
        "rsync --server --sender -ltre.iLsfxCIvu --safe-links --timeout=60 . a.test/public/files/",
    ],
)
def test_the_sync_gate_lets_site_sync_in(command: str) -> None:
    assert gate.allowed(command)[0] == "rsync"


@pytest.mark.parametrize(
    "command",
    [
        "",
        "id",
        "rsync --server -tre.iLsfxCIvu . x",
        "rsync --server --sender -Ltre.iLsfxCIvu . a/",
        "rsync --server --sender -ktre.iLsfxCIvu . a/",
        "rsync --server --sender -stre.iLsfxCIvu",
        "rsync --server --sender -tre.iLsfxCIvu --copy-unsafe-links . a/",
        "rsync --server --sender -tre.iLsfxCIvu --files-from=x . a/",
        "rsync --server --sender -tre.iLsfxCIvu --log-file=x . a/",
        "rsync --server --sender -tre.iLsfxCIvu --remove-source-files . a/",
        "rsync --server --sender -tre.iLsfxCIvu . ../.ssh/",
        "rsync --server --sender -tre.iLsfxCIvu . a/../../.ssh/",
        "rsync --server --sender -tre.iLsfxCIvu . a/ b/",
        "rsync --server --sender -tre.iLsfxCIvu . 'a;id'",
        "rsync --server --sender -tre.iLsfxCIvu . '*'",
        "rsync --server --sender '",
        "rsync --server --sender -tre.iLsfxCIvu . a.test/",
        "rsync --server --sender -tre.iLsfxCIvu . a.test/private/",
        "rsync --server --sender -tre.iLsfxCIvu . a.test/private/backups/",
        "rsync --server --sender -tre.iLsfxCIvu . a.test/private/files/../backups/",
        "rsync --server --sender -tre.iLsfxCIvu . a.test/locks/",
        "rsync --server --sender -tre.iLsfxCIvu . a.test/logs/",
        "rsync --server --sender -tre.iLsfxCIvu . a.test/site_config.json",
        "rsync --server --sender -tre.iLsfxCIvu . common_site_config.json",
        "rsync --server --sender -tre.iLsfxCIvu . assets/",
        "rsync --server --sender -tre.iLsfxCIvu . ''",
    ],
)
def test_the_sync_gate_refuses_the_rest(command: str) -> None:
    with pytest.raises(naming.RefusedError):
        gate.allowed(command)


@pytest.fixture
def bench(tmp_path: Path) -> Path:
    """A bench with the app frappe, a link out of apps, and a folder that is no repository."""
    (tmp_path / "apps" / "frappe" / ".git").mkdir(parents=True)
    (tmp_path / "apps" / "empty").mkdir()
    (tmp_path / "secret" / ".git").mkdir(parents=True)
    (tmp_path / "apps" / "link").symlink_to(tmp_path / "secret")
    return tmp_path


@pytest.mark.parametrize("verb", ["git-upload-pack", "git upload-pack"])
@pytest.mark.parametrize("end", ["", "/", "/.git"])
def test_the_code_gate_lets_git_fetch_an_app(bench: Path, verb: str, end: str) -> None:
    folder = code_gate.repository(f"{verb} '{bench}/apps/frappe{end}'", bench)
    assert folder == bench / "apps" / "frappe"


@pytest.mark.parametrize(
    "command",
    [
        "",
        "id",
        "git-receive-pack '{bench}/apps/frappe'",
        "git-upload-archive '{bench}/apps/frappe'",
        "git-upload-pack '{bench}/apps/../secret'",
        "git-upload-pack '{bench}/apps/link'",
        "git-upload-pack '{bench}/apps/empty'",
        "git-upload-pack '{bench}/apps/none'",
        "git-upload-pack '{bench}/apps/'",
        "git-upload-pack '{bench}/apps/.'",
        "git-upload-pack '{bench}/secret'",
        "git-upload-pack '/etc'",
        "git-upload-pack --exec=id '{bench}/apps/frappe'",
        "git-upload-pack '{bench}/apps/frappe;id'",
        "git-upload-pack '{bench}/apps/frappe",
    ],
)
def test_the_code_gate_refuses_the_rest(bench: Path, command: str) -> None:
    with pytest.raises(naming.RefusedError):
        code_gate.repository(command.format(bench=bench), bench)


def test_the_primary_is_asked_at_its_own_port(config: Any) -> None:
    assert "-o Port=2222" in reaching.ssh_command(config)


@pytest.fixture
def copies(config: Any, monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[str], Any]]:
    """The rsync runs of a test, each with what it read, and a site to copy."""
    runs: list[tuple[list[str], Any]] = []

    def done(command: list[str], **options: Any) -> Any:
        runs.append((command, options.get("input")))
        # No transaction may touch a file while a folder is copied.
        if "public/files" in command[-1] or "private/files" in command[-1]:
            with (config.touched / "lock").open() as lock, pytest.raises(BlockingIOError):
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", done)
    return runs


@pytest.fixture
def note(config: Any) -> Iterator[Any]:
    """The note of an open transaction, empty as yet."""
    config.touched.mkdir()
    with (config.touched / "1-2").open("wb", buffering=0) as out:
        fcntl.flock(out, fcntl.LOCK_EX)
        yield out


def test_a_copy_goes_around_what_open_transactions_touched(
    config: Any, copies: list[tuple[list[str], Any]], note: Any
) -> None:
    note.write(b"a.test/private/files/\xff b\0a.test/private/filesx/c\0b.test/private/files/d\0")
    outcome = marks.Outcome()
    for name in naming.FOLDERS:
        copying.copy_folder(config, "a.test", name, outcome)
    (public, nothing), (private, given) = copies
    assert nothing is None
    assert "--exclude-from=-" not in public
    assert "--exclude-from=-" in private
    assert "--from0" in private
    assert given == os.fsdecode(b"/\xff b\0")
    assert outcome.kept == 1
    mark = marks.new_mark({}, config, outcome, 1.0, 2.0)
    assert "left_to_open_transactions=1" in marks.log_line(mark)


def test_a_note_of_a_dead_process_is_dropped(
    config: Any, copies: list[tuple[list[str], Any]], note: Any
) -> None:
    note.write(b"a.test/private/files/x\0")
    fcntl.flock(note, fcntl.LOCK_UN)
    copying.copy_folder(config, "a.test", "private/files", marks.Outcome())
    assert copies[0][1] is None
    assert [p.name for p in config.touched.iterdir()] == ["lock"]


@pytest.mark.parametrize(
    ("path", "pattern"),
    [
        (b"/a b", b"/a b"),
        (b"/a\\b", b"/a\\b"),
        (b"/a[1]*?", b"/a\\[1]\\*\\?"),
        (b"/a\\b*", b"/a\\\\b\\*"),
    ],
)
def test_rsync_takes_a_path_literally(path: bytes, pattern: bytes) -> None:
    assert copying.exclusion(path) == pattern


def test_a_copy_does_not_wait_for_ever(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    config.touched.mkdir()
    monkeypatch.setattr(locks, "NOTING_SECONDS", 0.05)
    with (config.touched / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        with pytest.raises(reaching.SyncError, match=r"^a\.test/private/files: .*0\.05"):
            copying.copy_folder(config, "a.test", "private/files", marks.Outcome())


def test_a_pull_is_noted_until_the_next_good_run(
    config: Any, copies: list[tuple[list[str], Any]]
) -> None:
    config.mark.write_text(json.dumps({"in_step_since": 100.0, "ok": True}))
    copying.pull(config, "a.test", 200.0)
    assert len(copies) == 2
    mark = marks.read_mark(config.mark)
    assert mark["in_step_since"] == 100.0
    assert mark["pulled"]["a.test"] > 200.0
    done = copying.pull(config, "a.test", mark["pulled"]["a.test"] - 1)
    assert done == f"a.test: {copying.IN_STEP}"
    assert len(copies) == 2
    bad = marks.new_mark(mark, config, marks.Outcome(errors=["x"]), 300.0, 301.0)
    assert bad["pulled"] == mark["pulled"]
    assert marks.new_mark(mark, config, marks.Outcome(), 300.0, 301.0)["pulled"] == {}


def installed_gate(folder: Path) -> Path:
    """The gate with the code that it imports, as the roles install them."""
    shutil.copytree(FILES.parents[2] / "module_utils/fleet", folder / "python/fleet")
    shutil.copytree(FILES / "benchfleet_sync", folder / "python/benchfleet_sync")
    return Path(shutil.copy(FILES / "sync_gate.py", folder / "gate"))


class Primary:
    """A primary's sites folder behind the real gate, without ssh."""

    def __init__(self, home: Path, config: Any) -> None:
        self.config = config
        self.site = home / "primary" / "a.test"
        self.here = config.folder / "a.test"
        for root in (self.site, self.here):
            for name in naming.FOLDERS:
                (root / name).mkdir(parents=True)
        (self.site / "site_config.json").write_text("secret")

    def push(self, *names: str) -> str:
        result: str = pushing.push(self.config, "a.test", list(names))
        return result

    def tree(self) -> dict[str, str]:
        """Files of the primary, without the empty staging folders."""
        found = {}
        for path in sorted(self.site.rglob("*")):
            name = str(path.relative_to(self.site))
            if path.is_symlink():
                found[name] = f"-> {path.readlink()}"
            elif path.is_file():
                found[name] = path.read_text()
        assert found.pop("site_config.json") == "secret"
        return found


@pytest.fixture
def primary(tmp_path: Path, config: Any, monkeypatch: pytest.MonkeyPatch) -> Primary:
    found = Primary(tmp_path, config)
    ssh = tmp_path / "ssh"
    gate = shlex.join([sys.executable, str(installed_gate(tmp_path)), str(found.site.parent)])
    # $1 is the host.
    ssh.write_text(f'#!/bin/sh\nSSH_ORIGINAL_COMMAND="$2" exec {gate}\n')
    ssh.chmod(0o755)
    monkeypatch.setattr(reaching, "ssh_command", lambda config: str(ssh))
    return found


@pytest.mark.skipif(not shutil.which("rsync"), reason="rsync is not installed")
def test_a_node_reads_of_the_sites_folder_what_it_needs(
    primary: Primary, tmp_path: Path, config: Any
) -> None:
    """Asked for all of it, without a filter, as a node may that is not ours any more."""
    sites = primary.site.parent
    # Of rsync: -l, account and host come first.
    ssh = (tmp_path / "ssh").read_text()
    (tmp_path / "ssh").write_text(ssh.replace("SSH_", "shift 3\nSSH_").replace('"$2"', '"$*"'))
    own = GOOD | {"encryption_key": "e", "admin_password": "a", "backup_path": "/b"}
    (primary.site / "site_config.json").write_text(json.dumps(own))
    (sites / "torn.test").mkdir()
    (sites / "torn.test/site_config.json").write_text('{"admin_password": "hush')
    (sites / "linked.test").mkdir()
    (sites / "linked.test/site_config.json").symlink_to(tmp_path / "elsewhere")
    (sites / "away.test").symlink_to(tmp_path / "bench")
    (tmp_path / "elsewhere").write_text(json.dumps(GOOD))
    os.mkfifo(sites / "currentsite.txt")
    for name in ("common_site_config.json", "apps.txt", "a.test/private/backups/x.sql.gz"):
        (sites / name).parent.mkdir(parents=True, exist_ok=True)
        (sites / name).write_text("x")
    (sites / "a.test/private/files/secret.pdf").write_text("x")
    there = tmp_path / "there"
    there.mkdir()
    reaching.rsync(config, "./", there, [])
    found = sorted(str(path.relative_to(there)) for path in there.rglob("*") if path.is_file())
    assert found == ["a.test/site_config.json", "apps.txt", "torn.test/site_config.json"]
    given = json.loads((there / "a.test/site_config.json").read_text())
    assert given == GOOD | {"encryption_key": "e"}
    assert (there / "torn.test/site_config.json").read_text() == ""
    with pytest.raises(reaching.SyncError, match="JSON"):
        merge_site_config("")
    reaching.rsync(config, "a.test/private/files/", there, [])
    assert (there / "secret.pdf").exists()
    for refused in ("a.test/private/backups/", "common_site_config.json", "a.test/"):
        with pytest.raises(reaching.SyncError, match="is not allowed"):
            reaching.rsync(config, refused, there, [])
    assert not list(Path(tempfile.gettempdir()).glob("benchfleet-lists-*"))


def test_a_push_brings_new_and_changed_files_and_removes_others(primary: Primary) -> None:
    names = ["private/files/a b'\u00e4\n", "public/files/sub/x", "private/files/link"]
    (primary.here / "public/files/sub").mkdir()
    (primary.here / names[0]).write_text("new")
    (primary.here / names[1]).write_text("changed")
    (primary.here / names[2]).symlink_to("a")
    (primary.site / "private/files/gone").write_text("old")
    (primary.site / "private/files/stays").write_text("stays")
    said = primary.push(*names, "private/files/gone", "private/files/none/x", "public/files/sub")
    assert said == "a.test: taken=3 removed=2"
    assert primary.tree() == {
        names[0]: "new",
        names[1]: "changed",
        names[2]: "-> a",
        "private/files/stays": "stays",
    }
    there, here = (primary.site / names[0]).stat(), (primary.here / names[0]).stat()
    assert there.st_mtime_ns == here.st_mtime_ns
    assert there.st_mode & 0o777 == 0o644
    (primary.here / names[0]).write_text("")
    primary.push(names[0])
    assert primary.tree()[names[0]] == ""


def test_a_name_that_is_not_utf8_arrives(primary: Primary) -> None:
    name = os.fsdecode(b"private/files/\xff")
    (primary.here / name).write_text("x")
    primary.push(name)
    assert primary.tree() == {name: "x"}


def test_a_file_that_is_moved_is_there_before_it_is_gone(
    tmp_path: Path, primary: Primary, monkeypatch: pytest.MonkeyPatch
) -> None:
    moved = primary.site / "public/files/x"
    moved.write_text("x")
    seen: list[bool] = []
    stock = gate_push.Push._remove

    def remove(self: Any, name: str) -> None:
        seen.append(moved.exists() and (primary.site / "private/files/x").exists())
        stock(self, name)

    monkeypatch.setattr(gate_push.Push, "_remove", remove)
    deliver(primary, {"put": [["private/files/x", 1, 0]], "gone": ["public/files/x"]}, b"x")
    assert seen == [True]
    assert primary.tree() == {"private/files/x": "x"}


def deliver(primary: Primary, header: dict[str, Any], content: bytes) -> int:
    """Give the gate's own function a push."""
    line = json.dumps({"put": [], "link": [], "gone": []} | header).encode() + b"\n"
    taken: int = gate_push.take(str(primary.site.parent), "a.test", io.BytesIO(line + content))
    return taken


GOOD_PUSH = [["private/files/new", 1, 0], ["private/files/old", 1, 0]]


@pytest.mark.parametrize(
    ("header", "content"),
    [
        ({"put": [*GOOD_PUSH, ["private/files/short", 9, 0]]}, b"xxx"),
        ({"put": [*GOOD_PUSH, ["private/files/old/below", 1, 0]]}, b"xxx"),
        ({"put": [*GOOD_PUSH, ["private/files/folder", 1, 0]]}, b"xxx"),
        ({"put": [*GOOD_PUSH, ["private/files/out/x", 1, 0]]}, b"xxx"),
        ({"put": [*GOOD_PUSH, ["private/files/" + "n" * 300, 1, 0]]}, b"xxx"),
    ],
)
def test_a_push_that_fails_changes_nothing(
    primary: Primary, header: dict[str, Any], content: bytes
) -> None:
    (primary.site / "private/files/old").write_text("old")
    (primary.site / "private/files/folder").mkdir()
    (primary.site / "private/files/folder/x").write_text("x")
    (primary.site / "private/files/out").symlink_to("../..")
    before = primary.tree()
    with pytest.raises((naming.RefusedError, OSError)):
        deliver(primary, header, content)
    assert primary.tree() == before


def test_a_removal_is_undone_too(primary: Primary, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any) -> None:
        raise OSError(28, "No space left on device")

    (primary.site / "private/files/old").write_text("old")
    (primary.site / "public/files/gone").write_text("gone")
    before = primary.tree()
    monkeypatch.setattr(gate_push.Folders, "flush", full)
    with pytest.raises(OSError, match="No space left"):
        deliver(primary, {"put": GOOD_PUSH, "gone": ["public/files/gone"]}, b"xx")
    assert primary.tree() == before


def test_nothing_is_removed_through_a_link_or_with_what_is_in_it(primary: Primary) -> None:
    (primary.site / "private/files/out").symlink_to("../..")
    (primary.site / "private/files/folder").mkdir()
    (primary.site / "private/files/folder/x").write_text("x")
    before = primary.tree()
    gone = ["private/files/out/site_config.json", "private/files/folder", "private/files/none/x"]
    deliver(primary, {"gone": gone}, b"")
    assert primary.tree() == before


@pytest.mark.parametrize(
    "header",
    [
        {"put": [["site_config.json", 0, 0]]},
        {"put": [["public/files", 0, 0]]},
        {"put": [["private/backups/x", 0, 0]]},
        {"put": [["private/files/../x", 0, 0]]},
        {"put": [["private/files/./x", 0, 0]]},
        {"put": [["private/files/.fleet-push/x", 0, 0]]},
        {"put": [["private/files/a\0b", 0, 0]]},
        {"put": [["/private/files/x", 0, 0]]},
        {"put": [["private/files/x", -1, 0]]},
        {"put": [["private/files/x", "1", 0]]},
        {"put": [[1, 1, 0]]},
        {"put": [[]]},
        {"put": 1},
        {"gone": ["site_config.json"]},
        {"gone": ["private/files/x/../../../site_config.json"]},
        {"link": [["private/files/x", "/etc/passwd"]]},
        {"link": [["private/files/x", ".."]]},
        {"link": [["private/files/a/x", "../../../site_config.json"]]},
        {"link": [["private/files/x", 1]]},
    ],
)
def test_the_gate_refuses_what_is_not_in_the_two_folders(
    primary: Primary, header: dict[str, Any]
) -> None:
    with pytest.raises(naming.RefusedError):
        deliver(primary, header, b"")
    assert primary.tree() == {}


@pytest.mark.parametrize("site", ["none.test", "assets", "a.test.bak"])
def test_the_gate_takes_files_for_a_site_only(primary: Primary, site: str) -> None:
    (primary.site.parent / "assets").mkdir()
    (primary.site.parent / "a.test.bak").symlink_to("a.test")
    with pytest.raises((naming.RefusedError, NotADirectoryError)):
        gate_push.take(str(primary.site.parent), site, io.BytesIO(b"{}\n"))


@pytest.mark.parametrize(
    "command",
    ["push", "push ", "push ..", "push .x", "push a/b", "push a b", "push a\n", "push a; id"],
)
def test_the_gate_knows_one_form_of_push(command: str) -> None:
    assert not gate.PUSH.fullmatch(command)
    with pytest.raises(naming.RefusedError):
        gate.allowed(command)


def test_a_file_that_changes_meanwhile_is_not_taken(
    primary: Primary, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["private/files/a", "private/files/b"]
    for name in names:
        (primary.here / name).write_text("x")
    stock = pushing.pour

    def pour(home: Path, parcel: Any, out: Any) -> None:
        (primary.here / names[1]).write_text("longer")
        stock(home, parcel, out)

    monkeypatch.setattr(pushing, "pour", pour)
    with pytest.raises(reaching.SyncError, match=r"^private/files/b "):
        primary.push(*names)
    assert primary.tree() == {}


def test_the_message_of_the_gate_is_passed_on(primary: Primary) -> None:
    (primary.here / "private/files/x").symlink_to("/etc/passwd")
    with pytest.raises(reaching.SyncError, match=r"sync-gate: 'private/files/x' .*'/etc/passwd'"):
        primary.push("private/files/x")


@pytest.mark.parametrize(
    ("target", "good"),
    [
        ("b", True),
        ("a/b", True),
        ("../b", True),
        ("../../b", False),
        ("..", True),
        ("", False),
        (".", False),
        ("a/./b", False),
        # Where a is a link itself, this leads anywhere.
        ("a/../../b", False),
        ("/etc/passwd", False),
        ("a//b", False),
    ],
)
def test_a_pushed_link_goes_up_first_and_stays_below(target: str, good: bool) -> None:
    if good:
        gate_push.check_link("public/files/sub/x", target)
        return
    with pytest.raises(naming.RefusedError):
        gate_push.check_link("public/files/sub/x", target)


@pytest.mark.parametrize(
    "name",
    ["x", "../x", "site_config.json", "private/files/", "private/files/../x", "/private/files/x"],
)
def test_a_push_of_other_paths_is_refused(primary: Primary, name: str) -> None:
    with pytest.raises(naming.RefusedError):
        primary.push(name)


def test_the_exit_status_of_a_request(
    tmp_path: Path, config: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(command, "become", lambda user: None)
    monkeypatch.setattr(command, "PULL_WAIT", 0)
    config.list.write_text(render_list(["a.test"]))
    path = str(tmp_path / "site-sync.json")

    def run(mode: str, site: str, given: bytes = b"") -> int:
        stdin = io.TextIOWrapper(io.BytesIO(given))
        monkeypatch.setattr(sys, "stdin", stdin)
        status: int = command.main(["--config", path, mode, site])
        return status

    assert run("--push", "other.test") == 2
    assert run("--pull", "other.test") == 2
    assert run("--push", "a.test", b"site_config.json\0") == 2
    assert "refused" in capsys.readouterr().err
    assert run("--push", "a.test") == 0
    with locks.lock(config, 0):
        assert run("--pull", "a.test") == 3


REACH = service.Fetcher.reach


class Fetching:
    """A node that fetches single files from a primary behind the real gate."""

    def __init__(self, primary: Primary, home: Path) -> None:
        self.primary, self.home = primary, home
        primary.config.list.write_text(render_list(["a.test"]))
        self.fetcher = service.Fetcher(primary.config)

    def __call__(self, name: str) -> str:
        answer: str = self.fetcher.fetch(f"a.test/{name}")
        return answer

    @property
    def connections(self) -> int:
        """How often ssh was begun."""
        return len((self.home / "connections").read_text())

    def here(self) -> list[str]:
        """What is here now, also what should not be."""
        places = sorted(p for name in naming.FOLDERS for p in (self.primary.here / name).rglob("*"))
        return [str(p.relative_to(self.primary.here)) for p in places if p.name != ".fleet-push"]


@pytest.fixture
def fetching(
    primary: Primary, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Fetching]:
    (tmp_path / "ssh").write_text(
        f"#!/bin/sh\nprintf . >>{tmp_path}/connections\n"
        f"SSH_ORIGINAL_COMMAND=$2 exec {sys.executable} {tmp_path}/gate {primary.site.parent}\n"
    )
    # However busy the machine is.
    monkeypatch.setattr(service, "ANSWER_SECONDS", 60.0)
    # On its own it would go on trying to connect after the test.
    monkeypatch.setattr(service.Fetcher, "reach", lambda self: None)
    found = Fetching(primary, tmp_path)
    yield found
    for line in found.fetcher.lines:
        line.close()


def test_a_file_is_fetched_whole_with_its_time_and_its_folder(fetching: Fetching) -> None:
    data = os.urandom(3 << 20)
    names = ["private/files/x", "public/files/sub/dir/y \n%", "private/files/empty"]
    for name, content in zip(names, (data, b"y", b""), strict=True):
        path = fetching.primary.site / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        os.utime(path, (1_700_000_000, 1_700_000_000.25))
        assert fetching(name) == "here"
        copy = fetching.primary.here / name
        assert (copy.read_bytes(), copy.stat().st_mtime) == (content, 1_700_000_000.25)
        assert copy.stat().st_mode & 0o777 == 0o644
    assert fetching.here() == sorted([*names, "public/files/sub", "public/files/sub/dir"])
    # On one connection.
    assert fetching.connections == 1


def test_a_file_that_is_here_is_not_asked_for(fetching: Fetching) -> None:
    (fetching.primary.here / "private/files/x").write_text("mine")
    (fetching.primary.site / "private/files/x").write_text("other")
    assert fetching("private/files/x") == "here"
    assert (fetching.primary.here / "private/files/x").read_text() == "mine"
    assert fetching.fetcher.lines == []


def test_what_the_primary_lacks_is_remembered_for_a_moment(
    fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert fetching("private/files/x") == "missing"
    (fetching.primary.site / "private/files/x").write_text("x")
    assert fetching("private/files/x") == "missing"
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + service.LACKING_SECONDS + 1)
    assert fetching("private/files/x") == "here"
    assert fetching.fetcher.lacking == {}


@pytest.mark.parametrize(
    "name",
    [
        "site_config.json",
        "private/files",
        "private/files/",
        "private/files/../../site_config.json",
        "private/files/.fleet-push/x",
        "private/files/../backups/x",
        "private/files//x",
        "private/backups/x",
        "private/files/x\0y",
        "../b.test/private/files/x",
        "private/files/out/x",
        "private/files/in",
        "",
    ],
)
def test_tricks_with_paths_bring_nothing(fetching: Fetching, name: str) -> None:
    for root in (fetching.primary.site, fetching.primary.site.parent / "b.test"):
        for below in ("private/files/.fleet-push/x", "private/backups/x", "private/files/x"):
            (root / below).parent.mkdir(parents=True, exist_ok=True)
            (root / below).write_text("secret")
        (root / "site_config.json").write_text("secret")
    # Of a site that has been dropped, and is still here.
    (fetching.primary.here.parent / "b.test/private/files").mkdir(parents=True)
    # Links that lie here lead nowhere, either.
    (fetching.primary.here / "private/files/out").symlink_to("../..")
    (fetching.primary.here / "private/files/in").symlink_to("../../site_config.json")
    before = fetching.here()
    assert fetching(name) == "missing"
    assert fetching.fetcher.fetch(f"b.test/{name or 'private/files/x'}") == "missing"
    assert fetching.here() == before


def given(primary: Primary, **request: Any) -> Any:
    """What the gate's own function answers, with what follows."""
    out = io.BytesIO()
    line = json.dumps({"site": "a.test", **request}).encode() + b"\n"
    gate_fetch.give(str(primary.site.parent), line, out)
    answer, _, content = out.getvalue().partition(b"\n")
    return json.loads(answer), content


@pytest.mark.parametrize(
    "request_",
    [
        {"name": "private/files/folder"},
        {"name": "private/files/pipe"},
        {"name": "private/files/out"},
        {"name": "private/files/away"},
        {"name": "private/files/into/x"},
        {"name": "private/files/x/y"},
        {"name": "private/files/ledger_1.duckdb"},
        {"name": "private/files/ledger_1.duckdb.wal"},
        {"name": "private/files/ledger_1.duckdb.tmp/x"},
        {"name": "site_config.json"},
        {"name": "private/files/../../site_config.json"},
        {"name": "private/files/" + 300 * "x"},
        {"name": None},
        {"name": "private/files/x", "site": ".."},
        {"name": "private/files/x", "site": "."},
        {"name": "private/files/x", "site": "none"},
        {"name": "private/files/x", "site": "a.test/../a.test"},
        {"name": "private/files/x", "site": None},
    ],
)
def test_the_gate_gives_plain_files_of_the_two_folders_alone(
    primary: Primary, request_: dict[str, Any]
) -> None:
    folder = primary.site / "private/files"
    for name in ("folder", "ledger_1.duckdb.tmp"):
        (folder / name).mkdir()
    for name in (
        "x",
        "folder/x",
        "ledger_1.duckdb",
        "ledger_1.duckdb.wal",
        "ledger_1.duckdb.tmp/x",
    ):
        (folder / name).write_text("x")
        os.utime(folder / name, (0, 0))
    os.mkfifo(folder / "pipe")
    for name, target in (
        ("out", "../../site_config.json"),
        ("away", "/etc/passwd"),
        ("into", "folder"),
    ):
        (folder / name).symlink_to(target)
    descriptors = len(os.listdir("/proc/self/fd"))
    assert given(primary, **request_) == ({"lacks": True}, b"")
    assert given(primary, name="private/files/x") == ({"file": [1, 0]}, b"xwhole\n")
    assert given(primary, name="private/files/into") == ({"link": "folder"}, b"")
    # It serves for as long as the node is up.
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_a_file_that_is_being_written_is_given_once_it_is_whole(
    primary: Primary, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = primary.site / "private/files/x"
    path.write_text("long")
    os.utime(path, (0, 0))
    state = path.stat()
    path.write_text("x")
    # It becomes shorter than it was when it was looked at.
    with monkeypatch.context() as patch:
        patch.setattr(gate_fetch, "settled", lambda source: state)
        assert given(primary, name="private/files/x") == ({"file": [4, 0]}, b"x\0\0\0torn\n")
    looks: list[float] = []

    def write_on(seconds: float) -> None:
        looks.append(seconds)
        path.write_text("x" * len(looks))

    monkeypatch.setattr(gate_fetch, "SETTLING_SECONDS", 60.0)
    monkeypatch.setattr(time, "sleep", write_on)
    assert given(primary, name="private/files/x") == ({"changes": True}, b"")
    assert len(looks) == gate_fetch.SETTLING_LOOKS


def test_a_torn_file_is_never_in_place(fetching: Fetching, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = '{"ready": true}\n{"file": [3, 0]}\nabctorn\n{"file": [3, 0]}\nxyzwhole\n'
    (fetching.home / "answers").write_text(answers)
    ssh = fetching.home / "ssh"
    ssh.write_text(f"#!/bin/sh\ncat {fetching.home}/answers\nexec cat >/dev/null\n")
    assert fetching("private/files/x") == "here"
    assert (fetching.primary.here / "private/files/x").read_text() == "xyz"
    # And one that stays so is no file.
    (fetching.home / "answers").write_text(answers.partition("torn")[0] + "torn\n")
    monkeypatch.setattr(service, "ANSWER_SECONDS", 0.05)
    fetching.fetcher.lines.pop().close()
    assert fetching("private/files/y") in ("missing", "away")
    assert fetching.here() == ["private/files/x"]


def test_a_link_comes_with_what_it_leads_to(fetching: Fetching) -> None:
    folder = fetching.primary.site / "private/files"
    (folder / "sub").mkdir()
    (folder / "sub/x").write_text("x")
    (folder / "sub/one").symlink_to("x")
    (folder / "two").symlink_to("sub/one")
    (folder / "round").symlink_to("round")
    assert fetching("private/files/two") == "here"
    assert (fetching.primary.here / "private/files/two").read_text() == "x"
    assert (fetching.primary.here / "private/files/two").readlink() == Path("sub/one")
    assert fetching("private/files/round") in ("here", "missing")
    assert not (fetching.primary.here / "private/files/round").exists()


def test_what_an_open_transaction_has_deleted_is_not_fetched(fetching: Fetching) -> None:
    config = fetching.primary.config
    config.touched.mkdir()
    (fetching.primary.site / "private/files/x").write_text("x")
    (config.touched / "lock").touch()
    note = config.touched / "1-1"
    note.write_bytes(b"a.test/private/files/y\0a.test/private/files/x\0")
    with note.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert fetching("private/files/x") == "missing"
        assert fetching.fetcher.lines == []
    # Its process is gone, and with it the transaction.
    assert fetching("private/files/x") == "here"
    assert note.exists()


def test_what_a_process_here_makes_meanwhile_stays(
    fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock = connection.Line.pour
    target = fetching.primary.here / "private/files/x"

    def pour(self: Any, size: int, out: Any) -> Any:
        target.write_text("made here")
        return stock(self, size, out)

    monkeypatch.setattr(connection.Line, "pour", pour)
    (fetching.primary.site / "private/files/x").write_text("x")
    assert fetching("private/files/x") == "here"
    assert target.read_text() == "made here"
    assert fetching.here() == ["private/files/x"]


def test_a_connection_that_has_ended_meanwhile_is_made_anew(fetching: Fetching) -> None:
    for name in "xyz":
        (fetching.primary.site / "private/files" / name).write_text(name)
    assert fetching("private/files/x") == "here"
    fetching.fetcher.lines[0].process.kill()
    fetching.fetcher.lines[0].process.wait()
    assert fetching("private/files/y") == "here"
    # As site.yml replaces the gate.
    part = fetching.home / "python/benchfleet_sync/gate.py"
    shutil.copy(part, fetching.home / "newer")
    (fetching.home / "newer").replace(part)
    assert fetching("private/files/z") == "here"
    assert fetching.connections == 3


def test_a_primary_that_does_not_answer_is_asked_once(
    fetching: Fetching, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    counted = f"#!/bin/sh\nprintf . >>{fetching.home}/connections\n"
    (fetching.home / "ssh").write_text(f"{counted}echo Connection refused >&2; exit 255\n")
    assert [fetching("private/files/x"), fetching("private/files/y")] == ["away", "away"]
    assert fetching.connections == 1
    assert ": Connection refused\n" in capsys.readouterr().out
    # One that takes connections and says nothing.
    fetching.fetcher.away = False
    (fetching.home / "ssh").write_text(f"{counted}exec cat\n")
    monkeypatch.setattr(service, "ANSWER_SECONDS", 0.05)
    assert [fetching("private/files/x"), fetching("private/files/y")] == ["away", "away"]
    assert fetching.connections == 2
    assert fetching.here() == []


def test_the_primary_is_asked_again_once_it_was_reached(
    fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.Fetcher, "reach", REACH)
    monkeypatch.setattr(service, "REACH_SECONDS", 0.0)
    good = (fetching.home / "ssh").read_text()
    (fetching.home / "ssh").write_text("#!/bin/sh\nexit 255\n")
    (fetching.primary.site / "private/files/x").write_text("x")
    assert fetching("private/files/x") == "away"
    (fetching.home / "newer").write_text(good)
    (fetching.home / "newer").chmod(0o755)
    (fetching.home / "newer").replace(fetching.home / "ssh")
    deadline = time.monotonic() + 60
    while fetching.fetcher.away:
        assert time.monotonic() < deadline
    assert fetching("private/files/x") == "here"


def test_two_who_ask_for_a_file_have_it_fetched_once(
    fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fetching.primary.site / "private/files/x").write_text("x")
    stock, asked, both_wait = service.Fetcher.ask, [], threading.Event()

    def ask(self: Any, site: str, name: str, deadline: float) -> Any:
        asked.append(name)
        assert both_wait.wait(30)
        return stock(self, site, name, deadline)

    monkeypatch.setattr(service.Fetcher, "ask", ask)
    with ThreadPoolExecutor(2) as pool:
        answers = [pool.submit(fetching, "private/files/x") for _ in "ab"]
        while fetching.fetcher.turns.get("a.test/private/files/x", (None, 0))[1] < 2:
            assert not any(answer.done() for answer in answers)
        both_wait.set()
    assert [answer.result() for answer in answers] == ["here", "here"]
    assert asked == ["private/files/x"]
    assert fetching.fetcher.turns == {}


def test_the_service_answers_on_its_socket(fetching: Fetching) -> None:
    (fetching.primary.site / "private/files/x").write_text("x")
    here, there = socket.socketpair()
    with here:
        here.sendall(b"a.test/private/files/x")
        here.shutdown(socket.SHUT_WR)
        fetching.fetcher.serve(there)
        assert here.recv(64) == b"here"


def test_who_asks_for_a_large_file_is_answered_in_time_and_it_goes_on_coming(
    fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    answered, came = threading.Event(), threading.Event()

    def fetch(self: Any, wanted: str) -> str:
        assert answered.wait(30)
        came.set()
        return "here"

    monkeypatch.setattr(service.Fetcher, "fetch", fetch)
    monkeypatch.setattr(service, "ANSWER_SECONDS", 0.05)
    here, there = socket.socketpair()
    with here:
        here.sendall(b"a.test/private/files/x")
        here.shutdown(socket.SHUT_WR)
        fetching.fetcher.serve(there)
        assert here.recv(64) == b"away"
    answered.set()
    assert came.wait(30)


def test_no_copy_takes_files_of_duckdb_along(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    monkeypatch.setattr(
        copying, "rsync", lambda config, source, target, options, given: seen.extend(options) or ""
    )
    copying.copy_around(config, "a.test", "private/files", [])
    hidden = [option.removeprefix("--filter=hide ") for option in seen if "hide" in option]
    for name in ("x.duckdb", "x.duckdb.wal", "x.duckdb.tmp"):
        assert any(fnmatchcase(name, pattern) for pattern in hidden)
    for name in ("duckdb", "x.duckdb2", "x.json.gz"):
        assert not any(fnmatchcase(name, pattern) for pattern in hidden)


class Watched:
    """A sites folder with two sites, and what is told of changes in it."""

    def __init__(self, sites: Path) -> None:
        self.sites = sites
        for site in ("a.test", "b.test"):
            self.make(site)
        self.watch = gate_changes.Watch(str(sites))
        assert self.watch.add_new() == {"a.test", "b.test"}

    def make(self, site: str) -> None:
        for name in naming.FOLDERS:
            (self.sites / site / name).mkdir(parents=True)
        (self.sites / site / "site_config.json").write_text("{}")

    def path(self, name: str, site: str = "a.test") -> Path:
        return self.sites / site / name


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    found = Watched(tmp_path / "sites")
    yield found
    found.watch.close()


def test_sites_are_told_in_which_files_change(watched: Watched, tmp_path: Path) -> None:
    file = watched.path("private/files/x")
    file.write_text("x")
    assert watched.watch.batch() == {"a.test"}
    file.rename(file.with_name("y"))
    assert watched.watch.batch() == {"a.test"}
    file.with_name("y").unlink()
    watched.path("public/files/a\nb.test", "b.test").write_text("x")
    assert watched.watch.batch() == {"a.test", "b.test"}
    (tmp_path / "other").write_text("x")
    (tmp_path / "other").rename(file)
    assert watched.watch.batch() == {"a.test"}
    assert watched.watch.batch() == set()


def test_a_file_is_told_of_when_it_is_complete(watched: Watched) -> None:
    with watched.path("private/files/x").open("w") as out:
        out.write("x")
        out.flush()
        assert watched.watch.batch() == set()
    assert watched.watch.batch() == {"a.test"}


@pytest.mark.parametrize(
    "name", [".fleet-push/1", "x.duckdb", "x.duckdb.wal", "../backups/x", "../../logs/x"]
)
def test_what_is_not_copied_is_not_told_of(watched: Watched, name: str) -> None:
    path = watched.path(f"private/files/{name}")
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")
    assert watched.watch.batch() == set()


def test_new_folders_are_watched_at_any_depth(watched: Watched) -> None:
    deep = watched.path("private/files/a/b/c")
    deep.mkdir(parents=True)
    assert watched.watch.batch() == {"a.test"}
    (deep / "x").write_text("x")
    assert watched.watch.batch() == {"a.test"}
    moved = watched.path("public/files/moved", "b.test")
    deep.parents[1].rename(moved)
    assert watched.watch.batch() == {"a.test", "b.test"}
    (moved / "b/c/y").write_text("x")
    assert watched.watch.batch() == {"b.test"}
    shutil.rmtree(moved)
    assert watched.watch.batch() == {"b.test"}
    assert len(watched.watch.watched) == 4


def test_folders_that_are_links_to_another_volume_are_watched(tmp_path: Path) -> None:
    (tmp_path / "volume/sub").mkdir(parents=True)
    site = tmp_path / "sites/a.test"
    (site / "private").mkdir(parents=True)
    (site / "site_config.json").touch()
    (site / "private/files").symlink_to(tmp_path / "volume")
    # A link in there is none of the site's folders.
    (tmp_path / "elsewhere").mkdir()
    (site / "private/files/out").symlink_to(tmp_path / "elsewhere")
    watch = gate_changes.Watch(str(tmp_path / "sites"))
    watch.add_new()
    (tmp_path / "elsewhere/x").write_text("x")
    assert watch.batch() == set()
    (tmp_path / "volume/sub/x").write_text("x")
    assert watch.batch() == {"a.test"}
    watch.close()


def test_new_sites_are_watched_and_links_to_sites_are_not(watched: Watched) -> None:
    watched.make("c.test")
    (watched.sites / "d.test").symlink_to("c.test")
    (watched.sites / "assets").mkdir()
    assert watched.watch.add_new() == {"c.test"}
    watched.path("private/files/x", "c.test").write_text("x")
    assert watched.watch.batch() == {"c.test"}
    shutil.rmtree(watched.sites / "c.test")
    watched.watch.batch()
    assert watched.watch.add_new() == set()
    assert watched.watch.sites == {"a.test", "b.test"}


def test_events_that_were_lost_count_for_all_sites(watched: Watched) -> None:
    room = int(Path("/proc/sys/fs/inotify/max_queued_events").read_text())
    if room > 100_000:
        pytest.skip(f"the kernel keeps {room} events")
    file = watched.path("private/files/x")
    # Each is made, closed and deleted. Equal events in a row would count as one.
    for _ in range(room // 3 + 1):
        file.touch()
        file.unlink()
    hidden = watched.path("private/files/hidden", "b.test")
    hidden.mkdir()
    assert watched.watch.batch() == {"a.test", "b.test"}
    while watched.watch.batch():
        pass
    (hidden / "x").write_text("x")
    assert watched.watch.batch() == {"b.test"}


@pytest.mark.parametrize(
    ("number", "setting"),
    [(errno.ENOSPC, "max_user_watches"), (errno.EMFILE, "max_user_instances")],
)
def test_limits_of_the_kernel_are_named_by_their_setting(
    watched: Watched, number: int, setting: str
) -> None:
    class Libc:
        def inotify_add_watch(self) -> int:
            ctypes.set_errno(number)
            return -1

    watched.watch.libc = Libc()
    with pytest.raises(OSError, match=setting):
        watched.watch.call("inotify_add_watch")


class Following:
    """A standby that follows a primary behind the real gate, with real copies."""

    def __init__(self, primary: Primary, config: Any) -> None:
        self.primary, self.config = primary, config
        self.status: list[int] = []
        self.thread = threading.Thread(target=self.run, daemon=True)

    def run(self) -> None:
        self.status.append(following.follow(self.config))

    def arrives(self, name: str, text: str | None) -> bool:
        """Whether a file of the standby gets this content, None for no file."""
        until = time.monotonic() + 60
        while time.monotonic() < until:
            path = self.primary.here / name
            if (path.read_text() if path.exists() else None) == text:
                return True
            time.sleep(0.02)
        return False

    def gates(self) -> list[int]:
        """Processes of the gate."""
        gate = str(self.config.path.parent / "gate")
        found = []
        for entry in Path("/proc").glob("[0-9]*/cmdline"):
            with contextlib.suppress(OSError):
                if gate in entry.read_text().split("\0"):
                    found.append(int(entry.parent.name))
        return found


@pytest.fixture
def standby(primary: Primary, tmp_path: Path, config: Any) -> Iterator[Following]:
    # Of rsync: -l, account and host come first; of other commands, the host.
    ssh = (tmp_path / "ssh").read_text()
    ssh = ssh.replace("SSH_", 'if [ "$1" = -l ]; then shift 3; else shift; fi\nSSH_')
    (tmp_path / "ssh").write_text(ssh.replace('"$2"', '"$*"'))
    config.list.write_text(render_list(["a.test"]))
    found = Following(primary, config)
    yield found
    config.path.write_text(config.path.read_text())
    (primary.site / "private/files/last").write_text("x")
    found.thread.join(60)
    assert not found.thread.is_alive()
    assert found.gates() == []


@pytest.mark.skipif(not Path("/usr/bin/rrsync").exists(), reason="rsync is not installed")
def test_a_standby_copies_what_changes_on_the_primary(
    standby: Following, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, here = standby.primary.site / "private/files", standby.primary.here / "private/files"
    (there / "before").write_text("1")
    (here / "away").write_text("x")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        standby.thread.start()
        systemd.settimeout(60)
        assert systemd.recv(64) == b"READY=1"
    assert standby.arrives("private/files/before", "1")
    assert standby.arrives("private/files/away", None)
    (there / "new").write_text("2")
    assert standby.arrives("private/files/new", "2")
    (there / "new").rename(standby.primary.site / "public/files/new")
    assert standby.arrives("private/files/new", None)
    assert standby.arrives("public/files/new", "2")
    # The run of each minute goes on beside it.
    with locks.lock(standby.config, 0):
        (there / "sub").mkdir()
        (there / "sub/x").write_text("3")
        assert standby.arrives("private/files/sub/x", "3")
    # What an open transaction has touched stays.
    note = standby.config.touched / "1"
    with note.open("wb", buffering=0) as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        handle.write(b"a.test/private/files/mine\0")
        (here / "mine").write_text("m")
        (there / "after").write_text("4")
        assert standby.arrives("private/files/after", "4")
        assert (here / "mine").exists()


@pytest.mark.skipif(not Path("/usr/bin/rrsync").exists(), reason="rsync is not installed")
def test_a_copy_that_fails_is_repeated(
    standby: Following, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stock, fails = following.copy_site, threading.Event()

    def copy_site(config: Any, site: str) -> Any:
        if fails.is_set():
            fails.clear()
            raise reaching.SyncError("no room")
        return stock(config, site)

    monkeypatch.setattr(following, "copy_site", copy_site)
    standby.thread.start()
    (standby.primary.site / "private/files/x").write_text("1")
    assert standby.arrives("private/files/x", "1")
    fails.set()
    (standby.primary.site / "private/files/x").write_text("2")
    assert standby.arrives("private/files/x", "2")
    assert not fails.is_set()


def test_a_primary_that_is_lost_ends_the_service_for_another_start(
    standby: Following, capfd: pytest.CaptureFixture[str]
) -> None:
    standby.thread.start()
    until = time.monotonic() + 60
    while not (gates := standby.gates()) and time.monotonic() < until:
        time.sleep(0.02)
    for number in gates:
        os.kill(number, signal.SIGKILL)
    standby.thread.join(60)
    assert standby.status == [1]
    assert "are not followed" in capfd.readouterr().err


def test_copies_take_turns(config: Any) -> None:
    """One that copies folder after folder lets another one in before its next."""
    order: list[str] = []

    def other() -> None:
        with locks.turn(config):
            order.append("other")

    waits = threading.Thread(target=other)
    for number in range(3):
        with locks.turn(config):
            order.append(f"folder {number}")
            if number == 0:
                waits.start()
                asks = (config.folder / ".site-sync.next").open("w")
                until = time.monotonic() + 10
                while locks.locked(asks, fcntl.LOCK_EX, 0) and time.monotonic() < until:
                    fcntl.flock(asks, fcntl.LOCK_UN)
                    time.sleep(0.001)
                asks.close()
    waits.join(10)
    assert order == ["folder 0", "other", "folder 1", "folder 2"]


@pytest.mark.parametrize("word", ["changes ", "changes x", "changes\n", "Changes", " changes"])
def test_the_gate_knows_one_form_of_changes(primary: Primary, tmp_path: Path, word: str) -> None:
    done = subprocess.run(
        [str(tmp_path / "ssh"), "host", word], stdin=subprocess.DEVNULL, capture_output=True
    )
    assert done.returncode == 1
    assert b"sync-gate:" in done.stderr
