"""Settings of a MariaDB server of the fleet: from memory, task and processors to a file.

Pure functions, so that a figure can be questioned and tested without a server.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleFilterError

sys.path.append(str(Path(__file__).parents[1] / "module_utils"))

from fleet.mariadb.preflight import extra_problems, option_problems, render, takeable, untakeable

Plan = dict[str, dict[str, Any]]
# Name, value, and why.
Setting = tuple[str, Any, str]

MIB = 1024 * 1024
ROLES = ("primary", "reporting")

# The same on every node, so that roles can be swapped without touching a file.
COMMON: tuple[Setting, ...] = (
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


def for_primary(memory: int) -> tuple[Setting, ...]:
    """Settings of a server that writes; memory in MiB."""
    temporary = 64 if memory >= 4096 else 32 if memory >= 1024 else 16
    why = "Short transactions: memory belongs to the buffer pool."
    return (
        ("max_connections", 300, "Web and background workers of every bench, and people."),
        ("tmp_table_size", temporary * MIB, why),
        ("max_heap_table_size", temporary * MIB, why),
        ("sort_buffer_size", 2 * MIB, why),
        ("join_buffer_size", MIB // 4, why),
        ("read_rnd_buffer_size", MIB // 4, why),
        (
            "innodb_read_ahead_threshold",
            56,
            "Reads are points, not scans: the server's own figure.",
        ),
    )


def for_reports(memory: int) -> tuple[Setting, ...]:
    """Settings of a server that is read for reports; memory in MiB."""
    temporary, each = max(32, min(512, memory // 32)), max(4, min(32, memory // 512))
    strict = "A table that the primary took is taken here: whether it was strict is in no log."
    why = "Grouping a report's rows in memory instead of on disk."
    rows = "Sorted rows are fetched in larger runs."
    return (
        ("max_connections", 200, "One bench reads here."),
        ("innodb_strict_mode", False, strict),
        ("tmp_table_size", temporary * MIB, why),
        ("max_heap_table_size", temporary * MIB, why),
        ("sort_buffer_size", each * MIB, "Few connections, each sorting many rows."),
        ("join_buffer_size", each * MIB, "Few connections, each joining large tables."),
        ("read_rnd_buffer_size", max(1, each // 4) * MIB, rows),
        ("innodb_read_ahead_threshold", 24, "Reports scan: the next extent is fetched sooner."),
    )


def sized(memory: int, role: str, processors: int) -> tuple[Setting, ...]:
    """Settings that depend on the host's size; memory in MiB."""
    pool = buffer_pool_mb(memory, role)
    log = min(2048, max(96, pool // 4 // 32 * 32))
    tables = 4000 if memory >= 2048 else 2000
    threads = max(4, min(8, 2 * processors)) if role == "reporting" else 4
    serial = "Serial apply cannot keep up with a busy primary (measured: 19.5 s against 9.7 s)."
    return (
        (
            "innodb_buffer_pool_size",
            pool * MIB,
            f"{pool} of {memory} MiB; a bench shares the host.",
        ),
        ("innodb_log_file_size", log * MIB, "A quarter of the pool: room for bursts of writes."),
        ("table_open_cache", tables, "A Frappe site has hundreds of tables."),
        ("table_definition_cache", 2000, "For the same reason."),
        ("slave_parallel_threads", threads, serial),
        *(for_primary(memory) if role == "primary" else for_reports(memory)),
    )


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
    settings = (*COMMON, *sized(memory, role, processors))
    plan: Plan = {name: {"value": value, "why": why} for name, value, why in settings}
    for series, name, value, why in BY_SERIES:
        plan[name] = {"value": value, "why": why, "series": series}
    for name, value in (shared or {}).items() if role == "reporting" else ():
        why = "The primary's: a report says the same on both."
        plan[name] = {**plan.get(name, {}), "value": value, "why": why}
    for name, value in (own or {}).items():
        plan[name] = {"value": value, "why": "This host's own."}
    for name, value in (extra or {}).items():
        if why := untakeable(name, value):
            raise AnsibleFilterError(f"mariadb_settings_extra: {name} {why}. Take it out")
        plan[name] = {"value": value, "why": "Set in the inventory (mariadb_settings_extra)."}
    return plan


def mariadb_values(plan: Plan) -> dict[str, Any]:
    """The bare name -> value of a plan, as the module that compares a running server takes it."""
    return {name: entry["value"] for name, entry in plan.items()}


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
