#!/usr/bin/python3
"""site-sync: see benchfleet_sync/__main__.py."""

import os
import sys

sys.path.insert(0, f"{os.path.dirname(os.path.realpath(__file__))}/python")

from benchfleet_sync.__main__ import main

sys.exit(main())
