#!/usr/bin/python3
"""Wait, after each start of MariaDB, until the record of who is primary has opened it.

Every server starts read-only, and the service benchfleet-record opens the primary. What is started
after MariaDB then finds it open, where that takes no longer than usual.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, f"{os.path.dirname(os.path.realpath(__file__))}/python")

from fleet.record import UNIT, wait

SECONDS = 20


def main() -> int:
    """Wait; the journal says what was found."""
    found = wait(SECONDS)
    if not found:
        print(f"benchfleet: stays read-only: {UNIT} does not answer")
    elif not found["open"]:
        print(f"benchfleet: read-only: {found['why']}")
    else:
        print("benchfleet: open as the fleet's primary")
    return 0


if __name__ == "__main__":
    sys.exit(main())
