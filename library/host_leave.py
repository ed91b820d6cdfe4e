#!/usr/bin/python
"""Stop what a fleet runs on this host, and take away what it put there."""

from __future__ import annotations

import json
import os
import shutil
import time
from glob import glob
from pathlib import Path

from ansible.module_utils.fleet.bench.account import BenchError
from ansible.module_utils.fleet.foreign import as_owner
from ansible.module_utils.fleet.mariadb.options import server_options
from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.supervisor.control import linked_logs, readable, return_logs
from ansible.module_utils.fleet.supervisor.programs import LOGS, control_words
from ansible.module_utils.fleet.verify.look import processes

DOCUMENTATION = r"""
module: host_leave
short_description: A reporting node serves, replicates and copies no more, and forgets its fleet
description:
  - Touches a host only that bears the mark of this very fleet. The mark goes last, so a run that
    was killed is finished by the next one.
  - Workers end the jobs that they do, within the bounds that supervisor has for them. MariaDB is
    stopped and disabled; its data and the bench's folder stay unless C(data=delete).
  - Packages and the bench's account stay, and so does supervisor, without our programs.
options:
  fleet_id: {description: The fleet that the host leaves., type: str, required: true}
  config_dir: {description: Where the fleet's mark lies., type: path, required: true}
  lib_dir: {description: Scripts of Benchfleet., type: path, required: true}
  state_dir: {description: State of Benchfleet., type: path, required: true}
  bench: {description: Directory of the bench., type: path, required: true}
  user: {description: The bench's account., type: str, required: true}
  cli_dir: {description: Directory of the bench CLI., type: path, required: true}
  seed_user: {description: Account that hands out copies., type: str, required: true}
  data:
    description: What becomes of the copy of the database and of the bench.
    type: str
    choices: [keep, delete]
    default: keep
"""

EXAMPLES = r"""
- name: Host serves no more and forgets its fleet
  host_leave:
    fleet_id: "{{ fleet_secrets.fleet_id }}"
    config_dir: "{{ fleet_config_dir }}"
    lib_dir: "{{ fleet_lib_dir }}"
    state_dir: "{{ fleet_state_dir }}"
    bench: "{{ fleet_bench_dir }}"
    user: frappe
    cli_dir: "{{ bench_cli_dir }}"
    seed_user: "{{ fleet_seed_user }}"
"""

RETURN = r"""
marked: {description: Whether the host bore this fleet's mark., returned: success, type: bool}
words: {description: What was done, or why nothing was., returned: success, type: str}
did: {description: What was done, or would be., returned: success, type: list}
"""

MARK = "fleet.json"
# By these the sites folder is copied every minute.
COPIES = ("/etc/cron.d/benchfleet-site-sync", "/etc/logrotate.d/benchfleet-site-sync")
# By these single files are copied as soon as they are opened.
FETCHERS = ("benchfleet-files.socket", "benchfleet-files.service")
# Files and folders besides those that the options name.
OWN = (
    *COPIES,
    *(f"/etc/systemd/system/{unit}" for unit in FETCHERS),
    "/etc/sudoers.d/benchfleet-bench",
    "/etc/sudoers.d/benchfleet-seed",
    "/etc/mysql/mariadb.conf.d/99-benchfleet.cnf",
    "/etc/systemd/system/benchfleet-firewall.service",
    "/etc/systemd/system/mariadb.service.d/benchfleet.conf",
    "/etc/systemd/system/nftables.service.d/benchfleet.conf",
    "/etc/systemd/system/supervisor.service.d/benchfleet.conf",
    "/var/log/benchfleet-commands",
    LOGS,
)
COMMAND = "/usr/local/bin/bench"
COPY_SECONDS = 90


class LeaveError(Exception):
    """Something could not be stopped; the message says what and what to do."""


def fleet_of(path: str) -> str:
    """The fleet that a host is marked as part of, "" without a mark."""
    try:
        mark = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise LeaveError(
            f"{path} cannot be read ({error}), so nobody can tell whose host this is; nothing was"
            " touched. Put the file back, or clear the host by hand"
        ) from error
    return str(mark.get("fleet_id", "")) if isinstance(mark, dict) else ""


def groups_of(status: str, prefix: str) -> list[str]:
    """The groups of a bench's programs in the output of `supervisorctl status`."""
    names = (line.split(":")[0] for line in status.splitlines() if ":" in line.split(" ")[0])
    return list(dict.fromkeys(name for name in names if name.startswith(f"{prefix}-")))


def is_folder_of_its_own(path: str) -> bool:
    """Whether a folder may be emptied: an absolute path that is at least two levels deep."""
    return os.path.isabs(path) and len(Path(os.path.normpath(path)).parts) > 2


def remove(path: str) -> bool:
    """Remove a file or a folder with all that is in it; whether there was one."""
    with as_owner(path, follow=False):
        if not os.path.lexists(path):
            return False
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
        return True


class Leaver:
    """The steps, each of which may have been done before."""

    def __init__(self, module: FleetModule) -> None:
        self.module = module
        self.params = module.params
        self.check = module.check_mode
        self.did: list[str] = []

    def run(self, *words: str) -> tuple[int, str]:
        """Exit code and output of a command; 127 where it does not exist."""
        code, out, err = self.module.run_command(list(words), handle_exceptions=True)
        return code, out + err

    def must(self, words: str, *command: str) -> None:
        """Run a command, noted as ``words``. Raises LeaveError with its output."""
        self.did.append(words)
        if self.check:
            return
        code, out = self.run(*command)
        if code != 0:
            raise LeaveError(f"`{' '.join(command)}` failed: {out.strip()[-600:]}")

    def drop(self, path: str) -> None:
        """Remove a path and note it."""
        if os.path.lexists(path):
            self.did.append(f"remove {path}")
            if not self.check:
                remove(path)

    def unit(self, name: str) -> None:
        """Stop and disable a unit that is there."""
        _, out = self.run("systemctl", "show", name, "-p", "LoadState,ActiveState,UnitFileState")
        state = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
        if state.get("LoadState") in (None, "not-found", "masked"):
            return
        if state.get("ActiveState") != "inactive" or state.get("UnitFileState") == "enabled":
            self.must(f"stop and disable {name}", "systemctl", "disable", "--now", name)

    def readable_without(self, conf: str) -> None:
        """See that supervisord can read what is left. Raises LeaveError before anything stops."""
        try:
            readable({conf: None})
        except BenchError as error:
            raise LeaveError(str(error)) from error

    def programs(self) -> None:
        """No program of the bench runs, and supervisor does not know them."""
        name = os.path.basename(self.params["bench"])
        conf = f"/etc/supervisor/conf.d/{name}.conf"
        if os.path.lexists(conf):
            self.readable_without(conf)
        code, status = self.run(*control_words("status"))
        groups = groups_of(status, name) if code != 127 else []
        if groups:
            targets = [f"{group}:*" for group in groups]
            self.must(f"stop {', '.join(groups)}", *control_words("stop", *targets))
        self.drop(conf)
        for group in groups:
            self.must(f"forget {group}", *control_words("remove", group))

    def logs(self) -> None:
        """The bench that stays has its logs itself."""
        bench = self.params["bench"]
        if not (names := linked_logs(bench)):
            return
        words = f"bring {', '.join(names)} back to {bench}/logs"
        try:
            if not self.check:
                return_logs(bench, self.params["user"])
        except BenchError as error:
            # The account shall not keep its host in the fleet.
            words = f"leave {bench}/logs as they are: {error}"
        self.did.append(words)

    def copies(self) -> None:
        """No copy of the sites folder begins, and none is under way."""
        for path in COPIES:
            self.drop(path)
        for unit in FETCHERS:
            self.unit(unit)
        script = f"{self.params['lib_dir']}/site-sync"
        deadline = time.monotonic() + COPY_SECONDS
        while not self.check and any(script in process.words for process in processes()):
            if time.monotonic() > deadline:
                raise LeaveError(
                    f"{script} has not ended within {COPY_SECONDS} s; see logs/rsync.log of the"
                    " bench, and run the same command again"
                )
            time.sleep(0.2)

    def database(self, seeds: str) -> None:
        """MariaDB is at rest, and no first copy is being fetched into it."""
        self.run("systemctl", "stop", seeds) if not self.check else None
        self.unit("mariadb.service")

    def table(self) -> None:
        """The fleet's packet filter is gone, and nothing else of nftables."""
        self.unit("benchfleet-firewall.service")
        if self.run("nft", "list", "table", "inet", "benchfleet")[0] == 0:
            self.must(
                "remove the table benchfleet of nftables",
                *("nft", "delete", "table", "inet", "benchfleet"),
            )

    def own_files(self) -> None:
        """Files and folders of ours, but for the mark and what lies beside it."""
        for path in OWN:
            self.drop(path)
        try:
            ours = "benchfleet" in Path(COMMAND).read_text(errors="replace").lower()
        except OSError:
            ours = False
        if ours:
            self.drop(COMMAND)
        if os.path.exists(f"{self.params['cli_dir']}/.benchfleet-complete"):
            self.drop(self.params["cli_dir"])
        pattern = f"{self.params['bench']}/env/lib/python3*/site-packages/benchfleet.pth"
        for path in (*glob(pattern), self.params["lib_dir"], self.params["state_dir"]):
            self.drop(path)

    def account(self, name: str) -> None:
        """The account that hands out copies is gone, where it is the one that we made."""
        _, entry = self.run("getent", "passwd", name)
        if entry.split(":")[5:6] == [f"{self.params['state_dir']}/seed"]:
            self.must(f"remove account {name}", "userdel", name)

    def data(self) -> None:
        """The copy of the database and the bench are deleted."""
        folder = server_options().get("datadir", "/var/lib/mysql").rstrip("/")
        for path in (folder, self.params["bench"]):
            if not is_folder_of_its_own(path):
                raise LeaveError(f"{path} is no folder that may be emptied; nothing of it was")
        if os.path.islink(bench := self.params["bench"]):
            # Where it leads to is its account's choice, and only the link would go.
            raise LeaveError(
                f"{bench} is a link to {os.readlink(bench)}, which holds the bench and its"
                " passwords: remove that and the link by hand, and run the same command again"
            )
        # The folder itself stays: it is the package's, or a file system of its own.
        entries = (
            [f"{folder}/{name}" for name in os.listdir(folder)] if os.path.isdir(folder) else []
        )
        for path in (*entries, f"{folder}-benchfleet", self.params["bench"]):
            self.drop(path)

    def leave(self) -> None:
        """All of it, what others could notice first."""
        self.copies()
        self.programs()
        self.database("benchfleet-seed*")
        self.table()
        if self.params["data"] == "delete":
            self.data()
        else:
            self.logs()
        self.own_files()
        self.account(self.params["seed_user"])
        if not self.check:
            self.run("systemctl", "daemon-reload")
        for name in sorted(os.listdir(self.params["config_dir"]), key=lambda name: name == MARK):
            self.drop(f"{self.params['config_dir']}/{name}")
        self.drop(self.params["config_dir"])


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "fleet_id": {"type": "str", "required": True},
            "config_dir": {"type": "path", "required": True},
            "lib_dir": {"type": "path", "required": True},
            "state_dir": {"type": "path", "required": True},
            "bench": {"type": "path", "required": True},
            "user": {"type": "str", "required": True},
            "cli_dir": {"type": "path", "required": True},
            "seed_user": {"type": "str", "required": True},
            "data": {"type": "str", "choices": ["keep", "delete"], "default": "keep"},
        },
        supports_check_mode=True,
    )
    module.run_command_environ_update = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C"}
    leaver = Leaver(module)
    try:
        fleet = fleet_of(f"{module.params['config_dir']}/{MARK}")
        if fleet != module.params["fleet_id"]:
            whose = (
                f"is marked as part of fleet {fleet}"
                if fleet
                else "bears no mark of a fleet, as after a run that had cleared it"
            )
            words = f"it {whose}; nothing was touched there now"
            module.exit_json(changed=False, marked=False, did=[], words=words)
        leaver.leave()
    except (LeaveError, OSError) as error:
        module.fail_json(msg=str(error), did=leaver.did)
    are = "would be" if module.check_mode else "are"
    kept = "kept" if module.params["data"] == "keep" else "deleted"
    module.exit_json(
        changed=True,
        marked=True,
        did=leaver.did,
        words=f"its programs and MariaDB {are} stopped and Benchfleet's files {are} removed; its"
        f" copy of the data and its bench {are} {kept}",
        diff={"before": "", "after": "".join(f"{line}\n" for line in leaver.did)},
    )


if __name__ == "__main__":
    main()
