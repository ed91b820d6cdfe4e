#!/usr/bin/python3
"""Hold the users' address while this host is the primary, until systemd ends this program."""

from __future__ import annotations

import json
import os
import sys

sys.path.insert(0, f"{os.path.dirname(os.path.realpath(__file__))}/python")

from fleet.folders import folder
from fleet.service_address import keep

if __name__ == "__main__":
    settings = json.loads((folder("config") / "address.json").read_text(encoding="utf-8"))
    keep(settings["address"], settings["host"])
