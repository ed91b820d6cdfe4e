"""Paths of the sites that other accounts of the host may not read."""

from __future__ import annotations

import os

from ..bench.account import checked, run_as

# They hold a site's passwords and backups. The web server may pass through the private folders, but
# not list them. Frappe leaves all of this open.
PRIVATE = ("site_config.json", "private", "private/files", "private/backups")
# The bench's account cannot close what another account owns.
OPEN = r"""
find "$@" -maxdepth 0 -user "$(id -u)" \( \( -type f -o -type d -name backups \) -perm /007 -print \
    -o -type d ! -name backups -perm /006 -print \)
"""
CLOSE = r"""
find "$@" -maxdepth 0 \( -type f -o -type d -name backups \) -exec chmod o-rwx {} + \
    -o -type d -exec chmod o-rw {} +
"""


OPEN_TO_ALL = "open to every account"


def close(folder: str, user: str, sites: list[str], check_mode: bool) -> list[str]:
    """Close these paths to other accounts, as the bench's account; returns what was open, in lines.

    folder: the sites folder. user: the bench's account. A link is left as it is: its target is not
    the site's, or was put elsewhere on purpose.
    """
    paths = [f"./{site}/{name}" for site in sites for name in PRIVATE]
    paths = [path for path in paths if os.path.lexists(f"{folder}/{path}")]

    def run(script: str, paths: list[str]) -> list[str]:
        command = ["sh", "-c", script, "sh", *paths]
        done = run_as(user, command, folder, {"PATH": os.defpath})
        return checked(done, "closing the sites' files").splitlines()

    found = run(OPEN, paths) if paths else []
    if found and not check_mode:
        run(CLOSE, found)
    return [f"{path.removeprefix('./')} {OPEN_TO_ALL}" for path in found]
