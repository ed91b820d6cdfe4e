"""Space on the hosts' disks."""

from __future__ import annotations

from collections.abc import Iterator

from .hosts import is_primary, primary_host, seen
from .problems import Host, Kind, Problem, Settings, grouped

GIB = 1024**3
MIB = 1024**2

DISK_TOO_SMALL = Kind(
    "disk_too_small",
    "{host} has {free:.1f} GiB free and needs {needed:.1f} GiB (copy of the primary's data:"
    " {copy:.1f} GiB, bench: {bench:.1f} GiB)",
    "file system of {folder} on {host}",
    "free space there, or add some",
)


def check_disks(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Problems of disk space for the copy of the primary's data and for a bench."""
    primary = primary_host(hosts, settings)
    source = primary["survey"]["database"]["bytes"] if primary and primary["survey"] else 0
    for host, survey in seen(hosts):
        needs: list[tuple[str, tuple[str, int]]] = []
        if not is_primary(host) and not survey["database"]["holds_data"]:
            size = int(source * settings["seed_factor"]) + settings["seed_spare_mb"] * MIB
            needs.append((survey["disk"]["data"]["device"], ("copy", size)))
        if settings["bench_dir"] not in [bench["path"] for bench in survey["benches"]]:
            size = settings["bench_mb"] * MIB
            needs.append((survey["disk"]["bench"]["device"], ("bench", size)))
        for device, parts in grouped(needs).items():
            disk = next(d for d in survey["disk"].values() if d["device"] == device)
            needed = sum(size for _part, size in parts)
            if disk["free"] < needed:
                yield DISK_TOO_SMALL.found(
                    host=host["name"],
                    folder=disk["on"],
                    free=disk["free"] / GIB,
                    needed=needed / GIB,
                    **{"copy": 0.0, "bench": 0.0} | {part: size / GIB for part, size in parts},
                )
