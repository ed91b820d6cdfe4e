"""Every command in README.md and docs/ is run, on a copy of inventory/example."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from conftest import Stranger
from fleet.http import Visitor
from nodes import wait_until
from plays import NAMING, RECAP, changes

from tests.pages import Block, commands

SITE = "erp.example.com"
# With Ansible's own output.
UNINSTALL = "./fleet uninstall -i inventory/mine --yes --raw"
# What may stay on each host: what the primary's bench uses, backups, and the data of a node.
KEPT = {
    "erp1": {
        "/etc/nginx/benchfleet",
        "/etc/nginx/benchfleet.d",
        "/etc/nginx/conf.d/benchfleet.conf",
        "/var/backups/benchfleet",
        "/var/log/nginx/benchfleet-reports.log",
    },
    "rep1": {"/home/frappe/frappe-bench/.benchfleet-complete", "/var/lib/mysql/benchfleet"},
}
PRUNED = "-not -path '/proc/*' -not -path '/opt/bench-cli/*'"
# Commands that prompt: the prompt and the answer. The others want "yes".
ANSWERS = {"./fleet remove rep2": ("Type rep2 to go on", "rep2")}
YES = ("Type yes to go on", "yes")


def blocks() -> list[Block]:
    """The blocks that are run: those with a command that no block before them has."""
    found, seen = [], set[str]()
    for block in commands():
        if not block.reason and (lines := {*block.text.splitlines()} - seen):
            found.append(block)
            seen |= lines
    return found


def restart(stranger: Stranger, _said: str) -> None:
    """The bench's account restarts its programs without a terminal, as from cron."""
    pid = "supervisorctl pid frappe-bench-web:frappe-bench-frappe-web"
    before = stranger.on("erp1", "root", pid)
    stranger.on("erp1", "frappe", "cd frappe-bench && bench restart </dev/null")
    assert stranger.on("erp1", "root", pid) != before


def add_rep2(stranger: Stranger) -> None:
    """docs/nodes.md: one more entry in the file that the example's copy is, with its comments.

    On the other hosts the second run changes nothing but the names of the fleet's hosts, and a mode
    that an earlier release had set.
    """
    address = stranger.lab.host("rep2").ip
    before = (stranger.inventory / "hosts.yml").read_text()
    stranger.on("rep1", "root", "chmod 0700 /opt/bench-cli")
    said = stranger.does(f"./fleet add rep2 {address} -i inventory/mine --raw", *YES)
    after = (stranger.inventory / "hosts.yml").read_text()
    entry = yaml.safe_load(after)["reporting"]["hosts"]["rep2"]
    assert entry == {"ansible_host": address, "lan_ip": address}
    assert set(before.splitlines()) < set(after.splitlines())
    changed = [line.partition(": ") for line in changes(said)]
    assert [host for host, _, task in changed if host != "rep2" and task not in NAMING] == ["rep1"]
    assert stranger.on("rep1", "root", "stat -c %a /opt/bench-cli") == "755"


def forget_rep2(stranger: Stranger, _said: str) -> None:
    """docs/nodes.md: the node's entry is taken out of the inventory, too."""
    assert "rep2" not in (stranger.inventory / "hosts.yml").read_text()
    # Its secrets are gone too.
    assert set(stranger.secrets["hosts"]) == {"erp1", "rep1"}


def nothing_is_due(_stranger: Stranger, said: str) -> None:
    """docs/nodes.md: nothing is renewed on hosts whose certificates are new."""
    assert {"erp1: ok, 0 changes", "rep1: ok, 0 changes"} <= {*said.splitlines()}, said


def still_serves(stranger: Stranger, _said: str) -> None:
    """The bench works without Benchfleet: users sign in and save."""
    password = stranger.secrets["sites"][SITE]["admin_password"]
    visitor = Visitor(stranger.lab.hosts[0].ip, 80, SITE, timeout=60)
    ping = "/api/method/ping"
    wait_until("the bench answers", lambda: visitor.call("GET", ping).status == 200)
    visitor.sign_in("Administrator", password)
    saved = visitor.call("POST", "/api/resource/ToDo", values={"description": "alone"})
    assert saved.status == 200, saved.said()
    # The bench CLI restarts its programs, without anything of ours.
    stranger.on("erp1", "frappe", "cd frappe-bench && bench restart </dev/null")
    wait_until("the bench answers", lambda: visitor.call("GET", ping).status == 200)
    for host, kept in KEPT.items():
        found = stranger.on(host, "root", f"find / -xdev -iname '*benchfleet*' {PRUNED} -print")
        assert set(found.split()) <= kept, host
        # Where there is none, systemctl ends with 1.
        units = "systemctl list-unit-files --no-legend 'benchfleet-*' || true"
        assert not stranger.on(host, "root", units), host
    # It was run before: now there is nothing to do.
    recap = dict(RECAP.findall(stranger.does(UNINSTALL)))
    assert all("changed=0 " in line for line in recap.values()), recap


# What the text tells the reader to do before a command, and what must hold afterwards.
BEFORE = {"./fleet remove rep2": add_rep2}
AFTER = {
    "./fleet verify": restart,
    "./fleet remove rep2": forget_rep2,
    "./fleet renew": nothing_is_due,
    "./fleet uninstall": still_serves,
}


def fitting(table: dict[str, Any], block: Block, default: Any) -> Any:
    """The entry of a table whose key is part of a block; the default where there is none."""
    return next((entry for words, entry in table.items() if words in block.text), default)


@pytest.mark.parametrize("block", blocks(), ids=lambda block: block.place)
def test_a_page_shows_what_works(stranger: Stranger, block: Block):
    fitting(BEFORE, block, lambda _: None)(stranger)
    if block.host:
        said = stranger.on(block.host, block.user, block.text)
    else:
        said = stranger.does(block.text, *fitting(ANSWERS, block, YES))
    fitting(AFTER, block, lambda *_: None)(stranger, said)
