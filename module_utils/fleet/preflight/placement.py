"""Entries of jobs_placement by themselves: jobs or patterns, and servers that can run them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from ..bench.queues import ANY_REPORTING, queue_name
from .problems import Host, Kind, Problem, Settings, did_you_mean, grouped

BENCH_GROUPS = ("primary", "reporting", "bench_primary", "bench_reporting")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+")
PATTERN = re.compile(r"[\w.*?\[\]!<>-]*[*?\[][\w.*?\[\]!<>-]*")


PLACE = "jobs_placement in the inventory (group_vars/all.yml)"
ENTRY = f"{PLACE}, entry {{job!r}}"
ENTRIES = "jobs_placement in the inventory, entries: {entries}"
NO_MAP = Kind(
    "placement_no_map",
    "jobs_placement is {placement!r}, not a map",
    PLACE,
    "write a map of jobs to servers such as {{erpnext.stock.reposting.run: rep1}}",
)
JOB_MALFORMED = Kind(
    "placement_job_malformed",
    "{job!r} in jobs_placement is neither the dotted name of a job nor a pattern",
    PLACE,
    "write the dotted name of its method, such as erpnext.stock.reposting.run, or a pattern with"
    " * ? or [..], such as 'erpnext.stock.*'",
)
SERVER_MALFORMED = Kind(
    "placement_server_malformed",
    "{job!r} is placed on {server!r}, which is no name of a server",
    ENTRY,
    "name one host or one group of the inventory, as text in quotes",
)
SEVERAL_SERVERS = Kind(
    "placement_several_servers",
    "{job!r} is placed on {server!r}, not on one server",
    ENTRY,
    "name one host or one group of the inventory, as text in quotes; for several hosts make a"
    " group of them",
)
SERVER_UNKNOWN = Kind(
    "placement_server_unknown",
    "{server!r} in jobs_placement is neither a host nor a group of the inventory{hint}",
    ENTRIES,
    "name one of its hosts ({hosts}), or a group of them",
)
WITH_BENCH = "name a host of group primary or reporting, or a group with such hosts"
HOST_WITHOUT_BENCH = Kind(
    "placement_host_without_bench",
    "jobs are placed on {server}, which has no bench",
    ENTRIES,
    WITH_BENCH,
)
GROUP_WITHOUT_BENCH = Kind(
    "placement_group_without_bench",
    "jobs are placed on {server}, a group of hosts without a bench",
    ENTRIES,
    WITH_BENCH,
)
QUEUE_SHARED = Kind(
    "placement_queue_shared",
    "these servers would have the same queue of jobs, {queue}: {servers}",
    "jobs_placement, and the names of hosts and groups in the inventory",
    "rename one of them; in a queue's name, all but letters, digits and . _ - becomes -",
)
ENTRY_TWICE = Kind(
    "placement_entry_twice",
    "{job} has {number} entries in jobs_placement",
    "{path}, lines {lines}",
    "keep one of them",
)


def primary_of(hosts: list[Host], settings: Settings) -> Host | None:
    """The primary, when there is exactly one and it is in this run."""
    names = list(settings["groups"].get("primary", []))
    return next((host for host in hosts if [host["name"]] == names), None)


def primary_jobs(hosts: list[Host], settings: Settings) -> Mapping[str, Any] | None:
    """What the survey of the primary found of jobs; None where there was no survey."""
    primary = primary_of(hosts, settings)
    survey = primary["survey"] if primary else None
    return None if survey is None else survey.get("jobs") or {}


def placement_of(hosts: list[Host]) -> dict[str, str]:
    """The well-formed entries of jobs_placement; {} if it is no map or differs between hosts."""
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
    """The hosts with a bench that a host's or group's name stands for; None for an unknown name."""
    groups = settings["groups"]
    if server not in groups and server not in groups.get("all", []):
        return None
    with_bench = {name for group in BENCH_GROUPS for name in groups.get(group, [])}
    return [name for name in [server, *groups.get(server, [])] if name in with_bench]


def check_placement(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """jobs_placement: a map of names or patterns to servers."""
    found = hosts[0]["placement"] if hosts else {}
    if any(host["placement"] != found for host in hosts):
        # Reported with all that must be the same on all hosts.
        return
    if not isinstance(found, Mapping):
        yield NO_MAP.found(placement=found)
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
            yield JOB_MALFORMED.found(job=job)
        if not isinstance(server, str) or not server.strip():
            several = isinstance(server, (list, tuple, Mapping))
            kind = SEVERAL_SERVERS if several else SERVER_MALFORMED
            yield kind.found(job=job, server=server)


def check_servers(hosts: list[Host], settings: Settings) -> Iterator[Problem]:
    """Jobs are placed on hosts or groups of the inventory with a bench, each with its own queue."""
    groups = settings["groups"]
    servers = servers_of(placement_of(hosts))
    for server, entries in servers.items():
        with_bench = bench_hosts(server, settings)
        if with_bench is None:
            names = groups.get("all", [])
            hint = did_you_mean(server, [*names, *groups])
            yield SERVER_UNKNOWN.found(server=server, entries=entries, hosts=names, hint=hint)
        elif not with_bench:
            kind = GROUP_WITHOUT_BENCH if server in groups else HOST_WITHOUT_BENCH
            yield kind.found(server=server, entries=entries)
    owners = [(queue_name(server), server) for server in servers]
    # Heavy jobs have a queue of their own, which every reporting node serves.
    if any(host["heavy"] == "reporting" for host in hosts):
        owners.insert(0, (queue_name(ANY_REPORTING), "all reporting nodes (jobs_heavy)"))
    for queue, names in grouped(owners).items():
        if len(names) > 1:
            yield QUEUE_SHARED.found(queue=queue, servers=names)


def placement_keys(path: Path) -> list[tuple[str, int]]:
    """Each key of jobs_placement in a YAML file with its line; a key written twice is there twice.

    [] for a file that is no YAML: Ansible reports it where it is needed.
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
    """No entry is written twice in a file: YAML's reader takes the last without a message."""
    for source in map(Path, settings["inventory"].split(", ")):
        folder = source if source.is_dir() else source.parent
        files = {source} if source.is_file() else set(folder.glob("*.y*ml"))
        for vars_folder in ("group_vars", "host_vars"):
            files |= {path for path in (folder / vars_folder).rglob("*") if path.is_file()}
        for path in sorted(files):
            for key, lines in grouped(placement_keys(path)).items():
                if len(lines) > 1:
                    yield ENTRY_TWICE.found(job=key, number=len(lines), path=str(path), lines=lines)
