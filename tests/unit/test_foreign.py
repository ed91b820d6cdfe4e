"""What root does in a folder of another account, who puts links, pipes and rubbish there."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import pwd
import select
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fleet import files, leaving, snapshot
from fleet.bench import account as bench
from fleet.bench import assets, jobs
from fleet.bench import look as repositories
from fleet.bench.making import BenchMaker
from fleet.routes import source
from fleet.sites import folders as sites
from fleet.sites import reconcile
from fleet.update.phases import Update
from fleet.verify.primary import Primary

from library import json_config
from library.files import ENTRY_SPEC

ACCOUNT = "nobody"
SECRET = '{"secret": "of root"}'

pytestmark = pytest.mark.skipif(os.getuid() != 0, reason="only root can act as somebody else")


@pytest.fixture
def host() -> Iterator[Path]:
    """A folder of root's: root/ is for root alone, and home/ belongs to an account."""
    place = Path(tempfile.mkdtemp(dir="/var/tmp"))
    place.chmod(0o755)
    for name in ("root", "home"):
        (place / name).mkdir(mode=0o700)
    (place / "root/file.json").write_text(SECRET)
    own(place / "home")
    yield place
    shutil.rmtree(place)


@pytest.fixture
def home(host: Path) -> Path:
    """The account's home."""
    return host / "home"


def own(path: Path) -> Path:
    """Give a path to the account."""
    account = pwd.getpwnam(ACCOUNT)
    os.chown(path, account.pw_uid, account.pw_gid, follow_symlinks=False)
    return path


def folder(path: Path) -> Path:
    """A folder of the account's, with those above it."""
    if not path.exists():
        folder(path.parent)
        path.mkdir()
        own(path)
    return path


def link(path: Path, target: Path) -> Path:
    """A link of the account's."""
    path.symlink_to(target)
    return own(path)


def seen(place: Path) -> dict[str, tuple[int, int, str]]:
    """Owner, mode and content of all that is in a folder."""
    return {
        str(path.relative_to(place)): (
            path.lstat().st_uid,
            path.lstat().st_mode,
            path.read_text() if path.is_file() else "",
        )
        for path in (place, *place.rglob("*"))
    }


def entry(path: Path, **other: Any) -> dict[str, Any]:
    """An entry of the module files, for the account."""
    unset = dict.fromkeys(ENTRY_SPEC)
    usual = {"owner": ACCOUNT, "group": "nogroup", "state": "file", "content": "ours\n"}
    return {**unset, "keep": False, "secret": False, **usual, **other, "path": str(path)}


def bring(path: Path, **other: Any) -> bool:
    """What the module files does for one entry; whether something changed."""
    return files.bring(entry(path, **other), lambda words: (0, "", ""), False)[0]


def set_keys(path: Path) -> None:
    """What the module json_config does."""
    params = {"path": str(path), "values": {"a": 1}, "secrets": {}, "absent": [], "ours": {}}
    params |= {"owner": ACCOUNT, "mode": "0640"}

    def fail(msg: str) -> None:
        raise OSError(msg)

    module = SimpleNamespace(params=params, check_mode=False, exit_json=lambda **_: None)
    module.fail_json = fail
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_config, "FleetModule", lambda **_: module)
        json_config.main()


def publish(path: Path) -> None:
    """What the sites' timer writes for the reporting hosts."""
    line: Any = SimpleNamespace(
        settings={"state_dir": "/nowhere"}, list_file=str(path), keep=lambda *_: None
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reconcile, "read_state", lambda _: None)
        reconcile.Line.publish(line, reconcile.Outcome())


def switch(path: Path) -> None:
    """What an update does while users wait."""
    update: Any = SimpleNamespace(path=str(path.parent.parent), user=ACCOUNT)
    account = pwd.getpwnam(ACCOUNT)
    update.owner = lambda: (account.pw_uid, account.pw_gid)
    Update.switch(update, 1)


def put_file(path: Path) -> None:
    """What verify puts into a site."""
    Primary.put_file(SimpleNamespace(file=lambda: path, params={"token": "t"}))  # type: ignore[arg-type]


def put_back(path: Path) -> None:
    """What a release does with a file that an adoption has recorded."""
    record = {"path": str(path), "how": "file", "kind": "file", "owner": ACCOUNT}
    record |= {"group": "nogroup", "mode": "0644", "acl": "", "sha256": ""}
    place = path.parents[len(path.parts) - 2 - len(Path("/var/tmp").parts)] / "record"
    copy = snapshot.copy_of(str(place), str(path))
    copy.parent.mkdir(parents=True)
    copy.write_text("old")
    snapshot.put_back(record, str(place))


def remove(path: Path) -> None:
    """What is done when a node leaves."""
    leaving.remove(str(path))


def drop_locks(path: Path) -> None:
    """What is done in a repository after a run that was cut off."""
    repositories.drop_git_locks(str(path.parent.parent))


def make_anew(path: Path) -> None:
    """What is done with an app that was not fetched completely."""
    maker: Any = SimpleNamespace(path=str(path), user=ACCOUNT, begun=lambda *_: True)
    maker.run = lambda argv, *_, **__: bench.run_as(ACCOUNT, argv, "/", {"PATH": "/bin:/usr/bin"})
    maker.remove = lambda path: BenchMaker.remove(maker, path)
    BenchMaker.clear_the_way(maker)


WRITERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "file": ("x/new", bring),
    "folder": ("x/new", lambda path: bring(path, state="directory", mode="0755")),
    "mode of a folder": ("x", lambda path: bring(path, state="directory", mode="0777")),
    "block": ("x/authorized_keys", lambda path: bring(path, marker="# {mark}")),
    "keys": ("x/new.json", set_keys),
    "list of sites": ("x/.fleet-sites.json", publish),
    "switch of an update": ("sites/common_site_config.json", switch),
    "file of verify": ("sites/s/public/files/t.txt", put_file),
    "release": ("x/new", put_back),
    "node that leaves": ("x/file.json", remove),
    "locks of git": (".git/index.lock", drop_locks),
    "half of a bench": ("x/half", make_anew),
}


@pytest.mark.parametrize("what", WRITERS)
def test_a_link_to_roots_folder_leads_nobody_there(host: Path, home: Path, what: str) -> None:
    """`ln -s /root ~/.ssh`, and the same for each folder that root writes to."""
    name, write = WRITERS[what]
    path = home / name
    (host / "root/index.lock").touch()
    (host / "root/half").mkdir()
    (host / "root/common_site_config.json").write_text("{}")
    place = path if what == "mode of a folder" else path.parent
    link(folder(place.parent) / place.name, host / "root")
    before = seen(host / "root")
    with contextlib.suppress(OSError, files.FileError, bench.BenchError):
        write(path)
    assert seen(host / "root") == before


@contextlib.contextmanager
def swapping(place: Path, target: Path) -> Iterator[None]:
    """The account turns a folder of its own into a link and back, as fast as it can."""
    spare, account = f"{place}-", pwd.getpwnam(ACCOUNT)
    folder(place)
    child = os.fork()
    if child == 0:
        os.setgroups([])
        os.setgid(account.pw_gid)
        os.setuid(account.pw_uid)
        while True:
            os.rename(place, spare)
            os.symlink(target, place)
            os.unlink(place)
            os.rename(spare, place)
    try:
        yield
    finally:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)


@pytest.mark.parametrize("what", ["file", "folder", "block", "keys", "list of sites"])
def test_a_folder_that_is_swapped_for_a_link_all_the_time_leads_nobody_there(
    host: Path, home: Path, what: str
) -> None:
    name, write = WRITERS[what]
    before = seen(host / "root")
    with swapping(home / "x", host / "root"):
        for _ in range(300):
            with contextlib.suppress(OSError, files.FileError, bench.BenchError):
                write(home / name)
    assert seen(host / "root") == before


READERS: dict[str, Callable[[Path], Any]] = {
    "configuration": lambda path: bench.read_json(str(path)),
    "text": lambda path: bench.read_text(str(path)),
    "source of an app": lambda path: bench.read_foreign(str(path)),
    "source for jobs": lambda path: jobs.read_text(str(path)),
    "source for routes": lambda path: source.read_facts(str(path), False),
    "bundle": lambda path: assets.asset_state(str(path.parent.parent)),
    "record of an adoption": lambda path: snapshot.record(str(path), "file"),
}


@pytest.mark.parametrize("what", READERS)
def test_root_reads_what_the_account_may_read_and_no_more(
    host: Path, home: Path, what: str
) -> None:
    link(home / "x", host / "root")
    folder(home / "sites/assets")
    (home / "sites/assets/assets.json").write_text('{"b": "/../x/file.json"}')
    found = None
    with contextlib.suppress(OSError, bench.BenchError, SyntaxError):
        found = READERS[what](home / "x/file.json")
    told = found.get("sha256") if what == "record of an adoption" else found
    # Of a bundle only a hash is told.
    assert not told or (what == "bundle" and set(told.values()) == {""})


@pytest.fixture(params=["pipe", "folder", "huge", "device", "deep", "binary", "link in a circle"])
def rubbish(request: Any, home: Path) -> Path:
    """A file of the account's that is none, or none that anybody could use."""
    path = folder(home / "sites/s") / "site_config.json"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "folder":
        path.mkdir()
    elif request.param == "huge":
        path.touch()
        os.truncate(path, 10 * 1024**3)
    elif request.param == "device":
        path.symlink_to("/dev/zero")
    elif request.param == "deep":
        path.write_text('{"a":' * 200_000)
    elif request.param == "binary":
        path.write_bytes(b"\xff\x00\xfe")
    else:
        path.symlink_to(path)
    own(path)
    return path


# In a process of its own: what is red waits for ever, or takes all memory.
LOOK = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (2 * 1024**3,) * 2)
from fleet.bench import account as bench
from fleet.bench import config
from fleet.sites import folders as sites
path = sys.argv[1]
folders = sites.Folders(path.rsplit("/", 2)[0], "/nowhere")
folders.fingerprint()
print(folders.look([], {}))
print(config.config_of(path))
try:
    print(bench.read_json(path))
except bench.BenchError as error:
    print(error)
"""


def look(path: Path) -> str:
    """What a look at a site says, within a while."""
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.append('module_utils'){LOOK}", str(path)],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def test_rubbish_in_the_place_of_a_configuration_is_told_at_once(rubbish: Path) -> None:
    said = look(rubbish)
    assert str(rubbish) in said
    assert "of root" not in said


def test_a_pipe_in_the_place_of_a_command_is_not_waited_for(home: Path) -> None:
    os.mkfifo(folder(home / ".local/bin") / "bench")
    words = "from fleet.survey.benches import command_origin;"
    words += f" print(command_origin('{home}/.local/bin/bench'))"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import sys; sys.path.append('module_utils'); import tests.conftest; {words}",
        ],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.stdout == "unknown\n"


def test_a_pipe_in_the_place_of_a_lock_is_not_waited_for(home: Path) -> None:
    """`mkfifo sites/z/locks/bench_new_site.lock` beside an empty site_config.json."""
    os.mkfifo(folder(home / "sites/z/locks") / "bench_new_site.lock")
    (home / "sites/z/site_config.json").touch()
    assert "z/site_config.json is not valid JSON" in look(home / "sites/z/site_config.json")


def test_what_is_the_accounts_own_is_brought_to_its_state(home: Path) -> None:
    assert bring(home / ".ssh", state="directory", mode="0700")
    keys = home / ".ssh/authorized_keys"
    keys.write_text("own\n")
    block = {"marker": "# {mark} ours", "content": "a\nb\n", "mode": "0600"}
    assert bring(keys, **block)
    assert keys.read_text() == "own\n# BEGIN ours\na\nb\n# END ours\n"
    # It was root's until then.
    assert keys.owner() == ACCOUNT
    assert keys.stat().st_mode & 0o777 == 0o600
    assert not bring(keys, **block)
    keys.write_text(keys.read_text() + "later\n")
    assert bring(keys, **{**block, "content": None})
    assert keys.read_text() == "own\nlater\n"


def test_a_link_of_the_accounts_is_its_own_business(home: Path) -> None:
    link(home / "sites", folder(home / "disk"))
    assert bring(home / "sites/new", content="x")
    assert (home / "disk/new").read_text() == "x"


def test_nothing_of_roots_is_put_where_others_may_change_it(home: Path) -> None:
    number = pwd.getpwnam(ACCOUNT).pw_uid
    with pytest.raises(files.OwnerError, match=rf"{home}/x .*\b{number}\b"):
        bring(home / "x", owner="root", group="root")


def test_a_link_to_a_closed_folder_is_refused(host: Path, home: Path) -> None:
    link(home / ".ssh", host / "root")
    with pytest.raises(files.LinkError, match=f"^{home}/.ssh "):
        bring(home / ".ssh", state="directory", mode="0700")
    with pytest.raises(files.ClosedError, match=f"^{home}/.ssh/"):
        bring(home / ".ssh/authorized_keys", marker="# {mark}")


def test_root_is_root_again_and_runs_no_command_meanwhile(home: Path) -> None:
    from fleet import foreign

    number = pwd.getpwnam(ACCOUNT).pw_uid
    before = (os.geteuid(), os.getegid(), os.getgroups())
    with contextlib.suppress(KeyError), foreign.as_owner(str(home / "x")):
        assert (os.geteuid(), os.getuid()) == (number, 0)
        with pytest.raises(RuntimeError):
            bench.run_as(ACCOUNT, ["true"], "/", {})
        with pytest.raises(RuntimeError):
            repositories.git(str(home), "status")
        raise KeyError
    assert (os.geteuid(), os.getegid(), os.getgroups()) == before


@pytest.mark.parametrize(
    ("path", "foreign_path"),
    [
        ("root/file.json", False),
        ("home", False),
        ("home/x", True),
        ("home/a/b/c", True),
        ("link", True),
        ("link/x", True),
        ("home/../root/file.json", False),
        ("none/x", False),
    ],
)
def test_who_decides_what_lies_at_a_path(host: Path, path: str, foreign_path: bool) -> None:
    from fleet import foreign

    # A link of root's own: where it leads counts.
    (host / "link").symlink_to("home/x")
    number = pwd.getpwnam(ACCOUNT).pw_uid if foreign_path else 0
    assert foreign.owner_of(str(host / path)) == number


def test_sites_of_the_account_are_found(home: Path) -> None:
    (folder(home / "sites/a.test") / "site_config.json").write_text(
        json.dumps({"db_name": "a", "db_password": "p"})
    )
    link(home / "sites/b.test", home / "sites/a.test")
    found, _, _ = sites.Folders(str(home / "sites"), "/nowhere").look([], {})
    assert {name: site.names for name, site in found.items()} == {"a.test": ("b.test",)}


# Types a line into the terminal, as if somebody sat there; and asks for a word.
TYPE = """
import fcntl, getpass, sys, termios
print("read", sys.stdin.read())
for letter in "typed\\n":
    try:
        fcntl.ioctl(open("/dev/tty"), termios.TIOCSTI, letter)
    except OSError:
        pass
"""
ASK = TYPE + 'print("told", getpass.getpass("word? "))\n'


@pytest.mark.parametrize("seen", [True, False])
def test_nothing_is_typed_into_roots_terminal(host: Path, seen: bool) -> None:
    (host / "type.py").write_text(TYPE)
    number, ours = pty.fork()
    if number == 0:
        words = ["/usr/bin/python3", str(host / "type.py")]
        with contextlib.suppress(BaseException):
            bench.run_as(ACCOUNT, words, "/", {}, stdin="x", timeout=None, seen=seen)
            waiting = select.select([0], [], [], 0.5)[0]
            os.write(1, b"END " + (os.read(0, 100) if waiting else b"nothing was typed"))
        os._exit(0)
    assert "END nothing was typed" in said_by(ours)
    os.waitpid(number, 0)


def said_by(terminal: int, answer: bytes = b"") -> str:
    """All that is said on a terminal; ``answer`` is typed when a word is asked for."""
    said = b""
    with contextlib.suppress(OSError):
        while select.select([terminal], [], [], 20)[0] and (more := os.read(terminal, 1000)):
            said += more
            if answer and said.endswith(b"word? "):
                os.write(terminal, answer)
    return said.decode()


def test_a_command_on_the_terminal_asks_and_says_there(host: Path) -> None:
    (host / "ask.py").write_text(ASK)
    number, ours = pty.fork()
    if number == 0:
        with contextlib.suppress(BaseException):
            words = ["/usr/bin/python3", str(host / "ask.py")]
            done = bench.run_as(ACCOUNT, words, "/", {}, stdin="x", timeout=None, seen=True)
            os.write(1, f"ended with {done.returncode}".encode())
        os._exit(0)
    said = said_by(ours, b"hush\r")
    os.waitpid(number, 0)
    assert "read x" in said
    assert "told hush" in said
    # What is asked for is not shown.
    assert said.count("hush") == 1
    assert "ended with 0" in said
