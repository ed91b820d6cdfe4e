"""Run a program in the environment on standard input, as the account of the bench.

Root must not run one with it: some variables make programs load other code.
"""

from __future__ import annotations

import json
import os
import sys


def main() -> None:
    """Replace this process by the program whose source and arguments are the arguments."""
    os.execve(sys.executable, [sys.executable, "-c", *sys.argv[1:]], json.load(sys.stdin))


if __name__ == "__main__":
    main()
