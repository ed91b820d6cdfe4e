"""The checks that every host of the fleet has, in their order."""

from __future__ import annotations

from .bench import BenchChecks
from .redis import RedisChecks
from .system import SystemChecks


class EveryHost(BenchChecks, SystemChecks, RedisChecks):
    """What a primary and a reporting node have in common."""

    def look(self) -> None:
        """Make the checks that every host has."""
        attempt = self.gathering.attempt
        attempt("environment", self.check_environment)
        attempt("redis_password", self.check_redis_password)
        attempt("workers", self.check_workers)
        attempt("comes_back", self.check_comes_back)
        attempt("units", self.check_units)
        attempt("settings", self.check_settings)
        attempt("own_certificates", self.check_own_certificates)
        attempt("pdf", self.check_pdf)
        attempt("contract", self.check_contract)
        attempt((), self.note_apps)
        self.seen["answers"] = self.answers()
        attempt((), self.note_bench)
