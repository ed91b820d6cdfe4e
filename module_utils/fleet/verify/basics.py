"""The basics, on which the other checks build: room on disks, and servers that answer."""

from __future__ import annotations

import os
from typing import Any

from ..http import Visitor
from ..kept import file_systems
from ..mariadb.server import server_folders
from ..redis.client import RedisError
from ..redis.users import INSTANCES, conf_of, redis_admin
from ..supervisor.programs import LOGS
from .fleet import refuses
from .host import Host, local
from .results import BASIC_SECONDS

# Share of its blocks or files from which a file system has no room.
NO_ROOM = 0.95
ANSWER_SECONDS = 5
REACH_SECONDS = 3.0
GIB = 1024**3

CONNECTED = (
    "SELECT USER AS user, COUNT(*) AS number FROM information_schema.PROCESSLIST"
    " WHERE ID <> CONNECTION_ID() AND USER NOT IN ('system user', 'event_scheduler')"
    " GROUP BY USER ORDER BY number DESC, user"
)


class BasicChecks(Host):
    """Checks that are made first; each has a short time limit of its own."""

    def basics(self, *names: str) -> None:
        """Make these of the basics."""
        self.make(*names, seconds=BASIC_SECONDS)

    def places(self) -> list[tuple[str, str]]:
        """Folders that the fleet writes to, and what they hold."""
        found = [*server_folders(), (self.bench, "the bench"), (f"{self.bench}/logs", "logs")]
        for site in self.all_sites:
            for folder in ("public/files", "private/files"):
                found.append((f"{self.bench}/sites/{site}/{folder}", "files of the sites"))
        if self.queue_conf:
            found.append((os.path.dirname(self.queue_conf), "settings of Redis"))
        return [*found, (f"{self.bench}/config", "data of Redis"), (LOGS, "logs"), ("/tmp", "/tmp")]

    def check_disk_room(self) -> None:
        """Read how full the file systems are; no server is asked."""
        found = file_systems(self.places())
        full = [
            f"the file system of {one['path']} ({', '.join(one['holds'])}) is {one['used']:.0%}"
            f" full, {one['free'] / GIB:.1f} GiB free"
            for one in found
            if one["used"] >= NO_ROOM
        ]
        fullest = max((one["used"] for one in found), default=0.0)
        facts = {"full": [one["path"] for one in found if one["used"] >= NO_ROOM]}
        saw = "; ".join(full) or f"{len(found)} file systems, the fullest {fullest:.0%}"
        self.gathering.add("disk_room", not full, saw, facts=facts)

    def check_database_answers(self) -> None:
        """Sign in as root; a server whose disk is full does not answer the second question."""
        with local(seconds=ANSWER_SECONDS) as server:
            version = str(server.value("SELECT VERSION()"))
            server.replica_status()
        self.gathering.add("database_answers", True, version)

    def check_connections(self) -> None:
        """Compare the connections with max_connections, without our own, which is root's spare."""
        with local(seconds=ANSWER_SECONDS) as server:
            most = int(server.value("SELECT @@GLOBAL.max_connections"))
            accounts = {str(row["user"]): int(row["number"]) for row in server.rows(CONNECTED)}
        used = sum(accounts.values())
        shares = ", ".join(f"{user} {number}" for user, number in list(accounts.items())[:5])
        saw = f"{used} of {most} connections used" + f" (by {shares})" * bool(shares)
        facts = {"used": used, "most": most, "accounts": accounts}
        self.gathering.add("connections", used < most, saw, facts=facts)

    def check_redis_answers(self) -> None:
        """Ask both Redis instances of this host for PING."""
        if self.without_redis("redis_answers"):
            return
        folder = os.path.dirname(self.queue_conf)
        answers = {}
        for instance in INSTANCES:
            try:
                with redis_admin(conf_of(folder, instance)) as redis:
                    answers[instance] = str(redis.ask("PING"))
            except (OSError, RedisError) as error:
                answers[instance] = str(error)
        saw = "; ".join(f"{instance}: {answer}" for instance, answer in answers.items())
        self.gathering.add("redis_answers", set(answers.values()) == {"PONG"}, saw, facts=answers)

    def check_bench_answers(self) -> None:
        """Call ping at the web workers of this host."""
        if not self.params["web_workers"]:
            self.gathering.skip("bench_answers", "not applicable: this host has no web workers")
            return
        # On the primary, only the router calls the web workers.
        primary = self.params["lan_ip"] == self.params["primary_ip"]
        address = "127.0.0.1" if primary else self.params["lan_ip"]
        bench = Visitor(address, self.ports["web"], self.site, timeout=float(ANSWER_SECONDS))
        answer = bench.call("GET", "/api/method/frappe.ping")
        self.gathering.add("bench_answers", answer.status == 200, answer.said())

    def tried(self, name: str, address: str, ports: dict[str, int]) -> None:
        """Add a check: whether this host can connect to each of these ports."""
        faults = {what: refuses(address, port, REACH_SECONDS) for what, port in ports.items()}
        wrong = [f"{what} (port {ports[what]}): {why}" for what, why in faults.items() if why]
        saw = "; ".join(wrong) or f"connected to {', '.join(ports)}"
        facts: dict[str, Any] = {"closed": [what for what, why in faults.items() if why]}
        self.gathering.add(name, not wrong, saw, facts=facts)

    def check_router_answers(self) -> None:
        """Connect to the router."""
        router = self.params["router"]
        self.tried("router_answers", router["address"], {"http": int(router["http"])})

    def check_primary_reached(self) -> None:
        """Connect to the primary's servers."""
        ports = {name: self.ports[name] for name in ("mariadb", "redis_cache", "redis_queue")}
        ports["router"] = int(self.params["router"]["http"])
        self.tried("primary_reached", self.params["primary_ip"], ports)
