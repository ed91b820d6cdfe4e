"""The file systems that the fleet writes to: how full they are, and what the next update needs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from ..bench.account import read_json
from ..kept import DUMPS, existing, is_whole_dump, level_of, things
from ..mariadb.options import server_options
from ..mariadb.server import local, server_folders
from ..redis.store import settings
from ..sites.folders import Folders, read_state
from ..supervisor.programs import LOGS
from ..update.room import code_bytes, dump_bytes, size_statement
from .troubles import OK, RED, Trouble, trouble

GIB = 1024**3
Places = Iterable[tuple[str, str]]
# Settings of MariaDB that name a file or a folder outside its data folder.
DATABASE_FOLDERS = ("innodb_data_home_dir", "innodb_log_group_home_dir", "innodb_undo_directory")
DATABASE_FILES = ("log_bin", "relay_log", "log_error", "slow_query_log_file", "general_log_file")


def queue_folder(params: Mapping[str, Any]) -> str:
    """The folder of the queue's Redis; "" where there is none."""
    if not os.path.exists(params["queue"]):
        return ""
    return settings(Path(params["queue"]).read_text(encoding="utf-8"))["dir"]


def site_places(params: Mapping[str, Any]) -> Places:
    """The folders of the sites' files, each of which may be on a disk of its own."""
    sites = f"{params['bench']}/sites"
    for site in Folders(sites, params["state_dir"]).names():
        for name in ("public", "public/files", "private/files", "private/backups"):
            yield f"{sites}/{site}/{name}", "files of the sites"


def database_places() -> Places:
    """The folders to which MariaDB writes."""
    options = server_options()
    yield from server_folders(options)
    paths = [options.get(name, "") for name in DATABASE_FOLDERS]
    paths += [os.path.dirname(options.get(name, "")) for name in DATABASE_FILES]
    for path in filter(os.path.isabs, paths):
        yield path, "logs of the databases"


def queue_places(params: Mapping[str, Any]) -> Places:
    """The folder of the queue's Redis."""
    if queue := queue_folder(params):
        yield queue, "jobs that wait"


def places(params: Mapping[str, Any]) -> dict[str, Callable[[], Places]]:
    """Folders that the fleet writes to, and what for, by what they are for.

    Each is looked at by itself: a disk that does not answer hides no other.
    """
    bench = params["bench"]
    known = [
        (bench, "the bench"),
        (f"{bench}/logs", "logs of the bench"),
        (LOGS, "logs of the bench's programs"),
        *((place["path"], place["holds"]) for place in params["places"]),
    ]
    found: dict[str, Callable[[], Places]] = {
        "files of the sites": lambda: site_places(params),
        "the databases": database_places,
    }
    if params["role"] == "primary":
        known.append((params["backups"], "dumps of updates"))
    if params["role"] == "primary" or os.path.exists(params["queue"]):
        found["jobs that wait"] = lambda: queue_places(params)
    return {use: lambda path=path, use=use: [(path, use)] for path, use in known} | found


def needs(params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the next update writes: {device, bytes, what}; [] while one is unfinished.

    The same numbers by which an update refuses to begin.
    """
    if read_json(f"{params['state_dir']}/update.json"):
        return []
    sites = (read_state(params["state_dir"]) or {}).get("sites", {})
    dumps = things(params["backups"], DUMPS, (), is_whole_dump)
    size = 0
    if sites:
        with local() as server:
            for site, database in sites.items():
                now = int(float(server.value(size_statement(database))))
                size += dump_bytes(dumps, site, now)
    return [
        {"device": os.stat(existing(path)).st_dev, "bytes": number, "what": what}
        for path, number, what in (
            (params["backups"], size, "the dumps of the next update"),
            (params["bench"], code_bytes(params["bench"]), "its new code"),
        )
    ]


def merged(
    looked: Iterable[list[dict[str, Any]]], needed: Iterable[dict[str, Any]]
) -> list[dict[str, Any]]:
    """File systems as of kept.file_systems, each once, with ``needed``: bytes for an update."""
    found: dict[int, dict[str, Any]] = {}
    for one in (one for ones in looked for one in ones):
        entry = found.setdefault(one["device"], {**one, "holds": []})
        entry["holds"] += [use for use in one["holds"] if use not in entry["holds"]]
    for one in found.values():
        device = one.pop("device")
        parts = [need for need in needed if need["device"] == device]
        one["needed"] = sum(need["bytes"] for need in parts)
        one["level"] = level_of(one["used"], one["free"], one["needed"])
        one["full"] = one["level"] == RED
    return list(found.values())


def full(found: Iterable[dict[str, Any]]) -> list[Trouble]:
    """The troubles of file systems that are too full."""
    troubles = []
    for one in found:
        if one["level"] == OK:
            continue
        no_files = ", no room for files" * (one["files_free"] == 0)
        what = (
            f"the file system of {one['path']} is {one['used']:.0%} full"
            f" ({one['free'] / GIB:.1f} GiB free{no_files})"
        )
        if one["free"] < one["needed"]:
            what += f", and the next update needs {one['needed'] / GIB:.1f} GiB"
        what += f"; it holds {', '.join(one['holds'])}: make room there"
        troubles.append(trouble("disk_full", what, one["level"]))
    return troubles
