"""Rules of sudo, crontabs and packet filters, compared with the programs that read them."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fleet import packet_filters
from fleet.adoption import crontabs, sudo
from fleet.preflight import network
from fleet.processes import Done, run

BENCH = "/home/frappe/frappe-bench"
MODULES = Path(__file__).parents[2] / "module_utils"
# An account of every system, which is in no rule of sudo's.
USER = "daemon"


def inside(bound: dict[str, str], command: list[str], stdin: str = "") -> Done:
    """Run a command with other files in place of these, for that command alone."""
    mounts = " && ".join(f"mount --bind {new} {old}" for old, new in bound.items())
    return run(["unshare", "--mount", "sh", "-c", f'{mounts} && exec "$@"', "sh", *command], stdin)


def can_mount() -> bool:
    """Whether we may put files in the place of others for one command."""
    if os.geteuid() != 0 or not shutil.which("sudo") or not shutil.which("unshare"):
        return False
    return inside({"/etc/sudoers": "/etc/sudoers"}, ["true"]).returncode == 0


with_sudo = pytest.mark.skipif(not can_mount(), reason="no sudo here, or no mounts of one's own")

# Rules in sudoers, and whether they make the account root without a password.
RULES = [
    ("daemon ALL=(ALL) NOPASSWD:ALL", True),
    ("daemon\tALL = ( ALL : ALL )  NOPASSWD : ALL", True),
    ("%daemon ALL=NOPASSWD: ALL", True),
    ("#1 ALL=(root) NOPASSWD: ALL", True),
    ("%#1 ALL=(#0) NOPASSWD: ALL", True),
    ("ALL ALL=(ALL) NOPASSWD: ALL", True),
    ("daemon ALL=(ALL) \\\n    NOPASSWD: ALL", True),
    ("daemon ALL=(ALL) NOPASSWD: ALL, !/bin/su", True),
    ("daemon ALL=(ALL) NOPASSWD: /usr/bin/true, ALL", True),
    ("Defaults:daemon !authenticate\ndaemon ALL=(ALL) ALL", True),
    ("Defaults !authenticate\ndaemon ALL=(ALL) ALL", True),
    (
        "User_Alias BENCHES = nobody, daemon\nCmnd_Alias EVERY = ALL\nRunas_Alias WHO = root\n"
        "BENCHES ALL=(WHO) NOPASSWD: EVERY",
        True,
    ),
    ("daemon ALL=(ALL) ALL\ndaemon ALL=(ALL) NOPASSWD: ALL", True),
    ("daemon ALL=(ALL) NOPASSWD: ALL\ndaemon ALL=(ALL) PASSWD: ALL", False),
    ("Defaults:daemon !authenticate\ndaemon ALL=(ALL) PASSWD: ALL", False),
    ("daemon ALL=(ALL:ALL) ALL", False),
    ("daemon ALL=(ALL) NOPASSWD: ALL\ndaemon ALL=(ALL) !ALL", False),
    ("daemon elsewhere=(ALL) NOPASSWD: ALL", False),
    ("daemon ALL=(nobody) NOPASSWD: ALL", False),
    ("daemon ALL=(ALL, !root) NOPASSWD: ALL", False),
    ("daemon ALL=(root) NOPASSWD: /usr/bin/true", False),
    ("# daemon ALL=(ALL) NOPASSWD:ALL", False),
    ("nobody ALL=(ALL) NOPASSWD:ALL", False),
]


def looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> tuple[dict[str, str], dict[str, Any]]:
    """What is found where sudoers holds a text, and by what binds that came about."""
    for name, content in (("sudoers", f"@includedir {tmp_path}/more\n"), ("more/own", text)):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(f"{content}\n")
        file.chmod(0o440)
    bound = {"/etc/sudoers": f"{tmp_path}/sudoers"}
    real = sudo.read
    monkeypatch.setattr(sudo, "read", lambda path: real(bound.get(path, path)))
    found = sudo.look_at_sudo(USER, lambda command, stdin="": inside(bound, command, stdin))
    return bound, found


def judged(rules: dict[str, Any], *, confirmed: bool = False) -> tuple[list[Any], list[Any]]:
    """Problems and notices of preflight for these rules."""
    host = {"name": "erp1", "sudo_confirmed": confirmed}
    found = {"sudo": rules, "bench": {"owner": USER}}
    return (
        list(sudo.check_sudo(host, found, {})),
        list(sudo.sudo_notices(host, found)),
    )


@with_sudo
@pytest.mark.parametrize(("text", "is_root"), RULES)
def test_an_account_that_is_root_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, is_root: bool
) -> None:
    bound, found = looked(tmp_path, monkeypatch, text)
    # sudo itself, asked by that account.
    done = inside(bound, ["runuser", "-u", USER, "--", "sudo", "-n", "/usr/bin/id", "-u"])
    assert (done.returncode == 0 and done.stdout.strip() == "0") is is_root, done
    problems, _ = judged(found)
    assert bool(problems) is is_root, found
    if not is_root:
        return
    lines = text.splitlines()
    number = max(n for n, line in enumerate(lines, 1) if re.match(r"\S+\s+ALL\s*=", line))
    assert problems[0]["id"] == "adopt_sudo_without_password"
    assert problems[0]["place"] == f"{tmp_path}/more/own:{number} on erp1"
    assert "ALL" in problems[0]["facts"]["commands"]
    # The remedies: without the rule, and with the word.
    assert judged(found, confirmed=True)[0] == []
    assert judged(looked(tmp_path, monkeypatch, "")[1])[0] == []


@with_sudo
@pytest.mark.parametrize(
    ("command", "is_root"),
    [
        ("/bin/bash", True),
        ("/usr/bin/su - root", True),
        ("/usr/bin/env", True),
        ("/usr/bin/python3.11", True),
        ("/usr/bin/*", True),
        ("/usr/bin/", True),
        ("sudoedit /etc/hosts", True),
        ("/usr/bin/rsync", True),
        ("/usr/bin/supervisorctl", False),
        ("/usr/sbin/service nginx *", False),
        ("/usr/bin/systemctl * nginx", False),
        ("/usr/bin/certbot", False),
    ],
)
def test_programs_that_do_what_they_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, is_root: bool
) -> None:
    _, found = looked(tmp_path, monkeypatch, f"daemon ALL=(root) NOPASSWD: {command}")
    assert [rule["command"] for rule in found["rules"]] == [command]
    assert found["rules"][0]["place"] == f"{tmp_path}/more/own:1"
    problems, notices = judged(found)
    assert [one["id"] for one in problems] == ["adopt_sudo_without_password"] * is_root
    assert [one["id"] for one in notices] == ["sudo_half_root"] * (not is_root)


@with_sudo
def test_a_program_that_the_account_can_change_is_root_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "restart"
    script.write_text("#!/bin/sh\n")
    rule = f"daemon ALL=(root) NOPASSWD: {script}"
    assert judged(looked(tmp_path, monkeypatch, rule)[1])[0] == []
    shutil.chown(script, USER)
    assert len(judged(looked(tmp_path, monkeypatch, rule)[1])[0]) == 1


@with_sudo
def test_a_rule_that_asks_for_a_password_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problems, (notice,) = judged(looked(tmp_path, monkeypatch, "%daemon ALL=(ALL:ALL) ALL")[1])
    assert problems == []
    assert notice["id"] == "sudo_with_password"
    assert notice["facts"]["commands"] == [f"ALL ({tmp_path}/more/own:1)"]


def test_ansible_needs_another_account_first() -> None:
    rule = {"command": "ALL", "password": False, "place": "/etc/sudoers:9", "own": False}
    found = {"sudo": {"rules": [rule], "groups": []}, "bench": {"owner": USER}}
    host = {"name": "erp1", "sudo_confirmed": False, "target": {"user": USER}}
    (problem,) = sudo.check_sudo(host, found, {})
    assert problem["id"] == "adopt_sudo_of_ansible"
    assert problem["facts"]["user"] == USER
    host["target"] = {"user": "admin"}
    (problem,) = sudo.check_sudo(host, found, {})
    assert problem["id"] == "adopt_sudo_without_password"


def test_groups_of_root_are_refused() -> None:
    (problem,), _ = judged({"trouble": "", "rules": [], "groups": ["docker"]})
    assert problem["id"] == "adopt_group_of_root"
    assert "`gpasswd --delete daemon docker`" in problem["remedy"]
    _, (notice,) = judged({"trouble": "no answer", "rules": [], "groups": []})
    assert notice["id"] == "sudo_unknown"
    assert notice["facts"]["trouble"] == "no answer"


# Lines of crontabs, and what of them changes or stops a bench.
LINES = [
    ("0 3 * * 0 frappe cd /home/frappe/frappe-bench && bench update --patch", "bench update"),
    ("0 10 * * * cd /home/frappe/frappe-bench && /usr/local/bin/bench update --auto >> l 2>&1",
     "bench update"),
    ("@daily su - frappe -c 'cd frappe-bench; ~/.local/bin/bench --site all migrate'",
     "bench migrate"),
    ("@daily bench --verbose --site=erp.example.com --force migrate>/dev/null", "bench migrate"),
    ("5 4 * * * root sudo -u frappe -H bench restart", "bench restart"),
    ("5 4 * * * (cd x;bench update)", "bench update"),
    ("5 4 * * * cd /home/frappe/frappe-bench/apps/erpnext && git pull", "git pull"),
    ("5 4 * * * git -C /home/frappe/frappe-bench/apps/erpnext pull --rebase", "git pull"),
    ("5 4 * * * cd /home/frappe/frappe-bench/sites && ../env/bin/python -m"
     " frappe.utils.bench_helper frappe --site all migrate", "bench migrate"),
    ("5 4 * * * cd /home/frappe/frappe-bench && bench setup nginx --yes", "bench setup nginx"),
    ("5 4 * * * cd /home/frappe/frappe-bench && bench switch-to-branch version-16",
     "bench switch-to-branch"),
    ("5 4 * * * frappe cd /home/frappe/frappe-bench && \\\n  bench update", "bench update"),
    # What stays.
    ("17 3 * * * cd /home/frappe/frappe-bench && bench --site all backup >/dev/null", ""),
    ("# 0 3 * * 0 frappe bench update", ""),
    ("0 3 * * 0 root workbench update", ""),
    ("0 3 * * 0 root bench updates", ""),
    ("0 3 * * * cd /srv/site && git pull", ""),
    ("0 3 * * 0 root bench renew-lets-encrypt", ""),
    ("0 3 * * 0 frappe bench --site erp.example.com execute app.update", ""),
]  # fmt: skip


@pytest.mark.parametrize(("line", "command"), LINES)
def test_crontabs_that_change_the_bench_are_named(tmp_path: Path, line: str, command: str) -> None:
    file = tmp_path / "frappe"
    file.write_text(f"SHELL=/bin/bash\n{line}\n")
    masks = [f"{tmp_path}/*"]
    found = crontabs.look_at_crontabs(BENCH, masks)
    assert [entry["command"] for entry in found] == ([command] if command else [])
    host = {"name": "erp1"}
    problems = list(crontabs.check_crontabs(host, {"crontabs": found}, {}))
    notices = list(crontabs.crontab_notices(host, {"crontabs": found}))
    stays = command in crontabs.HARMLESS_COMMANDS
    assert [one["id"] for one in problems] == ["adopt_command_in_crontab"] * bool(
        command and not stays
    )
    assert [one["id"] for one in notices] == ["command_stays"] * stays
    for one in (*problems, *notices):
        assert one["facts"]["place"] == f"{file}:{2 + line.count(chr(10))}"
        assert one["facts"]["command"] == command
    # The remedy.
    file.write_text("SHELL=/bin/bash\n#" + line.replace("\\\n", "") + "\n")
    assert crontabs.look_at_crontabs(BENCH, masks) == []


def test_scripts_that_a_crontab_runs_are_looked_into(tmp_path: Path) -> None:
    script = tmp_path / "update.sh"
    script.write_text("#!/bin/sh\nPASSWORD=secret\ncd /x\nbench update --reset\n")
    (tmp_path / "crontab").write_text(f"0 1 * * * {script} >/dev/null\n#0 2 * * * {script}\n")
    (found,) = crontabs.look_at_crontabs(BENCH, [f"{tmp_path}/crontab"])
    assert found == {
        "place": f"{tmp_path}/crontab:1",
        "command": "bench update",
        "through": f"{script}:4",
    }
    (tmp_path / "bench.service").write_text(f"[Service]\nExecStart={script}\n")
    (found,) = crontabs.look_at_crontabs(BENCH, [f"{tmp_path}/*.service"])
    assert found["through"] == f"{script}:4"
    (problem,) = crontabs.check_crontabs({"name": "erp1"}, {"crontabs": [found]}, {})
    assert problem["id"] == "adopt_command_in_script"
    assert problem["facts"] == {"host": "erp1", **found}


def test_a_port_without_a_listener_is_not_dropped() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert packet_filters.look_at_ways([{"address": "127.0.0.1", "port": port}], 1) == []
    assert packet_filters.look_at_ways([{"address": "127.0.0.1", "port": port}], 1) == []
    assert packet_filters.look_at_ways([], 1) == []


class Net:
    """Two hosts on a wire of their own: network namespaces, one with a packet filter."""

    def __init__(self, number: int) -> None:
        self.names = [f"n16t{number}{end}" for end in "ab"]
        self.addresses = ["10.213.77.1", "10.213.77.2"]
        one, other = self.names
        self.sh(f"ip netns add {one} && ip netns add {other}")
        self.sh(f"ip -n {one} link add lan type veth peer name lan netns {other}")
        for name, address in zip(self.names, self.addresses, strict=True):
            self.sh(
                f"ip -n {name} address add {address}/24 dev lan && ip -n {name} link set lan up"
            )
            self.sh(f"ip -n {name} link set lo up")

    def sh(self, words: str) -> None:
        """Run a command of the controller's."""
        subprocess.run(["sh", "-c", words], check=True, capture_output=True)

    def on(self, words: list[str], stdin: str = "") -> Done:
        """Run a program on the host that has the filter."""
        return run(["ip", "netns", "exec", self.names[1], *words], stdin)

    def dropped(self) -> list[int]:
        """Ports of that host that the other one cannot reach."""
        code = (
            f"import sys; sys.path.append('{MODULES}'); from fleet import packet_filters;"
            f"ways = [{{'address': '{self.addresses[1]}', 'port': p}} for p in (3306, 13000)];"
            "print([way['port'] for way in packet_filters.look_at_ways(ways, 0.5)])"
        )
        done = subprocess.run(
            ["ip", "netns", "exec", self.names[0], sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return list(map(int, re.findall(r"\d+", done.stdout)))

    def end(self) -> None:
        """Take it away."""
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], check=False)


@pytest.fixture
def net() -> Any:
    """A wire, where we may have one."""
    tools = [shutil.which(tool) for tool in ("ip", "nft", "iptables")]
    if os.geteuid() != 0 or not all(tools):
        pytest.skip("no network of one's own here, or no packet filter")
    try:
        net = Net(os.getpid() % 1000)
    except subprocess.CalledProcessError:
        pytest.skip("no network of one's own here")
    yield net
    net.end()


NFT = """table inet filter {
 chain incoming { type filter hook input priority 0; policy drop; ct state established accept; }
}"""


@pytest.mark.parametrize(
    ("close", "stdin", "tool"),
    [
        (["nft", "-f", "-"], NFT, "nftables, chain inet filter incoming"),
        (["iptables", "-P", "INPUT", "DROP"], "", "iptables"),
        (["iptables", "-A", "INPUT", "-j", "REJECT", "--reject-with", "icmp-host-prohibited"], "",
         "iptables"),
    ],
)  # fmt: skip
def test_what_a_packet_filter_drops_is_opened_by_the_remedy(
    net: Net, close: list[str], stdin: str, tool: str
) -> None:
    assert net.dropped() == []
    assert packet_filters.look_at_filters(net.on) == []
    assert net.on(close, stdin).returncode == 0
    assert net.dropped() == [3306, 13000]
    assert packet_filters.look_at_filters(net.on) == [tool]
    command = network.opening(tool, net.addresses[0], [13000, 3306])
    # Without the remark behind it.
    command = command.rpartition(", ")[0]
    assert net.on(["sh", "-c", command]).returncode == 0
    assert net.dropped() == []


def test_drops_between_hosts_are_told_with_the_command() -> None:
    survey: dict[str, Any] = {"lan": None, "dropped": [], "filters": []}
    hosts = [
        {"name": name, "groups": [group], "lan_ip": address, "survey": dict(survey)}
        for name, group, address in (
            ("erp1", "primary", "10.0.0.11"),
            ("rep1", "reporting", "10.0.0.12"),
        )
    ]
    settings: dict[str, Any] = {
        "groups": {"primary": ["erp1"], "reporting": ["rep1"]},
        "primary": {},
        "ports": {
            "mariadb": "3306",
            "redis_cache": "13000",
            "redis_queue": 11000,
            "web": 8000,
            "record": 8004,
        },
    }
    assert list(network.check_filters(hosts, settings)) == []
    hosts[0]["survey"]["filters"] = ["ufw"]
    hosts[1]["survey"]["dropped"] = [
        {"address": "10.0.0.11", "port": port} for port in (3306, 11000)
    ]
    (problem,) = network.check_filters(hosts, settings)
    for value in ("ufw", "erp1", "rep1", "3306, 11000"):
        assert value in problem["what"]
    assert network.opening("ufw", "10.0.0.12", [3306, 11000]) in problem["remedy"]
    hosts[0]["survey"]["filters"] = []
    (problem,) = network.check_filters(hosts, settings)
    assert "ufw" not in problem["what"]
    for value in ("10.0.0.12", "10.0.0.11", "3306, 11000"):
        assert value in problem["remedy"]
    hosts[0]["survey"] = None
    assert list(network.check_filters(hosts, settings)) == []
    hosts[0]["survey"] = {**survey, "filters": ["firewalld"]}
    assert network.filter_warnings(hosts, settings) == []
    settings["groups"]["reporting"] = []
    assert network.filter_warnings(hosts, settings) == []
    hosts[0]["survey"]["adoption"] = {"bench": {}}
    (warning,) = network.filter_warnings(hosts, settings)
    assert "firewalld" in warning
    assert "3306" in warning


def test_the_ways_of_a_host_are_those_of_the_fleet() -> None:
    facts = {"default_ipv4": {"address": "10.0.0.11"}, "all_ipv4_addresses": ["10.0.0.11"]}
    variables = {
        "erp1": {"ansible_facts": facts},
        "rep1": {"lan_ip": "10.0.0.12", "ansible_facts": {"all_ipv4_addresses": ["10.0.0.12"]}},
        "rep2": {},
    }
    groups = {"primary": ["erp1"], "reporting": ["rep1", "rep2"]}
    ports = {"mariadb": 3306, "redis_cache": "13000", "redis_queue": "no", "web": 1, "health": 2}
    ports["record"] = 3
    assert network.ways(variables, "rep2", groups, ports) == [
        {"address": "10.0.0.11", "port": 3306},
        {"address": "10.0.0.11", "port": 13000},
        {"address": "10.0.0.11", "port": 3},
    ]
    assert network.ways(variables, "erp1", groups, ports) == [
        {"address": "10.0.0.12", "port": 1},
        {"address": "10.0.0.12", "port": 2},
        {"address": "10.0.0.12", "port": 3},
    ]
    assert network.ways(variables, "other", groups, ports) == []
