"""A Python that the system lacks is fetched from a mirror into the bench CLI's folder.

The mirror's only Python is the host's own, packed as uv expects it; uv sees no difference.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from plays import INVENTORY, ROOT, environment

CLI = "/opt/bench-cli"
MIRROR = "/var/tmp/test-mirror"
PACK = f"""
set -eu
series=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
mkdir -p {MIRROR}/python/bin {MIRROR}/python/lib {MIRROR}/python/include
cp -aL /usr/bin/python$series {MIRROR}/python/bin/
cp -aL /usr/lib/python$series {MIRROR}/python/lib/
cp -aL /usr/include/python$series {MIRROR}/python/include/
tar -C {MIRROR} -cf - python | gzip -1 > {MIRROR}/python.tar.gz
python3 - <<'END'
import hashlib, json, platform
packed = open("{MIRROR}/python.tar.gz", "rb").read()
major, minor, patch = map(int, platform.python_version_tuple())
machine = platform.machine()
entry = dict(
    name="cpython", arch=dict(family=machine, variant=None), os="linux", libc="gnu", major=major,
    minor=minor, patch=patch, prerelease="", url="file://{MIRROR}/python.tar.gz",
    sha256=hashlib.sha256(packed).hexdigest(), variant=None, build="20260101",
)
key = f"cpython-{{major}}.{{minor}}.{{patch}}-linux-{{machine}}-gnu"
json.dump({{key: entry}}, open("{MIRROR}/list.json", "w"))
print(f"{{major}}.{{minor}} {{platform.python_version()}}")
END
"""


@pytest.fixture
def packed(replica: Any) -> Any:
    """Series and version of the Python in the mirror."""
    try:
        yield replica.check_output(PACK).split()
    finally:
        replica.run(f"rm -rf {MIRROR} {CLI}/python")


@pytest.fixture
def bench_cli(lab: Any, replica: Any) -> Callable[[str, str], dict[str, Any]]:
    """Run the module on the first reporting node as the role does, with a Python and its mirror."""
    name = lab.hosts[1].name
    releases = json.loads(replica.file("/etc/benchfleet/fleet.json").content_string)["versions"]
    tools = {tool: releases[tool] for tool in ("bench_cli", "uv", "node", "yarn")}

    def run(series: str, mirror: str) -> dict[str, Any]:
        wanted = {"path": CLI, **tools, "python": series, "python_mirror": mirror}
        words = ["ansible", name, "-i", str(INVENTORY), "-m", "bench_cli", "-a", json.dumps(wanted)]
        done = subprocess.run(
            words,
            cwd=ROOT,
            env={**environment(), "ANSIBLE_NOCOLOR": "1", "ANSIBLE_FORCE_COLOR": "0"},
            capture_output=True,
            text=True,
            check=False,
        )
        return dict(json.loads(done.stdout.split(" => ", 1)[1]))

    return run


def test_a_python_comes_from_a_mirror(packed: list[str], bench_cli: Any, replica: Any):
    series, version = packed
    missing = bench_cli(series, f"file://{MIRROR}/none")
    assert not missing["changed"]
    assert "bench_python_mirror" in missing["msg"]
    told = bench_cli(series, f"file://{MIRROR}/list.json")
    assert told["changed"], told
    assert not bench_cli(series, f"file://{MIRROR}/list.json")["changed"]
    assert not bench_cli(series, "")["changed"]
    python = f"{CLI}/python/{series}/bin/python{series}"
    as_account = "cd / && runuser -u frappe --"
    found = "import platform, sysconfig; print(platform.python_version()); "
    found += "print(sysconfig.get_paths()['include'] + '/Python.h')"
    told, header = replica.check_output(f'{as_account} {python} -c "{found}"').split()
    assert told == version
    assert Path(header).is_relative_to(f"{CLI}/python/")
    assert replica.file(header).is_file
    strange = "! -user root -o ! -type l -perm /022"
    assert replica.check_output(f"find {CLI}/python {strange}") == ""
    env = "/home/frappe/test-env"
    try:
        replica.check_output(f"{as_account} {CLI}/bin/uv venv --no-cache --python {python} {env}")
        # By a name that is the same for all releases of the series.
        assert replica.file(f"{env}/bin/python").linked_to.startswith(f"{CLI}/python/")
        home = replica.check_output(f"grep ^home {env}/pyvenv.cfg")
        assert home == f"home = {CLI}/python/{series}/bin"
    finally:
        replica.run(f"rm -rf {env}")
