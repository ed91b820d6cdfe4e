"""A host of the fleet: what all of its checks use."""

from __future__ import annotations

import contextlib
import inspect
import json
import re
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from functools import cached_property
from pathlib import Path
from types import ModuleType
from typing import Any

from ..bench.account import read_json, run_as
from ..bench.jobs_tool import misfits
from ..bench.look import app_version, installed_apps
from ..bench.pdf import PATH
from ..foreign import read_bytes
from ..http import Visitor, router_port
from ..mariadb.server import Server
from ..mariadb.server import local as local_server
from ..processes import Process, of_bench, processes
from ..sites.folders import LIST, SiteError, own_account, parse_list
from .results import CHECK_SECONDS, Gathering

# How long a server may take for one answer to a check.
ANSWER_SECONDS = 30

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
    "state_dir": {"type": "path", "required": True},
    "guarded": {"type": "bool", "required": True},
    "routes": {"type": "bool", "required": True},
    "service_ip": {"type": "str", "required": True},
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


def local(seconds: int = ANSWER_SECONDS) -> AbstractContextManager[Server]:
    """The server of this host, as root, which has these seconds for each answer."""
    return local_server(seconds=seconds)


class Host:
    """One host, its checks, and its data for the comparison of all hosts (``seen``).

    params: a module's, with ARGUMENTS among them. In ``about``:
    sites: the names of the sites. ports: of mariadb, redis_cache, redis_queue and web.
    heavy_workers: for heavy jobs, besides ``background_workers``. custom_workers: whether the
    operator's own queues have workers besides both. settings: the planned MariaDB settings that
    depend on the host's task; plan: all but the host's own; option_file: the file with them.
    certificates_dir: the fleet's own certificates. state_dir: the fleet's state. package_dir: the
    package of the jobs. guarded: whether the fleet has the guard. routes: whether this host has a
    router, as the primary and the standby have. service_ip: the users' address with its prefix, ""
    for none. In ``calls``:
    token: part of the name of all that this verify makes. router: its address and ports. user: who
    signs in, with ``passwords`` by site.
    """

    def __init__(self, arguments: dict[str, Any]) -> None:
        params = {**arguments, **arguments["about"], **arguments["calls"]}
        self.params = params
        self.bench: str = params["bench"]
        self.sites: list[str] = params["sites"]
        self.site = self.sites[0]
        self.all_sites = self.served_sites()
        self.ports = {name: int(port) for name, port in params["ports"].items()}
        self.gathering = Gathering(
            params["host"], params.get("earlier") or (), params.get("primary_basics")
        )
        self.seen: dict[str, Any] = {}

    @cached_property
    def misfits(self) -> list[str]:
        """What of this bench does not fit our packages: sentences that begin with the part."""
        about = self.params
        return misfits(self.bench, about["user_of_bench"], about["package_dir"], about["guarded"])

    @property
    def unfit_parts(self) -> set[str]:
        """The parts of our packages that do not fit this bench; see PARTS of contract.py."""
        return {misfit.partition(":")[0] for misfit in self.misfits}

    @property
    def takes_calls(self) -> bool:
        """Whether the router sends calls to this bench; see the guard's wsgi.py."""
        return not (self.params["guarded"] and self.unfit_parts & {"guard", "files"})

    @cached_property
    def apps(self) -> dict[str, dict[str, Any]]:
        """The bench's apps."""
        return installed_apps(self.bench)

    @cached_property
    def processes(self) -> list[Process]:
        """The bench's processes on this host."""
        return of_bench(processes(), self.bench)

    @property
    def queue_conf(self) -> str:
        """Settings of the queue's Redis of this host, "" where it has none."""
        return str(self.params.get("jobs", {}).get("redis") or self.params.get("queue") or "")

    def without_redis(self, name: str) -> bool:
        """Whether a check is not made here, because this host has no Redis; then it is noted."""
        if not self.queue_conf:
            self.gathering.skip(name, "not applicable: this host has no Redis")
        return not self.queue_conf

    def make(self, *names: str, seconds: float = CHECK_SECONDS) -> None:
        """Make checks that have a method each: ``check_NAME``, in so many seconds at most."""
        for name in names:
            self.gathering.attempt(name, getattr(self, f"check_{name}"), seconds)

    def config(self, site: str) -> dict[str, Any]:
        """A site's configuration in force on this host."""
        path = f"{self.bench}/sites/{site}/site_config.json"
        own = read_json(path)
        if not own:
            raise AssertionError(f"there is no {path}")
        return {**self.common(), **own}

    def served_sites(self) -> list[str]:
        """The sites of the inventory, then those on this bench that were made by hand.

        Verify has no password for the latter.
        """
        try:
            named = parse_list(read_bytes(f"{self.bench}/sites/{LIST}").decode())
        except (OSError, UnicodeDecodeError, SiteError):
            named = []
        return self.sites + [name for name in named if name not in self.sites]

    def common(self) -> dict[str, Any]:
        """The bench's common configuration."""
        return read_json(f"{self.bench}/sites/common_site_config.json")

    def run_probe(
        self,
        probe: ModuleType,
        *arguments: str,
        options: Sequence[str] = (),
        stdin: str | None = None,
        says: str = "the bench's Python fails:",
        **environment: str,
    ) -> Any:
        """Run a program of ``probes`` with the bench's Python, as its account.

        Returns the JSON on its last line. says: how the error begins where it fails.
        """
        done = run_as(
            self.params["user_of_bench"],
            [self.python, *options, "-c", inspect.getsource(probe), *arguments],
            f"{self.bench}/sites",
            {"PATH": PATH, "HOME": "/", "LANG": "C.UTF-8", **environment},
            stdin=stdin,
            timeout=120,
        )
        if done.returncode != 0:
            raise AssertionError(f"{says} {done.stdout.strip()[-300:]}")
        lines = done.stdout.strip().splitlines()
        return json.loads(lines[-1]) if lines else None

    @property
    def python(self) -> str:
        """The bench's own Python."""
        return f"{self.bench}/env/bin/python"

    def frappe_major(self) -> int:
        """Frappe's major version on this host's bench."""
        version = app_version(self.bench, "frappe") or ""
        if not re.match(r"\d+\.", version):
            raise AssertionError(f"the version of {self.bench}/apps/frappe cannot be read")
        return int(version.split(".")[0])

    def visitor(self, site: str, *, router: bool = True) -> Visitor:
        """A user who is signed in at the router, or at this bench directly."""
        if router:
            place = self.params["router"]
            port, secure = router_port(place, site)
            visitor = Visitor(place["address"], port, site, secure)
        else:
            visitor = Visitor(self.params["lan_ip"], self.ports["web"], site)
        visitor.sign_in(self.params["user"], self.params["passwords"][site])
        return visitor

    @contextlib.contextmanager
    def of_site(self, site: str) -> Iterator[Server]:
        """A connection of a site's own account to its database."""
        config = self.config(site)
        who = (*own_account(config), str(config["db_name"]))
        with local() as server, server.signed_in(*who) as theirs:
            if theirs is None:
                raise AssertionError(f"MariaDB refuses the account of {site}, {who[0]}")
            yield theirs

    def file(self) -> Path:
        """The file that is put into the first site on the primary, as it is on this host."""
        name = f"fleet-verify-{self.params['token']}.txt"
        return Path(self.bench, "sites", self.site, "public/files", name)
