"""The cost of the first and the second run of site.yml: seconds, ssh executions, memory.

Boots a lab of its own, runs site.yml twice, prints a table in Markdown, and removes the lab.
Run as root from the repository: .venv/bin/python benchmarks/site_runs.py [--release trixie]
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LAB = "bench"
sys.path.insert(0, str(ROOT))

from benchfleet.lab import machines, state  # noqa: E402 -- likewise


def run(words: list[str], **environment: str) -> float:
    """Run a command, its output hidden; returns seconds. Raises CalledProcessError."""
    begun = time.monotonic()
    subprocess.run(
        words,
        cwd=ROOT,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stdin=subprocess.DEVNULL,
        check=True,
    )
    return time.monotonic() - begun


def site_run(count: Path) -> tuple[float, Counter[str]]:
    """One run of site.yml: its seconds, and ssh executions for each address."""
    count.unlink(missing_ok=True)
    seconds = run(
        [str(ROOT / ".venv/bin/ansible-playbook"), "-i", "inventory/lab", "site.yml"],
        BENCHFLEET_LAB=LAB,
        BENCHFLEET_SSH_COUNT=str(count),
        ANSIBLE_SSH_EXECUTABLE=str(ROOT / "molecule/counted-ssh"),
    )
    return seconds, Counter(count.read_text().split())


def memory_mib(lab: state.Lab, host: state.Host) -> int:
    """Memory of all processes of a host in MiB, shared pages counted once (PSS)."""
    script = "cat /proc/[0-9]*/smaps_rollup 2>/dev/null | awk '/^Pss:/ {sum += $2} END {print sum}'"
    words = [*machines.ssh_command(lab, host), "--", script]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return int(done.stdout) // 1024


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--release", default="bookworm")
    parser.add_argument("--subnet", default="10.203.21.0/24")
    given = parser.parse_args()
    up = [str(ROOT / "fleet"), "lab", "up", "--bare", "--name", LAB]
    run([*up, "--release", given.release, "--subnet", given.subnet])
    try:
        with tempfile.TemporaryDirectory() as folder:
            lab = state.load(LAB)
            assert lab is not None
            print("| run of site.yml | seconds | ssh executions |")
            print("|---|---|---|")
            for name in ("first, on bare hosts", "second, nothing to change"):
                seconds, executions = site_run(Path(folder) / "count")
                each = ", ".join(f"{executions[host.ip]} on {host.name}" for host in lab.hosts)
                print(f"| {name} | {seconds:.0f} | {each} |", flush=True)
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
            hosts = ", ".join(f"{memory_mib(lab, host)} MiB on {host.name}" for host in lab.hosts)
            print(f"\nMemory: largest process of the controller {peak} MiB; all processes {hosts}.")
    finally:
        run([str(ROOT / "fleet"), "lab", "down", "--name", LAB])
    return 0


if __name__ == "__main__":
    sys.exit(main())
