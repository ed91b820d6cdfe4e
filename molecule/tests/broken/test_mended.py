"""Whatever was damaged of the fleet's files, units, accounts and packages, the next run mends."""

from __future__ import annotations

from collections.abc import Callable

from nodes import Node
from plays import Run

FILES = (
    "find /etc/benchfleet /usr/local/lib/benchfleet /etc/systemd/system /etc/sudoers.d /etc/cron.d"
    " /etc/logrotate.d /etc/mysql/mariadb.conf.d /etc/supervisor/conf.d /usr/local/bin/bench"
    " -type f '(' -path '*benchfleet*' -o -name frappe-bench.conf -o -name bench ')'"
    " ! -path '*__pycache__*'"
)
STATE = f"{FILES} -printf '%m %u %g %p\\n' | sort; {FILES} -exec sha256sum '{{}}' + | sort"
UNITS = {"erp1": "benchfleet-sites.timer", "rep1": "benchfleet-files.socket"}
DAMAGE = (
    f"{FILES} -exec sh -c 'echo >>\"$1\"; chmod u+x,o-r \"$1\"; chgrp games \"$1\"' _ '{{}}' ';'"
)
REST = "getent passwd frappe; systemctl is-enabled {0}; systemctl is-active {0}; dpkg -L rsync"


def test_everything_that_is_damaged_is_mended(nodes: dict[str, Node], play: Callable[..., Run]):
    hosts = {name: nodes[name] for name in UNITS}
    before = {name: node.run(STATE) for name, node in hosts.items()}
    rest = {name: node.run(REST.format(UNITS[name])) for name, node in hosts.items()}
    for name, node in hosts.items():
        node.run(f"systemctl disable --now {UNITS[name]}; usermod -s /bin/sh frappe; {DAMAGE}")
        node.run("dpkg --remove --force-depends rsync")
        damaged = node.run(STATE).splitlines()
        assert not {*damaged} & {*before[name].splitlines()}
        assert len(damaged) == len(before[name].splitlines()) > 100
    play("--limit", ",".join(hosts), "site.yml")
    assert {name: node.run(STATE) for name, node in hosts.items()} == before
    assert {name: node.run(REST.format(UNITS[name])) for name, node in hosts.items()} == rest
