#!/usr/bin/python3
"""Write the state of this host into its status file. Started by a timer; changes nothing else."""

from __future__ import annotations

import json
import os
import sys

sys.path.insert(0, f"{os.path.dirname(os.path.realpath(__file__))}/python")

from fleet.folders import folder
from fleet.status.file import write

if __name__ == "__main__":
    settings = json.loads((folder("config") / "status.json").read_text(encoding="utf-8"))
    write(settings, settings["file"])
