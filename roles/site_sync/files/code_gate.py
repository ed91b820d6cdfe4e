#!/usr/bin/python3
"""code-gate: see benchfleet_sync/code_gate.py."""

import os
import sys

sys.path.insert(0, f"{os.path.dirname(os.path.realpath(__file__))}/python")

from benchfleet_sync.code_gate import main

main()
