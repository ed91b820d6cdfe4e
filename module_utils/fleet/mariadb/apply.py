"""The running server has the settings of its option file: changed in place, else by one restart."""

from __future__ import annotations

import glob
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..changes import Changes, diff
from ..module import FleetModule
from ..systems import PYMYSQL
from .conflicts import Conflict, agrees, conflicts_of, differences, is_by_files
from .options import BINARY, Row, Said, bare, data_folder, look, normal
from .server import (
    MariaDBError,
    Server,
    installed,
    local,
    running_variables,
    shows_another_certificate,
)
from .statements import quote_text

SERVICE = "mariadb"
NAME = "MariaDB"
DROP_INS = f"/etc/systemd/system/{SERVICE}.service.d"
# By how much the start time of a process may be wrong.
START_SECONDS = 0.05


class ConflictError(MariaDBError):
    """The fleet's settings cannot be in force; conflicts says why."""

    def __init__(self, conflicts: list[Conflict]) -> None:
        self.conflicts = conflicts
        lines = "\n".join(f"- {one.what} ({one.place}): {one.remedy}" for one in conflicts)
        super().__init__(f"MariaDB cannot use the fleet's settings; it was not restarted:\n{lines}")


class UnchangedError(MariaDBError):
    """The server has other values than its file, and no restart would help."""


class ConsentError(MariaDBError):
    """The server was adopted, and needs a restart that its operator has not confirmed."""


def left_over(
    wanted: dict[str, Any], running: Mapping[str, Row], own: str, said: list[Said]
) -> dict[str, str]:
    """Settings that the server took from our file and that are no longer in any file.

    own: the path by which ours is read. What is below an include has the path of the file that was
    included last.
    """
    others = {entry.name for entry in said if not entry.place.startswith(f"{own}:")}
    # expire_logs_days is the other name of one that is set.
    names = {bare(name) for name in wanted} | others | {"expire_logs_days"}
    return {
        name: str(row["value"])
        for name, row in running.items()
        if row.get("path") == own and name not in names
    }


def literal(value: Any) -> str:
    """A value in SET GLOBAL."""
    text = normal(value)
    if isinstance(value, bool) or re.fullmatch(r"-?\d+(\.\d+)?", text):
        return text
    return quote_text(str(value))


def started_at(server: Server) -> float:
    """When the server was started, seconds since the epoch, to a hundredth."""
    folder, file = (str(server.value(f"SELECT @@{name}")) for name in ("datadir", "pid_file"))
    try:
        number = Path(folder, file).read_text().strip()
        # Field 22: the name before it can have blanks, and ends with the last bracket.
        ticks = Path("/proc", number, "stat").read_text().rpartition(")")[2].split()[19]
        up = float(Path("/proc/uptime").read_text().split()[0])
    except OSError:
        # Only whole seconds.
        return time.time() - float(server.rows("SHOW GLOBAL STATUS LIKE 'Uptime'")[0]["Value"])
    return time.time() - up + int(ticks) / os.sysconf("SC_CLK_TCK")


class Keeper(Changes):
    """Gives one server its settings; collects for the result what was done."""

    def __init__(self, module: FleetModule) -> None:
        super().__init__()
        self.module = module
        self.applied: list[str] = []
        self.restarted_for: list[str] = []
        self.restart_seconds: dict[str, float] = {}

    def must(self, *arguments: str) -> None:
        """Run systemctl, except in a dry run. Raises MariaDBError with the end of the log."""
        if self.module.check_mode:
            return
        code, out, err = self.module.run_command(["systemctl", *arguments])
        if code == 0:
            return
        journal = ["journalctl", "-u", SERVICE, "-n", "15", "--no-pager", "-o", "cat"]
        _, log, _ = self.module.run_command(journal)
        raise MariaDBError(
            f"`systemctl {' '.join(arguments)}` failed: {(out + err).strip()}\n"
            f"The end of the server's log:\n{log.strip()}"
        )

    def unread(self, state: dict[str, str]) -> bool:
        """Whether systemd has not read the unit's files as they are now.

        NeedDaemonReload shows that, except for a drop-in whose folder is new.
        """
        files = glob.glob(f"{DROP_INS}/*.conf")
        known = state.get("DropInPaths", "").split()
        return state.get("NeedDaemonReload") == "yes" or not set(files) <= set(known)

    def service_up(self) -> bool:
        """Enable and start the service. Returns False when check mode left it stopped."""
        about = "ActiveState,DropInPaths,NeedDaemonReload,UnitFileState"
        _, out, _ = self.module.run_command(["systemctl", "show", SERVICE, "-p", about])
        state = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
        if self.unread(state):
            self.note("service: changed unit not read", "service: changed unit read")
            self.must("daemon-reload")
        if state.get("UnitFileState") == "disabled":
            self.note("service: disabled", "service: enabled")
            self.must("enable", SERVICE)
        if state.get("ActiveState") in ("active", "reloading"):
            return True
        self.note(f"service: {state.get('ActiveState')}", "service: active")
        if self.module.check_mode:
            return False
        self.fill_empty_folder()
        self.must("start", SERVICE)
        return True

    def fill_empty_folder(self) -> None:
        """Make the system tables, without which no server starts, in an emptied data folder."""
        folder = data_folder()
        if not os.path.isdir(folder) or os.listdir(folder):
            return
        options = ["--no-defaults", f"--datadir={folder}", "--user=mysql", "--skip-test-db"]
        code, out, err = self.module.run_command(["mariadb-install-db", *options])
        if code != 0:
            raise MariaDBError(
                f"{folder} is empty, and mariadb-install-db failed: {(err or out).strip()[-600:]}"
            )

    def refuse(self, files: dict[str, Any], variables: Mapping[str, Row]) -> None:
        """Raise ConflictError where the fleet's settings cannot be in force."""
        plan, path = self.module.params["settings"], self.module.params["file"]
        if conflicts := conflicts_of(plan, files, variables, path):
            raise ConflictError(conflicts)

    def stale(self, server: Server, seen: list[str]) -> bool:
        """Whether a file that the server reads at its start has changed since it started."""
        files = [self.module.params["file"], *seen, DROP_INS, *glob.glob(f"{DROP_INS}/*")]
        changed = [os.stat(path).st_ctime for path in files if os.path.exists(path)]
        return max(changed, default=0.0) > started_at(server) + START_SECONDS

    def to_be_written(self, name: str, files: dict[str, Any]) -> bool:
        """Whether a real run would have changed a setting in our file."""
        own = [entry for entry in files["said"] if entry.place.startswith(f"{files['own']}:")]
        there = {entry.name: normal(entry.value) for entry in own}
        wanted = {key: normal(value) for key, value in self.wanted.items()}
        return bool(self.module.check_mode) and there.get(name) != wanted.get(name)

    def settle(self) -> None:
        """Compare, set, restart, and compare again."""
        files = look(self.module.params["file"])
        with local() as server:
            variables = running_variables(server)
            self.refuse(files, variables)
            differing = differences(self.wanted, variables)
            surplus = left_over(
                self.module.params["settings"], variables, files["own"], files["said"]
            )
            changed = self.stale(server, files["seen"])
            for name, value in {**differing, **surplus}.items():
                stale = changed or self.to_be_written(name, files)
                if not stale and (name in surplus or is_by_files(name, variables)):
                    continue
                wanted = literal(self.wanted[name]) if name in differing else "DEFAULT"
                if variables[name]["fixed"] != "YES" and self.set_global(server, name, wanted):
                    self.applied.append(name)
                elif stale:
                    self.restarted_for.append(name)
                else:
                    self.give_up({name: value}, variables)
                now = self.wanted.get(name, "(server's default)")
                self.note(f"{name} = {value}", f"{name} = {now}")
            path = str(variables.get("ssl_cert", {}).get("value") or "")
            renewed = os.path.exists(path) and shows_another_certificate(path)
            if renewed and not self.restarted_for:
                self.note("certificate: older than the file", "certificate: the file's")
                if not self.module.check_mode:
                    server.reload_certificates()
        if not self.restarted_for:
            return
        self.consent()
        if self.module.check_mode:
            return
        since = time.monotonic()
        self.must("restart", SERVICE)
        with local() as server:
            self.restart_seconds[NAME] = time.monotonic() - since
            variables = running_variables(server)
            left = differences(self.wanted, variables)
            self.give_up(
                {name: value for name, value in left.items() if not is_by_files(name, variables)},
                variables,
            )

    @property
    def wanted(self) -> dict[str, Any]:
        """The settings to compare, by their variables."""
        return {
            bare(name): value
            for name, value in self.module.params["settings"].items()
            if bare(name) not in self.module.params["runtime"]
        }

    @staticmethod
    def give_up(left: dict[str, str], variables: Mapping[str, Row]) -> None:
        """Raise UnchangedError where settings are left that no restart would change."""
        if left:
            values = ", ".join(
                f"{name} is {value} (origin {variables[name]['origin']})"
                for name, value in left.items()
            )
            raise UnchangedError(
                f"MariaDB was started with the fleet's file and has other values: {values}. Another"
                " restart would not help. Set these values in mariadb_settings_extra, or find out"
                " with `journalctl -u mariadb` and `systemctl cat mariadb` what changes them"
            )

    def consent(self) -> None:
        """Raise ConsentError where an adopted server's restart was not confirmed."""
        params = self.module.params
        if params["restart_confirmed"] or self.module.check_mode:
            return
        if os.path.exists(params["adopted"]):
            raise ConsentError(
                f"MariaDB has to be restarted for {', '.join(self.restarted_for)}. It was adopted,"
                " so it is restarted only when you confirm it; the other settings are in force. Run"
                " the same command with `-e adopt_restart_confirmed=true` when it suits you"
            )

    def set_global(self, server: Server, name: str, value: str) -> bool:
        """Change a setting in place; returns False when it needs a restart.

        value: in SQL; DEFAULT for one that no file has any more.
        """
        if self.module.check_mode:
            return True
        try:
            server.run(f"SET GLOBAL {name} = {value}")
        except Exception:
            return False
        now = running_variables(server)
        if name in self.wanted:
            return agrees(name, self.wanted[name], now)
        return bool(now[name]["origin"] == "SQL")


def bring(module: FleetModule) -> dict[str, Any]:
    """Result of the module mariadb_settings. Raises MariaDBError."""
    nothing: dict[str, Any] = {"changed": False, "applied": [], "restarted_for": [], "restarts": []}
    if os.path.exists(module.params["fence"]):
        message = "a seed is moving data into place; the server reads its file when it starts"
        return {**nothing, "msg": message}
    if not installed():
        if not module.check_mode:
            raise MariaDBError(
                f"{BINARY} or {PYMYSQL} is missing on this host although both were just installed;"
                " see /var/log/apt/history.log"
            )
        if os.path.exists(BINARY):
            # A server to be adopted: without the client library it cannot be asked.
            return {
                **nothing,
                "changed": True,
                "restarted_for": ["settings"],
                "restarts": [NAME],
                "msg": "would restart the running server once",
                "diff": diff(
                    ["server running without this option file"],
                    ["server restarted once, running with it"],
                ),
            }
        return {
            **nothing,
            "changed": True,
            "msg": "would start a MariaDB server with these settings",
            "diff": diff(["no server"], ["server running with its option file"]),
        }
    keeper = Keeper(module)
    if keeper.service_up():
        keeper.settle()
    return keeper.result(
        applied=keeper.applied,
        restarted_for=keeper.restarted_for,
        restarts=[NAME] if keeper.restarted_for else [],
        restart_seconds=keeper.restart_seconds,
    )
