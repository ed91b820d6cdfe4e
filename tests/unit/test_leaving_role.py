"""What a former role left on a host goes, and nothing else."""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from fleet import imports, leaving, leaving_role
from fleet.leaving_role import RoleLeaver, is_left, patterns

from filter_plugins.programs import with_imports

ROOT = Path(__file__).parents[2]
KEYS = [leaving.KEYS.replace("{mark}", word) for word in ("BEGIN", "END")]
SITE = {"db_name": "d", "db_password": "p", "host_name": "s.test"}
REPLICA = {"read_from_replica": 1, "replica_host": "10.0.0.21", "replica_db_user": "d_ro"}


class Host:
    """A host's folders below one, and the commands that were run on it."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root, self.ran = root, []
        for name in ("config", "lib/python/fleet", "state", "home/.ssh", "home/b/sites/s.test"):
            (root / name).mkdir(parents=True)
        (root / "home/b/logs").mkdir()
        (root / "config/fleet.json").touch()
        moved = {
            role: {
                phase: tuple(entry.replace("/etc/", f"{root}/etc/") for entry in entries)
                for phase, entries in phases.items()
            }
            for role, phases in leaving_role.LEFT.items()
        }
        monkeypatch.setattr(leaving_role, "LEFT", moved)
        monkeypatch.setattr(leaving_role, "UNITS", f"{root}/etc/systemd/system")
        monkeypatch.setattr(leaving_role, "NGINX", f"{root}/etc/nginx")
        monkeypatch.setattr(leaving, "COPIES", (f"{root}/etc/cron.d/benchfleet-site-sync",))
        entry = pwd.getpwuid(os.getuid())
        home = pwd.struct_passwd((*entry[:5], str(root / "home"), entry[6]))
        monkeypatch.setattr(pwd, "getpwnam", lambda _: home)

    def asked(self, role: str, phase: str, standby: bool = False) -> dict[str, Any]:
        """The options of the module."""
        places = {f"{name}_dir": f"{self.root}/{name}" for name in ("config", "lib", "state")}
        bench = {"bench": f"{self.root}/home/b", "user": pwd.getpwuid(os.getuid()).pw_name}
        return {"role": role, "phase": phase, "standby": standby, **places, **bench}

    def run(self, words: list[str], **_: Any) -> tuple[int, str, str]:
        """Note a command; each unit is there and active."""
        self.ran.append(words)
        known = "LoadState=loaded\nActiveState=active\nUnitFileState=enabled\n"
        return 0, known if words[1] == "show" else "", ""

    def leave(self, role: str, phase: str, standby: bool = False, dry: bool = False) -> list[str]:
        """Do a phase; returns what was done."""
        leaver = RoleLeaver(self.asked(role, phase, standby), self.run, dry)
        leaver.leave()
        return leaver.did

    def make(self, role: str) -> list[Path]:
        """Make all that a role leaves; returns the paths."""
        made = []
        for phase in ("first", "last"):
            for pattern in leaving_role.LEFT[role][phase]:
                places = {name: self.root / name for name in ("config", "lib", "state")}
                path = Path(pattern.format(**places).replace("*", "s.test"))
                path.parent.mkdir(parents=True, exist_ok=True)
                if path.name in ("ssh", "redis", "drained", "waiting", "acme"):
                    path.mkdir()
                    (path / "inside").touch()
                else:
                    path.write_text("x")
                made.append(path)
        return made

    def files(self) -> list[str]:
        """Paths as the survey lists them."""
        return [str(path) for path in self.root.rglob("*") if "home" not in path.parts]

    def write(self, name: str, content: dict[str, Any]) -> None:
        """Write a configuration of the bench."""
        (self.root / "home/b/sites" / name).write_text(json.dumps(content))

    def read(self, name: str) -> Any:
        """A configuration of the bench."""
        return json.loads((self.root / "home/b/sites" / name).read_text())


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("former", "now", "standby"),
    [
        ("reporting", "primary", False),
        ("primary", "reporting", True),
        ("standby", "reporting", False),
    ],
)
def test_all_of_the_former_role_goes_and_the_survey_sees_that(
    host: Host, former: str, now: str, standby: bool
) -> None:
    made = host.make(former)
    other = {"reporting": "primary", "primary": "standby", "standby": "reporting"}[former]
    stay = host.make(other)
    for phase in ("first", "last"):
        wrong = any(leaving_role.LEFT[former][phase])
        assert is_left(host.asked(now, phase, standby), host.files()) == wrong
        before, host.ran = sorted(host.files()), []
        would = host.leave(now, phase, standby, dry=True)
        assert sorted(host.files()) == before
        ran, host.ran = host.ran, []
        assert host.leave(now, phase, standby) == would
        assert not is_left(host.asked(now, phase, standby), host.files())
        reads = ("show", "is-active", "--omit-header")
        assert [words for words in ran if words[1] not in reads] == []
        assert host.leave(now, phase, standby) == []
    assert [path for path in made if path.exists()] == []
    assert all(path.exists() for path in stay if path not in made)
    assert (host.root / "config/fleet.json").exists()


@pytest.mark.parametrize(
    ("role", "name"),
    [
        ("reporting", "state/made-site-s.test"),
        ("reporting", "state/assets-built"),
        ("reporting", "state/sites.json"),
        ("primary", "state/mariadb-seed.json"),
        ("primary", "config/ssh/sync"),
    ],
)
def test_what_programs_and_modules_write_is_known(host: Host, role: str, name: str) -> None:
    path = host.root / name
    path.parent.mkdir(exist_ok=True)
    path.touch()
    assert is_left(host.asked(role, "first"), host.files())
    assert not is_left(
        host.asked({"primary": "reporting", "reporting": "primary"}[role], "first"), host.files()
    )
    host.leave(role, "first")
    assert not path.exists()


def test_units_are_stopped_before_their_files_go_and_timers_first(host: Host) -> None:
    host.make("primary")
    host.leave("reporting", "first", standby=True)
    stopped = [words[-1] for words in host.ran if words[:2] == ["systemctl", "disable"]]
    assert stopped == ["benchfleet-sites.timer", "benchfleet-sites.service"]
    assert host.ran[-1] == ["systemctl", "daemon-reload"]


def test_a_new_primary_reads_from_no_replica_and_has_a_scheduler(host: Host) -> None:
    host.write("common_site_config.json", {"pause_scheduler": 1, "db_host": "10.0.0.11"})
    host.write("s.test/site_config.json", SITE | REPLICA)
    config = host.root / "home/b/sites/s.test/site_config.json"
    config.chmod(0o600)
    assert host.leave("primary", "first")
    assert host.read("common_site_config.json") == {"db_host": "10.0.0.11"}
    assert host.read("s.test/site_config.json") == SITE
    assert config.stat().st_mode & 0o777 == 0o640
    assert host.leave("primary", "first") == []


def test_assets_that_were_copied_count_as_built(host: Host) -> None:
    built = host.root / "state/assets-built"
    assets = host.root / "home/b/sites/assets"
    assets.mkdir()
    host.write("common_site_config.json", {})
    (assets / "assets.json").write_text("{}")
    assert host.leave("primary", "first") == []
    (assets / "assets.json").write_text('{"desk.js": "/assets/frappe/dist/desk.js"}')
    app = host.root / "home/b/apps/frappe"
    app.mkdir(parents=True)
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run(["git", *words], cwd=app, check=True)
    host.leave("primary", "first")
    assert built.read_text() == "frappe"


def test_state_of_copies_leaves_the_bench(host: Host) -> None:
    bench = host.root / "home/b"
    (bench / "sites/.site-files").mkdir()
    for name in (
        "sites/.site-sync.json",
        "sites/.site-sync.next",
        "sites/.site-sync.copy",
        "sites/.fleet-sites.json",
        "logs/rsync.log",
        "logs/web.log",
    ):
        (bench / name).touch()
    (bench / ".site-sync").mkdir()
    host.leave("primary", "last")
    left = [str(path.relative_to(bench)) for path in bench.rglob("*") if path.is_file()]
    assert sorted(left) == ["logs/web.log", "sites/.fleet-sites.json"]
    assert not (bench / ".site-sync").exists()


@pytest.mark.parametrize("own", ["mine\n", ""])
def test_a_former_primary_lets_no_node_in(host: Host, own: str) -> None:
    keys = host.root / "home/.ssh/authorized_keys"
    keys.write_text(own + "\n".join([KEYS[0], "theirs", KEYS[1]]) + "\n")
    host.leave("reporting", "first")
    assert (keys.read_text() if keys.exists() else None) == (own or None)
    assert host.leave("reporting", "first") == []


def test_a_former_primary_has_no_lock_of_the_scheduler(host: Host) -> None:
    lock = host.root / "home/b/config/scheduler_process"
    lock.parent.mkdir()
    lock.touch()
    host.leave("primary", "last")
    assert lock.exists()
    host.leave("reporting", "last", standby=True)
    assert not lock.exists()


@pytest.mark.parametrize("role", ["primary", "reporting"])
@pytest.mark.parametrize("phase", ["first", "last"])
def test_a_bare_host_has_nothing_to_lose(
    host: Host, monkeypatch: pytest.MonkeyPatch, role: str, phase: str
) -> None:
    asked = host.asked(role, phase) | {"user": "nosuch", "bench": "/nowhere/b"}
    places = {f"{name}_dir": "/nowhere" for name in ("config", "lib", "state")}
    monkeypatch.setattr(pwd, "getpwnam", lambda name: {}[name])
    leaver = RoleLeaver(asked | places, host.run, dry=True)
    leaver.leave()
    assert leaver.did == []


@pytest.mark.parametrize("own", ["", "conf.d/mine.conf", "sites-enabled/mine"])
def test_nginx_stops_unless_it_serves_something_of_the_operators(host: Host, own: str) -> None:
    nginx = host.root / "etc/nginx"
    for name in ("conf.d/benchfleet.conf", "benchfleet/nodes", "sites-enabled/default", own):
        (nginx / name).parent.mkdir(parents=True, exist_ok=True)
        if name:
            (nginx / name).touch()
    host.leave("reporting", "last", standby=True)
    assert (nginx / "benchfleet/nodes").exists()
    host.leave("reporting", "last")
    assert not (nginx / "benchfleet").exists()
    words = ["reload", "nginx.service"] if own else ["disable", "--now", "nginx.service"]
    assert ["systemctl", *words] in host.ran
    assert ["systemctl", "reload", "nginx.service"] not in host.ran or own


def test_a_brought_key_goes_with_the_router(host: Host) -> None:
    conf, key = host.root / "etc/nginx/conf.d/benchfleet.conf", host.root / "etc/ssl/key.pem"
    for path in (conf, key):
        path.parent.mkdir(parents=True)
        path.touch()
    (host.root / "state/router-brought").write_text(f"{key}\n")
    host.leave("reporting", "last")
    assert not key.exists()


@pytest.mark.parametrize("copy", [True, False])
def test_a_queue_that_others_may_lack_is_kept_aside(host: Host, copy: bool) -> None:
    pids = host.root / "home/b/config/pids"
    (pids / "appendonlydir").mkdir(parents=True)
    (pids / "redis_queue.rdb").touch()
    if copy:
        (pids / "copy-of").touch()
    host.leave("reporting", "last", standby=True)
    assert (pids / "redis_queue.rdb").exists()
    host.leave("reporting", "last")
    kept = sorted(path.name for path in pids.glob("former-*/*"))
    assert kept == ([] if copy else ["appendonlydir", "redis_queue.rdb"])
    assert {path.name[:7] for path in pids.iterdir()} == (set() if copy else {"former-"})


def test_a_primary_fetches_no_certificates(host: Host) -> None:
    """All that the standby has for that goes, before anything else of a node is done."""
    written = {path for path in entries("router/vars/main.yml") if "standby-certificates" in path}
    places = {name: f"/{name}" for name in ("config", "lib", "state")}
    assert {entry.format(**places) for entry in leaving_role.FETCHING} == written
    host.make("standby")
    timer, service = (f"benchfleet-standby-certificates.{end}" for end in ("timer", "service"))
    stopped = []

    def run(words: list[str], **_: Any) -> tuple[int, str, str]:
        if words[1] == "disable":
            stopped.append(words[-1])
        return 0, "LoadState=loaded\nActiveState=activating\n" if words[1] == "show" else "", ""

    RoleLeaver(host.asked("primary", "first"), run, dry=False).leave()
    assert [name for name in stopped if name in (timer, service)] == [timer, service]
    assert not [path for path in host.files() if "standby-certificates" in path]


@pytest.mark.parametrize(
    ("role", "gone"), [("reporting", "fleet-sites"), ("primary", "mariadb-seed-receive")]
)
def test_modules_that_no_program_imports_go(host: Host, role: str, gone: str) -> None:
    lib = host.root / "lib"

    def install(name: str, text: str) -> None:
        for entry in with_imports([{"path": f"{lib}/{name}", "content": text}], f"{lib}/python"):
            path = Path(entry["path"])
            if "content" in entry:
                path.write_text(entry["content"])
            else:
                path.mkdir(parents=True, exist_ok=True)

    install(gone, "from fleet.sites.reconcile import tick\n")
    install("restart-bench", "def f():\n    from fleet.calls import held\n")
    (lib / "python/benchfleet_sync").mkdir()
    (lib / "python/benchfleet_sync/sites.py").write_text("from fleet.bench.files import for_node\n")
    cache = lib / "python/fleet/sites/__pycache__"
    cache.mkdir()
    (cache / "reconcile.cpython-311.pyc").touch()
    package = lib / "python/fleet"
    compiled = package / "__pycache__/calls.cpython-311.pyc"
    compiled.parent.mkdir()
    compiled.touch()
    assert (package / "sites/reconcile.py").exists()
    host.leave(role, "first")
    host.leave(role, "last")
    assert compiled.exists()
    left = {str(path.relative_to(package)) for path in package.rglob("*.py")}
    kept = imports.needed("from fleet.calls import held\nfrom fleet.bench.files import for_node\n")
    assert left == kept
    assert not (package / "sites").exists()
    assert host.leave(role, "last") == []


def entries(*files: str) -> Iterator[str]:
    """Paths of files and folders that tasks and variables of roles write."""
    known: dict[str, Any] = {}
    texts = []
    for name in files:
        text = (ROOT / "roles" / name).read_text(encoding="utf-8")
        role = Path(name).parts[0]
        for place in (f"roles/{role}/vars/main.yml", "roles/fleet/vars/main.yml"):
            if (ROOT / place).exists():
                known |= yaml.safe_load((ROOT / place).read_text(encoding="utf-8"))
        texts.append(text)
    for text in texts:
        for path in re.findall(r"\bpath: \"?([^\",}\n]*(?:\}\}[^\",\n]*)?)\"?", text):
            while found := re.search(r"\{\{ (__\w+) \}\}", path):
                path = path.replace(found.group(), str(known[found.group(1)]))
            if re.match(r"\{\{ fleet_(config|lib|state)_dir|/etc/", path):
                yield re.sub(r"\{\{ fleet_(config|lib|state)_dir \}\}", r"/\1", path)


@pytest.mark.parametrize(
    ("role", "files"),
    [
        (
            "primary",
            (
                "site_sync/tasks/main.yml",
                "mariadb_replica/tasks/main.yml",
            ),
        ),
        (
            "reporting",
            (
                "site_sync/tasks/source.yml",
                "site_accounts/vars/main.yml",
                "redis/tasks/main.yml",
            ),
        ),
    ],
)
def test_each_file_that_only_the_other_role_writes_is_known(
    role: str, files: tuple[str, ...]
) -> None:
    places = {f"{name}_dir": f"/{name}" for name in ("config", "lib", "state")}
    known = [
        pattern
        for phase in ("first", "last")
        for pattern in patterns({"role": role, "phase": phase, "standby": False, **places})
    ]
    found = set(entries(*files))
    assert len(found) > 3
    assert {p for p in found if not any(p == k or p.startswith(f"{k}/") for k in known)} == set()
