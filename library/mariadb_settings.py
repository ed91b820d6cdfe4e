#!/usr/bin/python
"""Make a running MariaDB server live by its option file, restarting only when it must."""

from __future__ import annotations

import glob
import os
import re
import ssl
import time
from typing import Any

from ansible.module_utils.fleet import FleetModule
from ansible.module_utils.mariadb import (
    SERVER_BINARY,
    MariaDBError,
    Server,
    installed,
    local,
    quote_text,
    shown_certificate,
)
from ansible.module_utils.systems import PYMYSQL

DOCUMENTATION = r"""
module: mariadb_settings
short_description: A running MariaDB server lives by its option file
description:
  - Compares the wanted settings with what the server runs with. What can be changed in place is
    set;
    the rest is one restart.
  - A difference is accepted when the server was started from this very file and rounded the value.
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

UNITS = {"K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def normal(value: Any) -> str:
    """One spelling for a value, so that 256M, 268435456 and ON, 1 compare equal."""
    if isinstance(value, bool):
        return "1" if value else "0"
    text = str(value).strip().strip("'\"")
    if text.upper() in ("ON", "TRUE", "YES"):
        return "1"
    if text.upper() in ("OFF", "FALSE", "NO"):
        return "0"
    size = re.fullmatch(r"(\d+)([KMGT])", text.upper())
    if size:
        return str(int(size.group(1)) * UNITS[size.group(2)])
    if re.fullmatch(r"-?\d+\.\d+", text):
        text = text.rstrip("0").rstrip(".")
    return text.lower()


def file_values(text: str) -> dict[str, str]:
    """The ``name = value`` lines of an option file that are the server's."""
    found: dict[str, str] = {}
    ours = True
    for line in text.splitlines():
        if section := re.fullmatch(r"\[([\w.-]+)\]\s*", line):
            ours = section.group(1).split("-")[0] in ("mariadbd", "mysqld")
        name, separator, value = line.partition("=")
        if ours and separator and not line.lstrip().startswith("#"):
            found[bare(name.strip())] = value.strip()
    return found


def bare(name: str) -> str:
    """A setting's variable name, without the prefix that lets an older server ignore it."""
    return name.replace("-", "_").removeprefix("loose_").lower()


def rounded(value: Any, variable: dict[str, Any]) -> str:
    """A wanted value as the server would round it to its limits and block size."""
    text = normal(value)
    if not text.isdigit() or not str(variable.get("block") or "").isdigit():
        return text
    low, high, block = (variable[key] for key in ("low", "high", "block"))
    number = max(int(low), min(int(high), int(text)))
    return str(number // int(block) * int(block)) if int(block) > 1 else str(number)


def agrees(name: str, value: Any, running: dict[str, dict[str, Any]]) -> bool:
    """Whether the server runs with a wanted value."""
    shown = normal(running[name]["value"])
    if name == "log_bin" and shown == "1" and "log_bin_basename" in running:
        # log_bin itself only says ON; the name it was given is elsewhere.
        base = str(running["log_bin_basename"]["value"])
        return str(value) in (base, os.path.basename(base)) or normal(value) == "1"
    return shown in (normal(value), rounded(value, running[name]))


def differences(
    wanted: dict[str, Any],
    running: dict[str, dict[str, Any]],
    in_file: dict[str, str],
    started_from_file: bool,
) -> dict[str, str]:
    """Settings the server does not live by: name -> what it runs with.

    ``running`` is name -> {value, origin} of the server's variables. Options that are no
    variables here (an older server) are left out. A value that the server was started with and
    changed by itself (rounding to a block, a limit) is what the file means on this server.
    """
    found: dict[str, str] = {}
    for name, value in wanted.items():
        variable = bare(name)
        if variable not in running or agrees(variable, value, running):
            continue
        same_file = variable in in_file and normal(in_file[variable]) == normal(value)
        if same_file and started_from_file and running[variable]["origin"] != "SQL":
            continue
        found[variable] = str(running[variable]["value"])
    return found


def left_over(
    wanted: dict[str, Any], running: dict[str, dict[str, Any]], path: str
) -> dict[str, str]:
    """Settings the server took from our file that are no longer in it."""
    names = {bare(name) for name in wanted}
    return {
        name: str(entry["value"])
        for name, entry in running.items()
        if entry.get("path") == path and name not in names
    }


def literal(value: Any) -> str:
    """A value in SET GLOBAL."""
    text = normal(value)
    if isinstance(value, bool) or re.fullmatch(r"-?\d+(\.\d+)?", text):
        return text
    return quote_text(str(value))


def running_variables(server: Server) -> dict[str, dict[str, Any]]:
    """Every variable: value, where it came from, whether it can be changed in place."""
    return {
        row["name"].lower(): row
        for row in server.rows(
            "SELECT VARIABLE_NAME AS name, GLOBAL_VALUE AS value, GLOBAL_VALUE_ORIGIN AS origin,"
            " GLOBAL_VALUE_PATH AS path, READ_ONLY AS fixed, NUMERIC_MIN_VALUE AS low,"
            " NUMERIC_MAX_VALUE AS high, NUMERIC_BLOCK_SIZE AS block"
            " FROM information_schema.SYSTEM_VARIABLES WHERE VARIABLE_SCOPE <> 'SESSION ONLY'"
        )
    }


def started_at(server: Server) -> float:
    """When the server was started, seconds since the epoch."""
    uptime = server.rows("SHOW GLOBAL STATUS LIKE 'Uptime'")[0]["Value"]
    return time.time() - float(uptime)


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
        _, options, _ = self.module.run_command(["my_print_defaults", "--mysqld"])
        found = re.findall(r"^--datadir=(.+)$", options, re.MULTILINE)
        folder = found[-1] if found else "/var/lib/mysql"
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
        if not path or not os.path.exists(path):
            return False
        with open(path, encoding="ascii") as source:
            on_disk = ssl.PEM_cert_to_DER_cert(source.read().strip() + "\n")
        shown = shown_certificate()
        return shown is not None and shown != on_disk

    def settle(self) -> None:
        """Compare, set, restart."""
        wanted: dict[str, Any] = {
            name: value
            for name, value in self.module.params["settings"].items()
            if bare(name) not in self.module.params["runtime"]
        }
        path = self.module.params["file"]
        in_file: dict[str, str] = {}
        written = 0.0
        if os.path.exists(path):
            with open(path, encoding="utf-8") as source:
                in_file = file_values(source.read())
            written = os.stat(path).st_mtime
        with local() as server:
            variables = running_variables(server)
            differing = differences(wanted, variables, in_file, started_at(server) > written)
            surplus = left_over(self.module.params["settings"], variables, path)
            for name, value in {**differing, **surplus}.items():
                now = wanted.get(name, wanted.get(f"loose_{name}", "(server's default)"))
                self.note(f"{name} = {value}", f"{name} = {now}")
            for name in differing:
                value = wanted.get(name, wanted.get(f"loose_{name}"))
                if variables[name]["fixed"] == "YES" or not self.set_global(server, name, value):
                    self.restarted_for.append(name)
                else:
                    self.applied.append(name)
            self.restarted_for += list(surplus)
            if self.certificate_renewed(variables) and not self.restarted_for:
                self.note("certificate: older than the file", "certificate: the file's")
                if not self.module.check_mode:
                    server.run("FLUSH SSL")
        if self.restarted_for:
            self.restart()

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
