"""Where jobs run: queues of the servers that jobs are placed on, worker programs, and a judgement.

Pure functions on what the inventory says, but for one look into its files:
    jobs_placement           {dotted name of a job's method, or a pattern: host or group}
    jobs_heavy               where heavy jobs are done that it does not name: reporting or primary
    bench_background_workers a number of processes that share all queues, or {queues: processes}

The judgement is preflight's: it uses the same host dicts and settings (see preflight.py), of a host
    name, groups             inventory name, names of its groups
    placement                jobs_placement
    heavy                    jobs_heavy
    background_workers       bench_background_workers
    away_seconds, when_away  jobs_away_seconds, jobs_when_away
    apps                     bench_apps
    survey                   with `jobs` as fleet/bench/jobs.py tells it of the primary
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import yaml
from ansible.errors import AnsibleFilterError

Host = Mapping[str, Any]
Problem = dict[str, str]
Settings = Mapping[str, Any]

# Queues of ours, beside those that Frappe knows.
PREFIX = "at-"
# Frappe's own, in the order in which its long workers serve them.
QUEUES = ("long", "default", "short")
# Jobs that read much and write little, of Frappe 14 to 17; a bench queues those that it has.
HEAVY = (
    "frappe.core.doctype.prepared_report.prepared_report.generate_report",
    "frappe.desk.query_report.run_export_query_job",
    "frappe.desk.reportview.run_report_view_export_job",
    "frappe.email.doctype.auto_email_report.auto_email_report.process_auto_email_report",
    "frappe.email.doctype.auto_email_report.auto_email_report.send_daily",
    "frappe.email.doctype.auto_email_report.auto_email_report.send_monthly",
)
# The server of heavy jobs: whichever reporting node comes first, or else the primary.
ANY_REPORTING = "heavy"
# Stands in bench_background_workers for the queues of all jobs that are placed on a host.
PLACED = "placed"
BENCH_GROUPS = ("primary", "reporting", "bench_primary", "bench_reporting")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)+")
PATTERN = re.compile(r"[\w.*?\[\]!<>-]*[*?\[][\w.*?\[\]!<>-]*")
AWAY_BOUNDS = (10, 3600)
NOT_IN_QUEUES = re.compile(r"[^A-Za-z0-9_.-]")


# --- queues and programs -----------------------------------------------------------------------


def queue_name(server: str) -> str:
    """The queue of the jobs that are placed on a host, or on a group of hosts."""
    return PREFIX + NOT_IN_QUEUES.sub("-", server)


def with_heavy(placement: Mapping[str, str], reporting: bool) -> dict[str, str]:
    """jobs_placement and, with ``reporting``, the heavy jobs that none of its entries means."""
    named = [str(entry) for entry in placement]
    rest = [job for job in HEAVY if not any(fnmatchcase(job, entry) for entry in named)]
    return {**placement, **dict.fromkeys(rest if reporting else (), ANY_REPORTING)}


def placed_hosts(
    placement: Mapping[str, str], groups: Mapping[str, list[str]]
) -> dict[str, list[str]]:
    """The hosts that are to do the jobs of each queue of ours, by queue.

    ``placement`` is what with_heavy returns, ``groups`` are the inventory's.
    """
    anybody = {**groups, ANY_REPORTING: groups.get("bench_reporting", [])}
    return {queue_name(s): anybody.get(s, [s]) for s in map(str, placement.values())}


def heavy_programs(placement: Mapping[str, str]) -> list[dict[str, Any]]:
    """The worker program of a reporting node for heavy jobs; none where no job counts as heavy."""
    queue = queue_name(ANY_REPORTING)
    heavy = ANY_REPORTING in placement.values()
    return [{"name": queue, "queues": [queue], "processes": 1}] if heavy else []


def job_queues(placement: Mapping[str, str]) -> dict[str, str]:
    """The queue of each job or pattern, in the order of jobs_placement."""
    return {str(job): queue_name(str(server)) for job, server in placement.items()}


def placed_queues(placement: Mapping[str, str], host: str, group_names: Iterable[str]) -> list[str]:
    """The queues of placed jobs that a host serves: its own first, then its groups', sorted."""
    named = {str(server) for server in placement.values()}
    own = {queue_name(host)} if host in named else set()
    groups = {queue_name(group) for group in group_names if group in named}
    return sorted(own) + sorted(groups - own)


def whole_number(value: Any) -> int | None:
    """A number of processes, also one written as text; None when it is none."""
    if isinstance(value, bool):
        return None
    if isinstance(value, int):
        return value if value >= 0 else None
    return int(value) if isinstance(value, str) and re.fullmatch(r"[0-9]+", value) else None


def queue_list(key: Any) -> list[str]:
    """The queues that a key of bench_background_workers names, in order of preference.

    Without any for a key that names none, or what no queue can be called.
    """
    names = [name.strip() for name in key.split(",")] if isinstance(key, str) else [""]
    good = all(names) and not any(NOT_IN_QUEUES.search(name) for name in names)
    return list(dict.fromkeys(names)) if good else []


def shape_troubles(workers: Any) -> list[tuple[str, str]]:
    """What is wrong with a bench_background_workers by itself, each with its remedy."""
    if whole_number(workers) is not None:
        return []
    if not isinstance(workers, Mapping):
        return [
            (
                f"bench_background_workers is {workers!r}, neither a whole number of 0 or more nor "
                "a map",
                "write a number of processes, or a map of queues to processes such as "
                "{'short,default': 2, long: 3, placed: 1}",
            )
        ]
    found = []
    programs: dict[str, list[str]] = {}
    for key, value in workers.items():
        names = queue_list(key)
        if names:
            programs.setdefault("-".join(names), []).append(str(key))
        else:
            found.append(
                (
                    f"bench_background_workers has an entry {key!r}, which names no queue",
                    "write one queue, or several with commas in order of preference, such as "
                    "'short,default'",
                )
            )
        if whole_number(value) is None:
            found.append(
                (
                    f"bench_background_workers has {value!r} processes for {key!r}",
                    "write a whole number of 0 or more",
                )
            )
    found += [
        (
            f"bench_background_workers names the same queues twice: {', '.join(map(repr, keys))}",
            "make one entry of them",
        )
        for keys in programs.values()
        if len(keys) > 1
    ]
    return found


def read_workers(workers: Any) -> int | dict[str, int]:
    """bench_background_workers as a number or a map of numbers.

    Raises AnsibleFilterError for what is neither.
    """
    for what, remedy in shape_troubles(workers):
        raise AnsibleFilterError(f"{what}: {remedy}")
    number = whole_number(workers)
    if number is not None:
        return number
    return {str(key): whole_number(value) or 0 for key, value in workers.items()}


def custom_queues(custom: Mapping[str, Any] | None) -> dict[str, Any]:
    """The queues that `workers` in common_site_config.json adds to Frappe's; not those of ours."""
    return {
        str(name): settings if isinstance(settings, Mapping) else {}
        for name, settings in (custom or {}).items()
        if not str(name).startswith(PREFIX) and name not in QUEUES
    }


def worker_programs(
    workers: Any, placed: Iterable[str], custom: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The worker programs of a host: {name, queues, processes} each, with one process or more.

    ``workers`` is bench_background_workers, ``placed`` the queues of the jobs placed on this host
    (see placed_queues), ``custom`` the `workers` of common_site_config.json. A number is shared
    between a program for all queues and one for the quick ones; the first gets the larger half, so
    that a single process serves everything.
    Raises AnsibleFilterError for a malformed setting.
    """
    placed = list(dict.fromkeys(placed))
    found = read_workers(workers)
    programs: list[dict[str, Any]] = []

    def add(name: str, queues: Iterable[str], processes: int) -> None:
        queues = list(dict.fromkeys(queues))
        if processes and queues:
            programs.append({"name": name, "queues": queues, "processes": processes})

    if isinstance(found, int):
        add("long", [*placed, "long", "default", "short"], (found + 1) // 2)
        add("short", [*placed, "short", "default"], found // 2)
        for queue, settings in custom_queues(custom).items() if found else ():
            add(queue, [queue], whole_number(settings.get("background_workers")) or 1)
        return programs
    for key, processes in found.items():
        names = queue_list(key)
        parts = [placed if name == PLACED else [name] for name in names]
        add("-".join(names), itertools.chain.from_iterable(parts), processes)
    return programs


def worker_count(workers: Any) -> int:
    """Background processes that bench_background_workers asks for.

    Those of an entry `placed` run only where jobs are placed: programs_count counts what runs.
    """
    found = read_workers(workers)
    return found if isinstance(found, int) else sum(found.values())


def programs_count(programs: Iterable[Mapping[str, Any]]) -> int:
    """Processes of the given worker programs."""
    return sum(program["processes"] for program in programs)


# --- the judgement -----------------------------------------------------------------------------


def problem(what: str, place: str, remedy: str) -> Problem:
    """One problem, as preflight has them."""
    return {"what": what, "place": place, "remedy": remedy}


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """The nearest known name as a question, "" when none is near."""
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.75)
    return f"; did you mean {near[0]}?" if near else ""


def is_pattern(job: str) -> bool:
    """Whether an entry of jobs_placement is a pattern rather than the name of one job."""
    return any(sign in job for sign in "*?[")


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


def heavy_on_nodes(hosts: list[Host]) -> bool:
    """Whether heavy jobs have a queue of their own, which every reporting node serves."""
    return any(host["heavy"] == "reporting" for host in hosts)


def servers_of(placement: Mapping[str, str]) -> dict[str, list[str]]:
    """The entries of each server that jobs are placed on."""
    found: dict[str, list[str]] = {}
    for job, server in placement.items():
        found.setdefault(server, []).append(job)
    return found


def bench_hosts(server: str, settings: Settings) -> list[str] | None:
    """The hosts with a bench that a server's name stands for; None when it stands for nothing."""
    groups = settings["groups"]
    if server not in groups and server not in groups.get("all", []):
        return None
    with_bench = {name for group in BENCH_GROUPS for name in groups.get(group, [])}
    return [name for name in [server, *groups.get(server, [])] if name in with_bench]


def served(host: Host, custom: Iterable[str]) -> set[str]:
    """Queues that a host's workers serve, `placed` for those of its placed jobs.

    What is malformed is taken for what it may have been meant as: it has a problem of its own.
    """
    known = [*QUEUES, *custom, PLACED]
    workers = host["background_workers"]
    if not isinstance(workers, Mapping):
        return set() if whole_number(workers) == 0 else set(known)
    found: set[str] = set()
    for key, value in workers.items():
        if whole_number(value) != 0:
            for name in (part.strip() for part in str(key).split(",")):
                near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
                found.add(name if name in known or not near else near[0])
    return found


def check_placement(hosts: list[Host], settings: Settings) -> list[Problem]:
    """jobs_placement: a map of names or patterns to servers."""
    place = "jobs_placement in the inventory (group_vars/all.yml)"
    if not hosts:
        return []
    found = hosts[0]["placement"]
    if any(host["placement"] != found for host in hosts):
        # Told with all that the fleet must agree on.
        return []
    if not isinstance(found, Mapping):
        return [
            problem(
                f"jobs_placement is {found!r}, not a map",
                place,
                "write a map of jobs to servers such as {erpnext.stock.reposting.run: rep1}",
            )
        ]
    jobs = primary_jobs(hosts, settings)
    # The method of a scheduled server script has no dots; only the site's database knows it.
    if jobs is None or (jobs.get("known") and not jobs.get("scheduled")):
        lone = {job for job in found if isinstance(job, str) and job.isidentifier()}
    else:
        lone = {name for names in (jobs.get("matches") or {}).values() for name in names}
    problems = []
    for job, server in found.items():
        text = job if isinstance(job, str) else ""
        closed = all("]" in rest[1:] for rest in text.split("[")[1:])
        if not (NAME.fullmatch(text) or text in lone or (PATTERN.fullmatch(text) and closed)):
            problems.append(
                problem(
                    f"{job!r} in jobs_placement is neither the dotted name of a job nor a pattern",
                    place,
                    "write the dotted name of its method, such as erpnext.stock.reposting.run, or "
                    "a pattern with * ? or [..], such as 'erpnext.stock.*'",
                )
            )
        if not isinstance(server, str) or not server.strip():
            several = "; for several hosts make a group of them" if is_list(server) else ""
            problems.append(
                problem(
                    f"{job!r} is placed on {server!r}, which is no name of a server",
                    f"{place}, entry {job!r}",
                    f"name one host or one group of the inventory, as text in quotes{several}",
                )
            )
    return problems


def is_list(value: Any) -> bool:
    """Whether somebody wrote several values."""
    return isinstance(value, (list, tuple, Mapping))


def check_servers(hosts: list[Host], settings: Settings) -> list[Problem]:
    """Jobs are placed on hosts or groups of the inventory that have a bench, and one queue each."""
    groups = settings["groups"]
    servers = servers_of(placement_of(hosts))
    problems = []
    queues: dict[str, list[str]] = {}
    if heavy_on_nodes(hosts):
        queues[queue_name(ANY_REPORTING)] = ["the reporting nodes as a whole (jobs_heavy)"]
    for server, entries in servers.items():
        place = f"jobs_placement in the inventory, {some(entries)}"
        with_bench = bench_hosts(server, settings)
        queues.setdefault(queue_name(server), []).append(server)
        if with_bench is None:
            known = [*groups.get("all", []), *groups]
            problems.append(
                problem(
                    f"{server!r} in jobs_placement is neither a host nor a group of the inventory"
                    + did_you_mean(server, known),
                    place,
                    f"name one of its hosts ({', '.join(groups.get('all', []))}), or a group of "
                    "them",
                )
            )
        elif not with_bench:
            what = "is a group of hosts without a bench" if server in groups else "has no bench"
            problems.append(
                problem(
                    f"{server} {what}, and jobs are placed on it",
                    place,
                    "name a host of group primary or reporting, or a group with such hosts",
                )
            )
    problems += [
        problem(
            f"{' and '.join(names)} would share the queue {queue}: jobs of one would run on the "
            "other",
            "jobs_placement, and the names of hosts and groups in the inventory",
            "rename one of them; only letters, digits, and . _ - tell two queues apart",
        )
        for queue, names in queues.items()
        if len(names) > 1
    ]
    return problems


def check_workers(hosts: list[Host], settings: Settings) -> list[Problem]:
    """bench_background_workers: a number, or a map of known queues to numbers."""
    jobs = primary_jobs(hosts, settings)
    known = [*reversed(QUEUES), PLACED, *custom_queues((jobs or {}).get("queues"))]
    found: dict[tuple[str, str], list[str]] = {}
    for host in hosts:
        workers = host["background_workers"]
        for trouble in shape_troubles(workers) + queue_troubles(workers, known, jobs is not None):
            found.setdefault(trouble, []).append(host["name"])
    return [
        problem(what, f"bench_background_workers in the inventory, for {', '.join(names)}", remedy)
        for (what, remedy), names in found.items()
    ]


def queue_troubles(workers: Any, known: list[str], all_known: bool) -> list[tuple[str, str]]:
    """Queues of one bench_background_workers that do not exist, each with its remedy.

    Without ``all_known`` there may be queues beside the known ones.
    """
    found = []
    keys = workers if isinstance(workers, Mapping) else ()
    for name in (name for key in keys for name in queue_list(key) if name not in known):
        near = did_you_mean(name, known)
        if name.startswith(PREFIX):
            found.append(
                (
                    f"bench_background_workers names the queue {name!r}",
                    f"write {PLACED}, which stands for the queues of all jobs that jobs_placement "
                    "puts on the host",
                )
            )
        elif all_known or near:
            found.append(
                (
                    f"unknown queue {name!r} in bench_background_workers{near}",
                    f"known are {', '.join(known)}; further queues are those of `workers` in the "
                    "primary's common_site_config.json",
                )
            )
    return found


def check_served(hosts: list[Host], settings: Settings) -> list[Problem]:
    """Every queue has workers: Frappe's, the bench's own, and those of placed jobs."""
    here = {host["name"] for host in hosts}
    primary = primary_of(hosts, settings)
    # Whether a queue has workers can only be said of a whole fleet.
    if primary is None or not set(settings["groups"].get("all", [])) <= here:
        return []
    custom = list(custom_queues((primary_jobs(hosts, settings) or {}).get("queues")))
    taken = {host["name"]: served(host, custom) for host in hosts}
    if not any(taken.values()):
        return [
            problem(
                "no host has background workers: no job would ever run",
                f"bench_background_workers in the inventory, for {', '.join(taken)}",
                f"give {primary['name']} some: a number of processes above 0, or a map of queues "
                "to processes",
            )
        ]
    problems = [
        problem(
            f"no host has workers for the queue {queue}: its jobs would wait forever",
            f"bench_background_workers in the inventory, for {', '.join(taken)}",
            f"add {{{queue}: 1}} to the map of a host, or give one a number, whose processes serve "
            "all queues",
        )
        for queue in (*reversed(QUEUES), *custom)
        if not any(queue in queues for queues in taken.values())
    ]
    everywhere = set().union(*taken.values())
    missing = [
        queue
        for queue in reversed(QUEUES)
        if queue in everywhere and queue not in taken[primary["name"]]
    ]
    if missing and placement_of(hosts) and primary["when_away"] == "primary":
        problems.append(
            problem(
                f"jobs_when_away is primary, and {primary['name']} has no workers for the queue"
                f"{'s' if len(missing) > 1 else ''} {', '.join(missing)}: nobody would take the "
                "jobs of a server that is away",
                f"jobs_when_away and bench_background_workers of {primary['name']} in the "
                "inventory",
                f"give {primary['name']} workers for all three of Frappe's queues, or set "
                "jobs_when_away to wait",
            )
        )
    for server, entries in servers_of(placement_of(hosts)).items():
        names = bench_hosts(server, settings)
        if names and not any(PLACED in taken[name] for name in names):
            group = names != [server]
            problems.append(
                problem(
                    f"{some(entries)} {'is' if len(entries) == 1 else 'are'} placed on {server}, "
                    + (
                        f"and none of its hosts ({', '.join(names)}) has workers for placed jobs"
                        if group
                        else "which has no workers for placed jobs"
                    ),
                    f"bench_background_workers in the inventory, for {', '.join(names)}",
                    f"give {'one of them' if group else server} some, for instance "
                    f"bench_background_workers: {{{PLACED}: 1}}; those of a number serve all "
                    "queues, and placed jobs first",
                )
            )
    return problems


def check_away(hosts: list[Host], _settings: Settings) -> list[Problem]:
    """The time after which a server counts as away is neither hasty nor endless."""
    least, greatest = AWAY_BOUNDS
    found: dict[str, list[str]] = {}
    for host in hosts:
        value = host["away_seconds"]
        try:
            good = value is None or least <= float(value) <= greatest
        except (TypeError, ValueError):
            # What is no number is reported with the types.
            continue
        if not good:
            found.setdefault(
                f"jobs_away_seconds is {value}: it takes {least} to {greatest} seconds", []
            ).append(host["name"])
    return [
        problem(
            what,
            f"jobs_away_seconds in the inventory, for {', '.join(names)}",
            "choose a value between",
        )
        for what, names in found.items()
    ]


def coming_apps(host: Host, jobs: Mapping[str, Any]) -> list[str]:
    """Apps that bench_apps names and the bench does not have yet."""
    entries = host["apps"] if isinstance(host["apps"], (list, tuple)) else []
    names = [
        str(entry["name"]) for entry in entries if isinstance(entry, Mapping) and "name" in entry
    ]
    return [name for name in names if name not in (jobs.get("apps") or [])]


def job_name_problems(
    placement: Mapping[str, str], jobs: Mapping[str, Any], coming: Iterable[str] = ()
) -> list[Problem]:
    """Every entry of jobs_placement means a job of the bench, and no job has two entries.

    ``jobs`` is what fleet/bench/jobs.py found there; where no bench was, only what the entries
    say by themselves is judged. ``coming`` are apps that are still to be installed.
    """
    return unknown_jobs(placement, jobs, set(coming)) + double_entries(placement, jobs)


def unknown_jobs(
    placement: Mapping[str, str], jobs: Mapping[str, Any], coming: set[str]
) -> list[Problem]:
    """Entries that mean no job of the bench."""
    problems = []
    for job in placement if jobs.get("known") else ():
        found = (jobs.get("matches") or {}).get(job)
        app = job.partition(".")[0]
        later = coming and (app in coming or is_pattern(app))
        # Without the sites' databases nobody knows the methods of server scripts.
        unsure = "." not in job and not is_pattern(job) and not jobs.get("scheduled")
        if found is None or found or later or unsure:
            continue
        near = ", ".join((jobs.get("near") or {}).get(job) or [])
        problems.append(
            problem(
                f"the pattern {job!r} in jobs_placement matches no job of the installed apps"
                if is_pattern(job)
                else f"no installed app has a job {job!r}"
                + (f"; did you mean {near}?" if near else ""),
                f"jobs_placement in the inventory, entry {job!r}",
                "correct it, or take it out: a job is a function of an app by its dotted name, or "
                "the method of a scheduled job",
            )
        )
    return problems


def double_entries(placement: Mapping[str, str], jobs: Mapping[str, Any]) -> list[Problem]:
    """Jobs with more than one entry: nothing says which would count."""
    seen = {frozenset(overlap["entries"]): overlap for overlap in jobs.get("overlaps") or []}
    problems = []
    for one, other in itertools.combinations(placement, 2):
        overlap = seen.get(frozenset((one, other)))
        if overlap:
            more = overlap["count"] - 1
            who = overlap["example"]
            who += f" and {more} more job{'s' if more > 1 else ''} have" if more else " has"
        elif covers(one, other):
            who = f"every job of {other!r} has" if is_pattern(other) else f"{other} has"
        elif covers(other, one):
            who = f"every job of {one!r} has" if is_pattern(one) else f"{one} has"
        else:
            continue
        problems.append(
            problem(
                f"{who} two entries in jobs_placement: {one!r} on {placement[one]} and {other!r} "
                f"on {placement[other]}",
                f"jobs_placement in the inventory, entries {one!r} and {other!r}",
                "take one out, or make a pattern narrower: a job has one entry at most",
            )
        )
    return problems


def covers(pattern: str, other: str) -> bool:
    """Whether a pattern surely matches another entry, or all that this one matches.

    Of two patterns that is only said where the first has no sign but *: what the other's signs
    stand for is then matched with them.
    """
    if not is_pattern(pattern) or (is_pattern(other) and any(s in pattern for s in "?[")):
        return False
    return fnmatchcase(other, pattern)


def check_names(hosts: list[Host], settings: Settings) -> list[Problem]:
    """What jobs_placement names is in the bench of the primary, if there is one yet."""
    jobs = primary_jobs(hosts, settings) or {}
    primary = primary_of(hosts, settings)
    coming = coming_apps(primary, jobs) if primary else []
    return job_name_problems(placement_of(hosts), jobs, coming)


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


def check_written_twice(_hosts: list[Host], settings: Settings) -> list[Problem]:
    """No entry stands twice in a file: YAML's reader would take the last without another word."""
    problems = []
    for source in map(Path, settings["inventory"].split(", ")):
        folder = source if source.is_dir() else source.parent
        files = {source} if source.is_file() else set(folder.glob("*.y*ml"))
        for vars_folder in ("group_vars", "host_vars"):
            files |= {path for path in (folder / vars_folder).rglob("*") if path.is_file()}
        for path in sorted(files):
            lines: dict[str, list[int]] = {}
            for key, line in placement_keys(path):
                lines.setdefault(key, []).append(line)
            problems += [
                problem(
                    f"{key} has {len(at)} entries in jobs_placement",
                    f"{path}, lines {', '.join(map(str, at))}",
                    "keep one of them",
                )
                for key, at in lines.items()
                if len(at) > 1
            ]
    return problems


CHECKS: tuple[Callable[[list[Host], Settings], list[Problem]], ...] = (
    check_written_twice,
    check_placement,
    check_servers,
    check_names,
    check_workers,
    check_served,
    check_away,
)


def job_problems(hosts: list[Host], settings: Settings) -> list[Problem]:
    """All that is wrong with where jobs shall run; [] when nothing is."""
    return [found for check in CHECKS for found in check(hosts, settings)]


def job_warnings(hosts: list[Host], settings: Settings) -> list[str]:
    """What is no mistake and does not do what it says, in words."""
    servers = servers_of(placement_of(hosts))
    busy = {name for server in servers for name in bench_hosts(server, settings) or []}
    return [
        f"bench_background_workers of {host['name']} has workers for placed jobs, and "
        "jobs_placement puts none there: they are not started"
        for host in hosts
        if isinstance(host["background_workers"], Mapping)
        and host["name"] not in busy
        and any(
            str(key).strip() == PLACED and whole_number(value)
            for key, value in host["background_workers"].items()
        )
    ]


class FilterModule:
    """Filters for jobs and their workers."""

    def filters(self) -> dict[str, Callable[..., Any]]:
        """Names under which Ansible finds the functions."""
        return {
            "queue_name": queue_name,
            "with_heavy": with_heavy,
            "placed_hosts": placed_hosts,
            "heavy_programs": heavy_programs,
            "job_queues": job_queues,
            "placed_queues": placed_queues,
            "worker_programs": worker_programs,
            "worker_count": worker_count,
            "programs_count": programs_count,
            "job_problems": job_problems,
            "job_name_problems": job_name_problems,
            "job_warnings": job_warnings,
        }
