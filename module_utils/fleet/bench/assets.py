"""The web assets of a bench; a reporting bench gets a copy of the primary's build."""

from __future__ import annotations

import hashlib
import os
import shlex
from contextlib import suppress
from typing import Any

from ..foreign import as_owner, read_bytes
from .account import Bench, BenchError, read_json
from .look import installed_apps

ASSET_LISTS = ("assets.json", "assets-rtl.json")
# In bytes; whole libraries are a tenth of that.
LARGEST_ASSET = 128 * 1024**2


def asset_file(bench: str, url: str) -> str:
    """Where the file of a bundle's URL, ``/assets/APP/PATH``, lies on a bench."""
    served = f"{bench}/sites{url}"
    app, _, below = url.removeprefix("/assets/").partition("/")
    # A bench on which nothing was built has no link from the sites folder to the app.
    return served if os.path.exists(served) else f"{bench}/apps/{app}/{app}/public/{below}"


def asset_state(bench: str) -> dict[str, str]:
    """The web assets of a bench: hash of the file of each bundle that its lists name, by URL.

    "" stands for a file that is not there. A missing list counts as an empty one.
    """
    found: dict[str, str] = {}
    for name in ASSET_LISTS:
        listed = read_json(f"{bench}/sites/assets/{name}")
        with as_owner(f"{bench}/sites/assets"):
            for bundle, url in listed.items():
                content = ""
                with suppress(OSError, ValueError):
                    data = read_bytes(asset_file(bench, str(url)), LARGEST_ASSET)
                    content = hashlib.sha256(data).hexdigest()[:16]
                found[f"{name} {bundle} {url}"] = content
    return found


def differing(here: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """Bundles that are not as wanted, as ``LIST BUNDLE URL``."""
    return sorted(name for name in {*here, *wanted} if here.get(name) != wanted.get(name))


class Assets(Bench):
    """The assets of one reporting bench, fetched from the primary."""

    def __init__(self, params: dict[str, Any]) -> None:
        super().__init__(params["path"], params["user"], params["cli_dir"])
        self.wanted: dict[str, str] = params["wanted"]
        ssh = [*shlex.split(params["ssh_command"]), "-p", str(params["port"])]
        self.call = shlex.join([*ssh, params["source"], "assets"])
        self.staging = f"{self.path}/.assets"

    def fetch(self) -> None:
        """Fetch the primary's built folders and lists, and put them in place."""
        self.run(["rm", "-rf", self.staging], f"removing {self.staging}")
        unpack = f"tar --extract --no-same-owner --no-same-permissions --directory {self.staging}"
        script = f"mkdir {self.staging} && {self.call} | {unpack}"
        self.run(["bash", "-o", "pipefail", "-c", script], "fetching the primary's web assets")
        # A bench that was just initialised has none yet.
        self.run(["mkdir", "-p", f"{self.path}/sites/assets"], "making the folder of the assets")
        for app in installed_apps(self.path):
            self.place(app)
        # Last, as they name files that must be there by then.
        for name in ASSET_LISTS:
            if os.path.isfile(f"{self.staging}/{name}"):
                move = ["mv", "-fT", f"{self.staging}/{name}", f"{self.path}/sites/assets/{name}"]
                self.run(move, f"placing {name}")
        self.run(["rm", "-rf", self.staging], f"removing {self.staging}")
        if left := differing(asset_state(self.path), self.wanted):
            raise BenchError(
                f"after the copy, the web assets of this bench differ from the primary's:"
                f" {', '.join(left[:5])}. If `bench build` runs on the primary now, wait until it"
                " has ended, then run the same command again"
            )

    def place(self, app: str) -> None:
        """Put an app's built folder in place, and the link by which the framework finds it."""
        public = f"{self.path}/apps/{app}/{app}/public"
        built = f"{self.staging}/{app}"
        if os.path.isdir(built) and os.path.isdir(public):
            self.run(["rm", "-rf", f"{public}/dist"], f"removing the old assets of {app}")
            self.run(["mv", "-T", built, f"{public}/dist"], f"placing the assets of {app}")
        link = f"{self.path}/sites/assets/{app}"
        if os.path.isdir(public) and not os.path.lexists(link):
            self.run(["ln", "-s", public, link], f"linking the assets of {app}")
