"""The copy of the sites: what brings it to the reporting nodes, and the primary's gates to it.

On a node, ``site-sync`` (``__main__``) copies the primary's sites folder each minute (``run``),
takes files of transactions to the primary (``push``) and brings single ones (``fetch``). On the
primary, ``sync-gate`` (``gate``) and ``code-gate`` (``code_gate``) confine the nodes' keys.
"""

from __future__ import annotations

import os


def version() -> list[tuple[str, int, int]]:
    """What changes when site.yml replaces a part of this package."""
    with os.scandir(os.path.dirname(__file__)) as entries:
        parts = [
            (e.name, e.inode(), e.stat().st_mtime_ns) for e in entries if e.name.endswith(".py")
        ]
    return sorted(parts)


# Before any other part is read: what is replaced from now on is not what runs here.
BEGAN = version()
