"""Health answers for the router, even while all workers of this bench are busy.

A thread of each gunicorn worker answers, so a bench whose processes are stopped or stuck does not
answer, and one that works on long reports does. The answer also says whether the replica can be
read from: the router sends no cheap calls to a bench that would read them from the primary. A bench
whose Frappe does not fit reports that, and gets no calls.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
import time

from benchfleet_guard.shared import State

ANSWER = b"ok\n"
AWAY = b"away\n"
# The router treats any other answer as no answer, and sends no calls.
UNFIT = b"unfit\n"
SEND_SECONDS = 1
AGAIN_SECONDS = 1
log = logging.getLogger("benchfleet.read_guard")


def listen(address: str, port: int, state: State, fit: bool = True) -> None:
    """Listen in gunicorn's main process, and answer in each worker that it starts from now on.

    fit: whether this bench may answer calls at all.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((address, port))
    listener.listen(64)
    master = os.getpid()

    def begin() -> None:
        if os.getppid() == master:
            threading.Thread(
                target=_answer, args=(listener, state, fit), daemon=True, name="benchfleet-health"
            ).start()

    os.register_at_fork(after_in_child=begin)


def _answer(listener: socket.socket, state: State, fit: bool) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError as error:
            log.warning("a health check could not be answered: %s", error)
            time.sleep(AGAIN_SECONDS)
            continue
        with connection:
            connection.settimeout(SEND_SECONDS)
            try:
                answer = UNFIT if not fit else AWAY if state.troubled() else ANSWER
                connection.sendall(answer)
            except OSError:
                continue
