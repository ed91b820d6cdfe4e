"""Redis' configuration of a bench, made from what `bench setup redis` wrote (bench CLI 5.31)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

from .files import REDIS_GONE, redis_settings, redis_without

REDIS_HEADER = (
    "# Made by Benchfleet from the output of `bench setup redis`; changes here are undone.\n"
)


def redis_config(
    text: str, bind: list[str], acl_file: str, max_memory_mb: int, queue: bool = False
) -> str:
    """The configuration of one Redis of the bench.

    ``text`` is what ``bench setup redis`` wrote, with the operator's changes; ``bind`` the
    addresses to listen on; ``acl_file`` has the users, each with a password, and replaces the
    operator's own users and password; ``max_memory_mb`` is in MiB. The ``queue`` drops no job and
    is on disk after a second; the operator's own limit and a stricter ``appendfsync`` are kept.
    That it is append-only is set elsewhere: see module_utils/fleet/redis/store.py.
    """
    try:
        settings = redis_settings(text)
    except ValueError as error:
        raise AnsibleFilterError(f"the bench's Redis configuration: {error}") from error
    if settings.get("port", "0") == "0":
        raise AnsibleFilterError("the bench's Redis configuration names no port")
    own = {
        "bind": " ".join(bind),
        "protected-mode": "yes",
        "aclfile": f'"{acl_file}"',
        "maxmemory": f"{max_memory_mb}mb",
    }
    if queue:
        own |= {
            "maxmemory-policy": "noeviction",
            "appendfsync": "everysec",
            "aof-load-truncated": "yes",
        }
        kept = {"maxmemory": r"[1-9]\w*", "appendfsync": "always"}
        for name, wanted in kept.items():
            if re.fullmatch(wanted, settings.get(name, ""), re.IGNORECASE):
                del own[name]
    lines = redis_without(text, {"requirepass", *own, *REDIS_GONE})
    lines += [f"{name} {value}" for name, value in own.items()]
    return REDIS_HEADER + "\n".join(lines) + "\n"


def redis_copied(
    generated: Mapping[str, str | None], folder: str, owner: str
) -> list[dict[str, Any]]:
    """Entries for the module ``files`` that put the primary's files into the standby's bench.

    generated: what ``bench setup redis`` wrote on the primary: name of the file -> text, None in a
    dry run without a bench. folder: the bench's ``config``. Folders in which Redis keeps its data
    come first.
    """
    texts = {
        name: text
        for name, text in sorted(generated.items())
        # Older bench CLIs write no list of users.
        if name.startswith("redis_") and (text is not None or name.endswith(".conf"))
    }
    folders = {redis_settings(text).get("dir", "") for text in texts.values() if text}
    entries: list[dict[str, Any]] = [
        {"path": path, "state": "directory", "owner": owner} for path in sorted(folders - {""})
    ]
    for name, text in texts.items():
        about = {"path": f"{folder}/{name}", "owner": owner, "mode": "0600", "secret": True}
        entries.append({**about, "content": text or ""})
    return entries
