"""The inventory's groups as they are after the primary has changed.

Given as the last -i: a file named *.yaml, with `plugin: primary_moved` and the primary's name. It
exchanges the hosts of the groups primary and reporting. Variables of a host stay with the
host; those of a group are those of the hosts that are in it now.
"""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleParserError
from ansible.plugins.inventory import BaseInventoryPlugin

DOCUMENTATION = r"""
name: primary_moved
short_description: Another host is the primary than the inventory's files say
description:
  - Until hosts.yml says so itself. The files before it name exactly one primary.
options:
  plugin: {description: Name of this plugin., required: true, choices: [primary_moved]}
  primary:
    description: The host that is the primary, which the files have in group reporting.
    type: str
    required: true
"""

EXAMPLES = r"""
# primary_moved.yaml, for: ansible-playbook -i inventory/mine -i primary_moved.yaml site.yml
plugin: primary_moved
primary: rep1
"""


class InventoryModule(BaseInventoryPlugin):
    """Exchanges two hosts between two groups."""

    NAME = "primary_moved"

    def parse(self, inventory: Any, loader: Any, path: str, cache: bool = True) -> None:
        """Change the groups that the sources before this one have made."""
        super().parse(inventory, loader, path, cache)
        self._read_config_data(path)
        name = str(self.get_option("primary"))
        groups = [inventory.groups.get(group) for group in ("primary", "reporting")]
        if None in groups:
            raise AnsibleParserError(
                f"{path}: give it after the inventory with the groups primary and reporting"
            )
        primary, reporting = groups
        if [host.name for host in primary.hosts] == [name]:
            return
        if len(primary.hosts) != 1 or name not in [host.name for host in reporting.hosts]:
            named = ", ".join(host.name for host in primary.hosts) or "none"
            raise AnsibleParserError(
                f"{path}: {name} has to be a host of group reporting itself, not of a group in it,"
                f" and group primary has to have one host (there: {named}). Put {name} into group"
                " primary in the inventory's own files, and run the same command without this file"
            )
        former, new = primary.hosts[0], inventory.hosts[name]
        exchange = {former: new, new: former}
        for group in (primary, reporting):
            hosts = list(group.hosts)
            for host in hosts:
                group.remove_host(host)
            for host in hosts:
                group.add_host(exchange.get(host, host))
