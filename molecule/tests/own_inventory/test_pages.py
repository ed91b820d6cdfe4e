"""Every command in README.md and docs/ is run, on a copy of inventory/example."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import Stranger
from fleet.http import Visitor
from nodes import wait_until
from plays import RECAP

from tests.pages import Block, commands

SITE = "erp.example.com"
RUN = [block for block in commands() if not block.reason]
SITE_YML = ".venv/bin/ansible-playbook -i inventory/mine site.yml"
REMOVE = ".venv/bin/ansible-playbook -i inventory/mine playbooks/remove_node.yml"
# Commands that prompt: the prompt and the answer.
ANSWERS = {"playbooks/remove_node.yml -e node=rep2": ("Type the node's name", "rep2")}


def second_run(stranger: Stranger) -> None:
    """A second run changes nothing, except a mode that an earlier release had set."""
    stranger.on("rep1", "root", "chmod 0700 /opt/bench-cli")
    recap = dict(RECAP.findall(stranger.does(SITE_YML)))
    for host, number in {"erp1": 0, "rep1": 1}.items():
        assert f"changed={number} " in recap[host], host
    assert stranger.on("rep1", "root", "stat -c %a /opt/bench-cli") == "755"


def restart(stranger: Stranger) -> None:
    """The bench's account restarts its programs without a terminal, as from cron."""
    pid = "supervisorctl pid frappe-bench-web:frappe-bench-frappe-web"
    before = stranger.on("erp1", "root", pid)
    stranger.on("erp1", "frappe", "cd frappe-bench && bench restart </dev/null")
    assert stranger.on("erp1", "root", pid) != before
    # Ansible alone refuses this locale.
    stranger.does("LC_ALL=C ./fleet status -i inventory/mine")


def add_rep2(stranger: Stranger) -> None:
    """docs/nodes.md: one more entry, and the same command again."""
    address = stranger.lab.host("rep2").ip
    entry = {"ansible_host": address, "lan_ip": address}
    stranger.change(lambda content: content["reporting"]["hosts"].update(rep2=entry))
    stranger.does(SITE_YML)


def forget_rep2(stranger: Stranger) -> None:
    """docs/nodes.md: the node is taken out of the inventory afterwards."""
    stranger.change(lambda content: content["reporting"]["hosts"].pop("rep2"))
    # Its secrets are gone too.
    assert set(stranger.secrets["hosts"]) == {"erp1", "rep1"}


def remove_rep1(stranger: Stranger) -> None:
    """docs/operate.md: the reporting nodes are taken out first."""
    stranger.does(f"{REMOVE} -e node=rep1 -e confirm=rep1")
    stranger.change(lambda content: content["reporting"].update(hosts={}))


def still_serves(stranger: Stranger) -> None:
    """The bench works without Benchfleet: users sign in and save."""
    password = stranger.secrets["sites"][SITE]["admin_password"]
    visitor = Visitor(stranger.lab.hosts[0].ip, 80, SITE, timeout=60)
    ping = "/api/method/ping"
    wait_until("the bench answers", lambda: visitor.call("GET", ping).status == 200)
    visitor.sign_in("Administrator", password)
    saved = visitor.call("POST", "/api/resource/ToDo", values={"description": "alone"})
    assert saved.status == 200, saved.said()
    assert stranger.on("erp1", "root", "ls -d /etc/*").count("benchfleet") == 0


# What the text tells the reader to do before a command, and what must hold afterwards.
ALONE = "systemctl disable --now benchfleet-firewall"
BEFORE = {"-e node=rep2": add_rep2, ALONE: remove_rep1}
AFTER = {
    "site.yml --check --diff": second_run,
    "./fleet verify": restart,
    "-e node=rep2": forget_rep2,
    ALONE: still_serves,
}


def fitting(table: dict[str, Any], block: Block, default: Any) -> Any:
    """The entry of a table whose key is part of a block; the default where there is none."""
    return next((entry for words, entry in table.items() if words in block.text), default)


@pytest.mark.parametrize("block", RUN, ids=[block.place for block in RUN])
def test_a_page_shows_what_works(stranger: Stranger, block: Block):
    fitting(BEFORE, block, lambda _: None)(stranger)
    if block.host:
        stranger.on(block.host, block.user, block.text)
    else:
        stranger.does(block.text, *fitting(ANSWERS, block, ()))
    fitting(AFTER, block, lambda _: None)(stranger)
