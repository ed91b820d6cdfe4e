"""Where jobs are placed: jobs_placement names jobs or patterns, and servers that can do them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ..bench.queues import ANY_REPORTING, queue_name
from .problems import Host, Problem, Settings, did_you_mean, grouped, problem

BENCH_GROUPS = ("primary", "reporting", "bench_primary", "bench_reporting")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+")
PATTERN = re.compile(r"[\w.*?\[\]!<>-]*[*?\[][\w.*?\[\]!<>-]*")


def some(names: list[str]) -> str:
    """The first of some entries, and how many more there are."""
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{names[0]!r}{more}"


def primary_of(hosts: list[Host], settings: Settings) -> Host | None:
    """The primary, when there is exactly one and it is in this run."""
    names = list(settings["groups"].get("primary", []))
    return next((host for host in hosts if [host["name"]] == names), None)


def primary_jobs(hosts: list[Host], settings: Settings) -> Mapping[str, Any] | None:
    """What the survey of the primary says about jobs; None when nobody could look."""
    primary = primary_of(hosts, settings)
    survey = primary["survey"] if primary else None
    return None if survey is None else survey.get("jobs") or {}


def placement_of(hosts: list[Host]) -> dict[str, str]:
    """The sound entries of jobs_placement; {} where it is no map or differs between hosts."""
    found = hosts[0]["placement"] if hosts else {}
    if not isinstance(found, Mapping) or any(host["placement"] != found for host in hosts):
        return {}
    return {
        job: server
        for job, server in found.items()
        if isinstance(job, str) and isinstance(server, str) and server.strip()
    }


def servers_of(placement: Mapping[str, str]) -> dict[str, list[str]]:
    """The entries of each server that jobs are placed on."""
    return grouped((server, job) for job, server in placement.items())


def bench_hosts(server: str, settings: Settings) -> list[str] | None:
    """The hosts with a bench that a server's name stands for; None when it stands for nothing."""
    groups = settings["groups"]
    if server not in groups and server not in groups.get("all", []):
        return None
    with_bench = {name for group in BENCH_GROUPS for name in groups.get(group, [])}
    return [name for name in [server, *groups.get(server, [])] if name in with_bench]


def check_placement(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """jobs_placement: a map of names or patterns to servers."""
    place = "jobs_placement in the inventory (group_vars/all.yml)"
    found = hosts[0]["placement"] if hosts else {}
    if any(host["placement"] != found for host in hosts):
        # Told with all that the fleet must agree on.
        return
    if not isinstance(found, Mapping):
        yield problem(
            f"jobs_placement is {found!r}, not a map",
            place,
            "write a map of jobs to servers such as {erpnext.stock.reposting.run: rep1}",
        )
        return
    jobs = primary_jobs(hosts, settings)
    # The method of a scheduled server script has no dots; only the site's database knows it.
    if jobs is None or (jobs.get("known") and not jobs.get("scheduled")):
        lone = {job for job in found if isinstance(job, str) and job.isidentifier()}
    else:
        lone = {name for names in (jobs.get("matches") or {}).values() for name in names}
    for job, server in found.items():
        text = job if isinstance(job, str) else ""
        closed = all("]" in rest[1:] for rest in text.split("[")[1:])
        if not (NAME.fullmatch(text) or text in lone or (PATTERN.fullmatch(text) and closed)):
            yield problem(
                f"{job!r} in jobs_placement is neither the dotted name of a job nor a pattern",
                place,
                "write the dotted name of its method, such as erpnext.stock.reposting.run, or "
                "a pattern with * ? or [..], such as 'erpnext.stock.*'",
            )
        if not isinstance(server, str) or not server.strip():
            several = isinstance(server, (list, tuple, Mapping))
            yield problem(
                f"{job!r} is placed on {server!r}, which is no name of a server",
                f"{place}, entry {job!r}",
                "name one host or one group of the inventory, as text in quotes"
                + ("; for several hosts make a group of them" if several else ""),
            )


def check_servers(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Jobs are placed on hosts or groups of the inventory that have a bench, and one queue each."""
    groups = settings["groups"]
    servers = servers_of(placement_of(hosts))
    for server, entries in servers.items():
        place = f"jobs_placement in the inventory, {some(entries)}"
        with_bench = bench_hosts(server, settings)
        if with_bench is None:
            yield problem(
                f"{server!r} in jobs_placement is neither a host nor a group of the inventory"
                + did_you_mean(server, [*groups.get("all", []), *groups]),
                place,
                f"name one of its hosts ({', '.join(groups.get('all', []))}), or a group of them",
            )
        elif not with_bench:
            what = "is a group of hosts without a bench" if server in groups else "has no bench"
            yield problem(
                f"{server} {what}, and jobs are placed on it",
                place,
                "name a host of group primary or reporting, or a group with such hosts",
            )
    owners = [(queue_name(server), server) for server in servers]
    # Heavy jobs have a queue of their own, which every reporting node serves.
    if any(host["heavy"] == "reporting" for host in hosts):
        heavy = "the reporting nodes as a whole (jobs_heavy)"
        owners.insert(0, (queue_name(ANY_REPORTING), heavy))
    for queue, names in grouped(owners).items():
        if len(names) > 1:
            yield problem(
                f"{' and '.join(names)} would share the queue {queue}: jobs of one would run on "
                "the other",
                "jobs_placement, and the names of hosts and groups in the inventory",
                "rename one of them; only letters, digits, and . _ - tell two queues apart",
            )


def placement_keys(path: Path) -> list[tuple[str, int]]:
    """Keys of jobs_placement in a YAML file and their lines, those that are there twice twice.

    [] for a file that is none, or that Ansible itself will have a word about.
    """
    try:
        top = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except (OSError, ValueError, yaml.YAMLError):
        return []
    found: list[tuple[str, int]] = []
    pending = [top]
    while pending:
        node = pending.pop()
        if not isinstance(node, yaml.MappingNode):
            continue
        for key, value in node.value:
            if key.value == "jobs_placement" and isinstance(value, yaml.MappingNode):
                found += [(str(k.value), k.start_mark.line + 1) for k, _ in value.value]
            else:
                pending.append(value)
    return found


def check_written_twice(_hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """No entry stands twice in a file: YAML's reader would take the last without another word."""
    for source in map(Path, settings["inventory"].split(", ")):
        folder = source if source.is_dir() else source.parent
        files = {source} if source.is_file() else set(folder.glob("*.y*ml"))
        for vars_folder in ("group_vars", "host_vars"):
            files |= {path for path in (folder / vars_folder).rglob("*") if path.is_file()}
        for path in sorted(files):
            for key, lines in grouped(placement_keys(path)).items():
                if len(lines) > 1:
                    yield problem(
                        f"{key} has {len(lines)} entries in jobs_placement",
                        f"{path}, lines {', '.join(map(str, lines))}",
                        "keep one of them",
                    )
