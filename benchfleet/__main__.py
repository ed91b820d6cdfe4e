"""Run the command line: python -m benchfleet."""

import os
import select
import signal
import sys

from benchfleet.cli import main

try:
    try:
        status = main()
    finally:
        sys.stdout.flush()
except BrokenPipeError:
    output = select.poll()
    output.register(sys.stdout, select.POLLOUT)
    if not any(event & select.POLLERR for _, event in output.poll(0)):
        # Another pipe or connection: an error like any other.
        raise
    # Who reads the output has seen enough, as `| head` has: the end that the shell expects then.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    status = 128 + signal.SIGPIPE
raise SystemExit(status)
