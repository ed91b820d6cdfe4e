#!/usr/bin/python3
"""Start the threads of a replica after its server was started; what it had received is not lost.

Runs as a unit of its own after each start of MariaDB, because what was received may take long to
be applied. Where the primary does not answer, that is done first; see fleet/mariadb/received.py.
"""

from __future__ import annotations

import os
import sys

sys.path.insert(0, f"{os.path.dirname(os.path.realpath(__file__))}/python")

from fleet.mariadb.received import start
from fleet.mariadb.server import MariaDBError, describe, local, pymysql


def main() -> int:
    """Start; the journal says what was done."""
    try:
        with local() as server:
            print(f"benchfleet: {start(server)}")
    except (MariaDBError, pymysql.MySQLError) as error:
        words = describe(error) if isinstance(error, pymysql.MySQLError) else str(error)
        print(f"benchfleet: replication is not started: {words}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
