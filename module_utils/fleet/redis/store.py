"""The queue's Redis and its files: what supervisor starts so that jobs that wait are not lost.

It runs as the bench's account, with nothing but Python and Redis' own tools. Redis writes each
change down (append-only); the settings in its file do not say so, for a Redis that is started with
them alone, as a bench made by hand does it, would begin with an empty queue. Before each start, the
files are loaded once by a Redis that nobody reaches: those that it refuses are moved aside.
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
from pathlib import Path
from typing import NoReturn

from .. import kept
from ..bench.files import redis_settings
from ..folders import FILE

OPTIONS = ("--appendonly", "yes", "--aof-timestamp-enabled", "yes")
# Of the Redis that only loads the files: nobody reaches it, and it changes nothing.
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
# How the names of folders begin that hold refused files, and the list of jobs in each.
REFUSED, JOBS = "refused-", "jobs.txt"
# What Redis refuses is cut off where less than this is lost: jobs that were done in the time that
# is lost are done again. Where nothing says how long that was, the size has to do.
LOST_SECONDS, LOST_BYTES = 10, 1024**2
# With less room on the disk, Redis may refuse what is as it should be.
ROOM_BYTES = 16 * 1024**2
# Of the queue's limit; from here on verify is red.
FULL = 0.8
KEY = b"rq:job:"


class RefusedError(Exception):
    """Redis did not load its files; the message is its last word."""


class StoreError(Exception):
    """Redis cannot be started now, and its files are not to blame; the message says why."""


def settings(text: str) -> dict[str, str]:
    """Redis' settings by name, from the text of its file; the last one counts."""
    return {**DEFAULTS, **redis_settings(text)}


def refused(folder: str) -> list[str]:
    """Folders with files that Redis refused; other names are not ours."""
    return sorted(thing.path for thing in kept.things(folder, kept.REFUSED))


def parse_info(text: str) -> dict[str, str]:
    """What Redis says to INFO, by name."""
    return dict(line.split(":", 1) for line in text.splitlines() if ":" in line)


def safety_problems(info: Mapping[str, str], folder: str) -> list[str]:
    """Why jobs that wait may be lost, or were: from INFO persistence and the files' folder."""
    problems = []
    if info.get("aof_enabled") != "1":
        problems.append("it does not write each change down (appendonly)")
    for name, what in (("write", "write changes"), ("bgrewrite", "write its changes anew")):
        if info.get(f"aof_last_{name}_status") != "ok":
            problems.append(f"it cannot {what}: see its log and the room on its disk")
    return problems + [
        f"it refused files, now in {path}: see {JOBS} there for jobs that may be gone, then remove"
        " the folder"
        for path in refused(folder)
    ]


def room_problems(info: Mapping[str, str]) -> list[str]:
    """Why the queue may take no more jobs: from INFO memory."""
    limit, used = int(info["maxmemory"]), int(info["used_memory"])
    problems = [] if limit else ["it has no limit of memory"]
    if limit and info["maxmemory_policy"] != "noeviction":
        problems.append(f"it drops jobs at its limit (maxmemory-policy {info['maxmemory_policy']})")
    if used > FULL * limit > 0:
        problems.append(
            f"it uses {used / limit:.0%} of its limit of {limit // 1024**2} MiB; when it is full,"
            " jobs are lost"
        )
    return problems


def last_word(log: str) -> str:
    """What Redis' log says last of what went wrong, without process, time and advice."""
    found = re.findall(r"^\d+:\w .*?\d # (.*)", log, re.MULTILINE) or [log.strip() or "no word"]
    return str(found[-1]).split(": make a backup")[0]


def key_at(data: bytes, at: int) -> str:
    """The key at a place in Redis' files, "" for none: its length is before it in either form."""
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
    """Jobs that Redis' files name: id to method, "" where that cannot be read."""
    found: dict[str, str] = {}
    places = [match.start() for match in re.finditer(re.escape(KEY), data)]
    for at, end in zip(places, [*places, len(data)][1:], strict=True):
        if key := key_at(data, at):
            method = re.search(rb"method='([\w.]+)'", data[at:end])
            job = key.removeprefix(KEY.decode())
            found[job] = method.group(1).decode() if method else found.get(job, "")
    return found


def written_at(data: bytes) -> int:
    """When the last dated change in a file of changes was written, 0 where none has a date."""
    dates = re.findall(rb"#TS:(\d{9,11})\r\n", data)
    return int(dates[-1]) if dates else 0


def is_little(kept: bytes, lost: bytes, since: int) -> bool:
    """Whether few enough changes are lost for Redis to go on with those before them.

    since: when the file was begun.
    """
    later = written_at(lost)
    if not later:
        return len(lost) <= LOST_BYTES
    return later - (written_at(kept) or since) <= LOST_SECONDS


def content(paths: list[str]) -> bytes:
    """What is in these files; one that is not there has nothing."""
    return b"".join(Path(path).read_bytes() for path in paths if os.path.exists(path))


def end_with_us() -> None:
    """Have the kernel end this process when the one that started it is gone."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Store:
    """The files of one Redis, which does not run."""

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
        """Whether there are changes that Redis would load."""
        return os.path.exists(f"{self.changes}/{self.manifest}")

    def files(self, folder: str) -> list[str]:
        """Files of changes in a folder, in the order in which they were begun."""
        paths = [f"{folder}/{name}" for name in os.listdir(folder)] if os.path.isdir(folder) else []
        return sorted(filter(os.path.isfile, paths), key=lambda path: os.stat(path).st_mtime)

    def tool(self, name: str, *words: str, answer: str = "") -> subprocess.CompletedProcess[str]:
        """Run one of Redis' tools."""
        command = [os.path.join(os.path.dirname(self.server), name), *words]
        return subprocess.run(command, input=answer, capture_output=True, text=True, check=False)

    @contextmanager
    def loaded(self, *options: str) -> Iterator[Callable[..., str]]:
        """A Redis that has loaded the files; what is asked through what this gives, it answers.

        Raises RefusedError when it ends instead.
        """
        with tempfile.TemporaryDirectory() as place:
            words = [self.server, self.conf, *ALONE, "--unixsocket", f"{place}/socket", *options]
            with open(f"{place}/log", "wb") as log:
                server = subprocess.Popen(
                    words, stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=end_with_us
                )

            def ask(*words: str) -> str:
                if server.poll() is not None:
                    raise RefusedError(last_word(Path(f"{place}/log").read_text(errors="replace")))
                return self.tool("redis-cli", "-s", f"{place}/socket", *words).stdout.strip()

            try:
                while ask("PING") != "PONG":
                    time.sleep(0.01)
                yield ask
            finally:
                server.terminate()
                server.wait()

    def load(self) -> None:
        """Load the files once; what a Redis without changes left is written down as such.

        Raises RefusedError, and StoreError where that cannot be written.
        """
        if self.has_manifest:
            with self.loaded("--appendonly", "yes"):
                return
        if any(path.endswith(".incr.aof") and os.path.getsize(path) for path in self.changes_left):
            raise RefusedError(f"{self.manifest} is gone")
        if not os.path.exists(self.rdb):
            return
        with self.loaded("--appendonly", "no") as ask:
            ask("CONFIG", "SET", "appendonly", "yes")
            while re.search(
                r"aof_rewrite_(in_progress|scheduled):1", said := ask("INFO", "persistence")
            ):
                time.sleep(0.01)
        if not self.has_manifest:
            status = parse_info(said).get("aof_last_bgrewrite_status")
            raise StoreError(f"Redis cannot write {self.changes} (status {status})")

    @property
    def changes_left(self) -> list[str]:
        """Files of changes that are there, with or without a manifest."""
        return self.files(self.changes)

    def to_blame(self) -> str:
        """The file or folder with which Redis' own tools find fault, "" for none.

        Raises OSError and StoreError where that cannot be said.
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
        """Have a copy of the changes that ends where Redis refuses them, at ``mended``.

        Returns when the last of them was written and what is lost; None, and no copy, where that
        cannot be done or too much is lost.
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
        """When Redis wrote all of its data into one file, 0 where changes came later.

        It does so when it is told to end, and now and then.
        """
        changes = max((os.stat(path).st_mtime for path in self.changes_left), default=0)
        written = os.stat(self.rdb).st_mtime if os.path.exists(self.rdb) else 0
        return written if changes and written >= changes - LOST_SECONDS else 0

    def set_aside(self, what: str, words: str) -> str:
        """Move refused files aside; returns what is to be said of it.

        Killed at any moment, the next start goes on with this or begins it again.
        """
        kept, going, known = self.mend(), [self.changes], {}
        if not kept and (saved := self.snapshot_at()):
            kept, known = (int(saved), content(self.changes_left)), jobs_in(content([self.rdb]))
        if kept:
            moment = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(kept[0]))
            goes_on = f"goes on with what was written until {moment}. Jobs queued after that"
            goes_on += " may be gone, and jobs done after that may be done again"
            jobs = {job: name for job, name in jobs_in(kept[1]).items() if job not in known}
        else:
            # The older form first: alone, it would be loaded at the next start.
            going = [self.rdb, self.changes]
            goes_on = "begins with an empty queue. Jobs that waited are gone"
            jobs = jobs_in(content([self.rdb, *self.changes_left]))
        place = f"{self.folder}/{REFUSED}{time.strftime('%Y%m%d-%H%M%S')}"
        said = f"Redis refused {what} ({words}), and {goes_on}: {len(jobs)} can be named, see"
        said += f" {place}/{JOBS} beside the refused files"
        os.makedirs(place, mode=0o700, exist_ok=True)
        with open(f"{place}/{JOBS}", "a", encoding="utf-8") as out:
            out.write(f"# {said}\n")
            out.writelines(f"{job} {method}".strip() + "\n" for job, method in jobs.items())
        for path in going:
            if os.path.lexists(path):
                os.rename(path, f"{place}/{os.path.basename(path)}")
        self.finish()
        os.sync()
        return said

    def finish(self) -> None:
        """Put mended changes into the place of those that were moved aside."""
        if os.path.exists(self.mended) and not os.path.exists(self.changes):
            os.rename(self.mended, self.changes)

    def prepare(self) -> list[str]:
        """Bring the files into a state that Redis loads; returns what was moved aside, in words.

        Raises OSError and StoreError where Redis would not start, whatever its files are.
        """
        self.finish()
        said: list[str] = []
        while True:
            try:
                self.load()
                return said
            except RefusedError as refusal:
                what = self.to_blame()
                if not what:
                    raise StoreError(f"Redis does not start: {refusal}") from refusal
                said.append(self.set_aside(what, str(refusal)))


def let_go(folder: str) -> None:
    """Remove folders with refused files that are no longer kept; the newest one stays.

    Redis starts all the same where nothing says how many are.
    """
    with suppress(OSError, ValueError, KeyError):
        keep = json.loads(FILE.read_text(encoding="utf-8"))["keep"]
        kept.tidy(kept.things(folder, kept.REFUSED), keep)


def main(server: str, conf: str) -> NoReturn:
    """Become the queue's Redis. Ends with 1 where it cannot start: supervisor tries again."""

    def say(words: object) -> None:
        print(time.strftime("%Y-%m-%d %H:%M:%S"), words, file=sys.stderr, flush=True)

    try:
        store = Store(server, conf)
        for said in store.prepare():
            say(said)
        let_go(store.folder)
    except (OSError, StoreError) as error:
        say(error)
        sys.exit(1)
    os.execv(server, [server, conf, *OPTIONS])
