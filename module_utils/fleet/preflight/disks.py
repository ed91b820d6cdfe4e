"""Space on the hosts' disks."""

from __future__ import annotations

from collections.abc import Iterator

from .hosts import is_primary, primary_host, seen
from .problems import Host, Problem, Settings, grouped, problem

GIB = 1024**3
MIB = 1024**2


def check_disks(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Room for the copy of the primary's data on a replica, and for a bench."""
    primary = primary_host(hosts, settings)
    source = primary["survey"]["database"]["bytes"] if primary and primary["survey"] else 0
    for host, survey in seen(hosts):
        needs = []
        if not is_primary(host) and not survey["database"]["holds_data"]:
            size = int(source * settings["seed_factor"]) + settings["seed_spare_mb"] * MIB
            words = f"{size / GIB:.1f} GiB for the copy of the primary's {source / GIB:.1f} GiB"
            needs.append((survey["disk"]["data"]["device"], (words, size)))
        if settings["bench_dir"] not in [bench["path"] for bench in survey["benches"]]:
            size = settings["bench_mb"] * MIB
            words = f"{size / GIB:.1f} GiB for a bench"
            needs.append((survey["disk"]["bench"]["device"], (words, size)))
        for device, parts in grouped(needs).items():
            disk = next(d for d in survey["disk"].values() if d["device"] == device)
            if disk["free"] < sum(size for _words, size in parts):
                yield problem(
                    f"{host['name']} has {disk['free'] / GIB:.1f} GiB free, and needs "
                    + " and ".join(words for words, _size in parts),
                    f"file system of {disk['on']} on {host['name']}",
                    "free or add space there",
                )
