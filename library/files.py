#!/usr/bin/python
"""Bring a set of files and directories to their wanted state in one execution."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.fleet.files import FileError, bring
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: files
short_description: Many files and directories in one execution
description:
  - Every C(template) or C(copy) task costs several SSH executions per host, changed or not. This
    module takes the finished contents of all files of a role and needs one.
  - Replaces are atomic (temporary file in the same directory, fsync, rename).
  - Missing parent directories are an error, so that a typo does not grow a tree.
  - In a folder of another account this module acts as that account, so that through a link there it
    reaches no more than the account itself. Only files of that account can be made there.
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
      content: {description: "The whole content of a file, or its block, see C(marker).", type: str}
      marker:
        description: "Line before and after our block in a file with other content; C({mark}) in it
          becomes BEGIN and END. With an empty content the block is removed."
        type: str
      owner: {description: Owner's name; unchanged when omitted., type: str}
      group: {description: Group's name; unchanged when omitted., type: str}
      mode: {description: Octal mode as a string., type: str}
      secret: {description: Keep the content out of the diff., type: bool, default: false}
      hides: {description: Pattern of text that the diff shows as C((secret))., type: str}
      keep: {description: Leave an existing file's content as it is., type: bool, default: false}
      validate:
        description: Command that must succeed on the new file, C(%s) is its temporary path.
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
