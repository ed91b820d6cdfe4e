#!/usr/bin/python
"""Have the MariaDB server of this host show the certificate of its file."""

from __future__ import annotations

from ansible.module_utils.fleet.mariadb.server import (
    MariaDBError,
    describe,
    local,
    pymysql,
    shows_another_certificate,
)
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: mariadb_certificate
short_description: MariaDB shows the certificate of its file
description:
  - Without a restart, and connections stay. The CAs that it trusts are read with it.
options:
  file: {description: The server's certificate., type: path, required: true}
"""

EXAMPLES = r"""
- name: Server shows its certificate
  mariadb_certificate:
    file: "{{ fleet_config_dir }}/tls/server.crt"
"""


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={"file": {"type": "path", "required": True}}, supports_check_mode=True
    )
    path = module.params["file"]
    try:
        with local() as server:
            changed = shows_another_certificate(path)
            if changed and not module.check_mode:
                server.reload_certificates()
                if shows_another_certificate(path):
                    module.fail_json(
                        msg=f"MariaDB did not take the certificate of {path}:"
                        " `journalctl -u mariadb` says why"
                    )
    except MariaDBError as error:
        module.fail_json(msg=str(error))
    except pymysql.MySQLError as error:
        module.fail_json(
            msg=f"MariaDB did not take the certificate of {path} ({describe(error)}):"
            " run site.yml, which writes it and its key"
        )
    module.exit_json(changed=changed)


if __name__ == "__main__":
    main()
