"""A background worker with the guard: ``python -m benchfleet_guard worker --queue …``."""

from __future__ import annotations

import runpy
import sys

from benchfleet_guard.install import install

if __name__ == "__main__":
    install(job=True)
    sys.argv = ["bench", "frappe", *sys.argv[1:]]
    runpy.run_module("frappe.utils.bench_helper", run_name="__main__", alter_sys=True)
