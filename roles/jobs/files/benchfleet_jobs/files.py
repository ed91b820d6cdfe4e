"""Files of a site on a reporting node: changes are sent to the primary before the commit.

Frappe writes into ``public/files`` and ``private/files`` of the site on its own disk. On a
reporting node these folders are a copy, and the next run of site-sync would undo changes to it. So
an audit hook notes each file in the two folders that Python opens for writing, renames or removes.
``frappe.db.commit`` first has site-sync send them to the primary, and fails when that fails;
``frappe.db.rollback`` forgets them.

While a transaction is open, its note is in ``sites/.site-files``, and site-sync does not copy the
files in it. A file is noted before it is touched, and not while a copy is running.

A transaction belongs to a thread, as Frappe's connection does. Files that a thread without a
connection touches (of a pool that makes thumbnails, for example) go with the next commit or
rollback of the process. Not noticed are files that other programs write, and ``os.open`` with a
``dir_fd``.

A file that is opened, or looked up with ``os.stat``, and that the copy of each minute has not
brought yet is fetched first. The hook is called before a file is opened; ``os.stat``, which
``os.path.exists`` and others use, calls no hook and is replaced. A service that keeps a connection
to the primary fetches the file: see ``site-sync --serve``.
"""

from __future__ import annotations

import functools
import json
import os
import pathlib
import sys
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from benchfleet_jobs import copies, snapshots
from benchfleet_jobs.changes import Transaction
from benchfleet_jobs.hooks import when_imported

if TYPE_CHECKING:
    from types import ModuleType

    from benchfleet_jobs.settings import Settings

FOLDERS = ("public/files/", "private/files/")
# Incomplete files of rsync and of a push, in these folders.
NOT_OURS = (".~tmp~", ".fleet-push")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# With these flags a file's former content is not used, or the file must not exist.
ANEW = os.O_TRUNC | os.O_EXCL
STAT = os.stat


class Files:
    """The files that a process has touched or looked for."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        sites = os.path.abspath(settings.bench / "sites")
        self.sites = sites
        # The current folder's path has no links in it, but the bench's may have.
        self.prefixes = tuple({f"{sites}/", f"{os.path.realpath(sites)}/"})
        self.notes = f"{sites}/.site-files"
        self.start_afresh()

    def start_afresh(self) -> None:
        """Begin without a transaction."""
        self.threads = threading.local()
        # For threads without a connection.
        self.shared = Transaction(self.notes)

    def after_fork(self) -> None:
        """In a child process: leave the parent's transactions to it."""
        self.shared.leave()
        self.mine().leave()
        self.start_afresh()

    def mine(self) -> Transaction:
        """This thread's transaction."""
        found: Transaction | None = getattr(self.threads, "transaction", None)
        if found is None:
            found = self.threads.transaction = Transaction(self.notes)
        return found

    def place_of(self, path: Any, folder: int = -1) -> tuple[str, str] | None:
        """(site, path below it) of a path in the two folders of a site; None for others."""
        if isinstance(path, int):
            return None
        name = os.fsdecode(path)
        if not name.startswith("/"):
            base = os.getcwd() if folder < 0 else os.readlink(f"/proc/self/fd/{folder}")
            name = f"{base}/{name}"
        # Frappe's paths begin with "./" below the sites folder.
        name = os.path.normpath(name)
        for prefix in self.prefixes:
            if name.startswith(prefix):
                site, _, below = name[len(prefix) :].partition("/")
                if below.startswith(FOLDERS) and below.split("/", 3)[2] not in NOT_OURS:
                    return site, below
        return None

    def touched(self, event: str, arguments: tuple[Any, ...]) -> Iterator[tuple[str, str]]:
        """Places that an audited event touches."""
        for path, folder in EVENTS[event](*arguments):
            if place := self.place_of(path, folder):
                yield place
        if event == "os.rename":
            yield from self._moved(*arguments)

    def _moved(
        self, source: Any, target: Any, folder: int = -1, other: int = -1
    ) -> Iterator[tuple[str, str]]:
        """Files in a folder that is renamed, by their old and new paths."""
        base = "." if folder < 0 else f"/proc/self/fd/{folder}"
        top = os.path.join(base, os.fsdecode(source))
        if not os.path.isdir(top) or os.path.islink(top):
            return
        places = [p for p in (self.place_of(source, folder), self.place_of(target, other)) if p]
        for here, _, names in os.walk(top) if places else ():
            for name in names:
                inside = os.path.relpath(os.path.join(here, name), top)
                yield from ((site, f"{path}/{inside}") for site, path in places)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """The audit hook. It is called for every event of every process, so it has to be fast."""
        if event not in EVENTS:
            return
        try:
            if event == "open":
                path, _, flags = arguments
                if not flags & ANEW:
                    self.bring_if_missing(path)
                if not flags & WRITING:
                    return
            places = list(self.touched(event, arguments))
        except (OSError, ValueError, TypeError, IndexError):
            # Not a path; Python raises the error itself.
            return
        if places:
            transaction = self.mine() if _connection() is not None else self.shared
            for site, path in places:
                transaction.touch(site, path)

    def bring_if_missing(self, path: Any) -> None:
        """Fetch a site's file that is missing here; does nothing for other paths."""
        # The cheapest test first: this runs for every file that is opened.
        if isinstance(path, int) or "/files/" not in os.fsdecode(path):
            return
        try:
            STAT(path)
        except FileNotFoundError:
            self.bring(path)

    def bring(self, path: Any) -> bool:
        """Fetch a site's missing file; returns whether the primary had it."""
        try:
            place = self.place_of(path) if "/files/" in os.fsdecode(path) else None
        except (OSError, ValueError, TypeError):
            return False
        if place is None:
            return False
        answer = copies.fetched("/".join(place))
        if answer not in (b"here", b"missing"):
            # Only the primary knows.
            snapshots.leave()
        return answer == b"here"

    def watch_stat(self) -> None:
        """Have os.stat find a missing file where the primary has it."""

        @functools.wraps(STAT)
        def stat(path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> Any:
            try:
                return STAT(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
            except FileNotFoundError:
                if dir_fd is not None or not follow_symlinks or not self.bring(path):
                    raise
            return STAT(path)

        os.stat = stat
        # Until Python 3.10, a Path does not use os.stat.
        if (accessor := getattr(pathlib, "_NormalAccessor", None)) is not None:
            accessor.stat = staticmethod(stat)
        # The standard library looks up the function in these sets.
        for able in (os.supports_dir_fd, os.supports_fd, os.supports_follow_symlinks):
            able.add(stat)

    def forget(self) -> None:
        """Forget the files that were touched."""
        self.mine().forget()
        self.shared.forget()

    def push(self) -> None:
        """Send the touched files to the primary. Raises an error of Frappe's when that fails."""
        for transaction in (self.mine(), self.shared):
            # Other threads use the shared one, too: none adds to it meanwhile.
            with transaction.guard:
                for site, paths in list(transaction.paths.items()):
                    self._take(site, list(paths))
                    del transaction.paths[site]
                transaction.forget()

    def _take(self, site: str, paths: list[str]) -> None:
        names = b"".join(os.fsencode(path) + b"\0" for path in paths)
        failure = copies.run([self.settings.site_sync, "--push", site], names, copies.PUSH_SECONDS)
        if failure is not None:
            # Frappe stores the message in places that take only UTF-8.
            first = os.fsencode(paths[0]).decode(errors="replace")
            _throw(
                f"Nothing was saved: the files of this transaction ({len(paths)}, the first is"
                f" {first}) could not be sent from {self.settings.node} to the primary. {failure}"
            )

    def pull_if_behind(self) -> None:
        """Copy the site's files now when the primary may have some that are not here.

        A failure is printed to standard error and ends nothing: the job may not need these files.
        """
        frappe = sys.modules["frappe"]
        site = frappe.local.site
        since = self._in_step_since(site)
        if since and not copies.changed_since(frappe, since - copies.SLACK_SECONDS):
            return
        failure = copies.run([self.settings.site_sync, "--pull", site], b"", copies.PULL_SECONDS)
        if failure is not None:
            print(f"benchfleet: files of {site} may be missing here: {failure}", file=sys.stderr)

    def _in_step_since(self, site: str) -> float:
        try:
            with open(f"{self.sites}/.site-sync.json", encoding="utf-8") as source:
                mark = json.load(source)
            pulled = (mark.get("pulled") or {}).get(site)
            return max(float(mark.get("in_step_since") or 0), float(pulled or 0))
        except (OSError, ValueError, TypeError, AttributeError):
            return 0.0


def _one(path: Any, folder: int = -1) -> list[tuple[Any, int]]:
    return [(path, folder)]


# The paths that each of these events touches, from its arguments.
EVENTS: dict[str, Callable[..., list[tuple[Any, int]]]] = {
    "open": lambda path, mode, flags: [(path, -1)],
    "os.link": lambda old, new, folder=-1, other=-1: [(new, other)],
    "os.remove": _one,
    "os.rename": lambda old, new, folder=-1, other=-1: [(old, folder), (new, other)],
    "os.rmdir": _one,
    "os.symlink": lambda target, path, folder=-1: [(path, folder)],
    "os.truncate": lambda path, length: [(path, -1)],
}


def _connection() -> Any:
    """Frappe's connection in this thread, None without one."""
    return getattr(getattr(sys.modules.get("frappe"), "local", None), "db", None)


def _throw(message: str) -> None:
    import frappe

    frappe.throw(message, exc=_error_class())


@functools.cache
def _error_class() -> type[Exception]:
    import frappe

    return type("FilesNotTaken", (frappe.ValidationError,), {"__module__": __name__})


_starting = threading.local()


def install(settings: Settings) -> None:
    """Add the hooks; Frappe's modules are changed when they are imported."""
    files = Files(settings)
    sys.addaudithook(files.hear)
    files.watch_stat()
    os.register_at_fork(after_in_child=files.after_fork)
    when_imported(
        "frappe.database.database", lambda module: change_database(module, files), "files"
    )
    when_imported("frappe", lambda module: _pull_at_start(module, files), "files")
    when_imported("frappe.utils.background_jobs", _say_when_a_job_starts, "files")


def is_the_primarys(db: Any) -> bool:
    """Whether a database object is this thread's connection to the primary, or has become it.

    A read_only call has a second object, for the replica. Once the read guard has moved the call to
    the primary, both have the same state.
    """
    local = sys.modules["frappe"].local
    current, primary, replica = (
        vars(found) if (found := getattr(local, name, None)) is not None else None
        for name in ("db", "primary_db", "replica_db")
    )
    state = vars(db)
    if state is replica and state is not primary:
        return False
    return state is current or state is primary


def _ends(db: Any) -> bool:
    """Whether a commit or rollback of this object ends this thread's transaction."""
    return is_the_primarys(db) and not getattr(db, "_disable_transaction_control", 0)


def change_database(module: ModuleType, files: Files) -> None:
    """Bind the files to the transactions of Frappe's Database class."""
    cls = module.Database
    stock_commit, stock_rollback, stock_close = cls.commit, cls.rollback, cls.close

    @functools.wraps(stock_commit)
    def commit(self: Any, *args: Any, **options: Any) -> Any:
        if not _ends(self):
            return stock_commit(self, *args, **options)
        # Before Frappe forgets how to undo the changes on its own disk.
        files.push()
        _push_last(getattr(self, "before_commit", None), files)
        outcome = stock_commit(self, *args, **options)
        # Files that were touched in after_commit.
        files.push()
        return outcome

    @functools.wraps(stock_rollback)
    def rollback(self: Any, *args: Any, **options: Any) -> Any:
        whole = not (args or options.get("save_point"))
        try:
            return stock_rollback(self, *args, **options)
        finally:
            if whole and _ends(self):
                files.forget()

    @functools.wraps(stock_close)
    def close(self: Any, *args: Any, **options: Any) -> Any:
        try:
            return stock_close(self, *args, **options)
        finally:
            # The server rolls back the open transaction.
            if is_the_primarys(self):
                files.forget()

    cls.commit, cls.rollback, cls.close = commit, rollback, close


def _push_last(callbacks: Any, files: Files) -> None:
    """Push files that callbacks before the commit touch, after the last of these."""
    if callbacks is None:
        return

    def last() -> None:
        if getattr(callbacks, "_functions", None):
            # One of them has added another.
            callbacks.add(last)
        else:
            files.push()

    callbacks.add(last)


def _say_when_a_job_starts(module: Any) -> None:
    stock = module.execute_job

    @functools.wraps(stock)
    def execute_job(*args: Any, **options: Any) -> Any:
        # With is_async=0 it runs inside the caller's transaction and does not connect.
        _starting.job = options.get("is_async", args[6] if len(args) > 6 else True)
        try:
            return stock(*args, **options)
        finally:
            _starting.job = False

    module.execute_job = execute_job


def _pull_at_start(module: Any, files: Files) -> None:
    stock = module.connect

    @functools.wraps(stock)
    def connect(*args: Any, **options: Any) -> Any:
        outcome = stock(*args, **options)
        if getattr(_starting, "job", False):
            _starting.job = False
            files.pull_if_behind()
        return outcome

    module.connect = connect
