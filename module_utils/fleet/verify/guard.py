"""Check of the read path's guard on a reporting node."""

from __future__ import annotations

from typing import Any

from .host import Host, local
from .probes import guard


class GuardChecks(Host):
    """Check of the guard in the environment of the bench's workers."""

    def check_guard(self) -> None:
        """Write on the primary and read here at once; write under read_only."""
        guarded = any("benchfleet_guard.wsgi" in w for p in self.processes for w in p.words)
        if self.params["web_workers"] and not guarded:
            raise AssertionError("the web workers run without the guard (fleet_read_guard)")
        with local() as server:
            here = int(server.value("SELECT @@GLOBAL.server_id"))
        own, written = [], []
        own_good = written_good = True
        for site in self.all_sites:
            seen = self.try_guard(site)
            server_id, found = seen["own"]
            # Where the guard does not fit (the check contract), all is read on the primary.
            reads_here = self.takes_calls
            own_good = own_good and found and (int(server_id) == here) == reads_here
            place = "here" if int(server_id) == here else f"at server {server_id}"
            own.append(f"{site}: {'found' if found else 'MISSING'}, read {place}")
            at_primary, server_id, at_replica = seen["written"]
            replica = at_replica and (int(server_id) == here) == reads_here
            written_good = written_good and at_primary and replica
            places = {"primary": at_primary, "replica": replica and reads_here}
            there = [name for name, good in places.items() if good]
            written.append(f"{site}: on {' and '.join(there) or 'neither server'}")
        self.gathering.add("own_writes", own_good, "; ".join(own))
        self.gathering.add("written", written_good, "; ".join(written))

    def try_guard(self, site: str) -> dict[str, Any]:
        """What the probe saw: {own, written}."""
        return dict(
            self.run_probe(
                guard,
                site,
                f"fleet-verify-{self.params['token']}",
                PYTHONPATH=self.params["guard"]["package_dir"],
                BENCHFLEET_READ_GUARD=self.params["guard"]["settings"],
            )
        )
