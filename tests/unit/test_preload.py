"""What a run of Ansible packed serves the next one, unless somebody else could have changed it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def ping(tmp_path):
    """Plays `ping` on this machine; returns whether that went well."""

    def play() -> bool:
        words = ["localhost", "-i", "localhost,", "-c", "local", "-m", "ansible.builtin.ping"]
        done = subprocess.run(
            [str(Path(sys.executable).with_name("ansible")), *words, "-o"],
            env={
                **os.environ,
                "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
                "ANSIBLE_HOME": str(tmp_path / "home"),
                "ANSIBLE_LOCAL_TEMP": str(tmp_path / "local"),
                "ANSIBLE_LOAD_CALLBACK_PLUGINS": "1",
                "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            },
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode == 0

    return play


def test_what_was_packed_serves_the_next_run(ping, tmp_path):
    assert ping()
    [package] = (tmp_path / "home/benchfleet-modules").glob("*/ansible.modules.ping-*")
    assert package.stat().st_mode & 0o077 == 0
    package.write_bytes(b"nothing that can be unpacked")
    # Others could have written it: it is not looked at.
    package.chmod(0o666)
    assert ping()
    package.chmod(0o600)
    assert not ping()
