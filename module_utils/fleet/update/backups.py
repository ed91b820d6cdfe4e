"""Backups of the sites' databases before an update: written, and restored."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from ..bench.account import BenchError, read_json
from ..foreign import read_bytes, replace
from ..kept import DUMPS, Thing, is_whole_dump, lack_of_room, things
from ..mariadb.server import LARGEST_PACKET, client
from .room import SIZES, dump_bytes, size_statement
from .state import State

# Settings of the server for connections made while a database is dumped or restored; in seconds.
# See client().
PATIENT = {
    "max_allowed_packet": LARGEST_PACKET,
    "net_read_timeout": 3600,
    "net_write_timeout": 3600,
}


class Backups(State):
    """Backs up and restores databases."""

    def data_bytes(self, database: str) -> int:
        """Size of a database."""
        return int(float(self.mariadb(size_statement(database))))

    def dumps(self) -> list[Thing]:
        """Folders of backups; those of this update are needed until it ends."""
        needed = list(self.state.get("backups", {}).values())
        needed += [f"{self.params['backup_dir']}/{self.state.get('stamp')}"] * bool(self.state)
        return things(self.params["backup_dir"], DUMPS, needed, is_whole_dump)

    def dump_bytes(self, site: str, now: int) -> int:
        """Bytes that a dump of a site may take; now: bytes of the database."""
        return dump_bytes(self.dumps(), site, now)

    def back_up(self) -> None:
        """Dump the database of each site without a backup into this update's own folder."""
        folder = f"{self.params['backup_dir']}/{self.state['stamp']}"
        os.makedirs(folder, mode=0o700, exist_ok=True)
        os.chmod(folder, 0o700)
        files = dict(self.state.get("backups", {}))
        for site in self.without_backup():
            target = f"{folder}/{site}.sql.gz"
            database = self.database(site)
            sizes = {**read_json(f"{folder}/{SIZES}"), site: self.data_bytes(database)}
            self.dump(database, target)
            with open(f"{folder}/{SIZES}", "w", encoding="utf-8") as out:
                json.dump(sizes, out)
            config = f"{self.path}/sites/{site}/site_config.json"
            replace(f"{folder}/{site}.site_config.json", read_bytes(config), 0o600)
            files[site] = target
        # The databases are changed next, and update.json may be on another disk.
        os.sync()
        self.save(backups=files)

    def without_backup(self) -> list[str]:
        """Sites that this update has not backed up: all, or those made since it began."""
        return [site for site in self.sites if site not in self.state.get("backups", {})]

    def dump(self, database: str, target: str) -> None:
        """Write a dump that restores a database as it was; tables made later are dropped then."""
        argv = client("mariadb-dump")
        argv += ["--single-transaction", "--quick", "--routines", "--triggers", "--events"]
        argv += ["--default-character-set=utf8mb4", "--add-drop-database", "--databases", database]
        try:
            with self.patient_server():
                status, message = self.written(argv, f"{target}.new", f"{target}.errors")
        except OSError as error:
            status, message = 1, f"{target}.new: {error.strerror}"
        for path in (f"{target}.errors", *[f"{target}.new"] * (status != 0)):
            with suppress(FileNotFoundError):
                os.unlink(path)
        if status != 0:
            raise BenchError(f"the backup of {database} failed: {message[-500:]}")
        os.replace(f"{target}.new", target)

    def written(self, argv: list[str], target: str, errors: str) -> tuple[int, str]:
        """Write a command's output to a file, packed; returns its exit status and its errors.

        The errors go to a file meanwhile: a pipe that is not read would fill up.
        """
        with (
            open(errors, "w+", encoding="utf-8") as said,
            open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as raw,
            subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=said) as process,
        ):
            assert process.stdout is not None
            with gzip.open(raw, "wb", compresslevel=3) as packed:
                shutil.copyfileobj(process.stdout, packed, 1 << 20)
            raw.flush()
            os.fsync(raw.fileno())
            process.wait()
            said.seek(0)
            return process.returncode, said.read().strip()

    def restore(self, site: str) -> None:
        """Restore a site's database from its backup.

        Raises BenchError before anything is dropped if there is not enough room: MariaDB's binary
        log, beside the data, gets all of it, too.
        """
        backup = self.state["backups"][site]
        size = read_json(f"{os.path.dirname(backup)}/{SIZES}").get(site, 0)
        if lack := lack_of_room(self.mariadb("SELECT @@datadir"), size, f"restoring {site}"):
            raise BenchError(
                f"{lack}, as all of it is written to MariaDB's binary log, too: make room there,"
                " and run the same command again"
            )
        # Else the log would hold each statement beside its rows; and a general max_statement_time
        # could interrupt the statement that drops the database, at which replicas stop.
        first = "SET binlog_annotate_row_events = OFF, max_statement_time = 0"
        argv = client("mariadb", f"--init-command={first}")
        with self.patient_server():
            done = subprocess.run(
                ["bash", "-o", "pipefail", "-c", 'gunzip -c "$0" | "$@"', backup, *argv],
                text=True,
                errors="replace",
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode != 0:
            # The client may repeat the statement that failed, which holds the site's data.
            errors = re.findall(
                r"^(?:ERROR|bash:|gzip:|mariadb:).{0,300}", done.stdout, re.MULTILINE
            )
            raise BenchError(
                f"restoring {site} (gunzip -c '{backup}' | {shlex.join(argv)}) failed:"
                f" {'; '.join(errors[-5:]) or f'exit status {done.returncode}'}"
            )

    @contextmanager
    def patient_server(self) -> Iterator[None]:
        """Connections made meanwhile may have packets of any size, and pause for an hour.

        Else a disk that stalls for a minute would end a dump. If this is interrupted, the settings
        remain until MariaDB is restarted, or until the next run of site.yml.
        """
        former = self.mariadb(f"SELECT {', '.join(f'@@GLOBAL.{name}' for name in PATIENT)}")
        self.mariadb(f"SET GLOBAL {', '.join(f'{n} = {value}' for n, value in PATIENT.items())}")
        try:
            yield
        finally:
            values = zip(PATIENT, former.split(), strict=False)
            with suppress(BenchError):
                self.mariadb(f"SET GLOBAL {', '.join(f'{n} = {value}' for n, value in values)}")
