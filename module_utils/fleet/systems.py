"""The systems that a host may run, and what depends on them: one row each.

Names that are the same on all of them and no packages (units of systemd, folders of configuration)
stand where they are used. A system on which one differs brings it here.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MARIADB = "mariadb-server"
NGINX = "nginx"
REDIS = "redis-server"
SUPERVISOR = "supervisor"
PYMYSQL = "python3-pymysql"
WKHTMLTOPDF = "wkhtmltopdf"
CHROMIUM = "chromium-headless-shell"
# The program itself. The command in /usr/bin is a shell that waits for it: Frappe, which ends the
# process that it started, would leave a Chromium behind each time.
CHROMIUM_PATH = f"/usr/lib/chromium/{CHROMIUM}"
# Begin the names of packages whose upgrade is the operator's to ask for: it restarts a server.
SERVERS = (MARIADB, NGINX, REDIS, SUPERVISOR)

# By what they are for. Frappe's Python packages have wheels for the usual processors; what has none
# is built: mysqlclient of Frappe 16 and later needs libmariadb-dev, pkg-config, a compiler, and the
# headers of the bench's own Python.
PACKAGES: dict[str, list[str]] = {
    "host": [
        *("ca-certificates", "cron", "nftables", "openssh-client", "openssh-server"),
        *("python3", PYMYSQL, "rsync", "sudo", "zstd"),
    ],
    "site_sync": ["logrotate"],
    "mariadb": [MARIADB, "mariadb-backup"],
    "code": ["git"],
    "bench": [
        *("build-essential", "git", "libmariadb-dev", "mariadb-client", "pkg-config"),
        *("python3-dev", "python3-venv", SUPERVISOR),
    ],
    "redis": [REDIS],
    "web": ["acl", NGINX, "libnginx-mod-http-lua"],
    "acme": ["certbot"],
}
DEBIAN: dict[str, Any] = {"distribution": "Debian", "packages": PACKAGES, "tried": True}

# release: as the facts have it, or how that begins. mariadb: the series that the system brings.
# wkhtmltopdf: whether it has that package. tried: whether the fleet was ever run on it.
SYSTEMS: tuple[dict[str, Any], ...] = (
    {
        **DEBIAN,
        "release": "12",
        "codename": "bookworm",
        "mariadb": "10.11",
        "wkhtmltopdf": True,
    },
    {
        **DEBIAN,
        "release": "13",
        "codename": "trixie",
        "mariadb": "11.8",
        "wkhtmltopdf": False,
    },
    # From its documentation. The packages have Debian's names, and some are in universe. It has no
    # package of Chromium's headless shell: its Chromium is a snap, which is not installed.
    {
        "distribution": "Ubuntu",
        "release": "24.04",
        "codename": "noble",
        "mariadb": "10.11",
        "wkhtmltopdf": True,
        "packages": PACKAGES,
        "tried": False,
    },
)


def title(system: Mapping[str, Any]) -> str:
    """A system's name for people: Debian 12 (bookworm)."""
    return f"{system['distribution']} {system['release']} ({system['codename']})"


def system_of(distribution: str, version: str) -> dict[str, Any]:
    """The row of a host's system, by Ansible's facts about it; {} for one that has none."""
    for system in SYSTEMS:
        release = system["release"]
        if system["distribution"] == distribution and f"{version}.".startswith(f"{release}."):
            return system
    return {}


def known(tried: bool = True) -> str:
    """The systems for people: those on which the fleet was run, or the others."""
    return " or ".join(title(system) for system in SYSTEMS if system["tried"] == tried)
