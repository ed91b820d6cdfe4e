"""A bench is made by hand, adopted under load, and released again."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import re
import shlex
import subprocess
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from fleet.http import Visitor
from fleet.systems import PACKAGES
from nodes import Node, wait_until
from plays import make_inventory

from benchfleet.lab import state
from benchfleet.lab.machines import ssh_command
from benchfleet.runner import ROOT

INVENTORY = ROOT / "inventory/lab"
SCRIPT = ROOT / "molecule/adopt/handmade.sh"
BENCH = "/home/frappe/frappe-bench"
USER, PASSWORD = "Administrator", "by-hand"
ADOPT = ("-e", "fleet_adopt=true")
KEEPS = ("-e", json.dumps({"bench_environment": {"VAULT_TOKEN": "a%1,2"}}))
CONFIRMED = (*ADOPT, *KEEPS, "-e", "adopt_restart_confirmed=true")
ENQUEUE = "/api/method/frappe.demo.enqueue_run"
JOBS = tuple(f"adopt-{number}" for number in range(3))
# The restarts of an adoption and of a release, by hand.
RESTARTS = ("systemctl restart mariadb", "supervisorctl restart frappe-bench-web:")
# Packet filter rules with which a fleet cannot work: files that are on the host during one
# preflight.
REFUSED = {
    "/var/lib/erp/sites/apps.txt": "frappe",
    "/etc/systemd/system/erp2.service": "[Service]\nWorkingDirectory=/var/lib/erp",
    f"{BENCH}/sites/pg.test/site_config.json": json.dumps(
        {"db_type": "postgres", "redis_cache": "redis://:hush@h"}
    ),
    # Files of nginx, sudo, MariaDB and cron, which these do not load meanwhile.
    "/etc/nginx/conf.d/refused.conf": f"""server {{
        listen 80; listen 8092; server_name refused.lab.test; root {BENCH}/sites;
        auth_basic staff; auth_basic_user_file /etc/hostname;
    }}""",
    "/etc/sudoers.d/refused": "frappe ALL = (ALL : ALL) NOPASSWD : ALL",
    "/etc/mysql/mariadb.conf.d/zz-refused.cnf": "[mysqld]\n"
    "innodb_flush_log_at_trx_commit = 2\nskip-log-bin",
    "/etc/mysql/mariadb.conf.d/60-refused.cnf": "[mysqld]\nbinlog-do-db = _one",
    "/etc/cron.d/refused": f"0 0 31 2 * frappe cd {BENCH} && bench update --patch",
    "/etc/supervisor/conf.d/broken.conf": '[program:x]\ncommand=/bin/x\nenvironment=A="s3cr3t%"',
}
# A block below the includes of MariaDB's first file, as in install guides.
BLOCK = r"cd /etc/mysql; cp -a mariadb.cnf /run; printf '[mysqld]\nsync_binlog = 0\n' >>mariadb.cnf"
UNBLOCK = "cp -a /run/mariadb.cnf /etc/mysql"
REFUSED_FOLDERS = ("/var/lib/erp", f"{BENCH}/sites/pg.test")
# How much longer than by hand a user may wait, as a playbook needs the processor, too.
FACTOR, MORE_SECONDS = 4, 5
LANES = 2

# Runs on the host: every file and link that an adoption could have changed, as {path: [kind, mode,
# owner, group, ACL, content]}. Files that a running server writes by itself are left out.
TREE = f"""
import hashlib, json, os, stat
ROOTS = ["/etc", "/usr/local", "/opt", "/home/frappe", "/root", "/var/spool/cron",
         "/var/lib/benchfleet"]
SKIP = ("/root/.ansible", "/home/frappe/.cache", "{BENCH}/logs", "{BENCH}/config/pids",
        "{BENCH}/config/scheduler_process", "{BENCH}/apps")
found = {{}}
def note(path):
    info = os.lstat(path)
    try:
        acl = os.getxattr(path, "system.posix_acl_access", follow_symlinks=False).hex()
    except OSError:
        acl = ""
    what = ""
    if stat.S_ISLNK(info.st_mode):
        what = os.readlink(path)
    elif stat.S_ISREG(info.st_mode):
        what = hashlib.sha256(open(path, "rb").read()).hexdigest()
    found[path] = [stat.S_IFMT(info.st_mode), oct(info.st_mode & 0o7777), info.st_uid, info.st_gid,
                   acl, what]
for root in ROOTS:
    for folder, folders, files in os.walk(root):
        folders[:] = [d for d in folders if d not in ("__pycache__", "locks", "node_modules")
                      and not os.path.join(folder, d).startswith(SKIP)]
        note(folder)
        for name in files + [d for d in folders if os.path.islink(os.path.join(folder, d))]:
            path = os.path.join(folder, name)
            if not path.startswith(SKIP) and not path.endswith((".pyc", ".log")):
                note(path)
print(json.dumps(found))
"""

# State that is not in files; the commands run on the host.
FACTS = {
    "programs": "supervisorctl status | awk '{print $1, $2}'",
    "units": "systemctl is-enabled mariadb nginx supervisor redis-server cron;"
    " systemctl is-active mariadb nginx supervisor redis-server cron",
    "accounts": "mariadb -NBe 'SELECT user, host FROM mysql.user ORDER BY user, host'",
    "databases": "mariadb -NBe 'SHOW DATABASES'",
    "log_bin": "mariadb -NBe 'SELECT @@log_bin, @@read_only, @@max_connections, @@bind_address,"
    " @@skip_name_resolve'",
    "crontabs": "crontab -l; crontab -l -u frappe",
    "wiki": "curl -s http://127.0.0.1:8090/",
    "operator": f"curl -s -H 'Host: {state.SITE}' http://127.0.0.1/operator.txt;"
    " curl -s -o /dev/null -w '%{http_code}\\n' http://127.0.0.1:8091/api/method/ping",
    "users": "cut -d: -f1 /etc/passwd | sort",
}

Tree = dict[str, list[Any]]


def playbook(*words: str, inventory: Path = INVENTORY, fails: bool = False) -> str:
    """Run ansible-playbook, which must succeed, or fail; returns its output."""
    environment = {k: v for k, v in os.environ.items() if k != "ANSIBLE_SSH_EXECUTABLE"}
    done = subprocess.run(
        ["ansible-playbook", "-i", str(inventory), *words],
        cwd=ROOT,
        env={**environment, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"},
        capture_output=True,
        text=True,
        check=False,
    )
    output = done.stdout + done.stderr
    assert (done.returncode != 0) == fails, output
    return output


def side_by_side(runs: dict[str, Callable[[], str]]) -> dict[str, Future[str]]:
    """Run independent playbooks at the same time; a failure is raised where its result is read.

    Those that take longest come first.
    """
    with ThreadPoolExecutor(LANES) as lanes:
        return {name: lanes.submit(run) for name, run in runs.items()}


def changed(before: Tree, after: Tree) -> set[str]:
    """Paths that were added, removed or changed; of a folder, its attributes count."""
    return {path for path in {*before, *after} if before.get(path) != after.get(path)}


@dataclass
class Player:
    """A user who saves a document and queues a job again and again, and notes when that worked.

    saves: when each was answered and what was wrong with it, "" for nothing.
    """

    visitor: Visitor
    story: str
    saves: list[tuple[float, str]] = field(default_factory=list)
    queued: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def call(self, path: str, **content: dict[str, str]) -> str:
        """POST a call; returns what was wrong, "" for nothing."""
        try:
            answer = self.visitor.call("POST", path, **content)
        except (OSError, http.client.HTTPException) as error:
            return str(error) or type(error).__name__
        return "" if answer.status == 200 else answer.said()

    def queue(self, token: str) -> None:
        """Queue a job; more are queued than the workers can do, so some always wait."""
        if not self.call(ENQUEUE, form={"queue": "long", "token": token, "seconds": "1"}):
            self.queued.append(token)

    def run(self) -> None:
        """Save and queue until `over`."""
        for number in itertools.count():
            if self.over.is_set():
                return
            wrong = self.call("/api/resource/ToDo", values={"description": "saved meanwhile"})
            self.saves.append((time.monotonic(), wrong))
            if not wrong and number % 5 == 0:
                self.queue(f"{self.story}-{number}")
            self.over.wait(0.2)

    def __enter__(self) -> Player:
        self.begun = time.monotonic()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.over.set()
        self.thread.join()
        self.ended = time.monotonic()

    @property
    def good(self) -> list[float]:
        """The times at which a save succeeded."""
        return [moment for moment, wrong in self.saves if not wrong]

    @property
    def bad(self) -> list[str]:
        """Errors of the other saves."""
        return [wrong for _, wrong in self.saves if wrong]

    @property
    def gaps(self) -> list[float]:
        """Seconds without a successful save, the longest first; the end counts as one."""
        times = [self.begun, *self.good, self.ended]
        return sorted((b - a for a, b in itertools.pairwise(times)), reverse=True)

    @property
    def outages(self) -> list[list[str]]:
        """For each time that several saves failed in a row, their errors."""
        rows = itertools.groupby(self.saves, lambda save: bool(save[1]))
        said = [[wrong for _, wrong in row] for failed, row in rows if failed]
        return [words for words in said if len(words) > 1]

    def noticed_two_restarts_only(self, by_hand: float) -> None:
        """Assert that the user noticed the restarts of MariaDB and of the bench, and nothing else.

        by_hand: the pause that the same restarts made by hand.
        """
        pauses = ", ".join(f"{gap:.1f}" for gap in self.gaps[:3])
        print(f"longest pauses of the {self.story}: {pauses} s; by hand {by_hand:.1f} s")
        assert self.gaps[0] < FACTOR * by_hand + MORE_SECONDS
        assert len(self.outages) <= len(RESTARTS), self.outages
        assert not [words for words in self.bad if "403" in words]


@dataclass
class Story:
    """The host, with its state before its adoption."""

    node: Node
    user: Visitor
    tree: Tree = field(default_factory=dict, repr=False)
    facts: dict[str, str] = field(default_factory=dict)

    def look(self) -> Tree:
        """The host's files now."""
        words = [*ssh_command(self.node.lab, self.node.host), "--", "python3 -"]
        done = subprocess.run(words, input=TREE, capture_output=True, text=True, check=True)
        tree: Tree = json.loads(done.stdout)
        return tree

    def state(self) -> dict[str, str]:
        """State that is not in files."""
        script = "; ".join(f"echo '== {name}'; {command}" for name, command in FACTS.items())
        parts = re.split(r"^== (\w+)$", self.node.run(script), flags=re.MULTILINE)
        return dict(zip(parts[1::2], map(str.strip, parts[2::2]), strict=True))

    @cached_property
    def config(self) -> dict[str, Any]:
        """The site's configuration, as it was at first."""
        path = f"{BENCH}/sites/{state.SITE}/site_config.json"
        found: dict[str, Any] = json.loads(self.node.run(f"cat {path}"))
        return found

    @property
    def database(self) -> str:
        """The site's database."""
        name: str = self.config["db_name"]
        return name

    def as_site(self, statements: tuple[str, ...]) -> None:
        """Run statements as the site's own account, over TCP as its bench does."""
        account = ("-h127.0.0.1", f"-u{self.database}", f"-p{self.config['db_password']}")
        words = shlex.join(["mariadb", "--no-defaults", *account, self.database])
        self.node.run(f"{words} <<'SQL'\n{';'.join(statements)}\nSQL")

    def rows(self, table: str, where: str = "1") -> int:
        """Rows of a table of the site's."""
        return int(
            self.node.sql(f"SELECT COUNT(*) FROM `{self.database}`.`tab{table}` WHERE {where}")
        )

    def done_once(self, player: Player) -> None:
        """Wait until each job that was queued meanwhile is done, and assert that none ran twice."""
        assert len(player.queued) > 5
        table = f"`{self.database}`.`tabDemo Run`"
        query = f"SELECT token FROM {table} WHERE token LIKE '{player.story}-%'"

        def done() -> list[str]:
            return self.node.sql(query).split()

        what = f"every job of the {player.story} is done"
        wait_until(what, lambda: set(player.queued) <= set(done()), seconds=180)
        assert len(done()) == len(set(done()))

    def player(self, name: str) -> Player:
        """A user who works meanwhile, signed in since the beginning."""
        return Player(self.user.at(self.user.address, 80), name)

    def pause_by_hand(self) -> float:
        """Restart MariaDB and the bench by hand: the longest pause of a user, in seconds."""
        with self.player("by-hand") as player:
            for command in RESTARTS:
                self.node.run(command)
                saved = len(player.good)
                wait_until("saves work again", lambda saved=saved: len(player.good) > saved)
        return player.gaps[0]

    def enqueue(self, tokens: tuple[str, ...], seconds: float) -> None:
        """Queue jobs: one worker takes them one by one, the others wait."""
        for token in tokens:
            form = {"queue": "long", "token": token, "seconds": str(seconds)}
            answer = self.user.call("POST", ENQUEUE, form=form)
            assert answer.status == 200, answer.said()


def make_by_hand(node: Node) -> None:
    """Make the bench as an operator does."""
    lab = node.lab
    arguments = f"bash -s {lab.frappe_repo} {lab.frappe_branch} {state.SITE}"
    words = [*ssh_command(lab, node.host), "--", arguments]
    script = SCRIPT.read_text()
    done = subprocess.run(words, input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def install_tools(node: Node) -> None:
    """Install the packages of an adoption that take longest."""
    install = "DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends"
    node.run(f"apt-get update -qq; {install} {' '.join(PACKAGES['bench'])}", 600)


@pytest.fixture(scope="session")
def story(lab: state.Lab) -> Story:
    """The bench made by hand, with a user signed in."""
    node = Node(lab, lab.hosts[0])
    if not node.says("ls /etc/nginx/conf.d/frappe-bench.conf"):
        with ThreadPoolExecutor() as both:
            tools = both.submit(install_tools, Node(lab, lab.hosts[1]))
            make_by_hand(node)
        tools.result()
    user = Visitor(lab.hosts[0].ip, 80, state.SITE, timeout=20)
    ping = "/api/method/ping"
    wait_until("the bench answers", lambda: user.call("GET", ping).status == 200)
    user.sign_in(USER, PASSWORD)
    told = Story(node, user)
    told.tree, told.facts = told.look(), told.state()
    return told


@dataclass
class Tries:
    """Output of runs that must change nothing, and the primary's files after them."""

    said: dict[str, Future[str]] = field(repr=False)
    tree: Tree = field(repr=False)

    def words(self, name: str) -> str:
        """Output of one of them, with blanks for its line breaks."""
        return " ".join(self.said[name].result().split())


@pytest.fixture(scope="session")
def tries(story: Story) -> Tries:
    """A dry run before the adoption, and runs that are refused: the last for all that is wrong."""
    preflight = "playbooks/preflight.yml"
    wrong = (*ADOPT, "-e", "fleet_redis_queue_port=11001", "-e", "bench_frappe_branch=version-16")
    elsewhere = ("-e", "fleet_bench_dir=/home/frappe/bench")
    said = side_by_side(
        {
            "dry run": lambda: playbook("--check", "--diff", "site.yml", *ADOPT),
            "unasked": lambda: playbook(preflight, fails=True),
            "elsewhere": lambda: playbook(preflight, *ADOPT, *elsewhere, fails=True),
        }
    )
    for path, text in REFUSED.items():
        # sudo refuses files with another mode.
        mode = "0440" if "sudoers" in path else "0644"
        story.node.run(f"install -D -m {mode} /dev/stdin {path} <<'END'\n{text}\nEND")
    story.node.run(BLOCK)
    try:
        said |= side_by_side({"refused": lambda: playbook("site.yml", *wrong, fails=True)})
    finally:
        story.node.run(f"{UNBLOCK}; rm -rf {' '.join((*REFUSED, *REFUSED_FOLDERS))}")
    return Tries(said, story.look())


@dataclass
class Adoption:
    """The adoption as users saw it. by_hand: the pause that the same restarts make."""

    player: Player
    by_hand: float
    tree: Tree = field(repr=False)
    starts: int
    manifest: dict[str, Any] = field(repr=False)


@pytest.fixture(scope="session")
def adopted(story: Story, tries: Tries) -> Adoption:
    """The adoption, while a user works and jobs wait."""
    by_hand = story.pause_by_hand()
    since = story.node.run("date +%s")
    story.enqueue(JOBS, 8)
    with story.player("adoption") as player:
        playbook("site.yml", *CONFIRMED)
    log = story.node.run(f"journalctl -u mariadb --since @{since} -o cat --no-pager")
    folder = story.node.run("ls -d /var/backups/benchfleet/*")
    manifest = json.loads(story.node.run(f"cat {folder}/manifest.json"))
    manifest["folder"] = folder
    starts = log.count("ready for connections")
    return Adoption(player, by_hand, story.look(), starts, manifest)


@pytest.fixture(scope="session")
def alone(lab: state.Lab, tmp_path_factory: Any) -> Path:
    """The lab's inventory without its reporting nodes."""
    return make_inventory(tmp_path_factory.mktemp("inventory") / "alone", [lab.hosts[0].name], {})


@pytest.fixture(scope="session")
def release(story: Story) -> tuple[str, ...]:
    """Arguments that release the primary."""
    return ("playbooks/release.yml", "-e", f"confirm={story.node.name}")


@pytest.fixture(scope="session")
def later_tries(adopted: Adoption, story: Story, alone: Path, release: tuple[str, ...]) -> Tries:
    """A second run and a verification of the fleet, and releases that are refused."""
    passwords = json.dumps({"verify_passwords": {state.SITE: PASSWORD}})
    said = side_by_side(
        {
            "second run": lambda: playbook("site.yml", *ADOPT, *KEEPS),
            "verify": lambda: playbook("playbooks/verify.yml", "-e", passwords),
        }
    )
    # Of runs that change something, there is one at a time.
    refused = {
        "unasked": lambda: playbook(release[0], inventory=alone, fails=True),
        "nodes": lambda: playbook(*release, fails=True),
        "replica": lambda: playbook(*release, inventory=alone, fails=True),
    }
    for name, run in refused.items():
        said |= side_by_side({name: run})
    return Tries(said, story.look())


@dataclass
class Release:
    """The release as users saw it. by_hand: the pause that the same restarts make."""

    player: Player
    by_hand: float
    tree: Tree = field(repr=False)


@pytest.fixture(scope="session")
def by_hand(story: Story, later_tries: Tries, lab: state.Lab) -> float:
    """The pause that restarts by hand make, once the reporting node was taken out."""
    name = lab.hosts[1].name
    playbook("playbooks/remove_node.yml", "-e", f"node={name}", "-e", f"confirm={name}")
    return story.pause_by_hand()


@pytest.fixture(scope="session")
def released(story: Story, by_hand: float, alone: Path, release: tuple[str, ...]) -> Release:
    """The release under load."""
    with story.player("release") as player:
        playbook(*release, inventory=alone)
    wait_until("programs run", lambda: story.state()["programs"] == story.facts["programs"])
    return Release(player, by_hand, story.look())
