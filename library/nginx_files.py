#!/usr/bin/python
"""Bring nginx's files to their content, and nginx to use them, or leave everything as it was."""

from __future__ import annotations

from ansible.module_utils.fleet.bench.account import BenchError
from ansible.module_utils.fleet.module import FleetModule, telling
from ansible.module_utils.fleet.nginx.certificates import OPTIONS
from ansible.module_utils.fleet.nginx.router import Router
from ansible.module_utils.fleet.nginx.syntax import NginxError
from ansible.module_utils.fleet.sites.folders import SiteError
from ansible.module_utils.fleet.snapshot import SnapshotError

DOCUMENTATION = r"""
module: nginx_files
short_description: Configuration files of nginx, tested before they count
description:
  - Writes the files, asks C(nginx -t), and reloads nginx (never restarts it). When nginx refuses,
    the old files come back before the module fails, so that neither the running nginx nor its next
    start meets the refused ones.
options:
  files:
    description: The files, path and content. Parent directories that are missing are made.
    type: list
    elements: dict
    required: true
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      content: {description: Whole content., type: str, required: true}
  absent:
    description: Files that shall be gone, in the same test and reload.
    type: list
    elements: path
    default: []
  default_server:
    description:
      - The server that answers when somebody asks for a name that is no site. It takes the place of
        Debian's own site, where that is as Debian made it. Another default server on this host
        stays, with a warning, and the file is written without its content.
    type: dict
    suboptions:
      file: {description: Path among I(files)., type: path, required: true}
      record:
        description: Where it is noted what an adopted host had; what that does not hold stays.
        type: path
        required: true
  loaded_file:
    description:
      - Where the module keeps what nginx took at the last reload. A run that was killed between
        writing and reloading leaves files that look right and an nginx that does not use them;
        the next run tells by this file, and reloads.
    type: path
    required: true
  sites:
    description:
      - The sites that nginx serves. Which those are stands on this host, not in the inventory
        alone, and a timer looks after it between two runs; so it is read here, under its lock.
    type: dict
    suboptions:
      template:
        description: Path among I(files) that holds the configuration of one site.
        type: path
        required: true
      target: {description: Path of the configuration of all sites., type: path, required: true}
      state_dir: {description: The fleet's state on this host., type: path, required: true}
      listed:
        description: Sites of the inventory with their names, for a dry run on a host without any.
        type: dict
        required: true
      certificates:
        description:
          - Those that the inventory names, {site, certificate, key} each; the site is C("") for all
            others. When a file has changed, nginx is told to read it.
        type: list
        elements: dict
        default: []
      acme:
        description: How a CA is asked for others, see module_utils/fleet/nginx/certificates.py.
        type: dict
        required: true
        suboptions:
          email: {description: Of the account; nobody is asked without., type: str, required: true}
          server: {description: Address of the CA's directory., type: str, required: true}
          webroot: {description: Where its questions are answered., type: path, required: true}
          environment: {description: Of certbot., type: dict, default: {}}
"""

EXAMPLES = r"""
- name: Calls are routed
  nginx_files:
    files:
      - {path: /etc/nginx/conf.d/example.conf, content: "server_tokens off;"}
    loaded_file: "{{ fleet_state_dir }}/router-loaded"
"""

RETURN = r"""
changed_paths:
  description: Files that were changed, or would be in check mode.
  returned: always
  type: list
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "files": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "path": {"type": "path", "required": True},
                    "content": {"type": "str", "required": True},
                },
            },
            "absent": {"type": "list", "elements": "path", "default": []},
            "default_server": {
                "type": "dict",
                "options": {
                    "file": {"type": "path", "required": True},
                    "record": {"type": "path", "required": True},
                },
            },
            "loaded_file": {"type": "path", "required": True},
            "sites": {
                "type": "dict",
                "options": {
                    "template": {"type": "path", "required": True},
                    "target": {"type": "path", "required": True},
                    "state_dir": {"type": "path", "required": True},
                    "listed": {"type": "dict", "required": True},
                    **OPTIONS,
                },
            },
        },
        supports_check_mode=True,
    )
    with telling(module, BenchError, NginxError, OSError, SiteError, SnapshotError):
        router = Router(module.params, module.run_command, module.warn, module.check_mode)
        module.exit_json(**router.bring())


if __name__ == "__main__":
    main()
