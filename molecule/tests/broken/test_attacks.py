"""The bench's account attacks its own server and the others, and cannot become root.

Programs that it leaves behind make a file that only root can make (OWNED) when root runs them. Its
links lead to root's files, which nothing may change (KEPT).
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from calls import Somebody
from nodes import Node, wait_until
from plays import Run
from upstream import Upstream

from benchfleet.lab import state

HOME, SITE = "/home/frappe", "erp.lab.test"
BENCH, EVIL = f"{HOME}/frappe-bench", f"{HOME}/evil"
OWNED, KEPT = "/run/owned-by-the-account", "/root/kept"
PAYLOAD = f"[ $(id -u) != 0 ] || touch {OWNED}\n"

# Everything that a program of root's might read because of its folder or its account. None of it
# changes what the account's own programs do.
TRAPS = rf"""
umask 022
cd {HOME}
mkdir -p evil/bin .local/bin .config/git .config/pip .config/systemd/user
printf '#!/bin/sh\n%s' {shlex.quote(PAYLOAD)} >evil/payload
chmod 755 evil/payload
for program in awk bash cat env find git mariadb nginx pip python3 redis-cli sh supervisorctl; do
    printf '#!/bin/sh\n%sPATH=/usr/local/bin:/usr/bin:/bin exec "$(basename "$0")" "$@"\n' \
        {shlex.quote(PAYLOAD)} >evil/bin/$program
    chmod 755 evil/bin/$program
    cp evil/bin/$program .local/bin/$program
done
for file in .bashrc .bash_profile .profile .zshrc .pam_environment; do
    tail -n 1 evil/payload >>$file
done
printf 'import os\nif os.getuid() == 0:\n    open("{OWNED}", "w")\n' >evil/trap.py
for folder in . frappe-bench frappe-bench/sites frappe-bench/apps frappe-bench/config; do
    cp evil/trap.py $folder/sitecustomize.py
    cp evil/trap.py $folder/usercustomize.py
done
for library in frappe-bench/env/lib/python3*/site-packages .local/lib/python3.11/site-packages; do
    mkdir -p $library
    echo 'import os; os.getuid() or open("{OWNED}", "w")' >$library/trap.pth
done
for hook in post-checkout post-merge pre-commit reference-transaction post-index-change; do
    cp evil/payload frappe-bench/apps/frappe/.git/hooks/$hook
done
git config --global core.fsmonitor {EVIL}/payload
git config --global core.pager {EVIL}/payload
git config --global core.hooksPath {EVIL}/bin
git -C frappe-bench/apps/frappe config core.fsmonitor {EVIL}/payload
git -C frappe-bench/apps/frappe config core.sshCommand {EVIL}/payload
git -C frappe-bench/apps/frappe config diff.external {EVIL}/payload
printf '[client]\nplugin-dir={EVIL}\n' >.my.cnf
(crontab -l 2>/dev/null; echo '* * * * * {EVIL}/payload') | crontab -
"""
# These are removed again, or they would affect later tests.
UNTRAPPED = rf"""
cd {HOME}
rm -rf evil .local/bin .my.cnf .gitconfig .zshrc .pam_environment
rm -f .local/lib/python3.11/site-packages/trap.pth
for file in .bashrc .bash_profile .profile; do
    [ ! -f $file ] || sed -i '\|{OWNED}|d' $file
done
rm -f sitecustomize.py usercustomize.py frappe-bench/*customize.py frappe-bench/*/*customize.py
rm -f frappe-bench/env/lib/python3*/site-packages/trap.pth
cd frappe-bench/apps/frappe
rm -f .git/hooks/post-checkout .git/hooks/post-merge .git/hooks/pre-commit
rm -f .git/hooks/reference-transaction .git/hooks/post-index-change
for key in core.fsmonitor core.sshCommand diff.external; do git config --unset $key; done
crontab -l | grep -v {EVIL} | crontab -
"""

# Replaces paths of the account by links to files and folders of root, and back, again and again:
# {path: the link's target}. When it ends, all is as it was.
SWAP = """
import ctypes, json, os, signal, sys, time

pairs, libc, going = json.loads(sys.argv[1]), ctypes.CDLL(None), True

def end(*_):
    global going
    going = False

def exchange(path):
    libc.renameat2(-100, path.encode(), -100, (path + ".swap").encode(), 2)

signal.signal(signal.SIGTERM, end)
for path, to in pairs.items():
    os.symlink(to, path + ".swap")
while going:
    for path in pairs:
        exchange(path)
    time.sleep(0.002)
    for path in pairs:
        exchange(path)
    time.sleep(0.01)
for path in pairs:
    if os.path.islink(path):
        exchange(path)
    if os.path.islink(path + ".swap"):
        os.unlink(path + ".swap")
"""
# Adds a program to what the bench CLI has just written, again and again.
APPEND = """
import sys, time

text, *paths = sys.argv[1:]
while True:
    for path in paths:
        try:
            with open(path, "r+") as file:
                if text not in file.read():
                    file.write(text)
        except OSError:
            pass
    time.sleep(0.002)
"""
PROGRAM = f"""
[program:owned]
command={EVIL}/payload
user=root

[eventlistener:owned]
command={EVIL}/payload
events=TICK_5

[supervisorctl]
serverurl=unix://{EVIL}/supervisor.sock
"""


class Attacker:
    """The bench's account on a host."""

    def __init__(self, node: Node) -> None:
        self.node = node

    def run(self, script: str, seconds: float = 60) -> str:
        """Run a script of shell as the account; returns its output, whatever its exit status."""
        words = ["runuser", "-u", "frappe", "--", "env", f"HOME={HOME}", "sh", "-c", script]
        return self.node.run(f"cd / && {shlex.join(words)} 2>&1; true", seconds=seconds)

    @contextmanager
    def doing(self, name: str, code: str, *words: str) -> Iterator[None]:
        """Run a program of the account meanwhile, for half an hour at most."""
        unit = f"attack-{name}"
        command = ["systemd-run", "--quiet", "--collect", "--unit", unit, "--uid", "frappe"]
        command += ["--property", "RuntimeMaxSec=1800", "/usr/bin/python3", "-c", code, *words]
        self.node.run(shlex.join(command))
        try:
            yield
        finally:
            self.node.run(f"systemctl stop {unit}")


@pytest.fixture(scope="module")
def attackers(nodes: dict[str, Node]) -> Iterator[dict[str, Attacker]]:
    """The account on the primary and on a reporting node, whose homes are full of traps."""
    found = {name: Attacker(nodes[name]) for name in ("erp1", "rep1")}
    for attacker in found.values():
        attacker.node.run(
            f"rm -f {OWNED}; mkdir -m 755 {KEPT}; echo kept >{KEPT}/file; chmod 600 {KEPT}/file;"
            f" cp {KEPT}/file {KEPT}/authorized_keys; echo '{{}}' >{KEPT}/file.json"
        )
        attacker.run(TRAPS)
    yield found
    for attacker in found.values():
        attacker.run(UNTRAPPED)
        attacker.node.run(f"rm -rf {KEPT} {OWNED}")


@pytest.fixture(autouse=True)
def untouched(attackers: dict[str, Attacker]) -> Iterator[None]:
    """Root has run no program of the account, and no file of root was changed or given away."""
    look = f"find {KEPT} -printf '%p %U:%G %m %T@ %s\\n' | sort; cat {KEPT}/*"
    before = {name: one.node.run(look) for name, one in attackers.items()}
    yield
    for name, one in attackers.items():
        assert one.node.run(f"ls {OWNED} 2>/dev/null || true") == ""
        assert one.node.run(look) == before[name]


def test_sudo_gives_the_account_nothing_but_its_own_programs(attackers: dict[str, Attacker]):
    own = "[supervisorctl]\n[ctlplugin:x]\nsupervisor.ctl_factory = code:interact\n"
    script = f'open("{OWNED}", "w")'
    for attacker in attackers.values():
        attacker.run(
            f"mkdir -p {EVIL}/etc && printf %s {shlex.quote(own)} >{EVIL}/supervisord.conf &&"
            f" cp {EVIL}/supervisord.conf {EVIL}/etc && echo {shlex.quote(script)} >{EVIL}/script"
        )
        there = f"cd {EVIL} && export HOME={EVIL} PYTHONPATH={EVIL} PATH={EVIL}/bin:$PATH &&"
        for refused in (
            "supervisorctl status",
            "supervisorctl -c supervisord.conf status",
            "supervisorctl -c /etc/supervisor/supervisord.conf shell",
            "supervisorctl -c /etc/supervisor/supervisord.conf status -c supervisord.conf",
            f"supervisorctl -c {EVIL}/supervisord.conf status",
            "/usr/local/lib/benchfleet/restart-bench web",
            "id",
        ):
            told = attacker.run(f"{there} /usr/bin/sudo -n {refused} <{EVIL}/script")
            assert "password is required" in told or "not allowed" in told, (refused, told)
        status = "/usr/bin/sudo -n supervisorctl -c /etc/supervisor/supervisord.conf status"
        assert "frappe-bench-web" in attacker.run(f"{there} {status} <{EVIL}/script")
        restart = "/usr/bin/sudo -n /usr/local/lib/benchfleet/restart-bench"
        assert "started" in attacker.run(f"{there} {restart} <{EVIL}/script", seconds=300)
        assert "denied" in attacker.run("/usr/bin/mariadb -u root -e 'SELECT 1'").lower()


def test_a_log_of_the_account_is_no_way_to_a_file_of_root(attackers: dict[str, Attacker]):
    for attacker in attackers.values():
        attacker.run(
            f"cd {BENCH}/logs && for file in *.log; do"
            f' mv "$file" "$file.was" && ln -s {KEPT}/$file "$file"; done'
        )
        attacker.run("/usr/bin/sudo -n /usr/local/lib/benchfleet/restart-bench", seconds=300)
        attacker.run(f'cd {BENCH}/logs && for file in *.was; do mv "$file" "${{file%.was}}"; done')


def foreign_accounts(primary: Any) -> str:
    """The accounts with rights on the database that is not the fleet's."""
    question = "SELECT User, Host FROM mysql.db WHERE Db = 'wordpress'"
    return str(primary.check_output(f'mariadb -NBe "{question}"'))


def test_a_folder_is_no_way_to_a_database(attackers: dict[str, Attacker], primary: Any):
    primary.check_output(
        'mariadb -e "CREATE DATABASE wordpress; CREATE USER wp@localhost IDENTIFIED BY'
        " 'their-own'; GRANT ALL ON wordpress.* TO wp@localhost\""
    )
    before = foreign_accounts(primary)
    try:
        for number, asked in enumerate(
            (
                {"db_name": "wordpress", "db_password": "chosen"},
                {"db_name": "wordpress", "db_user": "wp", "db_password": "chosen"},
                {"db_name": "wordpress", "db_user": "root", "db_password": ""},
                {"db_name": "mysql", "db_password": "chosen"},
            )
        ):
            folder = f"{BENCH}/sites/grab{number}.test"
            config = shlex.quote(json.dumps(asked))
            attackers["erp1"].run(f"mkdir {folder} && echo {config} >{folder}/site_config.json")
        primary.check_output("systemctl start benchfleet-sites.service")
        assert foreign_accounts(primary) == before
    finally:
        attackers["erp1"].run(f"rm -rf {BENCH}/sites/grab?.test")
        primary.check_output('mariadb -e "DROP DATABASE wordpress; DROP USER wp@localhost"')
        primary.check_output("systemctl start benchfleet-sites.service")


# Accounts that could create accounts, or take over data of another account.
MIGHTY = (
    "SELECT User, Host FROM mysql.user WHERE 'Y' IN (Grant_priv, Super_priv, Create_user_priv,"
    " Insert_priv, File_priv)"
)


def test_nobody_is_mighty_while_a_site_is_made(primary: Any):
    before = primary.check_output(f'mariadb -NBe "{MIGHTY}"')
    tools, site = "/usr/local/lib/benchfleet", "made.test"
    making = f"{tools}/new-site {site} --admin-password {EVIL}"
    primary.check_output(f"systemd-run --quiet --unit made --remain-after-exit {making}")

    def is_made() -> bool:
        assert primary.check_output(f'mariadb -NBe "{MIGHTY}"') == before
        state = "systemctl show -p SubState --value made"
        return str(primary.check_output(state)) in ("exited", "failed")

    wait_until(f"{site} is made", is_made)
    try:
        assert primary.run("systemctl is-failed made").stdout.strip() == "active"
    finally:
        primary.check_output("systemctl stop made; systemctl reset-failed made 2>/dev/null; true")
        primary.check_output(f"{tools}/drop-site {site} --no-backup")


# Commands that Redis refuses to a node's bench, and accounts whose password the bench lacks.
ASK_REDIS = """
import json, redis, sys
url = json.load(open(sys.argv[1]))["redis_queue"]
for user in ("bench-rep1", "bench-rep2", "bench-erp1"):
    known = redis.Redis.from_url(url.replace("bench-rep1", user))
    for words in json.loads(sys.argv[2]):
        try:
            print("DONE", known.execute_command(*words.split()))
        except redis.RedisError as error:
            print("refused", error)
"""
REFUSED = (
    *(
        "CONFIG SET dir /tmp",
        "CONFIG GET *",
        "MODULE LIST",
        "DEBUG SLEEP 0",
        "FLUSHALL",
        "ACL LIST",
    ),
    *("MONITOR", "SHUTDOWN NOSAVE", "REPLICAOF 192.0.2.1 1", "SAVE", "CLIENT KILL TYPE normal"),
)


def test_a_node_is_not_the_fleet(attackers: dict[str, Attacker], nodes: dict[str, Node]):
    node, primary = attackers["rep1"], nodes["erp1"]
    asked = [f"{BENCH}/sites/common_site_config.json", json.dumps(REFUSED)]
    told = node.run(shlex.join([f"{BENCH}/env/bin/python", "-c", ASK_REDIS, *asked])).splitlines()
    assert len(told) == 3 * len(REFUSED)
    assert [line for line in told if not line.startswith("refused")] == []
    # verify reports for a day what was refused to a bench.
    password = "REDISCLI_AUTH=$(cat /etc/benchfleet/redis/admin)"
    primary.run(f"{password} redis-cli --user benchfleet -p 11000 ACL LOG RESET")
    ssh = (
        "ssh -F none -i /etc/benchfleet/ssh/sync -o IdentitiesOnly=yes -o BatchMode=yes"
        " -o UserKnownHostsFile=/etc/benchfleet/known_hosts"
    )
    source = f"frappe@{primary.host.ip}"
    for path in (
        *(
            f"{SITE}/private/backups/",
            f"{SITE}/locks/",
            f"{SITE}/",
            "common_site_config.json",
            "../",
        ),
        *("../.ssh/", "/etc/passwd", f"{SITE}/private/files/../backups/"),
    ):
        words = ["/usr/bin/rsync", "-rt", "-e", ssh, f"{source}:{path}", f"{EVIL}/taken/"]
        told = node.run(shlex.join(words))
        assert "rsync error" in told, (path, told)
    assert node.run(f"find {EVIL}/taken -type f 2>/dev/null") == ""


def test_a_pipe_holds_nobody_up(
    attackers: dict[str, Attacker], primary: Any, play: Callable[..., Run]
):
    site = f"{BENCH}/sites/pipe.test"
    attackers["erp1"].run(
        f"mkdir -p {site}/locks && echo '{{}}' >{site}/site_config.json"
        f" && mkfifo {site}/locks/bench_new_site.lock"
        f" && mkdir {BENCH}/sites/other.test && mkfifo {BENCH}/sites/other.test/site_config.json"
    )
    try:
        primary.check_output("timeout 60 systemctl start benchfleet-sites.service")
        play("--check", "--limit", "erp1", "playbooks/preflight.yml", "playbooks/primary.yml")
    finally:
        attackers["erp1"].run(f"rm -rf {site} {BENCH}/sites/other.test")
        primary.check_output("systemctl start benchfleet-sites.service")


def test_what_the_account_changes_during_a_run_is_not_run_by_root(
    attackers: dict[str, Attacker], play: Callable[..., Run]
):
    primary, replica = attackers["erp1"], attackers["rep1"]
    swaps = {f"{HOME}/.ssh": KEPT, f"{BENCH}/logs": KEPT}
    written = [f"{BENCH}/config/supervisor.conf{end}" for end in ("", ".bench")]
    with (
        primary.doing("swap", SWAP, json.dumps(swaps)),
        primary.doing("append", APPEND, PROGRAM, *written),
        replica.doing("swap", SWAP, json.dumps(swaps)),
        replica.doing("append", APPEND, PROGRAM, *written),
    ):
        play("--limit", ",".join(attackers), "site.yml", fails=None)
    for attacker in attackers.values():
        assert "owned" not in attacker.node.run("supervisorctl status || true")


def test_what_the_account_changes_during_an_update_is_not_run_by_root(
    attackers: dict[str, Attacker],
    play: Callable[..., Run],
    anybody: Callable[..., Somebody],
    lab: state.Lab,
    tmp_path_factory: pytest.TempPathFactory,
):
    upstream = Upstream.of(lab, tmp_path_factory.mktemp("upstream"))
    upstream.release("a change", {"frappe/attacked.py": "ATTACKED = True\n"})
    swaps = {
        f"{BENCH}/apps/frappe": KEPT,
        f"{BENCH}/sites/common_site_config.json": f"{KEPT}/file.json",
        f"{BENCH}/sites/{SITE}/site_config.json": f"{KEPT}/file.json",
        f"{BENCH}/sites/apps.txt": f"{KEPT}/file",
    }
    with (
        attackers["erp1"].doing("swap", SWAP, json.dumps(swaps)),
        attackers["rep1"].doing("swap", SWAP, json.dumps(swaps)),
    ):
        play("playbooks/update.yml", fails=None)
    play("playbooks/update.yml")
    play("site.yml")
    assert anybody().report().status == 200
