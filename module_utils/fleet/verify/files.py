"""Checks of the sites' files, which are copied between the hosts."""

from __future__ import annotations

import subprocess
import time

from ..bench.account import read_json
from ..foreign import read_bytes, unlink
from .host import Host
from .probes import site_file

# How long a copy may take, besides the interval between two copies.
SPARE_SECONDS = 10.0
# How long the standby's copy of a file may take: it is made when the file changes.
STANDBY_SECONDS = 5.0
# How long a copy may go on after its first file.
COPY_SECONDS = 30.0


class FileChecks(Host):
    """Checks of files on a reporting node."""

    def check_files(self) -> None:
        """Make a file as a job would, ask the router for it, and ask again after its removal.

        In between the file is removed on this host only; a job then opens and removes it.
        """
        site = self.sites[0]
        name = f"fleet-verify-{self.params['token']}-{self.params['host']}.txt"

        with self.visitor(site) as visitor:
            try:
                self.run_probe(site_file, site, name, "make")
                made = visitor.call("GET", f"/files/{name}")
                unlink(str(self.file().with_name(name)))
            finally:
                read = self.gathering.attempt(
                    "file_fetched", lambda: self.run_probe(site_file, site, name, "take")
                )
            gone = visitor.call("GET", f"/files/{name}")
        there = made.status == 200 and made.text == name
        saw = f"{made.said()} at once, HTTP {gone.status} after its removal"
        facts = {"made": made.status, "removed": gone.status}
        self.gathering.add("file_kept", there and gone.status == 404, saw, facts=facts)
        if read is not None:
            self.gathering.add(
                "file_fetched", read == name, "whole" if read == name else "incomplete"
            )

    def check_file_arrives(self) -> None:
        """Wait for the file, and measure how long the copy took."""
        put_at = self.params["put_at"]
        if put_at is None:
            raise AssertionError(
                "the file could not be put on the primary (see the checks of the primary)"
            )
        deadline = time.monotonic() + self.params["file_seconds"]
        while not self.file().exists():
            if time.monotonic() > deadline:
                waited = time.time() - put_at
                saw = f"not there after {waited:.0f} s"
                self.gathering.add("file_arrives", False, saw, facts={"seconds": None})
                return
            time.sleep(0.25)
        # ctime is when it was renamed into place; mtime is copied from the primary.
        took = max(self.file().stat().st_ctime - put_at, 0.0)
        whole = read_bytes(str(self.file())).decode().strip() == self.params["token"]
        saw = f"there after {took:.1f} s" + ", but incomplete" * (not whole)
        bound = self.params["copy_seconds"] + SPARE_SECONDS
        if self.params["routes"]:
            bound = STANDBY_SECONDS
            saw += f"; {STANDBY_SECONDS:g} s at most, as this is the standby"
        facts = {"seconds": round(took, 1), "whole": whole}
        self.gathering.add("file_arrives", whole and took <= bound, saw, facts=facts)

    def check_fresh(self) -> None:
        """Read when the last copy succeeded; a copy that has brought the file may end first."""
        allowed = 2 * self.params["copy_seconds"] + SPARE_SECONDS
        deadline = time.monotonic() + (COPY_SECONDS if self.file().exists() else 0)
        while True:
            mark = read_json(f"{self.bench}/sites/.site-sync.json")
            last = float(mark.get("last_success") or 0)
            if (age := time.time() - last) <= allowed or time.monotonic() >= deadline:
                break
            time.sleep(0.25)
        if not last:
            saw = f"no copy has succeeded yet; {mark.get('error') or 'no mark'}"
            self.gathering.add("fresh", False, saw, facts={"error": mark.get("error")})
            return
        saw = f"the last copy succeeded {age:.0f} s ago"
        if mark.get("error"):
            saw += f"; since then: {mark['error']}"
        facts = {"seconds": round(age), "error": mark.get("error")}
        self.gathering.add("fresh", -2 <= age <= allowed, saw, facts=facts)

    def check_file_goes(self) -> None:
        """Copy as cron does, and look for the file that was removed on the primary."""
        done = subprocess.run(
            [self.params["sync"], "--wait", str(self.params["copy_seconds"])],
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        output = (done.stdout + done.stderr).strip().splitlines()
        there = self.file().exists()
        if there and done.returncode != 0:
            # No copy would remove it while they fail.
            unlink(str(self.file()))
        saw = "still there" if there else "gone"
        if done.returncode != 0:
            saw += (
                f"; the copy ended with {done.returncode}: {output[-1] if output else 'no output'}"
            )
        self.gathering.add("file_goes", not there and done.returncode == 0, saw)
