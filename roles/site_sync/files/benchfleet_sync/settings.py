"""Settings of the copy of the sites, from site-sync.json."""

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
    """The content of site-sync.json.

    path: of that file. passwords: of reading accounts, by site; others are derived from site_key.
    major: version of Frappe.
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
        """The staging folder; outside of sites, as bench lists everything there."""
        return self.bench / ".site-sync"

    @property
    def touched(self) -> Path:
        """The notes of open transactions on touched files: one for each, and one common lock."""
        return self.folder / ".site-files"

    @property
    def list(self) -> Path:
        """The list of the sites that are here."""
        return self.folder / LIST

    @property
    def mark(self) -> Path:
        """The result of the last run."""
        return self.folder / ".site-sync.json"


def load(path: Path) -> Settings:
    """The settings in site-sync.json. Raises ConfigError with the file and the fault."""
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
