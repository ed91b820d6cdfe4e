"""Limits for calls to a hung server, beyond the driver's own time-outs."""

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

# Seconds after which the server of a running statement is checked.
LOOK_SECONDS = 3.0
SHUTTING_DOWN = 1053
# A busy server may refuse a connection once or twice without being dead.
FAILED_LOOKS = 3


class HungError(Exception):
    """A server accepted the connection and did not answer in time."""


@dataclass
class _Outcome:
    done: threading.Event = field(default_factory=threading.Event)
    value: Any = None
    error: BaseException | None = None
    abandoned: bool = False


def bounded(work: Callable[[], Any], seconds: float, dispose: Callable[[Any], None]) -> Any:
    """The result of work in a thread of its own. Raises HungError when it takes longer.

    When the work ends later, its result is passed to ``dispose``.
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
    """A site's account on a server, with which to sign in without Frappe."""

    name: str
    driver: str
    # With the password: never shown in a traceback.
    arguments: tuple[tuple[str, Any], ...] = field(repr=False)

    def sign_in(self) -> Any:
        """A new connection. Raises the driver's error; may wait as long as the server does."""
        return importlib.import_module(self.driver).connect(**dict(self.arguments))

    def answers(self) -> bool:
        """Whether the server answers within ANSWER_SECONDS, also with an error such as "full"."""

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
        """Whether this replica gets, in time, all that the primary has now."""

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
    """Wait until a replica has a position of the primary; returns whether it has in time."""
    return bool(ask(replica, "SELECT MASTER_GTID_WAIT(%s, %s)", position, seconds) == 0)


def _dispose(late: tuple[Any, bool]) -> None:
    close(late[0])


def ask(connection: Any, query: str, *values: Any) -> Any:
    """The single value that a query returns."""
    cursor = connection.cursor()
    try:
        cursor.execute(query, values or None)
        return cursor.fetchall()[0][0]
    finally:
        cursor.close()


def close(connection: Any) -> None:
    """Close a connection in any state."""
    with suppress(Exception):
        connection.close()


@contextmanager
def handle_of(connection: Any) -> Iterator[int | None]:
    """A copy of a connection's socket handle; None where there is none.

    Take it before the connection is in use: then mysqlclient refuses other threads.
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
    """End a connection from which another thread reads: the read fails at once."""
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
    """A thread that checks the servers of long statements, and waits for a replica to be back."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.running: dict[int, _Running] = {}
        self.guard = threading.Lock()
        self.watcher: threading.Thread | None = None
        self.waiting: dict[str, threading.Thread] = {}

    @contextmanager
    def over(self, connection: Any, account: Account) -> Iterator[None]:
        """Guard a statement of any duration: its connection is ended when the server is dead."""
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
                    # Under the lock: afterwards the handle may belong to another connection.
                    if running.failed >= FAILED_LOOKS and id(running) in self.running:
                        sever(running.handle)

    def wait_for(self, replica: Account, primary: Account, seconds: float) -> None:
        """Have one process wait until a replica is back."""
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
            # Another process waits. If that ends, a later call in this one takes over.
            time.sleep(settings.RETRY_SECONDS)

    def away(self, replica: Account, reason: str) -> None:
        """Note that the replica cannot be read from, so that later calls do not try."""
        if not self.state.replica(replica.name).away:
            self.state.set_replica(replica.name, Replica(time.time(), reason))
