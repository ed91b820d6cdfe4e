#!/usr/bin/python3 -I
# Made by Benchfleet; changes here are undone by its next run.
"""Make or drop a site on this fleet's primary, as bench does, without a MariaDB password.

Usage, as root:
    new-site NAME [options of `bench new-site`]
    drop-site NAME [--no-backup] [--force]

Root makes or drops database and account, for which it needs no password; the bench's account does
the rest. What new-site has begun is removed again when it fails. Exit status: 0 done; 1 not.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve()


def main(command: str, arguments: list[str]) -> int:
    """Run new-site or drop-site; returns the exit status."""
    if not arguments or arguments[0].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 1
    site = arguments[0]
    if os.geteuid() != 0:
        print(f"{command}: run it as root: sudo {HERE} {site}", file=sys.stderr)
        return 1
    sys.path.insert(0, str(HERE.with_name("python")))
    from fleet.bench.account import BenchError, exclusive
    from fleet.folders import folder
    from fleet.mariadb.server import MariaDBError, describe, pymysql
    from fleet.sites.by_hand import ByHand
    from fleet.sites.folders import SiteError

    settings = json.loads((folder("config") / "sites.json").read_text())
    # When the terminal is closed, what was begun is removed, too.
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(1))
    try:
        hand = ByHand({**settings, "path": settings["bench"]})
        # site.yml makes sites as well.
        with exclusive(f"{settings['state_dir']}/bench.lock", 2):
            (hand.bring if command == "new-site" else hand.drop)(site, arguments[1:])
    except (BenchError, MariaDBError, SiteError, OSError, subprocess.SubprocessError) as error:
        print(f"{command}: {error}", file=sys.stderr)
        return 1
    except pymysql.MySQLError as error:
        print(f"{command}: MariaDB refused a statement: {describe(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    print(f"{site} is " + ("made" if command == "new-site" else "dropped"))
    return 0


if __name__ == "__main__":
    sys.exit(main(HERE.name, sys.argv[1:]))
