"""The apps of a running fleet are updated; a failed update never leaves two versions.

test_remove.py tests that updates leave nothing to do for site.yml.
"""

from __future__ import annotations

import json
import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import shop
from calls import Somebody, working
from interruptions import end_all, family
from nodes import Node, wait_until
from plays import INVENTORY, ROOT, changes, environment
from upstream import Upstream

from benchfleet.lab import state

BENCH = "/home/frappe/frappe-bench"
STATE = "/var/lib/benchfleet"
UPDATE = "playbooks/update.yml"
# Only a guard against runs that hang.
RUN_SECONDS = 1800
# The router holds a call for at most 30 s while a bench restarts: who waits longer gets an answer.
PATIENT = 60
# A report call, which the router sends to the nodes, and one for the primary's own bench.
REPORT_CALL, OWN_CALL = "frappe.demo.whoami_read_only", "frappe.demo.whoami"
BACK = '{"update_back": true}'


@pytest.fixture(scope="module")
def upstream(lab: state.Lab, tmp_path_factory: pytest.TempPathFactory) -> Upstream:
    """The lab's repository, with a clone in which commits are made."""
    return Upstream.of(lab, tmp_path_factory.mktemp("upstream"))


@pytest.fixture(scope="module")
def primary_node(nodes: dict[str, Node]) -> Node:
    """The primary."""
    return nodes["erp1"]


@pytest.fixture
def somebody(anybody: Callable[..., Somebody]) -> Iterator[Somebody]:
    """A user at the router."""
    user = anybody()
    yield user
    user.tidy()


@dataclass
class Ended:
    """A finished ansible-playbook: its exit status and its output, with JSON's escapes undone."""

    status: int
    output: str


def begin(*words: str) -> subprocess.Popen[str]:
    """Start ansible-playbook."""
    return subprocess.Popen(
        ["ansible-playbook", "-i", str(INVENTORY), *words],
        cwd=ROOT,
        env={**environment(), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(*words: str) -> Ended:
    """Run ansible-playbook to its end, successful or not."""
    process = begin(*words)
    output, _ = process.communicate(timeout=RUN_SECONDS)
    return Ended(process.returncode, output.replace("\\n", "\n").replace('\\"', '"'))


def update(*words: str) -> Ended:
    """Run the update to its end, successful or not."""
    return end(UPDATE, *words)


def commits(nodes: dict[str, Node]) -> dict[str, str]:
    """The commit that each bench is at."""
    command = f"git -c safe.directory=* -C {BENCH}/apps/frappe rev-parse HEAD"
    return {name: node.run(command) for name, node in nodes.items()}


def processes(nodes: dict[str, Node]) -> dict[str, str]:
    """The bench's processes on each host, as supervisor knows them, with their ids."""
    command = "supervisorctl status | sed -E 's/, uptime .*//'"
    return {name: node.run(command) for name, node in nodes.items()}


def drained(primary_node: Node) -> list[str]:
    """The nodes that are out of service."""
    return primary_node.run(f"ls {STATE}/drained 2>/dev/null || true").split()


def is_over(primary_node: Node) -> bool:
    """Whether no update is unfinished, and no node is out of service because of one."""
    record = primary_node.run(f"ls {STATE} | grep -x update.json || true")
    return not record and not drained(primary_node)


@dataclass
class Watcher:
    """A user who asks again and again which version answers a call."""

    user: Somebody
    method: str
    seen: list[tuple[float, int, str, str]] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    seconds: float = 0

    def run(self) -> None:
        """Ask until it is ended."""
        while not self.ended.is_set():
            begun = time.monotonic()
            try:
                answer = self.user.method(self.method)
                version = (answer.body.get("message") or {}).get("version", "")
                self.seen.append((begun, answer.status, version, answer.bench))
            except OSError as error:
                self.seen.append((begun, 0, "", str(error)))
            self.answered.append(time.monotonic())
            time.sleep(0.2)

    def benches(self, version: str) -> set[str]:
        """The benches that have answered with a version."""
        return {bench for _, status, seen, bench in self.seen if (status, seen) == (200, version)}

    def judge(self, new: str) -> None:
        """Assert the old version, then the maintenance page, then the new version, and nothing
        else."""
        first_new = next((n for n, (*_, seen, _) in enumerate(self.seen) if seen == new), None)
        assert first_new, f"nobody answered {self.method} with {new}"
        closed = [n for n, (_, status, _, _) in enumerate(self.seen) if status == 503]
        kinds = [(status, seen) for _, status, seen, _ in self.seen]
        assert {status for status, _ in kinds[: closed[0]]} == {200}
        assert new not in {seen for _, seen in kinds[: closed[0]]}
        assert set(kinds[first_new:]) == {(200, new)}
        between = kinds[closed[0] : first_new]
        # The first call that gets the new version may have been held while programs restarted.
        self.seconds = self.answered[first_new] - self.seen[closed[0]][0]
        pages = between.count((503, ""))
        print(f"{self.seconds:.0f} s without: {pages} of {len(between)} the page of maintenance")
        # A process that restarts gives no answer for a moment, and the bench CLI rewrites the
        # configuration in place, so a read at that moment gets half of it.
        assert {status for status, _ in between} <= {503, 502, 504, 500}
        assert pages > len(between) / 2

    def __enter__(self) -> Watcher:
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.ended.set()
        self.thread.join(PATIENT + 30)


def test_nothing_to_do_changes_nothing(upstream: Upstream, nodes: dict[str, Node]):
    before = processes(nodes)
    done = update()
    assert done.status == 0, done.output
    assert "nothing to do: frappe" in done.output
    assert changes(done.output) == []
    assert processes(nodes) == before


def test_all_problems_are_reported_before_anything_is_changed(
    upstream: Upstream, nodes: dict[str, Node], primary_node: Node
):
    old, before = commits(nodes), processes(nodes)
    upstream.release("Something new", {"frappe/hooks.py": "\n# new\n"})
    # The last line of an unimportant file, which the bench's account can write.
    touched = f"{BENCH}/apps/frappe/pyproject.toml"
    primary_node.run(f"echo '# mine' >>{touched}")
    try:
        done = update("-e", '{"update_commits": {"erpnext": "v1"}}')
        assert done.status != 0
        for words in ("update_app_unknown", "erpnext", "update_changes_lost", "pyproject.toml"):
            assert words in done.output
    finally:
        primary_node.run(f"git -c safe.directory=* -C {BENCH}/apps/frappe checkout pyproject.toml")
        upstream.withdraw()
    assert (commits(nodes), processes(nodes)) == (old, before)
    assert is_over(primary_node)


def test_a_failure_before_the_migration_leaves_the_old_code_running(
    upstream: Upstream,
    nodes: dict[str, Node],
    primary_node: Node,
    somebody: Somebody,
    anybody: Callable[..., Somebody],
):
    old, before = commits(nodes), processes(nodes)
    # Its requirements can be installed, but the build fails.
    upstream.release(
        "A build that fails", {"frappe/build.py": "\nraise RuntimeError('no build')\n"}
    )
    try:
        with working(anybody) as taken:
            done = update()
    finally:
        upstream.withdraw()
    assert done.status != 0
    assert "no build" in done.output
    # It was built beside the running bench, and no node was taken out of service for it.
    assert [call for call in taken if not call.ok] == []
    assert primary_node.run(f"ls -d {BENCH}/.update 2>/dev/null || true") == ""
    assert "the old code goes on running" in done.output
    assert commits(nodes) == old
    assert processes(nodes) == before
    assert is_over(primary_node)
    assert somebody.report().ok
    assert somebody.save().ok


def test_an_update_without_a_migration_fails_no_call(
    upstream: Upstream,
    nodes: dict[str, Node],
    primary_node: Node,
    anybody: Callable[..., Somebody],
):
    version = f"16.0.{int(time.time())}"
    files = {
        "frappe/__init__.py": f'\n__version__ = "{version}"\n',
        "frappe/public/js/desk.bundle.js": f'\nconsole.log("{version}");\n',
    }
    new = upstream.release("No migration", files)
    with Watcher(anybody(PATIENT), OWN_CALL) as own, working(anybody) as taken:
        done = update()
    assert done.status == 0, done.output
    assert "users stay in" in done.output
    assert "users were not out" in done.output
    assert [call for call in taken if not call.ok] == []
    # No user got the old version after the new one.
    kinds = [(status, seen == version) for _, status, seen, _ in own.seen]
    assert kinds == sorted(kinds)
    assert kinds[-1] == (200, True)
    assert set(commits(nodes).values()) == {new}
    built = f"cat {BENCH}/sites/assets/assets.json {BENCH}/apps/frappe/frappe/public/dist/js/*"
    assert version in primary_node.run(built)
    assert is_over(primary_node)


FAILING = """
import frappe
from frappe import schema


def execute():
    schema.ensure_table("ToDo", [{"fieldname": "half_done"}])
    if frappe.local.conf.lifecycle_fails:
        raise ValueError("this patch fails on purpose")
"""


def columns(primary_node: Node, name: str) -> int:
    """How many columns of that name the site's ToDo table has."""
    question = "SELECT COUNT(*) FROM information_schema.COLUMNS WHERE TABLE_NAME = 'tabToDo'"
    return int(primary_node.sql(f"{question} AND COLUMN_NAME = '{name}'"))


@pytest.fixture
def fails(primary_node: Node) -> Iterator[Callable[[int], None]]:
    """Make the patch fail, or succeed."""
    bench = f"cd {BENCH} && runuser -u frappe -- bench --site {state.SITE} set-config"

    def set_to(value: str) -> None:
        primary_node.run(f"{bench} lifecycle_fails {value}")

    set_to("1")
    yield lambda value: set_to(str(value))
    set_to("None")


def refused_together(primary_node: Node, last: Node) -> None:
    """A run names the unfinished update, a site that was dropped, and a fleet of a newer format."""
    note, mark = f"{STATE}/made-site-gone.lab.test", "/etc/benchfleet/fleet.json"
    primary_node.run(f"touch {note}")
    last.run(f'cp -p {mark} {mark}.kept; sed -i \'s/"format": [0-9]*/"format": 99/\' {mark}')
    names = json.dumps({"fleet_sites": [{"name": state.SITE}, {"name": "gone.lab.test"}]})
    try:
        refused = end("site.yml", "-e", names)
    finally:
        primary_node.run(f"rm {note}")
        last.run(f"mv {mark}.kept {mark}")
    assert refused.status != 0
    said = " ".join(refused.output.split())
    assert "id: update_unfinished" in said
    assert "gone.lab.test, which was on the bench of" in said
    assert "id: site_gone" in said
    assert "take it out of fleet_sites" in said
    assert f"remove {note} on" in said
    assert re.search(rf"fleet\.json in \S+ on {last.name}\b.*id: fleet_format_newer", said)
    assert changes(refused.output) == []
    assert not primary_node.says(f"ls -d {BENCH}/sites/gone.lab.test")


def test_a_failed_migration_is_taken_back_with_all_that_was_saved(
    upstream: Upstream,
    nodes: dict[str, Node],
    primary_node: Node,
    somebody: Somebody,
    fails: Callable[[int], None],
):
    old = commits(nodes)
    assert somebody.save().ok
    # 40 MB, more than the clients accept by default; as a statement more than the server does.
    large = f"`{shop.database_of(primary_node)}`.large"
    primary_node.sql(f"CREATE TABLE {large} (name INT PRIMARY KEY, body LONGTEXT)")
    quotes = "REPEAT(CHAR(34, 10 USING utf8mb4), 20 << 20)"
    primary_node.sql(f"INSERT INTO {large} VALUES (1, {quotes})")
    saved = primary_node.sql(f"SELECT MD5(body) FROM {large}")
    upstream.release("A patch that fails", {}, FAILING)
    try:
        done = update()
        assert done.status != 0
        place = re.search(r"in the patch (frappe\.patches\.\w+)", done.output)
        assert place, done.output
        for words in (
            "this patch fails on purpose",
            f"in the migration of {state.SITE}",
            f"maintenance_mode is on for all sites ({state.SITE})",
            f"backup of {state.SITE}: /var/backups/benchfleet/",
            "-e update_back=true",
        ):
            assert words in done.output
        assert columns(primary_node, "half_done") == 1
        # Users see the maintenance page; on the primary no worker runs, on the nodes no program.
        assert somebody.report().status == somebody.save().status == 503
        for name, output in processes(nodes).items():
            what = "worker" if name == "erp1" else ""
            assert [line for line in output.splitlines() if what in line and "RUN" in line] == []
        refused_together(primary_node, nodes["rep2"])
    finally:
        upstream.withdraw()
        back = update("-e", BACK)
    assert back.status == 0, back.output
    assert primary_node.sql(f"SELECT MD5(body) FROM {large}") == saved
    assert primary_node.sql("SELECT @@GLOBAL.max_allowed_packet >> 20") == "64"
    primary_node.sql(f"DROP TABLE {large}")
    assert commits(nodes) == old
    assert columns(primary_node, "half_done") == 0
    assert is_over(primary_node)
    report = somebody.report()
    assert (report.ok, report.fresh) == (True, True), report
    assert somebody.save().ok


LOCK = f"{BENCH}/apps/frappe/.git/index.lock"
SLOW = """
import time
import frappe
from frappe import schema


def execute():
    time.sleep(8)
    schema.ensure_table("ToDo", [{"fieldname": "lifecycle"}])
"""


@pytest.mark.usefixtures("grown")
def test_a_killed_update_is_continued_and_no_two_versions_answer(
    upstream: Upstream,
    nodes: dict[str, Node],
    primary_node: Node,
    somebody: Somebody,
    anybody: Callable[..., Somebody],
):
    version = f"16.0.{int(time.time())}"
    files = {
        "frappe/__init__.py": f'\n__version__ = "{version}"\n',
        "frappe/public/js/desk.bundle.js": f'\nconsole.log("{version}");\n',
    }
    new = upstream.release("A new version", files, SLOW)
    # An app that was added later has a new module, too.
    assert "depot" not in shop.modules(primary_node)
    come = {"shop/modules.txt": "Shop\nDepot\n", "shop/depot/__init__.py": ""}
    shop.release(primary_node, {**come, **shop.doctype("Depot", "Depot Shelf")})
    # This leaves a setting of the site's own, which would keep it open while others are closed.
    off = f"bench --site {state.SITE} set-maintenance-mode off"
    primary_node.run(f"cd {BENCH} && runuser -u frappe -- {off}")
    log = f"{STATE}/update.json"
    users = anybody(PATIENT), anybody(PATIENT)
    with Watcher(users[0], REPORT_CALL) as watcher, Watcher(users[1], OWN_CALL) as own:
        first = begin(UPDATE)
        try:
            wait_until(
                "the migration runs",
                lambda: "touched" in primary_node.says(f"cat {log}"),
                RUN_SECONDS,
            )
        finally:
            orphans = family(first.pid)
            first.kill()
            first.wait()
            assert first.stdout
            first.stdout.close()
        # The checkout of one node cannot be written: the other node is updated all the same.
        nodes["rep1"].run(f"touch {LOCK}")
        done = update()
        nodes["rep1"].run(f"rm {LOCK}")
        end_all(orphans)
        assert done.status != 0
        assert re.search(r"rep1: checking out frappe at .* failed", done.output), done.output
        assert "rep2: " not in done.output.partition("these reporting nodes are not")[2]
        assert drained(primary_node) == ["rep1"]
        said = done.output
        wait_until("rep2 answers with the new version", lambda: "rep2" in watcher.benches(version))
        assert "rep1" not in watcher.benches(version)
        done = update()
        assert done.status == 0, done.output
        wait_until("rep1 does, too", lambda: "rep1" in watcher.benches(version))
    assert set(commits(nodes).values()) == {new}
    # As many former updates are kept as fleet_keep says.
    assert 1 <= len(primary_node.run("ls -d /var/backups/benchfleet/*-*/").split()) <= 3
    assert columns(primary_node, "lifecycle") == 1
    for node in nodes.values():
        assert shop.has(node, shop.database_of(primary_node), "Depot Shelf")
    watcher.judge(version)
    own.judge(version)
    # What users noticed agrees with the update's report, phase by phase.
    for phase in ("closing the sites", "backup", "new code in place", "restart"):
        assert re.search(rf"\d s users out: {phase}", said), said
    told = re.search(r"users were out for (\d+) s, (\d+) s of them for the migration", said)
    assert told, said
    out, migration = map(int, told.groups())
    # The patch takes 8 s.
    assert 8 <= migration < out
    assert abs(out - own.seconds) < 15
