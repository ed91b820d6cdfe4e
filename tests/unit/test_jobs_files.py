"""What is done to a site's files, heard by the real audit hook, goes to stand-ins."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from subprocess import DEVNULL
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from benchfleet_jobs import changes, copies, files

SITE = "a.test"
# A hook stays for the life of the process, so it has one, which listens for the test at hand.
listening: list[files.Files] = []
sys.addaudithook(lambda event, given: listening[0].hear(event, given) if listening else None)

STAND_IN = """#!/bin/sh
echo "$@" >>{home}/calls
tr '\\000' '\\n' >{home}/given.$(wc -l <{home}/calls)
echo "a word" >&2
exit $(cat {home}/status)
"""


class Callbacks:
    """As Frappe has them."""

    def __init__(self) -> None:
        self._functions: deque[Callable[[], None]] = deque()

    def add(self, function: Callable[[], None]) -> None:
        self._functions.append(function)

    def run(self) -> None:
        while self._functions:
            self._functions.popleft()()

    def reset(self) -> None:
        self._functions.clear()


def database_class(log: list[str]) -> type:
    """A class with Frappe's way to end a transaction."""

    class Database:
        def __init__(self) -> None:
            self.before_commit, self.after_commit = Callbacks(), Callbacks()
            self.after_rollback = Callbacks()
            self._disable_transaction_control = 0

        def commit(self, *, chain: bool = False) -> str:
            self.after_rollback.reset()
            self.before_commit.run()
            log.append("commit and chain" if chain else "commit")
            self.after_commit.run()
            return "done"

        def rollback(self, *, save_point: str | None = None) -> None:
            log.append(f"rollback {save_point or ''}".strip())
            if not save_point:
                self.before_commit.reset()
                self.after_rollback.run()

        def close(self) -> None:
            log.append("close")

    return Database


class Bench:
    """A bench with one site, Frappe's connection, and a script in site-sync's place."""

    def __init__(self, home: Path) -> None:
        self.home, self.log = home, []
        self.site = home / "sites" / SITE
        for folder in files.FOLDERS:
            (self.site / folder).mkdir(parents=True)
        script = home / "site-sync"
        script.write_text(STAND_IN.format(home=home))
        script.chmod(0o755)
        self.answer(0)
        self.files = files.Files(SimpleNamespace(bench=home, site_sync=str(script), node="rep1"))
        module: Any = ModuleType("frappe.database.database")
        module.Database = database_class(self.log)
        files.change_database(module, self.files)
        self.db = module.Database()
        self.cls = module.Database

    def answer(self, status: int) -> None:
        (self.home / "status").write_text(str(status))

    @property
    def calls(self) -> list[list[str]]:
        """The paths of each push so far."""
        known = self.home / "calls"
        count = len(known.read_text().splitlines()) if known.exists() else 0
        return [(self.home / f"given.{n}").read_text().splitlines() for n in range(1, count + 1)]

    @property
    def notes(self) -> list[Path]:
        folder = self.home / "sites" / ".site-files"
        return [p for p in folder.glob("*") if p.name != "lock"]

    def private(self, name: str) -> Path:
        return self.site / "private" / "files" / name


class NotTaken(Exception):  # noqa: N818
    """frappe.ValidationError."""


def throw(words: str, exc: type[Exception]) -> None:
    raise exc(words)


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    found = Bench(tmp_path)
    frappe: Any = ModuleType("frappe")
    frappe.__version__ = "16.0.0"
    frappe.local = SimpleNamespace(db=found.db, site=SITE)
    frappe.throw, frappe.ValidationError = throw, NotTaken
    monkeypatch.setitem(sys.modules, "frappe", frappe)
    files._error_class.cache_clear()
    # As Frappe's processes do.
    monkeypatch.chdir(tmp_path / "sites")
    listening.append(found.files)
    yield found
    listening.clear()
    found.files.forget()


def write(path: Path | str, text: str = "x") -> None:
    with open(path, "w") as out:
        out.write(text)


def move(bench: Bench) -> list[str]:
    write(bench.private("m"))
    shutil.move(f"./{SITE}/private/files/m", f"./{SITE}/public/files/m")
    return ["private/files/m", "public/files/m"]


def in_a_folder(bench: Bench) -> list[str]:
    bench.private("d").mkdir()
    write(bench.private("d/x"))
    bench.db.commit()
    bench.private("d").rename(bench.private("e"))
    return ["private/files/d", "private/files/d/x", "private/files/e", "private/files/e/x"]


def remove_tree(bench: Bench) -> list[str]:
    bench.private("d").mkdir()
    write(bench.private("d/x"))
    bench.db.commit()
    shutil.rmtree(bench.private("d"))
    return ["private/files/d", "private/files/d/x"]


def copy(bench: Bench) -> list[str]:
    write(bench.home / "elsewhere")
    shutil.copyfile(bench.home / "elsewhere", bench.private("c"))
    return ["private/files/c"]


def low_level(bench: Bench) -> list[str]:
    os.close(os.open(os.fsencode(bench.private("o")), os.O_WRONLY | os.O_CREAT))
    os.link(bench.private("o"), bench.private("p"))
    os.symlink("o", bench.private("q"))
    os.truncate(bench.private("p"), 0)
    return [f"private/files/{name}" for name in "opq"]


def below_a_descriptor(bench: Bench) -> list[str]:
    write(bench.home / "old")
    folder = os.open(bench.private(""), os.O_RDONLY)
    os.rename(bench.home / "old", "new", dst_dir_fd=folder)
    os.remove("new", dir_fd=folder)
    os.close(folder)
    return ["private/files/new"]


def temporary(bench: Bench) -> list[str]:
    with tempfile.NamedTemporaryFile(dir=bench.private(""), prefix="t") as out:
        return [f"private/files/{Path(out.name).name}"]


@pytest.mark.parametrize(
    "act",
    [move, in_a_folder, remove_tree, copy, low_level, below_a_descriptor, temporary],
)
def test_every_way_to_touch_a_file_is_heard(
    bench: Bench, act: Callable[[Bench], list[str]]
) -> None:
    expected = act(bench)
    bench.db.commit()
    assert sorted(bench.calls[-1]) == expected


def test_what_is_read_or_elsewhere_is_not(bench: Bench) -> None:
    write(bench.private("x"))
    bench.db.commit()
    bench.private("x").read_text()
    write(bench.site / "site_config.json")
    write(bench.home / "private-files")
    (bench.site / "private" / "backups").mkdir()
    write(bench.site / "private" / "backups" / "b")
    write(f"./{SITE}/private/files/../backups/c")
    with pytest.raises(FileNotFoundError):
        write(f"./{SITE}/none/private/files/x")
    bench.db.commit()
    assert bench.calls == [["private/files/x"]]


def test_files_are_there_before_the_commit(bench: Bench) -> None:
    seen: list[int] = []
    bench.db.before_commit.add(lambda: seen.append(len(bench.calls)))
    write(f"./{SITE}/private/files/x")
    assert [note.read_bytes() for note in bench.notes] == [b"a.test/private/files/x\0"]
    assert bench.db.commit(chain=True) == "done"
    assert seen == [1]
    assert (bench.log, bench.notes) == (["commit and chain"], [])
    bench.db.commit()
    assert len(bench.calls) == 1


def test_what_the_callbacks_of_a_commit_touch_goes_too(bench: Bench) -> None:
    def first() -> None:
        bench.db.before_commit.add(lambda: write(bench.private("second")))

    def when_committed() -> None:
        assert bench.calls == [["private/files/second"]]
        write(bench.private("after"))

    bench.db.before_commit.add(first)
    bench.db.after_commit.add(when_committed)
    bench.db.commit()
    assert bench.calls == [["private/files/second"], ["private/files/after"]]


def test_a_rollback_takes_nothing_to_the_primary(bench: Bench) -> None:
    write(bench.private("x"))
    bench.db.after_rollback.add(bench.private("x").unlink)
    bench.db.rollback()
    assert bench.notes == []
    bench.db.commit()
    assert bench.calls == []
    assert not bench.private("x").exists()


def test_a_rollback_to_a_savepoint_ends_nothing(bench: Bench) -> None:
    write(bench.private("x"))
    bench.db.rollback(save_point="s")
    bench.db.commit()
    assert bench.calls == [["private/files/x"]]


def test_a_connection_that_is_closed_ends_its_transaction(bench: Bench) -> None:
    write(bench.private("x"))
    bench.db.close()
    assert bench.notes == []
    bench.db.commit()
    assert bench.calls == []


def test_a_commit_fails_with_the_files_and_can_be_tried_again(bench: Bench) -> None:
    write(bench.private("x"))
    bench.answer(1)
    for _ in range(2):
        with pytest.raises(NotTaken, match=r"\(1, .*private/files/x\) .* rep1 .*\. a word"):
            bench.db.commit()
    assert bench.log == []
    assert len(bench.notes) == 1
    bench.answer(0)
    bench.db.commit()
    assert (bench.log, len(bench.calls)) == (["commit"], 3)


def test_after_a_failed_commit_the_rollback_path_runs(bench: Bench) -> None:
    bench.answer(1)
    write(bench.private("x"))
    bench.db.after_rollback.add(bench.private("x").unlink)
    with pytest.raises(NotTaken):
        bench.db.commit()
    # As execute_job does.
    bench.db.rollback()
    bench.db.commit()
    assert bench.log == ["rollback", "commit"]
    assert not bench.private("x").exists()


def test_a_disabled_commit_or_rollback_does_nothing(bench: Bench) -> None:
    write(bench.private("x"))
    bench.db._disable_transaction_control = 1
    bench.db.commit()
    bench.db.rollback()
    assert bench.calls == []
    bench.db._disable_transaction_control = 0
    bench.db.commit()
    assert len(bench.calls) == 1


def test_the_replicas_connection_ends_nothing_until_it_has_become_the_primarys(
    bench: Bench,
) -> None:
    local = sys.modules["frappe"].local
    replica = bench.cls()
    local.primary_db, local.replica_db, local.db = bench.db, replica, replica
    write(bench.private("x"))
    for end in (replica.commit, replica.rollback, replica.close, bench.cls().rollback):
        end()
    assert bench.calls == []
    # As the read guard moves a call that writes.
    replica.__dict__ = bench.db.__dict__
    replica.commit()
    assert bench.calls == [["private/files/x"]]


def test_threads_have_transactions_of_their_own(bench: Bench) -> None:
    write(bench.private("mine"))

    def other() -> None:
        write(bench.private("other"))
        bench.db.rollback()

    thread = threading.Thread(target=other)
    thread.start()
    thread.join()
    bench.db.commit()
    assert bench.calls == [["private/files/mine"]]


def test_a_helper_without_a_connection_works_for_the_transaction(bench: Bench) -> None:
    local = sys.modules["frappe"].local
    db, local.db = local.db, None
    write(bench.private("helped"))
    local.db = db
    bench.db.commit()
    assert bench.calls == [["private/files/helped"]]


def test_a_child_begins_with_nothing_and_leaves_the_parents_note(bench: Bench) -> None:
    write(bench.private("x"))
    child = os.fork()
    if not child:
        bench.files.after_fork()
        bench.db.commit()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert bench.calls == []
    with bench.notes[0].open() as note, pytest.raises(BlockingIOError):
        fcntl.flock(note, fcntl.LOCK_EX | fcntl.LOCK_NB)
    bench.db.commit()
    assert bench.calls == [["private/files/x"]]


def test_a_file_is_not_touched_while_a_copy_is_under_way(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    lock = bench.home / "sites" / ".site-files" / "lock"
    lock.parent.mkdir()
    with lock.open("w") as copying:
        fcntl.flock(copying, fcntl.LOCK_EX)
        monkeypatch.setattr(changes, "NOTE_SECONDS", 0.05)
        with pytest.raises(TimeoutError, match=r"0\.05"):
            write(bench.private("x"))
        assert not bench.private("x").exists()
        monkeypatch.setattr(changes, "NOTE_SECONDS", 60.0)
        order: list[str] = []

        def end_copy() -> None:
            order.append("copied")
            fcntl.flock(copying, fcntl.LOCK_UN)

        threading.Timer(0.05, end_copy).start()
        write(bench.private("x"))
        order.append("written")
        assert order == ["copied", "written"]


def test_a_note_that_cannot_be_written_stops_no_write(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    (bench.home / "sites" / ".site-files").write_text("not a folder")
    write(bench.private("x"))
    noted = capsys.readouterr().err
    assert "private/files/x" in noted
    assert "File exists" in noted
    bench.db.commit()
    assert bench.calls == [["private/files/x"]]
    for event in files.EVENTS:
        for given in ((), (None,), (None, None, None), ("a\0b", "w", os.O_WRONLY)):
            bench.files.hear(event, given)


def test_a_bench_behind_a_link_is_known_by_both_names(
    bench: Bench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    link = tmp_path_factory.mktemp("link") / "bench"
    link.symlink_to(bench.home)
    found = files.Files(SimpleNamespace(bench=link, site_sync="", node=""))
    for home in (link, bench.home):
        place = found.place_of(home / "sites" / SITE / "public" / "files" / "x")
        assert place == (SITE, "public/files/x")
    assert found.place_of(link / "sites" / SITE / "public" / "files" / ".fleet-push" / "x") is None


class Fetcher:
    """In place of the service that fetches files: knows the primary's, and brings what it has."""

    def __init__(self, bench: Bench, path: Path) -> None:
        self.bench, self.asked, self.has = bench, [], {}  # type: ignore[var-annotated]
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self) -> None:
        while True:
            peer, _ = self.listener.accept()
            with peer:
                name = peer.makefile("rb").read().decode()
                if not name:
                    return
                self.asked.append(name)
                if name in self.has:
                    # Past Python, as another process does it: nothing of it is heard here.
                    target = self.bench.home / "sites" / name
                    subprocess.run(
                        ["tee", target], input=self.has[name], stdout=DEVNULL, check=True
                    )
                peer.sendall(b"here" if name in self.has else b"missing")

    def end(self) -> None:
        with socket.socket(socket.AF_UNIX) as last:
            last.connect(self.listener.getsockname())
        self.thread.join()
        self.listener.close()


@pytest.fixture
def fetcher(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Iterator[Fetcher]:
    """The service, and os.stat as a node's processes have it."""
    # The names of sockets are short.
    with tempfile.TemporaryDirectory() as folder:
        found = Fetcher(bench, Path(folder, "s"))
        monkeypatch.setattr(copies, "FETCHER", f"{folder}/s")
        monkeypatch.setattr(os, "stat", os.stat)
        bench.files.watch_stat()
        yield found
        found.end()


def read(path: Path) -> bytes:
    with open(path, "rb") as source:
        return source.read()


@pytest.mark.parametrize(
    "ask",
    [
        read,
        os.path.exists,
        os.path.isfile,
        os.path.getsize,
        lambda path: os.stat(path).st_size,
        Path.exists,
        Path.read_bytes,
        lambda path: read(os.fsencode(path)),
        lambda path: read(os.path.relpath(path)),
        lambda path: os.close(os.open(path, os.O_RDONLY)),
        lambda path: shutil.copyfile(path, path.parents[3] / "copy"),
        lambda path: os.rename(path, path.parents[3] / "moved"),
    ],
)
def test_a_file_that_is_not_here_yet_is_fetched_when_it_is_asked_for(
    bench: Bench, fetcher: Fetcher, ask: Callable[[Path], Any]
) -> None:
    fetcher.has[f"{SITE}/private/files/x.gz"] = b"content"
    assert ask(bench.private("x.gz")) is not False
    assert fetcher.asked == [f"{SITE}/private/files/x.gz"]


def test_what_is_here_or_elsewhere_is_not_asked_for(bench: Bench, fetcher: Fetcher) -> None:
    write(bench.private("x"))
    read(bench.private("x"))
    os.stat(bench.private("x"))
    for path in ("site_config.json", "private/backups/x", "private/files", "private/files/../x"):
        assert not (bench.site / path / "y").exists()
    assert not os.path.exists(f"{bench.home}/private/files/x")
    # To be made anew: what the primary has does not matter.
    write(bench.private("new"))
    with tempfile.NamedTemporaryFile(dir=bench.private("")):
        pass
    os.path.islink(bench.private("none"))
    with pytest.raises(FileNotFoundError):
        os.stat(bench.private("none"), follow_symlinks=False)
    assert fetcher.asked == [f"{SITE}/private/files/y"]


def test_a_missing_file_is_missing_as_ever(bench: Bench, fetcher: Fetcher) -> None:
    path = bench.private("none")
    with pytest.raises(FileNotFoundError) as caught:
        read(path)
    assert str(caught.value) == f"[Errno 2] No such file or directory: '{path}'"
    with pytest.raises(FileNotFoundError) as caught:
        os.stat(path)
    assert (caught.value.filename, caught.value.__context__) == (str(path), None)
    assert not path.exists()
    assert len(fetcher.asked) == 3


def test_a_file_that_was_fetched_is_not_pushed_back(bench: Bench, fetcher: Fetcher) -> None:
    fetcher.has[f"{SITE}/private/files/x"] = b"content"
    read(bench.private("x"))
    assert bench.notes == []
    bench.db.commit()
    assert bench.calls == []


def test_what_is_added_to_a_file_is_added_to_the_primarys(bench: Bench, fetcher: Fetcher) -> None:
    fetcher.has[f"{SITE}/private/files/log"] = b"one\n"
    with open(bench.private("log"), "a") as out:
        out.write("two\n")
    assert bench.private("log").read_text() == "one\ntwo\n"
    bench.db.commit()
    assert bench.calls == [["private/files/log"]]


def test_without_the_service_files_are_as_they_are(
    bench: Bench, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copies, "FETCHER", "/nonexistent/socket")
    assert not bench.private("x").exists()
    with pytest.raises(FileNotFoundError):
        read(bench.private("x"))


def test_a_service_that_says_nothing_is_waited_for_once(
    bench: Bench, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: Any
) -> None:
    monkeypatch.setattr(copies, "_silent_until", 0.0)
    monkeypatch.setattr(copies, "FETCH_SECONDS", 0.05)
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as silent:
        silent.bind(f"{folder}/s")
        silent.listen()
        monkeypatch.setattr(copies, "FETCHER", f"{folder}/s")
        assert not bench.private("x").exists()
        monkeypatch.setattr(copies, "FETCHER", fetcher.listener.getsockname())
        assert not bench.private("x").exists()
    assert fetcher.asked == []


def test_the_standard_library_knows_what_stat_can(fetcher: Fetcher) -> None:
    # shutil.rmtree, for one, is safe from links only where it is so.
    for able in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
        assert os.stat in able
    folder = os.open("/", os.O_RDONLY)
    assert os.stat("etc", dir_fd=folder).st_ino == os.stat("/etc").st_ino
    assert os.stat(folder).st_ino == os.stat("/", follow_symlinks=False).st_ino
    os.close(folder)


def test_service_and_processes_have_one_socket() -> None:
    roles = Path(files.__file__).parents[3]
    assert (
        f"\n__site_sync_socket: {copies.FETCHER}\n"
        in (roles / "site_sync/vars/main.yml").read_text()
    )


def frappe_with_files(bench: Bench, answer: Any) -> list[Any]:
    """Let the stand-in of Frappe answer the question for changed files; gives what was asked."""
    asked: list[Any] = []

    def sql(query: str, values: tuple[Any, ...]) -> Any:
        asked.append(values[0])
        if isinstance(answer, Exception):
            raise answer
        return answer

    bench.db.sql = sql
    sys.modules["frappe"].db = bench.db
    sys.modules["frappe"].utils = SimpleNamespace(now_datetime=datetime.now)
    return asked


def mark(bench: Bench, text: str) -> None:
    (bench.home / "sites" / ".site-sync.json").write_text(text)


@pytest.mark.parametrize(
    ("text", "answer", "pulled"),
    [
        ('{"in_step_since": 1000}', (), False),
        ('{"in_step_since": 1000}', ((1,),), True),
        ('{"in_step_since": null, "pulled": {"a.test": 1000}}', (), False),
        ("{}", (), True),
        ("torn", (), True),
        ('{"in_step_since": 1000}', RuntimeError(1146, "no table"), False),
        ('{"in_step_since": 1000}', RuntimeError("anything"), True),
    ],
)
def test_a_pull_when_files_may_be_missing(
    bench: Bench, text: str, answer: Any, pulled: bool
) -> None:
    frappe_with_files(bench, answer)
    mark(bench, text)
    bench.files.pull_if_behind()
    calls = bench.home / "calls"
    assert (calls.read_text() if calls.exists() else "") == (f"--pull {SITE}\n" if pulled else "")


def test_a_pull_that_fails_is_reported_and_stops_no_job(
    bench: Bench, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.answer(1)
    bench.files.pull_if_behind()
    reported = capsys.readouterr().err
    assert SITE in reported
    assert reported.endswith(": a word\n")


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(days=3), timedelta(days=-3)])
def test_an_odd_clock_asks_for_too_much_and_not_for_too_little(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, ahead: timedelta
) -> None:
    asked = frappe_with_files(bench, ())
    now = 1_700_000_000
    monkeypatch.setattr(copies.time, "time", lambda: now)
    sys.modules["frappe"].utils.now_datetime = lambda: datetime.fromtimestamp(now) + ahead
    mark(bench, f'{{"in_step_since": {now - 30}}}')
    bench.files.pull_if_behind()
    bound = datetime.fromtimestamp(now - 30 - copies.SLACK_SECONDS)
    assert asked == [bound + min(ahead, timedelta(0))]


def test_a_job_pulls_once_and_only_where_it_connects(monkeypatch: pytest.MonkeyPatch) -> None:
    pulls: list[int] = []
    frappe: Any = SimpleNamespace(connect=lambda: "connected")
    files._pull_at_start(frappe, SimpleNamespace(pull_if_behind=lambda: pulls.append(1)))  # type: ignore[arg-type]
    jobs: Any = SimpleNamespace(
        execute_job=lambda site, is_async=True: [frappe.connect(), frappe.connect()]
    )
    files._say_when_a_job_starts(jobs)
    frappe.connect()
    assert pulls == []
    assert jobs.execute_job("s") == ["connected", "connected"]
    frappe.connect()
    assert pulls == [1]
    jobs.execute_job("s", is_async=False)
    assert pulls == [1]


def test_a_process_that_has_nothing_to_do_with_frappe_ends_well(tmp_path: Path) -> None:
    code = (
        "import atexit, sys, types, pathlib; from benchfleet_jobs import files;"
        f"files.install(types.SimpleNamespace(bench=pathlib.Path({str(tmp_path)!r}),"
        " site_sync='', node=''));"
        f"atexit.register(lambda: open({str(tmp_path / 'x')!r}, 'w'));"
        "assert 'frappe' not in sys.modules and 'subprocess' not in sys.modules"
    )
    home = str(Path(files.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": home, "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
