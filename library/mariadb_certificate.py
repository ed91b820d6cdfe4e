#!/usr/bin/python
"""Have the MariaDB server of this host use the certificate in its file."""

from __future__ import annotations

from ansible.module_utils.fleet.mariadb.module import answer
from ansible.module_utils.fleet.mariadb.server import show_certificate
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: mariadb_certificate
short_description: MariaDB uses the certificate in its file
description:
  - Without a restart; connections stay. The file of trusted CAs is read again, too.
options:
  file: {description: The server's certificate., type: path, required: true}
"""

EXAMPLES = r"""
- name: Server uses its certificate
  mariadb_certificate:
    file: "{{ fleet_config_dir }}/tls/server.crt"
"""


def main() -> None:
    module = FleetModule(
        argument_spec={"file": {"type": "path", "required": True}}, supports_check_mode=True
    )
    answer(module, lambda: show_certificate(module.params["file"], module.check_mode))


if __name__ == "__main__":
    main()
