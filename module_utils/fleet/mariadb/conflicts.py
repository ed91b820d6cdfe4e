"""The fleet's settings compared with a server's option files and with the running server.

options.look() reads the files, options.RUNNING the variables of the running server.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from .options import COMMAND_LINE, NO_LINE, UNITS, Row, Said, bare, normal
from .server import LARGEST_PACKET, SOCKET, with_filters


class Conflict(NamedTuple):
    """A setting with which the fleet cannot work, and what to do about it.

    id: "files_unusable" (MariaDB does not start with its files), "file_not_read" (it does not read
    the fleet's file), "option_wins" (a later option wins over the fleet's) or "value_refused" (no
    fleet can work with this value). what, place, remedy: for the operator.
    """

    id: str
    name: str
    value: str
    what: str
    place: str
    remedy: str


COLUMNS = ("name", "value", "origin", "path", "fixed", "low", "high", "block")
# What the server cuts to the number of files that it may open.
BY_FILES = frozenset(
    {"innodb_open_files", "max_connections", "open_files_limit", "table_definition_cache"}
    | {"table_open_cache"}
)


def rounded(value: Any, variable: Row) -> str:
    """A wanted value as the server would round it to its limits and block size."""
    text = normal(value)
    if not text.isdigit() or not str(variable.get("block") or "").isdigit():
        return text
    low, high, block = (variable[key] for key in ("low", "high", "block"))
    number = max(int(low), min(int(high), int(text)))
    return str(number // int(block) * int(block)) if int(block) > 1 else str(number)


def running_rows(lines: Iterable[str], status: Iterable[str]) -> dict[str, Row]:
    """The same as running_variables, from the client's output for RUNNING and the log."""
    rows = (dict(zip(COLUMNS, line.split("\t"), strict=False)) for line in lines)
    return with_filters(rows, (line.split("\t") for line in status))


def is_on(value: str) -> bool:
    """Whether a switch is on, or there is a value."""
    return value not in ("", "0", "none")


def is_off(value: str) -> bool:
    """Whether a switch is off."""
    return value == "0"


def other_than(*values: str) -> Callable[[str], bool]:
    """A function that says whether a value is none of these."""
    return lambda value: value not in values


def has_harmful_plugin(value: str) -> bool:
    """Whether a plugin adds a storage engine, encryption keys, or checks of passwords."""
    return bool(re.search(r"ha_|key_management|password_(reuse_)?check|cracklib", value))


def has_other_files(value: str) -> bool:
    """Whether InnoDB's system tablespace is not the one growing file, of at least 12 MB."""
    found = re.fullmatch(r"(?:\./)?ibdata1:(\d+[kmg]?):autoextend(?::max:\d+[kmgt]?)?", value)
    return found is None or int(normal(found[1])) < 12 * UNITS["M"]


FILTERED = "what it leaves out never reaches a replica, and is missing after a restore"
REPLICA_FILTER = "what it leaves out is missing on this server as soon as it follows another one"
ENCRYPTED = "no other server has the keys, so none can read a copy of the data"
GALERA = "Galera replicates in another way, with transaction numbers of its own"
ELSEWHERE = "a copy of the data replaces the data folder only, and not this place"
# No fleet can work with these: variable -> (when, why). Each was tried on MariaDB 10.11, and what
# most of them do to a fleet; for the others, the manual is the source.
REFUSED: dict[str, tuple[Callable[[str], bool], str]] = {
    "binlog_do_db": (is_on, FILTERED),
    "binlog_ignore_db": (is_on, FILTERED),
    **{
        f"replicate_{kind}": (is_on, REPLICA_FILTER)
        for kind in ("do_db", "do_table", "ignore_db", "ignore_table", "rewrite_db")
    },
    "replicate_wild_do_table": (is_on, REPLICA_FILTER),
    "replicate_wild_ignore_table": (is_on, REPLICA_FILTER),
    # Ours, but for mariadb_settings_extra.
    "log_bin": (is_off, "no replica can follow without the binary log"),
    "log_slave_updates": (is_off, "no other server can follow a replica once it is promoted"),
    "binlog_format": (other_than("row"), "what a statement changes can differ on a replica"),
    "binlog_row_image": (other_than("full"), "a replica cannot tell that its data differs"),
    "gtid_strict_mode": (is_off, "a write on a replica goes unseen"),
    "replicate_events_marked_for_skip": (other_than("replicate"), REPLICA_FILTER),
    "replicate_same_server_id": (is_on, "a server that keeps a binary log does not start with it"),
    "slave_skip_errors": (is_on, "a replica goes on after a change failed, and its data differs"),
    "slave_run_triggers_for_rbr": (
        other_than("no", "0"),
        "a replica runs the triggers as well as getting their rows, and its data differs",
    ),
    "slave_max_statement_time": (is_on, "replication stops at a change that takes longer"),
    "slave_max_allowed_packet": (
        lambda value: value.isdigit() and int(value) < LARGEST_PACKET,
        "replication stops at a change that is larger",
    ),
    "skip_slave_start": (is_on, "after a restart a replica does not follow the primary"),
    "init_slave": (is_on, "its statements run on one server only, whenever replication starts"),
    "relay_log_purge": (
        is_off,
        "a replica's disk fills up with changes that it has already applied",
    ),
    "init_rpl_role": (
        other_than("master", "0"),
        "after a crash the server rolls back changes that its replicas already have",
    ),
    "log_basename": (is_on, "it gives the binary log and its index other names than the fleet's"),
    "log_bin_index": (is_on, ELSEWHERE),
    "relay_log_index": (is_on, ELSEWHERE),
    "innodb_data_home_dir": (is_on, ELSEWHERE),
    "innodb_log_group_home_dir": (other_than("", "./", "."), ELSEWHERE),
    "innodb_undo_directory": (other_than("", "./", "."), ELSEWHERE),
    "aria_log_dir_path": (is_on, ELSEWHERE),
    "init_file": (
        is_on,
        "its statements run at each start, also on a replica, which then has changes of its own"
        " and stops following",
    ),
    "init_connect": (
        is_on,
        "its statements run for the fleet's accounts, too, and clients of a replica get others",
    ),
    "socket": (
        other_than(SOCKET, f"/var{SOCKET}"),
        f"the fleet's programs look for the server at {SOCKET}",
    ),
    "skip_networking": (is_on, "no other server can reach this one"),
    "skip_grant_tables": (is_on, "every client is root, and no account can be made"),
    "require_secure_transport": (is_on, "Frappe connects without TLS, so it is refused"),
    "default_storage_engine": (
        other_than("innodb"),
        "a table whose statement names no engine gets another one on a replica",
    ),
    "enforce_storage_engine": (is_on, "a table gets another engine than on the other servers"),
    "innodb": (is_off, "the tables of a site need InnoDB"),
    "innodb_read_only": (is_on, "nothing can be written or replicated"),
    "innodb_force_recovery": (is_on, "it is only for rescuing damaged data"),
    "transaction_read_only": (is_on, "neither the fleet nor Frappe can write"),
    "autocommit": (is_off, "writes of the fleet and of the operator are rolled back"),
    "secure_timestamp": (
        other_than("no", "0", "super", "replication"),
        "a replica stores other times in its rows",
    ),
    "debug_no_sync": (is_on, "no acknowledged write survives a power cut"),
    "wsrep_on": (is_on, GALERA),
    "wsrep_provider": (is_on, GALERA),
    "innodb_page_size": (other_than("16384"), "no other server can read a copy of the data"),
    "innodb_data_file_path": (has_other_files, "no other server starts on a copy of the data"),
    "innodb_compression_algorithm": (
        other_than("zlib", "none", "0", "1"),
        "a server without its plugin neither starts nor reads a copy of the data",
    ),
    **dict.fromkeys(
        ("aria_encrypt_tables", "encrypt_binlog", "innodb_encrypt_log", "innodb_encrypt_tables"),
        (is_on, ENCRYPTED),
    ),
    **dict.fromkeys(
        ("plugin_load", "plugin_load_add"),
        (has_harmful_plugin, "with it, no copy of the data or no account can be made"),
    ),
}
EVERYWHERE = "set it in mariadb_settings_extra for all hosts"
RESTART = "restart MariaDB"
NO_FILE = "the running server; no option file has it"
# What has to be done before the line is removed; without it the server would not start again.
MOVED = "stop MariaDB, move the files that are there into its data folder"
DECRYPTED = (
    "SET GLOBAL innodb_encrypt_tables = OFF, innodb_encryption_threads = 4, wait until"
    " MIN_KEY_VERSION is 0 everywhere in information_schema.INNODB_TABLESPACES_ENCRYPTION, and"
    " restart with the plugin once more"
)
FIRST = {
    **{name: MOVED for name, (_, why) in REFUSED.items() if why == ELSEWHERE},
    **{name: DECRYPTED for name, (_, why) in REFUSED.items() if why == ENCRYPTED},
    **dict.fromkeys(
        ("plugin_load", "plugin_load_add"), "make sure that no table and no key needs it"
    ),
    "innodb_compression_algorithm": "set it to zlib, and rebuild compressed tables",
    "innodb_force_recovery": "restore the damaged data",
}
# The server's data was made with these values, and they cannot be changed.
FOR_EVER = frozenset({"innodb_data_file_path", "innodb_page_size"})
# A running server always has a value for these; the origin does not show whose, because it is
# COMPILE-TIME for filters of an option file, too.
MADE_UP = frozenset({"aria_log_dir_path", "log_bin_index", "relay_log_index", "socket"})
# The fleet changes these while the server runs: no option file may set them.
DECIDED = frozenset({"read_only", "event_scheduler"})
# These differ on each host: where another file sets them, the fleet's values do not count.
HOSTS_OWN = dict.fromkeys(("server_id", "ssl_ca", "ssl_cert", "ssl_key"))
# These cannot be set by mariadb_settings_extra.
NOT_TO_KEEP = frozenset({"bind_address", "log_bin", "port", "relay_log", *HOSTS_OWN})
# Any value of these works if all servers have it: mariadb_settings_extra may set them.
ALIKE = frozenset(
    {"default_storage_engine", "enforce_storage_engine", "init_connect"}
    | {"innodb_data_file_path", "innodb_page_size"}
)


def agrees(name: str, value: Any, running: Mapping[str, Row]) -> bool:
    """Whether the server runs with the wanted value."""
    shown = normal(running[name]["value"])
    if name == "log_bin" and shown == "1" and "log_bin_basename" in running:
        # log_bin itself only shows ON; its name is in log_bin_basename.
        base = str(running["log_bin_basename"]["value"])
        return str(value) in (base, os.path.basename(base)) or normal(value) == "1"
    if name in ("character_set_collations", "sql_mode"):
        # Some modes set others, too, and each character set has a collation.
        return set(normal(value).split(",")) <= set(shown.split(","))
    return shown in (normal(value), rounded(value, running[name]))


def is_by_files(name: str, running: Mapping[str, Row]) -> bool:
    """Whether the server has lowered a setting to the number of files that it may open."""
    # For innodb_open_files the origin does not show it.
    by_itself = running[name]["origin"] == "AUTO" or name == "innodb_open_files"
    return name in BY_FILES and by_itself


def beaten(
    plan: Mapping[str, Any], said: Iterable[Said], running: Mapping[str, Row]
) -> list[dict[str, str]]:
    """The fleet's settings that a later option changes: {name, value, wanted, place}.

    plan: name -> value, None where the fleet's is not known here, so that any option counts.
    """
    last = {entry.name: entry for entry in said if entry.after}
    found = []
    for name, value in plan.items():
        entry = last.get(bare(name))
        if entry is None:
            continue
        row = running.get(entry.name, {})
        wanted = (normal(value), rounded(value, row)) if value is not None else ()
        if not {normal(entry.value), rounded(entry.value, row)} & set(wanted):
            ours = "" if value is None else readable(value)
            found.append(
                {"name": entry.name, "value": entry.value, "wanted": ours, "place": entry.place}
            )
    return found


def differences(wanted: Mapping[str, Any], running: Mapping[str, Row]) -> dict[str, str]:
    """Settings the server does not run with: name -> what it runs with.

    Options that are no variables here (an older server) are left out.
    """
    rows = {bare(name): value for name, value in wanted.items() if bare(name) in running}
    return {
        name: str(running[name]["value"])
        for name, value in rows.items()
        if not agrees(name, value, running)
    }


def restart_needs(plan: Mapping[str, Any], running: Mapping[str, Row]) -> list[str]:
    """The fleet's settings that need a restart of the running server; unknown ones are None."""
    known = {name: value for name, value in plan.items() if value is not None}
    return [
        name
        for name in differences(known, running)
        if running[name]["fixed"] == "YES" and not is_by_files(name, running)
    ]


def readable(value: Any) -> str:
    """A setting's value as an operator writes it."""
    if isinstance(value, bool):
        return "ON" if value else "OFF"
    text = str(value)
    for letter in ("G", "M"):
        if re.fullmatch(r"[1-9]\d*", text) and int(text) % UNITS[letter] == 0:
            return f"{int(text) // UNITS[letter]}{letter}"
    return text


def refused(
    plan: Mapping[str, Any], said: Iterable[Said], running: Mapping[str, Row]
) -> list[tuple[str, str, str]]:
    """Values with which no fleet can work: (name, value, place), of files and the running server.

    The place is "" where only the running server has the value, and no file.
    """
    ours = {bare(name) for name in plan}
    listed: dict[str, list[Said]] = {}
    for entry in said:
        if entry.name in REFUSED and entry.name not in ours:
            several = entry.name.startswith(("replicate_", "binlog_", "plugin_load"))
            listed[entry.name] = [*(listed.get(entry.name, []) if several else []), entry]
    found = [(e.name, e.value, e.place) for entries in listed.values() for e in entries]
    known = ours | MADE_UP | set(listed)
    if "plugin_load_add" in listed:
        known.add("plugin_load")
    found += [
        (name, str(running[name]["value"] or ""), "")
        for name in REFUSED
        if name in running and name not in known
    ]
    return [entry for entry in found if is_refused(*entry[:2])]


def conflicts_of(
    plan: Mapping[str, Any], files: Mapping[str, Any], running: Mapping[str, Row], ours: str
) -> list[Conflict]:
    """What keeps the fleet's settings from being in force.

    files: what look() returned. ours: the path of the fleet's own option file.
    """
    if trouble := files["trouble"]:
        what = f"MariaDB does not start: {trouble}"
        return [Conflict("files_unusable", "", "", what, "its option files", "correct it")]
    found = []
    if not files["own"]:
        folder = os.path.dirname(ours)
        what = f"MariaDB reads no file in {folder}, where the fleet's is"
        place = "the files that `my_print_defaults --help` lists"
        cure = f"add to the last of them that exists, as its last line, `!includedir {folder}`"
        found.append(Conflict("file_not_read", "", "", what, place, cure))
    said = [Said(*entry) for entry in files["said"]]
    found += [overridden(entry) for entry in beaten(plan, said, running)]
    return found + [unusable(*entry) for entry in refused(plan, said, running)]


def overridden(entry: Mapping[str, str]) -> Conflict:
    """The conflict of an entry of beaten()."""
    name, value, place = entry["name"], readable(entry["value"]), entry["place"]
    ours = f"; the fleet's value is {entry['wanted']}" if entry["wanted"] else ""
    keep = ""
    if entry["wanted"] and name not in NOT_TO_KEEP and not is_refused(name, entry["value"]):
        keep = f", or use it on all hosts: `mariadb_settings_extra: {{{name}: {value}}}`"
    what = f"{name} is {value} by an option that wins over the fleet's file{ours}"
    return Conflict("option_wins", name, value, what, place, remedy(place) + keep)


def unusable(name: str, value: str, place: str) -> Conflict:
    """The conflict of an entry of refused()."""
    why = REFUSED[name][1]
    first = f"{FIRST[name]}, then " if name in FIRST else ""
    cure = f"{first}{remedy(place)}, and {RESTART}"
    if not place:
        place = NO_FILE
        cure = first + ("`UNINSTALL SONAME`" if name == "plugin_load" else RESTART)
    if name in FOR_EVER:
        cure = EVERYWHERE
    elif name in ALIKE:
        cure += f", or {EVERYWHERE}"
    if why in (FILTERED, REPLICA_FILTER):
        cure += "; replicas that followed meanwhile need a new copy (`mariadb_replica_reseed`)"
    return Conflict("value_refused", name, value, f"{name} is {value}: {why}", place, cure)


def is_refused(name: str, value: str) -> bool:
    """Whether a setting has a value with which no fleet can work."""
    return name in DECIDED or (name in REFUSED and REFUSED[name][0](normal(value)))


def remedy(place: str) -> str:
    """How to remove an option."""
    if place == COMMAND_LINE:
        return "remove it (see `systemctl cat mariadb.service` and `systemctl show-environment`)"
    if place == NO_LINE:
        return "find it with `my_print_defaults --mysqld`, and remove it"
    return "remove the line"
