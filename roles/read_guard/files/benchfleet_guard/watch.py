"""Bounds on what a hung server can do to a caller, whatever the driver's own time-outs cover."""

from __future__ import annotations

import contextvars
import importlib
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from benchfleet_guard import settings
from benchfleet_guard.shared import Replica, State, lookout

# A statement that has run for this long is looked after: is its server still there?
LOOK_SECONDS = 3.0
SHUTTING_DOWN = 1053
# A busy server may fail to let us in once or twice without being dead.
FAILED_LOOKS = 3


class HungError(Exception):
    """A server took the connection and did not answer in time."""


@dataclass
class _Outcome:
    done: threading.Event = field(default_factory=threading.Event)
    value: Any = None
    error: BaseException | None = None
    abandoned: bool = False


def bounded(work: Callable[[], Any], seconds: float, dispose: Callable[[Any], None]) -> Any:
    """Do some work in a thread of its own and wait for it; HungError when it takes longer.

    Work that comes to its end after all has its value passed to ``dispose``.
    """
    outcome = _Outcome()
    guard = threading.Lock()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            outcome.value = context.run(work)
        except BaseException as error:
            outcome.error = error
        with guard:
            outcome.done.set()
            late = outcome.abandoned
        if late and outcome.error is None:
            with suppress(Exception):
                dispose(outcome.value)

    threading.Thread(target=run, daemon=True, name="benchfleet-bounded").start()
    if not outcome.done.wait(seconds):
        with guard:
            outcome.abandoned = not outcome.done.is_set()
        if outcome.abandoned:
            raise HungError(f"no answer within {seconds:g} s")
    if outcome.error is not None:
        raise outcome.error
    return outcome.value


@dataclass(frozen=True)
class Account:
    """A site's account on a server: how to sign in with nothing of Frappe's around."""

    name: str
    driver: str
    # With the password: never shown in a traceback.
    arguments: tuple[tuple[str, Any], ...] = field(repr=False)

    def sign_in(self) -> Any:
        """A new connection; the driver's error, or as long as the server likes."""
        return importlib.import_module(self.driver).connect(**dict(self.arguments))

    def answers(self) -> bool:
        """Whether the server says something within ANSWER_SECONDS, be it that it is full."""

        def work() -> Any:
            connection = self.sign_in()
            ask(connection, "SELECT 1")
            return connection

        try:
            close(bounded(work, settings.ANSWER_SECONDS, close))
        except Exception as error:
            code = error.args[0] if error.args else None
            return isinstance(code, int) and 1000 <= code < 2000 and code != SHUTTING_DOWN
        return True

    def has(self, primary: Account, seconds: float) -> bool:
        """Whether this replica has, in time, all that the primary has now."""

        def work() -> Any:
            ours = self.sign_in()
            theirs = primary.sign_in()
            try:
                return ours, caught_up(ours, ask(theirs, POSITION), seconds)
            finally:
                close(theirs)

        try:
            ours, arrived = bounded(work, 2 * settings.ANSWER_SECONDS + seconds, _dispose)
        except Exception:
            return False
        close(ours)
        return bool(arrived)


POSITION = "SELECT @@gtid_binlog_pos"


def caught_up(replica: Any, position: str, seconds: float) -> bool:
    """Wait until a replica has a position of the primary; False when it does not in time."""
    return bool(ask(replica, "SELECT MASTER_GTID_WAIT(%s, %s)", position, seconds) == 0)


def _dispose(late: tuple[Any, bool]) -> None:
    close(late[0])


def ask(connection: Any, query: str, *values: Any) -> Any:
    """The one value that a query gives."""
    cursor = connection.cursor()
    try:
        cursor.execute(query, values or None)
        return cursor.fetchall()[0][0]
    finally:
        cursor.close()


def close(connection: Any) -> None:
    """Close a connection in whatever state it is."""
    with suppress(Exception):
        connection.close()


@contextmanager
def handle_of(connection: Any) -> Iterator[int | None]:
    """A handle of a connection's socket of our own; None where there is none.

    To be taken before the connection is in use: mysqlclient refuses other threads then.
    """
    handle = None
    with suppress(Exception):
        plain = getattr(connection, "_sock", None)
        handle = os.dup(plain.fileno() if plain is not None else connection.fileno())
    try:
        yield handle
    finally:
        if handle is not None:
            os.close(handle)


def sever(handle: int | None) -> None:
    """End a connection under a thread that reads from it: the read fails at once."""
    if handle is None:
        return
    with suppress(OSError), socket.socket(fileno=os.dup(handle)) as copy:
        copy.shutdown(socket.SHUT_RDWR)


@dataclass
class _Running:
    handle: int | None
    account: Account
    look_at: float
    failed: int = 0


class Watch:
    """One thread of a process: looks after long statements, and for a replica's return."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.running: dict[int, _Running] = {}
        self.guard = threading.Lock()
        self.watcher: threading.Thread | None = None
        self.waiting: dict[str, threading.Thread] = {}

    @contextmanager
    def over(self, connection: Any, account: Account) -> Iterator[None]:
        """Run a statement of any length: its connection is severed when the server is dead."""
        with handle_of(connection) as handle:
            mine = _Running(handle, account, time.monotonic() + LOOK_SECONDS)
            with self.guard:
                self.running[id(mine)] = mine
                if self.watcher is None or not self.watcher.is_alive():
                    self.watcher = threading.Thread(
                        target=self._watch, daemon=True, name="benchfleet-watch"
                    )
                    self.watcher.start()
            try:
                yield
            finally:
                with self.guard:
                    self.running.pop(id(mine), None)

    def _watch(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS / 3)
            now = time.monotonic()
            with self.guard:
                due = [running for running in self.running.values() if now >= running.look_at]
            for running in due:
                running.failed = 0 if running.account.answers() else running.failed + 1
                running.look_at = time.monotonic() + LOOK_SECONDS * (not running.failed)
                with self.guard:
                    # Under the lock: afterwards its handle may be another connection's.
                    if running.failed >= FAILED_LOOKS and id(running) in self.running:
                        sever(running.handle)

    def wait_for(self, replica: Account, primary: Account, seconds: float) -> None:
        """See to it that some process looks for the return of a replica that is away."""
        with self.guard:
            thread = self.waiting.get(replica.name)
            if thread is None or not thread.is_alive():
                thread = threading.Thread(
                    target=self._wait,
                    args=(replica, primary, seconds),
                    daemon=True,
                    name="benchfleet-return",
                )
                self.waiting[replica.name] = thread
                thread.start()

    def _wait(self, replica: Account, primary: Account, seconds: float) -> None:
        with self.state.sole(lookout(replica.name)) as alone:
            while alone and self.state.replica(replica.name).away:
                time.sleep(settings.RETRY_SECONDS)
                if replica.has(primary, seconds):
                    self.state.set_replica(replica.name, Replica())
        if not alone:
            # Another process looks. Should it end, a later call of this one takes over.
            time.sleep(settings.RETRY_SECONDS)

    def away(self, replica: Account, reason: str) -> None:
        """The replica cannot be read from: spare the calls to come the attempt."""
        if not self.state.replica(replica.name).away:
            self.state.set_replica(replica.name, Replica(time.time(), reason))
