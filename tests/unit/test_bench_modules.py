"""What the modules that make benches and sites remove, refuse and resume."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jinja2
import pytest
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator
from fleet.bench import account as bench
from fleet.bench import fitting, jobs_tool, look, making
from fleet.bench import leaving as bench_leaving
from fleet.bench.making import MARK
from fleet.sites import making as site_making
from fleet.sites import wanted
from fleet.sites.by_hand import ByHand

from filter_plugins.bench import repo_logins
from library.bench_init import APP_SPEC
from tests.repositories import git

BenchError = bench.BenchError


def make_app(bench: Path, name: str) -> str:
    """An app with one commit; returns the commit."""
    folder = bench / "apps" / name
    folder.mkdir(parents=True)
    git(folder, "init", "-q")
    git(folder, "commit", "-q", "--allow-empty", "-m", "one")
    return git(folder, "rev-parse", "HEAD")


class Maker(making.BenchMaker):
    """A maker whose commands are recorded, not run."""

    def run(self, argv: list[str], what: str, cwd: str | None = None) -> str:
        self.ran.append(what)
        if argv[0] == "touch":
            Path(argv[1]).touch()
        return ""

    def trust(self, repo: str) -> None:
        pass

    def ensure_pkg_resources(self) -> None:
        pass


def run_here(_user: str, argv: list[str], cwd: str, *_: Any, stdin: str = "") -> Any:
    """Run a command as whoever runs the tests."""
    return subprocess.run(argv, cwd=cwd, input=stdin, text=True, capture_output=True, check=False)


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes a Maker for a bench in a scratch folder."""
    monkeypatch.setattr(bench, "user_environment", lambda *_: {})
    (tmp_path / "state").mkdir()

    def maker(*apps: dict[str, Any], moves: bool = False, adopted: bool = False) -> Maker:
        unset = dict.fromkeys(("login", "branch", "commit"))
        named = [{"repo": "r", **unset, **app} for app in apps]
        made = Maker(
            {
                "path": str(tmp_path / "bench"),
                "user": "u",
                "cli_dir": "/c",
                "python": "/p",
                "apps": named,
                "ssh_command": None,
                "moves": moves,
                "keep": {"number": 1, "days": 30},
                "packages": {},
                "startup": "import sys",
                "state_dir": str(tmp_path / "state"),
                "adopted": adopted,
            },
            dry=adopted,
        )
        made.ran = []
        return made

    return maker


def test_a_folder_that_we_did_not_begin_is_never_removed(make: Any, tmp_path: Path):
    precious = tmp_path / "bench" / "precious"
    precious.mkdir(parents=True)
    with pytest.raises(bench.NotOursError, match=f"{tmp_path}/bench "):
        make({"name": "frappe"}).make()
    assert precious.is_dir()


def test_a_bench_may_lie_deeper_in_its_accounts_home(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    maker = make({"name": "frappe"})
    maker.path = str(tmp_path / "benches/of/ours/bench")
    there = []

    def run(argv: list[str], what: str, cwd: str = "") -> None:
        if what == "bench init":
            there.append(Path(cwd).is_dir())
        else:
            subprocess.run(argv, cwd=cwd, check=True)

    monkeypatch.setattr(maker, "run", run)
    monkeypatch.setattr(maker, "ensure_pkg_resources", lambda: None)
    maker.initialise()
    assert there == [True]


def test_a_dry_run_of_an_adoption_makes_no_bench(make: Any, tmp_path: Path):
    make_app(tmp_path / "bench", "frappe")
    (tmp_path / "bench/env/lib/python3.11/site-packages").mkdir(parents=True)
    assert make({"name": "frappe"}).differences() == [f"bench {tmp_path}/bench"]
    adopted = make({"name": "frappe"}, adopted=True)
    [line] = adopted.differences()
    assert "benchfleet.pth" in line


def test_an_interrupted_bench_of_ours_is_made_anew(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "bench" / "half").mkdir(parents=True)
    maker = make({"name": "frappe"})
    maker.begin("bench", maker.path)
    monkeypatch.setattr(maker, "run", lambda argv, *_, **__: subprocess.run(argv, check=True))
    maker.clear_the_way()
    assert not (tmp_path / "bench").exists()


def test_a_new_environment_gets_the_line_that_its_python_starts_with(
    make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "run_as", run_here)
    maker = make({"name": "frappe"})
    path = Path(maker.path)
    make_app(path, "frappe")
    packages = path / "env/lib/python3.11/site-packages"
    packages.mkdir(parents=True)
    (path / MARK).touch()
    [line] = maker.differences()
    assert "benchfleet.pth" in line
    maker.make()
    assert maker.differences() == []
    assert [file.name for file in packages.iterdir()] == ["benchfleet.pth"]
    (packages / "benchfleet.pth").write_text("import os\n")
    assert maker.differences()


@pytest.mark.parametrize(
    ("repo", "secrets"),
    [
        ("https://me:s3cret@git.example/hrms.git", {"//me:s3cret@"}),
        ("https://t0ken@git.example/hrms", {"//t0ken@"}),
        ("https://me:p@ss@git.example:8443/a@b/hrms", {"//me:p@ss@"}),
        ("https://git.example/a@b/hrms", set()),
        ("git@git.example:frappe/hrms", set()),
        ("frappe/hrms", set()),
        ("hrms", set()),
        ("/srv/hrms", set()),
    ],
)
def test_the_password_of_a_repository_is_secret_and_its_name_is_not(
    make: Any, repo: str, secrets: set[str]
):
    (app,) = repo_logins([{"name": "hrms", "repo": repo}])
    result = ArgumentSpecValidator(APP_SPEC).validate(app)
    assert result.error_messages == []
    # What Ansible strikes out of its line in the journal and of what the module returns.
    assert result._no_log_values == secrets
    assert make(app).apps[0]["repo"] == repo


def test_an_app_missing_in_its_repository_is_reported_without_the_password(
    make: Any, tmp_path: Path
):
    (tmp_path / "bench/apps").mkdir(parents=True)
    (tmp_path / "bench" / MARK).touch()
    (app,) = repo_logins([{"name": "hrms", "repo": "https://me:s3cret@git.example/hr"}])
    with pytest.raises(BenchError, match=r"https://git\.example/hr.* hrms\b"):
        make(app).make()


def test_a_note_about_another_path_does_not_count(make: Any, tmp_path: Path):
    (tmp_path / "bench" / "x").mkdir(parents=True)
    maker = make({"name": "frappe"})
    maker.begin("bench", "/somewhere/else")
    with pytest.raises(BenchError):
        maker.clear_the_way()


def test_an_app_folder_without_git_is_left_alone(make: Any, tmp_path: Path):
    commit = make_app(tmp_path / "bench", "frappe")
    (tmp_path / "bench" / MARK).touch()
    own = tmp_path / "bench/apps/mine/code.py"
    own.parent.mkdir()
    own.touch()
    maker = make({"name": "frappe", "commit": commit}, {"name": "mine"})
    assert maker.differences() == ["app mine"]
    with pytest.raises(bench.NotOursError, match=f"{own.parent} "):
        maker.make()
    assert own.exists()


def test_an_app_in_use_is_not_moved_to_another_commit(make: Any, tmp_path: Path):
    make_app(tmp_path / "bench", "frappe")
    (tmp_path / "bench" / MARK).touch()
    with pytest.raises(BenchError, match=r"^frappe .* f{12}"):
        make({"name": "frappe", "commit": "f" * 40}).differences()
    follower = make({"name": "frappe", "commit": "f" * 40}, moves=True)
    assert "-> ffffffffffff" in follower.differences()[0]


def test_a_bench_that_follows_another_gives_up_what_that_has_not(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    for name in ("frappe", "shop"):
        make_app(tmp_path / "bench", name)
    (tmp_path / "bench" / MARK).touch()
    listing = tmp_path / "bench/sites/apps.txt"
    listing.parent.mkdir()
    listing.write_text("frappe\nshop")
    named: list[str] = []
    archived = tmp_path / "bench/archived/apps"
    for name in ("shop-2020-01-01", "hrms-2020-01-01"):
        (archived / name).mkdir(parents=True)

    def run(_user: str, argv: list[str], cwd: str, *_: Any, stdin: str = "") -> Any:
        if argv[0] == "bench":
            # Frappe would end here, were it told of an app that is leaving.
            named.extend(listing.read_text().split())
            archive = f"{cwd}/archived/apps/{argv[-1]}-2020-01-02"
            shutil.move(f"{cwd}/apps/{argv[-1]}", archive)
        return run_here("", ["true"] if argv[0] == "bench" else argv, cwd, stdin=stdin)

    monkeypatch.setattr(bench, "run_as", run)
    monkeypatch.setattr(Maker, "run", making.BenchMaker.run)
    assert make({"name": "frappe"}).differences() == []
    follower = make({"name": "frappe"}, moves=True)
    assert follower.differences() == ["app shop: gone"]
    follower.make()
    assert (named, follower.differences()) == (["frappe"], [])
    # Of what the bench CLI has kept of it before, nothing is too new; another app's stays.
    assert sorted(os.listdir(archived)) == ["hrms-2020-01-01", "shop-2020-01-02"]


def test_packages_come_to_the_primarys_versions_as_far_as_they_can_be_had(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    place = tmp_path / "bench/env/lib/python3.11/site-packages"
    for name in ("babel-2.17.0", "PyYAML-6.0", "frappe-15.0.0", "pip-24.0", "-r-1.0"):
        (place / f"{name}.dist-info").mkdir(parents=True)
    (place / "frappe-15.0.0.dist-info/direct_url.json").touch()
    assert look.installed_packages(str(tmp_path / "bench")) == {"babel": "2.17.0", "pyyaml": "6.0"}
    maker = make({"name": "frappe"})
    maker.packages = {"babel": "2.16.0", "gone-away": "1.0", "pyyaml": "6.0"}
    told = ["package babel: 2.17.0 -> 2.16.0", "package gone-away: none -> 1.0"]
    assert list(maker.other_packages().values()) == told
    tried = []

    def install(_user: str, argv: list[str], *_: Any, **__: Any) -> Any:
        names = argv[argv.index("--python") + 2 :]
        tried.append(names)
        if names == ["babel==2.16.0"]:
            (place / "babel-2.17.0.dist-info").rename(place / "babel-2.16.0.dist-info")
        return subprocess.CompletedProcess(argv, int("gone-away==1.0" in names))

    monkeypatch.setattr(bench, "run_as", install)
    maker.match_packages()
    both = ["babel==2.16.0", "gone-away==1.0"]
    assert tried == [both, ["babel==2.16.0"], ["gone-away==1.0"]]
    assert list(maker.other_packages().values()) == told[1:]


def test_a_move_that_was_interrupted_is_finished(make: Any, tmp_path: Path):
    commit = make_app(tmp_path / "bench", "frappe")
    (tmp_path / "bench" / MARK).touch()
    maker = make({"name": "frappe", "commit": commit}, moves=True)
    assert maker.differences() == []
    maker.begin("requirements-frappe", f"{maker.path}/apps/frappe")
    assert maker.differences() == ["requirements of frappe"]


@pytest.mark.parametrize(("wanted", "installs"), [("", []), ("f" * 40, ["requirements-crm"])])
def test_an_app_that_comes_at_its_commit_is_not_installed_twice(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wanted: str, installs: list[str]
) -> None:
    made = make_app(tmp_path / "made", "crm")
    maker = make({"name": "crm", "commit": wanted or made}, moves=True)
    (tmp_path / "bench/apps").mkdir(parents=True)

    def run(argv: list[str], *_: Any, **__: Any) -> None:
        assert argv[:2] == ["bench", "get-app"]
        (tmp_path / "made/apps/crm").rename(tmp_path / "bench/apps/crm")

    monkeypatch.setattr(maker, "run", run)
    maker.get_app(maker.apps[0])
    assert [
        name for name in ("app-crm", "requirements-crm") if Path(maker.note(name)).exists()
    ] == installs


def test_a_checkout_that_was_cut_off_is_finished(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The power of a node goes while git works: its locks stay, and files may be empty."""
    commit = make_app(tmp_path / "bench", "frappe")
    folder = tmp_path / "bench/apps/frappe"
    maker = make({"name": "frappe", "commit": commit}, moves=True)
    note = Path(maker.note("requirements-frappe"))
    monkeypatch.setattr(bench, "run_as", run_here)
    seen: list[tuple[list[str], bool]] = []

    def noted() -> None:
        seen.append(([path.name for path in (folder / ".git").glob("*.lock")], note.exists()))

    monkeypatch.setattr(os, "sync", noted)
    # A lock of somebody who works there now is respected.
    (folder / ".git/index.lock").touch()
    maker.check_out(maker.apps[0])
    maker.begin("requirements-frappe", str(folder))
    (folder / ".git/shallow.lock").touch()
    maker.check_out(maker.apps[0])
    assert seen == [(["index.lock"], True), ([], True)]
    assert not note.exists()


def fsynced(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Notes which files and folders are brought to disk."""
    paths: list[str] = []
    monkeypatch.setattr(
        os, "fsync", lambda handle: paths.append(os.readlink(f"/proc/self/fd/{handle}"))
    )
    return paths


def test_a_note_is_on_disk_with_its_name(
    make: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """What it announces is begun next, and may lie on a disk of its own."""
    synced = fsynced(monkeypatch)
    make().begin("bench", "/b")
    assert synced[1:] == [f"{tmp_path}/state"]


class Recorded:
    """A server and a framework whose statements and words are recorded."""

    def sql(self, statements: str) -> str:
        self.said.append(statements)
        if "SCHEMATA" in statements:
            return "1\n" if self.held else "0\n"
        return ""

    def database_content(self, site: str) -> tuple[dict[str, bool], set[str]]:
        return self.singles, self.tables

    def frappe(
        self, words: list[str], what: str, modules_anew: bool = False, database_made: bool = False
    ) -> str:
        if "--help" in words:
            return "--setup-db / --no-setup-db" if self.leaves else ""
        self.said.append(" ".join(w for w in words if "password" not in w))
        assert modules_anew == ("new-site" in words or "install-app" in words)
        if "install-app" in words:
            # What comes of each attempt, a good one once there is nothing else.
            doctypes = self.attempts.pop(0) if self.attempts else ["Order", "Order Row"]
            self.singles |= dict.fromkeys(doctypes, False)
            self.tables |= {f"tab{name}" for name in doctypes}
        if "new-site" in words:
            assert database_made != self.leaves
            if self.breaks:
                raise BenchError("new-site broke")
            folder = Path(self.path) / "sites" / words[1]
            folder.mkdir(parents=True)
            config = {"db_name": "d", "encryption_key": "k"}
            (folder / "site_config.json").write_text(json.dumps(config))
        if "enable-scheduler" in words and self.breaks:
            raise BenchError("enable-scheduler broke")
        return ""


class Sites(Recorded, wanted.Sites):
    """Sites of an inventory."""


class Hand(Recorded, ByHand):
    """An operator's sites."""

    new_site = site_making.SiteMaker.new_site


@pytest.fixture(params=[Sites])
def sites(request: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A bench without sites on a server without databases."""
    monkeypatch.setattr(bench, "user_environment", lambda *_: {})
    (tmp_path / "state").mkdir()
    (tmp_path / "bench/sites").mkdir(parents=True)
    made = request.param(
        {
            "path": str(tmp_path / "bench"),
            "user": "u",
            "cli_dir": "/c",
            "state_dir": str(tmp_path / "state"),
            "build": True,
        }
    )
    made.said, made.held, made.breaks, made.leaves = [], False, False, True
    made.singles, made.tables, made.attempts = {}, set(), []
    return made


SITE = {"name": "a.example", "apps": [], "admin_password": "x"}


def dropped(sites: Sites) -> bool:
    return any("DROP DATABASE" in said for said in sites.said)


def rights(sites: Recorded) -> list[str]:
    """What accounts were given rights on."""
    return re.findall(r"GRANT \S+(?: PRIVILEGES)? ON (\S+) TO", " ".join(sites.said))


def test_a_sites_account_has_rights_on_its_database_alone(sites: Sites):
    sites.bring(SITE)
    name = site_making.database_name("a.example")
    # In GRANT, _ stands for any letter.
    assert rights(sites) == [f"`\\{name}`.*"]
    (words,) = [said for said in sites.said if said.startswith("new-site")]
    assert "--no-setup-db" in words


def test_a_frappe_that_makes_databases_itself_has_no_other_account(sites: Sites):
    sites.leaves = False
    sites.bring(SITE)
    name = site_making.database_name("a.example")
    assert rights(sites) == [f"`\\{name}`.*"]
    (words,) = [said for said in sites.said if said.startswith("new-site")]
    assert "--no-setup-db" not in words
    assert f"--db-root-username {name} " in f"{words} "


# As Frappe 14 has it: what would make or drop something.
DB_MANAGER = """
class DbManager:
    def __init__(self, db):
        self.db = db

    def get_database_list(self):
        return ["_site"]
""" + "".join(
    f"""
    def {name}(self, *args, host=None):
        raise AssertionError("{name}")
"""
    for name in (
        *("create_user", "delete_user", "create_database", "drop_database"),
        *("grant_all_privileges", "flush_privileges"),
    )
)
SETUP = """
from frappe.database.db_manager import DbManager

dbman = DbManager(None)
if "_site" in dbman.get_database_list():
    raise Exception("Database _site already exists")
dbman.delete_user("_site", host="%")
dbman.drop_database("_site")
dbman.create_user("_site", "password", host="%")
dbman.create_database("_site")
dbman.grant_all_privileges("_site", "_site", host="%")
dbman.flush_privileges()
print("bootstrapped")
"""


@pytest.mark.parametrize("made", [True, False])
def test_a_new_site_takes_a_database_that_is_made_as_it_is(tmp_path: Path, made: bool):
    for package in ("frappe", "frappe/database", "frappe/utils"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").touch()
    (tmp_path / "frappe/database/db_manager.py").write_text(DB_MANAGER)
    (tmp_path / "frappe/utils/bench_helper.py").write_text(SETUP)
    done = subprocess.run(
        [sys.executable, "-c", bench.RUNNER],
        input=json.dumps([[["frappe", "new-site"]], False, made]),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ("bootstrapped\n" if made else "")
    assert ("already exists" in done.stderr) != made


def test_a_closed_server_gets_no_sites(sites: Sites, monkeypatch: pytest.MonkeyPatch):
    asked = []

    def sql(statement: str) -> str:
        asked.append(statement)
        return "1\n" if "read_only" in statement else "0\n"

    monkeypatch.setattr(sites, "sql", sql)
    with pytest.raises(BenchError):
        sites.bring(SITE)
    assert "read_only" in asked[-1]
    assert sites.said == []


by_hand = pytest.mark.parametrize("sites", [Hand], indirect=True)


@by_hand
@pytest.mark.parametrize("breaks", [False, True])
def test_what_is_made_by_hand_is_whole_or_leaves_nothing(sites: Hand, breaks: bool):
    sites.breaks = breaks
    with pytest.raises(BenchError) if breaks else contextlib.nullcontext():
        sites.bring("a.example", ["--install-app", "shop"])
    assert dropped(sites) == breaks
    assert not sites.phase("a.example")
    assert os.path.exists(sites.folder("a.example")) != breaks
    assert any(said.endswith("--install-app shop") for said in sites.said)


@by_hand
def test_what_is_there_is_not_made_by_hand(sites: Hand):
    sites.bring("a.example", [])
    with pytest.raises(BenchError, match=r"\ba\.example\b"):
        sites.bring("a.example", [])
    sites.held = True
    with pytest.raises(BenchError, match=site_making.database_name("b.example")):
        sites.bring("b.example", [])
    # site.yml has not finished that one, and will.
    sites.enter("a.example", "made")
    with pytest.raises(BenchError, match=r"\ba\.example\b"):
        sites.bring("a.example", [])
    assert sites.phase("a.example") == "made"
    assert not dropped(sites)


@by_hand
@pytest.mark.parametrize(
    ("site", "words", "why"),
    [
        ("../a", [], r"'\.\./a'"),
        ("a.example", ["--force"], "--force"),
        ("a.example", ["--db-name=mysql"], "--db-name"),
        ("a.example", ["--mariadb-root-password", "x"], "--mariadb-root-password"),
    ],
)
def test_names_and_options_that_a_site_by_hand_cannot_have(
    sites: Hand, site: str, words: list[str], why: str
):
    with pytest.raises(BenchError, match=f"^{why} "):
        sites.bring(site, words)
    assert sites.said == []


@by_hand
def test_what_a_loss_of_power_has_left_is_dropped(sites: Hand):
    sites.begin("a.example")
    sites.drop("a.example", [])
    assert dropped(sites)
    assert not sites.phase("a.example")


@by_hand
def test_only_a_site_can_be_dropped(sites: Hand, tmp_path: Path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "site_config.json").write_text('{"db_name": "d", "db_password": "p"}')
    os.symlink(elsewhere, sites.folder("alias.example"))
    for site in ("none.example", "alias.example", "../../elsewhere"):
        with pytest.raises(BenchError, match=re.escape(f" {site}: ")):
            sites.drop(site, [])
    assert (elsewhere / "site_config.json").exists()
    with pytest.raises(BenchError, match=r"^--archived-sites-path "):
        sites.drop("alias.example", ["--archived-sites-path"])


def test_an_encryption_key_is_never_taken_for_an_option(monkeypatch: pytest.MonkeyPatch):
    drawn = iter([b"\xfb" + b"0" * 31, b"a" * 32])
    monkeypatch.setattr(bench.os, "urandom", lambda _: next(drawn))
    assert bench.encryption_key().startswith("Y")


def test_a_site_that_is_gone_is_not_made_again(sites: Sites):
    sites.bring(SITE)
    sites.note_made("a.example")
    shutil.rmtree(f"{sites.path}/sites/a.example")
    sites.said.clear()
    with pytest.raises(BenchError, match=r"/made-site-a\.example"):
        sites.bring(SITE)
    assert not any("new-site" in said or "CREATE" in said for said in sites.said)
    os.unlink(f"{sites.state_dir}/made-site-a.example")
    sites.bring(SITE)
    assert any("new-site a.example" in said for said in sites.said)


def test_a_sites_note_is_on_disk_with_its_name(
    sites: Sites, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    synced = fsynced(monkeypatch)
    sites.enter("a.test", "making")
    file, folder = synced
    assert os.path.dirname(file) == folder == f"{tmp_path}/state"


def test_a_site_is_made_once(sites: Sites):
    assert sites.differences(SITE) == ["site a.example"]
    sites.bring(SITE)
    assert sites.differences(SITE) == []
    assert not dropped(sites)


def test_a_database_without_its_folder_is_never_dropped(sites: Sites):
    sites.held = True
    for _ in range(3):
        with pytest.raises(BenchError, match=site_making.database_name("a.example")):
            sites.bring(SITE)
    assert not dropped(sites)


def test_a_folder_without_a_configuration_is_never_removed(sites: Sites, tmp_path: Path):
    folder = tmp_path / "bench/sites/a.example"
    folder.mkdir()
    for _ in range(3):
        with pytest.raises(BenchError, match=f"{folder} "):
            sites.bring(SITE)
    assert folder.is_dir()


def test_an_interrupted_new_site_is_removed_and_made_anew(sites: Sites):
    sites.breaks = True
    with pytest.raises(BenchError):
        sites.bring(SITE)
    assert not dropped(sites)
    sites.breaks = False
    sites.bring(SITE)
    assert dropped(sites)
    assert sites.differences(SITE) == []


def test_a_made_site_is_finished_not_made_anew(sites: Sites):
    sites.bring(SITE)
    sites.enter("a.example", "made")
    sites.breaks = True
    with pytest.raises(BenchError, match="enable-scheduler"):
        sites.bring(SITE)
    sites.breaks = False
    sites.bring(SITE)
    assert not dropped(sites)
    assert sites.differences(SITE) == []


def test_an_interrupted_installation_is_repeated_with_force(sites: Sites, monkeypatch: Any):
    sites.bring(SITE)
    monkeypatch.setattr(sites, "installed_on", lambda _: ["frappe", "erpnext"])
    wanted = {**SITE, "apps": ["erpnext"]}
    assert sites.differences(wanted) == []
    Path(sites.installing("a.example", "erpnext")).write_text("erpnext")
    assert sites.differences(wanted) == ["app erpnext on a.example"]
    sites.bring(wanted)
    assert any("install-app erpnext --force" in said for said in sites.said)
    assert sites.differences(wanted) == []


def test_a_site_that_a_dry_run_has_not_made_lacks_its_apps(sites: Sites):
    wanted = {**SITE, "apps": ["erpnext"]}
    assert sites.differences(wanted) == ["site a.example"]
    assert sites.differences(wanted, apps_only=True) == ["app erpnext on a.example"]
    assert sites.differences(SITE, apps_only=True) == []
    assert sites.lacking_apps(wanted) == ["app erpnext on a.example"]


def test_a_site_is_made_without_its_apps_and_they_are_listed(sites: Sites, monkeypatch: Any):
    sites.bring(SITE)
    wanted = {**SITE, "apps": ["erpnext", "hrms"]}
    monkeypatch.setattr(sites, "installed_on", lambda _: ["frappe", "hrms"])
    assert sites.lacking_apps(wanted) == ["app erpnext on a.example"]
    assert sites.differences(SITE) == []


def test_what_is_cached_of_a_sites_apps_is_read_anew_after_an_installation(
    sites: Sites, monkeypatch: Any
):
    sites.bring(SITE)
    monkeypatch.setattr(sites, "installed_on", lambda _: ["frappe"])
    sites.said.clear()
    sites.bring({**SITE, "apps": ["erpnext"]})
    assert [words for words in sites.said if "--site" in words] == [
        "--site a.example install-app erpnext",
        "--site a.example clear-cache",
    ]


def test_a_bench_is_asked_whether_it_fits_when_something_has_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    asked: list[tuple[Any, ...]] = []
    said, known = "guard: no", True

    def fit(*arguments: Any) -> jobs_tool.Fit:
        asked.append(arguments)
        return jobs_tool.Fit(known, [said])

    monkeypatch.setattr(fitting, "fit", fit)
    package = tmp_path / "jobs/benchfleet_jobs"
    for folder in (package, tmp_path / "env/bin", tmp_path / "state"):
        folder.mkdir(parents=True)
    apps = {"frappe": {"commit": "a"}}
    params = {
        "path": str(tmp_path),
        "state_dir": str(tmp_path / "state"),
        "user": "frappe",
        "package_dir": str(tmp_path / "jobs"),
        "guard": True,
    }

    def kept(write: bool = True) -> tuple[list[str], int]:
        return fitting.kept_misfits(params, apps, write=write), len(asked)

    # Neither a bench nor the package is there yet.
    assert kept() == ([], 0)
    (tmp_path / "env/bin/python").write_text("")
    assert kept() == ([], 0)
    (package / "contract.py").write_text("1")
    assert kept(write=False) == (["guard: no"], 1)
    assert kept() == (["guard: no"], 2)
    assert kept() == (["guard: no"], 2)
    apps["frappe"]["commit"] = "b"
    assert kept() == (["guard: no"], 3)
    (package / "contract.py").write_text("2")
    assert kept() == (["guard: no"], 4)
    params["guard"] = False
    assert kept() == (["guard: no"], 5)
    assert asked[-1] == (str(tmp_path), "frappe", str(tmp_path / "jobs"), False)
    assert kept() == (["guard: no"], 5)
    # What could not be found out is shown by the status, and asked again.
    said, known = "contract: timed out", False
    apps["frappe"]["commit"] = "c"
    assert kept() == ([said], 6)
    assert kept() == ([said], 7)
    assert bench.read_json(str(tmp_path / "state/contract.json"))["misfits"] == [said]


def make_doctype(bench: Path, name: str, module: str = "Selling Point", **content: Any) -> None:
    """A DocType of the app shop."""
    package = bench / "apps/shop/shop"
    folder = name.lower().replace(" ", "_")
    place = package / module.lower().replace(" ", "_") / "doctype" / folder
    place.mkdir(parents=True)
    (package / "modules.txt").write_text("Selling Point\nUnused\n")
    text = json.dumps({"doctype": "DocType", "name": name, **content})
    (place / f"{folder}.json").write_text(text)


def test_what_a_database_lacks_of_an_app(tmp_path: Path):
    make_doctype(tmp_path, "Order")
    make_doctype(tmp_path, "Order-Row")
    make_doctype(tmp_path, "Shop Settings", issingle=1)
    make_doctype(tmp_path, "Live Stock", is_virtual=1)
    # Frappe makes none of these.
    make_doctype(tmp_path, "Elsewhere", module="No Module")
    (tmp_path / "apps/shop/shop/selling_point/doctype/broken").mkdir()
    (tmp_path / "apps/shop/shop/selling_point/doctype/broken/broken.json").write_text("{")
    # Root is not led out of the folder.
    (tmp_path / "apps/shop/shop/selling_point/doctype/linked").mkdir()
    (tmp_path / "apps/shop/shop/selling_point/doctype/linked/linked.json").symlink_to(
        tmp_path / "apps/shop/shop/selling_point/doctype/order/order.json"
    )
    files = look.doctype_files(str(tmp_path), "shop")
    everything = ["Live Stock", "Order", "Order-Row", "Shop Settings"]
    assert sorted(look.lacking_doctypes(files, {}, set())) == everything
    rows = dict.fromkeys(everything, False) | {"Shop Settings": True}
    tables = {"tabOrder", "tabOrder-Row"}
    assert look.lacking_doctypes(files, rows, tables) == []
    assert look.lacking_doctypes(files, rows, {"tabOrder"}) == ["Order-Row"]
    assert look.doctype_files(str(tmp_path), "none") == []


def test_what_is_no_plain_file_is_not_waited_for(tmp_path: Path):
    """The bench's account may put anything in its place, a link to one of root's among them."""
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert bench.read_foreign(str(tmp_path / "file")) == "{}"
    for name in ("folder", "pipe", "link", "none"):
        assert bench.read_foreign(str(tmp_path / name)) is None
    for name in ("folder", "pipe"):
        with pytest.raises(BenchError, match=rf"/{name}\b"):
            bench.read_json(str(tmp_path / name))
    (tmp_path / "file").write_text("[" * 100_000)
    with pytest.raises(BenchError, match=r"/file\b"):
        bench.read_json(str(tmp_path / "file"))
    assert look.lacking_doctypes([str(tmp_path / "file")], {}, set()) == []


@pytest.fixture
def shop(sites: Sites, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A site that is to have an app with two DocTypes."""
    sites.bring(SITE)
    for name in ("Order", "Order Row"):
        make_doctype(Path(sites.path), name)
    listed = lambda _: ["shop"] if any("install-app" in word for word in sites.said) else []  # noqa: E731
    monkeypatch.setattr(sites, "installed_on", listed)
    return {**SITE, "apps": ["shop"]}


def installs(sites: Sites) -> list[str]:
    return [word.partition("install-app ")[2] for word in sites.said if "install-app" in word]


def test_an_app_that_came_without_its_doctypes_is_installed_again_at_once(
    sites: Sites, shop: dict[str, Any]
):
    sites.attempts = [["Order"]]
    sites.bring(shop)
    assert installs(sites) == ["shop", "shop --force"]
    assert sites.differences(shop) == []


def test_an_app_that_stays_without_its_doctypes_is_not_taken_for_installed(
    sites: Sites, shop: dict[str, Any]
):
    sites.attempts = [[], ["Order"], ["Order"]]
    with pytest.raises(BenchError, match=r"\bshop\b.*\ba\.example\b.*: Order Row"):
        sites.bring(shop)
    # The next run goes on.
    assert sites.differences(shop) == ["app shop on a.example"]
    sites.attempts = []
    sites.bring(shop)
    assert installs(sites) == ["shop", "shop --force", "shop --force"]
    assert sites.differences(shop) == []


def test_a_site_that_was_damaged_before_is_healed(sites: Sites, shop: dict[str, Any]):
    sites.bring(shop)
    sites.said = ["install-app shop"]
    sites.singles, sites.tables = {"User": False}, {"tabUser"}
    # A file that is no DocType's hides nothing.
    Path(sites.path, "apps/shop/shop/selling_point/doctype/order/order.json").write_text("{")
    assert sites.differences(shop) == ["app shop on a.example"]
    sites.bring(shop)
    assert installs(sites)[1:] == ["shop --force"]
    assert sites.differences(shop) == []


def test_an_app_that_waits_for_a_migration_is_not_installed_again(
    sites: Sites, shop: dict[str, Any]
):
    sites.bring(shop)
    make_doctype(Path(sites.path), "Order Note")
    assert sites.differences(shop) == []


def test_a_key_of_all_sites_is_a_sites_key(sites: Sites, shop: dict[str, Any]):
    sites.bring(shop)
    file = Path(sites.path, "sites/a.example/site_config.json")
    file.write_text('{"db_name": "d"}')
    assert "encryption key of a.example" in sites.differences(shop)
    Path(sites.path, "sites/common_site_config.json").write_text('{"encryption_key": "k"}')
    assert sites.differences(shop) == []


def run_lines(folder: Path, lines: list[list[str]], anew: bool = False) -> Any:
    """Run command lines in a framework that lies in a folder."""
    return subprocess.run(
        [sys.executable, "-c", bench.RUNNER],
        input=json.dumps([lines, anew, False]),
        cwd=folder,
        env={"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_second_command_follows_the_first_unless_that_fails(tmp_path: Path):
    (tmp_path / "frappe/utils").mkdir(parents=True)
    helper = 'import sys\nprint(*sys.argv[1:])\nsys.exit(3 if "bad" in sys.argv else 0)\n'
    (tmp_path / "frappe/utils/bench_helper.py").write_text(helper)
    good = run_lines(tmp_path, [["frappe", "remove"], ["frappe", "clear-cache"]])
    assert (good.returncode, good.stdout) == (0, "frappe remove\nfrappe clear-cache\n")
    bad = run_lines(tmp_path, [["frappe", "bad"], ["frappe", "clear-cache"]])
    assert (bad.returncode, bad.stdout) == (3, "frappe bad\n")


class Leaving(bench_leaving.Leaving):
    """An app that leaves sites whose framework is recorded."""

    def frappe(self, line: list[str], what: str, then: Any = None, **_: Any) -> str:
        _, site, *words = line
        self.said.append((site, *words, *(then or [])[2:]))
        if words[0] == "remove-from-installed-apps":
            self.apps[site].remove(words[1])
        if words[0] == "uninstall-app" and self.breaks:
            raise BenchError("no memory")
        return "".join(f"{app} 1.0.0\n" for app in self.apps[site])


@pytest.fixture
def leaving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Leaving:
    """The shop leaves a bench with three sites, of which two have it."""
    monkeypatch.setattr(bench, "user_environment", lambda *_: {})
    about = {"user": "u", "cli_dir": "/c", "app": "shop", "hold": None, "keep": {}}
    made = Leaving({**about, "path": str(tmp_path / "bench"), "state_dir": str(tmp_path)})
    made.apps = {"a": ["frappe", "shop"], "b": ["frappe"], "c": ["frappe", "shop", "stall"]}
    made.said, made.breaks = [], False
    return made


def test_an_app_is_off_a_sites_list_before_anything_of_it_is_deleted(leaving: Leaving):
    assert leaving.sites_with(["a", "b"]) == ["a"]
    leaving.said.clear()
    leaving.uninstall("a")
    assert leaving.said == [
        ("a", "remove-from-installed-apps", "shop", "clear-cache"),
        ("a", "uninstall-app", "shop", "--yes", "--force", "clear-cache"),
        ("a", "list-apps"),
    ]
    assert leaving.sites_with(["a", "b"]) == []


def test_an_app_that_is_only_off_the_list_is_found_by_the_next_run(leaving: Leaving):
    leaving.breaks = True
    with pytest.raises(BenchError, match="no memory"):
        leaving.uninstall("a")
    assert leaving.apps["a"] == ["frappe"]
    assert leaving.sites_with(["a", "b"]) == ["a"]


def test_an_app_that_another_one_needs_stays(leaving: Leaving, tmp_path: Path):
    hooks = tmp_path / "bench/apps/stall/stall/hooks.py"
    hooks.parent.mkdir(parents=True)
    hooks.write_text('required_apps = ["frappe/shop"]\n')
    with pytest.raises(BenchError, match=r"\bstall\b.* c .*\bshop\b"):
        leaving.sites_with(["a", "b", "c"])


FRAPPE = """
class Cache(dict):
    def delete_value(self, key):
        self.pop(key, None)
    def get_value(self, key):
        return self.get(key)

shared = Cache(app_modules={{"frappe": ["core"]}}, app_hooks="kept")
{cache}
def setup_module_map(include_all_apps=True):
    return shared.get_value("app_modules") or "from the disk"

def init():
    return setup_module_map(), shared.get_value("app_hooks")
"""


@pytest.mark.parametrize(
    ("cache", "anew"),
    [
        pytest.param("def cache():\n    return shared", True, id="14"),
        pytest.param("cache = shared", True, id="15"),
        pytest.param("cache = client_cache = shared", True, id="16"),
        pytest.param("cache, client_cache = shared, None", True, id="demo"),
        pytest.param("cache = shared", False, id="other command"),
    ],
)
def test_a_command_that_makes_doctypes_reads_the_modules_from_the_disk(
    tmp_path: Path, cache: str, anew: bool
):
    (tmp_path / "frappe/utils").mkdir(parents=True)
    (tmp_path / "frappe/__init__.py").write_text(FRAPPE.format(cache=cache))
    (tmp_path / "frappe/utils/__init__.py").touch()
    helper = "import frappe, sys\nprint(*frappe.init(), *sys.argv[1:])"
    (tmp_path / "frappe/utils/bench_helper.py").write_text(helper)
    done = run_lines(tmp_path, [["frappe", "install-app"]], anew)
    seen = "from the disk" if anew else "{'frappe': ['core']}"
    assert (done.returncode, done.stdout) == (0, f"{seen} kept frappe install-app\n")


@pytest.fixture
def command(tmp_path: Path) -> Any:
    """Runs words as the command bench of a host; returns what it says, "ran" where bench is run."""
    (tmp_path / "bin").mkdir()
    for name in ("bench", "new-site"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\necho ran\n")
        (tmp_path / "bin" / name).chmod(0o755)
    # The tests' root has no such account.
    runuser = '#!/bin/sh\necho "$*" >$(dirname "$0")/../as\nwhile [ "$1" != -- ]; do shift; done\n'
    (tmp_path / "bin/runuser").write_text(f'{runuser}shift\nexec "$@"\n')
    (tmp_path / "bin/runuser").chmod(0o755)
    (tmp_path / "sites").mkdir()
    source = (Path(__file__).parents[2] / "roles/bench/templates/bench.sh.j2").read_text()
    template = jinja2.Environment(trim_blocks=True).from_string(source)

    def run(host: str, *words: str, environment: dict[str, str] | None = None, **facts: Any) -> str:
        script = template.render(
            bench_cli_dir=str(tmp_path),
            fleet_bench_dir=str(tmp_path),
            fleet_bench_home="/home/frappe",
            fleet_bench_user="frappe",
            fleet_lib_dir=str(tmp_path / "bin"),
            fleet_primary="erp1",
            groups={"bench_reporting": ["rep1"]},
            inventory_hostname=host,
            **facts,
        )
        done = subprocess.run(
            ["sh", "-c", script, "bench", *words],
            env=environment or {},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        assert (done.returncode == 0) == (done.stdout == "ran\n")
        return done.stdout.strip()

    return run


@pytest.mark.skipif(os.getuid() != 0, reason="only root has somebody else run it")
def test_root_runs_bench_as_its_account_whatever_a_file_says(command: Any, tmp_path: Path):
    (tmp_path / "sites/common_site_config.json").write_text('{"frappe_user": "root"}')
    assert command("erp1", "--site", "a.example", "migrate") == "ran"
    words = "-u frappe -- env HOME=/home/frappe USER=frappe"
    assert (tmp_path / "as").read_text() == (
        f"{words} {tmp_path}/bin/bench --site a.example migrate\n"
    )


def test_bench_names_our_commands_where_roots_password_would_be_needed(
    command: Any, tmp_path: Path
):
    said = command("erp1", "new-site", "--admin-password", "secret", "a.example")
    assert f"sudo {tmp_path}/bin/new-site NAME" in said
    assert "secret" not in said
    assert "bin/drop-site NAME" in command("erp1", "drop-site", "a.example")
    for words in (["--site", "a.example", "reinstall"], ["restore", "x.sql"]):
        assert "docs/sites.md" in command("erp1", *words)
    for way in ("--db-root-password=x", "--mariadb-root-username", "--no-setup-db", "--help"):
        assert command("erp1", "new-site", "a.example", way) == "ran"
    assert command("erp1", "--site", "new-site", "migrate") == "ran"
    assert command("erp1", "new-site", "a", environment={"BENCHFLEET_ALLOW": "1"}) == "ran"
    (tmp_path / "bin/new-site").unlink()
    assert command("erp1", "new-site", "a.example") == "ran"
    # As on an adopted server.
    (tmp_path / "bin/new-site").touch(0o755)
    assert command("erp1", "new-site", "a.example", fleet_root_password=True) == "ran"
    (tmp_path / "sites/common_site_config.json").write_text('{"root_password": "x"}')
    assert command("erp1", "new-site", "a.example") == "ran"


@pytest.mark.parametrize("password", [False, True])
def test_bench_changes_nothing_from_a_reporting_node(command: Any, password: bool):
    facts = {"fleet_root_password": password}
    assert "Run it on the primary, erp1" in command("rep1", "new-site", "a.example", **facts)
    assert "setup supervisor: refused" in command("rep1", "setup", "supervisor", **facts)
    assert command("rep1", "setup", "requirements", **facts) == "ran"


def test_what_the_bench_cli_wrote_is_read_beside_what_runs(tmp_path: Path):
    config = tmp_path / "config"
    config.mkdir()
    (config / "supervisor.conf").write_text("before")
    assert fitting.generated(str(tmp_path))["supervisor.conf"] is None
    (config / "supervisor.conf.bench").write_text("[program:b-frappe-schedule]")
    (config / "supervisor.conf").write_text("[program:b-frappe-web]")
    assert "schedule" in fitting.generated(str(tmp_path))["supervisor.conf"]


OTHER_BENCH = "ssh://u@10.0.0.11{}/apps/shop"


@pytest.mark.parametrize(
    ("moves", "adopted", "here", "app", "wanted"),
    [
        (True, False, OTHER_BENCH, {"upstream": "https://h/shop"}, "https://h/shop"),
        (True, False, OTHER_BENCH, {}, None),
        (True, False, "https://h/shop", {"upstream": "https://h/shop"}, None),
        (False, False, OTHER_BENCH, {"repo": "https://a:b@h/shop"}, "https://a:b@h/shop"),
        (False, False, "https://h/shop", {"repo": "https://a:b@h/shop"}, "https://a:b@h/shop"),
        (False, True, "https://h/shop", {"repo": "https://a:b@h/shop"}, None),
        (False, False, "https://fork/shop", {"repo": "https://h/shop"}, None),
        (False, False, OTHER_BENCH, {"repo": "shop"}, None),
        (False, False, "", {"repo": "https://h/shop"}, None),
    ],
)
def test_an_app_has_the_repository_of_the_primary_whichever_bench_that_is(
    make: Any,
    tmp_path: Path,
    moves: bool,
    adopted: bool,
    here: str,
    app: dict[str, Any],
    wanted: str | None,
):
    folder = tmp_path / "bench/apps/shop"
    make_app(tmp_path / "bench", "shop")
    here = here.format(tmp_path / "bench")
    if here:
        git(folder, "remote", "add", "upstream", here)
    if adopted:
        (tmp_path / "state/adopted.json").touch()
    maker = make({"name": "shop", **app}, moves=moves)
    maker.tried = lambda argv, cwd: run_here("u", argv, str(cwd))
    maker.run = lambda argv, _what, cwd: run_here("u", argv, str(cwd))
    (wish,) = maker.apps
    assert maker.remote(wish) == (("upstream", wanted) if wanted else None)
    maker.set_remote(wish)
    assert maker.remote(wish) is None
    found = look.upstreams(str(tmp_path / "bench"), ["shop"])
    assert found.get("shop", "") == (wanted or here).replace("a:b@", "").replace("u@", "")
