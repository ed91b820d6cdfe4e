"""A reporting node: the order of its checks."""

from __future__ import annotations

from typing import Any

from ..mariadb.server import pymysql
from ..systems import PYMYSQL
from .files import FileChecks
from .guard import GuardChecks
from .replica import ReplicaChecks
from .results import CHECK_SECONDS, message_of
from .router import CallChecks
from .scheduler import NoScheduler
from .system import EveryHost


class Reporting(ReplicaChecks, CallChecks, GuardChecks, FileChecks, NoScheduler, EveryHost):
    """A reporting node's checks."""

    def measure(self) -> None:
        """Make all checks but file_goes."""
        attempt = self.gathering.attempt
        self.basics("disk_room", "database_answers", "connections", "primary_reached")
        self.basics("redis_answers", "bench_answers")
        attempt(("threads", "heartbeat", "read_only"), self.check_replication)
        self.make("row", "errant", "memory_tables", "tls", "sites_tls")
        attempt(("refused_replica", "refused_primary"), self.check_refusals)
        self.make("keys")
        attempt(("report", "signed_in"), self.check_calls)
        self.make("session_row", "standby_router")
        attempt(("own_writes", "written"), self.check_guard)
        self.make("no_scheduler", "redis_addresses", "redis_rights", "queue_copy")
        attempt(("file_kept", "file_fetched"), self.check_files)
        self.look()
        self.make("file_arrives", seconds=self.params["file_seconds"] + CHECK_SECONDS)
        self.make("fresh")


def results(params: dict[str, Any]) -> dict[str, Any]:
    """What a phase of the checks returns: {checks, seen}."""
    if pymysql is None:
        return {
            "checks": [],
            "seen": {"trouble": f"{PYMYSQL} is not installed on this host: run site.yml"},
        }
    reporting = Reporting(params)
    if params["phase"] == "gone":
        reporting.make("file_goes", seconds=params["copy_seconds"] + CHECK_SECONDS)
    else:
        try:
            reporting.measure()
        except Exception as error:
            reporting.seen["trouble"] = message_of(error)
    return {"checks": reporting.gathering.results, "seen": reporting.seen}
