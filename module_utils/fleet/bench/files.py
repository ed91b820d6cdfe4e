"""Reads a bench's own files as the programs to which they belong read them.

These are Frappe's configurations and its list of apps, Redis' configurations, and URLs of redis-py.
Nothing but the standard library is imported: the controller and the hosts use the same code.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

# --- keys of Frappe's configurations ------------------------------------------------------------

# What becomes of a key; the table in docs/adopt.md has it in sentences.
# Set by the fleet, and put back at a release: the same on all hosts, or each host's own.
SET, OWN = "set", "own"
# Removed, and put back at a release.
OUT = "out"
# Kept: reporting nodes have their own; not on reporting nodes; there, too.
NODE, PRIMARY, KEPT = "node", "primary", "kept"
# Kept where it means this server, but not on reporting nodes; else refused.
LOCAL = "local"
# Kept, with the fleet's entries `at-…` beside the operator's.
SHARED = "shared"
REFUSED = "refused"

# Key → what becomes of it in common_site_config.json, and in a site's site_config.json. All other
# keys are kept in both. A key that is removed from the one and refused in the other belongs to a
# setting of Redis or MariaDB, which the fleet manages afterwards.
KEYS: dict[str, tuple[str, str]] = {
    "bench_id": (SET, REFUSED),
    "frappe_user": (SET, KEPT),
    "live_reload": (SET, KEPT),
    "restart_supervisor_on_update": (SET, KEPT),
    "restart_systemd_on_update": (SET, KEPT),
    "serve_default_site": (SET, KEPT),
    "socketio_port": (SET, KEPT),
    "supervisor_restart_cmd": (SET, KEPT),
    "webserver_port": (SET, KEPT),
    "redis_cache": (OWN, REFUSED),
    "redis_queue": (OWN, REFUSED),
    "redis_socketio": (OWN, REFUSED),
    "background_workers": (OWN, KEPT),
    "chromium_path": (OWN, PRIMARY),
    "gunicorn_workers": (OWN, KEPT),
    "workers": (SHARED, KEPT),
    "db_host": (OWN, LOCAL),
    "db_port": (SET, LOCAL),
    "db_socket": (OUT, PRIMARY),
    "db_ssl_ca": (OUT, REFUSED),
    "db_ssl_cert": (OUT, REFUSED),
    "db_ssl_check_hostname": (OUT, REFUSED),
    "db_ssl_key": (OUT, REFUSED),
    "rq_password": (OUT, REFUSED),
    "rq_username": (OUT, REFUSED),
    "use_rq_auth": (OUT, REFUSED),
    "socketio_uds": (OUT, KEPT),
    "maintenance_mode": (PRIMARY, KEPT),
    "pause_scheduler": (NODE, PRIMARY),
    "different_credentials_for_replica": (PRIMARY, NODE),
    "replica_db_name": (PRIMARY, NODE),
    "replica_db_password": (PRIMARY, NODE),
    "replica_db_port": (PRIMARY, NODE),
    "replica_db_user": (PRIMARY, NODE),
    "replica_host": (PRIMARY, NODE),
    "admin_password": (PRIMARY, PRIMARY),
    "backup_path": (PRIMARY, PRIMARY),
    "mariadb_root_login": (PRIMARY, PRIMARY),
    "mariadb_root_password": (PRIMARY, PRIMARY),
    "root_login": (PRIMARY, PRIMARY),
    "root_password": (PRIMARY, PRIMARY),
    "ssl_certificate": (PRIMARY, PRIMARY),
    "ssl_certificate_key": (PRIMARY, PRIMARY),
    "db_name": (REFUSED, KEPT),
    "db_password": (REFUSED, KEPT),
    "db_user": (REFUSED, KEPT),
    "db_type": (REFUSED, REFUSED),
    "read_from_replica": (REFUSED, REFUSED),
    "redis_cache_sentinel_enabled": (REFUSED, REFUSED),
    "redis_queue_sentinel_enabled": (REFUSED, REFUSED),
}
# Where a node needs one of these, a role or site-sync sets it.
ABSENT_ON_NODES = (OUT, NODE, PRIMARY, REFUSED)
# What Frappe uses without the key.
FRAPPE_REDIS = {
    "redis_cache": "redis://127.0.0.1:13311",
    "redis_queue": "redis://127.0.0.1:11311",
}
# The only kind of database that a fleet copies; Frappe's own default, too.
DATABASE = "mariadb"


def keys_that_are(*kinds: str, site: bool = False) -> list[str]:
    """Keys of the common configuration, or of a site's, of which these things become."""
    return sorted(key for key, both in KEYS.items() if both[site] in kinds)


def refused_keys(config: Mapping[str, Any], site: bool = False) -> list[str]:
    """Keys of a configuration that a fleet does not support; those without a value do not count.

    db_type is not among them: see other_database.
    """
    wrong = [key for key in keys_that_are(REFUSED, site=site) if config.get(key)]
    return [key for key in wrong if key != "db_type"]


def kept_paths(config: Mapping[str, Any], site: bool = False) -> dict[str, str]:
    """Keys that reporting nodes have, too, and whose value is a path on the primary: key → path."""
    kept = {key: value for key, value in config.items() if KEYS.get(key, (KEPT,) * 2)[site] == KEPT}
    return {key: value for key, value in kept.items() if str(value).startswith("/")}


def other_database(config: Mapping[str, Any], common: Mapping[str, Any]) -> str:
    """The kind of a site's database where it is not MariaDB, "" where it is."""
    kind = str(config.get("db_type") or common.get("db_type") or DATABASE)
    return "" if kind == DATABASE else kind


def is_local(host: Any) -> bool:
    """Whether a host's name or address means this server; no value does, too."""
    if not isinstance(host, str):
        return True
    name = host.strip("[]").lower()
    return name in ("", "localhost", "ip6-localhost", "::1", "0.0.0.0") or name.startswith("127.")


def for_node(config: Mapping[str, Any]) -> dict[str, Any]:
    """A site's configuration without the keys that only the primary has."""
    absent = set(keys_that_are(*ABSENT_ON_NODES, site=True))
    if is_local(config.get("db_host")):
        absent |= set(keys_that_are(LOCAL, site=True))
    # It decides which kind of database the site uses.
    absent.discard("db_type")
    return {key: value for key, value in config.items() if key not in absent}


def is_secret(key: str, value: Any) -> bool:
    """Whether a value of a configuration is or holds a secret, by the key's name or its URL."""
    if re.search(r"passw|pwd|secret|token|_key$", key, re.IGNORECASE):
        return True
    return isinstance(value, str) and re.search(r"://.*(@|passw)", value) is not None


# --- URLs ---------------------------------------------------------------------------------------

# The account of a URL, with // and @. A password may have an @ in it: like git and curl, take the
# last one before the path. A password with a / in it is an error, but must not be shown either; a /
# after a port begins the path.
ACCOUNT = re.compile(r"//(?:[^/\s]+|[^/\s:@]*:(?!\d+/)\S*)@")


def without_password(text: str) -> str:
    """A text without the accounts of the URLs in it: of repositories, package indexes, Redis."""
    return ACCOUNT.sub("//", text)


def redis_address(url: Any) -> dict[str, Any]:
    """Where a URL leads, as redis-py reads it: {trouble, scheme, host, port, db}.

    The account in it is left out, and ``trouble`` quotes nothing of a URL that cannot be read. A
    socket has neither host nor port.
    """
    found: dict[str, Any] = {"trouble": "", "scheme": "", "host": "", "port": 0, "db": 0}
    scheme = str(url).partition("://")[0]
    if not isinstance(url, str) or scheme not in ("redis", "rediss", "unix"):
        return {**found, "trouble": "does not begin with redis://, rediss:// or unix://"}
    try:
        parts = urlparse(url)
        asked = {name: unquote(values[0]) for name, values in parse_qs(parts.query).items()}
        found["scheme"], found["db"] = scheme, int(asked.get("db", 0))
        if scheme == "unix":
            return found
        found["host"] = unquote(parts.hostname or "") or asked.get("host", "localhost")
        found["port"] = parts.port or int(asked.get("port", 6379))
        if "db" not in asked:
            with suppress(ValueError):
                found["db"] = int(unquote(parts.path).replace("/", ""))
    except ValueError:
        # The error quotes what it cannot read, which may be a part of a password.
        return {**found, "trouble": "is no address that redis-py can read"}
    return found


# --- Frappe's list of apps ----------------------------------------------------------------------


def apps_in(text: str) -> list[str]:
    """The apps that an apps.txt names, as Frappe reads it (get_file_items)."""
    bare = text.replace("\ufeff", "").replace("\u200b", "").strip()
    return [line.strip() for line in bare.splitlines() if line.strip() and not line.startswith("#")]


# --- Redis' configurations ----------------------------------------------------------------------

# Not used by a fleet: it sets the users and passwords, and supervisor runs Redis.
REDIS_GONE = ("aclfile", "user", "daemonize")
# Between words, and around them.
BREAK, SPACE = " \t\n\r", " \t\n\r\v\f"
ESCAPES = {"n": "\n", "r": "\r", "t": "\t", "b": "\b", "a": "\a"}


def redis_words(line: str) -> list[str] | None:
    """The words of a line, with quotes as Redis reads them; None where Redis refuses the line."""
    words: list[str] = []
    at, end = 0, len(line)
    while True:
        while at < end and line[at] in SPACE:
            at += 1
        if at == end:
            return words
        word, quote = "", ""
        while at < end or quote:
            if at == end:
                return None
            here, digits = line[at], line[at + 2 : at + 4]
            if not quote and here in BREAK:
                break
            if not quote and here in "\"'":
                quote = here
            elif here == quote:
                if at + 1 < end and line[at + 1] not in SPACE:
                    return None
                at += 1
                break
            elif quote == '"' and line[at : at + 2] == "\\x" and is_hex(digits):
                word += chr(int(digits, 16))
                at += 3
            elif quote == '"' and here == "\\" and at + 1 < end:
                at += 1
                word += ESCAPES.get(line[at], line[at])
            elif quote == "'" and line[at : at + 2] == "\\'":
                at += 1
                word += "'"
            else:
                word += here
            at += 1
        words.append(word)


def is_hex(digits: str) -> bool:
    """Whether these are the two digits of a byte."""
    return len(digits) == 2 and all(digit in string.hexdigits for digit in digits)


def redis_lines(text: str) -> list[tuple[int, str, list[str]]]:
    """The settings of a configuration in their order: (line number, name, values).

    Raises ValueError, with the line's number only, for one that Redis refuses.
    """
    found = []
    for number, line in enumerate(text.split("\n"), start=1):
        bare = line.strip(" \t\r\n")
        if not bare or bare.startswith("#"):
            continue
        words = redis_words(bare)
        if not words:
            raise ValueError(f"line {number} has quotes that do not match")
        found.append((number, words[0].lower(), words[1:]))
    return found


def redis_settings(text: str) -> dict[str, str]:
    """Settings by name; the last one of a name counts. Raises ValueError as redis_lines does."""
    return {name: " ".join(values) for _number, name, values in redis_lines(text)}


def redis_refused(text: str) -> list[str]:
    """Settings that a fleet does not support, each with its line; [] where there are none."""
    try:
        lines = redis_lines(text)
    except ValueError as error:
        return [str(error)]
    found = []
    for number, name, values in lines:
        why = ""
        if name == "include":
            why = "names a file that the fleet does not read: put its lines here"
        elif name in ("replicaof", "slaveof"):
            why = "makes this Redis a replica of another one: remove the line"
        elif name == "cluster-enabled" and "yes" in [value.lower() for value in values]:
            why = "makes this Redis a part of a cluster: remove the line"
        elif name == "rename-command":
            why = "renames a command that Frappe and the fleet use: remove the line"
        if why:
            found.append(f"line {number}, {name}, {why}")
    if redis_settings(text).get("port", "") in ("", "0"):
        found.append("`port` is not set, and the hosts of a fleet connect to a port: set it")
    return found


def redis_gone(text: str) -> list[str]:
    """Settings that a fleet removes: their names, and of users the users' names."""
    try:
        lines = redis_lines(text)
    except ValueError:
        return []
    return [
        f"user {values[0]}" if name == "user" and values else name
        for _number, name, values in lines
        if name in REDIS_GONE
    ]


def redis_without(text: str, names: Iterable[str]) -> list[str]:
    """The lines of a configuration, without empty ones and settings of these names."""
    gone = {number for number, name, _values in redis_lines(text) if name in set(names)}
    lines = enumerate(text.split("\n"), start=1)
    return [line.rstrip() for number, line in lines if line.strip() and number not in gone]
