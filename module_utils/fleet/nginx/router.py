"""The router's files: all written at once, with those that the sites need."""

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
    """The router's files of nginx. asked: options of nginx_files. dry: change nothing."""

    asked: Mapping[str, Any]
    run: Run
    warn: Callable[[str], None]
    dry: bool

    def bring(self) -> dict[str, Any]:
        """Write the files and have nginx load them; returns the result of the module.

        Raises BenchError, NginxError, OSError, SiteError, SnapshotError.
        """
        sites: Mapping[str, Any] | None = self.asked.get("sites")
        lock = exclusive(f"{sites['state_dir']}/sites.lock", 120) if sites else nullcontext()
        with nullcontext() if self.dry else lock:
            return self.bring_all(sites)

    def bring_all(self, sites: Mapping[str, Any] | None) -> dict[str, Any]:
        """The same, under the lock of the sites."""
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
                "nginx runs, but could not start again with the configuration on this host:"
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
                    "before": "nginx may use older files than those on disk\n",
                    "after": "nginx uses the files on disk\n",
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
        """Choose nginx's default server; returns files that are removed for ours."""
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
                " requests for names that are no site. For Benchfleet's page instead, take"
                " default_server out of its listen lines and run this again"
            )
            return []
        return gone
