"""What of the sites other accounts of the host may not read."""

from __future__ import annotations

import os

from ..bench.account import checked, run_as

# What other accounts of the host may not read: a site's passwords and backups. Through its private
# folders the web server passes, without a look at what is there. Frappe leaves all of it open.
PRIVATE = ("site_config.json", "private", "private/files", "private/backups")
# What somebody else owns, the account cannot close.
OPEN = r"""
find "$@" -maxdepth 0 -user "$(id -u)" \( \( -type f -o -type d -name backups \) -perm /007 -print \
    -o -type d ! -name backups -perm /006 -print \)
"""
CLOSE = r"""
find "$@" -maxdepth 0 \( -type f -o -type d -name backups \) -exec chmod o-rwx {} + \
    -o -type d -exec chmod o-rw {} +
"""


def close(folder: str, user: str, sites: list[str], check_mode: bool) -> list[str]:
    """Close what is the sites' own to other accounts, as the bench's; what was open, in lines.

    folder: that of the sites, user: the bench's account. A link is left as it is: what it leads to
    is not the site's, or elsewhere on purpose.
    """
    paths = [f"./{site}/{name}" for site in sites for name in PRIVATE]
    paths = [path for path in paths if os.path.lexists(f"{folder}/{path}")]

    def run(script: str, paths: list[str]) -> list[str]:
        words = ["sh", "-c", script, "sh", *paths]
        done = run_as(user, words, folder, {"PATH": os.defpath})
        return checked(done, "closing the sites' files").splitlines()

    found = run(OPEN, paths) if paths else []
    if found and not check_mode:
        run(CLOSE, found)
    return [f"{path.removeprefix('./')} open to every account" for path in found]
