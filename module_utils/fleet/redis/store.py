"""The queue's Redis and its files: supervisor starts it so that no waiting job is lost.

It runs as the bench's account and needs only Python and Redis' own tools. Redis writes each change
to disk (append-only); the settings in its file do not turn that on, because a Redis that is started
with them alone, as by a bench made by hand, would then begin with an empty queue. Before each
start, a Redis without a port loads the files once: those that it refuses are moved aside.
"""

from __future__ import annotations

import ctypes
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from .. import folders, kept
from ..bench.files import redis_settings
from . import replication
from .client import job_name

OPTIONS = ("--appendonly", "yes", "--aof-timestamp-enabled", "yes")
# Of the Redis that only loads the files: no client can reach it, and it changes nothing.
ALONE = (
    *("--port", "0", "--requirepass", "", "--save", "", "--maxmemory", "0", "--logfile", ""),
    *("--auto-aof-rewrite-percentage", "0", "--aclfile", ""),
)
DEFAULTS = {
    "dir": ".",
    "dbfilename": "dump.rdb",
    "appenddirname": "appendonlydir",
    "appendfilename": "appendonly.aof",
}
# Folders with refused files have names that begin so; each has a list of jobs.
REFUSED, JOBS = "refused-", "jobs.txt"
# The same for the queue of a former primary, whose host copies the new one's.
FORMER = "former-"
# The jobs that wait in a Redis, or were begun: a line each, with id and description.
LISTED = """
local found = {}
local function add(id)
  if redis.call('EXISTS', 'rq:job:' .. id) == 0 then id = id:match('^(.*):') or id end
  local said = redis.call('HGET', 'rq:job:' .. id, 'description') or ''
  found[#found + 1] = (id .. '\\t' .. said):gsub('[\\r\\n]', ' ')
end
for _, key in ipairs(redis.call('SMEMBERS', 'rq:queues')) do
  for _, id in ipairs(redis.call('LRANGE', key, 0, -1)) do add(id) end
end
for _, key in ipairs(redis.call('KEYS', 'rq:wip:*')) do
  for _, id in ipairs(redis.call('ZRANGE', key, 0, -1)) do add(id) end
end
return found
"""
# The part that Redis refuses is cut off where less than this is lost: jobs done in the lost time
# are done again. Where the changes have no dates, their size decides.
LOST_SECONDS, LOST_BYTES = 10, 1024**2
# With less free disk space, Redis may refuse good files.
ROOM_BYTES = 16 * 1024**2
# Share of the queue's limit above which verify is red.
FULL = 0.8
KEY = b"rq:job:"


class RefusedError(Exception):
    """Redis did not load its files; the message is the last error in its log."""


class StoreError(Exception):
    """Redis cannot be started now, but not because of its files; the message says why."""


def settings(text: str) -> dict[str, str]:
    """Redis' settings by name, from the text of its file; the last one counts."""
    return {**DEFAULTS, **redis_settings(text)}


def refused(folder: str) -> list[str]:
    """Folders with files that Redis refused."""
    return sorted(thing.path for thing in kept.things(folder, kept.REFUSED))


def parse_info(text: str) -> dict[str, str]:
    """Redis' answer to INFO, by name."""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def safety_problems(info: Mapping[str, str], folder: str) -> list[str]:
    """Why waiting jobs may be lost, or were: from INFO persistence and the files' folder."""
    problems = []
    if (enabled := info.get("aof_enabled")) != "1":
        problems.append(f"`aof_enabled` is {enabled}: changes are not written to disk")
    for name in ("aof_last_write_status", "aof_last_bgrewrite_status"):
        if (status := info.get(name)) != "ok":
            problems.append(
                f"`{name}` is {status}: Redis cannot write to its disk; see its log, and the free"
                " disk space"
            )
    return problems + [
        f"Redis refused files, now in {path}: {JOBS} there lists jobs that may be lost; remove the"
        " folder once you have checked them"
        for path in refused(folder)
    ]


def room_problems(info: Mapping[str, str]) -> list[str]:
    """Why the queue may soon take no more jobs: from INFO memory."""
    limit, used = int(info["maxmemory"]), int(info["used_memory"])
    problems = [] if limit else ["`maxmemory` is 0: the queue's memory has no limit"]
    if limit and (policy := info["maxmemory_policy"]) != "noeviction":
        problems.append(f"`maxmemory_policy` is {policy}: at its limit, the queue drops jobs")
    if used > FULL * limit > 0:
        problems.append(
            f"`used_memory` is {used / limit:.0%} of the limit of {limit // 1024**2} MiB; when the"
            " queue is full, new jobs are lost"
        )
    return problems


def last_error(log: str) -> str:
    """The last error in Redis' log, without process, time and advice."""
    found = re.findall(r"^\d+:\w .*?\d # (.*)", log, re.MULTILINE) or [log.strip() or "no error"]
    return str(found[-1]).split(": make ")[0]


def key_at(data: bytes, at: int) -> str:
    """The key at a position in Redis' files, "" for none: its length is before it in both forms."""
    lengths = []
    if data[at - 2 : at] == b"\r\n":
        lengths = [data.find(b"\r\n", at) - at]
    elif at >= 2:
        lengths = [(data[at - 2] & 63) << 8 | data[at - 1]] if data[at - 2] >> 6 == 1 else []
        lengths += [data[at - 1]] if data[at - 1] < 64 else []
    for length in lengths:
        key = data[at : at + length]
        if len(KEY) < len(key) == length and re.fullmatch(rb"[ -~]*\w", key):
            return key.decode()
    return ""


def jobs_in(data: bytes) -> dict[str, str]:
    """Jobs in Redis' files: id to method, "" where that cannot be read."""
    found: dict[str, str] = {}
    places = [match.start() for match in re.finditer(re.escape(KEY), data)]
    for at, end in zip(places, [*places, len(data)][1:], strict=True):
        if key := key_at(data, at):
            method = re.search(rb"method='([\w.]+)'", data[at:end])
            job = key.removeprefix(KEY.decode())
            found[job] = method.group(1).decode() if method else found.get(job, "")
    return found


def written_at(data: bytes) -> int:
    """Time of the last dated change in a file of changes, 0 where none has a date."""
    dates = re.findall(rb"#TS:(\d{9,11})\r\n", data)
    return int(dates[-1]) if dates else 0


def is_little(kept: bytes, lost: bytes, since: int) -> bool:
    """Whether so few changes are lost that Redis can go on with those before them.

    since: when the file was begun.
    """
    later = written_at(lost)
    if not later:
        return len(lost) <= LOST_BYTES
    return later - (written_at(kept) or since) <= LOST_SECONDS


def content(paths: list[str]) -> bytes:
    """The content of these files together; one that does not exist is empty."""
    return b"".join(Path(path).read_bytes() for path in paths if os.path.exists(path))


def end_with_us() -> None:
    """Have the kernel end this process when its parent ends."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


@dataclass(frozen=True)
class SetAside:
    """Files that Redis refused and that were moved aside.

    place: the folder with them. until: the time up to which the queue goes on, "" where it begins
    empty. jobs: how many of the jobs that may be lost are listed.
    """

    what: str
    why: str
    place: str
    until: str
    jobs: int

    def __str__(self) -> str:
        """For the log and the list of jobs."""
        goes_on = "begins with an empty queue. The jobs that waited are lost"
        if self.until:
            goes_on = (
                f"goes on with what was written until {self.until}. Jobs queued after that may be"
                " lost, and jobs done after that may be done again"
            )
        return (
            f"Redis refused {self.what} ({self.why}), and {goes_on}. {self.jobs} of these jobs are"
            f" listed in {self.place}/{JOBS}, beside the refused files"
        )


class Store:
    """The files of one Redis that does not run."""

    def __init__(self, server: str, conf: str) -> None:
        self.server, self.conf = server, conf
        known = settings(Path(conf).read_text(encoding="utf-8"))
        self.folder = known["dir"]
        self.rdb = f"{self.folder}/{known['dbfilename']}"
        self.changes = f"{self.folder}/{known['appenddirname']}"
        self.manifest = f"{known['appendfilename']}.manifest"
        self.mended = f"{self.changes}.mended"

    @property
    def has_manifest(self) -> bool:
        """Whether Redis would load any changes."""
        return os.path.exists(f"{self.changes}/{self.manifest}")

    def files(self, folder: str) -> list[str]:
        """Files of changes in a folder, in the order in which they were begun."""
        paths = [f"{folder}/{name}" for name in os.listdir(folder)] if os.path.isdir(folder) else []
        return sorted(filter(os.path.isfile, paths), key=lambda path: os.stat(path).st_mtime)

    def tool(
        self, name: str, *arguments: str, answer: str = ""
    ) -> subprocess.CompletedProcess[str]:
        """Run one of Redis' tools."""
        command = [os.path.join(os.path.dirname(self.server), name), *arguments]
        return subprocess.run(command, input=answer, capture_output=True, text=True, check=False)

    @contextmanager
    def loaded(self, *options: str) -> Iterator[Callable[..., str]]:
        """A Redis that has loaded the files: gives a function that asks it.

        Raises RefusedError when Redis ends instead.
        """
        with tempfile.TemporaryDirectory() as place:
            alone = [*ALONE, "--unixsocket", f"{place}/socket", *options]
            with open(f"{place}/log", "wb") as log:
                server = subprocess.Popen(
                    [self.server, self.conf, *alone],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    preexec_fn=end_with_us,
                )

            def ask(*command: str) -> str:
                if server.poll() is not None:
                    raise RefusedError(last_error(Path(f"{place}/log").read_text(errors="replace")))
                return self.tool("redis-cli", "-s", f"{place}/socket", *command).stdout.strip()

            try:
                while ask("PING") != "PONG":
                    time.sleep(0.01)
                yield ask
            finally:
                server.terminate()
                server.wait()

    def load(self) -> None:
        """Load the files once; where there are no changes yet, have Redis write them.

        Raises RefusedError, and StoreError where Redis cannot write them.
        """
        if self.has_manifest:
            with self.loaded("--appendonly", "yes"):
                return
        if any(path.endswith(".incr.aof") and os.path.getsize(path) for path in self.changes_left):
            raise RefusedError(f"{self.manifest} is missing")
        if not os.path.exists(self.rdb):
            return
        with self.loaded("--appendonly", "no") as ask:
            ask("CONFIG", "SET", "appendonly", "yes")
            while re.search(
                r"aof_rewrite_(in_progress|scheduled):1", info := ask("INFO", "persistence")
            ):
                time.sleep(0.01)
        if not self.has_manifest:
            status = parse_info(info).get("aof_last_bgrewrite_status")
            raise StoreError(f"Redis cannot write {self.changes} (status {status})")

    @property
    def changes_left(self) -> list[str]:
        """Existing files of changes, with or without a manifest."""
        return self.files(self.changes)

    def damaged(self) -> str:
        """The file or folder that Redis' own tools report as damaged, "" for none.

        Raises OSError and StoreError where that cannot be found out.
        """
        rdb = [self.rdb] if os.path.exists(self.rdb) else []
        for path in (*self.changes_left, *rdb):
            with open(path, "r+b") as file:
                while file.read(1024**2):
                    pass
        if shutil.disk_usage(self.folder).free < ROOM_BYTES:
            raise StoreError(f"the disk of {self.folder} is full")
        if self.has_manifest:
            manifest = f"{self.changes}/{self.manifest}"
            fine = self.tool("redis-check-aof", manifest).returncode == 0
            return "" if fine and os.path.getsize(manifest) else self.changes
        if self.changes_left:
            return self.changes
        fine = not rdb or self.tool("redis-check-rdb", self.rdb).returncode == 0
        return "" if fine else self.rdb

    def mend(self) -> tuple[int, bytes] | None:
        """Make a copy of the changes that ends where Redis refuses them, at ``mended``.

        Returns when the last of them was written, and what is lost; None, without a copy, where
        that cannot be done or too much is lost.
        """
        new = f"{self.mended}.new"
        for folder in (new, self.mended):
            shutil.rmtree(folder, ignore_errors=True)
        if not self.has_manifest:
            return None
        shutil.copytree(self.changes, new)
        self.tool("redis-check-aof", "--fix", f"{new}/{self.manifest}", answer="y\n")
        lost, until = b"", 0
        for path in self.files(self.changes):
            whole = Path(path).read_bytes()
            size = os.path.getsize(f"{new}/{os.path.basename(path)}")
            if size < len(whole):
                kept, lost = whole[:size], whole[size:]
                if not is_little(kept, lost, until):
                    shutil.rmtree(new)
                    return None
                until = written_at(kept) or until
                continue
            until = max(until, written_at(whole) or int(os.stat(path).st_mtime))
        try:
            with self.loaded("--appendonly", "yes", "--appenddirname", os.path.basename(new)):
                pass
        except RefusedError:
            shutil.rmtree(new)
            return None
        os.sync()
        os.rename(new, self.mended)
        return until, lost

    def snapshot_at(self) -> float:
        """When Redis wrote all its data into one file, 0 where changes came later.

        Redis does so when it is stopped, and from time to time.
        """
        changes = max((os.stat(path).st_mtime for path in self.changes_left), default=0)
        written = os.stat(self.rdb).st_mtime if os.path.exists(self.rdb) else 0
        return written if changes and written >= changes - LOST_SECONDS else 0

    def set_aside(self, what: str, why: str) -> SetAside:
        """Move refused files aside.

        When this is killed at any moment, the next start goes on with it or begins it again.
        """
        kept, going, known = self.mend(), [self.changes], {}
        until = ""
        if not kept and (saved := self.snapshot_at()):
            kept, known = (int(saved), content(self.changes_left)), jobs_in(content([self.rdb]))
        if kept:
            until = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(kept[0]))
            jobs = {job: name for job, name in jobs_in(kept[1]).items() if job not in known}
        else:
            # The snapshot first: alone, it would be loaded at the next start.
            going = [self.rdb, self.changes]
            jobs = jobs_in(content([self.rdb, *self.changes_left]))
        place = f"{self.folder}/{REFUSED}{time.strftime('%Y%m%d-%H%M%S')}"
        report = SetAside(what, why, place, until, len(jobs))
        os.makedirs(place, mode=0o700, exist_ok=True)
        with open(f"{place}/{JOBS}", "a", encoding="utf-8") as out:
            out.write(f"# {report}\n")
            out.writelines(f"{job} {method}".strip() + "\n" for job, method in jobs.items())
        for path in going:
            if os.path.lexists(path):
                shutil.move(path, place)
        self.finish()
        os.sync()
        return report

    def supersede(self, source: str) -> list[str]:
        """Move the files of a former primary aside, whose Redis is to copy that at ``source``.

        They may have jobs that the other never got. Returns what is to be said of it.
        """
        if not self.has_manifest:
            return []
        with self.loaded("--appendonly", "yes") as ask:
            lines = ask("EVAL", LISTED, "0").splitlines()
        jobs = [line.partition("\t") for line in lines if line.strip()]
        place = f"{self.folder}/{FORMER}{time.strftime('%Y%m%d-%H%M%S')}"
        report = (
            f"This host is no longer the primary, and copies the queue of {source}. Its own queue"
            f" is now in {place}: {len(jobs)} jobs waited in it or were begun, see {JOBS} there."
            f" Those that {source} did not get are lost"
        )
        os.makedirs(place, mode=0o700, exist_ok=True)
        with open(f"{place}/{JOBS}", "w", encoding="utf-8") as out:
            out.write(f"# {report}\n")
            out.writelines(f"{job} {job_name(said)}".strip() + "\n" for job, _, said in jobs)
        for path in (self.rdb, self.changes):
            if os.path.lexists(path):
                shutil.move(path, place)
        os.sync()
        return [report]

    def finish(self) -> None:
        """Put the mended changes in place of those that were moved aside."""
        if os.path.exists(self.mended) and not os.path.exists(self.changes):
            os.rename(self.mended, self.changes)

    def prepare(self) -> list[SetAside]:
        """Make the files such that Redis loads them; returns what was moved aside.

        Raises OSError and StoreError where Redis would not start in any case.
        """
        self.finish()
        reports: list[SetAside] = []
        while True:
            try:
                self.load()
                return reports
            except RefusedError as refusal:
                what = self.damaged()
                if not what:
                    raise StoreError(f"Redis does not start: {refusal}") from refusal
                reports.append(self.set_aside(what, str(refusal)))


def let_go(folder: str) -> None:
    """Remove folders with former files that are no longer kept; the newest of each kind stays.

    Where the number to keep cannot be read, Redis starts anyway.
    """
    with suppress(OSError, ValueError, KeyError):
        keep = json.loads(folders.FILE.read_text(encoding="utf-8"))["keep"]
        for names in (kept.REFUSED, kept.FORMER):
            kept.tidy(kept.things(folder, names), keep)


def main(server: str, conf: str) -> NoReturn:
    """Become the queue's Redis. Ends with 1 where it cannot start: supervisor tries again."""

    def log(message: object) -> None:
        print(time.strftime("%Y-%m-%d %H:%M:%S"), message, file=sys.stderr, flush=True)

    def look() -> replication.Part:
        return replication.part(str(folders.folder("config")), str(folders.folder("state")))

    try:
        store = Store(server, conf)
        for refusal in store.prepare():
            log(refusal)
        source = replication.await_part(look, log).source
        if source and not replication.is_copy(store.folder):
            for report in store.supersede(source):
                log(report)
        replication.note(store.folder, source)
        let_go(store.folder)
        further = replication.options(conf, source)
    except (OSError, ValueError, KeyError, RefusedError, StoreError) as error:
        log(error)
        sys.exit(1)
    os.execv(server, [server, conf, *OPTIONS, *further])
