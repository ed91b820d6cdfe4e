"""Every command of README.md and docs/, run as it stands there, on a copy of inventory/example."""

from __future__ import annotations

import re
from typing import Any

import pytest
from calls import Somebody

from tests.pages import Block, commands

SITE = "erp.example.com"
RUN = [block for block in commands() if not block.reason]
SITE_YML = ".venv/bin/ansible-playbook -i inventory/mine site.yml"
REMOVE = ".venv/bin/ansible-playbook -i inventory/mine playbooks/remove_node.yml"
# Where a command asks, what is typed.
ANSWERS = {"playbooks/remove_node.yml -e node=rep2": "rep2\n"}


def add_rep2(stranger: Any) -> None:
    """As the page says before it: one more entry, and the same command again."""
    port = stranger.lab.host("rep2").ip
    stranger.change(
        lambda content: content["reporting"]["hosts"].update(
            rep2={"ansible_host": port, "lan_ip": port}
        )
    )
    stranger.does(SITE_YML)


def forget_rep2(stranger: Any) -> None:
    """As the page says after it."""
    stranger.change(lambda content: content["reporting"]["hosts"].pop("rep2"))
    # Without secrets of a node that has left.
    secrets = stranger.inventory / "secrets/fleet.yml"
    assert "rep1" in secrets.read_text()
    assert "rep2" not in secrets.read_text()


def remove_rep1(stranger: Any) -> None:
    """As the page says before it: a primary without reporting nodes."""
    stranger.does(f"{REMOVE} -e node=rep1 -e confirm=rep1")
    stranger.change(lambda content: content["reporting"].update(hosts={}))


def still_serves(stranger: Any) -> None:
    """See that the bench goes on without Benchfleet: users sign in and save."""
    secrets = stranger.does("cat inventory/mine/secrets/fleet.yml")
    password = re.search(r"admin_password: (\S+)", secrets)
    assert password
    somebody = Somebody(stranger.lab.hosts[0].ip, SITE, "Administrator", password[1], 60)
    saved = somebody.visitor.call("POST", "/api/resource/ToDo", values={"description": "alone"})
    assert saved.status == 200, saved.said()
    assert stranger.on("erp1", "root", "ls -d /etc/*").count("benchfleet") == 0


# What the text around a command has the reader do before it, and what it says of afterwards.
BEFORE = {"-e node=rep2": add_rep2, "systemctl disable --now benchfleet-firewall": remove_rep1}
AFTER = {"-e node=rep2": forget_rep2, "systemctl disable --now benchfleet-firewall": still_serves}


def fitting(table: dict[str, Any], block: Block, default: Any) -> Any:
    """What a table has for a block, by words of its."""
    return next((entry for words, entry in table.items() if words in block.text), default)


@pytest.mark.parametrize("block", RUN, ids=[block.place for block in RUN])
def test_a_page_shows_what_works(stranger: Any, block: Block):
    fitting(BEFORE, block, lambda _: None)(stranger)
    if block.host:
        stranger.on(block.host, block.user, block.text)
    else:
        stranger.does(block.text, fitting(ANSWERS, block, ""))
    fitting(AFTER, block, lambda _: None)(stranger)
