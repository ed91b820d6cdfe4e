#!/usr/bin/python3 -I
# Made by Benchfleet; changes here are undone by its next run.
"""Become the queue's Redis: supervisor runs `start-queue SERVER CONF` as the bench's account."""

import os
import sys

sys.path.insert(0, f"{os.path.dirname(os.path.realpath(__file__))}/python")

from fleet.redis.store import main

main(*sys.argv[1:])
