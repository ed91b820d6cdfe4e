#!/usr/bin/python
"""Record what a host had before the fleet changed it."""

from __future__ import annotations

import hashlib
import json
import pwd
import time
from pathlib import Path
from typing import Any

from ansible.module_utils.fleet.adoption.bench import look_at_bench
from ansible.module_utils.fleet.adoption.database import look_at_database
from ansible.module_utils.fleet.module import FleetModule, new_lines, required
from ansible.module_utils.fleet.processes import run
from ansible.module_utils.fleet.snapshot import (
    HOWS,
    SnapshotError,
    packages,
    record,
    take,
    unit_states,
    write_note,
)
from ansible.module_utils.fleet.supervisor.call import control_words

DOCUMENTATION = r"""
module: snapshot
short_description: The state of a host is recorded once, before its first change
description:
  - Copies the files that a run may change, with owner, mode and checksum, notes which paths are
    missing, and records other state (units, packages, accounts and databases of MariaDB,
    supervisor's programs, checksums of the crontabs). See C(module_utils/fleet/snapshot.py).
  - Does nothing on a host that has a record.
options:
  folder: {description: Folder that holds the records., type: path, required: true}
  state_file:
    description: The file with the path of the host's record. Its folder is made.
    type: path
    required: true
  bench: {description: Directory of the bench., type: path, required: true}
  units: {description: Units whose state is recorded., type: list, elements: str, default: []}
  users: {description: Accounts that a run may make., type: list, elements: str, default: []}
  paths:
    description: The paths that a run may change.
    type: list
    elements: dict
    required: true
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      how:
        description: What happens to it at a release, see C(module_utils/fleet/snapshot.py).
        choices: [file, tree, folder, keys, block, kept]
        default: file
      part:
        description: The part of the host that it belongs to.
        choices: [bench, web, database, system]
        required: true
      keys: {description: With C(how=keys) our keys., type: list, elements: str}
      prefixes:
        description: With C(how=keys), keys that are not all ours, and the prefix of our entries.
        type: dict
      marker: {description: With C(how=block) as of the module files., type: str}
  set_aside:
    description: Files of the host that a run disables.
    type: dict
    default: {}
"""

EXAMPLES = r"""
- name: State of the host is recorded
  snapshot:
    folder: "{{ adopt_backup_dir }}"
    state_file: "{{ fleet_state_dir }}/adopted.json"
    bench: "{{ fleet_bench_dir }}"
    units: [mariadb.service]
    paths:
      - {part: system, how: tree, path: "{{ fleet_lib_dir }}"}
"""

RETURN = r"""
snapshot:
  description: Folder of the record.
  returned: always
  type: str
"""

PATH_SPEC: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "how": {"choices": list(HOWS), "default": "file"},
    "part": {"choices": ["bench", "web", "database", "system"], "required": True},
    "keys": {"type": "list", "elements": "str", "no_log": False},
    "prefixes": {"type": "dict"},
    "marker": {"type": "str"},
}


def crontabs() -> dict[str, str]:
    """Checksums of the users' crontabs, which the fleet never changes."""
    folder = Path("/var/spool/cron/crontabs")
    files = sorted(folder.iterdir()) if folder.is_dir() else []
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def exists(user: str) -> bool:
    """Whether an account exists."""
    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True


def facts(params: dict[str, Any]) -> dict[str, Any]:
    """The state of the host besides files."""
    bench = look_at_bench(params["bench"])
    database = look_at_database()
    if database["trouble"]:
        raise SnapshotError(f"MariaDB does not let root in by its socket: {database['trouble']}")
    return {
        "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "units": unit_states(params["units"]),
        "packages": packages(),
        "users": [user for user in params["users"] if exists(user)],
        "database": {key: database[key] for key in ("accounts", "databases", "log_bin")},
        "sites": bench["sites"],
        "programs": run(control_words("status")).stdout.splitlines(),
        "crontabs": crontabs(),
        "set_aside": params["set_aside"],
    }


def main() -> None:
    module = FleetModule(
        argument_spec={
            **required("path", "folder", "state_file", "bench"),
            "units": {"type": "list", "elements": "str", "default": []},
            "users": {"type": "list", "elements": "str", "default": []},
            "paths": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": PATH_SPEC,
            },
            "set_aside": {"type": "dict", "default": {}},
        },
        supports_check_mode=True,
    )
    params = module.params
    state_file = Path(params["state_file"])
    if state_file.exists():
        known = json.loads(state_file.read_text(encoding="utf-8"))
        module.exit_json(changed=False, snapshot=known["snapshot"])
    folder = f"{params['folder']}/{time.strftime('%Y-%m-%dT%H%M%SZ', time.gmtime())}"
    wanted = [{k: v for k, v in item.items() if v is not None} for item in params["paths"]]
    try:
        if not module.check_mode:
            take(folder, wanted, facts(params))
            # Only now: the folder of the state is among the paths that were not there.
            state_file.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            state_file.parent.chmod(0o755)
            write_note(str(state_file), {"snapshot": folder, "finished": False})
        found = [record(item["path"], item["how"]) for item in wanted]
    except (SnapshotError, OSError) as error:
        module.fail_json(msg=f"nothing was changed on this host: {error}")
    saved = [f"copy of {entry['path']}" for entry in found if entry["kind"] in ("file", "link")]
    module.exit_json(
        changed=True,
        snapshot=folder,
        diff=new_lines(saved) | {"after_header": folder},
    )


if __name__ == "__main__":
    main()
