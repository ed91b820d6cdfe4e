#!/usr/bin/python
"""Bring nginx's files to their content, and nginx to use them, or leave everything as it was."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path

from ansible.module_utils.basic import AnsibleModule

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
  loaded_file:
    description:
      - Where the module keeps what nginx took at the last reload. A run that was killed between
        writing and reloading leaves files that look right and an nginx that does not use them;
        the next run tells by this file, and reloads.
    type: path
    required: true
"""

RETURN = r"""
changed_paths:
  description: Files that were changed, or would be in check mode.
  returned: always
  type: list
"""


class NginxError(Exception):
    """nginx refused; the message names file and line, and what to do."""


def read(path: Path) -> bytes | Path | None:
    """Content of a file, None when there is none; of a link, where it leads."""
    try:
        return path.readlink() if path.is_symlink() else path.read_bytes()
    except FileNotFoundError:
        return None


def write(path: Path, data: bytes | Path | None) -> None:
    """Replace a file in one rename, or make a link; None removes it."""
    if data is None or isinstance(data, Path):
        path.unlink(missing_ok=True)
        if data is not None:
            path.symlink_to(data)
        return
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".benchfleet-", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as out:
            out.write(data)
            out.flush()
            os.fsync(out.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def digest(wanted: dict[Path, bytes | None]) -> bytes:
    """What stands for these files with this content, as a line."""
    whole = hashlib.sha256()
    for path, data in sorted(wanted.items()):
        if data is None:
            continue
        whole.update(f"{path} {len(data)}\n".encode() + data)
    return whole.hexdigest().encode() + b"\n"


def shown(data: bytes | Path | None) -> str:
    """Content for a diff."""
    if isinstance(data, Path):
        return f"link to {data}\n"
    return (data or b"").decode(errors="replace")


def complaint(words: str) -> str:
    """What nginx -t says against a configuration, without its warnings and its last line."""
    lines = [line for line in words.splitlines() if "[emerg]" in line or "[alert]" in line]
    return " ".join(re.sub(r"^nginx: ", "", line) for line in lines) or words.strip()


def tested(module: AnsibleModule) -> str:
    """Empty when nginx accepts the configuration on disk, else its complaint."""
    code, out, err = module.run_command(["/usr/sbin/nginx", "-t"])
    return "" if code == 0 else complaint(err or out)


def put(
    module: AnsibleModule,
    wanted: dict[Path, bytes | None],
    old: dict[Path, bytes | Path | None],
) -> None:
    """Write, test, reload. Raises NginxError after the old files are back."""
    try:
        for path, data in wanted.items():
            if old[path] != data:
                write(path, data)
        problem = tested(module)
        if not problem:
            reload_nginx(module)
            return
    except (OSError, NginxError):
        for path, data in old.items():
            write(path, data)
        raise
    for path, data in old.items():
        write(path, data)
    ours = any(str(path) in problem for path in wanted)
    before = tested(module)
    if before and not ours:
        raise NginxError(
            f"nginx's configuration on this host is broken already, before Benchfleet's part:"
            f" {before}. Correct that file; nothing was changed"
        )
    raise NginxError(
        f"nginx refuses the new configuration: {problem}. The old files are back and nginx runs on"
        " with them"
    )


def reload_nginx(module: AnsibleModule) -> None:
    """Tell a running nginx to take the new configuration; one that is stopped reads it at start."""
    code, _, _ = module.run_command(["systemctl", "is-active", "--quiet", "nginx.service"])
    if code != 0:
        return
    code, out, err = module.run_command(["systemctl", "reload", "nginx.service"])
    if code != 0:
        raise NginxError(
            f"nginx could not be reloaded: {(err or out).strip()}; the old files are back. See"
            " `journalctl -u nginx`"
        )


def main() -> None:
    """Module entry point."""
    module = AnsibleModule(
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
            "loaded_file": {"type": "path", "required": True},
        },
        supports_check_mode=True,
    )
    os.umask(0o022)
    wanted: dict[Path, bytes | None] = {
        Path(f["path"]): f["content"].encode() for f in module.params["files"]
    }
    wanted |= {Path(path): None for path in module.params["absent"]}
    old = {path: read(path) for path in wanted}
    changed = [path for path in wanted if old[path] != wanted[path]]
    loaded_file = Path(module.params["loaded_file"])
    loaded = not changed and read(loaded_file) == digest(wanted)
    if loaded and (problem := tested(module)):
        module.warn(
            f"nginx runs, but would not start again with the configuration on this host: {problem}."
            " Correct that file"
        )
    if not loaded and not module.check_mode:
        try:
            put(module, wanted, old)
            write(loaded_file, digest(wanted))
        except (NginxError, OSError) as error:
            module.fail_json(msg=str(error))
    diffs = [
        {
            "before_header": str(path),
            "after_header": str(path),
            "before": shown(old[path]),
            "after": shown(wanted[path]),
        }
        for path in changed
    ]
    if not loaded and not changed:
        diffs.append(
            {
                "before": "nginx may run with an older configuration than its files\n",
                "after": "nginx runs with its files\n",
            }
        )
    module.exit_json(changed=not loaded, changed_paths=[str(path) for path in changed], diff=diffs)


if __name__ == "__main__":
    main()
