"""The cost of runs of site.yml: seconds, ssh executions a host, the controller's processor, memory.

For each number of reporting nodes, as often as wanted, a lab of its own is booted and site.yml run
on its bare hosts, a second time with nothing to change, and a third time with one more bare node.
All figures are written to a file, of which docs/benchmarks.md is made: see benchfleet/figures.py.
Run as root on a quiet machine, from the repository:
.venv/bin/python benchmarks/site_runs.py [--nodes 1 2 5 10] [--repeats 3] [--release trixie]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
LAB = "bench"
sys.path[:0] = [str(ROOT), str(ROOT / "module_utils")]

from fleet import release  # noqa: E402 -- found through the path above

from benchfleet import figures  # noqa: E402 -- likewise
from benchfleet.lab import machines, state  # noqa: E402 -- likewise
from benchfleet.shell import FleetError, write_json  # noqa: E402 -- likewise


def fleet(*words: str) -> None:
    """Run a command of ./fleet, its output hidden. Raises CalledProcessError."""
    hidden: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stdin": subprocess.DEVNULL}
    subprocess.run([str(ROOT / "fleet"), *words], cwd=ROOT, check=True, **hidden)


def site_run(lab: state.Lab, folder: Path) -> dict[str, Any]:
    """One run of site.yml, as the file has it; see figures.py. Raises FleetError where it fails."""
    count, output = folder / "count", folder / "output"
    count.unlink(missing_ok=True)
    load, begun = os.getloadavg()[0], time.monotonic()
    with output.open("w") as out:
        process = subprocess.Popen(
            [str(ROOT / ".venv/bin/ansible-playbook"), "-i", "inventory/lab", "site.yml"],
            cwd=ROOT,
            env={
                **os.environ,
                "BENCHFLEET_LAB": LAB,
                "BENCHFLEET_SSH_COUNT": str(count),
                "ANSIBLE_SSH_EXECUTABLE": str(ROOT / "molecule/counted-ssh"),
            },
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
        # With all processes that it has waited for, such as its workers.
        _pid, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise FleetError("\n".join(output.read_text().splitlines()[-40:]))
    counts = Counter(count.read_text().split())
    primary, *nodes = [counts[host.ip] for host in lab.hosts]
    return {
        "seconds": round(seconds, 1),
        "processor_seconds": round(used.ru_utime + used.ru_stime, 1),
        "memory_mib": used.ru_maxrss // 1024,
        "executions": {"primary": primary, "nodes": nodes},
        "load": round(load, 2),
    }


def memory_mib(lab: state.Lab, host: state.Host) -> int:
    """Memory of all processes of a host in MiB, shared pages counted once (PSS)."""
    script = "cat /proc/[0-9]*/smaps_rollup 2>/dev/null | awk '/^Pss:/ {sum += $2} END {print sum}'"
    words = [*machines.ssh_command(lab, host), "--", script]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return int(done.stdout) // 1024


def lab_with(nodes: int, given: argparse.Namespace) -> state.Lab:
    """Have the lab with so many reporting nodes; the new ones are bare."""
    place = ("--release", given.release, "--subnet", given.subnet)
    fleet("lab", "up", "--bare", "--name", LAB, "--nodes", str(nodes), *place)
    lab = state.load(LAB)
    assert lab is not None
    return lab


def runs(nodes: int, given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """The three runs on a lab that begins with so many reporting nodes."""
    with tempfile.TemporaryDirectory() as folder:
        try:
            lab = lab_with(nodes, given)
            yield {"run": "first", **site_run(lab, Path(folder))}
            second = site_run(lab, Path(folder))
            primary, node = (memory_mib(lab, host) for host in lab.hosts[:2])
            yield {"run": "second", **second, "hosts_mib": {"primary": primary, "node": node}}
            yield {"run": "added", **site_run(lab_with(nodes + 1, given), Path(folder))}
        finally:
            fleet("lab", "down", "--name", LAB)


def machine() -> dict[str, Any]:
    """The machine on which this runs."""
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    models = {
        line.partition(":")[2].strip()
        for line in Path("/proc/cpuinfo").read_text().splitlines()
        if line.startswith("model name")
    }
    return {
        "processors": len(os.sched_getaffinity(0)),
        "model": ", ".join(sorted(models)) or platform.machine(),
        "memory_mib": pages * size // 1024**2,
        "kernel": platform.release(),
    }


def main() -> int:
    """Measure and write the file; after each lab, so that a later one that fails costs no more."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 2, 5, 10], metavar="N")
    parser.add_argument("--repeats", type=int, default=3, metavar="N")
    parser.add_argument("--release", default="bookworm")
    parser.add_argument("--subnet", default="10.203.21.0/24")
    parser.add_argument("--out", type=Path, default=figures.FILE)
    given = parser.parse_args()
    found: dict[str, Any] = {
        "when": time.strftime("%Y-%m-%d", time.gmtime()),
        "machine": machine(),
        "versions": {
            "benchfleet": release.title().removeprefix("benchfleet "),
            "ansible-core": version("ansible-core"),
            "python": platform.python_version(),
            "debian": given.release,
        },
        "runs": [],
    }
    for repeat in range(1, given.repeats + 1):
        for nodes in given.nodes:
            for one in runs(nodes, given):
                found["runs"].append({"nodes": nodes, "repeat": repeat, **one})
                print(json.dumps(found["runs"][-1]), flush=True)
                write_json(given.out, found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
