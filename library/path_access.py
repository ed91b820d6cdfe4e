#!/usr/bin/python
"""Give a user access to one directory, and to nothing else in its parents."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from ansible.module_utils.fleet.bench.account import run_as
from ansible.module_utils.fleet.foreign import acting_as, owner_of
from ansible.module_utils.fleet.module import FleetModule, new_lines, telling

DOCUMENTATION = r"""
module: path_access
short_description: A user can reach a directory
description:
  - Gives C(user) the right to pass through (not to list or to write) those parents of C(path)
    through which it cannot pass, by an ACL entry C(--x) on each. Modes, owners and groups stay.
  - What the user can do is tested as that user.
options:
  user: {description: Name of the user., type: str, required: true}
  path: {description: Directory to reach., type: path, required: true}
"""

EXAMPLES = r"""
- name: Web server can reach the sites folder
  path_access:
    user: www-data
    path: "{{ fleet_bench_dir }}/sites"
"""

RETURN = r"""
directories:
  description: Directories that got an ACL entry, or would in check mode.
  returned: always
  type: list
"""


class AccessError(Exception):
    """The user cannot be given access; the message says why and what to do."""


def parents(path: Path) -> list[Path]:
    """Every directory from the root down to the path itself, symlinks resolved."""
    real = path.resolve()
    return [*reversed(real.parents), real]


def can_search(directory: Path, user: str) -> bool:
    """Whether the kernel lets the user pass through a directory, leaving its parents aside.

    The directory is opened by root, and passed by the user, so that only its own permissions count.
    """
    descriptor = os.open(directory, os.O_PATH | os.O_DIRECTORY)
    try:
        with acting_as(pwd.getpwnam(user).pw_uid):
            os.stat(".", dir_fd=descriptor)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def blocked(path: Path, user: str) -> list[Path]:
    """Directories on the way to the path that the user cannot pass."""
    return [directory for directory in parents(path) if not can_search(directory, user)]


def allow(module: FleetModule, directory: Path, user: str) -> None:
    """Add the ACL entry and make sure that it works. Raises AccessError."""
    argv = ["setfacl", "-m", f"u:{user}:--x", str(directory)]
    # In a folder of another account, the name may have become a link, for example to root's home.
    owner = owner_of(str(directory))
    if owner:
        done = run_as(pwd.getpwuid(owner).pw_name, argv, "/", {"PATH": "/usr/bin:/bin"}, timeout=60)
        code, err = done.returncode, done.stdout
    else:
        code, _, err = module.run_command(argv)
    if code != 0:
        raise AccessError(
            f"{directory}: no ACL entry can be set for {user} ({err.strip()}); mount the file"
            f" system with ACLs, or let all users pass: chmod o+x {directory}"
        )
    if not can_search(directory, user):
        mode = stat.filemode(directory.stat().st_mode)
        raise AccessError(
            f"{directory}: {user} cannot pass despite its ACL entry (mode {mode}); look at"
            f" `getfacl {directory}`"
        )


def main() -> None:
    module = FleetModule(
        argument_spec={
            "user": {"type": "str", "required": True},
            "path": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    user, path = module.params["user"], Path(module.params["path"])
    try:
        pwd.getpwnam(user)
        known = True
    except KeyError:
        known = False
    if not known or not path.is_dir():
        missing = f"directory {path}" if known else f"user {user}"
        if module.check_mode:
            module.exit_json(changed=True, directories=[str(path)])
        module.fail_json(
            msg=f"there is no {missing} on this host; run the whole site.yml, which creates it"
        )
    directories = blocked(path, user)
    with telling(module, AccessError):
        if not module.check_mode:
            for directory in directories:
                allow(module, directory, user)
    names = [str(directory) for directory in directories]
    diff = new_lines(f"{name}: u:{user}:--x" for name in names)
    module.exit_json(changed=bool(names), directories=names, diff=diff)


if __name__ == "__main__":
    main()
