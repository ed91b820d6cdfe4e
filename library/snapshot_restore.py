#!/usr/bin/python
"""Put paths of a host back to what they were before the fleet changed them."""

from __future__ import annotations

import json
from pathlib import Path

from ansible.module_utils.fleet.module import FleetModule, new_lines
from ansible.module_utils.fleet.snapshot import SnapshotError, load, packages, put_back

DOCUMENTATION = r"""
module: snapshot_restore
short_description: A part of a host is as its record says
description:
  - Files are put back with owner, mode and ACL; what was not there is removed. The record's order
    is reversed. See C(module_utils/fleet/snapshot.py).
options:
  state_file: {description: Notes which record is the host's., type: path, required: true}
  part:
    description: The part that is put back. Without one nothing is, and the record is returned.
    choices: [bench, web, database, system]
    type: str
"""

EXAMPLES = r"""
- name: Bench is as it was
  snapshot_restore:
    state_file: "{{ fleet_state_dir }}/adopted.json"
    part: bench
"""

RETURN = r"""
snapshot: {description: Folder of the record., returned: always, type: str}
record: {description: The record without its entries., returned: always, type: dict}
new_packages:
  description: Packages that have come since the record.
  returned: without C(part)
  type: list
parts_left:
  description: Parts in which something is still to be put back.
  returned: without C(part)
  type: list
did: {description: What was done in words., returned: always, type: list}
"""


def main() -> None:
    module = FleetModule(
        argument_spec={
            "state_file": {"type": "path", "required": True},
            "part": {"choices": ["bench", "web", "database", "system"]},
        },
        supports_check_mode=True,
    )
    state_file = Path(module.params["state_file"])
    did: list[str] = []
    try:
        if not state_file.exists():
            module.fail_json(
                msg=f"this host has no record of what it was ({state_file} is missing): it was not"
                " adopted, or it was released already. docs/operate.md, `Take it all out of the"
                " primary`, has the way for a primary that the fleet made"
            )
        folder = json.loads(state_file.read_text(encoding="utf-8"))["snapshot"]
        manifest = load(folder)
        part = module.params["part"]
        for entry in reversed(manifest["entries"]):
            if part and entry["part"] == part:
                did.append(put_back(entry, folder, module.check_mode))
    except (SnapshotError, OSError, ValueError, KeyError) as error:
        module.fail_json(msg=f"{error}. Mend that, and run the same command again", did=did)
    did = [words for words in did if words]
    about = {key: value for key, value in manifest.items() if key not in ("entries", "packages")}
    left = sorted(
        {e["part"] for e in manifest["entries"] if not part and put_back(e, folder, dry=True)}
    )
    new = sorted(set(packages()) - set(manifest["packages"])) if not part else []
    module.exit_json(
        changed=bool(did),
        did=did,
        snapshot=folder,
        record=about,
        new_packages=new,
        parts_left=left,
        diff=new_lines(did),
    )


if __name__ == "__main__":
    main()
