"""Checks of the sites' files: what is made on one host must be on the other."""

from __future__ import annotations

import subprocess
import time

from ..bench.account import read_json
from ..foreign import read_bytes, unlink
from .host import Host
from .probes import site_file

# What a copy may take besides the time between two.
SPARE_SECONDS = 10.0
# How much longer than its first file the rest of a copy may take.
COPY_SECONDS = 30.0


class FileChecks(Host):
    """Checks of files on a reporting node."""

    def check_files(self) -> None:
        """Make a file as a job would, ask the router for it, remove it, and ask again.

        In between it is taken away here alone, and opened as a job would.
        """
        site = self.sites[0]
        name = f"fleet-verify-{self.params['token']}-{self.params['host']}.txt"

        with self.visitor(site) as visitor:
            try:
                self.run_probe(site_file, site, name, "make")
                made = visitor.call("GET", f"/files/{name}")
                unlink(str(self.file().with_name(name)))
                read = self.gathering.attempt(
                    "file_fetched", lambda: self.run_probe(site_file, site, name, "read")
                )
            finally:
                self.run_probe(site_file, site, name, "remove")
            gone = visitor.call("GET", f"/files/{name}")
        there = made.status == 200 and made.text == name
        saw = f"{made.said()} at once, HTTP {gone.status} after its removal"
        self.gathering.add("file_kept", there and gone.status == 404, saw)
        if read is not None:
            self.gathering.add("file_fetched", read == name, "whole" if read == name else "torn")

    def check_file_arrives(self) -> None:
        """Wait for the file, and tell its age on arrival."""
        put_at = self.params["put_at"]
        if put_at is None:
            raise AssertionError("the primary was given no file (see the checks of the primary)")
        deadline = time.monotonic() + self.params["file_seconds"]
        while not self.file().exists():
            if time.monotonic() > deadline:
                waited = time.time() - put_at
                self.gathering.add("file_arrives", False, f"not there after {waited:.0f} s")
                return
            time.sleep(0.25)
        # When it was renamed into place; its contents' own time came over with it.
        took = max(self.file().stat().st_ctime - put_at, 0.0)
        whole = read_bytes(str(self.file())).decode().strip() == self.params["token"]
        saw = f"there after {took:.0f} s" + ", but torn" * (not whole)
        bound = self.params["copy_seconds"] + SPARE_SECONDS
        self.gathering.add("file_arrives", whole and took <= bound, saw)

    def check_fresh(self) -> None:
        """The mark of the last copy; one that has brought the file is waited for to its end."""
        allowed = 2 * self.params["copy_seconds"] + SPARE_SECONDS
        deadline = time.monotonic() + (COPY_SECONDS if self.file().exists() else 0)
        while True:
            mark = read_json(f"{self.bench}/sites/.site-sync.json")
            last = float(mark.get("last_success") or 0)
            if (age := time.time() - last) <= allowed or time.monotonic() >= deadline:
                break
            time.sleep(0.25)
        if not last:
            self.gathering.add("fresh", False, f"no success yet; {mark.get('error') or 'no mark'}")
            return
        saw = f"last success {age:.0f} s ago"
        if mark.get("error"):
            saw += f"; since then: {mark['error']}"
        self.gathering.add("fresh", -2 <= age <= allowed, saw)

    def check_file_goes(self) -> None:
        """Copy as cron does, and look for the file that the primary no longer has."""
        done = subprocess.run(
            [self.params["sync"], "--wait", str(self.params["copy_seconds"])],
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        said = (done.stdout + done.stderr).strip().splitlines()
        there = self.file().exists()
        if there and done.returncode != 0:
            # Nobody else would take it away while copies fail.
            unlink(str(self.file()))
        saw = "still there" if there else "gone"
        if done.returncode != 0:
            saw += f"; the copy ended with {done.returncode}: {said[-1] if said else 'no word'}"
        self.gathering.add("file_goes", not there and done.returncode == 0, saw)
