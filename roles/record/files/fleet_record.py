#!/usr/bin/python3
"""Show this host's record of who is primary, and open or close its MariaDB by the rule of it."""

from __future__ import annotations

import json
import os
import sys

sys.path.insert(0, f"{os.path.dirname(os.path.realpath(__file__))}/python")

from fleet.folders import folder
from fleet.record_service import Place, serve

if __name__ == "__main__":
    settings = json.loads((folder("config") / "record.json").read_text(encoding="utf-8"))
    serve(Place(**settings, tls=str(folder("config") / "tls"), state=str(folder("state"))))
