"""Settings of a MariaDB server of the fleet, from its memory, role and processors, as a file."""

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

# The same on every server, so that a promotion changes no file.
COMMON: tuple[Setting, ...] = (
    (
        "skip_name_resolve",
        True,
        "Accounts use addresses; a slow DNS server must not delay a login.",
    ),
    ("character_set_server", "utf8mb4", "What Frappe stores."),
    ("collation_server", "utf8mb4_unicode_ci", "What Frappe compares with."),
    ("max_allowed_packet", 64 * MIB, "Long documents and imports travel as one statement."),
    ("read_only", True, "Every server starts read-only; only the confirmed primary is opened."),
    (
        "event_scheduler",
        False,
        "Events run on the primary only: an event of root ignores read_only.",
    ),
    ("gtid_domain_id", 0, "The fleet has one history of transactions."),
    (
        "gtid_strict_mode",
        True,
        "A write on a replica stops replication, so that it is noticed.",
    ),
    ("log_bin", "binlog", "A fixed name: a renamed host keeps its binary log."),
    ("relay_log", "relay", "A fixed name, for the same reason."),
    ("log_slave_updates", True, "Any replica can be promoted."),
    ("binlog_format", "ROW", "Replicas get the rows as they were written."),
    (
        "log_bin_trust_function_creators",
        True,
        "A site's account may create functions and triggers, as without a binary log; with ROW no"
        " replica runs them.",
    ),
    ("binlog_row_image", "FULL", "Whole rows are in the log, for checks and repairs."),
    ("sync_binlog", 1, "An acknowledged write survives a power cut, also after a promotion."),
    ("innodb_flush_log_at_trx_commit", 1, "An acknowledged write survives a power cut."),
    ("binlog_expire_logs_seconds", 604800, "A replica may be down for a week."),
    ("max_binlog_size", 256 * MIB, "Old logs are deleted in small steps."),
    ("relay_log_recovery", True, "After a crash a new relay log is begun."),
    (
        "skip_slave_start",
        True,
        "Else what was received and not applied is deleted at each start; our unit starts"
        " replication.",
    ),
    ("slave_net_timeout", 10, "A dead connection is noticed within seconds."),
    ("slave_exec_mode", "STRICT", "A change that does not fit the data is an error."),
    ("slave_parallel_mode", "conservative", "Parallel apply without retried conflicts."),
    ("userstat", True, "Counts reads per account, which shows the server that answered a report."),
)

# Milliseconds for which a commit waits for a replica, by mariadb_semi_sync: MariaDB's own default
# where none does, and its largest value.
SEMI_SYNC: dict[str, int] = {"off": 10_000, "available": 1_000, "strict": 18446744073709551615}

# Only for servers of one series, which read a section of their own: (series, name, value, why).
BY_SERIES: tuple[tuple[str, str, Any, str], ...] = (
    (
        "11.8",
        "character_set_collations",
        "utf8mb4=utf8mb4_unicode_ci",
        "Else a client that asks for utf8mb4 gets another collation than the tables have.",
    ),
)

# For MariaDB's clients on the host, which Frappe uses for its backups. Debian's own file allows
# 16 MB, and a larger row, which the server takes, would break each backup.
CLIENTS = (
    "# Rows of any size can be dumped and shown.",
    *("[mysqldump]", "max_allowed_packet = 1G"),
    *("[mysql]", "max_allowed_packet = 1G"),
)


def buffer_pool_mb(memory_mb: int, role: str) -> int:
    """InnoDB buffer pool in MiB: a multiple of 64, at least 64.

    The host also runs a bench and, on the primary, Redis: 40 percent on the primary. On a
    reporting node, 50 percent, because reports read many pages.
    """
    share = 0.40 if role == "primary" else 0.50
    return max(64, int(memory_mb * share) // 64 * 64)


def for_primary(memory: int) -> tuple[Setting, ...]:
    """Settings of a server that writes; memory in MiB."""
    temporary = 64 if memory >= 4096 else 32 if memory >= 1024 else 16
    why = "Transactions are short: the buffer pool needs the memory."
    return (
        ("max_connections", 300, "Web and background workers of every bench, and operators."),
        ("tmp_table_size", temporary * MIB, why),
        ("max_heap_table_size", temporary * MIB, why),
        ("sort_buffer_size", 2 * MIB, why),
        ("join_buffer_size", MIB // 4, why),
        ("read_rnd_buffer_size", MIB // 4, why),
        (
            "innodb_read_ahead_threshold",
            56,
            "Most reads are of single rows: the server's default.",
        ),
    )


def for_reports(memory: int) -> tuple[Setting, ...]:
    """Settings of a server that is read for reports; memory in MiB."""
    temporary, each = max(32, min(512, memory // 32)), max(4, min(32, memory // 512))
    strict = "A table that the primary accepted is accepted here; the log has no strict mode."
    why = "Reports group their rows in memory, not on disk."
    rows = "Sorted rows are read in larger pieces."
    return (
        ("max_connections", 200, "One bench reads here."),
        ("innodb_strict_mode", False, strict),
        ("tmp_table_size", temporary * MIB, why),
        ("max_heap_table_size", temporary * MIB, why),
        ("sort_buffer_size", each * MIB, "Few connections, but each sorts many rows."),
        ("join_buffer_size", each * MIB, "Few connections, but each joins large tables."),
        ("read_rnd_buffer_size", max(1, each // 4) * MIB, rows),
        ("innodb_read_ahead_threshold", 24, "Reports scan tables: the next extent is read sooner."),
    )


def semi_synchronous(mode: str, role: str) -> tuple[Setting, ...]:
    """Whether and how long a commit waits until a replica has received it; mode: of SEMI_SYNC."""
    on = mode != "off"
    why = f"mariadb_semi_sync is {mode}."
    return (
        ("rpl_semi_sync_master_enabled", on and role == "primary", why),
        ("rpl_semi_sync_slave_enabled", on, why),
        ("rpl_semi_sync_master_timeout", SEMI_SYNC[mode], why),
        (
            "rpl_semi_sync_master_wait_point",
            "AFTER_SYNC",
            "Nobody reads what a replica does not have, so a lost primary takes nothing with it.",
        ),
    )


def sized(memory: int, role: str, processors: int) -> tuple[Setting, ...]:
    """Settings that depend on the host's size; memory in MiB."""
    pool = buffer_pool_mb(memory, role)
    log = min(2048, max(96, pool // 4 // 32 * 32))
    tables = 4000 if memory >= 2048 else 2000
    threads = max(4, min(8, 2 * processors)) if role == "reporting" else 4
    serial = "One thread cannot keep up with a busy primary (measured: 19.5 s against 9.7 s)."
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
    semi_sync: str = "off",
) -> Plan:
    """A server's settings: name -> {value, why}; sizes are bytes, switches are booleans.

    memory_mb: MiB for which the server is sized. role: ``primary`` or ``reporting``. cpus: number
    of processors. own: settings of this host (its address, its files). extra: the operator's, which
    win. shared: the primary's settings that change its answers; a reporting node uses them, too.
    semi_sync: ``off``, ``available`` or ``strict``.
    Raises AnsibleFilterError for values that cannot be used.
    """
    memory, processors = int(memory_mb), int(cpus)
    if role not in ROLES:
        raise AnsibleFilterError(f"mariadb_settings: role is {role!r}; use {' or '.join(ROLES)}")
    if memory < 256:
        raise AnsibleFilterError(
            f"mariadb_settings: `fleet_memory_mb` is {memory}, too little for a server; use at"
            " least 256"
        )
    if processors < 1:
        raise AnsibleFilterError(f"mariadb_settings: `cpus` is {processors}; use at least 1")
    if semi_sync not in SEMI_SYNC:
        raise AnsibleFilterError(
            f"mariadb_settings: `mariadb_semi_sync` is {semi_sync!r}; use {', '.join(SEMI_SYNC)}"
        )
    settings = (*COMMON, *semi_synchronous(semi_sync, role), *sized(memory, role, processors))
    plan: Plan = {name: {"value": value, "why": why} for name, value, why in settings}
    for series, name, value, why in BY_SERIES:
        plan[name] = {"value": value, "why": why, "series": series}
    for name, value in (shared or {}).items() if role == "reporting" else ():
        why = "The primary's value, so that a report has the same result on both."
        plan[name] = {**plan.get(name, {}), "value": value, "why": why}
    for name, value in (own or {}).items():
        plan[name] = {"value": value, "why": "Of this host only."}
    for name, value in (extra or {}).items():
        if why := untakeable(name, value):
            raise AnsibleFilterError(f"mariadb_settings_extra: {name} {why}. Remove it")
        plan[name] = {"value": value, "why": "Set in the inventory (`mariadb_settings_extra`)."}
    return plan


def mariadb_values(plan: Plan) -> dict[str, Any]:
    """The plan as name -> value, for the module mariadb_settings."""
    return {name: entry["value"] for name, entry in plan.items()}


def mariadb_cnf(plan: Plan) -> str:
    """The option file for a plan, each setting below its reason.

    Raises AnsibleFilterError for a value that would begin another line or section.
    """
    sections: dict[str, list[str]] = {}
    for name, entry in plan.items():
        value = render(entry["value"])
        if "\n" in value or not name.replace("_", "").isalnum():
            raise AnsibleFilterError(
                f"mariadb_settings_extra: {name!r} with the value {value!r} is not one option on"
                " one line"
            )
        title = f"[mariadbd-{entry['series']}]" if entry.get("series") else "[mariadbd]"
        sections.setdefault(title, []).extend([f"# {entry['why']}", f"{name} = {value}"])
    lines = [
        "# Made by Benchfleet; changes here are undone by its next run. To change these",
        "# settings, use mariadb_settings_extra in the inventory. For others, add a file here.",
    ]
    for title, settings in sections.items():
        lines += [title, *settings]
    return "".join(f"{line}\n" for line in (*lines, *CLIENTS))


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
