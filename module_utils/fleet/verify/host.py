"""Checks of verify that are the same on every host of the fleet, and what they are made with."""

from __future__ import annotations

import hashlib
import json
import os
import re
import socket
import subprocess
import time
from typing import Any

from ..bench.account import (
    asset_state,
    installed_apps,
    installed_packages,
    read_json,
    run_as,
)
from ..bench.files import redis_address
from ..bench.jobs import custom_queues
from ..bench.jobs_tool import misfits
from ..bench.pdf import PATH, offered, printing
from ..foreign import read_bytes
from ..mariadb.conflicts import DECIDED, HOSTS_OWN, agrees, is_by_files, problems_of
from ..mariadb.options import look
from ..mariadb.server import local, running_variables, shown_certificate
from ..own_certificates import look as look_at_certificates
from ..redis.users import bench_user
from ..sites.folders import LIST, SiteError, parse_list
from .answers import (
    ASK_PYTHON,
    EXPRESSIONS,
    IN_ENVIRONMENT,
    environment_of,
)
from .catalogue import (
    Gathering,
    in_words,
    merged,
    restart_problems,
)
from .look import (
    UNITS,
    Process,
    Redis,
    RedisError,
    background_workers,
    of_bench,
    processes,
    schedulers,
    unit_troubles,
    web_workers,
)

HOST_ARGUMENTS: dict[str, dict[str, Any]] = {
    "host": {"type": "str", "required": True},
    "lan_ip": {"type": "str", "required": True},
    "primary_ip": {"type": "str", "required": True},
    "bench": {"type": "path", "required": True},
    "user_of_bench": {"type": "str", "required": True},
    "sites": {"type": "list", "elements": "str", "required": True},
    "ports": {"type": "dict", "required": True},
    "redis_password": {"type": "str", "required": True, "no_log": True},
    "web_workers": {"type": "int", "required": True},
    "background_workers": {"type": "int", "required": True},
    "heavy_workers": {"type": "int", "required": True},
    "custom_workers": {"type": "bool", "required": True},
    "settings": {"type": "dict", "required": True},
    "plan": {"type": "dict", "required": True},
    "option_file": {"type": "path", "required": True},
    "package_dir": {"type": "path", "required": True},
    "certificates_dir": {"type": "path", "required": True},
    "guarded": {"type": "bool", "required": True},
}
CALL_ARGUMENTS: dict[str, dict[str, Any]] = {
    "token": {"type": "str", "required": True},
    "router": {"type": "dict", "required": True},
    "user": {"type": "str", "required": True},
    "passwords": {"type": "dict", "required": True, "no_log": True},
}
# What both modules of the hosts take.
ARGUMENTS: dict[str, dict[str, Any]] = {
    "about": {"type": "dict", "required": True, "options": HOST_ARGUMENTS},
    "calls": {"type": "dict", "required": True, "options": CALL_ARGUMENTS},
}

# What the environment's own Python says of itself; nothing of an app is run.
ASK_PLACES = """
import importlib.util, json, sys
found = {}
for app in sys.argv[1:]:
    spec = importlib.util.find_spec(app)
    found[app] = spec.origin if spec else None
print(json.dumps([sys.prefix, found]))
"""

# Prints a page by each generator named. Chromium would stay behind: all that was started ends.
PRINT = """
import json, os, signal, sys, time
import frappe
from frappe.utils import pdf

# run_as has given it a session of its own.
site, *generators = sys.argv[1:]
frappe.init(site=site, sites_path=".")
frappe.connect()
page = "<html><head></head><body><p>Benchfleet</p></body></html>"
seen = {}
for generator in generators:
    since = time.monotonic()
    try:
        if generator == "chrome":
            made = pdf.get_chrome_pdf("Standard", page, {}, None, pdf_generator="chrome")
        else:
            made = pdf.get_pdf(page)
        good = made[:4] == b"%PDF"
        words = f"{len(made)} bytes" if good else f"no PDF but {made[:40]!r}"
    except Exception as error:
        good, words = False, f"{type(error).__name__}: {' '.join(str(error).split())[-300:]}"
    seen[generator] = [good, f"{words} after {time.monotonic() - since:.1f} s"]
frappe.db.rollback()
print(json.dumps(seen), flush=True)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.killpg(0, signal.SIGTERM)
"""


def resolves(name: str) -> bool:
    """Whether this host knows an address for a name."""
    try:
        return bool(socket.getaddrinfo(name, 80))
    except OSError:
        return False


class HostChecks:
    """One host, its checks, and what the comparison of all hosts needs to know of it (``seen``).

    params: a module's, with ARGUMENTS among them. In ``about``, ``sites`` are the names of the
    sites; ``ports`` are those of mariadb, redis_cache, redis_queue and web; ``heavy_workers`` are
    for heavy jobs, besides ``background_workers``; ``custom_workers`` says that the operator's own
    queues have workers besides both; ``settings`` are the planned MariaDB settings that
    depend on the host's task, ``plan`` are all of them but the host's own, and ``option_file``
    holds them; ``certificates_dir`` has the fleet's own certificates; ``package_dir`` is where the
    package of the jobs is; ``guarded`` says that the fleet has the guard. In ``calls``, ``token``
    marks what this verify makes; ``router`` is its address and ports; ``user`` signs in with
    ``passwords``, by site.
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        params = {**arguments, **arguments["about"], **arguments["calls"]}
        self.params = params
        self.bench: str = params["bench"]
        self.sites: list[str] = params["sites"]
        self.all_sites = self.served_sites()
        self.ports = {name: int(port) for name, port in params["ports"].items()}
        self.gathering = Gathering(params["host"])
        self.seen: dict[str, Any] = {}
        self._processes: list[Process] | None = None
        self._misfits: list[str] | None = None

    @property
    def misfits(self) -> list[str]:
        """What of this bench does not fit our packages, asked once."""
        if self._misfits is None:
            self._misfits = misfits(
                self.bench,
                self.params["user_of_bench"],
                self.params["package_dir"],
                self.params["guarded"],
            )
        return self._misfits

    @property
    def takes_calls(self) -> bool:
        """Whether this bench is one that the router sends calls to; see the guard's wsgi.py."""
        kept_away = any(words.startswith(("guard:", "files:")) for words in self.misfits)
        return not (self.params["guarded"] and kept_away)

    @property
    def processes(self) -> list[Process]:
        """The bench's processes on this host, looked at once."""
        if self._processes is None:
            self._processes = of_bench(processes(), self.bench)
        return self._processes

    def config(self, site: str) -> dict[str, Any]:
        """A site's configuration in force on this host."""
        own = read_json(f"{self.bench}/sites/{site}/site_config.json")
        if not own:
            raise AssertionError(f"{self.bench}/sites/{site}/site_config.json is not there")
        return merged(self.common(), own)

    def served_sites(self) -> list[str]:
        """The sites of the fleet as this bench has them, those made by hand among them.

        Nobody can sign in at these: only the inventory's have a password that is known.
        """
        try:
            named = parse_list(read_bytes(f"{self.bench}/sites/{LIST}").decode())
        except (OSError, UnicodeDecodeError, SiteError):
            named = []
        return self.sites + [name for name in named if name not in self.sites]

    def common(self) -> dict[str, Any]:
        """The bench's common configuration."""
        return read_json(f"{self.bench}/sites/common_site_config.json")

    def run_python(self, script: str, *words: str, **environment: str) -> str:
        """Run a script with the bench's Python, as its account; what it prints."""
        done = run_as(
            self.params["user_of_bench"],
            [f"{self.bench}/env/bin/python", "-c", script, *words],
            f"{self.bench}/sites",
            {"PATH": PATH, "HOME": "/", "LANG": "C.UTF-8", **environment},
            timeout=120,
        )
        if done.returncode != 0:
            raise AssertionError(f"the bench's Python says: {done.stdout.strip()[-300:]}")
        return done.stdout

    def look(self) -> None:
        """Make the checks that every host has."""
        attempt = self.gathering.attempt
        attempt("environment", self.check_environment)
        attempt("redis_password", self.check_redis_password)
        attempt("workers", self.check_workers)
        attempt("comes_back", self.check_comes_back)
        attempt("units", self.check_units)
        attempt("settings", self.check_settings)
        attempt("own_certificates", self.check_own_certificates)
        attempt("pdf", self.check_pdf)
        attempt("contract", self.check_contract)
        attempt((), self.note_apps)
        self.seen["answers"] = self.answers()
        attempt((), self.note_bench)

    def check_own_certificates(self) -> None:
        """The fleet's own certificates, in their files and as MariaDB shows them."""
        found = look_at_certificates(
            self.params["certificates_dir"], shown_certificate(), time.time()
        )
        saw = f"{found.server} days left, {found.authority} of the authority"
        troubles = found.troubles
        self.gathering.add("own_certificates", not troubles, "; ".join(troubles) or saw)

    def check_pdf(self) -> None:
        """Have the bench's Python print a page, as its web workers do, with what they find."""
        kit = printing(self.bench)
        if not kit["real"]:
            self.gathering.skip("pdf", "not applicable: this framework prints no PDFs")
            return
        generators = [name for name, command in kit["tools"].items() if command]
        none = [name for name in kit["tools"] if name not in generators]
        lacking = offered(kit["packages"])
        if not generators and not lacking:
            self.gathering.skip(
                "pdf",
                f"PDFs do not work here: this Frappe prints with {' or '.join(none)}, which is not"
                " on this host, and this release of Debian has none. Install one from elsewhere",
            )
            return
        good, saw = not lacking, [f"{name} is not installed" for name in lacking]
        if generators:
            told = self.run_python(PRINT, self.sites[0], *generators).strip().splitlines()
            for name, (printed, words) in json.loads(told[-1]).items():
                good = good and printed
                saw.append(f"{name}: {words}")
        if not lacking:
            saw += [f"no {name} on this host: what asks for it is not printed" for name in none]
        # By which Frappe's pages name their styles and images.
        saw += [
            f"this host cannot resolve {site}: pages with styles or images will not print"
            for site in self.sites
            if not resolves(site)
        ]
        self.gathering.add("pdf", good, "; ".join(saw))

    def note_apps(self) -> None:
        """Apps, commits and web assets, for the comparison with the primary."""
        self.seen["apps"] = {
            name: {"commit": app["commit"], "changes": app["changes"]}
            for name, app in installed_apps(self.bench).items()
        }
        self.seen["assets"] = asset_state(self.bench)

    def answers(self) -> dict[str, Any]:
        """What is compared with the primary's: {config, packages, python, fonts, trouble}.

        config: the common configuration, key → hash, as some values are secrets. trouble: why the
        bench's Python could not be asked, "" when it was. Where no program of the bench runs, there
        is nothing that a report could be made with.
        """
        found: dict[str, Any] = {"config": {}, "packages": {}, "python": {}, "fonts": []}
        found["trouble"] = ""
        try:
            for key, value in self.common().items():
                text = json.dumps(value, sort_keys=True)
                found["config"][key] = hashlib.sha256(text.encode()).hexdigest()[:12]
            found["packages"] = installed_packages(self.bench)
            programs = web_workers(self.processes) or background_workers(self.processes)
            if programs:
                found["python"], found["fonts"] = self.ask_python(programs[0].pid)
        except Exception as error:
            found["trouble"] = in_words(error)
        return found

    def ask_python(self, pid: int) -> tuple[dict[str, str], list[str]]:
        """What the bench's Python answers in the environment of a program, and the fonts there."""
        python = f"{self.bench}/env/bin/python"
        done = run_as(
            self.params["user_of_bench"],
            [python, "-I", "-c", IN_ENVIRONMENT, ASK_PYTHON, json.dumps(EXPRESSIONS)],
            f"{self.bench}/sites",
            {"PATH": PATH, "HOME": "/", "LANG": "C.UTF-8"},
            stdin=json.dumps(environment_of(pid)),
            timeout=120,
        )
        if done.returncode != 0:
            raise AssertionError(f"the bench's Python says: {done.stdout.strip()[-300:]}")
        answers, fonts = json.loads(done.stdout.strip().splitlines()[-1])
        told = {str(name): str(answer)[:200] for name, answer in answers.items()}
        return told, [str(name)[:100] for name in fonts]

    def note_bench(self) -> None:
        """What decides whether two benches share their queue, and how many schedulers run."""
        self.seen["schedulers"] = [" ".join(p.words) for p in schedulers(self.processes)]
        common = self.common()
        self.seen["bench_id"] = common.get("bench_id")
        # A Redis URL carries the password: only the place is compared.
        queue = redis_address(common.get("redis_queue"))
        place = f"{queue['host']}:{queue['port']}" if queue["host"] else ""
        self.seen["queue"] = place + f"/{queue['db']}" * bool(queue["db"])

    def frappe_major(self) -> int:
        """Frappe's major version on this host's bench."""
        version = (installed_apps(self.bench).get("frappe") or {}).get("version") or ""
        if not re.match(r"\d+\.", version):
            raise AssertionError(f"apps/frappe of {self.bench} has no version that can be read")
        return int(version.split(".")[0])

    def check_environment(self) -> None:
        """The bench's Python lives, and finds its apps, in the bench's own folder."""
        apps = sorted(installed_apps(self.bench))
        if not apps:
            raise AssertionError(f"there is no app in {self.bench}/apps")
        python = f"{self.bench}/env/bin/python"
        environment = {"PATH": "/usr/bin:/bin", "HOME": "/", "LANG": "C.UTF-8"}
        done = run_as(
            self.params["user_of_bench"],
            [python, "-c", ASK_PLACES, *apps],
            f"{self.bench}/sites",
            environment,
            timeout=60,
        )
        if done.returncode != 0:
            raise AssertionError(f"{python} fails: {done.stdout.strip()[-300:]}")
        prefix, places = json.loads(done.stdout.strip().splitlines()[-1])
        home = os.path.realpath(self.bench)
        strange = [f"prefix {prefix}"] if os.path.realpath(prefix) != f"{home}/env" else []
        for app, origin in places.items():
            if not origin or not os.path.realpath(origin).startswith(f"{home}/apps/{app}/"):
                strange.append(f"{app} from {origin}")
        self.gathering.add(
            "environment",
            not strange,
            ", ".join(strange) or f"prefix {prefix}, {', '.join(apps)} from apps/",
        )

    def check_redis_password(self) -> None:
        """Both Redis ports of the primary, called from here."""
        saw, good = [], True
        for name in ("redis_cache", "redis_queue"):
            port = self.ports[name]
            words = []
            for password in (None, self.params["redis_password"]):
                user = bench_user(self.params["host"]) if password else None
                try:
                    with Redis(self.params["primary_ip"], port, password, user) as redis:
                        words.append(str(redis.ask("PING")))
                except (OSError, RedisError) as error:
                    words.append(str(error).split()[0] if "NOAUTH" in str(error) else str(error))
            good = good and words[0] == "NOAUTH" and words[1] == "PONG"
            saw.append(f"port {port}: {words[0]} without the password, {words[1]} with this host's")
        self.gathering.add("redis_password", good, "; ".join(saw))

    def check_workers(self) -> None:
        """Processes, counted, against the inventory."""
        heavy = self.params["heavy_workers"]
        have = {
            "web": len(web_workers(self.processes)),
            "background": len(background_workers(self.processes)),
        }
        want = {
            "web": self.params["web_workers"],
            "background": self.params["background_workers"] + heavy,
        }
        if self.params["custom_workers"]:
            want["background"] += sum(
                int(queue.get("background_workers") or 1) if isinstance(queue, dict) else 1
                for name, queue in custom_queues(self.bench).items()
                if name not in ("short", "default", "long")
            )
        self.gathering.add(
            "workers",
            have == want,
            f"{have['web']} web and {have['background']} background workers",
            wanted=f"{want['web']} web and {want['background']} background workers"
            " (bench_web_workers, bench_background_workers"
            + (f", and {heavy} for heavy jobs)" if heavy else ")"),
        )

    def check_comes_back(self) -> None:
        """What systemd does when a service is killed, whatever its files are."""
        names = ["cron", "mariadb", "ssh", "supervisor"]
        names += ["nginx"] if self.params["lan_ip"] == self.params["primary_ip"] else []
        done = subprocess.run(
            ["systemctl", "show", *names, "-p", "Id,LoadState,Restart,KillMode"],
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        wrong = restart_problems(done.stdout)
        self.gathering.add("comes_back", not wrong, "; ".join(wrong) or ", ".join(names))

    def check_units(self) -> None:
        """Our own services and timers."""
        primary = self.params["lan_ip"] == self.params["primary_ip"]
        wanted = UNITS["primary" if primary else "reporting"]
        troubles = unit_troubles(wanted)
        words = [f"{name} {trouble}" for name, trouble in troubles.items()]
        cure = [f"`systemctl status {name}` and `journalctl -u {name}`" for name in troubles]
        self.gathering.add(
            "units",
            not troubles,
            "; ".join(words) or ", ".join(wanted),
            remedy=f"{' and '.join(cure)} on this host say why; site.yml puts back what is missing"
            " or switched off",
        )

    def check_contract(self) -> None:
        """What our packages use of the bench's code is there."""
        self.gathering.add(
            "contract", not self.misfits, "; ".join(self.misfits) or "all that is asked of it"
        )

    def check_settings(self) -> None:
        """The running server's settings against those planned, and what may set others."""
        wanted: dict[str, Any] = self.params["settings"]
        plan: dict[str, Any] = self.params["plan"]
        path = self.params["option_file"]
        with local() as server:
            rows = running_variables(server)
        running = {name: str(rows[name]["value"]) for name in wanted if name in rows}
        self.seen["settings"] = running
        off = [
            f"{name} is {rows[name]['value']}, planned is {value}"
            for name, value in sorted(plan.items())
            if name in rows
            and name not in DECIDED
            and not agrees(name, value, rows)
            and not is_by_files(name, rows)
        ]
        own = {
            **HOSTS_OWN,
            "bind_address": f"127.0.0.1,{self.params['lan_ip']}",
            "port": self.params["ports"]["mariadb"],
        }
        others = problems_of({**own, **plan}, look(path), rows, path)
        off += [what for what, _, _ in others]
        pool = int(running.get("innodb_buffer_pool_size") or 0) // 1024**2
        saw = f"{len(plan)} settings as planned, buffer pool {pool} MiB"
        cure = "; ".join(f"{place}: {cure}" for _, place, cure in others)
        self.gathering.add("settings", not off, "; ".join(off) or saw, remedy=cure)
