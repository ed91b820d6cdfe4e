"""What the guarded read path costs: a healthy call, the first one after a failure, later ones.

The reporting bench's gunicorn is started a second time without the guard, and both are called in
turn. Works on a running lab, and prints tables in Markdown.
Run as root from the repository: .venv/bin/python benchmarks/read_path.py [--lab NAME] [--calls N]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shlex
import statistics
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), *(str(ROOT / "molecule" / f) for f in ("tests", "tests/read_path"))]

from calls import LIST, RUN, Somebody  # noqa: E402 -- found through the path above
from failures import FAILURES, Field  # noqa: E402 -- likewise
from nodes import wait_until  # noqa: E402 -- likewise
from player import Player, password_of  # noqa: E402 -- likewise

from benchfleet.lab import state  # noqa: E402 -- likewise

UNIT = "benchfleet-unguarded"
PORT = 8009
ADDRESSES = {"with": None, "without": f"127.0.0.1:{PORT}"}
PATHS = {
    "report": f"/api/method/{RUN}?report_name=ToDo",
    "list": f"/api/method/{LIST}?doctype=ToDo&fields=%5B%22name%22%5D",
}
FIRST = ("replica_stopped", "replica_hung", "database_cut", "bench_stopped", "bench_hung")
LATER = 20

# Runs on the reporting node: calls each address in turn, prints seconds of each.
CALLER = """
import http.client, json, sys, time
given = json.load(sys.stdin)
taken = {name: [] for name in given["addresses"]}
order = list(given["addresses"].items())
for number in range(given["calls"]):
    order.append(order.pop(0))
    for name, address in order:
        begun = time.perf_counter()
        connection = http.client.HTTPConnection(address, timeout=30)
        connection.request("GET", given["path"], headers=given["headers"])
        answer = connection.getresponse()
        text = answer.read()
        connection.close()
        seconds = time.perf_counter() - begun
        assert answer.status == 200, (name, answer.status, text[:300])
        if number >= 20:
            taken[name].append(seconds)
print(json.dumps(taken))
"""


@contextlib.contextmanager
def unguarded(field: Field) -> Iterator[None]:
    """A second copy of the reporting bench's web program, on another port and without the guard."""
    text = field.node.run("cat /etc/supervisor/conf.d/frappe-bench.conf")
    section = text.split(f"[program:{field.group}-frappe-web]")[1].split("\n[")[0]
    line = next(line for line in section.splitlines() if line.startswith("command="))
    words = shlex.split(line.removeprefix("command="))
    binds = {number + 1 for number, word in enumerate(words) if word == "-b"}
    command = [
        f"127.0.0.1:{PORT}" if number in binds else word for number, word in enumerate(words)
    ]
    command = [word.replace("benchfleet_guard.wsgi", "frappe.app") for word in command]
    unit = f"systemd-run --quiet --collect --unit {UNIT} --uid frappe"
    try:
        field.node.run(f"{unit} --working-directory {field.bench}/sites {shlex.join(command)}")
        port = f"ss -Hltn 'sport = :{PORT}'"
        wait_until("gunicorn without the guard listens", lambda: field.node.says(port))
        yield
    finally:
        field.node.run(f"systemctl stop {UNIT} 2>/dev/null || true")


@contextlib.contextmanager
def saving(somebody: Somebody) -> Iterator[None]:
    """A user saves without a break meanwhile."""
    stop = threading.Event()

    def save() -> None:
        while not stop.wait(0.02):
            somebody.save()

    thread = threading.Thread(target=save)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def milliseconds(seconds: Sequence[float]) -> str:
    """p50 and p95."""
    cuts = statistics.quantiles(seconds, n=20)
    return f"{statistics.median(seconds) * 1000:.1f} | {cuts[18] * 1000:.1f}"


def healthy(field: Field, somebody: Somebody, what: str, kind: str, calls: int) -> str:
    """One line of the first table."""
    cookies = "; ".join(f"{key}={value}" for key, value in somebody.visitor.cookies.items())
    given = {
        "addresses": {**ADDRESSES, "with": f"{field.node.host.ip}:8000"},
        "path": PATHS[kind],
        "headers": {"Host": field.site, "Cookie": cookies},
        "calls": calls + 20,
    }
    feed = f"printf %s {shlex.quote(json.dumps(given))}"
    taken = json.loads(field.node.run(f"{feed} | python3 -c {shlex.quote(CALLER)}", 300))
    cost = (statistics.median(taken["with"]) - statistics.median(taken["without"])) * 1000
    cells = " | ".join(milliseconds(taken[name]) for name in ("without", "with"))
    return f"| {kind}, {what} | {cells} | {cost:+.1f} |"


def after(player: Player, key: str, times: int) -> str:
    """One line of the second table."""
    assert player.normal is not None
    firsts, laters, backs = [], [], []
    for _ in range(times):
        played = player.once(key, FAILURES[key], ["save", "report"], LATER)
        cell = played.cells["report"]
        assert all(taken.ok for taken in cell.taken)
        assert played.back is not None
        firsts.append(cell.first.seconds if cell.first else 0)
        laters += [taken.seconds for taken in cell.later]
        backs.append(played.back)
    cells = [statistics.median(firsts), max(firsts)]
    cells += [statistics.median(laters), statistics.quantiles(laters, n=20)[18], max(backs)]
    return f"| {FAILURES[key].title} | " + " | ".join(f"{cell:.3f}" for cell in cells) + " |"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lab", default=state.name_from_environment())
    parser.add_argument("--calls", type=int, default=1000)
    parser.add_argument("--times", type=int, default=5, help="how often each failure is played")
    given = parser.parse_args()
    lab = state.load(given.lab)
    if lab is None:
        parser.error(f"there is no lab {given.lab!r}")
    password = password_of(lab, state.SITE, None)
    somebody, saver = (
        Somebody(lab.hosts[0].ip, state.SITE, "Administrator", password) for _ in range(2)
    )
    field = Field(lab, lab.hosts[1].name)
    try:
        with field.alone():
            print("| call | without: p50 ms | p95 | with the guard: p50 ms | p95 | p50's cost |")
            print("|---|---|---|---|---|---|")
            with unguarded(field):
                for kind in PATHS:
                    print(healthy(field, somebody, "quiet", kind, given.calls), flush=True)
                    with saving(saver):
                        print(healthy(field, somebody, "during saves", kind, given.calls))
            player = Player(field, somebody)
            normal = player.learn().seconds("report")
            print(f"\nSeconds; a healthy report takes {normal:.3f} s.\n")
            print("| failure | first report | worst first | later, p50 | p95 | back after, worst |")
            print("|---|---|---|---|---|---|")
            for key in FIRST:
                print(after(player, key, given.times), flush=True)
    finally:
        somebody.tidy()
        saver.tidy()
    return 0


if __name__ == "__main__":
    sys.exit(main())
