"""What the update of a fleet judges, and how its parts tell things apart."""

from __future__ import annotations

import io
import json
import os
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from filter_plugins.update import lost_nodes, task_words
from library import bench_assets, bench_update
from library.bench_answers import wrong_commits
from library.bench_update import last_patch, out_of_step, sites_of, standing
from module_utils import bench, supervisor
from module_utils.sites import Folders
from tests.unit.test_site_sync import code_gate

BenchError = bench_update.BenchError


def git(folder: Path, *words: str) -> str:
    """Run git in a folder with an author."""
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    done = subprocess.run(
        ["git", *identity, "-C", str(folder), *words], capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commit(folder: Path, subject: str, **files: str) -> str:
    """Commit files, given by their names without the ending; returns the commit."""
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text)
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", subject)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    """An app's repository with one commit on branch main."""
    folder = tmp_path / "upstream"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch=main")
    commit(folder, "one", code="1")
    return folder


@pytest.fixture
def judge(tmp_path: Path, upstream: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Judges an update of a bench whose app frappe was cloned from upstream, as bench clones."""
    path = tmp_path / "bench"
    (path / "sites").mkdir(parents=True)
    clone = ["git", "clone", "--quiet", "--depth", "1", "--origin", "upstream"]
    subprocess.run([*clone, f"file://{upstream}", str(path / "apps/frappe")], check=True)
    (tmp_path / "state").mkdir()

    def run_here(_user: str, argv: list[str], cwd: str, *_: Any, **__: Any) -> Any:
        pipe = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        return subprocess.run(argv, cwd=cwd, text=True, check=False, **pipe)

    monkeypatch.setattr(bench_update, "user_environment", lambda *_: {})
    monkeypatch.setattr(bench_update, "run_as", run_here)
    monkeypatch.setattr(bench_update.Update, "mariadb", lambda *_: "0")
    monkeypatch.setattr(bench_update, "requirement_steps", lambda *_: [])

    def update(
        commits: dict[str, str] | None = None,
        nodes: dict[str, Any] | None = None,
        pin: str = "",
        state: dict[str, Any] | None = None,
        back: bool = False,
    ) -> bench_update.Update:
        (tmp_path / "state/update.json").write_text(json.dumps(state or {}))
        about = {
            "path": str(path),
            "user": "u",
            "cli_dir": "/c",
            "state_dir": str(tmp_path / "state"),
            "backup_dir": str(tmp_path / "backups/deep"),
            "sites": [],
            "commits": commits or {},
            "apps": [{"name": "frappe", "branch": "main", "commit": pin}],
            "build": True,
            "web_port": 1,
            "web_workers": 1,
            "job_seconds": 1,
            "back": back,
            "socket": "/s",
        }
        made = bench_update.Update({"about": about, "nodes": nodes or {}, "drained": []})
        made.app = path / "apps/frappe"
        return made

    return update


def test_the_newest_commit_of_the_branch_is_wanted(judge: Any, upstream: Path):
    old = git(upstream, "rev-parse", "HEAD")
    update = judge()
    assert update.judge()["going"] is False
    assert update.words == [f"nothing to do: frappe {old[:10]}"]
    commit(upstream, "two", code="2")
    new = commit(upstream, "three", code="3")
    update = judge()
    judged = update.judge()
    assert (judged["going"], judged["code"]) == (True, True)
    assert (judged["from"], judged["to"]) == ({"frappe": old}, {"frappe": new})
    assert update.words[0] == f"frappe: {old[:10]} -> {new[:10]}, 2 new commits"
    assert [line.split(" ", 5)[-1] for line in update.words[1:]] == ["three", "two"]
    assert git(update.app, "rev-parse", "HEAD") == old
    assert git(update.app, "status", "--porcelain") == ""


@pytest.mark.parametrize("kind", ["tag", "branch", "commit", "short"])
def test_a_commit_can_be_named_in_any_way(judge: Any, upstream: Path, kind: str):
    new = commit(upstream, "two", code="2")
    git(upstream, "tag", "v2")
    git(upstream, "branch", "stable")
    commit(upstream, "three", code="3")
    words = {"tag": "v2", "branch": "stable", "commit": new, "short": new[:9]}
    assert judge({"frappe": words[kind]}).judge()["to"] == {"frappe": new}


def test_all_problems_are_named_at_once(judge: Any, upstream: Path):
    new = commit(upstream, "two", code="2", more="m")
    update = judge({"erpnext": "v1"}, {"rep1": {"frappe": {"commit": "e" * 40, "changes": ""}}})
    (update.app / "code.py").write_text("mine")
    (update.app / "more.py").write_text("in nobody's commit")
    with pytest.raises(BenchError) as caught:
        update.judge()
    assert "1. update_commits names erpnext; the bench has frappe" in str(caught.value)
    update = judge({}, {"rep1": {"frappe": {"commit": "e" * 40, "changes": ""}}})
    with pytest.raises(BenchError) as caught:
        update.judge()
    assert "would be lost: code.py, more.py" in str(caught.value)
    assert "rep1 is not in step with the primary: frappe is at eeeeeeeeee" in str(caught.value)
    assert str(caught.value).startswith("The update was not begun, nothing was touched")
    with pytest.raises(BenchError, match="no-tag is no commit, tag or branch that upstream"):
        judge({"frappe": "no-tag"}).judge()
    with pytest.raises(BenchError, match="'--upload-pack=x' cannot be the name"):
        judge({"frappe": "--upload-pack=x"}).judge()
    with pytest.raises(BenchError, match="there is no commit 1234567 at upstream"):
        judge({"frappe": "1234567"}).judge()
    with pytest.raises(BenchError, match="the inventory pins abc"):
        judge({"frappe": new}, pin="abc").judge()


def test_commits_of_ones_own_are_not_left_behind_unasked(judge: Any, upstream: Path):
    new = commit(upstream, "two", code="2")
    update = judge()
    own = commit(update.app, "mine", mine="1")
    with pytest.raises(BenchError, match=f"frappe is at {own[:10]}, which main of its remote"):
        update.judge()
    assert judge({"frappe": new}).judge()["to"] == {"frappe": new}


def test_an_unfinished_update_keeps_its_commits(judge: Any, upstream: Path):
    old = git(upstream, "rev-parse", "HEAD")
    two = commit(upstream, "two", code="2")
    three = commit(upstream, "three", code="3")
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
    with pytest.raises(BenchError, match="restoring the backup would lose"):
        judge(state={**state, "finished": True}, back=True).judge()
    with pytest.raises(BenchError, match="-e update_back=true"):
        judge(state={**state, "back": True}).judge()
    assert judge(back=True).judge()["going"] is False


def test_a_checkout_that_was_cut_off_is_made_good(judge: Any, upstream: Path):
    old = git(upstream, "rev-parse", "HEAD")
    two = commit(upstream, "two", code="2")
    state = {"stamp": "S", "from": {"frappe": old}, "to": {"frappe": two}, "asked": {}}
    update = judge()
    assert update.judge()["to"] == {"frappe": two}
    (update.app / "code.py").write_text("half")
    (update.app / ".git/index.lock").touch()
    with pytest.raises(BenchError, match=r"would be lost: code\.py"):
        judge(state=state).judge()
    update = judge(state={**state, "moving": ["frappe"]})
    update.judge()
    update.check_out("frappe", two)
    assert (git(update.app, "rev-parse", "HEAD"), update.state["moving"]) == (two, [])
    assert (update.app / "code.py").read_text() == "2"


def test_a_failed_update_says_where_it_stands(judge: Any, upstream: Path, tmp_path: Path):
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
    told = update.tell()["told"]
    assert told.startswith("it broke\n")
    for words in (
        "the update of S stands in the migration of b",
        f"frappe is at {old[:10]} (old {old[:10]}, new ffffffffff)",
        "a: migrated",
        "b: migration begun, not ended",
        "c: migration not begun",
        "maintenance_mode is on",
        "rep1: out of service",
        "backup of b: /b/b.sql.gz",
        "-e update_back=true",
    ):
        assert words in told


def test_where_an_update_stands():
    assert standing({}) == "before the first migration"
    assert standing({"coded": True}).startswith("at the new code")
    assert standing({"touched": ["a"], "migrated": []}) == "in the migration of a"
    assert standing({"touched": ["a"], "migrated": ["a"]}) == "after the migration of a"
    opened = {"touched": ["a"], "migrated": ["a"], "opened": True}
    assert standing(opened) == "after the migration of a, letting users in"
    assert standing({"touched": ["a"], "finished": True}).startswith("done on the primary")
    assert standing({"touched": ["a"], "back": True}).startswith("on its way back")


def test_the_last_patch_is_the_one_that_failed():
    output = (
        "Migrating a\nExecuting frappe.patches.one in a (_a)\nExecuting erpnext.two in a (_a)\nE"
    )
    assert last_patch(output) == "erpnext.two"
    assert last_patch("Updating DocTypes") == ""


def test_a_job_is_called_by_its_name():
    said = "frappe.utils.background_jobs.execute_job(event=None, job_name='{}', kwargs={{'a': 1}})"
    assert bench_update.job_words(said.format("erpnext.close_books")) == "erpnext.close_books"
    assert bench_update.job_words("frappe.ping()") == "frappe.ping()"


def test_no_password_of_a_url_is_told():
    text = "unable to access 'https://me:secret@git.example/app'"
    assert bench_update.without_password(text) == "unable to access 'https://git.example/app'"


def test_a_node_is_in_step_where_an_update_may_find_it():
    here = {"frappe": {"commit": "a", "changes": ""}}
    assert out_of_step({"rep1": here}, {"frappe": {"a", "b"}}) == {}
    assert out_of_step({"rep1": here}, {"frappe": {"b"}, "erp": {"c"}}) == {
        "rep1": ["erp is missing", "frappe is at a"]
    }
    changed = {"frappe": {"commit": "a", "changes": "5e"}}
    assert out_of_step({"rep1": changed}, {"frappe": {"a"}}) == {
        "rep1": ["frappe has changes that are in no commit"]
    }


def put_site(sites: Path, name: str, **config: Any) -> Path:
    """Make a site's folder."""
    folder = sites / name
    (folder / "locks").mkdir(parents=True)
    content = {"db_name": f"_{name[0]}", "db_password": "p", **config}
    (folder / "site_config.json").write_text(json.dumps(content))
    return folder


def test_sites_that_somebody_made_besides_come_last(tmp_path: Path):
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
    with pytest.raises(BenchError) as caught:
        judge().judge()
    lines = str(caught.value).splitlines()[1:]
    for number, words in enumerate(
        (
            "half.test cannot be backed up: ",
            "making.test is still being made: wait",
            "new.test is still being made: wait",
            f"{sites}/quoted.test/site_config.json: db_name is 'a`b'",
            f"{sites}/system.test/site_config.json: db_name is 'mysql', which is no site's",
            "torn.test cannot be backed up: ",
        ),
        1,
    ):
        assert lines[number - 1].startswith(f"{number}. {words}")
    assert len(lines) == 6
    # Once only nodes are left to follow, the sites are of no account.
    old = git(upstream, "rev-parse", "HEAD")
    state = {"stamp": "S", "from": {"frappe": old}, "to": {"frappe": old}, "asked": {}}
    judge(state={**state, "finished": True, "backups": {"a.test": "/b"}}).judge()


def test_assets_that_could_not_be_put_back_are_a_problem(
    judge: Any, upstream: Path, monkeypatch: pytest.MonkeyPatch
):
    commit(upstream, "two", code="2")
    update = judge()
    built = Path(update.built("frappe"))
    (built / "js").mkdir(parents=True)
    account = [os.getuid(), os.getgid()]
    monkeypatch.setattr(bench_update.Update, "owner", lambda _: account)
    assert judge().judge()["going"]
    account[0] += 1
    with pytest.raises(BenchError, match=f"1. {built} belongs to another account.*chown -R u: "):
        judge().judge()


# --- what happens when it is cut off ------------------------------------------------------------


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps of an update in their order; those that need a host do nothing else."""
    done: list[str] = []

    def stand_in(name: str) -> Any:
        return lambda *words, **_: done.append(" ".join([name, *map(str, words[1:])]))

    for name in ("suspend", "wait_for_calls", "wait_for_jobs", "back_up", "keep_assets", "run"):
        monkeypatch.setattr(bench_update.Update, name, stand_in(name))
    for name in ("switch", "wait_for_answer", "migrate_site", "restart_web", "restore"):
        monkeypatch.setattr(bench_update.Update, name, stand_in(name))
    monkeypatch.setattr(bench_update, "stop", lambda *_: done.append("stop"))
    monkeypatch.setattr(bench_update, "programs", lambda _name: {})

    class Asked:
        def ask(self, *words: str) -> None:
            done.append(" ".join(words))

    @contextmanager
    def redis(_update: Any, _name: str) -> Iterator[Asked]:
        yield Asked()

    monkeypatch.setattr(bench_update.Update, "redis", redis)
    return done


def test_jobs_are_waited_for_until_nobody_can_queue_any(
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
    judge(state={**state, "backups": {"a": "/b"}, "coded": True}).migrate()
    assert steps[:3] == ["suspend", "wait_for_jobs", "stop"]


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


def test_a_way_back_that_was_cut_off_leaves_no_code_that_seems_new(
    judge: Any, upstream: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
):
    old = git(upstream, "rev-parse", "HEAD")
    state = {"stamp": "S", "from": {"frappe": old}, "to": {"frappe": old}, "coded": True}
    update = judge(state={**state, "backups": {"a": "/b"}})

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(bench_update.Update, "check_out", killed)
    with pytest.raises(KeyboardInterrupt):
        update.back()
    left = json.loads((upstream.parent / "state/update.json").read_text())
    # Nobody was let in: its backup holds.
    assert (left["coded"], left["backups"]) == (False, {"a": "/b"})


def test_no_backup_is_restored_over_what_users_did(
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
    assert steps == ["switch None", "wait_for_answer 200", "DEL rq:suspended"]
    assert (update.state["opened"], update.state["finished"]) == (True, True)

    def silent(*_: Any) -> None:
        raise BenchError("a does not answer 200")

    steps.clear()
    monkeypatch.setattr(bench_update.Update, "wait_for_answer", silent)
    update = judge(state=state)
    with pytest.raises(BenchError, match="does not answer 200"):
        update.finish()
    assert steps == ["switch None", "switch 1", "suspend"]
    left = json.loads((upstream.parent / "state/update.json").read_text())
    assert (left["opened"], left.get("finished")) == (True, None)
    with pytest.raises(BenchError, match="letting users in, and users have been let in: restoring"):
        judge(state=left, back=True).judge()
    update = judge(state=left)
    update.params["reason"] = "it broke"
    told = update.tell()["told"]
    assert "may have written since the backups were made" in told
    assert "update_back" not in told
    assert "Nobody has written" not in told
    # Other commits: with a backup of what users did, and without a way back to the first one.
    update = judge(state=left)
    update.retarget({"frappe": "f" * 40})
    assert update.state["backups"] == {}
    assert update.state["stamp"] > state["stamp"]
    with pytest.raises(BenchError, match="restoring the backup would lose"):
        judge(state=update.state, back=True).judge()


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
    monkeypatch.setattr(bench_update.pwd, "getpwnam", lambda _user: me)
    judge().switch(1)
    assert precious.read_text() == "precious"
    assert json.loads(config.read_text()) == {"maintenance_mode": 1}
    assert config.stat().st_mode & 0o777 == 0o640
    assert [path.name for path in config.parent.iterdir() if path.name.startswith(".")] == []


def test_assets_are_put_back_as_the_benchs_account(
    judge: Any, upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    old = git(upstream, "rev-parse", "HEAD")
    update = judge(state={"stamp": "S", "from": {"frappe": old}})
    built = Path(update.built("frappe"))
    built.mkdir(parents=True)
    (built / "old.js").write_text("old")
    monkeypatch.setattr(bench_update.Update, "owner", lambda _: (os.getuid(), os.getgid()))
    ran: list[str] = []
    plain = bench_update.run_as

    def noted(user: str, argv: list[str], *words: Any, **named: Any) -> Any:
        ran.append(f"{user}: {argv[0]}")
        return plain(user, argv, *words, **named)

    monkeypatch.setattr(bench_update, "run_as", noted)
    update.keep_assets()
    (built / "old.js").rename(built / "new.js")
    monkeypatch.setattr(
        bench_update.Update, "redis", lambda *_: nullcontext(SimpleNamespace(ask=lambda *_: None))
    )
    update.put_assets_back()
    assert [path.name for path in built.iterdir()] == ["old.js"]
    assert ran == ["u: cp", "u: rm", "u: cp"]


def test_programs_are_told_apart():
    text = (
        "b-long-worker:b-frappe-long-worker-0   RUNNING   pid 1, uptime 0:01:00\n"
        "b-redis:b-redis-cache                  RUNNING   pid 2, uptime 0:01:00\n"
        "b-report-web:b-frappe-report-web       RUNNING   pid 3, uptime 0:01:00\n"
        "b-schedule:b-frappe-schedule           STOPPED   Not started\n"
        "b-socketio:b-node-socketio             RUNNING   pid 4, uptime 0:01:00\n"
        "b-web:b-frappe-web                     RUNNING   pid 5, uptime 0:01:00\n"
        "other-web:other-web                    RUNNING   pid 6, uptime 0:01:00\n"
    )
    states = supervisor.states(text, "b")
    assert len(states) == 6
    assert states["b-schedule:b-frappe-schedule"] == "STOPPED"
    assert supervisor.job_programs(list(states)) == [
        "b-long-worker:b-frappe-long-worker-0",
        "b-schedule:b-frappe-schedule",
    ]
    assert supervisor.web_programs(list(states)) == [
        "b-socketio:b-node-socketio",
        "b-web:b-frappe-web",
    ]


def test_processes_of_a_whole_group_are_handled_at_once():
    known = ["b-long:0", "b-long:1", "b-web:0"]
    assert supervisor.together(["b-long:0", "b-long:1"], known) == ["b-long:*"]
    assert supervisor.together(["b-long:1", "b-web:0"], known) == ["b-long:1", "b-web:*"]


def test_a_failed_tasks_words():
    assert task_words({"msg": "no"}) == "no"
    assert task_words({}) == "a task failed and gave no reason"
    loop = {"msg": "items failed", "results": [{"item": "rep1"}, {"item": "rep2", "failed": True}]}
    assert task_words(loop) == "rep2: no reason"
    lost = {"results": [{"item": "rep1"}, {"item": "rep2", "unreachable": True, "msg": "gone"}]}
    assert task_words(lost) == "rep2: gone"


def test_nodes_that_did_not_start_on_the_way_back_are_named():
    results = [
        {"item": "rep1", "did": []},
        {"item": "rep2", "unreachable": True, "msg": "no route"},
        {"item": "rep3", "failed": False, "msg": "is FATAL"},
    ]
    words = lost_nodes(results)
    assert list(words) == ["rep2", "rep3"]
    assert words["rep3"].startswith("rep3: is FATAL; it stays out of service")


def test_commits_of_a_node_that_lags():
    apps = {"frappe": {"commit": "a" * 40}}
    assert wrong_commits(apps, {"frappe": "a" * 40}) == []
    assert wrong_commits(apps, {"erp": "b" * 40}) == ["erp is at none, not at bbbbbbbbbb"]


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
    here, there = (bench.asset_state(str(tmp_path / name)) for name in "ab")
    assert bench_assets.differing(here, there) == []
    Path(file).write_text("y")
    name = "assets.json desk.js /assets/frappe/dist/js/desk.1.js"
    assert bench_assets.differing(here, bench.asset_state(str(tmp_path / "b"))) == [name]
    Path(file).unlink()
    assert bench.asset_state(str(tmp_path / "b")) == {name: ""}


def test_a_missing_list_is_an_empty_one(tmp_path: Path):
    (tmp_path / "sites/assets").mkdir(parents=True)
    assert bench.asset_state(str(tmp_path)) == {}
    (tmp_path / "sites/assets/assets.json").write_text("{}")
    assert bench.asset_state(str(tmp_path)) == {}


def test_the_gate_sends_files_and_no_links(tmp_path: Path):
    file = Path(make_assets(tmp_path))
    (file.parent / "secret").symlink_to("/etc/shadow")
    out = io.BytesIO()
    code_gate.send_assets(tmp_path, out)
    out.seek(0)
    with tarfile.open(fileobj=out) as archive:
        names = sorted(archive.getnames())
    assert names == ["assets.json", "frappe", "frappe/js", "frappe/js/desk.1.js"]
