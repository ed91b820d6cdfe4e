"""What `./fleet test` does: all tests, some, the fast ones, or the long ones."""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchfleet.lab.commands import ensure_tools
from benchfleet.runner import LAB_INVENTORY, ROOT, log_folder
from benchfleet.shell import FleetError, remove_tree, say
from benchfleet.testing.programs import (
    PYTEST,
    Program,
    chosen,
    scenarios,
    settings,
    steps_on_kept_lab,
)
from benchfleet.testing.results import Result, closing, stage_lines
from benchfleet.testing.run import Run, hosts_of, in_turn, keep_logs

FOLDERS_KEPT = 5
# What `--fast` runs beside unit tests and linters.
FAST = "read_path"


def run_tests(options: argparse.Namespace) -> int:
    """Run what the command line asks for; returns 0 only if every program passed."""
    since = time.monotonic()
    tests = Run(new_folder(), fail_fast=options.fail_fast)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    ensure_tools()
    try:
        results = wanted(tests, options)
    except BaseException:
        tests.end()
        raise
    print()
    for line in [*stage_lines(results), "", *closing(results, time.monotonic() - since)]:
        print(line, flush=True)
    if not all(result.ok for result in results):
        say(f"outputs, and the logs of the hosts of scenarios that failed: {tests.folder}")
    return 0 if results and all(result.ok for result in results) else 1


def wanted(tests: Run, options: argparse.Namespace) -> list[Result]:
    """Run the tests that the command line names; returns how they ended."""
    if options.k is not None:
        if len(options.tests) != 1 or options.tests[0] not in scenarios():
            raise FleetError(f"-k needs one scenario before it: {', '.join(scenarios())}")
        return list(in_turn(tests, steps_on_kept_lab(options.tests[0], options.k)))
    if options.fast:
        return fast(tests)
    if "long" in options.tests:
        seed = options.seed if options.seed is not None else random.randrange(10**6)
        return long(tests, options.minutes, seed)
    return tests.all(chosen(options.tests))


def fast(tests: Run) -> list[Result]:
    """Run what takes little time: unit, lint, and one scenario on a kept lab."""
    with ThreadPoolExecutor(1) as pool:
        hosts = pool.submit(lambda: list(in_turn(tests, steps_on_kept_lab(FAST, None))))
        return [*filter(None, map(tests.one, chosen(["unit", "lint"]))), *hosts.result()]


def long(tests: Run, minutes: float, seed: int) -> list[Result]:
    """Run the long tests again and again, each time with another seed, until the minutes are over.

    Each round plays kills of runs on a lab of its own, then, on a copy that stays until the end,
    requests made at random, every failure of the read path, and kills of commands that change the
    primary there and back.
    """
    until = time.monotonic() + minutes * 60
    name, python = "long", sys.executable
    env = {"BENCHFLEET_LAB": name}
    up = [str(ROOT / "fleet"), "lab", "up", *settings(FAST)["env"]["BENCHFLEET_TEST_LAB"].split()]
    tests_of = ROOT / "molecule/tests"
    fuzz = ["pytest", str(tests_of / "read_path/test_fuzz.py"), *PYTEST]
    fuzz += [f"--ansible-inventory={LAB_INVENTORY}"]
    results: list[Result] = []
    with hosts_of(name):
        results += in_turn(tests, [Program("long lab", up, name, env=env)])
        while results[-1].ok and time.monotonic() < until:
            kills = [str(tests_of / "interruptions.py"), "--kills", "4", "--seed", str(seed)]
            seeded = {**env, "BENCHFLEET_FUZZ_SEED": str(seed)}
            failures = [python, str(tests_of / "read_path/player.py")]
            moves = [str(tests_of / "roles/moves.py"), "--lab", name, "--seed", str(seed)]
            programs = [
                Program(f"kills, seed {seed}", [python, *kills]),
                Program(f"fuzz, seed {seed}", fuzz, name, env=seeded),
                Program(f"failures {seed}", failures, name, env=env),
                Program(f"roles, seed {seed}", [python, *moves], name, env=env),
            ]
            results += in_turn(tests, programs)
            seed += 1
        if not results[-1].ok:
            keep_logs(name, tests.folder / name)
    return results


def new_folder() -> Path:
    """Return a new folder for the outputs of a run; the oldest beyond FOLDERS_KEPT are deleted."""
    top = log_folder() / "tests"
    for old in sorted(top.glob("*Z-*"))[: -FOLDERS_KEPT + 1]:
        remove_tree(old)
    return top / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{os.getpid()}"
