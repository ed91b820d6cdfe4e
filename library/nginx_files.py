#!/usr/bin/python
"""Write nginx's files and have nginx load them, or leave everything as it was."""

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
short_description: Configuration files of nginx, tested before nginx loads them
description:
  - Writes the files, tests them with C(nginx -t), and reloads nginx (never restarts it). When nginx
    refuses them, the module puts the old files back before it fails.
options:
  files:
    description: The files, path and content. Missing parent directories are created.
    type: list
    elements: dict
    required: true
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      content: {description: Whole content., type: str, required: true}
  absent:
    description: Files that are removed, in the same test and reload.
    type: list
    elements: path
    default: []
  default_server:
    description:
      - The server that answers requests for names that are no site. It replaces Debian's own site,
        unless that was changed. Another default server on this host stays, with a warning; the
        file then has no server.
    type: dict
    suboptions:
      file: {description: Path among I(files)., type: path, required: true}
      record:
        description: The record of an adopted host; a site of Debian's that it lacks stays.
        type: path
        required: true
  loaded_file:
    description:
      - Where the module keeps digests of the files that nginx loaded last. After a run that was
        killed between writing and reloading, the next run finds by it that nginx has to be
        reloaded.
    type: path
    required: true
  sites:
    description:
      - The sites that nginx serves. Their list is kept on this host, where a timer updates it
        between two runs, so the module reads it there, under its lock.
    type: dict
    suboptions:
      template:
        description: Path among I(files) that holds the configuration of one site.
        type: path
        required: true
      target: {description: Path of the configuration of all sites., type: path, required: true}
      state_dir: {description: The fleet's state on this host., type: path, required: true}
      listed:
        description: Sites of the inventory with their names, for a host without a list.
        type: dict
        required: true
      certificates:
        description:
          - Those that the inventory names, {site, certificate, key} each; the site is C("") for all
            others. When one of the files has changed, nginx is reloaded.
        type: list
        elements: dict
        default: []
      acme:
        description: Requests for others from a CA, see module_utils/fleet/nginx/certificates.py.
        type: dict
        required: true
        suboptions:
          email: {description: Of the account; "" for no CA., type: str, required: true}
          server: {description: Address of the CA's directory., type: str, required: true}
          webroot: {description: Folder for its challenges., type: path, required: true}
          environment: {description: Variables for certbot., type: dict, default: {}}
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
