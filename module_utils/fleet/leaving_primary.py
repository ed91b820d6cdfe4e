"""A primary leaves its fleet: its bench goes on as the bench CLI knows it.

Each step may have been done before, by a run that was killed.
"""

from __future__ import annotations

import json
import os
import pwd
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from glob import glob
from typing import Any

from . import atomic
from .bench.account import BenchError, read_json
from .bench.jobs_tool import ask
from .calls import held
from .foreign import read_bytes, replace
from .leaving import LEAVING, LeaveError, Leaver, Run
from .mariadb.options import data_folder, server_options
from .mariadb.server import DEFINERS, MariaDBError, Server, has_database, local
from .mariadb.statements import account, quote_name
from .supervisor import control
from .supervisor.bench_programs import BenchPrograms
from .supervisor.programs import JOBS

CNF = "/etc/mysql/mariadb.conf.d/99-benchfleet.cnf"
# Settings that only a fleet needs. Sizes, character sets and the operator's own stay.
FLEET_SETTINGS = re.compile(
    r"(?:gtid|slave|relay|binlog|ssl|tls|rpl|replicate|extra)_\w+"
    r"|log_bin\w*|log_slave_updates|sync_binlog|max_binlog_size|server_id|bind_address|read_only"
    r"|event_scheduler|skip_name_resolve|userstat"
)
DATABASE = "benchfleet"
ACCOUNTS = ("repl", "fleet_probe", "fleet_heartbeat")
# The bench of this host signs in from these.
LOCAL = ("localhost", "127.0.0.1", "::1", "%")
BINARY_LOG = "binlog"
CONTROLLER_LOGS = "/var/log/benchfleet"
HOOK = "/etc/letsencrypt/renewal-hooks/deploy/reload-nginx"
HOOK_TEXT = "#!/bin/sh\n# nginx reads a renewed certificate.\nexec systemctl reload nginx.service\n"
SUPERVISOR = "/etc/supervisor/supervisord.conf"


def server_settings(text: str) -> str:
    """Our option file of MariaDB without what only a fleet needs, with each setting's reason."""
    out: list[str] = ["# Kept when Benchfleet was uninstalled; change it as you like."]
    why: list[str] = []
    # The first lines say whose file it was.
    for line in text[text.find("[") :].splitlines() if "[" in text else []:
        name = line.partition("=")[0].strip().replace("-", "_")
        if line.startswith("#"):
            why.append(line)
            continue
        if not FLEET_SETTINGS.fullmatch(name):
            out += [*why, line]
        why = []
    return "\n".join(out) + "\n"


def restart_words(bench: str) -> list[str]:
    """The command by which the bench CLI restarts a bench's programs."""
    groups = [f"{os.path.basename(bench)}-{name}:" for name in ("web", "workers")]
    return ["supervisorctl", "-c", SUPERVISOR, "restart", *groups]


def sudo_rule(bench: str, user: str) -> str:
    """The rule by which the bench's account restarts its programs."""
    restart = " ".join(restart_words(bench)).replace(":", r"\:")
    return (
        "# The bench CLI may restart its programs, also from cron, and see their status.\n"
        "Defaults!/usr/bin/supervisorctl env_reset, always_set_home, !requiretty\n"
        f"{user} ALL=(root) NOPASSWD: /usr/bin/supervisorctl -c {SUPERVISOR} status,"
        f" /usr/bin/{restart}\n"
    )


def sudo_file(bench: str) -> str:
    """The file with that rule."""
    return f"/etc/sudoers.d/{os.path.basename(bench)}"


def cnf_file(bench: str) -> str:
    """The file with the settings of MariaDB that stay."""
    return f"/etc/mysql/mariadb.conf.d/98-{os.path.basename(bench)}.cnf"


def kept(
    bench: str, cli_dir: str, state_dir: str, besides: Mapping[str, str] | None = None
) -> dict[str, str]:
    """What stays because the bench uses it: {path: what it is}, as far as it is there.

    besides: further paths, in the same form.
    """
    known = {
        f"/etc/supervisor/conf.d/{os.path.basename(bench)}.conf": "the bench's programs",
        sudo_file(bench): "sudo rule for `bench restart`",
        cnf_file(bench): "MariaDB's sizes and character sets",
        "/etc/nginx/conf.d/benchfleet.conf": "nginx: the sites",
        "/etc/nginx/benchfleet": "nginx: what that file includes",
        "/etc/nginx/benchfleet.d": "nginx: your own rules",
        "/var/log/nginx/benchfleet-reports.log": "nginx: slow reports",
        f"{state_dir}/acme": "nginx: the CA's challenges, for certbot",
        HOOK: "certbot: nginx reads renewed certificates",
        cli_dir: "the bench CLI, with its Python, Node and yarn",
        "/usr/local/bin/bench": "the command bench",
        CONTROLLER_LOGS: "outputs of ./fleet, where it is run on this host",
        **(besides or {}),
    }
    return {path: what for path, what in known.items() if os.path.lexists(path)}


class Restart(BenchPrograms):
    """The restart of a primary's programs, with calls held until those that answer are back."""

    def __init__(self, asked: Mapping[str, Any], warn: Callable[[str], None], hold: ExitStack):
        super().__init__(asked, False, warn)
        self.hold = hold

    @contextmanager
    def holding(self, group: str) -> Iterator[None]:
        """Let calls through again once the group that serves them answers."""
        with super().holding(group):
            yield
        if group in self.asked["serves"]:
            self.hold.close()


class PrimaryLeaver(Leaver):
    """The steps on a primary that the fleet made.

    asked: the options of the module host_leave; those of ``primary`` are in a dictionary.
    """

    def __init__(self, asked: Mapping[str, Any], run: Run, dry: bool) -> None:
        super().__init__(asked, run, dry)
        self.bench, self.user, self.own = asked["bench"], asked["user"], asked["primary"]
        self.name = os.path.basename(self.bench)
        self.rule, self.kept_cnf = sudo_file(self.bench), cnf_file(self.bench)
        self.acme = f"{asked['state_dir']}/acme"

    def write(self, path: str, text: str, mode: int) -> None:
        """Write a file of root's, if it differs."""
        if os.path.isfile(path) and read_bytes(path) == text.encode():
            return
        self.did.append(f"write {path}")
        if not self.dry:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            atomic.write(path, text, mode, (0, 0))

    def begin(self) -> None:
        """Note that the host is leaving: from here on the same command goes on here."""
        self.write(f"{self.asked['config_dir']}/{LEAVING}", "", 0o644)

    def configure(self) -> None:
        """Write the bench's common configuration: its own Redis, and its own restart."""
        path = f"{self.bench}/sites/common_site_config.json"
        found = read_json(path, follow=False)
        restart = "sudo -n " + " ".join(restart_words(self.bench))
        wanted = {**found, **self.own["config"], "supervisor_restart_cmd": restart}
        if found == wanted:
            return
        self.did.append(f"write {path}")
        if not self.dry:
            entry = pwd.getpwnam(self.user)
            text = json.dumps(wanted, indent=1, sort_keys=True)
            replace(path, text.encode(), 0o640, (entry.pw_uid, entry.pw_gid))

    def stop(self, *tasks: str) -> None:
        """Stop the bench's programs that do these tasks; a worker ends its job first."""
        if self.dry:
            return
        if names := control.stop(self.name, control.doing(self.name, *tasks)):
            self.did.append(f"stop {', '.join(sorted(names))}")

    def server(self) -> None:
        """MariaDB runs without our settings and our unit's drop-in."""
        if os.path.exists(CNF):
            with open(CNF, encoding="utf-8") as source:
                self.write(self.kept_cnf, server_settings(source.read()), 0o644)
        with local() as here:
            ours = here.value(
                "SELECT COUNT(*) FROM information_schema.SYSTEM_VARIABLES"
                " WHERE GLOBAL_VALUE_PATH = %s",
                (CNF,),
            )
        self.drop(CNF)
        self.drop("/etc/systemd/system/mariadb.service.d/benchfleet.conf")
        if ours:
            if not self.dry:
                self.run("systemctl", "daemon-reload")
            self.must("restart mariadb", "systemctl", "restart", "mariadb.service")

    def programs(self) -> None:
        """The bench's programs run as `bench setup supervisor` wrote them, after one restart.

        Workers end their jobs first: while MariaDB is down, each would take one job after the other
        and fail. Calls wait at the router.
        """
        port = int(self.own["web_port"])
        self.stop(*JOBS)
        does = control.tasks_of(self.name, control.programs(self.name))
        redis = [name for name, task in does.items() if task == "redis"]
        others = [name for name, task in does.items() if task not in ("redis", *JOBS)]
        if self.dry:
            self.did.append("restart the bench's programs")
            self.server()
            self.configure()
            self.write(self.own["configuration"], self.own["programs"], 0o600)
            return
        with ExitStack() as hold:
            hold.enter_context(held(f"{self.asked['state_dir']}/hold", "127.0.0.1", port))
            for names in (others, redis):
                if names:
                    control.control("stop", *names)
            self.server()
            self.configure()
            for path in self.loaded():
                self.drop(path)
            self.write(self.own["configuration"], self.own["programs"], 0o600)
            programs = Restart(
                {
                    "name": self.name,
                    "configuration": self.own["configuration"],
                    "empty": False,
                    "depends": {},
                    "own_depends": [],
                    "serves": {f"{self.name}-web": f"127.0.0.1:{port}"},
                    "hold": None,
                    "shown": {"path": f"{self.bench}/config/supervisor.conf", "user": self.user},
                    "logs": {"bench": self.bench, "user": self.user, "linked": False},
                    "state": f"{self.asked['state_dir']}/bench-started-with.json",
                },
                self.did.append,
                hold,
            )
            programs.bring()
            self.did += programs.did

    def loaded(self) -> list[str]:
        """Our files in the bench."""
        return [
            *glob(f"{self.bench}/env/lib/python3*/site-packages/benchfleet.pth"),
            f"{self.bench}/.benchfleet-complete",
            f"{self.bench}/config/supervisor.conf.bench",
            # The stock Redis keeps its queue in redis_queue.rdb, written when ours was stopped.
            f"{self.bench}/config/pids/appendonlydir",
        ]

    def jobs(self) -> None:
        """Move jobs that wait in queues of ours to the queues on which Frappe would put them.

        Now no program of the bench adds to them.
        """
        settings, tool = f"{self.asked['config_dir']}/jobs.json", f"{self.asked['lib_dir']}/jobs"
        if not os.path.isdir(tool):
            return
        found = ask(self.bench, self.user, tool, "show", settings)
        for row in found["queues"]:
            queue, moved = row["queue"], row["length"]
            if not queue.startswith("at-"):
                continue
            if not self.dry:
                words = ["forget", settings, queue.removeprefix("at-"), queue]
                moved = ask(self.bench, self.user, tool, *words)["moved"]
            if moved:
                self.did.append(f"move {moved} jobs from {queue} to the queues of Frappe")

    def tables(self, here: Server) -> None:
        """Drop our accounts, then our database, which lists some of them."""
        rows = here.rows("SELECT User AS user, Host AS host FROM mysql.global_priv")
        ours = {(row["user"], row["host"]) for row in rows if row["user"] in ACCOUNTS}
        if has_database(here, DATABASE):
            noted = here.rows(f"SELECT user, host FROM {DATABASE}.account")
            ours |= {(row["user"], row["host"]) for row in noted if row["host"] not in LOCAL}
        needed = {row["who"] for row in here.rows(DEFINERS)}
        there = {(row["user"], row["host"]) for row in rows}
        for user, host in sorted(ours & there):
            # When an account as which a trigger runs is dropped, writes to its table fail.
            verb = "lock" if f"{user}@{host}" in needed else "drop"
            self.did.append(f"{verb} account {user}@{host}")
            name = account(user, host)
            if not self.dry:
                here.run(
                    f"ALTER USER {name} ACCOUNT LOCK" if verb == "lock" else f"DROP USER {name}"
                )
        if has_database(here, DATABASE):
            self.did.append(f"drop database {DATABASE}")
            if not self.dry:
                here.run(f"DROP DATABASE {quote_name(DATABASE)}")

    def binary_logs(self, here: Server) -> None:
        """Remove our binary logs, which a server without one would never remove."""
        if str(here.value("SELECT @@GLOBAL.log_bin")) not in ("0", "OFF") and not self.dry:
            return
        base = f"{data_folder(server_options()).rstrip('/')}/{BINARY_LOG}"
        for path in sorted(
            p for kind in ("[0-9]*", "index", "state") for p in glob(f"{base}.{kind}")
        ):
            self.drop(path)

    def sudo(self) -> None:
        """The bench's account may restart its programs, by a rule that names no program of ours."""
        self.write(self.rule, sudo_rule(self.bench, self.user), 0o440)
        if not self.dry and (found := self.run("visudo", "-cf", self.rule))[0] != 0:
            os.unlink(self.rule)
            raise LeaveError(f"{self.rule} would not be read by sudo: {found[1].strip()}")

    def certificates(self) -> None:
        """Certificates of certbot are renewed as before, and nginx reads them."""
        if os.path.isdir(self.acme) and os.path.isdir("/etc/letsencrypt"):
            self.write(HOOK, HOOK_TEXT, 0o755)

    def programs_of_ours(self) -> None:
        """Remove our programs and our state; the bench CLI stays."""
        self.drop(self.asked["lib_dir"])
        state = self.asked["state_dir"]
        if not os.path.isdir(self.acme):
            self.drop(state)
            return
        for name in sorted(os.listdir(state)):
            if name != os.path.basename(self.acme):
                self.drop(f"{state}/{name}")

    def leave(self) -> str:
        """Do all steps, in this order; returns a summary. Raises BenchError, LeaveError."""
        try:
            self.begin()
            self.units()
            self.sudo()
            self.programs()
            self.jobs()
            with local() as here:
                self.tables(here)
                self.binary_logs(here)
        except MariaDBError as error:
            raise LeaveError(str(error)) from error
        except (KeyError, TypeError) as error:
            raise BenchError(
                f"the bench's answer about its jobs cannot be read: {error}"
            ) from error
        self.keys()
        self.certificates()
        self.table()
        self.own_files()
        self.account(self.asked["seed_user"])
        self.settings()
        are = "would be" if self.dry else "are"
        return (
            f"Benchfleet's files, units and accounts {are} removed; the bench, its sites and its"
            " data stay, and run as the bench CLI starts them"
        )
