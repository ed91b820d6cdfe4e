"""Checks of the bench's two Redis instances, and of the queue in one of them."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from ..bench.jobs_tool import ask
from ..redis.client import Redis, RedisError, registered_workers
from ..redis.replication import copy_problems
from ..redis.store import parse_info, room_problems, safety_problems, settings
from ..redis.users import INSTANCES, bench_user, conf_of, faults, file_of, redis_admin
from ..sockets import listening
from .host import Host

# An idle worker does a job at once; one that is busy is no fault.
TRY_SECONDS = 15
# For a copy to get what the primary has.
COPY_SECONDS = 10
INFO = ("memory", "persistence", "replication")


def queue_problems(conf: str) -> tuple[dict[str, str], list[str], list[str]]:
    """INFO of the queue's Redis, why jobs may be lost there, and why it has too little room.

    conf: path of its settings.
    """
    folder = settings(Path(conf).read_text(encoding="utf-8"))["dir"]
    with redis_admin(conf) as redis:
        info = parse_info("".join(redis.ask("INFO", part) for part in INFO))
    unsafe = safety_problems(info, folder)
    if info["role"] == "slave":
        unsafe.append(
            f"it is a copy of the queue of {info['master_host']}, and takes no jobs: restart the"
            " bench's redis group with `supervisorctl restart`"
        )
    return info, unsafe, room_problems(info)


def copy_of(conf: str, source: str) -> tuple[dict[str, str], list[str]]:
    """INFO of the standby's Redis, and why it may lack jobs. conf: path of its settings.

    source: address of the primary's; "" where any will do.
    """
    folder = settings(Path(conf).read_text(encoding="utf-8"))["dir"]
    with redis_admin(conf) as redis:
        info = parse_info("".join(redis.ask("INFO", part) for part in INFO))
    return info, copy_problems(info, source) + safety_problems(info, folder)


class RedisChecks(Host):
    """The check of every host, and those of the primary and the standby, where both run."""

    def check_redis_password(self) -> None:
        """Connect to both Redis ports of the primary, without and with the password."""
        saw, good = [], True
        for name in ("redis_cache", "redis_queue"):
            port = self.ports[name]
            answers = []
            for password in (None, self.params["redis_password"]):
                user = bench_user(self.params["host"]) if password else None
                try:
                    with Redis(self.params["primary_ip"], port, password, user) as redis:
                        answers.append(str(redis.ask("PING")))
                except (OSError, RedisError) as error:
                    answers.append(str(error).split()[0] if "NOAUTH" in str(error) else str(error))
            good = good and answers[0] == "NOAUTH" and answers[1] == "PONG"
            saw.append(
                f"port {port}: {answers[0]} without the password, {answers[1]} with this host's"
            )
        self.gathering.add("redis_password", good, "; ".join(saw))

    def check_redis_addresses(self) -> None:
        """Read from the kernel's tables on which addresses Redis listens."""
        if self.without_redis("redis_addresses"):
            return
        ports = (self.ports["redis_cache"], self.ports["redis_queue"])
        found: dict[int, set[str]] = {port: set() for port in ports}
        for one in listening(ports).values():
            found[one["port"]].add(one["address"].removeprefix("::ffff:"))
        allowed = {"127.0.0.1", "::1", self.params["lan_ip"]}
        good = all(
            self.params["lan_ip"] in addresses and addresses <= allowed
            for addresses in found.values()
        )
        saw = "; ".join(
            f"port {port}: {', '.join(sorted(addresses)) or 'no listener'}"
            for port, addresses in found.items()
        )
        self.gathering.add(
            "redis_addresses", good, saw, wanted=f"127.0.0.1 and {self.params['lan_ip']} only"
        )

    def check_redis_rights(self) -> None:
        """Compare Redis' users with their file, and read which commands it refused."""
        if self.without_redis("redis_rights"):
            return
        folder = os.path.dirname(self.queue_conf)
        found = []
        for instance in INSTANCES:
            acl = Path(file_of(folder, instance)).read_text(encoding="utf-8")
            with redis_admin(conf_of(folder, instance)) as redis:
                found += [f"{instance}: {fault}" for fault in faults(redis, acl)]
        saw = "; ".join(found) or "each bench has its own user, and no command was refused"
        self.gathering.add("redis_rights", not found, saw)

    def check_queue_store(self) -> None:
        """Ask the queue's Redis how much memory it uses, and how it writes to disk."""
        info, unsafe, full = queue_problems(self.params["jobs"]["redis"])
        saw = "; ".join(unsafe) or "append-only, no error at the last writes"
        self.gathering.add("queue_safe", not unsafe, saw)
        used, limit = (int(info[name]) // 1024**2 for name in ("used_memory", "maxmemory"))
        self.gathering.add("queue_room", not full, "; ".join(full) or f"{used} of {limit} MiB")

    def check_queue_copy(self) -> None:
        """Wait until the standby's queue has all that the primary's has when it is asked."""
        if self.without_redis("queue_copy"):
            return
        address, password = self.params["primary_ip"], self.params["redis_password"]
        user = bench_user(self.params["host"])
        with Redis(address, self.ports["redis_queue"], password, user) as primary:
            wanted = int(parse_info(primary.ask("INFO", "replication"))["master_repl_offset"])
        until = time.monotonic() + COPY_SECONDS
        while True:
            info, wrong = copy_of(self.queue_conf, address)
            behind = wanted - int(info.get("slave_repl_offset", 0))
            if (behind <= 0 and not wrong) or time.monotonic() > until:
                break
            time.sleep(0.2)
        if behind > 0 and not wrong:
            wrong = [f"{behind} bytes of changes are still missing after {COPY_SECONDS} s"]
        saw = "; ".join(wrong) or f"all changes up to byte {wanted}"
        facts = {"behind": max(0, behind)}
        self.gathering.add("queue_copy", not wrong, saw, facts=facts)

    def workers_known(self) -> list[dict[str, Any]]:
        """The background workers of all benches that are registered in the shared Redis."""
        with redis_admin(self.params["jobs"]["redis"]) as redis:
            return registered_workers(redis)

    def jobs_done(self) -> dict[str, int]:
        """The number of jobs that each worker has done since it started."""
        return {worker["name"]: worker["done"] for worker in self.workers_known()}

    def check_queue(self) -> None:
        """Whether all workers serve the fleet's queues, and how many jobs they did meanwhile."""
        prefix = f"{self.common().get('bench_id')}:"
        known = self.workers_known()
        strange = [
            f"a worker of {worker['host']} serves {', '.join(worker['queues'])}"
            for worker in known
            if not all(queue.startswith(prefix) for queue in worker["queues"])
        ]
        before = self.params["begun"].get("done")
        done = None
        if before is not None:
            # By worker: one that was killed stays registered for a while.
            done = sum(worker["done"] - before.get(worker["name"], 0) for worker in known)
        hosts = sorted({worker["host"] for worker in known if worker["host"]})
        saw = f"{len(known)} workers of {', '.join(hosts) or 'no host'} under {prefix[:-1]}, "
        saw += f"{done} jobs done meanwhile" if done is not None else "jobs could not be counted"
        good = bool(known) and not strange and bool(done and done > 0)
        self.gathering.add("queue", good, "; ".join([saw, *strange]))

    def ask_jobs(self, command: str, *options: str) -> dict[str, Any]:
        """What ``python -m benchfleet_jobs COMMAND`` prints in the bench's Python."""
        where = self.params["jobs"]
        arguments = (command, where["settings"], *options)
        user = self.params["user_of_bench"]
        return dict(ask(self.bench, user, where["package_dir"], *arguments, timeout=120))

    def check_waiting(self) -> None:
        """Look for queues without workers although jobs are placed or wait there."""
        shown = self.ask_jobs("show")
        placed = {entry["queue"] for entry in shown["placement"]}
        left = [
            f"{row['queue']}: {row['length']} jobs, {row['state']}"
            for row in shown["queues"]
            if row["state"] != "served"
            and ((row["queue"] in placed and row["state"] != "drained") or row["length"])
        ]
        saw = f"{len(shown['queues'])} queues, {sum(row['length'] for row in shown['queues'])} jobs"
        self.gathering.add("waiting", not left, "; ".join(left) or saw)

    def note_placed(self) -> None:
        """Have a job of each placed queue done, to compare where with the inventory."""
        self.seen["tried"] = self.ask_jobs("try", self.site, str(TRY_SECONDS))["tried"]
