#!/usr/bin/python3
"""sync-gate: see benchfleet_sync/gate.py."""

import os
import sys

sys.path.insert(0, f"{os.path.dirname(os.path.realpath(__file__))}/python")

from benchfleet_sync.gate import main

main()
