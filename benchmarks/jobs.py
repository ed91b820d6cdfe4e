"""What it costs to carry files: commits, the start of jobs, and opens on a reporting node.

Works on a running lab, prints a table in Markdown, and removes what it made.
Run as root from the repository: .venv/bin/python benchmarks/jobs.py [--lab NAME] [--times N]
"""

from __future__ import annotations

import argparse
import json
import shlex
import statistics
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "molecule/tests")]

from nodes import Node  # noqa: E402 -- found through the path above

from benchfleet.lab import state  # noqa: E402 -- likewise

BENCH = "/home/frappe/frappe-bench"
# Runs in the node's bench with its Python, as jobs do.
SCRIPT = """
import json, os, subprocess, sys, time
import frappe
from frappe.utils.background_jobs import execute_job

site, times = sys.argv[1], int(sys.argv[2])
taken = {}


def timed(name, work):
    begun = time.perf_counter()
    work()
    taken.setdefault(name, []).append(time.perf_counter() - begun)


def files(count, write):
    for number in range(count):
        path = frappe.get_site_path("private", "files", f"fleet-benchmark-{number}.txt")
        if write:
            with open(path, "w") as out:
                out.write("x" * 10000)
        else:
            os.remove(path)


def job():
    execute_job(site, "frappe.ping", None, "frappe.ping", {}, is_async=True)


for _ in range(times):
    frappe.init(site=site, sites_path=".")
    frappe.connect()
    timed("commit that has no files", frappe.db.commit)
    for name, count in (("one file of 10 kB", 1), ("200 files of 10 kB", 200)):
        files(count, True)
        timed(f"commit that has {name} to take to the primary", frappe.db.commit)
        files(count, False)
        frappe.db.commit()
    path = frappe.get_site_path("private", "files", "fleet-benchmark-fetched.txt")
    with open(path, "w") as out:
        out.write("x" * 10000)
    frappe.db.commit()
    # By another program, which nothing here hears of.
    subprocess.run(["rm", path], check=True)
    timed("opening a file of 10 kB that has to be fetched", lambda: open(path).close())
    timed("opening a file that is here", lambda: open(path).close())
    timed("opening a file that is no site's", lambda: open("apps.txt").close())
    missing = f"{path}-{time.time()}"
    timed("asking for one that the primary does not have", lambda: os.path.exists(missing))
    timed("the same within 2 s", lambda: os.path.exists(missing))
    os.remove(path)
    frappe.db.commit()
    frappe.destroy()
    timed("a job that does nothing, when no file was saved since the last copy", job)
    pull = ["/usr/local/lib/benchfleet/site-sync", "--pull", site]
    timed("bringing the files that were", lambda: subprocess.run(pull, check=True))
print(json.dumps(taken))
"""


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lab", default=state.name_from_environment())
    parser.add_argument("--times", type=int, default=20)
    given = parser.parse_args()
    lab = state.load(given.lab)
    assert lab is not None, f"there is no lab {given.lab}"
    node = Node(lab, lab.hosts[1])
    words = ["../env/bin/python", "-c", SCRIPT, state.SITE, str(given.times)]
    command = f"cd {BENCH}/sites && {shlex.join(words)}"
    told = node.run(f"runuser -u frappe -- sh -c {shlex.quote(command)}", 60 * given.times)
    print("| what | ms, median | slowest |")
    print("|---|---|---|")
    for name, seconds in json.loads(told.splitlines()[-1]).items():
        print(f"| {name} | {statistics.median(seconds) * 1000:.3f} | {max(seconds) * 1000:.1f} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
