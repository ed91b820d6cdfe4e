"""site-sync and the two gates, imported from the files that the role installs."""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

FILES = Path(__file__).parents[2] / "roles" / "site_sync" / "files"


def load(name: str) -> ModuleType:
    """A script without a suffix as a module."""
    loader = SourceFileLoader(name.replace("-", "_"), str(FILES / name))
    spec = importlib.util.spec_from_loader(loader.name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[loader.name] = module
    loader.exec_module(module)
    return module


sync = load("site-sync")
sync_gate = load("sync-gate")
code_gate = load("code-gate")

GOOD = {"db_name": "_a", "db_password": "pw"}


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
                "sites": {"a.test": {"read_from_replica": 1}},
                "connect_timeout": 5,
                "transfer_timeout": 60,
            }
        )
    )
    return sync.read_config(path)


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
    with pytest.raises(sync.SyncError):
        sync.merge_site_config(text, {})


def test_a_torn_config_leaves_the_last_good_one(config: Any) -> None:
    stage(config, "a.test/site_config.json", json.dumps(GOOD))
    assert sync.place_site_config(config, "a.test")
    target = config.folder / "a.test" / "site_config.json"
    before = target.read_bytes()
    stage(config, "a.test/site_config.json", json.dumps(GOOD)[:-8])
    with pytest.raises(sync.SyncError, match="last good one stays"):
        sync.place_site_config(config, "a.test")
    assert target.read_bytes() == before


def test_a_config_is_private_and_written_only_when_it_differs(config: Any) -> None:
    stage(config, "a.test/site_config.json", json.dumps(GOOD))
    assert sync.place_site_config(config, "a.test")
    target = config.folder / "a.test" / "site_config.json"
    assert target.stat().st_mode & 0o777 == 0o600
    assert json.loads(target.read_text()) == GOOD | {"read_from_replica": 1}
    inode = target.stat().st_ino
    assert not sync.place_site_config(config, "a.test")
    assert target.stat().st_ino == inode
    assert (config.folder / "a.test" / "private" / "backups").is_dir()


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.0.1.1", "::1", "", None])
def test_keys_for_the_primarys_own_loopback_are_dropped(host: Any) -> None:
    text = json.dumps(
        GOOD | {"db_host": host, "db_port": 3307, "db_socket": "/run/x", "encryption_key": "k"}
    )
    assert sync.merge_site_config(text, {}) == GOOD | {"encryption_key": "k"}


def test_a_database_on_a_machine_of_its_own_is_kept() -> None:
    text = json.dumps(GOOD | {"db_host": "10.0.0.9", "db_port": 3307})
    assert sync.merge_site_config(text, {})["db_host"] == "10.0.0.9"
    assert sync.merge_site_config(text, {})["db_port"] == 3307


def test_a_redis_on_loopback_is_dropped() -> None:
    text = json.dumps(
        GOOD
        | {"redis_cache": "redis://:p@127.0.0.1:13000", "redis_queue": "redis://:p@10.0.0.1:11000"}
    )
    assert sync.merge_site_config(text, {}) == GOOD | {"redis_queue": "redis://:p@10.0.0.1:11000"}


def test_overrides_win_and_none_removes() -> None:
    text = json.dumps(GOOD | {"a": 1, "b": 2})
    assert sync.merge_site_config(text, {"a": 9, "b": None}) == GOOD | {"a": 9}


def test_apps_wait_for_their_code(config: Any) -> None:
    (config.folder / "apps.txt").write_text("frappe\n")
    stage(config, "apps.txt", "frappe\nnews\n")
    with pytest.raises(sync.SyncError, match="news"):
        sync.place_lists(config)
    assert (config.folder / "apps.txt").read_text() == "frappe\n"
    (config.bench / "apps" / "news").mkdir()
    assert sync.place_lists(config) == 1
    assert (config.folder / "apps.txt").read_text() == "frappe\nnews\n"


def test_a_torn_asset_list_stays_out_and_the_rest_comes(config: Any) -> None:
    stage(config, "assets/assets.json", '{"a"')
    stage(config, "assets/assets-rtl.json", "{}")
    stage(config, "currentsite.txt", "a.test\n")
    with pytest.raises(sync.SyncError, match=r"assets/assets\.json"):
        sync.place_lists(config)
    assert not (config.folder / "assets" / "assets.json").exists()
    assert (config.folder / "assets" / "assets-rtl.json").exists()
    assert (config.folder / "currentsite.txt").read_text() == "a.test\n"


def test_a_current_site_that_is_not_ours_is_ignored(config: Any) -> None:
    stage(config, "currentsite.txt", "other.test")
    assert sync.place_lists(config) == 0


def test_only_the_small_files_are_chosen(config: Any) -> None:
    filters = sync.staging_filters(["a.test"])
    assert filters[-1] == "--exclude=*"
    assert "--include=/a.test/site_config.json" in filters
    assert not any("common" in word for word in filters)


def test_statistics_are_read() -> None:
    text = (
        "Number of files: 1300 (reg: 1250, dir: 50)\nNumber of created files: 0\n"
        "Number of deleted files: 3 (reg: 3)\nNumber of regular files transferred: 7\n"
    )
    assert sync.parse_stats(text) == (1250, 7, 3)
    assert sync.parse_stats("Number of files: 1 (dir: 1)\n") == (0, 0, 0)


def test_a_failed_run_keeps_the_last_success(config: Any) -> None:
    good = sync.new_mark({}, config, sync.Outcome(files=3), 100.0, 101.5)
    assert good["ok"]
    assert good["last_success"] == 101.5
    assert good["in_step_since"] == 100.0
    bad = sync.new_mark(good, config, sync.Outcome(errors=["x: broke"]), 160.0, 161.0)
    assert not bad["ok"]
    assert bad["last_success"] == 101.5
    assert bad["in_step_since"] == 100.0
    assert bad["error"] == "x: broke"
    assert "FAILED" in sync.log_line(bad)
    assert " ok " in sync.log_line(good)


def test_the_primary_out_of_reach_is_said_in_plain_words(
    config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        return sync.subprocess.CompletedProcess([], 255, "", "ssh: connect: No route to host\n")

    monkeypatch.setattr(sync.subprocess, "run", refused)
    outcome = sync.synchronise(config)
    assert "cannot be reached by ssh" in outcome.errors[0]
    assert "No route to host" in outcome.errors[0]


def test_deletion_is_asked_for_in_the_files_folders_only(
    config: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands: list[list[str]] = []

    def done(command: list[str], **_: Any) -> Any:
        commands.append(command)
        (config.staging / "a.test").mkdir(exist_ok=True)
        stage(config, "a.test/site_config.json", json.dumps(GOOD))
        return sync.subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(sync.subprocess, "run", done)
    assert sync.synchronise(config).errors == []
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
        stage(config, "a.test/site_config.json", "{")
        return sync.subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(sync.subprocess, "run", done)
    (config.folder / "a.test").mkdir()
    assert len(sync.synchronise(config).errors) == 1
    assert f"{config.folder}/a.test/public/files/" in targets


def test_an_ipv6_primary_gets_brackets(config: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    commands: list[list[str]] = []

    def done(command: list[str], **_: Any) -> Any:
        commands.append(command)
        return sync.subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(sync.subprocess, "run", done)
    v6 = sync.Config(**{**config.__dict__, "source_host": "fd00::1"})
    sync.rsync(v6, "./", config.staging, [])
    assert commands[0][-2] == "frappe@[fd00::1]:./"


def test_a_second_run_at_once_is_refused(config: Any) -> None:
    with sync.lock(config, 0), pytest.raises(sync.BusyError), sync.lock(config, 0):
        pass


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"user": "x"}'])
def test_a_bad_configuration_names_the_file(tmp_path: Path, text: str) -> None:
    path = tmp_path / "site-sync.json"
    path.write_text(text)
    with pytest.raises(sync.ConfigError, match=r"site-sync\.json"):
        sync.read_config(path)


def test_the_exit_status_of_a_bad_configuration(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert sync.main(["--config", str(tmp_path / "none.json")]) == 2
    assert "FAILED" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command",
    [
        "rsync --server --sender -tre.iLsfxCIvu --timeout=60 . ./",
        "rsync --server --sender -ltre.iLsfxCIvu --safe-links --timeout=60 . a.test/public/files/",
    ],
)
def test_the_sync_gate_lets_site_sync_in(command: str) -> None:
    assert sync_gate.allowed(command)[0] == "rsync"


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
    ],
)
def test_the_sync_gate_refuses_the_rest(command: str) -> None:
    with pytest.raises(sync_gate.RefusedError):
        sync_gate.allowed(command)


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
    with pytest.raises(code_gate.RefusedError):
        code_gate.repository(command.format(bench=bench), bench)


def test_the_primary_is_asked_at_its_own_port(config: Any) -> None:
    assert "-o Port=2222" in sync.ssh_words(config)
