"""What can fail in the read path of a lab: each failure begins, and is undone whatever happens."""

from __future__ import annotations

import contextlib
import json
import shlex
import urllib.parse
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from nodes import Node, wait_until

from benchfleet.lab import machines, state

TABLE = "inet benchfleet_failure"
# The folder in which the router looks for marks of drained nodes.
DRAINED = "/var/lib/benchfleet/drained"
Strike = Callable[[], None]


@contextlib.contextmanager
def drained(primary: Node, nodes: Iterable[Node]) -> Iterator[None]:
    """Have the router send no reports to some reporting nodes."""
    files = " ".join(f"{DRAINED}/{node.name}" for node in nodes)
    try:
        if files:
            primary.run(f"mkdir -p {DRAINED} && touch {files}")
        yield
    finally:
        if files:
            primary.run(f"rm -f {files}")


@dataclass
class Field:
    """Where failures are played: a lab, and the reporting node that they hit."""

    lab: state.Lab
    node_name: str
    site: str = state.SITE
    bench: str = "/home/frappe/frappe-bench"
    primary: Node = field(init=False)
    node: Node = field(init=False)

    def __post_init__(self) -> None:
        self.primary = Node(self.lab, self.lab.hosts[0])
        self.node = Node(self.lab, self.lab.host(self.node_name))

    @property
    def others(self) -> list[Node]:
        """The other reporting nodes."""
        return [Node(self.lab, host) for host in self.lab.hosts[1:] if host.name != self.node_name]

    @cached_property
    def config(self) -> dict[str, Any]:
        """The site's configuration on the reporting node."""
        return json.loads(self.node.run(f"cat {self.bench}/sites/{self.site}/site_config.json"))

    @property
    def account(self) -> str:
        """The account by which the reporting bench reads, as SQL."""
        user = self.config.get("replica_db_user") or self.config["replica_db_name"]
        return f"'{user}'@'{self.config['replica_host']}'"

    @property
    def table(self) -> str:
        """The table that calls of every kind read."""
        return f"`{self.config['db_name']}`.`tabToDo`"

    @property
    def group(self) -> str:
        """The prefix of the bench's groups and programs in supervisor."""
        return self.bench.rpartition("/")[2]

    @property
    def web_group(self) -> str:
        """Supervisor's group of the reporting bench's web processes."""
        return f"{self.group}-web:"

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Have the router send no reports to the other reporting nodes."""
        with drained(self.primary, self.others):
            yield

    def web_pids(self) -> str:
        """gunicorn's master and workers on the node."""
        program = f"^{self.bench}/env/bin/python .*/gunicorn"
        return self.node.run(f"pgrep --full --delimiter ' ' {shlex.quote(program)}")

    def at(self, node: str) -> Field:
        """The same lab, with another node as the one that is hit."""
        return Field(self.lab, node, self.site, self.bench)

    @contextlib.contextmanager
    def reads_held(self) -> Iterator[None]:
        """Until the end of the block, everything that reads the table from this replica waits."""
        wait_until("the replica follows", self.replica_follows)
        try:
            self.node.hold(f"LOCK TABLES {self.table} WRITE")
            yield
        finally:
            self.node.release()

    def reading(self) -> int:
        """How many calls wait for their rows on this replica."""
        question = (
            "SELECT COUNT(*) FROM information_schema.processlist"
            " WHERE state LIKE 'Waiting for table metadata lock' AND user != 'system user'"
        )
        return int(self.node.sql(question))

    def wait_for_readers(self, number: int = 1) -> None:
        """Wait until that many calls wait for their rows."""
        wait_until(f"{number} calls read on {self.node.name}", lambda: self.reading() >= number, 30)

    def ask_bench(self, method: str, cookies: dict[str, str], **arguments: Any) -> Any:
        """Call a method on the reporting bench itself, from the primary, past the router."""
        query = urllib.parse.urlencode(arguments)
        url = f"http://{self.node.host.ip}:8000/api/method/{method}?{query}"
        headers = {"Host": self.site, "Cookie": "; ".join(f"{k}={v}" for k, v in cookies.items())}
        script = (
            "import urllib.request as u;"
            f"print(u.urlopen(u.Request({url!r}, headers={headers!r}), timeout=20).read().decode())"
        )
        return json.loads(self.primary.run(f"python3 -c {shlex.quote(script)}"))

    def replica_follows(self) -> bool:
        """Whether the replica runs, follows, and has what the primary has."""
        threads = self.node.says("mariadb -e 'SHOW SLAVE STATUS\\G'")
        if threads.count("_Running: Yes") != 2:
            return False
        wanted = self.primary.sql("SELECT @@gtid_binlog_pos")
        question = shlex.quote(f"SELECT MASTER_GTID_WAIT('{wanted}', 2)")
        return self.node.says(f"mariadb -NBe {question}") == "0"


@contextlib.contextmanager
def nothing(_: Field) -> Iterator[None]:
    """No failure: the normal cost of calls."""
    yield


@contextlib.contextmanager
def replica_stopped(field: Field) -> Iterator[None]:
    """MariaDB is shut down."""
    try:
        field.node.run("systemctl stop mariadb")
        yield
    finally:
        field.node.run("systemctl start mariadb")


@contextlib.contextmanager
def replica_hung(field: Field) -> Iterator[None]:
    """The kernel accepts connections to MariaDB, and then nothing more comes."""
    signal = "systemctl kill --kill-who=main --signal={} mariadb"
    try:
        field.node.run(signal.format("STOP"))
        yield
    finally:
        field.node.run(signal.format("CONT"))


@contextlib.contextmanager
def applying_stopped(field: Field) -> Iterator[None]:
    """The replica answers, but its data get older."""
    try:
        field.node.sql("STOP SLAVE SQL_THREAD")
        yield
    finally:
        field.node.sql("START SLAVE SQL_THREAD")


@contextlib.contextmanager
def replica_lagging(field: Field) -> Iterator[None]:
    """Replication runs but is blocked: saved documents are not applied."""
    try:
        field.node.hold(f"LOCK TABLES {field.table} READ")
        yield
    finally:
        field.node.release()


@contextlib.contextmanager
def database_cut(field: Field) -> Iterator[None]:
    """Packets to the replica's port are dropped without an answer."""
    chain = f"chain {TABLE} input '{{ type filter hook input priority -10; }}'"
    try:
        field.node.run(f"nft add table {TABLE} && nft add {chain}")
        field.node.run(f"nft add rule {TABLE} input tcp dport 3306 drop")
        yield
    finally:
        field.node.run(f"nft add table {TABLE} && nft delete table {TABLE}")


@contextlib.contextmanager
def account_locked(field: Field) -> Iterator[None]:
    """The replica refuses the reading account."""
    change = "SET sql_log_bin = 0; ALTER USER {} ACCOUNT {}"
    try:
        field.node.sql(change.format(field.account, "LOCK"))
        yield
    finally:
        field.node.sql(change.format(field.account, "UNLOCK"))


@contextlib.contextmanager
def connections_exhausted(field: Field) -> Iterator[None]:
    """The replica has no connection left but root's spare one."""
    before = field.node.sql("SELECT @@max_connections")
    try:
        field.node.sql("SET GLOBAL max_connections = 10")
        field.node.hold("SELECT 1", connections=10)
        yield
    finally:
        field.node.release()
        field.node.sql(f"SET GLOBAL max_connections = {before}")


@contextlib.contextmanager
def killed_in_a_query(field: Field) -> Iterator[Strike]:
    """MariaDB is killed while the first call waits for its rows; systemd starts it again."""

    def strike() -> None:
        field.wait_for_readers()
        field.node.run("systemctl kill --kill-who=main --signal=KILL mariadb")

    try:
        with field.reads_held():
            yield strike
    finally:
        field.node.run("systemctl start mariadb")


@contextlib.contextmanager
def bench_stopped(field: Field) -> Iterator[None]:
    """No process listens on the reporting bench's port."""
    try:
        field.node.run(f"supervisorctl stop {field.web_group}")
        yield
    finally:
        field.node.run(f"supervisorctl start {field.web_group}")


@contextlib.contextmanager
def bench_hung(field: Field) -> Iterator[None]:
    """The kernel accepts connections to the reporting bench, and then nothing more comes."""
    try:
        # A bench that has just been started may fork a worker after the list was made; once its
        # master is stopped, it forks none.
        for _ in range(2):
            field.node.run(f"kill -STOP {field.web_pids()}")
        yield
    finally:
        field.node.run(f"kill -CONT {field.web_pids()}")


@contextlib.contextmanager
def node_off(field: Field) -> Iterator[None]:
    """The node's power is cut."""
    try:
        machines.kill(field.lab, field.node.host)
        yield
    finally:
        machines.start(field.lab, field.node.host)


@contextlib.contextmanager
def node_cut(field: Field) -> Iterator[None]:
    """The node's network cable is pulled."""
    try:
        machines.cut(field.lab, field.node.host)
        yield
    finally:
        machines.heal(field.lab, field.node.host)


@contextlib.contextmanager
def redis_restarted(field: Field) -> Iterator[None]:
    """Cache, sessions and queue of the whole fleet stop and come back empty."""
    field.primary.run(f"supervisorctl restart {field.group}-redis:")
    yield


@dataclass(frozen=True)
class Failure:
    """One failure and its name."""

    title: str
    play: Callable[[Field], AbstractContextManager[Strike | None]]
    # Whether the reporting bench still runs: then it answers, from the primary's database.
    bench_lives: bool = True


FAILURES = {
    "replica_stopped": Failure("replica stopped", replica_stopped),
    "replica_hung": Failure("replica hung", replica_hung),
    "applying_stopped": Failure("SQL thread stopped", applying_stopped),
    "replica_lagging": Failure("replica lagging", replica_lagging),
    "database_cut": Failure("replica cut from the network", database_cut),
    "account_locked": Failure("read-only account locked", account_locked),
    "connections_exhausted": Failure("replica out of connections", connections_exhausted),
    "killed_in_a_query": Failure("replica killed in a query", killed_in_a_query),
    "bench_stopped": Failure("reporting bench stopped", bench_stopped, bench_lives=False),
    "bench_hung": Failure("reporting bench hung", bench_hung, bench_lives=False),
    "node_off": Failure("node powered off", node_off, bench_lives=False),
    "node_cut": Failure("node cut from the network", node_cut, bench_lives=False),
    "redis_restarted": Failure("Redis restarted", redis_restarted),
}
