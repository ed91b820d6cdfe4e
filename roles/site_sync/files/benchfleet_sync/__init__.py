"""The copy of the sites to the reporting nodes, and the gates of their keys on the primary.

On a node, ``site-sync`` (``__main__``) copies the primary's sites folder each minute (``run``),
sends files of transactions to the primary (``push``) and fetches single ones (``fetch``); on the
standby, it also copies files when they change (``follow``). On the primary, ``sync-gate``
(``gate``) and ``code-gate`` (``code_gate``) confine the nodes' keys.
"""

from __future__ import annotations

import os


def version() -> list[tuple[str, int, int]]:
    """A value that changes when site.yml replaces a part of this package."""
    with os.scandir(os.path.dirname(__file__)) as entries:
        parts = [
            (e.name, e.inode(), e.stat().st_mtime_ns) for e in entries if e.name.endswith(".py")
        ]
    return sorted(parts)


# Read before any other part: what is replaced from now on does not run here.
BEGAN = version()
