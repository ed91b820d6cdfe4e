"""Updates of a fleet: how they are judged, their phases, and what they report."""

from __future__ import annotations

import gzip
import io
import json
import os
import re
import shutil
import socket
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from benchfleet_sync import code_gate
from fleet.bench import account as bench
from fleet.bench import assets, look
from fleet.bench.answers import in_maintenance, wrong_commits
from fleet.bench.files import without_password
from fleet.bench.staging import Staging
from fleet.redis import client as redis_client
from fleet.redis.client import job_name
from fleet.sites.folders import Folders
from fleet.supervisor import control as supervisor
from fleet.update import backups as dumping
from fleet.update import gates, migrate, phases, report
from fleet.update import judge as judging
from fleet.update.judge import out_of_step
from fleet.update.phases import Update
from fleet.update.problems import UpdateRefusedError
from fleet.update.report import STAGES, last_patch, stage_of, stage_text
from fleet.update.room import SIZES, SPARE_BYTES
from fleet.update.state import sites_of

from filter_plugins.update import failure_message, lost_nodes
from tests.repositories import git

BenchError = bench.BenchError


def commit(folder: Path, subject: str, **files: str) -> str:
    """Commit files, given by their names without the ending; returns the commit."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", subject)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An app's repository with one commit on branch main, and its clone; to be copied."""
    folder = tmp_path_factory.mktemp("repositories")
    upstream = folder / "upstream"
    upstream.mkdir()
    git(upstream, "init", "--quiet", "--initial-branch=main")
    commit(upstream, "one", code="1")
    clone = ["clone", "--quiet", "--depth", "1", "--origin", "upstream"]
    git(folder, *clone, f"file://{upstream}", "clone")
    return folder


@pytest.fixture
def upstream(repositories: Path, tmp_path: Path) -> Path:
    """An app's repository with one commit on branch main."""
    return Path(shutil.copytree(repositories / "upstream", tmp_path / "upstream"))


@pytest.fixture
def judge(
    repositories: Path, tmp_path: Path, upstream: Path, monkeypatch: pytest.MonkeyPatch
) -> Any:
    """Judges an update of a bench whose app frappe was cloned from upstream, as bench clones."""
    path = tmp_path / "bench"
    (path / "sites").mkdir(parents=True)
    app = shutil.copytree(repositories / "clone", path / "apps/frappe")
    git(app, "remote", "set-url", "upstream", f"file://{upstream}")
    (tmp_path / "state").mkdir()

    def run_here(_user: str, argv: list[str], cwd: str, *_: Any, **__: Any) -> Any:
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.run(argv, cwd=cwd, text=True, check=False, **pipe)

    monkeypatch.setattr(bench, "user_environment", lambda *_: {})
    monkeypatch.setattr(bench, "run_as", run_here)
    monkeypatch.setattr(
        Update, "mariadb", lambda _, asked: "_a\n_z" if "SCHEMATA" in asked else "0"
    )
    for name in ("make_code", "make_assets"):
        monkeypatch.setattr(Staging, name, lambda *_: None)
    monkeypatch.setattr(Staging, "end", lambda *_: [])

    def update(
        commits: dict[str, str] | None = None,
        nodes: dict[str, Any] | None = None,
        pin: str = "",
        state: dict[str, Any] | None = None,
        back: bool = False,
    ) -> Update:
        (tmp_path / "state/update.json").write_text(json.dumps(state or {}))
        about = {
            "path": str(path),
            "user": "u",
            "cli_dir": "/c",
            "state_dir": str(tmp_path / "state"),
            "backup_dir": str(tmp_path / "backups/deep"),
            "keep": {"number": 2, "days": 30},
            "sites": [],
            "commits": commits or {},
            "apps": [{"name": "frappe", "branch": "main", "commit": pin}],
            "build": True,
            "web_port": 1,
            "web_workers": 1,
            "report_port": 2,
            "job_seconds": 1,
            "back": back,
            "pythons": {"erp1": "3.11.2", "rep1": "3.13.5"},
        }
        made = Update({"about": about, "nodes": nodes or {}, "drained": []})
        made.app = path / "apps/frappe"
        return made

    return update


def refusal(update: Update) -> dict[str, dict[str, Any]]:
    """Why an update is refused: the facts of each problem, by the problem's id."""
    with pytest.raises(UpdateRefusedError) as refused:
        update.judge()
    found = {problem["id"]: problem["facts"] for problem in refused.value.problems}
    assert len(found) == len(refused.value.problems)
    assert all(name in str(refused.value) for name in found)
    return found


def test_the_newest_commit_of_the_branch_is_wanted(judge: Any, upstream: Path):
    old = git(upstream, "rev-parse", "HEAD")
    update = judge()
    assert update.judge()["going"] is False
    [line] = update.report
    assert f"frappe {old[:10]}" in line
    commit(upstream, "two", code="2")
    new = commit(upstream, "three", code="3")
    update = judge()
    judged = update.judge()
    assert (judged["going"], judged["code"]) == (True, True)
    assert (judged["from"], judged["to"]) == ({"frappe": old}, {"frappe": new})
    assert update.report[0] == f"frappe: {old[:10]} -> {new[:10]}, 2 new commits"
    assert [line.split(" ", 5)[-1] for line in update.report[1:3]] == ["three", "two"]
    assert len(update.report) == 4
    assert judged["migration"] == []
    assert git(update.app, "rev-parse", "HEAD") == old
    assert git(update.app, "status", "--porcelain") == ""


def test_commits_that_ask_for_another_python_or_node_are_refused_before_anything(
    judge: Any, upstream: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(judging, "cli_releases", lambda _: {"node": "20.18.0"})
    (upstream / "pyproject.toml").write_text('[project]\nrequires-python = ">=3.10,<3.13"\n')
    (upstream / "package.json").write_text('{"engines": {"node": ">=24"}}')
    git(upstream, "add", "--all")
    commit(upstream, "two", code="2")
    found = refusal(judge())
    python, node = found["update_python_unfit"], found["update_nodejs_unfit"]
    assert (python["host"], python["version"], python["apps"]) == ("rep1", "3.13.5", ["frappe"])
    assert ">=3.10,<3.13" in python["asked"]
    assert (node["version"], node["apps"]) == ("20.18.0", ["frappe"])
    assert ">=24" in node["asked"]
    assert len(found) == 2
    (upstream / "pyproject.toml").write_text('[project]\nrequires-python = ">=3.10"\n')
    (upstream / "package.json").write_text('{"engines": {"node": "^20 || >=24"}}')
    git(upstream, "add", "--all")
    newer = commit(upstream, "three", code="3")
    assert judge().judge()["to"] == {"frappe": newer}


def test_a_commit_can_be_named_in_any_way(judge: Any, upstream: Path):
    new = commit(upstream, "two", code="2")
    git(upstream, "tag", "v2")
    git(upstream, "branch", "stable")
    commit(upstream, "three", code="3")
    # By its short name first: a repository that has the commit finds it under any.
    for name in (new[:9], "v2", "stable", new):
        assert judge({"frappe": name}).judge()["to"] == {"frappe": new}, name


def test_all_problems_are_named_at_once(judge: Any, upstream: Path):
    new = commit(upstream, "two", code="2", more="m")
    update = judge({"erpnext": "v1"}, {"rep1": {"frappe": {"commit": "e" * 40, "changes": ""}}})
    (update.app / "code.py").write_text("mine")
    (update.app / "more.py").write_text("uncommitted")
    found = refusal(update)
    assert found["update_app_unknown"] == {"app": "erpnext", "apps": ["frappe"]}
    assert found["update_changes_lost"]["files"] == ["code.py", "more.py"]
    node = found["update_node_out_of_step"]
    assert (node["node"], node["apps"]) == ("rep1", ["frappe"])
    assert "eeeeeeeeee" in node["differences"][0]
    for commits, pin, wrong in (
        ({"frappe": "no-tag"}, "", "update_reference_unknown"),
        ({"frappe": "--upload-pack=x"}, "", "update_reference_invalid"),
        ({"frappe": "1234567"}, "", "update_commit_unknown"),
        ({"frappe": new}, "abc", "update_pin_differs"),
    ):
        facts = refusal(judge(commits, pin=pin))[wrong]
        assert facts["app"] == "frappe"
        assert (pin or commits["frappe"]) in facts.values()


def test_an_uncommitted_file_is_not_lost_to_a_renamed_one(judge: Any, upstream: Path):
    (upstream / "long.py").write_text("line\n" * 50)
    commit(upstream, "two")
    update = judge()
    git(update.app, "pull", "--quiet")
    git(upstream, "mv", "long.py", "moved.py")
    commit(upstream, "three")
    (update.app / "moved.py").write_text("uncommitted")
    assert refusal(update)["update_changes_lost"]["files"] == ["moved.py"]


def test_local_commits_are_not_replaced_unless_asked_for(judge: Any, upstream: Path):
    new = commit(upstream, "two", code="2")
    update = judge()
    own = commit(update.app, "mine", mine="1")
    facts = refusal(update)["update_commit_not_in_branch"]
    assert (facts["here"], facts["branch"], facts["commit"]) == (own[:10], "main", new[:10])
    assert judge({"frappe": new}).judge()["to"] == {"frappe": new}


def test_an_app_that_was_made_on_this_bench_stays_where_it_is(judge: Any, upstream: Path):
    apps = judge().app.parent
    (apps / "local").mkdir()
    git(apps / "local", "init", "--quiet", "--initial-branch=main")
    here = commit(apps / "local", "mine", code="1")
    new = commit(upstream, "two", code="2")
    update = judge()
    assert update.judge()["to"] == {"frappe": new, "local": here}
    assert any(line.startswith("local ") and here[:10] in line for line in update.report)
    facts = refusal(judge({"local": "v2"}))["update_remote_missing"]
    assert (facts["app"], facts["reference"]) == ("local", "v2")


def test_an_unfinished_update_keeps_its_commits(judge: Any, upstream: Path):
    old = git(upstream, "rev-parse", "HEAD")
    two = commit(upstream, "two", code="2")
    three = commit(upstream, "three", code="3")
    # The update that was begun has brought it.
    judge({"frappe": two}).judge()
    state = {
        "stamp": "S",
        "from": {"frappe": old},
        "to": {"frappe": two},
        "asked": {"frappe": "v2"},
        "touched": ["a"],
        "coded": True,
        "backups": {"a": "/b"},
    }
    assert judge(state=state).judge()["to"] == {"frappe": two}
    assert judge({"frappe": "v2"}, state=state).judge()["to"] == {"frappe": two}
    update = judge({"frappe": three}, state=state)
    update.begin()
    assert update.state["to"] == {"frappe": three}
    assert (update.state["coded"], update.state["migrated"]) == (False, [])
    # A node may be where the update began, or at what was tried meanwhile, and nowhere else.
    node = {"frappe": {"commit": two, "changes": ""}}
    assert judge(nodes={"rep1": node}, state=update.state).judge()["going"]
    ended = judge(state={**state, "finished": True}, back=True)
    assert refusal(ended) == {"update_back_after_end": {"stamp": "S"}}
    assert refusal(judge(state={**state, "back": True})) == {"update_back_begun": {"stamp": "S"}}
    assert judge(back=True).judge()["going"] is False


def test_an_app_that_left_an_unfinished_update_is_named(judge: Any, upstream: Path):
    old = git(upstream, "rev-parse", "HEAD")
    both = {"frappe": old, "gone": old}
    state = {"stamp": "S", "from": both, "to": both, "asked": {}}
    assert refusal(judge(state=state))["update_app_gone"]["app"] == "gone"
    judge(state={**state, "finished": True}).judge()


def test_an_interrupted_checkout_is_repeated(judge: Any, upstream: Path):
    old = git(upstream, "rev-parse", "HEAD")
    two = commit(upstream, "two", code="2")
    state = {"stamp": "S", "from": {"frappe": old}, "to": {"frappe": two}, "asked": {}}
    update = judge()
    assert update.judge()["to"] == {"frappe": two}
    (update.app / "code.py").write_text("half")
    (update.app / ".git/index.lock").touch()
    assert refusal(judge(state=state))["update_changes_lost"]["files"] == ["code.py"]
    update = judge(state={**state, "moving": ["frappe"]})
    update.judge()
    update.check_out("frappe", two)
    assert (git(update.app, "rev-parse", "HEAD"), update.state["moving"]) == (two, [])
    assert (update.app / "code.py").read_text() == "2"


def test_a_failed_update_reports_its_state(judge: Any, upstream: Path, tmp_path: Path):
    old = git(upstream, "rev-parse", "HEAD")
    state = {
        "stamp": "S",
        "from": {"frappe": old},
        "to": {"frappe": "f" * 40},
        "touched": ["a", "b"],
        "migrated": ["a"],
        "drained": ["rep1"],
        "backups": {"a": "/b/a.sql.gz", "b": "/b/b.sql.gz"},
    }
    (tmp_path / "bench/sites/common_site_config.json").write_text('{"maintenance_mode": 1}')
    for site in "abc":
        (tmp_path / f"bench/sites/{site}").mkdir()
        (tmp_path / f"bench/sites/{site}/site_config.json").write_text(f'{{"db_name": "_{site}"}}')
    update = judge(state=state)
    update.params["reason"] = "it broke"
    told = update.status()
    assert told["status"] == {
        "stamp": "S",
        "stage": "migrating",
        "site": "b",
        "apps": {"frappe": {"here": old, "old": old, "new": "f" * 40}},
        "sites": {"a": "migrated", "b": "begun", "c": "none"},
        "maintenance": "maintenance_mode",
        "drained": ["rep1"],
        "backups": state["backups"],
        "ways": ["forth", "back"],
    }
    first, *lines = told["message"].splitlines()
    assert first == "it broke"
    # Each fact is in a line of its own.
    for values in (
        ("S", STAGES["migrating"].format(site="b")),
        ("frappe", old[:10], "f" * 10),
        ("maintenance_mode", "a, b, c"),
        ("rep1",),
        ("b", "/b/b.sql.gz"),
        ("`-e update_back=true`",),
    ):
        assert any(all(value in line for value in values) for line in lines), values


def test_where_an_update_is():
    opened = {"touched": ["a"], "migrated": ["a"], "opened": True}
    for state, stage in (
        ({}, ("begun", "")),
        ({"coded": True}, ("coded", "")),
        ({"touched": ["a", "b"], "migrated": ["a"]}, ("migrating", "b")),
        ({"touched": ["a"], "migrated": ["a"]}, ("migrated", "a")),
        (opened, ("opened", "a")),
        ({"touched": ["a"], "finished": True}, ("nodes", "")),
        ({"touched": ["a"], "back": True}, ("back", "")),
    ):
        assert stage_of(state) == stage
        assert stage[1] in stage_text(state)


def test_the_last_patch_is_the_one_that_failed():
    output = (
        "Migrating a\nExecuting frappe.patches.one in a (_a)\nExecuting erpnext.two in a (_a)\nE"
    )
    assert last_patch(output) == "erpnext.two"
    assert last_patch("Updating DocTypes") == ""


def test_a_job_is_called_by_its_name():
    said = "frappe.utils.background_jobs.execute_job(event=None, job_name='{}', kwargs={{'a': 1}})"
    assert job_name(said.format("erpnext.close_books")) == "erpnext.close_books"
    assert job_name("frappe.ping()") == "frappe.ping()"


def test_passwords_of_urls_are_not_shown():
    for_two = "https://me:se@cret@git.example/app and https://git.example/@scope/a@b"
    safe = "https://git.example/app and https://git.example/@scope/a@b"
    assert without_password(for_two) == safe
    text = "unable to access 'https://me:secret@git.example/app'"
    assert without_password(text) == "unable to access 'https://git.example/app'"
    # An error of somebody's, and no less a password.
    for word in ("https://me:se/c@ret@h/x", "redis://:se/cret@h/x"):
        assert without_password(f"'{word}'").endswith("://h/x'")
    assert without_password("https://h:443/@scope/a") == "https://h:443/@scope/a"
    # What git, uv and Frappe say when they fail is told, too.
    said = "Error 111 connecting to redis://:hush@10.0.0.1:11000\ngit+https://me:hush@git.example"
    done = subprocess.CompletedProcess([], 1, said)
    with pytest.raises(bench.BenchError) as caught:
        bench.checked(done, "bench build")
    assert "hush" not in str(caught.value)
    assert "connecting to redis://10.0.0.1:11000" in str(caught.value)


def test_a_failed_migration_shows_no_password(
    judge: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    said = "Executing app.patches.one in a (_a)\nError connecting to redis://:hush@10.0.0.1:11000\n"
    done = subprocess.CompletedProcess([], 1, said)
    monkeypatch.setattr(migrate, "run_frappe", lambda *_, **__: done)
    with pytest.raises(BenchError, match=r"app\.patches\.one") as caught:
        judge().migrate_site("a")
    assert "hush" not in str(caught.value)
    assert (tmp_path / "state/update-a.log").stat().st_mode & 0o077 == 0


def test_a_node_is_in_step_where_an_update_may_find_it():
    here = {"frappe": {"commit": "a", "changes": ""}}
    assert out_of_step({"rep1": here}, {"frappe": {"a", "b"}}) == {}
    assert out_of_step({"rep1": here}, {"frappe": {"b"}, "erp": {"c"}}) == {
        "rep1": [("erp", "missing", ""), ("frappe", "elsewhere", "a")]
    }
    changed = {"frappe": {"commit": "a", "changes": "5e"}}
    assert out_of_step({"rep1": changed}, {"frappe": {"a"}}) == {
        "rep1": [("frappe", "changed", "a")]
    }


def put_site(sites: Path, name: str, **config: Any) -> Path:
    """Make a site's folder."""
    folder = sites / name
    (folder / "locks").mkdir(parents=True)
    content = {"db_name": f"_{name[0]}", "db_password": "p", **config}
    (folder / "site_config.json").write_text(json.dumps(content))
    return folder


def test_sites_that_are_not_in_the_inventory_come_last(tmp_path: Path):
    sites = tmp_path / "sites"
    for name in ("b.test", "a.test", "z.test", "no host"):
        put_site(sites, name)
    (sites / "assets").mkdir()
    (sites / "link.test").symlink_to("a.test")
    folders = Folders(str(sites), str(tmp_path))
    assert sites_of(folders, ["z.test", "gone.test"]) == ["z.test", "a.test", "b.test"]


def test_sites_that_cannot_be_backed_up_are_problems(judge: Any, upstream: Path, tmp_path: Path):
    commit(upstream, "two", code="2")
    sites = tmp_path / "bench/sites"
    put_site(sites, "a.test")
    put_site(sites, "making.test")
    (tmp_path / "state/making-site-making.test").touch()
    (put_site(sites, "new.test") / "locks/installing.lock").touch()
    put_site(sites, "system.test", db_name="mysql")
    put_site(sites, "quoted.test", db_name="a`b")
    put_site(sites, "half.test", db_name=None)
    (put_site(sites, "torn.test") / "site_config.json").write_text("{")
    put_site(sites, "void.test")
    with pytest.raises(UpdateRefusedError) as refused:
        judge().judge()
    assert [(found["id"], found["facts"]["site"]) for found in refused.value.problems] == [
        ("update_site_unreadable", "half.test"),
        ("update_site_unfinished", "making.test"),
        ("update_site_unfinished", "new.test"),
        ("update_database_reserved", "quoted.test"),
        ("update_database_reserved", "system.test"),
        ("update_site_unreadable", "torn.test"),
        ("update_database_missing", "void.test"),
    ]
    facts = [found["facts"] for found in refused.value.problems]
    assert [one.get("database") for one in facts[3:]] == ["a`b", "mysql", None, "_v"]
    assert facts[4]["config"] == f"{sites}/system.test/site_config.json"
    # Once only nodes are left to follow, the sites are of no account.
    old = git(upstream, "rev-parse", "HEAD")
    state = {"stamp": "S", "from": {"frappe": old}, "to": {"frappe": old}, "asked": {}}
    judge(state={**state, "finished": True, "backups": {"a.test": "/b"}}).judge()


def calls(monkeypatch: pytest.MonkeyPatch, status: int, **states: str) -> list[tuple[str, int]]:
    """Notes who is asked at which port; states are those of programs of the bench."""
    asked: list[tuple[str, int]] = []

    class Caller:
        def __init__(self, _address: str, port: int, site: str, **_: Any) -> None:
            self.at = (site, port)

        def call(self, *_: str) -> Any:
            asked.append(self.at)
            return SimpleNamespace(status=status, said=lambda: str(status))

    monkeypatch.setattr(gates, "Visitor", Caller)
    names = {f"bench-{name.replace('_', '-')}:one": state for name, state in states.items()}
    monkeypatch.setattr(gates, "programs", lambda _: names)
    return asked


def test_the_pool_for_reports_is_closed_too(
    judge: Any, upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """While the nodes are drained it takes all reports, and Frappe 16 heeds the switch late."""
    put_site(tmp_path / "bench/sites", "a.test")
    update = judge()
    asked = calls(monkeypatch, 503, frappe_web="RUNNING", report_web="RUNNING")
    update.wait_for_answer(503)
    assert asked == [("a.test", 1)] * 3 + [("a.test", 2)] * 6
    asked = calls(monkeypatch, 503, frappe_web="RUNNING", report_web="STOPPED")
    update.wait_for_answer(503)
    assert {port for _, port in asked} == {1}


def test_a_site_that_is_closed_by_itself_stays_so(
    judge: Any, upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    commit(upstream, "two", code="2")
    sites = tmp_path / "bench/sites"
    put_site(sites, "a.test", maintenance_mode=1)
    put_site(sites, "z.test")
    update = judge()
    assert update.judge()["going"]
    asked = calls(monkeypatch, 200)
    # It would never answer 200, and all would be closed again for it.
    update.wait_for_answer(200)
    assert asked == [("z.test", 1)] * 3
    assert in_maintenance(str(tmp_path / "bench"), "a.test")
    assert not in_maintenance(str(tmp_path / "bench"), "z.test")


def test_no_site_stays_open_by_a_switch_of_its_own(
    judge: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    sites = tmp_path / "bench/sites"
    (sites / "common_site_config.json").write_text("{}")
    for name, own in (("a.test", {"maintenance_mode": 0}), ("b.test", {}), ("z.test", {})):
        put_site(sites, name, **own)
    put_site(sites, "c.test", maintenance_mode=1)
    update = judge()
    asked: list[list[str]] = []
    monkeypatch.setattr(update, "run", lambda argv, what: asked.append(argv))
    monkeypatch.setattr(update, "owner", lambda: (os.getuid(), os.getgid()))
    monkeypatch.setattr(update, "wait_for_answer", lambda status: None)
    update.close()
    assert asked == [["bench", "--site", "a.test", "set-config", "maintenance_mode", "None"]]


def test_assets_that_could_not_be_put_back_are_a_problem(
    judge: Any, upstream: Path, monkeypatch: pytest.MonkeyPatch
):
    commit(upstream, "two", code="2")
    update = judge()
    built = Path(update.built("frappe"))
    (built / "js").mkdir(parents=True)
    account = [os.getuid(), os.getgid()]
    monkeypatch.setattr(Update, "owner", lambda _: account)
    assert judge().judge()["going"]
    account[0] += 1
    facts = refusal(judge())["update_folder_owner"]
    assert (facts["folders"], facts["user"], facts["path"]) == ([str(built)], "u", str(built))


# --- what happens when it is cut off ------------------------------------------------------------


@pytest.fixture
def suspend() -> Any:
    """The step as it is; asked for before ``steps``."""
    return Update.suspend


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps of an update in their order; those that need a host do nothing else."""
    done: list[str] = []

    def stand_in(name: str) -> Any:
        return lambda *words, **_: done.append(" ".join([name, *map(str, words[1:])]))

    for name in ("suspend", "wait_for_calls", "wait_for_jobs", "back_up"):
        monkeypatch.setattr(Update, name, stand_in(name))
    monkeypatch.setattr(Update, "run", lambda _, argv, *__, **___: done.append(f"run {argv}"))
    for name in ("switch", "wait_for_answer", "migrate_site", "restart_web", "restore"):
        monkeypatch.setattr(Update, name, stand_in(name))
    for module in (migrate, phases):
        monkeypatch.setattr(module, "stop", lambda *_: done.append("stop"))
    for module in (gates, phases):
        monkeypatch.setattr(module, "start", lambda *_: done.append("start"))
    for module in (gates, migrate):
        monkeypatch.setattr(module, "programs", lambda _name: {})

    class Asked:
        def ask(self, *words: str) -> None:
            done.append(" ".join(words))

        def write_down(self) -> None:
            done.append("write_down")

    @contextmanager
    def redis(_update: Any, _name: str) -> Iterator[Asked]:
        yield Asked()

    monkeypatch.setattr(Update, "redis", redis)
    return done


def test_jobs_are_waited_for_until_no_user_can_queue_any(
    judge: Any, upstream: Path, steps: list[str]
):
    old = git(upstream, "rev-parse", "HEAD")
    state = {"stamp": "S", "from": {"frappe": old}, "to": {"frappe": old}, "former": None}
    judge(state=state).code()
    ends = steps.index("back_up")
    assert steps[steps.index("wait_for_answer 503") : ends + 1] == [
        "wait_for_answer 503",
        "wait_for_calls",
        "wait_for_jobs",
        "back_up",
    ]
    # A run that goes on with one that was killed waits, too.
    steps.clear()
    judge(state={**state, "backups": {"a": "/b"}}).code()
    assert steps[steps.index("wait_for_answer 503") + 1] == "wait_for_jobs"
    assert "back_up" not in steps
    # Whatever has run until here, no worker is stopped amid a job.
    steps.clear()
    judge(state={**state, "backups": {"a": "/b"}, "coded": True, "suspended": True}).migrate()
    assert steps[:3] == ["suspend", "wait_for_jobs", "stop"]


def begun(judge: Any, upstream: Path, **state: Any) -> dict[str, Any]:
    """The state of an update to a new commit, which is in the bench's repository."""
    old = git(upstream, "rev-parse", "HEAD")
    new = commit(upstream, "two", code="2")
    judge().judge()
    return {"stamp": "S", "from": {"frappe": old}, "to": {"frappe": new}, "asked": {}, **state}


@pytest.fixture
def restart(monkeypatch: pytest.MonkeyPatch, steps: list[str]) -> None:
    """A restart of what serves, of which the steps in it are seen."""

    def restarted(_: Any, _words: str, between: Any = None, then: Any = None) -> None:
        steps.append("restart begins")
        for step in (between, then):
            if step:
                step()
        steps.append("restart ends")

    monkeypatch.setattr(Update, "restart_web", restarted)
    monkeypatch.setattr(Update, "wait_until_it_listens", lambda _: steps.append("listens"))
    monkeypatch.setattr(Update, "frappe", lambda *words: steps.append(words[-1]))


@pytest.mark.usefixtures("restart")
def test_without_a_migration_users_are_not_out(
    judge: Any, upstream: Path, tmp_path: Path, steps: list[str]
):
    put_site(tmp_path / "bench/sites", "a.test")
    update = judge(state=begun(judge, upstream, migrates=False))
    update.code()
    new = update.state["to"]["frappe"]
    # Workers are stopped before the code changes, and nobody answers while it does.
    assert steps[steps.index("stop") :] == [
        "stop",
        "restart begins",
        f"run ['git', 'reset', '--quiet', '--hard', '{new}']",
        "DEL assets_json",
        "--site a.test clear-cache",
        "listens",
        "wait_for_answer 200",
        "restart ends",
    ]
    steps.clear()
    update.migrate()
    assert steps == []
    took = update.finish()["outcome"]
    assert "switch 1" not in steps
    assert (took["out"], took["migration"]) == (None, None)
    assert [one["phase"] for one in took["phases"]] == []


@pytest.mark.usefixtures("restart")
def test_a_restart_with_new_code_that_failed_is_taken_back(
    judge: Any, upstream: Path, tmp_path: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
):
    def silent(*_: Any) -> None:
        raise BenchError("a.test does not answer 200")

    state = begun(judge, upstream, migrates=False)
    update = judge(state=state)
    with monkeypatch.context() as patched:
        patched.setattr(Update, "wait_for_answer", silent)
        with pytest.raises(BenchError, match="does not answer 200"):
            update.code()
    assert not update.state.get("opened")
    steps.clear()
    update.back()
    assert git(update.app, "rev-parse", "HEAD") == state["from"]["frappe"]
    # The old code is loaded again, and the jobs have their workers.
    assert steps[-3:] == ["restart begins", "restart ends", "start"]


@pytest.mark.usefixtures("restart")
def test_users_are_let_in_once_all_programs_run(
    judge: Any, upstream: Path, tmp_path: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
):
    put_site(tmp_path / "bench/sites", "a.test")
    monkeypatch.setattr(gates.time, "time", lambda: 1042.0)
    state = begun(judge, upstream, coded=True, suspended=True, former=None, closed=1000.0)
    update = judge(state={**state, "backups": {"a.test": "/b"}})
    update.migrate()
    let_in = ["migrate_site a.test", "restart begins", "listens", "start", "switch None"]
    first = steps.index(let_in[0])
    assert steps[first:] == [*let_in, "restart ends", "wait_for_answer 200"]
    update.state["phases"] = [["migration", 30.2, "a.test"], ["restart", 5.4]]
    took = update.finish()["outcome"]
    assert (took["out"], took["migration"], took["backups"]) == (42, 30.2, ["/b"])
    assert [one["site"] for one in took["phases"]] == ["a.test", ""]
    # A line for the backup and each phase, and one for the time that users were out.
    numbers = [re.findall(r"/b|\d+", line) for line in update.report]
    assert numbers == [["/b"], ["30"], ["5"], ["42", "30"]]


def test_other_commits_make_a_migration_of_an_update_that_had_none(judge: Any, upstream: Path):
    state = begun(judge, upstream, migrates=False, coded=True, opened=True)
    (upstream / "frappe").mkdir()
    (upstream / "frappe/patches.txt").write_text("frappe.patches.one")
    newer = commit(upstream, "three")
    update = judge({"frappe": newer}, state=state)
    update.begin()
    assert "frappe/frappe/patches.txt" in update.report[-1]
    assert (update.migrates(), update.state["coded"]) == (True, False)
    # One that was begun is to be ended, whatever the commits are then.
    update = judge({"frappe": state["to"]["frappe"]}, state=update.state)
    update.begin()
    assert update.migrates()


def test_a_disk_that_is_too_small_for_the_new_code_is_a_problem(
    judge: Any, upstream: Path, monkeypatch: pytest.MonkeyPatch
):
    commit(upstream, "two", code="2")
    monkeypatch.setattr(judging, "code_bytes", lambda *_: 2**60)
    assert refusal(judge())["update_backups_no_room"]["bytes"] >= 2**60


def put_dump(backups: Path, stamp: str, site: str = "a.test", size: int = 1000) -> Path:
    """A dump of an update before this one, of a database of 10 MB."""
    folder = backups / stamp
    folder.mkdir(parents=True)
    (folder / f"{site}.sql.gz").write_bytes(b"x" * size)
    (folder / SIZES).write_text(json.dumps({site: 10**7}))
    return folder


def test_a_dump_is_measured_by_the_last_one(judge: Any, tmp_path: Path):
    backups = tmp_path / "backups/deep"
    spare = SPARE_BYTES
    assert judge().dump_bytes("a.test", 10**7) == 10**7 + spare
    put_dump(backups, "20260101-000000", size=10**6)
    # Twice the data since; and it takes no more than the data in any case.
    assert judge().dump_bytes("a.test", 2 * 10**7) == 2 * 10**6 * 1.2 + spare
    put_dump(backups, "20260102-000000", size=3 * 10**7)
    assert judge().dump_bytes("a.test", 10**7) == 10**7 + spare
    # One that was cut off says nothing.
    (backups / "20260102-000000/a.test.sql.gz.new").touch()
    assert judge().dump_bytes("a.test", 10**7) == 10**6 * 1.2 + spare
    assert judge().dump_bytes("b.test", 10**7) == 10**7 + spare


def test_a_disk_that_is_too_small_for_the_backups_is_a_problem(
    judge: Any, upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    commit(upstream, "two", code="2")
    put_site(tmp_path / "bench/sites", "a.test")
    judge().judge()
    monkeypatch.setattr(Update, "data_bytes", lambda *_: 2**50)
    facts = refusal(judge())["update_backups_no_room"]
    assert (facts["folder"], facts["bytes"] >= 2**50) == (str(tmp_path), True)
    put_dump(tmp_path / "backups/deep", "20260101-000000", "gone.test")
    assert list(refusal(judge())) == ["update_former_backups_no_room"]


def test_backups_of_former_updates_go_once_an_update_has_ended(judge: Any, tmp_path: Path):
    backups = tmp_path / "backups/deep"
    for day in (1, 2, 3):
        put_dump(backups, f"2020010{day}-000000")
    (backups / "2020-01-01T000000Z").mkdir()
    needed = put_dump(backups, "20191231-000000")
    state = {"stamp": "20200103-000000", "backups": {"a.test": f"{needed}/a.test.sql.gz"}}
    update = judge(state=state)
    (tmp_path / "state/update-gone.test.log").touch()
    # While it stands, what it may go back to is needed, however old it is.
    kept = [os.path.basename(thing.path) for thing in update.dumps() if thing.needed]
    assert sorted(kept) == ["20191231-000000", "20200103-000000"]
    update.params["keep"] = {"number": 2, "days": 36500}
    update.forget()
    assert sorted(os.listdir(backups)) == [
        "2020-01-01T000000Z",
        "20200102-000000",
        "20200103-000000",
    ]
    assert [re.findall(rf"{backups}/\S+\d", line) for line in update.report] == [
        [f"{backups}/20191231-000000"],
        [f"{backups}/20200101-000000"],
    ]
    assert os.listdir(tmp_path / "state") == []


def test_a_failed_restore_shows_no_data_of_the_site(
    judge: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "b.sql.gz").write_bytes(gzip.compress(b"SELECT 1;"))
    client = tmp_path / "client"
    said = "INSERT INTO `tabUser` VALUES ('hush')\nERROR 2006 (HY000) at line 53: Server has gone"
    client.write_text(f'#!/bin/sh\ncat >/dev/null\necho "{said}" >&2\nexit 1\n')
    client.chmod(0o755)
    monkeypatch.setattr(dumping, "client", lambda *_: [str(client)])
    update = judge(state={"backups": {"a.test": str(tmp_path / "b.sql.gz")}})
    with pytest.raises(BenchError, match="failed: ERROR 2006") as told:
        update.restore("a.test")
    assert "hush" not in str(told.value)
    client.write_text("#!/bin/sh\ncat >/dev/null\n")
    update.restore("a.test")
    # Nothing is dropped where the data will find no room again.
    (tmp_path / SIZES).write_text(json.dumps({"a.test": 2**60}))
    client.unlink()
    with pytest.raises(BenchError, match=r"a\.test.* 1099511627776"):
        update.restore("a.test")
    (tmp_path / SIZES).unlink()
    client.write_text("#!/bin/sh\ncat >/dev/null\n")
    client.chmod(0o755)
    # The client alone would be content with half of it.
    (tmp_path / "b.sql.gz").write_bytes(gzip.compress(b"SELECT 1;")[:-4])
    with pytest.raises(BenchError, match=r"failed: gzip: .*unexpected end of file"):
        update.restore("a.test")


def test_folders_that_cannot_be_moved_away_are_named_before_users_are_out(
    judge: Any, upstream: Path, monkeypatch: pytest.MonkeyPatch
):
    commit(upstream, "two", code="2")
    update = judge()
    monkeypatch.setattr(Staging, "end", lambda *_: ["elsewhere"])
    monkeypatch.setattr(judging, "code_bytes", lambda *_: 0)
    Path(update.path, "elsewhere").mkdir()
    os.chown(f"{update.path}/elsewhere", os.getuid() + 1, -1)
    with pytest.raises(UpdateRefusedError) as refused:
        update.begin()
    [problem] = refused.value.problems
    assert problem["id"] == "update_folder_owner"
    assert problem["facts"]["folders"] == [f"{update.path}/elsewhere"]
    assert bench.read_json(update.file) == {}


def test_jobs_held_before_the_update_still_wait_after_it(
    judge: Any, monkeypatch: pytest.MonkeyPatch, steps: list[str]
):
    asked: list[str] = []

    class Holding:
        def ask(self, *words: str) -> int:
            asked.append(words[0])
            return 1

        def write_down(self) -> None:
            pass

    monkeypatch.setattr(Update, "redis", lambda *_: nullcontext(Holding()))
    update = judge(state={"stamp": "S", "from": {}, "to": {}})
    update.suspend_jobs()
    update.suspend_jobs()
    update.open()
    # Asked once: from then on it is the update's own, too.
    assert asked == ["EXISTS"]
    [line] = update.report
    assert "rq:suspended" in line
    assert "`rq resume`" in line


def test_the_switch_of_the_jobs_survives_a_power_cut(
    judge: Any, monkeypatch: pytest.MonkeyPatch, suspend: Any, steps: list[str]
):
    monkeypatch.setattr(Update, "suspend", suspend)
    judge(state={"stamp": "S"}).suspend()
    assert steps == ["SET rq:suspended 1", "write_down"]


def test_redis_writes_its_data_down_when_it_may(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(redis_client.time, "sleep", lambda _: None)
    ours, theirs = socket.socketpair()
    with theirs, theirs.makefile("rwb", buffering=0) as peer:
        redis = redis_client.Redis.__new__(redis_client.Redis)
        redis.socket, redis.source = ours, ours.makefile("rb")
        info = b"$13\r\naof_enabled:0\r\n"
        peer.write(info + b"-ERR Background save already in progress\r\n+OK\r\n")
        peer.write(info + b"-ERR\r\n")
        with redis:
            redis.write_down(60)
            with pytest.raises(redis_client.RedisError, match=r"\(ERR\)"):
                redis.write_down(60)
        info, save = b"*2\r\n$4\r\nINFO\r\n$11\r\npersistence\r\n", b"*1\r\n$4\r\nSAVE\r\n"
        assert peer.read(200) == info + save * 2 + info + save


def test_an_append_only_redis_writes_its_changes_anew(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(redis_client.time, "sleep", lambda _: None)
    said = iter(
        [
            "aof_enabled:1",
            redis_client.RedisError(
                "ERR Background append only file rewriting already in progress"
            ),
            "Background append only file rewriting scheduled",
            "aof_rewrite_in_progress:0\r\naof_rewrite_scheduled:1",
            "aof_rewrite_in_progress:1",
            "aof_rewrite_in_progress:0\r\naof_last_bgrewrite_status:ok",
            # The next time it cannot.
            "aof_enabled:1",
            "Background append only file rewriting started",
            "aof_rewrite_in_progress:0\r\naof_last_bgrewrite_status:err",
        ]
    )
    asked = []

    def ask(_redis: Any, *words: str) -> str:
        asked.append(words[0])
        if isinstance(answer := next(said), Exception):
            raise answer
        return answer

    monkeypatch.setattr(redis_client.Redis, "ask", ask)
    ours, theirs = socket.socketpair()
    redis = redis_client.Redis.__new__(redis_client.Redis)
    redis.socket, redis.source = ours, ours.makefile("rb")
    with theirs, redis:
        redis.write_down(60)
        assert asked == ["INFO", "BGREWRITEAOF", "BGREWRITEAOF", "INFO", "INFO", "INFO"]
        with pytest.raises(redis_client.RedisError):
            redis.write_down(60)
        assert next(said, None) is None


def test_an_update_that_was_undone_begins_whole(judge: Any, upstream: Path, steps: list[str]):
    old = git(upstream, "rev-parse", "HEAD")
    new = commit(upstream, "two", code="2")
    state = {
        "stamp": "20200101-000000",
        "from": {"frappe": old},
        "to": {"frappe": new},
        "asked": {},
        "former": None,
        "suspended": True,
        "drained": ["rep1"],
        "coded": True,
        "backups": {"a": "/b"},
    }
    judge(state=state).back()
    assert "restore a" not in steps
    # The run is killed here; users are in when the same command is given again.
    left = json.loads((upstream.parent / "state/update.json").read_text())
    assert left["stamp"] > state["stamp"]
    assert (left["backups"], left["coded"]) == ({}, False)
    assert left["drained"] == ["rep1"]
    steps.clear()
    judge(state=left).code()
    assert [step for step in steps if step in ("switch 1", "wait_for_calls", "back_up")] == [
        "switch 1",
        "wait_for_calls",
        "back_up",
    ]


def test_sites_that_are_made_or_dropped_during_an_update(
    judge: Any, upstream: Path, tmp_path: Path, steps: list[str]
):
    old = git(upstream, "rev-parse", "HEAD")
    put_site(tmp_path / "bench/sites", "new.test")
    put_site(tmp_path / "bench/sites", "old.test")
    state = {
        "stamp": "S",
        "from": {"frappe": old},
        "to": {"frappe": old},
        "coded": True,
        "touched": ["gone.test", "old.test"],
        "backups": {"gone.test": "/g", "old.test": "/o"},
    }
    update = judge(state=state)
    assert update.without_backup() == ["new.test"]
    update.migrate()
    # No site is migrated that could not be brought back.
    assert steps.index("back_up") < steps.index("migrate_site new.test")
    steps.clear()
    update = judge(state=state)
    undone = update.back()
    assert [step for step in steps if step.startswith("restore")] == ["restore old.test"]
    assert "run ['bench', '--site', 'gone.test', 'clear-cache']" not in steps
    assert "run ['bench', '--site', 'old.test', 'clear-cache']" in steps
    assert undone == {"restored": {"old.test": "/o"}, "not_restored": {"gone.test": "/g"}}
    assert [re.findall(r"(?:gone|old)\.test|/[go]\b", line) for line in update.report[1:]] == [
        ["old.test", "/o"],
        ["gone.test", "/g"],
    ]


def test_a_way_back_that_was_cut_off_leaves_no_code_that_seems_new(
    judge: Any, upstream: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
):
    old = git(upstream, "rev-parse", "HEAD")
    state = {"stamp": "S", "from": {"frappe": old}, "to": {"frappe": old}, "coded": True}
    update = judge(state={**state, "backups": {"a": "/b"}})

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Update, "check_out", killed)
    with pytest.raises(KeyboardInterrupt):
        update.back()
    left = json.loads((upstream.parent / "state/update.json").read_text())
    # Nobody was let in: its backup holds.
    assert (left["coded"], left["backups"]) == (False, {"a": "/b"})


def test_no_backup_is_restored_after_users_were_let_in(
    judge: Any, upstream: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
):
    old = git(upstream, "rev-parse", "HEAD")
    state = {
        "stamp": "20200101-000000",
        "from": {"frappe": old},
        "to": {"frappe": old},
        "asked": {},
        "former": None,
        "suspended": True,
        "coded": True,
        "touched": ["a"],
        "migrated": ["a"],
        "backups": {"a": "/b"},
    }
    update = judge(state=state)
    update.finish()
    # Jobs begin once the sites have answered.
    let_in = ["switch None", "wait_for_answer 200", "DEL rq:suspended", "write_down"]
    assert steps == let_in
    assert (update.state["opened"], update.state["finished"]) == (True, True)

    def silent(*_: Any) -> None:
        raise BenchError("a does not answer 200")

    steps.clear()
    monkeypatch.setattr(Update, "wait_for_answer", silent)
    update = judge(state=state)
    with pytest.raises(BenchError, match="does not answer 200"):
        update.finish()
    assert steps == ["switch None", "switch 1", "suspend"]
    left = json.loads((upstream.parent / "state/update.json").read_text())
    assert (left["opened"], left.get("finished")) == (True, None)
    assert stage_of(left) == ("opened", "a")
    assert list(refusal(judge(state=left, back=True))) == ["update_back_too_late"]
    update = judge(state=left)
    update.params["reason"] = "it broke"
    told = update.status()
    assert told["status"]["ways"] == ["forth"]
    assert "update_back" not in told["message"]
    # Other commits: with a backup of what users did, and without a way back to the first one.
    update = judge(state=left)
    update.retarget({"frappe": "f" * 40})
    assert update.state["backups"] == {}
    assert update.state["stamp"] > state["stamp"]
    assert list(refusal(judge(state=update.state, back=True))) == ["update_back_too_late"]


# --- files in folders of the bench's account ----------------------------------------------------


def test_a_planted_link_gets_nothing_of_root(
    judge: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    precious = tmp_path / "shadow"
    precious.write_text("precious")
    config = tmp_path / "bench/sites/common_site_config.json"
    config.write_text("{}")
    config.chmod(0o640)
    (tmp_path / "bench/sites/common_site_config.json.new").symlink_to(precious)
    me = SimpleNamespace(pw_uid=os.getuid(), pw_gid=os.getgid())
    monkeypatch.setattr(bench.pwd, "getpwnam", lambda _user: me)
    judge().switch(1)
    assert precious.read_text() == "precious"
    assert json.loads(config.read_text()) == {"maintenance_mode": 1}
    assert config.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in config.parent.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(("owner", "trusts"), [(0, False), (1, True)])
def test_root_reads_no_repository_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: int, trusts: bool
):
    """A link from apps/ to /tmp, say, where anybody may have made one."""
    asked: list[tuple[list[str], Any]] = []

    def noted(argv: list[str], **named: Any) -> Any:
        asked.append((argv, named.get("user", 0)))
        return subprocess.CompletedProcess(argv, 0, "", "")

    with monkeypatch.context() as patched:
        patched.setattr(bench.os, "geteuid", lambda: 0)
        patched.setattr(bench.os, "fstat", lambda _: SimpleNamespace(st_uid=owner, st_gid=owner))
        patched.setattr(bench.subprocess, "run", noted)
        look.git(str(tmp_path), "rev-parse", "HEAD")
    [(argv, user)] = asked
    assert user == owner
    assert ("safe.directory=*" in argv) is trusts


def test_what_is_noted_is_on_disk_with_its_name(
    judge: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A database that is migrated next may lie on another disk, and its note be lost alone."""
    synced: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda handle: synced.append(os.readlink(f"/proc/self/fd/{handle}"))
    )
    judge().save(touched=["a"])
    file, folder = synced
    assert os.path.dirname(file) == folder == f"{tmp_path}/state"


def test_backups_are_on_disk_before_they_count(
    judge: Any, upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    old = git(upstream, "rev-parse", "HEAD")
    put_site(tmp_path / "bench/sites", "a.test")
    update = judge(state={"stamp": "S", "from": {"frappe": old}})
    seen: list[bool] = []
    monkeypatch.setattr(os, "sync", lambda: seen.append("backups" in update.state))
    monkeypatch.setattr(Update, "dump", lambda *_: None)
    update.back_up()
    assert seen == [False]
    assert "backups" in update.state


def test_states_are_read():
    text = (
        "b-schedule:b-frappe-schedule           STOPPED   Not started\n"
        "b-web:b-frappe-web                     RUNNING   pid 5, uptime 0:01:00\n"
        "bot                                    BACKOFF   Exited too quickly\n"
    )
    assert supervisor.states(text) == {
        "b-schedule:b-frappe-schedule": "STOPPED",
        "b-web:b-frappe-web": "RUNNING",
        "bot": "BACKOFF",
    }


def test_processes_of_a_whole_group_are_handled_at_once():
    known = ["b-long:0", "b-long:1", "b-web:0"]
    assert supervisor.together(["b-long:0", "b-long:1"], known) == ["b-long:*"]
    assert supervisor.together(["b-long:1", "b-web:0"], known) == ["b-long:1", "b-web:*"]


def test_the_message_of_a_failed_task():
    assert failure_message({"msg": "no"}) == "no"
    assert failure_message({})
    loop = {"msg": "items failed", "results": [{"item": "rep1"}, {"item": "rep2", "failed": True}]}
    assert failure_message(loop) == "rep2: no message"
    lost = {"results": [{"item": "rep1"}, {"item": "rep2", "unreachable": True, "msg": "gone"}]}
    assert failure_message(lost) == "rep2: gone"


def test_nodes_that_did_not_start_on_the_way_back_are_named():
    results = [
        {"item": "rep1", "did": []},
        {"item": "rep2", "unreachable": True, "msg": "no route"},
        {"item": "rep3", "failed": False, "msg": "is FATAL"},
    ]
    words = lost_nodes(results)
    assert list(words) == ["rep2", "rep3"]
    assert words["rep3"].startswith("rep3: is FATAL;")
    # The command that puts it back into service.
    assert words["rep3"].count("rep3") == 2


def test_commits_of_a_node_that_lags():
    apps = {"frappe": {"commit": "a" * 40}}
    assert wrong_commits(apps, {"frappe": "a" * 40}) == []
    assert wrong_commits(apps, {"erp": "b" * 40}) == [("erp", "none", "bbbbbbbbbb")]


# --- web assets --------------------------------------------------------------------------------


def make_assets(path: Path, content: str = "x", linked: bool = True) -> str:
    """A bench with one bundle that its list names; returns the bundle's file."""
    built = path / "apps/frappe/frappe/public/dist/js"
    built.mkdir(parents=True)
    (built / "desk.1.js").write_text(content)
    (path / "sites/assets").mkdir(parents=True)
    listing = {"desk.js": "/assets/frappe/dist/js/desk.1.js"}
    (path / "sites/assets/assets.json").write_text(json.dumps(listing))
    if linked:
        (path / "sites/assets/frappe").symlink_to(path / "apps/frappe/frappe/public")
    return str(built / "desk.1.js")


def test_assets_are_compared_by_their_files(tmp_path: Path):
    make_assets(tmp_path / "a")
    # A bench that never built anything has no link.
    file = make_assets(tmp_path / "b", linked=False)
    here, there = (assets.asset_state(str(tmp_path / name)) for name in "ab")
    assert assets.differing(here, there) == []
    Path(file).write_text("y")
    name = "assets.json desk.js /assets/frappe/dist/js/desk.1.js"
    assert assets.differing(here, assets.asset_state(str(tmp_path / "b"))) == [name]
    Path(file).unlink()
    assert assets.asset_state(str(tmp_path / "b")) == {name: ""}


def test_assets_are_placed_as_the_benchs_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "bench"
    file = Path(make_assets(path, "old"))
    (path / "apps/frappe/.git").mkdir()
    (file.parent / "gone.js").touch()
    monkeypatch.setattr(bench, "user_environment", lambda *_: {})
    monkeypatch.setattr(assets, "installed_apps", lambda _: ["frappe"])
    ran: list[str] = []

    def run_here(user: str, argv: list[str], cwd: str, *_: Any, **__: Any) -> Any:
        ran.append(argv[0])
        if argv[0] == "bash":
            built = path / ".assets/frappe/js"
            built.mkdir(parents=True)
            (built / "desk.2.js").write_text("new")
            (path / ".assets/assets.json").write_text("{}")
            return subprocess.CompletedProcess(argv, 0, "")
        return subprocess.run(argv, cwd=cwd, text=True, capture_output=True, check=False)

    monkeypatch.setattr(bench, "run_as", run_here)
    params = {"path": str(path), "user": "u", "cli_dir": "/c", "ssh_command": "ssh", "port": 22}
    assets.Assets({**params, "source": "u@h", "wanted": {}}).fetch()
    assert [entry.name for entry in file.parent.iterdir()] == ["desk.2.js"]
    assert (path / "sites/assets/assets.json").read_text() == "{}"
    assert not (path / ".assets").exists()
    assert ran == ["rm", "bash", "mkdir", "rm", "mv", "mv", "rm"]


def test_a_missing_list_is_an_empty_one(tmp_path: Path):
    (tmp_path / "sites/assets").mkdir(parents=True)
    assert assets.asset_state(str(tmp_path)) == {}
    (tmp_path / "sites/assets/assets.json").write_text("{}")
    assert assets.asset_state(str(tmp_path)) == {}


def test_the_gate_sends_files_and_no_links(tmp_path: Path):
    file = Path(make_assets(tmp_path))
    (file.parent / "secret").symlink_to("/etc/shadow")
    out = io.BytesIO()
    code_gate.send_assets(tmp_path, out)
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        names = sorted(archive.getnames())
    assert names == ["assets.json", "frappe", "frappe/js", "frappe/js/desk.1.js"]


def test_a_tree_that_git_cannot_read_is_not_taken_for_unchanged(judge: Any, upstream: Path):
    two = commit(upstream, "two", code="2")
    update = judge({"frappe": two})
    index = Path(update.folder("frappe"), ".git/index")
    index.write_bytes(b"no index")
    with pytest.raises(BenchError, match=r"diff.*/apps/frappe"):
        update.judge()


def test_an_update_that_a_former_release_began_counts_its_migrations() -> None:
    noted = [["users out: migration of erp.example.com", 7], ["migration", 5, "two.example.com"]]
    assert report.outcome({"phases": noted, "out": 20})["migration"] == 12
