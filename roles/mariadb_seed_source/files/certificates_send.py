#!/usr/bin/python3
"""Write the certificates of this host's router, with their keys, as a line of JSON.

Started by sshd for the key of the standby, as root through sudo, without arguments. On a host that
is not the primary there are none.
"""

from __future__ import annotations

import json
import os
import sys

sys.path.insert(0, f"{os.path.dirname(os.path.realpath(__file__))}/python")

from fleet.folders import folder
from fleet.nginx.renewed import sent
from fleet.sites.folders import SiteError


def main() -> int:
    """Send them; returns the exit status."""
    try:
        settings = json.loads((folder("config") / "sites.json").read_text(encoding="utf-8"))
        print(json.dumps(sent(settings)))
    except (OSError, SiteError, ValueError) as error:
        print(f"benchfleet: no certificates are sent: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
