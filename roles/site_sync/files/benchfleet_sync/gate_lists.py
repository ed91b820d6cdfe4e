"""Lists and configurations that nodes read from the sites folder."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile

from fleet.bench.files import for_node
from fleet.foreign import read_bytes
from fleet.sites.folders import LIST

from benchfleet_sync.gate import RRSYNC, peer
from benchfleet_sync.names import ASSET_LISTS, CONFIG, SITE

# Small files of SITES that nodes also have.
SMALL = (LIST, "apps.txt", "currentsite.txt", *ASSET_LISTS)


def small(path: str) -> bytes | None:
    """Content of a small file; None where it is missing, too large, or not a plain file."""
    try:
        return read_bytes(path, follow=False)
    except OSError:
        return None


def of_node(text: bytes) -> bytes:
    """A site's configuration without keys for the primary only; empty where it is not valid."""
    try:
        config = json.loads(text)
    except ValueError:
        return b""
    return json.dumps(for_node(config)).encode() if isinstance(config, dict) else b""


def fill(view: str, sites: str) -> None:
    """Write the files of the sites folder that a node needs, but not the sites' files, to view."""
    found = {name: small(f"{sites}/{name}") for name in SMALL}
    for site in filter(SITE.fullmatch, os.listdir(sites)):
        # Like rsync, this does not follow links.
        if not os.path.islink(f"{sites}/{site}"):
            text = small(f"{sites}/{site}/{CONFIG}")
            found[f"{site}/{CONFIG}"] = text if text is None else of_node(text)
    for name, content in found.items():
        if content is not None:
            os.makedirs(os.path.dirname(f"{view}/{name}"), exist_ok=True)
            with open(f"{view}/{name}", "wb") as out:
                out.write(content)


def read_lists(words: list[str], sites: str) -> int:
    """Run rrsync on a temporary folder; returns its exit status."""
    # sshd sends these when the peer is gone.
    for number in (signal.SIGHUP, signal.SIGTERM):
        signal.signal(number, lambda *_: sys.exit(1))
    os.umask(0o077)
    with tempfile.TemporaryDirectory(prefix="benchfleet-lists-") as view:
        fill(view, sites)
        return subprocess.run([RRSYNC, "-ro", view], env=peer(words), check=False).returncode
