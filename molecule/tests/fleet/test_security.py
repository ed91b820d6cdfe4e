"""docs/security.md is true: its tables and lines, compared with the hosts of a fleet."""

from __future__ import annotations

import json
import re

import pytest
from fleet.verify.catalogue import CATALOGUE
from nodes import Node
from plays import ROOT

PAGE = (ROOT / "docs/security.md").read_text()
LINK = re.compile(r"\[([^]]*)\]\([^)]*\)")
BENCH = "/home/frappe/frappe-bench"


def rows(heading: str) -> list[list[str]]:
    """The rows of the first table below a heading of the page, without its title row."""
    after = PAGE.split(f"# {heading}\n", 1)[1]
    lines = after.splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("|"))
    found = []
    for line in lines[first + 2 :]:
        if not line.startswith("|"):
            break
        found.append([LINK.sub(r"\1", cell.strip()) for cell in line.strip("|").split("|")])
    return found


def plain(cell: str) -> list[str]:
    """The words between backquotes of a cell."""
    return re.findall(r"`([^`]+)`", cell)


def kind(node: Node) -> str:
    """What the page calls a host."""
    return "node" if node.host.role == "reporting" else node.host.role


def is_on(node: Node, where: str) -> bool:
    """Whether a line of the page is about a host. The standby is the first reporting node."""
    standby = {"standby"} if node.name == "rep1" else set()
    return not {kind(node), "every host", *standby}.isdisjoint(where.split(", "))


def address(node: Node) -> str:
    """The host's address in the fleet, which MariaDB listens on."""
    return node.sql("SELECT @@bind_address").split(",")[1]


@pytest.fixture(params=["erp1", "rep1"])
def host(request: pytest.FixtureRequest, nodes: dict[str, Node]) -> Node:
    """The primary, and a reporting node."""
    return nodes[request.param]


def test_ports(host: Node):
    names = {"127.0.0.1": "127.0.0.1", address(host): "LAN"}
    seen: dict[str, set[str]] = {}
    for line in host.run("ss -Hltn").splitlines():
        listens, _, port = line.split()[3].rpartition(":")
        seen.setdefault(port, set()).add(names.get(listens, "all"))
    # nginx has a certificate on some fleets only.
    told = {
        port: set(listens.split(", "))
        for port, _, where, listens, _ in rows("Ports")
        if is_on(host, where) and port != "443"
    }
    assert {port: seen.get(port) for port in told} == told
    others = {port for port, listens in seen.items() if listens != {"127.0.0.1"}} - set(told)
    assert others == set()


def test_files_that_hold_secrets(host: Node):
    for path, where, owner, mode, _ in rows("Where secrets are stored"):
        if not is_on(host, where):
            continue
        pattern = plain(path)[0]
        for line in host.run(f"stat -c '%U:%G 0%a %n' {pattern}").splitlines():
            assert line.split()[:2] == [owner, mode], line
    keys = host.run("grep -rlE 'PRIVATE KEY' /etc/benchfleet").splitlines()
    told = {plain(path)[0] for path, *_ in rows("Where secrets are stored")}
    assert set(keys) - told == set()


def rights(cell: str, database: str) -> set[tuple[str, str]]:
    """The rights of a cell, or of a server's GRANTs, each with its place."""
    found = set()
    for names, place in re.findall(r"([A-Z][A-Z, ]+) (?:in|ON) (\S+?)(?:;| TO |$)", cell, re.M):
        bare = place.replace("`", "").replace("\\", "")
        bare = re.sub(rf"^{re.escape(database)}(?=\.)", "D", bare) if database else bare
        found |= {(name.removeprefix("GRANT "), bare) for name in names.split(", ")}
    return {(name, place) for name, place in found if name != "USAGE"}


def test_accounts_of_mariadb(nodes: dict[str, Node]):
    primary = nodes["erp1"]
    reporting = {address(node) for node in nodes.values() if kind(node) == "node"}
    places = {
        "localhost": {"localhost"},
        "127.0.0.1": {"127.0.0.1"},
        "each host": {*reporting, address(primary)},
        "each node": reporting,
    }
    told = {
        (name, at): (tls, rights(cell, ""))
        for names, hosts, tls, cell in rows("MariaDB")
        for name in plain(names)
        for place in hosts.split(", ")
        for at in places[place]
    }
    database = json.loads(primary.run(f"cat {BENCH}/sites/erp.lab.test/site_config.json"))[
        "db_name"
    ]
    seen = set()
    question = "SELECT user, host, ssl_type != '' FROM mysql.user WHERE is_role = 'N'"
    for line in primary.sql(question).splitlines():
        user, at, tls = line.split("\t")
        name = {database: "D", f"{database}_ro": "D_ro"}.get(user, user)
        seen.add((name, at))
        assert (name, at) in told, f"{user}@{at} is not on the page"
        wanted_tls, wanted = told[name, at]
        assert (tls == "1") == (wanted_tls == "yes"), f"{user}@{at}"
        if wanted:
            grants = primary.run(f"mariadb -rNBe \"SHOW GRANTS FOR '{user}'@'{at}'\"")
            assert rights(grants, database) == wanted, user
    # Frappe's own account is from one of the two.
    assert {entry for entry in told if entry[0] != "D"} <= seen


def test_lines_of_sudo(host: Node):
    block = PAGE.split("```text\n", 1)[1].split("```", 1)[0]
    rules = host.run("grep -h NOPASSWD /etc/sudoers.d/benchfleet-*").splitlines()
    assert sorted(rules) == sorted(block.splitlines())


def test_keys_of_ssh(nodes: dict[str, Node]):
    # Of two commands, the last is that for the standby.
    commands = {plain(row[0])[0]: plain(row[3])[-1] for row in rows("ssh keys")}
    node = nodes["rep1"]
    files = "/var/lib/benchfleet/seed/.ssh/authorized_keys /home/frappe/.ssh/authorized_keys"
    lines = nodes["erp1"].run(f"cat {files}").splitlines()
    for name, command in commands.items():
        key = node.run(f"ssh-keygen -y -f /etc/benchfleet/ssh/{name}").split()[1]
        [line] = [line for line in lines if key in line]
        begins = f'restrict,from="{address(node)}",command="{command}" '
        assert line.startswith(begins), name


def test_a_key_opens_nothing_but_its_command(nodes: dict[str, Node]):
    node, known = nodes["rep1"], "-o UserKnownHostsFile=/etc/benchfleet/known_hosts"
    port = json.loads(node.run("cat /etc/benchfleet/site-sync.json"))["source"]
    for name, account in (("seed", "benchfleet"), ("sync", "frappe"), ("code", "frappe")):
        ssh = f"ssh -i /etc/benchfleet/ssh/{name} {known} -o BatchMode=yes -p {port['port']}"
        asked = f"{ssh} {account}@{port['host']} 'id; cat /etc/passwd' </dev/null | head -c 2000"
        said = node.run(f"{asked} | tr -cd '[:print:]'")
        assert "uid=" not in said, name
        assert "root:x" not in said, name


def test_programs_run_as_the_account(host: Node):
    lines = host.run(f"ps -eo user:32,args | grep {BENCH} | grep -v grep").splitlines()
    assert len(lines) > 1
    roots = [line for line in lines if line.split()[0] != "frappe"]
    assert roots == []


def test_units(host: Node):
    listed = host.run("ls /etc/systemd/system | grep -E '^benchfleet-.*service$'").split()
    told = {unit for row in rows("What runs as root") for unit in plain(row[0])}
    for unit in listed:
        user = host.run(f"systemctl show {unit} -p User --value")
        assert user == "frappe" or unit in told, unit
        assert host.run(f"systemctl show {unit} -p TimeoutStartUSec --value") != "infinity", unit


def test_named_tests_exist():
    named = set(re.findall(r"`((?:[\w./]+/)?test_\w+\.py)`", PAGE))
    tests = [path.as_posix() for path in ROOT.glob("**/test_*.py") if ".venv" not in path.parts]
    assert {name for name in named if not any(p.endswith(f"/{name}") for p in tests)} == set()


def test_named_checks_exist():
    listed = re.findall(r"verify ((?:[a-z]+_?[a-z]*)(?:, [a-z]+_?[a-z]*)*)", PAGE)
    assert {name for names in listed for name in names.split(", ")} <= set(CATALOGUE)
