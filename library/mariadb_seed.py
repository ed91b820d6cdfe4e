#!/usr/bin/python
"""Give a replica its first copy of the primary's data: decide, start, and tell how far it is."""

from __future__ import annotations

import time
from typing import Any

from ansible.module_utils.fleet.mariadb.options import server_options
from ansible.module_utils.fleet.mariadb.server import (
    SYSTEM_SCHEMAS,
    MariaDBError,
    ServerAbsentError,
    local,
    read_json,
)
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: mariadb_seed
short_description: A replica holds a copy of the primary's data
description:
  - Starts the seed as a unit of its own and returns; the action plugin of the same name follows it.
  - Seeds only a server that nobody seeded, that follows nobody and that holds no schema but the
    system's,
    on a host of this fleet. Goes on with a seed that was cut short. Everything else is refused.
options:
  step:
    description: C(begin) decides and starts, C(poll) only looks.
    choices: [begin, poll]
    default: begin
    type: str
  sources:
    description: Servers that may give the copy, each as name=address, in the order in which they
      are asked; the primary last.
    type: list
    elements: str
    required: true
  ssh_port: {description: Their ssh port., type: int, required: true}
  seed_user: {description: Unix account that hands out seeds there., type: str, required: true}
  fleet_id: {description: This fleet., type: str, required: true}
  fleet_file: {description: The file that says whose host this is., type: path, required: true}
  state_file: {description: What the seed is doing., type: path, required: true}
  script: {description: The receiving script., type: path, required: true}
  memory_mb: {description: MiB for applying the log., type: int, default: 128}
  reseed:
    description: Replace the data although it is not an unseeded server's; the old folder is kept.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Replica holds a copy of the primary's data
  mariadb_seed:
    sources: [rep1=192.0.2.21, erp1=192.0.2.11]
    ssh_port: 22
    seed_user: "{{ fleet_seed_user }}"
    fleet_id: "{{ fleet_secrets.fleet_id }}"
    fleet_file: "{{ fleet_config_dir }}/fleet.json"
    state_file: "{{ fleet_state_dir }}/mariadb-seed.json"
    script: "{{ fleet_lib_dir }}/mariadb-seed-receive"
"""

RETURN = r"""
running: {description: Whether the seed is at work., returned: always, type: bool}
finished: {description: Whether the server runs on a seeded copy., returned: always, type: bool}
state: {description: Phase and figures of the seed., returned: always, type: dict}
"""

# A name of its own for each start: a dead unit that systemd has not let go of is in nobody's way.
UNIT = "benchfleet-seed-"
# The old data is being replaced: there is only forward.
REPLACING = ("swap_out", "swap_in", "start")
FINISHED = ("seeded", "done")


class Situation:
    """What a replica's server looks like before a decision."""

    def __init__(
        self,
        *,
        phase: str | None,
        failed: bool,
        running: bool,
        follows: str | None,
        schemas: list[str],
        answers: bool,
        reseed: bool,
        reseeding: bool = False,
    ) -> None:
        self.phase = phase
        self.reseeding = reseeding
        self.failed = failed
        self.running = running
        self.follows = follows
        self.schemas = schemas
        self.answers = answers
        self.reseed = reseed


def decide(seen: Situation) -> tuple[str, str]:
    """What to do: (verb, reason).

    Verbs: attach (a seed is at work), resume (go on with one that was cut short), seed, reseed,
    abandon (give up a seed that cannot finish and begin anew), nothing, refuse.
    """
    if seen.running:
        return "attach", "a seed is at work already"
    if seen.phase in REPLACING:
        if seen.reseed and seen.failed:
            return "abandon", f"the last seed failed in phase {seen.phase}"
        return "resume", f"a seed was cut short in phase {seen.phase}"
    if seen.reseeding and seen.phase not in (None, *FINISHED):
        return "resume", f"a reseed was cut short in phase {seen.phase}"
    if seen.reseed:
        return "reseed", "asked for with mariadb_replica_reseed"
    if seen.phase in FINISHED:
        return "nothing", "seeded before"
    if not seen.answers:
        return "refuse", "its server does not answer, so nobody can tell what its data folder holds"
    if seen.follows:
        return "nothing", f"follows {seen.follows} already"
    if seen.schemas:
        return "refuse", "it holds data this fleet did not put there: " + ", ".join(seen.schemas)
    if seen.phase not in (None, *FINISHED):
        return "resume", f"a seed was cut short in phase {seen.phase}"
    return "seed", "an empty server"


def public(state: dict[str, Any]) -> dict[str, Any]:
    """The state without what identifies the fleet."""
    return {key: value for key, value in state.items() if key != "fleet_id"}


class Seeder:
    """Looks, decides and starts."""

    def __init__(self, module: FleetModule) -> None:
        self.module = module
        self.params = module.params

    def unit_running(self) -> bool:
        """Whether the seed's unit is at work."""
        code, out, err = self.module.run_command(
            ["systemctl", "show", f"{UNIT}*", "-p", "ActiveState", "--value"]
        )
        if code != 0:
            raise MariaDBError(
                f"systemctl does not tell whether a seed runs: {(err or out).strip()}"
            )
        return bool(set(out.split()) & {"active", "activating", "deactivating", "reloading"})

    def state(self) -> dict[str, Any]:
        """The seed's state file. Raises MariaDBError when it is another fleet's."""
        found = read_json(self.params["state_file"]) or {}
        if found and found.get("fleet_id") != self.params["fleet_id"]:
            raise MariaDBError(
                f"{self.params['state_file']} belongs to another fleet: this host was seeded by it."
                " Take the host out of that fleet first, or move the file away and see to the data"
            )
        return found

    def look(self, state: dict[str, Any]) -> Situation:
        """What there is. ServerAbsentError passes through."""
        follows, schemas, answers = None, [], True
        try:
            with local() as server:
                status = server.replica_status()
                follows = str(status["Master_Host"]) if status else None
                schemas = sorted(
                    row["name"]
                    for row in server.rows(
                        "SELECT SCHEMA_NAME AS name FROM information_schema.SCHEMATA"
                    )
                    if row["name"].lower() not in SYSTEM_SCHEMAS
                )
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
        """The command that starts the unit."""
        words = [
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
            f"--datadir={server_options().get('datadir', '/var/lib/mysql').rstrip('/')}",
            f"--memory={self.params['memory_mb']}",
        ]
        if verb in ("reseed", "abandon"):
            # Anew, for a copy that waits to be moved in may be older than the data it replaces.
            words += ["--keep-old", "--anew"]
        return words

    def start(self, verb: str) -> None:
        """Start the unit; it outlives this session."""
        code, out, err = self.module.run_command(self.command(verb))
        if code != 0:
            raise MariaDBError(f"systemd-run could not start the seed: {(err or out).strip()}")

    def begin(self) -> dict[str, Any]:
        """Decide and start. Returns the module's result."""
        state = self.state()
        seen = self.look(state)
        verb, reason = decide(seen)
        if verb == "refuse":
            raise MariaDBError(
                f"this host is not seeded: {reason}. If that data may go,"
                " -e mariadb_replica_reseed=<host> replaces it and keeps the old folder beside it"
            )
        finished = verb == "nothing"
        result: dict[str, Any] = {
            "changed": not finished,
            "running": False,
            "finished": finished,
            "state": public(state),
            "msg": reason,
        }
        if finished:
            return result
        result["diff"] = {"before": f"{reason}\n", "after": "a copy of the primary's data\n"}
        if self.module.check_mode:
            return result
        if verb != "attach":
            owner = read_json(self.params["fleet_file"]) or {}
            if owner.get("fleet_id") != self.params["fleet_id"]:
                raise MariaDBError(
                    f"{self.params['fleet_file']} does not name this fleet, so the data on this"
                    " host is not ours to replace; run the whole site.yml"
                )
            self.start(verb)
        result["running"] = True
        return result

    def poll(self) -> dict[str, Any]:
        """Only look."""
        running = self.unit_running()
        state = self.state()
        return {
            "changed": False,
            "running": running,
            "finished": not running and state.get("phase") in FINISHED,
            "state": public(state),
        }


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "step": {"choices": ["begin", "poll"], "default": "begin"},
            "sources": {"type": "list", "elements": "str", "required": True},
            "ssh_port": {"type": "int", "required": True},
            "seed_user": {"type": "str", "required": True},
            "fleet_id": {"type": "str", "required": True},
            "fleet_file": {"type": "path", "required": True},
            "state_file": {"type": "path", "required": True},
            "script": {"type": "path", "required": True},
            "memory_mb": {"type": "int", "default": 128},
            "reseed": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    seeder = Seeder(module)
    try:
        result = seeder.begin() if module.params["step"] == "begin" else seeder.poll()
    except ServerAbsentError as absent:
        if not module.check_mode:
            module.fail_json(msg=str(absent))
        module.exit_json(
            changed=True,
            running=False,
            finished=False,
            state={},
            msg="would seed the new server",
            diff={"before": "no server\n", "after": "a copy of the primary's data\n"},
        )
    except MariaDBError as error:
        module.fail_json(msg=str(error))
    module.exit_json(**result)


if __name__ == "__main__":
    main()
