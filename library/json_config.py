#!/usr/bin/python
"""Set keys of a JSON configuration file and leave the others as they are."""

from __future__ import annotations

import json
import os
import pwd
import stat
from typing import Any

from ansible.module_utils.fleet.bench.account import BenchError, read_json
from ansible.module_utils.fleet.bench.files import is_secret
from ansible.module_utils.fleet.foreign import as_owner, replace
from ansible.module_utils.fleet.module import FleetModule, telling

DOCUMENTATION = r"""
module: json_config
short_description: Merge keys into a JSON file
description:
  - The file is written in the format of the bench CLI (one space of indentation, sorted keys), so
    that the format alone makes no difference.
  - The file is replaced atomically. A file that is not valid JSON is an error and stays as it is.
options:
  path: {description: The file; created if it is missing., type: path, required: true}
  values: {description: Keys to set., type: dict, default: {}}
  secrets:
    description: Keys to set whose values are never shown.
    type: dict
    default: {}
  absent: {description: Keys to remove., type: list, elements: str, default: []}
  ours:
    description: Keys whose value is an object that also has entries of others, and the prefix of
      the managed entries in it. The managed entries become those of C(values); the others stay.
    type: dict
    default: {}
  owner: {description: Owner and group of the file when it is written., type: str, required: true}
  mode:
    description: Octal mode. A file with more permissions is changed, too.
    type: str
    default: "0640"
"""

EXAMPLES = r"""
- name: Bench serves the site that is asked for
  json_config:
    path: "{{ fleet_bench_dir }}/sites/common_site_config.json"
    values: {serve_default_site: true}
    owner: frappe
"""


def merged(
    current: dict[str, Any],
    values: dict[str, Any],
    absent: list[str],
    ours: dict[str, str] | None = None,
) -> dict[str, Any]:
    """The wanted content: ``current`` with ``values`` set and ``absent`` removed.

    ``ours``: see the module's option. An object that would be empty is left out.
    """
    wanted = {**current, **values}
    for key, prefix in (ours or {}).items():
        there = current.get(key) if isinstance(current.get(key), dict) else {}
        kept = {name: entry for name, entry in there.items() if not name.startswith(prefix)}
        wanted[key] = {**kept, **values.get(key, {})}
        if not wanted[key]:
            del wanted[key]
    return {key: value for key, value in wanted.items() if key not in absent}


def shown(content: dict[str, Any], secrets: dict[str, Any]) -> str:
    """Content for a diff: what is or looks like a secret is replaced by a mark."""
    visible: dict[str, Any] = {}
    for key, value in content.items():
        visible[key] = "(secret)" if key in secrets or is_secret(key, value) else value
    return json.dumps(visible, indent=1, sort_keys=True) + "\n"


def main() -> None:
    module = FleetModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "values": {"type": "dict", "default": {}},
            "absent": {"type": "list", "elements": "str", "default": []},
            "secrets": {"type": "dict", "default": {}, "no_log": True},
            "ours": {"type": "dict", "default": {}},
            "owner": {"type": "str", "required": True},
            "mode": {"type": "str", "default": "0640"},
        },
        supports_check_mode=True,
    )
    params = module.params
    path = params["path"]
    with telling(module, BenchError):
        current = read_json(path, follow=False)
    wanted = merged(
        current, {**params["secrets"], **params["values"]}, params["absent"], params["ours"]
    )
    changed_keys = sorted(key for key in {*current, *wanted} if current.get(key) != wanted.get(key))
    mode = int(params["mode"], 8)
    with as_owner(path):
        is_there = os.path.lexists(path)
        is_open = is_there and bool(stat.S_IMODE(os.lstat(path).st_mode) & ~mode)
        changed = bool(changed_keys) or is_open or not os.path.exists(path)
    if changed and not module.check_mode:
        text = json.dumps(wanted, indent=1, sort_keys=True)
        account = pwd.getpwnam(params["owner"])
        try:
            whose = (account.pw_uid, account.pw_gid)
            replace(path, text.encode(), mode, whose)
        except FileNotFoundError:
            folder = os.path.dirname(path)
            module.fail_json(msg=f"{path}: the directory {folder} does not exist on this host")
        except OSError as error:
            module.fail_json(
                msg=f"{path} cannot be written: {error}. Its folder must belong to"
                f" {params['owner']}, and must not be a link to another account's folder"
            )
    module.exit_json(
        changed=changed,
        changed_keys=changed_keys,
        diff={
            "before": shown(current, params["secrets"]) if current else "",
            "after": shown(wanted, params["secrets"]),
            "before_header": path,
            "after_header": path,
        },
    )


if __name__ == "__main__":
    main()
