"""What the inventory says about the copy of the sites: the file site-sync.json."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from fleet.folders import FILE, folder
from fleet.sites.folders import LIST


class ConfigError(Exception):
    """site-sync.json cannot be used."""


@dataclass(frozen=True)
class Settings:
    """What site-sync.json says.

    path: where it lies. passwords: of reading accounts, by site; the others are derived with
    site_key. major: Frappe's.
    """

    path: Path
    user: str
    bench: Path
    source_host: str
    source_port: int
    source_user: str
    key: Path
    known_hosts: Path
    major: int
    replica_host: str
    replica_port: int
    passwords: dict[str, str]
    site_key: str
    connect_timeout: int
    transfer_timeout: int
    digest: str

    @property
    def folder(self) -> Path:
        """The sites folder on this host."""
        return self.bench / "sites"

    @property
    def staging(self) -> Path:
        """Where files wait to be read; outside of sites, which bench lists."""
        return self.bench / ".site-sync"

    @property
    def touched(self) -> Path:
        """What open transactions have touched: a file for each, and the lock over all of them."""
        return self.folder / ".site-files"

    @property
    def list(self) -> Path:
        """The sites that are here, as the primary wrote them down."""
        return self.folder / LIST

    @property
    def mark(self) -> Path:
        """Outcome of the last run."""
        return self.folder / ".site-sync.json"


def load(path: Path) -> Settings:
    """Parse site-sync.json. Raises ConfigError that names the file and what is wrong in it."""
    try:
        text = path.read_text()
        data = json.loads(text)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: {error}; run site.yml again") from error
    try:
        return Settings(
            path=path,
            user=data["user"],
            bench=Path(data["bench"]),
            source_host=data["source"]["host"],
            source_port=int(data["source"]["port"]),
            source_user=data["source"]["user"],
            key=Path(data["key"]),
            known_hosts=Path(data["known_hosts"]),
            major=int(data["frappe_major"]),
            replica_host=data["replica"]["host"],
            replica_port=int(data["replica"]["port"]),
            passwords=dict(data["passwords"]),
            site_key=data["site_key"],
            connect_timeout=int(data["connect_timeout"]),
            transfer_timeout=int(data["transfer_timeout"]),
            digest=hashlib.sha256(text.encode()).hexdigest(),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ConfigError(f"{path}: {error!r} is missing or wrong; run site.yml again") from error


def file_of_this_host() -> Path:
    """Where the fleet keeps site-sync.json on this host. Raises ConfigError."""
    try:
        return folder("config") / "site-sync.json"
    except (OSError, ValueError, KeyError) as error:
        raise ConfigError(f"{FILE} cannot be read: {error}. Run site.yml") from error
