"""A replica's first copy of the primary's data: whether it gets one, its start, its progress."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from ..module import FleetModule
from .options import data_folder
from .server import SYSTEM_SCHEMAS, MariaDBError, ServerAbsentError, local, read_json

# Each start has a unit name of its own, so that a dead unit that systemd still has does no harm.
UNIT = "benchfleet-seed-"
# Phases in which the old data is being replaced: the seed can only go on.
REPLACING = ("swap_out", "swap_in", "start")
FINISHED = ("seeded", "done")


@dataclass(frozen=True)
class Situation:
    """The state of a replica's server, from which decide() judges."""

    phase: str | None
    failed: bool
    running: bool
    follows: str | None
    schemas: list[str]
    answers: bool
    reseed: bool
    reseeding: bool = False


def decide(seen: Situation) -> tuple[str, str]:
    """What to do: (verb, reason).

    Verbs: attach (a seed is running), resume (go on with one that was cut off), seed, reseed,
    abandon (give up a seed that cannot finish, and start over), nothing, refuse.
    """
    if seen.running:
        return "attach", "a seed is running already"
    if seen.phase in REPLACING:
        if seen.reseed and seen.failed:
            return "abandon", f"the last seed failed in phase {seen.phase}"
        return "resume", f"a seed was cut off in phase {seen.phase}"
    if seen.reseeding and seen.phase not in (None, *FINISHED):
        return "resume", f"a reseed was cut off in phase {seen.phase}"
    if seen.reseed:
        return "reseed", "asked for by `mariadb_replica_reseed`"
    if seen.phase in FINISHED:
        return "nothing", "seeded before"
    if not seen.answers:
        return "refuse", "its server does not answer, so it is unknown what its data folder holds"
    if seen.follows:
        return "nothing", f"follows {seen.follows} already"
    if seen.schemas:
        return "refuse", "it has databases of another origin: " + ", ".join(seen.schemas)
    if seen.phase not in (None, *FINISHED):
        return "resume", f"a seed was cut off in phase {seen.phase}"
    return "seed", "an empty server"


def public(state: dict[str, Any]) -> dict[str, Any]:
    """The state without what identifies the fleet."""
    return {key: value for key, value in state.items() if key != "fleet_id"}


class Seeder:
    """Looks at the replica, decides, and starts the seed."""

    def __init__(self, module: FleetModule) -> None:
        self.module = module
        self.params = module.params

    def unit_running(self) -> bool:
        """Whether the seed's unit is running."""
        code, out, err = self.module.run_command(
            ["systemctl", "show", f"{UNIT}*", "-p", "ActiveState", "--value"]
        )
        if code != 0:
            raise MariaDBError(
                f"`systemctl show` failed, so it is unknown whether a seed runs:"
                f" {(err or out).strip()}"
            )
        return bool(set(out.split()) & {"active", "activating", "deactivating", "reloading"})

    def state(self) -> dict[str, Any]:
        """The content of the seed's state file. Raises MariaDBError when it is another fleet's."""
        found = read_json(self.params["state_file"])
        if found and found.get("fleet_id") != self.params["fleet_id"]:
            raise MariaDBError(
                f"{self.params['state_file']} belongs to another fleet, which seeded this host."
                " Remove the host from that fleet first, or move the file and the data away"
            )
        return found

    def look(self, state: dict[str, Any]) -> Situation:
        """The replica's situation. Raises ServerAbsentError where there is no server yet."""
        follows, schemas, answers = None, [], True
        try:
            with local() as server:
                status = server.replica_status()
                follows = str(status["Master_Host"]) if status else None
                names = [str(next(iter(row.values()))) for row in server.rows("SHOW DATABASES")]
                schemas = sorted(name for name in names if name.lower() not in SYSTEM_SCHEMAS)
        except ServerAbsentError:
            raise
        except MariaDBError:
            answers = False
        return Situation(
            phase=state.get("phase"),
            failed=bool(state.get("failed")),
            running=self.unit_running(),
            follows=follows,
            schemas=schemas,
            answers=answers,
            reseed=self.params["reseed"],
            reseeding=bool(state.get("keep_old")),
        )

    def command(self, verb: str) -> list[str]:
        """The command that starts the unit, which outlives this session."""
        command = [
            "systemd-run",
            f"--unit={UNIT}{int(time.time())}",
            "--collect",
            "--quiet",
            "--description=Benchfleet: first copy of the primary's data",
            self.params["script"],
            *(f"--source={source}" for source in self.params["sources"]),
            f"--port={self.params['ssh_port']}",
            f"--user={self.params['seed_user']}",
            f"--fleet={self.params['fleet_id']}",
            f"--datadir={data_folder()}",
            f"--memory={self.params['memory_mb']}",
        ]
        if verb in ("reseed", "abandon"):
            # From the start: a copy that is ready may be older than the data that it would replace.
            command += ["--keep-old", "--anew"]
        return command

    def begin(self) -> dict[str, Any]:
        """Decide and start; returns the module's result."""
        state = self.state()
        seen = self.look(state)
        verb, reason = decide(seen)
        if verb == "refuse":
            raise MariaDBError(
                f"this host gets no copy of the data: {reason}. If its data may be replaced,"
                " `-e mariadb_replica_reseed=<host>` does so, and keeps the old folder beside it"
            )
        finished = verb == "nothing"
        about = {"finished": finished, "state": public(state), "msg": reason}
        result = {"changed": not finished, "running": False, **about}
        if finished:
            return result
        result["diff"] = {"before": f"{reason}\n", "after": "a copy of the primary's data\n"}
        if self.module.check_mode:
            return result
        if verb != "attach":
            if read_json(self.params["fleet_file"]).get("fleet_id") != self.params["fleet_id"]:
                raise MariaDBError(
                    f"{self.params['fleet_file']} does not name this fleet, so the data on this"
                    " host is not replaced; run the whole site.yml"
                )
            code, out, err = self.module.run_command(self.command(verb))
            if code != 0:
                raise MariaDBError(f"systemd-run could not start the seed: {(err or out).strip()}")
        return {**result, "running": True}

    def poll(self) -> dict[str, Any]:
        """The seed's progress, as the module's result."""
        running, state = self.unit_running(), self.state()
        finished = not running and state.get("phase") in FINISHED
        return {"changed": False, "running": running, "finished": finished, "state": public(state)}
