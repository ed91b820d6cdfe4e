"""Settings of a MariaDB server of the fleet: from memory, task and processors to a file.

Pure functions, so that a figure can be questioned and tested without a server.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from fleet.mariadb import conflicts
from fleet.mariadb.options import meaning

Plan = dict[str, dict[str, Any]]

MIB = 1024 * 1024


ROLES = ("primary", "reporting")

# The same on every node, so that roles can be swapped without touching a file.
COMMON: tuple[tuple[str, Any, str], ...] = (
    (
        "skip_name_resolve",
        True,
        "Accounts name addresses; a slow DNS server must not slow a login.",
    ),
    ("character_set_server", "utf8mb4", "What Frappe stores."),
    ("collation_server", "utf8mb4_unicode_ci", "What Frappe compares with."),
    ("max_allowed_packet", 64 * MIB, "Long documents and imports travel as one statement."),
    ("read_only", True, "Every server boots closed; only the confirmed primary is opened."),
    (
        "event_scheduler",
        False,
        "Events run on the opened primary alone: a root event ignores read_only.",
    ),
    ("gtid_domain_id", 0, "One line of history."),
    (
        "gtid_strict_mode",
        True,
        "A write on a replica stops replication instead of diverging unseen.",
    ),
    ("log_bin", "binlog", "A fixed name: a renamed host keeps its history."),
    ("relay_log", "relay", "A fixed name, for the same reason."),
    ("log_slave_updates", True, "Any replica can be promoted."),
    ("binlog_format", "ROW", "What was written is what arrives."),
    (
        "log_bin_trust_function_creators",
        True,
        "A site's account makes functions and triggers, as without the log; with ROW no replica"
        " runs them.",
    ),
    ("binlog_row_image", "FULL", "Rows can be checked and rebuilt from the log."),
    ("sync_binlog", 1, "An acknowledged write survives a power cut, also after a promotion."),
    ("innodb_flush_log_at_trx_commit", 1, "An acknowledged write survives a power cut."),
    ("binlog_expire_logs_seconds", 604800, "A replica may be away for a week."),
    ("max_binlog_size", 256 * MIB, "Old logs are released in small steps."),
    ("relay_log_recovery", True, "After a crash the relay log is fetched anew."),
    ("slave_net_timeout", 10, "A dead link is noticed in seconds, not in a minute."),
    ("slave_exec_mode", "STRICT", "A row that does not fit is an error, not a guess."),
    ("slave_parallel_mode", "conservative", "Parallel apply without retried conflicts."),
    ("userstat", True, "Counts reads per account: shows which server answered a report."),
)

# Only for servers of one series, which read a section of their own: (series, name, value, why).
BY_SERIES: tuple[tuple[str, str, Any, str], ...] = (
    (
        "11.8",
        "character_set_collations",
        "utf8mb4=utf8mb4_unicode_ci",
        "A client that asks for utf8mb4 would get another collation than the tables'.",
    ),
)


# For whoever uses MariaDB's clients on the host, as Frappe does for its backups. Debian's own file
# allows 16 MB, and a row that the server takes would break each backup.
CLIENTS = """# Rows of any size are dumped and shown.
[mysqldump]
max_allowed_packet = 1G
[mysql]
max_allowed_packet = 1G
"""


def buffer_pool_mb(memory_mb: int, role: str) -> int:
    """InnoDB buffer pool in MiB: a multiple of 64, at least 64.

    The host also runs a bench (and, on the primary, Redis): 40 percent on the primary. On a
    reporting node the reports live from cached pages: 50 percent.
    """
    share = 0.40 if role == "primary" else 0.50
    return max(64, int(memory_mb * share) // 64 * 64)


def mariadb_settings(
    memory_mb: int | str,
    role: str,
    cpus: int | str,
    own: dict[str, Any] | None = None,
    extra: dict[str, Any] | None = None,
    shared: dict[str, Any] | None = None,
) -> Plan:
    """Plan a server's sized settings.

    In: memory in MiB that sizing may count on, ``primary`` or ``reporting``, number of
    processors, settings that belong to the host (its address, its files), the operator's, which
    win, and the primary's, by which its answers come about: a reporting node takes these over.
    Out: name -> {value, why}; sizes are bytes, switches are booleans. Raises AnsibleFilterError
    for figures that make no sense.
    """
    memory, processors = int(memory_mb), int(cpus)
    if role not in ROLES:
        raise AnsibleFilterError(f"mariadb_settings: role {role!r}; use one of {', '.join(ROLES)}")
    if memory < 256:
        raise AnsibleFilterError(
            f"mariadb_settings: {memory} MiB of memory (fleet_memory_mb) is too little for a"
            " server; give the host at least 256"
        )
    if processors < 1:
        raise AnsibleFilterError(f"mariadb_settings: {processors} processors; at least 1 is needed")
    plan: Plan = {name: {"value": value, "why": why} for name, value, why in COMMON}
    pool = buffer_pool_mb(memory, role)

    def put(name: str, value: Any, why: str) -> None:
        plan[name] = {"value": value, "why": why}

    put("innodb_buffer_pool_size", pool * MIB, f"{pool} of {memory} MiB; a bench shares the host.")
    log = min(2048, max(96, pool // 4 // 32 * 32))
    put("innodb_log_file_size", log * MIB, "A quarter of the pool: room for bursts of writes.")
    put(
        "table_open_cache",
        4000 if memory >= 2048 else 2000,
        "A Frappe site has hundreds of tables.",
    )
    put("table_definition_cache", 2000, "For the same reason.")
    put(
        "slave_parallel_threads",
        max(4, min(8, 2 * processors)) if role == "reporting" else 4,
        "Serial apply cannot keep up with a busy primary (measured: 19.5 s against 9.7 s).",
    )
    if role == "primary":
        put("max_connections", 300, "Web and background workers of every bench, and people.")
        temporary = 64 if memory >= 4096 else 32 if memory >= 1024 else 16
        why = "Short transactions: memory belongs to the buffer pool."
        put("tmp_table_size", temporary * MIB, why)
        put("max_heap_table_size", temporary * MIB, why)
        put("sort_buffer_size", 2 * MIB, why)
        put("join_buffer_size", MIB // 4, why)
        put("read_rnd_buffer_size", MIB // 4, why)
        put(
            "innodb_read_ahead_threshold",
            56,
            "Reads are points, not scans: the server's own figure.",
        )
    else:
        put("max_connections", 200, "One bench reads here.")
        put(
            "innodb_strict_mode",
            False,
            "A table that the primary took is taken here: whether it was strict is in no log.",
        )
        temporary = max(32, min(512, memory // 32))
        why = "Grouping a report's rows in memory instead of on disk."
        put("tmp_table_size", temporary * MIB, why)
        put("max_heap_table_size", temporary * MIB, why)
        each = max(4, min(32, memory // 512))
        put("sort_buffer_size", each * MIB, "Few connections, each sorting many rows.")
        put("join_buffer_size", each * MIB, "Few connections, each joining large tables.")
        put(
            "read_rnd_buffer_size",
            max(1, each // 4) * MIB,
            "Sorted rows are fetched in larger runs.",
        )
        put("innodb_read_ahead_threshold", 24, "Reports scan: the next extent is fetched sooner.")
    for series, name, value, why in BY_SERIES:
        plan[name] = {"value": value, "why": why, "series": series}
    if role == "reporting":
        for name, value in (shared or {}).items():
            why = "The primary's: a report says the same on both."
            plan[name] = {**plan.get(name, {}), "value": value, "why": why}
    for name, value in (own or {}).items():
        put(name, value, "This host's own.")
    for name, value in (extra or {}).items():
        if why := untakeable(name, value):
            raise AnsibleFilterError(f"mariadb_settings_extra: {name} {why}. Take it out")
        put(name, value, "Set in the inventory (mariadb_settings_extra).")
    return plan


def untakeable(name: str, value: Any) -> str:
    """Why mariadb_settings_extra may not have a setting, "" where it may."""
    variable, said = meaning(name, render(value), conflicts.DECIDED | set(conflicts.REFUSED))
    if variable in conflicts.DECIDED:
        return "is not yours to set: the primary is open and runs events, a replica does neither"
    if variable not in conflicts.ALIKE and conflicts.is_refused(variable, said):
        return f"cannot be {render(value)}: {conflicts.REFUSED[variable][1]}"
    return ""


def takeable(extra: Any) -> dict[str, Any]:
    """Of mariadb_settings_extra what a plan takes; preflight tells the rest."""
    known = extra if isinstance(extra, Mapping) else {}
    return {name: value for name, value in known.items() if not untakeable(str(name), value)}


def extra_problems(hosts: list[Mapping[str, Any]]) -> list[dict[str, str]]:
    """What mariadb_settings_extra may not have, for preflight."""
    return [
        {
            "what": f"{name} {why}",
            "place": f"mariadb_settings_extra of {host['name']} in the inventory",
            "remedy": "take it out",
        }
        for host in hosts
        if isinstance(host["mariadb_extra"], Mapping)
        for name, value in host["mariadb_extra"].items()
        if (why := untakeable(str(name), value))
    ]


def option_problems(
    hosts: list[Mapping[str, Any]], file: str, restarts_none: bool
) -> list[dict[str, str]]:
    """What MariaDB's own files say on each host that the fleet cannot live with, for preflight.

    And whether a server that was adopted has to be restarted, but for a run that restarts none.
    file is the fleet's option file. Read of a host are name, groups, mariadb_plan (the fleet's
    settings, name to value), restart_confirmed, and what the module survey found.
    """
    problems = []
    for host in hosts:
        told, name = ((host["survey"] or {}).get("database") or {}).get("options"), host["name"]
        if not told or not host["mariadb_plan"]:
            continue
        answers = set(host["survey"]["database"].get("answers", {})) - {"time_zone"}
        # A reporting node takes these from the primary.
        taken = dict.fromkeys(() if "mariadb_primary" in host["groups"] else answers)
        plan = {**conflicts.HOSTS_OWN, **taken, **host["mariadb_plan"]}
        problems += [
            {"what": f"MariaDB of {name}: {what}", "place": place, "remedy": remedy}
            for what, place, remedy in conflicts.problems_of(plan, told, told["running"], file)
        ]
        needs = conflicts.restart_needs(host["mariadb_plan"], told["running"])
        if needs and told["adopted"] and not restarts_none and not host["restart_confirmed"]:
            problems.append(
                {
                    "what": f"MariaDB of {name}, which was adopted, has to be restarted once for "
                    f"{', '.join(needs)}",
                    "place": f"mariadb.service on {name}",
                    "remedy": "run with -e adopt_restart_confirmed=true, when it suits you",
                }
            )
    return problems


def mariadb_values(plan: Plan) -> dict[str, Any]:
    """The bare name -> value of a plan, as the module that compares a running server takes it."""
    return {name: entry["value"] for name, entry in plan.items()}


def render(value: Any) -> str:
    """One value as an option file spells it: ON/OFF for booleans, the rest as it is."""
    if isinstance(value, bool):
        return "ON" if value else "OFF"
    return str(value)


def mariadb_cnf(plan: Plan) -> str:
    """The option file for a plan, each setting under its reason.

    Raises AnsibleFilterError for a value that would spill into another line or section.
    """
    sections: dict[str, list[str]] = {}
    for name, entry in plan.items():
        value = render(entry["value"])
        if "\n" in value or not name.replace("_", "").isalnum():
            raise AnsibleFilterError(
                f"mariadb_settings_extra: {name!r} with value {value!r} is not one option on one"
                " line"
            )
        title = f"[mariadbd-{entry['series']}]" if entry.get("series") else "[mariadbd]"
        sections.setdefault(title, []).extend([f"# {entry['why']}", f"{name} = {value}"])
    lines = [
        "# Written by Benchfleet and rewritten at its next run. Other values for these settings:",
        "# mariadb_settings_extra in the inventory. Other settings: another file beside this one.",
    ]
    for title, settings in sections.items():
        lines += [title, *settings]
    return "\n".join(lines) + "\n" + CLIENTS


class FilterModule:
    """Filters on MariaDB settings."""

    def filters(self) -> dict[str, Any]:
        """Names under which templates find the functions."""
        return {
            "mariadb_settings": mariadb_settings,
            "mariadb_values": mariadb_values,
            "mariadb_cnf": mariadb_cnf,
            "mariadb_takeable": takeable,
            "mariadb_extra_problems": extra_problems,
            "mariadb_option_problems": option_problems,
        }
