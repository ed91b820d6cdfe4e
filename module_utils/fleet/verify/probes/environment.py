"""Run a program in the environment on standard input, as the account that a program runs as.

Some of what may stand there would make root's own programs load something else.
"""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    """Become the program whose text and arguments the arguments are."""
    os.execve(sys.executable, [sys.executable, "-c", *sys.argv[1:]], json.load(sys.stdin))


if __name__ == "__main__":
    main()
