"""A router of the fleet: an nginx of the test's, with the files that role router renders."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import init_plugin_loader
from ansible.template import Templar
from ansible.utils.collection_loader import AnsibleCollectionConfig
from fleet.sites.nginx import render_servers

ROLES = Path(__file__).parents[1] / "roles"
MODULES = Path("/usr/lib/nginx/modules")
NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/bin")
# Why a test that needs a router cannot run here; "" where it can.
MISSING = (
    "nginx with its module for Lua is not installed, or we are not root"
    if NGINX is None or os.geteuid() != 0 or not (MODULES / "ngx_http_lua_module.so").exists()
    else ""
)
START_SECONDS = 30.0


def wait_for(what: Callable[[], Any], seconds: float = START_SECONDS) -> Any:
    """The first true value of a function, which is asked again and again. Raises TimeoutError."""
    until = time.monotonic() + seconds
    while not (found := what()):
        if time.monotonic() > until:
            raise TimeoutError(f"not within {seconds:g} s")
        time.sleep(0.02)
    return found


def free_port() -> int:
    """A port on which nothing listens, at whatever address."""
    with socket.socket() as free:
        free.bind(("0.0.0.0", 0))
        return int(free.getsockname()[1])


@cache
def role_variables() -> dict[str, Any]:
    """Defaults of all roles, and variables of the roles fleet and router."""
    if AnsibleCollectionConfig.collection_finder is None:
        init_plugin_loader()
    loader = DataLoader()
    defaults = sorted((ROLES / "fleet/defaults/main").glob("*.yml"))
    variables: dict[str, Any] = {}
    for file in (*defaults, ROLES / "fleet/vars/main.yml", ROLES / "router/vars/main.yml"):
        variables |= loader.load_from_file(str(file.resolve()), trusted_as_template=True)
    return variables


def rendered(settings: dict[str, Any]) -> dict[str, str]:
    """The router's files by their paths on a host, as Ansible makes them.

    settings: facts and variables of the inventory, of which defaults of the roles are not needed.
    """
    role, variables = ROLES / "router", role_variables()
    place = {"ansible_search_path": [str(role)], "role_path": str(role), "ansible_facts": {}}
    templar = Templar(loader=DataLoader(), variables={**variables, **place, **settings})
    files = templar.template(variables["__router_files"])
    return {str(file["path"]): str(file["content"]) for file in files}


class Router:
    """A router. It sends its calls from its own address, as one that is a host of its own does.

    settings: see rendered; certificate: pair of files for all names, None for plain http.
    """

    def __init__(
        self,
        folder: Path,
        settings: dict[str, Any],
        site: str,
        certificate: tuple[str, str] | None = None,
    ) -> None:
        self.folder, self.address = folder, settings["fleet_lan_ip"]
        # Two routers on one machine have the same ports, as in a fleet, at addresses of their own.
        ports = settings["fleet_router_ports"]
        at = {name: f"{self.address}:{port}" for name, port in ports.items()}
        settings = {**settings, "fleet_router_ports": at}
        self.port, self.secure_port = int(ports["http"]), int(ports["https"])
        self.state = Path(settings["fleet_state_dir"])
        self.process: subprocess.Popen[bytes] | None = None
        for path in (self.state, folder / "benchfleet.d", folder / "nginx"):
            path.mkdir(parents=True, exist_ok=True)
        files = rendered(settings)
        template = next(text for path, text in files.items() if path.endswith("site.template"))
        files["/etc/nginx/benchfleet/sites.conf"] = render_servers(
            template, {site: []}, lambda *_: certificate
        )
        for path, text in files.items():
            here = Path(self.placed(path))
            here.parent.mkdir(parents=True, exist_ok=True)
            here.write_text(self.placed(text), encoding="utf-8")
        (folder / "nginx.conf").write_text(self.main(), encoding="utf-8")

    def placed(self, text: str) -> str:
        """A text with the paths of a host replaced by those of this folder."""
        for place in ("/etc/nginx", "/var/log", "/run/benchfleet"):
            text = text.replace(place, str(self.folder))
        return text

    def main(self) -> str:
        """nginx's main file."""
        places = " ".join(
            f"{kind}_temp_path {self.folder}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        return (
            f"load_module {MODULES}/ndk_http_module.so;\n"
            f"load_module {MODULES}/ngx_http_lua_module.so;\n"
            f"user root; worker_processes 1; daemon off; pid {self.folder}/nginx.pid;\n"
            f"error_log {self.folder}/error.log;\nevents {{}}\n"
            f"http {{ access_log off; {places} proxy_bind {self.address};\n"
            f" include {self.folder}/conf.d/*.conf; }}\n"
        )

    @property
    def log(self) -> str:
        """nginx's log of errors."""
        return (self.folder / "error.log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start nginx; it listens when this returns."""
        assert NGINX
        self.process = subprocess.Popen(
            [NGINX, "-p", str(self.folder), "-c", f"{self.folder}/nginx.conf"],
            stderr=subprocess.PIPE,
        )

        def listens() -> bool:
            assert self.process
            if self.process.poll() is not None:
                assert self.process.stderr
                raise AssertionError(self.process.stderr.read().decode())
            with socket.socket() as probe:
                return probe.connect_ex((self.address, self.port)) == 0

        wait_for(listens)

    def stop(self) -> None:
        """Stop it; connections are closed."""
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(START_SECONDS)
            self.process = None

    @contextmanager
    def running(self) -> Iterator[Router]:
        """It runs meanwhile."""
        self.start()
        try:
            yield self
        finally:
            self.stop()
