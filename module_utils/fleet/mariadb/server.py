"""The ways to MariaDB: this host's server, another one of the fleet, and MariaDB's own clients."""

from __future__ import annotations

import json
import os
import re
import ssl
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from .. import atomic
from ..foreign import acting_as
from .options import BINARY, LOG_FILTERS, RUNNING, Row, data_folder, server_options

try:
    import pymysql as pymysql
    import pymysql.cursors
except ImportError:
    pymysql = None  # type: ignore[assignment]

SOCKET = "/run/mysqld/mysqld.sock"
# What MariaDB lets a packet have at most. A row travels in one, and in a dump it is one statement,
# in which each quote, backslash and line end takes two bytes: a row that came in by the server's
# max_allowed_packet may need twice of that to come in again.
LARGEST_PACKET = 1024**3

# Errors by which a server, or pymysql for it, refuses a sign-in: wrong account, password or
# database, a host that is not let in, a way to sign in that is not known, an expired password, a
# locked account.
REFUSED = frozenset({1044, 1045, 1049, 1130, 1251, 1275, 1524, 1698, 1820, 1862, 2059, 3159, 4151})
# User id of the account that has no rights.
NOBODY = 65534

# System schemas: everything else is somebody's data.
SYSTEM_SCHEMAS = frozenset({"information_schema", "mysql", "performance_schema", "sys"})


class MariaDBError(Exception):
    """Something is not as it must be; the message says what was seen and what to do."""


class ServerAbsentError(MariaDBError):
    """There is no server on this host yet (package or client library missing)."""


def connect(read_timeout: int, connect_timeout: int = 10, **way: Any) -> Any:
    """A connection with rows as dictionaries; seconds, and pymysql's words for the way there."""
    return pymysql.connect(
        **way,
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        charset="utf8mb4",
        autocommit=True,
        cursorclass=pymysql.cursors.DictCursor,
    )


class Server:
    """A connection: thin, with rows as dictionaries."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def rows(self, sql: str, args: tuple[Any, ...] | None = None) -> list[dict[str, Any]]:
        """Run a statement and return its rows."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, args)
            return list(cursor.fetchall())

    def run(self, sql: str, args: tuple[Any, ...] | None = None) -> None:
        """Run a statement for its effect."""
        with self.connection.cursor() as cursor:
            cursor.execute(sql, args)

    def value(self, sql: str, args: tuple[Any, ...] | None = None) -> Any:
        """First column of the first row, None without rows."""
        found = self.rows(sql, args)
        return next(iter(found[0].values())) if found else None

    @contextmanager
    def signed_in(self, user: str, password: str, database: str) -> Iterator[Server | None]:
        """A connection of a site's own account to its database; None where it is refused.

        From this server's own host. What root reads of a site, it reads so: a table may be a view
        by now, whose functions run with the rights of whoever reads it. Raises MariaDBError where
        the server does not get as far as that.
        """
        place = self.rows("SELECT @@port AS port, @@socket AS socket")[0]
        ways = ({"host": "127.0.0.1", "port": int(place["port"])}, {"unix_socket": place["socket"]})
        about: dict[str, Any] = {"user": user, "password": password, "database": database}
        connection = None
        for way in ways:
            try:
                # Nobody: at its socket, the server would take root's word instead of a password.
                with acting_as(NOBODY):
                    connection = connect(60, **way, **about)
                break
            except (RuntimeError, UnicodeError):
                # pymysql lacks a library for some ways to sign in, and takes not every password.
                continue
            except pymysql.MySQLError as error:
                if error.args[0] in REFUSED:
                    continue
                raise MariaDBError(
                    f"MariaDB on this host does not say whether it lets {user} in:"
                    f" {describe(error)}; see `systemctl status mariadb`"
                ) from error
        if connection is None:
            yield None
            return
        with closing(connection):
            yield Server(connection)

    def lets_in(self, user: str, password: str, database: str) -> tuple[str, str] | None:
        """The account, (user, host), that signs in with a password; see signed_in."""
        with self.signed_in(user, password, database) as theirs:
            if theirs is None:
                return None
            name, _, host = str(theirs.value("SELECT CURRENT_USER()")).rpartition("@")
            return name, host

    def reload_certificates(self) -> None:
        """Have the server show what its files hold now, and trust it; sessions go on.

        LOCAL: else a replica would note it in its own binary log, as a write that the primary has
        not, and stop replicating.
        """
        self.run("FLUSH LOCAL SSL")

    def runs_events(self) -> bool:
        """Whether the event scheduler is on."""
        return str(self.value("SELECT @@GLOBAL.event_scheduler")).upper() in ("ON", "1")

    def replica_status(self) -> dict[str, Any] | None:
        """The row of SHOW SLAVE STATUS, None when the server follows nobody."""
        found = self.rows("SHOW SLAVE STATUS")
        return found[0] if found else None


def server_folders() -> list[tuple[str, str]]:
    """Folders that a server on this host writes to by its option files, and what they hold.

    It is not asked: one whose disk is full does not answer. [] where there is none.
    """
    if not os.path.exists(BINARY):
        return []
    told = server_options()
    temporary = told.get("tmpdir", "/tmp").split(":")[0]
    return [(data_folder(told), "the databases"), (temporary, "temporary files")]


def client(program: str, *words: str) -> list[str]:
    """Command of one of MariaDB's own clients, as root through the server's socket.

    No option file of the host's counts. By themselves they take rows of up to 16 or 24 MB only.
    """
    limit = f"--max-allowed-packet={LARGEST_PACKET}"
    return [program, "--no-defaults", f"--socket={SOCKET}", limit, *words]


def installed() -> bool:
    """Whether this host has both a MariaDB server and the client library."""
    return pymysql is not None and os.path.exists(BINARY)


@contextmanager
def local(socket: str = SOCKET) -> Iterator[Server]:
    """The server of this host, as root through its socket.

    Raises ServerAbsentError where nothing is installed, MariaDBError where it does not answer.
    """
    if not os.path.exists(BINARY):
        raise ServerAbsentError("no MariaDB server on this host yet")
    if pymysql is None:
        raise ServerAbsentError("MariaDB here cannot be asked before PyMySQL is installed")
    try:
        connection = connect(600, unix_socket=socket, user="root")
    except pymysql.MySQLError as error:
        raise MariaDBError(
            f"MariaDB on this host does not let root in through {socket}: {describe(error)};"
            " look at `systemctl status mariadb`, root@localhost must sign in by unix_socket"
        ) from error
    with closing(connection):
        yield Server(connection)


def running_variables(server: Server) -> dict[str, Row]:
    """Every variable: value, where it came from, whether it can be changed in place."""
    status = [list(row.values()) for row in server.rows("SHOW MASTER STATUS")]
    return with_filters(server.rows(RUNNING), status)


def with_filters(rows: Iterable[Row], status: Iterable[list[Any]]) -> dict[str, Row]:
    """Variables by name; the filters of the binary log, which may be none, are in its status."""
    found = {row["name"]: row for row in rows}
    for line in status:
        for name, value in zip(LOG_FILTERS, line[2:4], strict=False):
            found.setdefault(name, {"name": name, "value": value, "origin": "CONFIG"})
    return found


def root_takes_password(server: Server) -> bool:
    """Whether root can sign in over TCP on the server's own host by a password, an empty one too.

    As `bench new-site` does. Root of a package's MariaDB signs in by unix_socket alone.
    """
    hosts = ["127.0.0.1", "%"]
    if not int(server.value("SELECT @@skip_name_resolve")):
        hosts.append("localhost")
    found = server.rows("SELECT Host, Priv FROM mysql.global_priv WHERE User = 'root'")
    privileges = [json.loads(row["Priv"]) for row in found if row["Host"] in hosts]
    return any(
        takes_password(way)
        for own in privileges
        if not own.get("account_locked")
        for way in [own, *own.get("auth_or", [])]
    )


def takes_password(way: dict[str, Any]) -> bool:
    """Whether a way to sign in, as mysql.global_priv has it, asks for a password that there is."""
    plugin, secret = way.get("plugin", ""), way.get("authentication_string", "")
    if plugin == "mysql_native_password":
        return bool(re.fullmatch(r"(\*[0-9A-F]{40})?", secret))
    return plugin not in ("", "unix_socket")


@contextmanager
def remote(host: str, port: int, user: str, password: str, ca: str) -> Iterator[Server]:
    """Another server of the fleet over TLS, its certificate checked against the fleet's CA."""
    tls = {"ca": ca, "check_hostname": True}
    account = {"user": user, "password": password}
    with closing(connect(10, 5, host=host, port=port, ssl=tls, **account)) as connection:
        yield Server(connection)


def shown_certificate(socket: str = SOCKET) -> bytes | None:
    """The certificate (DER) that the server of this host shows, None where it does no TLS.

    It is looked at, not trusted: the connection stays on this host.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        connection = connect(10, unix_socket=socket, user="root", ssl=context)
    except pymysql.MySQLError:
        return None
    with closing(connection):
        peer = getattr(connection._sock, "getpeercert", None)
        found: bytes | None = peer(binary_form=True) if peer else None
        return found


def shows_another_certificate(path: str, socket: str = SOCKET) -> bool:
    """Whether the server of this host shows another certificate than that of a file."""
    with open(path, encoding="ascii") as source:
        on_disk = ssl.PEM_cert_to_DER_cert(source.read().strip() + "\n")
    shown = shown_certificate(socket)
    return shown is not None and shown != on_disk


def show_certificate(path: str, check_mode: bool) -> dict[str, bool]:
    """Result of the module mariadb_certificate. Raises MariaDBError."""
    refused = f"MariaDB did not take the certificate of {path}"
    try:
        with local() as server:
            changed = shows_another_certificate(path)
            if changed and not check_mode:
                server.reload_certificates()
                if shows_another_certificate(path):
                    raise MariaDBError(f"{refused}: `journalctl -u mariadb` says why")
    except pymysql.MySQLError as error:
        raise MariaDBError(
            f"{refused} ({describe(error)}): run site.yml, which writes it and its key"
        ) from error
    return {"changed": changed}


def describe(error: Exception) -> str:
    """A driver's error as one line."""
    if error.args and len(error.args) > 1:
        return f"{error.args[1]} ({error.args[0]})"
    return str(error)


def parse_gtids(text: str | None) -> dict[tuple[int, int], int]:
    """``domain-server-sequence`` list -> {(domain, server): highest sequence}."""
    found: dict[tuple[int, int], int] = {}
    for part in (text or "").replace("\n", "").split(","):
        if not part.strip():
            continue
        domain, server, sequence = (int(number) for number in part.strip().split("-"))
        found[(domain, server)] = max(sequence, found.get((domain, server), 0))
    return found


def errant(replica_state: str | None, primary_state: str | None) -> list[str]:
    """Transactions in a replica's binlog that its primary never had, as GTIDs.

    Both arguments are ``@@gtid_binlog_state``, the replica's read *before* the primary's, so
    that a replica is never blamed for being in front.
    """
    known = parse_gtids(primary_state)
    return [
        f"{domain}-{server}-{sequence}"
        for (domain, server), sequence in sorted(parse_gtids(replica_state).items())
        if sequence > known.get((domain, server), 0)
    ]


def has_database(server: Server, name: str) -> bool:
    """Whether the server holds a database."""
    return bool(
        server.value(
            "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s LIMIT 1", (name,)
        )
    )


# Accounts, user@host, that somebody's views, triggers, routines and events run as: when one is
# dropped, each write to a table with such a trigger fails (1449); when it is locked, none does.
DEFINERS = " UNION ".join(
    f"SELECT DEFINER AS who FROM information_schema.{kind}S WHERE {schema}_SCHEMA <> 'benchfleet'"
    for kind, schema in (
        ("VIEW", "TABLE"),
        ("TRIGGER", "TRIGGER"),
        ("ROUTINE", "ROUTINE"),
        ("EVENT", "EVENT"),
    )
)
# Tables that a restart empties, quoted, but the server's own. Asking for the engine alone opens no
# table: the first opening after a restart is what writes to the binary log.
MEMORY_TABLES = (
    "SELECT CONCAT('`', REPLACE(TABLE_SCHEMA, '`', '``'), '`.`', REPLACE(TABLE_NAME, '`', '``'),"
    " '`') AS name FROM information_schema.TABLES WHERE ENGINE = 'MEMORY'"
    " AND TABLE_SCHEMA NOT IN ('information_schema', 'mysql', 'performance_schema', 'sys')"
    " ORDER BY name"
)


def memory_tables(server: Server) -> list[str]:
    """Names of the tables of ENGINE=MEMORY, quoted, in order."""
    return [str(row["name"]) for row in server.rows(MEMORY_TABLES)]


def read_json(path: str) -> dict[str, Any]:
    """A JSON object from a file, {} when there is no such file.

    Raises MariaDBError when the file is not a JSON object.
    """
    try:
        with open(path, encoding="utf-8") as source:
            found = json.load(source)
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise MariaDBError(f"{path} is not JSON ({error}); move it away to start over") from error
    if not isinstance(found, dict):
        raise MariaDBError(f"{path} holds no JSON object; move it away to start over")
    return found


def write_json(path: str, data: dict[str, Any]) -> None:
    """Replace a JSON file so that a power cut leaves the old or the new one."""
    atomic.write(path, json.dumps(data, indent=2))
