"""Certificates that changed on the primary since the last run, brought to the standby.

Of the primary, the standby takes only the content of certificates and keys that it has already: a
primary can neither name another file there nor have anything run. New names, certbot's own files
and the operator's rules come with a run of site.yml (standby.py).
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import files
from ..bench.account import exclusive
from ..forward import FILE as FORWARD
from ..sites.folders import read_state, served_names
from .certificates import FOLDER, Certificates, certificate_trouble
from .files import contents, digest_with, read, reload_nginx, tested, write
from .standby import Copy, CopyError, text_of
from .syntax import NginxError

LOCK_SECONDS = 120
# Beside the certificate with its chain and the key, which nginx reads: certbot decides by them.
CERTBOTS = ("cert.pem", "chain.pem")


@dataclass(frozen=True)
class Pairs:
    """The certificates of a router.

    table: which each name has. names: {site: [further name]}.
    """

    table: Certificates
    names: Mapping[str, Iterable[str]]

    def each(self) -> dict[tuple[str, str], list[str]]:
        """Certificate and key of each, with the files that go with them."""
        found: dict[tuple[str, str], list[str]] = {}
        for entry in self.table.named:
            found[entry["certificate"], entry["key"]] = []
        for pair in map(self.table.asked, self.table.wanted(self.names)):
            found[pair] = [f"{os.path.dirname(pair[0])}/{name}" for name in CERTBOTS]
        return found

    def paths(self) -> list[str]:
        """Those of all these files that are there."""
        found = [path for pair, beside in self.each().items() for path in (*pair, *beside)]
        return [path for path in dict.fromkeys(found) if os.path.exists(path)]


def sent(settings: Mapping[str, Any], folder: str = FOLDER) -> dict[str, str]:
    """The primary's certificates and keys, {path: PEM}. Raises OSError, SiteError, ValueError.

    settings: those of the program fleet-sites.
    """
    known = read_state(settings["state_dir"])
    names = settings["names"] if known is None else served_names(known)
    pairs = Pairs(Certificates.by(settings["nginx"], folder), names)
    return {path: text_of(path)["content"] for path in pairs.paths()}


@dataclass
class Renewal:
    """Brings to the standby what the primary sent.

    settings: {state_dir, loaded_file, names, certificates, acme}, see roles/router/vars/main.yml.
    changed: the files that were replaced. refused: why others were not.
    """

    settings: Mapping[str, Any]
    run: files.Run
    folder: str = FOLDER
    changed: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)

    @property
    def pairs(self) -> Pairs:
        """The certificates of this host."""
        return Pairs(Certificates.by(self.settings, self.folder), self.settings["names"])

    def bring(self, texts: Mapping[str, Any]) -> None:
        """Replace what differs, and have nginx load it; on failure the old files are back.

        texts: as ``sent`` returned it. Raises BenchError, CopyError, FileError, NginxError,
        OSError, and TypeError for something else.
        """
        state_dir = self.settings["state_dir"]
        if not isinstance(texts, Mapping):
            raise TypeError(type(texts).__name__)
        with exclusive(f"{state_dir}/sites.lock", LOCK_SECONDS):
            if not Path(state_dir, FORWARD).exists():
                # This host has become the primary meanwhile.
                return
            copy = Copy(self.settings, self.run, dry=False, folder=self.folder)
            try:
                for path, text in self.accepted(texts).items():
                    copy.write(path, text, None)
                self.load()
            except (CopyError, NginxError, OSError, files.FileError):
                copy.put_back()
                raise
            self.changed = copy.changed

    def accepted(self, texts: Mapping[str, Any]) -> dict[str, str]:
        """What of it this host has, and nginx can use: certificates with their keys."""
        here = set(self.pairs.paths())
        found: dict[str, str] = {}
        for pair, beside in self.pairs.each().items():
            if not here.issuperset(pair) or not any(path in texts for path in pair):
                continue
            both = [str(texts.get(path, "")) for path in pair]
            if why := trouble(*both):
                self.refused.append(f"{pair[0]} stays as it is: the primary sent one that {why}")
                continue
            found |= dict(zip(pair, both, strict=True))
            found |= {path: str(texts[path]) for path in beside if path in here and path in texts}
        return found

    def load(self) -> None:
        """Have nginx load certificates that it does not use yet. Raises NginxError, OSError."""
        loaded_file = Path(self.settings["loaded_file"])
        used = contents(self.pairs.table.files(self.settings["names"]))
        loaded = read(loaded_file)
        wanted = digest_with(loaded if isinstance(loaded, bytes) else None, used)
        if loaded == wanted:
            return
        if problem := tested(self.run):
            raise NginxError(
                f"nginx refuses its configuration with the primary's certificates: {problem}. The"
                " old files are back, and nginx still uses them"
            )
        reload_nginx(self.run)
        write(loaded_file, wanted)


def trouble(certificate: str, key: str) -> str:
    """Why a certificate and its key, as text, are of no use; "" where they are."""
    with tempfile.TemporaryDirectory(prefix="benchfleet-certificate-", dir="/run") as folder:
        places = [f"{folder}/certificate", f"{folder}/key"]
        for place, text in zip(places, (certificate, key), strict=True):
            Path(place).write_text(text, encoding="utf-8")
        return "does not fit its key" if certificate_trouble(*places) else ""
