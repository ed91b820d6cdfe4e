"""A host leaves its fleet: the fleet's programs there are stopped and its files removed."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from glob import glob
from pathlib import Path
from typing import Any

from .bench.account import BenchError
from .files import with_block
from .foreign import as_owner, read_bytes, replace
from .mariadb.options import server_options
from .nginx.standby import brought
from .processes import processes
from .supervisor.call import control_words
from .supervisor.control import linked_logs, readable, return_logs
from .supervisor.programs import LOGS
from .units import CHANGES

# A function such as AnsibleModule.run_command.
Run = Callable[..., tuple[int, str, str]]
MARK = "fleet.json"
# Beside the mark while a primary leaves: the next run goes on there.
LEAVING = "leaving"
UNITS = "/etc/systemd/system"
# They copy the sites folder every minute, and on the standby when files change.
COPIES = (
    "/etc/cron.d/benchfleet-site-sync",
    "/etc/logrotate.d/benchfleet-site-sync",
    f"{UNITS}/{CHANGES}",
)
# They run the program of the copies all the time.
FILES_UNITS = ("benchfleet-files.socket", "benchfleet-files.service", CHANGES)
# The packet filter goes last: until then it protects what listens on the LAN.
FIREWALL = f"{UNITS}/benchfleet-firewall.service"
# Files and folders besides those in the module's options.
OWN = (
    *COPIES,
    "/etc/sudoers.d/benchfleet-bench",
    "/etc/sudoers.d/benchfleet-seed",
    "/etc/mysql/mariadb.conf.d/99-benchfleet.cnf",
    f"{UNITS}/certbot.service.d/benchfleet.conf",
    f"{UNITS}/mariadb.service.d/benchfleet.conf",
    f"{UNITS}/nftables.service.d/benchfleet.conf",
    f"{UNITS}/nginx.service.d/benchfleet.conf",
    f"{UNITS}/supervisor.service.d/benchfleet.conf",
    "/var/log/benchfleet-commands",
    LOGS,
)
# nginx's files of the router, its main file first; and the files of others' sites.
NGINX = "/etc/nginx/conf.d/benchfleet.conf"
ROUTER = (NGINX, "/etc/nginx/benchfleet", "/var/log/nginx/benchfleet-reports.log")
OTHER_SITES = ("/etc/nginx/conf.d/*.conf", "/etc/nginx/sites-enabled/*")
COMMAND = "/usr/local/bin/bench"
COPY_SECONDS = 90
# Around the nodes' keys among those of the bench's account; see roles/site_sync.
KEYS = "# {mark} Benchfleet: keys of the reporting hosts"


class LeaveError(Exception):
    """Something could not be stopped or removed; the message says what, and what to do."""


def fleet_of(path: str) -> str:
    """The fleet that a host is marked as part of, "" without a mark."""
    try:
        mark = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return ""
    except (OSError, ValueError) as error:
        raise LeaveError(
            f"{path} cannot be read ({error}), so it is unknown whose host this is; nothing was"
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
    """Remove a file or a folder with its content; returns whether there was one."""
    with as_owner(path, follow=False):
        if not os.path.lexists(path):
            return False
        if os.path.isdir(path) and not os.path.islink(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
        return True


class Leaver:
    """The steps, each of which may have been done before.

    asked: the options of the module host_leave.
    """

    def __init__(self, asked: Mapping[str, Any], run: Run, dry: bool) -> None:
        self.asked, self.command, self.dry = asked, run, dry
        self.did: list[str] = []

    def run(self, *command: str) -> tuple[int, str]:
        """Exit code and output of a command; 127 where it does not exist."""
        code, out, err = self.command(list(command), handle_exceptions=True)
        return code, out + err

    def must(self, note: str, *command: str) -> None:
        """Run a command, and note it as ``note``. Raises LeaveError with its output."""
        self.did.append(note)
        if self.dry:
            return
        code, out = self.run(*command)
        if code != 0:
            raise LeaveError(f"`{' '.join(command)}` failed: {out.strip()[-600:]}")

    def drop(self, path: str) -> None:
        """Remove a path and note it."""
        if os.path.lexists(path):
            self.did.append(f"remove {path}")
            if not self.dry:
                remove(path)

    def unit(self, name: str) -> None:
        """Stop and disable an existing unit."""
        _, out = self.run("systemctl", "show", name, "-p", "LoadState,ActiveState,UnitFileState")
        state = dict(line.split("=", 1) for line in out.splitlines() if "=" in line)
        if state.get("LoadState") in (None, "not-found", "masked"):
            return
        if state.get("ActiveState") != "inactive" or state.get("UnitFileState") == "enabled":
            self.must(f"stop and disable {name}", "systemctl", "disable", "--now", name)

    def stop_unit(self, name: str) -> None:
        """Stop an active unit; it stays enabled."""
        if self.run("systemctl", "is-active", name)[1].strip() in ("active", "activating"):
            self.must(f"stop {name}", "systemctl", "stop", name)

    def programs(self) -> None:
        """Stop the bench's programs, and remove them from supervisor."""
        name = os.path.basename(self.asked["bench"])
        conf = f"/etc/supervisor/conf.d/{name}.conf"
        if os.path.lexists(conf):
            # Before anything is stopped: make sure that supervisord can read the other files.
            readable({conf: None})
        code, status = self.run(*control_words("status"))
        groups = groups_of(status, name) if code != 127 else []
        if groups:
            targets = [f"{group}:*" for group in groups]
            self.must(f"stop {', '.join(groups)}", *control_words("stop", *targets))
        self.drop(conf)
        for group in groups:
            self.must(f"forget {group}", *control_words("remove", group))

    def logs(self) -> None:
        """Move the logs of a bench that stays back into it."""
        bench = self.asked["bench"]
        if not (names := linked_logs(bench)):
            return
        note = f"move {', '.join(names)} back to {bench}/logs"
        try:
            if not self.dry:
                return_logs(bench, self.asked["user"])
        except BenchError as error:
            # A fault in the account's folder must not stop the host from leaving.
            note = f"leave {bench}/logs as they are: {error}"
        self.did.append(note)

    def units(self) -> None:
        """Stop our timers, sockets and services, except the packet filter."""
        found = set(glob(f"{UNITS}/benchfleet-*.*")) - {FIREWALL}
        # Timers and sockets first: they would start their services again.
        for path in sorted(found, key=lambda path: (path.endswith(".service"), path)):
            self.unit(os.path.basename(path))

    def copies(self) -> None:
        """Stop copies of the sites folder and looks at the host; wait for a running copy."""
        for path in COPIES:
            self.drop(path)
        for unit in FILES_UNITS:
            self.stop_unit(unit)
        script = f"{self.asked['lib_dir']}/site-sync"
        deadline = time.monotonic() + COPY_SECONDS
        while not self.dry and any(script in process.words for process in processes()):
            if time.monotonic() > deadline:
                raise LeaveError(
                    f"{script} did not end within {COPY_SECONDS} s; see logs/rsync.log of the"
                    " bench, and run the same command again"
                )
            time.sleep(0.2)

    def keys(self) -> None:
        """Take the reporting nodes' keys out of the keys of the bench's account."""
        try:
            path = f"{pwd.getpwnam(self.asked['user']).pw_dir}/.ssh/authorized_keys"
            text = read_bytes(path).decode(errors="surrogateescape")
        except (KeyError, FileNotFoundError):
            # In a dry run on a bare host, there is no account.
            return
        left = with_block(text, KEYS, "")
        if left == text:
            return
        self.did.append(f"take the nodes' keys out of {path}")
        if not left.strip():
            self.drop(path)
        elif not self.dry:
            replace(path, left.encode(errors="surrogateescape"), 0o600)

    def standby(self) -> None:
        """Take off the router of a standby, with the keys that were brought from the primary."""
        if not os.path.exists(NGINX):
            return
        for path in (*ROUTER, *sorted(brought(self.asked["state_dir"]))):
            self.drop(path)
        if any(glob(mask) for mask in OTHER_SITES):
            self.must("have nginx forget the sites", "systemctl", "reload", "nginx.service")
        else:
            self.unit("nginx.service")

    def database(self) -> None:
        """Stop MariaDB, and a seed that is running."""
        if not self.dry:
            self.run("systemctl", "stop", "benchfleet-seed*")
        self.unit("mariadb.service")

    def table(self) -> None:
        """Remove the fleet's packet filter, and nothing else of nftables."""
        self.unit("benchfleet-firewall.service")
        for name in ("benchfleet", "benchfleet_fence"):
            if self.run("nft", "list", "table", "inet", name)[0] == 0:
                self.must(
                    f"remove the table {name} of nftables",
                    *("nft", "delete", "table", "inet", name),
                )

    def own_files(self) -> None:
        """Remove our files and folders, except the mark and the files beside it."""
        for path in (*OWN, *sorted(glob(f"{UNITS}/benchfleet-*.*"))):
            self.drop(path)
            with suppress(OSError):
                # The folder of a drop-in, where it is empty now.
                if path.startswith(f"{UNITS}/") and not self.dry:
                    os.rmdir(os.path.dirname(path))
        self.programs_of_ours()

    def programs_of_ours(self) -> None:
        """Remove the commands that came with the fleet, and its programs."""
        try:
            ours = "benchfleet" in Path(COMMAND).read_text(errors="replace").lower()
        except OSError:
            ours = False
        if ours:
            self.drop(COMMAND)
        if os.path.exists(f"{self.asked['cli_dir']}/.benchfleet-complete"):
            self.drop(self.asked["cli_dir"])
        pattern = f"{self.asked['bench']}/env/lib/python3*/site-packages/benchfleet.pth"
        for path in (*glob(pattern), self.asked["lib_dir"], self.asked["state_dir"]):
            self.drop(path)

    def account(self, name: str) -> None:
        """Remove the account that sends copies, if we made it."""
        _, entry = self.run("getent", "passwd", name)
        if entry.split(":")[5:6] == [f"{self.asked['state_dir']}/seed"]:
            self.must(f"remove account {name}", "userdel", name)

    def data(self) -> None:
        """Delete the copy of the database and the bench."""
        folder = server_options().get("datadir", "/var/lib/mysql").rstrip("/")
        for path in (folder, self.asked["bench"]):
            if not is_folder_of_its_own(path):
                raise LeaveError(f"{path} is no folder that may be emptied; nothing of it was")
        if os.path.islink(bench := self.asked["bench"]):
            # The bench's account chose its target, and only the link would be removed.
            raise LeaveError(
                f"{bench} is a link to {os.readlink(bench)}, which holds the bench and its"
                " passwords: remove that and the link by hand, and run the same command again"
            )
        # The folder itself stays: it belongs to the package, or is a file system of its own.
        entries = (
            [f"{folder}/{name}" for name in os.listdir(folder)] if os.path.isdir(folder) else []
        )
        for path in (*entries, f"{folder}-benchfleet", self.asked["bench"]):
            self.drop(path)

    def whose(self) -> str:
        """Whose host this is, as a text; "" where it is this fleet's."""
        fleet = fleet_of(f"{self.asked['config_dir']}/{MARK}")
        if fleet == self.asked["fleet_id"]:
            return ""
        if fleet:
            return f"is marked as part of fleet {fleet}"
        return "bears no mark of a fleet, as after a run that had cleared it"

    def leave(self) -> str:
        """Do all steps, in this order; returns a summary. Raises BenchError, LeaveError."""
        self.units()
        self.copies()
        self.programs()
        self.standby()
        self.database()
        self.table()
        if self.asked["data"] == "delete":
            self.data()
        else:
            self.logs()
        self.own_files()
        self.account(self.asked["seed_user"])
        self.settings()
        are = "would be" if self.dry else "are"
        kept = "kept" if self.asked["data"] == "keep" else "deleted"
        return (
            f"its programs and MariaDB {are} stopped and Benchfleet's files {are} removed; its"
            f" copy of the data and its bench {are} {kept}"
        )

    def settings(self) -> None:
        """Remove the folder of our settings, and the mark in it last."""
        if not self.dry:
            self.run("systemctl", "daemon-reload")
        for name in sorted(
            os.listdir(self.asked["config_dir"]), key=lambda name: (name == MARK, name == LEAVING)
        ):
            self.drop(f"{self.asked['config_dir']}/{name}")
        self.drop(self.asked["config_dir"])
