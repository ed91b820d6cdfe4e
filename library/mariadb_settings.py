#!/usr/bin/python
"""Make a running MariaDB server live by its option file, restarting only when it must."""

from __future__ import annotations

import glob
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.module_utils.fleet.mariadb.options import (
    Row,
    Said,
    agrees,
    bare,
    is_by_files,
    look,
    normal,
    problems_of,
    server_options,
)
from ansible.module_utils.fleet.mariadb.server import (
    SERVER_BINARY,
    MariaDBError,
    Server,
    installed,
    local,
    quote_text,
    running_variables,
    shows_another_certificate,
)
from ansible.module_utils.fleet.module import FleetModule
from ansible.module_utils.fleet.systems import PYMYSQL

DOCUMENTATION = r"""
module: mariadb_settings
short_description: A running MariaDB server lives by its option file
description:
  - Compares the wanted settings with what the server runs with. What can be changed in place is
    set;
    the rest is one restart.
  - Fails, and restarts nothing, where a file that is read later or the command line sets another
    value, or where an option is set with which no fleet can live.
  - A restart that cannot help, as the server was started after the last change of its files, is
    not made; what it would be for is an error.
  - Starts and enables the service, reloads changed units and renewed TLS files.
  - Does nothing while a seed is moving data into place (O(fence) exists).
options:
  settings:
    description: Name to value; booleans for switches, sizes as numbers or with K, M, G.
    type: dict
    required: true
  file:
    description: The option file that holds these settings.
    type: path
    required: true
  runtime:
    description: Settings whose running value is somebody else's business (the opened primary).
    type: list
    elements: str
    default: []
  fence:
    description: Path that exists while data is being moved into place.
    type: path
    required: true
  service:
    description: Unit of the server.
    type: str
    default: mariadb
  adopted:
    description: Path that exists on a host whose server was there before the fleet.
    type: path
    required: true
  restart_confirmed:
    description: Whether such a server may be restarted.
    type: bool
    default: false
"""

EXAMPLES = r"""
- name: Server runs with its settings
  mariadb_settings:
    settings: {innodb_buffer_pool_size: 2G, read_only: true}
    file: /etc/mysql/mariadb.conf.d/99-benchfleet.cnf
    runtime: [read_only]
    fence: "{{ fleet_state_dir }}/mariadb-swap"
    adopted: "{{ fleet_state_dir }}/adopted.json"
"""

RETURN = r"""
applied:
  description: Settings that were set in the running server.
  returned: always
  type: list
restarted_for:
  description: Settings (or other reasons) that needed a restart.
  returned: always
  type: list
"""


# By how much the start of a process may be told wrongly.
START_SECONDS = 0.05


def differences(wanted: dict[str, Any], running: Mapping[str, Row]) -> dict[str, str]:
    """Settings the server does not run with: name -> what it runs with.

    Options that are no variables here (an older server) are left out.
    """
    found: dict[str, str] = {}
    for name, value in wanted.items():
        variable = bare(name)
        if variable in running and not agrees(variable, value, running):
            found[variable] = str(running[variable]["value"])
    return found


def left_over(
    wanted: dict[str, Any], running: Mapping[str, Row], own: str, said: list[Said]
) -> dict[str, str]:
    """Settings the server took from our file that are no longer in it, nor in any other.

    own: the path by which ours is read. What stands below an include has the path of the file that
    was included last.
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
        # Field 22: the name before it can hold blanks, and ends with the last bracket.
        ticks = Path("/proc", number, "stat").read_text().rpartition(")")[2].split()[19]
        up = float(Path("/proc/uptime").read_text().split()[0])
    except OSError:
        # Whole seconds.
        return time.time() - float(server.rows("SHOW GLOBAL STATUS LIKE 'Uptime'")[0]["Value"])
    return time.time() - up + int(ticks) / os.sysconf("SC_CLK_TCK")


class Keeper:
    """Brings one server in line; collects what was done for the result."""

    def __init__(self, module: FleetModule) -> None:
        self.module = module
        self.service: str = module.params["service"]
        self.applied: list[str] = []
        self.restarted_for: list[str] = []
        self.before: list[str] = []
        self.after: list[str] = []

    def note(self, before: str, after: str) -> None:
        """One line of the diff."""
        self.before.append(before)
        self.after.append(after)

    def systemctl(self, *words: str) -> tuple[int, str]:
        """Run systemctl, return exit code and output."""
        code, out, err = self.module.run_command(["systemctl", *words])
        return code, (out + err).strip()

    def must(self, *words: str) -> None:
        """Run systemctl; a failure ends the module with the server's own last words."""
        code, out = self.systemctl(*words)
        if code == 0:
            return
        _, log, _ = self.module.run_command(
            ["journalctl", "-u", self.service, "-n", "15", "--no-pager", "-o", "cat"]
        )
        raise MariaDBError(
            f"systemctl {' '.join(words)} failed: {out}\nThe server's last words:\n{log.strip()}"
        )

    def restart(self) -> None:
        """One restart for everything that needs it."""
        if not self.module.check_mode:
            self.must("restart", self.service)

    def unit_state(self) -> dict[str, str]:
        """The few properties of the unit that matter here."""
        _, out = self.systemctl(
            "show", self.service, "-p", "ActiveState,DropInPaths,NeedDaemonReload,UnitFileState"
        )
        return dict(line.split("=", 1) for line in out.splitlines() if "=" in line)

    def unread(self, state: dict[str, str]) -> bool:
        """Whether systemd does not know the unit's files as they are.

        It says so by itself, but for a drop-in whose folder is new.
        """
        files = glob.glob(f"/etc/systemd/system/{self.service}.service.d/*.conf")
        known = state.get("DropInPaths", "").split()
        return state.get("NeedDaemonReload") == "yes" or not set(files) <= set(known)

    def service_up(self) -> bool:
        """Service enabled and running, units reread. False when check mode left it stopped."""
        check = self.module.check_mode
        state = self.unit_state()
        if self.unread(state):
            self.note("service: changed unit not read", "service: changed unit read")
            if not check:
                self.must("daemon-reload")
        if state.get("UnitFileState") == "disabled":
            self.note("service: disabled", "service: enabled")
            if not check:
                self.must("enable", self.service)
        if state.get("ActiveState") in ("active", "reloading"):
            return True
        self.note(f"service: {state.get('ActiveState')}", "service: active")
        if check:
            return False
        self.fill_empty_folder()
        self.must("start", self.service)
        return True

    def fill_empty_folder(self) -> None:
        """Give a server whose data folder was emptied the system tables that it starts with."""
        folder = server_options().get("datadir", "/var/lib/mysql")
        if not os.path.isdir(folder) or os.listdir(folder):
            return
        words = ["--no-defaults", f"--datadir={folder}", "--user=mysql", "--skip-test-db"]
        code, out, err = self.module.run_command(["mariadb-install-db", *words])
        if code != 0:
            raise MariaDBError(
                f"{folder} is empty, and mariadb-install-db failed: {(err or out).strip()[-600:]}"
            )

    def certificate_renewed(self, variables: dict[str, dict[str, Any]]) -> bool:
        """Whether the certificate on disk is another one than the server shows."""
        path = str(variables.get("ssl_cert", {}).get("value") or "")
        return os.path.exists(path) and shows_another_certificate(path)

    def refuse(self, told: dict[str, Any], variables: Mapping[str, Row]) -> None:
        """Stop where our settings cannot win, or another one lets no fleet live."""
        plan, path = self.module.params["settings"], self.module.params["file"]
        if problems := problems_of(plan, told, variables, path):
            words = "\n".join(f"- {what} ({place}): {cure}" for what, place, cure in problems)
            raise MariaDBError(
                f"MariaDB cannot live by the fleet's settings; it was not restarted:\n{words}"
            )

    def stale(self, server: Server, seen: list[str]) -> bool:
        """Whether anything that the server reads at its start has changed since then."""
        folder = f"/etc/systemd/system/{self.service}.service.d"
        files = [self.module.params["file"], *seen, folder, *glob.glob(f"{folder}/*")]
        changed = [os.stat(path).st_ctime for path in files if os.path.exists(path)]
        return max(changed, default=0.0) > started_at(server) + START_SECONDS

    def to_be_written(self, name: str, told: dict[str, Any]) -> bool:
        """Whether a dry run has left a setting in our file as it was."""
        own = [entry for entry in told["said"] if entry.place.startswith(f"{told['own']}:")]
        there = {entry.name: normal(entry.value) for entry in own}
        wanted = {key: normal(value) for key, value in self.wanted.items()}
        return bool(self.module.check_mode) and there.get(name) != wanted.get(name)

    def settle(self) -> None:
        """Compare, set, restart, and compare again."""
        path = self.module.params["file"]
        told = look(path, self.service)
        with local() as server:
            variables = running_variables(server)
            self.refuse(told, variables)
            differing, surplus = self.differing(variables, told)
            changed = self.stale(server, told["seen"])
            for name, value in {**differing, **surplus}.items():
                stale = changed or self.to_be_written(name, told)
                if not stale and (name in surplus or is_by_files(name, variables)):
                    continue
                dynamic = name in differing and variables[name]["fixed"] != "YES"
                if dynamic and self.set_global(server, name, self.wanted[name]):
                    self.applied.append(name)
                elif stale:
                    self.restarted_for.append(name)
                else:
                    self.give_up({name: value}, variables)
                now = self.wanted.get(name, "(server's default)")
                self.note(f"{name} = {value}", f"{name} = {now}")
            if self.certificate_renewed(variables) and not self.restarted_for:
                self.note("certificate: older than the file", "certificate: the file's")
                if not self.module.check_mode:
                    server.reload_certificates()
        if not self.restarted_for:
            return
        self.consent()
        self.restart()
        if self.module.check_mode:
            return
        with local() as server:
            variables = running_variables(server)
            left = self.differing(variables, told)[0]
            self.give_up(
                {name: value for name, value in left.items() if not is_by_files(name, variables)},
                variables,
            )

    @property
    def wanted(self) -> dict[str, Any]:
        """The settings that are ours to compare, by their variables."""
        return {
            bare(name): value
            for name, value in self.module.params["settings"].items()
            if bare(name) not in self.module.params["runtime"]
        }

    def differing(
        self, variables: Mapping[str, Row], told: dict[str, Any]
    ) -> tuple[dict[str, str], dict[str, str]]:
        """What differs, and what is left over, each name -> what the server runs with."""
        gone = left_over(self.module.params["settings"], variables, told["own"], told["said"])
        return differences(self.wanted, variables), gone

    @staticmethod
    def give_up(left: dict[str, str], variables: Mapping[str, Row]) -> None:
        """Say what no restart brings; nothing where there is nothing."""
        if left:
            told = ", ".join(
                f"{name} is {value} (origin {variables[name]['origin']})"
                for name, value in left.items()
            )
            raise MariaDBError(
                f"MariaDB was started with the fleet's file and has other values: {told}. Another"
                " restart would not help. Set these values in mariadb_settings_extra, or look at"
                " `journalctl -u mariadb` and `systemctl cat mariadb` for what changes them"
            )

    def consent(self) -> None:
        """A server that was adopted restarts when its operator says so."""
        params = self.module.params
        if params["restart_confirmed"] or self.module.check_mode:
            return
        if os.path.exists(params["adopted"]):
            raise MariaDBError(
                f"MariaDB has to be restarted for {', '.join(self.restarted_for)}; it was adopted,"
                " and is not restarted unasked. The other settings are in force. Run the same"
                " command with -e adopt_restart_confirmed=true, at a moment of your choice"
            )

    def set_global(self, server: Server, name: str, value: Any) -> bool:
        """Change a setting in place; False when the server wants a restart for it."""
        if self.module.check_mode:
            return True
        try:
            server.run(f"SET GLOBAL {name} = {literal(value)}")
        except Exception:
            return False
        return agrees(name, value, running_variables(server))


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "settings": {"type": "dict", "required": True},
            "file": {"type": "path", "required": True},
            "runtime": {"type": "list", "elements": "str", "default": []},
            "fence": {"type": "path", "required": True},
            "service": {"type": "str", "default": "mariadb"},
            "adopted": {"type": "path", "required": True},
            "restart_confirmed": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    keeper = Keeper(module)
    if os.path.exists(module.params["fence"]):
        module.exit_json(
            changed=False,
            applied=[],
            restarted_for=[],
            msg="a seed is moving data into place; the server reads its file when it starts",
        )
    if not installed():
        if not module.check_mode:
            module.fail_json(
                msg=f"{SERVER_BINARY} or {PYMYSQL} is missing on this host although both"
                " were just installed; look at /var/log/apt/history.log"
            )
        if os.path.exists(SERVER_BINARY):
            # Without the client library it cannot be asked: a server that the fleet adopts.
            module.exit_json(
                changed=True,
                applied=[],
                restarted_for=["settings"],
                msg="would restart the running server once",
                diff={
                    "before": "server running without this option file\n",
                    "after": "server restarted once, running with it\n",
                },
            )
        module.exit_json(
            changed=True,
            applied=[],
            restarted_for=[],
            msg="would start a MariaDB server with these settings",
            diff={"before": "no server\n", "after": "server running with its option file\n"},
        )
    try:
        if keeper.service_up():
            keeper.settle()
    except MariaDBError as error:
        module.fail_json(msg=str(error))
    module.exit_json(
        changed=bool(keeper.after),
        applied=keeper.applied,
        restarted_for=keeper.restarted_for,
        diff={
            "before": "".join(f"{line}\n" for line in keeper.before),
            "after": "".join(f"{line}\n" for line in keeper.after),
        },
    )


if __name__ == "__main__":
    main()
