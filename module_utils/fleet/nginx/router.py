"""The router's files: brought to their content all at once, with what the sites need."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..bench.account import exclusive
from ..sites.folders import read_state, served_names
from ..sites.nginx import render_servers
from ..snapshot import is_recorded
from .certificates import Certificates
from .files import (
    Run,
    configuration,
    contents,
    debians_site,
    digest,
    other_defaults,
    put,
    read,
    shown,
    tested,
    write,
)


@dataclass(frozen=True)
class Router:
    """What nginx is to have. asked: options of the module nginx_files. dry: nothing is changed."""

    asked: Mapping[str, Any]
    run: Run
    warn: Callable[[str], None]
    dry: bool

    def bring(self) -> dict[str, Any]:
        """Bring the files to their content, and nginx to use them; what the module answers.

        Raises BenchError, NginxError, OSError, SiteError, SnapshotError.
        """
        sites: Mapping[str, Any] | None = self.asked.get("sites")
        lock = exclusive(f"{sites['state_dir']}/sites.lock", 120) if sites else nullcontext()
        with nullcontext() if self.dry else lock:
            return self.bring_all(sites)

    def bring_all(self, sites: Mapping[str, Any] | None) -> dict[str, Any]:
        """The same, while nobody else changes which sites there are."""
        files = {Path(f["path"]): f["content"].encode() for f in self.asked["files"]}
        certificates: list[str] = []
        if sites:
            known = read_state(sites["state_dir"])
            names = sites["listed"] if known is None else served_names(known)
            template = files[Path(sites["template"])].decode()
            table = Certificates.by(sites)
            files[Path(sites["target"])] = render_servers(template, names, table.of).encode()
            certificates = table.files(names)
        absent = [Path(path) for path in self.asked["absent"]]
        if default := self.asked.get("default_server"):
            absent += self.make_way(default, files, absent)
        wanted: dict[Path, bytes | None] = {**files, **dict.fromkeys(absent)}
        old = {path: read(path) for path in wanted}
        changed = [path for path in wanted if old[path] != wanted[path]]
        loaded_file = Path(self.asked["loaded_file"])
        used = wanted | contents(certificates)
        loaded = not changed and read(loaded_file) == digest(used)
        if loaded and (problem := tested(self.run)):
            self.warn(
                "nginx runs, but would not start again with the configuration on this host:"
                f" {problem}. Correct that file"
            )
        if not loaded and not self.dry:
            put(self.run, wanted, old)
            write(loaded_file, digest(used))
        diffs = [
            {
                "before_header": str(path),
                "after_header": str(path),
                "before": shown(old[path]),
                "after": shown(wanted[path]),
            }
            for path in changed
        ]
        if not loaded and not changed:
            diffs.append(
                {
                    "before": "nginx may run with older files than there are\n",
                    "after": "nginx runs with its files\n",
                }
            )
        return {
            "changed": not loaded,
            "changed_paths": [str(path) for path in changed],
            "diff": diffs,
        }

    def make_way(
        self, default: Mapping[str, Any], files: dict[Path, bytes], absent: list[Path]
    ) -> list[Path]:
        """Settle who is nginx's default server; returns what has to go for ours."""
        file = Path(default["file"])
        debians = debians_site(self.run)
        gone = [debians] if debians and is_recorded(default["record"], str(debians)) else []
        seen = configuration(self.run)
        others = other_defaults(seen, files[file].decode(), {*files, *absent, *gone})
        if others:
            names = ", ".join(others)
            files[file] = f"# The default server of this host is another: {names}.\n".encode()
            self.warn(
                f"nginx has a default server of this host's own, in {names}. It stays, and answers"
                " when somebody asks for a name that is no site. To have Benchfleet's page instead,"
                " take default_server out of its listen lines and run this again"
            )
            return []
        return gone
