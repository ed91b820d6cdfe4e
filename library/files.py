#!/usr/bin/python
"""Put a set of files and directories into their wanted state in one execution."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.fleet.files import FileError, bring
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: files
short_description: Many files and directories in one execution
description:
  - Every C(template) or C(copy) task costs several SSH executions on each host, even if nothing
    changes. This module takes the final contents of all files of a role and needs one.
  - Files are replaced atomically (temporary file in the same directory, fsync, rename).
  - A missing parent directory is an error, so that a typo does not create a new tree.
  - In a folder that belongs to another account the module works as that account, so that a link
    there gives access to nothing that the account cannot reach itself. Files there cannot get
    another owner.
options:
  files:
    description: The wanted entries, in order.
    type: list
    elements: dict
    required: true
    suboptions:
      path: {description: Absolute path., type: path, required: true}
      state:
        description: Kind of entry.
        choices: [file, directory]
        default: file
        type: str
      content: {description: "Whole content of the file, or of its block.", type: str}
      marker:
        description: "Line before and after the block, in a file of which only a block is managed.
          C({mark}) becomes BEGIN and END. If the content is empty, the block is removed."
        type: str
      owner: {description: Name of the owner; unchanged when omitted., type: str}
      group: {description: Name of the group; unchanged when omitted., type: str}
      mode: {description: Octal mode as a string., type: str}
      secret: {description: Keep the content out of the diff., type: bool, default: false}
      hides: {description: Pattern of text that the diff shows as C((secret))., type: str}
      keep: {description: Do not change an existing file's content., type: bool, default: false}
      validate:
        description: Command that must succeed for the new file; C(%s) is its temporary path.
        type: str
"""

EXAMPLES = r"""
- name: Settings and their folder are in place
  files:
    files:
      - {path: /etc/example, state: directory, owner: root, group: root, mode: "0755"}
      - {path: /etc/example/settings.json, content: "{}", mode: "0600", secret: true}
"""

RETURN = r"""
changed_paths:
  description: Paths that were changed, or would be in check mode.
  returned: always
  type: list
"""

ENTRY_SPEC: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "state": {"choices": ["file", "directory"], "default": "file"},
    "content": {"type": "str"},
    "marker": {"type": "str"},
    "owner": {"type": "str"},
    "group": {"type": "str"},
    "mode": {"type": "str"},
    "secret": {"type": "bool", "default": False},
    "hides": {"type": "str"},
    "keep": {"type": "bool", "default": False},
    "validate": {"type": "str"},
}


def main() -> None:
    module = FleetModule(
        argument_spec={
            "files": {"type": "list", "elements": "dict", "required": True, "options": ENTRY_SPEC}
        },
        supports_check_mode=True,
    )
    changed_paths: list[str] = []
    diffs: list[dict[str, str]] = []
    for entry in module.params["files"]:
        try:
            changed, diff = bring(entry, module.run_command, module.check_mode)
        except (FileError, OSError) as error:
            module.fail_json(msg=str(error), changed_paths=changed_paths)
        if changed:
            changed_paths.append(entry["path"])
            headers = dict.fromkeys(("before_header", "after_header"), entry["path"])
            diffs.append(diff | headers)
    module.exit_json(changed=bool(changed_paths), changed_paths=changed_paths, diff=diffs)


if __name__ == "__main__":
    main()
