"""One story: a bench is made by hand, adopted under load, and released again."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from nodes import Node, wait_until

from benchfleet import state
from benchfleet.lab import ssh_command
from benchfleet.runner import ROOT
from module_utils.verify_look import Visitor

INVENTORY = ROOT / "inventory/lab"
SCRIPT = ROOT / "molecule/adopt/handmade.sh"
BENCH = "/home/frappe/frappe-bench"
USER, PASSWORD = "Administrator", "by-hand"
ADOPT = ("-e", "fleet_adopt=true")
CONFIRMED = (*ADOPT, "-e", "adopt_restart_confirmed=true")
ENQUEUE = "/api/method/frappe.demo.enqueue_run"
JOBS = tuple(f"adopt-{number}" for number in range(3))

# Runs on the host: every file and link that an adoption could have changed, as {path: [kind, mode,
# owner, group, ACL, content]}. What a running server writes by itself is left out.
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

Tree = dict[str, list[Any]]


def playbook(*words: str, inventory: Path = INVENTORY, fails: bool = False) -> str:
    """Run ansible-playbook, which must end well, or badly; returns what it said."""
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


def changed(before: Tree, after: Tree) -> set[str]:
    """Paths that came, went or are not what they were; a folder's own are its attributes."""
    return {path for path in {*before, *after} if before.get(path) != after.get(path)}


@dataclass
class Player:
    """A user who saves a document and queues a job again and again, and notes when that worked."""

    visitor: Visitor
    story: str
    good: list[float] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    queued: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def queue(self, token: str) -> None:
        """Queue a job: more than the workers do in that time, so that some wait at any moment."""
        form = {"queue": "long", "token": token, "seconds": "0.5"}
        if self.visitor.call("POST", ENQUEUE, form=form).status == 200:
            self.queued.append(token)

    def run(self) -> None:
        """Save and queue until `over`."""
        for number in itertools.count():
            if self.over.is_set():
                return
            values = {"description": "saved meanwhile"}
            try:
                answer = self.visitor.call("POST", "/api/resource/ToDo", values=values)
                if answer.status == 200:
                    self.good.append(time.monotonic())
                    if number % 5 == 0:
                        self.queue(f"{self.story}-{number}")
                else:
                    self.bad.append(answer.said())
            except OSError as error:
                self.bad.append(str(error))
            self.over.wait(0.1)

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
    def gaps(self) -> list[float]:
        """Seconds without a save that worked, the longest first; the end counts as one."""
        times = [self.begun, *self.good, self.ended]
        return sorted((b - a for a, b in itertools.pairwise(times)), reverse=True)


@dataclass
class Story:
    """The host, and what was seen of it before its adoption."""

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
        """What is no file."""
        run = self.node.run
        return {
            "programs": run("supervisorctl status | awk '{print $1, $2}'"),
            "units": run(
                "systemctl is-enabled mariadb nginx supervisor redis-server cron;"
                " systemctl is-active mariadb nginx supervisor redis-server cron"
            ),
            "accounts": self.node.sql("SELECT user, host FROM mysql.user ORDER BY user, host"),
            "databases": self.node.sql("SHOW DATABASES"),
            "log_bin": self.node.sql(
                "SELECT @@log_bin, @@read_only, @@max_connections, @@bind_address,"
                " @@skip_name_resolve"
            ),
            "crontabs": run("crontab -l; crontab -l -u frappe"),
            "wiki": run("curl -s http://127.0.0.1:8090/"),
            "users": run("cut -d: -f1 /etc/passwd | sort"),
        }

    @property
    def database(self) -> str:
        """The site's database."""
        path = f"{BENCH}/sites/{state.SITE}/site_config.json"
        name: str = json.loads(self.node.run(f"cat {path}"))["db_name"]
        return name

    def rows(self, table: str, where: str = "1") -> int:
        """Rows of a table of the site's."""
        return int(
            self.node.sql(f"SELECT COUNT(*) FROM `{self.database}`.`tab{table}` WHERE {where}")
        )

    def done_once(self, player: Player) -> None:
        """Wait until each job that was queued meanwhile was done, and see that none was twice."""
        assert len(player.queued) > 10
        table = f"`{self.database}`.`tabDemo Run`"
        query = f"SELECT token FROM {table} WHERE token LIKE '{player.story}-%'"

        def done() -> list[str]:
            return self.node.sql(query).split()

        what = f"every job of the {player.story} is done"
        wait_until(what, lambda: set(player.queued) <= set(done()), seconds=180)
        assert len(done()) == len(set(done()))

    def enqueue(self, tokens: tuple[str, ...]) -> None:
        """Queue jobs of some seconds each: one worker takes them one by one, the others wait."""
        for token in tokens:
            form = {"queue": "long", "token": token, "seconds": "8"}
            answer = self.user.call("POST", ENQUEUE, form=form)
            assert answer.status == 200, answer.said()


@pytest.fixture(scope="session")
def story(lab: state.Lab) -> Story:
    """The bench made by hand, with a user signed in."""
    node = Node(lab, lab.hosts[0])
    if not node.says("ls /etc/nginx/conf.d/frappe-bench.conf"):
        arguments = f"bash -s {lab.frappe_repo} {lab.frappe_branch} {state.SITE}"
        words = [*ssh_command(lab, lab.hosts[0]), "--", arguments]
        script = SCRIPT.read_text()
        done = subprocess.run(words, input=script, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    user = Visitor(lab.hosts[0].ip, 80, state.SITE, timeout=20)
    deadline = time.monotonic() + 60
    while user.call("GET", "/api/method/ping").status != 200:
        assert time.monotonic() < deadline, "the bench made by hand does not answer"
        time.sleep(0.2)
    user.sign_in(USER, PASSWORD)
    told = Story(node, user)
    told.tree, told.facts = told.look(), told.state()
    return told


@pytest.fixture(scope="session")
def dry_run(story: Story) -> str:
    """What a dry run says before the adoption."""
    return playbook("--check", "--diff", "site.yml", *ADOPT)


@dataclass
class Adoption:
    """What was seen of the adoption."""

    output: str = field(repr=False)
    player: Player
    tree: Tree = field(repr=False)
    starts: int
    manifest: dict[str, Any] = field(repr=False)


@pytest.fixture(scope="session")
def adopted(story: Story, dry_run: str) -> Adoption:
    """The adoption, while somebody works and jobs wait."""
    since = story.node.run("date +%s")
    story.enqueue(JOBS)
    with Player(story.user.at(story.user.address, 80), "adoption") as player:
        output = playbook("site.yml", *CONFIRMED)
    log = story.node.run(f"journalctl -u mariadb --since @{since} -o cat --no-pager")
    folder = story.node.run("ls -d /var/backups/benchfleet/*")
    manifest = json.loads(story.node.run(f"cat {folder}/manifest.json"))
    manifest["folder"] = folder
    starts = log.count("ready for connections")
    return Adoption(output, player, story.look(), starts, manifest)


@pytest.fixture(scope="session")
def alone(lab: state.Lab, tmp_path_factory: Any) -> Path:
    """The lab's inventory without its reporting nodes."""
    folder: Path = tmp_path_factory.mktemp("alone")
    shown = subprocess.run(
        [sys.executable, str(INVENTORY / "hosts.py"), "--list"],
        env=dict(os.environ),
        capture_output=True,
        text=True,
        check=True,
    )
    hosts = json.loads(shown.stdout)
    name = lab.hosts[0].name
    primary = {"hosts": {name: hosts["_meta"]["hostvars"][name]}}
    whole = {"vars": hosts["all"]["vars"], "children": {"primary": primary, "reporting": {}}}
    (folder / "hosts.yml").write_text(yaml.safe_dump({"all": whole}))
    (folder / "groups.yml").write_text((INVENTORY / "groups.yml").read_text())
    (folder / "group_vars").mkdir()
    for file in (INVENTORY / "group_vars").iterdir():
        (folder / "group_vars" / file.name).write_text(file.read_text())
    return folder


@dataclass
class Release:
    """What was seen of the release."""

    output: str = field(repr=False)
    player: Player
    tree: Tree = field(repr=False)


@pytest.fixture(scope="session")
def released(adopted: Adoption, story: Story, alone: Path, lab: state.Lab) -> Release:
    """The release under load, after the reporting node was taken out as the README says."""
    playbook("site.yml", inventory=alone)
    Node(lab, lab.hosts[1]).run("systemctl disable --now supervisor mariadb 2>&1")
    release = ("playbooks/release.yml", "-e", f"confirm={story.node.name}")
    with Player(story.user.at(story.user.address, 80), "release") as player:
        output = playbook(*release, inventory=alone)
    wait_until("programs run", lambda: story.state()["programs"] == story.facts["programs"])
    return Release(output, player, story.look())
