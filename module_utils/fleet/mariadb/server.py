"""The ways to MariaDB: this host's server, another one of the fleet, and MariaDB's own clients."""

from __future__ import annotations

import json
import os
import re
import ssl
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
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
# The largest packet that MariaDB allows. A row is sent in one, and in a dump it is one statement,
# in which each quote, backslash and line end takes two bytes: a row as large as the server's
# max_allowed_packet may need twice that size to be restored.
LARGEST_PACKET = 1024**3

# Errors with which a server, or pymysql, refuses a sign-in: wrong account, password or database, a
# host that is not allowed, an unknown way to sign in, an expired password, a locked account.
REFUSED = frozenset({1044, 1045, 1049, 1130, 1251, 1275, 1524, 1698, 1820, 1862, 2059, 3159, 4151})
# All connections are in use; how long root waits for the one that is kept for it. Our programs hold
# it for less.
TOO_MANY = 1040
SPARE_SECONDS = 4.0
# User id of the account that has no rights.
NOBODY = 65534

# All other schemas hold data of sites or of other applications.
SYSTEM_SCHEMAS = frozenset({"information_schema", "mysql", "performance_schema", "sys"})


class MariaDBError(Exception):
    """MariaDB is not as it should be; the message says what was seen and what to do."""


class ServerAbsentError(MariaDBError):
    """There is no server on this host yet: its package or the client library is missing."""


def connect(read_timeout: int, connect_timeout: int = 10, **way: Any) -> Any:
    """A connection with rows as dictionaries. Time-outs in seconds; way: arguments of pymysql."""
    return pymysql.connect(
        **way,
        connect_timeout=connect_timeout,
        read_timeout=read_timeout,
        charset="utf8mb4",
        autocommit=True,
        cursorclass=pymysql.cursors.DictCursor,
    )


class Server:
    """A connection to a server, with rows as dictionaries."""

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

        From this server's own host. Root reads a site's data only in this way: a table may have
        become a view, whose functions run with the reader's rights. Raises MariaDBError where the
        server neither accepts nor refuses the account.
        """
        place = self.rows("SELECT @@port AS port, @@socket AS socket")[0]
        ways = ({"host": "127.0.0.1", "port": int(place["port"])}, {"unix_socket": place["socket"]})
        about: dict[str, Any] = {"user": user, "password": password, "database": database}
        connection = None
        for way in ways:
            try:
                # Without root's rights: at its socket, the server lets root in without a password.
                with acting_as(NOBODY):
                    connection = connect(60, **way, **about)
                break
            except (RuntimeError, UnicodeError):
                # pymysql has no library for some ways to sign in, and not for every password.
                continue
            except pymysql.MySQLError as error:
                if error.args[0] in REFUSED:
                    continue
                raise MariaDBError(
                    f"MariaDB on this host neither accepts nor refuses {user}:"
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
        """Have the server read its certificate files again; sessions go on.

        LOCAL: otherwise a replica would write the statement to its own binary log, as a transaction
        that the primary does not have, and stop replicating.
        """
        self.run("FLUSH LOCAL SSL")

    def runs_events(self) -> bool:
        """Whether the event scheduler is on."""
        return str(self.value("SELECT @@GLOBAL.event_scheduler")).upper() in ("ON", "1")

    def replica_status(self) -> dict[str, Any] | None:
        """The row of SHOW SLAVE STATUS, None when the server is no replica."""
        found = self.rows("SHOW SLAVE STATUS")
        return found[0] if found else None


def server_folders(options: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
    """Folders to which this host's server writes, from its option files, and what they hold.

    The server itself is not asked: it does not answer while its disk is full. [] without a server.
    options: the result of server_options().
    """
    if not os.path.exists(BINARY):
        return []
    options = options or server_options()
    temporary = options.get("tmpdir", "/tmp").split(":")[0]
    return [(data_folder(options), "the databases"), (temporary, "temporary files")]


def client(program: str, *arguments: str) -> list[str]:
    """The command of one of MariaDB's own clients, as root through the server's socket.

    Option files of the host are not read. By default, clients take rows of at most 16 or 24 MB.
    """
    limit = f"--max-allowed-packet={LARGEST_PACKET}"
    return [program, "--no-defaults", f"--socket={SOCKET}", limit, *arguments]


def installed() -> bool:
    """Whether this host has both a MariaDB server and the client library."""
    return pymysql is not None and os.path.exists(BINARY)


@contextmanager
def local(socket: str = SOCKET, *, seconds: int = 600) -> Iterator[Server]:
    """The server of this host, as root through its socket.

    seconds: how long an answer may take. Where all connections are in use, root still has one, and
    the next program of ours waits until it is free. Raises ServerAbsentError where nothing is
    installed, MariaDBError where it does not answer.
    """
    if not os.path.exists(BINARY):
        raise ServerAbsentError("no MariaDB server on this host yet")
    if pymysql is None:
        raise ServerAbsentError("PyMySQL, with which MariaDB is asked, is not installed yet")
    try:
        connection = _root_connection(socket, seconds)
    except pymysql.MySQLError as error:
        raise MariaDBError(
            f"MariaDB on this host does not let root in through {socket}: {describe(error)}; see"
            " `systemctl status mariadb`; root@localhost has to sign in by unix_socket"
        ) from error
    with closing(connection):
        yield Server(connection)


def _root_connection(socket: str, seconds: int) -> Any:
    """A connection of root's. MariaDB keeps one beyond max_connections for accounts with
    CONNECTION ADMIN, so a refusal for want of connections (1040) passes. Raises pymysql.MySQLError.
    """
    deadline = time.monotonic() + SPARE_SECONDS
    while True:
        try:
            return connect(seconds, min(10, seconds), unix_socket=socket, user="root")
        except pymysql.MySQLError as error:
            if error.args[0] != TOO_MANY or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def running_variables(server: Server) -> dict[str, Row]:
    """All variables by name: value, origin, and whether it needs a restart to change."""
    status = [list(row.values()) for row in server.rows("SHOW MASTER STATUS")]
    return with_filters(server.rows(RUNNING), status)


def with_filters(rows: Iterable[Row], status: Iterable[list[Any]]) -> dict[str, Row]:
    """Variables by name; filters of the binary log, if no variables, are taken from its status."""
    found = {row["name"]: row for row in rows}
    for line in status:
        for name, value in zip(LOG_FILTERS, line[2:4], strict=False):
            found.setdefault(name, {"name": name, "value": value, "origin": "CONFIG"})
    return found


def root_takes_password(server: Server) -> bool:
    """Whether root can sign in over TCP from the server's own host with a (maybe empty) password.

    `bench new-site` signs in so. In a MariaDB from a package, root signs in by unix_socket only.
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
    """Whether a way to sign in, as in mysql.global_priv, is by a password that exists."""
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


def stored_password(datadir: str) -> str | None:
    """The password with which the replica connects, None when it cannot be read.

    No statement shows it; the sixth line of master.info has it.
    """
    try:
        return Path(datadir, "master.info").read_text(encoding="utf-8").splitlines()[5]
    except (OSError, IndexError):
        return None


def shown_certificate(socket: str = SOCKET) -> bytes | None:
    """The certificate (DER) of this host's running server, None where it does no TLS.

    It is not verified, because the connection stays on this host.
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
    """Whether this host's running server has another certificate than a file."""
    with open(path, encoding="ascii") as source:
        on_disk = ssl.PEM_cert_to_DER_cert(source.read().strip() + "\n")
    shown = shown_certificate(socket)
    return shown is not None and shown != on_disk


def show_certificate(path: str, check_mode: bool) -> dict[str, bool]:
    """Result of the module mariadb_certificate. Raises MariaDBError."""
    refused = f"MariaDB did not load the certificate of {path}"
    try:
        with local() as server:
            changed = shows_another_certificate(path)
            if changed and not check_mode:
                server.reload_certificates()
                if shows_another_certificate(path):
                    raise MariaDBError(f"{refused}: see `journalctl -u mariadb`")
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


def refusal(error: Exception) -> str:
    """The message where the server answers a statement with an error."""
    return f"MariaDB refused a statement: {describe(error)}"


def parse_gtids(text: str | None) -> dict[tuple[int, int], int]:
    """``domain-server-sequence`` list -> {(domain, server): highest sequence}."""
    found: dict[tuple[int, int], int] = {}
    for part in (text or "").replace("\n", "").split(","):
        if not part.strip():
            continue
        domain, server, sequence = (int(number) for number in part.strip().split("-"))
        found[(domain, server)] = max(sequence, found.get((domain, server), 0))
    return found


# How a server is asked for its last transactions, one a domain, and for all that it has ever had.
# A server that began as a copy does not list the servers of the time before in gtid_binlog_state.
LAST = "SELECT @@GLOBAL.gtid_binlog_pos"
EVER = "SELECT CONCAT_WS(',', @@GLOBAL.gtid_binlog_state, @@GLOBAL.gtid_slave_pos)"


def errant(last: str | None, ever: str | None) -> list[str]:
    """Transactions of one server that another one never had, as GTIDs.

    last: the answer to LAST of the one; ever: to EVER of the other. Where the one is a replica, it
    is asked *before* its primary, so that the primary has all that the replica got from it. Asking
    about the last ones is enough: in strict mode a replica applies nothing after a write of its
    own; and after a change of primary, it may know servers that the new primary does not list.
    """
    known = parse_gtids(ever)
    return [
        f"{domain}-{server}-{sequence}"
        for (domain, server), sequence in sorted(parse_gtids(last).items())
        if sequence > known.get((domain, server), 0)
    ]


def all_of(gtids: list[str], server_id: Any) -> bool:
    """Whether GTIDs, at least one, are all of one server: what it wrote itself."""
    return bool(gtids) and {gtid.split("-")[1] for gtid in gtids} == {str(server_id)}


def has_database(server: Server, name: str) -> bool:
    """Whether the server holds a database."""
    return bool(
        server.value(
            "SELECT 1 FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = %s LIMIT 1", (name,)
        )
    )


# Accounts, user@host, as which views, triggers, routines and events run: when one is dropped, each
# write to a table with such a trigger fails (1449); when it is locked, none does.
DEFINERS = " UNION ".join(
    f"SELECT DEFINER AS who FROM information_schema.{kind}S WHERE {schema}_SCHEMA <> 'benchfleet'"
    for kind, schema in (
        ("VIEW", "TABLE"),
        ("TRIGGER", "TRIGGER"),
        ("ROUTINE", "ROUTINE"),
        ("EVENT", "EVENT"),
    )
)
# Tables that a restart empties, quoted, without the server's own. Asking only for the engine opens
# no table: the first opening after a restart writes to the binary log.
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
        raise MariaDBError(
            f"{path} is not valid JSON ({error}); move it away and run again"
        ) from error
    if not isinstance(found, dict):
        raise MariaDBError(f"{path} is not a JSON object; move it away and run again")
    return found


def write_json(path: str, data: dict[str, Any]) -> None:
    """Replace a JSON file so that a power cut leaves the old or the new one."""
    atomic.write(path, json.dumps(data, indent=2))
